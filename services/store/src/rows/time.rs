//! Printed times as figures: differences between local times, days. Pure, and never inventing what was not printed
//! (NRM-5).

use jiff::{civil, tz::TimeZone};
use waybill_schemas::shipment::Moment;

use crate::columns::Day;

const DAY_MS: i64 = 86_400_000;

/// The wall-clock reading of a printed ISO 8601 time as milliseconds since 1970-01-01T00:00 of the same (unknown) zone;
/// an offset is not applied. A missing time of day is midnight.
pub(super) fn local_ms(iso: &str) -> Option<i64> {
    let (date, time) = iso.split_once('T').unwrap_or((iso, ""));
    let date: civil::Date = date.parse().ok()?;
    let clock = time.find(['Z', '+', '-']).map_or(time, |end| &time[..end]);
    let time: civil::Time = if clock.is_empty() { civil::Time::midnight() } else { clock.parse().ok()? };
    let zoned = date.to_datetime(time).to_zoned(TimeZone::UTC).ok()?;
    Some(zoned.timestamp().as_millisecond())
}

/// Days from one moment to a later one: between instants where both are known, else between the printed local times.
/// `None` when one was not printed or they stand in the wrong order.
pub(super) fn days_between(from: &Moment, to: &Moment) -> Option<f64> {
    let ms = match (from.time_utc, to.time_utc) {
        (Some(from), Some(to)) => to.since_ms(from),
        _ => local_ms(to.time.as_deref()?)?.checked_sub(local_ms(from.time.as_deref()?)?)?,
    };
    (ms >= 0).then(|| ms as f64 / DAY_MS as f64)
}

/// The day of a moment: as printed, else of the instant in UTC, else of the look that showed it.
pub(super) fn day_of(moment: &Moment) -> Day {
    let printed = moment.time.as_deref().and_then(local_ms);
    let candidates = [printed, moment.time_utc.map(|at| at.ms()), Some(moment.seen_at.ms())];
    let day = |ms: i64| u16::try_from(ms.div_euclid(DAY_MS)).ok();
    Day(candidates.into_iter().flatten().find_map(day).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use waybill_schemas::{JourneyMs, UtcMs};

    fn moment(time: Option<&str>, utc: Option<i64>) -> Moment {
        Moment { time: time.map(str::to_owned), time_utc: utc.map(UtcMs::new), seen_at: JourneyMs::new(40 * DAY_MS) }
    }

    #[test]
    fn nrm_5_days_count_between_instants_or_else_between_printed_times_and_are_never_invented() {
        let days = |a: &Moment, b: &Moment| days_between(a, b);
        let instants = (moment(Some("1970-01-02T00:00+02:00"), Some(0)), moment(Some("1970-01-03"), Some(DAY_MS / 2)));
        assert_eq!(days(&instants.0, &instants.1), Some(0.5));
        let printed = (moment(Some("1970-01-02T06:00+02:00"), Some(5)), moment(Some("1970-01-03T18:00"), None));
        assert_eq!(days(&printed.0, &printed.1), Some(1.5));
        assert_eq!(days(&printed.1, &printed.0), None);
        assert_eq!(days(&moment(None, None), &printed.1), None);
        assert_eq!(days(&moment(Some("Tuesday"), None), &printed.1), None);
    }

    #[test]
    fn a_day_is_the_printed_one_or_else_the_best_known() {
        assert_eq!(day_of(&moment(Some("1970-01-03T23:59-05:00"), Some(0))), Day(2));
        assert_eq!(day_of(&moment(None, Some(3 * DAY_MS))), Day(3));
        assert_eq!(day_of(&moment(Some("9999-01-01"), None)), Day(40));
    }
}
