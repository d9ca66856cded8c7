//! Tracking numbers in a text that somebody pasted: lines of numbers, numbers printed in groups, words around them.
//!
//! The text is cut where no number goes on (punctuation, line ends), the rest into words. Neighbouring words may belong
//! together; of all ways to join them the one is taken that reads as numbers best: right check digits and distinctive
//! letters count for more than a run of digits does, and a longer number for more than its parts.
//!
//! Two things hold besides. A number beside which, with only spaces and hyphens between, a group with digits belongs to
//! nothing is never `high`: the whole is then a number that no form fits, and its part proves nothing. And the cost is
//! linear in the text: how often words are joined is bounded by its length.

use std::collections::{HashMap, hash_map::Entry};

use unicode_normalization::UnicodeNormalization;
use waybill_schemas::{
    limits::MAX_DETECT_TEXT_BYTES,
    number::{is_dash, is_invisible},
};

use super::{CheckDigit, Confidence, Detected, Detector};

/// Most words that one number is printed in; numbers are also pasted with a space behind every character.
const MOST_WORDS: usize = 40;
/// Most words of one stretch that are looked through in all combinations.
const MOST_TOGETHER: usize = 400;
/// Joins that every text may cost; enough for a screen full of numbers pasted character by character.
const LEAST_JOINS: usize = 10_000;
/// Joins that each byte of it adds: digits in groups of four take three. When all are spent, words stand alone.
const JOINS_PER_BYTE: usize = 4;
/// A run of digits shorter than this is a date, a price or a house number unless its check digit is right.
const LEAST_DIGITS: usize = 9;

/// Longest group of letters alone in a number whose form is not sure by itself; longer ones are words of the text.
const LONGEST_LETTERS: usize = 4;

/// See [`Detector::extract`].
pub(super) fn extract(detector: &Detector, text: &str) -> Vec<Detected> {
    let mut end = text.len().min(MAX_DETECT_TEXT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let plain = plain(&text[..end]);
    let mut joins = LEAST_JOINS + JOINS_PER_BYTE * plain.len();
    let mut found: Vec<Detected> = Vec::new();
    let mut known = HashMap::new();
    let ends = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, ' ' | '\u{a0}' | '-' | '_' | '.'));
    for stretch in plain.split(ends) {
        let words = words_of(detector, stretch);
        let mut pieces = Vec::new();
        for (index, part) in words.chunks(MOST_TOGETHER).enumerate() {
            pieces.extend(of_words(detector, part, &mut joins).into_iter().map(|mut piece| {
                piece.begin += index * MOST_TOGETHER;
                piece
            }));
        }
        for (mut detected, lone) in apart(&words, pieces) {
            if !lone {
                lower(&mut detected);
            }
            match known.entry(detected.number.clone()) {
                Entry::Vacant(entry) => {
                    entry.insert(found.len());
                    found.push(detected);
                }
                // Elsewhere in the text it stands by itself.
                Entry::Occupied(entry) if lone => found[*entry.get()] = detected,
                Entry::Occupied(_) => {}
            }
        }
    }
    found
}

/// A text as numbers are looked for in it: upper case, without what nobody sees, and with a hyphen for every dash between
/// letters and digits. Other dashes are punctuation.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.nfkc().filter(|c| !is_invisible(*c)).peekable();
    while let Some(c) = rest.next() {
        let inside = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        if is_dash(c) && inside(plain.chars().next_back()) && inside(rest.peek().copied()) {
            plain.push('-');
        } else {
            plain.extend(c.to_uppercase());
        }
    }
    plain
}

/// A group of characters between spaces.
#[derive(Debug, Clone, Copy)]
struct Word<'t> {
    text: &'t str,
    /// A full stop behind it, which is the sentence's.
    ends: bool,
}

impl<'t> Word<'t> {
    fn of(written: &'t str) -> Option<Self> {
        let text = written.trim_matches(['.', '-', '_']);
        (!text.is_empty()).then(|| Self { text, ends: written.ends_with('.') })
    }

    fn has_digit(self) -> bool {
        self.text.bytes().any(|byte| byte.is_ascii_digit())
    }

