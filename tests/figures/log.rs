//! The embedded log: records of 300 bytes in batches, in memory and durable, and read back.
//!
//! Durable means on this machine's disk, where the build is kept: an answer comes after the fsync.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use tokio::task::JoinSet;
use waybill_log::{EmbeddedLog, EmbeddedOptions, Log, NewRecord, NewTopic, ReadFrom, TopicPartition};
use waybill_runtime::Clocks;
use waybill_schemas::topics::Cleanup;

use crate::report::{Name, Report, timed};

/// What is measured here.
pub(crate) const FIGURES: [Name; 6] = [
    ("log_memory_produced_batches_of_500", "records/s"),
    ("log_memory_read_back", "records/s"),
    ("log_durable_produced_batches_of_500", "records/s"),
    ("log_durable_produced_one_by_one", "records/s"),
    ("log_durable_produced_by_64_one_by_one", "records/s"),
    ("log_durable_read_back_after_reopening", "records/s"),
];
const TOPIC: &str = "figures";
const PARTITIONS: u32 = 4;
const RECORD_BYTES: usize = 300;
const BATCH: usize = 500;
const RECORDS: usize = 50_000;
const ROUNDS: usize = 5;
const ONE_BY_ONE: usize = 100;
const PRODUCERS: u32 = 64;

fn options() -> EmbeddedOptions {
    EmbeddedOptions::new(Arc::new(Clocks::system_now))
}

async fn with_topic(log: EmbeddedLog) -> Result<EmbeddedLog> {
    let topic = NewTopic {
        name: TOPIC.to_owned(),
        partitions: PARTITIONS,
        cleanup: Cleanup::Delete,
        retention: Duration::from_secs(86_400),
        min_compaction_lag: Duration::from_secs(3_600),
    };
    log.create_topics(&[topic]).await?;
    Ok(log)
}

/// A record of digits that hardly compress, key included in its size.
fn record(partition: u32, n: usize) -> NewRecord {
    let key = format!("carrier:{n:012}").into_bytes();
    let mut dice = n as u64 + 1;
    let mut value = Vec::with_capacity(RECORD_BYTES);
    while key.len() + value.len() < RECORD_BYTES {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        value.push(b'0' + (dice >> 33) as u8 % 64);
    }
    NewRecord {
        at: TopicPartition::new(TOPIC, partition),
        key: Some(key.into()),
        value: Some(value.into()),
        headers: Vec::new(),
    }
}

fn batches() -> Vec<Vec<NewRecord>> {
    let batch = |batch: usize| (0..BATCH).map(|n| record(batch as u32 % PARTITIONS, batch * BATCH + n)).collect();
    (0..RECORDS / BATCH).map(batch).collect()
}

/// Produces batch after batch; the next when the last is answered.
async fn produce(log: &EmbeddedLog, batches: Vec<Vec<NewRecord>>) -> Result<()> {
    for batch in batches {
        for answer in log.produce(batch).await {
            answer?;
        }
    }
    Ok(())
}

async fn read_back(log: &EmbeddedLog) -> Result<usize> {
    let mut found = 0;
    for partition in 0..PARTITIONS {
        let at = TopicPartition::new(TOPIC, partition);
        let mut offset = log.bounds(&at).await?.first;
        loop {
            let at = at.clone();
            let batch =
                log.read(ReadFrom { at, offset, max_records: 1_000, max_bytes: 4 << 20, wait: Duration::ZERO }).await?;
            if batch.records.is_empty() {
                break;
            }
            found += batch.records.len();
            offset = batch.next_offset;
        }
    }
    Ok(found)
}

/// Measures what is wanted.
pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    let (memory, durable) = FIGURES.split_at(2);
    if report.wants_any(memory) {
        in_memory(report).await?;
    }
    if report.wants_any(durable) {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        on_disk(report, folder.path()).await?;
    }
    Ok(())
}

async fn in_memory(report: &mut Report) -> Result<()> {
    let (mut produced, mut read) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let log = with_topic(EmbeddedLog::in_memory(options())).await?;
        let (seconds, done) = timed(produce(&log, batches())).await;
        done?;
        produced.push(RECORDS as f64 / seconds);
        let (seconds, found) = timed(read_back(&log)).await;
        ensure!(found? == RECORDS, "not every record is read back");
        read.push(RECORDS as f64 / seconds);
    }
    report.put("log_memory_produced_batches_of_500", produced)?;
    report.put("log_memory_read_back", read)
}

async fn on_disk(report: &mut Report, folder: &Path) -> Result<()> {
    let (mut produced, mut alone, mut together, mut read) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let path = folder.join(round.to_string());
        let log = with_topic(EmbeddedLog::open(&path, options())?).await?;
        let (seconds, done) = timed(produce(&log, batches())).await;
        done?;
        produced.push(RECORDS as f64 / seconds);
        let singles = (0..ONE_BY_ONE).map(|n| vec![record(0, n)]).collect();
        let (seconds, done) = timed(produce(&log, singles)).await;
        done?;
        alone.push(ONE_BY_ONE as f64 / seconds);
        let (seconds, done) = timed(side_by_side(&log)).await;
        together.push(done? as f64 / seconds);
        log.close().await;
        drop(log);

        let log = EmbeddedLog::open(&path, options())?;
        let (seconds, found) = timed(read_back(&log)).await;
        let found = found?;
        ensure!(found == RECORDS + ONE_BY_ONE * (1 + PRODUCERS as usize), "{found} records are read back");
        read.push(found as f64 / seconds);
        log.close().await;
    }
    report.put("log_durable_produced_batches_of_500", produced)?;
    report.put("log_durable_produced_one_by_one", alone)?;
    report.put("log_durable_produced_by_64_one_by_one", together)?;
    report.put("log_durable_read_back_after_reopening", read)
}

/// Many producers, each waiting for its own answers: what one fsync for all of them is worth.
async fn side_by_side(log: &EmbeddedLog) -> Result<usize> {
    let mut producers = JoinSet::new();
    for producer in 0..PRODUCERS {
        let log = log.clone();
        let singles = (0..ONE_BY_ONE).map(|n| vec![record(producer % PARTITIONS, n)]).collect();
        producers.spawn(async move { produce(&log, singles).await });
    }
    while let Some(ended) = producers.join_next().await {
        ended??;
    }
    Ok(ONE_BY_ONE * PRODUCERS as usize)
}
