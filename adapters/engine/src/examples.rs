//! The examples beside each carrier: invented answers and the golden results they must come to.
//!
//! A folder `examples/<name>/` holds bodies named after their steps (`page.html`, `token.html`, `detail.json`, …), or an
//! `answers.yaml` that names files, HTTP statuses, charsets and the number; and `expected.json`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::Value;
use waybill_schemas::{
    event::{MatchedBy, ShipmentFacts},
    files::read_file,
    limits::MAX_ANSWER_BYTES,
};

use crate::{
    adapter::Adapter,
    answer::{Answer, Answers},
    assess::{ParsedView, assess},
    catalog,
    error::AdapterError,
};

/// An example's answers and golden result, by file name.
#[derive(Debug, Clone, Default)]
pub struct Example {
    /// Its name.
    pub name: String,
    /// How errors name it.
    pub place: String,
    /// Its files.
    pub files: BTreeMap<String, Vec<u8>>,
}

/// An example that was run.
#[derive(Debug, Clone)]
pub struct Checked {
    /// Its name.
    pub name: String,
    /// What differs from the golden result, a sentence each; empty when all is well.
    pub differences: Vec<String>,
    /// What the answers came to.
    pub view: ParsedView,
    /// The same as the golden file holds it, with the reader's name, the texts that nothing matched, and what stands outside
    /// the tables.
    pub json: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stated {
    #[serde(default)]
    number: Option<String>,
    #[serde(default)]
    answers: Vec<StatedAnswer>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StatedAnswer {
    step: String,
    file: String,
    #[serde(default = "ok")]
    status: u16,
    #[serde(default)]
    content_type: Option<String>,
    #[serde(default)]
    charset: Option<String>,
    /// For readers that ask for headers; names in any case.
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

fn ok() -> u16 {
    200
}

/// Steps in the order in which look-ups take them.
const STEPS: [&str; 5] = ["token", "cookie", "page", "summary", "detail"];

/// Runs every example of a carrier: those of the last folder that has the carrier, else the embedded ones.
///
/// # Errors
/// [`AdapterError`] when an example's files cannot be read.
pub fn run(adapter: &Adapter, overlays: &[PathBuf]) -> Result<Vec<Checked>, AdapterError> {
    of_carrier(adapter, overlays)?.iter().map(|example| example.check(adapter)).collect()
}

/// How many examples a carrier has: those of the last folder that has the carrier, else the embedded ones.
///
/// # Errors
/// [`AdapterError`] when an example's files cannot be read.
pub fn count(adapter: &Adapter, overlays: &[PathBuf]) -> Result<usize, AdapterError> {
    of_carrier(adapter, overlays).map(|examples| examples.len())
}

/// The examples of a carrier: those of the last folder that has the carrier, else the embedded ones.
///
/// # Errors
/// [`AdapterError`] when an example's files cannot be read.
pub fn of_carrier(adapter: &Adapter, overlays: &[PathBuf]) -> Result<Vec<Example>, AdapterError> {
    let overlay = overlays.iter().rev().map(|folder| folder.join(adapter.slug.as_str())).find(|folder| folder.is_dir());
    match overlay {
        Some(folder) => of_folder(&folder),
        None => Ok(catalog::embedded_examples(adapter.slug.as_str())),
    }
}

/// The examples of a carrier's folder on disk, by name.
///
/// # Errors
/// [`AdapterError`] when a file cannot be read.
pub fn of_folder(carrier: &Path) -> Result<Vec<Example>, AdapterError> {
    let folder = carrier.join("examples");
    let shown = folder.display().to_string();
    let unreadable_at =
        |place: &str, error: std::io::Error| AdapterError::new(place, format!("cannot be read: {error}"));
    let unreadable = |error: std::io::Error| unreadable_at(&shown, error);
    let mut examples = Vec::new();
    if !folder.is_dir() {
        return Ok(examples);
    }
    for entry in fs::read_dir(&folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if !path.is_dir() {
            continue;
        }
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let mut example = Example { name, place: path.display().to_string(), files: BTreeMap::new() };
        for file in fs::read_dir(&path).map_err(unreadable)? {
            let file = file.map_err(unreadable)?.path();
            let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let bytes = read_file(&file, MAX_ANSWER_BYTES);
            let place = file.display().to_string();
            example.files.insert(name, bytes.map_err(|error| unreadable_at(&place, error))?);
        }
        examples.push(example);
    }
    examples.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(examples)
}

impl Example {
    /// Reads its answers and compares with its golden result.
    ///
    /// # Errors
    /// [`AdapterError`] when it has no answers or names files that are not there.
    pub fn check(&self, adapter: &Adapter) -> Result<Checked, AdapterError> {
        let wrong = |problem: String| AdapterError::new(&self.place, problem);
        let stated: Stated = match self.files.get("answers.yaml") {
            None => Stated::default(),
            Some(bytes) => {
                crate::adapter::parse(&format!("{}/answers.yaml", self.place), &String::from_utf8_lossy(bytes))?
            }
        };
        let headers: Vec<Vec<(String, String)>> =
            stated.answers.iter().map(|answer| answer.headers.clone().into_iter().collect()).collect();
        let mut answers = Vec::new();
        for (answer, headers) in stated.answers.iter().zip(&headers) {
            let body = self.files.get(&answer.file);
            let body =
                body.ok_or_else(|| wrong(format!("has no file {}; add it or correct answers.yaml", answer.file)))?;
            answers.push(Answer {
                step: &answer.step,
                status: answer.status,
                content_type: answer.content_type.as_deref(),
                charset: answer.charset.as_deref(),
                headers,
                body,
            });
        }
        if answers.is_empty() {
            for step in STEPS {
                let named = ["html", "json", "xml"].iter().find_map(|shape| self.files.get(&format!("{step}.{shape}")));
                answers.extend(named.map(|body| Answer::saved(step, body)));
            }
        }
        if answers.is_empty() {
            return Err(wrong("has no answer; name it page.html, detail.json or the like".to_owned()));
        }
        let number = stated.number.as_deref();
        let outcome = adapter.read(&Answers { number, list: &answers });
        let view = assess(adapter, &outcome, number);
        let json = golden(&view);
        let differences = match self.files.get("expected.json").map(|bytes| serde_json::from_slice::<Value>(bytes)) {
            None => vec!["there is no expected.json".to_owned()],
            Some(Err(error)) => vec![format!("expected.json is no JSON: {error}")],
            Some(Ok(expected)) => {
                let mut found = json.clone();
                // Golden results of earlier versions say nothing of what stands outside the tables.
                if expected.get("facts").is_none()
                    && let Value::Object(fields) = &mut found
                {
                    fields.remove("facts");
                }
                differences("", &expected, &found)
            }
        };
        Ok(Checked { name: self.name.clone(), differences, view, json })
    }
}

/// A view as golden files hold it.
fn golden(view: &ParsedView) -> Value {
    let mut json = serde_json::to_value(view).unwrap_or_default();
    let unmatched = view.events.iter().filter(|event| event.matched_by == MatchedBy::None && !event.text.is_empty());
    let unmatched: Vec<&str> = unmatched.map(|event| event.text.as_str()).collect();
    if let Value::Object(fields) = &mut json {
        fields.insert("unmatched".to_owned(), unmatched.into());
        fields.insert("reader".to_owned(), view.reader.clone().into());
        // The expected day has a place of its own.
        let facts = ShipmentFacts { estimated_delivery: None, ..view.facts.clone() };
        fields.insert("facts".to_owned(), serde_json::to_value(facts).unwrap_or_default());
    }
    json
}

fn differences(path: &str, expected: &Value, found: &Value) -> Vec<String> {
    match (expected, found) {
        (Value::Object(a), Value::Object(b)) => {
            let names: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            let get = |map: &serde_json::Map<String, Value>, name: &str| map.get(name).cloned().unwrap_or_default();
            names
                .into_iter()
                .flat_map(|name| differences(&format!("{path}.{name}"), &get(a, name), &get(b, name)))
                .collect()
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let pairs = a.iter().zip(b).enumerate();
            pairs.flat_map(|(index, (a, b))| differences(&format!("{path}[{index}]"), a, b)).collect()
        }
        (a, b) if a == b => Vec::new(),
        (a, b) => vec![format!("{} is {b} instead of {a}", path.trim_start_matches('.'))],
    }
}
