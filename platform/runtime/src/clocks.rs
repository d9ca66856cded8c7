//! The two clocks (DESIGN §9 of the demo): *wall*, the machine's, and *journey*, the one parcels live by.
//!
//! journey = min(wall, anchor + scale · (wall − start)). With scale 1 and anchor = start it is the wall clock.
//! Under tokio's paused time both stand still with it, so tests run on simulated time.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use waybill_schemas::{JourneyMs, WallMs};

/// How journey time follows wall time; stored at the first start and kept.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct JourneyScale {
    /// Journey time at `start`.
    pub anchor: JourneyMs,
    /// Wall time at which the mapping begins.
    pub start: WallMs,
    /// Journey milliseconds per wall millisecond, at least 1.
    pub scale: f64,
}

impl JourneyScale {
    /// Journey time is wall time.
    pub const REAL: Self = Self { anchor: JourneyMs::ZERO, start: WallMs::ZERO, scale: 1.0 };

    /// Journey time at a wall instant.
    pub fn journey_at(&self, wall: WallMs) -> JourneyMs {
        let passed = wall.since_ms(self.start) as f64 * self.scale;
        let scaled = self.anchor.ms().saturating_add(passed as i64);
        JourneyMs::new(scaled.min(wall.ms()))
    }

    /// The earliest wall instant at which journey time has reached `journey`; never before `start`.
    pub fn wall_at(&self, journey: JourneyMs) -> WallMs {
        let passed = journey.since_ms(self.anchor) as f64 / self.scale;
        let scaled = self.start.ms().saturating_add(passed.ceil() as i64);
        // Once journey has caught up with wall, both advance together.
        WallMs::new(scaled.max(journey.ms()).max(self.start.ms()))
    }
}

/// Reads both clocks. Cheap to copy. Wall time is the system's at creation plus monotonic time since, so it never jumps;
/// [`Self::system_now`] is the system's own.
#[derive(Debug, Clone, Copy)]
pub struct Clocks {
    origin_wall: WallMs,
    origin: Instant,
    scale: JourneyScale,
}

impl Clocks {
    /// Clocks whose journey time is wall time.
    pub fn real() -> Self {
        Self::scaled(JourneyScale::REAL)
    }

    /// Clocks with a journey scale.
    pub fn scaled(scale: JourneyScale) -> Self {
        Self { origin_wall: Self::system_now(), origin: Instant::now(), scale }
    }

    /// Clocks that begin at a given wall instant; for simulated time.
    pub fn starting_at(wall: WallMs, scale: JourneyScale) -> Self {
        Self { origin_wall: wall, origin: Instant::now(), scale }
    }

    /// Wall time now.
    pub fn wall(&self) -> WallMs {
        let passed = i64::try_from(self.origin.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.origin_wall.plus_ms(passed)
    }

    /// Wall time now in microseconds since the Unix epoch, for limiters.
    pub fn wall_us(&self) -> i64 {
        let passed = i64::try_from(self.origin.elapsed().as_micros()).unwrap_or(i64::MAX);
        self.origin_wall.ms().saturating_mul(1_000).saturating_add(passed)
    }

    /// Journey time now.
    pub fn journey(&self) -> JourneyMs {
        self.scale.journey_at(self.wall())
    }

    /// The mapping in force.
    pub fn scale(&self) -> JourneyScale {
        self.scale
    }

    /// How long from now until a wall instant; zero when it has passed.
    pub fn until(&self, wall: WallMs) -> Duration {
        Duration::from_millis(u64::try_from(wall.since_ms(self.wall())).unwrap_or(0))
    }

    /// What the operating system says the time is.
    #[allow(clippy::disallowed_methods, reason = "the one place where the system's clock is read")]
    pub fn system_now() -> WallMs {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        WallMs::new(i64::try_from(now.as_millis()).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;

    #[test]
    fn journey_runs_fast_and_then_stays_with_the_wall() {
        let start = WallMs::new(1_000 * DAY);
        let scale = JourneyScale { anchor: JourneyMs::new(955 * DAY), start, scale: 1_000.0 };
        assert_eq!(scale.journey_at(start).ms(), 955 * DAY);
        assert_eq!(scale.journey_at(start.plus_ms(DAY / 1_000)).ms(), 956 * DAY);
        let late = start.plus_ms(DAY);
        assert_eq!(scale.journey_at(late).ms(), late.ms());
        for wall in [start, start.plus_ms(5_000), late] {
            let journey = scale.journey_at(wall);
            assert!(scale.journey_at(scale.wall_at(journey)) >= journey);
        }
    }

    #[test]
    fn real_scale_is_the_wall_clock() {
        let wall = WallMs::new(1_700_000_000_000);
        assert_eq!(JourneyScale::REAL.journey_at(wall).ms(), wall.ms());
        assert_eq!(JourneyScale::REAL.wall_at(JourneyMs::new(wall.ms())), wall);
    }
}
