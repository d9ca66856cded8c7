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
    #[cfg(feature = "conformance")]
    pub(super) fn lose_commit_answers(&self, count: u32) {
        self.lost_commit_answers.store(count, Ordering::Release);
    }

    pub(super) fn commit_answer_is_lost(&self) -> bool {
        take(&self.lost_commit_answers)
    }

    #[cfg(feature = "conformance")]
    pub(super) fn lose_produce_answers(&self, count: u32) {
        self.lost_produce_answers.store(count, Ordering::Release);
    }

    pub(super) fn produce_answer_is_lost(&self) -> bool {
        take(&self.lost_produce_answers)
    }

    #[cfg(feature = "conformance")]
    pub(super) fn fail_writes(&self, count: u32) {
        self.failed_writes.store(count, Ordering::Release);
    }

    pub(super) fn write_fails(&self) -> bool {
        take(&self.failed_writes)
    }
}

/// Makes an embedded log misbehave; for tests.
#[cfg(feature = "conformance")]
#[derive(Clone)]
pub struct EmbeddedFaults {
    pub(super) inner: std::sync::Arc<super::inner::Inner>,
}

#[cfg(feature = "conformance")]
impl std::fmt::Debug for EmbeddedFaults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EmbeddedFaults")
    }
}

#[cfg(feature = "conformance")]
mod hooks {
    use tokio::time::Instant;

    use super::{super::disk::ops::Cut, EmbeddedFaults};
    use crate::seam::{LogError, TopicPartition};

    impl EmbeddedFaults {
        /// Leaves a gap before the next append.
        ///
        /// # Errors
        /// As producing.
        pub async fn skip_offsets(&self, at: &TopicPartition, count: u64) -> Result<(), LogError> {
            let topic = self.inner.topic(&at.topic)?;
            self.inner.cut(&topic, at.partition, Cut::Skip(count)).await
        }

        /// Deletes everything before an offset, as retention does.
        ///
        /// # Errors
        /// As producing.
        pub async fn delete_before(&self, at: &TopicPartition, offset: u64) -> Result<(), LogError> {
            let topic = self.inner.topic(&at.topic)?;
            self.inner.cut(&topic, at.partition, Cut::Before(offset)).await
        }

        /// Ends a member's session without its knowledge; whether there was such a member.
        ///
        /// # Errors
        /// [`LogError::UnknownTopic`].
        pub fn end_session(&self, group: &str, topic: &str, member: &str) -> Result<bool, LogError> {
            let topic = self.inner.topic(topic)?;
            let cell = self.inner.cell(group, &topic);
            let found = cell.with(|state| state.group.expire(member, Instant::now()));
            cell.changed.notify_waiters();
            Ok(found)
        }

        /// The next commits are recorded, but their callers are told that nobody knows.
        pub fn lose_commit_answers(&self, count: u32) {
            self.inner.faults.lose_commit_answers(count);
        }

        /// The next produces are appended, but their callers are told that nobody knows.
        pub fn lose_produce_answers(&self, count: u32) {
            self.inner.faults.lose_produce_answers(count);
        }

        /// Durable only: moves what the journal holds into the engine's tables, as it does by itself when enough is there.
        pub async fn flush_to_tables(&self) {
            self.inner.flush_to_tables().await;
        }

        /// The next writes find no room.
        pub fn fail_writes(&self, count: u32) {
            self.inner.faults.fail_writes(count);
        }
    }
}
