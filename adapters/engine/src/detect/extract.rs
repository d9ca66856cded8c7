//! Tracking numbers in a text that somebody pasted: lines of numbers, numbers printed in groups, words around them.
//!
//! The text is cut where no number goes on (punctuation, line ends), the rest into words. Neighbouring words may belong
//! together; of all ways to join them the one is taken that reads as numbers best: right check digits and distinctive
//! letters count for more than a run of digits does, and a longer number for more than its parts.
//!
//! Three things hold besides. A number beside which, with only spaces and hyphens between, a group with digits belongs to
//! nothing is never `high`: the whole is then a number that no form fits, and its part proves nothing. Where the printed
//! groups plainly go on beside what was joined of some of them, the part is no number at all: the whole is told, be it
//! nobody's. And the cost is linear in the text: how often words are joined is bounded by its length.

use std::collections::{HashMap, hash_map::Entry};

use unicode_normalization::UnicodeNormalization;
use waybill_schemas::{
    limits::MAX_DETECT_TEXT_BYTES,
    number::{is_dash, is_invisible},
};

use super::{CheckDigit, Confidence, Detected, Detector};

/// Most words that one number is printed in; numbers are also pasted with a space behind every character.
const MOST_WORDS: usize = 40;
/// Longest canonical number.
const MOST_CHARACTERS: usize = 64;
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
        for (mut detected, lone) in apart(detector, &words, pieces) {
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

    /// Whether it may be one of several groups that a number is printed in, and is too short to be one by itself.
    fn is_part(self) -> bool {
        self.is_group() && self.text.len() < LEAST_DIGITS
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

impl Piece {
    fn end(&self) -> usize {
        self.begin + self.words
    }

    /// Whether it is only some groups of a longer number, as far as what stands beside it tells.
    fn is_part(&self, beside: Beside) -> bool {
        let digits_only = self.detected.number.as_str().bytes().all(|byte| byte.is_ascii_digit());
        let check_digit = self.detected.candidates.first().map_or(CheckDigit::None, |best| best.check_digit);
        self.words > 1 && beside.speaks_against(check_digit, digits_only)
    }

    /// Whether another follows at once that is printed in the same groups: two of a kind.
    fn is_twin_of(&self, next: &Self, words: &[Word<'_>]) -> bool {
        let lengths = |piece: &Self| words[piece.begin..piece.end()].iter().map(|word| word.text.len());
        self.end() == next.begin && lengths(self).eq(lengths(next))
    }
}

/// What stands next to words that were joined, with only a space between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beside {
    /// No group of digits.
    Nothing,
    /// One group, of another length than the one at the edge.
    Another,
    /// The groups of a printed number go on: one of the same length, or several.
    More,
}

impl Beside {
    fn of(words: &[Word<'_>], begin: usize, end: usize, is_free: impl Fn(usize) -> bool) -> Self {
        // Whether the words at `at` and before it stand together and the one that is asked for is free.
        let before = |at: usize| at > 0 && !words[at - 1].ends && is_free(at - 1);
        let behind = |at: usize| at < words.len() && !words[at - 1].ends && is_free(at);
        let alike = |one: usize, other: usize| words[one].text.len() == words[other].text.len();
        let goes_on_before = || alike(begin - 1, begin) || before(begin - 1);
        let goes_on_behind = || alike(end, end - 1) || behind(end + 1);
        match (before(begin), behind(end)) {
            (true, _) if goes_on_before() => Self::More,
            (_, true) if goes_on_behind() => Self::More,
            (false, false) => Self::Nothing,
            _ => Self::Another,
        }
    }

    /// A right check digit among letters is no chance; in digits alone one in ten is right for each form. Digits that
    /// nothing verifies are no number where any others stand beside them.
    fn speaks_against(self, check_digit: CheckDigit, digits_only: bool) -> bool {
        match self {
            Self::Nothing => false,
            Self::Another => check_digit == CheckDigit::None && digits_only,
            Self::More => check_digit != CheckDigit::Valid || digits_only,
        }
    }
}

/// Whether the best candidate is certain.
fn is_high(detected: &Detected) -> bool {
    detected.candidates.iter().any(|candidate| candidate.confidence == Confidence::High)
}

/// Numbers, each with whether it stands apart from groups that belong to no number that is certain. Instead of a part whose
/// groups go on beside it the whole is shown.
fn apart(detector: &Detector, words: &[Word<'_>], pieces: Vec<Piece>) -> Vec<(Detected, bool)> {
    let (mut certain, mut settled) = (vec![false; words.len()], vec![false; words.len()]);
    for (index, piece) in pieces.iter().enumerate() {
        certain[piece.begin..piece.end()].fill(is_high(&piece.detected));
        let twin = pieces.get(index + 1).is_some_and(|next| piece.is_twin_of(next, words))
            || index.checked_sub(1).is_some_and(|before| pieces[before].is_twin_of(piece, words));
        settled[piece.begin..piece.end()].fill(twin || !piece.is_part(Beside::More));
    }
    let open = |at: usize| !certain[at] && words[at].is_group();
    let free = |at: usize| !settled[at] && words[at].is_part();
    let each = pieces.into_iter().map(|piece| {
        let (begin, end) = (piece.begin, piece.end());
        let is_part = !settled[begin] && piece.is_part(Beside::of(words, begin, end, free));
        if let Some(whole) = is_part.then(|| whole(detector, words, (begin, end), free)).flatten() {
            return (whole, false);
        }
        let before = begin.checked_sub(1).is_some_and(|at| !words[at].ends && open(at));
        let behind = end < words.len() && !words[end - 1].ends && open(end);
        (piece.detected, !before && !behind)
    });
    each.collect()
}

/// The number that some words and all free ones around them make; none where they are too many for one.
fn whole(
    detector: &Detector,
    words: &[Word<'_>],
    (mut begin, mut end): (usize, usize),
    is_free: impl Fn(usize) -> bool,
) -> Option<Detected> {
    let fits = |begin: usize, end: usize| {
        words[begin..end].iter().map(|word| word.text.len()).sum::<usize>() <= MOST_CHARACTERS
    };
    while begin > 0 && !words[begin - 1].ends && is_free(begin - 1) && fits(begin, end) {
        begin -= 1;
    }
    while end < words.len() && !words[end - 1].ends && is_free(end) && fits(begin, end) {
        end += 1;
    }
    if !fits(begin, end) {
        return None;
    }
    let joined: String = words[begin..end].iter().map(|word| word.text).collect();
    detector.detect(&joined).ok()
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
            if joined.len() > MOST_CHARACTERS || (count > 0 && *joins == 0) {
                break;
            }
            *joins = joins.saturating_sub(1);
            let Some(own) = worth_of(detector, &joined, words, (begin, begin + count + 1)) else { continue };
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

/// What the reading of words, joined, as a number is worth; none where it is none.
fn worth_of(detector: &Detector, joined: &str, all: &[Word<'_>], (begin, end): (usize, usize)) -> Option<f64> {
    if joined.len() < 6 || !joined.bytes().any(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let best = detector.judge(joined)?;
    let sure = best.confidence == Confidence::High || best.check_digit == CheckDigit::Valid;
    if best.digits_only && !sure && best.length < LEAST_DIGITS {
        return None;
    }
    let words = &all[begin..end];
    let ends_in_prose = words.last().is_some_and(|word| !word.has_digit());
    let holds_prose = words.iter().any(|word| !word.has_digit() && word.text.len() > LONGEST_LETTERS);
    if !sure && (ends_in_prose || holds_prose) {
        return None;
    }
    let beside = stands_beside_digits(all, begin, end);
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
    let alone = if words.len() == 1 { 1.2 } else { 1.0 };
    // The whole, be its digit wrong, goes before some of its groups.
    let neighbours = Beside::of(all, begin, end, |at| all[at].is_part());
    let is_part = words.len() > 1 && neighbours.speaks_against(best.check_digit, best.digits_only);
    let part = if is_part { 0.1 } else { 1.0 };
    Some(each * alone * part * joined.len() as f64)
}

#[cfg(test)]
#[path = "extract_tests.rs"]
mod tests;
