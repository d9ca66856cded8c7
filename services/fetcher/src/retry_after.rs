//! `Retry-After`: seconds, or an HTTP date in any of its three forms.

use jiff::{civil::DateTime, tz::TimeZone};
use waybill_schemas::WallMs;

/// The instant that a `Retry-After` names; `None` when it names none that can be read.
pub(crate) fn parse(value: &str, now: WallMs) -> Option<WallMs> {
    let value = value.trim();
    if value.is_empty() {
        return None;
    }
    if value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit mean "very long"; the breaker clamps what it believes.
        let seconds: i64 = value.parse().unwrap_or(i64::MAX);
        return Some(now.plus_ms(seconds.saturating_mul(1_000)));
    }
    date(value).map(|at| at.max(now))
}

fn date(value: &str) -> Option<WallMs> {
    const FORMS: [&str; 3] = ["%d %b %Y %H:%M:%S GMT", "%d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];
    // The day of the week says nothing new, and some servers get it wrong.
    let value = value.split_once(',').map_or(value, |(_, rest)| rest.trim());
    FORMS.iter().find_map(|form| {
        let civil = DateTime::strptime(form, value).ok()?;
        // A date at the end of the calendar has no instant; it means "very long".
        let instant = civil.to_zoned(TimeZone::UTC).map_or(i64::MAX, |zoned| zoned.timestamp().as_millisecond());
        Some(WallMs::new(instant))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn seconds_and_all_three_dates_are_understood() {
        let now: WallMs = "1994-11-06T08:00:00Z".parse().unwrap();
        let then: WallMs = "1994-11-06T08:49:37Z".parse().unwrap();
        for date in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            assert_eq!(parse(date, now), Some(then), "{date}");
        }
        assert_eq!(parse("Mon, 06 Nov 1994 08:49:37 GMT", now), Some(then), "a wrong day of the week");
        assert!(parse("Fri, 31 Dec 9999 23:59:59 GMT", now).unwrap() > then);
        assert_eq!(parse("120", now), Some(now.plus_ms(120_000)));
        assert_eq!(parse(" 0 ", now), Some(now));
        assert_eq!(parse("Sun, 06 Nov 1994 07:00:00 GMT", now), Some(now), "a past date means now");
        assert!(parse("99999999999999999999999", now).unwrap() > then);
        for nonsense in ["", "soon", "-5", "1.5", "Sun, 06 Nov"] {
            assert_eq!(parse(nonsense, now), None, "{nonsense}");
        }
    }
}
