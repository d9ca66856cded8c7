//! Which of the things that repeat are the events, and what each column is.

use super::{
    Candidate, Column,
    guess::{self, Part, Times},
};
use crate::countries;

/// Words that columns of each kind are called by, in the languages that carriers print.
const OF_TEXT: [&str; 25] = [
    "status",
    "event",
    "desc",
    "activity",
    "text",
    "message",
    "detail",
    "remark",
    "scan",
    "what",
    "info",
    "history",
    "vorgang",
    "ereignis",
    "libell",
    "statut",
    "estado",
    "evento",
    "stato",
    "keterangan",
    "처리",
    "상태",
    "状态",
    "状況",
    "operation",
];
const OF_PLACE: [&str; 23] = [
    "location",
    "place",
    "city",
    "facility",
    "depot",
    "office",
    "branch",
    "where",
    "station",
    "site",
    "hub",
    "area",
    "ort",
    "bran",
    "lieu",
    "lugar",
    "ciudad",
    "luogo",
    "lokasi",
    "kota",
    "위치",
    "发生地",
    "plaats",
];
const OF_CODE: [&str; 5] = ["code", "statusid", "eventid", "typeid", "reason"];
/// What is shown beside the words.
const OF_PICTURES: [&str; 4] = ["img", "icon", "url", "color"];
/// What is short as codes are and tells no status.
const OF_NO_CODE: [&str; 5] = ["country", "zip", "post", "city", "currency"];
/// Elements that are no places, however short and capital their words.
const OF_HEADINGS: [&str; 6] = ["h1", "h2", "h3", "h4", "h5", "h6"];
/// What has a name and is no person.
const OF_NAMED: [&str; 17] = [
    "event",
    "status",
    "scan",
    "activity",
    "operation",
    "location",
    "place",
    "city",
    "facility",
    "depot",
    "office",
    "branch",
    "station",
    "site",
    "hub",
    "area",
    "country",
];
/// Columns that tell of people are left alone.
const OF_PEOPLE: [&str; 11] = [
    "recipient",
    "receiver",
    "signed",
    "signature",
    "consignee",
    "phone",
    "email",
    "penerima",
    "empf",
    "driver",
    "user",
];
const OF_TIME: [&str; 10] = ["time", "date", "when", "datum", "fecha", "data", "tanggal", "일시", "时间", "heure"];

/// Most formats of a date and a time of day together.
const MOST_FORMATS: usize = 6;

/// Keys that are times where they stand alone; within other words they mean nothing.
const OF_TIME_ALONE: [&str; 5] = ["ts", "t", "at", "dt", "on"];

/// The events of an answer, column by column.
#[derive(Debug, Clone)]
pub(super) struct Events {
    pub(super) candidate: Candidate,
    /// Indices of the columns that make up the time, and the format of their texts joined.
    pub(super) time: Option<(Vec<usize>, Times)>,
    pub(super) text: Option<usize>,
    pub(super) code: Option<usize>,
    pub(super) place: Option<usize>,
    pub(super) country: Option<usize>,
}

impl Events {
    /// The languages of the answer: what it says, then what its months need.
    pub(super) fn languages(&self, said: &[String]) -> Vec<String> {
        let mut all = said.to_vec();
        let needed = self.time.as_ref().and_then(|(_, times)| times.language.clone());
        all.extend(needed.filter(|language| !said.contains(language)));
        if all.is_empty() {
            all.push("en".to_owned());
        }
        all
    }

    /// A time and words: what events are made of.
    pub(super) fn is_whole(&self) -> bool {
        self.time.is_some() && self.text.is_some()
    }

    pub(super) fn score(&self) -> usize {
        let rows = self.candidate.count.min(50);
        let time = match &self.time {
            Some((_, times)) if times.part == Part::Whole => 8,
            Some(_) => 6,
            None => 0,
        };
        let text = if self.text.is_some() { 4 } else { 0 };
        let place = usize::from(self.place.is_some()) + usize::from(self.code.is_some());
        // One of a kind repeats nothing; it is taken only where nothing else is.
        let weight = if rows == 1 { 1 } else { rows + 3 };
        if time + text < 6 { 0 } else { (time + text + place) * weight }
    }
}

/// What each candidate's columns are.
pub(super) fn understood(candidates: Vec<Candidate>, languages: &[String]) -> Vec<Events> {
    candidates.into_iter().map(|candidate| assign(candidate, languages)).collect()
}

/// The candidate that looks most like events.
pub(super) fn best(all: &[Events]) -> Option<&Events> {
    let mut best: Option<&Events> = None;
    for events in all.iter().filter(|events| events.score() > 0) {
        if best.is_none_or(|best| events.score() > best.score()) {
            best = Some(events);
        }
    }
    best
}

