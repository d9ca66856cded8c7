//! `waybill adapter check`: whether files say what they may, examples come to what they must, and nobody's data is among
//! them. Every mistake is told, with its file and line: of a file that is no YAML, or not of its format, the first one only.
//! Examples are run where the files are right.

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
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
    /// What was told of files, which several carriers may share.
    told: BTreeSet<String>,
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
    match folder {
        Some(folder) => {
            let alone = ["adapter.yaml", "mapping.yaml", "examples"].iter().any(|name| folder.join(name).exists());
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
        None if order.target.as_deref().is_some_and(|target| target.contains(['/', '.'])) => bail!(
            "{} is no folder; name a carrier's folder, a folder of carriers, or a carrier's slug",
            order.target.as_deref().unwrap_or_default()
        ),
        None if order.bless => bail!("--bless writes into a folder; name the carrier's folder"),
        None => check_known(order.target.as_deref(), &config.adapters, &mut found, out)?,
    }
    let Found { carriers, examples, wrong, doubtful, hints, .. } = found;
    if hints > 0 {
        let hints = counted(hints, "place");
        writeln!(out, "what looks like personal data: {hints}; examples are invented, with nobody's name in them")?;
    }
    let (carriers, examples) = (counted(carriers, "carrier"), counted(examples, "example"));
    if wrong > 0 && found.examples == 0 {
        bail!("{} in {carriers}; examples are run once the files are right", counted(wrong, "mistake"));
    }
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
    let examples = examples::of_folder(folder);
    let catalog = Catalog::examine(folder);
    let of_files = catalog.as_ref().err().into_iter().flatten();
    for error in of_files.chain(examples.as_ref().err()) {
        let line = error.to_string();
        if !found.told.contains(&line) {
            writeln!(out, "{line}")?;
            found.wrong += 1;
            found.told.insert(line);
        }
    }
    let is_answer =
        |path: &Path| path.extension().is_some_and(|kind| kind == "html" || kind == "json" || kind == "xml");
    for stray in fs::read_dir(folder.join("examples")).into_iter().flatten().flatten() {
        let path = stray.path();
        if path.is_file() && is_answer(&path) {
            let remedy = "stands in no example; give it a folder of its own, as in examples/delivered/page.html";
            writeln!(out, "{}: {remedy}", path.display())?;
            found.wrong += 1;
        }
    }
    let Ok(examples) = examples else { return Ok(()) };
    match catalog {
        Ok(catalog) => {
            for adapter in catalog.all() {
                check_examples(adapter, &examples, bless, found, out)?;
            }
        }
        Err(_) => {
            let slug = folder.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
            for example in &examples {
                tell_hints(example, &[&*slug], found, out)?;
            }
        }
    }
    Ok(())
}

/// The carriers of folders that were added to the program's, then those of the program that none of them replaces; or the
/// one of a slug.
fn check_known(slug: Option<&str>, overlays: &[PathBuf], found: &mut Found, out: &mut dyn Write) -> Result<()> {
    let mut replaced = BTreeSet::new();
    for overlay in overlays {
        for folder in folders_in(overlay)? {
            let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if slug.is_none_or(|slug| slug == name) {
                check_folder(&folder, false, found, out)?;
                replaced.insert(name);
            }
        }
    }
    let embedded = Catalog::embedded()?;
    let adapters: Vec<Arc<Adapter>> = match slug {
        Some(slug) if replaced.contains(slug) => Vec::new(),
        Some(slug) => vec![adapter_of(&embedded, slug)?],
        None => embedded.all().filter(|adapter| !replaced.contains(adapter.slug.as_str())).cloned().collect(),
    };
    for adapter in adapters {
        found.carriers += 1;
        check_examples(&adapter, &examples::of_carrier(&adapter, &[])?, false, found, out)?;
    }
    Ok(())
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
    for source in adapter.sources.iter().filter(|source| !source.steps.is_empty() && !source.asks_for_the_number()) {
        writeln!(
            out,
            "{}: source `{}` never says which number it asks for; write {{number}} into its URL, query or body",
            adapter.slug, source.name
        )?;
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
        tell_hints(example, &own, found, out)?;
    }
    Ok(())
}

