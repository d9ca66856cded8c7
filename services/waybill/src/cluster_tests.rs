//! Services as processes of their own, on one log in memory: the composition of a cluster without its broker.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
use std::net::SocketAddr;

use tokio::{sync::oneshot, task::JoinHandle, time::Instant};
use waybill_log::{EmbeddedLog, EmbeddedOptions, Headers, NewRecord, Record, TopicPartition, records::produce_all};
use waybill_schemas::{
    CarrierSlug, WallMs,
    event::TrackingEvent,
    fetch::FetchResult,
    layout::Layout,
    topics::{TopicPrefix, names},
};

use super::*;
use crate::{command_log::read_range, config::AdminConfig, parts::new_topics};

const PATIENCE: Duration = Duration::from_secs(60);

struct Running {
    process: JoinHandle<Result<()>>,
    end: oneshot::Sender<()>,
    health: waybill_runtime::Health,
}

struct Cluster {
    log: SharedLog,
    config: Config,
}

impl Cluster {
    /// A log whose clock is off by so much.
    async fn new(off_ms: i64) -> Self {
        let clock = move || Clocks::system_now().plus_ms(off_ms);
        let log: SharedLog = Arc::new(EmbeddedLog::in_memory(EmbeddedOptions::new(Arc::new(clock))));
        let mut config = Config { member: Some("host-0".to_owned()), ..Config::default() };
        config.log.partitions = Some(2);
        Self { log, config }
    }

    async fn create_topics(&self) {
        self.log.create_topics(&new_topics(&TopicPrefix::default(), 2)).await.unwrap();
    }

    async fn begin(&self, service: Service) -> Result<(Process, waybill_runtime::Health)> {
        let (listener, at) = listen("a test", SocketAddr::from(([127, 0, 0, 1], 0)), "admin.listen").await?;
        let process = Process::new(&AdminConfig { listen: at, drain_delay_ms: 10 }, listener);
        let health = process.health.clone();
        let config = self.config.clone();
        let known = Known::load(&config)?;
        let started = Started { service, config, known, clickhouse: None, api: None };
        Ok((started.on(self.log.clone(), process, Clocks::real()).await?, health))
    }

    async fn start(&self, service: Service) -> Running {
        let (process, health) = self.begin(service).await.unwrap();
        let (end, ended) = oneshot::channel();
        let process = tokio::spawn(process.run_until(async { drop(ended.await) }, None));
        Running { process, end, health }
    }

    async fn register(&self, number: &str) {
        let carrier: CarrierSlug = "sandbox".parse().unwrap();
        let layout = Layout { partitions: 2, budgets: Default::default() };
        let command = serde_json::json!({ "id": number, "kind": "register", "carrier": carrier, "number": number });
        let record = NewRecord {
            at: TopicPartition::new(TopicPrefix::default().of(names::COMMANDS), layout.partition_of(&carrier)),
            key: Some(format!("{carrier}:{number}").into()),
            value: Some(serde_json::to_vec(&command).unwrap().into()),
            headers: Headers::new(),
        };
        produce_all(self.log.as_ref(), vec![record]).await.unwrap();
    }

    async fn records(&self, topic: &str) -> Vec<Record> {
        let mut found = Vec::new();
        for partition in 0..2 {
            let at = TopicPartition::new(TopicPrefix::default().of(topic), partition);
            let bounds = self.log.bounds(&at).await.unwrap();
            read_range(self.log.as_ref(), &at, (bounds.first, bounds.next), |record| {
                found.push(record.clone());
                Ok(())
            })
            .await
            .unwrap();
        }
        found
    }
}

impl Running {
    fn is_ready(&self) -> bool {
        let report = self.health.report();
        !report.is_empty() && report.iter().all(|component| component.ready && component.live)
    }

    async fn stop(self) -> Duration {
        let began = Instant::now();
        self.end.send(()).unwrap();
        self.process.await.unwrap().unwrap();
        began.elapsed()
    }
}

