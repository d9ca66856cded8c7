//! The state of one budget, pure: limiter at the door, quota, breakers, and the block of requests that the acknowledged
//! record covers.
//!
//! POL-1, POL-2, spend after recording: a request may leave only inside a block, and a block begins only when a record has
//! been acknowledged that holds limiter and quota as they will be once the whole block is spent. So whoever resumes from
//! the record knows at least what was spent, whatever happened to the owner, and a zombie has at most the rest of its
//! block. Unspent requests of a living owner's block are counted back when it plans the next.

use std::collections::BTreeMap;

use waybill_politeness::{
    breaker::{Breaker, BreakerRecord, Gate, Signal},
    limiter::{Departure, Door, Leave, Limiter, Pace},
    quota::{Left, Quota, QuotaRule},
};
use waybill_schemas::{
    WallMs,
    politeness::{BlockReason, Budget, FetcherBudgetRecord, RobotsVerdict},
};

const SECOND_US: i64 = 1_000_000;
/// Hosts whose robots.txt is remembered for show.
const MOST_ROBOTS: usize = 32;
/// A block lasts a second; longer while records take longer than that to be acknowledged.
const MAX_HORIZON_US: i64 = 8 * SECOND_US;

/// What a budget allows at this moment: carrier's terms with the operator's changes.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    pub(crate) budget: Budget,
    pub(crate) pace: Pace,
    pub(crate) quota: Option<QuotaRule>,
    /// A person lifted the mark `refuses_automation` then.
    pub(crate) lifted_at: Option<WallMs>,
    /// Digest of the adapters' versions in force.
    pub(crate) fitted: String,
}

impl Terms {
    /// Terms of a budget. A quota that cannot be applied stops the budget instead of being ignored.
    pub(crate) fn of(budget: Budget, lifted_at: Option<WallMs>) -> Result<Self, String> {
        budget.check().map_err(|error| error.to_string())?;
        let quota = budget.daily_quota.as_ref().map(QuotaRule::of).transpose().map_err(|error| error.to_string())?;
        Ok(Self { pace: Pace::of(&budget), quota, budget, lifted_at, fitted: String::new() })
    }
}

/// Whether one more request may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Verdict {
    /// Now.
    Leave,
    /// Once the next block is recorded: see [`BudgetState::plan`].
    Record,
    /// Not before this instant (µs); an answer may change that.
    Wait(i64),
    /// Not before one of the requests under way has been answered or given up.
    AfterAnswer,
    /// The carrier is closed.
    Closed(Closed),
}

/// Why a carrier is not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closed {
    /// Until then.
    Until(WallMs, BlockReason),
    /// Until a person lifts the mark.
    Refused,
}

/// How a look-up may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Begin {
    /// As one of many.
    Freely,
    /// As the one that finds out whether the carrier is back.
    AsProbe,
    /// Later: a probe is under way.
    AfterProbe,
    /// Not now.
    Closed(Closed),
}

/// A block of requests, planned and not yet acknowledged.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) record: FetcherBudgetRecord,
    requests: u32,
    until_us: i64,
    quota_day: Option<String>,
}

#[derive(Debug, Clone, Default)]
struct Block {
    left: u32,
    until_us: i64,
    quota_day: Option<String>,
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct BudgetState {
    door: Door,
    quota: Quota,
    breaker: Breaker,
    block: Block,
    horizon_us: i64,
    /// Versions that the streak of unreadable answers is about.
    fitted: String,
    robots: BTreeMap<String, RobotsVerdict>,
    extra: serde_json::Map<String, serde_json::Value>,
}

fn wall(now_us: i64) -> WallMs {
    WallMs::new(now_us.div_euclid(1_000))
}

impl BudgetState {
    /// Resumes from what the last owner recorded; nothing recorded is a fresh budget.
    pub(crate) fn restored(record: Option<FetcherBudgetRecord>, terms: &Terms, now_us: i64) -> Self {
        let record = record.unwrap_or_default();
        let breaker = BreakerRecord {
            blocked_until: record.blocked_until,
            reason: record.block_reason,
            backoff_ms: record.backoff_ms,
            streaks: record.streaks,
            refused_at: record.refused_at,
        };
        Self {
            door: Door::new(Limiter::restored(record.tat_us, terms.pace, now_us)),
            quota: Quota::restored(record.quota_day.as_deref(), record.quota_used),
            breaker: Breaker::restored(breaker, wall(now_us)),
            block: Block::default(),
            horizon_us: SECOND_US,
            fitted: record.fitted,
            robots: record.robots,
            extra: record.extra,
        }
    }

