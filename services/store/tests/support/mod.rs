//! What the tests against a real ClickHouse share: the engine, a log in memory, records, and ways to crash.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::print_stderr,
    reason = "each test uses a part of it and says what it skips"
)]

pub mod crash;
pub mod proxy;
pub mod records;
pub mod rejoin;
pub mod unburied;

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use waybill_clickhouse::{
    client::{ClientOptions, build},
    embedded::{EmbeddedClickHouse, EmbeddedConfig, StoreState},
    library::locate_library,
    migrations::{Migration, apply},
};
use waybill_log::{
    EmbeddedLog, EmbeddedOptions, Log, NewRecord, NewTopic, ReadFrom, Record, SharedLog, TopicPartition,
};
use waybill_runtime::{Clocks, Health};
use waybill_schemas::{
    layout::public_partition,
    topics::{self, Partitioning, TopicPrefix, names},
};
use waybill_store::{Deps, StoreConfig, StoreError};

pub const PARTITIONS: u32 = 2;
/// Longer than an insert may take before it is sent again.
const PATIENCE: Duration = Duration::from_secs(180);

/// Whether the test must be left out here; said aloud. With `CI` set, what is missing is a failure.
pub fn no_library() -> bool {
    let Err(error) = locate_library(None) else { return false };
    let ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
    assert!(!ci, "the embedded ClickHouse is missing: {error}");
    eprintln!("skipped: the embedded ClickHouse is missing: {error}");
    true
}

/// A migrated ClickHouse, a log with every topic, and the folder they live in.
pub struct World {
    pub clickhouse: EmbeddedClickHouse,
    pub client: clickhouse::Client,
    pub log: SharedLog,
    pub health: Health,
    _folder: tempfile::TempDir,
}

pub async fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let clickhouse = start(folder.path()).await;
    let client = writer(&clickhouse, &clickhouse.url());
    migrate(&client).await;
    World { client, clickhouse, log: log().await, health: Health::default(), _folder: folder }
}

async fn start(folder: &Path) -> EmbeddedClickHouse {
    let program = env!("CARGO_BIN_EXE_waybill-store-child").into();
    let mut config = EmbeddedConfig::new(program, Vec::new(), folder.join("clickhouse"));
    config.listen = "127.0.0.1:0".parse().unwrap();
    config.limits.max_server_memory_bytes = 1 << 30;
    config.start_deadline = PATIENCE;
    EmbeddedClickHouse::start(config).await.expect("the engine starts")
}

pub fn writer(clickhouse: &EmbeddedClickHouse, url: &str) -> clickhouse::Client {
    let writer = clickhouse.writer();
    build(&ClientOptions::new(url, writer.user, writer.password)).unwrap()
}

pub fn reader(world: &World) -> clickhouse::Client {
    build(&ClientOptions::new(world.clickhouse.url(), "default", "")).unwrap()
}

pub async fn migrate(client: &clickhouse::Client) -> Vec<u32> {
    let all = waybill_schemas::migrations::all();
    let all: Vec<Migration<'_>> =
        all.iter().map(|one| Migration { number: one.number, name: one.name, sql: one.sql }).collect();
    apply(client, &all).await.expect("the migrations apply")
}

pub async fn log() -> SharedLog {
    let log = EmbeddedLog::in_memory(EmbeddedOptions::new(Arc::new(Clocks::system_now)));
    let all: Vec<NewTopic> = topics::all()
        .iter()
        .map(|spec| NewTopic {
            name: TopicPrefix::default().of(&spec.name),
            partitions: if spec.partitioning == Partitioning::Single { 1 } else { PARTITIONS },
            cleanup: spec.cleanup,
            retention: Duration::from_secs(3_600 * u64::from(spec.retention_hours)),
            min_compaction_lag: Duration::from_secs(3_600),
        })
        .collect();
    log.create_topics(&all).await.unwrap();
    Arc::new(log)
}

/// A store that runs beside the test. Aborting it is its crash: whatever it was doing is dropped at its next await.
pub struct Running {
    pub task: JoinHandle<Result<(), StoreError>>,
    pub shutdown: CancellationToken,
}

pub fn store_on(world: &World, log: SharedLog, client: clickhouse::Client) -> Running {
    let config = StoreConfig { linger_ms: 20, retry_max_ms: 200, ..StoreConfig::default() };
    store_with(world, log, client, config)
}

