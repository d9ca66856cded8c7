//! What every backend of the log seam must do, as laws written against the seam alone.
//!
//! A backend implements [`Backend`] and expands [`crate::conformance_tests!`] in a test file of its own; a backend that
//! needs another law changed does not conform. Laws wait for events, with long deadlines, and never for time to pass
//! where an event tells the same.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "laws fail by panicking; they run in tests only"
)]

pub mod groups;
pub mod topics;
mod user;

use std::{any::Any, sync::Arc};

use async_trait::async_trait;

pub use self::user::User;
use crate::seam::{SharedLog, TopicPartition};

/// Makes logs to try.
#[async_trait]
pub trait Backend: Send + Sync {
    /// A log without topics of this name prefix, used by one law only.
    async fn fresh(&self) -> Instance;
}

/// A log to try and the means to hurt it.
pub struct Instance {
    /// The log.
    pub log: SharedLog,
    /// Its faults.
    pub faults: Arc<dyn Faults>,
    /// First part of all names that the law uses.
    pub prefix: String,
    /// Lives as long as the instance, e.g. a directory.
    pub keep: Box<dyn Any + Send + Sync>,
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instance").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// What can go wrong with a log. Each returns once it is in force.
#[async_trait]
pub trait Faults: Send + Sync {
    /// The next append to the partition leaves a gap before it (on Kafka: a transaction's marker).
    async fn gap(&self, at: &TopicPartition);
    /// Everything before `offset` is deleted, as by retention.
    async fn delete_before(&self, at: &TopicPartition, offset: u64);
    /// A member is no longer heard of: its session ends without its knowledge.
    async fn end_session(&self, group: &str, topic: &str, member: &str);
    /// The next commit is recorded, or not, and its caller gets an error.
    async fn lose_commit_answer(&self);
    /// The next produce is appended, or not, and its caller gets an error.
    async fn lose_produce_answer(&self);
}

/// Expands to one test for each law. The argument is an expression that makes a [`Backend`].
#[macro_export]
macro_rules! conformance_tests {
    ($backend:expr) => {
        $crate::conformance_tests!(@laws $backend, topics:
            records_come_back_as_they_were_written
            answers_and_offsets_are_in_the_order_of_the_call
            partitions_are_explicit_and_independent
            append_times_never_go_back_and_find_their_offsets
            bounds_and_single_records
            a_read_is_limited_and_gives_at_least_one_record
            a_waiting_read_wakes_at_the_next_append
            positions_that_are_not_kept_are_errors
            gaps_are_skipped
            a_record_too_large_is_refused_and_its_neighbours_are_not
            topics_are_created_once_and_described
            many_producers_share_a_partition
            a_lost_produce_answer_may_hide_an_append
            sch_2_a_zombies_late_records_never_win
        );
        $crate::conformance_tests!(@laws $backend, groups:
            one_member_gets_everything_and_nothing_before_it_starts
            a_start_is_at_an_offset_or_at_the_commit_or_at_the_first
            log_1_commits_come_back_with_their_metadata
            log_1_uncommitted_work_comes_again
            a_newcomer_moves_only_what_it_needs
            a_revoked_partition_waits_for_its_release
            a_drain_ends_with_its_budget
            log_1_what_is_drained_may_be_committed_and_what_is_lost_may_not
            a_zombie_cannot_commit_and_its_late_produce_is_only_a_record
            a_name_that_joins_again_fences_its_namesake
            leaving_hands_on_at_once
            paused_partitions_are_silent_until_resumed
            a_lost_commit_answer_renews_no_lease
            a_lease_ages_until_a_commit_is_acknowledged
            a_position_that_is_gone_is_an_error_or_the_earliest_as_asked
            deliveries_are_limited_and_no_partition_starves
        );
    };
    (@laws $backend:expr, $module:ident: $($law:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $law() {
                let instance = $crate::conformance::Backend::fresh(&$backend).await;
                $crate::conformance::$module::$law(&instance).await;
            }
        )*
    };
}
