//! When a carrier is left alone: Retry-After, back-off, the breakers for unavailable and unreadable carriers, and the mark
//! of one that refuses automation.
//!
//! One state for all of them, because a carrier is either asked or not: closed → (threshold reached) → open until an instant
//! → one probe → closed, or open again for twice as long. `Retry-After` is the carrier's own word and needs no probe. Three
//! blocks, each after the pause that the one before it brought, mark the carrier as refusing automation, which only a
//! person lifts. Pure: instants are parameters, and the state is what `waybill.carriers` records.

use waybill_schemas::{WallMs, politeness::BlockReason};

const SECOND_MS: i64 = 1_000;
const MINUTE_MS: i64 = 60 * SECOND_MS;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// Failures in a row that open the breaker for an unavailable carrier.
pub const UNAVAILABLE_THRESHOLD: u32 = 5;
/// Unreadable answers in a row that open the breaker for a changed page.
pub const UNREADABLE_THRESHOLD: u32 = 10;
/// Spaced blocks that mark a carrier as refusing automation.
pub const BLOCKED_THRESHOLD: u32 = 3;
/// The longest that a carrier's own `Retry-After` is believed, in ms.
pub const MAX_RETRY_AFTER_MS: i64 = 24 * HOUR_MS;

/// What a look-up taught about the carrier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// It answered something that the adapter knows.
    Answered,
    /// It answered something that the adapter does not know.
    Unreadable,
    /// 5xx, no connection, no answer in time.
    Unavailable,
    /// 429 or 503; with the instant that `Retry-After` names, where it does.
    Throttled(Option<WallMs>),
    /// 401, 403, a captcha.
    Blocked,
}

/// Whether the carrier may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Gate {
    /// Yes.
    Open,
    /// By one look-up at a time, which tells how it goes on: see [`Breaker::begin_probe`].
    Probe,
    /// A probe is under way; its end decides.
    Probing,
    /// Not before this instant.
    ClosedUntil(WallMs, BlockReason),
    /// Not before a person lifts the mark.
    Refused,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Probe {
    #[default]
    None,
    UnderWay,
}

/// The state of one budget's breakers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Breaker {
    blocked: Option<(WallMs, BlockReason)>,
    backoff_ms: i64,
    unavailable: u32,
    unreadable: u32,
    blocks: u32,
    refused_at: Option<WallMs>,
    probe: Probe,
}

/// What is recorded of a [`Breaker`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BreakerRecord {
    /// Nothing is sent before.
    pub blocked_until: Option<WallMs>,
    /// Why.
    pub reason: Option<BlockReason>,
    /// Delay of the last back-off, in ms.
    pub backoff_ms: i64,
    /// Consecutive failures: unavailable, unreadable, blocked.
    pub streaks: [u32; 3],
    /// When the carrier was marked as refusing automation.
    pub refused_at: Option<WallMs>,
}

impl Breaker {
    /// Resumes from a record. An end of blocking further ahead than any that is written is clamped to that.
    pub fn restored(record: BreakerRecord, now: WallMs) -> Self {
        let furthest = now.plus_ms(MAX_RETRY_AFTER_MS);
        let blocked = record.blocked_until.map(|until| until.min(furthest)).zip(record.reason);
        let [unavailable, unreadable, blocks] = record.streaks;
        Self {
            blocked,
            backoff_ms: record.backoff_ms.clamp(0, MAX_RETRY_AFTER_MS),
            unavailable,
            unreadable,
            blocks,
            refused_at: record.refused_at,
            probe: Probe::None,
        }
    }

    /// For the record.
    pub fn record(&self) -> BreakerRecord {
        BreakerRecord {
            blocked_until: self.blocked.map(|(until, _)| until),
            reason: if self.refused_at.is_some() {
                Some(BlockReason::RefusesAutomation)
            } else {
                self.blocked.map(|(_, reason)| reason)
            },
            backoff_ms: self.backoff_ms,
            streaks: [self.unavailable, self.unreadable, self.blocks],
            refused_at: self.refused_at,
        }
    }

    /// Whether the carrier may be asked at `now`.
    pub fn gate(&self, now: WallMs) -> Gate {
        if self.refused_at.is_some() {
            return Gate::Refused;
        }
        match self.blocked {
            None => Gate::Open,
            Some((until, reason)) if now < until => Gate::ClosedUntil(until, reason),
            Some((_, BlockReason::RetryAfter | BlockReason::Quota)) => Gate::Open,
            Some(_) => match self.probe {
                Probe::None => Gate::Probe,
                Probe::UnderWay => Gate::Probing,
            },
        }
    }

    /// The one look-up that [`Gate::Probe`] allows begins.
    pub fn begin_probe(&mut self) {
        self.probe = Probe::UnderWay;
    }

    /// The probe ended without an answer to its question, e.g. because it was never sent: another may try.
    pub fn abandon_probe(&mut self) {
        self.probe = Probe::None;
    }