pub fn store_with(world: &World, log: SharedLog, client: clickhouse::Client, config: StoreConfig) -> Running {
    store_named(world, log, client, (config, "store-0"))
}

pub fn store_named(world: &World, log: SharedLog, client: clickhouse::Client, who: (StoreConfig, &str)) -> Running {
    let (config, member) = who;
    let shutdown = CancellationToken::new();
    let deps = Deps {
        log,
        topics: TopicPrefix::default(),
        clickhouse: client,
        clocks: Clocks::real(),
        member: member.to_owned(),
        health: world.health.clone(),
        config,
    };
    Running { task: tokio::spawn(waybill_store::run(deps, shutdown.clone())), shutdown }
}

pub fn store(world: &World) -> Running {
    store_on(world, Arc::clone(&world.log), world.client.clone())
}

impl Running {
    pub async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.task).await.expect("it stops in time").unwrap().expect("it stops well");
    }

    pub async fn crash(self) {
        self.task.abort();
        assert!(self.task.await.is_err_and(|error| error.is_cancelled()));
    }
}

/// Appends a JSON record as its producer would.
pub async fn put(log: &SharedLog, topic: &str, key: &str, value: &Value) {
    put_bytes(log, topic, key, Some(Bytes::from(serde_json::to_vec(value).unwrap()))).await;
}

pub async fn put_bytes(log: &SharedLog, topic: &str, key: &str, value: Option<Bytes>) {
    put_all(log, vec![new_record(topic, key, value)]).await;
}

/// The partition of a public topic's record.
pub fn partition(key: &str) -> u32 {
    public_partition(key.as_bytes(), PARTITIONS)
}

pub fn new_record(topic: &str, key: &str, value: Option<Bytes>) -> NewRecord {
    let single = topics::find(topic).unwrap().partitioning == Partitioning::Single;
    let partition = if single { 0 } else { public_partition(key.as_bytes(), PARTITIONS) };
    let at = TopicPartition::new(TopicPrefix::default().of(topic), partition);
    NewRecord { at, key: Some(Bytes::copy_from_slice(key.as_bytes())), value, headers: Vec::new() }
}

pub fn json_record(topic: &str, key: &str, value: &Value) -> NewRecord {
    new_record(topic, key, Some(Bytes::from(serde_json::to_vec(value).unwrap())))
}

pub async fn put_all(log: &SharedLog, records: Vec<NewRecord>) {
    for answer in log.produce(records).await {
        answer.unwrap();
    }
}

pub async fn dead_letters(log: &SharedLog) -> Vec<Record> {
    let at = TopicPartition::new(TopicPrefix::default().of(names::DEAD_LETTERS), 0);
    let read = ReadFrom { at, offset: 0, max_records: 1_000, max_bytes: 1 << 24, wait: Duration::ZERO };
    log.read(read).await.unwrap().records
}

/// A number out of ClickHouse; `None` while it does not answer.
pub async fn ask(client: &clickhouse::Client, sql: &str) -> Option<u64> {
    client.query(sql).fetch_one::<u64>().await.ok()
}

pub async fn number(client: &clickhouse::Client, sql: &str) -> u64 {
    client.query(sql).fetch_one::<u64>().await.unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// Waits until a statement answers this number.
pub async fn until(client: &clickhouse::Client, sql: &str, wanted: u64) {
    let mut last = None;
    let reached = async {
        loop {
            last = ask(client, sql).await;
            if last == Some(wanted) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, reached).await.is_ok();
    assert!(in_time, "{sql} answers {last:?}, wanted {wanted}");
}

pub async fn until_true(what: &str, condition: impl AsyncFn() -> bool) {
    let reached = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("{what} did not happen in time"));
}

pub fn pid(clickhouse: &EmbeddedClickHouse) -> Option<u32> {
    match &*clickhouse.states().borrow() {
        StoreState::Running { pid, .. } => Some(*pid),
        _ => None,
    }
}

/// Kills the ClickHouse that this test started.
pub fn kill_clickhouse(world: &World) -> u32 {
    let pid = pid(&world.clickhouse).expect("it runs");
    let status = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
    assert!(status.success());
    pid
}

pub async fn running_again(world: &World, old: u32) {
    until_true("ClickHouse's restart", async || pid(&world.clickhouse).is_some_and(|pid| pid != old)).await;
}
