//! Numbers whose records must be erased everywhere (`waybill.forgotten`, compacted), keyed `carrier:number`.

use serde::{Deserialize, Serialize};

use crate::{carrier::CarrierSlug, number::TrackingNumber, time::JourneyMs};

/// An erasure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgotten {
    /// The carrier.
    pub carrier: CarrierSlug,
    /// The canonical number.
    pub number: TrackingNumber,
    /// The attempt that erased it; records of this or an earlier attempt are meant.
    pub attempt: i64,
    /// When it was forgotten.
    pub at: JourneyMs,
}
