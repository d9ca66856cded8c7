//! The scheduler's changelog (`waybill.schedule`, compacted): one record a number, and its input positions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    command::Registration,
    detection::Settlement,
    memory::Memories,
    shipment::{StopReason, Tracking},
    status::{Status, SubStatus},
    time::{JourneyMs, WallMs},
};

/// Key of a partition's claim records.
pub const CLAIM_KEY: &str = "!claim";
/// Key of a partition's input positions.
pub const POSITION_KEY: &str = "!position";

/// Why a number is due when it is due; answered to whoever asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// The rule that decided: `first_look`, `new_status`, `sooner`, `later`, `confirm`, `again_` or `retry_` and an outcome's
    /// class, `needs_data`, `new_data`, `refresh`, `resumed`, `reopened`, `trying`, `undecided`, `stopped`.
    pub rule: String,
    /// One sentence for people.
    pub text: String,
    /// The interval that was chosen, in milliseconds of journey time, where one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_ms: Option<i64>,
}

/// State of one number, keyed `carrier:number`. The claim's epoch is a header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleRecord {
    /// What registration told.
    pub registration: Registration,
    /// The registrant's own reference.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// What the carrier needs beyond the number.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, String>,
    /// Append time of the first registration, on the journey clock.
    pub registered_at: JourneyMs,
    /// Which life of a recycled number.
    pub instance: u32,
    /// Whether it is looked up.
    pub tracking: Tracking,
    /// Why not.
    pub stop_reason: Option<StopReason>,
    /// The last attempt whose outcome was applied; 0 before the first.
    pub attempt: i64,
    /// When it is due next.
    pub due: JourneyMs,
    /// Not to be sent before, whatever `due` says.
    pub not_before: Option<WallMs>,
    /// Why then.
    pub why: Why,
    /// Main status after the last outcome.
    pub status: Option<Status>,
    /// Sub-status after the last outcome.
    pub sub_status: Option<SubStatus>,
    /// When a change was last seen; the registration before any.
    pub last_change: JourneyMs,
    /// When the last accepted reading was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_reading: Option<JourneyMs>,
    /// The interval in force, in ms of journey time; adapted by × 1.4 and × 0.6.
    pub interval_ms: i64,
    /// Readings that confirmed an end (delivered, returned, …).
    #[serde(default)]
    pub confirmations: u32,
    /// Failures in a row, for back-off.
    #[serde(default)]
    pub failures: u32,
    /// A request of this kind must be published as soon as the number is free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<crate::fetch::RequestKind>,
    /// A temporary registration ends here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<JourneyMs>,
    /// Of an undecided number: where settling it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settlement: Option<Box<Settlement>>,
    /// Of a number that is only probed: the round that asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<u32>,
    /// Offset after the last command that this record contains: a command read again is not applied again.
    #[serde(default)]
    pub commands_applied: u64,
    /// The opaque memories.
    #[serde(default)]
    pub memories: Memories,
    /// Fields of a later version, written back as they came.
    #[serde(flatten)]
    pub extra: serde_json::Map<String, serde_json::Value>,
}

/// How far the inputs of a partition are contained in its records: offsets of the next record to read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// On `waybill.outcomes`.
    pub outcomes: u64,
    /// On `waybill.commands`.
    pub commands: u64,
    /// On `waybill.fetch-requests`: the oldest request without an outcome; everything before it is answered.
    pub oldest_open_request: u64,
    /// On `waybill.fetch-requests`: the claim in force at `oldest_open_request`. Requests of a lower epoch from there on
    /// were never sent and are no attempts.
    #[serde(default)]
    pub requests_floor: u64,
    /// Fields of a later version, written back as they came.
    #[serde(flatten)]
    pub extra: serde_json::Map<String, serde_json::Value>,
}
