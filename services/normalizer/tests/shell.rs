//! The shell on the in-memory log: order of writing, kills, repeats, dead letters, the end of the process.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use support::*;
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use waybill_log::{
    Appended, Batch, Bounds, EmbeddedLog, EmbeddedOptions, GroupMember, JoinGroup, Log, LogError, NewRecord, NewTopic,
    ReadFrom, Record, SharedLog, TopicDescription, TopicPartition,
};
use waybill_normalizer::{Deps, NormalizerConfig, NormalizerError, run};
use waybill_runtime::{Clocks, Health, JourneyScale};
use waybill_schemas::{
    Memories, OutcomeClass, WallMs,
    event::TrackingEvent,
    fetch::{FetchResult, RequestKind},
    headers,
    layout::{Layout, public_partition},
    outcome::Outcome,
    shipment::Shipment,
    topics::{self, Partitioning, TopicPrefix, names},
};

const PARTITIONS: u32 = 4;
const PUBLIC_PARTITIONS: u32 = 3;

/// A log whose producers can be made to fail, or to die.
struct Unlucky {
    log: EmbeddedLog,
    /// Calls of produce that still fail.
    fail: AtomicUsize,
    /// Calls of produce until the process dies; the dying one is appended or not, but never answered.
    dies_after: AtomicUsize,
    appends_when_dying: bool,
    dead: AtomicBool,
}

impl Unlucky {
    fn new(log: EmbeddedLog) -> Self {
        let dies_after = AtomicUsize::new(usize::MAX);
        Self { log, fail: AtomicUsize::new(0), dies_after, appends_when_dying: false, dead: AtomicBool::new(false) }
    }
}

#[async_trait]
impl Log for Unlucky {
    async fn create_topics(&self, topics: &[NewTopic]) -> Result<(), LogError> {
        self.log.create_topics(topics).await
    }
    async fn describe(&self, topic: &str) -> Result<TopicDescription, LogError> {
        self.log.describe(topic).await
    }
    async fn produce(&self, records: Vec<NewRecord>) -> Vec<Result<Appended, LogError>> {
        if self.fail.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            // The first half arrives, the rest is refused.
            let half = records.len() / 2;
            let mut answers = self.log.produce(records[..half].to_vec()).await;
            let refused = || Err(LogError::Unavailable("refused by the test".into()));
            answers.extend(std::iter::repeat_with(refused).take(records.len() - half));
            return answers;
        }
        let dying =
            self.dies_after.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err();
        if dying {
            if self.appends_when_dying && !self.dead.load(Ordering::SeqCst) {
                self.log.produce(records).await;
            }
            self.dead.store(true, Ordering::SeqCst);
            return std::future::pending().await;
        }
        self.log.produce(records).await
    }
    async fn read(&self, from: ReadFrom) -> Result<Batch, LogError> {
        self.log.read(from).await
    }
    async fn bounds(&self, at: &TopicPartition) -> Result<Bounds, LogError> {
        self.log.bounds(at).await
    }
    async fn offset_for_time(&self, at: &TopicPartition, time: WallMs) -> Result<Option<u64>, LogError> {
        self.log.offset_for_time(at, time).await
    }
    async fn record_at(&self, at: &TopicPartition, offset: u64) -> Result<Option<Record>, LogError> {
        self.log.record_at(at, offset).await
    }
    async fn join(&self, group: JoinGroup) -> Result<Box<dyn GroupMember>, LogError> {
        self.log.join(group).await
    }
    async fn time(&self) -> Result<WallMs, LogError> {
        self.log.time().await
    }
}

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