    /// Whether a look-up may begin now.
    pub(crate) fn begin(&mut self, terms: &Terms, now_us: i64) -> Begin {
        self.lift(terms, now_us);
        match self.breaker.gate(wall(now_us)) {
            Gate::Open => Begin::Freely,
            Gate::Probe => Begin::AsProbe,
            Gate::Probing => Begin::AfterProbe,
            Gate::ClosedUntil(until, reason) => Begin::Closed(Closed::Until(until, reason)),
            Gate::Refused => Begin::Closed(Closed::Refused),
        }
    }

    /// The look-up that begins is the probe.
    pub(crate) fn begin_probe(&mut self) {
        self.breaker.begin_probe();
    }

    /// The probe ended without having found out.
    pub(crate) fn abandon_probe(&mut self) {
        self.breaker.abandon_probe();
    }

    /// Whether a request of a look-up that has begun may leave now.
    pub(crate) fn verdict(&mut self, terms: &Terms, now_us: i64) -> Verdict {
        self.lift(terms, now_us);
        match self.breaker.gate(wall(now_us)) {
            Gate::ClosedUntil(until, reason) => return Verdict::Closed(Closed::Until(until, reason)),
            Gate::Refused => return Verdict::Closed(Closed::Refused),
            Gate::Open | Gate::Probe | Gate::Probing => {}
        }
        if let Some(closed) = self.quota_closed(terms, now_us) {
            return Verdict::Closed(closed);
        }
        match self.door.may_leave(terms.pace, now_us) {
            Leave::Now => {}
            Leave::At(instant) => return Verdict::Wait(instant),
            Leave::AfterAnswer => return Verdict::AfterAnswer,
        }
        let same_day = terms.quota.is_none() || self.block.quota_day == self.quota.day();
        let covered = self.block.left > 0 && now_us < self.block.until_us && same_day;
        if covered { Verdict::Leave } else { Verdict::Record }
    }

    fn quota_closed(&mut self, terms: &Terms, now_us: i64) -> Option<Closed> {
        match self.quota.left(terms.quota.as_ref()?, wall(now_us)) {
            Left::Requests(_) => None,
            Left::NoneUntil(until) => Some(Closed::Until(until, BlockReason::Quota)),
        }
    }

    /// The next block, to be recorded and, once that is acknowledged, begun. At least one request, at most a second's.
    pub(crate) fn plan(&mut self, terms: &Terms, now_us: i64) -> Plan {
        // No more than can leave until the block ends: what trickles in, and what the bucket holds, as far as there are
        // places for them at once. The rest would be forfeited by a crash for nothing.
        let trickle = self.horizon_us / terms.pace.interval_us();
        let places = i64::from(terms.budget.concurrency).min(terms.pace.burst());
        let wanted = u32::try_from(trickle.max(places).clamp(1, 2_000)).unwrap_or(1);
        let requests = match terms.quota.as_ref().map(|rule| self.quota.left(rule, wall(now_us))) {
            // A crash forfeits what is recorded and not spent: never more than a small part of a day's quota.
            Some(Left::Requests(left)) => wanted.min((left / 20).max(u32::try_from(places).unwrap_or(1))).min(left),
            Some(Left::NoneUntil(_)) => 0,
            None => wanted,
        };
        let until_us = now_us.saturating_add(self.horizon_us);
        let record = self.record_of(terms, (requests, until_us), now_us);
        Plan { record, requests, until_us, quota_day: self.quota.day() }
    }

    /// The plan's record has been acknowledged at `now_us`: its requests may leave.
    pub(crate) fn begin_block(&mut self, plan: Plan, now_us: i64) {
        if now_us >= plan.until_us {
            // The acknowledgement took longer than the block: plan longer ones.
            self.horizon_us = self.horizon_us.saturating_mul(2).min(MAX_HORIZON_US);
        }
        self.block = Block { left: plan.requests, until_us: plan.until_us, quota_day: plan.quota_day };
    }

