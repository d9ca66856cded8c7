//! `waybill adapter new`: a carrier's folder out of one saved answer.

use std::{fs, io::Write, path::Path};

use anyhow::{Context, Result, bail};
use waybill_adapters::{
    Catalog,
    draft::{Wish, draft},
    examples, personal,
};
use waybill_schemas::{CarrierSlug, files::read_file, limits::MAX_ANSWER_BYTES};

use crate::{adapter_check::counted, cli::New};

/// Writes the draft, and says what it reads and what is left to do.
///
/// # Errors
/// One sentence that says why nothing was drafted.
pub(crate) fn new(order: &New, out: &mut dyn Write) -> Result<()> {
    let slug: CarrierSlug = order.slug.parse()?;
    let folder = order.into.join(slug.as_str());
    if folder.exists() {
        bail!("{} is there already; choose another slug, or another folder with --into", folder.display());
    }
    let from = order.from.display();
    let body = read_file(&order.from, MAX_ANSWER_BYTES).with_context(|| format!("{from} cannot be read"))?;
    let wish = Wish {
        name: order.name.as_deref(),
        url: order.url.as_deref(),
        number: order.number.as_deref(),
        content_type: order.content_type.as_deref(),
    };
    let draft = draft(&slug, &body, wish)?;
    let example = folder.join("examples/saved");
    fs::create_dir_all(&example).with_context(|| format!("{} cannot be made", example.display()))?;
    let yearless = draft.adapter.contains("year: inferred");
    let scoped = draft.adapter.contains("\n    scope: ");
    fs::write(folder.join("adapter.yaml"), with_schema(&folder, "adapter", draft.adapter))?;
    fs::write(folder.join("mapping.yaml"), with_schema(&folder, "mapping", draft.mapping))?;
    fs::write(example.join(draft.answer_file), &body)?;
    if scoped && let Some(number) = &order.number {
        // Without it the example says of none of its shipments that it is the one asked for.
        let number = number.trim().replace('\'', "''");
        let stated = format!("number: '{number}'\nanswers:\n  - {{step: page, file: {}}}\n", draft.answer_file);
        fs::write(example.join("answers.yaml"), stated)?;
    }
    bless(&folder)?;

    let events = &draft.reads.events;
    let timed = events.iter().filter(|event| event.time.is_some()).count();
    writeln!(out, "{}", folder.display())?;
    let were = if events.len() == 1 { "was" } else { "were" };
    writeln!(out, "  {} {were} read, the times of {timed} understood; the newest:", counted(events.len(), "event"))?;
    if timed < events.len() && yearless {
        writeln!(out, "  no year is printed: tell `adapter parse` the day of the answer with --at")?;
    }
    let mut newest: Vec<_> = events.iter().collect();
    newest.sort_by_key(|event| std::cmp::Reverse(event.time.as_ref().map(|time| time.iso.clone())));
    for event in newest.into_iter().take(2) {
        let shown = |text: &str| -> String { text.chars().take(60).collect() };
        let place = event.location.as_deref().unwrap_or_default();
        writeln!(out, "    {}  {}  {}", shown(&event.time_raw), shown(&event.text), shown(place))?;
    }
    if !draft.unmatched.is_empty() {
        let texts = counted(draft.unmatched.len(), "text");
        writeln!(out, "  without a meaning yet: {texts}; mapping.yaml lists them")?;
    }
    let own = [order.slug.as_str(), order.name.as_deref().unwrap_or_default()];
    let hints = personal::hints(&String::from_utf8_lossy(&body), &own, 100).len();
    writeln!(
        out,
        "\nwhat is left to do\n  1. lines that say CHECK in adapter.yaml and mapping.yaml\n  2. examples/saved holds the answer as it is{}: \
         replace its numbers, names and places by invented ones, and rename it after what it shows\n  3. an example of a \
         number that is not found, and one of a broken page\n  4. waybill adapter check {} --bless, then read \
         expected.json",
        if hints > 0 {
            format!(" ({} of what looks like personal data)", counted(hints, "place"))
        } else {
            String::new()
        },
        folder.display()
    )?;
    Ok(())
}

/// Where the schemas lie beside the folder of carriers, as in this program's own tree, editors are told so.
fn with_schema(folder: &Path, name: &str, text: String) -> String {
    let place = format!("../../schema/{name}.schema.json");
    if folder.join(&place).is_file() { format!("# yaml-language-server: $schema={place}\n{text}") } else { text }
}

fn bless(folder: &Path) -> Result<()> {
    let catalog = Catalog::of_carrier(folder)?;
    for adapter in catalog.all() {
        for example in examples::of_folder(folder)? {
            let checked = example.check(adapter)?;
            fs::write(
                Path::new(&example.place).join("expected.json"),
                serde_json::to_string_pretty(&checked.json)? + "\n",
            )?;
        }
    }
    Ok(())
}
