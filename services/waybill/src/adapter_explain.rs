//! How an answer was read, for whoever writes an adapter: `waybill adapter run`, and `adapter parse --explain`.
//!
//! `run` sends exactly what `waybill track` would, out of the same budget. Secrets and tokens are never shown (SEC-1).

use std::{
    collections::BTreeMap,
    fs,
    io::{Write, stdout},
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};
use serde_json::json;
use waybill_adapters::{
    Adapter, Answer, Answers, Catalog, Context, HttpRequest, Method, Reading, RequestError, Source, assess,
    explain::{Explained, ExplainedMarker},
};
use waybill_fetcher::secrets_of;
use waybill_runtime::telemetry;
use waybill_schemas::{TrackingNumber, UtcMs, event::ShipmentFacts};

use crate::{
    adapter_cmd::{adapter_of, print_view},
    cli::Run,
    config::Config,
    datadir::DataDir,
    track::{keep_budget_elsewhere, look, print_not_before, read_outcome},
};

/// What stands for a secret or a token, and how a URL or a form writes it.
const HIDDEN: &str = "(hidden)";
const HIDDEN_ESCAPED: &str = "%28hidden%29";
/// Shorter secrets may stand in an answer by chance.
const LEAST_SECRET: usize = 6;

/// Looks a number up and shows how that came about.
///
/// # Errors
/// One sentence that says what is wrong with the number, the carrier or the data directory.
pub(crate) async fn run(order: Run) -> Result<ExitCode> {
    let mut config = Config::load(&order.common)?;
    config.log_lines("warn");
    keep_budget_elsewhere(&mut config, &order.common);
    telemetry::init_logs(&config.telemetry)?;
    let catalog = Catalog::load(&config.adapters)?;
    let adapter = adapter_of(&catalog, &order.carrier)?;
    let number = TrackingNumber::canonical(&order.number, adapter.hyphens)?;
    let Some(dir) = DataDir::try_take(&config.data_dir)? else {
        bail!(
            "another process holds the data directory {} and with it the politeness budgets; stop it first, or use \
             `waybill track`, which asks it",
            config.data_dir.display()
        );
    };
    let params: BTreeMap<String, String> = order.params.iter().cloned().collect();
    let (result, seen) = look(&config, catalog, &adapter, &number, params.clone(), dir).await?;
    let answers: Vec<Answer<'_>> = seen
        .iter()
        .map(|seen| Answer {
            status: seen.status,
            content_type: Some(seen.content_type.as_str()).filter(|text| !text.is_empty()),
            headers: &seen.headers,
            ..Answer::saved(seen.step, &seen.body)
        })
        .collect();
    let answers = Answers { number: Some(number.as_str()), list: &answers };
    let reading = Reading { seen_at: Some(UtcMs::new(result.seen_at.ms())), ..Reading::default() };
    let explained = (!seen.is_empty()).then(|| adapter.explain(&answers, reading).1);
    if let Some(folder) = &order.save {
        fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        for seen in seen.iter().filter(|seen| !seen.body.is_empty()) {
            let path = folder.join(format!("{}.{}", seen.step, shape(&seen.content_type)));
            fs::write(&path, &seen.body).with_context(|| format!("{} cannot be written", path.display()))?;
        }
    }
    let source = adapter.source(&result.source.source);
    let requests = source.map(|source| requests(&adapter, source, number.as_str(), &params)).unwrap_or_default();
    let view = assess(&adapter, &read_outcome(&result), Some(number.as_str()));
    let mut out: Vec<u8> = Vec::new();
    if order.json {
        let shown: Vec<_> = requests.iter().map(|(step, request)| shown_json(step, request)).collect();
        let all = json!({
            "requests": shown, "spent": result.spent, "explained": explained, "result": view,
            "not_before": result.not_before, "needs": result.needs,
        });
        writeln!(out, "{all}")?;
    } else {
        for (step, request) in &requests {
            print_request(step, request, &mut out)?;
        }
        match result.spent {
            1 => writeln!(out, "1 request was sent")?,
            count => writeln!(out, "{count} requests were sent")?,
        }
        if let Some(explained) = &explained {
            print(&adapter, explained, &mut out)?;
        }
        writeln!(out)?;
        print_view(&view, &mut out)?;
        print_not_before(&result, &mut out)?;
    }
    let own = config.fetcher.carriers.get(&adapter.slug).cloned().unwrap_or_default();
    let shown = without(&String::from_utf8_lossy(&out), &secrets_of(&adapter, &own));
    stdout().write_all(shown.as_bytes())?;
    Ok(if result.class.is_reading() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A text without secrets: a carrier may repeat what it was asked with.
fn without(text: &str, secrets: &[String]) -> String {
    let long = secrets.iter().filter(|secret| secret.len() >= LEAST_SECRET);
    long.fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), HIDDEN))
}

