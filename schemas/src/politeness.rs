//! Politeness budgets as data, overrides of operators, and what `waybill.carriers` records of each budget.
//!
//! On topics these types accept fields of a later version. Files that people write are read by [`strict`], where an
//! unknown key is a mistake.

pub mod strict;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    carrier::CarrierSlug,
    drift::{CarrierWatch, TrialMode},
    time::{JourneyMs, WallMs},
};

/// A daily quota of requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DailyQuota {
    /// Requests a day.
    pub requests: u32,
    /// Local time at which the day starts, `HH:MM`.
    #[serde(default = "midnight")]
    pub resets_at: String,
    /// IANA zone of that time.
    #[serde(default = "utc")]
    pub zone: String,
    /// Spread evenly over the day, instead of first come first served.
    #[serde(default)]
    pub spread: bool,
    /// Fields of a later version, written back as they came.
    #[serde(flatten)]
    pub extra: serde_json::Map<String, serde_json::Value>,
}

fn midnight() -> String {
    "00:00".to_owned()
}
fn utc() -> String {
    "UTC".to_owned()
}

/// What a carrier's door may see. Requests count, not parcels: token steps, redirects and robots.txt too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// Requests per second, long term; above 0 and at most 1,000.
    pub rate_per_second: f64,
    /// Requests that may leave at once after a pause; at least 1.
    pub burst: u32,
    /// Requests under way at once; at least 1.
    pub concurrency: u32,
    /// Requests a day, where the carrier states one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daily_quota: Option<DailyQuota>,
    /// Least journey time between two looks at one parcel, in seconds.
    pub min_interval_s: u32,
    /// Most journey time between two looks at one parcel while the budget has room, in seconds; absent: as the status asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_interval_s: Option<u32>,
    /// Where the figures come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basis: Option<String>,
}

impl Default for Budget {
    /// What an unknown carrier is asked: one request every two seconds, never two at once.
    fn default() -> Self {
        Self {
            rate_per_second: 0.5,
            burst: 1,
            concurrency: 1,
            daily_quota: None,
            min_interval_s: 3600,
            max_interval_s: None,
            basis: None,
        }
    }
}

/// An operator's changes to a budget; present fields replace.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BudgetOverride {
    /// See [`Budget::rate_per_second`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_per_second: Option<f64>,
    /// See [`Budget::burst`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    /// See [`Budget::concurrency`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// See [`Budget::daily_quota`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daily_quota: Option<DailyQuota>,
    /// See [`Budget::min_interval_s`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_interval_s: Option<u32>,
    /// See [`Budget::max_interval_s`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_interval_s: Option<u32>,
    /// Fields of a later version, written back as they came.
    #[serde(flatten)]
    pub extra: serde_json::Map<String, serde_json::Value>,
}

/// A budget's figures are out of range.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct BudgetError(&'static str);

impl Budget {
    /// This budget with an operator's changes.
    #[must_use]
    pub fn with(&self, changes: &BudgetOverride) -> Self {
        Self {
            rate_per_second: changes.rate_per_second.unwrap_or(self.rate_per_second),
            burst: changes.burst.unwrap_or(self.burst),
            concurrency: changes.concurrency.unwrap_or(self.concurrency),
            daily_quota: changes.daily_quota.clone().or_else(|| self.daily_quota.clone()),
            min_interval_s: changes.min_interval_s.unwrap_or(self.min_interval_s),
            max_interval_s: changes.max_interval_s.or(self.max_interval_s),
            basis: self.basis.clone(),
        }
    }

    /// Checks the figures.
    ///
    /// # Errors
    /// [`BudgetError`] names the first figure that is out of range.
    pub fn check(&self) -> Result<(), BudgetError> {
        if !(self.rate_per_second > 0.0 && self.rate_per_second <= 1_000.0) {
            return Err(BudgetError("rate_per_second must be above 0 and at most 1000"));
        }
        if !(1..=10_000).contains(&self.burst) {
            return Err(BudgetError("burst must be from 1 to 10000"));
        }
        if !(1..=1_000).contains(&self.concurrency) {
            return Err(BudgetError("concurrency must be from 1 to 1000"));
        }
        if self.max_interval_s.is_some_and(|most| most < self.min_interval_s.max(1)) {
            return Err(BudgetError("max_interval_s must not be below min_interval_s"));
        }
        if self.daily_quota.as_ref().is_some_and(|quota| quota.requests == 0) {
            return Err(BudgetError("daily_quota.requests must be at least 1; disable the carrier to stop it"));
        }
        Ok(())
    }
}

