//! A topic in memory: the newest records of each partition, its offsets, and who waits for more.
//!
//! In a log without a disk the tail holds every kept record; on a durable log it is a cache that ends at the last record
//! that is safe on disk, so nothing is ever read that could be lost again.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::Notify;
use waybill_schemas::{WallMs, topics::Cleanup};

use super::retention::Cleaned;
use crate::seam::{Batch, Bounds, Headers, NewTopic, Record};

/// Bytes a record counts for.
pub(super) fn size_of(key: Option<&Bytes>, value: Option<&Bytes>, headers: &Headers) -> usize {
    let headers: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    key.map_or(0, Bytes::len) + value.map_or(0, Bytes::len) + headers
}

/// A topic and its partitions.
#[derive(Debug)]
pub(super) struct Topic {
    /// Its number in the durable log's keys.
    pub(super) id: u32,
    pub(super) name: Arc<str>,
    pub(super) cleanup: Cleanup,
    pub(super) retention: Duration,
    pub(super) min_compaction_lag: Duration,
    pub(super) partitions: Vec<Partition>,
    /// Told at every append to any partition.
    pub(super) appended: Notify,
}

impl Topic {
    pub(super) fn new(id: u32, spec: &NewTopic, tails: Vec<Tail>) -> Self {
        let partitions = tails.into_iter().map(|tail| Partition {
            tail: Mutex::new(tail),
            cleaned: Mutex::default(),
            appended: Notify::new(),
        });
        Self {
            id,
            name: spec.name.as_str().into(),
            cleanup: spec.cleanup,
            retention: spec.retention,
            min_compaction_lag: spec.min_compaction_lag,
            partitions: partitions.collect(),
            appended: Notify::new(),
        }
    }

    /// Wakes whoever waits for records of this partition.
    pub(super) fn wake(&self, partition: u32) {
        if let Some(partition) = self.partitions.get(partition as usize) {
            partition.appended.notify_waiters();
        }
        self.appended.notify_waiters();
    }
}

/// A partition in memory.
#[derive(Debug)]
pub(super) struct Partition {
    tail: Mutex<Tail>,
    cleaned: Mutex<Cleaned>,
    pub(super) appended: Notify,
}

impl Partition {
    /// The tail, for a moment; never held across a wait.
    pub(super) fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far it has been compacted since the log was opened.
    pub(super) fn cleaned(&self) -> MutexGuard<'_, Cleaned> {
        self.cleaned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a look into the tail gave.
#[derive(Debug)]
pub(super) enum Look {
    /// Records, or none when the position is the end.
    Found(Batch),
    /// The position is older than the tail: read the disk up to `until` (not included); `end` is the next append.
    Older { until: u64, end: u64 },
    /// The position is not kept or not yet there.
    OutOfRange(Bounds),
}

/// The newest records of a partition, and its offsets.
#[derive(Debug, Default)]
pub(super) struct Tail {
    first: u64,
    next: u64,
    last_time: WallMs,
    /// Every kept record from here on is in `records`.
    from: u64,
    records: VecDeque<Record>,
    bytes: usize,
}

impl Tail {
    /// A partition as found on disk: nothing of it is in memory yet.
    pub(super) fn recovered(bounds: Bounds, last_time: WallMs) -> Self {
        Self { first: bounds.first, next: bounds.next, last_time, from: bounds.next, ..Self::default() }
    }

    pub(super) fn bounds(&self) -> Bounds {
        Bounds { first: self.first, next: self.next }
    }

    /// The append time of a record that comes now; never before the last one's.
    pub(super) fn stamp(&self, now: WallMs) -> WallMs {
        now.max(self.last_time)
    }

    /// Appends a record with an offset at or after the next.
    pub(super) fn push(&mut self, record: Record) {
        self.next = record.offset + 1;
        self.last_time = record.append_time;
        self.bytes += size_of(record.key.as_ref(), record.value.as_ref(), &record.headers);
        self.records.push_back(record);
    }

    /// Forgets the oldest records beyond `limit` bytes; they stay on disk.
    pub(super) fn shrink(&mut self, limit: usize) {
        while self.bytes > limit {
            let Some(record) = self.records.pop_front() else { break };
            self.bytes -= size_of(record.key.as_ref(), record.value.as_ref(), &record.headers);
            self.from = record.offset + 1;
        }
    }

    /// Leaves a gap: the next append comes at this offset, if it is not behind it already.
    pub(super) fn advance(&mut self, next: u64) {
        self.next = self.next.max(next);
    }

    /// Reads from an offset on.
    pub(super) fn look(&self, offset: u64, max_records: usize, max_bytes: usize) -> Look {
        if offset < self.first || offset > self.next {
            return Look::OutOfRange(self.bounds());
        }
        if offset < self.from {
            return Look::Older { until: self.from, end: self.next };
        }
        let start = self.records.partition_point(|record| record.offset < offset);
        let mut records = Vec::new();
        let mut bytes = 0;
        for record in self.records.range(start..) {
            if records.len() >= max_records.max(1) || bytes >= max_bytes.max(1) {
                break;
            }
            bytes += record.key.as_ref().map_or(0, Bytes::len) + record.value.as_ref().map_or(0, Bytes::len);
            records.push(record.clone());
        }
        let reached_end = start + records.len() == self.records.len();
        let next_offset = match records.last() {
            Some(last) if !reached_end => last.offset + 1,
            _ => self.next,
        };
        Look::Found(Batch { records, next_offset, end: self.next })
    }

    /// A record of the tail, if it knows.
    pub(super) fn record_at(&self, offset: u64) -> Result<Option<Record>, OnDisk> {
        if offset < self.first || offset >= self.next {
            return Ok(None);
        }
        if offset < self.from {
            return Err(OnDisk);
        }
        let at = self.records.partition_point(|record| record.offset < offset);
        Ok(self.records.get(at).filter(|record| record.offset == offset).cloned())
    }

    /// The first record of the tail at or after a time, and whether an older one on disk may qualify too.
    pub(super) fn offset_for_time(&self, time: WallMs) -> TimeLook {
        let at = self.records.partition_point(|record| record.append_time < time);
        let found = self.records.get(at).map(|record| record.offset);
        if at == 0 && self.from > self.first {
            return TimeLook::PerhapsOlder { first: self.first, until: self.from, otherwise: found };
        }
        TimeLook::Found(found)
    }

    /// Deletes everything before an offset.
    pub(super) fn trim(&mut self, before: u64) {
        let before = before.min(self.next);
        self.first = self.first.max(before);
        self.from = self.from.max(before);
        while self.records.front().is_some_and(|record| record.offset < before) {
            self.drop_front();
        }
    }

    /// Deletes single records.
    pub(super) fn remove(&mut self, offsets: &BTreeSet<u64>) {
        let bytes = &mut self.bytes;
        self.records.retain(|record| {
            let goes = offsets.contains(&record.offset);
            if goes {
                *bytes -= size_of(record.key.as_ref(), record.value.as_ref(), &record.headers);
            }
            !goes
        });
    }

    fn drop_front(&mut self) {
        if let Some(record) = self.records.pop_front() {
            self.bytes -= size_of(record.key.as_ref(), record.value.as_ref(), &record.headers);
        }
    }
}

/// Only the disk knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OnDisk;

/// What the tail knows about a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TimeLook {
    Found(Option<u64>),
    /// Look on disk in `first..until`; if nothing is found there, the answer is `otherwise`.
    PerhapsOlder {
        first: u64,
        until: u64,
        otherwise: Option<u64>,
    },
}
