//! What the API knows of carriers, given to it by whoever composes the process.

use async_trait::async_trait;
use serde::Serialize;
use serde_json::Value;
use waybill_log::LogError;
use waybill_schemas::{
    BudgetName, CarrierSlug, TrackingNumber,
    detection::Candidate,
    number::{Hyphens, NumberError},
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
    /// Why it is not asked.
    pub why_not: Option<String>,
    /// Requests that one look needs if nothing is redirected.
    pub requests_per_look: u32,
    /// Numbers that one look may ask for; 1 unless the carrier takes several in one request.
    pub numbers_per_look: u32,
    /// Parameters that a look needs beyond the number: those of the source that is asked.
    pub needs: Vec<String>,
    /// The budget that it spends.
    pub budget_name: BudgetName,
    /// The budget in force.
    pub budget: Budget,
    /// Whether hyphens belong to its numbers.
    #[serde(skip)]
    pub hyphens: Hyphens,
}

/// A carrier that a number may belong to, and whether it may be asked now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Offer {
    /// Who, how sure, and why.
    #[serde(flatten)]
    pub candidate: Candidate,
    /// Whether it is switched on.
    pub enabled: bool,
}

/// Whose a number may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetectedNumber {
    /// In canonical form, as the best candidate writes it.
    pub number: TrackingNumber,
    /// Best first; carriers that are switched off as well.
    pub candidates: Vec<Offer>,
    /// The carrier that is sure enough to be taken at once.
    pub carrier: Option<CarrierSlug>,
}

/// The carriers of this process and their live state.
#[async_trait]
pub trait CarrierDirectory: Send + Sync {
    /// One carrier.
    fn find(&self, carrier: &CarrierSlug) -> Option<CarrierInfo>;
    /// All carriers, by slug.
    fn list(&self) -> Vec<CarrierInfo>;
    /// Whose a number may be, as typed.
    ///
    /// # Errors
    /// [`NumberError`] where it is no tracking number at all.
    fn detect(&self, typed: &str) -> Result<DetectedNumber, NumberError>;
    /// The tracking numbers in a text, in its order.
    fn extract(&self, text: &str) -> Vec<DetectedNumber>;
    /// What the topics say of a carrier's budget now: `{fetcher, scheduler}`, each an object or null.
    fn state(&self, carrier: &CarrierSlug) -> Value;
    /// Which versions of its adapter this process has: `{version, mapping_version, candidate, refused}`.
    fn adapter(&self, _carrier: &CarrierSlug) -> Value {
        Value::Null
    }
    /// The operator's policy in force.
    fn policy(&self, carrier: &CarrierSlug) -> CarrierPolicy;
    /// Writes an operator's policy; it is in force everywhere once the topic has been read.
    ///
    /// # Errors
    /// Whatever the log reports; repeating is safe.
    async fn set_policy(&self, carrier: &CarrierSlug, policy: CarrierPolicy) -> Result<(), LogError>;
}