    /// Whether it may be a group of a number; words and dates are not.
    fn is_group(self) -> bool {
        self.has_digit() && !self.is_date()
    }

    /// `2026-11-21` or `21.11.2026`.
    fn is_date(self) -> bool {
        let parts: Vec<&str> = self.text.split(['-', '.']).collect();
        let [first, middle, last] = parts[..] else { return false };
        let of = |part: &str, most: u32| {
            part.len() <= 2 && part.parse::<u32>().is_ok_and(|number| (1..=most).contains(&number))
        };
        let year = |part: &str| part.len() == 4 && (part.starts_with("19") || part.starts_with("20"));
        let months = |one: &str, other: &str| (of(one, 12) && of(other, 31)) || (of(one, 31) && of(other, 12));
        (year(first) && of(middle, 12) && of(last, 31)) || (year(last) && months(first, middle))
    }
}

/// The words of a stretch. A full stop or an underline beside a letter parts them where no form fits the whole: the text's own,
/// as in `No.1Z…` or in the name of a file.
fn words_of<'t>(detector: &Detector, stretch: &'t str) -> Vec<Word<'t>> {
    let mut words = Vec::new();
    for written in stretch.split_whitespace() {
        let bytes = written.as_bytes();
        let letter = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_alphabetic);
        let parts = |at: &usize| matches!(bytes[*at], b'.' | b'_') && (letter(*at - 1) || letter(*at + 1));
        let cuts: Vec<usize> = (1..bytes.len().saturating_sub(1)).filter(parts).collect();
        let mut begin = 0;
        if !cuts.is_empty() && Word::of(written).is_some_and(|whole| detector.judge(whole.text).is_none()) {
            for cut in cuts {
                words.extend(Word::of(&written[begin..=cut]));
                begin = cut + 1;
            }
        }
        words.extend(Word::of(&written[begin..]));
    }
    words
}

/// Words that read as a number.
struct Piece {
    begin: usize,
    words: usize,
    detected: Detected,
}

/// Whether the best candidate is certain.
fn is_high(detected: &Detected) -> bool {
    detected.candidates.iter().any(|candidate| candidate.confidence == Confidence::High)
}

