//! Names of record headers.

/// Epoch of the claim under which a state record or request was written: an offset as decimal text.
pub const EPOCH: &str = "waybill-epoch";
/// Kind of a record that is no plain value, e.g. a claim.
pub const KIND: &str = "waybill-kind";
/// The attempt that a request, result or outcome is of, as decimal text: with the key it still tells whose the record is
/// when its value cannot be read.
pub const ATTEMPT: &str = "waybill-attempt";
/// Of a result or an outcome: the offset of its request, as decimal text.
pub const REQUEST_OFFSET: &str = "waybill-request-offset";
/// W3C trace context.
pub const TRACEPARENT: &str = "traceparent";
/// Media type of the value.
pub const CONTENT_TYPE: &str = "content-type";
/// CloudEvents: version of the specification (`1.0`).
pub const CE_SPECVERSION: &str = "ce_specversion";
/// CloudEvents: identity; consumers drop repeats by it.
pub const CE_ID: &str = "ce_id";
/// CloudEvents: what happened.
pub const CE_TYPE: &str = "ce_type";
/// CloudEvents: who says so.
pub const CE_SOURCE: &str = "ce_source";
/// CloudEvents: when, RFC 3339.
pub const CE_TIME: &str = "ce_time";
