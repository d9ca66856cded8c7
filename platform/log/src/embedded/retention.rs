//! What topics no longer keep. Works on both storages through the same reads and cuts.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use waybill_schemas::{WallMs, topics::Cleanup};
use xxhash_rust::xxh3::xxh3_128;

use super::{disk::ops::Cut, inner::Inner, topic::Topic};
use crate::seam::{LogError, Record};

/// Records looked at, and keys deleted, in one step.
const STEP: usize = 5_000;
/// Bytes of one step.
const STEP_BYTES: usize = 8 * 1024 * 1024;
/// Keys that one pass remembers (32 bytes each); the rest of a partition waits for the next pass.
const MAX_KEYS: usize = 1_000_000;

/// What a round of [`super::EmbeddedLog::maintain`] deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Maintained {
    /// Offsets passed by age on `delete` topics.
    pub expired: u64,
    /// Records replaced by newer ones, and tombstones, on `compact` topics.
    pub compacted: u64,
}

/// How far a compacted partition has been cleaned, and whether another pass is worth it. Pure.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cleaned {
    until: u64,
    survivors: u64,
    next_tombstone: Option<WallMs>,
}

impl Cleaned {
    /// A pass reads the partition from its beginning, so it waits until half as much again has come, or a tombstone
    /// may go.
    fn is_due(&self, cleanable_until: u64, now: WallMs) -> bool {
        let dirty = cleanable_until.saturating_sub(self.until);
        (dirty > 0 && dirty >= self.survivors / 2) || self.next_tombstone.is_some_and(|at| at <= now)
    }
}

fn before(now: WallMs, age: Duration) -> WallMs {
    now.plus_ms(-i64::try_from(age.as_millis()).unwrap_or(i64::MAX))
}

/// Cleans every topic up.
pub(super) async fn maintain(log: &Arc<Inner>, now: WallMs) -> Result<Maintained, LogError> {
    let mut done = Maintained::default();
    for topic in log.topics() {
        for partition in 0..topic.partitions.len() as u32 {
            match topic.cleanup {
                Cleanup::Delete => done.expired += expire(log, &topic, partition, now).await?,
                Cleanup::Compact => done.compacted += compact(log, &topic, partition, now).await?,
            }
        }
    }
    Ok(done)
}

/// The first offset that is not older than a time; the end when all are.
async fn boundary(log: &Inner, topic: &Topic, partition: u32, time: WallMs) -> Result<u64, LogError> {
    let next = log.partition(topic, partition)?.tail().bounds().next;
    Ok(log.offset_for_time(topic, partition, time).await?.unwrap_or(next))
}

async fn expire(log: &Arc<Inner>, topic: &Arc<Topic>, partition: u32, now: WallMs) -> Result<u64, LogError> {
    let end = boundary(log, topic, partition, before(now, topic.retention)).await?;
    let first = log.partition(topic, partition)?.tail().bounds().first;
    let mut from = first;
    while from < end {
        // In steps: one huge batch would stop producers for its time.
        from = from.saturating_add(STEP as u64).min(end);
        log.cut(topic, partition, Cut::Before(from)).await?;
    }
    Ok(end.saturating_sub(first))
}

async fn compact(log: &Arc<Inner>, topic: &Arc<Topic>, partition: u32, now: WallMs) -> Result<u64, LogError> {
    // What is younger than the lag neither goes nor replaces anything.
    let end = boundary(log, topic, partition, before(now, topic.min_compaction_lag)).await?;
    let cleaned = *log.partition(topic, partition)?.cleaned();
    if !cleaned.is_due(end, now) {
        return Ok(0);
    }
    let mut newest: HashMap<u128, u64> = HashMap::new();
    let mut until = end;
    walk(log, topic, partition, end, |record| {
        if let Some(key) = &record.key {
            if newest.len() >= MAX_KEYS && !newest.contains_key(&xxh3_128(key)) {
                until = record.offset;
                return Walk::Stop;
            }
            newest.insert(xxh3_128(key), record.offset);
        }
        Walk::On
    })
    .await?;
    let tombstones_until = before(now, topic.retention);
    let mut state = Cleaned { until, ..Cleaned::default() };
    let mut gone: Vec<u64> = Vec::new();
    walk(log, topic, partition, until, |record| {
        let replaced =
            record.key.as_ref().is_some_and(|key| newest.get(&xxh3_128(key)).is_some_and(|at| *at > record.offset));
        let tombstone = record.value.is_none() && record.key.is_some();
        if replaced || (tombstone && record.append_time <= tombstones_until) {
            gone.push(record.offset);
            return Walk::On;
        }
        state.survivors += 1;
        if tombstone {
            let retention = i64::try_from(topic.retention.as_millis()).unwrap_or(i64::MAX);
            let due = record.append_time.plus_ms(retention);
            state.next_tombstone = Some(state.next_tombstone.map_or(due, |earlier| earlier.min(due)));
        }
        Walk::On
    })
    .await?;
    for step in gone.chunks(STEP) {
        let offsets: BTreeSet<u64> = step.iter().copied().collect();
        log.cut(topic, partition, Cut::Records(offsets)).await?;
    }
    *log.partition(topic, partition)?.cleaned() = state;
    Ok(gone.len() as u64)
}

#[derive(PartialEq, Eq)]
enum Walk {
    On,
    Stop,
}

/// Shows every record before `end`, in order.
async fn walk(
    log: &Inner,
    topic: &Arc<Topic>,
    partition: u32,
    end: u64,
    mut show: impl FnMut(&Record) -> Walk,
) -> Result<(), LogError> {
    let mut position = log.partition(topic, partition)?.tail().bounds().first;
    while position < end {
        tokio::task::consume_budget().await;
        let batch = log.read_now(topic, partition, position, (STEP, STEP_BYTES)).await?;
        for record in batch.records.iter().take_while(|record| record.offset < end) {
            if show(record) == Walk::Stop {
                return Ok(());
            }
        }
        position = batch.next_offset;
    }
    Ok(())
}
