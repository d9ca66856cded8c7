//! Recorded answers of real carriers and what each must come to: `expected.jsonl` read, and a look-up's result compared
//! with it. Used by this crate's tests and by the test of the whole pipeline.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use waybill_schemas::{
    files::{read_file, read_text},
    limits::MAX_ANSWER_BYTES,
};

use crate::{assess::ParsedView, text::collapse};

/// Largest list of look-ups, in bytes: some hundred thousand of them.
const MAX_LIST_BYTES: usize = 64 * 1024 * 1024;

/// One recorded look-up.
#[derive(Debug, Clone, Deserialize)]
pub struct Case {
    /// Its name.
    pub id: String,
    /// The carrier's slug.
    pub carrier: String,
    /// The number asked for.
    pub number: String,
    /// The answers, in the order of steps.
    pub bodies: Vec<Body>,
    /// The outcome class.
    pub outcome: String,
    /// Outcomes that are as good.
    #[serde(default)]
    pub outcome_alternatives: Vec<String>,
    /// The main status.
    pub status: String,
    /// The sub-status.
    pub sub_status: String,
    /// `Status/Sub_Status` that are as good.
    #[serde(default)]
    pub alternatives: Vec<String>,
    /// Events shown.
    pub event_count: usize,
    /// Counts that are as good.
    #[serde(default)]
    pub events_with_text: Option<usize>,
    /// Counts that are as good.
    #[serde(default)]
    pub event_count_dated: Option<usize>,
    /// The newest event by the time shown.
    #[serde(default)]
    pub newest: Option<Event>,
    /// The oldest event by the time shown.
    #[serde(default)]
    pub oldest: Option<Event>,
    /// As good as `newest`.
    #[serde(default)]
    pub newest_by_page_order: Option<Event>,
    /// As good as `newest`.
    #[serde(default)]
    pub newest_alt: Option<Event>,
    /// As good as `oldest`.
    #[serde(default)]
    pub oldest_by_page_order: Option<Event>,
    /// As good as `oldest`.
    #[serde(default)]
    pub oldest_alt: Option<Event>,
    /// Estimated delivery as printed.
    #[serde(default)]
    pub eta: Option<String>,
}

/// One recorded answer.
#[derive(Debug, Clone, Deserialize)]
pub struct Body {
    /// The step's name.
    pub role: String,
    /// The file, relative to the folder.
    pub file: String,
    /// The content type.
    pub content_type: String,
    /// The charset of the stored bytes.
    pub charset: String,
}

/// An event as it must come out; absent fields are not compared, null ones must be absent.
#[derive(Debug, Clone, Deserialize)]
pub struct Event {
    /// As printed.
    pub time_raw: Option<String>,
    /// On the clock it was printed on.
    pub time_local: Option<String>,
    /// The carrier's words.
    pub text: String,
    /// The place.
    pub location: Option<String>,
    /// How exact the time is.
    #[serde(default)]
    pub precision: Option<String>,
}

/// What a look-up came to, from wherever it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The outcome class.
    pub outcome: String,
    /// The main status.
    pub status: Option<String>,
    /// The sub-status.
    pub sub_status: Option<String>,
    /// Events.
    pub event_count: usize,
    /// The newest event.
    pub newest: Option<SeenEvent>,
    /// The oldest event.
    pub oldest: Option<SeenEvent>,
}

/// An event, from wherever it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenEvent {
    /// As printed.
    pub time_raw: String,
    /// ISO 8601, an offset behind it or not.
    pub time: Option<String>,
    /// The carrier's words.
    pub text: String,
    /// The place.
    pub location: Option<String>,
}

impl Seen {
    /// Of a parsed look-up.
    pub fn of(view: &ParsedView) -> Self {
        let event = |event: &crate::ParsedEvent| SeenEvent {
            time_raw: event.time_raw.clone(),
            time: event.time.clone(),
            text: event.text.clone(),
            location: event.location.clone(),
        };
        Self {
            outcome: view.outcome.as_str().to_owned(),
            status: view.status.map(|status| status.as_str().to_owned()),
            sub_status: view.sub_status.map(|sub_status| sub_status.as_str().to_owned()),
            event_count: view.events.len(),
            newest: view.events.first().map(event),
            oldest: view.events.last().map(event),
        }
    }
}

/// The recorded look-ups cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordedError {
    /// A file cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A line is not what is expected.
    #[error("expected.jsonl:{line}: {source}")]
    Json {
        /// The line, from 1.
        line: usize,
        /// Why.
        source: serde_json::Error,
    },
}

