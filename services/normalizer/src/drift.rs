//! What a result shows of the adapter that read it, counted: pure. The scheduler keeps the counts (it is the only stateful
//! service, and every outcome reaches it exactly once per attempt); nothing of an answer's content is in them.

use waybill_schemas::{
    OutcomeClass,
    drift::{History, LookFacts, ReadFacts},
    fetch::{FetchResult, RequestKind},
};

use crate::{Normalized, memory::ShipmentMemory};

/// What was known of the number before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Before {
    events: usize,
    /// Whether any of them had a time that was understood.
    timed: bool,
}

impl Before {
    pub(crate) fn of(memory: &ShipmentMemory) -> Self {
        let events = usize::try_from(memory.event_count()).unwrap_or(usize::MAX);
        Self { events, timed: memory.events.iter().any(|event| event.time.is_some()) }
    }
}

/// The facts of one look; none where the adapter did not come to read an answer.
pub(crate) fn facts(result: &FetchResult, before: Before, done: &Normalized) -> Option<LookFacts> {
    let source = &result.source;
    let answered =
        result.class.is_reading() || matches!(result.class, OutcomeClass::Unreadable | OutcomeClass::NeedsData);
    let put_off = done.outcome.class == OutcomeClass::Deferred;
    if put_off || result.request.kind != RequestKind::Poll || source.adapter_version.is_empty() || !answered {
        return None;
    }
    // A time that was printed and not understood; or none at all on a number whose events had times.
    let untimed = |event: &&waybill_schemas::event::TrackingEvent| {
        event.time.is_none() && (!event.time_raw.is_empty() || before.timed)
    };
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    Some(LookFacts {
        version: source.adapter_version.clone(),
        read: ReadFacts {
            unreadable: result.class == OutcomeClass::Unreadable,
            events: count(done.events.len()),
            unmatched: done.unmatched,
            untimed: count(done.events.iter().filter(untimed).count()),
            history: history(result, before),
        },
        unknown_fields: source.unknown_fields.clone(),
        candidate: source.candidate,
    })
}

fn history(result: &FetchResult, before: Before) -> History {
    let shown = result.events.len();
    match result.class {
        _ if before.events == 0 || !result.class.is_reading() => History::Unjudged,
        OutcomeClass::Tracked if result.unchanged => History::Kept,
        OutcomeClass::NotFound => History::Gone,
        _ if shown == 0 => History::Gone,
        _ if shown.saturating_mul(2) < before.events => History::Fewer,
        _ => History::Kept,
    }
}