fn shape(content_type: &str) -> &'static str {
    match content_type {
        kind if kind.contains("json") => "json",
        kind if kind.contains("html") => "html",
        kind if kind.contains("xml") => "xml",
        _ => "html",
    }
}

type Asked = (&'static str, Result<HttpRequest, RequestError>);

/// The requests of a source as they are sent, secrets and tokens hidden.
fn requests(adapter: &Adapter, source: &Source, number: &str, params: &BTreeMap<String, String>) -> Vec<Asked> {
    let hidden = |names: &mut dyn Iterator<Item = &str>| -> BTreeMap<String, String> {
        names.map(|name| (name.to_owned(), HIDDEN.to_owned())).collect()
    };
    let secrets = hidden(&mut source.secrets.iter().map(String::as_str));
    let taken = hidden(&mut source.steps.iter().flat_map(|step| step.takes()));
    let lang = adapter.languages.first().map_or("en", String::as_str);
    let context = Context { number, params, secrets: &secrets, taken: &taken, lang };
    source.steps.iter().map(|step| (step.name.as_str(), step.request(&context))).collect()
}

fn shown_json(step: &str, request: &Result<HttpRequest, RequestError>) -> serde_json::Value {
    match request {
        Ok(request) => json!({
            "step": step, "method": method(request), "url": request.url, "headers": headers(request),
            "body": request.body.as_deref().map(String::from_utf8_lossy),
        }),
        Err(error) => json!({ "step": step, "error": error.to_string() }),
    }
}

fn method(request: &HttpRequest) -> &'static str {
    match request.method {
        Method::Get => "GET",
        Method::Post => "POST",
    }
}

/// An `authorization` header is hidden whole: encodings hide a secret from nobody but this program.
fn headers(request: &HttpRequest) -> Vec<(String, String)> {
    let shown = |(name, value): &(String, String)| {
        let value = if name == "authorization" { HIDDEN.to_owned() } else { value.clone() };
        (name.clone(), value)
    };
    request.headers.iter().map(shown).collect()
}

fn print_request(step: &str, request: &Result<HttpRequest, RequestError>, out: &mut dyn Write) -> Result<()> {
    match request {
        Err(error) => writeln!(out, "step {step}: {error}")?,
        Ok(request) => {
            let plain = |text: &str| text.replace(HIDDEN_ESCAPED, HIDDEN);
            writeln!(out, "step {step}: {} {}", method(request), plain(&request.url))?;
            for (name, value) in headers(request) {
                writeln!(out, "  {name}: {value}")?;
            }
            if let Some(body) = &request.body {
                let body: String = String::from_utf8_lossy(body).chars().take(2_000).collect();
                writeln!(out, "  {}", plain(&body))?;
            }
        }
    }
    Ok(())
}

