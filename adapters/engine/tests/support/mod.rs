//! What the tests of carriers share.
#![allow(clippy::unwrap_used, clippy::expect_used, dead_code, reason = "a test fails by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use waybill_adapters::{Adapter, Answer, Answers, ParsedView, assess};

/// The carriers as they are on disk, so that data can be changed without building.
pub(crate) fn carriers() -> PathBuf {
    std::env::var_os("WAYBILL_CARRIERS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../carriers"), PathBuf::from)
}

/// `examples/<name>/answers.yaml`: what cannot be told from the bodies' names.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Extra {
    #[serde(default)]
    pub(crate) number: Option<String>,
    #[serde(default)]
    pub(crate) answers: Vec<Stated>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stated {
    pub(crate) step: String,
    #[serde(default)]
    pub(crate) file: Option<String>,
    #[serde(default = "ok")]
    pub(crate) status: u16,
    #[serde(default)]
    pub(crate) content_type: Option<String>,
    #[serde(default)]
    pub(crate) charset: Option<String>,
}

fn ok() -> u16 {
    200
}

/// Steps in the order in which look-ups take them.
const STEPS: [&str; 5] = ["token", "cookie", "page", "summary", "detail"];

/// Reads one example's answers and judges them.
pub(crate) fn example(adapter: &Adapter, folder: &Path) -> (ParsedView, serde_json::Value) {
    let extra: Extra = match fs::read_to_string(folder.join("answers.yaml")) {
        Ok(text) => serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{}/answers.yaml: {e}", folder.display())),
        Err(_) => Extra::default(),
    };
    let mut bodies: Vec<(Stated, Vec<u8>)> = Vec::new();
    if extra.answers.is_empty() {
        for step in STEPS {
            for shape in ["html", "json", "xml"] {
                if let Ok(body) = fs::read(folder.join(format!("{step}.{shape}"))) {
                    let stated = Stated { step: step.to_owned(), file: None, status: 200, content_type: None, charset: None };
                    bodies.push((stated, body));
                }
            }
        }
    } else {
        for stated in extra.answers {
            let file = stated.file.clone().unwrap_or_else(|| panic!("{}: an answer needs file", folder.display()));
            let body = fs::read(folder.join(&file)).unwrap_or_else(|e| panic!("{}/{file}: {e}", folder.display()));
            bodies.push((stated, body));
        }
    }
    assert!(!bodies.is_empty(), "{}: no answer; name it page.html, detail.json, …", folder.display());
    let answers: Vec<Answer<'_>> = bodies
        .iter()
        .map(|(stated, body)| Answer {
            step: &stated.step,
            status: stated.status,
            content_type: stated.content_type.as_deref(),
            charset: stated.charset.as_deref(),
            headers: &[],
            body,
        })
        .collect();
    let number = extra.number.as_deref();
    let outcome = adapter.read(&Answers { number, list: &answers });
    let view = assess(adapter, &outcome, number);
    let mut json = serde_json::to_value(&view).unwrap();
    let unmatched: Vec<&str> = view
        .events
        .iter()
        .filter(|event| event.matched_by == waybill_schemas::event::MatchedBy::None && !event.text.is_empty())
        .map(|event| event.text.as_str())
        .collect();
    json["unmatched"] = serde_json::to_value(unmatched).unwrap();
    json["reader"] = serde_json::to_value(&view.reader).unwrap();
    (view, json)
}

pub(crate) fn folders(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    found.sort();
    found
}
