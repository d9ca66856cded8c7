//! Applying commands. Each number remembers the offset after the last one, so a command that is read again after a crash
//! changes nothing.

use waybill_schemas::{
    JourneyMs,
    command::{Command, CommandKind},
    detection::DETECT,
    fetch::RequestKind,
    limits,
    shipment::StopReason,
};

use super::{
    Around, Book, Now, publish,
    settle::{candidates_of, settle, settle_again},
    stop,
};
use crate::{
    entry::{Entry, Trying},
    terms::CarrierTerms,
    why::Rule,
};

/// Most that one registration may tell, in bytes: it travels with every request.
const MOST_TOLD_BYTES: usize = 16 * 1024;

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub(crate) enum Ordered {
    /// The number is changed.
    Done,
    /// It is contained already, or there is nothing to change.
    Nothing,
    /// It cannot be carried out.
    Refused(Refusal),
}

/// Why not; the code is the API's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: &'static str,
    /// One sentence without the number.
    pub(crate) reason: String,
}

pub(super) fn refused(code: &'static str, reason: impl Into<String>) -> Ordered {
    Ordered::Refused(Refusal { code, reason: reason.into() })
}

/// Where a command stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// Its offset.
    pub(crate) offset: u64,
    /// When it was appended, on the journey clock.
    pub(crate) at: JourneyMs,
}

impl Book {
    /// Carries out a command.
    pub(crate) fn order(&mut self, command: Command, place: Place, now: &Now) -> Ordered {
        match command.kind {
            CommandKind::Probe => return self.probe(command, place, now),
            CommandKind::Probed => return self.probed(command, place, now),
            _ => {}
        }
        let mut command = command;
        let candidates = candidates_of(&mut command);
        let known = self.find(&command.carrier, &command.number);
        if known.and_then(|id| self.entry(id)).is_some_and(|entry| place.offset < entry.commands_applied) {
            return Ordered::Nothing;
        }
        let registers = matches!(command.kind, CommandKind::Register | CommandKind::Lookup);
        let terms = self.terms.policy(&command.carrier);
        if registers && let Some(refusal) = refuse(&command, terms.as_ref()) {
            return refusal;
        }
        let decided = known.and_then(|id| self.entry(id)).is_some_and(|entry| entry.decided().is_some());
        let is_probe = |id| self.entry(id).is_some_and(|entry| matches!(entry.trying(), Some(Trying::Probe(_))));
        match (known, terms) {
            // Probed only: nobody registered it.
            (Some(id), _) if is_probe(id) && !registers => Ordered::Nothing,
            (Some(id), _) if decided && command.kind != CommandKind::Forget => self.pass_on(id, command, place, now),
            (Some(id), _) => {
                let rules = self.rules;
                self.change(id, now, |entry, around| {
                    entry.commands_applied = place.offset + 1;
                    if matches!(entry.trying(), Some(Trying::Probe(_))) {
                        registered_while_probed(entry, &command, place.at, rules.lookup_ms);
                    }
                    settle_again(entry, candidates, now);
                    let at = At { place, now, around, lookup_ms: rules.lookup_ms };
                    match command.kind {
                        CommandKind::Register => register(entry, command, &at),
                        CommandKind::Lookup => lookup(entry, &command, &at),
                        CommandKind::Stop => stop_by_order(entry),
                        CommandKind::Resume => resume(entry, &at),
                        CommandKind::Refresh => refresh(entry, &at),
                        CommandKind::Forget => forget(entry),
                        CommandKind::Replay => publish(entry, RequestKind::Replay),
                        CommandKind::Probe | CommandKind::Probed => {}
                    }
                });
                Ordered::Done
            }
            (None, Some(_)) if registers && command.carrier.as_str() == DETECT && candidates.is_none() => refused(
                "carrier_not_detected",
                "an undecided number is registered with the carriers that it may belong to",
            ),
            (None, Some(terms)) if registers => {
                let carrier = self.carrier_id(&command.carrier, terms);
                let mut entry = Entry::new(carrier, command.number.clone(), place.at);
                entry.commands_applied = place.offset + 1;
                if command.kind == CommandKind::Lookup {
                    entry.set_until(Some(command.until.unwrap_or(now.journey.plus_ms(self.rules.lookup_ms))));
                } else {
                    entry.set_until(command.until);
                }
                if let Some(candidates) = candidates.filter(|_| command.carrier.as_str() == DETECT) {
                    settle(&mut entry, candidates);
                }
                merge(&mut entry, command);
                let id = self.insert(entry, now);
                self.mark(id);
                Ordered::Done
            }
            // Orders about numbers that nobody registered, or that are forgotten by now.
            (None, _) => Ordered::Nothing,
        }
    }
}

fn refuse(command: &Command, terms: Option<&CarrierTerms>) -> Option<Ordered> {
    if terms.is_none() {
        return Some(refused("carrier_unknown", format!("there is no carrier `{}`", command.carrier)));
    }
    if command.reference.as_ref().is_some_and(|reference| reference.len() > limits::MAX_REF_BYTES) {
        return Some(refused("ref_too_long", format!("a ref has at most {} bytes", limits::MAX_REF_BYTES)));
    }
    let params = command.params.iter().flatten().map(|(name, value)| name.len() + value.len());
    let tags = command.tags.iter().flatten().map(String::len);
    let places = [&command.origin, &command.destination, &command.ordered_at];
    let told: usize = params.chain(tags).chain(places.into_iter().flatten().map(String::len)).sum();
    (told > MOST_TOLD_BYTES).then(|| {
        refused(
            "too_large",
            format!("params, tags and the rest have at most {MOST_TOLD_BYTES} bytes, these have {told}"),
        )
    })
}

