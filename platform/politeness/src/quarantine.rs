//! Poison: records that a program cannot process although it should, counted per budget before anything is stopped.
//!
//! A record that cannot be read, or whose reading or mapping panics, goes to the dead letters and its attempt still gets an
//! outcome. That is fine for one; for many it means that an adapter, or this program, is broken. So each budget has a
//! [`Quarantine`]: over the limit its carriers are left alone until an instant, then one look finds out how it goes (the
//! probe), and a good one ends it; a bad one closes it again for twice as long. Only when several budgets are quarantined at
//! once, or too many records are no JSON at all, is it the program that is broken: then [`Ward`] says that its consumer
//! must stop, before it turns a whole topic into dead letters.
//!
//! Pure: instants are parameters. What is counted lives in the process: a new owner counts anew, which costs at most the
//! limit once more.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use waybill_schemas::WallMs;

/// When poison is too much. Section `poison` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PoisonLimits {
    /// So many unprocessable records of one budget within the window quarantine its carriers.
    pub records: u32,
    /// The window, in seconds.
    pub window_s: u32,
    /// So many budgets quarantined at once stop the service.
    pub budgets: u32,
    /// So many records within the window that are no JSON and name no carrier stop the service.
    pub envelopes: u32,
    /// The first quarantine's length, in seconds; each failed probe doubles it.
    pub quarantine_s: u32,
    /// The longest, in seconds.
    pub longest_s: u32,
}

impl Default for PoisonLimits {
    fn default() -> Self {
        Self { records: 5, window_s: 600, budgets: 3, envelopes: 20, quarantine_s: 600, longest_s: 21_600 }
    }
}

impl PoisonLimits {
    /// Checks the figures; the sentence names the first that is out of range.
    ///
    /// # Errors
    /// The sentence.
    pub fn check(&self) -> Result<(), String> {
        for (name, value) in [
            ("records", self.records),
            ("window_s", self.window_s),
            ("budgets", self.budgets),
            ("envelopes", self.envelopes),
            ("quarantine_s", self.quarantine_s),
        ] {
            if !(1..=1_000_000).contains(&value) {
                return Err(format!("poison.{name} must be from 1 to 1000000"));
            }
        }
        if self.longest_s < self.quarantine_s {
            return Err("poison.longest_s must be at least poison.quarantine_s".to_owned());
        }
        Ok(())
    }

    fn window_ms(&self) -> i64 {
        i64::from(self.window_s) * 1_000
    }
}

/// Instants within the window, at most `limit` of them.
#[derive(Debug, Clone, Default)]
pub struct Recent {
    at: VecDeque<WallMs>,
}

impl Recent {
    /// Counts one at `now`; tells whether `limit` of them lie within the last `window_ms`.
    pub fn count(&mut self, now: WallMs, limit: u32, window_ms: i64) -> bool {
        self.at.push_back(now);
        while self.at.len() > limit as usize || self.at.front().is_some_and(|at| now.since_ms(*at) > window_ms) {
            self.at.pop_front();
        }
        self.at.len() >= limit as usize
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing is held back.
    Free,
    /// Nobody looks before the instant; then one does.
    Closed { until: WallMs, for_ms: i64 },
    /// The one look is under way.
    Probing { until: WallMs, for_ms: i64 },
}

/// Whether a budget's carriers may be worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Gate {
    /// As always.
    Open,
    /// By one, which is the probe: see [`Quarantine::begin_probe`].
    Probe,
    /// Not before this instant; or, if it has passed, not before the probe that is under way has ended.
    Closed(WallMs),
}

/// One budget's quarantine.
#[derive(Debug, Clone)]
pub struct Quarantine {
    recent: Recent,
    state: State,
}

impl Default for Quarantine {
    fn default() -> Self {
        Self { recent: Recent::default(), state: State::Free }
    }
}

impl Quarantine {
    /// Takes in an unprocessable record. Answers until when the budget is quarantined by it; `None` when it is only
    /// counted, or was closed already: what was under way when it closed teaches nothing new.
    pub fn poison(&mut self, now: WallMs, limits: &PoisonLimits) -> Option<WallMs> {
        let for_ms = match self.state {
            State::Free => {
                if !self.recent.count(now, limits.records, limits.window_ms()) {
                    return None;
                }
                i64::from(limits.quarantine_s) * 1_000
            }
            State::Closed { .. } => return None,
            State::Probing { for_ms, .. } => (for_ms * 2).min(i64::from(limits.longest_s) * 1_000),
        };
        let until = now.plus_ms(for_ms);
        self.state = State::Closed { until, for_ms };
        Some(until)
    }

