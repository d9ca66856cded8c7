//! `waybill detect`: whose numbers may be, without the network.

use std::io::{BufRead, Read, Write};

use anyhow::Result;
use serde_json::json;
use waybill_adapters::{Candidate, Catalog, Detected, Detector};

use crate::cli::Detect;

/// Longest text that is read from standard input, in bytes.
const MOST_TEXT_BYTES: u64 = 1 << 20;

/// Answers each number given, or each line of standard input.
///
/// # Errors
/// When standard input cannot be read or `out` cannot be written.
pub(crate) fn run(catalog: &Catalog, order: &Detect, input: &mut dyn BufRead, out: &mut dyn Write) -> Result<()> {
    let detector = catalog.detector();
    if order.text {
        let text = if order.numbers.is_empty() { read_all(input)? } else { order.numbers.join("\n") };
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
    input.take(MOST_TEXT_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A number; or, where it is none by itself, the numbers in it.
fn one(detector: &Detector, typed: &str, as_json: bool, out: &mut dyn Write) -> Result<()> {
    let error = match detector.detect(typed) {
        Ok(detected) if !detected.candidates.is_empty() => return tell(&detected, as_json, out),
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
