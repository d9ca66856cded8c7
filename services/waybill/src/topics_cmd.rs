//! `waybill topics …`: what topics are for, what they should be on Kafka, and what is on them.

use std::{collections::BTreeSet, io::Write, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Result, bail};
use serde_json::{Value, json};
use waybill_adapters::Catalog;
use waybill_log::{
    ErrorClass, KafkaLog, LogError, ReadFrom, Record, SharedLog, TopicPartition,
    kafka::{Allow, Applied},
};
use waybill_schemas::topics::{self, Partitioning, TopicPrefix};

use crate::{
    command_log::{CommandLog, read_range},
    config::Config,
    parts, process,
};

/// How long one wait for what is appended takes.
const FOLLOW_WAIT: Duration = Duration::from_secs(1);

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

async fn kafka(config: &Config, what: &str) -> Result<(KafkaLog, TopicPrefix)> {
    let options = parts::kafka_options(config, what)?;
    Ok((parts::connect(options, Duration::ZERO).await?, config.log.prefix.parse()?))
}

/// `waybill topics diff`: a line a difference; the exit code tells whether there is one.
///
/// # Errors
/// When the broker does not answer.
pub(crate) async fn diff(config: &Config, out: &mut dyn Write) -> Result<ExitCode> {
    let (log, prefix) = kafka(config, "`waybill topics diff`").await?;
    let drifts = log.topics_diff(&parts::new_topics(&prefix, config.log.partitions())).await?;
    for drift in &drifts {
        writeln!(out, "{drift}")?;
    }
    if drifts.is_empty() {
        writeln!(out, "all {} topics are as they should be", topics::all().len())?;
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

/// `waybill topics apply`: creates what is missing, changes what exists only with `yes`, records the layout.
///
/// # Errors
/// When the broker does not answer or the layout differs from the recorded one.
pub(crate) async fn apply(config: &Config, yes: bool, out: &mut dyn Write) -> Result<ExitCode> {
    let (log, prefix) = kafka(config, "`waybill topics apply`").await?;
    let wanted = parts::new_topics(&prefix, config.log.partitions());
    // The number of partitions of internal topics is the layout. Public topics may grow, which moves keys: only where
    // somebody has agreed to changes.
    let may_grow = |spec: &&topics::TopicSpec| spec.partitioning == Partitioning::Murmur2;
    let grow: BTreeSet<String> =
        topics::all().iter().filter(may_grow).filter(|_| yes).map(|spec| prefix.of(&spec.name)).collect();
    let allow = Allow { create: true, settings: yes, grow };
    let (mut left, mut refused) = (0, 0);
    let outcomes = log.topics_apply(&wanted, &allow).await?;
    for (drift, applied) in &outcomes {
        match applied {
            Applied::Done => writeln!(out, "done: {drift}")?,
            Applied::NotAsked => {
                left += 1;
                writeln!(out, "left as it is: {drift}; --yes changes it")?;
            }
            Applied::Refused(why) => {
                (left, refused) = (left + 1, refused + 1);
                writeln!(out, "refused: {drift}; {why}")?;
            }
        }
    }
    let log: SharedLog = Arc::new(log);
    let catalog = Catalog::load(&config.adapters)?;
    let opened = parts::settle(log, config, &catalog).await?;
    let (topics, partitions) = (topics::all().len(), opened.layout.partitions);
    writeln!(
        out,
        "{topics} topics are there, internal ones with {partitions} partitions; {left} differences are left"
    )?;
    // Without --yes nobody asked for more than what is there now.
    Ok(if yes && refused > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// How far a topic is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// To its end as it is now.
    End,
    /// For as long as nobody stops it.
    Stopped,
}

/// `waybill topics tail`: the last records of every partition, oldest first, a JSON object a line.
///
/// # Errors
/// When another process holds the data directory, the broker does not answer, or the topic is unknown.
pub(crate) async fn tail(config: &Config, (topic, last): (&str, u64), until: Until, out: &mut dyn Write) -> Result<()> {
    if topics::find(topic).is_none() {
        bail!("there is no topic `{topic}`; `waybill topics list` shows them all");
    }
    let opened = CommandLog::open(config).await?;
    if until == Until::Stopped && !opened.is_shared() {
        bail!("nothing is appended to a data directory while a command holds it; leave --follow out");
    }
    let name = opened.topics.of(topic);
    let described = opened.log.describe(&name).await?;
    let mut places = Vec::new();
    for partition in 0..described.partitions {
        let at = TopicPartition::new(name.as_str(), partition);
        let bounds = opened.log.bounds(&at).await?;
        let from = bounds.next.saturating_sub(last).max(bounds.first);
        let print = |record: &Record| Ok(writeln!(out, "{}", shown(partition, record))?);
        read_range(opened.log.as_ref(), &at, (from, bounds.next), print).await?;
        places.push((at, bounds.next));
    }
    if until == Until::Stopped {
        let log = opened.log.clone();
        tokio::select! {
            followed = follow(log, places, out) => followed?,
            () = process::signal() => {}
        }
    }
    opened.close().await;
    Ok(())
}

/// Prints what is appended, of all partitions as it comes.
async fn follow(log: SharedLog, places: Vec<(TopicPartition, u64)>, out: &mut dyn Write) -> Result<()> {
    let (sender, mut lines) = tokio::sync::mpsc::channel::<Result<String, LogError>>(1_000);
    for (at, mut offset) in places {
        let (log, sender) = (log.clone(), sender.clone());
        tokio::spawn(async move {
            loop {
                let read = ReadFrom { at: at.clone(), offset, max_records: 500, max_bytes: 1 << 20, wait: FOLLOW_WAIT };
                match log.read(read).await {
                    Ok(batch) => {
                        for record in &batch.records {
                            if sender.send(Ok(shown(at.partition, record).to_string())).await.is_err() {
                                return;
                            }
                        }
                        offset = batch.next_offset;
                    }
                    Err(LogError::OutOfRange { first, .. }) if first > offset => offset = first,
                    Err(error) if error.class() == ErrorClass::Retry => {
                        tracing::warn!(%error, "topics.log_unavailable");
                        tokio::time::sleep(FOLLOW_WAIT).await;
                    }
                    Err(error) => {
                        let _ = sender.send(Err(error)).await;
                        return;
                    }
                }
            }
        });
    }
    drop(sender);
    while let Some(line) = lines.recv().await {
        writeln!(out, "{}", line?)?;
    }
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
