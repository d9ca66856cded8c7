//! Formats of dates written out, made from a column's own texts where none of the usual formats fits them: each text becomes
//! a format by telling what its numbers and words are, and the formats of the most texts are kept. What the engine makes of
//! them has the last word ([`super::guess`]).

use super::{guess::Part, weekdays};
use crate::{format, names};

/// A longer text tells more than a time.
pub(super) const MOST_BYTES: usize = 100;
const MOST_TOKENS: usize = 40;
/// Most letters of words that are not understood and stand in the format as they are.
const MOST_LETTERS: usize = 16;
const SAMPLE: usize = 60;
const MOST_FORMATS: usize = 4;

/// Signs that stand behind the number they count.
const COUNTS: &str = "년월일시분초年月日号號時时分秒点點";
const HOURS: [&str; 8] = ["h", "시", "時", "时", "点", "點", "u", "godz"];
const MINUTES: [&str; 4] = ["m", "min", "분", "分"];
const SECONDS: [&str; 3] = ["s", "초", "秒"];

/// What the first of several numbers is, where only their values could tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Day,
    Month,
    /// Of three numbers of two digits.
    Year,
}

/// Formats for a column, the most frequent first, with how much of a time they tell. `language` is that of month names.
pub(super) fn formats(texts: &[&str], language: Option<&str>, order: Order) -> Option<(Vec<String>, Part)> {
    let mut counted: Vec<(String, Part, usize)> = Vec::new();
    for text in texts.iter().take(SAMPLE) {
        let Some((format, part)) = format_of(text.trim(), language, order) else { continue };
        match counted.iter_mut().find(|(known, ..)| *known == format) {
            Some((.., count)) => *count += 1,
            None => counted.push((format, part, 1)),
        }
    }
    counted.sort_by_key(|(.., count)| std::cmp::Reverse(*count));
    // Where some tell a date, a time of day alone is something else; a date alone may stand among whole times.
    let any = |wanted: Part| counted.iter().any(|(_, part, _)| *part == wanted);
    let part = [Part::Whole, Part::Date, Part::Clock].into_iter().find(|part| any(*part))?;
    counted.retain(|(_, own, _)| (*own == Part::Clock) == (part == Part::Clock));
    let mut formats: Vec<String> = Vec::new();
    for (format, ..) in counted {
        match formats.iter_mut().find_map(|known| Some((one_of(known, &format)?, known))) {
            Some((both, known)) => *known = both,
            None => formats.push(format),
        }
    }
    formats.truncate(MOST_FORMATS);
    Some((formats, part))
}

/// One format for two that differ in a single word, such as the weekday in a language whose weekdays are not known here.
fn one_of(one: &str, other: &str) -> Option<String> {
    let (ones, others) = (words(one), words(other));
    if ones.len() != others.len() {
        return None;
    }
    let is_word = |piece: &str| piece.starts_with(char::is_alphabetic) || piece == "%a";
    let mut differ = ones.iter().zip(&others).enumerate().filter(|(_, (one, other))| one != other);
    let (at, (word, with)) = differ.next()?;
    let is_one = differ.next().is_none() && is_word(word) && is_word(with);
    is_one.then(|| [&ones[..at], &["%a"], &ones[at + 1..]].concat().concat())
}

