//! The table of carriers in `adapters/README.md`.

use std::{collections::BTreeSet, fmt::Write as _, path::PathBuf};

use crate::{
    catalog::Catalog,
    error::AdapterError,
    examples,
    spec::{Basis, Shape},
};

/// Where the table begins in the document.
pub const BEGIN: &str = "<!-- carriers: written by `waybill adapter list --markdown` -->";
/// Where it ends.
pub const END: &str = "<!-- /carriers -->";

/// The table: carrier, basis, shape, languages, codes mapped, examples, budget.
///
/// # Errors
/// [`AdapterError`] when a carrier's examples cannot be read.
pub fn markdown(catalog: &Catalog, overlays: &[PathBuf]) -> Result<String, AdapterError> {
    let mut out = String::from(
        "| carrier | name | basis | shape | languages | rules (codes) | examples | requests/s, each number at most every |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    let mut count = 0;
    for adapter in catalog.all().filter(|adapter| adapter.basis != Basis::Builtin) {
        count += 1;
        let shapes: BTreeSet<&str> = adapter
            .readers
            .iter()
            .map(|reader| match reader.entry.shape {
                Shape::Html => "HTML",
                Shape::Json => "JSON",
                Shape::Xml => "XML",
            })
            .collect();
        let shapes: Vec<&str> = shapes.into_iter().collect();
        let examples = examples::count(adapter, overlays)?;
        let budget = &adapter.budget;
        let quota = budget.daily_quota.as_ref().map(|quota| format!(", {} a day", quota.requests)).unwrap_or_default();
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {} | {} | {} ({}) | {examples} | {}{quota}, {} |",
            adapter.slug,
            adapter.name.replace('|', "/"),
            adapter.basis.as_str(),
            shapes.join(", "),
            adapter.languages.join(", "),
            adapter.mapping.rule_count(),
            adapter.mapping.code_count(),
            budget.rate_per_second,
            span(u64::from(budget.min_interval_s)),
        );
    }
    let _ = writeln!(out, "\n{count} carriers.");
    Ok(out)
}

fn span(seconds: u64) -> String {
    match seconds {
        s if s % 3600 == 0 => format!("{} h", s / 3600),
        s if s % 60 == 0 => format!("{} min", s / 60),
        s => format!("{s} s"),
    }
}

/// A document with the table put between its marks; `None` where it has none.
pub fn in_document(document: &str, table: &str) -> Option<String> {
    let begin = document.find(BEGIN)? + BEGIN.len();
    let end = begin + document[begin..].find(END)?;
    Some(format!("{}\n\n{}\n{}", &document[..begin], table.trim_end(), &document[end..]))
}
