//! A tracking event, from what a reader took out of an answer to the published record.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    carrier::CarrierSlug,
    number::TrackingNumber,
    status::{Status, SubStatus},
    time::{JourneyMs, UtcMs},
};

/// How exactly an event's time was printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimePrecision {
    /// A day.
    Date,
    /// Morning or afternoon of a day.
    HalfDay,
    /// To the minute.
    Minute,
    /// To the second.
    Second,
}

/// Where the zone of an event's time came from (NRM-5: no invented time).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ZoneSource {
    /// Printed in the answer.
    Carrier,
    /// Follows from the event's place.
    Place,
    /// Stated by the adapter for all of the carrier's times.
    Adapter,
    /// Not known; the local time is kept as printed.
    Unknown,
}

/// A printed time, understood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadTime {
    /// ISO 8601 only as exact as `precision`: `2026-01-31`, `2026-01-31T14:05` or `…:30`; an offset (`+01:00`, `Z`) is
    /// appended only when the zone is known.
    pub iso: String,
    /// The instant; absent when the zone is unknown. For a date or half day: its first instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utc: Option<UtcMs>,
    /// How exact it is.
    pub precision: TimePrecision,
    /// Where the zone came from.
    pub zone_source: ZoneSource,
    /// No year was printed: it is the latest in which the day is not after the look (NRM-5).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub year_inferred: bool,
}

/// One event as a reader found it; strings are verbatim in the sense of NRM-1. Order in a list: the page's own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawEvent {
    /// The time as printed; the texts of several fields joined by one space in the adapter's order. May be empty.
    #[serde(default)]
    pub time_raw: String,
    /// The time understood; absent when nothing of it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<ReadTime>,
    /// What happened, in the carrier's words.
    #[serde(default)]
    pub text: String,
    /// The carrier's code of the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The place as printed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// ISO 3166-1 alpha-2, where the answer says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// Which leg: 0 = the carrier asked, n = the n-th of `ShipmentFacts::legs`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub leg: u8,
    /// Where in the answer it stood: the row selector or path with its index.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub selector: String,
}

fn is_zero(leg: &u8) -> bool {
    *leg == 0
}

/// A window of estimated delivery. `from` and `to` are ISO dates or date-times as printed; equal for a single day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EstimatedDelivery {
    /// Earliest.
    pub from: String,
    /// Latest.
    pub to: String,
    /// Who estimated: `carrier`.
    pub source: String,
}

/// A partner that carries part of the way, under its own number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leg {
    /// The partner as named in the answer: a slug where the adapter knows it, else its printed name.
    pub carrier: String,
    /// The number there.
    pub number: String,
}

/// What an answer says of the shipment outside its events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShipmentFacts {
    /// The headline's words, e.g. a status shown above the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_text: Option<String>,
    /// The headline's code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_code: Option<String>,
    /// Estimated delivery.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_delivery: Option<EstimatedDelivery>,
    /// Origin country, ISO 3166-1 alpha-2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Destination country, ISO 3166-1 alpha-2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// Product as named by the carrier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Weight as printed, with its unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<String>,
    /// Partners.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub legs: Vec<Leg>,
    /// What tells of people, by the adapter's names, as far as the operator asked for it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub private: BTreeMap<String, String>,
}

/// Identity of an event (NRM-2): hash of (carrier, number, instance), then hash of (raw fields, ordinal among equals);
/// 32 lower-case hexadecimal digits. A mapping change never alters it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EventId {
    /// Hash of the shipment's life.
    pub shipment: u64,
    /// Hash of the event within it.
    pub event: u64,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.shipment, self.event)
    }
}
impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl From<EventId> for String {
    fn from(id: EventId) -> Self {
        id.to_string()
    }
}
/// The text is no event id.
#[derive(Debug, thiserror::Error)]
#[error("an event id has 32 hexadecimal digits")]
pub struct EventIdError;
impl TryFrom<String> for EventId {
    type Error = EventIdError;
    fn try_from(text: String) -> Result<Self, EventIdError> {
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(EventIdError);
        }
        let half = |part: &str| u64::from_str_radix(part, 16).map_err(|_| EventIdError);
        Ok(Self { shipment: half(&text[..16])?, event: half(&text[16..])? })
    }
}

/// Why an event was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// Seen for the first time.
    Scan,
    /// New wording of a known event.
    Rendering,
    /// New reading or mapping of a known event, by replay.
    Correction,
}

/// What decided an event's sub-status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MatchedBy {
    /// The carrier's code.
    Code,
    /// The whole text.
    Exact,
    /// The text's beginning.
    Prefix,
    /// A part of the text.
    Contains,
    /// A regular expression.
    Regex,
    /// The language's phrase table.
    Phrase,
    /// Nothing.
    None,
}

/// Which look-up and which data an event was read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventSource {
    /// The attempt that brought it.
    pub attempt: i64,
    /// Hash of the carrier's bytes, where kept (key on `waybill.payloads`).
    pub payload: Option<String>,
    /// The adapter's slug.
    pub adapter: String,
    /// The adapter's version: a digest of its files.
    pub adapter_version: String,
    /// The mapping's version: a digest of its file.
    pub mapping_version: String,
    /// The reader within the adapter.
    pub reader: String,
    /// Where in the answer.
    pub selector: String,
}

/// A published tracking event (`waybill.tracking-events`). `ce_id` is `event_id.version`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackingEvent {
    /// See [`EventId`].
    pub event_id: EventId,
    /// Counts publications of this event from 1; the highest is the one to show.
    pub version: u32,
    /// Why it was published.
    pub kind: EventKind,
    /// The carrier asked.
    pub carrier: CarrierSlug,
    /// The canonical number.
    pub number: TrackingNumber,
    /// Which life of a recycled number, from 1.
    pub instance: u32,
    /// The registrant's own reference.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    /// When the shipment was first registered; never changes until it is forgotten.
    pub registered_at: JourneyMs,
    /// The time as printed.
    pub time_raw: String,
    /// ISO 8601, as exact as printed; an offset only if known.
    pub time: Option<String>,
    /// The instant, if the zone is known.
    pub time_utc: Option<UtcMs>,
    /// How exact `time` is; absent when nothing of it was understood.
    pub time_precision: Option<TimePrecision>,
    /// Where the zone came from.
    pub zone_source: ZoneSource,
    /// No year was printed: that of `time` follows from when the carrier answered (NRM-5).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub year_inferred: bool,
    /// What happened, in the carrier's words.
    pub text: String,
    /// The carrier's code.
    pub code: Option<String>,
    /// The place as printed.
    pub location: Option<String>,
    /// ISO 3166-1 alpha-2.
    pub country: Option<String>,
    /// 0 = the carrier asked, n = the n-th of the shipment's legs.
    pub leg: u8,
    /// Main status; null when nothing matched.
    pub status: Option<Status>,
    /// Sub-status; null when nothing matched.
    pub sub_status: Option<SubStatus>,
    /// What decided it.
    pub matched_by: MatchedBy,
    /// When the carrier answered.
    pub seen_at: JourneyMs,
    /// Where it was read.
    pub source: EventSource,
}
