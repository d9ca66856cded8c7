//! Handing out: what is due, what the credit allows, and what became of attempts that nobody answers.

use waybill_politeness::{
    credit::{Admission, Allowance, Cost, Guest},
    interval,
};
use waybill_schemas::{
    WallMs,
    fetch::{FetchRequest, RequestKind},
    shipment::StopReason,
};

use super::{Book, Now, Open, deadline, expiry, guest_of, publish, stop};
use crate::{
    entry::{Entry, Place, Trying},
    terms::Switch,
    why::Rule,
};

/// Requests other than polls need no network and are not stale for a day.
const CONTROL_LIFE_MS: i64 = 86_400_000;
/// Room in `expires_at` for what lies between the scheduler and the carrier's door.
const PASSAGE_MS: i64 = 5_000;

/// A request that is to be written; the number is taken until [`Book::opened`].
#[derive(Debug)]
pub(crate) struct Handout {
    pub(crate) request: FetchRequest,
    id: u32,
    cost: Cost,
}

impl Book {
    /// At most `most` requests: first what needs no credit, then for each budget what is due, oldest first, while its
    /// credit lasts. Call [`Self::tick`] before.
    pub(crate) fn dispatch(&mut self, now: &Now, most: usize) -> Vec<Handout> {
        let mut handouts = Vec::new();
        while handouts.len() < most && self.controls_open < self.rules.controls {
            let Some((_, id)) = self.controls.pop_due() else {
                break;
            };
            handouts.extend(self.hand_out_control(id, now));
        }
        // Budgets take turns at being first, so that a full turn starves none of them.
        self.turn = self.turn.wrapping_add(1);
        for step in 0..self.budgets.len() {
            let budget = (self.turn + step) % self.budgets.len();
            self.dispatch_budget(budget, now, most, &mut handouts);
        }
        handouts
    }

    fn dispatch_budget(&mut self, budget: usize, now: &Now, most: usize, handouts: &mut Vec<Handout>) {
        let mut guests = [Guest::Resident, Guest::Visitor].as_slice();
        while handouts.len() < most {
            let Some((at, carrier, guest)) = self.oldest_due(budget, guests) else {
                return;
            };
            debug_assert!(at <= now.wall);
            let book = &self.budgets[budget];
            let cost = self.carriers[carrier].terms.cost();
            match book.credit.admit(guest, cost, &book.allowance, now.wall) {
                Admission::Granted => {}
                Admission::NotBefore(_) if guest == Guest::Visitor && guests.len() > 1 => {
                    guests = &[Guest::Resident];
                    continue;
                }
                Admission::NotBefore(_) | Admission::Full => return,
            }
            let Some((_, id)) = self.carriers[carrier].lane_mut(guest).pop_due() else {
                return;
            };
            handouts.extend(self.hand_out_poll(id, now));
        }
    }

    fn oldest_due(&self, budget: usize, guests: &[Guest]) -> Option<(WallMs, usize, Guest)> {
        let carriers = self.budgets[budget].carriers.iter().copied();
        let on = carriers.filter(|index| self.carriers[*index].terms.switch == Switch::On);
        let lanes = on.flat_map(|index| guests.iter().map(move |guest| (index, *guest)));
        let due = lanes.filter_map(|(index, guest)| {
            self.carriers[index].lane(guest).oldest_due().map(|(at, id)| (at, id, index, guest))
        });
        due.min().map(|(at, _, index, guest)| (at, index, guest))
    }

    /// A number that was popped from its lane: a poll, unless its time is over.
    fn hand_out_poll(&mut self, id: u32, now: &Now) -> Option<Handout> {
        let entry = self.entries.get_mut(id as usize)?.as_mut()?;
        entry.place = Place::Idle;
        if deadline(entry, &self.rules) <= now.journey {
            self.over(id, now);
            return None;
        }
        if matches!(entry.trying(), Some(Trying::Settling(_))) {
            self.ask_candidates(id, now);
            return None;
        }
        let look = entry.look();
        let guest = guest_of(entry);
        entry.place = Place::Open;
        let carrier = &self.carriers[usize::from(entry.carrier)];
        let cost = carrier.terms.cost();
        let budget = &mut self.budgets[carrier.budget];
        budget.credit.take(guest, cost, &budget.allowance, now.wall);
        budget.under_way += 1;
        let life = life_ms(&budget.allowance, budget.credit.held(), cost, self.rules.step_timeout_ms);
        Some(Handout { request: self.request(id, look, now.wall, now.wall.plus_ms(life))?, id, cost })
    }

