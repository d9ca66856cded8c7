//! Requests to fetchers (`waybill.fetch-requests`) and their results (`waybill.fetch-results`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    carrier::CarrierSlug,
    command::Registration,
    drift::TrialFacts,
    event::{RawEvent, ShipmentFacts},
    memory::{Memories, Memory},
    number::{ShipmentKey, TrackingNumber},
    outcome::OutcomeClass,
    shipment::{StopReason, Tracking},
    time::{JourneyMs, WallMs},
};

/// What a request is for. All but `poll` and `probe` are answered by the fetcher without the network and without credit, even when
/// the carrier is blocked or disabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestKind {
    /// Ask the carrier.
    Poll,
    /// Time has passed: the shipment may be expired.
    Clock,
    /// Publish that tracking has stopped.
    Stop,
    /// Publish that tracking goes on.
    Resume,
    /// Publish the history again.
    Replay,
    /// Publish the erasure.
    Forget,
    /// Ask the carrier whether it knows the number; nothing of the answer is published.
    Probe,
}

impl RequestKind {
    /// Whether the carrier is asked: under its budget, and only while it may be.
    pub const fn asks_the_carrier(self) -> bool {
        matches!(self, Self::Poll | Self::Probe)
    }
}

/// A request: one attempt of one number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchRequest {
    /// What for.
    pub kind: RequestKind,
    /// The carrier.
    pub carrier: CarrierSlug,
    /// The canonical number.
    pub number: TrackingNumber,
    /// Which life of a recycled number.
    pub instance: u32,
    /// The registrant's own reference.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    /// When first registered.
    pub registered_at: JourneyMs,
    /// What registration told.
    #[serde(default)]
    pub registration: Registration,
    /// What the carrier needs beyond the number.
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    /// max(previous + 1, now in ms): strictly rising per number.
    pub attempt: i64,
    /// A poll is not sent after this; it is answered `expired` instead.
    pub expires_at: WallMs,
    /// Whether the number is looked up, as to be published.
    #[serde(default)]
    pub tracking: Tracking,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_reason: Option<StopReason>,
    /// The opaque memories.
    #[serde(default)]
    pub memories: Memories,
}

impl FetchRequest {
    /// The shipment asked for.
    pub fn key(&self) -> ShipmentKey {
        ShipmentKey::new(self.carrier.clone(), self.number.clone())
    }
}

/// What read an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadSource {
    /// The adapter's slug.
    pub adapter: String,
    /// Digest of the adapter's files.
    pub adapter_version: String,
    /// The source asked, e.g. `api`, `page`.
    pub source: String,
    /// The reader whose recogniser accepted the answer; empty when none did.
    pub reader: String,
    /// Paths of JSON fields that the adapter's examples do not have; a few of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown_fields: Vec<String>,
    /// That version is a candidate, asked for its share of the numbers.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub candidate: bool,
    /// How a candidate version read the same bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<TrialFacts>,
}

/// One terminal result per attempt (FET-1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchResult {
    /// The request answered.
    #[serde(flatten)]
    pub request: FetchRequest,
    /// Partition-local offset of that request.
    pub request_offset: u64,
    /// How it ended.
    pub class: OutcomeClass,
    /// One sentence, where there is something to say; never contains the number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// With `needs_data`: the parameters that are missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// With `tracked`: the same as at the last accepted reading; `events` and `facts` are then empty.
    #[serde(default)]
    pub unchanged: bool,
    /// Events in page order.
    #[serde(default)]
    pub events: Vec<RawEvent>,
    /// What else the answer says.
    #[serde(default)]
    pub facts: ShipmentFacts,
    /// What read it.
    #[serde(default)]
    pub source: ReadSource,
    /// Hash of the carrier's bytes, when kept on `waybill.payloads`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
    /// When the carrier answered, by the wall clock.
    pub fetched_at: WallMs,
    /// When the carrier answered, by the journey clock; `seen_at` in public records.
    pub seen_at: JourneyMs,
    /// Requests that left for the carrier.
    pub spent: u32,
    /// Earliest instant at which this budget, or this number when `deferred`, may be tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<WallMs>,
    /// The fetcher's new memory; absent when it has not advanced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetcher_memory: Option<Memory>,
}
