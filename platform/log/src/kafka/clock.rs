//! The broker's clock, from the append times of acknowledged records.
//!
//! An acknowledgement tells when the broker appended, a little while ago. So every sample is a lower bound of the broker's
//! time; the best of the last minute, carried on by the monotonic clock, is the answer.

use std::time::Duration;

use tokio::time::Instant;
use waybill_schemas::WallMs;

/// How long the best sample stands against worse ones.
const STANDING: Duration = Duration::from_secs(60);
/// Older samples are no answer.
pub(super) const FRESH: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy)]
struct Sample {
    time: WallMs,
    at: Instant,
}

/// What is known of the broker's time.
#[derive(Debug, Default)]
pub(super) struct BrokerClock {
    best: Option<Sample>,
    heard: Option<Instant>,
}

impl BrokerClock {
    /// A record was appended at `time`, as was heard `at`.
    pub(super) fn sample(&mut self, time: WallMs, at: Instant) {
        self.heard = Some(at);
        let keep =
            self.best.is_some_and(|best| at.duration_since(best.at) < STANDING && carried(best, at).ms() > time.ms());
        if !keep {
            self.best = Some(Sample { time, at });
        }
    }

    /// The broker's time; `None` when nothing was heard lately.
    pub(super) fn now(&self, at: Instant) -> Option<WallMs> {
        self.heard.filter(|heard| at.duration_since(*heard) <= FRESH)?;
        self.best.map(|best| carried(best, at))
    }
}

fn carried(sample: Sample, at: Instant) -> WallMs {
    sample.time.plus_ms(i64::try_from(at.duration_since(sample.at).as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_late_acknowledgement_does_not_set_the_clock_back_and_silence_is_no_time() {
        let (start, mut clock) = (Instant::now(), BrokerClock::default());
        assert_eq!(clock.now(start), None);
        clock.sample(WallMs::new(1_000), start);
        let later = start + Duration::from_secs(5);
        // Appended four seconds before it was heard.
        clock.sample(WallMs::new(2_000), later);
        assert_eq!(clock.now(later), Some(WallMs::new(6_000)));
        assert_eq!(clock.now(later + FRESH + Duration::from_millis(1)), None);
        // A broker whose clock was set back is believed after a while.
        let much_later = start + Duration::from_secs(61);
        clock.sample(WallMs::new(3_000), much_later);
        assert_eq!(clock.now(much_later), Some(WallMs::new(3_000)));
    }
}
