//! How far a consumer is: `dispatched ≥ processed ≥ committed`, per partition (LOG-1).
//!
//! Work may end in any order; only what is contiguous from the start is processed, and only what is processed may be
//! committed. Offsets may have gaps. A partition that was lost and came back counts anew: work of its former life is
//! recognised by its ticket and ignored. Pure: no clock, no log.

use std::collections::{BTreeMap, BTreeSet};

/// One piece of dispatched work; hand it back to [`OffsetTracker::complete`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket {
    /// Whose.
    pub partition: u32,
    /// Which record.
    pub offset: u64,
    /// Which life of the assignment.
    life: u64,
}

/// What became of a dispatch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Dispatch {
    /// Take it up.
    Taken(Ticket),
    /// It was dispatched before: leave it.
    Repeated,
    /// The partition is not assigned.
    NotAssigned,
}

/// What a completion changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Completion {
    /// Everything before this offset is processed now and may be committed.
    Advanced(u64),
    /// Something earlier is still open.
    Held,
    /// Of a former life of the partition, or completed before: nothing changed.
    Stale,
}

#[derive(Debug)]
struct Partition {
    life: u64,
    /// Behind the last record dispatched.
    dispatched: u64,
    /// Dispatched and not completed.
    open: BTreeSet<u64>,
    committed: u64,
}

impl Partition {
    fn processed(&self) -> u64 {
        self.open.first().copied().unwrap_or(self.dispatched)
    }
}

/// Progress of all partitions that a consumer has.
#[derive(Debug, Default)]
pub struct OffsetTracker {
    partitions: BTreeMap<u32, Partition>,
    lives: u64,
}

impl OffsetTracker {
    /// A tracker without partitions.
    pub fn new() -> Self {
        Self::default()
    }

    /// A partition is consumed from `position` on; what was known of an earlier life is dropped.
    pub fn assign(&mut self, partition: u32, position: u64) {
        self.lives += 1;
        let fresh = Partition { life: self.lives, dispatched: position, open: BTreeSet::new(), committed: position };
        self.partitions.insert(partition, fresh);
    }

    /// A partition is no longer consumed; answers what might still be committed for it.
    pub fn revoke(&mut self, partition: u32) -> Option<u64> {
        let committable = self.committable(partition);
        self.partitions.remove(&partition);
        committable
    }

    /// A record is handed out.
    pub fn dispatch(&mut self, partition: u32, offset: u64) -> Dispatch {
        let Some(state) = self.partitions.get_mut(&partition) else { return Dispatch::NotAssigned };
        if offset < state.dispatched {
            return Dispatch::Repeated;
        }
        state.dispatched = offset + 1;
        state.open.insert(offset);
        Dispatch::Taken(Ticket { partition, offset, life: state.life })
    }

    /// Everything before `offset` that was not dispatched does not exist: a gap at the end of what was read.
    pub fn skip_to(&mut self, partition: u32, offset: u64) {
        if let Some(state) = self.partitions.get_mut(&partition) {
            state.dispatched = state.dispatched.max(offset);
        }
    }

    /// Work is done, its outputs durable.
    pub fn complete(&mut self, ticket: Ticket) -> Completion {
        let Some(state) = self.partitions.get_mut(&ticket.partition) else { return Completion::Stale };
        let before = state.processed();
        if state.life != ticket.life || !state.open.remove(&ticket.offset) {
            return Completion::Stale;
        }
        let after = state.processed();
        if after > before { Completion::Advanced(after) } else { Completion::Held }
    }

    /// What may be committed and is not: the next offset to process.
    #[must_use]
    pub fn committable(&self, partition: u32) -> Option<u64> {
        let state = self.partitions.get(&partition)?;
        let processed = state.processed();
        (processed > state.committed).then_some(processed)
    }

    /// What may be committed and is not, of all partitions.
    #[must_use]
    pub fn all_committable(&self) -> Vec<(u32, u64)> {
        let all = self.partitions.keys().filter_map(|partition| Some((*partition, self.committable(*partition)?)));
        all.collect()
    }

    /// The log acknowledged a commit. One beyond what is processed is ignored: it was not this tracker's.
    pub fn committed(&mut self, partition: u32, offset: u64) {
        if let Some(state) = self.partitions.get_mut(&partition)
            && offset <= state.processed()
        {
            state.committed = state.committed.max(offset);
        }
    }

    /// Dispatched and not completed, in all partitions.
    pub fn in_flight(&self) -> usize {
        self.partitions.values().map(|state| state.open.len()).sum()
    }

