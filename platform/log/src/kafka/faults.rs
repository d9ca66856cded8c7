//! Lost answers, on demand: the hooks by which the conformance suite shows that the seam's promises hold. Nothing is
//! switched on by itself; the other faults are the broker's own (transactions, deleted records, members sent away).

use std::sync::atomic::{AtomicU32, Ordering};

#[derive(Debug, Default)]
pub(super) struct FaultState {
    lost_commit_answers: AtomicU32,
    lost_produce_answers: AtomicU32,
    refused_looks: AtomicU32,
}

fn take(counter: &AtomicU32) -> bool {
    counter.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1)).is_ok()
}

impl FaultState {
    pub(super) fn commit_answer_is_lost(&self) -> bool {
        take(&self.lost_commit_answers)
    }
    pub(super) fn produce_answer_is_lost(&self) -> bool {
        take(&self.lost_produce_answers)
    }
    pub(super) fn look_is_refused(&self) -> bool {
        take(&self.refused_looks)
    }
    #[cfg(feature = "conformance")]
    pub(super) fn lose_commit_answers(&self, count: u32) {
        self.lost_commit_answers.store(count, Ordering::Release);
    }
    #[cfg(feature = "conformance")]
    pub(super) fn lose_produce_answers(&self, count: u32) {
        self.lost_produce_answers.store(count, Ordering::Release);
    }
    #[cfg(feature = "conformance")]
    pub(super) fn refuse_looks(&self, count: u32) {
        self.refused_looks.store(count, Ordering::Release);
    }
}
