//! What a component has handed to the log and the log has not acknowledged.
//!
//! Whoever writes for something that was taken in tries again for as long as it is needed, because nothing may be lost. A
//! partition without a leader would so hold up its numbers without a word: beyond [`WRITE_TIMEOUT`] its component is not
//! ready and says for what it waits, until the log goes on. Liveness is not touched: a restart would not mend it.

use std::time::Duration;

use tokio::time::Instant;

use super::{Health, State};

/// How long something may be written again and again, without any of it being acknowledged, before its component is not
/// ready: twice what a broker takes by default to say that it has not taken a record.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// What is being written, and since when nothing of it was acknowledged.
#[derive(Debug, Clone)]
pub(super) struct Writing {
    what: String,
    since: Instant,
}

/// Where a component's loops tell what they write. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Writes {
    /// The component's.
    pub(super) of: u64,
    pub(super) name: String,
    pub(super) health: Health,
}

/// Something that is being written. Dropping it says that it no longer is, acknowledged or given up.
#[derive(Debug)]
#[must_use]
pub struct Unacknowledged {
    id: u64,
    of: Writes,
}

impl Writes {
    /// Something begins to be written: `what`, in the plural, such as `results of partition 3`.
    pub fn begin(&self, what: &str) -> Unacknowledged {
        let mut id = 0;
        self.with(|state| {
            id = state.next_voice();
            state.writes.insert(id, Writing { what: what.to_owned(), since: Instant::now() });
        });
        Unacknowledged { id, of: self.clone() }
    }

    fn with(&self, change: impl FnOnce(&mut State)) {
        self.health.with(|all| {
            if let Some(state) = all.get_mut(&self.name).filter(|state| state.id == self.of) {
                change(state);
            }
        });
    }
}

impl Unacknowledged {
    /// Some of it was acknowledged, the rest is still to come.
    pub fn goes_on(&self) {
        self.of.with(|state| {
            if let Some(writing) = state.writes.get_mut(&self.id) {
                writing.since = Instant::now();
            }
        });
    }
}

impl Drop for Unacknowledged {
    fn drop(&mut self) {
        self.of.with(|state| drop(state.writes.remove(&self.id)));
    }
}

impl State {
    /// What has not been acknowledged for too long, in a sentence: the one that waits longest.
    pub(super) fn overdue(&self) -> Option<String> {
        let oldest = self.writes.values().min_by_key(|writing| writing.since)?;
        let age = oldest.since.elapsed();
        (age >= WRITE_TIMEOUT).then(|| format!("the log has acknowledged no {} for {} s", oldest.what, age.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(health: &Health) -> (bool, bool, String) {
        health.report().into_iter().map(|one| (one.ready, one.live, one.note)).next().unwrap_or_default()
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_log_does_not_acknowledge_is_told_in_time_and_only_as_long_as_it_waits() {
        let health = Health::default();
        let component = health.component("fetcher");
        let write = component.writes().begin("results of partition 3");
        tokio::time::advance(WRITE_TIMEOUT - Duration::from_millis(1)).await;
        component.ready();
        assert_eq!(ready(&health), (true, true, String::new()));
        tokio::time::advance(Duration::from_secs(13)).await;
        // However often its loop says that it does its work.
        component.ready();
        let why = "the log has acknowledged no results of partition 3 for 42 s";
        assert_eq!(ready(&health), (false, true, why.to_owned()), "and it stays alive");
        write.goes_on();
        assert!(ready(&health).0, "some of it was acknowledged");
        tokio::time::advance(WRITE_TIMEOUT).await;
        component.ready();
        assert!(!ready(&health).0);
        drop(write);
        assert_eq!(ready(&health), (true, true, String::new()), "it turns back by itself");
    }

    #[tokio::test(start_paused = true)]
    async fn a_reason_of_its_own_goes_before_what_waits_and_the_longest_wait_before_the_others() {
        let health = Health::default();
        let component = health.component("normalizer");
        let writes = component.writes();
        let first = writes.begin("records made from partition 0");
        tokio::time::advance(WRITE_TIMEOUT).await;
        let _second = writes.begin("records made from partition 1");
        tokio::time::advance(WRITE_TIMEOUT / 2).await;
        component.ready();
        assert!(ready(&health).2.contains("partition 0"));
        component.not_ready("the broker is away");
        assert_eq!(ready(&health).2, "the broker is away");
        component.ready();
        drop(first);
        assert!(ready(&health).0, "the other has not waited long");
        tokio::time::advance(WRITE_TIMEOUT / 2).await;
        component.ready();
        assert!(ready(&health).2.contains("partition 1"));
        drop(component);
        assert_eq!(health.report(), []);
    }
}
