//! What others write to a partition that is ours: seen without reading back what we wrote ourselves.
//!
//! Offsets of our own acknowledged records are crossed off; whatever lies between and after them is foreign and is read.

use std::{collections::BTreeSet, time::Duration};

use waybill_log::{Log, LogError, ReadFrom, Record, TopicPartition};

/// Most own offsets that wait behind a foreign one before the partition must be looked at.
const MOST_WAITING: usize = 10_000;

/// Reads `[from, to)` of a partition.
pub(crate) async fn read_range(
    log: &dyn Log,
    at: &TopicPartition,
    (from, to): (u64, u64),
    deadline: Duration,
    mut each: impl FnMut(Record) -> Result<(), crate::error::End>,
) -> Result<(), crate::error::End> {
    let mut offset = from;
    while offset < to {
        let read = ReadFrom {
            at: at.clone(),
            offset,
            max_records: 1_000,
            max_bytes: 4 * 1024 * 1024,
            wait: Duration::from_millis(200),
        };
        let batch = within(deadline, log.read(read)).await?;
        for record in batch.records.into_iter().filter(|record| record.offset < to) {
            each(record)?;
        }
        if batch.next_offset <= offset && batch.end >= to {
            // Nothing is kept up to the end: a gap.
            break;
        }
        offset = batch.next_offset.max(offset);
    }
    Ok(())
}

/// A call to the log with its deadline.
pub(crate) async fn within<T>(
    deadline: Duration,
    call: impl Future<Output = Result<T, LogError>>,
) -> Result<T, LogError> {
    let answer = tokio::time::timeout(deadline, call).await;
    answer.unwrap_or_else(|_| Err(LogError::Unavailable(format!("no answer within {} ms", deadline.as_millis()))))
}

/// One partition's watch.
#[derive(Debug)]
pub(crate) struct Tail {
    pub(crate) at: TopicPartition,
    next: u64,
    own: BTreeSet<u64>,
}

impl Tail {
    /// Watches from an offset on; everything before has been read.
    pub(crate) fn new(at: TopicPartition, next: u64) -> Self {
        Self { at, next, own: BTreeSet::new() }
    }

    /// A record of ours stands there.
    pub(crate) fn own(&mut self, offset: u64) {
        self.own.insert(offset);
        while self.own.remove(&self.next) {
            self.next += 1;
        }
    }

    /// Whether so much of ours waits behind a foreign record that looking should not be put off.
    pub(crate) fn is_pressing(&self) -> bool {
        self.own.len() > MOST_WAITING
    }

    /// What others wrote since the last call. Call it when nothing of ours is on its way.
    pub(crate) async fn foreign(
        &mut self,
        log: &dyn Log,
        deadline: Duration,
    ) -> Result<Vec<Record>, crate::error::End> {
        let end = within(deadline, log.bounds(&self.at)).await?.next;
        let mut found = Vec::new();
        let own = &self.own;
        read_range(log, &self.at, (self.next, end), deadline, |record| {
            if !own.contains(&record.offset) {
                found.push(record);
            }
            Ok(())
        })
        .await?;
        self.next = self.next.max(end);
        self.own.retain(|offset| *offset >= end);
        Ok(found)
    }
}
