//! What a budget allows now: the adapters' figures, the file's, the operator's; the later ones go first.

use std::sync::{Arc, Mutex, PoisonError};

use waybill_adapters::LiveCatalog;
use waybill_runtime::Clocks;
use waybill_schemas::{
    BudgetName, CarrierSlug, WallMs,
    layout::Layout,
    politeness::{Budget, CarrierPolicy},
};
use xxhash_rust::xxh3::xxh3_64;

use crate::{admission::Short, budget::Terms, choose::Chosen, choose::choose_with_candidate, config::FetcherConfig};

/// How long terms and choices are used before they are asked for again, in ms.
const FRESH_MS: i64 = 1_000;

/// Live overrides of operators (`waybill.policies`), given by the composition.
pub trait Policies: Send + Sync {
    /// The policy of one carrier; the default where nobody said anything.
    fn carrier(&self, carrier: &CarrierSlug) -> CarrierPolicy;

    /// The candidate version whose trial was stopped because it was worse, if any.
    fn stopped_candidate(&self, _carrier: &CarrierSlug) -> Option<String> {
        None
    }
}

/// Nobody overrides anything.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPolicies;

impl Policies for NoPolicies {
    fn carrier(&self, _: &CarrierSlug) -> CarrierPolicy {
        CarrierPolicy::default()
    }
}

/// Everything that decides about carriers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Carriers {
    pub(crate) catalog: LiveCatalog,
    pub(crate) policies: Arc<dyn Policies>,
    pub(crate) layout: Arc<Layout>,
    pub(crate) config: Arc<FetcherConfig>,
    pub(crate) clocks: Clocks,
}

impl Carriers {
    /// The terms of a budget: of several carriers that share it, the strictest of each figure.
    pub(crate) fn terms(&self, budget: &BudgetName) -> Result<Terms, String> {
        let mut strictest: Option<Budget> = None;
        let mut lifted_at = None;
        let mut versions = String::new();
        let catalog = self.catalog.catalog();
        for adapter in catalog.all().filter(|adapter| self.layout.budget_of(&adapter.slug) == *budget) {
            let policy = self.policies.carrier(&adapter.slug);
            let own = adapter.budget.with(&self.config.carrier(&adapter.slug).budget).with(&policy.budget);
            lifted_at = lifted_at.max(policy.lifted_at);
            versions.push_str(&adapter.version);
            versions.push_str(policy.canary.and_then(|canary| canary.promote).as_deref().unwrap_or_default());
            strictest = Some(match strictest {
                None => own,
                Some(standing) => stricter(standing, own),
            });
        }
        let terms = Terms::of(strictest.unwrap_or_default(), lifted_at)?;
        Ok(Terms { fitted: format!("{:016x}", xxh3_64(versions.as_bytes())), ..terms })
    }

    /// The source to ask.
    pub(crate) fn choose(&self, carrier: &CarrierSlug) -> Result<Chosen, Short> {
        let stopped = self.policies.stopped_candidate(carrier);
        let generation = self.catalog.now();
        choose_with_candidate(&generation, &self.config, carrier, (&self.policies.carrier(carrier), stopped.as_deref()))
    }
}

fn stricter(a: Budget, b: Budget) -> Budget {
    let daily_quota = match (a.daily_quota, b.daily_quota) {
        (Some(a), Some(b)) => Some(if a.requests <= b.requests { a } else { b }),
        (a, b) => a.or(b),
    };
    Budget {
        rate_per_second: a.rate_per_second.min(b.rate_per_second),
        burst: a.burst.min(b.burst),
        concurrency: a.concurrency.min(b.concurrency),
        daily_quota,
        min_interval_s: a.min_interval_s.max(b.min_interval_s),
        max_interval_s: a.max_interval_s.zip(b.max_interval_s).map(|(a, b)| a.max(b)),
        basis: a.basis.or(b.basis),
    }
}

/// A value that is computed anew once a second.
pub(crate) struct Fresh<T> {
    held: Mutex<Option<(WallMs, T)>>,
}

impl<T> Default for Fresh<T> {
    fn default() -> Self {
        Self { held: Mutex::new(None) }
    }
}

impl<T: Clone> Fresh<T> {
    /// The value, computed if it is older than a second.
    pub(crate) fn get(&self, now: WallMs, compute: impl FnOnce() -> T) -> T {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        match held.as_ref() {
            Some((since, value)) if now.since_ms(*since) < FRESH_MS => value.clone(),
            _ => {
                let value = compute();
                *held = Some((now, value.clone()));
                value
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carriers_that_share_a_budget_get_the_strictest_figures() {
        let quick = Budget { rate_per_second: 5.0, burst: 9, concurrency: 2, ..Budget::default() };
        let slow =
            Budget { rate_per_second: 1.0, burst: 10, concurrency: 7, min_interval_s: 9_999, ..Budget::default() };
        let both = stricter(quick, slow);
        assert_eq!((both.rate_per_second, both.burst, both.concurrency, both.min_interval_s), (1.0, 9, 2, 9_999));
    }
}
