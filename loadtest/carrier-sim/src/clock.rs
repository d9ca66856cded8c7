//! The two clocks as plain numbers: wall time, and journey time that follows from it by the mapping the demo stored.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// journey = min(wall, anchor + scale · (wall − start)), all in milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct JourneyMap {
    /// Journey time at `start_ms`.
    pub anchor_ms: i64,
    /// Wall time at which the mapping begins.
    pub start_ms: i64,
    /// Journey milliseconds per wall millisecond.
    pub scale: f64,
}

impl JourneyMap {
    /// Journey time is wall time.
    pub const REAL: Self = Self { anchor_ms: 0, start_ms: 0, scale: 1.0 };

    /// Journey time at a wall instant.
    pub fn journey_at(&self, wall_ms: i64) -> i64 {
        let passed = wall_ms.saturating_sub(self.start_ms) as f64 * self.scale;
        self.anchor_ms.saturating_add(passed as i64).min(wall_ms)
    }
}

/// Reads wall time: the system's at creation plus monotonic time since, so that arrivals are never out of order within a
/// run, and follow tokio's paused time in tests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WallClock {
    origin_us: i64,
    origin: Instant,
}

impl WallClock {
    /// A clock set by the system's, once.
    #[allow(clippy::disallowed_methods, reason = "the one place where the simulator reads the system's clock")]
    pub(crate) fn start() -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self { origin_us: micros(now), origin: Instant::now() }
    }

    /// Microseconds since the Unix epoch.
    pub(crate) fn now_us(&self) -> i64 {
        self.origin_us.saturating_add(micros(self.origin.elapsed()))
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Wall time now in milliseconds since the Unix epoch, for whoever starts a plan "now".
pub fn wall_now_ms() -> i64 {
    WallClock::start().now_us() / 1_000
}
