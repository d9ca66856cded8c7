//! One view of the carriers for every service: their adapters, the configuration, and the operator's live policies.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use async_trait::async_trait;
use serde_json::{Value, json};
use waybill_adapters::{Adapter, Candidate, Catalog, Detected, LiveCatalog};
use waybill_api::{CarrierDirectory, CarrierInfo, DetectedNumber, Offer};
use waybill_fetcher::{Look, Policies, look_at};
use waybill_log::{Headers, LogError, NewRecord, SharedLog, TopicPartition};
use waybill_scheduler::{CarrierTerms, Carriers, Switch};
use waybill_schemas::{
    BudgetName, CarrierSlug,
    drift::DriftRules,
    layout::{CARRIER_POLICY_PREFIX, Layout},
    number::NumberError,
    politeness::{Budget, CarrierPolicy},
    topics::{TopicPrefix, names},
};

use crate::{config::Config, follow::Table};

/// Carriers with everything that is known of them. Cheap to share.
pub(crate) struct Directory {
    /// The adapters, live.
    pub catalog: LiveCatalog,
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

    /// What the scheduler keeps of how a carrier's adapter fits.
    fn health_of(&self, carrier: &CarrierSlug) -> Value {
        let budget = self.layout.budget_of(carrier);
        let state = self.states.get(&format!("{budget}/scheduler")).unwrap_or_default();
        state["carriers"][carrier.as_str()].clone()
    }

    /// Which versions of a carrier's adapter this process has, and what it refused.
    fn adapter_state(&self, carrier: &CarrierSlug) -> Value {
        let now = self.catalog.now();
        let version =
            |adapter: &Adapter| json!({ "version": adapter.version, "mapping_version": adapter.mapping.version });
        let own = self.config.fetcher.carriers.get(carrier).and_then(|own| own.canary.as_ref());
        let wish = self.policy_of(carrier).canary.unwrap_or_default();
        let candidate = now.candidates.get(carrier).map(|adapter| {
            let mut shown = version(adapter);
            shown["share"] = json!(wish.share.or(own.map(|own| own.share)).unwrap_or(0.0));
            shown["mode"] = json!(wish.mode.or(own.map(|own| own.mode)).unwrap_or_default());
            shown["promoted"] = json!(wish.promote.as_deref() == Some(adapter.version.as_str()));
            shown
        });
        let refused = [carrier.to_string(), format!("{carrier} (candidate)")];
        let refused = refused.iter().find_map(|name| now.refused.get(name)).map(|refused| {
            let error = &refused.error;
            json!({ "file": error.file, "line": error.line, "problem": error.problem, "at": refused.at })
        });
        let mut shown = now.catalog.get(carrier).map_or(Value::Null, |adapter| version(&adapter));
        shown["candidate"] = json!(candidate);
        shown["refused"] = json!(refused);
        shown
    }

    fn budget_of(&self, adapter: &Adapter) -> Budget {
        let configured = self.config.fetcher.carriers.get(&adapter.slug);
        let budget = configured.map_or_else(|| adapter.budget.clone(), |carrier| adapter.budget.with(&carrier.budget));
        budget.with(&self.policy_of(&adapter.slug).budget)
    }

    /// What one look is; the error says why the carrier is not asked.
    fn look(&self, carrier: &CarrierSlug) -> Result<Look, String> {
        look_at(&self.catalog.catalog(), &self.config.fetcher, carrier, &self.policy_of(carrier))
    }

    fn offered(&self, detected: Detected, carrier: Option<CarrierSlug>) -> DetectedNumber {
        let offer = |candidate: Candidate| Offer { enabled: self.look(&candidate.carrier).is_ok(), candidate };
        DetectedNumber {
            number: detected.number,
            candidates: detected.candidates.into_iter().map(offer).collect(),
            carrier,
        }
    }

    fn info(&self, adapter: &Adapter) -> CarrierInfo {
        let look = self.look(&adapter.slug);
        CarrierInfo {
            slug: adapter.slug.clone(),
            name: adapter.name.clone(),
            basis: adapter.basis.as_str().to_owned(),
            sources: adapter.sources.iter().map(|source| source.name.clone()).collect(),
            languages: adapter.languages.clone(),
            enabled: look.is_ok(),
            why_not: look.as_ref().err().cloned(),
            requests_per_look: look.as_ref().map_or(1, |look| look.requests),
            numbers_per_look: look.as_ref().map_or(1, |look| look.numbers),
            needs: look.map_or_else(|_| adapter.needs.clone(), |look| look.needs),
            budget_name: self.layout.budget_of(&adapter.slug),
            budget: self.budget_of(adapter),
            hyphens: adapter.hyphens,
        }
    }
}

