//! `waybill.shipments` → `shipments`, and `deliveries` for those that are delivered.
//!
//! A shipment that is delivered no longer must vanish from `deliveries`. A row that says so is written where a delivery
//! may have been seen before: the milestone was reached (it stays when the carrier contradicts itself), or the state was
//! written without a look (a replay reads history anew). Writing it for every shipment on its way would double the rows
//! of the busiest topic for nothing.

use waybill_log::Record;
use waybill_schemas::{Milestone, OutcomeClass, Status, shipment::Shipment};

use super::{Unreadable, instant, json, needed, shipment_key, time, words::Worded};
use crate::{
    buffer::Filling,
    columns::{Day, Instant, Legs, LogPlace, Milestones, Part, Word, table_row},
};

table_row! {
    /// A shipment's state.
    ShipmentRow in "shipments", |_| Part::ALL, {
        carrier: Word<'a>,
        number: &'a str,
        instance: u32,
        r#ref: Option<&'a str>,
        origin: Option<Word<'a>>,
        origin_source: Option<Word<'a>>,
        destination: Option<Word<'a>>,
        destination_source: Option<Word<'a>>,
        status: Word<'a>,
        sub_status: Word<'a>,
        since_time: Option<&'a str>,
        since_time_utc: Option<Instant>,
        since_seen_at: Instant,
        latest_event_event_id: Option<&'a str>,
        latest_event_time_raw: Option<&'a str>,
        latest_event_time: Option<&'a str>,
        latest_event_time_utc: Option<Instant>,
        latest_event_text: Option<&'a str>,
        latest_event_location: Option<&'a str>,
        latest_event_sub_status: Option<Word<'a>>,
        milestone: Milestones<'a>,
        estimated_delivery_from: Option<&'a str>,
        estimated_delivery_to: Option<&'a str>,
        estimated_delivery_source: Option<Word<'a>>,
        service: Option<Word<'a>>,
        weight: Option<&'a str>,
        legs: Legs<'a>,
        event_count: u32,
        registered_at: Instant,
        last_outcome_class: Word<'a>,
        last_outcome_at: Instant,
        last_outcome_detail: Option<&'a str>,
        tracking: Word<'a>,
        stop_reason: Option<Word<'a>>,
        version: i64,
        is_deleted: u8,
        log: LogPlace,
    }
}

table_row! {
    /// A delivery.
    DeliveryRow in "deliveries", |_| Part::ALL, {
        carrier: Word<'a>,
        number: &'a str,
        instance: u32,
        r#ref: Option<&'a str>,
        origin: Option<Word<'a>>,
        destination: Option<Word<'a>>,
        service: Option<Word<'a>>,
        registered_at: Instant,
        picked_up_time: Option<&'a str>,
        picked_up_at: Option<Instant>,
        delivered_time: Option<&'a str>,
        delivered_at: Option<Instant>,
        delivered_seen_at: Instant,
        delivered_on: Day,
        transit_days: Option<f64>,
        event_count: u32,
        version: i64,
        is_deleted: u8,
        log: LogPlace,
    }
}

/// Index of each table in the topic's buffer.
const SHIPMENTS: usize = 0;
const DELIVERIES: usize = 1;

pub(super) fn read(record: &Record, log: LogPlace, into: &mut Filling) -> Result<(), Unreadable> {
    let Some(value) = &record.value else { return withdrawn(record, log, into) };
    let shipment: Shipment = json(value)?;
    let row = shipment_row(&shipment, log)?;
    let delivery = delivery_row(&shipment, log)?;
    row.with(|row| into.row(SHIPMENTS, row));
    if let Some(delivery) = delivery {
        into.row(DELIVERIES, &delivery);
    }
    Ok(())
}

/// A shipment row and the texts that it borrows.
struct Prepared<'a> {
    shipment: &'a Shipment,
    latest_id: Option<String>,
    since_seen_at: Instant,
    registered_at: Instant,
    last_outcome_at: Instant,
    log: LogPlace,
}

fn shipment_row(shipment: &Shipment, log: LogPlace) -> Result<Prepared<'_>, Unreadable> {
    Ok(Prepared {
        shipment,
        latest_id: shipment.latest_event.as_ref().map(|event| event.event_id.to_string()),
        since_seen_at: needed(shipment.since.seen_at, "since.seen_at")?,
        registered_at: needed(shipment.registered_at, "registered_at")?,
        last_outcome_at: needed(shipment.last_outcome.at, "last_outcome.at")?,
        log,
    })
}

