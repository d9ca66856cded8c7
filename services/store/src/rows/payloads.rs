//! `waybill.payloads` → `payloads`: bytes as they are, under their hash.

use waybill_log::Record;
use waybill_schemas::headers::CONTENT_TYPE;

use super::Unreadable;
use crate::{
    buffer::Filling,
    columns::{Blob, LogPlace, Part, Word, table_row},
};

/// Header: the carrier that answered.
const CARRIER: &str = "waybill-carrier";
/// Header: the uncut length of an answer that did not fit.
const TRUNCATED: &str = "waybill-truncated";

table_row! {
    /// A carrier's answer.
    PayloadRow in "payloads", |row| Part::week(row.log.time), {
        hash: &'a str,
        carrier: Word<'a>,
        content_type: Word<'a>,
        size: u32,
        truncated_from: Option<u64>,
        body: Blob<'a>,
        log: LogPlace,
    }
}

pub(super) fn read(record: &Record, log: LogPlace, into: &mut Filling) -> Result<(), Unreadable> {
    let Some(value) = &record.value else { return Ok(()) };
    let hash = record.key_str().filter(|hash| !hash.is_empty() && hash.len() <= 128).ok_or(Unreadable::Key)?;
    let row = PayloadRow {
        hash,
        carrier: Word(record.header_str(CARRIER).unwrap_or_default()),
        content_type: Word(record.header_str(CONTENT_TYPE).unwrap_or_default()),
        size: u32::try_from(value.len()).unwrap_or(u32::MAX),
        truncated_from: record.header_str(TRUNCATED).and_then(|length| length.parse().ok()),
        body: Blob(value),
        log,
    };
    into.row(0, &row);
    Ok(())
}
