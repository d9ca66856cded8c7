//! The turnstile of one budget: every request to its carriers passes here, one after another, in the order of asking.
//!
//! It waits for the limiter, records the next block before the first of its requests leaves (POL-1), and asks once more,
//! last of all, whether this process may still send: ownership and lease (DESIGN §5, hand-over).

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::{sync::Notify, time::timeout};
use waybill_politeness::{
    breaker::Signal,
    limiter::{Departure, Pace},
};
use waybill_runtime::{Clocks, telemetry::promise_violated};
use waybill_schemas::{
    WallMs,
    politeness::{FetcherBudgetRecord, RobotsVerdict},
};

use crate::budget::{Begin, BudgetState, Closed, Terms, Verdict};

/// Longest wait for a record to be acknowledged.
const RECORD_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after a record that was not.
const RECORD_RETRY: Duration = Duration::from_millis(500);
/// Terms and permission are asked again after at most this long.
const RECHECK: Duration = Duration::from_secs(1);

/// Departures are recounted over this long.
const AUDIT_US: i64 = 10_000_000;

/// A second opinion on POL-1, by plain counting: what left within the last ten seconds. It trusts nothing of the limiter
/// and stays silent while that works.
#[derive(Debug, Default)]
struct Audit {
    pace: Option<Pace>,
    left: VecDeque<i64>,
}

impl Audit {
    /// Counts a departure; tells whether more have left than any ten seconds may see.
    fn exceeds(&mut self, pace: Pace, now_us: i64) -> bool {
        if self.pace != Some(pace) {
            *self = Self { pace: Some(pace), left: VecDeque::new() };
        }
        self.left.push_back(now_us);
        while self.left.front().is_some_and(|left| now_us - left > AUDIT_US) {
            self.left.pop_front();
        }
        let allowed = AUDIT_US / pace.interval_us() + pace.burst();
        i64::try_from(self.left.len()).unwrap_or(i64::MAX) > allowed
    }
}

/// A budget's record could not be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the budget's record was not kept: {0}")]
pub struct RecordError(pub String);

/// Keeps the record of a budget durably: a topic, or a file.
#[async_trait]
pub trait Recorder: Send + Sync {
    /// Answers once the record is durable.
    ///
    /// # Errors
    /// [`RecordError`] when it may not be; nothing is sent then.
    async fn record(&self, record: &FetcherBudgetRecord) -> Result<(), RecordError>;
}

/// What a turnstile asks of the world around it.
pub(crate) trait Surroundings: Send + Sync {
    /// The budget's terms now; `None` stops it, e.g. while its quota cannot be applied.
    fn terms(&self) -> Option<Terms>;
    /// Whether this process may send to this budget's carriers at this very moment.
    fn may_send(&self) -> bool;
}

/// Why a request does not leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The carrier is closed.
    Closed(Closed),
    /// Not before this instant, which is after the deadline.
    TooLate(WallMs),
    /// This process must not send: the partition or its lease is lost, or it is shutting down.
    Lost,
    /// The budget's terms cannot be applied.
    NoTerms,
}

/// See the module.
pub(crate) struct Turnstile {
    state: Mutex<BudgetState>,
    audit: Mutex<Audit>,
    turn: tokio::sync::Mutex<()>,
    changed: Notify,
    recorder: Arc<dyn Recorder>,
    surroundings: Arc<dyn Surroundings>,
    clocks: Clocks,
}

/// A request under way. Dropping it gives it up.
#[must_use]
pub(crate) struct Pass {
    turnstile: Arc<Turnstile>,
    departure: Departure,
    /// The pace it left at: the terms may be gone when it ends, its place in the burst must come back all the same.
    pace: Pace,
}

impl Pass {
    /// The carrier has answered.
    pub(crate) fn answered(self) {
        let now_us = self.turnstile.clocks.wall_us();
        self.turnstile.state().settle(self.departure, self.pace, now_us);
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let now_us = self.turnstile.clocks.wall_us();
        self.turnstile.state().give_up(self.departure, self.pace, now_us);
        self.turnstile.changed.notify_waiters();
    }
}

impl Turnstile {
    pub(crate) fn new(
        state: BudgetState,
        recorder: Arc<dyn Recorder>,
        surroundings: Arc<dyn Surroundings>,
        clocks: Clocks,
    ) -> Self {
        Self {
            state: Mutex::new(state),
            audit: Mutex::default(),
            turn: tokio::sync::Mutex::new(()),
            changed: Notify::new(),
            recorder,
            surroundings,
            clocks,
        }
    }

    fn state(&self) -> MutexGuard<'_, BudgetState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The budget's terms now.
    pub(crate) fn terms(&self) -> Option<Terms> {
        self.surroundings.terms()
    }

    /// Whether this process may send at this moment.
    pub(crate) fn may_send(&self) -> bool {
        self.surroundings.may_send()
    }

    /// Waits until something may have changed: an answer, a signal; or until `wait` has passed.
    pub(crate) async fn changed(&self, wait: Duration) {
        let _ = timeout(wait, self.changed.notified()).await;
    }

    /// Whether a look-up may begin; a probe is begun with the answer.
    pub(crate) fn begin(&self) -> Begin {
        let Some(terms) = self.terms() else { return Begin::AfterProbe };
        let mut state = self.state();
        let begin = state.begin(&terms, self.clocks.wall_us());
        if begin == Begin::AsProbe {
            state.begin_probe();
        }
        begin
    }

