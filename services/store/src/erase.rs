//! Erasing a number's rows, by lightweight deletes.
//!
//! Only rows that the log appended before the order are erased, so an order that is read again leaves a later registration
//! alone. Rows of older records that arrive after the order are the business of the full erasure.

use waybill_schemas::{CarrierSlug, TrackingNumber};

/// A number whose rows must go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Erasure {
    pub(crate) carrier: CarrierSlug,
    pub(crate) number: TrackingNumber,
    /// Rows appended to the log up to this wall-clock instant, in ms.
    pub(crate) until_ms: i64,
}

/// Tables that hold rows of numbers.
const TABLES: [&str; 7] =
    ["tracking_events", "shipments", "status_changes", "deliveries", "fetch_outcomes", "registrations", "settlements"];

/// The statements that erase all of these, one a table: a delete rewrites parts, so many numbers share one.
pub(crate) fn statements(erasures: &[Erasure]) -> Vec<String> {
    if erasures.is_empty() {
        return Vec::new();
    }
    // Slugs and canonical numbers consist of letters, digits, dot, underscore and hyphen: nothing needs quoting.
    let list = |one: fn(&Erasure) -> String| erasures.iter().map(one).collect::<Vec<_>>().join(", ");
    let pairs = list(|erasure| format!("('{}', '{}')", erasure.carrier, erasure.number));
    let keys = list(|erasure| format!("'{}:{}'", erasure.carrier, erasure.number));
    let times = list(|erasure| format!("toInt64({})", erasure.until_ms));
    TABLES
        .iter()
        .map(|table| {
            format!(
                "DELETE FROM {table} WHERE (carrier, number) IN ({pairs}) AND toUnixTimestamp64Milli(log_time) <= \
                 transform(concat(carrier, ':', number), [{keys}], [{times}], toInt64(0))"
            )
        })
        .collect()
}