/// An operator's policy for one carrier (`waybill.policies`, key `carrier/<slug>`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CarrierPolicy {
    /// Switches the carrier on or off; absent: as configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Changes to its budget.
    #[serde(default)]
    pub budget: BudgetOverride,
    /// A person lifted the mark `refuses_automation` at this instant; marks older than it are void.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifted_at: Option<WallMs>,
    /// How a candidate version is tried; absent: as configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryPolicy>,
    /// Fields of a later version, written back as they came.
    #[serde(flatten)]
    pub extra: serde_json::Map<String, serde_json::Value>,
}

/// How a candidate version of an adapter is tried.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CanaryPolicy {
    /// Share of the carrier's numbers, from 0 (not tried) to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// Beside the version in force, or alone for its share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<TrialMode>,
    /// The candidate of this version is in force for every number; an empty text takes that back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promote: Option<String>,
}

/// What robots.txt said of a carrier's page, found at run time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RobotsVerdict {
    /// Whether the page that was to be asked may be asked for by programs.
    pub allowed: bool,
    /// Why: the file's status, or that it could not be had.
    pub because: String,
    /// When.
    pub at: WallMs,
    /// Until when it is believed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<WallMs>,
}

/// Why a budget is blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockReason {
    /// The carrier said when to come back.
    RetryAfter,
    /// 429 without a time.
    Throttled,
    /// The breaker for an unavailable carrier is open.
    Unavailable,
    /// The breaker for unreadable answers is open.
    Unreadable,
    /// 401, 403 or a captcha.
    Blocked,
    /// Only a person may lift it.
    RefusesAutomation,
    /// The daily quota is used up.
    Quota,
}

/// What the fetcher records of a budget (`waybill.carriers`, key `<budget>/fetcher`), before requests are sent: the state
/// as it will be after the next block of requests (POL-1).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FetcherBudgetRecord {
    /// GCRA's theoretical arrival time, wall clock in microseconds since the Unix epoch.
    pub tat_us: i64,
    /// Civil date of the quota day's start, `YYYY-MM-DD`; absent without a quota.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota_day: Option<String>,
    /// Requests recorded as used that day.
    #[serde(default)]
    pub quota_used: u32,
    /// Nothing is sent before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_until: Option<WallMs>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_reason: Option<BlockReason>,
    /// Delay of the last back-off, in ms; doubles while throttling goes on.
    #[serde(default)]
    pub backoff_ms: i64,
    /// Consecutive failures of each kind, for the breakers: unavailable, unreadable, blocked.
    #[serde(default)]
    pub streaks: [u32; 3],
    /// When `refuses_automation` was marked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_at: Option<WallMs>,
    /// What robots.txt said when it was last asked, by host.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub robots: BTreeMap<String, RobotsVerdict>,
    /// Digest of the adapters' versions that the streak of unreadable answers is about.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fitted: String,
    /// The budget in force, for whoever asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// When this was written.
    #[serde(default)]
    pub at: WallMs,
    /// Fields of a later version, written back as they came.
    #[serde(flatten)]
    pub extra: serde_json::Map<String, serde_json::Value>,
}

/// What the scheduler records of a budget (`waybill.carriers`, key `<budget>/scheduler`), for whoever asks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SchedulerBudgetRecord {
    /// Numbers tracked.
    #[serde(default)]
    pub active: u64,
    /// Numbers stopped.
    #[serde(default)]
    pub stopped: u64,
    /// Numbers due and waiting for credit.
    #[serde(default)]
    pub queue: u64,
    /// Attempts without an outcome.
    #[serde(default)]
    pub in_flight: u64,
    /// The oldest due number waits since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_due: Option<JourneyMs>,
    /// How much intervals are stretched so that the load fits the budget; 1 = not at all.
    #[serde(default)]
    pub stretch_ratio: f64,
    /// Credit is held back until.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_until: Option<WallMs>,
    /// When this was written.
    #[serde(default)]
    pub at: WallMs,
    /// Whether adapters still fit their carriers, where anything has been seen.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "readable_watches")]
    pub carriers: BTreeMap<CarrierSlug, CarrierWatch>,
}

/// What a later version counts otherwise is left out; the windows then begin anew.
fn readable_watches<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<CarrierSlug, CarrierWatch>, D::Error> {
    let all = BTreeMap::<String, serde_json::Value>::deserialize(deserializer)?;
    let read = |(slug, watch): (String, serde_json::Value)| {
        Some((slug.parse().ok()?, serde_json::from_value::<CarrierWatch>(watch).ok()?))
    };
    Ok(all.into_iter().filter_map(read).collect())
}