/// Numbers, each with whether it stands apart from groups that belong to no number that is certain.
fn apart(words: &[Word<'_>], pieces: Vec<Piece>) -> Vec<(Detected, bool)> {
    let mut certain = vec![false; words.len()];
    for piece in pieces.iter().filter(|piece| is_high(&piece.detected)) {
        certain[piece.begin..piece.begin + piece.words].fill(true);
    }
    let open = |at: usize| !certain[at] && words[at].is_group();
    let each = pieces.into_iter().map(|Piece { begin, words: count, detected }| {
        let before = begin.checked_sub(1).is_some_and(|at| !words[at].ends && open(at));
        let end = begin + count;
        let behind = end < words.len() && !words[end - 1].ends && open(end);
        (detected, !before && !behind)
    });
    each.collect()
}

/// Takes the certainty from a part of what may be a longer number.
fn lower(detected: &mut Detected) {
    for candidate in detected.candidates.iter_mut().filter(|candidate| candidate.confidence == Confidence::High) {
        candidate.confidence = Confidence::Medium;
        candidate.reason.push_str("; more digits stand beside it, which may belong to the number");
    }
}

/// The best reading of what begins at a word.
struct Step {
    words: usize,
    worth: f64,
    /// It is a number.
    is_number: bool,
}

fn of_words(detector: &Detector, words: &[Word<'_>], joins: &mut usize) -> Vec<Piece> {
    // From the end: the best reading of what begins at each word.
    let mut worth = vec![0.0; words.len() + 1];
    let mut steps: Vec<Step> = Vec::with_capacity(words.len());
    for begin in (0..words.len()).rev() {
        let mut best = Step { words: 1, worth: worth[begin + 1], is_number: false };
        let mut joined = String::new();
        for (count, word) in words[begin..].iter().take(MOST_WORDS).enumerate() {
            joined.push_str(word.text);
            if joined.len() > 64 || (count > 0 && *joins == 0) {
                break;
            }
            *joins = joins.saturating_sub(1);
            let beside = stands_beside_digits(words, begin, begin + count + 1);
            let Some(own) = worth_of(detector, &joined, &words[begin..=begin + count], beside) else { continue };
            let total = own + worth[begin + count + 1];
            // Of two readings that are worth the same the longer number.
            if total > best.worth || (best.is_number && total >= best.worth) {
                best = Step { words: count + 1, worth: total, is_number: true };
            }
        }
        worth[begin] = best.worth;
        steps.push(best);
    }
    steps.reverse();
    let mut found = Vec::new();
    let mut begin = 0;
    while let Some(step) = steps.get(begin) {
        if step.is_number {
            let joined: String = words[begin..begin + step.words].iter().map(|word| word.text).collect();
            let detected = detector.detect(&joined).ok();
            found.extend(detected.map(|detected| Piece { begin, words: step.words, detected }));
        }
        begin += step.words;
    }
    found
}

/// Whether groups with digits stand next to these words, which may belong to the same number.
fn stands_beside_digits(words: &[Word<'_>], begin: usize, end: usize) -> bool {
    let before = begin.checked_sub(1).is_some_and(|at| !words[at].ends && words[at].is_group());
    before || (!words[end - 1].ends && words.get(end).is_some_and(|word| word.is_group()))
}

/// What the reading of joined words as a number is worth; none where it is none.
fn worth_of(detector: &Detector, joined: &str, words: &[Word<'_>], beside: bool) -> Option<f64> {
    if joined.len() < 6 || !joined.bytes().any(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let best = detector.judge(joined)?;
    let sure = best.confidence == Confidence::High || best.check_digit == CheckDigit::Valid;
    if best.digits_only && !sure && best.length < LEAST_DIGITS {
        return None;
    }
    let ends_in_prose = words.last().is_some_and(|word| !word.has_digit());
    let holds_prose = words.iter().any(|word| !word.has_digit() && word.text.len() > LONGEST_LETTERS);
    if !sure && (ends_in_prose || holds_prose) {
        return None;
    }
    let each = match (best.check_digit, best.confidence) {
        // Distinctive letters at the beginning are the whole's as well as the part's.
        (CheckDigit::None, Confidence::High) if beside => 3.0,
        (_, Confidence::High) => 10.0,
        // One part in ten of a longer number's digits has a right check digit by chance.
        (CheckDigit::Valid, _) if best.digits_only && beside => 3.5,
        (CheckDigit::Valid, _) => 8.0,
        (CheckDigit::None, Confidence::Medium) => 3.0,
        (CheckDigit::None, _) => 1.0,
        // Letters within its groups make it one number with a slip in it; letters alone before digits may be a word, as in
        // "AWB 1234567890".
        (CheckDigit::Invalid, _) if !best.digits_only && words.iter().all(|word| word.has_digit()) => 2.0,
        (CheckDigit::Invalid, _) => 0.5,
    };
    // One word that is a number beats a sum of words that happens to be one.
    let whole = if words.len() == 1 { 1.2 } else { 1.0 };
    Some(each * whole * joined.len() as f64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::Catalog;

    /// A right one, made by the rule of UPS.
    const UPS: &str = "1Z999AA10123456784";

    fn found(text: &str) -> Vec<Detected> {
        Catalog::embedded().unwrap().detector().extract(text)
    }

    #[test]
    fn part_of_a_number_that_fits_nothing_is_never_high() {
        for typed in [
            "SP41 1976 9065 2307 4934 3",
            "1LS711901361812 7-2",
            "JD52959 2 275 7905 772 9",
            "4200 9335 2565 9130 1270 1478 1426 8990 7",
        ] {
            for text in [typed.to_owned(), format!("Your parcel {typed} will arrive on 12 March.")] {
                let high: Vec<Detected> = found(&text).into_iter().filter(is_high).collect();
                assert!(high.is_empty(), "{typed}: {high:?}");
            }
        }
    }

    #[test]
    fn words_and_dates_beside_a_number_do_not_speak_against_it() {
        for text in [
            format!("Your parcel {UPS} will arrive on 12 March"),
            UPS.to_owned(),
            format!("{} 2026-11-21 08:12 out for delivery", UPS.to_lowercase()),
            format!("Sent on 21.11.2026 {UPS} - Hamburg"),
            format!("This is {UPS}. 2 pieces"),
            format!("3 pieces: {UPS}\n12 March"),
            "1Z 999 AA1 01 2345 6784 arrives".to_owned(),
            format!("{UPS} 12, and once more {UPS}, alone"),
        ] {
            let all = found(&text);
            let ups = all.iter().find(|detected| detected.number.as_str() == UPS);
            assert!(ups.is_some_and(is_high), "{text}: {all:?}");
        }
        let beside = found(&format!("{UPS} 12 pieces"));
        assert!(beside.iter().any(|detected| detected.number.as_str() == UPS && !is_high(detected)), "{beside:?}");
        // Two that are both certain bear each other out.
        let two = found(&format!("{UPS} {UPS}"));
        assert!(two.iter().all(is_high) && two.len() == 1, "{two:?}");
    }

    #[test]
    fn a_part_whose_digit_is_right_by_chance_never_goes_before_the_whole() {
        for typed in ["D447 6156 0426 8667 7613 31", "JJD5 0182 4551 4534 759"] {
            let whole = typed.replace(' ', "");
            let all = found(&format!("Your parcels: {typed}, thanks"));
            assert!(all.len() == 1 && all[0].number.as_str() == whole, "{typed}: {all:?}");
        }
        // Two that stand side by side are two.
        let two: Vec<String> =
            found("123456789012 700000000010").iter().map(|detected| detected.number.to_string()).collect();
        assert_eq!(two, ["123456789012", "700000000010"]);
    }

    #[test]
    fn a_number_with_a_slip_is_shown_whole_and_its_digit_called_wrong() {
        let all = found("It was 1Z 999 AA1 01 2345 6785, I think");
        let first = all.first().map(|detected| (detected.number.as_str(), detected.candidates[0].check_digit));
        assert_eq!(first, Some(("1Z999AA10123456785", CheckDigit::Invalid)), "{all:?}");
        assert_eq!(all.len(), 1, "{all:?}");
        let named = found("pin 1234567890");
        assert_eq!(named[0].number.as_str(), "1234567890", "{named:?}");
    }

    #[test]
    fn dashes_of_typography_and_what_nobody_sees_do_not_part_a_number() {
        for text in [
            "1Z999AA1\u{2013}0123\u{2013}456784".to_owned(),
            "your 1Z999AA1\u{ad}0123\u{200b}456784, thanks".to_owned(),
            format!("{UPS} \u{2013} 2 pieces"),
            format!("\u{feff}{UPS}\u{2014}on its way"),
        ] {
            let all = found(&text);
            assert!(all.iter().any(|detected| detected.number.as_str() == UPS && is_high(detected)), "{text}: {all:?}");
        }
    }

    /// Joins that are spent leave words that stand alone, and the text behind the limit is not looked at.
    #[test]
    fn the_joins_of_a_long_text_are_bounded_and_whole_words_are_still_found() {
        let catalog = Catalog::embedded().unwrap();
        let detector = catalog.detector();
        let grouped = "1Z 999 AA1 01 2345 6784";
        let words: Vec<Word<'_>> = grouped.split_whitespace().filter_map(Word::of).collect();
        let count = |joins: &mut usize| of_words(detector, &words, joins).len();
        let mut joins = 1_000;
        assert_eq!(count(&mut joins), 1);
        assert!((900..1_000).contains(&joins), "{joins} of 1000 are left of a number of six words");
        assert_eq!(count(&mut 0), 0, "nothing is joined any more");
        let alone = [Word::of(UPS).unwrap()];
        assert_eq!(of_words(detector, &alone, &mut 0).len(), 1, "what needs no join is found");
        let far = format!("{}\n{UPS}", "x ".repeat(MAX_DETECT_TEXT_BYTES / 2));
        assert!(detector.extract(&far).is_empty());
    }
}
