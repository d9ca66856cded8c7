//! `waybill topics …`: what topics are for, what they should be on Kafka, and what is on them.

use std::{io::Write, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Result, bail};
use serde_json::{Value, json};
use waybill_adapters::Catalog;
use waybill_log::{
    ErrorClass, KafkaLog, LogError, ReadFrom, Record, SharedLog, TopicPartition,
    kafka::{Allow, Applied, Difference},
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

/// What may be done to topics that exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Changes {
    /// Nothing.
    NotAsked,
    /// Their settings, and the partitions of the topics that are named.
    Asked {
        /// As `waybill topics list` names them.
        grow: Vec<String>,
    },
}

impl Changes {
    /// What may be done, in the log's words. Internal topics never grow: their number of partitions is the layout.
    fn allowed(&self, prefix: &TopicPrefix) -> Result<Allow> {
        let Self::Asked { grow } = self else {
            return Ok(Allow { create: true, ..Allow::default() });
        };
        for name in grow {
            match topics::find(name).map(|spec| spec.partitioning) {
                Some(Partitioning::Murmur2) => {}
                Some(Partitioning::Budget) => bail!(
                    "--grow {name}: the partitions of internal topics are the layout, in which every number has its \
                     place; only public topics may grow"
                ),
                Some(Partitioning::Single) => bail!("--grow {name}: this topic has one partition, always"),
                None => bail!("--grow {name}: there is no such topic; `waybill topics list` shows them all"),
            }
        }
        Ok(Allow { create: true, settings: true, grow: grow.iter().map(|name| prefix.of(name)).collect() })
    }
}

/// `waybill topics apply`: creates what is missing, changes what exists only as far as is asked, records the layout.
///
/// # Errors
/// When the broker does not answer, or the layout differs from the recorded one: then nothing is changed.
pub(crate) async fn apply(config: &Config, changes: &Changes, out: &mut dyn Write) -> Result<()> {
    let allow = changes.allowed(&config.log.prefix.parse()?)?;
    let catalog = Catalog::load(&config.adapters)?;
    let (log, prefix) = kafka(config, "`waybill topics apply`").await?;
    let shared: SharedLog = Arc::new(log.clone());
    parts::agrees(&shared, config, &catalog).await?;
    let wanted = parts::new_topics(&prefix, config.log.partitions());
    let mut left = 0;
    for (drift, applied) in &log.topics_apply(&wanted, &allow).await? {
        left += usize::from(*applied != Applied::Done);
        match (applied, &drift.difference) {
            (Applied::Done, _) => writeln!(out, "done: {drift}")?,
            (Applied::NotAsked, Difference::Partitions { .. }) => {
                let spec = topics::all().iter().find(|spec| prefix.of(&spec.name) == drift.topic);
                let name = spec.map_or(drift.topic.as_str(), |spec| spec.name.as_str());
                writeln!(out, "left as it is: {drift}; --yes --grow {name} adds them, which moves keys")?;
            }
            (Applied::NotAsked, _) => writeln!(out, "left as it is: {drift}; --yes changes it")?,
            (Applied::Refused(why), _) => writeln!(out, "left as it is: {drift}; {why}")?,
        }
    }
    let opened = parts::settle(shared, config, &catalog).await?;
    let (topics, partitions) = (topics::all().len(), opened.layout.partitions);
    writeln!(out, "{topics} topics are there, partitions of internal ones: {partitions}, differences left: {left}")?;
    Ok(())
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
