//! How much of a budget may be under way: the scheduler's pacing of choice.
//!
//! A window of some seconds of the budget's rate, counted in declared requests; an attempt holds its cost from the moment
//! it is handed out until its outcome comes back, whoever is slow in between. Where a carrier is asked for several numbers at
//! once, each holds its share, and the window has room for one full look-up at least. So queues in the log stay short, a stopped
//! consumer stops new attempts, and one attempt is always possible. The law at the carrier's door (POL-1) is the
//! limiter's, in the fetcher; this only keeps what is chosen close to what may be sent.
//!
//! Visitors (temporary registrations) are paced to a tenth of the rate besides.

use waybill_schemas::{WallMs, politeness::Budget};

/// Part of a budget that temporary registrations may spend.
const VISITORS_SHARE: f64 = 0.1;

const DAY_SECONDS: f64 = 86_400.0;

/// Requests per second that a budget sustains: its rate, or its daily quota spread over the day if that is less.
pub fn sustained_rate(budget: &Budget) -> f64 {
    let quota = budget.daily_quota.as_ref().map_or(f64::INFINITY, |quota| f64::from(quota.requests) / DAY_SECONDS);
    budget.rate_per_second.min(quota)
}

/// The figures that credit is given by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Allowance {
    /// Requests per second.
    pub rate: f64,
    /// Seconds of that rate that may be under way.
    pub window_s: f64,
}

/// What one number's look costs. Counted in thousandths of a request, because several numbers may share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    share: u32,
    look: u32,
}

impl Cost {
    /// Of what asks nobody.
    pub const NONE: Self = Self { share: 0, look: 0 };

    /// Of a look of `requests` that is shared by up to `numbers`; both at least 1.
    pub fn of(requests: u32, numbers: u32) -> Self {
        let look = requests.max(1).saturating_mul(1_000);
        Self { share: (look / numbers.max(1)).max(1), look }
    }

    /// A number's share, in thousandths of a request.
    pub fn share(self) -> u64 {
        u64::from(self.share)
    }

    /// Requests of the whole look.
    pub fn requests(self) -> u32 {
        self.look / 1_000
    }
}

/// For whom a number is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Guest {
    /// Somebody registered it.
    Resident,
    /// Somebody looked it up; a tenth of the budget at most.
    Visitor,
}

/// Whether an attempt may be handed out now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Admission {
    /// Yes.
    Granted,
    /// The window is full until an outcome comes back.
    Full,
    /// The carrier asked to be left alone, or visitors have spent their share, until then.
    NotBefore(WallMs),
}

/// Credit of one budget.
#[derive(Debug, Clone, Default)]
pub struct Credit {
    held: u64,
    blocked_until: Option<WallMs>,
    visitors_next: WallMs,
}

impl Credit {
    /// What attempts under way hold, in thousandths of a request.
    pub fn held(&self) -> u64 {
        self.held
    }

    /// Until when the carrier is left alone, if it still is.
    pub fn blocked_until(&self, now: WallMs) -> Option<WallMs> {
        self.blocked_until.filter(|until| *until > now)
    }

    /// Whether an attempt may be handed out. One look always fits an empty window, with all numbers that share it.
    pub fn admit(&self, guest: Guest, cost: Cost, allowance: &Allowance, now: WallMs) -> Admission {
        if let Some(until) = self.blocked_until(now) {
            return Admission::NotBefore(until);
        }
        if guest == Guest::Visitor && self.visitors_next > now {
            return Admission::NotBefore(self.visitors_next);
        }
        let window = (allowance.rate * allowance.window_s * 1e3).max(0.0) as u64;
        let fits = self.held.saturating_add(cost.share()) <= window.max(u64::from(cost.look));
        if fits { Admission::Granted } else { Admission::Full }
    }

    /// An attempt has been handed out.
    pub fn take(&mut self, guest: Guest, cost: Cost, allowance: &Allowance, now: WallMs) {
        self.hold(cost);
        if guest == Guest::Visitor {
            let pause_s = f64::from(cost.share) / 1e3 / (allowance.rate * VISITORS_SHARE).max(1e-9);
            self.visitors_next = self.visitors_next.max(now).plus_ms((pause_s * 1e3) as i64);
        }
    }

    /// An attempt that was handed out before this owner came is still under way; may go beyond the window.
    pub fn hold(&mut self, cost: Cost) {
        self.held = self.held.saturating_add(cost.share());
    }

