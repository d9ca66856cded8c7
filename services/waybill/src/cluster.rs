//! `waybill scheduler|fetcher|normalizer|store|api`: one service a process, on Apache Kafka and a ClickHouse server.
//!
//! Order of starting: listeners → the broker answers → every topic is there → policies read to their end → layout checked →
//! clock compared → the service. Each process answers for its health from the first moment on, so that a probe sees it
//! start. How it ends: see `process`.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use waybill_log::SharedLog;
use waybill_runtime::{
    ClockGate, Clocks, Component,
    clock_gate::{Trust, certainly_off_ms, judge},
};

use crate::{
    cli::Service,
    config::Config,
    parts::{self, Known, Parts, States},
    process::{Process, listen},
};

/// How long a process waits at its start for brokers that do not answer yet.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often clocks are compared.
const COMPARE_EVERY: Duration = Duration::from_secs(10);
/// How long the log may take to tell its time.
const COMPARE_TIMEOUT: Duration = Duration::from_secs(20);

/// Runs one service until `until` is over or it ends by itself.
///
/// # Errors
/// One sentence for what cannot be started, or why it ended.
pub(crate) async fn run(service: Service, config: Config, until: impl Future<Output = ()>) -> Result<()> {
    let what = format!("`waybill {}`", service.name());
    let options = parts::kafka_options(&config, &what)?.clone();
    // Everything that is wrong with the configuration is said before anything is waited for.
    let clickhouse = match service {
        Service::Store | Service::Api => Some(parts::server(&config.clickhouse, &what)?.0),
        Service::Scheduler | Service::Fetcher | Service::Normalizer => None,
    };
    let known = Known::load(&config)?;
    known.fit(&config)?;
    let (admin, admin_at) = listen("the admin listener", config.admin.listen, "admin.listen").await?;
    let api = match service {
        Service::Api => {
            let (listener, at) = listen("the API", config.api.listen, "api.listen").await?;
            waybill_api::auth::Access::new(at, config.api.keys_file.as_deref())?;
            Some((listener, at))
        }
        _ => None,
    };
    let process = Process::new(&config.admin, admin);
    let member = config.member();
    tracing::info!(service = service.name(), member, admin = %admin_at, api = ?api.as_ref().map(|(_, at)| at), "process.starting");
    let starting = process.health.component("start");
    starting.not_ready("connecting to the log");
    tokio::pin!(until);
    let log: SharedLog = tokio::select! {
        () = &mut until => return Ok(()),
        log = parts::connect(&options, PATIENCE) => Arc::new(log?),
    };
    let started = Started { service, config, known, clickhouse, api: api.map(|(listener, _)| listener) };
    let process = tokio::select! {
        () = &mut until => return Ok(()),
        begun = started.on(log, process, Clocks::real()) => begun?,
    };
    drop(starting);
    tracing::info!(service = service.name(), member, "process.started");
    process.run_until(until, None).await
}

/// A service that has everything but its log.
pub(crate) struct Started {
    pub(crate) service: Service,
    pub(crate) config: Config,
    pub(crate) known: Known,
    pub(crate) clickhouse: Option<clickhouse::Client>,
    pub(crate) api: Option<tokio::net::TcpListener>,
}

impl Started {
    /// Begins the service on a log.
    ///
    /// # Errors
    /// When topics are missing, the layout differs, or the log fails.
    pub(crate) async fn on(self, log: SharedLog, mut process: Process, clocks: Clocks) -> Result<Process> {
        let Self { service, config, known, clickhouse, api } = self;
        let opened = parts::settle(log.clone(), &config, &known.catalog).await?;
        let gate = ClockGate::closed();
        let component = process.health.component("clock");
        compare(&log, clocks, &gate, &component).await;
        let watch = watch_clock(log, clocks, gate.clone(), component, process.stop());
        process.spawn("clock's watch", watch);
        // The API shows them; the fetcher must know when a candidate was stopped.
        let followed = matches!(service, Service::Api | Service::Fetcher);
        let states = if followed { States::Followed } else { States::Unread };
        let parts = Parts::new(&mut process, opened, (config, known), (clocks, gate), states).await?;
        match (service, clickhouse, api) {
            (Service::Scheduler, ..) => parts.scheduler(&mut process),
            (Service::Fetcher, ..) => parts.fetcher(&mut process),
            (Service::Normalizer, ..) => parts.normalizer(&mut process),
            (Service::Store, Some(clickhouse), _) => parts.store(&mut process, clickhouse),
            (Service::Api, Some(clickhouse), Some(listener)) => parts.api(&mut process, clickhouse, listener),
            (Service::Store | Service::Api, ..) => anyhow::bail!("the service lacks ClickHouse or its listener"),
        }
        Ok(process)
    }
}

/// Compares clocks until the process ends (DESIGN §5): one that is off more than five seconds is not ready, and a fetcher
/// with it sends nothing. While the log does not answer, the last comparison stands.
async fn watch_clock(
    log: SharedLog,
    clocks: Clocks,
    gate: ClockGate,
    component: Component,
    stop: CancellationToken,
) -> Result<()> {
    let mut turn = interval(COMPARE_EVERY);
    turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
    turn.tick().await;
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = turn.tick() => compare(&log, clocks, &gate, &component).await,
        }
    }
}

async fn compare(log: &SharedLog, clocks: Clocks, gate: &ClockGate, component: &Component) {
    component.beat();
    let asked = clocks.wall();
    match timeout(COMPARE_TIMEOUT, log.time()).await {
        Ok(Ok(theirs)) => {
            let off_ms = certainly_off_ms(asked, theirs, clocks.wall());
            let trust = judge(off_ms);
            gate.set(trust);
            if trust == Trust::Given {
                component.ready();
            } else {
                tracing::error!(off_ms, "process.clock_off");
                component.hindered(&format!(
                    "this machine's clock is {off_ms} ms off the log's; nothing is sent until it agrees"
                ));
            }
        }
        Ok(Err(error)) => {
            tracing::warn!(%error, "process.clock_not_compared");
            component.not_ready(&format!("the log does not tell its time: {error}"));
        }
        Err(_) => component.not_ready("the log does not tell its time"),
    }
}

#[cfg(test)]
#[path = "cluster_tests.rs"]
mod tests;