/// Prints how a reading came about.
///
/// # Errors
/// When `out` cannot be written.
pub(crate) fn print(adapter: &Adapter, explained: &Explained, out: &mut dyn Write) -> Result<()> {
    for answer in &explained.answers {
        let kind = answer.content_type.as_deref().unwrap_or("no content type");
        writeln!(out, "answer {}: {}, {} bytes, {kind}, {}", answer.step, answer.status, answer.bytes, answer.charset)?;
    }
    for reader in &explained.readers {
        match (&reader.refused, &reader.accepted) {
            (Some(why), _) => writeln!(out, "reader {} does not take {}: {why}", reader.reader, reader.step)?,
            (None, because) => {
                let why = reason(reader.place.as_deref(), because.as_deref().unwrap_or_default());
                writeln!(out, "reader {} takes {}{why}", reader.reader, reader.step)?;
            }
        }
    }
    if let Some(ExplainedMarker { marker, place, because }) = &explained.decided {
        writeln!(out, "{marker} decides{}", reason(place.as_deref(), because))?;
    }
    for table in &explained.tables {
        writeln!(out, "  rows `{}`: {} found", table.rows, table.found)?;
        // Of nothing found no field says anything.
        for field in table.fields.iter().filter(|_| table.found > 0) {
            let first: String = field.first.chars().take(60).collect();
            writeln!(out, "    {:<9} in {} of {}, first `{first}`", field.name, field.filled, table.found)?;
        }
    }
    for explained in &explained.events {
        let event = &explained.event;
        let time = event.time.as_ref().map_or("(time not understood)", |time| time.iso.as_str());
        let year = if event.time.as_ref().is_some_and(|time| time.year_inferred) { " (year inferred)" } else { "" };
        let sub = explained.sub_status.map_or("-", |sub| sub.as_str());
        let rule = explained.rule.as_deref().unwrap_or("nothing matched");
        let code = event.code.as_deref().map(|code| format!(" [{code}]")).unwrap_or_default();
        writeln!(out, "  {} = {time}{year}\n    {}{code} = {sub} by {rule}", event.time_raw, event.text)?;
    }
    for (name, text) in facts(&explained.facts) {
        writeln!(out, "  {name:<12} {text}")?;
    }
    // The sandbox has none: what it says is read by the program.
    let known = adapter.reader_names().count();
    if known > 0 && explained.readers.iter().all(|reader| reader.refused.is_some()) {
        match known {
            1 => writeln!(out, "its only reader takes no answer")?,
            known => writeln!(out, "none of {known} readers takes an answer")?,
        }
    }
    Ok(())
}

/// Where a condition stands and what of it holds, for the end of a line.
fn reason(place: Option<&str>, because: &str) -> String {
    let place = place.map(|place| format!(", {place}")).unwrap_or_default();
    if because.is_empty() { place } else { format!("{place}: {because}") }
}

