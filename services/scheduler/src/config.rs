//! The scheduler's settings.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use waybill_runtime::poison::PoisonLimits;

use crate::{SchedulerError, book::Rules};

const DAY_MS: i64 = 86_400_000;

/// Settings of the scheduler; every one has a default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SchedulerConfig {
    /// Name of the consumer group.
    pub group: String,
    /// Seconds of a budget's rate that may be under way at once.
    pub credit_window_s: f64,
    /// Most commands that are read in one turn of a partition.
    pub commands_per_turn: usize,
    /// Most requests that are handed out in one turn of a partition.
    pub requests_per_turn: usize,
    /// Most requests other than polls that may be under way in a partition.
    pub controls_in_flight: usize,
    /// Deadline of every call to the log, in milliseconds.
    pub request_timeout_ms: u64,
    /// Room for one step of a look in a request's expiry, in milliseconds.
    pub step_timeout_ms: u32,
    /// Days of journey time without a change after which a number expires.
    pub expiry_days: u32,
    /// Days of journey time for which a look-up registers.
    pub lookup_days: u32,
    /// Hours after which an attempt without an outcome is made again; the retention of requests.
    pub reopen_hours: u32,
    /// Longest time in seconds that one outcome may hold a budget's credit back; then one window asks again.
    pub longest_hold_s: u32,
    /// How often what is done is committed, in milliseconds; at most 2000, because commits are the lease.
    pub commit_interval_ms: u64,
    /// How long a revoked partition may be held back to finish, in milliseconds.
    pub drain_ms: u64,
    /// When poison is too much: section `poison`, which all services share.
    #[serde(skip)]
    pub poison: PoisonLimits,
}

impl Default for SchedulerConfig {
    fn default() -> Self {
        Self {
            group: "waybill-scheduler".to_owned(),
            credit_window_s: 10.0,
            commands_per_turn: 500,
            requests_per_turn: 500,
            controls_in_flight: 500,
            request_timeout_ms: 15_000,
            step_timeout_ms: 30_000,
            expiry_days: 30,
            lookup_days: 7,
            reopen_hours: 72,
            longest_hold_s: 900,
            commit_interval_ms: 1_000,
            drain_ms: 5_000,
            poison: PoisonLimits::default(),
        }
    }
}

impl SchedulerConfig {
    /// Checks the figures.
    ///
    /// # Errors
    /// [`SchedulerError::Config`] names the first that is out of range.
    pub fn check(&self) -> Result<(), SchedulerError> {
        let wrong = |what: &str| Err(SchedulerError::Config(what.to_owned()));
        if !(self.credit_window_s > 0.0 && self.credit_window_s <= 600.0) {
            return wrong("scheduler.credit_window_s must be above 0 and at most 600");
        }
        if self.commands_per_turn == 0 || self.requests_per_turn == 0 || self.controls_in_flight == 0 {
            return wrong("scheduler.commands_per_turn, requests_per_turn and controls_in_flight must be at least 1");
        }
        if !(1..=2_000).contains(&self.commit_interval_ms) {
            return wrong("scheduler.commit_interval_ms must be from 1 to 2000: commits are the lease on partitions");
        }
        if self.expiry_days == 0 || self.lookup_days == 0 || self.reopen_hours == 0 || self.request_timeout_ms == 0 {
            return wrong("scheduler.expiry_days, lookup_days, reopen_hours and request_timeout_ms must be at least 1");
        }
        self.poison.check().map_err(SchedulerError::Config)
    }

    pub(crate) fn rules(&self) -> Rules {
        Rules {
            window_s: self.credit_window_s,
            expiry_ms: i64::from(self.expiry_days) * DAY_MS,
            lookup_ms: i64::from(self.lookup_days) * DAY_MS,
            step_timeout_ms: i64::from(self.step_timeout_ms),
            reopen_ms: i64::from(self.reopen_hours) * 3_600_000,
            hold_ms: i64::from(self.longest_hold_s) * 1_000,
            controls: self.controls_in_flight,
        }
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    pub(crate) fn drain(&self) -> Duration {
        Duration::from_millis(self.drain_ms)
    }
}
