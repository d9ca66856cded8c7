//! The pure function at the heart of the service: a result and a mapping → new events, state, status change, new memory,
//! outcome. Nothing in what it makes comes from a clock, so a repeat makes the same again, byte for byte (LOG-1).
//!
//! What becomes of a result:
//!
//! | result | events | status | memories | shipment |
//! |---|---|---|---|---|
//! | `tracked`, `registered_no_scan` | new ones are added | follows them | both advance | if it changed |
//! | the same, `unchanged` | – | stays | both advance | if the class shown changed |
//! | `not_found` | – | NotFound while there is no scan | both advance | if it changed |
//! | every other class of a look | – | stays | as sent (1) | if the class shown changed |
//! | `deferred`, `expired` | – | stays | as sent | – |
//! | `clock` | – | Expired, unless delivered or returned | the normalizer's | if it changed |
//! | `stop`, `resume`, `replay` | – | stays | as sent (1) | if it changed; `replay`: always |
//! | of a `probe` | – | – | as sent | –; the outcome tells whether there are events after the order |
//! | `forget` | – | – | emptied | a tombstone, and a record on `waybill.forgotten` |
//!
//! (1) but for the note of what `waybill.shipments` shows, which is no part of a reading: without it the end of a failure
//! could not be told from yet another unchanged look, and either each look would rewrite the record or none would.
//!
//! A shipment's record exists from its first accepted reading on (or from its expiry, if there never was one); before that
//! there is nothing to say and the API answers `pending`.

use waybill_adapters::{Adapter, not_found};
use waybill_schemas::{
    JourneyMs, Memories, Memory, OutcomeClass, Status, SubStatus, WallMs,
    event::TrackingEvent,
    fetch::{FetchRequest, FetchResult, RequestKind},
    forgotten::Forgotten,
    limits::{MAX_EVENTS, MAX_TEXT_BYTES},
    outcome::{Feedback, Outcome},
    shipment::{Cause, LastOutcome, Moment, Shipment, StatusChange},
};

use crate::{
    drift,
    memory::{Published, ShipmentMemory},
    probe,
    reading::{self, Words},
    view,
};

/// All that follows from one result.
#[derive(Debug, Clone, PartialEq)]
pub struct Normalized {
    /// New events, oldest first.
    pub events: Vec<TrackingEvent>,
    /// The shipment's record, where it changed.
    pub shipment: Option<Shipment>,
    /// The change of main status, where there was one.
    pub change: Option<StatusChange>,
    /// The erasure, where one was ordered.
    pub forgotten: Option<Forgotten>,
    /// How the attempt ended (FET-1).
    pub outcome: Outcome,
    /// Why the result belongs among the dead letters, where it does.
    pub dead: Option<String>,
    /// New events that nothing in the mapping matched.
    pub unmatched: u32,
    /// Promises found broken when the step was checked: an error in this program.
    pub violations: Vec<&'static str>,
}

/// Normalizes one result. `adapter` is the carrier's, as this process knows it; without one, answers with events are put
/// off (`deferred`) until a process knows it.
pub fn normalize(result: &FetchResult, adapter: Option<&Adapter>) -> Normalized {
    normalize_read_by(result, adapter, adapter)
}

/// The same where another version of the adapter read the answer than the one whose mapping is in force: the order in
/// which a page lists its events is known to whoever read it.
pub fn normalize_read_by(result: &FetchResult, adapter: Option<&Adapter>, reader: Option<&Adapter>) -> Normalized {
    let words = adapter.map(|adapter| Words {
        mapping: &adapter.mapping,
        page: reader.unwrap_or(adapter).page_order(&result.source.reader),
    });
    step(result, words)
}

/// The same, of a mapping alone.
pub(crate) fn step(result: &FetchResult, words: Option<Words<'_>>) -> Normalized {
    let request = &result.request;
    if let Some(reason) = beyond_limits(result) {
        let mut refused = bare(result, OutcomeClass::Unreadable, None);
        refused.outcome.detail = Some(reason.clone());
        refused.dead = Some(reason);
        return refused;
    }
    let internal = result.class == OutcomeClass::Internal;
    if internal && request.kind == RequestKind::Forget {
        return forget(result);
    }
    if request.kind == RequestKind::Probe {
        return probed(result);
    }
    let before = match ShipmentMemory::decode(&request.memories.normalizer) {
        Ok(memory) => memory,
        Err(error) => {
            let mut put_off = bare(result, OutcomeClass::Deferred, None);
            put_off.outcome.detail = Some(error.to_string());
            return put_off;
        }
    };
    let known = drift::Before::of(&before);
    let mut done = step_from(result, words, before);
    done.outcome.feedback.look = drift::facts(result, known, &done);
    done.outcome.feedback.trial.clone_from(&result.source.trial);
    done
}

