//! What a probe shows: whether a carrier has events of a number that are not older than the order of the goods.
//!
//! Days are compared, as printed: the order's day is rarely known to the hour, and a parcel is not scanned before. Of an event
//! whose day was not understood nothing follows, unless nobody said when the goods were ordered: then any event counts.

use waybill_schemas::{OutcomeClass, detection::Evidence, event::RawEvent, fetch::FetchResult, outcome::Probed};

/// The day of an ISO date or date-time.
fn day(iso: &str) -> Option<&str> {
    let day = iso.get(..10)?;
    let digits = |range: std::ops::Range<usize>| day.as_bytes()[range].iter().all(u8::is_ascii_digit);
    let dashes = day.as_bytes()[4] == b'-' && day.as_bytes()[7] == b'-';
    (dashes && digits(0..4) && digits(5..7) && digits(8..10)).then_some(day)
}

/// Of an answer that was read; none of any other.
pub(crate) fn showed(result: &FetchResult) -> Option<Probed> {
    if !result.class.is_reading() {
        return None;
    }
    let events = u32::try_from(result.events.len()).unwrap_or(u32::MAX);
    let ordered = result.request.registration.ordered_at.as_deref().and_then(day);
    let not_older = |event: &RawEvent| {
        let Some(ordered) = ordered else { return true };
        event.time.as_ref().and_then(|time| day(&time.iso)).is_some_and(|day| day >= ordered)
    };
    let evidence = match (result.class, events) {
        (OutcomeClass::NotFound, _) | (_, 0) => Evidence::Nothing,
        _ if result.events.iter().any(not_older) => Evidence::Events,
        _ => Evidence::TooOld,
    };
    Some(Probed { evidence, events })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_read_and_nothing_else_is() {
        assert_eq!(day("2026-01-20"), Some("2026-01-20"));
        assert_eq!(day("2026-01-20T10:00+01:00"), Some("2026-01-20"));
        for odd in ["", "2026-1-2", "20.01.2026", "äöüäöüäöü", "2026-01"] {
            assert_eq!(day(odd), None, "{odd}");
        }
    }
}