async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn services_in_processes_of_their_own_walk_a_number_and_drain_in_time() {
    let cluster = Cluster::new(0).await;
    cluster.create_topics().await;
    let mut running = Vec::new();
    for service in [Service::Scheduler, Service::Fetcher, Service::Normalizer] {
        running.push(cluster.start(service).await);
    }
    until("every process is ready", async || running.iter().all(Running::is_ready)).await;
    cluster.register("SANDBOX-DELIVERED-0001").await;
    until("an event is published", async || {
        let events = cluster.records(names::TRACKING_EVENTS).await;
        events.iter().any(|record| {
            let event: TrackingEvent = serde_json::from_slice(record.value.as_deref().unwrap()).unwrap();
            event.number.as_str() == "SANDBOX-DELIVERED-0001"
        })
    })
    .await;
    for process in running {
        assert!(process.stop().await < Duration::from_secs(20));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_whose_clock_is_off_is_not_ready_and_sends_nothing() {
    let cluster = Cluster::new(-60_000).await;
    cluster.create_topics().await;
    let scheduler = cluster.start(Service::Scheduler).await;
    let fetcher = cluster.start(Service::Fetcher).await;
    cluster.register("SANDBOX-DELIVERED-0001").await;
    until("a request is there", async || {
        cluster.records(names::FETCH_REQUESTS).await.iter().any(|record| record.key_str() != Some("!claim"))
    })
    .await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let looked: Vec<FetchResult> = cluster
        .records(names::FETCH_RESULTS)
        .await
        .iter()
        .filter_map(|record| serde_json::from_slice(record.value.as_deref()?).ok())
        .filter(|result: &FetchResult| result.class.is_reading())
        .collect();
    assert!(looked.is_empty(), "{looked:?}");
    assert!(!fetcher.is_ready());
    let report = fetcher.health.report();
    let clock = report.iter().find(|component| component.name == "clock").unwrap();
    // What it is certainly off by: the asking takes its time off the truth.
    let off_ms: Option<i64> = clock.note.split_whitespace().find_map(|word| word.parse().ok());
    assert!(!clock.ready && off_ms.is_some_and(|off_ms| (5_001..=60_001).contains(&off_ms)), "{clock:?}");
    fetcher.stop().await;
    scheduler.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduler_with_an_unreadable_changelog_has_started_and_works_on_its_other_partitions() {
    let cluster = Cluster::new(0).await;
    cluster.create_topics().await;
    let at = TopicPartition::new(TopicPrefix::default().of(names::SCHEDULE), 0);
    let key = Some("sandbox:BROKEN0001".into());
    let broken = NewRecord { at, key, value: Some("{".into()), headers: Headers::new() };
    produce_all(cluster.log.as_ref(), vec![broken]).await.unwrap();
    let scheduler = cluster.start(Service::Scheduler).await;
    until("the other partition is worked on, this one refused", async || {
        let report = scheduler.health.report();
        let of = |name: &str| report.iter().find(|component| component.name == name).cloned();
        of("scheduler-1").is_some_and(|one| one.ready) && of("scheduler-0").is_some_and(|one| one.up && !one.ready)
    })
    .await;
    // A probe that restarts what does not start leaves it alone; whoever looks sees why it is not ready. The member that
    // gave the partitions out may tell of itself a little later than they do.
    until("the start is over", async || scheduler.health.has_started()).await;
    assert!(!scheduler.is_ready());
    let report = scheduler.health.report();
    let refused = report.iter().find(|component| component.name == "scheduler-0").unwrap();
    assert!(refused.live && refused.note.contains("waybill.schedule/0"), "{refused:?}");
    assert!(!scheduler.process.is_finished());
    scheduler.stop().await;
}

#[tokio::test]
async fn missing_topics_and_another_layout_are_sentences_with_their_remedy() {
    let cluster = Cluster::new(0).await;
    let refused = cluster.begin(Service::Normalizer).await.err().unwrap().to_string();
    assert!(refused.contains("waybill topics apply"), "{refused}");
    cluster.create_topics().await;
    drop(cluster.begin(Service::Normalizer).await.unwrap());
    let mut other = Cluster { log: cluster.log.clone(), config: cluster.config.clone() };
    other.config.log.partitions = Some(4);
    let refused = other.begin(Service::Scheduler).await.err().unwrap().to_string();
    assert!(refused.contains("set log.partitions to 2"), "{refused}");
}

#[tokio::test]
async fn without_kafka_or_clickhouse_a_service_says_what_to_set() {
    let run = |config: Config| run(Service::Store, config, async {});
    let said = run(Config::default()).await.unwrap_err().to_string();
    assert!(said.contains("log.kafka.brokers") && said.contains("waybill standalone"), "{said}");
    let mut config = Config::default();
    config.log.kafka = Some(waybill_log::KafkaOptions::default());
    let said = run(config.clone()).await.unwrap_err().to_string();
    assert!(said.contains("clickhouse.url"), "{said}");
    let said = crate::standalone::check(&config).unwrap_err().to_string();
    assert!(said.contains("waybill scheduler"), "{said}");
}

#[test]
fn the_answer_to_a_broker_that_is_slow_is_no_wrong_clock() {
    assert_eq!(judge(certainly_off_ms(WallMs::new(0), WallMs::new(9_000), WallMs::new(20_000))), Trust::Given);
}
