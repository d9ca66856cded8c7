//! How well an adapter still fits its carrier: what one look showed of it, and what is kept of many looks. No number and
//! no word of an answer is in here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::time::WallMs;

/// What may show that a carrier has changed its answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftReason {
    /// Of answers, those that no reader could read.
    Unreadable,
    /// Of new events, those that nothing in the mapping matched.
    Unmatched,
    /// Of new events, those whose time was not understood.
    Untimed,
    /// Of numbers that had events, those that suddenly have none, or less than half of them.
    Vanished,
    /// Of readable JSON answers, those with fields that neither the adapter's examples nor earlier answers had.
    UnknownFields,
}

impl DriftReason {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Unreadable, Self::Unmatched, Self::Untimed, Self::Vanished, Self::UnknownFields];

    /// The written form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Unmatched => "unmatched",
            Self::Untimed => "untimed",
            Self::Vanished => "vanished",
            Self::UnknownFields => "unknown_fields",
        }
    }
}

impl std::fmt::Display for DriftReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What became of the events that were known of a number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum History {
    /// None were known, or the answer said nothing of them.
    #[default]
    Unjudged,
    /// They are there.
    Kept,
    /// Less than half of them are.
    Fewer,
    /// None is.
    Gone,
}

/// One reading of one look, counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadFacts {
    /// No reader could read it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unreadable: bool,
    /// Events that were judged: the new ones.
    #[serde(default)]
    pub events: u32,
    /// Of them, those that nothing matched.
    #[serde(default)]
    pub unmatched: u32,
    /// Of them, those whose time was not understood.
    #[serde(default)]
    pub untimed: u32,
    /// What became of the events known before.
    #[serde(default)]
    pub history: History,
}

fn is_false(value: &bool) -> bool {
    !*value
}

/// How a candidate version is tried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrialMode {
    /// It reads the same bytes beside the version in force; nothing of it is published.
    #[default]
    Shadow,
    /// Its share of the numbers is asked and read by it alone.
    Live,
}

/// What one look showed of the adapter that read it; travels with the outcome.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookFacts {
    /// The adapter's version.
    pub version: String,
    /// What it read.
    #[serde(flatten)]
    pub read: ReadFacts,
    /// Paths of JSON fields that the adapter's examples do not have; a few of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown_fields: Vec<String>,
    /// It is a candidate, read alone for its share of the numbers.
    #[serde(default, skip_serializing_if = "is_false")]
    pub candidate: bool,
}

/// A candidate's reading beside that of the version in force, of the same bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialFacts {
    /// The candidate's version.
    pub version: String,
    /// What it read; events are all of the answer's.
    pub candidate: ReadFacts,
    /// What the version in force read of the same.
    pub control: ReadFacts,
    /// Both said the same, word for word.
    pub same: bool,
}

/// Counts in the order of looks: (cases, bad ones), the newest last.
pub type Window = Vec<[u32; 2]>;

/// The windows of one version, by reason.
pub type Windows = BTreeMap<DriftReason, Window>;

/// What is kept of one version.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct VersionWatch {
    /// The adapter's version.
    pub version: String,
    /// When it was first seen at work.
    #[serde(default)]
    pub since: WallMs,
    /// Looks that it has read.
    #[serde(default)]
    pub looks: u64,
    /// Share of bad cases by reason, of the window; absent without cases.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub shares: BTreeMap<DriftReason, f64>,
    /// The window itself.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub windows: Windows,
}

/// A carrier whose answers no longer fit its adapter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Degraded {
    /// Since when.
    pub since: WallMs,
    /// Why.
    pub reasons: Vec<DriftReason>,
}

/// What a comparison has come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrialVerdict {
    /// Too few looks.
    #[default]
    Undecided,
    /// As good.
    Same,
    /// Better in something, worse in nothing.
    Better,
    /// Worse in something: stopped.
    Worse,
}

/// Why a trial was stopped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialStop {
    /// When.
    pub at: WallMs,
    /// In what the candidate was worse.
    pub reason: DriftReason,
    /// Its share of bad cases.
    pub candidate: f64,
    /// That of the version in force.
    pub control: f64,
}

/// A candidate version being tried.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TrialWatch {
    /// What is kept of it.
    #[serde(flatten)]
    pub candidate: VersionWatch,
    /// How it is tried.
    #[serde(default)]
    pub mode: TrialMode,
    /// The version in force on the same bytes, in a shadow trial.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub control: Windows,
    /// Its shares, as of [`VersionWatch::shares`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub control_shares: BTreeMap<DriftReason, f64>,
    /// Looks at which both did not say the same.
    #[serde(default)]
    pub differing: u64,
    /// What the comparison has come to.
    #[serde(default)]
    pub verdict: TrialVerdict,
    /// It was stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<TrialStop>,
}

