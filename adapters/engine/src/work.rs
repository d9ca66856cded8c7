//! How much work one reading may be. Answers have caps in bytes and depth, but a page of many rows, each of which has a
//! selector look through the whole page, would keep a core busy for hours. So steps are counted, not time: the same answer
//! always comes to the same.

use std::cell::Cell;

/// Steps of one reading: a node visited, a piece of a text copied. A page of 44 KB takes less than half a million.
const MOST_STEPS: u64 = 100_000_000;

/// What is said of an answer that would take more.
pub(crate) const TOO_MUCH: &str = "reading the answer would be more work than any real answer is worth";

thread_local! {
    /// A reading is done by one thread. Whatever is no reading has no bound.
    static LEFT: Cell<u64> = const { Cell::new(u64::MAX) };
}

/// Does something that is bounded; once the steps are spent, whatever it looks for is no longer found, and [`over`] says so.
pub(crate) fn bounded<R>(work: impl FnOnce() -> R) -> R {
    struct Unbound;
    impl Drop for Unbound {
        fn drop(&mut self) {
            LEFT.set(u64::MAX);
        }
    }
    LEFT.set(MOST_STEPS);
    let _unbound = Unbound;
    work()
}

/// Counts steps; answers whether any are left.
pub(crate) fn step(steps: u64) -> bool {
    let left = LEFT.get().saturating_sub(steps);
    LEFT.set(left);
    left > 0
}

/// Counts a text of so many bytes, `at_once` of which are one step.
pub(crate) fn text(bytes: usize, at_once: usize) {
    step((bytes / at_once) as u64 + 1);
}

/// Whether the steps are spent: what was found since then says nothing.
pub(crate) fn over() -> bool {
    LEFT.get() == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_counted_for_one_piece_of_work_only() {
        assert!(step(u64::from(u32::MAX)) && !over(), "what is no reading has no bound");
        bounded(|| {
            assert!(step(MOST_STEPS - 1) && !over());
            text(15, 16);
            assert!(over() && !step(1));
        });
        assert!(step(1) && !over());
        let panicked = std::panic::catch_unwind(|| {
            bounded(|| {
                step(MOST_STEPS);
                panic!("within");
            });
        });
        assert!(panicked.is_err() && !over(), "also after a panic");
    }
}
