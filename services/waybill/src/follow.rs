//! Following compacted topics: the newest value of every key, kept current in the background.
//!
//! Read to its end before anybody works with it (DESIGN §9, policies), then followed until shutdown.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tokio_util::sync::CancellationToken;
use waybill_log::{Batch, ErrorClass, LogError, ReadFrom, Record, SharedLog, TopicPartition};
use waybill_runtime::Component;

/// How long one read of what is there may wait for it.
const READ_WAIT: Duration = Duration::from_millis(500);
/// How long one read waits for what is to come.
const FOLLOW_WAIT: Duration = Duration::from_secs(5);

/// The newest JSON value of every key of a topic. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    values: Arc<RwLock<BTreeMap<String, serde_json::Value>>>,
}

impl Table {
    /// The newest value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<serde_json::Value> {
        self.values.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// What this process has just written itself, so that it reads its own orders at once; following puts everything right.
    pub(crate) fn put(&self, key: &str, value: serde_json::Value) {
        self.values.write().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned(), value);
    }

    fn apply(&self, batch: &Batch) {
        let mut values = self.values.write().unwrap_or_else(PoisonError::into_inner);
        for record in &batch.records {
            apply_one(&mut values, record);
        }
    }

    /// Reads a topic to its end.
    ///
    /// # Errors
    /// Whatever the log reports.
    pub(crate) async fn read(log: &SharedLog, topic: &str, partitions: u32) -> Result<(Self, Vec<u64>), LogError> {
        let table = Self::default();
        let mut places = Vec::new();
        for partition in 0..partitions {
            let at = TopicPartition::new(topic, partition);
            let bounds = log.bounds(&at).await?;
            let mut next = bounds.first;
            while next < bounds.next {
                next = table.step(log, &at, next, READ_WAIT).await?;
            }
            places.push(next);
        }
        Ok((table, places))
    }

    async fn step(&self, log: &SharedLog, at: &TopicPartition, from: u64, wait: Duration) -> Result<u64, LogError> {
        let read = ReadFrom { at: at.clone(), offset: from, max_records: 1_000, max_bytes: 1 << 20, wait };
        let batch = log.read(read).await?;
        self.apply(&batch);
        Ok(batch.next_offset)
    }

    /// Follows one partition until shutdown; `component` is ready while the log answers.
    ///
    /// # Errors
    /// What the log reports and cannot be tried again.
    pub(crate) async fn follow(
        self,
        log: SharedLog,
        at: TopicPartition,
        mut from: u64,
        (component, shutdown): (Component, CancellationToken),
    ) -> Result<(), LogError> {
        // Not at once: whether the log answers is known before anything new comes.
        let mut wait = Duration::ZERO;
        loop {
            let step = self.step(&log, &at, from, wait);
            let stepped = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                stepped = step => stepped,
            };
            match stepped {
                Ok(next) => {
                    (from, wait) = (next, FOLLOW_WAIT);
                    component.ready();
                }
                Err(LogError::OutOfRange { first, .. }) => from = first,
                Err(error) if error.class() == ErrorClass::Retry => {
                    component.not_ready(&error.to_string());
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// A tombstone removes its key; a value that is no JSON changes nothing.
fn apply_one(values: &mut BTreeMap<String, serde_json::Value>, record: &Record) {
    let Some(key) = record.key_str() else { return };
    match &record.value {
        None => {
            values.remove(key);
        }
        Some(bytes) => match serde_json::from_slice(bytes) {
            Ok(value) => {
                values.insert(key.to_owned(), value);
            }
            Err(error) => tracing::warn!(key, %error, "follow.unreadable_value"),
        },
    }
}
