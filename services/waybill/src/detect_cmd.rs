//! `waybill detect`: whose numbers may be, without the network.

use std::io::{BufRead, Read, Write};

use anyhow::{Result, bail};
use serde_json::json;
use waybill_adapters::{Candidate, Catalog, Detected, Detector};
use waybill_schemas::limits::MAX_DETECT_TEXT_BYTES;

use crate::cli::Detect;

/// Longest group of letters alone that is taken for part of a number; longer ones are words of a text.
const LONGEST_LETTERS: usize = 4;

/// Answers each number given, or each line of standard input.
///
/// # Errors
/// When standard input cannot be read or `out` cannot be written.
pub(crate) fn run(catalog: &Catalog, order: &Detect, input: &mut dyn BufRead, out: &mut dyn Write) -> Result<()> {
    let detector = catalog.detector();
    if order.text {
        let text = if order.numbers.is_empty() { read_all(input)? } else { order.numbers.join("\n") };
        if text.len() > MAX_DETECT_TEXT_BYTES {
            bail!(
                "the text is longer than {MAX_DETECT_TEXT_BYTES} bytes; give it in parts, or one number a line without --text"
            );
        }
        return detector.extract(&text).iter().try_for_each(|found| tell(found, order.json, out));
    }
    if !order.numbers.is_empty() {
        return order.numbers.iter().try_for_each(|typed| one(detector, typed, order.json, out));
    }
    for line in input.lines() {
        let line = line?;
        if !line.trim().is_empty() {
            one(detector, &line, order.json, out)?;
        }
    }
    Ok(())
}

#[allow(clippy::disallowed_methods, reason = "bounded by `take`")]
fn read_all(input: &mut dyn BufRead) -> Result<String> {
    let mut bytes = Vec::new();
    input.take(MAX_DETECT_TEXT_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A number; or, where it is a text, the numbers in it. What is made only of a number's characters is one number, whatever
/// fits a part of it.
fn one(detector: &Detector, typed: &str, as_json: bool, out: &mut dyn Write) -> Result<()> {
    let error = match detector.detect(typed) {
        Ok(detected) if !detected.candidates.is_empty() || !has_words(typed) => return tell(&detected, as_json, out),
        Ok(detected) => Ok(detected),
        Err(error) => Err(error),
    };
    let inside = detector.extract(typed);
    if !inside.is_empty() {
        return inside.iter().try_for_each(|found| tell(found, as_json, out));
    }
    match error {
        Ok(detected) => tell(&detected, as_json, out),
        Err(error) => {
            let shown: String = typed.chars().take(80).collect();
            if as_json {
                writeln!(out, "{}", json!({ "number": shown, "candidates": [], "error": error.to_string() }))?;
            } else {
                writeln!(out, "{shown}: {error}")?;
            }
            Ok(())
        }
    }
}

/// Whether there are words for people in it.
fn has_words(typed: &str) -> bool {
    let mut groups = typed.split(|c: char| c.is_whitespace() || c == '-');
    groups.any(|group| group.chars().count() > LONGEST_LETTERS && group.chars().all(char::is_alphabetic))
}

fn tell(detected: &Detected, as_json: bool, out: &mut dyn Write) -> Result<()> {
    let Detected { number, candidates } = detected;
    if as_json {
        writeln!(out, "{}", json!({ "number": number, "candidates": candidates }))?;
        return Ok(());
    }
    if candidates.is_empty() {
        writeln!(out, "{number}: no carrier's number format fits")?;
        return Ok(());
    }
    writeln!(out, "{number}")?;
    for Candidate { carrier, confidence, reason, .. } in candidates {
        writeln!(out, "  {:<7} {:<22} {reason}", confidence.as_str(), carrier.as_str())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn told(order: &[&str], text: bool, input: &str) -> Result<String> {
        let order = Detect {
            numbers: order.iter().map(|typed| (*typed).to_owned()).collect(),
            text,
            json: false,
            common: Default::default(),
        };
        let mut out = Vec::new();
        run(&Catalog::embedded().unwrap(), &order, &mut input.as_bytes(), &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn what_is_made_of_a_numbers_characters_is_one_number() {
        for typed in [
            "SP41 1976 9065 2307 4934 3",
            "1LS711901361812 7-2",
            "JD52959 2 275 7905 772 9",
            "4200 9335 2565 9130 1270 1478 1426 8990 7",
        ] {
            let whole: String = typed.chars().filter(char::is_ascii_alphanumeric).collect();
            for out in [told(&[typed], false, "").unwrap(), told(&[], false, typed).unwrap()] {
                let heads: Vec<&str> = out.lines().filter(|line| !line.starts_with(' ')).collect();
                assert!(heads.len() == 1 && heads[0].starts_with(&whole), "{out}");
                assert!(!out.contains("  high "), "{out}");
            }
        }
        let text = told(&["Your parcel 1Z999AA10123456784 will arrive on 12 March"], false, "").unwrap();
        assert!(text.starts_with("1Z999AA10123456784\n  high    ups "), "{text}");
    }

    #[test]
    fn a_text_that_is_too_long_is_refused_in_a_sentence() {
        let text = "1234 5678 ".repeat(MAX_DETECT_TEXT_BYTES / 10 + 1);
        let refused = told(&[], true, &text).unwrap_err().to_string();
        assert!(refused.contains("longer than 65536 bytes"), "{refused}");
        assert!(told(&[&text], true, "").is_err());
    }
}
