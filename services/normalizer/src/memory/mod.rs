//! What the normalizer knows of a shipment between two looks. It travels with requests and results, so the normalizer
//! itself keeps nothing; this module owns the bytes, nobody else looks inside.
//!
//! Layout, version 1: the version's byte, tagged fields, four bytes of checksum. A later build may add fields: this one
//! keeps what it does not know and writes it back. A build that must change a field's meaning raises the version byte, and
//! older builds then answer `deferred` ([`MemoryError::Newer`]) instead of forgetting. Bytes that cannot be read are
//! answered likewise: an unreadable memory is never taken for an empty one, for that would publish a history twice.
//!
//! It fits into [`MAX_MEMORY_BYTES`](waybill_schemas::limits::MAX_MEMORY_BYTES). What gives way, in this order: what
//! tells of people, weight, service, partners, estimated delivery, the carrier's origin and destination, the last
//! outcome's sentence, the latest event's words. A record rebuilt from memory (a stop, a failure) then lacks them until the next reading. Last of all,
//! and beyond [`MAX_REMEMBERED_EVENTS`](waybill_schemas::limits::MAX_REMEMBERED_EVENTS) anyway, the oldest events fold
//! into a count and a moment; see [`Folded`]. That an event was published is never forgotten.

mod codec;
mod wire;

use std::collections::BTreeMap;

use waybill_adapters::journey::{Before, Point, Rules, settle};
use waybill_schemas::{
    Milestone, SubStatus, UtcMs,
    event::{EstimatedDelivery, Leg, TimePrecision},
    shipment::{LastOutcome, Moment},
};

/// A printed time, as exact as the order of events needs it: seconds, for many carriers print several events a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownTime {
    /// Seconds from 1970-01-01T00:00:00 to the printed local time, both read on the same clock face.
    pub local_s: i64,
    /// Minutes by which that clock face is ahead of UTC; absent when the zone is unknown (NRM-5).
    pub offset_min: Option<i32>,
    /// How exactly it was printed.
    pub precision: TimePrecision,
}

impl KnownTime {
    /// Of a point of the journey; absent when it has no time.
    pub fn of(point: &Point) -> Option<Self> {
        let (local_s, precision) = (point.local_s?, point.precision?);
        let ahead_ms = |utc_ms: i64| local_s.saturating_mul(1_000).saturating_sub(utc_ms);
        let offset_min = point.utc_ms.and_then(|utc_ms| i32::try_from(ahead_ms(utc_ms).div_euclid(60_000)).ok());
        Some(Self { local_s, offset_min, precision })
    }

    /// The point of the journey that it stands for.
    pub fn point(&self) -> Point {
        let utc_ms = self.offset_min.map(|_| self.rough_s().saturating_mul(1_000));
        Point { local_s: Some(self.local_s), utc_ms, precision: Some(self.precision) }
    }

    /// Seconds since the epoch for comparing with times of any zone: the instant if it is known, else the printed time.
    pub fn rough_s(&self) -> i64 {
        self.local_s.saturating_sub(i64::from(self.offset_min.unwrap_or(0)) * 60)
    }
}

/// An event that was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownEvent {
    /// The hash of its words as the carrier last showed them (second half of an event id).
    pub hash: u64,
    /// The hash it was first published under, where that differs: it has been rendered anew since.
    pub published: Option<u64>,
    /// How often it was published, from 1.
    pub version: u32,
    /// Its time; absent when none was understood.
    pub time: Option<KnownTime>,
    /// What it meant when published; absent when nothing matched.
    pub sub_status: Option<SubStatus>,
}

impl KnownEvent {
    /// The second half of the id that it is published under.
    pub fn published_hash(&self) -> u64 {
        self.published.unwrap_or(self.hash)
    }
}

