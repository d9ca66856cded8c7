//! `waybill detect`: whose numbers may be, without the network.

use std::{
    io::{BufRead, Read, Write},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use serde_json::json;
use waybill_adapters::{Candidate, Catalog, Detected, Detector};
use waybill_schemas::limits::MAX_DETECT_TEXT_BYTES;

use crate::cli::Detect;

/// Longest group of letters alone that is taken for part of a number; longer ones are words of a text.
const LONGEST_LETTERS: usize = 4;

/// Answers each number given, or each line of standard input; the exit code tells whether any of them was a number.
///
/// # Errors
/// When standard input cannot be read or `out` cannot be written.
pub(crate) fn run(catalog: &Catalog, order: &Detect, input: &mut dyn BufRead, out: &mut dyn Write) -> Result<ExitCode> {
    let detector = catalog.detector();
    if order.text {
        let text = if order.numbers.is_empty() { read_all(input)? } else { order.numbers.join("\n") };
        if text.len() > MAX_DETECT_TEXT_BYTES {
            bail!(
                "the text is longer than {MAX_DETECT_TEXT_BYTES} bytes; give it in parts, or one number a line without --text"
            );
        }
        detector.extract(&text).iter().try_for_each(|found| tell(found, order.json, out))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut said = Said::default();
    for typed in &order.numbers {
        said.count(one(detector, typed, order.json, out)?);
    }
    if order.numbers.is_empty() {
        while let Some(line) = next_line(input)? {
            if !line.trim().is_empty() {
                said.count(one(detector, &line, order.json, out)?);
            }
        }
    }
    Ok(if said.numbers == 0 && said.refused > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// How many of what was given were numbers, and how many were not.
#[derive(Debug, Default)]
struct Said {
    numbers: usize,
    refused: usize,
}

impl Said {
    fn count(&mut self, is_number: bool) {
        let counted = if is_number { &mut self.numbers } else { &mut self.refused };
        *counted += 1;
    }
}

/// The next line of standard input, without its end, up to a cap.
fn next_line(input: &mut dyn BufRead) -> Result<Option<String>> {
    let mut line = Vec::new();
    input.take(MAX_DETECT_TEXT_BYTES as u64 + 1).read_until(b'\n', &mut line).context("standard input")?;
    if line.len() > MAX_DETECT_TEXT_BYTES {
        bail!("a line of standard input is longer than {MAX_DETECT_TEXT_BYTES} bytes; give one number a line");
    }
    if line.is_empty() {
        return Ok(None);
    }
    while line.pop_if(|last| matches!(last, b'\r' | b'\n')).is_some() {}
    String::from_utf8(line).map(Some).context("standard input is no text in UTF-8; give one number a line")
}

#[allow(clippy::disallowed_methods, reason = "bounded by `take`")]
fn read_all(input: &mut dyn BufRead) -> Result<String> {
    let mut bytes = Vec::new();
    input.take(MAX_DETECT_TEXT_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A number; or, where it is a text, the numbers in it. What is made only of a number's characters is one number, whatever
/// fits a part of it. Answers whether there was one.
fn one(detector: &Detector, typed: &str, as_json: bool, out: &mut dyn Write) -> Result<bool> {
    let error = match detector.detect(typed) {
        Ok(detected) if !detected.candidates.is_empty() || !has_words(typed) => {
            tell(&detected, as_json, out)?;
            return Ok(true);
        }
        Ok(detected) => Ok(detected),
        Err(error) => Err(error),
    };
    let inside = detector.extract(typed);
    if !inside.is_empty() {
        inside.iter().try_for_each(|found| tell(found, as_json, out))?;
        return Ok(true);
    }
    match error {
        Ok(detected) => {
            tell(&detected, as_json, out)?;
            Ok(true)
        }
        Err(error) => {
            let shown: String = typed.chars().take(80).collect();
            if as_json {
                writeln!(out, "{}", json!({ "number": shown, "candidates": [], "error": error.to_string() }))?;
            } else {
                writeln!(out, "{shown}: {error}")?;
            }
            Ok(false)
        }
    }
}

/// Whether there are words for people in it.
fn has_words(typed: &str) -> bool {
    let mut groups = typed.split(|c: char| c.is_whitespace() || matches!(c, '-' | '.' | '_'));
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
        let tied = told(&["Sendungsnr.1Z999AA10123456784"], false, "").unwrap();
        assert!(tied.starts_with("1Z999AA10123456784\n  high    ups "), "{tied}");
    }

    #[test]
    fn the_exit_code_tells_whether_anything_was_a_number_and_input_has_a_cap() {
        let catalog = Catalog::embedded().unwrap();
        let ended = |mut input: &[u8]| {
            let order = Detect { numbers: Vec::new(), text: false, json: true, common: Default::default() };
            run(&catalog, &order, &mut input, &mut Vec::<u8>::new()).map_err(|error| format!("{error:#}"))
        };
        let long = "7".repeat(200);
        // What nobody's form fits is a number all the same; among others a line that is none is only told.
        for (input, expected) in [
            (long.clone(), ExitCode::FAILURE),
            (format!("{long}\n1Z999AA10123456784\n"), ExitCode::SUCCESS),
            ("000".to_owned(), ExitCode::SUCCESS),
            (String::new(), ExitCode::SUCCESS),
        ] {
            assert_eq!(format!("{:?}", ended(input.as_bytes()).unwrap()), format!("{expected:?}"), "{input}");
        }
        assert!(ended(b"\xff\xfe\n").unwrap_err().contains("UTF-8"));
        assert!(ended("7".repeat(MAX_DETECT_TEXT_BYTES + 2).as_bytes()).unwrap_err().contains("65536"));
    }

    #[test]
    fn a_text_that_is_too_long_is_refused_in_a_sentence() {
        let text = "1234 5678 ".repeat(MAX_DETECT_TEXT_BYTES / 10 + 1);
        let refused = told(&[], true, &text).unwrap_err().to_string();
        assert!(refused.contains("longer than 65536 bytes"), "{refused}");
        assert!(told(&[&text], true, "").is_err());
    }
}