/// What repeats and bears words, and no column of it was understood as a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Untimed {
    pub(super) rows: String,
    pub(super) count: usize,
    /// The column that may be its time, and a value of it.
    pub(super) column: String,
    pub(super) value: String,
}

/// The most rows that would be events if their times were known.
pub(super) fn untimed(all: &[Events]) -> Option<Untimed> {
    let worded = |events: &&Events| events.time.is_none() && events.text.is_some() && events.candidate.count > 1;
    let events = all.iter().filter(worded).max_by_key(|events| events.candidate.count)?;
    let mut columns: Vec<&Column> = events.candidate.columns.iter().collect();
    columns.retain(|column| !filled(column).is_empty() && !is_of_people(column));
    let digits = |column: &&&Column| filled(column)[0].contains(|c: char| c.is_numeric());
    let called = columns.iter().find(|column| is_time(column));
    let column = called.or_else(|| columns.iter().find(digits)).or(columns.first())?;
    Some(Untimed {
        rows: events.candidate.rows.clone(),
        count: events.candidate.count,
        column: column.field.clone(),
        value: filled(column)[0].chars().filter(|c| !c.is_control()).take(40).collect(),
    })
}

fn is_time(column: &Column) -> bool {
    let hint = column.hint.to_lowercase();
    let last = hint.rsplit(['.', '/', '@']).next().unwrap_or_default();
    is_called(column, &OF_TIME) || OF_TIME_ALONE.contains(&last)
}

fn is_called(column: &Column, words: &[&str]) -> bool {
    let hint = column.hint.to_lowercase().replace(['-', '_', ' '], "");
    words.iter().any(|word| hint.contains(word))
}

/// Whether it tells of people; events, statuses and places have names as well.
fn is_of_people(column: &Column) -> bool {
    let hint = column.hint.to_lowercase();
    let mut steps = hint.rsplit(['.', '/']);
    let last = steps.next().unwrap_or_default();
    let whose = if last == "name" { steps.next().unwrap_or_default() } else { last };
    let named = last.contains("name") && !OF_NAMED.iter().any(|word| whose.contains(word));
    named || is_called(column, &OF_PEOPLE)
}

/// Whether it holds countries and nothing else.
fn is_of_countries(column: &Column) -> bool {
    let texts = filled(column);
    is_called(column, &["country"]) && !texts.is_empty() && texts.iter().all(|text| countries::code_of(text).is_some())
}

fn filled(column: &Column) -> Vec<&str> {
    column.texts.iter().map(|text| text.trim()).filter(|text| !text.is_empty()).collect()
}

fn assign(candidate: Candidate, languages: &[String]) -> Events {
    let columns = &candidate.columns;
    let half = candidate.count.div_ceil(2);
    let mut found: Vec<(usize, Times)> = Vec::new();
    for (index, column) in columns.iter().enumerate() {
        let texts = filled(column);
        if texts.len() >= half
            && let Some(times) = guess::times(&texts, languages)
            // Plain numbers, weights among them, are times only where they are called so.
            && (!texts.iter().all(|text| text.parse::<f64>().is_ok()) || is_time(column))
        {
            found.push((index, times));
        }
    }
    // Of several times the one that is called so; of one called so, the first.
    let called = |(index, _): &&(usize, Times)| is_time(&columns[*index]);
    let pick = |part: Part| {
        let of = |times: &&(usize, Times)| times.1.part == part;
        found.iter().filter(of).find(called).or_else(|| found.iter().find(of)).cloned()
    };
    let time = pick(Part::Whole).map(|(index, times)| (vec![index], times)).or_else(|| {
        let (date, times) = pick(Part::Date)?;
        match pick(Part::Clock) {
            Some((clock, hours)) => {
                let days = times.formats.iter();
                let joined = days.flat_map(|day| hours.formats.iter().filter_map(move |hour| guess::joined(day, hour)));
                let formats: Vec<String> = joined.take(MOST_FORMATS).collect();
                if formats.is_empty() {
                    return Some((vec![date], times));
                }
                Some((vec![date, clock], Times { formats, part: Part::Whole, ..times }))
            }
            None => Some((vec![date], times)),
        }
    });
    let time = time.or_else(|| {
        let (clock, _) = pick(Part::Clock)?;
        let hours = &columns[clock].texts;
        // A day and a month alone are a date where a time of day stands beside them; a weight is none.
        let beside = |day: &usize| {
            let texts = filled(&columns[*day]);
            let digits = texts.iter().all(|text| text.contains(|c: char| c.is_ascii_digit()));
            *day != clock && digits && texts.iter().any(|text| text.parse::<f64>().is_err())
        };
        (0..columns.len()).filter(beside).find_map(|day| {
            let pairs = columns[day].texts.iter().zip(hours).filter(|(day, hour)| !day.is_empty() && !hour.is_empty());
            let joined: Vec<String> = pairs.map(|(day, hour)| format!("{} {}", day.trim(), hour.trim())).collect();
            let times = guess::times(&joined.iter().map(String::as_str).collect::<Vec<_>>(), languages)?;
            (joined.len() >= half && times.part == Part::Whole).then(|| (vec![day, clock], times))
        })
    });
    let mut taken: Vec<usize> = found.iter().map(|(index, _)| *index).collect();
    taken.extend(time.iter().flat_map(|(parts, _)| parts));
    let free = |index: &usize| !taken.contains(index) && !is_of_people(&columns[*index]);
    let ranked = |score: &dyn Fn(&Column) -> i64, not: &[Option<usize>]| {
        let open = (0..columns.len()).filter(|index| free(index) && !not.contains(&Some(*index)));
        let best = open.map(|index| (score(&columns[index]), std::cmp::Reverse(index))).max();
        best.filter(|(score, _)| *score > 0).map(|(_, std::cmp::Reverse(index))| index)
    };
    let text = ranked(&text_score, &[]);
    let country = (0..columns.len()).filter(free).find(|index| is_of_countries(&columns[*index]));
    let place = ranked(&place_score, &[text, country]);
    let code = ranked(&code_score, &[text, place, country]);
    Events { time, text, code, place, country, candidate }
}