/// The oldest events, folded. An unknown event that belongs at or before this moment is one of them and is never
/// published as new; a scan that really arrives so late, on a parcel with so many, is lost to the stream (its page is
/// kept as payload).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Folded {
    /// How many.
    pub count: u32,
    /// The latest time among them; absent when none had one.
    pub until: Option<KnownTime>,
    /// What they had come to.
    pub before: Before,
}

/// What has happened and is not undone by a shorter page.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Latches {
    /// An answer of this life was accepted.
    pub read: bool,
    /// The carrier has scanned it (NRM-3: from then on `not_found` changes nothing).
    pub scanned: bool,
    /// It was delivered (NRM-4), and no contradiction has undone that.
    pub delivered: bool,
}

/// The latest event as shown with the shipment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latest {
    /// Second half of its id as published.
    pub event: u64,
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
    /// What it means.
    pub sub_status: Option<SubStatus>,
}

/// What the shipment's record shows beside status, milestones and counts; for rebuilding it without an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shown {
    /// The newest event.
    pub latest: Option<Latest>,
    /// Estimated delivery.
    pub estimated_delivery: Option<EstimatedDelivery>,
    /// Partners.
    pub legs: Vec<Leg>,
    /// Origin as the carrier says.
    pub origin: Option<String>,
    /// Destination as the carrier says.
    pub destination: Option<String>,
    /// Product.
    pub service: Option<String>,
    /// Weight as printed.
    pub weight: Option<String>,
    /// What tells of people, where the operator asked for it.
    pub private: BTreeMap<String, String>,
    /// How the last look-up ended.
    pub last_outcome: Option<LastOutcome>,
}

/// Digests of the shipment's record as it was last published, to tell whether it has changed since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Of the record itself.
    pub record: u64,
    /// Of what this memory rebuilds of it; differs when some of it did not fit.
    pub rebuilt: u64,
}

/// All that is known of a shipment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShipmentMemory {
    /// Which life of a recycled number, from 1; 0 before anything is known.
    pub instance: u32,
    /// Events that were published, oldest first in the order of the journey.
    pub events: Vec<KnownEvent>,
    /// Older ones.
    pub folded: Folded,
    /// Milestones reached.
    pub milestones: BTreeMap<Milestone, Moment>,
    /// See [`Latches`].
    pub latches: Latches,
    /// Sub-status after the last record; absent before any reading.
    pub status: Option<SubStatus>,
    /// Since when the main status holds.
    pub since: Option<Moment>,
    /// See [`Shown`].
    pub shown: Shown,
    /// See [`Published`]; absent before the first record.
    pub published: Option<Published>,
    /// Fields of a later build, kept as they came.
    pub(crate) foreign: Vec<(u64, Vec<u8>)>,
}

/// Why a memory cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {
    /// Written by a later build.
    #[error("the shipment's memory was written by a newer normalizer (version {0}): upgrade this one")]
    Newer(u8),
    /// Not what was written.
    #[error("the shipment's memory cannot be read")]
    Damaged,
}

impl ShipmentMemory {
    /// Events known in this life, folded ones included.
    pub fn event_count(&self) -> u32 {
        self.folded.count.saturating_add(u32::try_from(self.events.len()).unwrap_or(u32::MAX))
    }

    /// Folds the oldest events until at most `keep` are left one by one; `rules` are those of the carrier's mapping.
    pub fn fold_to(&mut self, keep: usize, rules: Rules<'_>) {
        let surplus = self.events.len().saturating_sub(keep);
        if surplus == 0 {
            return;
        }
        let statuses = self.events[..surplus].iter().map(|event| event.sub_status);
        let settled = settle(statuses, None, rules, self.folded.before);
        self.folded.before =
            Before { sub_status: settled.sub_status, attempted: settled.attempted, delivered: settled.delivered };
        for event in self.events.drain(..surplus) {
            self.folded.count = self.folded.count.saturating_add(1);
            if let Some(time) = event.time
                && self.folded.until.is_none_or(|until| time.rough_s() > until.rough_s())
            {
                self.folded.until = Some(time);
            }
        }
    }
}

#[cfg(test)]
mod tests;
