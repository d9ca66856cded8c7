//! `waybill adapter check`: whether files say what they may, examples come to what they must, and nobody's data is among
//! them. Every mistake is told, with its file and line; a carrier's first one only.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};
use waybill_adapters::{
    Adapter, Catalog,
    examples::{self, Example},
    folders_in, personal,
};

use crate::{adapter_cmd::adapter_of, cli::Check, config::Config};

/// Hints of personal data that are told of one file.
const MOST_HINTS: usize = 5;

/// What was found.
#[derive(Default)]
struct Found {
    carriers: usize,
    examples: usize,
    wrong: usize,
    hints: usize,
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
    let Found { carriers, examples, wrong, hints } = found;
    if hints > 0 {
        let hints = counted(hints, "place");
        writeln!(out, "what looks like personal data: {hints}; examples are invented, with nobody's name in them")?;
    }
    let (carriers, examples) = (counted(carriers, "carrier"), counted(examples, "example"));
    if wrong > 0 {
        bail!("{} in {carriers} with {examples}", counted(wrong, "mistake"));
    }
    writeln!(out, "{carriers} with {examples}: all as they should be")?;
    Ok(())
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
                writeln!(
                    out,
                    "{}: {}, {sub}, {} events",
                    path.display(),
                    checked.view.outcome,
                    checked.view.events.len()
                )?;
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