    /// The probe ended without having found out.
    pub(crate) fn abandon_probe(&self) {
        self.state().abandon_probe();
        self.changed.notify_waiters();
    }

    /// Until when the carrier is closed, if it is.
    pub(crate) fn closed(&self) -> Option<Closed> {
        let terms = self.terms()?;
        self.state().closed(&terms, self.clocks.wall_us())
    }

    /// When the `count`-th further request could leave.
    pub(crate) fn forecast(&self, count: u32) -> Option<WallMs> {
        let terms = self.terms()?;
        Some(self.state().forecast(&terms, count, self.clocks.wall_us()))
    }

    /// Takes in what a look-up taught, and records it where it matters to the next owner. A record that fails here is made
    /// good by that of the next block.
    pub(crate) async fn signal(&self, signal: Signal) {
        let record = {
            let Some(terms) = self.terms() else { return };
            let mut state = self.state();
            let now_us = self.clocks.wall_us();
            state.signal(signal, now_us).then(|| state.record(&terms, now_us))
        };
        self.changed.notify_waiters();
        if record.is_some() {
            // One writer at a time, so that an older record never follows a younger one.
            let _turn = self.turn.lock().await;
            let record = {
                let Some(terms) = self.terms() else { return };
                self.state().record(&terms, self.clocks.wall_us())
            };
            let _ = self.write(&record).await;
        }
    }

    /// What robots.txt of a host said, for whoever asks; recorded where it is new.
    pub(crate) async fn note_robots(&self, host: &str, verdict: RobotsVerdict) {
        if self.state().note_robots(host, verdict) {
            let _turn = self.turn.lock().await;
            let record = {
                let Some(terms) = self.terms() else { return };
                self.state().record(&terms, self.clocks.wall_us())
            };
            let _ = self.write(&record).await;
        }
    }

    /// The state as it would be recorded now.
    pub(crate) fn snapshot(&self) -> Option<FetcherBudgetRecord> {
        let terms = self.terms()?;
        Some(self.state().record(&terms, self.clocks.wall_us()))
    }

    /// Lets one request out, before `deadline`. The caller sends at once; waiting again between pass and send would undo it.
    pub(crate) async fn pass(self: &Arc<Self>, deadline: WallMs) -> Result<Pass, Stop> {
        let _turn = self.turn.lock().await;
        loop {
            let changed = self.changed.notified();
            let terms = self.terms().ok_or(Stop::NoTerms)?;
            if !self.may_send() {
                return Err(Stop::Lost);
            }
            let now_us = self.clocks.wall_us();
            let verdict = self.state().verdict(&terms, now_us);
            match verdict {
                Verdict::Leave if self.clocks.wall() >= deadline => return Err(Stop::TooLate(self.clocks.wall())),
                Verdict::Leave => {
                    let (departure, over) = {
                        let mut state = self.state();
                        (state.depart(now_us), state.is_over_quota(&terms))
                    };
                    if over {
                        promise_violated("POL-2", "more requests left than the quota of the day allows");
                    }
                    if self.audit.lock().unwrap_or_else(PoisonError::into_inner).exceeds(terms.pace, now_us) {
                        promise_violated("POL-1", "more requests left within ten seconds than the pace allows");
                    }
                    return Ok(Pass { turnstile: Arc::clone(self), departure, pace: terms.pace });
                }
                Verdict::Closed(closed) => return Err(Stop::Closed(closed)),
                Verdict::Wait(until_us) => {
                    let until = WallMs::new(until_us.div_euclid(1_000));
                    if until >= deadline {
                        return Err(Stop::TooLate(until.plus_ms(1)));
                    }
                    let wait = Duration::from_micros(u64::try_from(until_us - now_us).unwrap_or(0));
                    let _ = timeout(wait.min(RECHECK), changed).await;
                }
                Verdict::AfterAnswer if self.clocks.wall() >= deadline => return Err(Stop::TooLate(deadline)),
                Verdict::AfterAnswer => {
                    let _ = timeout(RECHECK, changed).await;
                }
                Verdict::Record => {
                    let plan = self.state().plan(&terms, now_us);
                    match self.write(&plan.record).await {
                        // An answer or a signal meanwhile is in the state already and in the next record at the latest.
                        Ok(()) => self.state().begin_block(plan, self.clocks.wall_us()),
                        Err(error) => {
                            tracing::warn!(%error, "fetcher.budget_not_recorded");
                            if self.clocks.wall() >= deadline {
                                return Err(Stop::TooLate(deadline));
                            }
                            tokio::time::sleep(RECORD_RETRY).await;
                        }
                    }
                }
            }
        }
    }

    async fn write(&self, record: &FetcherBudgetRecord) -> Result<(), RecordError> {
        match timeout(RECORD_TIMEOUT, self.recorder.record(record)).await {
            Ok(done) => done,
            Err(_) => Err(RecordError("no acknowledgement in time".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pol_1_the_audit_speaks_only_when_the_law_is_broken() {
        let pace = Pace::new(1_000_000, 3);
        let mut audit = Audit::default();
        assert!((0..3).all(|_| !audit.exceeds(pace, 0)));
        assert!((1..60).all(|second| !audit.exceeds(pace, second * 1_000_000)));
        assert!((0..20).any(|_| audit.exceeds(pace, 60_000_000)));
    }
}