    /// Dispatched and not completed, in one partition.
    pub fn in_flight_of(&self, partition: u32) -> usize {
        self.partitions.get(&partition).map_or(0, |state| state.open.len())
    }

    /// Where dispatching goes on; `None` when the partition is not assigned.
    pub fn dispatched(&self, partition: u32) -> Option<u64> {
        self.partitions.get(&partition).map(|state| state.dispatched)
    }

    /// Everything before it is processed; `None` when the partition is not assigned.
    pub fn processed(&self, partition: u32) -> Option<u64> {
        self.partitions.get(&partition).map(Partition::processed)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use proptest::prelude::*;

    use super::*;

    fn take(tracker: &mut OffsetTracker, offset: u64) -> Ticket {
        match tracker.dispatch(0, offset) {
            Dispatch::Taken(ticket) => ticket,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn log_1_nothing_is_committable_before_it_is_processed() {
        let mut tracker = OffsetTracker::new();
        tracker.assign(0, 5);
        let (first, second) = (take(&mut tracker, 5), take(&mut tracker, 6));
        assert_eq!(tracker.committable(0), None);
        assert_eq!(tracker.complete(second), Completion::Held);
        assert_eq!(tracker.committable(0), None);
        assert_eq!(tracker.complete(first), Completion::Advanced(7));
        assert_eq!(tracker.committable(0), Some(7));
        tracker.committed(0, 7);
        assert_eq!(tracker.committable(0), None);
    }

    #[test]
    fn log_1_work_of_a_former_life_never_counts() {
        let mut tracker = OffsetTracker::new();
        tracker.assign(0, 0);
        let old = take(&mut tracker, 0);
        assert_eq!(tracker.revoke(0), None);
        assert_eq!(tracker.complete(old), Completion::Stale);
        tracker.assign(0, 0);
        let new = take(&mut tracker, 0);
        assert_eq!(tracker.complete(old), Completion::Stale);
        assert_eq!(tracker.committable(0), None);
        assert_eq!(tracker.complete(new), Completion::Advanced(1));
        assert_eq!(tracker.complete(new), Completion::Stale);
    }

    #[test]
    fn a_record_is_dispatched_once_and_only_where_assigned() {
        let mut tracker = OffsetTracker::new();
        assert_eq!(tracker.dispatch(0, 0), Dispatch::NotAssigned);
        tracker.assign(0, 3);
        assert_eq!(tracker.dispatch(0, 2), Dispatch::Repeated);
        let _ = take(&mut tracker, 9);
        assert_eq!(tracker.dispatch(0, 9), Dispatch::Repeated);
        assert_eq!(tracker.in_flight(), 1);
    }

    #[test]
    fn gaps_are_passed() {
        let mut tracker = OffsetTracker::new();
        tracker.assign(0, 0);
        let (one, two) = (take(&mut tracker, 10), take(&mut tracker, 20));
        assert_eq!(tracker.committable(0), Some(10));
        assert_eq!(tracker.complete(one), Completion::Advanced(20));
        tracker.skip_to(0, 50);
        assert_eq!(tracker.complete(two), Completion::Advanced(50));
    }

    proptest! {
        #[test]
        fn log_1_dispatched_at_least_processed_at_least_committed_whatever_the_order(
            gaps in proptest::collection::vec(0_u64..4, 1..60),
            order in proptest::collection::vec(any::<prop::sample::Index>(), 60),
            commits in proptest::collection::vec(any::<bool>(), 60),
        ) {
            let mut tracker = OffsetTracker::new();
            tracker.assign(0, 0);
            let mut offset = 0;
            let mut open: Vec<Ticket> = gaps.iter().map(|gap| {
                offset += 1 + gap;
                take(&mut tracker, offset)
            }).collect();
            let mut acknowledged = 0;
            for (pick, commit) in order.iter().zip(commits) {
                if open.is_empty() { break; }
                let ticket = open.remove(pick.index(open.len()));
                prop_assert!(tracker.complete(ticket) != Completion::Stale);
                let oldest = open.iter().map(|ticket| ticket.offset).min();
                prop_assert_eq!(tracker.processed(0).unwrap(), oldest.unwrap_or(offset + 1));
                if let (true, Some(to)) = (commit, tracker.committable(0)) {
                    prop_assert!(to > acknowledged && oldest.is_none_or(|oldest| to <= oldest));
                    tracker.committed(0, to);
                    acknowledged = to;
                }
                prop_assert!(tracker.dispatched(0).unwrap() >= tracker.processed(0).unwrap());
                prop_assert!(tracker.processed(0).unwrap() >= acknowledged);
            }
        }
    }
}