#[tokio::test(start_paused = true)]
async fn log_1_every_result_becomes_its_records_in_their_places() {
    let log = new_log().await;
    send(&log, 20).await;
    let running = start(Arc::new(log.clone()));
    wait_until_answered(&log, 20).await;
    running.end().await.unwrap();

    let events = all(&log, names::TRACKING_EVENTS).await;
    assert_eq!(events.len(), 40);
    for (partition, record) in &events {
        let event: TrackingEvent = value(record);
        assert_eq!(record.header_str(headers::CE_ID).unwrap(), format!("{}.{}", event.event_id, event.version));
        assert_eq!(record.header_str(headers::TRACEPARENT), Some("00-aa-bb-01"));
        assert_eq!(record.header_str(headers::CE_SPECVERSION), Some("1.0"));
        assert_eq!(record.header_str(headers::CE_TIME).unwrap(), event.seen_at.to_string());
        assert_eq!(*partition, public_partition(record.key.as_ref().unwrap(), PUBLIC_PARTITIONS));
    }
    let shipments = all(&log, names::SHIPMENTS).await;
    assert_eq!(shipments.len(), 20);
    for (partition, record) in &shipments {
        let shipment: Shipment = value(record);
        let key = format!("{}:{}", shipment.carrier, shipment.number);
        assert_eq!(record.key_str(), Some(key.as_str()));
        assert_eq!(record.header_str(headers::CE_ID).unwrap(), format!("{key}:{}", shipment.version));
        assert_eq!(*partition, public_partition(key.as_bytes(), PUBLIC_PARTITIONS));
    }
    let changes = all(&log, names::STATUS_CHANGES).await;
    assert!(changes.iter().all(|(_, record)| record.header_str(headers::CE_ID).unwrap().ends_with(":InTransit")));
    assert_eq!(changes.len(), 20);
    for (partition, record) in all(&log, names::OUTCOMES).await {
        let outcome: Outcome = value(&record);
        assert_eq!(u64::from(partition), outcome.request_offset % u64::from(PARTITIONS), "the partition of its result");
        assert_eq!(outcome.class, OutcomeClass::Tracked);
    }
    assert_eq!(committed(&log).await.values().sum::<u64>(), 20, "all is committed at the end");
    // A second run finds nothing to do.
    let again = start(Arc::new(log.clone()));
    tokio::time::sleep(Duration::from_secs(5)).await;
    again.end().await.unwrap();
    assert_eq!(all(&log, names::TRACKING_EVENTS).await.len(), 40);
}

/// More pieces than may wait to be heard are written while the shell waits for the worker's end.
#[tokio::test(start_paused = true)]
async fn log_1_a_worker_that_is_waited_for_is_heard_to_its_end() {
    let log = new_log().await;
    let records = (0..800).map(|index| record(&parcel(index), 0)).collect();
    log.produce(records).await.into_iter().for_each(|answer| assert!(answer.is_ok(), "{answer:?}"));
    let config = NormalizerConfig { max_batch: 800, max_waiting: 800, flush_bytes: 1, drain_ms: 15_000, ..config() };
    let running = start_with(Deps { config, ..deps(Arc::new(log.clone())) });
    wait_until_answered(&log, 1).await;
    running.end().await.unwrap();
    let answered = attempts_answered(&log).await.len();
    assert!(answered > 256, "{answered} were answered: too few to fill anything");
    assert_eq!(committed(&log).await[&0], answered as u64, "what is written is committed");
}