fn letters(texts: &[&str]) -> i64 {
    let all: usize = texts.iter().map(|text| text.chars().filter(|c| c.is_alphabetic()).count()).sum();
    i64::try_from(all / texts.len().max(1)).unwrap_or(0)
}

fn text_score(column: &Column) -> i64 {
    let texts = filled(column);
    if texts.len() * 2 < column.texts.len() || letters(&texts) < 3 || !is_prose(&texts) {
        return 0;
    }
    let distinct: std::collections::BTreeSet<&&str> = texts.iter().collect();
    let called = if is_called(column, &OF_TEXT) { 30 } else { 0 };
    let sentences = letters(&texts) > 25 && texts.iter().filter(|text| text.contains(' ')).count() * 2 > texts.len();
    let elsewhere = match is_called(column, &OF_PLACE) || is_called(column, &OF_CODE) {
        true if !sentences => -40,
        _ => 0,
    };
    // Keys in capitals are codes, whatever they are called.
    let keys = texts
        .iter()
        .filter(|text| !text.contains(' ') && text.bytes().all(|b| b.is_ascii_uppercase() || !b.is_ascii_alphabetic()));
    let keyed = if texts[0].is_ascii() && keys.count() == texts.len() { -30 } else { 0 };
    let varied = if distinct.len() > 1 || texts.len() == 1 { 10 } else { 0 };
    (letters(&texts).min(40) + called + elsewhere + keyed + varied).max(0)
}

/// Words for people, not keys or addresses of pages.
fn is_prose(texts: &[&str]) -> bool {
    let key = |text: &&&str| {
        text.contains("://") || text.starts_with('/') || (text.len() > 20 && !text.contains(' ') && text.is_ascii())
    };
    texts.iter().filter(key).count() * 2 < texts.len()
}

fn place_score(column: &Column) -> i64 {
    let texts = filled(column);
    if texts.is_empty() || letters(&texts) < 2 || !is_prose(&texts) {
        return 0;
    }
    if is_called(column, &OF_PICTURES) || OF_HEADINGS.contains(&column.hint.as_str()) {
        return 0;
    }
    let called = if is_called(column, &OF_PLACE) { 50 } else { 0 };
    let short = texts.iter().all(|text| text.chars().count() <= 60 && !text.contains(['.', '!', '?', ':']));
    let begins_large = texts.iter().filter(|text| text.chars().next().is_some_and(char::is_uppercase)).count();
    // What few rows have may be a heading's.
    let usual = texts.len() * 2 >= column.texts.len() && !is_called(column, &OF_CODE);
    let looks = if short && usual && begins_large * 10 >= texts.len() * 8 { 5 } else { 0 };
    called + looks
}

fn code_score(column: &Column) -> i64 {
    let texts = filled(column);
    let coded = |text: &&&str| {
        text.len() <= 16
            && !text.contains(' ')
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    let distinct: std::collections::BTreeSet<&&str> = texts.iter().collect();
    // One value for all is a type, as many as rows is a number of theirs.
    let numbering =
        texts.len() > 2 && distinct.len() == texts.len() && texts.iter().all(|text| text.parse::<u64>().is_ok());
    if texts.is_empty() || texts.iter().filter(coded).count() < texts.len() || numbering {
        return 0;
    }
    if is_called(column, &OF_CODE) && !is_called(column, &OF_NO_CODE) { 10 } else { 0 }
}
