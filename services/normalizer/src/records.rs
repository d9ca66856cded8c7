//! What is written for one result: public records with CloudEvents headers, the outcome, dead letters.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use waybill_log::{
    DeadLetters, Headers, NewRecord, Record, TopicPartition,
    records::{JsonError, NamedAttempt, Reason, attempt_headers, header, json_record, tombstone},
};
use waybill_schemas::{
    CarrierSlug, JourneyMs, Memories, OutcomeClass, TrackingNumber, WallMs,
    fetch::{FetchRequest, FetchResult, RequestKind},
    headers,
    layout::public_partition,
    outcome::Outcome,
    shipment::Tracking,
};

use crate::{Normalized, normalize::outcome_of};

/// CloudEvents' source of everything the normalizer publishes.
const SOURCE: &str = "/waybill/normalizer";

/// A public topic.
#[derive(Debug, Clone)]
pub(crate) struct Public {
    pub(crate) topic: Arc<str>,
    pub(crate) partitions: u32,
}

impl Public {
    fn at(&self, key: &str) -> TopicPartition {
        TopicPartition::new(Arc::clone(&self.topic), public_partition(key.as_bytes(), self.partitions))
    }
}

/// Where records go.
#[derive(Debug, Clone)]
pub(crate) struct Topics {
    pub(crate) events: Public,
    pub(crate) shipments: Public,
    pub(crate) changes: Public,
    pub(crate) forgotten: Arc<str>,
    pub(crate) outcomes: Arc<str>,
    pub(crate) results: Arc<str>,
    pub(crate) dead: DeadLetters,
}

/// Records of one result, in the order in which they are written: all of `before` is durable before `outcome` is.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    pub(crate) before: Vec<NewRecord>,
    pub(crate) outcome: Option<NewRecord>,
}

/// What identifies a public record to consumers.
struct Identity<'a> {
    id: String,
    kind: &'a str,
    at: JourneyMs,
}

impl Identity<'_> {
    fn headers(self, trace: Option<&Bytes>) -> Headers {
        let mut all = vec![
            header(headers::CE_SPECVERSION, "1.0"),
            header(headers::CE_ID, self.id),
            header(headers::CE_TYPE, self.kind),
            header(headers::CE_SOURCE, SOURCE),
            header(headers::CE_TIME, self.at.to_string()),
        ];
        all.extend(traced(trace));
        all
    }
}

/// The trace goes on.
fn traced(trace: Option<&Bytes>) -> Headers {
    trace.map(|trace| (headers::TRACEPARENT.to_owned(), trace.clone())).into_iter().collect()
}

impl Topics {
    /// Everything that follows from a normalized result; `from` is the result's record.
    pub(crate) fn outputs(
        &self,
        done: &Normalized,
        from: &Record,
        partition: u32,
        seen_at: JourneyMs,
    ) -> Result<Outputs, JsonError> {
        let trace = from.header(headers::TRACEPARENT);
        let outcome = &done.outcome;
        let key = format!("{}:{}", outcome.carrier, outcome.number);
        let mut before = Vec::with_capacity(done.events.len() + 2);
        if let Some(reason) = &done.dead {
            before.push(self.dead_letter(from, partition, ("beyond_limits", reason)));
        }
        for event in &done.events {
            let id = format!("{}.{}", event.event_id, event.version);
            let named = Identity { id, kind: "waybill.tracking-event", at: seen_at };
            before.push(json_record(self.events.at(&key), key.clone(), event, named.headers(trace))?);
        }
        if let Some(shipment) = &done.shipment {
            let named = Identity { id: format!("{key}:{}", shipment.version), kind: "waybill.shipment", at: seen_at };
            before.push(json_record(self.shipments.at(&key), key.clone(), shipment, named.headers(trace))?);
        }
        if let Some(change) = &done.change {
            let id = format!("{key}:{}:{}:{}", change.instance, change.attempt, change.current);
            let named = Identity { id, kind: "waybill.status-change", at: seen_at };
            before.push(json_record(self.changes.at(&key), key.clone(), change, named.headers(trace))?);
        }
        if let Some(forgotten) = &done.forgotten {
            let id = format!("{key}:{}", forgotten.attempt);
            let named = Identity { id, kind: "waybill.shipment", at: seen_at };
            before.push(tombstone(self.shipments.at(&key), key.clone(), named.headers(trace)));
            let at = TopicPartition::new(Arc::clone(&self.forgotten), 0);
            before.push(json_record(at, key.clone(), forgotten, traced(trace))?);
        }
        Ok(Outputs { before, outcome: Some(self.outcome(outcome, partition, trace)?) })
    }

    /// The outcome lives in the partition of its result: the same number of every internal topic.
    fn outcome(&self, outcome: &Outcome, partition: u32, trace: Option<&Bytes>) -> Result<NewRecord, JsonError> {
        let key = format!("{}:{}", outcome.carrier, outcome.number);
        let mut named = attempt_headers(outcome.attempt, Some(outcome.request_offset));
        named.extend(traced(trace));
        json_record(TopicPartition::new(Arc::clone(&self.outcomes), partition), key, outcome, named)
    }

