//! Which fields a carrier's JSON answers have, to notice new ones: the paths of an adapter's examples against those of an
//! answer. Names only, never values; a name with three digits or more, or of digits alone, stands for any, because it may be
//! a number, a date or a count.

use std::{collections::HashSet, path::PathBuf};

use serde_json::Value;
use waybill_schemas::CarrierSlug;
use xxhash_rust::xxh3::xxh3_64;

use crate::{catalog, examples};

/// Larger answers are not looked through.
const MOST_BYTES: usize = 1024 * 1024;
/// Places of one answer that are looked at.
const MOST_PLACES: usize = 20_000;
/// Depth that is looked at.
const MOST_DEPTH: usize = 32;
/// Longest path that is told, in bytes.
const MOST_PATH: usize = 160;

/// The fields of an adapter's examples.
#[derive(Debug, Clone, Default)]
pub struct KnownFields(HashSet<u64>);

impl KnownFields {
    /// Of a carrier's examples: those of the last folder that has the carrier, else the embedded ones. `None` when there is
    /// no JSON among them: then nothing can be told.
    pub fn of(slug: &CarrierSlug, overlays: &[PathBuf]) -> Option<Self> {
        let folder = overlays.iter().rev().map(|folder| folder.join(slug.as_str())).find(|folder| folder.is_dir());
        let examples = match folder {
            Some(folder) => examples::of_folder(&folder).ok()?,
            None => catalog::embedded_examples(slug.as_str()),
        };
        let mut known = HashSet::new();
        for (name, body) in examples.iter().flat_map(|example| &example.files) {
            if name != "expected.json"
                && let Some(value) = parse(body)
            {
                walk(&value, &mut |path| {
                    known.insert(xxh3_64(path.as_bytes()));
                });
            }
        }
        (!known.is_empty()).then_some(Self(known))
    }

    /// Paths of an answer that no example has, at most `most`, each once. None for what is no JSON.
    pub fn unknown(&self, body: &[u8], most: usize) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        if let Some(value) = parse(body) {
            walk(&value, &mut |path| {
                let news = found.len() < most && path.len() <= MOST_PATH && !self.0.contains(&xxh3_64(path.as_bytes()));
                if news && !found.iter().any(|known| known == path) {
                    found.push(path.to_owned());
                }
            });
        }
        found
    }
}

fn parse(body: &[u8]) -> Option<Value> {
    let begins = body.iter().find(|byte| !byte.is_ascii_whitespace());
    let like_json = matches!(begins, Some(b'{' | b'['));
    (like_json && body.len() <= MOST_BYTES).then(|| serde_json::from_slice(body).ok()).flatten()
}

fn walk(value: &Value, each: &mut impl FnMut(&str)) {
    let mut places = MOST_PLACES;
    descend(value, &mut String::new(), (0, &mut places), each);
}

fn descend(value: &Value, path: &mut String, (depth, places): (usize, &mut usize), each: &mut impl FnMut(&str)) {
    if depth > MOST_DEPTH || *places == 0 {
        return;
    }
    *places -= 1;
    let length = path.len();
    match value {
        Value::Object(fields) => {
            for (name, child) in fields {
                if !path.is_empty() {
                    path.push('.');
                }
                let digits = name.bytes().filter(u8::is_ascii_digit).count();
                path.push_str(if digits >= 3 || (digits > 0 && digits == name.len()) { "*" } else { name });
                each(path);
                descend(child, path, (depth + 1, places), each);
                path.truncate(length);
            }
        }
        Value::Array(items) => {
            path.push_str("[]");
            for child in items {
                descend(child, path, (depth + 1, places), each);
            }
            path.truncate(length);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn known(bodies: &[&str]) -> KnownFields {
        let mut known = HashSet::new();
        for body in bodies {
            walk(&serde_json::from_str(body).unwrap(), &mut |path| {
                known.insert(xxh3_64(path.as_bytes()));
            });
        }
        KnownFields(known)
    }

    #[test]
    fn only_what_no_example_has_is_told_once_and_without_values() {
        let known = known(&[r#"{"events": [{"at": "x", "code": "1"}], "byNumber": {"AB123456": {"ok": true}}}"#]);
        let body =
            r#"{"events": [{"at": "2026", "zone": "Europe"}, {"zone": 1}], "byNumber": {"CD987654": {"ok": 1}}}"#;
        assert_eq!(known.unknown(body.as_bytes(), 8), vec!["events[].zone".to_owned()]);
        assert_eq!(known.unknown(b"<html></html>", 8), Vec::<String>::new());
        assert_eq!(known.unknown(b"{\"a\":", 8), Vec::<String>::new());
        assert_eq!(known.unknown(br#"{"a":1,"b":2,"c":3}"#, 2).len(), 2);
    }

    #[test]
    fn deep_and_wide_answers_are_bounded() {
        let deep = format!("{}1{}", "{\"a\":".repeat(120), "}".repeat(120));
        assert!(known(&["{\"b\":1}"]).unknown(deep.as_bytes(), 1_000).len() <= MOST_DEPTH + 1);
        let wide = format!("[{}]", vec!["{\"x\":1}"; 50_000].join(","));
        assert_eq!(known(&["[{\"y\":1}]"]).unknown(wide.as_bytes(), 8), vec!["[].x".to_owned()]);
    }

    #[test]
    fn embedded_examples_know_their_own_fields() {
        let catalog = catalog::Catalog::embedded().unwrap();
        let mut judged = 0;
        for adapter in catalog.all() {
            let Some(known) = KnownFields::of(&adapter.slug, &[]) else { continue };
            judged += 1;
            for example in catalog::embedded_examples(adapter.slug.as_str()) {
                for (name, body) in example.files.iter().filter(|(name, _)| *name != "expected.json") {
                    assert_eq!(known.unknown(body, 8), Vec::<String>::new(), "{}/{name}", adapter.slug);
                }
            }
        }
        assert!(judged > 3, "some carriers answer in JSON");
    }
}
