//! The owner's side of an undecided number: a shipment of the pseudo-carrier `detect`.
//!
//! States, all in its schedule record ([`Settlement`]): *due* → a round begins: each candidate is sent a probe → *asked*: until
//! all have answered or patience is over → *decided* (the first answer with events after the order: registered there, and this
//! one stops, with a pointer) or *undecided*: due again, later with each round, until it expires or its time is over.
//! What a crash repeats is harmless: a probe that is sent twice is one look or two, an answer that comes twice is the same, and
//! registering twice is registering once. Commands leave before the state that follows from them.

use waybill_schemas::{
    JourneyMs, OutcomeClass,
    command::{Command, CommandKind},
    detection::{Candidate, DETECT, Evidence, Settlement, Settling, Tried},
    shipment::StopReason,
};

use super::{
    Book, Now,
    orders::{Ordered, Place, refused},
    probes::PROBE_PATIENCE_MS,
    stop,
};
use crate::{
    entry::{Entry, Trying},
    terms::{CarrierTerms, Carriers, Switch},
    why::Rule,
};

/// Most candidates that are tried.
const MOST_CANDIDATES: usize = 8;
/// After a round without a decision (journey); × 1.5 with each further round.
const FIRST_PAUSE_MS: f64 = 2.0 * 3_600_000.0;
const LONGEST_PAUSE_MS: f64 = 86_400_000.0;

/// What the pseudo-carrier itself may do: it asks nobody, so nothing holds it back.
pub(super) fn terms_of_detect() -> CarrierTerms {
    let budget = waybill_schemas::politeness::Budget {
        rate_per_second: 1_000.0,
        burst: 1,
        concurrency: 1,
        min_interval_s: 1,
        ..Default::default()
    };
    CarrierTerms { budget, requests_per_attempt: 1, numbers_per_attempt: 1, switch: Switch::On }
}

/// The carriers, and the pseudo-carrier.
pub(super) struct WithDetect(pub(super) std::sync::Arc<dyn Carriers>);

impl Carriers for WithDetect {
    fn policy(&self, carrier: &waybill_schemas::CarrierSlug) -> Option<CarrierTerms> {
        if carrier.as_str() == DETECT { Some(terms_of_detect()) } else { self.0.policy(carrier) }
    }

    fn drift(&self, carrier: &waybill_schemas::CarrierSlug) -> waybill_schemas::drift::DriftRules {
        self.0.drift(carrier)
    }

    fn revision(&self, carrier: &waybill_schemas::CarrierSlug) -> u64 {
        self.0.revision(carrier)
    }
}

/// How long after a round the next begins, in ms of journey time.
fn pause_ms(round: u32) -> i64 {
    let power = i32::try_from(round.saturating_sub(1).min(20)).unwrap_or(20);
    (FIRST_PAUSE_MS * 1.5_f64.powi(power)).min(LONGEST_PAUSE_MS) as i64
}

/// The candidates of a registration.
pub(super) fn candidates_of(command: &mut Command) -> Option<Vec<Candidate>> {
    match command.settling.take().map(|settling| *settling) {
        Some(Settling::Try { mut candidates }) if !candidates.is_empty() => {
            candidates.retain(|candidate| candidate.carrier.as_str() != DETECT);
            candidates.truncate(MOST_CANDIDATES);
            Some(candidates)
        }
        _ => None,
    }
}

/// A number whose candidates are to be tried.
pub(super) fn settle(entry: &mut Entry, candidates: Vec<Candidate>) {
    entry.set_trying(Some(Trying::Settling(Settlement { candidates, ..Settlement::default() })));
}

/// Registered again: other candidates are tried with the next round, which begins at once.
pub(super) fn settle_again(entry: &mut Entry, candidates: Option<Vec<Candidate>>, now: &Now) {
    let Some(Trying::Settling(settlement)) = entry.trying_mut() else { return };
    let Some(candidates) = candidates.filter(|new| settlement.carrier.is_none() && *new != settlement.candidates)
    else {
        return;
    };
    settlement.tried.retain(|tried| candidates.iter().any(|candidate| candidate.carrier == tried.carrier));
    settlement.candidates = candidates;
    if entry.stop.is_none() {
        entry.due = now.journey;
    }
}

