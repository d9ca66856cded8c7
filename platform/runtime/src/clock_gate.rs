//! Whether this process's clock may be trusted: it is compared with the log's, which every process shares.
//!
//! A process whose clock is more than [`TOLERANCE`] off is not ready and sends nothing to carriers (DESIGN §5, clocks):
//! limiters restore from instants that others wrote, and a clock that is ahead would spend what is not there yet.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use waybill_schemas::WallMs;

/// The most that a clock may be off the log's.
pub const TOLERANCE: Duration = Duration::from_secs(5);

/// Open while the clock may be trusted. Cheap to clone; the default is open, for processes that have no other clock to
/// compare with.
#[derive(Debug, Clone)]
pub struct ClockGate {
    open: Arc<AtomicBool>,
}

impl Default for ClockGate {
    fn default() -> Self {
        Self { open: Arc::new(AtomicBool::new(true)) }
    }
}

impl ClockGate {
    /// Closed until the first comparison.
    pub fn closed() -> Self {
        let gate = Self::default();
        gate.set(Trust::Withheld);
        gate
    }

    /// Whether anything that depends on the clock may be done.
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// What the last comparison found.
    pub fn set(&self, trust: Trust) {
        self.open.store(trust == Trust::Given, Ordering::Release);
    }
}

/// Whether a clock may be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// It agrees with the log's.
    Given,
    /// It does not.
    Withheld,
}

/// The log's clock as asked at `asked` and answered at `answered` by our own: by how many ms ours is certainly off
/// (positive: ahead), the time of asking taken into account; 0 when it may be right.
pub fn certainly_off_ms(asked: WallMs, log: WallMs, answered: WallMs) -> i64 {
    if log < asked {
        asked.since_ms(log)
    } else if log > answered {
        answered.since_ms(log)
    } else {
        0
    }
}

/// What is to be thought of a clock that is off by this.
pub fn judge(off_ms: i64) -> Trust {
    let most = i64::try_from(TOLERANCE.as_millis()).unwrap_or(i64::MAX);
    if off_ms.abs() > most { Trust::Withheld } else { Trust::Given }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_answer_is_no_wrong_clock_and_a_wrong_clock_is_seen_through_it() {
        let at = WallMs::new;
        assert_eq!(certainly_off_ms(at(1_000), at(30_000), at(60_000)), 0);
        assert_eq!(certainly_off_ms(at(10_000), at(4_000), at(10_050)), 6_000, "ours is ahead");
        assert_eq!(certainly_off_ms(at(10_000), at(16_050), at(10_050)), -6_000, "ours is behind");
        assert_eq!((judge(5_000), judge(-5_000)), (Trust::Given, Trust::Given));
        assert_eq!((judge(5_001), judge(-5_001)), (Trust::Withheld, Trust::Withheld));
    }

    #[test]
    fn a_gate_is_shared() {
        let gate = ClockGate::closed();
        let other = gate.clone();
        assert!(!other.is_open());
        gate.set(Trust::Given);
        assert!(other.is_open() && ClockGate::default().is_open());
    }
}
