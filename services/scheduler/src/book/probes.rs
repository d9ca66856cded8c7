//! A candidate's side of settling an undecided number: one look that publishes nothing, and its answer.
//!
//! A probed number is an entry like any other, so it obeys the budget, its credit and the visitors' share, and its attempts
//! never overlap with others' (SCH-2). It is gone with its answer. Answers are commands to the owner of the undecided number;
//! they are written before the state that forgets the probe, so a crash repeats an answer and never loses one.

use waybill_schemas::{
    CarrierSlug, JourneyMs, OutcomeClass, Status, TrackingNumber,
    command::{Command, CommandKind},
    detection::{DETECT, Evidence, Settling, Tried},
    outcome::Outcome,
};

use super::{
    Book, Now,
    orders::{Ordered, Place, refused},
};
use crate::{
    entry::{Entry, Trying},
    terms::Switch,
};

/// How long a probe may wait for its turn (journey); then it is answered as put off.
pub(super) const PROBE_PATIENCE_MS: i64 = 3_600_000;
const A_DAY_MS: i64 = 86_400_000;

/// The slug of the pseudo-carrier.
pub(super) fn detect_slug() -> Option<CarrierSlug> {
    DETECT.parse().ok()
}

/// The answer to a probe, as a command to the owner of the undecided number.
fn answer(number: &TrackingNumber, tried: Tried) -> Option<Command> {
    let id = format!("probed-{}-{}-{}", tried.carrier, tried.round, tried.at.ms());
    Some(Command {
        settling: Some(Box::new(Settling::Probed { tried })),
        ..Command::new(id, CommandKind::Probed, detect_slug()?, number.clone())
    })
}

/// An answer without a look.
fn without_look(carrier: &CarrierSlug, round: u32, class: OutcomeClass, detail: &str, at: JourneyMs) -> Tried {
    Tried {
        carrier: carrier.clone(),
        round,
        class,
        detail: Some(detail.to_owned()),
        needs: Vec::new(),
        evidence: Evidence::Nothing,
        events: 0,
        at,
    }
}

/// Whether the last that was seen of a number was before a day, whatever the clock of the place.
fn is_before(seen: JourneyMs, day: &str) -> bool {
    let latest = seen.plus_ms(A_DAY_MS).to_string();
    // Years of four digits: as texts days stand in their order. What is no day says nothing.
    let is_day = |text: &str| {
        text.bytes().enumerate().all(|(at, b)| if at == 4 || at == 7 { b == b'-' } else { b.is_ascii_digit() })
    };
    latest.get(..10).zip(day.get(..10)).is_some_and(|(latest, day)| is_day(day) && latest < day)
}

impl Book {
    /// A probe was ordered.
    pub(super) fn probe(&mut self, command: Command, place: Place, now: &Now) -> Ordered {
        let Some(Settling::Probe { round }) = command.settling.as_deref() else {
            return refused("command_unreadable", "a probe says which round asks");
        };
        let round = *round;
        let known = self.find(&command.carrier, &command.number);
        if let Some(id) = known {
            return self.probe_known(id, round, &command, now);
        }
        let terms = self.terms.policy(&command.carrier).filter(|terms| terms.switch == Switch::On);
        let Some(terms) = terms else {
            let detail = "the carrier is switched off";
            let tried = without_look(&command.carrier, round, OutcomeClass::AdapterDisabled, detail, now.journey);
            self.outbox.extend(answer(&command.number, tried));
            return Ordered::Done;
        };
        let carrier = self.carrier_id(&command.carrier, terms);
        let mut entry = Entry::new(carrier, command.number.clone(), place.at);
        entry.commands_applied = place.offset + 1;
        entry.set_until(Some(now.journey.plus_ms(PROBE_PATIENCE_MS)));
        entry.set_trying(Some(Trying::Probe(round)));
        super::orders::merge_told(&mut entry, command);
        let id = self.insert(entry, now);
        self.mark(id);
        Ordered::Done
    }

    /// Of a number that is registered with the candidate already, what is known of it answers; nothing is asked twice.
    fn probe_known(&mut self, id: u32, round: u32, command: &Command, now: &Now) -> Ordered {
        let Some(entry) = self.entry(id) else { return Ordered::Nothing };
        if matches!(entry.trying(), Some(Trying::Probe(_))) {
            self.change(id, now, |entry, _| entry.set_trying(Some(Trying::Probe(round))));
            return Ordered::Done;
        }
        let carrier = &self.carriers[usize::from(entry.carrier)].slug;
        let scanned = !matches!(entry.status, None | Some(Status::NotFound | Status::InfoReceived | Status::Expired));
        let too_old = command.ordered_at.as_deref().is_some_and(|day| is_before(entry.last_change, day));
        let (class, evidence, detail) = match (scanned, entry.last_reading()) {
            (true, _) if too_old => (OutcomeClass::Tracked, Evidence::TooOld, "which has older events of it"),
            (true, _) => (OutcomeClass::Tracked, Evidence::Events, "which has events of it"),
            (false, Some(_)) => (OutcomeClass::NotFound, Evidence::Nothing, "which has no events of it"),
            (false, None) => (OutcomeClass::Deferred, Evidence::Nothing, "and not looked at yet"),
        };
        let detail = format!("registered with this carrier already, {detail}");
        let mut tried = without_look(carrier, round, class, &detail, now.journey);
        tried.evidence = evidence;
        self.outbox.extend(answer(&command.number, tried));
        Ordered::Done
    }

    /// What a look brought, as an answer; none where the look is to be made again.
    pub(super) fn probed_by(&mut self, round: u32, outcome: &Outcome) {
        let found = outcome.probed;
        let tried = Tried {
            carrier: outcome.carrier.clone(),
            round,
            class: outcome.class,
            detail: outcome.detail.clone(),
            needs: outcome.needs.clone(),
            evidence: found.map_or(Evidence::Nothing, |found| found.evidence),
            events: found.map_or(0, |found| found.events),
            at: outcome.seen_at,
        };
        self.outbox.extend(answer(&outcome.number, tried));
    }

    /// A probe waited too long for its turn: answered, and gone.
    pub(super) fn probe_over(&mut self, id: u32, round: u32, now: &Now) {
        let Some(entry) = self.entry(id) else { return };
        let (carrier, number) = (self.carriers[usize::from(entry.carrier)].slug.clone(), entry.number.clone());
        let detail = "the carrier's budget had no room for it in time";
        let tried = without_look(&carrier, round, OutcomeClass::Deferred, detail, now.journey);
        self.outbox.extend(answer(&number, tried));
        self.erase(id);
    }
}
