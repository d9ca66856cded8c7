//! Printed times: which format they are in, how exact they are, and which zone they are in and why (NRM-5).
//!
//! Nothing is invented: what a text does not say stays unsaid, and a zone is known only from the answer, from the event's
//! place or from the adapter's statement.

use jiff::{
    Timestamp,
    civil::{Date, DateTime, Time},
    tz::{AmbiguousOffset, Offset, TimeZone},
};
use waybill_schemas::{
    UtcMs,
    event::{ReadTime, TimePrecision, ZoneSource},
};

use crate::{
    error::{Fault, Faults},
    field::regex,
    format::{self, Format, Parsed},
    names,
    pattern::Pattern,
    spec::{CalendarSpec, Midnight, TimesSpec, YearSpec},
};

/// Where an adapter's local times are at home.
#[derive(Debug, Clone)]
enum Home {
    Zone(TimeZone),
    Unknown,
}

/// Compiled rules for the times of a table.
#[derive(Debug)]
pub(crate) struct Times {
    formats: Vec<Format>,
    home: Home,
    /// What a printed abbreviation stands for.
    zones: Vec<(String, TimeZone)>,
    places: Vec<(Pattern, TimeZone)>,
    midnight: Midnight,
    year: YearSpec,
    calendar: CalendarSpec,
    languages: Vec<String>,
}

/// What an event shows of its time.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Shown<'a> {
    pub(crate) time: &'a str,
    /// A zone printed beside the time.
    pub(crate) offset: Option<&'a str>,
    /// A year printed elsewhere.
    pub(crate) year: Option<&'a str>,
    pub(crate) location: Option<&'a str>,
    /// When the carrier answered.
    pub(crate) seen_at: Option<UtcMs>,
    /// What is printed may lie ahead of that.
    pub(crate) ahead: bool,
}

pub(crate) fn zone(name: &str) -> Result<TimeZone, Fault> {
    if let Some(offset) = format::offset(name).filter(|(_, length)| *length == name.len()) {
        return Ok(TimeZone::fixed(offset.0));
    }
    TimeZone::get(name).map_err(|_| {
        Fault::new(
            name,
            format!("`{name}` is no time zone; use an IANA name such as Europe/Berlin, or an offset such as +01:00"),
        )
    })
}

