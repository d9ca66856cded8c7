//! Commits of one member: one at a time, so that a mark (see [`super::handover`]) and a service's commit of the same
//! partition never overtake each other.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer as _},
    error::KafkaError,
};

use super::{
    fetch::{native_offset, native_partition, settled},
    handover::{Mark, Stored, decode, encode},
    shared::GroupContext,
};
use crate::seam::Commit;

pub(super) type Native = BaseConsumer<GroupContext>;

#[derive(Debug, Default)]
struct State {
    /// What this member committed, as acknowledged.
    last: BTreeMap<u32, Commit>,
    /// Partitions that carry this member's mark.
    marked: BTreeMap<u32, Mark>,
}

/// The commits of a member. Every call waits for the broker: not for the runtime's own threads.
#[derive(Debug)]
pub(super) struct Commits {
    topic: Arc<str>,
    state: Mutex<State>,
}

impl Commits {
    pub(super) fn new(topic: Arc<str>) -> Self {
        Self { topic, state: Mutex::default() }
    }

    /// Commits for the service, unless nobody waits for the answer any more.
    pub(super) fn commit(
        &self,
        native: &Native,
        commits: &[Commit],
        abandoned: impl Fn() -> bool,
    ) -> Result<(), KafkaError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // A commit that waited behind others must not be made after a later one of the same service.
        if abandoned() {
            return Err(KafkaError::Canceled);
        }
        let rows = commits.iter().map(|commit| {
            let mark = state.marked.get(&commit.partition);
            // A mark that no longer fits is left out: the partition is then free a little early, which is harmless.
            let metadata = encode(Some(&commit.metadata), mark).unwrap_or_else(|| commit.metadata.clone());
            (commit.partition, commit.offset, metadata)
        });
        self.send(native, rows)?;
        for commit in commits {
            state.last.insert(commit.partition, commit.clone());
        }
        Ok(())
    }

    /// Marks partitions as held. An error or a mark that does not fit leaves them unmarked.
    pub(super) fn mark(&self, native: &Native, holds: BTreeMap<u32, Mark>, limit: Duration) -> Result<(), KafkaError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let unknown: BTreeSet<u32> =
            holds.keys().filter(|partition| !state.last.contains_key(partition)).copied().collect();
        for (partition, stored) in self.look(native, &unknown, limit)? {
            if let Some(commit) = stored.commit {
                state.last.insert(partition, commit);
            }
        }
        let mut rows = Vec::new();
        for (partition, mark) in &holds {
            let last = state.last.get(partition);
            let offset = match last {
                Some(commit) => commit.offset,
                None => self.first(native, *partition, limit)?,
            };
            let metadata =
                encode(last.map(|commit| commit.metadata.as_str()), Some(mark)).ok_or(KafkaError::Canceled)?;
            rows.push((*partition, offset, metadata));
        }
        self.send(native, rows.into_iter())?;
        state.marked.extend(holds);
        Ok(())
    }

    /// Takes marks away.
    pub(super) fn unmark(&self, native: &Native, partitions: &[u32], limit: Duration) -> Result<(), KafkaError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rows = Vec::new();
        for partition in partitions.iter().filter(|partition| state.marked.contains_key(partition)) {
            let last = state.last.get(partition);
            let offset = match last {
                Some(commit) => commit.offset,
                None => self.first(native, *partition, limit)?,
            };
            let metadata = last.map_or_else(|| encode(None, None), |commit| encode(Some(&commit.metadata), None));
            rows.push((*partition, offset, metadata.unwrap_or_default()));
        }
        if rows.is_empty() {
            return Ok(());
        }
        self.send(native, rows.into_iter())?;
        state.marked.retain(|partition, _| !partitions.contains(partition));
        Ok(())
    }

    /// Forgets what was known of partitions that came or went: others may have committed since. A mark that could not be
    /// taken away goes too: with every later commit it would say again that the partition is held.
    pub(super) fn forget(&self, partitions: &[u32]) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.last.retain(|partition, _| !partitions.contains(partition));
        state.marked.retain(|partition, _| !partitions.contains(partition));
    }

    /// What is stored.
    pub(super) fn look(
        &self,
        native: &Native,
        partitions: &BTreeSet<u32>,
        limit: Duration,
    ) -> Result<Vec<(u32, Stored)>, KafkaError> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            list.add_partition(&self.topic, native_partition(*partition));
        }
        let mut found = Vec::new();
        for row in native.committed_offsets(list, limit)?.elements() {
            row.error()?;
            let partition = u32::try_from(row.partition()).unwrap_or(0);
            found.push(match row.offset() {
                Offset::Offset(offset) => {
                    (partition, decode(partition, u64::try_from(offset).unwrap_or(0), row.metadata()))
                }
                _ => (partition, Stored { commit: None, mark: None }),
            });
        }
        Ok(found)
    }

    fn first(&self, native: &Native, partition: u32, limit: Duration) -> Result<u64, KafkaError> {
        let (first, _) = settled(limit, || native.fetch_watermarks(&self.topic, native_partition(partition), limit))?;
        Ok(u64::try_from(first).unwrap_or(0))
    }

    fn send(&self, native: &Native, rows: impl Iterator<Item = (u32, u64, String)>) -> Result<(), KafkaError> {
        let mut list = TopicPartitionList::new();
        for (partition, offset, metadata) in rows {
            let mut row = list.add_partition(&self.topic, native_partition(partition));
            row.set_offset(native_offset(offset))?;
            row.set_metadata(metadata);
        }
        native.commit(&list, CommitMode::Sync)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_mark_that_was_not_taken_away_does_not_outlive_the_partitions_return() {
        let commits = Commits::new("t".into());
        let mark = Mark { holder: "a".to_owned(), budget_ms: 5_000 };
        commits.state.lock().unwrap().marked.extend([(3, mark.clone()), (4, mark)]);
        commits.forget(&[3]);
        assert_eq!(commits.state.lock().unwrap().marked.keys().copied().collect::<Vec<_>>(), [4]);
    }
}
