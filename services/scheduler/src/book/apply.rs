//! Applying outcomes: what frees a number, and when it is looked at next.

use waybill_politeness::interval::{self, Finding, Look, Next, Pace};
use waybill_schemas::{
    JourneyMs, Memories, OutcomeClass, Status, WallMs,
    fetch::RequestKind,
    outcome::Outcome,
    shipment::{StopReason, Tracking},
};

use super::{Around, Book, Now, Rules, deadline, expiry, publish, stop};
use crate::{
    entry::{Entry, Place, Told, Trying},
    why::Rule,
};

/// Least pause before what came too late is handed out again (wall), so that clocks that disagree do not spin.
const AGAIN_MS: i64 = 1_000;
/// Pause before a control that was not carried out is tried again (wall).
const CONTROL_AGAIN_MS: i64 = 5_000;
/// Larger memories than this are kept out: they would not fit a record, and the number would be stuck.
const MOST_MEMORY_BYTES: usize = 128 * 1024;

/// What became of an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Applied {
    /// The number is free again.
    Freed,
    /// It answers no attempt that is under way: a repeat, or another owner's.
    Ignored,
}

impl Book {
    /// SCH-2: frees a number only if both the attempt and the offset of the request are those of its open attempt.
    pub(crate) fn apply(&mut self, mut outcome: Outcome, now: &Now) -> Applied {
        self.feedback(&outcome, now);
        let found = self.find(&outcome.carrier, &outcome.number);
        let Some(open) = self.open.get(&outcome.request_offset).copied() else {
            return Applied::Ignored;
        };
        if open.attempt != outcome.attempt || found != Some(open.id) {
            return Applied::Ignored;
        }
        self.open.remove(&outcome.request_offset);
        // What an outcome was made of that could not be read knows less than we do.
        outcome.kind = open.kind;
        self.give_back(&open);
        self.watch_health(&outcome, now);
        let rules = self.rules;
        let mut erased = false;
        let mut probed = None;
        let probe = (outcome.kind == RequestKind::Probe).then(|| outcome.clone());
        self.change(open.id, now, |entry, around| {
            entry.place = Place::Idle;
            entry.attempt = outcome.attempt;
            entry.instance = entry.instance.max(outcome.instance);
            entry.set_not_before(None);
            if outcome.kind == RequestKind::Probe {
                probed = probe_ended(entry, &outcome, now);
            } else if outcome.kind == RequestKind::Poll {
                polled(entry, outcome, &At { now, around, rules: &rules });
            } else {
                erased = answered(entry, outcome, &At { now, around, rules: &rules }) == Fate::Erased;
            }
        });
        if let (Some(round), Some(outcome)) = (probed, probe) {
            self.probed_by(round, &outcome);
            erased = true;
        }
        if erased {
            self.erase(open.id);
        }
        Applied::Freed
    }

    /// What an attempt taught about the carrier holds for its budget, whoever made the attempt.
    fn feedback(&mut self, outcome: &Outcome, now: &Now) {
        let Some(carrier) = self.carrier_by_slug.get(&outcome.carrier) else {
            return;
        };
        let budget = &mut self.budgets[self.carriers[usize::from(*carrier)].budget];
        budget.spent = budget.spent.saturating_add(u64::from(outcome.feedback.spent));
        if let Some(until) = outcome.feedback.budget_not_before {
            budget.credit.block(until.min(now.wall.plus_ms(self.rules.hold_ms)));
        }
    }
}

/// The end of a probe: the round that is to be answered; or none, and it is made again.
fn probe_ended(entry: &mut Entry, outcome: &Outcome, now: &Now) -> Option<u32> {
    let put_off = matches!(outcome.class, OutcomeClass::Deferred | OutcomeClass::Expired | OutcomeClass::Internal);
    match entry.trying() {
        Some(Trying::Probe(round)) if !put_off => Some(*round),
        // Put off, or registered meanwhile: then it is looked at as any other.
        _ => {
            let again = outcome.not_before.unwrap_or(WallMs::ZERO).max(now.wall.plus_ms(AGAIN_MS));
            entry.set_not_before(Some(again));
            entry.due = entry.due.min(now.journey);
            None
        }
    }
}

struct At<'a> {
    now: &'a Now,
    around: &'a Around,
    rules: &'a Rules,
}

impl At<'_> {
    fn pace(&self) -> Pace {
        Pace {
            least_ms: self.around.least_ms,
            most_ms: self.around.most_ms,
            stretch: self.around.stretch,
            hash: self.around.hash,
        }
    }

    /// When the answer was seen, as far as it can be believed.
    fn seen(&self, entry: &Entry, outcome: &Outcome) -> JourneyMs {
        if outcome.seen_at < entry.registered_at { self.now.journey } else { outcome.seen_at.min(self.now.journey) }
    }
}

/// Both memories advance together or neither does; an answer that lost them never wipes what is known.
fn remember(entry: &mut Entry, memories: Memories) {
    let fits = memories.fetcher.0.len() <= MOST_MEMORY_BYTES && memories.normalizer.0.len() <= MOST_MEMORY_BYTES;
    if fits && (!memories.normalizer.is_empty() || entry.remembers_nothing()) {
        entry.set_memories(memories);
    }
}

fn polled(entry: &mut Entry, outcome: Outcome, at: &At<'_>) {
    if entry.pending == Some(RequestKind::Forget) {
        // All of it is about to be erased; `last_change` may hold the time of a new registration.
        return remember(entry, outcome.memories);
    }
    let seen = at.seen(entry, &outcome);
    if outcome.class.is_reading() {
        read(entry, outcome, seen, at);
    } else {
        failed(entry, outcome, seen, at);
    }
    // A command may have stopped it meanwhile; its time may be over.
    if entry.stop.is_none() && entry.until().is_some_and(|until| until <= at.now.journey) {
        stop(entry, StopReason::Until);
    }
}

