//! The whole configuration: one section a service, the same keys in file, environment and flags.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use waybill_api::ApiConfig;
use waybill_fetcher::{CarrierConfig, FetcherConfig};
use waybill_normalizer::NormalizerConfig;
use waybill_runtime::telemetry::TelemetryConfig;
use waybill_scheduler::SchedulerConfig;
use waybill_schemas::CarrierSlug;
use waybill_store::StoreConfig;

use crate::cli::Common;

/// Everything that can be set.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Where a standalone process keeps its log, history and clock.
    pub data_dir: PathBuf,
    /// Folders of carriers that add to the built-in ones or replace them by name.
    pub adapters: Vec<PathBuf>,
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
            log: LogConfig::default(),
            clickhouse: ClickHouseConfig::default(),
            admin: AdminConfig::default(),
            api: ApiConfig::default(),
            scheduler: SchedulerConfig::default(),
            fetcher: FetcherConfig::default(),
            normalizer: NormalizerConfig::default(),
            store: StoreConfig::default(),
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
    /// Partitions of every internal topic; part of the recorded layout.
    pub partitions: u32,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { prefix: "waybill".to_owned(), partitions: 4 }
    }
}

/// ClickHouse.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ClickHouseConfig {
    /// A server to use instead of the embedded one, e.g. `http://127.0.0.1:8123`.
    pub url: Option<String>,
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
    /// Where `/health/live`, `/health/ready` and `/metrics` answer.
    pub listen: SocketAddr,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 9090)) }
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

    fn settle(&mut self) -> Result<()> {
        if !self.fetcher.carriers.is_empty() {
            bail!("fetcher.carriers: write these keys under `carriers`");
        }
        if !(1..=1024).contains(&self.log.partitions) {
            bail!("log.partitions must be from 1 to 1024");
        }
        if !(1..=200_000).contains(&self.demo.parcels) || self.demo.catch_up_s == 0 || self.demo.anchor_days == 0 {
            bail!("demo: parcels must be from 1 to 200000, catch_up_s and anchor_days at least 1");
        }
        for (name, carrier) in &self.carriers {
            let slug: CarrierSlug = name.replace('_', "-").parse().with_context(|| format!("carriers.{name}"))?;
            self.fetcher.carriers.insert(slug, carrier.clone());
        }
        self.fetcher.overlays.clone_from(&self.adapters);
        self.fetcher.check()?;
        Ok(())
    }

    /// The configuration as a file would hold it. Secrets are named by where they come from, so nothing is hidden.
    ///
    /// # Errors
    /// Never in practice.
    pub(crate) fn shown(&self) -> Result<String> {
        let mut shown = self.clone();
        shown.fetcher.carriers.clear();
        Ok(serde_json::to_string_pretty(&shown)?)
    }
}

/// A password from its file.
///
/// # Errors
/// When the file cannot be read.
pub(crate) fn password(file: Option<&Path>) -> Result<String> {
    let Some(path) = file else { return Ok(String::new()) };
    let text = std::fs::read_to_string(path).with_context(|| format!("clickhouse.password_file {}", path.display()))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
