//! A member of a group on the embedded log: what it has started, paused and how far it has read.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::Instant;

use super::{
    cell::GroupCell,
    group::{Change, MemberId},
    inner::Inner,
    topic::Topic,
};
use crate::{
    ownership::Ownership,
    seam::{Batch, Commit, GroupEvent, GroupMember, JoinGroup, LogError, OutOfRange},
};

/// Most bytes of one delivery.
const MAX_DELIVERY_BYTES: usize = 4 * 1024 * 1024;
/// Longest metadata of a commit, in bytes.
const MAX_METADATA_BYTES: usize = 4 * 1024;
/// Stands in for waits that no clock can express.
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// One life of a member.
pub(super) struct Member {
    log: Arc<Inner>,
    topic: Arc<Topic>,
    cell: Arc<GroupCell>,
    id: MemberId,
    ownership: Ownership,
    out_of_range: OutOfRange,
    max_batch: usize,
    /// Next offset of each started partition.
    positions: BTreeMap<u32, u64>,
    paused: BTreeSet<u32>,
    /// The partition served last: the next look begins behind it, so that a busy one starves no other.
    served: u32,
}

impl Member {
    pub(super) fn join(log: Arc<Inner>, topic: Arc<Topic>, cell: Arc<GroupCell>, group: &JoinGroup) -> Self {
        let (id, ownership) = cell.with(|state| state.group.join(&group.member, group.drain_budget, Instant::now()));
        cell.changed.notify_waiters();
        Self {
            log,
            topic,
            cell,
            id,
            ownership,
            out_of_range: group.out_of_range,
            max_batch: group.max_batch.max(1),
            positions: BTreeMap::new(),
            paused: BTreeSet::new(),
            served: 0,
        }
    }

    fn change(&mut self) -> Result<Option<GroupEvent>, LogError> {
        let now = Instant::now();
        let (moved, change) = self.cell.with(|state| (state.group.tick(now), state.group.take_change(self.id, now)));
        if moved {
            self.cell.changed.notify_waiters();
        }
        match change {
            None => Ok(None),
            Some(Change::Gone) => Err(LogError::Fenced),
            Some(Change::Assigned(partitions)) => Ok(Some(GroupEvent::Assigned(partitions))),
            Some(Change::Revoked(partitions)) => {
                for partition in &partitions {
                    self.positions.remove(partition);
                    self.paused.remove(partition);
                }
                Ok(Some(GroupEvent::Revoked(partitions)))
            }
        }
    }

    /// Records of the next partition that has any.
    async fn deliver(&mut self) -> Result<Option<GroupEvent>, LogError> {
        let behind = self.positions.range(self.served.saturating_add(1)..);
        let before = self.positions.range(..=self.served);
        let order: Vec<(u32, u64)> = behind.chain(before).map(|(partition, offset)| (*partition, *offset)).collect();
        for (partition, offset) in order {
            if self.paused.contains(&partition) {
                continue;
            }
            let batch = self.fetch(partition, offset).await?;
            // A revoke may have come in between: nothing is delivered from a partition that is known to be lost.
            if !self.ownership.holds(partition) {
                continue;
            }
            self.positions.insert(partition, batch.next_offset);
            if !batch.records.is_empty() {
                self.served = partition;
                return Ok(Some(GroupEvent::Records { partition, records: batch.records }));
            }
        }
        Ok(None)
    }

    async fn fetch(&self, partition: u32, offset: u64) -> Result<Batch, LogError> {
        match self.log.read_now(&self.topic, partition, offset, (self.max_batch, MAX_DELIVERY_BYTES)).await {
            Err(LogError::OutOfRange { first, next, .. }) if self.out_of_range == OutOfRange::Earliest => {
                tracing::warn!(topic = %self.topic.name, partition, offset, first, next, "log.position_gone");
                self.log.read_now(&self.topic, partition, first, (self.max_batch, MAX_DELIVERY_BYTES)).await
            }
            other => other,
        }
    }

    fn not_owned(&self, partition: u32) -> LogError {
        let known = self.cell.with(|state| state.group.has(self.id));
        if known { LogError::NotOwned(partition) } else { LogError::Fenced }
    }
}

#[async_trait]
impl GroupMember for Member {
    async fn next(&mut self, wait: Duration) -> Result<GroupEvent, LogError> {
        let deadline = Instant::now() + wait.min(FAR);
        let (log, topic, cell) = (Arc::clone(&self.log), Arc::clone(&self.topic), Arc::clone(&self.cell));
        loop {
            // Everything below may be ready at once, for ever: let others run.
            tokio::task::consume_budget().await;
            log.check_open()?;
            // Both are armed before looking, so that what comes in between is not missed.
            let (changed, appended) = (cell.changed.notified(), topic.appended.notified());
            tokio::pin!(changed, appended);
            changed.as_mut().enable();
            appended.as_mut().enable();
            if let Some(event) = self.change()? {
                return Ok(event);
            }
            if let Some(event) = self.deliver().await? {
                return Ok(event);
            }
            if Instant::now() >= deadline {
                return Ok(GroupEvent::Idle);
            }
            let wake = cell.with(|state| state.group.next_deadline()).map_or(deadline, |drain| drain.min(deadline));
            tokio::select! {
                () = changed => {}
                () = appended => {}
                () = log.closing() => {}
                () = tokio::time::sleep_until(wake) => {}
            }
        }
    }

    async fn start(&mut self, partition: u32, offset: Option<u64>) -> Result<(), LogError> {
        if !self.cell.with(|state| state.group.owns(self.id, partition)) {
            return Err(self.not_owned(partition));
        }
        let position = match offset {
            Some(offset) => offset,
            None => match self.cell.with(|state| state.commits.get(&partition).map(|commit| commit.offset)) {
                Some(committed) => committed,
                None => self.log.partition(&self.topic, partition)?.tail().bounds().first,
            },
        };
        self.positions.insert(partition, position);
        Ok(())
    }

    fn pause(&mut self, partitions: &[u32]) {
        self.paused.extend(partitions);
    }

    fn resume(&mut self, partitions: &[u32]) {
        self.paused.retain(|partition| !partitions.contains(partition));
    }

    async fn commit(&mut self, commits: &[Commit]) -> Result<(), LogError> {
        for commit in commits {
            if commit.metadata.len() > MAX_METADATA_BYTES {
                return Err(LogError::TooLarge { bytes: commit.metadata.len(), limit: MAX_METADATA_BYTES });
            }
        }
        self.log.commit(&self.cell, self.id, commits).await?;
        if self.log.faults.commit_answer_is_lost() {
            return Err(LogError::Unavailable("the answer to a commit was lost".to_owned()));
        }
        self.ownership.renew();
        Ok(())
    }

    async fn committed(&mut self, partition: u32) -> Result<Option<Commit>, LogError> {
        self.log.check_open()?;
        Ok(self.cell.with(|state| state.commits.get(&partition).cloned()))
    }

    fn release(&mut self, partitions: &[u32]) {
        self.cell.with(|state| state.group.release(self.id, partitions, Instant::now()));
        self.cell.changed.notify_waiters();
    }

    fn ownership(&self) -> Ownership {
        self.ownership.clone()
    }

    async fn leave(self: Box<Self>) {
        // Dropping leaves.
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.cell.with(|state| state.group.leave(self.id, Instant::now()));
        self.cell.changed.notify_waiters();
    }
}
