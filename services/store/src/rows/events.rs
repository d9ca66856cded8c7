//! `waybill.tracking-events` → `tracking_events`.

use waybill_log::Record;
use waybill_schemas::event::TrackingEvent;

use super::{Unreadable, instant, json, needed, words::Worded};
use crate::{
    buffer::Filling,
    columns::{Instant, LogPlace, Part, Word, table_row},
};

table_row! {
    /// One published version of an event.
    EventRow in "tracking_events", |row| Part::month(row.registered_at), {
        event_id: &'a str,
        version: u32,
        kind: Word<'a>,
        carrier: Word<'a>,
        number: &'a str,
        instance: u32,
        r#ref: Option<&'a str>,
        registered_at: Instant,
        time_raw: &'a str,
        time: Option<&'a str>,
        time_utc: Option<Instant>,
        time_precision: Option<Word<'a>>,
        zone_source: Word<'a>,
        year_inferred: bool,
        text: &'a str,
        code: Option<Word<'a>>,
        location: Option<&'a str>,
        country: Option<Word<'a>>,
        leg: u8,
        status: Option<Word<'a>>,
        sub_status: Option<Word<'a>>,
        matched_by: Word<'a>,
        seen_at: Instant,
        source_attempt: i64,
        source_payload: Option<&'a str>,
        source_adapter: Word<'a>,
        source_adapter_version: Word<'a>,
        source_mapping_version: Word<'a>,
        source_reader: Word<'a>,
        source_selector: &'a str,
        log: LogPlace,
    }
}

pub(super) fn read(record: &Record, log: LogPlace, into: &mut Filling) -> Result<(), Unreadable> {
    let Some(value) = &record.value else { return Ok(()) };
    let event: TrackingEvent = json(value)?;
    let event_id = event.event_id.to_string();
    let row = EventRow {
        event_id: &event_id,
        version: event.version,
        kind: Word(event.kind.word()),
        carrier: Word(event.carrier.as_str()),
        number: event.number.as_str(),
        instance: event.instance,
        r#ref: event.reference.as_deref(),
        registered_at: needed(event.registered_at, "registered_at")?,
        time_raw: &event.time_raw,
        time: event.time.as_deref(),
        time_utc: event.time_utc.and_then(instant),
        time_precision: event.time_precision.map(|precision| Word(precision.word())),
        zone_source: Word(event.zone_source.word()),
        year_inferred: event.year_inferred,
        text: &event.text,
        code: event.code.as_deref().map(Word),
        location: event.location.as_deref(),
        country: event.country.as_deref().map(Word),
        leg: event.leg,
        status: event.status.map(|status| Word(status.as_str())),
        sub_status: event.sub_status.map(|sub| Word(sub.as_str())),
        matched_by: Word(event.matched_by.word()),
        seen_at: needed(event.seen_at, "seen_at")?,
        source_attempt: event.source.attempt,
        source_payload: event.source.payload.as_deref(),
        source_adapter: Word(&event.source.adapter),
        source_adapter_version: Word(&event.source.adapter_version),
        source_mapping_version: Word(&event.source.mapping_version),
        source_reader: Word(&event.source.reader),
        source_selector: &event.source.selector,
        log,
    };
    into.row(0, &row);
    Ok(())
}
