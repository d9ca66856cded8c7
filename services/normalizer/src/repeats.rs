//! Results of one attempt that come twice: a fetcher was killed between its result and its commit, and another answered
//! the request again. The first by offset counts (DESIGN §4.6); later ones are dropped without a trace on any topic.
//!
//! Attempts of a number rise and never overlap, so the last one of each number tells. What is remembered is bounded: the
//! numbers of the last so many results, for a repeat follows its first within moments.

use std::collections::{HashMap, VecDeque};

use waybill_schemas::ShipmentKey;
use xxhash_rust::xxh3::xxh3_128;

/// The last attempts of a partition's numbers.
#[derive(Debug)]
pub(crate) struct Repeats {
    last: HashMap<u128, i64>,
    order: VecDeque<u128>,
    most: usize,
}

/// What a result is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Arrival {
    /// The first of its attempt.
    First,
    /// Its attempt, or a later one, has been seen.
    Repeat,
}

impl Repeats {
    /// Remembers this many numbers.
    pub(crate) fn new(most: usize) -> Self {
        Self { last: HashMap::new(), order: VecDeque::new(), most: most.max(1) }
    }

    /// Takes note of a result.
    pub(crate) fn note(&mut self, key: &ShipmentKey, attempt: i64) -> Arrival {
        let name = xxh3_128(key.record_key().as_bytes());
        match self.last.get_mut(&name) {
            Some(last) if attempt <= *last => Arrival::Repeat,
            Some(last) => {
                *last = attempt;
                Arrival::First
            }
            None => {
                if self.order.len() >= self.most
                    && let Some(oldest) = self.order.pop_front()
                {
                    self.last.remove(&oldest);
                }
                self.order.push_back(name);
                self.last.insert(name, attempt);
                Arrival::First
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn key(number: &str) -> ShipmentKey {
        ShipmentKey::new("test-post".parse().unwrap(), number.parse().unwrap())
    }

    #[test]
    fn fet_1_the_first_result_of_an_attempt_counts() {
        let mut repeats = Repeats::new(10);
        assert_eq!(repeats.note(&key("AAA"), 5), Arrival::First);
        assert_eq!(repeats.note(&key("AAA"), 5), Arrival::Repeat);
        assert_eq!(repeats.note(&key("AAA"), 4), Arrival::Repeat);
        assert_eq!(repeats.note(&key("BBB"), 5), Arrival::First);
        assert_eq!(repeats.note(&key("AAA"), 6), Arrival::First);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut repeats = Repeats::new(3);
        for index in 0..100 {
            let _ = repeats.note(&key(&format!("N{index:03}")), 1);
        }
        assert_eq!((repeats.last.len(), repeats.order.len()), (3, 3));
        assert_eq!(repeats.note(&key("N099"), 1), Arrival::Repeat);
    }
}
