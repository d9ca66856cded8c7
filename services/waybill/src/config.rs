//! The whole configuration: one section a service, the same keys in file, environment and flags.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use waybill_adapters::Catalog;
use waybill_api::ApiConfig;
use waybill_clickhouse::client;
use waybill_fetcher::{CarrierConfig, FetcherConfig};
use waybill_log::KafkaOptions;
use waybill_normalizer::NormalizerConfig;
use waybill_runtime::{poison::PoisonLimits, telemetry::TelemetryConfig};
use waybill_scheduler::SchedulerConfig;
use waybill_schemas::{
    CarrierSlug,
    files::read_secret,
    topics::{TopicPrefix, names},
};
use waybill_store::StoreConfig;

use crate::cli::Common;

/// The longest pause between readiness saying 503 and the beginning of the drain.
pub(crate) const MAX_DRAIN_DELAY_MS: u64 = 5_000;

/// Everything that can be set.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Where a standalone process keeps its log, history and clock.
    pub data_dir: PathBuf,
    /// Folders of carriers that add to the built-in ones or replace them by name.
    pub adapters: Vec<PathBuf>,
    /// This process's name in its consumer groups, the same after every restart and no other process's of its service;
    /// absent: the host's name.
    pub member: Option<String>,
    /// The log.
    pub log: LogConfig,
    /// ClickHouse.
    pub clickhouse: ClickHouseConfig,
    /// Health and metrics.
    pub admin: AdminConfig,
    /// The HTTP interface.
    pub api: ApiConfig,
    /// The scheduler.
    pub scheduler: SchedulerConfig,
    /// The fetcher.
    pub fetcher: FetcherConfig,
    /// The normalizer.
    pub normalizer: NormalizerConfig,
    /// The store.
    pub store: StoreConfig,
    /// When records that cannot be processed quarantine a carrier, and when they stop a service.
    pub poison: PoisonLimits,
    /// Each carrier: on or off, source, changes to its budget, secrets. In environment variables a slug's hyphens are
    /// written as underscores.
    pub carriers: BTreeMap<String, CarrierConfig>,
    /// Logs.
    pub telemetry: TelemetryConfig,
    /// The demo.
    pub demo: DemoConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("waybill-data"),
            adapters: Vec::new(),
            member: None,
            log: LogConfig::default(),
            clickhouse: ClickHouseConfig::default(),
            admin: AdminConfig::default(),
            api: ApiConfig::default(),
            scheduler: SchedulerConfig::default(),
            fetcher: FetcherConfig::default(),
            normalizer: NormalizerConfig::default(),
            store: StoreConfig::default(),
            poison: PoisonLimits::default(),
            carriers: BTreeMap::new(),
            telemetry: TelemetryConfig::default(),
            demo: DemoConfig::default(),
        }
    }
}

/// The log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LogConfig {
    /// First part of every topic's name.
    pub prefix: String,
    /// Partitions of every internal topic; part of the recorded layout. Absent: 32 on Kafka, 4 embedded.
    pub partitions: Option<u32>,
    /// Apache Kafka, for the services of a cluster; absent: the log that is embedded in `waybill standalone`.
    pub kafka: Option<KafkaOptions>,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { prefix: "waybill".to_owned(), partitions: None, kafka: None }
    }
}

impl LogConfig {
    /// Partitions of every internal topic.
    pub(crate) fn partitions(&self) -> u32 {
        self.partitions.unwrap_or(if self.kafka.is_some() { 32 } else { 4 })
    }
}

/// ClickHouse.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ClickHouseConfig {
    /// A server to use instead of the embedded one, e.g. `http://127.0.0.1:8123` or `https://clickhouse.example:8443`.
    pub url: Option<String>,
    /// A file (PEM) with the authorities that may vouch for an `https://` server, in place of this machine's.
    pub ca_file: Option<PathBuf>,
    /// Its user.
    pub user: Option<String>,
    /// A file with that user's password.
    pub password_file: Option<PathBuf>,
    /// Where the embedded one answers; loopback only. Default 127.0.0.1:8123.
    pub listen: Option<SocketAddr>,
    /// The engine's library, if not found by the usual rule.
    pub library: Option<PathBuf>,
}

/// Health and metrics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AdminConfig {
    /// Where `/health/started`, `/health/live`, `/health/ready` and `/metrics` answer.
    pub listen: SocketAddr,
    /// At the end of a process: how long readiness says 503 before anything else stops, in milliseconds, so that whoever
    /// balances load has seen it; at most 5000.
    pub drain_delay_ms: u64,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 9090)), drain_delay_ms: 200 }
    }
}

/// The demo: simulated carriers and a journey clock that runs fast until it has caught up with the wall clock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DemoConfig {
    /// Parcels.
    pub parcels: u32,
    /// What everything simulated follows from.
    pub seed: u64,
    /// How long ago the journeys begin, in days.
    pub anchor_days: u32,
    /// Wall seconds in which the journey clock catches up.
    pub catch_up_s: u32,
}

