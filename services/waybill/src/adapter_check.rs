//! `waybill adapter check`: whether files say what they may, examples come to what they must, and nobody's data is among
//! them. Every mistake is told, with its file and line; a carrier's first one only.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};
use waybill_adapters::{
    Adapter, Catalog, ParsedEvent,
    examples::{self, Example},
    folders_in, personal,
};
use waybill_schemas::{OutcomeClass, event::MatchedBy};

use crate::{adapter_cmd::adapter_of, cli::Check, config::Config};

/// Hints of personal data that are told of one file.
const MOST_HINTS: usize = 5;

/// What was found.
#[derive(Default)]
struct Found {
    carriers: usize,
    examples: usize,
    wrong: usize,
    /// Golden results that were written and can hardly be right.
    doubtful: usize,
    hints: usize,
}

/// What examples are named after that are read: written anew as unreadable, the adapter is wrong and not the example.
const READABLE: [&str; 14] = [
    "saved",
    "delivered",
    "in-transit",
    "out-for-delivery",
    "announced",
    "registered",
    "customs",
    "pickup",
    "returned",
    "return",
    "exception",
    "failed",
    "not-found",
    "several",
];

/// Names of answers that do not find something else than the number: an interface, a path, another carrier's parcel.
const OF_SOMETHING_ELSE: [&str; 3] = ["service-not-found", "resource-not-found", "not-found-elsewhere"];

/// Whether a name says that the example is read; `api-delivered` and `delivered-2` do as well.
fn says_readable(name: &str) -> bool {
    let other = OF_SOMETHING_ELSE.iter().any(|other| name.contains(other));
    !other
        && READABLE.iter().any(|known| {
            name.match_indices(known).any(|(at, _)| {
                let bounds = |c: Option<char>| c.is_none_or(|c| !c.is_ascii_alphanumeric());
                bounds(name[..at].chars().next_back()) && bounds(name[at + known.len()..].chars().next())
            })
        })
}

/// Checks what the command line names.
///
/// # Errors
/// When something is wrong; what it is has been written.
pub(crate) fn check(order: &Check, out: &mut dyn Write) -> Result<()> {
    let config = Config::load(&order.common)?;
    let mut found = Found::default();
    let folder = order.target.as_deref().map(Path::new).filter(|path| path.is_dir());
    match (folder, &order.target) {
        (Some(folder), _) => {
            let alone = folder.join("adapter.yaml").is_file() || folder.join("mapping.yaml").is_file();
            let folders = if alone { vec![folder.to_owned()] } else { folders_in(folder)? };
            if folders.is_empty() {
                bail!(
                    "{} holds no carrier; a carrier is a folder with adapter.yaml and mapping.yaml",
                    folder.display()
                );
            }
            for folder in folders {
                check_folder(&folder, order.bless, &mut found, out)?;
            }
        }
        (None, target) => {
            let catalog = Catalog::load(&config.adapters)?;
            match target {
                Some(slug) => check_known(&*adapter_of(&catalog, slug)?, &config.adapters, &mut found, out)?,
                None => {
                    for adapter in catalog.all() {
                        check_known(adapter, &config.adapters, &mut found, out)?;
                    }
                }
            }
            if order.bless {
                bail!("--bless writes into a folder; name the carrier's folder");
            }
        }
    }
    let Found { carriers, examples, wrong, doubtful, hints } = found;
    if hints > 0 {
        let hints = counted(hints, "place");
        writeln!(out, "what looks like personal data: {hints}; examples are invented, with nobody's name in them")?;
    }
    let (carriers, examples) = (counted(carriers, "carrier"), counted(examples, "example"));
    if wrong > 0 {
        bail!("{} in {carriers} with {examples}", counted(wrong, "mistake"));
    }
    if doubtful > 0 {
        let doubtful = counted(doubtful, "result");
        writeln!(out, "{carriers} with {examples}: {doubtful} written that can hardly be right, see above")?;
        return Ok(());
    }
    writeln!(out, "{carriers} with {examples}: all as they should be")?;
    Ok(())
}

/// What of events was read and not understood, for the end of a line.
fn doubts(events: &[ParsedEvent]) -> String {
    let unmatched = |event: &&ParsedEvent| event.matched_by == MatchedBy::None && !event.text.is_empty();
    let untimed = |event: &&ParsedEvent| event.time.is_none() && !event.time_raw.is_empty();
    let count = |how_many: usize, what: &str, then: &str| match how_many {
        0 => String::new(),
        how_many => format!(", {} {then}", counted(how_many, what)),
    };
    let unmatched = count(events.iter().filter(unmatched).count(), "text", "that nothing matched");
    unmatched + &count(events.iter().filter(untimed).count(), "time", "not understood")
}

/// `1 carrier`, `3 carriers`.
pub(crate) fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn check_folder(folder: &Path, bless: bool, found: &mut Found, out: &mut dyn Write) -> Result<()> {
    found.carriers += 1;
    let catalog = match Catalog::of_carrier(folder) {
        Ok(catalog) => catalog,
        Err(error) => {
            found.wrong += 1;
            writeln!(out, "{error}")?;
            return Ok(());
        }
    };
    let examples = examples::of_folder(folder)?;
    for adapter in catalog.all() {
        check_examples(adapter, &examples, bless, found, out)?;
    }
    Ok(())
}

