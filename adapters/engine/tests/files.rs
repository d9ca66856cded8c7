//! A broken file names its place and its remedy, and never reaches a running program.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

use waybill_adapters::{Catalog, Context, RequestError, overview};

const GOOD: &str = "format: 1
name: Acme
basis: page
languages: [en]
budget: {rate_per_second: 1, burst: 1, concurrency: 1, min_interval_s: 60}
hosts: [acme.example]
sources:
  - name: page
    kind: page
    needs: [postal_code]
    steps:
      - name: token
        get: https://acme.example/start
        take: {csrf: {css: 'input[name=t]', attr: value}}
      - name: detail
        post: https://acme.example/track/{number}
        headers: {X-Lang: '{lang}'}
        json: {token: '{take.csrf}', zip: '{param.postal_code}', ids: ['{number}']}
readers:
  - name: table
    shape: html
    accept: {has: [table]}
    times: {formats: ['%d.%m.%Y']}
    tables:
      - {rows: tr, time: td.when, text: td.what}
";
const MAPPING: &str = "format: 1\nexact: {Here: InTransit_Arrival}\n";

fn load(adapter: &str, mapping: &str) -> Result<Catalog, String> {
    let folder = tempfile::tempdir().unwrap();
    let carrier = folder.path().join("carriers/acme");
    fs::create_dir_all(&carrier).unwrap();
    fs::write(carrier.join("adapter.yaml"), adapter).unwrap();
    fs::write(carrier.join("mapping.yaml"), mapping).unwrap();
    Catalog::of_folder(&folder.path().join("carriers")).map_err(|error| error.to_string())
}

#[test]
fn mistakes_are_named_with_file_line_and_remedy() {
    load(GOOD, MAPPING).unwrap();
    for (from, to, expected) in [
        ("format: 1", "format: 2", "adapter.yaml:1: format 2 is not known"),
        ("name: Acme", "nmae: Acme", "adapter.yaml:2: "),
        ("basis: page", "basis: magic", "adapter.yaml:3: "),
        ("rate_per_second: 1", "rate_per_second: 0", "rate_per_second must be above 0"),
        ("hosts: [acme.example]", "hosts: [other.example]", "the host `acme.example` is not declared; add it to hosts"),
        ("https://acme.example/start", "https://{number}.example/start", "must be written out"),
        ("rows: tr", "rows: 'tr['", "adapter.yaml:25: `tr[` is no CSS selector"),
        ("'%d.%m.%Y'", "'%d.%m.%K'", "adapter.yaml:23: the time format `%d.%m.%K` has %K"),
        ("{take.csrf}", "{take.crsf}", "step `detail` uses `crsf`, which no earlier step takes"),
        ("needs: [postal_code]", "needs: []", "the parameter `postal_code`; add it to needs"),
        ("languages: [en]", "languages: []", "languages is empty"),
        ("shape: html", "shape: pdf", "adapter.yaml:21: "),
        ("text: td.what", "txt: td.what", "adapter.yaml:25: "),
        ("text: td.what", "text: {path: td.what, match: '(?=x)'}", "look-around is not understood"),
        ("text: td.what", "location: td.what", "has neither text nor code"),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let error = load(&GOOD.replacen(from, to, 1), MAPPING).unwrap_err();
        assert!(error.contains(expected), "{to}: {error}");
    }
    let error = load(GOOD, "format: 1\nexact: {Here: InTransit_Arival}\n").unwrap_err();
    assert!(error.contains("mapping.yaml:2") && error.contains("`InTransit_Arival` is no sub-status"), "{error}");
    assert!(load(GOOD, "").is_err());
}

#[test]
fn an_overlay_replaces_by_slug_and_changes_the_version() {
    let folder = tempfile::tempdir().unwrap();
    let carrier = folder.path().join("korea-post");
    fs::create_dir_all(&carrier).unwrap();
    fs::write(carrier.join("adapter.yaml"), GOOD).unwrap();
    fs::write(carrier.join("mapping.yaml"), MAPPING).unwrap();
    let (plain, overlaid) = (Catalog::embedded().unwrap(), Catalog::load(&[folder.path().to_owned()]).unwrap());
    let slug = "korea-post".parse().unwrap();
    assert_eq!(overlaid.len(), plain.len());
    assert_eq!(overlaid.get(&slug).unwrap().name, "Acme");
    assert_ne!(overlaid.get(&slug).unwrap().version, plain.get(&slug).unwrap().version);
    let absent = Catalog::load(&[folder.path().join("nowhere")]).unwrap_err().to_string();
    assert!(absent.contains("nowhere") && absent.contains("name a folder of carriers"), "{absent}");
}

#[test]
fn requests_are_filled_escaped_and_refused_when_something_is_missing() {
    let catalog = load(GOOD, MAPPING).unwrap();
    let adapter = catalog.get(&"acme".parse().unwrap()).unwrap();
    let steps = &adapter.source("page").unwrap().steps;
    let html = b"<form><input name=t value='a\"b'></form>";
    let answer = waybill_adapters::Answer::saved("token", html);
    let taken = steps[0].take(&answer).unwrap();
    assert_eq!(taken["csrf"], "a\"b");
    assert_eq!(steps[0].take(&waybill_adapters::Answer::saved("token", b"<p>")).unwrap_err(), ["csrf"]);
    let params = [("postal_code".to_owned(), "12 345".to_owned())].into();
    let none = std::collections::BTreeMap::new();
    let context = Context { number: "AB/1?2", params: &params, secrets: &none, taken: &taken, lang: "en" };
    let request = steps[1].request(&context).unwrap();
    assert_eq!(request.url, "https://acme.example/track/AB%2F1%3F2");
    let body: serde_json::Value = serde_json::from_slice(request.body.as_deref().unwrap()).unwrap();
    assert_eq!(body, serde_json::json!({"token": "a\"b", "zip": "12 345", "ids": ["AB/1?2"]}));
    let lacking = steps[1].request(&Context { params: &none, ..context }).unwrap_err();
    assert_eq!(lacking, RequestError::NeedsData(vec!["postal_code".to_owned()]));
    let smuggled = steps[1].request(&Context { lang: "en\r\nX-Evil: 1", ..context }).unwrap_err();
    assert_eq!(smuggled, RequestError::Header("x-lang".to_owned()));
}

#[test]
fn the_table_of_carriers_in_the_readme_is_that_of_the_carriers() {
    let path = std::path::Path::new("../README.md");
    let text = fs::read_to_string(path).unwrap();
    let (before, rest) = text.split_once(overview::BEGIN).unwrap();
    let (written, after) = rest.split_once(overview::END).unwrap();
    let table = format!("\n\n{}", overview::markdown(&Catalog::embedded().unwrap(), &[]).unwrap());
    if std::env::var_os("WAYBILL_BLESS").is_some() {
        fs::write(path, format!("{before}{}{table}{}{after}", overview::BEGIN, overview::END)).unwrap();
        return;
    }
    let row = |text: &str| -> Vec<String> { text.lines().map(str::to_owned).collect() };
    for (written, row) in row(written).iter().zip(row(&table)) {
        assert_eq!(*written, row, "the table in adapters/README.md is out of date; WAYBILL_BLESS=1 writes it anew");
    }
    assert_eq!(written, table, "the table in adapters/README.md is out of date; WAYBILL_BLESS=1 writes it anew");
}
