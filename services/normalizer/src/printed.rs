//! A remembered time as it was printed, for records about events whose words are no longer at hand.

use jiff::{SignedDuration, civil::DateTime, tz::Offset};
use waybill_schemas::{JourneyMs, UtcMs, event::TimePrecision, shipment::Moment};

use crate::memory::KnownTime;

/// The moment of a remembered time (NRM-5: as exact as printed, an offset only where known).
pub(crate) fn moment(time: Option<KnownTime>, seen_at: JourneyMs) -> Moment {
    let iso = time.and_then(|time| iso(&time));
    let utc =
        time.filter(|time| time.offset_min.is_some()).map(|time| UtcMs::new(time.rough_s().saturating_mul(1_000)));
    Moment { time: iso, time_utc: utc, seen_at }
}

fn iso(time: &KnownTime) -> Option<String> {
    let midnight = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
    let local = midnight.checked_add(SignedDuration::from_secs(time.local_s)).ok()?;
    let format = match time.precision {
        TimePrecision::Date | TimePrecision::HalfDay => "%Y-%m-%d",
        TimePrecision::Minute => "%Y-%m-%dT%H:%M",
        TimePrecision::Second => "%Y-%m-%dT%H:%M:%S",
    };
    let mut out = local.strftime(format).to_string();
    if time.precision >= TimePrecision::Minute
        && let Some(minutes) = time.offset_min
    {
        let offset = Offset::from_seconds(minutes.checked_mul(60)?).ok()?;
        let (sign, ahead) =
            if offset.is_negative() { ('-', minutes.unsigned_abs()) } else { ('+', minutes.unsigned_abs()) };
        out.push_str(&format!("{sign}{:02}:{:02}", ahead / 60, ahead % 60));
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nrm_5_remembered_times_are_printed_no_more_exactly_than_they_were() {
        let print = |precision, offset_min| {
            moment(Some(KnownTime { local_s: 1_769_861_105, offset_min, precision }), JourneyMs::ZERO)
        };
        assert_eq!(print(TimePrecision::Date, None).time.as_deref(), Some("2026-01-31"));
        assert_eq!(print(TimePrecision::Minute, None).time.as_deref(), Some("2026-01-31T12:05"));
        assert_eq!(print(TimePrecision::Minute, None).time_utc, None);
        let known = print(TimePrecision::Second, Some(-210));
        assert_eq!(known.time.as_deref(), Some("2026-01-31T12:05:05-03:30"));
        assert_eq!(known.time_utc, Some(UtcMs::new((1_769_861_105 + 210 * 60) * 1_000)));
        assert_eq!(moment(None, JourneyMs::new(7)).time, None);
    }
}