    fn hand_out_control(&mut self, id: u32, now: &Now) -> Option<Handout> {
        let entry = self.entries.get_mut(id as usize)?.as_mut()?;
        let kind = entry.pending?;
        entry.place = Place::Open;
        let budget = self.carriers[usize::from(entry.carrier)].budget;
        self.budgets[budget].under_way += 1;
        self.controls_open += 1;
        let expires_at = now.wall.plus_ms(CONTROL_LIFE_MS);
        Some(Handout { request: self.request(id, kind, now.wall, expires_at)?, id, cost: Cost::NONE })
    }

    fn request(&self, id: u32, kind: RequestKind, now: WallMs, expires_at: WallMs) -> Option<FetchRequest> {
        let entry = self.entry(id)?;
        let told = entry.told();
        Some(FetchRequest {
            kind,
            carrier: self.carriers[usize::from(entry.carrier)].slug.clone(),
            number: entry.number.clone(),
            instance: entry.instance,
            reference: entry.reference(),
            registered_at: entry.registered_at,
            registration: told.registration,
            params: told.params,
            attempt: (entry.attempt + 1).max(now.ms()),
            expires_at,
            tracking: entry.tracking(),
            stop_reason: entry.stop,
            memories: entry.memories(),
        })
    }

    /// The request has been appended there: from now on its outcome is waited for.
    pub(crate) fn opened(&mut self, handout: &Handout, offset: u64, since: WallMs) {
        let Handout { request, id, cost } = handout;
        let open = Open { id: *id, attempt: request.attempt, kind: request.kind, cost: *cost, since };
        self.open.insert(offset, open);
    }

    /// Its time is over: a temporary registration stops, silence makes it expire.
    fn over(&mut self, id: u32, now: &Now) {
        let rules = self.rules;
        if let Some(Trying::Probe(round)) = self.entry(id).and_then(Entry::trying) {
            return self.probe_over(id, *round, now);
        }
        self.change(id, now, |entry, _| {
            let undecided = entry.trying().is_some();
            if entry.until().is_some_and(|until| until <= now.journey) {
                stop(entry, StopReason::Until);
            } else if expiry(entry, &rules) <= now.journey {
                match entry.sub_status.and_then(interval::end_of) {
                    Some(reason) => stop(entry, reason),
                    // Nothing is published of it, so nothing has to come back before it stops.
                    None if undecided => stop(entry, StopReason::Expired),
                    None => publish(entry, RequestKind::Clock),
                }
            }
        });
    }

    /// Looks through some waiting numbers for those whose time is over, so that a carrier that is blocked or switched off
    /// keeps none of them waiting. A whole round takes about sixty calls.
    pub(crate) fn sweep(&mut self, now: &Now) {
        let steps = (self.entries.len() / 60).max(1_000).min(self.entries.len());
        for _ in 0..steps {
            self.swept = (self.swept + 1) % self.entries.len();
            let id = u32::try_from(self.swept).unwrap_or(0);
            let waiting = self.entry(id).filter(|entry| entry.place == Place::Lane);
            if waiting.is_some_and(|entry| deadline(entry, &self.rules) <= now.journey) {
                self.over(id, now);
            }
        }
    }

    /// Gives up attempts whose requests are no longer kept by the log, so that their numbers are looked at again; answers
    /// how many (SCH-1).
    pub(crate) fn reopen_lost(&mut self, now: &Now) -> usize {
        let mut given_up = 0;
        while let Some((offset, open)) = self.open.first_key_value().map(|(offset, open)| (*offset, *open)) {
            if now.wall.since_ms(open.since) < self.rules.reopen_ms {
                break;
            }
            self.open.remove(&offset);
            self.give_back(&open);
            self.change(open.id, now, |entry, _| {
                entry.place = Place::Idle;
                if entry.stop.is_none() {
                    entry.rule = Rule::Reopened;
                    entry.due = now.journey;
                    entry.wait_ms = 0;
                }
            });
            given_up += 1;
        }
        given_up
    }

    /// What an attempt held.
    pub(super) fn give_back(&mut self, open: &Open) {
        let Some(carrier) = self.entry(open.id).map(|entry| usize::from(entry.carrier)) else {
            return;
        };
        let budget = &mut self.budgets[self.carriers[carrier].budget];
        budget.under_way = budget.under_way.saturating_sub(1);
        match open.kind {
            RequestKind::Poll | RequestKind::Probe => budget.credit.give_back(open.cost),
            _ => self.controls_open = self.controls_open.saturating_sub(1),
        }
    }
}

/// How long a poll stays worth sending: all that is ahead of it at this rate, a window besides, and its own steps.
fn life_ms(allowance: &Allowance, held: u64, cost: Cost, step_timeout_ms: i64) -> i64 {
    // Thousandths of a request over requests a second: milliseconds.
    let queue_ms = held as f64 / allowance.rate.max(1e-6);
    let window_ms = allowance.window_s * 1e3;
    (queue_ms + window_ms) as i64 + i64::from(cost.requests()) * step_timeout_ms + PASSAGE_MS
}