    /// Its outcome came back.
    pub fn give_back(&mut self, cost: Cost) {
        self.held = self.held.saturating_sub(cost.share());
    }

    /// The carrier asked to be left alone until then. An earlier instant does not shorten a block.
    pub fn block(&mut self, until: WallMs) {
        self.blocked_until = Some(self.blocked_until.map_or(until, |held| held.max(until)));
    }

    /// What the carrier was left alone for may be over: the next attempt finds out. The fetcher keeps what it knows.
    pub fn unblock(&mut self) {
        self.blocked_until = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Allowance = Allowance { rate: 1.0, window_s: 10.0 };
    const NOW: WallMs = WallMs::new(1_000_000);

    fn asks(requests: u32) -> Cost {
        Cost::of(requests, 1)
    }

    #[test]
    fn attempts_hold_their_requests_until_their_outcome() {
        let mut credit = Credit::default();
        let mut given = 0;
        while credit.admit(Guest::Resident, asks(3), &TEN, NOW) == Admission::Granted {
            credit.take(Guest::Resident, asks(3), &TEN, NOW);
            given += 1;
        }
        assert_eq!((given, credit.held()), (3, 9_000));
        // Time alone gives nothing back.
        assert_eq!(credit.admit(Guest::Resident, asks(3), &TEN, NOW.plus_ms(86_400_000)), Admission::Full);
        credit.give_back(asks(3));
        assert_eq!(credit.admit(Guest::Resident, asks(3), &TEN, NOW), Admission::Granted);
    }

    #[test]
    fn one_attempt_is_always_possible_and_never_two_beyond_the_window() {
        let slow = Allowance { rate: 0.01, window_s: 10.0 };
        let mut credit = Credit::default();
        assert_eq!(credit.admit(Guest::Resident, asks(7), &slow, NOW), Admission::Granted);
        credit.take(Guest::Resident, asks(7), &slow, NOW);
        assert_eq!(credit.admit(Guest::Resident, asks(1), &slow, NOW), Admission::Full);
    }

    #[test]
    fn numbers_that_share_a_request_share_its_cost() {
        let given = |allowance: &Allowance, cost: Cost| {
            let mut credit = Credit::default();
            let mut given = 0;
            while credit.admit(Guest::Resident, cost, allowance, NOW) == Admission::Granted {
                credit.take(Guest::Resident, cost, allowance, NOW);
                given += 1;
            }
            given
        };
        // However slow the budget, one look is filled; a quicker one has several looks under way.
        let slow = Allowance { rate: 0.01, window_s: 10.0 };
        assert_eq!(given(&slow, Cost::of(1, 35)), 35);
        assert_eq!(given(&slow, Cost::of(2, 35)), 35);
        assert_eq!(given(&TEN, Cost::of(1, 20)), 200);
        assert_eq!(given(&TEN, Cost::of(2, 20)), 100);
    }

    #[test]
    fn a_block_holds_and_is_not_shortened() {
        let mut credit = Credit::default();
        credit.block(NOW.plus_ms(5_000));
        credit.block(NOW.plus_ms(1_000));
        assert_eq!(credit.admit(Guest::Resident, asks(1), &TEN, NOW), Admission::NotBefore(NOW.plus_ms(5_000)));
        assert_eq!(credit.admit(Guest::Resident, asks(1), &TEN, NOW.plus_ms(5_000)), Admission::Granted);
    }

    #[test]
    fn visitors_spend_at_most_a_tenth() {
        let mut credit = Credit::default();
        let mut spent = 0;
        for ms in 0..1_000_000 {
            let now = NOW.plus_ms(ms);
            if credit.admit(Guest::Visitor, asks(1), &TEN, now) == Admission::Granted {
                credit.take(Guest::Visitor, asks(1), &TEN, now);
                credit.give_back(asks(1));
                spent += 1;
            }
        }
        assert!((99..=101).contains(&spent), "{spent} of 1000 requests");
    }

    #[test]
    fn a_quota_lowers_the_sustained_rate() {
        let quota = waybill_schemas::politeness::DailyQuota {
            requests: 8_640,
            resets_at: "00:00".to_owned(),
            zone: "UTC".to_owned(),
            spread: false,
            extra: Default::default(),
        };
        let budget = Budget { rate_per_second: 2.0, daily_quota: Some(quota), ..Budget::default() };
        assert!((sustained_rate(&budget) - 0.1).abs() < 1e-9);
    }
}