fn step_from(result: &FetchResult, words: Option<Words<'_>>, before: ShipmentMemory) -> Normalized {
    let request = &result.request;
    let step = Step { result, before };
    match result.class {
        OutcomeClass::Internal => step.internal(),
        OutcomeClass::Tracked if result.unchanged => step.unchanged(),
        OutcomeClass::Tracked | OutcomeClass::RegisteredNoScan => match words {
            Some(words) => step.reading(words),
            None => {
                let mut put_off = bare(result, OutcomeClass::Deferred, step.before.status);
                put_off.outcome.detail = Some(format!("this normalizer has no adapter `{}`", request.carrier));
                put_off
            }
        },
        OutcomeClass::NotFound => step.not_found(words),
        OutcomeClass::Deferred | OutcomeClass::Expired => bare(result, result.class, step.before.status),
        _ => step.failed(),
    }
}

/// A probe publishes nothing: its outcome tells what it showed, and nothing of the answer is remembered.
fn probed(result: &FetchResult) -> Normalized {
    let mut done = bare(result, result.class, None);
    done.outcome.probed = probe::showed(result);
    done
}

/// Fetchers keep the limits; a result beyond them was not written by one.
fn beyond_limits(result: &FetchResult) -> Option<String> {
    if result.events.len() > MAX_EVENTS {
        return Some(format!("a result has {} events, at most {MAX_EVENTS} are read", result.events.len()));
    }
    let long = result.events.iter().any(|event| {
        let places = [Some(&event.time_raw), Some(&event.text), event.code.as_ref(), event.location.as_ref()];
        places.into_iter().flatten().any(|text| text.len() > MAX_TEXT_BYTES)
    });
    long.then(|| format!("an event has a text of more than {MAX_TEXT_BYTES} bytes"))
}

/// Nothing but an outcome, with the memories as they were sent.
fn bare(result: &FetchResult, class: OutcomeClass, status: Option<SubStatus>) -> Normalized {
    let outcome = outcome_of(&result.request, class, result.request_offset, result.seen_at);
    let number_waits = class == OutcomeClass::Deferred && result.class == OutcomeClass::Deferred;
    Normalized {
        events: Vec::new(),
        shipment: None,
        change: None,
        forgotten: None,
        outcome: Outcome {
            detail: result.detail.clone(),
            needs: result.needs.clone(),
            status: status.map(SubStatus::status),
            sub_status: status,
            not_before: result.not_before.filter(|_| number_waits),
            feedback: feedback(result.spent, result.not_before.filter(|_| !number_waits)),
            ..outcome
        },
        dead: None,
        unmatched: 0,
        violations: Vec::new(),
    }
}

/// An outcome that says only how the attempt ended.
pub(crate) fn outcome_of(
    request: &FetchRequest,
    class: OutcomeClass,
    request_offset: u64,
    seen_at: JourneyMs,
) -> Outcome {
    Outcome {
        carrier: request.carrier.clone(),
        number: request.number.clone(),
        instance: request.instance.max(1),
        attempt: request.attempt,
        request_offset,
        kind: request.kind,
        class,
        detail: None,
        needs: Vec::new(),
        status: None,
        sub_status: None,
        changed: false,
        probed: None,
        seen_at,
        not_before: None,
        feedback: Feedback::default(),
        memories: request.memories.clone(),
    }
}

fn feedback(spent: u32, budget_not_before: Option<WallMs>) -> Feedback {
    Feedback { spent, budget_not_before, ..Feedback::default() }
}

fn forget(result: &FetchResult) -> Normalized {
    let request = &result.request;
    let mut done = bare(result, OutcomeClass::Internal, None);
    done.outcome.memories = Memories::default();
    done.forgotten = Some(Forgotten {
        carrier: request.carrier.clone(),
        number: request.number.clone(),
        attempt: request.attempt,
        at: result.seen_at,
    });
    done
}

