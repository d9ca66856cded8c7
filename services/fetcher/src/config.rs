//! The fetcher's configuration and what must hold between its fields.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use waybill_runtime::poison::PoisonLimits;
use waybill_schemas::{
    CarrierSlug,
    drift::{DriftOverride, DriftRules, TrialMode},
    politeness::BudgetOverride,
};

use crate::robots::PRODUCT;

/// Section `fetcher` of the configuration, with section `carriers`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FetcherConfig {
    /// Lets carriers be reached at private and loopback addresses; routes need it.
    pub allow_private: bool,
    /// Carriers whose steps go to a simulator.
    pub routes: Vec<Route>,
    /// What carriers see as `User-Agent`, which names `waybill`; empty: this program's name and version, with `contact`.
    pub user_agent: String,
    /// An address or page where a carrier finds who asks; part of the default `user_agent`.
    pub contact: String,
    /// Seconds to wait for a connection.
    pub connect_timeout_s: u32,
    /// Seconds to wait for one whole answer, redirects apart.
    pub answer_timeout_s: u32,
    /// Upper bound on any budget's own concurrency.
    pub max_concurrency: u32,
    /// Requests that may wait for one budget; more are answered `deferred` at once.
    pub max_queue: usize,
    /// Requests of one partition that may be without a result; beyond, the partition is paused.
    pub max_open: usize,
    /// One in so many unremarkable answers is kept as payload; 0 keeps none of them.
    pub sample_one_in: u32,
    /// When a carrier counts as degraded because its answers no longer fit its adapter.
    pub drift: DriftRules,
    /// Folders of carriers that lie over the program's own; their examples tell which fields an answer may have.
    #[serde(skip)]
    pub overlays: Vec<PathBuf>,
    /// Per carrier.
    pub carriers: BTreeMap<CarrierSlug, CarrierConfig>,
    /// When poison is too much: section `poison`, which all services share.
    #[serde(skip)]
    pub poison: PoisonLimits,
}

impl Default for FetcherConfig {
    fn default() -> Self {
        Self {
            allow_private: false,
            routes: Vec::new(),
            user_agent: String::new(),
            contact: String::new(),
            connect_timeout_s: 5,
            answer_timeout_s: 20,
            max_concurrency: 64,
            max_queue: 2_048,
            max_open: 4_096,
            sample_one_in: 200,
            drift: DriftRules::default(),
            overlays: Vec::new(),
            carriers: BTreeMap::new(),
            poison: PoisonLimits::default(),
        }
    }
}

/// Sends a carrier's steps somewhere else, for simulators and tests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Whose.
    pub carrier: CarrierSlug,
    /// `http://127.0.0.1:P/{carrier}/{source}/{step}/{number}`; method, headers, body and query stay the step's own. With
    /// `{numbers}` (joined by commas), sources that take several numbers in one request are asked so.
    pub to: String,
    /// Where this route serves a robots.txt; without it, a routed carrier is taken to have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub robots: Option<String>,
}

/// Section `carriers.<slug>`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CarrierConfig {
    /// On or off; absent: sources with all their secrets are on, pages are off.
    pub enabled: Option<bool>,
    /// Which of the adapter's sources; absent: the first that can be used.
    pub source: Option<String>,
    /// Changes to its budget.
    #[serde(deserialize_with = "waybill_schemas::politeness::strict::changes")]
    pub budget: BudgetOverride,
    /// Where secrets come from, by their name in the adapter.
    pub secrets: BTreeMap<String, SecretSource>,
    /// A candidate version of the adapter, tried on a share of the traffic.
    pub canary: Option<CanaryConfig>,
    /// Changes to when the carrier counts as degraded.
    pub drift: DriftOverride,
    /// Names of its adapter's private fields (who signed, who receives) to read; what is not listed is dropped unseen.
    pub private: Vec<String>,
}

/// Section `carriers.<slug>.canary`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CanaryConfig {
    /// A folder of carriers; the candidate is the one in it that bears this carrier's name.
    pub adapters: PathBuf,
    /// Share of the carrier's numbers, from 0 to 1; a number stays on its side.
    #[serde(default = "a_tenth")]
    pub share: f64,
    /// Beside the version in force on the same bytes (`shadow`), or alone for its share (`live`).
    #[serde(default)]
    pub mode: TrialMode,
}

fn a_tenth() -> f64 {
    0.1
}

/// Where a secret comes from: exactly one of the two.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SecretSource {
    /// An environment variable.
    pub env: Option<String>,
    /// A file, whose trailing line end is not part of the secret.
    pub file: Option<PathBuf>,
}

