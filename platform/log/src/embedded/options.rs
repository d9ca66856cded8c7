//! How an embedded log behaves.

use std::{fmt, sync::Arc};

use waybill_schemas::{WallMs, limits};

/// Tells the wall time; append times come from it.
pub type WallClock = Arc<dyn Fn() -> WallMs + Send + Sync>;

/// Settings of an embedded log.
#[derive(Clone)]
pub struct EmbeddedOptions {
    /// Append times; within a partition they never go back, whatever the clock does.
    pub clock: WallClock,
    /// Largest record: key, value and headers, in bytes.
    pub max_record_bytes: usize,
    /// Durable only: bytes of newest records of each partition that are also kept in memory, so that readers at the end
    /// never touch the disk.
    pub tail_bytes: usize,
    /// Durable only: most bytes that wait for the disk; further producers wait.
    pub queue_bytes: usize,
    /// Durable only: room in bytes that must stay free on the disk; a produce that would go below is refused as full, so
    /// that there is always room to recover and to clean up.
    pub min_free_bytes: u64,
    /// Durable only: the storage engine's cache, in bytes.
    pub cache_bytes: u64,
}

impl EmbeddedOptions {
    /// The defaults with this clock.
    pub fn new(clock: WallClock) -> Self {
        Self {
            clock,
            max_record_bytes: limits::MAX_RECORD_BYTES,
            tail_bytes: 512 * 1024,
            queue_bytes: 16 * 1024 * 1024,
            min_free_bytes: 128 * 1024 * 1024,
            cache_bytes: 32 * 1024 * 1024,
        }
    }
}

impl fmt::Debug for EmbeddedOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedOptions")
            .field("max_record_bytes", &self.max_record_bytes)
            .field("tail_bytes", &self.tail_bytes)
            .field("queue_bytes", &self.queue_bytes)
            .field("min_free_bytes", &self.min_free_bytes)
            .field("cache_bytes", &self.cache_bytes)
            .finish_non_exhaustive()
    }
}