impl Prepared<'_> {
    fn with(&self, write: impl FnOnce(&ShipmentRow<'_>)) {
        let shipment = self.shipment;
        let latest = shipment.latest_event.as_ref();
        let estimate = shipment.estimated_delivery.as_ref();
        write(&ShipmentRow {
            carrier: Word(shipment.carrier.as_str()),
            number: shipment.number.as_str(),
            instance: shipment.instance,
            r#ref: shipment.reference.as_deref(),
            origin: shipment.origin.as_deref().map(Word),
            origin_source: shipment.origin_source.as_deref().map(Word),
            destination: shipment.destination.as_deref().map(Word),
            destination_source: shipment.destination_source.as_deref().map(Word),
            status: Word(shipment.status.as_str()),
            sub_status: Word(shipment.sub_status.as_str()),
            since_time: shipment.since.time.as_deref(),
            since_time_utc: shipment.since.time_utc.and_then(instant),
            since_seen_at: self.since_seen_at,
            latest_event_event_id: self.latest_id.as_deref(),
            latest_event_time_raw: latest.map(|event| event.time_raw.as_str()),
            latest_event_time: latest.and_then(|event| event.time.as_deref()),
            latest_event_time_utc: latest.and_then(|event| event.time_utc).and_then(instant),
            latest_event_text: latest.map(|event| event.text.as_str()),
            latest_event_location: latest.and_then(|event| event.location.as_deref()),
            latest_event_sub_status: latest.and_then(|event| event.sub_status).map(|sub| Word(sub.as_str())),
            milestone: Milestones(&shipment.milestones),
            estimated_delivery_from: estimate.map(|estimate| estimate.from.as_str()),
            estimated_delivery_to: estimate.map(|estimate| estimate.to.as_str()),
            estimated_delivery_source: estimate.map(|estimate| Word(&estimate.source)),
            service: shipment.service.as_deref().map(Word),
            weight: shipment.weight.as_deref(),
            legs: Legs(&shipment.legs),
            event_count: shipment.event_count,
            registered_at: self.registered_at,
            last_outcome_class: Word(shipment.last_outcome.class.as_str()),
            last_outcome_at: self.last_outcome_at,
            last_outcome_detail: shipment.last_outcome.detail.as_deref(),
            tracking: Word(shipment.tracking.word()),
            stop_reason: shipment.stop_reason.map(|reason| Word(reason.word())),
            version: shipment.version,
            is_deleted: 0,
            log: self.log,
        });
    }
}

fn delivery_row(shipment: &Shipment, log: LogPlace) -> Result<Option<DeliveryRow<'_>>, Unreadable> {
    let reached = shipment.milestones.get(&Milestone::Delivered);
    let delivered = shipment.status == Status::Delivered;
    let once_delivered = reached.is_some() || shipment.last_outcome.class == OutcomeClass::Internal;
    if !delivered && !once_delivered {
        return Ok(None);
    }
    let at = reached.unwrap_or(&shipment.since);
    let picked_up = shipment.milestones.get(&Milestone::PickedUp);
    Ok(Some(DeliveryRow {
        carrier: Word(shipment.carrier.as_str()),
        number: shipment.number.as_str(),
        instance: shipment.instance,
        r#ref: shipment.reference.as_deref(),
        origin: shipment.origin.as_deref().map(Word),
        destination: shipment.destination.as_deref().map(Word),
        service: shipment.service.as_deref().map(Word),
        registered_at: needed(shipment.registered_at, "registered_at")?,
        picked_up_time: picked_up.and_then(|moment| moment.time.as_deref()),
        picked_up_at: picked_up.and_then(|moment| moment.time_utc).and_then(instant),
        delivered_time: at.time.as_deref(),
        delivered_at: at.time_utc.and_then(instant),
        delivered_seen_at: needed(at.seen_at, "milestones.Delivered.seen_at")?,
        delivered_on: time::day_of(at),
        transit_days: picked_up.and_then(|from| time::days_between(from, at)),
        event_count: shipment.event_count,
        version: shipment.version,
        is_deleted: u8::from(!delivered),
        log,
    }))
}

/// A tombstone: the shipment is in no view from now on. Its version is the append time: attempts are wall-clock times of
/// ordering, so every state published before is lower and every one of a new registration is higher.
fn withdrawn(record: &Record, log: LogPlace, into: &mut Filling) -> Result<(), Unreadable> {
    let key = shipment_key(record)?;
    let row = ShipmentRow {
        carrier: Word(key.carrier.as_str()),
        number: key.number.as_str(),
        instance: 0,
        r#ref: None,
        origin: None,
        origin_source: None,
        destination: None,
        destination_source: None,
        status: Word(""),
        sub_status: Word(""),
        since_time: None,
        since_time_utc: None,
        since_seen_at: log.time,
        latest_event_event_id: None,
        latest_event_time_raw: None,
        latest_event_time: None,
        latest_event_time_utc: None,
        latest_event_text: None,
        latest_event_location: None,
        latest_event_sub_status: None,
        milestone: Milestones(&std::collections::BTreeMap::new()),
        estimated_delivery_from: None,
        estimated_delivery_to: None,
        estimated_delivery_source: None,
        service: None,
        weight: None,
        legs: Legs(&[]),
        event_count: 0,
        registered_at: log.time,
        last_outcome_class: Word(""),
        last_outcome_at: log.time,
        last_outcome_detail: None,
        tracking: Word(""),
        stop_reason: None,
        version: log.time.0,
        is_deleted: 1,
        log,
    };
    into.row(SHIPMENTS, &row);
    Ok(())
}
