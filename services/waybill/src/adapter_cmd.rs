//! `waybill adapter …`: what a carrier's data says, without the network.

use std::{fs, io::Write, path::Path};

use anyhow::{Context, Result, bail};
use serde_json::json;
use waybill_adapters::{Adapter, Answer, Answers, Catalog, ParsedView, Reading, assess, overview, schema};
use waybill_schemas::{CarrierSlug, TrackingNumber, UtcMs, limits::MAX_ANSWER_BYTES};

use crate::{adapter_explain, cli::Parse, config::Config, directory};

const STEPS: [&str; 5] = ["page", "token", "cookie", "summary", "detail"];

/// `waybill adapter list`.
///
/// # Errors
/// When standard output cannot be written.
pub(crate) fn list(config: &Config, catalog: &Catalog, as_json: bool, out: &mut dyn Write) -> Result<()> {
    if as_json {
        let all: Vec<_> = catalog
            .all()
            .map(|adapter| {
                json!({
                    "slug": adapter.slug, "name": adapter.name, "basis": adapter.basis.as_str(),
                    "sources": adapter.sources.iter().map(|source| &source.name).collect::<Vec<_>>(),
                    "languages": adapter.languages, "enabled": directory::enabled(config, catalog, &adapter.slug),
                })
            })
            .collect();
        writeln!(out, "{}", serde_json::to_string(&all)?)?;
        return Ok(());
    }
    writeln!(out, "{:<22} {:<9} {:<4} {:<20} NAME", "CARRIER", "BASIS", "ON", "SOURCES")?;
    for adapter in catalog.all() {
        let sources: Vec<&str> = adapter.sources.iter().map(|source| source.name.as_str()).collect();
        let on = if directory::enabled(config, catalog, &adapter.slug) { "yes" } else { "no" };
        let (slug, basis) = (adapter.slug.as_str(), adapter.basis.as_str());
        writeln!(out, "{slug:<22} {basis:<9} {on:<4} {:<20} {}", sources.join(","), adapter.name)?;
    }
    let operators = catalog.operators().count();
    writeln!(out, "and {operators} postal operators that are recognised by international numbers and cannot be asked")?;
    Ok(())
}

pub(crate) fn adapter_of(catalog: &Catalog, slug: &str) -> Result<std::sync::Arc<Adapter>> {
    let parsed: CarrierSlug = slug.parse()?;
    catalog.get(&parsed).with_context(|| format!("there is no carrier `{slug}`; `waybill adapter list` shows them all"))
}

/// `waybill adapter list --markdown`.
///
/// # Errors
/// When examples cannot be read, or standard output cannot be written.
pub(crate) fn table(config: &Config, catalog: &Catalog, out: &mut dyn Write) -> Result<()> {
    write!(out, "{}", overview::markdown(catalog, &config.adapters)?)?;
    Ok(())
}

/// `waybill adapter schema`.
///
/// # Errors
/// When standard output cannot be written.
pub(crate) fn schema(file: &str, out: &mut dyn Write) -> Result<()> {
    write!(out, "{}", schema::named(file).with_context(|| format!("there is no schema of `{file}`"))?)?;
    Ok(())
}

/// The noon of a day, for years that are not printed.
fn day(text: &str) -> Result<UtcMs> {
    let noon = format!("{text}T12:00:00.000Z");
    serde_json::from_value(json!(noon)).with_context(|| format!("`{text}` is no day; write it as 2026-11-22"))
}

/// `waybill adapter parse`.
///
/// # Errors
/// When a file cannot be read, the carrier is unknown, or a step is not one.
pub(crate) fn parse(catalog: &Catalog, order: &Parse, out: &mut dyn Write) -> Result<()> {
    let adapter = adapter_of(catalog, &order.carrier)?;
    if let Some(source) = &order.source
        && adapter.source(source).is_none()
    {
        let known: Vec<&str> = adapter.sources.iter().map(|source| source.name.as_str()).collect();
        bail!("{} has no source `{source}`; it has {}", adapter.slug, known.join(", "));
    }
    let number = order.number.as_deref().map(|typed| TrackingNumber::canonical(typed, adapter.hyphens)).transpose()?;
    let mut bodies = Vec::new();
    for body in &order.bodies {
        let (step, path) = match body.split_once('=') {
            Some((step, path)) if STEPS.contains(&step) => (step, path),
            Some((step, _)) if !Path::new(body).exists() => {
                bail!("`{step}` is no step; the steps are {}", STEPS.join(", "))
            }
            _ => ("page", body.as_str()),
        };
        let size = fs::metadata(path).with_context(|| format!("{path} cannot be read"))?.len();
        if size > MAX_ANSWER_BYTES as u64 {
            bail!("{path} has {size} bytes; answers of more than {MAX_ANSWER_BYTES} are not read");
        }
        bodies.push((step, fs::read(path).with_context(|| format!("{path} cannot be read"))?));
    }
    let list: Vec<Answer<'_>> = bodies.iter().map(|(step, bytes)| Answer::saved(step, bytes)).collect();
    let number = number.as_ref().map(TrackingNumber::as_str);
    let reading = Reading { seen_at: order.at.as_deref().map(day).transpose()?, ..Reading::default() };
    let answers = Answers { number, list: &list };
    if order.explain {
        let (outcome, explained) = adapter.explain(&answers, reading);
        if order.json {
            writeln!(out, "{}", serde_json::to_string(&explained)?)?;
            return Ok(());
        }
        adapter_explain::print(&adapter, &explained, out)?;
        return print_view(&assess(&adapter, &outcome, number), out);
    }
    let outcome = adapter.read_with(&answers, reading);
    let view = assess(&adapter, &outcome, number);
    if order.json {
        writeln!(out, "{}", serde_json::to_string(&view)?)?;
        return Ok(());
    }
    print_view(&view, out)
}

/// Prints what a look-up came to, for people.
///
/// # Errors
/// When `out` cannot be written.
pub(crate) fn print_view(view: &ParsedView, out: &mut dyn Write) -> Result<()> {
    let number = view.number.as_deref().unwrap_or("(no number)");
    writeln!(out, "{} {number}", view.carrier)?;
    match view.sub_status {
        Some(sub) => writeln!(out, "{}  {sub}  ({} events)", view.outcome, view.events.len())?,
        None => writeln!(out, "{}", view.outcome)?,
    }
    if let Some(detail) = &view.detail {
        writeln!(out, "{detail}")?;
    }
    if let Some(eta) = &view.estimated_delivery {
        let window = if eta.from == eta.to { eta.from.clone() } else { format!("{} to {}", eta.from, eta.to) };
        writeln!(out, "expected {window}")?;
    }
    for event in &view.events {
        let sub = event.sub_status.map_or("(nothing matched)", |sub| sub.as_str());
        let place = event.location.as_deref().unwrap_or("");
        writeln!(out, "  {:<26} {:<32} {}  {place}", event.time_raw, sub, event.text)?;
    }
    Ok(())
}
