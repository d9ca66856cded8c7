//! A shipment's current state and its status changes, as published.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    carrier::CarrierSlug,
    event::{EstimatedDelivery, EventId, Leg},
    number::TrackingNumber,
    outcome::OutcomeClass,
    status::{Milestone, Status, SubStatus},
    time::{JourneyMs, UtcMs},
};

/// Whether a number is being looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tracking {
    /// Yes.
    #[default]
    Active,
    /// No; see the stop reason.
    Stopped,
}

/// Why looking up ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// Delivered and confirmed.
    Delivered,
    /// Back with the sender and confirmed.
    Returned,
    /// Lost, destroyed or cancelled, and confirmed.
    Ended,
    /// No change seen for the carrier's expiry time.
    Expired,
    /// By order.
    Ordered,
    /// A temporary registration ran out.
    Until,
    /// An undecided number's carrier was found; it goes on there.
    Settled,
}

/// A moment as printed, with its instant where the zone is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// ISO 8601; absent when the event printed no time that was understood.
    pub time: Option<String>,
    /// The instant.
    pub time_utc: Option<UtcMs>,
    /// When the carrier's answer first showed it.
    pub seen_at: JourneyMs,
}

/// The event that a shipment shows first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatestEvent {
    /// Its id.
    pub event_id: EventId,
    /// The time as printed.
    pub time_raw: String,
    /// ISO 8601.
    pub time: Option<String>,
    /// The instant.
    pub time_utc: Option<UtcMs>,
    /// The carrier's words.
    pub text: String,
    /// The place as printed.
    pub location: Option<String>,
    /// Sub-status; null when nothing matched.
    pub sub_status: Option<SubStatus>,
}

/// How the last look-up ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastOutcome {
    /// Its class.
    pub class: OutcomeClass,
    /// When.
    pub at: JourneyMs,
    /// One sentence, where there is something to say.
    pub detail: Option<String>,
}

/// A published shipment (`waybill.shipments`, compacted). `ce_id` is `carrier:number:attempt`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shipment {
    /// The carrier asked.
    pub carrier: CarrierSlug,
    /// The canonical number.
    pub number: TrackingNumber,
    /// Which life of a recycled number, from 1.
    pub instance: u32,
    /// The registrant's own reference.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    /// ISO 3166-1 alpha-2.
    pub origin: Option<String>,
    /// `registration` or `carrier`.
    pub origin_source: Option<String>,
    /// ISO 3166-1 alpha-2.
    pub destination: Option<String>,
    /// `registration` or `carrier`.
    pub destination_source: Option<String>,
    /// Main status.
    pub status: Status,
    /// Sub-status.
    pub sub_status: SubStatus,
    /// Since when the main status holds: the event's printed moment, else when it was seen.
    pub since: Moment,
    /// The newest event.
    pub latest_event: Option<LatestEvent>,
    /// Milestones reached, with the first time each.
    pub milestones: BTreeMap<Milestone, Moment>,
    /// Estimated delivery.
    pub estimated_delivery: Option<EstimatedDelivery>,
    /// Product as named by the carrier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Weight as printed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<String>,
    /// What tells of people, by the adapter's names, as far as the operator asked for it. Not kept in the store.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub private: BTreeMap<String, String>,
    /// Partners.
    pub legs: Vec<Leg>,
    /// Known events of this instance.
    pub event_count: u32,
    /// When first registered.
    pub registered_at: JourneyMs,
    /// How the last look-up ended.
    pub last_outcome: LastOutcome,
    /// Whether it is being looked up.
    pub tracking: Tracking,
    /// Why not.
    pub stop_reason: Option<StopReason>,
    /// The attempt that wrote this state; higher is newer.
    pub version: i64,
}

/// What made a status change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A carrier's answer.
    Poll,
    /// Time passing.
    Clock,
    /// A correction.
    Replay,
}

/// A published change of main status (`waybill.status-changes`). `ce_id` is `carrier:number:instance:attempt:current`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusChange {
    /// The carrier asked.
    pub carrier: CarrierSlug,
    /// The canonical number.
    pub number: TrackingNumber,
    /// Which life of a recycled number.
    pub instance: u32,
    /// The registrant's own reference.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    /// The main status before; null for the first.
    pub previous: Option<Status>,
    /// The main status now.
    pub current: Status,
    /// The sub-status now.
    pub sub_status: SubStatus,
    /// The first status of this instance.
    pub first: bool,
    /// Found at the first look, so possibly old news.
    pub initial: bool,
    /// What made it.
    pub cause: Cause,
    /// When the shipment was first registered.
    pub registered_at: JourneyMs,
    /// The printed moment of the event that made it, ISO 8601.
    pub event_time: Option<String>,
    /// When the carrier answered.
    pub seen_at: JourneyMs,
    /// The attempt.
    pub attempt: i64,
}
