//! When each number may be looked at next: ordered by (instant, number), without a clock of its own.
//!
//! Two ordered sets: what lies ahead, and what [`DueWheel::advance`] has found due; each number moves from one to the
//! other once. So the oldest due number is found, and the queue is counted, without looking at the rest.
//!
//! Why ordered sets. A heap cannot remove from its middle: every refresh and stop would leave a dead item behind, and a
//! storm of them a heap of the dead. A hierarchical timing wheel inserts in constant time, but it ticks with a clock, is
//! unordered within a slot (fairness is *oldest due first*), and moves long sleepers from ring to ring. A B-tree does all
//! of it in O(log n), needs 16 bytes a number and a third for its nodes, and replays the same from the same inputs.

use std::collections::BTreeSet;

use waybill_schemas::WallMs;

/// Numbers by due instant. A number is in it at most once per instant; callers keep the instant to remove it by.
#[derive(Debug, Default)]
pub struct DueWheel {
    ahead: BTreeSet<(WallMs, u32)>,
    due: BTreeSet<(WallMs, u32)>,
}

impl DueWheel {
    /// Adds a number. It becomes due with the first [`Self::advance`] to `at` or later.
    pub fn insert(&mut self, at: WallMs, number: u32) {
        self.ahead.insert((at, number));
    }

    /// Removes a number that was inserted for `at`; tells whether it was there.
    pub fn remove(&mut self, at: WallMs, number: u32) -> bool {
        self.ahead.remove(&(at, number)) || self.due.remove(&(at, number))
    }

    /// Everything up to and including `now` is due.
    pub fn advance(&mut self, now: WallMs) {
        while let Some(first) = self.ahead.first().copied().filter(|(at, _)| *at <= now) {
            self.ahead.pop_first();
            self.due.insert(first);
        }
    }

    /// The number that has been due for longest; ties by number.
    pub fn oldest_due(&self) -> Option<(WallMs, u32)> {
        self.due.first().copied()
    }

    /// Takes the number that has been due for longest.
    pub fn pop_due(&mut self) -> Option<(WallMs, u32)> {
        self.due.pop_first()
    }

    /// When the next number becomes due that is not yet.
    pub fn next_at(&self) -> Option<WallMs> {
        self.ahead.first().map(|(at, _)| *at)
    }

    /// Numbers that are due and wait.
    pub fn due_len(&self) -> usize {
        self.due.len()
    }

    /// All numbers.
    pub fn len(&self) -> usize {
        self.ahead.len() + self.due.len()
    }

    /// Whether a number is in it for that instant.
    pub fn contains(&self, at: WallMs, number: u32) -> bool {
        self.ahead.contains(&(at, number)) || self.due.contains(&(at, number))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Put(u32, i64),
        Remove(u32),
        Advance(i64),
        Pop,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..40_u32, 0..200_i64).prop_map(|(number, at)| Step::Put(number, at)),
            (0..40_u32).prop_map(Step::Remove),
            (0..200_i64).prop_map(Step::Advance),
            Just(Step::Pop),
        ]
    }

    proptest! {
        /// Against the plainest model there is: a map that is searched from end to end.
        #[test]
        fn it_agrees_with_a_searched_map(steps in prop::collection::vec(step(), 1..300)) {
            let mut wheel = DueWheel::default();
            let mut model: BTreeMap<u32, i64> = BTreeMap::new();
            let mut now = -1;
            for step in steps {
                match step {
                    Step::Put(number, at) => {
                        if let Some(old) = model.insert(number, at) {
                            prop_assert!(wheel.remove(WallMs::new(old), number));
                        }
                        wheel.insert(WallMs::new(at), number);
                    }
                    Step::Remove(number) => {
                        if let Some(at) = model.remove(&number) {
                            prop_assert!(wheel.remove(WallMs::new(at), number));
                            prop_assert!(!wheel.remove(WallMs::new(at), number));
                        }
                    }
                    Step::Advance(by) => now = now.max(by),
                    Step::Pop => {
                        wheel.advance(WallMs::new(now));
                        let oldest = model.iter().filter(|(_, at)| **at <= now).map(|(n, at)| (*at, *n)).min();
                        let popped = wheel.pop_due().map(|(at, number)| (at.ms(), number));
                        prop_assert_eq!(popped, oldest);
                        if let Some((_, number)) = oldest {
                            model.remove(&number);
                        }
                    }
                }
                wheel.advance(WallMs::new(now));
                prop_assert_eq!(wheel.len(), model.len());
                prop_assert_eq!(wheel.due_len(), model.values().filter(|at| **at <= now).count());
                prop_assert_eq!(wheel.next_at().map(WallMs::ms), model.values().copied().filter(|at| *at > now).min());
            }
        }
    }
}
