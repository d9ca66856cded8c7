//! `waybill standalone`: every service in one process on an embedded log and an embedded ClickHouse.
//!
//! Order of starting: listeners → data directory's log and topics → policies and layout → ClickHouse and migrations →
//! services. How it ends: see `process`; the log closes last, with the data directory.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use tokio_util::sync::CancellationToken;
use waybill_clickhouse::embedded::EmbeddedClickHouse;
use waybill_log::{SharedLog, embedded::EmbeddedLog};
use waybill_runtime::{ClockGate, Clocks, Component, JourneyScale};
use waybill_schemas::{layout::Layout, topics::TopicPrefix};

use crate::{
    config::Config,
    datadir::{DataDir, Holder},
    directory::Directory,
    parts::{Known, Parts, States, migrate, open_embedded, open_store},
    process::{Process, listen},
};

/// What a standalone process runs on besides its configuration.
pub(crate) struct Setup {
    /// The data directory, held by this process.
    pub dir: DataDir,
    /// The carriers.
    pub known: Known,
    /// How journey time follows wall time.
    pub journey: JourneyScale,
    /// Where simulated carriers answer, to be told to whoever asks.
    pub simulator: Option<String>,
}

/// A running standalone process.
pub(crate) struct Standalone {
    /// The data directory, held until the process ends.
    _dir: DataDir,
    /// Both clocks.
    pub clocks: Clocks,
    /// The log.
    pub log: SharedLog,
    /// Names of topics.
    pub topics: TopicPrefix,
    /// Where numbers live.
    pub layout: Layout,
    /// The carriers, live.
    pub directory: Arc<Directory>,
    /// ClickHouse, for reading.
    pub reader: clickhouse::Client,
    /// Where the process answers.
    pub holder: Holder,
    process: Process,
    clickhouse: Option<EmbeddedClickHouse>,
}

/// Refuses a configuration that was made for a cluster, or that would open the embedded ClickHouse to other machines.
///
/// # Errors
/// One sentence that says what to run instead.
pub(crate) fn check(config: &Config) -> Result<()> {
    if config.log.kafka.is_some() {
        bail!(
            "log.kafka is set, and `waybill standalone` runs on a log of its own: start `waybill scheduler`, `fetcher`, \
             `normalizer`, `store` and `api` instead, or leave log.kafka out"
        );
    }
    // SEC-1; refused here, before anything is left behind.
    let listen = config.clickhouse.listen.filter(|listen| !listen.ip().is_loopback());
    if let (Some(listen), None) = (listen, &config.clickhouse.url) {
        bail!(
            "clickhouse.listen is {listen}, and the embedded ClickHouse listens on loopback only; set 127.0.0.1 there"
        );
    }
    Ok(())
}

impl Standalone {
    /// Starts everything; it works when this returns.
    ///
    /// # Errors
    /// One sentence for whatever cannot be started.
    pub(crate) async fn start(config: Config, setup: Setup) -> Result<Self> {
        check(&config)?;
        let dir = setup.dir;
        let clocks = Clocks::scaled(setup.journey);
        let (admin_listener, admin_at) = listen("the admin listener", config.admin.listen, "admin.listen").await?;
        let (api_listener, api_at) = listen("the API", config.api.listen, "api.listen").await?;
        // Checked before anything is started, so that an unsafe configuration leaves nothing behind (SEC-1).
        waybill_api::auth::Access::new(api_at, config.api.keys_file.as_deref())?;

        let mut process = Process::new(&config.admin, admin_listener);
        for name in ["scheduler", "fetcher", "normalizer", "store.clickhouse", "api"] {
            process.health.expect(name);
        }
        let (embedded, opened) = open_embedded(&config, &dir, clocks, &setup.known.catalog).await?;
        let upkeep = maintain(embedded, clocks, process.health.component("log"), process.stop());
        process.spawn("log maintenance", upkeep);
        let mut config = config;
        config.member = Some(format!("standalone-{}", std::process::id()));
        // The log's clock is this process's own.
        let clock = (clocks, ClockGate::default());
        let parts = Parts::new(&mut process, opened, (config, setup.known), clock, States::Followed).await?;
        let store = open_store(&parts.config, &dir).await?;
        migrate(&store.writer).await.with_context(|| format!("ClickHouse's tables at {}", store.url))?;

        parts.scheduler(&mut process);
        parts.fetcher(&mut process);
        parts.normalizer(&mut process);
        parts.store(&mut process, store.writer);
        parts.api(&mut process, store.reader.clone(), api_listener);
        let holder = Holder {
            pid: std::process::id(),
            api: format!("http://{api_at}"),
            admin: format!("http://{admin_at}"),
            sql: store.url,
            simulator: setup.simulator,
        };
        dir.announce(&holder)?;
        tracing::info!(api = holder.api, sql = holder.sql, admin = holder.admin, "standalone.started");
        let Parts { log, topics, layout, directory, .. } = parts;
        let (reader, clickhouse) = (store.reader, store.embedded);
        Ok(Self { _dir: dir, clocks, log, topics, layout, directory, reader, holder, process, clickhouse })
    }

    /// Runs until `until` is over or a service ends by itself, then drains.
    ///
    /// # Errors
    /// The reason of a service that ended by itself.
    pub(crate) async fn run_until(self, until: impl Future<Output = ()>) -> Result<()> {
        self.process.run_until(until, self.clickhouse).await
    }
}

async fn maintain(
    log: Arc<EmbeddedLog>,
    clocks: Clocks,
    component: Component,
    shutdown: CancellationToken,
) -> Result<()> {
    let mut turn = tokio::time::interval(Duration::from_secs(15));
    for turns in 0_u64.. {
        tokio::select! {
            () = shutdown.cancelled() => break,
            _ = turn.tick() => {}
        }
        component.ready();
        if turns.is_multiple_of(4)
            && let Err(error) = log.maintain(clocks.wall()).await
        {
            tracing::warn!(%error, "log.maintenance_failed");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use waybill_adapters::Catalog;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn another_number_of_partitions_is_refused_with_the_one_to_set() {
        let folder = tempfile::tempdir().unwrap();
        let dir = DataDir::take(folder.path()).unwrap();
        let catalog = Catalog::embedded().unwrap();
        let mut config = Config::default();
        let (log, opened) = open_embedded(&config, &dir, Clocks::real(), &catalog).await.unwrap();
        drop(opened);
        log.close().await;
        drop(log);
        config.log.partitions = Some(8);
        let refused = open_embedded(&config, &dir, Clocks::real(), &catalog).await.err().unwrap().to_string();
        assert!(refused.contains("log.partitions is 8; set it to 4"), "{refused}");
    }
}
