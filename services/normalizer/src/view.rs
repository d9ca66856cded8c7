//! The shipment's public record as it follows from a memory and the request at hand, and its digest.
//!
//! A record is published when its digest differs from the last published one. Left out of the digest: the version and the
//! last outcome's instant and sentence, for they differ at every look and a look that found nothing new must not rewrite
//! `waybill.shipments`. So `last_outcome.at` is the instant of the look that last changed the record; every look is on
//! `waybill.outcomes`.

use waybill_schemas::{
    JourneyMs, OutcomeClass, ShipmentKey,
    event::EventId,
    fetch::FetchRequest,
    shipment::{LastOutcome, LatestEvent, Moment, Shipment},
};
use xxhash_rust::xxh3::xxh3_64;

use crate::{id::shipment_hash, memory::ShipmentMemory};

/// Where a country came from: what the registrant told, told apart from what the carrier says.
const REGISTRATION: &str = "registration";
const CARRIER: &str = "carrier";

/// The public record; none before the shipment has a status. What the registrant told of origin and destination goes
/// before what the carrier says.
pub(crate) fn shipment(memory: &ShipmentMemory, request: &FetchRequest, seen_at: JourneyMs) -> Option<Shipment> {
    let sub_status = memory.status?;
    let shown = &memory.shown;
    let key = request.key();
    let (origin, origin_source) = sourced(request.registration.origin.as_ref(), shown.origin.as_ref());
    let (destination, destination_source) =
        sourced(request.registration.destination.as_ref(), shown.destination.as_ref());
    let never = || LastOutcome { class: OutcomeClass::Internal, at: seen_at, detail: None };
    Some(Shipment {
        instance: memory.instance,
        reference: request.reference.clone(),
        origin,
        origin_source,
        destination,
        destination_source,
        status: sub_status.status(),
        sub_status,
        since: memory.since.clone().unwrap_or(Moment { time: None, time_utc: None, seen_at }),
        latest_event: latest_event(memory, &key),
        milestones: memory.milestones.clone(),
        estimated_delivery: shown.estimated_delivery.clone(),
        service: shown.service.clone(),
        weight: shown.weight.clone(),
        private: shown.private.clone(),
        legs: shown.legs.clone(),
        event_count: memory.event_count(),
        registered_at: request.registered_at,
        last_outcome: shown.last_outcome.clone().unwrap_or_else(never),
        tracking: request.tracking,
        stop_reason: request.stop_reason,
        version: request.attempt,
        carrier: key.carrier,
        number: key.number,
    })
}

fn latest_event(memory: &ShipmentMemory, key: &ShipmentKey) -> Option<LatestEvent> {
    let latest = memory.shown.latest.as_ref()?;
    Some(LatestEvent {
        event_id: EventId { shipment: shipment_hash(key, memory.instance), event: latest.event },
        time_raw: latest.time_raw.clone(),
        time: latest.time.clone(),
        time_utc: latest.time_utc,
        text: latest.text.clone(),
        location: latest.location.clone(),
        sub_status: latest.sub_status,
    })
}

fn sourced(told: Option<&String>, said: Option<&String>) -> (Option<String>, Option<String>) {
    match (told, said) {
        (Some(country), _) => (Some(country.clone()), Some(REGISTRATION.to_owned())),
        (None, Some(country)) => (Some(country.clone()), Some(CARRIER.to_owned())),
        (None, None) => (None, None),
    }
}

/// See the module's header.
pub(crate) fn digest(shipment: &Shipment) -> u64 {
    let mut bare = shipment.clone();
    bare.version = 0;
    bare.last_outcome.at = JourneyMs::ZERO;
    bare.last_outcome.detail = None;
    // A shipment is plain data: writing it cannot fail.
    xxh3_64(&serde_json::to_vec(&bare).unwrap_or_default())
}