    /// Whether work may be done at `now`.
    pub fn gate(&self, now: WallMs) -> Gate {
        match self.state {
            State::Free => Gate::Open,
            State::Closed { until, .. } if now < until => Gate::Closed(until),
            State::Closed { .. } => Gate::Probe,
            State::Probing { until, .. } => Gate::Closed(until),
        }
    }

    /// The one look that [`Gate::Probe`] allows begins.
    pub fn begin_probe(&mut self) {
        if let State::Closed { until, for_ms } = self.state {
            self.state = State::Probing { until, for_ms };
        }
    }

    /// The probe ended without having found out: another may try.
    pub fn abandon_probe(&mut self) {
        if let State::Probing { until, for_ms } = self.state {
            self.state = State::Closed { until, for_ms };
        }
    }

    /// Something was processed well. Tells whether that ended the quarantine: only the probe can.
    pub fn good(&mut self) -> bool {
        let ended = matches!(self.state, State::Probing { .. });
        if ended {
            *self = Self::default();
        }
        ended
    }

    /// Whether it is in force.
    pub fn is_in_force(&self) -> bool {
        self.state != State::Free
    }
}

/// What an unprocessable record means.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Finding {
    /// It is counted.
    Counted,
    /// Its budget is quarantined until this instant.
    Quarantined(WallMs),
    /// The consumer must stop; the sentence says why.
    Stop(String),
}

/// The quarantines of all budgets of a process.
#[derive(Debug, Clone)]
pub struct Ward {
    limits: PoisonLimits,
    budgets: BTreeMap<String, Quarantine>,
    envelopes: Recent,
}

impl Ward {
    /// Nothing is quarantined.
    pub fn new(limits: PoisonLimits) -> Self {
        Self { limits, budgets: BTreeMap::new(), envelopes: Recent::default() }
    }

    /// A record of this budget could not be processed at `now`.
    pub fn poison(&mut self, budget: &str, now: WallMs) -> Finding {
        let quarantine = self.budgets.entry(budget.to_owned()).or_default();
        let Some(until) = quarantine.poison(now, &self.limits) else { return Finding::Counted };
        let ill: Vec<&str> = self.quarantined().collect();
        if ill.len() >= self.limits.budgets as usize {
            return Finding::Stop(format!(
                "records of several budgets at once cannot be processed ({}): this program or its adapters are at fault; \
                 go back to the version before, or see the log and the dead letters",
                ill.join(", ")
            ));
        }
        Finding::Quarantined(until)
    }

    /// A record that is no JSON and names no carrier was read at `now`.
    pub fn envelope(&mut self, now: WallMs) -> Finding {
        if self.envelopes.count(now, self.limits.envelopes, self.limits.window_ms()) {
            return Finding::Stop(format!(
                "{} records within {} seconds are no JSON: something else writes to this topic, or the log is damaged",
                self.limits.envelopes, self.limits.window_s
            ));
        }
        Finding::Counted
    }

    /// Whether work may be done for a budget at `now`.
    pub fn gate(&self, budget: &str, now: WallMs) -> Gate {
        self.budgets.get(budget).map_or(Gate::Open, |quarantine| quarantine.gate(now))
    }

    /// See [`Quarantine::begin_probe`].
    pub fn begin_probe(&mut self, budget: &str) {
        if let Some(quarantine) = self.budgets.get_mut(budget) {
            quarantine.begin_probe();
        }
    }

    /// See [`Quarantine::abandon_probe`].
    pub fn abandon_probe(&mut self, budget: &str) {
        if let Some(quarantine) = self.budgets.get_mut(budget) {
            quarantine.abandon_probe();
        }
    }

    /// See [`Quarantine::good`].
    pub fn good(&mut self, budget: &str) -> bool {
        self.budgets.get_mut(budget).is_some_and(Quarantine::good)
    }

