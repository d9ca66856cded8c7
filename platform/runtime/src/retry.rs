//! Waiting between tries. The one place that uses `backoff` (unmaintained, RUSTSEC-2025-0012; see `deny.toml`): the rest
//! of Waybill sees only this policy, so the library can be replaced here.

use std::time::Duration;

use backoff::{ExponentialBackoff, backoff::Backoff};

/// Exponential delays with jitter, bounded.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    /// First delay.
    pub initial: Duration,
    /// Longest delay.
    pub max: Duration,
    /// Give up after this long; `None` never does.
    pub give_up_after: Option<Duration>,
}

impl RetryPolicy {
    /// For parts that will come back: never gives up.
    pub const FOREVER: Self =
        Self { initial: Duration::from_millis(100), max: Duration::from_secs(15), give_up_after: None };

    /// The delays of one operation.
    pub fn delays(self) -> Delays {
        Delays(ExponentialBackoff {
            current_interval: self.initial,
            initial_interval: self.initial,
            max_interval: self.max,
            max_elapsed_time: self.give_up_after,
            ..ExponentialBackoff::default()
        })
    }
}

/// The delays of one operation; reset it when the operation succeeds.
#[derive(Debug)]
pub struct Delays(ExponentialBackoff);

impl Delays {
    /// The next delay; `None` when it is time to give up.
    #[allow(clippy::should_implement_trait, reason = "an endless source of delays that can be reset is no iterator")]
    pub fn next(&mut self) -> Option<Duration> {
        self.0.next_backoff()
    }

    /// Begins again with the first delay.
    pub fn reset(&mut self) {
        self.0.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_the_maximum_and_never_beyond_its_jitter() {
        let policy =
            RetryPolicy { initial: Duration::from_millis(10), max: Duration::from_millis(80), give_up_after: None };
        let mut delays = policy.delays();
        let seen: Vec<Duration> = std::iter::from_fn(|| delays.next()).take(12).collect();
        assert_eq!(seen.len(), 12);
        assert!(seen.iter().all(|delay| *delay <= Duration::from_millis(120)), "{seen:?}");
        assert!(seen[0] <= Duration::from_millis(15), "{seen:?}");
        assert!(seen[11] >= Duration::from_millis(40), "{seen:?}");
    }
}
