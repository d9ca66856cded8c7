//! What the API knows of carriers, given to it by whoever composes the process.

use async_trait::async_trait;
use serde::Serialize;
use serde_json::Value;
use waybill_log::LogError;
use waybill_schemas::{
    BudgetName, CarrierSlug, TrackingNumber,
    number::Hyphens,
    politeness::{Budget, CarrierPolicy},
};

/// One carrier, for people and for registration.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CarrierInfo {
    /// Its slug.
    pub slug: CarrierSlug,
    /// Its name.
    pub name: String,
    /// How it is reached: official API, public page, …
    pub basis: String,
    /// Its sources.
    pub sources: Vec<String>,
    /// Languages of its answers.
    pub languages: Vec<String>,
    /// Whether it is switched on.
    pub enabled: bool,
    /// Parameters that every look-up needs beyond the number.
    pub needs: Vec<String>,
    /// The budget that it spends.
    pub budget_name: BudgetName,
    /// The budget in force.
    pub budget: Budget,
    /// Whether hyphens belong to its numbers.
    #[serde(skip)]
    pub hyphens: Hyphens,
}

/// A carrier that a number may belong to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Candidate {
    /// The carrier.
    pub carrier: CarrierSlug,
    /// Which of its formats fits.
    pub reason: String,
}

/// The carriers of this process and their live state.
#[async_trait]
pub trait CarrierDirectory: Send + Sync {
    /// One carrier.
    fn find(&self, carrier: &CarrierSlug) -> Option<CarrierInfo>;
    /// All carriers, by slug.
    fn list(&self) -> Vec<CarrierInfo>;
    /// Enabled carriers whose formats fit a number, best first.
    fn candidates(&self, number: &TrackingNumber) -> Vec<Candidate>;
    /// What the topics say of a carrier's budget now: `{fetcher, scheduler}`, each an object or null.
    fn state(&self, carrier: &CarrierSlug) -> Value;
    /// The operator's policy in force.
    fn policy(&self, carrier: &CarrierSlug) -> CarrierPolicy;
    /// Writes an operator's policy; it is in force everywhere once the topic has been read.
    ///
    /// # Errors
    /// Whatever the log reports; repeating is safe.
    async fn set_policy(&self, carrier: &CarrierSlug, policy: CarrierPolicy) -> Result<(), LogError>;
}
