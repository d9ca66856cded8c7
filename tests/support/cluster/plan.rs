//! What a cluster is to be, and the chart's values that make it so.

use std::fs;

use serde_json::{Value, json};
use waybill_carrier_sim::Beginnings;

use crate::chart::root;

/// Requests that a carrier allows at once.
pub(super) const BURST: u32 = 10;
/// From readiness saying 503 to the end's beginning, in milliseconds.
pub(super) const DRAIN_DELAY_MS: u64 = 3_000;
/// The key of the HTTP interface.
pub(super) const KEY: &str = "a-key-of-the-cluster-on-this-machine";

/// What a cluster is to be.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What everything simulated follows from.
    pub seed: u64,
    /// Parcels, over ten carriers.
    pub parcels: u32,
    /// Processes of each service.
    pub replicas: u32,
    /// Requests per second that each carrier allows.
    pub rate_per_second: f64,
    /// Longest time between two looks at a number, in seconds.
    pub max_interval_s: u32,
    /// Wall seconds within which the parcels' lives begin and end.
    pub lives_s: u32,
    /// How the parcels' lives are spread over that time.
    pub lives: Lives,
    /// A carrier with a daily quota, and how many requests it allows.
    pub quota: Option<(&'static str, u32)>,
    /// Requests per second that the sandbox allows, where not its own.
    pub sandbox_per_second: Option<u32>,
    /// What logs hold.
    pub filter: &'static str,
    /// Where traces are sent, if anywhere.
    pub otlp: Option<String>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            seed: 1,
            parcels: 600,
            replicas: 3,
            rate_per_second: 30.0,
            max_interval_s: 3,
            lives_s: 60,
            lives: Lives::Together,
            quota: None,
            sandbox_per_second: None,
            filter: "info",
            otlp: None,
        }
    }
}

/// How parcels' lives are spread; a life takes at most twelve journey days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lives {
    /// Most begin soon: all are under way together, and later none is.
    Together,
    /// They begin one after the other, so that there is always one that goes on.
    InTurn,
}

impl Lives {
    /// When lives begin, and the journey days that pass in all.
    pub(super) fn spread(self) -> (Beginnings, i64) {
        match self {
            Self::Together => (Beginnings::Soon, 45),
            Self::InTurn => (Beginnings::Evenly(51), 64),
        }
    }
}

impl Plan {
    /// The chart's values for this plan.
    pub(super) fn values(&self, brokers: &str, clickhouse: (&str, &str, &str), route: &str) -> Value {
        let (url, user, password) = clickhouse;
        let mut carriers = serde_json::Map::new();
        let mut routes = Vec::new();
        let mut adapters = serde_json::Map::new();
        for slug in waybill_carrier_sim::carriers() {
            let mut budget = json!({
                "rate_per_second": self.rate_per_second, "burst": BURST, "concurrency": 8,
                "min_interval_s": 1, "max_interval_s": self.max_interval_s,
            });
            if let Some((_, requests)) = self.quota.filter(|(carrier, _)| *carrier == slug) {
                budget["daily_quota"] =
                    json!({ "requests": requests, "resets_at": "00:00", "zone": "UTC", "spread": false });
            }
            carriers.insert(slug.to_owned(), json!({ "enabled": true, "budget": budget }));
            routes.push(json!({ "carrier": slug, "to": route }));
            let file = |name: &str| {
                let path = root().join("loadtest/carriers").join(slug).join(name);
                fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
            };
            adapters
                .insert(slug.to_owned(), json!({ "adapter": file("adapter.yaml"), "mapping": file("mapping.yaml") }));
        }
        if let Some(rate) = self.sandbox_per_second {
            let budget = json!({ "rate_per_second": rate, "burst": rate, "concurrency": 64, "min_interval_s": 5 });
            carriers.insert("sandbox".to_owned(), json!({ "budget": budget }));
        }
        let otlp = self.otlp.as_ref().map_or_else(|| json!({}), |endpoint| json!({ "endpoint": endpoint }));
        json!({
            "kafka": { "brokers": brokers, "config": { "replication": 1 } },
            "clickhouse": { "url": url, "user": user, "password": { "value": password } },
            "admin": { "drain_delay_ms": DRAIN_DELAY_MS },
            "apiKeys": { "value": format!("tests {KEY}") },
            // The broker is no Service of a cluster; processes have no network policy anyway.
            "networkPolicy": { "enabled": false },
            "carriers": carriers,
            "adapters": { "inline": adapters },
            "fetcher": { "config": { "allow_private": true, "routes": routes, "contact": "tests@waybill.example" }, "replicas": self.replicas },
            "scheduler": { "replicas": self.replicas },
            "normalizer": { "replicas": self.replicas },
            "store": { "replicas": self.replicas },
            "api": { "replicas": self.replicas },
            "telemetry": { "format": "text", "filter": self.filter, "otlp": otlp },
        })
    }
}