/// The configuration cannot work; the sentence names the key and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl FetcherConfig {
    /// Checks what one field alone cannot tell.
    ///
    /// # Errors
    /// [`ConfigError`] names the first key that is wrong and what to do.
    pub fn check(&self) -> Result<(), ConfigError> {
        let wrong = |sentence: String| Err(ConfigError(sentence));
        if !self.routes.is_empty() && !self.allow_private {
            return wrong("fetcher.routes is set: set fetcher.allow_private as well, or remove the routes".to_owned());
        }
        for route in &self.routes {
            for (key, url) in [("to", Some(&route.to)), ("robots", route.robots.as_ref())] {
                let Some(url) = url else { continue };
                if !url.starts_with("http://") && !url.starts_with("https://") {
                    return wrong(format!(
                        "fetcher.routes of {}: `{key}` must be a URL such as \
                         http://127.0.0.1:8090/{{carrier}}/{{source}}/{{step}}/{{number}}",
                        route.carrier
                    ));
                }
            }
        }
        for (key, value) in [
            ("connect_timeout_s", u64::from(self.connect_timeout_s)),
            ("answer_timeout_s", u64::from(self.answer_timeout_s)),
            ("max_concurrency", u64::from(self.max_concurrency)),
            ("max_queue", self.max_queue as u64),
            ("max_open", self.max_open as u64),
        ] {
            if value == 0 {
                return wrong(format!("fetcher.{key} must be at least 1"));
            }
        }
        self.poison.check().map_err(ConfigError)?;
        if self.user_agent().bytes().any(|byte| !(0x20..0x7f).contains(&byte)) {
            return wrong("fetcher.user_agent and fetcher.contact must be printable ASCII".to_owned());
        }
        if !self.user_agent().to_ascii_lowercase().contains(PRODUCT) {
            return wrong(format!(
                "fetcher.user_agent must contain `{PRODUCT}`, by which robots.txt addresses this program; remove it for a \
                 default with fetcher.contact"
            ));
        }
        self.drift.check().or_else(|error| wrong(format!("fetcher.drift: {error}")))?;
        for (slug, carrier) in &self.carriers {
            self.drift
                .with(&carrier.drift)
                .check()
                .or_else(|error| wrong(format!("carriers.{slug}.drift: {error}")))?;
            if carrier.canary.as_ref().is_some_and(|canary| !(0.0..=1.0).contains(&canary.share)) {
                return wrong(format!("carriers.{slug}.canary.share must be from 0 to 1"));
            }
            for (name, secret) in &carrier.secrets {
                if secret.env.is_some() == secret.file.is_some() {
                    return wrong(format!("carriers.{slug}.secrets.{name} needs either `env` or `file`"));
                }
            }
        }
        Ok(())
    }

    /// What carriers see as `User-Agent`: honest, and the same for everybody.
    pub fn user_agent(&self) -> String {
        if !self.user_agent.is_empty() {
            return self.user_agent.clone();
        }
        let contact = if self.contact.is_empty() { "self-hosted parcel tracking" } else { &self.contact };
        format!("waybill/{} ({contact})", env!("CARGO_PKG_VERSION"))
    }

    /// Whether carriers can find out who asks: an address, be it in a user agent of one's own.
    pub(crate) fn is_reachable(&self) -> bool {
        !self.contact.trim().is_empty() || self.user_agent.contains('@') || self.user_agent.contains("://")
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_secs(u64::from(self.connect_timeout_s))
    }

    pub(crate) fn answer_timeout(&self) -> Duration {
        Duration::from_secs(u64::from(self.answer_timeout_s))
    }

    pub(crate) fn route(&self, carrier: &CarrierSlug) -> Option<&Route> {
        self.routes.iter().find(|route| route.carrier == *carrier)
    }

    pub(crate) fn carrier(&self, carrier: &CarrierSlug) -> CarrierConfig {
        self.carriers.get(carrier).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn sec_1_routes_need_leave_for_private_addresses() {
        let route = Route {
            carrier: "acme".parse().unwrap(),
            to: "http://127.0.0.1:1/{carrier}/{number}".to_owned(),
            robots: None,
        };
        let mut config = FetcherConfig { routes: vec![route], ..FetcherConfig::default() };
        assert!(config.check().unwrap_err().to_string().contains("fetcher.allow_private"));
        config.allow_private = true;
        config.check().unwrap();
    }

    #[test]
    fn a_user_agent_of_ones_own_says_who_asks_and_may_say_where_to_write() {
        let with = |user_agent: &str| FetcherConfig { user_agent: user_agent.to_owned(), ..FetcherConfig::default() };
        let disguised = with("Mozilla/5.0 (X11; Linux x86_64)").check().unwrap_err().to_string();
        assert!(disguised.contains("fetcher.user_agent") && disguised.contains("robots.txt"), "{disguised}");
        for (user_agent, reachable) in [
            ("", false),
            ("Waybill/2 (our shop)", false),
            ("shop-waybill/2 (+https://shop.example/parcels)", true),
            ("waybill/2 (ops@shop.example)", true),
        ] {
            let config = with(user_agent);
            config.check().unwrap();
            assert_eq!(config.is_reachable(), reachable, "{user_agent}");
        }
    }

    #[test]
    fn unknown_keys_are_errors() {
        assert!(serde_json::from_str::<FetcherConfig>(r#"{"alow_private": true}"#).is_err());
        let config: FetcherConfig = serde_json::from_str(
            r#"{"contact": "ops@example.org", "carriers": {"acme": {"secrets": {"key": {"env": "KEY"}}}}}"#,
        )
        .unwrap();
        config.check().unwrap();
        assert!(config.user_agent().ends_with("(ops@example.org)"));
    }
}