/// What is kept of one carrier, in its scheduler's record on `waybill.carriers`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CarrierWatch {
    /// Its answers no longer fit; absent: they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub degraded: Option<Degraded>,
    /// The version in force.
    #[serde(default)]
    pub stable: VersionWatch,
    /// The one before, whose last looks may still come in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former: Option<VersionWatch>,
    /// Looks of the former in a row.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub strays: u32,
    /// A candidate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<TrialWatch>,
    /// Fields that no example has and that are known by now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub known_fields: Vec<String>,
    /// Fields that are new.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub new_fields: Vec<String>,
}

fn is_zero(value: &u32) -> bool {
    *value == 0
}

/// When a carrier counts as degraded.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DriftRules {
    /// Cases that the window of each reason holds.
    pub window: u32,
    /// Cases below which nothing is concluded.
    pub least: u32,
    /// The alarm ends when a share falls below this part of its threshold.
    pub clear: f64,
    /// Threshold of each reason, from 0 to 1; above 1 switches it off.
    pub unreadable: f64,
    /// See [`Self::unreadable`].
    pub unmatched: f64,
    /// See [`Self::unreadable`].
    pub untimed: f64,
    /// See [`Self::unreadable`].
    pub vanished: f64,
    /// See [`Self::unreadable`].
    pub unknown_fields: f64,
    /// By how much a candidate's share may exceed that of the version in force.
    pub trial_margin: f64,
}

impl Default for DriftRules {
    fn default() -> Self {
        Self {
            window: 64,
            // The breaker leaves a carrier alone after ten unreadable answers in a row: the alarm must not need more.
            least: 10,
            clear: 0.5,
            unreadable: 0.125,
            unmatched: 0.3,
            untimed: 0.2,
            vanished: 0.3,
            unknown_fields: 0.5,
            trial_margin: 0.1,
        }
    }
}

/// Changes to [`DriftRules`] for one carrier; present fields replace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DriftOverride {
    /// See [`DriftRules::window`].
    pub window: Option<u32>,
    /// See [`DriftRules::least`].
    pub least: Option<u32>,
    /// See [`DriftRules::clear`].
    pub clear: Option<f64>,
    /// See [`DriftRules::unreadable`].
    pub unreadable: Option<f64>,
    /// See [`DriftRules::unmatched`].
    pub unmatched: Option<f64>,
    /// See [`DriftRules::untimed`].
    pub untimed: Option<f64>,
    /// See [`DriftRules::vanished`].
    pub vanished: Option<f64>,
    /// See [`DriftRules::unknown_fields`].
    pub unknown_fields: Option<f64>,
    /// See [`DriftRules::trial_margin`].
    pub trial_margin: Option<f64>,
}

/// The alarm's figures are out of range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DriftRulesError(&'static str);

impl DriftRules {
    /// These rules with a carrier's changes.
    #[must_use]
    pub fn with(&self, changes: &DriftOverride) -> Self {
        Self {
            window: changes.window.unwrap_or(self.window),
            least: changes.least.unwrap_or(self.least),
            clear: changes.clear.unwrap_or(self.clear),
            unreadable: changes.unreadable.unwrap_or(self.unreadable),
            unmatched: changes.unmatched.unwrap_or(self.unmatched),
            untimed: changes.untimed.unwrap_or(self.untimed),
            vanished: changes.vanished.unwrap_or(self.vanished),
            unknown_fields: changes.unknown_fields.unwrap_or(self.unknown_fields),
            trial_margin: changes.trial_margin.unwrap_or(self.trial_margin),
        }
    }

    /// The threshold of a reason.
    pub const fn threshold(&self, reason: DriftReason) -> f64 {
        match reason {
            DriftReason::Unreadable => self.unreadable,
            DriftReason::Unmatched => self.unmatched,
            DriftReason::Untimed => self.untimed,
            DriftReason::Vanished => self.vanished,
            DriftReason::UnknownFields => self.unknown_fields,
        }
    }

    /// Checks the figures.
    ///
    /// # Errors
    /// [`DriftRulesError`] names the first that is out of range.
    pub fn check(&self) -> Result<(), DriftRulesError> {
        if !(8..=10_000).contains(&self.window) {
            return Err(DriftRulesError("window must be from 8 to 10000"));
        }
        if self.least == 0 || self.least > self.window {
            return Err(DriftRulesError("least must be from 1 to window"));
        }
        if !(self.clear > 0.0 && self.clear <= 1.0) {
            return Err(DriftRulesError("clear must be above 0 and at most 1"));
        }
        if DriftReason::ALL
            .iter()
            .any(|reason| self.threshold(*reason).partial_cmp(&0.0) != Some(std::cmp::Ordering::Greater))
        {
            return Err(DriftRulesError("a threshold must be above 0; above 1 switches it off"));
        }
        if !(0.0..=1.0).contains(&self.trial_margin) {
            return Err(DriftRulesError("trial_margin must be from 0 to 1"));
        }
        Ok(())
    }
}
