//! The topics: one YAML a topic under `topics/`, from which topics are created and documents are checked.

use std::{
    str::FromStr,
    sync::{Arc, LazyLock},
};

use include_dir::{Dir, include_dir};
use serde::{Deserialize, Serialize};

static FILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/topics");

/// Names without prefix.
pub mod names {
    #![allow(missing_docs, reason = "each name's meaning stands in its YAML")]
    pub const COMMANDS: &str = "waybill.commands";
    pub const SCHEDULE: &str = "waybill.schedule";
    pub const FETCH_REQUESTS: &str = "waybill.fetch-requests";
    pub const FETCH_RESULTS: &str = "waybill.fetch-results";
    pub const OUTCOMES: &str = "waybill.outcomes";
    pub const CARRIERS: &str = "waybill.carriers";
    pub const PAYLOADS: &str = "waybill.payloads";
    pub const TRACKING_EVENTS: &str = "waybill.tracking-events";
    pub const SHIPMENTS: &str = "waybill.shipments";
    pub const STATUS_CHANGES: &str = "waybill.status-changes";
    pub const POLICIES: &str = "waybill.policies";
    pub const FORGOTTEN: &str = "waybill.forgotten";
    pub const DEAD_LETTERS: &str = "waybill.dead-letters";
}

/// The configurable first part of every topic's name; `waybill` unless told otherwise. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicPrefix(Arc<str>);

impl Default for TopicPrefix {
    fn default() -> Self {
        Self("waybill".into())
    }
}

/// The text cannot begin a topic's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` cannot be a topic prefix: use 1 to 100 of a-z, A-Z, 0-9, dot, underscore and hyphen")]
pub struct PrefixError(String);

impl FromStr for TopicPrefix {
    type Err = PrefixError;
    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let fits = (1..=100).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if fits { Ok(Self(text.into())) } else { Err(PrefixError(text.chars().take(60).collect())) }
    }
}

impl TopicPrefix {
    /// The full name of a topic, from its name in [`names`].
    pub fn of(&self, name: &str) -> String {
        let rest = name.strip_prefix("waybill").unwrap_or(name);
        format!("{}{rest}", self.0)
    }
}

/// How a record finds its partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Partitioning {
    /// xxh3-64 of the politeness budget: see [`crate::layout::Layout`].
    Budget,
    /// murmur2 of the key: see [`crate::layout::public_partition`].
    Murmur2,
    /// There is one partition.
    Single,
}

/// What the log keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cleanup {
    /// Records older than the retention go.
    Delete,
    /// The newest record of a key stays.
    Compact,
}

/// One topic's description.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopicSpec {
    /// Name without the configurable prefix.
    pub name: String,
    /// What it is for.
    pub purpose: String,
    /// What the key is.
    pub key: String,
    /// How a record finds its partition.
    pub partitioning: Partitioning,
    /// Whether other people's services may consume it.
    #[serde(default)]
    pub public: bool,
    /// Services that write it.
    pub producers: Vec<String>,
    /// Services that read it.
    pub consumers: Vec<String>,
    /// What the log keeps.
    pub cleanup: Cleanup,
    /// How long records (`delete`) or tombstones (`compact`) stay, in hours.
    pub retention_hours: u32,
    /// Least time before compaction, in hours.
    #[serde(default)]
    pub min_compaction_lag_hours: u32,
    /// File under `json/` that describes the value; absent where values are no JSON.
    #[serde(default)]
    pub schema: Option<String>,
}

/// All topics, sorted by name.
///
/// # Panics
/// Never in a released build: the files are embedded, and a test reads each.
pub fn all() -> &'static [TopicSpec] {
    static ALL: LazyLock<Vec<TopicSpec>> = LazyLock::new(|| {
        let mut specs: Vec<TopicSpec> = FILES
            .files()
            .filter_map(|file| serde_saphyr::from_str(file.contents_utf8().unwrap_or_default()).ok())
            .collect();
        specs.sort_by(|a: &TopicSpec, b| a.name.cmp(&b.name));
        specs
    });
    &ALL
}

/// The description of one topic, by its name without prefix.
pub fn find(name: &str) -> Option<&'static TopicSpec> {
    all().iter().find(|spec| spec.name == name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn every_topic_file_is_read_and_named_after_its_topic() {
        for file in FILES.files() {
            let spec: TopicSpec = serde_saphyr::from_str(file.contents_utf8().unwrap()).unwrap();
            assert_eq!(file.path().file_stem().unwrap().to_str().unwrap(), spec.name.trim_start_matches("waybill."));
        }
        assert_eq!(all().len(), 13);
    }
}