fn check_known(adapter: &Adapter, overlays: &[PathBuf], found: &mut Found, out: &mut dyn Write) -> Result<()> {
    found.carriers += 1;
    check_examples(adapter, &examples::of_carrier(adapter, overlays)?, false, found, out)
}

fn check_examples(
    adapter: &Adapter,
    examples: &[Example],
    bless: bool,
    found: &mut Found,
    out: &mut dyn Write,
) -> Result<()> {
    if examples.is_empty() && adapter.reader_names().next().is_some() {
        writeln!(out, "{}: has no examples; put an invented answer into examples/delivered/", adapter.slug)?;
        found.wrong += 1;
    }
    let own = [adapter.name.as_str(), adapter.slug.as_str()];
    for example in examples {
        found.examples += 1;
        match example.check(adapter) {
            Err(error) => {
                found.wrong += 1;
                writeln!(out, "{error}")?;
            }
            Ok(checked) if bless => {
                let path = Path::new(&example.place).join("expected.json");
                fs::write(&path, serde_json::to_string_pretty(&checked.json)? + "\n")?;
                let sub = checked.view.sub_status.map_or("no status", |sub| sub.as_str());
                let (outcome, events) = (checked.view.outcome, &checked.view.events);
                writeln!(
                    out,
                    "{}: {outcome}, {sub}, {}{}",
                    path.display(),
                    counted(events.len(), "event"),
                    doubts(events)
                )?;
                if checked.view.outcome == OutcomeClass::Unreadable && says_readable(&example.name) {
                    found.doubtful += 1;
                    let why = checked.view.detail.as_deref().unwrap_or("no reader knows it");
                    writeln!(
                        out,
                        "{}: the name says that it is read, and it is not ({why}); correct adapter.yaml, or rename it",
                        example.place
                    )?;
                }
            }
            Ok(checked) => {
                found.wrong += checked.differences.len();
                for what in &checked.differences {
                    writeln!(out, "{}/expected.json: {what}", example.place)?;
                }
                if !checked.differences.is_empty() {
                    writeln!(
                        out,
                        "{}: if that is right, `waybill adapter check DIR --bless` writes it anew",
                        example.place
                    )?;
                }
            }
        }
        for (name, bytes) in example.files.iter().filter(|(name, _)| *name != "expected.json") {
            for hint in personal::hints(&String::from_utf8_lossy(bytes), &own, MOST_HINTS) {
                found.hints += 1;
                writeln!(out, "{}/{name}:{}: looks like {}", example.place, hint.line, hint.what)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn what_was_not_understood_is_told_where_results_are_written() {
        let event = |text: &str, matched_by, time: Option<&str>, time_raw: &str| ParsedEvent {
            time_raw: time_raw.to_owned(),
            time: time.map(str::to_owned),
            text: text.to_owned(),
            location: None,
            code: None,
            sub_status: None,
            matched_by,
        };
        let sound = event("Sorted", MatchedBy::Exact, Some("2026-03-01"), "1 March");
        let odd = event("Odd", MatchedBy::None, None, "yesterday");
        let bare = event("", MatchedBy::None, None, "");
        assert_eq!(doubts(std::slice::from_ref(&sound)), "");
        assert_eq!(doubts(&[odd.clone(), sound, odd, bare]), ", 2 texts that nothing matched, 2 times not understood");
    }

    #[test]
    fn what_is_blessed_as_unreadable_is_not_called_right() {
        assert!(says_readable("saved") && says_readable("api-delivered") && says_readable("in-transit-2"));
        assert!(!says_readable("service-not-found") && !says_readable("not-found-elsewhere"));
        assert!(says_readable("api-not-found") && says_readable("not-found"));
        assert!(!says_readable("broken") && !says_readable("undelivered") && !says_readable("api-fault"));
        let dir = tempfile::tempdir().unwrap();
        let carrier = dir.path().join("acme");
        fs::create_dir_all(carrier.join("examples/delivered")).unwrap();
        let adapter = "format: 1\nname: Acme\nbasis: api\nlanguages: [en]\nhosts: [acme.example]\n\
                       budget: {rate_per_second: 1, burst: 1, concurrency: 1, min_interval_s: 60}\n\
                       readers:\n  - {name: any, shape: json, accept: {has: a}, tables: [{rows: a, text: b}]}\n";
        fs::write(carrier.join("adapter.yaml"), adapter).unwrap();
        fs::write(carrier.join("mapping.yaml"), "format: 1\n").unwrap();
        fs::write(carrier.join("examples/delivered/page.json"), "{}").unwrap();
        let (mut found, mut out) = (Found::default(), Vec::new());
        check_folder(&carrier, true, &mut found, &mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        assert_eq!((found.wrong, found.doubtful), (0, 1), "{out}");
        assert!(out.contains("examples/delivered: the name says that it is read, and it is not"), "{out}");
    }
}
