//! Every example of every carrier gives its golden result. `WAYBILL_BLESS=1` writes the results anew: read the diff.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking and says what differs")]

mod support;

use std::fs;

use waybill_adapters::{Adapter, Catalog, examples, personal};
use waybill_schemas::{SubStatus, event::RawEvent};

#[test]
fn every_example_gives_its_golden_result() {
    let folder = support::carriers();
    let catalog = Catalog::of_folder(&folder).unwrap_or_else(|error| panic!("{error}"));
    let bless = std::env::var_os("WAYBILL_BLESS").is_some();
    let only = std::env::var("WAYBILL_CARRIER").ok();
    let mut wrong = Vec::new();
    let mut count = 0;
    for adapter in catalog.all().filter(|adapter| only.as_deref().is_none_or(|slug| slug == adapter.slug.as_str())) {
        for example in examples::of_folder(&folder.join(adapter.slug.as_str())).unwrap() {
            count += 1;
            let checked = example.check(adapter).unwrap_or_else(|error| panic!("{error}"));
            if bless {
                let text = serde_json::to_string_pretty(&checked.json).unwrap() + "\n";
                fs::write(format!("{}/expected.json", example.place), text).unwrap();
            } else {
                wrong.extend(
                    checked.differences.iter().map(|what| format!("{}/{}: {what}", adapter.slug, example.name)),
                );
            }
        }
    }
    eprintln!("{count} examples");
    assert!(wrong.is_empty(), "WAYBILL_BLESS=1 writes golden results anew; these differ:\n{}", wrong.join("\n"));
}

