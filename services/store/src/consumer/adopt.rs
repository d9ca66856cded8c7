//! Where a partition's work begins: what the group has committed, what the log still keeps, the range that was under way.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio_util::sync::CancellationToken;
use waybill_log::{LogError, ReadFrom, TopicPartition};
use waybill_runtime::telemetry::promise_violated_times;
use waybill_schemas::topics::{self, Cleanup};

use super::{Consumer, Partition};
use crate::{
    StoreError,
    buffer::{Filling, Sealed},
    flight::Flight,
    plan::Plan,
};

/// Most bytes of one read when a range is read again.
const REREAD_BYTES: usize = 4 * 1024 * 1024;

impl Consumer {
    /// Takes a partition over where the group left it: a range that was under way is read again and sent again, exactly.
    pub(super) async fn adopt(&mut self, partition: u32) -> Result<(), StoreError> {
        self.forget(partition);
        let at = self.at(partition);
        let committed = loop {
            match self.member.committed(partition).await {
                Ok(committed) => break committed,
                Err(error) => self.on_log_error(error).await?,
            }
        };
        let bounds = loop {
            match self.shared.log.bounds(&at).await {
                Ok(bounds) => break bounds,
                Err(error) => self.on_log_error(error).await?,
            }
        };
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
                self.shared.buffered.fetch_add(range.as_ref().map_or(0, |range| range.bytes), Ordering::Relaxed);
                flight = range.map(|range| Flight::resumed(self.source, range, plan));
                if flight.is_none() {
                    position = read_up_to.max(bounds.first);
                }
            }
        }
        let from = flight.as_ref().map_or(position, |flight| flight.last() + 1);
        loop {
            match self.member.start(partition, Some(from)).await {
                Ok(()) => break,
                Err(error @ LogError::NotOwned(_)) => return Err(self.fail(error)),
                Err(error) => self.on_log_error(error).await?,
            }
        }
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
            let batch = match self.shared.log.read(read).await {
                Ok(batch) => batch,
                Err(error) => {
                    self.on_log_error(error).await?;
                    continue;
                }
            };
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