    /// A person has lifted the mark at `lifted_at`; marks younger than that stand. Tells whether anything changed.
    pub fn lift(&mut self, lifted_at: WallMs) -> bool {
        let lifted = self.refused_at.is_some_and(|marked| marked <= lifted_at);
        if lifted {
            *self = Self::default();
        }
        lifted
    }

    /// Another version of the adapter reads from now on: what could not be read may be readable, and a probe finds out at
    /// once. Other blocks stand. Tells whether anything changed.
    pub fn refitted(&mut self, now: WallMs) -> bool {
        let about_reading = self.blocked.filter(|(until, reason)| *reason == BlockReason::Unreadable && now < *until);
        if about_reading.is_some() {
            self.blocked = Some((now, BlockReason::Unreadable));
        }
        about_reading.is_some()
    }

    /// Takes in what a look-up taught, at `now`. Tells whether anything changed that must be recorded.
    pub fn signal(&mut self, signal: Signal, now: WallMs) -> bool {
        let before = self.record();
        let closed = self.blocked.filter(|(until, _)| now < *until).map(|(_, reason)| reason);
        // A look-up that was under way when the carrier closed teaches nothing new about it.
        let straggler = |reason| closed == Some(reason);
        match signal {
            Signal::Answered => self.answered(closed),
            Signal::Unreadable => {
                self.unavailable = 0;
                self.unreadable = self.unreadable.saturating_add(1);
                let failed_probe = self.failed_probe(now);
                if (failed_probe || self.unreadable >= UNREADABLE_THRESHOLD) && !straggler(BlockReason::Unreadable) {
                    self.close(BlockReason::Unreadable, now, (10 * MINUTE_MS, 6 * HOUR_MS));
                }
            }
            Signal::Unavailable => {
                self.unavailable = self.unavailable.saturating_add(1);
                let failed_probe = self.failed_probe(now);
                if (failed_probe || self.unavailable >= UNAVAILABLE_THRESHOLD) && !straggler(BlockReason::Unavailable) {
                    self.close(BlockReason::Unavailable, now, (30 * SECOND_MS, 15 * MINUTE_MS));
                }
            }
            Signal::Throttled(Some(until)) => {
                let until = until.min(now.plus_ms(MAX_RETRY_AFTER_MS)).max(now.plus_ms(SECOND_MS));
                self.extend(until, BlockReason::RetryAfter);
            }
            Signal::Throttled(None) => {
                if !straggler(BlockReason::Throttled) {
                    self.close(BlockReason::Throttled, now, (10 * SECOND_MS, HOUR_MS));
                }
            }
            Signal::Blocked => {
                if !straggler(BlockReason::Blocked) {
                    self.blocks = self.blocks.saturating_add(1);
                    self.close(BlockReason::Blocked, now, (15 * MINUTE_MS, 6 * HOUR_MS));
                    if self.blocks >= BLOCKED_THRESHOLD {
                        self.refused_at = Some(now);
                    }
                }
            }
        }
        self.probe = Probe::None;
        self.record() != before
    }

    fn answered(&mut self, closed: Option<BlockReason>) {
        (self.unavailable, self.unreadable) = (0, 0);
        // What the carrier itself asked for is kept to its end, whatever a straggler brings.
        let own_word = matches!(closed, Some(BlockReason::RetryAfter | BlockReason::Throttled | BlockReason::Blocked));
        if !own_word {
            (self.blocked, self.backoff_ms, self.blocks) = (None, 0, 0);
        }
    }

    /// Whether the breaker was open and its time over: then a single failure opens it again.
    fn failed_probe(&self, now: WallMs) -> bool {
        self.probe == Probe::UnderWay && self.blocked.is_some_and(|(until, _)| now >= until)
    }

    fn close(&mut self, reason: BlockReason, now: WallMs, (first_ms, longest_ms): (i64, i64)) {
        self.backoff_ms = self.backoff_ms.saturating_mul(2).clamp(first_ms, longest_ms);
        self.extend(now.plus_ms(self.backoff_ms), reason);
    }