/// Whether the shipment's record is written even when it has not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Publish {
    IfChanged,
    Always,
}

/// Which digest tells whether it has changed: that of a whole record, or of one rebuilt from memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Basis {
    Answer,
    Memory,
}

struct Step<'a> {
    result: &'a FetchResult,
    before: ShipmentMemory,
}

impl Step<'_> {
    fn instance(&self) -> u32 {
        if self.before.instance > 0 { self.before.instance } else { self.result.request.instance.max(1) }
    }

    /// The memory to work on, of a known life.
    fn memory(&self) -> ShipmentMemory {
        ShipmentMemory { instance: self.instance(), ..self.before.clone() }
    }

    fn last_outcome(&self) -> LastOutcome {
        LastOutcome { class: self.result.class, at: self.result.seen_at, detail: self.result.detail.clone() }
    }

    fn seen_only(&self) -> Moment {
        Moment { time: None, time_utc: None, seen_at: self.result.seen_at }
    }

    fn reading(&self, words: Words<'_>) -> Normalized {
        let read = reading::read(self.result, words, &self.memory());
        let violations = self.check(&read);
        let mut memory = read.memory;
        let mut done = self.publish(&mut memory, (Basis::Answer, Publish::IfChanged), Cause::Poll);
        memory.fit(words.mapping.rules());
        self.advance(&mut done, memory, !read.events.is_empty());
        done.events = read.events;
        done.unmatched = read.unmatched;
        done.violations = violations;
        done
    }

    fn unchanged(&self) -> Normalized {
        if !self.before.latches.read {
            // The fetcher compared with an answer that the normalizer never saw; without its memory it asks anew.
            let mut anew = bare(self.result, OutcomeClass::Deferred, self.before.status);
            anew.outcome.detail = Some("an unchanged answer to what was never read: asking anew".to_owned());
            anew.outcome.memories.fetcher = Memory::default();
            return anew;
        }
        let mut memory = self.memory();
        memory.shown.last_outcome = Some(self.last_outcome());
        let mut done = self.publish(&mut memory, (Basis::Memory, Publish::IfChanged), Cause::Poll);
        self.advance(&mut done, memory, false);
        done
    }

    /// NRM-3: NotFound only while there is no scan; an expired shipment waits for an event.
    fn not_found(&self, words: Option<Words<'_>>) -> Normalized {
        let mut memory = self.memory();
        let expired = memory.status == Some(SubStatus::ExpiredOther);
        if !memory.latches.scanned && !expired {
            let status = not_found(words.and_then(|words| words.mapping.headline(&self.result.facts)));
            if memory.status.map(SubStatus::status) != Some(Status::NotFound) {
                memory.since = Some(self.seen_only());
            }
            memory.status = Some(status);
        }
        memory.latches.read = true;
        memory.shown.last_outcome = Some(self.last_outcome());
        let mut done = self.publish(&mut memory, (Basis::Memory, Publish::IfChanged), Cause::Poll);
        self.advance(&mut done, memory, false);
        done
    }

    /// NRM-3: a look that brought no reading leaves status and history alone.
    fn failed(&self) -> Normalized {
        let mut memory = self.memory();
        memory.shown.last_outcome = Some(self.last_outcome());
        let mut done = self.publish(&mut memory, (Basis::Memory, Publish::IfChanged), Cause::Poll);
        self.note(&mut done, memory);
        done
    }

    fn internal(&self) -> Normalized {
        let mut memory = self.memory();
        let (publish, cause) = match self.result.request.kind {
            RequestKind::Clock => {
                // NRM-3, NRM-4: time undoes neither a delivery nor a return.
                let ended = matches!(memory.status, Some(SubStatus::DeliveredOther | SubStatus::ExceptionReturned));
                if !ended && memory.status != Some(SubStatus::ExpiredOther) {
                    memory.status = Some(SubStatus::ExpiredOther);
                    memory.since = Some(self.seen_only());
                }
                (Publish::IfChanged, Cause::Clock)
            }
            RequestKind::Replay => (Publish::Always, Cause::Replay),
            _ => (Publish::IfChanged, Cause::Poll),
        };
        let mut done = self.publish(&mut memory, (Basis::Memory, publish), cause);
        self.note(&mut done, memory);
        done
    }

    /// The record and the change that follow from a memory; the memory is told what is shown now.
    fn publish(&self, memory: &mut ShipmentMemory, how: (Basis, Publish), cause: Cause) -> Normalized {
        let (request, seen_at) = (&self.result.request, self.result.seen_at);
        let mut done = bare(self.result, self.result.class, memory.status);
        done.outcome.instance = memory.instance;
        let Some(shipment) = view::shipment(memory, request, seen_at) else { return done };
        let shown = self.before.published.filter(|_| memory.instance == self.before.instance);
        let shown = shown.map(|published| match how.0 {
            Basis::Answer => published.record,
            Basis::Memory => published.rebuilt,
        });
        let record = view::digest(&shipment);
        done.change = self.change(memory, &shipment, cause);
        if how.1 == Publish::Always || shown != Some(record) {
            memory.published = Some(Published { record, rebuilt: record });
            done.shipment = Some(shipment);
        } else {
            memory.published = self.before.published;
            memory.shown.last_outcome.clone_from(&self.before.shown.last_outcome);
        }
        done
    }

    fn change(&self, memory: &ShipmentMemory, shipment: &Shipment, cause: Cause) -> Option<StatusChange> {
        let same_life = memory.instance == self.before.instance;
        let previous = self.before.status.filter(|_| same_life).map(SubStatus::status);
        if previous == Some(shipment.status) {
            return None;
        }
        let look = cause == Cause::Poll;
        Some(StatusChange {
            carrier: shipment.carrier.clone(),
            number: shipment.number.clone(),
            instance: shipment.instance,
            reference: shipment.reference.clone(),
            previous,
            current: shipment.status,
            sub_status: shipment.sub_status,
            first: previous.is_none(),
            initial: look && !(same_life && self.before.latches.read),
            cause,
            registered_at: shipment.registered_at,
            event_time: shipment.since.time.clone(),
            seen_at: self.result.seen_at,
            attempt: shipment.version,
        })
    }

    /// Both memories advance together, with an accepted reading.
    fn advance(&self, done: &mut Normalized, memory: ShipmentMemory, new_events: bool) {
        done.outcome.changed = new_events || self.before.status != memory.status;
        done.outcome.memories.normalizer = self.encoded(memory);
        if let Some(fetchers) = &self.result.fetcher_memory {
            done.outcome.memories.fetcher = fetchers.clone();
        }
    }

    /// Only what is shown is noted; nothing when nothing was published.
    fn note(&self, done: &mut Normalized, memory: ShipmentMemory) {
        done.outcome.changed = self.before.status != memory.status;
        if done.shipment.is_some() {
            done.outcome.memories.normalizer = self.encoded(memory);
        }
    }

    fn encoded(&self, mut memory: ShipmentMemory) -> Memory {
        memory.fit_shown();
        let rebuilt = view::shipment(&memory, &self.result.request, self.result.seen_at);
        if let (Some(published), Some(rebuilt)) = (&mut memory.published, rebuilt) {
            published.rebuilt = view::digest(&rebuilt);
        }
        memory.encode()
    }

    /// Looks at what a reading made as an outsider would, so that a mistake in it is counted where it can be watched.
    fn check(&self, read: &reading::Read) -> Vec<&'static str> {
        let (before, after) = (&self.before, &read.memory);
        let mut broken = Vec::new();
        let mut ids: Vec<u64> = read.events.iter().map(|event| event.event_id.event).collect();
        ids.sort_unstable();
        ids.dedup();
        let same_life = before.instance == after.instance;
        let known = same_life && before.events.iter().any(|known| ids.binary_search(&known.published_hash()).is_ok());
        if ids.len() != read.events.len() || known {
            broken.push("NRM-2");
        }
        if same_life && after.event_count() < before.event_count() {
            broken.push("NRM-3");
        }
        let delivered = |memory: &ShipmentMemory| memory.status == Some(SubStatus::DeliveredOther);
        if same_life && delivered(before) && !delivered(after) && !read.contradicted {
            broken.push("NRM-4");
        }
        broken
    }
}