    /// For a result that is no result: a dead letter and, where its attempt can still be told, an outcome, so that the
    /// number is free again (FET-1).
    pub(crate) fn unreadable(
        &self,
        from: &Record,
        partition: u32,
        now: JourneyMs,
        error: &serde_json::Error,
    ) -> Result<Outputs, JsonError> {
        let remains = Remains::of(from);
        let fate = if remains.is_some() {
            "its attempt ended as `unreadable`"
        } else {
            "neither value nor headers name its attempt, so that nothing could end it"
        };
        // Only the place is told: the parser's message may repeat parts of the value.
        let (line, column) = (error.line(), error.column());
        let detail = format!("the result is not what a fetcher writes (line {line}, column {column}); {fate}");
        let before = vec![self.dead_letter(from, partition, ("unreadable", &detail))];
        let Some(remains) = remains else { return Ok(Outputs { before, outcome: None }) };
        let mut outcome = remains.outcome(now);
        outcome.detail = Some("the fetcher's result could not be read".to_owned());
        let outcome = self.outcome(&outcome, partition, from.header(headers::TRACEPARENT))?;
        Ok(Outputs { before, outcome: Some(outcome) })
    }

    /// For a result on which the mapping panicked: a dead letter, and its attempt ends with the memories as they were sent.
    pub(crate) fn panicked(&self, from: &Record, partition: u32, result: &FetchResult) -> Result<Outputs, JsonError> {
        let detail = "the mapping panicked on it; its attempt ended as `unreadable`";
        let before = vec![self.dead_letter(from, partition, ("mapping_panicked", detail))];
        let why = "the adapter's mapping failed on this answer".to_owned();
        let outcome = self.short(from, partition, result, (OutcomeClass::Unreadable, why, None))?;
        Ok(Outputs { before, outcome: outcome.outcome })
    }

    /// An attempt that ends without its result being looked into.
    pub(crate) fn short(
        &self,
        from: &Record,
        partition: u32,
        result: &FetchResult,
        (class, why, hold): (OutcomeClass, String, Option<WallMs>),
    ) -> Result<Outputs, JsonError> {
        let mut outcome = outcome_of(&result.request, class, result.request_offset, result.seen_at);
        outcome.detail = Some(why);
        outcome.feedback.spent = result.spent;
        outcome.feedback.budget_not_before = hold.max(result.not_before);
        let outcome = self.outcome(&outcome, partition, from.header(headers::TRACEPARENT))?;
        Ok(Outputs { before: Vec::new(), outcome: Some(outcome) })
    }

    fn dead_letter(&self, from: &Record, partition: u32, (code, detail): (&str, &str)) -> NewRecord {
        let place = TopicPartition::new(Arc::clone(&self.results), partition);
        let topic = self.results.to_string();
        metrics::counter!("waybill_dead_letters_total", "service" => "normalizer", "topic" => topic).increment(1);
        tracing::warn!(partition, offset = from.offset, reason = code, "normalizer.dead_letter");
        self.dead.letter(&place, from, &Reason { code, detail, service: "normalizer" })
    }
}

/// What must be readable of a result for its attempt to be told: its value's own fields, else its key and headers. Where
/// the memories are not among it the outcome has none, which takes nothing from what the scheduler remembers.
#[derive(Debug, Deserialize, Serialize)]
struct Remains {
    carrier: CarrierSlug,
    number: TrackingNumber,
    attempt: i64,
    request_offset: u64,
    memories: Memories,
    #[serde(default)]
    instance: u32,
    kind: Option<RequestKind>,
    seen_at: Option<JourneyMs>,
}

impl Remains {
    fn of(record: &Record) -> Option<Self> {
        record.value.as_deref().and_then(|value| serde_json::from_slice(value).ok()).or_else(|| Self::named(record))
    }

    fn named(record: &Record) -> Option<Self> {
        let NamedAttempt { key, attempt, request_offset } = NamedAttempt::of(record)?;
        Some(Self {
            carrier: key.carrier,
            number: key.number,
            attempt,
            request_offset: request_offset?,
            memories: Memories::default(),
            instance: 0,
            kind: None,
            seen_at: None,
        })
    }

    fn outcome(self, now: JourneyMs) -> Outcome {
        let request = FetchRequest {
            kind: self.kind.unwrap_or(RequestKind::Poll),
            carrier: self.carrier,
            number: self.number,
            instance: self.instance,
            reference: None,
            registered_at: now,
            registration: waybill_schemas::command::Registration::default(),
            params: std::collections::BTreeMap::new(),
            attempt: self.attempt,
            expires_at: WallMs::ZERO,
            tracking: Tracking::Active,
            stop_reason: None,
            memories: self.memories,
        };
        outcome_of(&request, OutcomeClass::Unreadable, self.request_offset, self.seen_at.unwrap_or(now))
    }
}

/// Key and attempt of a result, for knowing repeats; everything else in it is passed over.
#[derive(Debug, Deserialize)]
pub(crate) struct Brief {
    pub(crate) carrier: CarrierSlug,
    pub(crate) number: TrackingNumber,
    pub(crate) attempt: i64,
}

/// A result's record; `None` for records that are no results (tombstones, marks under keys with `!`).
pub(crate) fn read_result(record: &Record) -> Option<Result<FetchResult, serde_json::Error>> {
    if record.key_str().is_some_and(|key| key.starts_with('!')) {
        return None;
    }
    Some(serde_json::from_slice(record.value.as_deref()?))
}

/// Bytes that a record brings along, roughly.
pub(crate) fn weight(record: &NewRecord) -> usize {
    let size = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
    size(&record.key) + size(&record.value) + 300
}