impl Default for DemoConfig {
    fn default() -> Self {
        Self { parcels: 2_000, seed: 1, anchor_days: 45, catch_up_s: 240 }
    }
}

/// What the configuration says of carriers and their adapters do not know.
#[derive(Debug, Default)]
pub(crate) struct Misfits<'a> {
    /// Carriers that no adapter bears the name of: theirs may come later, in a folder.
    pub strangers: Vec<&'a CarrierSlug>,
    /// Sources and secrets that a carrier has not, a sentence each. A process starts all the same, because adapters are
    /// exchanged while it runs and a restart must not end what an exchange did not.
    pub wrong: Vec<String>,
}

impl Config {
    /// Loads the configuration of a command and checks it.
    ///
    /// # Errors
    /// One sentence that names the key.
    pub(crate) fn load(common: &Common) -> Result<Self> {
        let mut overrides = Vec::new();
        if let Some(dir) = &common.data_dir {
            overrides.push(("data_dir", dir.to_string_lossy().into_owned()));
        }
        let mut config: Self = waybill_runtime::config::load(common.config.as_deref(), &overrides)?;
        config.adapters.extend(common.adapters.iter().cloned());
        config.settle()?;
        Ok(config)
    }

    /// Neither flag nor file nor variable names a data directory.
    pub(crate) fn has_default_data_dir(&self, common: &Common) -> bool {
        common.data_dir.is_none() && self.data_dir == Self::default().data_dir
    }

    fn settle(&mut self) -> Result<()> {
        if !self.fetcher.carriers.is_empty() {
            bail!("fetcher.carriers: write these keys under `carriers`");
        }
        if !(1..=1024).contains(&self.log.partitions()) {
            bail!("log.partitions must be from 1 to 1024");
        }
        if !(1..=200_000).contains(&self.demo.parcels) || self.demo.catch_up_s == 0 || self.demo.anchor_days == 0 {
            bail!("demo: parcels must be from 1 to 200000, catch_up_s and anchor_days at least 1");
        }
        for (name, carrier) in &self.carriers {
            let slug: CarrierSlug = name.replace('_', "-").parse().with_context(|| format!("carriers.{name}"))?;
            self.fetcher.carriers.insert(slug, carrier.clone());
        }
        let prefix: TopicPrefix = self.log.prefix.parse().context("log.prefix")?;
        // Two installations on one Kafka differ by their prefix: in their groups too.
        for group in [&mut self.scheduler.group, &mut self.normalizer.group] {
            if group.starts_with("waybill-") {
                *group = prefix.of(group);
            }
        }
        if let Some(kafka) = &mut self.log.kafka {
            // Where the broker's time is asked for, if nothing else was written lately: a topic of this prefix.
            if kafka.clock_topic == KafkaOptions::default().clock_topic {
                kafka.clock_topic = prefix.of(names::POLICIES);
            }
            kafka.check().map_err(|error| anyhow::anyhow!("log.{error}"))?;
        }
        if self.admin.drain_delay_ms > MAX_DRAIN_DELAY_MS {
            bail!("admin.drain_delay_ms must be at most {MAX_DRAIN_DELAY_MS}: a process ends within 20 seconds");
        }
        if self.member.as_deref().is_some_and(|member| member.trim().is_empty() || member.len() > 200) {
            bail!("member must have 1 to 200 characters");
        }
        if let Some(url) = &self.clickhouse.url {
            client::check(url, self.clickhouse.ca_file.as_deref()).context("clickhouse.url")?;
        }
        self.api.check()?;
        self.poison.check().map_err(|sentence| anyhow::anyhow!(sentence))?;
        self.fetcher.poison = self.poison.clone();
        self.normalizer.poison = self.poison.clone();
        self.scheduler.poison = self.poison.clone();
        self.store.poison = self.poison.clone();
        self.fetcher.overlays.clone_from(&self.adapters);
        self.fetcher.check()?;
        self.scheduler.check()?;
        self.normalizer.check()?;
        self.store.check()?;
        Ok(())
    }

