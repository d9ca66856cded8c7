//! An answer that an adapter does not know is `unreadable`, never "no such parcel": every embedded carrier's examples,
//! broken in every way that pages break.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::path::Path;

use serde_json::{Map, Value};
use waybill_adapters::{Catalog, examples};
use waybill_schemas::OutcomeClass;

/// How an answer is broken.
type Breaking = fn(&[u8]) -> Vec<u8>;

/// What carriers do to their pages; lists that lose what was in them are tried apart.
const WAYS: [(&str, Breaking); 10] = [
    ("nothing", |_| Vec::new()),
    ("an empty page", |_| b"<!DOCTYPE html><html><head><title>Tracking</title></head><body></body></html>".to_vec()),
    ("an empty object", |_| b"{}".to_vec()),
    ("null", |_| b"null".to_vec()),
    ("an empty document", |_| b"<?xml version=\"1.0\"?><answer/>".to_vec()),
    ("a maintenance page", |_| {
        b"<html><body><h1>We are improving our service. Please try later.</h1></body></html>".to_vec()
    }),
    ("the first half", |body| body[..body.len() / 2].to_vec()),
    ("nearly all of it", |body| body[..body.len() * 9 / 10].to_vec()),
    ("a redesign", redesigned),
    ("noise", |body| body.iter().map(|byte| byte.wrapping_mul(31).wrapping_add(7)).collect()),
];

/// The same under other names: fields of JSON, classes and ids of pages, elements of XML.
fn redesigned(body: &[u8]) -> Vec<u8> {
    if let Ok(value) = serde_json::from_slice::<Value>(body) {
        return serde_json::to_vec(&renamed(value)).unwrap();
    }
    let mut text = String::from_utf8_lossy(body).into_owned();
    for (from, to) in
        [("class=\"", "class=\"v2-"), ("id=\"", "id=\"v2-"), ("<table", "<x-table"), ("</table", "</x-table")]
    {
        text = text.replace(from, to);
    }
    text.into_bytes()
}

fn renamed(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields.into_iter().map(|(name, value)| (format!("v2_{name}"), renamed(value))).collect::<Map<_, _>>(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(renamed).collect()),
        other => other,
    }
}

#[test]
fn nrm_3_what_no_adapter_knows_is_never_not_found() {
    let folder = Path::new("../carriers");
    let catalog = Catalog::embedded().unwrap();
    let (mut broken, mut wrong) = (0, Vec::new());
    for adapter in catalog.all() {
        for example in examples::of_folder(&folder.join(adapter.slug.as_str())).unwrap() {
            let intact = example.check(adapter).unwrap().view.outcome;
            if intact == OutcomeClass::NotFound {
                continue;
            }
            for (what, way) in WAYS {
                let mut example = example.clone();
                for (name, body) in &mut example.files {
                    if name != "expected.json" && name != "answers.yaml" {
                        *body = way(body);
                    }
                }
                let found = example.check(adapter).unwrap().view;
                broken += 1;
                if found.outcome == OutcomeClass::NotFound {
                    wrong.push(format!("{}/{} became {what}: {:?}", adapter.slug, example.name, found.outcome));
                }
            }
        }
    }
    assert!(broken > 500, "{broken} broken answers");
    assert!(wrong.is_empty(), "{} of {broken}:\n{}", wrong.len(), wrong.join("\n"));
}

/// Where an empty list means an unknown number, as the adapter's notes say and by whom.
const EMPTY_LISTS_SPEAK: [&str; 2] = ["cj-logistics", "postnord"];

/// The same with every list empty, also in a JSON text inside JSON.
fn emptied(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            Value::Object(fields.into_iter().map(|(name, value)| (name, emptied(value))).collect::<Map<_, _>>())
        }
        Value::Array(_) => Value::Array(Vec::new()),
        Value::String(text) => match serde_json::from_str::<Value>(&text) {
            Ok(inner @ (Value::Object(_) | Value::Array(_))) => Value::String(emptied(inner).to_string()),
            _ => Value::String(text),
        },
        other => other,
    }
}

#[test]
fn nrm_3_lists_that_lost_their_entries_are_neither_an_unknown_number_nor_an_announced_one() {
    let folder = Path::new("../carriers");
    let catalog = Catalog::embedded().unwrap();
    let (mut tried, mut wrong) = (0, Vec::new());
    for adapter in catalog.all().filter(|adapter| !EMPTY_LISTS_SPEAK.contains(&adapter.slug.as_str())) {
        for mut example in examples::of_folder(&folder.join(adapter.slug.as_str())).unwrap() {
            if example.check(adapter).unwrap().view.outcome != OutcomeClass::Tracked {
                continue;
            }
            let mut changed = false;
            for (name, body) in &mut example.files {
                if !name.ends_with(".json") || name == "expected.json" {
                    continue;
                }
                if let Ok(value) = serde_json::from_slice::<Value>(body) {
                    let empty = emptied(value.clone());
                    changed |= empty != value;
                    *body = serde_json::to_vec(&empty).unwrap();
                }
            }
            if !changed {
                continue;
            }
            tried += 1;
            let found = example.check(adapter).unwrap().view.outcome;
            if matches!(found, OutcomeClass::NotFound | OutcomeClass::RegisteredNoScan) {
                wrong.push(format!("{}/{} without its lists: {found:?}", adapter.slug, example.name));
            }
        }
    }
    assert!(tried > 100, "{tried} emptied answers");
    assert!(wrong.is_empty(), "{} of {tried}:\n{}", wrong.len(), wrong.join("\n"));
}
