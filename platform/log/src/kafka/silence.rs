//! Whether a place from which nothing comes has nothing to give.
//!
//! librdkafka fetches by itself, and says when it cannot. Should it once stop without a word, nobody would notice: a position
//! that stands still looks like a partition where nothing happens. So now and then the broker is asked where the partitions
//! end from which nothing has come, by all readers of a process at once. A position that is still the same two looks after
//! the broker first had something behind it is taken for stuck, and fetched anew: that is harmless, should it be wrong.

use std::time::Duration;

use tokio::time::Instant;

/// From one look to the next.
const EVERY: Duration = Duration::from_secs(10);
/// Looks that may find something due before a position is taken for stuck: together longer than a fetch may take.
const PATIENCE: u32 = 2;

/// When the next look of a process is, which began at `began`: all its readers look together, and are answered together.
pub(super) fn next_look(began: Instant) -> Instant {
    let looks = began.elapsed().as_secs() / EVERY.as_secs();
    began + EVERY * u32::try_from(looks).unwrap_or(u32::MAX - 1).saturating_add(1)
}

/// What looks at one place have found.
#[derive(Debug, Default)]
pub(super) struct Silence {
    position: u64,
    /// How often something was found to be due at this position.
    looks: u32,
}

impl Silence {
    /// A look at a place where nothing waits: the broker says that the partition ends at `end`. Answers whether something
    /// should have come long ago; then counting begins anew.
    pub(super) fn is_long(&mut self, position: u64, end: u64) -> bool {
        if end <= position || self.position != position {
            *self = Self { position, looks: u32::from(end > position) };
            return false;
        }
        self.looks += 1;
        let long = self.looks > PATIENCE;
        if long {
            self.looks = 0;
        }
        long
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_stuck_when_something_is_due_look_after_look() {
        let mut silence = Silence::default();
        assert!((0..10).all(|_| !silence.is_long(5, 5)), "there is nothing");
        assert_eq!([7, 8, 9].map(|end| silence.is_long(5, end)), [false, false, true]);
        assert_eq!([9, 9, 9].map(|end| silence.is_long(5, end)), [false, false, true], "it was fetched anew in vain");
        assert!(!silence.is_long(5, 9) && !silence.is_long(5, 9));
        assert!((6..9).all(|position| !silence.is_long(position, 9)), "it moves, if slowly");
        assert!(!silence.is_long(8, 9) && !silence.is_long(9, 9) && !silence.is_long(9, 10), "it caught up meanwhile");
    }

    #[tokio::test(start_paused = true)]
    async fn all_look_at_the_same_instants() {
        let began = Instant::now();
        assert_eq!(next_look(began), began + EVERY);
        tokio::time::advance(EVERY * 3 + Duration::from_secs(4)).await;
        assert_eq!(next_look(began), began + EVERY * 4);
    }
}
