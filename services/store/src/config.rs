//! How the store batches.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use waybill_runtime::poison::PoisonLimits;

/// Settings of the store; the section `store` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreConfig {
    /// A partition's range is closed when it has this many rows.
    pub batch_rows: usize,
    /// … or this many bytes as they go over the wire.
    pub batch_bytes: usize,
    /// … or when its first record has waited this long, in milliseconds.
    pub linger_ms: u64,
    /// Inserts under way at once, over all topics.
    pub max_concurrent_inserts: usize,
    /// Bytes of rows waiting in memory, over all topics; beyond, nothing more is read until some are stored.
    pub buffer_bytes: usize,
    /// Longest time for one insert, in milliseconds; then it is sent again under its token.
    pub insert_timeout_ms: u64,
    /// Longest pause between two tries while ClickHouse is away, in milliseconds.
    pub retry_max_ms: u64,
    /// At a shutdown: how long to wait for what is under way, in milliseconds; the rest is sent again by the next owner.
    pub drain_ms: u64,
    /// When poison is too much: section `poison`, which all services share. The store knows no budgets; what it counts are
    /// values that are no JSON.
    #[serde(skip)]
    pub poison: PoisonLimits,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            batch_rows: 50_000,
            batch_bytes: 8 * 1024 * 1024,
            linger_ms: 500,
            max_concurrent_inserts: 4,
            buffer_bytes: 128 * 1024 * 1024,
            insert_timeout_ms: 65_000,
            retry_max_ms: 5_000,
            drain_ms: 5_000,
            poison: PoisonLimits::default(),
        }
    }
}

/// Rows beyond which ClickHouse would write one insert as several parts: then a refused insert could leave some behind.
const MOST_ROWS: usize = 1_000_000;

/// A setting is out of range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(&'static str);

impl StoreConfig {
    /// Checks the figures.
    ///
    /// # Errors
    /// [`ConfigError`] names the first figure that is out of range.
    pub fn check(&self) -> Result<(), ConfigError> {
        if !(1..=MOST_ROWS / 2).contains(&self.batch_rows) {
            return Err(ConfigError("store.batch_rows must be from 1 to 500000"));
        }
        if !(1..=256 * 1024 * 1024).contains(&self.batch_bytes) {
            return Err(ConfigError("store.batch_bytes must be from 1 to 268435456"));
        }
        if !(1..=64).contains(&self.max_concurrent_inserts) {
            return Err(ConfigError("store.max_concurrent_inserts must be from 1 to 64"));
        }
        if self.buffer_bytes < self.batch_bytes {
            return Err(ConfigError("store.buffer_bytes must be at least store.batch_bytes"));
        }
        if self.insert_timeout_ms < 100 || self.retry_max_ms < 10 {
            return Err(ConfigError("store.insert_timeout_ms must be at least 100 and store.retry_max_ms at least 10"));
        }
        Ok(())
    }

    pub(crate) fn linger(&self) -> Duration {
        Duration::from_millis(self.linger_ms)
    }

    pub(crate) fn insert_timeout(&self) -> Duration {
        Duration::from_millis(self.insert_timeout_ms)
    }
}
