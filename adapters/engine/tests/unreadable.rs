//! An answer that an adapter does not know is `unreadable`, never "no such parcel": every embedded carrier's examples,
//! broken in every way that pages break.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::path::Path;

use serde_json::{Map, Value};
use waybill_adapters::{Catalog, examples};
use waybill_schemas::OutcomeClass;

/// How an answer is broken.
type Breaking = fn(&[u8]) -> Vec<u8>;

/// What carriers do to their pages.
/// An empty list is not among them: interfaces that answer lists say so that they know no such number.
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