/// A command to a candidate: what registration told goes along.
fn to(carrier: &waybill_schemas::CarrierSlug, entry: &Entry, kind: CommandKind, round: u32) -> Command {
    let told = entry.told();
    let some = |map: std::collections::BTreeMap<String, String>| (!map.is_empty()).then_some(map);
    let settling = (kind == CommandKind::Probe).then(|| Box::new(Settling::Probe { round }));
    let registers = settling.is_none();
    Command {
        id: format!("settle-{carrier}-{round}-{}", entry.registered_at.ms()),
        kind,
        carrier: carrier.clone(),
        number: entry.number.clone(),
        params: some(told.params),
        reference: entry.reference().filter(|_| registers),
        tags: Some(told.registration.tags).filter(|tags| registers && !tags.is_empty()),
        origin: told.registration.origin,
        destination: told.registration.destination,
        ordered_at: told.registration.ordered_at,
        until: entry.until().filter(|_| registers),
        settling,
    }
}

impl Book {
    /// A round begins: every candidate is asked.
    pub(super) fn ask_candidates(&mut self, id: u32, now: &Now) {
        let mut asked = Vec::new();
        self.change(id, now, |entry, _| {
            let Some(Trying::Settling(settlement)) = entry.trying_mut() else { return };
            settlement.round += 1;
            let (round, candidates) = (settlement.round, settlement.candidates.clone());
            asked.extend(candidates.iter().map(|one| to(&one.carrier, entry, CommandKind::Probe, round)));
            // Answers come sooner; this is for those that never do.
            entry.wait_ms = PROBE_PATIENCE_MS + pause_ms(round);
            entry.due = now.journey.plus_ms(entry.wait_ms);
            entry.rule = Rule::Trying;
        });
        self.outbox.extend(asked);
    }

    /// An order about a number that is decided: what it tells is passed on to whose it is.
    pub(super) fn pass_on(&mut self, id: u32, command: Command, place: Place, now: &Now) -> Ordered {
        let registers = matches!(command.kind, CommandKind::Register | CommandKind::Lookup);
        let kind = command.kind;
        let mut passed = None;
        self.change(id, now, |entry, _| {
            entry.commands_applied = place.offset + 1;
            if !registers {
                return;
            }
            entry.set_until(command.until);
            super::orders::merge_told(entry, command);
            passed = entry.decided().cloned().map(|carrier| to(&carrier, entry, kind, 0));
        });
        self.outbox.extend(passed);
        if registers { Ordered::Done } else { Ordered::Nothing }
    }

    /// A candidate has answered.
    pub(super) fn probed(&mut self, command: Command, place: Place, now: &Now) -> Ordered {
        let Some(Settling::Probed { tried }) = command.settling.map(|settling| *settling) else {
            return refused("command_unreadable", "an answer to a probe says what came of it");
        };
        let Some(id) = self.find(&command.carrier, &command.number) else {
            // Forgotten meanwhile.
            return Ordered::Nothing;
        };
        let mut winner = None;
        self.change(id, now, |entry, _| {
            entry.commands_applied = place.offset + 1;
            winner = hear(entry, tried, now.journey);
        });
        self.outbox.extend(winner);
        Ordered::Done
    }
}

/// Takes an answer down; the order to register with the winner, if it decides.
fn hear(entry: &mut Entry, tried: Tried, now: JourneyMs) -> Option<Command> {
    let active = entry.stop.is_none();
    let Some(Trying::Settling(settlement)) = entry.trying_mut() else { return None };
    let asked = settlement.candidates.iter().any(|candidate| candidate.carrier == tried.carrier);
    let newer = settlement.tried.iter().all(|old| old.carrier != tried.carrier || old.round <= tried.round);
    if !asked || !newer || settlement.carrier.is_some() || !active {
        return None;
    }
    let (carrier, evidence) = (tried.carrier.clone(), tried.evidence);
    settlement.tried.retain(|old| old.carrier != carrier);
    settlement.tried.push(tried);
    let round = settlement.round;
    if evidence == Evidence::Events {
        settlement.carrier = Some(carrier.clone());
        stop(entry, StopReason::Settled);
        let kind = if entry.until().is_some() { CommandKind::Lookup } else { CommandKind::Register };
        return Some(to(&carrier, entry, kind, round));
    }
    let answered = |candidate: &Candidate| {
        settlement.tried.iter().any(|tried| tried.carrier == candidate.carrier && tried.round == round)
    };
    if settlement.candidates.iter().all(answered) {
        let pressing = settlement.tried.iter().all(|tried| tried.class == OutcomeClass::Deferred);
        let pause = if pressing { PROBE_PATIENCE_MS } else { pause_ms(round) };
        entry.rule = Rule::Undecided;
        entry.wait_ms = pause;
        entry.due = now.plus_ms(pause);
    }
    None
}