    /// Checks what only the adapters can tell. A budget out of range is refused: it is a promise to a carrier.
    ///
    /// # Errors
    /// One sentence that names the budget that is out of range.
    pub(crate) fn check_carriers(&self, catalog: &Catalog) -> Result<Misfits<'_>> {
        let mut misfits = Misfits::default();
        for (slug, own) in &self.fetcher.carriers {
            let Some(adapter) = catalog.get(slug) else {
                misfits.strangers.push(slug);
                continue;
            };
            adapter.budget.with(&own.budget).check().with_context(|| format!("carriers.{slug}.budget"))?;
            // A candidate may have other sources and secrets than the version in force.
            if own.canary.is_some() {
                continue;
            }
            let sources: BTreeSet<&str> = adapter.sources.iter().map(|source| source.name.as_str()).collect();
            let secrets: BTreeSet<&str> =
                adapter.sources.iter().flat_map(|source| &source.secrets).map(String::as_str).collect();
            let mut check = |what: &str, name: &str, known: &BTreeSet<&str>| {
                if !known.contains(name) {
                    let known: Vec<&str> = known.iter().copied().collect();
                    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                    misfits.wrong.push(format!("carriers.{slug}.{what} names `{name}`; the carrier has {known}"));
                }
            };
            if let Some(name) = &own.source {
                check("source", name, &sources);
            }
            own.secrets.keys().for_each(|name| check("secrets", name, &secrets));
        }
        Ok(misfits)
    }

    /// Which log lines are written where the configuration does not say.
    pub(crate) fn log_lines(&mut self, otherwise: &str) {
        self.telemetry.filter.get_or_insert_with(|| otherwise.to_owned());
    }

    /// This process's name in its groups.
    pub(crate) fn member(&self) -> String {
        let host = || {
            let told = std::env::var("HOSTNAME").ok().filter(|name| !name.trim().is_empty());
            told.unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned())
        };
        self.member.clone().unwrap_or_else(host)
    }

    /// The configuration as a file would hold it. Secrets are named by where they come from; those that were written into
    /// Kafka's settings are left out.
    ///
    /// # Errors
    /// Never in practice.
    pub(crate) fn shown(&self) -> Result<String> {
        let mut shown = self.clone();
        shown.fetcher.carriers.clear();
        shown.log.partitions = Some(self.log.partitions());
        Ok(serde_json::to_string_pretty(&shown)?)
    }
}

/// A password from its file.
///
/// # Errors
/// When the file cannot be read or is too large for a password.
pub(crate) fn password(file: Option<&Path>) -> Result<String> {
    let Some(path) = file else { return Ok(String::new()) };
    let text = read_secret(path).with_context(|| format!("clickhouse.password_file {}", path.display()))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn carriers_are_checked_against_their_adapters() {
        let catalog = Catalog::embedded().unwrap();
        let check = |carriers: Value| -> Result<usize, String> {
            let mut config = Config { carriers: serde_json::from_value(carriers).unwrap(), ..Config::default() };
            config.settle().unwrap();
            let misfits = config.check_carriers(&catalog).map_err(|error| format!("{error:#}"))?;
            match misfits.wrong.first() {
                Some(wrong) => Err(wrong.clone()),
                None => Ok(misfits.strangers.len()),
            }
        };
        let secret = json!({ "env": "KEY" });
        for (carriers, expected) in [
            (json!({ "usps": { "budget": { "rate_per_second": -1.0 } } }), "carriers.usps.budget: rate_per_second"),
            (json!({ "usps": { "budget": { "burst": 0 } } }), "carriers.usps.budget: burst"),
            (json!({ "dhl_express": { "source": "unifed" } }), "carriers.dhl-express.source names `unifed`"),
            (json!({ "ups": { "secrets": { "cilent_id": secret } } }), "carriers.ups.secrets names `cilent_id`"),
        ] {
            let said = check(carriers).unwrap_err();
            assert!(said.contains(expected), "{said}");
        }
        let good = json!({ "dhl-express": { "source": "unified", "secrets": { "api_key": secret } }, "usps": {} });
        assert_eq!(check(good), Ok(0));
        assert_eq!(check(json!({ "upss": { "enabled": true } })), Ok(1), "its adapter may come with a folder");
    }

    #[test]
    fn figures_of_every_service_are_checked_for_every_command() {
        for (section, key, value) in [
            ("scheduler", "credit_window_s", json!(-4.0)),
            ("normalizer", "max_batch", json!(0)),
            ("store", "batch_rows", json!(0)),
        ] {
            let mut config: Config = serde_json::from_value(json!({ section: { key: value } })).unwrap();
            let said = config.settle().unwrap_err().to_string();
            assert!(said.contains(&format!("{section}.{key}")), "{said}");
        }
    }

    #[test]
    fn authorities_of_a_clickhouse_in_plain_are_refused() {
        let settled = |clickhouse: Value| {
            let mut config: Config = serde_json::from_value(json!({ "clickhouse": clickhouse })).unwrap();
            config.settle().map_err(|error| format!("{error:#}"))
        };
        let said = settled(json!({ "url": "http://a:8123", "ca_file": "/etc/ca.pem" })).unwrap_err();
        assert!(said.contains("clickhouse.ca_file") && said.contains("https://"), "{said}");
        assert_eq!(settled(json!({ "url": "https://a:8443", "ca_file": "/etc/ca.pem" })), Ok(()));
        // The address may come by `--store-url`.
        assert_eq!(settled(json!({ "ca_file": "/etc/ca.pem" })), Ok(()));
    }

    #[test]
    fn a_password_ends_before_its_line_end_and_a_file_without_an_end_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), " s3cret\r\n").unwrap();
        assert_eq!(password(Some(file.path())).unwrap(), " s3cret");
        let refused = format!("{:#}", password(Some(Path::new("/dev/zero"))).unwrap_err());
        assert!(refused.contains("clickhouse.password_file") && refused.contains("more than 65536 bytes"), "{refused}");
    }
}