    /// Budgets that are quarantined.
    pub fn quarantined(&self) -> impl Iterator<Item = &str> {
        self.budgets.iter().filter(|(_, quarantine)| quarantine.is_in_force()).map(|(name, _)| name.as_str())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use proptest::prelude::*;

    use super::*;

    const T0: WallMs = WallMs::new(1_700_000_000_000);

    fn limits() -> PoisonLimits {
        PoisonLimits { records: 3, window_s: 60, budgets: 2, envelopes: 4, quarantine_s: 100, longest_s: 300 }
    }

    #[test]
    fn poison_beyond_the_limit_closes_a_budget_and_a_good_probe_opens_it() {
        let mut one = Quarantine::default();
        assert_eq!((one.poison(T0, &limits()), one.poison(T0, &limits())), (None, None));
        assert_eq!(one.gate(T0), Gate::Open);
        let until = one.poison(T0.plus_ms(59_000), &limits()).unwrap();
        assert_eq!(until, T0.plus_ms(159_000));
        assert_eq!(one.gate(until.plus_ms(-1)), Gate::Closed(until));
        // Stragglers neither lengthen nor end it.
        assert_eq!(one.poison(T0.plus_ms(60_000), &limits()), None);
        assert!(!one.good());
        assert_eq!(one.gate(until), Gate::Probe);
        one.begin_probe();
        assert_eq!(one.gate(until), Gate::Closed(until), "one probe at a time");
        assert!(one.good());
        assert_eq!(one.gate(until), Gate::Open);
        assert_eq!(one.poison(until, &limits()), None, "the count begins anew");
    }

    #[test]
    fn a_failed_probe_closes_for_twice_as_long_up_to_the_longest() {
        let mut one = Quarantine::default();
        let mut now = T0;
        let mut until = (0..3).find_map(|_| one.poison(now, &limits())).unwrap();
        for seconds in [200, 300, 300] {
            now = until;
            one.begin_probe();
            until = one.poison(now, &limits()).unwrap();
            assert_eq!(until.since_ms(now), seconds * 1_000);
        }
        one.begin_probe();
        one.abandon_probe();
        assert_eq!(one.gate(until), Gate::Probe, "a probe that found nothing out leaves room for another");
    }

    #[test]
    fn poison_spread_over_time_quarantines_nobody() {
        let mut one = Quarantine::default();
        assert!((0..50).all(|turn| one.poison(T0.plus_ms(turn * 31_000), &limits()).is_none()));
    }

    #[test]
    fn one_budget_never_stops_a_consumer_and_several_do() {
        let mut ward = Ward::new(limits());
        for second in 0..10_000 {
            assert!(!matches!(ward.poison("acme", T0.plus_ms(second * 1_000)), Finding::Stop(_)));
        }
        assert_eq!(ward.gate("other", T0), Gate::Open);
        let now = T0.plus_ms(10_000_000);
        let last = (0..3).map(|_| ward.poison("other", now)).last().unwrap();
        assert!(matches!(last, Finding::Stop(why) if why.contains("acme") && why.contains("other")));
    }

    #[test]
    fn unreadable_envelopes_stop_a_consumer() {
        let mut ward = Ward::new(limits());
        let found: Vec<Finding> = (0..4).map(|_| ward.envelope(T0)).collect();
        assert!(found[..3].iter().all(|finding| *finding == Finding::Counted));
        assert!(matches!(&found[3], Finding::Stop(why) if why.contains("no JSON")));
    }

    proptest! {
        /// Whatever happens in whatever order: while in force, at most one probe is allowed between two ends of probes.
        #[test]
        fn there_is_never_more_than_one_probe(acts in proptest::collection::vec(0_u8..4, 0..200)) {
            let (mut one, mut under_way, mut now) = (Quarantine::default(), 0, T0);
            for act in acts {
                now = now.plus_ms(40_000);
                match act {
                    0 => if one.poison(now, &limits()).is_some() { under_way = 0 },
                    1 => if one.gate(now) == Gate::Probe { one.begin_probe(); under_way += 1 },
                    2 => { one.abandon_probe(); under_way = 0 }
                    _ => if one.good() { under_way = 0 },
                }
                prop_assert!(under_way <= 1);
                prop_assert!(under_way == 0 || one.is_in_force());
            }
        }
    }
}
