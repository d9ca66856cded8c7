//! The shell on the in-memory log: order of writing, kills, repeats, dead letters, the end of the process.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod members;
mod results;
mod stalls;
#[path = "../support/mod.rs"]
mod support;
mod unlucky;
mod writing;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use waybill_log::{
    EmbeddedLog, EmbeddedOptions, JoinGroup, Log, NewRecord, NewTopic, ReadFrom, Record, SharedLog, TopicPartition,
};
use waybill_normalizer::{Deps, NormalizerConfig, NormalizerError, run};
use waybill_runtime::{Clocks, Health, JourneyScale};
use waybill_schemas::{
    WallMs,
    fetch::FetchResult,
    headers,
    layout::Layout,
    outcome::Outcome,
    topics::{self, Partitioning, TopicPrefix, names},
};

use crate::support::{MAPPING, catalog, event, tracked};

const PARTITIONS: u32 = 4;
const PUBLIC_PARTITIONS: u32 = 3;

async fn topics_of(log: &EmbeddedLog) {
    let all: Vec<NewTopic> = topics::all()
        .iter()
        .map(|spec| NewTopic {
            name: spec.name.clone(),
            partitions: match spec.partitioning {
                Partitioning::Budget => PARTITIONS,
                Partitioning::Murmur2 => PUBLIC_PARTITIONS,
                Partitioning::Single => 1,
            },
            cleanup: spec.cleanup,
            retention: Duration::from_secs(3600 * u64::from(spec.retention_hours)),
            min_compaction_lag: Duration::ZERO,
        })
        .collect();
    log.create_topics(&all).await.unwrap();
}

async fn new_log() -> EmbeddedLog {
    let log = EmbeddedLog::in_memory(EmbeddedOptions::new(Arc::new(|| WallMs::new(1_773_000_000_000))));
    topics_of(&log).await;
    log
}

fn layout() -> Layout {
    Layout { partitions: PARTITIONS, budgets: BTreeMap::new() }
}

fn config() -> NormalizerConfig {
    NormalizerConfig { max_batch: 3, max_waiting: 6, ..NormalizerConfig::default() }
}

fn deps(log: SharedLog) -> Deps {
    Deps {
        log,
        topics: TopicPrefix::default(),
        layout: layout(),
        clocks: Clocks::starting_at(WallMs::new(1_773_000_000_000), JourneyScale::REAL),
        catalog: catalog(MAPPING).into(),
        member: "normalizer-0".into(),
        health: Health::default(),
        config: config(),
    }
}

struct Running {
    task: JoinHandle<Result<(), NormalizerError>>,
    shutdown: CancellationToken,
}

fn start(log: SharedLog) -> Running {
    start_with(deps(log))
}

fn start_with(deps: Deps) -> Running {
    let shutdown = CancellationToken::new();
    Running { task: tokio::spawn(run(deps, shutdown.clone())), shutdown }
}

impl Running {
    async fn end(self) -> Result<(), NormalizerError> {
        self.shutdown.cancel();
        timeout(Duration::from_secs(20), self.task).await.expect("it ends within seconds").unwrap()
    }
}

/// The results of a parcel's first look.
fn parcel(index: u32) -> FetchResult {
    let mut result = tracked(vec![event(1, "09:00", "Picked up"), event(2, "10:00", &format!("hub {index}"))]);
    result.request.number = format!("TP{index:09}").parse().unwrap();
    result.request.attempt = 1_000 + i64::from(index);
    result.request_offset = u64::from(index);
    result
}

fn record(result: &FetchResult, partition: u32) -> NewRecord {
    NewRecord {
        at: TopicPartition::new(names::FETCH_RESULTS, partition),
        key: Some(result.request.key().record_key().into()),
        value: Some(serde_json::to_vec(result).unwrap().into()),
        headers: vec![(headers::TRACEPARENT.into(), Bytes::from_static(b"00-aa-bb-01"))],
    }
}

/// Parcels spread over all partitions, as carriers of several budgets would be.
async fn send(log: &EmbeddedLog, count: u32) {
    let records: Vec<NewRecord> = (0..count).map(|index| record(&parcel(index), index % PARTITIONS)).collect();
    for answer in log.produce(records).await {
        answer.unwrap();
    }
}

async fn all(log: &EmbeddedLog, topic: &str) -> Vec<(u32, Record)> {
    let mut found = Vec::new();
    for partition in 0..log.describe(topic).await.unwrap().partitions {
        let at = TopicPartition::new(topic, partition);
        let mut offset = 0;
        loop {
            let read =
                ReadFrom { at: at.clone(), offset, max_records: 10_000, max_bytes: 1 << 30, wait: Duration::ZERO };
            let batch = log.read(read).await.unwrap();
            if batch.records.is_empty() {
                break;
            }
            offset = batch.next_offset;
            found.extend(batch.records.into_iter().map(|record| (partition, record)));
        }
    }
    found
}

fn value<T: serde::de::DeserializeOwned>(record: &Record) -> T {
    serde_json::from_slice(record.value.as_ref().unwrap()).unwrap()
}

async fn attempts_answered(log: &EmbeddedLog) -> BTreeSet<(String, i64)> {
    let outcomes = all(log, names::OUTCOMES).await;
    outcomes.iter().map(|(_, record)| value::<Outcome>(record)).map(|o| (o.number.to_string(), o.attempt)).collect()
}

async fn wait_until_answered(log: &EmbeddedLog, attempts: usize) {
    let answered = async {
        while attempts_answered(log).await.len() < attempts {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(60), answered).await.expect("every attempt is answered");
}

/// Committed offsets of all partitions.
async fn committed(log: &EmbeddedLog) -> BTreeMap<u32, u64> {
    let mut member = log
        .join(JoinGroup {
            group: config().group,
            topic: names::FETCH_RESULTS.into(),
            member: "onlooker".into(),
            out_of_range: waybill_log::OutOfRange::Fail,
            drain_budget: Duration::from_secs(1),
            max_batch: 1,
        })
        .await
        .unwrap();
    let mut offsets = BTreeMap::new();
    for partition in 0..PARTITIONS {
        let commit = member.committed(partition).await.unwrap();
        offsets.insert(partition, commit.map_or(0, |commit| commit.offset));
    }
    member.leave().await;
    offsets
}