struct At<'a> {
    place: Place,
    now: &'a Now,
    around: &'a Around,
    lookup_ms: i64,
}

impl At<'_> {
    /// As soon as the carrier's least interval between two looks allows.
    fn soon(&self, entry: &Entry) -> JourneyMs {
        let rested = entry.last_reading().map_or(self.now.journey, |at| at.plus_ms(self.around.least_ms));
        rested.max(self.now.journey)
    }
}

/// Present fields replace, absent ones stay. Answers whether parameters are new.
fn merge(entry: &mut Entry, command: Command) -> Params {
    let mut told = entry.told();
    let mut params = Params::AsBefore;
    if let Some(given) = command.params.filter(|given| *given != told.params) {
        told.params = given;
        params = Params::New;
    }
    let registration = &mut told.registration;
    registration.tags = command.tags.unwrap_or(std::mem::take(&mut registration.tags));
    registration.origin = command.origin.or(registration.origin.take());
    registration.destination = command.destination.or(registration.destination.take());
    registration.ordered_at = command.ordered_at.or(registration.ordered_at.take());
    entry.set_told(told);
    if command.reference.is_some() {
        entry.set_reference(command.reference);
    }
    params
}

/// What a command tells of a number that is new.
pub(super) fn merge_told(entry: &mut Entry, command: Command) {
    let _ = merge(entry, command);
}

/// A probed number is registered: from now on it is looked at as any other. A probe under way ends without an answer.
fn registered_while_probed(entry: &mut Entry, command: &Command, at: JourneyMs, lookup_ms: i64) {
    entry.set_trying(None);
    let until = (command.kind == CommandKind::Lookup).then(|| at.plus_ms(lookup_ms));
    entry.set_until(command.until.or(until));
    entry.rule = Rule::FirstLook;
    entry.due = entry.due.min(at);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Params {
    New,
    AsBefore,
}

fn register(entry: &mut Entry, command: Command, at: &At<'_>) {
    if entry.pending == Some(RequestKind::Forget) && entry.stop.is_some() {
        // Registered anew while its erasure is under way: nothing of before is kept but the name. See `forgotten`.
        entry.set_told(crate::entry::Told::default());
        entry.set_reference(None);
        entry.set_until(command.until);
        entry.last_change = at.place.at;
        entry.stop = None;
        let _ = merge(entry, command);
        return;
    }
    entry.set_until(command.until);
    let params = merge(entry, command);
    if entry.stop.is_some() {
        resume(entry, at);
    } else if params == Params::New && entry.rule == Rule::NeedsData {
        entry.rule = Rule::NewData;
        entry.due = at.soon(entry);
        entry.wait_ms = 0;
    }
}

fn lookup(entry: &mut Entry, command: &Command, at: &At<'_>) {
    let until = command.until.unwrap_or(at.now.journey.plus_ms(at.lookup_ms));
    match (entry.until(), entry.stop) {
        // Resident for good: a visitor changes nothing.
        (None, _) => {}
        (Some(before), None) => entry.set_until(Some(before.max(until))),
        (Some(_), Some(StopReason::Until)) => {
            entry.set_until(Some(until));
            resume(entry, at);
        }
        (Some(_), Some(_)) => {}
    }
}

fn stop_by_order(entry: &mut Entry) {
    if entry.stop.is_none() {
        stop(entry, StopReason::Ordered);
    }
}

/// Looking goes on, and silence counts anew.
fn resume(entry: &mut Entry, at: &At<'_>) {
    if entry.stop.is_none() || entry.pending == Some(RequestKind::Forget) {
        return;
    }
    entry.stop = None;
    if entry.until().is_some_and(|until| until <= at.now.journey) {
        entry.set_until(Some(at.now.journey.plus_ms(at.lookup_ms)));
    }
    entry.last_change = at.now.journey;
    entry.confirmations = 0;
    entry.failures = 0;
    entry.rule = Rule::Resumed;
    entry.wait_ms = 0;
    entry.due = at.soon(entry);
    publish(entry, RequestKind::Resume);
}

fn refresh(entry: &mut Entry, at: &At<'_>) {
    if entry.stop.is_some() {
        return resume(entry, at);
    }
    if entry.pending == Some(RequestKind::Clock) {
        entry.pending = None;
        entry.last_change = at.now.journey;
    }
    entry.rule = Rule::Refresh;
    entry.due = at.soon(entry).min(entry.due);
    entry.wait_ms = 0;
}

/// Erasure: looking ends, and nothing displaces what is to be published.
fn forget(entry: &mut Entry) {
    entry.stop = Some(StopReason::Ordered);
    entry.rule = Rule::Stopped;
    entry.wait_ms = 0;
    entry.pending = Some(RequestKind::Forget);
}