/// Whether the configuration lets a carrier be asked; the fetcher's own rule.
pub(crate) fn enabled(config: &Config, catalog: &Catalog, carrier: &CarrierSlug) -> bool {
    look_at(catalog, &config.fetcher, carrier, &CarrierPolicy::default()).is_ok()
}

#[async_trait]
impl CarrierDirectory for Directory {
    fn find(&self, carrier: &CarrierSlug) -> Option<CarrierInfo> {
        self.catalog.get(carrier).map(|adapter| self.info(&adapter))
    }

    fn list(&self) -> Vec<CarrierInfo> {
        self.catalog.catalog().all().map(|adapter| self.info(adapter)).collect()
    }

    fn detect(&self, typed: &str) -> Result<DetectedNumber, NumberError> {
        let choice = self.catalog.catalog().detector().choose(typed, |carrier| self.look(carrier).is_ok())?;
        Ok(self.offered(choice.detected, choice.carrier))
    }

    fn extract(&self, text: &str) -> Vec<DetectedNumber> {
        let found = self.catalog.catalog().detector().extract(text).into_iter();
        // Each again by itself, for which of its carriers may be taken at once; but what stands beside it counts as well.
        let each = found.filter_map(|detected| {
            let alone = self.detect(detected.number.as_str()).ok()?;
            let sure = |slug: &CarrierSlug| {
                let of = |candidate: &&Candidate| candidate.carrier == *slug;
                let before = alone.candidates.iter().map(|offer| &offer.candidate).find(of);
                let now = detected.candidates.iter().find(of);
                before.map(|candidate| candidate.confidence) == now.map(|candidate| candidate.confidence)
            };
            let carrier = alone.carrier.clone().filter(sure);
            Some(self.offered(detected, carrier))
        });
        each.collect()
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

    fn adapter(&self, carrier: &CarrierSlug) -> Value {
        self.adapter_state(carrier)
    }

    async fn set_policy(&self, carrier: &CarrierSlug, policy: CarrierPolicy) -> Result<(), LogError> {
        let value = serde_json::to_vec(&policy).map_err(|error| LogError::Unavailable(error.to_string()))?;
        let record = NewRecord {
            at: TopicPartition::new(self.topics.of(names::POLICIES), 0),
            key: Some(format!("{CARRIER_POLICY_PREFIX}{carrier}").into()),
            value: Some(value.into()),
            headers: Headers::new(),
        };
        self.log.produce(vec![record]).await.into_iter().try_for_each(|answer| answer.map(|_| ()))?;
        self.policies.put(&format!("{CARRIER_POLICY_PREFIX}{carrier}"), json!(policy));
        Ok(())
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

    fn stopped_candidate(&self, carrier: &CarrierSlug) -> Option<String> {
        let trial = &self.health_of(carrier)["trial"];
        trial["stopped"].is_object().then(|| trial["version"].as_str().map(str::to_owned)).flatten()
    }
}

impl Carriers for Directory {
    fn policy(&self, carrier: &CarrierSlug) -> Option<CarrierTerms> {
        let adapter = self.catalog.get(carrier)?;
        let look = self.look(carrier);
        Some(CarrierTerms {
            budget: self.budget_of(&adapter),
            requests_per_attempt: look.as_ref().map_or(1, |look| look.requests),
            numbers_per_attempt: look.as_ref().map_or(1, |look| look.numbers),
            switch: if look.is_ok() { Switch::On } else { Switch::Off },
        })
    }

    fn drift(&self, carrier: &CarrierSlug) -> DriftRules {
        let rules = self.config.fetcher.drift;
        self.config.fetcher.carriers.get(carrier).map_or(rules, |own| rules.with(&own.drift))
    }

    fn revision(&self, carrier: &CarrierSlug) -> u64 {
        let Some(adapter) = self.catalog.get(carrier) else { return 0 };
        let policy = self.policy_of(carrier);
        let promoted = policy.canary.and_then(|canary| canary.promote);
        let mut hasher = DefaultHasher::new();
        (&adapter.version, promoted, policy.lifted_at, self.look(carrier).is_ok()).hash(&mut hasher);
        hasher.finish()
    }
}
