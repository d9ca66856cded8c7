//! `waybill.status-changes` → `status_changes`.

use waybill_log::Record;
use waybill_schemas::shipment::StatusChange;

use super::{Unreadable, json, needed, words::Worded};
use crate::{
    buffer::Filling,
    columns::{Instant, LogPlace, Part, Word, table_row},
};

table_row! {
    /// A change of main status.
    ChangeRow in "status_changes", |row| Part::month(row.registered_at), {
        carrier: Word<'a>,
        number: &'a str,
        instance: u32,
        r#ref: Option<&'a str>,
        previous: Option<Word<'a>>,
        current: Word<'a>,
        sub_status: Word<'a>,
        first: bool,
        initial: bool,
        cause: Word<'a>,
        registered_at: Instant,
        event_time: Option<&'a str>,
        seen_at: Instant,
        attempt: i64,
        log: LogPlace,
    }
}

pub(super) fn read(record: &Record, log: LogPlace, into: &mut Filling) -> Result<(), Unreadable> {
    let Some(value) = &record.value else { return Ok(()) };
    let change: StatusChange = json(value)?;
    let row = ChangeRow {
        carrier: Word(change.carrier.as_str()),
        number: change.number.as_str(),
        instance: change.instance,
        r#ref: change.reference.as_deref(),
        previous: change.previous.map(|status| Word(status.as_str())),
        current: Word(change.current.as_str()),
        sub_status: Word(change.sub_status.as_str()),
        first: change.first,
        initial: change.initial,
        cause: Word(change.cause.word()),
        registered_at: needed(change.registered_at, "registered_at")?,
        event_time: change.event_time.as_deref(),
        seen_at: needed(change.seen_at, "seen_at")?,
        attempt: change.attempt,
        log,
    };
    into.row(0, &row);
    Ok(())
}
