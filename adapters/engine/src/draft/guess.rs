//! Guesses about single columns: the format of their times.

use super::{
    dates::{self, Order},
    weekdays,
};
use crate::{format::Format, names};

/// Date and time in one, then dates, then times of day; the first that fits all wins, so the more exact come first.
const WHOLE: [&str; 38] = [
    "iso",
    // As React passes a date on.
    "$D%Y-%m-%dT%H:%M:%S[.%f][%z]",
    "%Q",
    "%s",
    "/Date(%Q[%z])/",
    "%Y-%m-%d[,] %H:%M[:%S[.%f]][ %z]",
    "%Y/%m/%d[,] %H:%M[:%S][ %z]",
    "%Y.%m.%d[.][,] %H:%M[:%S]",
    "%d.%m.%Y[,] [um ]%H:%M[:%S][ Uhr]",
    "%d-%m-%Y[,] %H:%M[:%S]",
    "%d/%m/%Y[,] [at ][à ]%H:%M[:%S]",
    "%m/%d/%Y[,] [at ]%H:%M[:%S]",
    "%d/%m/%Y[,] [at ]%I:%M[:%S] %p",
    "%m/%d/%Y[,] [at ]%I:%M[:%S] %p",
    "%m-%d-%Y[,] %I:%M[:%S] %p",
    "%d-%m-%Y[,] %I:%M[:%S] %p",
    "%d.%m.%y[,] %H:%M[:%S]",
    "%d/%m/%y[,] %H:%M[:%S]",
    "[%a[,] ]%d[.] %b[,] %Y[,] [at ]%I:%M[:%S] %p",
    "[%a[,] ]%d[.] %b[,] %Y[,] [at ]%H:%M[:%S][ %z]",
    "[%a[,] ]%b %d[,] %Y[,] [at ]%I:%M[:%S] %p",
    "[%a[,] ]%b %d[,] %Y[,] [at ]%H:%M[:%S]",
    "%d-%b-%Y[,] %H:%M[:%S]",
    "%d-%b-%Y[,] %I:%M[:%S] %p",
    "%H:%M[:%S][,] %d-%b-%Y",
    "%H:%M[:%S][,] %d %b %Y",
    "%H:%M[:%S][,] %d.%m.%Y",
    "%H:%M[:%S][,] %d/%m/%Y",
    "%I:%M[:%S] %p[,] %b %d[,] %Y",
    "%I:%M[:%S] %p[,] %d %b %Y",
    "%Y年%m月%d日 %H:%M[:%S]",
    "%Y年%m月%d日 %H時%M分",
    "%Y년 %m월 %d일 %H:%M[:%S]",
    "%Y%m%d%H%M%S",
    "%Y%m%d %H%M[%S]",
    "%Y-%m-%d-%H.%M[.%S]",
    "%Y-%m-%d %I:%M[:%S] %p",
    "%Y.%m.%d %p %I:%M",
];
const DATES: [&str; 18] = [
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%Y.%m.%d[.]",
    "%d.%m.%Y",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d-%m-%Y",
    "%d.%m.%y",
    "%d/%m/%y",
    "[%a[,] ]%d[.] %b[,] %Y",
    "[%a[,] ]%b %d[,] %Y",
    "%d-%b-%Y",
    "%d-%b-%y",
    "%Y年%m月%d日",
    "%Y년 %m월 %d일",
    "%Y%m%d",
    "[%a[,] ]%d[.] %b",
    "[%a[,] ]%b %d",
];
const CLOCKS: [&str; 9] = [
    "%I:%M[:%S] %p",
    "%H:%M[:%S][ %z]",
    "%* %I:%M[:%S] %p",
    "%* %H:%M[:%S]",
    "%H:%M[:%S] Uhr",
    "%Hh%M",
    "%H.%M",
    "%H%M%S",
    "%H%M",
];

/// What the times of a column are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Times {
    /// The first that fits a text is its.
    pub(super) formats: Vec<String>,
    pub(super) part: Part,
    /// The language of its names, where it is not English.
    pub(super) language: Option<String>,
    /// Another format fits as well: day and month cannot be told apart.
    pub(super) ambiguous: bool,
}

/// How much of a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Whole,
    Date,
    Clock,
}

