//! Where a partition's work begins: what the group has committed, what the log still keeps, the range that was under way.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use waybill_log::{ErrorClass, LogError, ReadFrom, TopicPartition};
use waybill_runtime::telemetry::promise_violated_times;
use waybill_schemas::topics::{self, Cleanup};

use super::{Consumer, LOG_RETRY, Partition};
use crate::{
    StoreError,
    buffer::{Filling, Sealed},
    flight::Flight,
    plan::Plan,
};

/// Most bytes of one read when a range is read again.
const REREAD_BYTES: usize = 4 * 1024 * 1024;

impl Consumer {
    /// Takes over what was assigned; where the log does not answer, again after a pause. Never tried on here, nor is the pause
    /// waited for: a member that is not asked for its events does not learn that it has to join anew, and would be refused for
    /// ever, and partitions that were taken over need the loop's turns.
    pub(super) async fn adopt_wanted(&mut self) -> Result<(), StoreError> {
        if Instant::now() < self.wanted_at {
            return Ok(());
        }
        while let Some(partition) = self.next_wanted() {
            match self.adopt(partition).await {
                Ok(()) => self.component.beat(),
                Err(StoreError::Log { source: LogError::NotOwned(_), .. }) => self.forget(partition),
                Err(StoreError::Log { source, .. }) if source.class() == ErrorClass::Retry => {
                    tracing::warn!(topic = %self.topic, partition, error = %source, "store.partition_not_taken");
                    self.component.not_ready(&source.to_string());
                    self.wanted.insert(partition);
                    self.wanted_at = Instant::now() + self.pauses.next().unwrap_or(LOG_RETRY.max);
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The next to take over, in turn: one that cannot be taken over holds up no other.
    fn next_wanted(&mut self) -> Option<u32> {
        let next = self.wanted.range(self.wanted_from..).next().or_else(|| self.wanted.first()).copied()?;
        self.wanted_from = next.saturating_add(1);
        self.wanted.remove(&next).then_some(next)
    }

    /// Takes a partition over where the group left it: a range that was under way is read again and sent again, exactly.
    async fn adopt(&mut self, partition: u32) -> Result<(), StoreError> {
        self.forget(partition);
        let at = self.at(partition);
        let committed = self.member.committed(partition).await.map_err(|error| self.fail(error))?;
        let bounds = self.shared.log.bounds(&at).await.map_err(|error| self.fail(error))?;
        let mut position = bounds.first;
        let mut flight = None;
        if let Some(commit) = committed {
            let plan = Plan::of_commit(commit.offset, &commit.metadata).map_err(|()| StoreError::Metadata {
                topic: self.topic.to_string(),
                partition,
                metadata: commit.metadata.clone(),
            })?;
            let read_up_to = plan.as_ref().map_or(commit.offset, |plan| plan.last() + 1);
            if read_up_to > bounds.next {
                // Going on would give new records the tokens of old ones, which ClickHouse then drops.
                let (end, committed) = (bounds.next, read_up_to);
                return Err(StoreError::LogReplaced { topic: self.topic.to_string(), partition, end, committed });
            }
            self.note_gap(partition, commit.offset, bounds.first);
            position = commit.offset.max(bounds.first);
            if let Some(plan) = plan {
                let range = self.reread(&at, position, plan.last()).await?;
                flight = range.map(|range| Flight::resumed(self.source, range, plan));
                if flight.is_none() {
                    position = read_up_to.max(bounds.first);
                }
            }
        }
        let from = flight.as_ref().map_or(position, |flight| flight.last() + 1);
        self.member.start(partition, Some(from)).await.map_err(|error| self.fail(error))?;
        self.shared.buffered.fetch_add(flight.as_ref().map_or(0, |flight| flight.range().bytes), Ordering::Relaxed);
        self.generation += 1;
        let cancel = CancellationToken::new();
        let part = Partition {
            generation: self.generation,
            filling: Filling::new(self.source.tables.len()),
            since: None,
            flight,
            position,
            uncommitted: false,
            paused: false,
            _cancel_on_drop: cancel.clone().drop_guard(),
            cancel,
        };
        self.partitions.insert(partition, part);
        tracing::info!(topic = %self.topic, partition, position, from, "store.partition_assigned");
        Ok(())
    }

    /// Records that retention took before they were stored are gone; it is said aloud and counted.
    fn note_gap(&self, partition: u32, committed: u64, first: u64) {
        let deleted = topics::find(self.source.topic).is_some_and(|spec| spec.cleanup == Cleanup::Delete);
        if committed < first && deleted {
            let lost = first - committed;
            let (topic, last) = (&self.topic, first - 1);
            let what = format!("records {committed} to {last} of {topic}/{partition} expired before they were stored");
            promise_violated_times("STO-1", lost, &what);
        }
    }

    async fn reread(&mut self, at: &TopicPartition, from: u64, last: u64) -> Result<Option<Sealed>, StoreError> {
        let mut filling = Filling::new(self.source.tables.len());
        let mut offset = from;
        while offset <= last {
            let read = ReadFrom {
                at: at.clone(),
                offset,
                max_records: self.source.max_batch,
                max_bytes: REREAD_BYTES,
                wait: Duration::ZERO,
            };
            let batch = self.shared.log.read(read).await.map_err(|error| self.fail(error))?;
            let in_range = batch.records.iter().take_while(|record| record.offset <= last);
            // Counted when it was first read.
            in_range.for_each(|record| {
                let _ = self.source.take(record, at.partition, &mut filling);
            });
            self.component.beat();
            if batch.next_offset <= offset {
                // Compacted away to its end: nothing of the range is left from here on.
                break;
            }
            offset = batch.next_offset;
        }
        Ok(filling.seal())
    }

    fn at(&self, partition: u32) -> TopicPartition {
        TopicPartition::new(Arc::clone(&self.topic), partition)
    }
}