/// What stands outside the tables, by the names that adapters give it. The expected day is told with the look-up, what tells
/// of people nowhere.
fn facts(found: &ShipmentFacts) -> Vec<(&'static str, String)> {
    let named = [
        ("status", found.status_text.clone()),
        ("status_code", found.status_code.clone()),
        ("origin", found.origin.clone()),
        ("destination", found.destination.clone()),
        ("service", found.service.clone()),
        ("weight", found.weight.clone()),
    ];
    let legs = found.legs.iter().map(|leg| ("leg", format!("{} {}", leg.carrier, leg.number)));
    named.into_iter().filter_map(|(name, text)| Some((name, text?))).chain(legs).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn sec_1_a_secret_that_a_carrier_repeats_is_hidden() {
        let secrets = ["k3y-of-acme".to_owned(), "7".to_owned()];
        assert_eq!(
            without("no key k3y-of-acme is known, try 7 more", &secrets),
            "no key (hidden) is known, try 7 more"
        );
    }

    #[test]
    fn the_marker_that_decides_is_named_with_its_line() {
        let adapter = "format: 1\nname: Acme\nbasis: page\nlanguages: [en]\nhosts: [acme.example]\n\
                       budget: {rate_per_second: 1, burst: 1, concurrency: 1, min_interval_s: 60}\n\
                       readers:\n  - name: page\n    shape: html\n    \
                       accept: {any: [{has: table}, {has: p}]}\n    tables: [{rows: tr, text: td}]\n    \
                       unreadable:\n      - when: {text: p, matches: '(?i)try again'}\n    \
                       not_found:\n      - when: {has: ul}\n      - when: {text: p, matches: '(?i)no such'}\n";
        let catalog = Catalog::of_texts(&"acme".parse().unwrap(), adapter, "format: 1\n").unwrap();
        let adapter = adapter_of(&catalog, "acme").unwrap();
        let told = |body: &str| {
            let page = format!("<html><body>{body}</body></html>");
            let list = [Answer::saved("page", page.as_bytes())];
            let (_, explained) = adapter.explain(&Answers { number: None, list: &list }, Reading::default());
            let mut out = Vec::new();
            print(&adapter, &explained, &mut out).unwrap();
            (serde_json::to_value(&explained).unwrap()["decided"].clone(), String::from_utf8(out).unwrap())
        };
        for (body, marker, line, because) in [
            ("<p>No such parcel", "not_found", 16, "a text is `No such parcel`, which matches `(?i)no such`"),
            ("<p>Try again later", "unreadable", 13, "a text is `Try again later`, which matches `(?i)try again`"),
        ] {
            let (decided, out) = told(body);
            let place = format!("acme/adapter.yaml:{line}");
            assert_eq!(decided, json!({"marker": marker, "place": place, "because": because}), "{out}");
            assert!(out.contains(&format!("\n{marker} decides, {place}: {because}\n")), "{out}");
            assert!(out.contains("reader page takes page, acme/adapter.yaml:10: `p` is found\n"), "{out}");
            assert!(out.contains("rows `tr`: 0 found\n") && !out.contains("of 0, first"), "{out}");
        }
        for body in ["<table><tr><td>Sorted</td></tr></table><p>no such", "<p>something else"] {
            let (decided, out) = told(body);
            assert!(decided.is_null() && !out.contains("decides"), "{out}");
        }
    }

    #[test]
    fn what_is_hidden_is_called_so_wherever_it_stands() {
        let adapter = "format: 1\nname: Acme\nbasis: api\nlanguages: [en]\nhosts: [acme.example]\n\
                       budget: {rate_per_second: 1, burst: 1, concurrency: 1, min_interval_s: 60}\n\
                       sources:\n  - name: api\n    kind: api\n    secrets: [key]\n    steps:\n      - name: page\n        \
                       post: 'https://acme.example/{number}?k={secret.key}'\n        form: {key: '{secret.key}'}\n\
                       readers:\n  - {name: page, shape: html, accept: {has: p}, tables: [{rows: tr, text: td}]}\n";
        let catalog = Catalog::of_texts(&"acme".parse().unwrap(), adapter, "format: 1\n").unwrap();
        let adapter = adapter_of(&catalog, "acme").unwrap();
        let asked = requests(&adapter, adapter.source("api").unwrap(), "AC1", &BTreeMap::new());
        let mut out = Vec::new();
        for (step, request) in &asked {
            print_request(step, request, &mut out).unwrap();
        }
        let out = String::from_utf8(out).unwrap();
        assert!(out.starts_with("step page: POST https://acme.example/AC1?k=(hidden)\n"), "{out}");
        assert!(out.ends_with("\n  key=(hidden)\n"), "{out}");
    }

    #[test]
    fn a_reading_is_explained_down_to_what_stands_outside_the_table() {
        let dir = tempfile::tempdir().unwrap();
        let carrier = dir.path().join("acme");
        fs::create_dir_all(&carrier).unwrap();
        let adapter = "format: 1\nname: Acme\nbasis: api\nlanguages: [en]\nhosts: [acme.example]\n\
                       budget: {rate_per_second: 1, burst: 1, concurrency: 1, min_interval_s: 60}\n\
                       readers:\n  - {name: old, shape: json, accept: {has: rows}, tables: [{rows: rows, text: x}]}\n  \
                       - {name: new, shape: json, accept: {has: e}, tables: [{rows: 'e[*]', text: x}],\n     \
                       facts: {status: s, destination: to, weight: w, legs: [{carrier: by, number: their}]}}\n";
        fs::write(carrier.join("adapter.yaml"), adapter).unwrap();
        fs::write(carrier.join("mapping.yaml"), "format: 1\nphrases: []\nexact: {Sorted: InTransit_Other}\n").unwrap();
        let catalog = Catalog::of_carrier(&carrier).unwrap();
        let adapter = adapter_of(&catalog, "acme").unwrap();
        let body =
            br#"{"e":[{"x":"Sorted"},{"x":"Odd"}],"s":"Moving","to":"France","w":"2 kg","by":"dpd","their":"D7"}"#;
        let list = [Answer::saved("page", body)];
        let (_, explained) = adapter.explain(&Answers { number: None, list: &list }, Reading::default());
        let mut out = Vec::new();
        print(&adapter, &explained, &mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        for line in [
            "answer page: 200, ",
            "reader old does not take page: nothing is found at `rows`",
            "reader new takes page",
            "  rows `e[*]`: 2 found",
            "text      in 2 of 2, first `Sorted`",
            "Sorted = InTransit_Other by exact: sorted",
            "Odd = - by nothing matched",
            "  status       Moving\n",
            "  destination  FR\n",
            "  weight       2 kg\n",
            "  leg          dpd D7\n",
        ] {
            assert!(out.contains(line), "{line}: {out}");
        }
    }
}