/// The format that a column's texts are in; a few may be something else.
pub(super) fn times(texts: &[&str], languages: &[String]) -> Option<Times> {
    if !texts.iter().any(|text| text.contains(|c: char| c.is_ascii_digit())) {
        return None;
    }
    let spoken = weekdays::spoken(texts, languages);
    let mut derived = None;
    let parts = [(Part::Whole, &WHOLE[..]), (Part::Date, &DATES[..]), (Part::Clock, &CLOCKS[..])];
    // ISO 8601 admits a date alone; the time of day may then stand in another column.
    let day_alone = !texts.iter().any(|text| text.contains([':', 'T', 't']));
    for (part, formats) in parts {
        // A word before a time of day may be a date that is written out.
        if part == Part::Clock {
            derived = written_out(texts, languages, spoken);
            if derived.as_ref().is_some_and(|times| times.part != Part::Clock) {
                return derived;
            }
        }
        let formats = if day_alone { formats.strip_prefix(&["iso"]).unwrap_or(formats) } else { formats };
        let fitting = formats.iter().find_map(|format| Some((*format, fits(&[*format], texts, languages, spoken)?)));
        let Some((format, language)) = fitting else { continue };
        let own = [format.to_owned()];
        let swapped = [format.replacen("%d", "%x", 1).replacen("%m", "%d", 1).replacen("%x", "%m", 1)];
        let ambiguous = is_either(format) && fits(&[&swapped[0]], texts, languages, spoken).is_some();
        let closer = ambiguous && is_closer(&swapped, &own, texts);
        return Some(Times {
            formats: if closer { swapped.to_vec() } else { own.to_vec() },
            part,
            language,
            ambiguous,
        });
    }
    derived
}

/// Formats made from the texts themselves.
fn written_out(texts: &[&str], languages: &[String], spoken: Option<&str>) -> Option<Times> {
    let mut tried: Vec<Option<&str>> = vec![spoken];
    let mut months = weekdays::month_languages(texts);
    months.sort_by_key(|language| *language != "en");
    tried.extend(months.into_iter().map(Some));
    tried.push(None);
    let read = |names: Option<&str>, order: Order| {
        let (formats, part) = dates::formats(texts, names, order)?;
        let all: Vec<&str> = formats.iter().map(String::as_str).collect();
        let language = fits(&all, texts, languages, names.or(spoken))?;
        Some(Times { formats, part, language, ambiguous: false })
    };
    for names in tried {
        if let Some(mut times) = read(names, Order::Day) {
            if let Some(other) = read(names, Order::Month).filter(|other| other.formats != times.formats) {
                let closer = times.formats.iter().all(|format| is_either(format))
                    && is_closer(&other.formats, &times.formats, texts);
                times = if closer { other } else { times };
                times.ambiguous = true;
            }
            return Some(times);
        }
        let swapped = [Order::Month, Order::Year].into_iter().find_map(|order| read(names, order));
        if swapped.is_some() {
            return swapped;
        }
    }
    None
}

/// Whether a format is written by some with the day first and by others with the month: with dots, or behind the year, it is
/// not.
fn is_either(format: &str) -> bool {
    let parts = ["%d/%m", "%m/%d", "%d-%m", "%m-%d"];
    parts.iter().any(|part| format.find(part).is_some_and(|at| !format[..at].contains("%Y")))
}

/// Whether the days of a column are closer to each other by some formats than by others: a parcel takes days, not months.
fn is_closer(some: &[String], others: &[String], texts: &[&str]) -> bool {
    let span = |formats: &[String]| {
        let variants: Vec<Format> =
            formats.iter().filter_map(|format| Format::compile(format).ok()).flatten().collect();
        let read = |text: &&str| variants.iter().find_map(|variant| variant.parse(text.trim(), &[]));
        // Months of equal length will do.
        let days = texts.iter().filter_map(read).filter_map(|at| {
            Some(i32::from(at.year.unwrap_or(0)) * 372 + i32::from(at.month?) * 31 + i32::from(at.day?))
        });
        let days: Vec<i32> = days.collect();
        Some(days.iter().max()? - days.iter().min()?)
    };
    matches!((span(some), span(others)), (Some(some), Some(others)) if some < others)
}

/// Whether nearly all texts are in one of the formats; with the language that their names need, or tell.
fn fits(formats: &[&str], texts: &[&str], languages: &[String], spoken: Option<&str>) -> Option<Option<String>> {
    let mut variants = Vec::new();
    for format in formats {
        variants.extend(Format::compile(format).ok()?);
    }
    let share = |language: &[String]| {
        let fitting =
            texts.iter().filter(|text| variants.iter().any(|variant| variant.parse(text.trim(), language).is_some()));
        fitting.count() * 10 >= texts.len() * 8
    };
    // What words tell is of more use later than months that other languages share.
    if let Some(spoken) = spoken.map(str::to_owned)
        && share(std::slice::from_ref(&spoken))
    {
        return Some((spoken != "en").then_some(spoken));
    }
    if share(&["en".to_owned()]) {
        return Some(None);
    }
    if !formats.iter().any(|format| format.contains("%b")) {
        return None;
    }
    let said = languages.iter().map(String::as_str).filter(|language| names::LANGUAGES.contains(language));
    let all = said.chain(names::LANGUAGES);
    all.map(str::to_owned).find(|language| share(std::slice::from_ref(language))).map(Some)
}

/// A date and a time of day in one, where that is no more than a format may have; the time may be absent.
pub(super) fn joined(day: &str, hour: &str) -> Option<String> {
    let ways = [format!("{day}[ {hour}]"), format!("{day} {hour}")];
    ways.into_iter().find(|way| Format::compile(way).is_ok())
}