/// Reads `expected.jsonl` of a folder.
///
/// # Errors
/// [`RecordedError`] names the file and the line.
pub fn cases(folder: &Path) -> Result<Vec<Case>, RecordedError> {
    let path = folder.join("expected.jsonl");
    let text = read_text(&path, MAX_LIST_BYTES).map_err(|source| RecordedError::Io { path, source })?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(index, line)| {
            serde_json::from_str(line).map_err(|source| RecordedError::Json { line: index + 1, source })
        })
        .collect()
}

impl Case {
    /// The bytes of its answers, in order.
    ///
    /// # Errors
    /// [`RecordedError::Io`] names the file.
    pub fn load(&self, folder: &Path) -> Result<Vec<Vec<u8>>, RecordedError> {
        let read = |body: &Body| {
            let path = folder.join(&body.file);
            read_file(&path, MAX_ANSWER_BYTES).map_err(|source| RecordedError::Io { path, source })
        };
        self.bodies.iter().map(read).collect()
    }

    /// What differs from what is expected, a sentence each; white space collapsed on both sides.
    pub fn differences(&self, seen: &Seen) -> Vec<String> {
        let mut out = Vec::new();
        if seen.outcome != self.outcome && !self.outcome_alternatives.contains(&seen.outcome) {
            out.push(format!("outcome: {} instead of {}", seen.outcome, self.outcome));
        }
        let pair = format!("{}/{}", seen.status.as_deref().unwrap_or("-"), seen.sub_status.as_deref().unwrap_or("-"));
        let expected = format!("{}/{}", self.status, self.sub_status);
        if pair != expected && !self.alternatives.contains(&pair) {
            out.push(format!("status: {pair} instead of {expected}"));
        }
        let counts = [Some(self.event_count), self.events_with_text, self.event_count_dated];
        if !counts.contains(&Some(seen.event_count)) {
            out.push(format!("event_count: {} instead of {}", seen.event_count, self.event_count));
        }
        let newest = [&self.newest, &self.newest_by_page_order, &self.newest_alt];
        let oldest = [&self.oldest, &self.oldest_by_page_order, &self.oldest_alt];
        out.extend(compare("newest", seen.newest.as_ref(), &newest));
        out.extend(compare("oldest", seen.oldest.as_ref(), &oldest));
        out
    }
}

fn compare(what: &str, seen: Option<&SeenEvent>, expected: &[&Option<Event>]) -> Option<String> {
    let mut expected = expected.iter().filter_map(|event| event.as_ref()).peekable();
    let first = (*expected.peek()?).clone();
    let Some(seen) = seen else { return Some(format!("{what}: no event instead of {first:?}")) };
    let fits = expected.any(|event| event.fits(seen));
    (!fits).then(|| format!("{what}: {seen:?}\n      instead of {first:?}"))
}

impl Event {
    fn fits(&self, seen: &SeenEvent) -> bool {
        let same =
            |a: Option<&str>, b: Option<&str>| collapse(a.unwrap_or_default()) == collapse(b.unwrap_or_default());
        same(self.time_raw.as_deref(), Some(&seen.time_raw))
            && same(Some(&self.text), Some(&seen.text))
            && same(self.location.as_deref(), seen.location.as_deref())
            && self.time_fits(seen.time.as_deref())
    }

    /// Compares local times only as exactly as both show them; a filler midnight equals its date.
    fn time_fits(&self, seen: Option<&str>) -> bool {
        let Some(expected) = self.time_local.as_deref() else { return true };
        let Some(seen) = seen else { return false };
        let local = |iso: &str| -> String {
            match iso.split_once('T') {
                None => iso.to_owned(),
                Some((date, time)) => {
                    let end = time.find(['+', '-', 'Z']).unwrap_or(time.len());
                    format!("{date}T{}", &time[..end])
                }
            }
        };
        let (seen, expected) = (local(seen), local(expected));
        if seen.len() == 10 {
            let coarse = matches!(self.precision.as_deref(), Some("date" | "half_day"));
            let rest = expected.get(10..).unwrap_or_default();
            return expected.starts_with(&seen)
                && (coarse || rest.trim_start_matches('T').replace([':', '0'], "").is_empty());
        }
        let shared = seen.len().min(expected.len());
        seen.get(..shared) == expected.get(..shared)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_without_an_end_is_a_sentence() {
        let bodies = json!([{ "role": "page", "file": "/dev/zero", "content_type": "text/html", "charset": "utf-8" }]);
        let case = json!({
            "id": "a", "carrier": "post", "number": "1", "bodies": bodies, "outcome": "tracked",
            "status": "InTransit", "sub_status": "InTransit_Other", "event_count": 0
        });
        let case: Case = serde_json::from_value(case).unwrap();
        let said = case.load(Path::new("")).unwrap_err().to_string();
        assert!(said.contains("/dev/zero") && said.contains("more than 8388608 bytes"), "{said}");
    }
}
