//! Records to rows, one module a topic: pure functions from a record and its place in the log to bytes in the rows of
//! each table that the topic feeds.
//!
//! Contract: the same record at the same place always yields the same rows, because a token stands for them (STO-1). A
//! record that cannot be read yields none at all, in no table.

mod carriers;
mod changes;
mod commands;
mod events;
mod forgotten;
mod outcomes;
mod payloads;
mod schedule;
mod shipments;
mod time;
mod words;

use serde::de::DeserializeOwned;
use waybill_log::Record;
use waybill_runtime::trace::TraceParent;
use waybill_schemas::{
    ShipmentKey, headers,
    time::Millis,
    topics::{self, names},
};

use crate::{
    buffer::Filling,
    columns::{Instant, LogPlace, TableRow},
    erase::Erasure,
};

/// Why a record cannot become rows. The sentence names no number (SEC-1).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    /// Not the topic's JSON.
    #[error("the value is not what the topic holds ({0})")]
    Value(String),
    /// Not the topic's key.
    #[error("the key is not what the topic holds")]
    Key,
    /// An instant that the store's type cannot hold.
    #[error("{0} is outside the years 1900 to 2299")]
    Instant(&'static str),
}

/// What reads a topic's records.
type Reader = fn(&Record, LogPlace, &mut Filling) -> Result<(), Unreadable>;

/// A topic and how it becomes rows.
pub(crate) struct Source {
    /// The topic's name without prefix.
    pub(crate) topic: &'static str,
    /// Its tables, in the order of their indices in a buffer.
    pub(crate) tables: &'static [&'static Table],
    /// Which rows of its first table are its own, where another topic feeds the same table.
    pub(crate) own_rows: &'static str,
    /// Reads one record.
    pub(crate) read: Reader,
    /// Most records of one delivery: payloads are large, so that a delivery of them stays bounded.
    pub(crate) max_batch: usize,
}

/// A table and how its columns are told.
#[derive(Debug)]
pub(crate) struct Table {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its columns, as the rows write them.
    pub(crate) columns: fn() -> Vec<(String, &'static str)>,
}

const fn table<R: TableRow>() -> Table {
    Table { name: R::TABLE, columns: R::columns }
}

pub(crate) static TRACKING_EVENTS: Table = table::<events::EventRow<'static>>();
pub(crate) static SHIPMENTS: Table = table::<shipments::ShipmentRow<'static>>();
pub(crate) static DELIVERIES: Table = table::<shipments::DeliveryRow<'static>>();
pub(crate) static STATUS_CHANGES: Table = table::<changes::ChangeRow<'static>>();
pub(crate) static FETCH_OUTCOMES: Table = table::<outcomes::OutcomeRow<'static>>();
pub(crate) static REGISTRATIONS: Table = table::<schedule::RegistrationRow<'static>>();
pub(crate) static SETTLEMENTS: Table = table::<schedule::SettlementRow<'static>>();
pub(crate) static CARRIERS: Table = table::<carriers::CarrierRow<'static>>();
pub(crate) static PAYLOADS: Table = table::<payloads::PayloadRow<'static>>();

/// Every topic that the store reads.
pub(crate) static SOURCES: [Source; 9] = [
    Source {
        topic: names::TRACKING_EVENTS,
        tables: &[&TRACKING_EVENTS],
        own_rows: "1",
        read: events::read,
        max_batch: 2_000,
    },
    Source {
        topic: names::SHIPMENTS,
        tables: &[&SHIPMENTS, &DELIVERIES],
        own_rows: "1",
        read: shipments::read,
        max_batch: 2_000,
    },
    Source {
        topic: names::STATUS_CHANGES,
        tables: &[&STATUS_CHANGES],
        own_rows: "1",
        read: changes::read,
        max_batch: 2_000,
    },
    Source { topic: names::OUTCOMES, tables: &[&FETCH_OUTCOMES], own_rows: "1", read: outcomes::read, max_batch: 500 },
    Source {
        topic: names::COMMANDS,
        tables: &[&REGISTRATIONS],
        own_rows: "source != 'schedule'",
        read: commands::read,
        max_batch: 1_000,
    },
    Source {
        topic: names::SCHEDULE,
        tables: &[&REGISTRATIONS, &SETTLEMENTS],
        own_rows: "source = 'schedule'",
        read: schedule::read,
        max_batch: 500,
    },
    Source { topic: names::CARRIERS, tables: &[&CARRIERS], own_rows: "1", read: carriers::read, max_batch: 1_000 },
    Source { topic: names::PAYLOADS, tables: &[&PAYLOADS], own_rows: "1", read: payloads::read, max_batch: 16 },
    Source { topic: names::FORGOTTEN, tables: &[], own_rows: "1", read: forgotten::read, max_batch: 200 },
];

impl Source {
    /// Which rows of one of its tables are its own.
    pub(crate) fn own_rows_of(&self, table: usize) -> &'static str {
        if table == 0 { self.own_rows } else { "1" }
    }