#[tokio::test(start_paused = true)]
async fn log_1_a_kill_at_any_moment_loses_nothing_and_repeats_are_the_same_again() {
    for dies_after in 0..12 {
        for appends_when_dying in [false, true] {
            let log = new_log().await;
            send(&log, 24).await;
            let unlucky = Unlucky { appends_when_dying, ..Unlucky::new(log.clone()) };
            unlucky.dies_after.store(dies_after, Ordering::SeqCst);
            let unlucky = Arc::new(unlucky);
            let killed = start(unlucky.clone());
            let died = async {
                while !unlucky.dead.load(Ordering::SeqCst) {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                // Commits go on for what was done before.
                tokio::time::sleep(Duration::from_secs(3)).await;
            };
            timeout(Duration::from_secs(60), died).await.expect("it dies");
            killed.task.abort();
            let _ = killed.task.await;

            // No outcome goes before the public records it stands for, and nothing is committed that has no outcome.
            let answered = attempts_answered(&log).await;
            let published = all(&log, names::TRACKING_EVENTS).await;
            for (number, _) in &answered {
                let key = format!("{CARRIER}:{number}");
                assert!(published.iter().filter(|(_, record)| record.key_str() == Some(&key)).count() >= 2);
            }
            let offsets = committed(&log).await;
            for (partition, record) in all(&log, names::FETCH_RESULTS).await {
                let result: FetchResult = value(&record);
                if record.offset < offsets[&partition] {
                    assert!(answered.contains(&(result.request.number.to_string(), result.request.attempt)));
                }
            }

            let heir = start(Arc::new(log.clone()));
            wait_until_answered(&log, 24).await;
            heir.end().await.unwrap();
            // Consumers that drop repeats see each once, and repeats say the same.
            let mut seen: BTreeMap<String, Bytes> = BTreeMap::new();
            for topic in [names::TRACKING_EVENTS, names::SHIPMENTS, names::STATUS_CHANGES] {
                for (_, record) in all(&log, topic).await {
                    let id = record.header_str(headers::CE_ID).unwrap().to_owned();
                    let before = seen.insert(id, record.value.clone().unwrap());
                    assert!(before.is_none_or(|before| before == record.value.unwrap()));
                }
            }
            assert_eq!(seen.len(), 24 * 4, "two events, a shipment and a change of each parcel");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn log_1_refused_records_are_written_again_in_their_order() {
    let log = new_log().await;
    let unlucky = Arc::new(Unlucky::new(log.clone()));
    unlucky.fail.store(7, Ordering::SeqCst);
    // Three attempts of one number behind one another, as after a lost commit.
    let mut walk = Walk::new();
    let mut records = Vec::new();
    for day in 1..=3 {
        let page: Vec<_> = (1..=day).map(|day| event(day, "09:00", "Sorted")).collect();
        let result = walk.prepared(tracked(page.clone()));
        records.push(record(&result, 1));
        walk.look(tracked(page));
    }
    for answer in log.produce(records).await {
        answer.unwrap();
    }
    let running = start(unlucky);
    wait_until_answered(&log, 3).await;
    running.end().await.unwrap();
    let shipments = all(&log, names::SHIPMENTS).await;
    let last: Shipment = value(&shipments.last().unwrap().1);
    assert_eq!((last.version, last.event_count), (3, 3), "the newest state is the last record");
    let ids: BTreeSet<String> = all(&log, names::TRACKING_EVENTS)
        .await
        .iter()
        .map(|(_, record)| value::<TrackingEvent>(record).event_id.to_string())
        .collect();
    assert_eq!(ids.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn fet_1_of_two_results_of_one_attempt_the_first_counts_even_after_a_restart() {
    let log = new_log().await;
    let first = parcel(1);
    let mut second = parcel(1);
    second.events.push(event(3, "09:00", "Delivered"));
    log.produce(vec![record(&first, 1), record(&second, 1)]).await;
    let running = start(Arc::new(log.clone()));
    wait_until_answered(&log, 1).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    running.end().await.unwrap();
    // The repeat that comes after a restart is known from the stretch before the committed offset.
    log.produce(vec![record(&second, 1), record(&parcel(2), 1)]).await;
    let running = start(Arc::new(log.clone()));
    wait_until_answered(&log, 2).await;
    running.end().await.unwrap();
    assert_eq!(all(&log, names::OUTCOMES).await.len(), 2, "one outcome an attempt");
    assert_eq!(all(&log, names::TRACKING_EVENTS).await.len(), 4);
    assert_eq!(committed(&log).await[&1], 4);
}

#[tokio::test(start_paused = true)]
async fn fet_1_what_is_no_result_is_buried_and_frees_its_number_where_it_can_be_told() {
    let log = new_log().await;
    let at = || TopicPartition::new(names::FETCH_RESULTS, 2);
    let plain = |value: &[u8]| NewRecord {
        at: at(),
        key: Some(Bytes::from_static(b"test-post:TP1")),
        value: Some(Bytes::copy_from_slice(value)),
        headers: Vec::new(),
    };
    let mut broken = serde_json::to_value(parcel(7)).unwrap();
    broken["class"] = "unheard_of".into();
    broken["memories"] = serde_json::json!({ "normalizer": "AQI" });
    let tombstone = NewRecord { value: None, ..plain(b"") };
    let records = vec![plain(b"\xff no JSON"), plain(broken.to_string().as_bytes()), tombstone, record(&parcel(8), 2)];
    log.produce(records).await;
    let running = start(Arc::new(log.clone()));
    wait_until_answered(&log, 2).await;
    running.end().await.unwrap();
    let letters = all(&log, names::DEAD_LETTERS).await;
    assert_eq!(letters.len(), 2);
    assert_eq!(letters[0].1.value.as_deref(), Some(&b"\xff no JSON"[..]));
    let outcomes: Vec<Outcome> = all(&log, names::OUTCOMES).await.iter().map(|(_, record)| value(record)).collect();
    assert_eq!((outcomes[0].class, outcomes[0].attempt), (OutcomeClass::Unreadable, 1_007));
    assert_eq!(outcomes[0].memories.normalizer.0, [1, 2], "the number keeps its memories");
    assert_eq!(outcomes[1].class, OutcomeClass::Tracked);
    assert_eq!(committed(&log).await[&2], 4);
}

#[tokio::test(start_paused = true)]
async fn forgetting_leaves_a_tombstone_and_an_order_to_erase() {
    let log = new_log().await;
    let first = parcel(3);
    let mut forget = result(OutcomeClass::Internal, Vec::new());
    forget.request.number = first.request.number.clone();
    (forget.request.kind, forget.request.attempt) = (RequestKind::Forget, 2_000);
    log.produce(vec![record(&first, 0), record(&forget, 0)]).await;
    let running = start(Arc::new(log.clone()));
    wait_until_answered(&log, 2).await;
    running.end().await.unwrap();
    let shipments = all(&log, names::SHIPMENTS).await;
    assert!(shipments.last().unwrap().1.value.is_none());
    let forgotten = all(&log, names::FORGOTTEN).await;
    assert_eq!(forgotten[0].1.key_str(), Some("test-post:TP000000003"));
    let outcomes = all(&log, names::OUTCOMES).await;
    assert_eq!(value::<Outcome>(&outcomes.last().unwrap().1).memories, Memories::default());
}

#[tokio::test(start_paused = true)]
async fn two_members_share_the_partitions_and_one_takes_over_what_the_other_leaves() {
    let log = new_log().await;
    let one = start(Arc::new(log.clone()));
    let mut other = deps(Arc::new(log.clone()));
    other.member = "normalizer-1".into();
    let shutdown = CancellationToken::new();
    let two = Running { task: tokio::spawn(run(other, shutdown.clone())), shutdown };
    send(&log, 40).await;
    wait_until_answered(&log, 40).await;
    one.end().await.unwrap();
    log.produce((40..60).map(|index| record(&parcel(index), index % PARTITIONS)).collect()).await;
    wait_until_answered(&log, 60).await;
    two.end().await.unwrap();
    let ids: BTreeSet<String> = all(&log, names::TRACKING_EVENTS)
        .await
        .iter()
        .map(|(_, record)| record.header_str(headers::CE_ID).unwrap().to_owned())
        .collect();
    assert_eq!(ids.len(), 120);
    assert_eq!(committed(&log).await.values().sum::<u64>(), 60);
}

#[tokio::test(start_paused = true)]
async fn it_ends_within_seconds_though_the_log_is_silent_and_says_why_it_cannot_start() {
    let log = new_log().await;
    send(&log, 4).await;
    let silent = Unlucky::new(log.clone());
    silent.dies_after.store(0, Ordering::SeqCst);
    let running = start(Arc::new(silent));
    tokio::time::sleep(Duration::from_secs(2)).await;
    let asked = tokio::time::Instant::now();
    running.end().await.unwrap();
    assert!(asked.elapsed() <= Duration::from_secs(10));
    assert_eq!(committed(&log).await.values().sum::<u64>(), 0);

    let mut other = deps(Arc::new(log));
    other.layout.partitions = 32;
    let refused = run(other, CancellationToken::new()).await.unwrap_err().to_string();
    assert!(refused.contains("waybill.fetch-results has 4 partitions and the layout says 32"), "{refused}");
}
