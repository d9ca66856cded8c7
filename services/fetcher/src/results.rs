//! From a request and what came of it to its one terminal result (FET-1), and to the payload that goes before it: pure.

use waybill_adapters::ReadOutcome;
use waybill_schemas::{
    JourneyMs, OutcomeClass, WallMs,
    event::ShipmentFacts,
    fetch::{FetchRequest, FetchResult, ReadSource, RequestKind},
    limits::{MAX_EVENTS, MAX_RESULT_BYTES, MAX_TEXT_BYTES},
};
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    admission::Short,
    look_up::LookUp,
    memory::FetcherMemory,
    payload::{self, Payload},
};

/// Who asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    pub(crate) adapter: String,
    pub(crate) adapter_version: String,
    pub(crate) source: String,
    pub(crate) candidate: bool,
}

/// When a result without network was made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub(crate) wall: WallMs,
    pub(crate) journey: JourneyMs,
}

/// The result of a request that was answered without the network.
pub(crate) fn short(request: FetchRequest, request_offset: u64, short: Short, now: Now) -> FetchResult {
    FetchResult {
        request,
        request_offset,
        class: short.class,
        detail: short.detail,
        needs: Vec::new(),
        unchanged: false,
        events: Vec::new(),
        facts: ShipmentFacts::default(),
        source: ReadSource::default(),
        payload: None,
        fetched_at: now.wall,
        seen_at: now.journey,
        spent: 0,
        not_before: short.not_before,
        fetcher_memory: None,
    }
}

/// The result of a look-up, and the payload to be durable before it.
pub(crate) fn of_look_up(
    request: FetchRequest,
    request_offset: u64,
    found: LookUp,
    known: &FetcherMemory,
    (asked, sample_one_in): (&Asked, u32),
) -> (FetchResult, Option<Payload>) {
    let LookUp {
        mut outcome, not_modified, validators, answers, spent, not_before, fetched_at, seen_at, beside, ..
    } = found;
    if let Some(why) = beyond_limits(&outcome) {
        outcome = unreadable(&outcome, why);
    }
    let reading = outcome.class.is_reading();
    let same = !not_modified
        && reading
        && known.digest == Some(outcome.digest)
        && known.adapter_version == asked.adapter_version
        && !request.memories.normalizer.is_empty();
    let unchanged = outcome.class == OutcomeClass::Tracked && (not_modified || same);
    let sampled = is_sampled(&request, sample_one_in);
    let keep = match outcome.class {
        // Of a number that may be anybody's nothing is kept.
        _ if request.kind == RequestKind::Probe => false,
        _ if not_modified => false,
        OutcomeClass::Unreadable => true,
        _ if reading => !same || sampled,
        OutcomeClass::NeedsData | OutcomeClass::Blocked => sampled,
        _ => false,
    };
    let packed = if keep { payload::pack(&answers) } else { None };
    let hash = packed.as_ref().map(|payload| payload.hash.clone());
    let memory = reading.then(|| {
        let digest = if not_modified { known.digest } else { Some(outcome.digest) };
        known.advanced(validators, digest, hash.clone()).by(&asked.adapter_version, &asked.source).encode()
    });
    let ReadOutcome { class, detail, needs, events, facts, reader, .. } = outcome;
    let (events, facts) = if unchanged { Default::default() } else { (events, facts) };
    let mut result = FetchResult {
        request,
        request_offset,
        class,
        detail: detail.map(|detail| detail.chars().take(500).collect()),
        needs,
        unchanged,
        events,
        facts,
        source: ReadSource {
            adapter: asked.adapter.clone(),
            adapter_version: asked.adapter_version.clone(),
            source: asked.source.clone(),
            reader,
            unknown_fields: beside.unknown_fields,
            candidate: asked.candidate,
            trial: beside.trial,
        },
        payload: hash,
        fetched_at,
        seen_at,
        spent,
        not_before,
        fetcher_memory: memory,
    };
    let fits = serde_json::to_vec(&result).is_ok_and(|bytes| bytes.len() <= MAX_RESULT_BYTES);
    let packed = if fits || result.payload.is_some() { packed } else { payload::pack(&answers) };
    if !fits {
        result.class = OutcomeClass::Unreadable;
        result.detail = Some(format!("too large: more than {MAX_RESULT_BYTES} bytes of events"));
        (result.events, result.facts) = Default::default();
        (result.unchanged, result.fetcher_memory) = (false, None);
        result.payload = packed.as_ref().map(|payload| payload.hash.clone());
    }
    (result, packed)
}

fn beyond_limits(outcome: &ReadOutcome) -> Option<String> {
    if outcome.events.len() > MAX_EVENTS {
        return Some(format!("too large: {} events, at most {MAX_EVENTS} are read", outcome.events.len()));
    }
    let long = outcome.events.iter().any(|event| {
        let texts = [Some(&event.text), Some(&event.time_raw), event.location.as_ref(), event.code.as_ref()];
        texts.into_iter().flatten().any(|text| text.len() > MAX_TEXT_BYTES)
    });
    long.then(|| format!("too large: a text of more than {MAX_TEXT_BYTES} bytes"))
}

fn unreadable(outcome: &ReadOutcome, why: String) -> ReadOutcome {
    ReadOutcome {
        class: OutcomeClass::Unreadable,
        detail: Some(why),
        needs: Vec::new(),
        events: Vec::new(),
        facts: ShipmentFacts::default(),
        ..outcome.clone()
    }
}

/// The same attempt is always sampled or never, so a repeat after a crash keeps the same.
fn is_sampled(request: &FetchRequest, one_in: u32) -> bool {
    let seed = format!("{}:{}", request.key().record_key(), request.attempt);
    one_in > 0 && xxh3_64(seed.as_bytes()).is_multiple_of(u64::from(one_in))
}

#[cfg(test)]
#[path = "results_tests.rs"]
mod tests;