    /// Counts a request that leaves now; after [`Verdict::Leave`] at the same instant.
    pub(crate) fn depart(&mut self, now_us: i64) -> Departure {
        self.block.left = self.block.left.saturating_sub(1);
        self.quota.spend(1);
        self.door.depart(now_us)
    }

    /// A second opinion on POL-2, after a departure: whether the day's count, whoever spent it, is beyond the quota.
    pub(crate) fn is_over_quota(&self, terms: &Terms) -> bool {
        terms.quota.as_ref().is_some_and(|rule| self.quota.used() > rule.requests())
    }

    /// The carrier has answered a request.
    pub(crate) fn settle(&mut self, departure: Departure, pace: Pace, now_us: i64) {
        self.door.settle(departure, pace, now_us);
    }

    /// Nobody waits for a request's answer any more; it may not have arrived yet.
    pub(crate) fn give_up(&mut self, departure: Departure, pace: Pace, now_us: i64) {
        self.door.give_up(departure, pace, now_us);
    }

    /// What a look-up taught. Tells whether that must be recorded.
    pub(crate) fn signal(&mut self, signal: Signal, now_us: i64) -> bool {
        self.breaker.signal(signal, wall(now_us))
    }

    /// Until when nothing is sent, and why.
    pub(crate) fn closed(&mut self, terms: &Terms, now_us: i64) -> Option<Closed> {
        match self.begin(terms, now_us) {
            Begin::Closed(closed) => Some(closed),
            Begin::Freely | Begin::AsProbe | Begin::AfterProbe => self.quota_closed(terms, now_us),
        }
    }

    /// When the `count`-th further request could leave.
    pub(crate) fn forecast(&self, terms: &Terms, count: u32, now_us: i64) -> WallMs {
        WallMs::new(self.door.forecast_us(terms.pace, count, now_us).saturating_add(999).div_euclid(1_000))
    }

    /// The state as it is, with what is left of the block in force: for records between blocks.
    pub(crate) fn record(&mut self, terms: &Terms, now_us: i64) -> FetcherBudgetRecord {
        let block = if now_us < self.block.until_us { (self.block.left, self.block.until_us) } else { (0, now_us) };
        self.record_of(terms, block, now_us)
    }

    fn record_of(&self, terms: &Terms, (requests, until_us): (u32, i64), now_us: i64) -> FetcherBudgetRecord {
        let breaker = self.breaker.record();
        FetcherBudgetRecord {
            tat_us: self.door.after(terms.pace, requests, until_us).tat_us(),
            quota_day: self.quota.day(),
            quota_used: self.quota.day().map_or(0, |_| self.quota.used().saturating_add(requests)),
            blocked_until: breaker.blocked_until,
            block_reason: breaker.reason,
            backoff_ms: breaker.backoff_ms,
            streaks: breaker.streaks,
            refused_at: breaker.refused_at,
            robots: self.robots.clone(),
            fitted: self.fitted.clone(),
            budget: Some(terms.budget.clone()),
            at: wall(now_us),
            extra: self.extra.clone(),
        }
    }

    /// What people and new adapters change of the breakers.
    fn lift(&mut self, terms: &Terms, now_us: i64) {
        if let Some(lifted_at) = terms.lifted_at {
            self.breaker.lift(lifted_at);
        }
        if self.fitted != terms.fitted {
            self.breaker.refitted(wall(now_us));
            self.fitted.clone_from(&terms.fitted);
        }
    }

    /// What robots.txt of a host said. Tells whether that is new.
    pub(crate) fn note_robots(&mut self, host: &str, verdict: RobotsVerdict) -> bool {
        if self.robots.len() >= MOST_ROBOTS && !self.robots.contains_key(host) {
            self.robots.pop_first();
        }
        let known = self.robots.insert(host.to_owned(), verdict.clone());
        known.is_none_or(|known| RobotsVerdict { at: verdict.at, ..known } != verdict)
    }
}

#[cfg(test)]
#[path = "budget_tests.rs"]
mod tests;
