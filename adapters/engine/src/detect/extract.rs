//! Tracking numbers in a text that somebody pasted: lines of numbers, numbers printed in groups, words around them.
//!
//! The text is cut where no number goes on (punctuation, line ends), the rest into words. Neighbouring words may belong
//! together; of all ways to join them the one is taken that reads as numbers best: right check digits and distinctive
//! letters count for more than a run of digits does, and a longer number for more than its parts.

use unicode_normalization::UnicodeNormalization;

use super::{CheckDigit, Confidence, Detected, Detector};

/// Most words that one number is printed in; numbers are also pasted with a space behind every character.
const MOST_WORDS: usize = 40;
/// Longest text that is looked through, in bytes; the API admits less.
const MOST_BYTES: usize = 1 << 20;
/// Most words of one stretch that are looked through in all combinations.
const MOST_TOGETHER: usize = 400;
/// A run of digits shorter than this is a date, a price or a house number unless its check digit is right.
const LEAST_DIGITS: usize = 9;

/// Longest group of letters alone in a number whose form is not sure by itself; longer ones are words of the text.
const LONGEST_LETTERS: usize = 4;

/// See [`Detector::extract`].
pub(super) fn extract(detector: &Detector, text: &str) -> Vec<Detected> {
    let mut end = text.len().min(MOST_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let plain: String = text[..end].nfkc().flat_map(char::to_uppercase).collect();
    let mut found: Vec<Detected> = Vec::new();
    let ends = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, ' ' | '\u{a0}' | '-' | '_' | '.'));
    for stretch in plain.split(ends) {
        // A full stop at the end of a word is the sentence's.
        let words: Vec<&str> = stretch.split_whitespace().map(|word| word.trim_matches(['.', '-', '_'])).collect();
        let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
        for part in words.chunks(MOST_TOGETHER) {
            for detected in of_words(detector, part) {
                if !found.iter().any(|known| known.number == detected.number) {
                    found.push(detected);
                }
            }
        }
    }
    found
}

struct Piece {
    words: usize,
    worth: f64,
    detected: Option<Detected>,
}

fn of_words(detector: &Detector, words: &[&str]) -> Vec<Detected> {
    // From the end: the best reading of what begins at each word.
    let mut worth = vec![0.0; words.len() + 1];
    let mut steps: Vec<Piece> = Vec::with_capacity(words.len());
    for begin in (0..words.len()).rev() {
        let mut best = Piece { words: 1, worth: worth[begin + 1], detected: None };
        let mut joined = String::new();
        for (count, word) in words[begin..].iter().take(MOST_WORDS).enumerate() {
            joined.push_str(word);
            if joined.len() > 64 {
                break;
            }
            let Some((detected, own)) = reading(detector, &joined, &words[begin..=begin + count]) else { continue };
            let total = own + worth[begin + count + 1];
            if total > best.worth {
                best = Piece { words: count + 1, worth: total, detected: Some(detected) };
            }
        }
        worth[begin] = best.worth;
        steps.push(best);
    }
    steps.reverse();
    let mut found = Vec::new();
    let mut at = 0;
    let mut steps: Vec<Option<Piece>> = steps.into_iter().map(Some).collect();
    while let Some(piece) = steps.get_mut(at).and_then(Option::take) {
        at += piece.words;
        found.extend(piece.detected);
    }
    found
}

/// Joined words as a number, and what that reading is worth.
fn reading(detector: &Detector, joined: &str, words: &[&str]) -> Option<(Detected, f64)> {
    if joined.len() < 6 || !joined.bytes().any(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let detected = detector.detect(joined).ok()?;
    let best = detected.candidates.first()?;
    let digits_only = detected.number.as_str().bytes().all(|byte| byte.is_ascii_digit());
    let sure = best.confidence == Confidence::High || best.check_digit == CheckDigit::Valid;
    if digits_only && !sure && detected.number.as_str().len() < LEAST_DIGITS {
        return None;
    }
    let has_digit = |word: &str| word.bytes().any(|byte| byte.is_ascii_digit());
    let ends_in_prose = words.last().is_some_and(|word| !has_digit(word));
    let holds_prose = words.iter().any(|word| !has_digit(word) && word.len() > LONGEST_LETTERS);
    if !sure && (ends_in_prose || holds_prose) {
        return None;
    }
    let each = match (best.check_digit, best.confidence) {
        (_, Confidence::High) => 10.0,
        (CheckDigit::Valid, _) => 8.0,
        (CheckDigit::None, Confidence::Medium) => 3.0,
        (CheckDigit::None, _) => 1.0,
        (CheckDigit::Invalid, _) => 0.5,
    };
    // One word that is a number beats a sum of words that happens to be one.
    let whole = if words.len() == 1 { 1.2 } else { 1.0 };
    Some((detected.clone(), each * whole * joined.len() as f64))
}