impl Times {
    /// Compiles a table's rules; what they leave open follows the reader's, then the adapter's.
    pub(crate) fn compile(
        specs: &[&TimesSpec],
        adapter_zone: Option<&str>,
        languages: &[String],
    ) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let first = |has: fn(&TimesSpec) -> bool| specs.iter().copied().find(|spec| has(spec));
        let formats = first(|spec| !spec.formats.is_empty()).map(|spec| spec.formats.as_slice()).unwrap_or_default();
        let formats = faults.keep_all(formats.iter().map(|format| Format::compile(format)));
        let home = specs.iter().find_map(|spec| spec.zone.as_deref()).or(adapter_zone);
        let home = match home {
            None | Some("unknown") => Some(Home::Unknown),
            Some(name) => faults.keep(zone(name)).map(Home::Zone),
        };
        let zones = specs.iter().flat_map(|spec| &spec.zones);
        let zones = faults.keep_all(zones.map(|(printed, name)| Ok::<_, Fault>((printed.to_uppercase(), zone(name)?))));
        let places = specs.iter().flat_map(|spec| &spec.places);
        let places = faults.keep_all(places.map(|place| Ok::<_, Fault>((regex(&place.pattern)?, zone(&place.zone)?))));
        let mut spoken = first(|spec| !spec.languages.is_empty()).map_or(languages, |spec| &spec.languages).to_vec();
        if let Some(unknown) = spoken.iter().find(|l| !names::LANGUAGES.contains(&l.as_str()))
            && !languages.contains(unknown)
        {
            let problem = format!("month names of `{unknown}` are not known; ask for them or use digits");
            faults.add(Fault::new(unknown, problem));
        }
        // English month names appear in pages of every language.
        spoken.push("en".to_owned());
        let midnight =
            if specs.iter().any(|spec| spec.midnight == Midnight::Date) { Midnight::Date } else { Midnight::Time };
        let year = specs.iter().map(|spec| spec.year).find(|year| *year == YearSpec::Inferred).unwrap_or_default();
        let calendar = specs
            .iter()
            .map(|spec| spec.calendar)
            .find(|calendar| *calendar != CalendarSpec::Gregorian)
            .unwrap_or_default();
        match (formats, home, zones, places) {
            (Some(formats), Some(home), Some(zones), Some(places)) if faults.is_empty() => {
                let formats = formats.into_iter().flatten().collect();
                Ok(Self { formats, home, zones, places, midnight, year, calendar, languages: spoken })
            }
            _ => Err(faults),
        }
    }

    /// Understands a printed time; `None` when no format fits.
    pub(crate) fn read(&self, shown: Shown<'_>) -> Option<ReadTime> {
        let text = format::plain(shown.time.trim());
        let parsed = self.formats.iter().find_map(|format| format.parse(&text, &self.languages))?;
        if let Some(ms) = parsed.epoch_ms {
            return epoch(ms, &parsed);
        }
        let printed = match parsed.year {
            Some(year) => Some(self.common_era(year, parsed.short_year)),
            None => {
                shown.year.and_then(four_digits).map(|year| self.common_era(year, false)).filter(|year| *year <= 2200)
            }
        };
        let inferred = || match self.year {
            YearSpec::Printed => None,
            YearSpec::Inferred => infer_year(&parsed, shown),
        };
        let (date, mut precision, time) = civil(&parsed, printed.or_else(inferred)?)?;
        if self.midnight == Midnight::Date && time == Time::midnight() && precision >= TimePrecision::Minute {
            precision = TimePrecision::Date;
        }
        let local = DateTime::from_parts(date, time);
        let (zone, source) = self.zone_of(&parsed, shown);
        let offset = zone.map(|zone| match zone.to_ambiguous_timestamp(local).offset() {
            // A time that a clock change skipped or repeated counts before the change: one rule, the same every time.
            AmbiguousOffset::Unambiguous { offset } => offset,
            AmbiguousOffset::Gap { before, .. } | AmbiguousOffset::Fold { before, .. } => before,
        });
        let utc = offset.and_then(|offset| offset.to_timestamp(local).ok());
        Some(ReadTime {
            iso: iso(local, precision, offset, parsed.utc),
            utc: utc.map(|instant| UtcMs::new(instant.as_millisecond())),
            precision,
            zone_source: source,
            year_inferred: printed.is_none(),
        })
    }

    /// The Gregorian year of a printed one. Where Buddhist years are expected, some are Gregorian all the same: those in which
    /// parcels may be under way, until 2399 and of two digits until 59; `60` of the Buddhist era is 2017.
    fn common_era(&self, year: i16, two_digits: bool) -> i16 {
        match (self.calendar, two_digits) {
            (CalendarSpec::Buddhist, false) if year >= 2400 => year - 543,
            // Two digits were completed to 1970..=2069.
            (CalendarSpec::Buddhist, true) if year >= 2060 => year - 43,
            (CalendarSpec::Buddhist, true) if year < 2000 => year + 57,
            _ => year,
        }
    }

    /// The zone, and where it came from: printed, then by place, then the adapter's.
    fn zone_of(&self, parsed: &Parsed, shown: Shown<'_>) -> (Option<TimeZone>, ZoneSource) {
        if let Some(offset) = parsed.offset {
            return (Some(TimeZone::fixed(offset)), ZoneSource::Carrier);
        }
        let printed = parsed.abbreviation.as_deref().or(shown.offset).map(str::trim).filter(|text| !text.is_empty());
        if let Some(printed) = printed {
            let upper = printed.to_uppercase();
            if let Some((_, zone)) = self.zones.iter().find(|(name, _)| *name == upper) {
                return (Some(zone.clone()), ZoneSource::Carrier);
            }
            if let Some((offset, length)) = format::offset(printed)
                && length == printed.len()
            {
                return (Some(TimeZone::fixed(offset)), ZoneSource::Carrier);
            }
            if printed.contains('/')
                && let Ok(zone) = TimeZone::get(printed)
            {
                return (Some(zone), ZoneSource::Carrier);
            }
            // Something is printed and not understood: to put the adapter's zone over it would be inventing.
            return (None, ZoneSource::Unknown);
        }
        let by_place = shown.location.and_then(|place| self.places.iter().find(|(regex, _)| regex.is_match(place)));
        if let Some((_, zone)) = by_place {
            return (Some(zone.clone()), ZoneSource::Place);
        }
        match &self.home {
            Home::Zone(zone) => (Some(zone.clone()), ZoneSource::Adapter),
            Home::Unknown => (None, ZoneSource::Unknown),
        }
    }
}