    /// The longest of several blocks counts.
    fn extend(&mut self, until: WallMs, reason: BlockReason) {
        if self.blocked.is_none_or(|(standing, _)| standing <= until) {
            self.blocked = Some((until, reason));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    const T0: WallMs = WallMs::new(1_700_000_000_000);

    fn closed_until(breaker: &Breaker, now: WallMs) -> WallMs {
        match breaker.gate(now) {
            Gate::ClosedUntil(until, _) => until,
            other => panic!("expected a closed gate, found {other:?}"),
        }
    }

    #[test]
    fn an_unavailable_carrier_is_left_alone_then_probed_once() {
        let mut breaker = Breaker::default();
        for _ in 1..UNAVAILABLE_THRESHOLD {
            breaker.signal(Signal::Unavailable, T0);
            assert_eq!(breaker.gate(T0), Gate::Open);
        }
        assert!(breaker.signal(Signal::Unavailable, T0));
        let until = closed_until(&breaker, T0);
        assert_eq!(breaker.gate(until), Gate::Probe);
        breaker.begin_probe();
        assert_eq!(breaker.gate(until), Gate::Probing);
        breaker.signal(Signal::Unavailable, until);
        let again = closed_until(&breaker, until);
        assert_eq!(again.since_ms(until), 2 * until.since_ms(T0));
        breaker.begin_probe();
        breaker.signal(Signal::Answered, again);
        assert_eq!(breaker, Breaker::default());
    }

    #[test]
    fn stragglers_do_not_double_a_delay() {
        let mut breaker = Breaker::default();
        breaker.signal(Signal::Throttled(None), T0);
        let until = closed_until(&breaker, T0);
        for _ in 0..20 {
            assert!(!breaker.signal(Signal::Throttled(None), T0.plus_ms(5)));
        }
        assert_eq!(closed_until(&breaker, T0), until);
        // Nor does an answer that was under way reopen what the carrier closed.
        breaker.signal(Signal::Answered, T0.plus_ms(5));
        assert_eq!(closed_until(&breaker, T0.plus_ms(5)), until);
        breaker.signal(Signal::Throttled(None), until);
        assert_eq!(closed_until(&breaker, until).since_ms(until), 20 * SECOND_MS);
    }

    #[test]
    fn retry_after_is_the_carriers_word_within_a_day() {
        let mut breaker = Breaker::default();
        breaker.signal(Signal::Throttled(Some(T0.plus_ms(7_000))), T0);
        assert_eq!(breaker.gate(T0.plus_ms(6_999)), Gate::ClosedUntil(T0.plus_ms(7_000), BlockReason::RetryAfter));
        assert_eq!(breaker.gate(T0.plus_ms(7_000)), Gate::Open);
        breaker.signal(Signal::Throttled(Some(T0.plus_ms(1_000 * HOUR_MS))), T0);
        assert_eq!(closed_until(&breaker, T0), T0.plus_ms(MAX_RETRY_AFTER_MS));
    }

    #[test]
    fn three_spaced_blocks_refuse_until_a_person_lifts_it() {
        let mut breaker = Breaker::default();
        let mut now = T0;
        for _ in 0..2 {
            breaker.signal(Signal::Blocked, now);
            breaker.signal(Signal::Blocked, now.plus_ms(1));
            now = closed_until(&breaker, now);
            assert_eq!(breaker.gate(now), Gate::Probe);
        }
        breaker.signal(Signal::Blocked, now);
        assert_eq!(breaker.gate(now.plus_ms(1_000 * HOUR_MS)), Gate::Refused);
        let mut restored = Breaker::restored(breaker.record(), now);
        assert_eq!(restored.gate(now), Gate::Refused);
        assert!(!restored.lift(now.plus_ms(-1)));
        assert!(restored.lift(now));
        assert_eq!(restored.gate(now), Gate::Open);
    }

    #[test]
    fn a_changed_page_is_not_polled_uselessly() {
        let mut breaker = Breaker::default();
        for _ in 0..UNREADABLE_THRESHOLD {
            assert_eq!(breaker.gate(T0), Gate::Open);
            breaker.signal(Signal::Unreadable, T0);
        }
        let until = closed_until(&breaker, T0);
        // One reading in between would have begun the count anew.
        let mut mixed = Breaker::default();
        for _ in 0..3 * UNREADABLE_THRESHOLD {
            mixed.signal(Signal::Unreadable, T0);
            mixed.signal(Signal::Answered, T0);
        }
        assert_eq!(mixed.gate(T0), Gate::Open);
        // A probe that never left leaves room for another.
        breaker.begin_probe();
        breaker.abandon_probe();
        assert_eq!(breaker.gate(until), Gate::Probe);
    }

    #[test]
    fn another_adapter_version_is_tried_at_once_by_one_probe() {
        let mut breaker = Breaker::default();
        for _ in 0..UNREADABLE_THRESHOLD {
            breaker.signal(Signal::Unreadable, T0);
        }
        let later = T0.plus_ms(1_000);
        assert!(breaker.refitted(later));
        assert_eq!(breaker.gate(later), Gate::Probe);
        breaker.begin_probe();
        breaker.signal(Signal::Unreadable, later);
        assert!(matches!(breaker.gate(later), Gate::ClosedUntil(_, BlockReason::Unreadable)));
        // What the carrier itself asked for is not a matter of reading.
        let mut told = Breaker::default();
        told.signal(Signal::Throttled(Some(T0.plus_ms(60_000))), T0);
        assert!(!told.refitted(later));
        assert!(matches!(told.gate(later), Gate::ClosedUntil(..)));
    }

    #[test]
    fn a_record_restores_the_same_gate_and_a_wrong_clock_does_not_block_for_ever() {
        let mut breaker = Breaker::default();
        breaker.signal(Signal::Throttled(None), T0);
        assert_eq!(Breaker::restored(breaker.record(), T0).gate(T0), breaker.gate(T0));
        let mut record = breaker.record();
        record.blocked_until = Some(T0.plus_ms(i64::MAX / 2));
        assert_eq!(closed_until(&Breaker::restored(record, T0), T0), T0.plus_ms(MAX_RETRY_AFTER_MS));
    }
}
