//! What can go wrong, on demand: the hooks by which the conformance suite shows that the seam's promises hold.
//!
//! Nothing here is reachable unless somebody asks for it, and nothing is switched on by itself.

use std::sync::atomic::{AtomicU32, Ordering};

/// Faults that will happen.
#[derive(Debug, Default)]
pub(super) struct FaultState {
    lost_commit_answers: AtomicU32,
    lost_produce_answers: AtomicU32,
    failed_writes: AtomicU32,
}

fn take(counter: &AtomicU32) -> bool {
    counter.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1)).is_ok()
}

impl FaultState {
    pub(super) fn lose_commit_answers(&self, count: u32) {
        self.lost_commit_answers.store(count, Ordering::Release);
    }

    pub(super) fn commit_answer_is_lost(&self) -> bool {
        take(&self.lost_commit_answers)
    }

    pub(super) fn lose_produce_answers(&self, count: u32) {
        self.lost_produce_answers.store(count, Ordering::Release);
    }

    pub(super) fn produce_answer_is_lost(&self) -> bool {
        take(&self.lost_produce_answers)
    }

    pub(super) fn fail_writes(&self, count: u32) {
        self.failed_writes.store(count, Ordering::Release);
    }

    pub(super) fn write_fails(&self) -> bool {
        take(&self.failed_writes)
    }
}
