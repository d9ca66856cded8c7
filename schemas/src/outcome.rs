//! How an attempt ended (`waybill.outcomes`): what frees a number and returns credit and memories to the scheduler.

use serde::{Deserialize, Serialize};

use crate::{
    carrier::CarrierSlug,
    detection::Evidence,
    drift::{LookFacts, TrialFacts},
    memory::Memories,
    number::TrackingNumber,
    status::{Status, SubStatus},
    time::{JourneyMs, WallMs},
};

/// The terminal class of an attempt; all distinct, all visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeClass {
    /// Events were read.
    Tracked,
    /// The carrier says that it does not know the number.
    NotFound,
    /// Announced, not scanned yet.
    RegisteredNoScan,
    /// The carrier wants more than the number.
    NeedsData,
    /// Not what the adapter knows, too large, or undecodable. Never taken as "no result".
    Unreadable,
    /// A captcha, 401 or 403.
    Blocked,
    /// Blocked so often that only a person may lift it.
    RefusesAutomation,
    /// 429, or 503 with Retry-After.
    Throttled,
    /// 5xx, no connection, or no answer in time.
    CarrierDown,
    /// Could not be finished before its expiry; nothing is wrong.
    Deferred,
    /// Too old to be sent when its turn came.
    Expired,
    /// The carrier is switched off.
    AdapterDisabled,
    /// Answered without the network: a request of another kind than `poll`.
    Internal,
}

impl OutcomeClass {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Tracked,
        Self::NotFound,
        Self::RegisteredNoScan,
        Self::NeedsData,
        Self::Unreadable,
        Self::Blocked,
        Self::RefusesAutomation,
        Self::Throttled,
        Self::CarrierDown,
        Self::Deferred,
        Self::Expired,
        Self::AdapterDisabled,
        Self::Internal,
    ];

    /// An accepted reading: both memories advance with it, and with nothing else.
    pub const fn is_reading(self) -> bool {
        matches!(self, Self::Tracked | Self::NotFound | Self::RegisteredNoScan)
    }

    /// The written form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tracked => "tracked",
            Self::NotFound => "not_found",
            Self::RegisteredNoScan => "registered_no_scan",
            Self::NeedsData => "needs_data",
            Self::Unreadable => "unreadable",
            Self::Blocked => "blocked",
            Self::RefusesAutomation => "refuses_automation",
            Self::Throttled => "throttled",
            Self::CarrierDown => "carrier_down",
            Self::Deferred => "deferred",
            Self::Expired => "expired",
            Self::AdapterDisabled => "adapter_disabled",
            Self::Internal => "internal",
        }
    }
}

impl std::fmt::Display for OutcomeClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an attempt taught about the carrier.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feedback {
    /// Requests that left for the carrier.
    #[serde(default)]
    pub spent: u32,
    /// The budget is blocked until then (Retry-After, back-off).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_not_before: Option<WallMs>,
    /// What the look showed of the adapter that read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub look: Option<LookFacts>,
    /// How a candidate version read the same bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<TrialFacts>,
}

/// What a probe showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probed {
    /// As far as deciding goes.
    pub evidence: Evidence,
    /// Events that the carrier has.
    pub events: u32,
}

/// The outcome of one attempt, keyed `carrier:number`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The carrier.
    pub carrier: CarrierSlug,
    /// The canonical number.
    pub number: TrackingNumber,
    /// Which life of a recycled number, as raised by the normalizer.
    pub instance: u32,
    /// The attempt.
    pub attempt: i64,
    /// Offset of the request on `waybill.fetch-requests`.
    pub request_offset: u64,
    /// What the request was for.
    pub kind: crate::fetch::RequestKind,
    /// How it ended.
    pub class: OutcomeClass,
    /// One sentence; never contains the number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// With `needs_data`: the parameters that are missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// The shipment's main status after it; absent before the first accepted reading.
    pub status: Option<Status>,
    /// The sub-status after it.
    pub sub_status: Option<SubStatus>,
    /// Whether events or status changed.
    pub changed: bool,
    /// Of a probe: what it showed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probed: Option<Probed>,
    /// When the carrier answered, by the journey clock.
    pub seen_at: JourneyMs,
    /// This number alone may not be tried before (deferral).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<WallMs>,
    /// What it taught about the carrier.
    #[serde(default)]
    pub feedback: Feedback,
    /// Both memories as they now are; advanced or as they were sent.
    pub memories: Memories,
}