/// Service, weight, countries and partners are part of it; a golden result of before says nothing of them.
#[test]
fn what_stands_outside_the_tables_is_part_of_a_golden_result() {
    let folder = tempfile::tempdir().unwrap();
    let carrier = folder.path().join("acme");
    let example = carrier.join("examples/in-transit");
    fs::create_dir_all(&example).unwrap();
    let adapter = "format: 1\nname: Acme\nbasis: api\nlanguages: [en]\nhosts: [acme.example]\n\
                   budget: {rate_per_second: 1, burst: 1, concurrency: 1, min_interval_s: 60}\n\
                   readers:\n  - {name: any, shape: json, accept: {has: e}, tables: [{rows: 'e[*]', text: x}], facts: {weight: w}}\n";
    fs::write(carrier.join("adapter.yaml"), adapter).unwrap();
    fs::write(carrier.join("mapping.yaml"), "format: 1\n").unwrap();
    fs::write(example.join("page.json"), r#"{"e":[{"x":"Sorted"}],"w":"2 kg"}"#).unwrap();
    let catalog = Catalog::of_carrier(&carrier).unwrap();
    let adapter = catalog.get(&"acme".parse().unwrap()).unwrap();
    let check = || examples::of_folder(&carrier).unwrap()[0].check(&adapter).unwrap();
    let mut golden = check().json;
    assert_eq!(golden["facts"], serde_json::json!({ "weight": "2 kg" }));
    let mut differences = |facts: Option<serde_json::Value>| {
        match facts {
            Some(facts) => golden["facts"] = facts,
            None => drop(golden.as_object_mut().unwrap().remove("facts")),
        }
        fs::write(example.join("expected.json"), golden.to_string()).unwrap();
        check().differences
    };
    assert!(differences(Some(serde_json::json!({ "weight": "2 kg" }))).is_empty());
    assert_eq!(differences(Some(serde_json::json!({}))), ["facts.weight is \"2 kg\" instead of null"]);
    assert!(differences(None).is_empty());
}

#[test]
fn no_carrier_takes_a_delivery_that_is_denied_or_to_come_for_one() {
    let catalog = Catalog::of_folder(&support::carriers()).unwrap_or_else(|error| panic!("{error}"));
    let mut wrong = Vec::new();
    for text in [
        "The parcel couldn't be delivered",
        "It couldn’t be delivered.",
        "Could not be delivered",
        "Not able to be delivered",
        "The parcel hasn't been delivered yet",
        "The parcel was not delivered",
        "Undelivered",
        "The parcel is being delivered",
        "The parcel will be delivered tomorrow",
        "Delivered to the depot",
        "Delivered to the airline",
        "Delivered to local courier",
        "Delivered to the parcel shop",
        "Delivered to a locker",
        "Delivered to the sender",
        "Return delivered",
    ] {
        let event = RawEvent { text: text.to_owned(), ..RawEvent::default() };
        let delivered = |adapter: &Adapter| adapter.mapping.map(&event).sub_status == Some(SubStatus::DeliveredOther);
        let mistaken = catalog.all().filter(|adapter| delivered(adapter));
        wrong.extend(mistaken.map(|adapter| format!("{}: {text}: {:?}", adapter.slug, adapter.mapping.rule(&event))));
    }
    assert!(wrong.is_empty(), "these are taken for deliveries:\n{}", wrong.join("\n"));
}

#[test]
fn nobodys_data_is_among_the_examples() {
    let folder = support::carriers();
    let catalog = Catalog::of_folder(&folder).unwrap_or_else(|error| panic!("{error}"));
    let mut found = Vec::new();
    for adapter in catalog.all() {
        for example in examples::of_folder(&folder.join(adapter.slug.as_str())).unwrap() {
            for (name, bytes) in example.files.iter().filter(|(name, _)| *name != "expected.json") {
                let hints =
                    personal::hints(&String::from_utf8_lossy(bytes), &[&adapter.name, adapter.slug.as_str()], 5);
                found.extend(hints.iter().map(|hint| format!("{}/{name}:{}: {}", example.place, hint.line, hint.what)));
            }
        }
    }
    assert!(found.is_empty(), "examples are invented; these look like people:\n{}", found.join("\n"));
}

#[test]
fn every_carrier_has_the_examples_that_show_what_it_can_say() {
    let folder = support::carriers();
    let catalog = Catalog::of_folder(&folder).unwrap_or_else(|error| panic!("{error}"));
    let mut lacking = Vec::new();
    for adapter in catalog.all().filter(|adapter| adapter.reader_names().next().is_some()) {
        let examples = examples::of_folder(&folder.join(adapter.slug.as_str())).unwrap();
        let views: Vec<_> = examples.iter().map(|example| example.check(adapter).unwrap().view).collect();
        let has = |what: &str| {
            views
                .iter()
                .any(|view| view.outcome.as_str() == what || view.status.is_some_and(|status| status.as_str() == what))
        };
        let needed = ["Delivered", "InTransit", "not_found", "unreadable"];
        lacking.extend(needed.iter().filter(|what| !has(what)).map(|what| format!("{}: {what}", adapter.slug)));
        if !has("Exception") && !has("DeliveryFailure") {
            lacking.push(format!("{}: Exception or DeliveryFailure", adapter.slug));
        }
    }
    assert!(lacking.is_empty(), "examples are missing:\n{}", lacking.join("\n"));
}

/// Where paths, codes and words come from is part of them: each reader and each mapping cites pages, or says what is assumed.
#[test]
fn every_reader_and_every_mapping_says_where_it_comes_from() {
    #[derive(serde::Deserialize)]
    struct Source {
        #[serde(default)]
        name: String,
        #[serde(default)]
        documentation: Vec<String>,
        assumed: Option<String>,
    }
    #[derive(serde::Deserialize)]
    struct Readers {
        readers: Vec<Source>,
    }
    let folder = support::carriers();
    let catalog = Catalog::of_folder(&folder).unwrap_or_else(|error| panic!("{error}"));
    let mut silent = Vec::new();
    for adapter in catalog.all().filter(|adapter| adapter.reader_names().next().is_some()) {
        let text = |file: &str| fs::read_to_string(folder.join(adapter.slug.as_str()).join(file)).unwrap();
        let readers: Readers = serde_saphyr::from_str(&text("adapter.yaml")).unwrap();
        let mapping: Source = serde_saphyr::from_str(&text("mapping.yaml")).unwrap();
        for source in readers.readers.iter().chain([&mapping]) {
            let page = |url: &String| url.starts_with("https://") || url.starts_with("http://");
            let says = !source.documentation.is_empty() || source.assumed.as_ref().is_some_and(|text| !text.is_empty());
            if !says || !source.documentation.iter().all(page) {
                let what = if source.name.is_empty() { "mapping.yaml" } else { &source.name };
                silent.push(format!("{}: {what}", adapter.slug));
            }
        }
    }
    assert!(silent.is_empty(), "these name neither `documentation` (web pages) nor `assumed`:\n{}", silent.join("\n"));
}

#[test]
fn the_embedded_carriers_are_those_on_disk_and_their_examples_run() {
    let embedded = Catalog::embedded().unwrap_or_else(|error| panic!("{error}"));
    let on_disk = Catalog::of_folder(std::path::Path::new("../carriers")).unwrap();
    let versions = |catalog: &Catalog| -> Vec<(String, String)> {
        catalog.all().map(|adapter| (adapter.slug.to_string(), adapter.version.clone())).collect()
    };
    assert_eq!(versions(&embedded), versions(&on_disk));
    let count: usize = embedded.all().map(|adapter| examples::run(adapter, &[]).unwrap().len()).sum();
    assert!(count >= embedded.len(), "{count} embedded examples");
}
