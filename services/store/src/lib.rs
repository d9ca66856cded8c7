//! Writes topics into ClickHouse in contiguous offset ranges (DESIGN §6).
//!
//! Each topic is one group of its own. Per partition, one insert is one contiguous range of offsets; the range's end is put
//! into the commit's metadata before the insert, so whoever comes after a crash sends exactly that range again under the
//! same deduplication token, and ClickHouse drops what it has (STO-1). ClickHouse being away is waited out: nothing is
//! dropped, no producer is held up, memory stays bounded. A record that cannot be read, or that ClickHouse refuses for what
//! stands in it, goes to the dead letters and blocks nobody.
//!
//! Pure cores: [`rows`] (record → bytes), [`buffer`], [`plan`], [`flight`]. Shells: [`consumer`], [`job`], [`insert`], [`dead`].

mod buffer;
mod columns;
mod config;
mod consumer;
mod dead;
mod erase;
mod error;
mod flight;
mod insert;
mod job;
mod plan;
mod rows;
mod trouble;

use std::{
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use waybill_log::{DeadLetters, JoinGroup, OutOfRange, SharedLog};
use waybill_runtime::{Clocks, Component, Health, PoisonWatch, telemetry::watch_promises};
use waybill_schemas::topics::TopicPrefix;

pub use crate::{
    config::{ConfigError, StoreConfig},
    error::StoreError,
};
use crate::{
    consumer::{Consumer, Shared},
    insert::Inserter,
    rows::{SOURCES, Source},
    trouble::Trouble,
};

/// How long a revoked partition may be held back: nothing is drained, so hardly at all.
const DRAIN_BUDGET: Duration = Duration::from_secs(2);
/// How often it is looked whether ClickHouse answers.
const PING_EVERY: Duration = Duration::from_secs(2);

/// What the store stands on.
pub struct Deps {
    /// The log.
    pub log: SharedLog,
    /// The topics' prefix.
    pub topics: TopicPrefix,
    /// A client of the database `waybill`, as a user who may write.
    pub clickhouse: clickhouse::Client,
    /// The clocks.
    pub clocks: Clocks,
    /// This member's stable name in the groups.
    pub member: String,
    /// Where readiness is told.
    pub health: Health,
    /// How to batch.
    pub config: StoreConfig,
}

/// Stores every topic until shutdown.
///
/// # Errors
/// [`StoreError`] when the configuration or the log makes going on impossible; never because ClickHouse is away.
pub async fn run(deps: Deps, shutdown: CancellationToken) -> Result<(), StoreError> {
    deps.config.check()?;
    watch_promises(&["STO-1"]);
    let trouble = Trouble::default();
    let inserter = Inserter::new(deps.clickhouse.clone(), &deps.config, trouble.clone());
    let shared = Shared {
        log: Arc::clone(&deps.log),
        letters: DeadLetters::new(&deps.topics),
        inserter: inserter.clone(),
        config: Arc::new(deps.config.clone()),
        poison: PoisonWatch::new("store", deps.config.poison.clone(), deps.clocks),
        buffered: Arc::new(AtomicUsize::new(0)),
    };
    // A topic's end, good or bad, is the end of all: the process is started anew as a whole.
    let stop = shutdown.child_token();
    let mut running = JoinSet::new();
    for source in &SOURCES {
        let consumer = join(&deps, shared.clone(), source).await?;
        running.spawn(consumer.run(stop.clone()));
    }
    let ready = deps.health.component("store.clickhouse");
    running.spawn(watch(inserter, trouble, ready, stop.clone()));
    let mut outcome = Ok(());
    while let Some(ended) = running.join_next().await {
        let ended = ended.unwrap_or_else(|error| Err(StoreError::Died(error.to_string())));
        if outcome.is_ok() {
            outcome = ended;
        }
        stop.cancel();
    }
    outcome
}

fn short(source: &Source) -> &'static str {
    source.topic.strip_prefix("waybill.").unwrap_or(source.topic)
}

async fn join(deps: &Deps, shared: Shared, source: &'static Source) -> Result<Consumer, StoreError> {
    let topic = deps.topics.of(source.topic);
    let group = JoinGroup {
        group: deps.topics.of(&format!("waybill.store.{}", short(source))),
        topic: topic.clone(),
        member: deps.member.clone(),
        // Records that retention took before they were stored cannot be had any more; stopping would only lose more. The
        // loop says so aloud and counts them.
        out_of_range: OutOfRange::Earliest,
        drain_budget: DRAIN_BUDGET,
        max_batch: source.max_batch,
    };
    let member = deps.log.join(group).await;
    let member = member.map_err(|source| StoreError::Log { topic: topic.clone(), source })?;
    let component = deps.health.component(&format!("store.{}", short(source)));
    Ok(Consumer::new(shared, source, topic.into(), member, component))
}

/// Tells readiness: ClickHouse answers and no insert waits for it. It may be away for as long as it likes.
async fn watch(
    inserter: Inserter,
    trouble: Trouble,
    component: Component,
    stop: CancellationToken,
) -> Result<(), StoreError> {
    loop {
        match (inserter.ping().await, trouble.oldest()) {
            (Ok(()), None) => component.ready(),
            (Ok(()), Some(why)) | (Err(why), _) => component.hindered(&why),
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(PING_EVERY) => {}
        }
    }
}
