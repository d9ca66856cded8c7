//! `waybill topics …`: what topics are for, and what is on them.

use std::{io::Write, time::Duration};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use waybill_log::{Log, ReadFrom, Record, TopicPartition};
use waybill_runtime::{Clocks, JourneyScale};
use waybill_schemas::topics;

use crate::{config::Config, datadir::DataDir, standalone};

/// `waybill topics list`.
///
/// # Errors
/// When `out` cannot be written.
pub(crate) fn list(out: &mut dyn Write) -> Result<()> {
    for spec in topics::all() {
        writeln!(out, "{:<26} {}", spec.name, spec.purpose)?;
    }
    Ok(())
}

/// `waybill topics tail`: the last records of every partition, oldest first, a JSON object a line.
///
/// # Errors
/// When another process holds the data directory, or the topic is unknown.
pub(crate) async fn tail(config: &Config, topic: &str, last: u64, out: &mut dyn Write) -> Result<()> {
    if topics::find(topic).is_none() {
        bail!("there is no topic `{topic}`; `waybill topics list` shows them all");
    }
    if !config.data_dir.join("log").exists() {
        bail!("{} holds no log; name the data directory with --data-dir", config.data_dir.display());
    }
    let dir = DataDir::take(&config.data_dir).context(
        "records of a running process are read through its API (/v1/shipments) or SQL; the topics are its own",
    )?;
    let clocks = Clocks::scaled(dir.journey(JourneyScale::REAL)?);
    let catalog = waybill_adapters::Catalog::load(&config.adapters)?;
    let opened = standalone::open_log(config, &dir, clocks, &catalog).await?;
    let (log, prefix) = (opened.0, opened.1);
    let name = prefix.of(topic);
    let described = log.describe(&name).await?;
    for partition in 0..described.partitions {
        let at = TopicPartition::new(name.as_str(), partition);
        let bounds = log.bounds(&at).await?;
        let mut next = bounds.next.saturating_sub(last).max(bounds.first);
        while next < bounds.next {
            let read =
                ReadFrom { at: at.clone(), offset: next, max_records: 500, max_bytes: 1 << 20, wait: Duration::ZERO };
            let batch = log.read(read).await?;
            for record in &batch.records {
                writeln!(out, "{}", shown(partition, record))?;
            }
            next = batch.next_offset;
        }
    }
    log.close().await;
    Ok(())
}

fn shown(partition: u32, record: &Record) -> Value {
    let value = record
        .value
        .as_ref()
        .map(|bytes| serde_json::from_slice(bytes).unwrap_or_else(|_| json!({ "bytes": bytes.len() })));
    let headers: serde_json::Map<String, Value> = record
        .headers
        .iter()
        .map(|(name, value)| (name.clone(), String::from_utf8_lossy(value).into_owned().into()))
        .collect();
    json!({
        "partition": partition, "offset": record.offset, "append_time": record.append_time,
        "key": record.key_str(), "headers": headers, "value": value,
    })
}
