//! What tests of the embedded log share.
#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use waybill_log::{
    Appended, EmbeddedLog, EmbeddedOptions, Log, LogError, NewRecord, NewTopic, ReadFrom, Record, TopicPartition,
};
use waybill_schemas::{WallMs, topics::Cleanup};

/// A clock that a test moves.
#[derive(Clone, Default)]
pub(crate) struct Hand(Arc<AtomicI64>);

impl Hand {
    /// Sets the time.
    pub(crate) fn set(&self, ms: i64) {
        self.0.store(ms, Ordering::Relaxed);
    }

    /// Options with this clock and without a reserve on the disk.
    pub(crate) fn options(&self) -> EmbeddedOptions {
        let hand = Arc::clone(&self.0);
        let clock = Arc::new(move || WallMs::new(hand.load(Ordering::Relaxed)));
        EmbeddedOptions { min_free_bytes: 0, ..EmbeddedOptions::new(clock) }
    }
}

/// A topic.
pub(crate) fn topic(name: &str, partitions: u32, cleanup: Cleanup) -> NewTopic {
    NewTopic {
        name: name.to_owned(),
        partitions,
        cleanup,
        retention: Duration::from_millis(1_000),
        min_compaction_lag: Duration::from_millis(100),
    }
}

/// A record of a key and a value; no value is a tombstone.
pub(crate) fn record(topic: &str, partition: u32, key: &str, value: Option<&str>) -> NewRecord {
    NewRecord {
        at: TopicPartition::new(topic, partition),
        key: Some(Bytes::copy_from_slice(key.as_bytes())),
        value: value.map(|value| Bytes::copy_from_slice(value.as_bytes())),
        headers: vec![],
    }
}

/// Appends one record.
pub(crate) async fn append(log: &EmbeddedLog, record: NewRecord) -> Result<Appended, LogError> {
    log.produce(vec![record]).await.remove(0)
}

/// Everything that a partition keeps.
pub(crate) async fn read_all(log: &EmbeddedLog, topic: &str, partition: u32) -> Result<Vec<Record>, LogError> {
    let at = TopicPartition::new(topic, partition);
    let mut position = log.bounds(&at).await?.first;
    let mut all = Vec::new();
    loop {
        let from =
            ReadFrom { at: at.clone(), offset: position, max_records: 97, max_bytes: 1 << 20, wait: Duration::ZERO };
        let batch = log.read(from).await?;
        if batch.next_offset == position {
            return Ok(all);
        }
        all.extend(batch.records);
        position = batch.next_offset;
    }
}

/// Key and value of each record as text.
pub(crate) fn texts(records: &[Record]) -> Vec<(String, Option<String>)> {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    records
        .iter()
        .map(|record| (record.key.as_ref().map(text).unwrap_or_default(), record.value.as_ref().map(text)))
        .collect()
}
