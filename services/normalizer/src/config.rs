//! The normalizer's settings.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use waybill_runtime::poison::PoisonLimits;

use crate::NormalizerError;

/// Settings of the normalizer; every one has a default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NormalizerConfig {
    /// Name of the consumer group.
    pub group: String,
    /// Most results that are taken up at once from a partition.
    pub max_batch: usize,
    /// Results of a partition that wait while others are being written; beyond, the partition is paused.
    pub max_waiting: usize,
    /// Bytes of records after which a batch is written in pieces.
    pub flush_bytes: usize,
    /// Results before the committed offset that are read again on assignment, to know the attempts that repeats may name.
    pub repeat_window: u64,
    /// Deadline of every call to the log, in milliseconds.
    pub request_timeout_ms: u64,
    /// How often what is done is committed, in milliseconds; at most 2000, idle or not.
    pub commit_interval_ms: u64,
    /// How long a revoked partition, or the end of the process, may wait for work under way, in milliseconds.
    pub drain_ms: u64,
    /// When poison is too much: section `poison`, which all services share.
    #[serde(skip)]
    pub poison: PoisonLimits,
}

impl Default for NormalizerConfig {
    fn default() -> Self {
        Self {
            group: "waybill-normalizer".to_owned(),
            max_batch: 200,
            max_waiting: 400,
            flush_bytes: 2 * 1024 * 1024,
            repeat_window: 4_096,
            request_timeout_ms: 15_000,
            commit_interval_ms: 1_000,
            drain_ms: 5_000,
            poison: PoisonLimits::default(),
        }
    }
}

impl NormalizerConfig {
    /// Checks the figures.
    ///
    /// # Errors
    /// [`NormalizerError::Config`] names the first that is out of range.
    pub fn check(&self) -> Result<(), NormalizerError> {
        let wrong = |what: &str| Err(NormalizerError::Config(what.to_owned()));
        if self.group.is_empty() {
            return wrong("normalizer.group must not be empty");
        }
        if !(1..=10_000).contains(&self.max_batch) || self.max_waiting < self.max_batch {
            return wrong("normalizer.max_batch must be from 1 to 10000, and max_waiting at least as many");
        }
        if self.flush_bytes == 0 || self.request_timeout_ms == 0 {
            return wrong("normalizer.flush_bytes and request_timeout_ms must be at least 1");
        }
        if !(1..=2_000).contains(&self.commit_interval_ms) {
            return wrong("normalizer.commit_interval_ms must be from 1 to 2000");
        }
        self.poison.check().map_err(NormalizerError::Config)
    }

    pub(crate) const fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    pub(crate) const fn commit_interval(&self) -> Duration {
        Duration::from_millis(self.commit_interval_ms)
    }

    pub(crate) const fn drain(&self) -> Duration {
        Duration::from_millis(self.drain_ms)
    }
}