/// The words of a format, and what stands between them; a field is a piece of its own.
fn words(format: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = format;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '%' => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            first if first.is_alphabetic() => rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len()),
            first => first.len_utf8(),
        };
        let (piece, behind) = rest.split_at(length);
        pieces.push(piece);
        rest = behind;
    }
    pieces
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'t> {
    Number(&'t str),
    Word(&'t str),
    Sign(char),
    Space,
}

/// A text on its way to a format: its pieces, and what those that are understood become.
struct Writing<'t> {
    text: &'t str,
    /// Each with where it begins.
    tokens: Vec<(usize, Token<'t>)>,
    written: Vec<Option<String>>,
}

fn format_of(text: &str, language: Option<&str>, order: Order) -> Option<(String, Part)> {
    let mut writing = Writing::new(text)?;
    let clock = writing.clock();
    let dated = writing.counted_date() || writing.named_date(language) || writing.plain_date(order, clock);
    if !writing.numbers().is_empty() {
        return None;
    }
    let part = match (dated, clock || writing.has("%H")) {
        (true, true) => Part::Whole,
        (true, false) => Part::Date,
        (false, true) => Part::Clock,
        (false, false) => return None,
    };
    Some((writing.finish(language)?, part))
}

impl<'t> Writing<'t> {
    fn new(text: &'t str) -> Option<Self> {
        if text.len() > MOST_BYTES || !text.contains(|c: char| c.is_ascii_digit()) {
            return None;
        }
        let mut tokens: Vec<(usize, Token<'t>)> = Vec::new();
        let mut at = 0;
        while let Some(c) = text[at..].chars().next() {
            let run = |is: fn(char) -> bool| text[at..].find(|c: char| !is(c)).unwrap_or(text.len() - at);
            let counts = matches!(tokens.last(), Some((_, Token::Number(_)))) && COUNTS.contains(c);
            let (length, token) = if c.is_ascii_digit() {
                let length = run(|c| c.is_ascii_digit());
                (length, Token::Number(&text[at..at + length]))
            } else if counts {
                (c.len_utf8(), Token::Word(&text[at..at + c.len_utf8()]))
            } else if c.is_alphabetic() {
                let length = run(char::is_alphabetic);
                (length, Token::Word(&text[at..at + length]))
            } else if c.is_whitespace() {
                (run(char::is_whitespace), Token::Space)
            } else if c.is_control() || "[]%".contains(c) {
                return None;
            } else {
                (c.len_utf8(), Token::Sign(c))
            };
            tokens.push((at, token));
            at += length;
        }
        let written = vec![None; tokens.len()];
        (tokens.len() <= MOST_TOKENS).then_some(Self { text, tokens, written })
    }

    fn token(&self, index: usize) -> Option<Token<'t>> {
        self.tokens.get(index).map(|(_, token)| *token)
    }

    /// What follows a piece, white space left out.
    fn beyond(&self, index: usize) -> usize {
        index + if self.token(index + 1) == Some(Token::Space) { 2 } else { 1 }
    }

    fn is_sign(&self, index: usize, sign: char) -> bool {
        self.token(index) == Some(Token::Sign(sign))
    }

    fn is_word(&self, index: usize, words: &[&str]) -> bool {
        matches!(self.token(index), Some(Token::Word(word)) if words.contains(&word.to_lowercase().as_str()))
    }

    /// A number that nothing is known of yet, with the count of its digits.
    fn number(&self, index: usize) -> Option<(u32, usize)> {
        match self.token(index)? {
            Token::Number(digits) if self.written[index].is_none() => Some((digits.parse().ok()?, digits.len())),
            _ => None,
        }
    }

    fn is_number(&self, index: usize, digits: std::ops::RangeInclusive<usize>, most: u32) -> bool {
        self.number(index).is_some_and(|(value, length)| digits.contains(&length) && value <= most)
    }

    /// Numbers that nothing is known of yet.
    fn numbers(&self) -> Vec<usize> {
        let open =
            |index: &usize| matches!(self.token(*index), Some(Token::Number(_))) && self.written[*index].is_none();
        (0..self.tokens.len()).filter(open).collect()
    }

    fn put(&mut self, index: usize, field: &str) {
        if let Some(place) = self.written.get_mut(index) {
            *place = Some(field.to_owned());
        }
    }

    fn has(&self, field: &str) -> bool {
        self.written.iter().flatten().any(|written| written == field)
    }

    /// Finds the time of day, with what belongs to it: halves of the day before or behind it, a zone behind it.
    fn clock(&mut self) -> bool {
        let all = 0..self.tokens.len();
        let found = all.clone().find_map(|at| self.colons(at)).or_else(|| all.clone().find_map(|at| self.units(at)));
        let Some((begin, mut end)) = found else { return false };
        let mut before = begin;
        while before > 0 && self.token(before - 1) == Some(Token::Space) {
            before -= 1;
        }
        let behind = if self.token(end) == Some(Token::Space) { end + 1 } else { end };
        if let Some(length) = self.half_at(behind) {
            end = self.consume(behind, length, "%p");
        } else if before > 0
            && let Some(Token::Word(word)) = self.token(before - 1)
            && !word.is_ascii()
            && names::half(word).is_some_and(|(_, length)| length == word.len())
        {
            self.put(before - 1, "%p");
        }
        if self.has("%p") {
            self.put(begin, "%I");
        }
        self.zone(end);
        true
    }

    /// `8:12`, `08:12:33.250` at a place; where it begins and ends.
    fn colons(&mut self, at: usize) -> Option<(usize, usize)> {
        if !(self.is_number(at, 1..=2, 24) && self.is_sign(at + 1, ':') && self.is_number(at + 2, 2..=2, 59)) {
            return None;
        }
        self.put(at, "%H");
        self.put(at + 2, "%M");
        let mut end = at + 3;
        if self.is_sign(end, ':') && self.is_number(end + 1, 2..=2, 60) {
            self.put(end + 1, "%S");
            end += 2;
            if (self.is_sign(end, '.') || self.is_sign(end, ',')) && self.is_number(end + 1, 1..=9, u32::MAX) {
                self.put(end + 1, "%f");
                end += 2;
            }
        }
        Some((at, end))
    }

    /// `8시 12분`, `08h12`, `8 h` at a place.
    fn units(&mut self, at: usize) -> Option<(usize, usize)> {
        let unit = self.beyond(at);
        if !(self.is_number(at, 1..=2, 24) && self.is_word(unit, &HOURS)) {
            return None;
        }
        self.put(at, "%H");
        let minute = self.beyond(unit);
        if !self.is_number(minute, 1..=2, 59) {
            return Some((at, unit + 1));
        }
        self.put(minute, "%M");
        let unit = self.beyond(minute);
        if !self.is_word(unit, &MINUTES) {
            return Some((at, minute + 1));
        }
        let second = self.beyond(unit);
        if !(self.is_number(second, 1..=2, 60) && self.is_word(self.beyond(second), &SECONDS)) {
            return Some((at, unit + 1));
        }
        self.put(second, "%S");
        Some((at, self.beyond(second) + 1))
    }

    /// The length of the half of the day that a piece begins.
    fn half_at(&self, index: usize) -> Option<usize> {
        let (at, Token::Word(word)) = self.tokens.get(index)? else { return None };
        if weekdays::is_weekday(word) {
            return None;
        }
        let rest = &self.text[*at..];
        let (_, length) = names::half(rest)?;
        (!rest[length..].starts_with(char::is_alphabetic)).then_some(length)
    }

    /// Writes a field for the pieces of so many bytes; the place behind them.
    fn consume(&mut self, index: usize, length: usize, field: &str) -> usize {
        let begin = self.tokens[index].0;
        let mut end = index;
        while self.tokens.get(end).is_some_and(|(at, _)| *at < begin + length) {
            self.put(end, "");
            end += 1;
        }
        self.put(index, field);
        end
    }

    /// A zone behind the time of day.
    fn zone(&mut self, end: usize) {
        let mut at = if self.token(end) == Some(Token::Space) { end + 1 } else { end };
        at += usize::from(self.is_sign(at, '('));
        let begin = self.tokens.get(at).map_or(self.text.len(), |(begin, _)| *begin);
        match self.token(at) {
            Some(Token::Sign('+' | '-' | '\u{2212}') | Token::Word("GMT" | "UTC" | "Z")) => {
                if let Some((_, length)) = format::offset(&self.text[begin..]) {
                    self.consume(at, length, "%z");
                }
            }
            Some(Token::Word(word))
                if (3..=5).contains(&word.len())
                    && word.bytes().all(|byte| byte.is_ascii_uppercase())
                    && !matches!(word, "UHR" | "HRS" | "UUR")
                    && !weekdays::is_weekday(word)
                    && weekdays::month_languages(&[word]).is_empty() =>
            {
                self.put(at, "%Z");
            }
            _ => {}
        }
    }

    /// `2026년 11월 21일`: each number says what it counts. Whether a day was found.
    fn counted_date(&mut self) -> bool {
        for index in self.numbers() {
            let Some((_, digits)) = self.number(index) else { continue };
            let Some(Token::Word(unit)) = self.token(self.beyond(index)) else { continue };
            match (unit, digits) {
                ("년" | "年", 4) => self.put(index, "%Y"),
                ("년" | "年", 2) => self.put(index, "%y"),
                ("월" | "月", 1..=2) => self.put(index, "%m"),
                ("일" | "日" | "号" | "號", 1..=2) => self.put(index, "%d"),
                _ => {}
            }
        }
        self.has("%m") && self.has("%d")
    }

    /// `21 novembre 2026`: a month by its name, the day beside it.
    fn named_date(&mut self, language: Option<&str>) -> bool {
        let Some(language) = language else { return false };
        let language = [language.to_owned()];
        // Short weekdays may be months as well, and stand before them.
        let month = (0..self.tokens.len()).rev().find(|index| match self.token(*index) {
            Some(Token::Word(word)) => self.written[*index].is_none() && names::month(word, &language).is_some(),
            _ => false,
        });
        let Some(month) = month else { return false };
        let open = self.year();
        let day = open.iter().copied().filter(|index| self.is_number(*index, 1..=2, 31));
        let Some(day) = day.min_by_key(|index| (index.abs_diff(month), *index)) else { return false };
        self.put(month, "%b");
        self.put(day, "%d");
        let rest = self.numbers();
        if let [short] = rest.as_slice()
            && !self.has("%Y")
            && *short > day
            && self.is_number(*short, 2..=2, 99)
        {
            self.put(*short, "%y");
        }
        self.dotted_clock(&rest);
        true
    }

    /// `21.11.26`, `26/11/21`, `21.11.`: numbers alone.
    fn plain_date(&mut self, order: Order, clock: bool) -> bool {
        let mut open = self.year();
        let year = self.written.iter().position(|written| written.as_deref() == Some("%Y"));
        let wanted = if year.is_some() || open.len() < 3 { 2 } else { 3 };
        if !clock && open.len() == wanted + 2 {
            let behind = open.split_off(wanted);
            self.dotted_clock(&behind);
        }
        let mut all: Vec<usize> = open.iter().copied().chain(year).collect();
        all.sort_unstable();
        if open.len() != wanted || !self.are_joined(&all) {
            return false;
        }
        let fields: &[&str] = match (year, order) {
            (Some(year), Order::Year) if year > open[0] => return false,
            (Some(year), _) if year < open[0] => &["%m", "%d"],
            (_, Order::Day) if wanted == 2 => &["%d", "%m"],
            (_, Order::Month | Order::Year) if wanted == 2 => &["%m", "%d"],
            (_, Order::Day) => &["%d", "%m", "%y"],
            (_, Order::Month) => &["%m", "%d", "%y"],
            (_, Order::Year) => &["%y", "%m", "%d"],
        };
        let fits = |(index, field): (&usize, &&str)| match *field {
            "%d" => self.is_number(*index, 1..=2, 31),
            "%m" => self.is_number(*index, 1..=2, 12),
            _ => self.is_number(*index, 2..=2, 99),
        };
        // Two numbers are a day and a month only beside what dates have.
        let dated = year.is_some() || wanted == 3 || clock || self.has("%H") || self.is_sign(open[1] + 1, '.');
        if !dated || !open.iter().zip(fields).all(fits) {
            return false;
        }
        for (index, field) in open.iter().zip(fields) {
            self.put(*index, field);
        }
        true
    }

    /// Writes the year of four digits; the numbers that are left.
    fn year(&mut self) -> Vec<usize> {
        let is = |index: &usize| {
            self.number(*index).is_some_and(|(value, digits)| digits == 4 && (1900..=2200).contains(&value))
        };
        if let Some(year) = self.numbers().into_iter().find(is) {
            self.put(year, "%Y");
        }
        self.numbers()
    }

    /// `08.12` as a time of day, where two numbers are left.
    fn dotted_clock(&mut self, rest: &[usize]) {
        let [hour, minute] = rest else { return };
        let joined = *minute == hour + 2 && self.is_sign(hour + 1, '.');
        if joined && !self.has("%H") && self.is_number(*hour, 1..=2, 24) && self.is_number(*minute, 2..=2, 59) {
            self.put(*hour, "%H");
            self.put(*minute, "%M");
        }
    }

    /// Whether the numbers of a date stand beside each other, with one sign between each two.
    fn are_joined(&self, numbers: &[usize]) -> bool {
        let sign = numbers.first().and_then(|first| self.token(first + 1));
        matches!(sign, Some(Token::Sign('.' | '/' | '-')))
            && numbers.windows(2).all(|pair| self.token(pair[0] + 1) == sign && self.beyond(pair[0] + 1) == pair[1])
    }

    /// The format: what is understood as fields, the rest as it stands.
    fn finish(mut self, language: Option<&str>) -> Option<String> {
        let mut letters = 0;
        for index in 0..self.tokens.len() {
            let Some(Token::Word(word)) = self.token(index) else { continue };
            let counts = index > 0 && matches!(self.token(index - 1), Some(Token::Number(_)));
            let day = index > 0 && self.written[index - 1].as_deref() == Some("%d");
            if self.written[index].is_some() {
                continue;
            }
            if day && matches!(word, "st" | "nd" | "rd" | "th") {
                self.put(index, "[st][nd][rd][th]");
            } else if day && matches!(word, "er" | "º" | "ª") {
                self.put(index, &format!("[{word}]"));
            } else if !counts && weekdays::is_weekday(word) {
                let feira = self.is_sign(index + 1, '-') && self.is_word(index + 2, &["feira"]);
                self.put(index, if feira || language == Some("pt") { "%a[-feira]" } else { "%a" });
                if feira {
                    self.put(index + 1, "");
                    self.put(index + 2, "");
                }
            } else {
                letters += word.chars().count();
            }
        }
        if letters > MOST_LETTERS {
            return None;
        }
        let mut out = String::new();
        for (index, (_, token)) in self.tokens.iter().enumerate() {
            match (&self.written[index], token) {
                (Some(field), _) => {
                    out.push_str(field);
                    let ordinal = matches!(self.token(index + 1), Some(Token::Word("er")));
                    // The first of a month is written `1er`, and may not be among these.
                    if field == "%d" && language == Some("fr") && !ordinal {
                        out.push_str("[er]");
                    }
                }
                (None, Token::Word(word) | Token::Number(word)) => out.push_str(word),
                (None, Token::Space) => out.push(' '),
                // Names take their dot with them.
                (None, Token::Sign('.')) if out.ends_with("%a") || out.ends_with("%b") => {}
                (None, Token::Sign(sign)) => out.push(*sign),
            }
        }
        Some(out)
    }
}

#[cfg(test)]
#[path = "dates_tests.rs"]
mod tests;
