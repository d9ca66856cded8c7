//! What becomes of a request when it arrives, and of one that waits: pure.
//!
//! Nothing waits that cannot be finished before it expires (DESIGN §4.8): such a request is answered `deferred` at once, so
//! its number goes back to the scheduler instead of sleeping here.

use waybill_schemas::{OutcomeClass, WallMs, fetch::RequestKind};

use crate::budget::Closed;

/// What is known of the carrier and its queue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outlook {
    /// Why the carrier may not be asked now.
    pub(crate) closed: Option<Closed>,
    /// When this request's first step could leave, by the limiter, with all that wait before it.
    pub(crate) first_leaves: WallMs,
    /// When its last step could leave.
    pub(crate) last_leaves: WallMs,
    /// When it could be finished as fast as recent look-ups were, with all that wait before it.
    pub(crate) finished: WallMs,
}

/// What to do with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It waits its turn.
    Wait,
    /// It is answered without the network.
    Answer(Short),
}

/// An answer without the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Short {
    pub(crate) class: OutcomeClass,
    pub(crate) detail: Option<String>,
    pub(crate) not_before: Option<WallMs>,
}

impl Short {
    pub(crate) fn new(class: OutcomeClass, detail: &str) -> Self {
        Self { class, detail: (!detail.is_empty()).then(|| detail.to_owned()), not_before: None }
    }

    pub(crate) fn deferred(not_before: WallMs, detail: &str) -> Self {
        Self { not_before: Some(not_before), ..Self::new(OutcomeClass::Deferred, detail) }
    }
}

/// The answer to a request that needs no carrier: another kind than `poll` and `probe`, or one that is too old to be sent.
pub(crate) fn without_carrier(kind: RequestKind, expires_at: WallMs, now: WallMs) -> Option<Short> {
    if !kind.asks_the_carrier() {
        return Some(Short::new(OutcomeClass::Internal, ""));
    }
    (now >= expires_at).then(|| Short::new(OutcomeClass::Expired, "its turn came after its expiry"))
}

/// Whether a poll waits for its turn.
pub(crate) fn admit(expires_at: WallMs, outlook: Outlook) -> Admission {
    match outlook.closed {
        Some(Closed::Refused) => {
            let detail = "the carrier refuses automation; a person may lift the mark";
            return Admission::Answer(Short::new(OutcomeClass::RefusesAutomation, detail));
        }
        Some(Closed::Until(until, reason)) if until >= expires_at => {
            return Admission::Answer(Short::deferred(until, closed_because(reason)));
        }
        Some(Closed::Until(..)) | None => {}
    }
    if outlook.last_leaves >= expires_at {
        let detail = "the budget leaves no room before its expiry";
        return Admission::Answer(Short::deferred(outlook.first_leaves, detail));
    }
    if outlook.finished >= expires_at {
        let detail = "the carrier answers too slowly to be finished before its expiry";
        return Admission::Answer(Short::deferred(outlook.finished, detail));
    }
    Admission::Wait
}

/// One sentence about a closed carrier.
pub(crate) fn closed_because(reason: waybill_schemas::politeness::BlockReason) -> &'static str {
    use waybill_schemas::politeness::BlockReason as Reason;
    match reason {
        Reason::RetryAfter => "the carrier said when to come back",
        Reason::Throttled => "the carrier asked for fewer requests",
        Reason::Unavailable => "the carrier is unavailable and is left alone for a while",
        Reason::Unreadable => "the carrier's answers are unreadable and it is left alone for a while",
        Reason::Blocked => "the carrier has blocked us and is left alone for a while",
        Reason::RefusesAutomation => "the carrier refuses automation",
        Reason::Quota => "the day's quota is used up",
    }
}

#[cfg(test)]
mod tests {
    use waybill_schemas::politeness::BlockReason;

    use super::*;

    const NOW: WallMs = WallMs::new(1_700_000_000_000);

    fn outlook() -> Outlook {
        Outlook { closed: None, first_leaves: NOW, last_leaves: NOW.plus_ms(500), finished: NOW.plus_ms(900) }
    }

    #[test]
    fn only_polls_need_a_carrier() {
        for kind in
            [RequestKind::Clock, RequestKind::Stop, RequestKind::Resume, RequestKind::Replay, RequestKind::Forget]
        {
            let late = NOW.plus_ms(-1);
            assert_eq!(without_carrier(kind, late, NOW).map(|short| short.class), Some(OutcomeClass::Internal));
        }
        let class = |expires| without_carrier(RequestKind::Poll, expires, NOW).map(|short| short.class);
        assert_eq!(class(NOW), Some(OutcomeClass::Expired));
        assert_eq!(class(NOW.plus_ms(1)), None);
    }

    #[test]
    fn what_cannot_be_finished_in_time_is_deferred_at_once() {
        let deferred = |outlook, expires| match admit(expires, outlook) {
            Admission::Answer(short) => short.not_before,
            Admission::Wait => None,
        };
        assert_eq!(admit(NOW.plus_ms(1_000), outlook()), Admission::Wait);
        assert_eq!(deferred(outlook(), NOW.plus_ms(900)), Some(NOW.plus_ms(900)));
        assert_eq!(deferred(outlook(), NOW.plus_ms(500)), Some(NOW));
        let until = |ms| Outlook { closed: Some(Closed::Until(NOW.plus_ms(ms), BlockReason::RetryAfter)), ..outlook() };
        assert_eq!(deferred(until(2_000), NOW.plus_ms(1_500)), Some(NOW.plus_ms(2_000)));
        assert_eq!(admit(NOW.plus_ms(3_000), until(2_000)), Admission::Wait);
        let refused = Outlook { closed: Some(Closed::Refused), ..outlook() };
        let Admission::Answer(short) = admit(NOW.plus_ms(9_000), refused) else {
            panic!("a refused carrier was queued")
        };
        assert_eq!(short.class, OutcomeClass::RefusesAutomation);
    }
}
