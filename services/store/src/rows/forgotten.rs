//! `waybill.forgotten` → erasure of a number's rows. A tombstone only cleans the topic.

use waybill_log::Record;

use super::{Unreadable, erasure, shipment_key};
use crate::{buffer::Filling, columns::LogPlace};

pub(super) fn read(record: &Record, log: LogPlace, into: &mut Filling) -> Result<(), Unreadable> {
    if record.value.is_some() {
        into.erase(erasure(shipment_key(record)?, log));
    }
    Ok(())
}
