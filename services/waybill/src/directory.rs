//! One view of the carriers for every service: their adapters, the configuration, and the operator's live policies.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use waybill_adapters::{Adapter, Candidate, Catalog, Detected};
use waybill_api::{CarrierDirectory, CarrierInfo, DetectedNumber, Offer};
use waybill_fetcher::{Policies, requests_of_a_look};
use waybill_log::{Headers, LogError, NewRecord, SharedLog, TopicPartition};
use waybill_scheduler::{CarrierTerms, Carriers, Switch};
use waybill_schemas::{
    BudgetName, CarrierSlug,
    layout::{CARRIER_POLICY_PREFIX, Layout},
    number::NumberError,
    politeness::{Budget, CarrierPolicy},
    topics::{TopicPrefix, names},
};

use crate::{config::Config, follow::Table};

/// Carriers with everything that is known of them. Cheap to share.
pub(crate) struct Directory {
    /// The adapters.
    pub catalog: Arc<Catalog>,
    /// The configuration.
    pub config: Config,
    /// The operator's policies, live.
    pub policies: Table,
    /// The budgets' states, live.
    pub states: Table,
    /// Where policies are written.
    pub log: SharedLog,
    /// Names of topics.
    pub topics: TopicPrefix,
    /// Which budget a carrier spends.
    pub layout: Layout,
}

impl Directory {
    fn policy_of(&self, carrier: &CarrierSlug) -> CarrierPolicy {
        let value = self.policies.get(&format!("{CARRIER_POLICY_PREFIX}{carrier}"));
        value.and_then(|value| serde_json::from_value(value).ok()).unwrap_or_default()
    }

    fn budget_of(&self, adapter: &Adapter) -> Budget {
        let configured = self.config.fetcher.carriers.get(&adapter.slug);
        let budget = configured.map_or_else(|| adapter.budget.clone(), |carrier| adapter.budget.with(&carrier.budget));
        budget.with(&self.policy_of(&adapter.slug).budget)
    }

    /// Requests of one look; the error says why the carrier is not asked.
    fn requests(&self, carrier: &CarrierSlug) -> Result<u32, String> {
        requests_of_a_look(&self.catalog, &self.config.fetcher, carrier, &self.policy_of(carrier))
    }

    fn is_enabled(&self, adapter: &Adapter) -> bool {
        self.requests(&adapter.slug).is_ok()
    }

    fn offered(&self, detected: Detected, carrier: Option<CarrierSlug>) -> DetectedNumber {
        let offer = |candidate: Candidate| Offer { enabled: self.requests(&candidate.carrier).is_ok(), candidate };
        DetectedNumber {
            number: detected.number,
            candidates: detected.candidates.into_iter().map(offer).collect(),
            carrier,
        }
    }

    fn info(&self, adapter: &Adapter) -> CarrierInfo {
        CarrierInfo {
            slug: adapter.slug.clone(),
            name: adapter.name.clone(),
            basis: adapter.basis.as_str().to_owned(),
            sources: adapter.sources.iter().map(|source| source.name.clone()).collect(),
            languages: adapter.languages.clone(),
            enabled: self.is_enabled(adapter),
            needs: adapter.needs.clone(),
            budget_name: self.layout.budget_of(&adapter.slug),
            budget: self.budget_of(adapter),
            hyphens: adapter.hyphens,
        }
    }
}

/// Whether the configuration lets a carrier be asked; the fetcher's own rule.
pub(crate) fn enabled(config: &Config, catalog: &Catalog, carrier: &CarrierSlug) -> bool {
    requests_of_a_look(catalog, &config.fetcher, carrier, &CarrierPolicy::default()).is_ok()
}

#[async_trait]
impl CarrierDirectory for Directory {
    fn find(&self, carrier: &CarrierSlug) -> Option<CarrierInfo> {
        self.catalog.get(carrier).map(|adapter| self.info(&adapter))
    }

    fn list(&self) -> Vec<CarrierInfo> {
        self.catalog.all().map(|adapter| self.info(adapter)).collect()
    }

    fn detect(&self, typed: &str) -> Result<DetectedNumber, NumberError> {
        let choice = self.catalog.detector().choose(typed, |carrier| self.requests(carrier).is_ok())?;
        Ok(self.offered(choice.detected, choice.carrier))
    }

    fn extract(&self, text: &str) -> Vec<DetectedNumber> {
        let found = self.catalog.detector().extract(text).into_iter();
        // Each again by itself, for which of its carriers may be taken at once.
        found.filter_map(|detected| self.detect(detected.number.as_str()).ok()).collect()
    }

    fn state(&self, carrier: &CarrierSlug) -> Value {
        let budget = self.layout.budget_of(carrier);
        json!({
            "fetcher": self.states.get(&format!("{budget}/fetcher")),
            "scheduler": self.states.get(&format!("{budget}/scheduler")),
        })
    }

    fn policy(&self, carrier: &CarrierSlug) -> CarrierPolicy {
        self.policy_of(carrier)
    }

    async fn set_policy(&self, carrier: &CarrierSlug, policy: CarrierPolicy) -> Result<(), LogError> {
        let value = serde_json::to_vec(&policy).map_err(|error| LogError::Unavailable(error.to_string()))?;
        let record = NewRecord {
            at: TopicPartition::new(self.topics.of(names::POLICIES), 0),
            key: Some(format!("{CARRIER_POLICY_PREFIX}{carrier}").into()),
            value: Some(value.into()),
            headers: Headers::new(),
        };
        self.log.produce(vec![record]).await.into_iter().try_for_each(|answer| answer.map(|_| ()))
    }
}

/// The layout that the adapters ask for.
pub(crate) fn layout_of(catalog: &Catalog, partitions: u32) -> Layout {
    let foreign = |adapter: &Arc<Adapter>| {
        let named: BudgetName = adapter.budget_name.clone();
        (named != adapter.slug.own_budget()).then(|| (adapter.slug.clone(), named))
    };
    Layout { partitions, budgets: catalog.all().filter_map(foreign).collect() }
}

impl Policies for Directory {
    fn carrier(&self, carrier: &CarrierSlug) -> CarrierPolicy {
        self.policy_of(carrier)
    }
}

impl Carriers for Directory {
    fn policy(&self, carrier: &CarrierSlug) -> Option<CarrierTerms> {
        let adapter = self.catalog.get(carrier)?;
        let requests = self.requests(carrier);
        Some(CarrierTerms {
            budget: self.budget_of(&adapter),
            requests_per_attempt: requests.as_ref().copied().unwrap_or(1),
            switch: if requests.is_ok() { Switch::On } else { Switch::Off },
        })
    }
}
