//! `waybill adapter …`: what a carrier's data says, without the network.

use std::{io::Write, path::Path, process::ExitCode};

use anyhow::{Context, Result, bail};
use serde_json::json;
use waybill_adapters::{Adapter, Answer, Answers, Catalog, ParsedView, Reading, assess, overview, schema};
use waybill_fetcher::secret_place;
use waybill_schemas::{CarrierSlug, TrackingNumber, UtcMs, files::read_file, limits::MAX_ANSWER_BYTES};

use crate::{adapter_check::counted, adapter_explain, cli::Parse, config::Config, directory};

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
                    "secrets": secrets(config, adapter),
                })
            })
            .collect();
        writeln!(out, "{}", serde_json::to_string(&all)?)?;
        return Ok(());
    }
    writeln!(out, "{:<22} {:<9} {:<4} {:<20} {:<34} SECRETS", "CARRIER", "BASIS", "ON", "SOURCES", "NAME")?;
    for adapter in catalog.all() {
        let sources: Vec<&str> = adapter.sources.iter().map(|source| source.name.as_str()).collect();
        let on = if directory::enabled(config, catalog, &adapter.slug) { "yes" } else { "no" };
        let (slug, basis) = (adapter.slug.as_str(), adapter.basis.as_str());
        let (sources, secrets) = (sources.join(","), secrets(config, adapter).join(","));
        let line = format!("{slug:<22} {basis:<9} {on:<4} {sources:<20} {:<34} {secrets}", adapter.name);
        writeln!(out, "{}", line.trim_end())?;
    }
    let operators = catalog.operators().count();
    writeln!(out, "and {operators} postal operators that are recognised by international numbers and cannot be asked")?;
    Ok(())
}

/// Where the secrets of a carrier's sources are read, each once: names of variables, or files that the configuration names.
fn secrets(config: &Config, adapter: &Adapter) -> Vec<String> {
    let own = config.fetcher.carriers.get(&adapter.slug).cloned().unwrap_or_default();
    let mut places = Vec::new();
    for name in adapter.sources.iter().filter(|source| !source.retired).flat_map(|source| &source.secrets) {
        let place = secret_place(&adapter.slug, name, &own);
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places
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

/// `waybill adapter parse`; the exit code tells whether the answer could be read.
///
/// # Errors
/// When a file cannot be read, the carrier is unknown, or a step is not one.
pub(crate) fn parse(catalog: &Catalog, order: &Parse, out: &mut dyn Write) -> Result<ExitCode> {
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
        let body = read_file(Path::new(path), MAX_ANSWER_BYTES).with_context(|| format!("{path} cannot be read"))?;
        bodies.push((step, body));
    }
    let list: Vec<Answer<'_>> = bodies.iter().map(|(step, bytes)| Answer::saved(step, bytes)).collect();
    let number = number.as_ref().map(TrackingNumber::as_str);
    let reading = Reading { seen_at: order.at.as_deref().map(day).transpose()?, ..Reading::default() };
    let answers = Answers { number, list: &list };
    let (outcome, explained) = if order.explain {
        let (outcome, explained) = adapter.explain(&answers, reading);
        (outcome, Some(explained))
    } else {
        (adapter.read_with(&answers, reading), None)
    };
    let view = assess(&adapter, &outcome, number);
    match (&explained, order.json) {
        (Some(explained), true) => writeln!(out, "{}", serde_json::to_string(explained)?)?,
        (None, true) => writeln!(out, "{}", serde_json::to_string(&view)?)?,
        (Some(explained), false) => {
            adapter_explain::print(&adapter, explained, out)?;
            print_view(&view, out)?;
        }
        (None, false) => print_view(&view, out)?,
    }
    Ok(if outcome.class.is_reading() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints what a look-up came to, for people.
///
/// # Errors
/// When `out` cannot be written.
pub(crate) fn print_view(view: &ParsedView, out: &mut dyn Write) -> Result<()> {
    let number = view.number.as_deref().unwrap_or("(no number)");
    writeln!(out, "{} {number}", view.carrier)?;
    match view.sub_status {
        Some(sub) => writeln!(out, "{}  {sub}  ({})", view.outcome, counted(view.events.len(), "event"))?,
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use waybill_fetcher::{CarrierConfig, SecretSource};

    use super::*;

    #[test]
    fn one_carrier_is_read_whatever_is_wrong_with_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let adapter = "format: 1\nname: Acme\nbasis: contact\nlanguages: [en]\n\
                       budget: {rate_per_second: 1, burst: 1, concurrency: 1, min_interval_s: 60}\n";
        for (slug, adapter) in [("acme", adapter), ("broken", "format: [\n")] {
            std::fs::create_dir_all(dir.path().join(slug)).unwrap();
            std::fs::write(dir.path().join(slug).join("adapter.yaml"), adapter).unwrap();
            std::fs::write(dir.path().join(slug).join("mapping.yaml"), "format: 1\n").unwrap();
        }
        let overlays = [dir.path().to_owned()];
        let error = Catalog::load(&overlays).unwrap_err().to_string();
        assert!(error.contains("broken/adapter.yaml"), "{error}");
        assert_eq!(adapter_of(&Catalog::load_for(&overlays, "acme").unwrap(), "acme").unwrap().name, "Acme");
        assert!(Catalog::load_for(&overlays, "broken").is_err());
        let error = Catalog::load_for(&[dir.path().join("acme")], "acme").unwrap_err().to_string();
        assert!(error.ends_with("acme: is the folder of one carrier; name the folder that it stands in"), "{error}");
    }

    #[test]
    fn the_list_names_where_secrets_are_read_for_people_and_for_programs() {
        let catalog = Catalog::embedded().unwrap();
        let mut config = Config::default();
        let mut own = CarrierConfig::default();
        own.secrets.insert("client_id".to_owned(), SecretSource { env: Some("MY_UPS_ID".to_owned()), file: None });
        config.fetcher.carriers.insert("ups".parse().unwrap(), own);
        let listed = |as_json: bool| {
            let mut out = Vec::new();
            list(&config, &catalog, as_json, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        let text = listed(false);
        let ups = text.lines().find(|line| line.starts_with("ups ")).unwrap();
        assert!(ups.ends_with(" MY_UPS_ID,WAYBILL_SECRET_UPS_CLIENT_SECRET"), "{ups}");
        let all: serde_json::Value = serde_json::from_str(&listed(true)).unwrap();
        let secrets =
            |slug: &str| all.as_array().unwrap().iter().find(|one| one["slug"] == slug).unwrap()["secrets"].clone();
        assert_eq!(secrets("ups"), json!(["MY_UPS_ID", "WAYBILL_SECRET_UPS_CLIENT_SECRET"]));
        assert_eq!(secrets("sandbox"), json!([]));
    }
}