fn read(entry: &mut Entry, outcome: Outcome, seen: JourneyMs, at: &At<'_>) {
    let (before, first) = (entry.status, entry.last_reading().is_none());
    remember(entry, outcome.memories);
    entry.status = outcome.status.or(entry.status);
    entry.sub_status = outcome.sub_status.or(entry.sub_status);
    entry.set_last_reading(Some(seen));
    entry.failures = 0;
    let moved = before != entry.status;
    // "Not known" at the first look is no news: silence counts from the registration.
    let news = outcome.changed || moved;
    if news && !(first && entry.status == Some(Status::NotFound)) {
        entry.last_change = entry.last_change.max(seen);
    }
    let finding = match (moved || first, outcome.changed) {
        (true, _) => Finding::Moved,
        (false, true) => Finding::Changed,
        (false, false) => Finding::Unchanged,
    };
    if finding != Finding::Unchanged {
        entry.confirmations = 0;
    }
    let look = Look {
        status: entry.sub_status,
        finding,
        previous_ms: entry.interval_ms,
        quiet_ms: seen.since_ms(entry.last_change),
        confirmations: u32::from(entry.confirmations),
    };
    let next = interval::after_reading(&look, &at.pace());
    if finding == Finding::Unchanged && entry.sub_status.and_then(interval::end_of).is_some() {
        entry.confirmations = entry.confirmations.saturating_add(1);
    }
    if entry.stop.is_some() {
        return;
    }
    match next {
        Next::Stop(reason) => stop(entry, reason),
        Next::Look(plan) => {
            entry.rule = match plan.rule {
                interval::Rule::NewStatus => Rule::NewStatus,
                interval::Rule::Sooner => Rule::Sooner,
                interval::Rule::Later => Rule::Later,
                interval::Rule::Confirm => Rule::Confirm,
            };
            entry.interval_ms = plan.interval_ms;
            entry.wait_ms = plan.wait_ms;
            entry.due = seen.plus_ms(plan.wait_ms);
        }
    }
}

fn failed(entry: &mut Entry, outcome: Outcome, seen: JourneyMs, at: &At<'_>) {
    let class = outcome.class;
    remember(entry, outcome.memories);
    if entry.stop.is_some() {
        return;
    }
    entry.set_not_before(outcome.not_before);
    match class {
        OutcomeClass::Deferred | OutcomeClass::Expired | OutcomeClass::Internal => {
            let again = outcome.not_before.unwrap_or(WallMs::ZERO).max(at.now.wall.plus_ms(AGAIN_MS));
            entry.set_not_before(Some(again));
            entry.rule = Rule::Again(class);
            entry.wait_ms = 0;
            entry.due = seen;
        }
        OutcomeClass::NeedsData => {
            // Waits for its parameters; silence ends it as it ends any other.
            entry.rule = Rule::NeedsData;
            entry.wait_ms = 0;
            entry.due = expiry(entry, at.rules);
        }
        _ => {
            entry.failures = entry.failures.saturating_add(1);
            let rest = interval::retry_ms(class, u32::from(entry.failures)).unwrap_or_else(interval::first_interval_ms);
            entry.rule = Rule::Retry(class);
            entry.wait_ms = interval::wait_ms(rest, &at.pace());
            entry.due = seen.plus_ms(entry.wait_ms);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Kept,
    Erased,
}

/// The answer to a request that asked for no look.
fn answered(entry: &mut Entry, outcome: Outcome, at: &At<'_>) -> Fate {
    let (kind, seen) = (outcome.kind, at.seen(entry, &outcome));
    if outcome.class != OutcomeClass::Internal {
        // Not carried out: what is pending stays pending.
        let again = outcome.not_before.unwrap_or(WallMs::ZERO).max(at.now.wall.plus_ms(CONTROL_AGAIN_MS));
        entry.set_not_before(Some(again));
        publish(entry, kind);
        return Fate::Kept;
    }
    if kind == RequestKind::Forget {
        return forgotten(entry, at);
    }
    remember(entry, outcome.memories);
    entry.status = outcome.status.or(entry.status);
    entry.sub_status = outcome.sub_status.or(entry.sub_status);
    if entry.pending == Some(kind) {
        entry.pending = None;
    }
    match kind {
        // Resumed meanwhile? Then the silence counts anew, and looking goes on.
        RequestKind::Clock if entry.stop.is_none() && deadline(entry, at.rules) <= at.now.journey => {
            stop(entry, entry.sub_status.and_then(interval::end_of).unwrap_or(StopReason::Expired));
        }
        RequestKind::Clock if entry.stop.is_none() => entry.due = entry.due.min(seen),
        // A replay may have displaced the announcement that looking has ended.
        RequestKind::Replay if entry.tracking() == Tracking::Stopped => publish(entry, RequestKind::Stop),
        _ => {}
    }
    Fate::Kept
}

/// The erasure is published: gone, or, registered again meanwhile, a new number of the same name.
fn forgotten(entry: &mut Entry, at: &At<'_>) -> Fate {
    if entry.stop.is_some() {
        return Fate::Erased;
    }
    let mut fresh = Entry::new(entry.carrier, entry.number.clone(), entry.last_change);
    fresh.attempt = entry.attempt;
    fresh.commands_applied = entry.commands_applied;
    fresh.set_reference(entry.reference());
    // A new number of the same name remembers nothing.
    fresh.set_told(Told { memories: Default::default(), ..entry.told() });
    fresh.set_until(entry.until());
    fresh.due = at.now.journey;
    fresh.dirty = entry.dirty;
    *entry = fresh;
    Fate::Kept
}