fn epoch(ms: i64, parsed: &Parsed) -> Option<ReadTime> {
    let instant = Timestamp::from_millisecond(ms).ok()?;
    let offset = parsed.offset.unwrap_or(Offset::UTC);
    Some(ReadTime {
        iso: iso(offset.to_datetime(instant), TimePrecision::Second, Some(offset), parsed.offset.is_none()),
        utc: Some(UtcMs::new(ms)),
        precision: TimePrecision::Second,
        zone_source: ZoneSource::Carrier,
        year_inferred: false,
    })
}

/// The civil date and time that were printed, and how exactly.
fn civil(parsed: &Parsed, year: i16) -> Option<(Date, TimePrecision, Time)> {
    let date = Date::new(year, parsed.month?, parsed.day?).ok()?;
    let Some(hour) = parsed.hour else {
        return Some(match parsed.half {
            None => (date, TimePrecision::Date, Time::midnight()),
            Some(names::Half::Am) => (date, TimePrecision::HalfDay, Time::midnight()),
            Some(names::Half::Pm) => (date, TimePrecision::HalfDay, Time::constant(12, 0, 0, 0)),
        });
    };
    // Above 12 it is a 24-hour clock, whatever stands behind it.
    let hour = match (parsed.half, hour) {
        (Some(names::Half::Pm), 1..=11) => hour + 12,
        (Some(names::Half::Am), 12) => 0,
        _ => hour,
    };
    let precision = if parsed.second.is_some() { TimePrecision::Second } else { TimePrecision::Minute };
    let (date, hour) = if hour == 24 { (date.tomorrow().ok()?, 0) } else { (date, hour) };
    // A leap second has no place in a civil clock; it counts as the second before.
    let second = parsed.second.unwrap_or(0).min(59);
    let time = Time::new(hour, parsed.minute.unwrap_or(0), second, 0).ok()?;
    Some((date, precision, time))
}

/// NRM-5: a year that is not printed is taken only where the adapter says that its pages leave it out, and marked. An event
/// is of the past: the latest year in which its day is not after the look (a day is allowed for clocks ahead of ours). What
/// may lie ahead is of the year that puts it nearest.
fn infer_year(parsed: &Parsed, shown: Shown<'_>) -> Option<i16> {
    let today = Timestamp::from_millisecond(shown.seen_at?.ms()).ok()?.to_zoned(TimeZone::UTC).date();
    let (month, day) = (parsed.month?, parsed.day?);
    // 29 February is not in every year; eight years hold one.
    let candidates = (today.year() - 8..=today.year() + 1).rev().filter_map(|year| Date::new(year, month, day).ok());
    let days = |date: &Date| i64::from((*date - today).get_days());
    let found = if shown.ahead {
        candidates.min_by_key(|date| days(date).abs())
    } else {
        candidates.into_iter().find(|date| days(date) <= 1)
    };
    found.map(Date::year)
}

fn four_digits(text: &str) -> Option<i16> {
    let text = format::plain(text);
    let digits: Vec<&str> = text.split(|c: char| !c.is_ascii_digit()).filter(|run| run.len() == 4).collect();
    let [year] = digits.as_slice() else { return None };
    year.parse().ok().filter(|year| (1900..=2800).contains(year))
}

/// ISO 8601, no more exact than printed; an offset only behind a time of day.
fn iso(local: DateTime, precision: TimePrecision, offset: Option<Offset>, utc: bool) -> String {
    let mut out = local.date().to_string();
    match precision {
        TimePrecision::Date | TimePrecision::HalfDay => return out,
        TimePrecision::Minute => out.push_str(&format!("T{:02}:{:02}", local.hour(), local.minute())),
        TimePrecision::Second => {
            out.push_str(&format!("T{:02}:{:02}:{:02}", local.hour(), local.minute(), local.second()));
        }
    }
    if let Some(offset) = offset {
        if offset == Offset::UTC && utc {
            out.push('Z');
        } else {
            let minutes = offset.seconds() / 60;
            let sign = if minutes < 0 { '-' } else { '+' };
            out.push_str(&format!("{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60));
        }
    }
    out
}

#[cfg(test)]
#[path = "times_tests.rs"]
mod tests;