/// What of an example looks like personal data; `own` are the carrier's names.
fn tell_hints(example: &Example, own: &[&str], found: &mut Found, out: &mut dyn Write) -> Result<()> {
    for (name, bytes) in example.files.iter().filter(|(name, _)| *name != "expected.json") {
        for hint in personal::hints(&String::from_utf8_lossy(bytes), own, MOST_HINTS) {
            found.hints += 1;
            writeln!(out, "{}/{name}:{}: looks like {}", example.place, hint.line, hint.what)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::cli::Common;

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

    /// Each wrong line is told once, in both files and in every carrier, and a file that cannot be read hides no other.
    #[test]
    fn all_mistakes_are_told_at_once_with_their_lines() {
        let dir = tempfile::tempdir().unwrap();
        let good = "format: 1\nname: Acme\nbasis: page\nlanguages: [en]\nhosts: [acme.example]\nbudget: \
                    {rate_per_second: 1, burst: 1, concurrency: 1, min_interval_s: 60}\nnumbers:\n  - {pattern: 'A(['}\n\
                    sources:\n  - name: page\n    kind: page\n    steps:\n      - {name: page, get: \
                    'https://other.example/{number}', query: {a: '{nmuber}', b: '{lagn}'}}\nreaders:\n  - name: page\n    \
                    shape: html\n    accept: {any: [{has: 'p['}, {body: '(?=x)'}]}\n    times: {formats: ['%d %K', \
                    '%q']}\n    tables:\n      - {rows: 'tr[', time: td, text: 'td['}\n      - {rows: li, text: \
                    {path: b, match: '('}}\n    not_found:\n      - when: {has: 'em['}\n      - {when: {has: i}, as: \
                    NotFound_Odd}\n";
        let mapping = "format: 1\ncodes: {'1': Delivrd}\nexact:\n  Delivrd: InTransit_Other\n  Gone: Delivrd\nregex:\n  \
                       - ['(', none]\n  - [left, InTransit_Othr]\n";
        let write = |slug: &str, adapter: &str, mapping: &str| {
            let carrier = dir.path().join("carriers").join(slug);
            fs::create_dir_all(&carrier).unwrap();
            fs::write(carrier.join("adapter.yaml"), adapter).unwrap();
            fs::write(carrier.join("mapping.yaml"), mapping).unwrap();
        };
        write("acme", good, mapping);
        write("broken", "format: [\n", mapping);
        fs::create_dir_all(dir.path().join("phrases")).unwrap();
        fs::write(dir.path().join("phrases/en.yaml"), "format: 1\nexact: {Lost: Exception_Losst}\n").unwrap();
        let (mut found, mut out) = (Found::default(), Vec::new());
        for slug in ["acme", "broken"] {
            check_folder(&dir.path().join("carriers").join(slug), false, &mut found, &mut out).unwrap();
        }
        let out = String::from_utf8(out).unwrap();
        let root = fs::canonicalize(dir.path()).unwrap();
        let lines: Vec<&str> =
            out.lines().map(|line| line.split_once("/carriers/").map_or(line, |(_, line)| line)).collect();
        let count =
            |file: &str, line: usize| lines.iter().filter(|told| told.starts_with(&format!("{file}:{line}: "))).count();
        for (file, line, expected) in [
            ("acme/adapter.yaml", 8, 1),
            ("acme/adapter.yaml", 13, 3),
            ("acme/adapter.yaml", 17, 2),
            ("acme/adapter.yaml", 18, 2),
            ("acme/adapter.yaml", 20, 2),
            ("acme/adapter.yaml", 21, 1),
            ("acme/adapter.yaml", 23, 1),
            ("acme/adapter.yaml", 24, 1),
            ("acme/mapping.yaml", 2, 1),
            ("acme/mapping.yaml", 4, 0),
            ("acme/mapping.yaml", 5, 1),
            ("acme/mapping.yaml", 7, 1),
            ("acme/mapping.yaml", 8, 1),
            ("broken/mapping.yaml", 5, 1),
        ] {
            assert_eq!(count(file, line), expected, "{file}:{line}: {out}");
        }
        assert_eq!(lines.iter().filter(|line| line.starts_with("broken/adapter.yaml")).count(), 1, "{out}");
        let phrases = format!("{}:2: `Exception_Losst`", root.join("phrases/en.yaml").display());
        assert_eq!(lines.iter().filter(|line| line.starts_with(&phrases)).count(), 1, "{out}");
        assert_eq!(found.wrong, lines.len(), "{out}");
    }

    #[test]
    fn what_is_no_carrier_or_asks_for_nothing_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let carrier = dir.path().join("acme");
        fs::create_dir_all(carrier.join("examples/delivered")).unwrap();
        let told = |target: &Path| {
            let order = Check { target: Some(target.display().to_string()), bless: false, common: Common::default() };
            let mut out = Vec::new();
            let error = check(&order, &mut out).unwrap_err().to_string();
            (String::from_utf8(out).unwrap(), error)
        };
        let (out, error) = told(&carrier);
        assert!(out.contains("acme/adapter.yaml: does not exist"), "{out}");
        assert_eq!(error, "2 mistakes in 1 carrier; examples are run once the files are right");
        let (_, error) = told(&dir.path().join("other"));
        assert!(error.contains("other is no folder; name a carrier's folder"), "{error}");

        let adapter = "format: 1\nname: Acme\nbasis: page\nlanguages: [en]\nhosts: [acme.example]\nbudget: \
                       {rate_per_second: 1, burst: 1, concurrency: 1, min_interval_s: 60}\nsources:\n  - {name: page, \
                       kind: page, steps: [{name: page, get: 'https://acme.example/'}]}\nreaders:\n  - {name: page, \
                       shape: html, accept: {has: p}, tables: [{rows: tr, text: td}]}\n";
        fs::write(carrier.join("adapter.yaml"), adapter).unwrap();
        fs::write(carrier.join("mapping.yaml"), "format: 1\n").unwrap();
        let (out, _) = told(&carrier);
        assert!(out.contains("acme: source `page` never says which number it asks for; write {number}"), "{out}");
        fs::write(carrier.join("examples/delivered.html"), "<p>").unwrap();
        let (out, _) = told(&carrier);
        assert!(out.contains("examples/delivered.html: stands in no example"), "{out}");
        let large = carrier.join("examples/delivered/page.html");
        fs::write(&large, vec![b' '; waybill_schemas::limits::MAX_ANSWER_BYTES + 1]).unwrap();
        let (out, _) = told(&carrier);
        assert!(out.contains("examples/delivered/page.html: cannot be read: "), "{out}");
        assert!(!out.contains("has no examples"), "{out}");
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
