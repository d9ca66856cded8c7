//! From an HTTP status to what a look-up came to, before any reader has seen the answer: pure.

use waybill_politeness::breaker::Signal;
use waybill_schemas::{OutcomeClass, WallMs};

use crate::{exchange::Incoming, retry_after};

/// An answer that decides the outcome by its status alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decided {
    pub(crate) class: OutcomeClass,
    pub(crate) detail: String,
    pub(crate) signal: Signal,
}

/// What the status decides; `None` leaves it to the adapter's readers, e.g. 200, or 404 from carriers that answer "not
/// found" with it.
pub(crate) fn by_status(answer: &Incoming, now: WallMs) -> Option<Decided> {
    let retry_at = answer.header("retry-after").and_then(|value| retry_after::parse(value, now));
    let status = answer.status;
    let decided = |class, detail: String, signal| Some(Decided { class, detail, signal });
    match status {
        429 => decided(OutcomeClass::Throttled, "429".to_owned(), Signal::Throttled(retry_at)),
        503 if retry_at.is_some() => {
            decided(OutcomeClass::Throttled, "503 with Retry-After".to_owned(), Signal::Throttled(retry_at))
        }
        500.. => decided(OutcomeClass::CarrierDown, status.to_string(), Signal::Unavailable),
        401 | 403 => decided(OutcomeClass::Blocked, status.to_string(), Signal::Blocked),
        _ => None,
    }
}

/// What an outcome that a reader decided teaches about the carrier.
pub(crate) fn signal_of(class: OutcomeClass) -> Option<Signal> {
    match class {
        OutcomeClass::Tracked | OutcomeClass::NotFound | OutcomeClass::RegisteredNoScan | OutcomeClass::NeedsData => {
            Some(Signal::Answered)
        }
        OutcomeClass::Unreadable => Some(Signal::Unreadable),
        OutcomeClass::Blocked => Some(Signal::Blocked),
        OutcomeClass::CarrierDown => Some(Signal::Unavailable),
        OutcomeClass::Throttled => Some(Signal::Throttled(None)),
        OutcomeClass::RefusesAutomation
        | OutcomeClass::Deferred
        | OutcomeClass::Expired
        | OutcomeClass::AdapterDisabled
        | OutcomeClass::Internal => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn every_status_has_its_class() {
        let now = WallMs::new(1_700_000_000_000);
        let judge = |status, retry: Option<&str>| {
            let headers = retry.map(|value| ("retry-after".to_owned(), value.to_owned())).into_iter().collect();
            by_status(&Incoming { status, headers, body: bytes::Bytes::new() }, now)
        };
        assert_eq!(judge(429, Some("7")).unwrap().signal, Signal::Throttled(Some(now.plus_ms(7_000))));
        assert_eq!(judge(429, None).unwrap().signal, Signal::Throttled(None));
        assert_eq!(judge(503, Some("7")).unwrap().class, OutcomeClass::Throttled);
        assert_eq!(judge(503, Some("soon")).unwrap().class, OutcomeClass::CarrierDown);
        assert_eq!(judge(502, None).unwrap().class, OutcomeClass::CarrierDown);
        assert_eq!(judge(401, None).unwrap().class, OutcomeClass::Blocked);
        assert_eq!(judge(403, None).unwrap().class, OutcomeClass::Blocked);
        for reader_decides in [200, 204, 304, 400, 404, 410, 422] {
            assert_eq!(judge(reader_decides, None), None);
        }
    }
}
