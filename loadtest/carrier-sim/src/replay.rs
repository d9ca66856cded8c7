//! Recorded answers, byte for byte: carrier and number name the case, the step names the body.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use serde::Deserialize;
use waybill_schemas::{
    files::read_file,
    number::{Hyphens, TrackingNumber},
};

/// Most bytes of recordings that are read: the list of look-ups and their bodies.
const MOST_BYTES: usize = 512 * 1024 * 1024;

/// A line of `expected.jsonl`, as far as it concerns the one who answers.
#[derive(Debug, Deserialize)]
struct CaseLine {
    id: String,
    carrier: String,
    number: String,
    #[serde(default)]
    source: Option<String>,
    bodies: Vec<BodyLine>,
}

#[derive(Debug, Deserialize)]
struct BodyLine {
    role: String,
    file: PathBuf,
    content_type: String,
    #[serde(default)]
    charset: Option<String>,
}

/// A recorded body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedBody {
    /// Which step it answers.
    pub step: String,
    /// As recorded, with its charset.
    pub content_type: String,
    /// As recorded.
    pub bytes: Bytes,
}

/// A recorded look-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// Its name in `expected.jsonl`.
    pub id: String,
    /// The carrier's slug.
    pub carrier: String,
    /// The number as recorded.
    pub number: String,
    /// Its bodies, in the order of the steps.
    pub bodies: Vec<RecordedBody>,
}

/// The recorded look-ups that are answered.
#[derive(Debug, Default)]
pub struct Replay {
    cases: HashMap<(String, String), Case>,
}

/// The recordings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// A file cannot be read.
    #[error("the recording {path} cannot be read: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A line is not a case.
    #[error("line {line} of {path} is not a recorded look-up: {why}")]
    Line {
        /// Which file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// Two look-ups of one number: which is meant cannot be told from a request.
    #[error("{0} and {1} are look-ups of one number; replay one source at a time")]
    Ambiguous(String, String),
    /// More than is read.
    #[error(
        "with {path} the recordings have more than {most} bytes, and no more are read; replay one source at a time"
    )]
    TooLarge {
        /// The file that was one too many.
        path: PathBuf,
        /// How many are read.
        most: usize,
    },
}

/// The form in which a number is compared: what the pipeline makes of it, without hyphens, as adapters differ in them.
fn comparable(number: &str) -> String {
    TrackingNumber::canonical(number, Hyphens::Remove)
        .map_or_else(|_| number.trim().to_uppercase(), |canonical| canonical.as_str().to_owned())
}

impl Replay {
    /// Reads `expected.jsonl` and the bodies it names, relative to `folder`. With `source` only look-ups of that source
    /// (its field `source`) are read.
    ///
    /// # Errors
    /// [`ReplayError`], one sentence with the place.
    pub fn load(folder: &Path, expected: &Path, source: Option<&str>) -> Result<Self, ReplayError> {
        Self::load_up_to(MOST_BYTES, folder, expected, source)
    }

    fn load_up_to(most: usize, folder: &Path, expected: &Path, source: Option<&str>) -> Result<Self, ReplayError> {
        let mut room = most;
        let mut read = |path: &Path| -> Result<Vec<u8>, ReplayError> {
            let bytes = read_file(path, room).map_err(|source| match source.kind() {
                io::ErrorKind::FileTooLarge => ReplayError::TooLarge { path: path.to_owned(), most },
                _ => ReplayError::Io { path: path.to_owned(), source },
            })?;
            room -= bytes.len();
            Ok(bytes)
        };
        let text = read(expected)?;
        let mut replay = Self::default();
        for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let case: CaseLine = serde_json::from_slice(line).map_err(|error| ReplayError::Line {
                path: expected.to_owned(),
                line: index + 1,
                why: error.to_string(),
            })?;
            if source.is_some_and(|source| case.source.as_deref() != Some(source)) {
                continue;
            }
            let mut bodies = Vec::new();
            for body in case.bodies {
                let content = read(&folder.join(&body.file))?;
                let content_type = match &body.charset {
                    Some(charset) => format!("{}; charset={charset}", body.content_type),
                    None => body.content_type,
                };
                bodies.push(RecordedBody { step: body.role, content_type, bytes: content.into() });
            }
            let key = (case.carrier.clone(), comparable(&case.number));
            let case = Case { id: case.id, carrier: case.carrier, number: case.number, bodies };
            if let Some(other) = replay.cases.get(&key) {
                return Err(ReplayError::Ambiguous(other.id.clone(), case.id));
            }
            replay.cases.insert(key, case);
        }
        Ok(replay)
    }

    /// Whether any look-up of this carrier is recorded.
    pub fn knows_carrier(&self, carrier: &str) -> bool {
        self.cases.keys().any(|(known, _)| known == carrier)
    }

    /// The look-ups, in no order.
    pub fn cases(&self) -> impl Iterator<Item = &Case> {
        self.cases.values()
    }

    /// The body that was recorded for a step.
    pub(crate) fn answer(&self, carrier: &str, number: &str, step: &str) -> Option<&RecordedBody> {
        let case = self.cases.get(&(carrier.to_owned(), comparable(number)))?;
        case.bodies.iter().find(|body| body.step == step)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::fs;

    use super::*;

    #[test]
    fn recordings_are_read_up_to_the_cap_and_the_file_beyond_it_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (folder, expected) = (folder.path(), folder.path().join("expected.jsonl"));
        let case = |id: &str, file: &str| {
            let bodies = serde_json::json!([{ "role": "page", "file": file, "content_type": "text/html" }]);
            serde_json::json!({ "id": id, "carrier": "post", "number": id, "source": id, "bodies": bodies }).to_string()
        };
        let list = [case("A1", "one.html"), case("B2", "two.html")].join("\n");
        fs::write(&expected, &list).unwrap();
        fs::write(folder.join("one.html"), "1234567").unwrap();
        fs::write(folder.join("two.html"), "89").unwrap();

        let whole = list.len() + 9;
        assert_eq!(Replay::load_up_to(whole, folder, &expected, None).unwrap().cases().count(), 2);
        let said = Replay::load_up_to(whole - 1, folder, &expected, None).unwrap_err().to_string();
        assert!(said.contains("two.html") && said.contains(&format!("more than {} bytes", whole - 1)), "{said}");
        // A source at a time: what others hold does not count.
        assert_eq!(Replay::load_up_to(whole - 1, folder, &expected, Some("A1")).unwrap().cases().count(), 1);
        let said = Replay::load_up_to(1_000, folder, Path::new("/dev/zero"), None).unwrap_err().to_string();
        assert!(said.contains("/dev/zero"), "{said}");
    }
}