    /// Reads one record into the buffer: all of its rows, or none and the reason.
    pub(crate) fn take(&self, record: &Record, partition: u32, into: &mut Filling) -> Read {
        into.begin(record.offset);
        into.trace(record.header(headers::TRACEPARENT).and_then(|value| TraceParent::read(value)));
        let read = needed(record.append_time, "the append time")
            .map(|time| LogPlace { partition, offset: record.offset, time })
            .and_then(|place| (self.read)(record, place, into));
        let Err(reason) = read else { return Read::Rows };
        into.dead(record.clone(), reason.to_string());
        let is_json = |value| serde_json::from_slice::<serde::de::IgnoredAny>(value).is_ok();
        let holds_json = topics::find(self.topic).is_some_and(|spec| spec.schema.is_some());
        if holds_json && !record.value.as_deref().is_none_or(is_json) { Read::NoJson } else { Read::Dead }
    }
}

/// How reading a record went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Read {
    /// As it should.
    Rows,
    /// It is a dead letter: JSON, but not the topic's.
    Dead,
    /// It is a dead letter: not even JSON, where JSON should stand.
    NoJson,
}

/// Years 1900 to 2299, what `DateTime64` holds.
const INSTANTS: std::ops::Range<i64> = -2_208_988_800_000..10_413_792_000_000;

/// An instant, if the store's type can hold it.
pub(crate) fn instant<C>(at: Millis<C>) -> Option<Instant> {
    INSTANTS.contains(&at.ms()).then_some(Instant(at.ms()))
}

/// An instant that a row cannot do without.
fn needed<C>(at: Millis<C>, name: &'static str) -> Result<Instant, Unreadable> {
    instant(at).ok_or(Unreadable::Instant(name))
}

fn json<T: DeserializeOwned>(value: &[u8]) -> Result<T, Unreadable> {
    // serde's sentence may repeat a part of the value; only where it broke is told.
    serde_json::from_slice(value).map_err(|error| {
        Unreadable::Value(format!("{:?} error at line {} column {}", error.classify(), error.line(), error.column()))
    })
}

/// The shipment named by a record's key.
fn shipment_key(record: &Record) -> Result<ShipmentKey, Unreadable> {
    record.key_str().and_then(ShipmentKey::from_record_key).ok_or(Unreadable::Key)
}

/// The epoch under which a state record was written; 0 where there is none.
fn epoch(record: &Record) -> u64 {
    record.header_str(waybill_schemas::headers::EPOCH).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Orders state records as restore does: the highest (epoch, offset) wins, not the last (SCH-2).
fn state_version(epoch: u64, offset: u64) -> u128 {
    u128::from(epoch) << 64 | u128::from(offset)
}

/// An erasure for the buffer.
fn erasure(key: ShipmentKey, place: LogPlace) -> Erasure {
    Erasure { carrier: key.carrier, number: key.number, until_ms: place.time.0 }
}

#[cfg(test)]
mod tests;
