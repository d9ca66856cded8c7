//! What the scheduler needs to know of a carrier; told by whoever composes the program.

use waybill_politeness::credit::Cost;
use waybill_schemas::{CarrierSlug, drift::DriftRules, politeness::Budget};

/// A carrier as the scheduler sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct CarrierTerms {
    /// The budget in force. Carriers that share one tell the same figures.
    pub budget: Budget,
    /// Requests that one look declares: its steps; at least 1.
    pub requests_per_attempt: u32,
    /// Numbers that may share those requests; 1 where the carrier is asked one by one.
    pub numbers_per_attempt: u32,
    /// Whether looks may be handed out. Numbers of a carrier that is switched off wait and are not lost.
    pub switch: Switch,
}

/// Whether a carrier is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// It is.
    On,
    /// It is not, until somebody turns it on.
    Off,
}

/// All carriers; asked about once a second, so changes while running are seen. Answers at once, without waiting.
pub trait Carriers: Send + Sync {
    /// A carrier's terms; `None` when there is no such carrier.
    fn policy(&self, carrier: &CarrierSlug) -> Option<CarrierTerms>;

    /// When the carrier counts as degraded.
    fn drift(&self, _carrier: &CarrierSlug) -> DriftRules {
        DriftRules::default()
    }

    /// Changes whenever something changed that may make a carrier readable or willing again: its adapter's version, a lifted
    /// mark, a switch. Numbers that waited because of that are then looked at again.
    fn revision(&self, _carrier: &CarrierSlug) -> u64 {
        0
    }
}

impl CarrierTerms {
    /// For numbers whose carrier has gone: they wait.
    pub(crate) fn unknown() -> Self {
        Self { budget: Budget::default(), requests_per_attempt: 1, numbers_per_attempt: 1, switch: Switch::Off }
    }

    /// What a look at one number costs.
    pub(crate) fn cost(&self) -> Cost {
        Cost::of(self.requests_per_attempt, self.numbers_per_attempt)
    }

    /// Most journey time between two looks at one parcel while the budget has room, in ms.
    pub(crate) fn most_ms(&self) -> i64 {
        self.budget.max_interval_s.map_or(i64::MAX, |most| i64::from(most) * 1_000)
    }

    /// Least journey time between two looks at one parcel, in ms.
    pub(crate) fn least_ms(&self) -> i64 {
        i64::from(self.budget.min_interval_s) * 1_000
    }
}
