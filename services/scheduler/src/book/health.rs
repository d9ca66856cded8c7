//! Whether adapters still fit their carriers: what outcomes show of them, kept per carrier, and what follows here.
//!
//! It is kept here, not where answers are read, because every outcome of a carrier reaches the one scheduler that owns its
//! budget, once per attempt, and because the scheduler is the only stateful service. The counts stand in the budget's
//! record on `waybill.carriers` and are restored from it; that record is written about once a second, so a crash loses or
//! doubles a second's counts, which no conclusion hangs on. A degraded carrier is polled on: the breaker for unreadable
//! answers leaves it alone where looking is useless, and only further looks can end the alarm.

use waybill_politeness::drift::{self, Change};
use waybill_schemas::{
    CarrierSlug, OutcomeClass, drift::CarrierWatch, outcome::Outcome, politeness::SchedulerBudgetRecord,
};

use super::{Book, Now};
use crate::{entry::Entry, why::Rule};

/// When numbers are woken after a change, in ms: once every part of this process has seen it, and for processes that read
/// their folders later.
const WAKES_MS: [i64; 3] = [3_000, 30_000, 180_000];

impl Book {
    /// Takes over what the last owner kept of a budget's carriers.
    pub(crate) fn restore_health(&mut self, record: SchedulerBudgetRecord) {
        self.health.extend(record.carriers);
    }

    /// What an outcome shows. Call it once per attempt.
    pub(super) fn watch_health(&mut self, outcome: &Outcome, now: &Now) {
        let feedback = &outcome.feedback;
        if feedback.look.is_none() && feedback.trial.is_none() {
            return;
        }
        let Some(index) = self.carrier_by_slug.get(&outcome.carrier) else { return };
        let rules = self.carriers[usize::from(*index)].drift;
        let watch = self.health.entry(outcome.carrier.clone()).or_default();
        let look = feedback.look.as_ref().and_then(|facts| drift::note_look(watch, facts, &rules, now.wall));
        let trial = feedback.trial.as_ref().and_then(|facts| drift::note_trial(watch, facts, &rules, now.wall));
        self.health_changes.extend(look.into_iter().chain(trial).map(|change| (outcome.carrier.clone(), change)));
    }

    /// What changed since the last call.
    pub(crate) fn take_health_changes(&mut self) -> Vec<(CarrierSlug, Change)> {
        std::mem::take(&mut self.health_changes)
    }

    /// What is kept of a carrier.
    pub(super) fn health_of(&self, carrier: &CarrierSlug) -> Option<CarrierWatch> {
        self.health.get(carrier).cloned()
    }

    /// Numbers that wait because their carrier could not be read or asked are due again when something was changed about
    /// that: another adapter version, a lifted mark, a switch. Credit paces them as ever. They are woken a few times, because
    /// other processes take the change over at their own pace; one that is woken too early is given back without a request.
    pub(crate) fn wake_changed(&mut self, now: &Now) {
        let mut woken = Vec::new();
        for (index, carrier) in self.carriers.iter_mut().enumerate() {
            carrier.drift = self.terms.drift(&carrier.slug);
            let revision = self.terms.revision(&carrier.slug);
            if std::mem::replace(&mut carrier.revision, revision) != revision {
                carrier.wakes = WAKES_MS.iter().rev().map(|after| now.wall.plus_ms(*after)).collect();
            }
            if carrier.wakes.pop_if(|at| *at <= now.wall).is_some() {
                woken.push(index);
            }
        }
        if woken.is_empty() {
            return;
        }
        for index in &woken {
            let budget = self.carriers[*index].budget;
            self.budgets[budget].credit.unblock();
        }
        use OutcomeClass::{AdapterDisabled, Deferred, RefusesAutomation, Unreadable};
        let waits = |entry: &Entry| match entry.rule {
            Rule::Retry(Unreadable | AdapterDisabled | RefusesAutomation) => entry.due > now.journey,
            // The fetcher gave it back until the carrier is asked again, which may be now.
            Rule::Again(Deferred) => entry.not_before() > now.wall,
            _ => false,
        };
        let waiting: Vec<u32> = (0u32..)
            .zip(&self.entries)
            .filter_map(|(id, entry)| Some((id, entry.as_ref()?)))
            .filter(|(_, entry)| entry.stop.is_none() && woken.contains(&usize::from(entry.carrier)) && waits(entry))
            .map(|(id, _)| id)
            .collect();
        for id in waiting {
            self.change(id, now, |entry, _| {
                entry.due = entry.due.min(now.journey);
                entry.set_not_before(None);
                entry.wait_ms = 0;
            });
        }
    }
}
