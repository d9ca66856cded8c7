//! What cannot be read: a partition whose state is broken is refused and held, alone; too much poison ends the scheduler and
//! is passed over by no later life.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use waybill_log::{
    EmbeddedLog, EmbeddedOptions, Headers, Log as _, NewRecord, NewTopic, ReadFrom, Record, TopicPartition, claims,
    records::{attempt_headers, produce_all},
};
use waybill_runtime::{Clocks, Health, JourneyScale, health::BEAT_TIMEOUT, poison::PoisonLimits};
use waybill_scheduler::{CarrierTerms, Carriers, Deps, SchedulerConfig, SchedulerError, Switch};
use waybill_schemas::{
    CarrierSlug, WallMs,
    fetch::FetchRequest,
    layout::Layout,
    politeness::Budget,
    schedule::POSITION_KEY,
    topics::{self, TopicPrefix, names},
};

const PARTITIONS: u32 = 2;
const START: WallMs = WallMs::new(1_790_000_000_000);
const PATIENCE: Duration = Duration::from_secs(600);

struct Terms;

impl Carriers for Terms {
    fn policy(&self, _: &CarrierSlug) -> Option<CarrierTerms> {
        let budget = Budget { rate_per_second: 10.0, ..Budget::default() };
        Some(CarrierTerms { budget, requests_per_attempt: 1, numbers_per_attempt: 1, switch: Switch::On })
    }
}

struct World {
    log: EmbeddedLog,
    clocks: Clocks,
    layout: Layout,
    health: Health,
}

struct Running {
    task: JoinHandle<Result<(), SchedulerError>>,
    shutdown: CancellationToken,
}

impl Running {
    async fn stop(self) {
        self.shutdown.cancel();
        timeout(PATIENCE, self.task).await.unwrap().unwrap().unwrap();
    }
}

fn at(name: &str, partition: u32) -> TopicPartition {
    TopicPartition::new(TopicPrefix::default().of(name), partition)
}

impl World {
    async fn new() -> Self {
        let clocks = Clocks::starting_at(START, JourneyScale::REAL);
        let log = EmbeddedLog::in_memory(EmbeddedOptions::new(Arc::new(move || clocks.wall())));
        let topic = |spec: &topics::TopicSpec| NewTopic {
            name: TopicPrefix::default().of(&spec.name),
            partitions: if spec.name == names::DEAD_LETTERS { 1 } else { PARTITIONS },
            cleanup: spec.cleanup,
            retention: Duration::from_secs(3 * 86_400),
            min_compaction_lag: Duration::from_secs(3_600),
        };
        log.create_topics(&topics::all().iter().map(topic).collect::<Vec<_>>()).await.unwrap();
        Self {
            log,
            clocks,
            layout: Layout { partitions: PARTITIONS, budgets: BTreeMap::new() },
            health: Health::default(),
        }
    }

    /// The `nth` carrier whose numbers live in a partition.
    fn carrier(&self, partition: u32, nth: usize) -> String {
        let names = (0..1_000).map(|index| format!("carrier-{index}"));
        let mut there = names.filter(|name| self.layout.partition_of(&name.parse().unwrap()) == partition);
        there.nth(nth).unwrap()
    }

    fn start(&self) -> Running {
        let shutdown = CancellationToken::new();
        let poison = PoisonLimits { records: 3, budgets: 2, envelopes: 4, ..PoisonLimits::default() };
        let deps = Deps {
            log: Arc::new(self.log.clone()),
            topics: TopicPrefix::default(),
            layout: self.layout.clone(),
            clocks: self.clocks,
            carriers: Arc::new(Terms),
            member: "scheduler-0".to_owned(),
            health: self.health.clone(),
            config: SchedulerConfig { poison, ..SchedulerConfig::default() },
        };
        Running { task: tokio::spawn(waybill_scheduler::run(deps, shutdown.clone())), shutdown }
    }

    async fn append(&self, at: TopicPartition, key: Option<&str>, value: Option<&str>, headers: Headers) {
        let bytes = |text: &str| Bytes::from(text.to_owned());
        let record = NewRecord { at, key: key.map(bytes), value: value.map(bytes), headers };
        produce_all(&self.log, vec![record]).await.unwrap();
    }

    async fn register(&self, carrier: &str) {
        let order = format!(r#"{{"id":"1","kind":"register","carrier":"{carrier}","number":"PARCEL0001"}}"#);
        let place = at(names::COMMANDS, self.layout.partition_of(&carrier.parse().unwrap()));
        self.append(place, Some(&format!("{carrier}:PARCEL0001")), Some(&order), Headers::new()).await;
    }

    async fn records(&self, name: &str, partition: u32) -> Vec<Record> {
        let (at, wait) = (at(name, partition), Duration::ZERO);
        let read = ReadFrom { at, offset: 0, max_records: 10_000, max_bytes: 1 << 30, wait };
        self.log.read(read).await.unwrap().records
    }

    async fn requests(&self, partition: u32) -> Vec<FetchRequest> {
        let records = self.records(names::FETCH_REQUESTS, partition).await;
        let plain = records.iter().filter(|record| !claims::is_claim(record));
        plain.map(|record| serde_json::from_slice(record.value.as_ref().unwrap()).unwrap()).collect()
    }

    async fn one_request(&self, partition: u32) -> FetchRequest {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(first) = self.requests(partition).await.pop() {
                return first;
            }
            assert!(Instant::now() < until, "no request on partition {partition}: {:?}", self.health.report());
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// What the component of a partition says, once it says something of `fragment`.
    async fn note(&self, component: &str, fragment: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let report = self.health.report();
            let said = report.iter().find(|one| one.name == component && one.note.contains(fragment));
            if let Some(said) = said {
                assert!(!said.ready, "{report:?}");
                return said.note.clone();
            }
            assert!(Instant::now() < until, "{component} does not speak of {fragment}: {report:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn sch_1_a_partition_whose_state_cannot_be_read_is_refused_loudly_and_held_while_others_work() {
    for (key, value, wanted) in [
        ("{carrier}:PARCEL0009", "{", "offset 0 is unreadable"),
        // JSON, but not what this version writes.
        ("{carrier}:PARCEL0009", r#"{"registration":7}"#, "offset 0 is unreadable"),
        ("no key of a number", "{}", "its key is no carrier and number"),
        (POSITION_KEY, "{", "offset 0 is unreadable"),
        // What it says was read is not kept any more: inputs were lost.
        (POSITION_KEY, r#"{"outcomes":99,"commands":0,"oldest_open_request":0}"#, "to be read from offset 99"),
    ] {
        let world = World::new().await;
        let (broken, whole) = (world.carrier(0, 0), world.carrier(1, 0));
        let key = key.replace("{carrier}", &broken);
        world.append(at(names::SCHEDULE, 0), Some(&key), Some(value), Headers::new()).await;
        world.register(&broken).await;
        world.register(&whole).await;
        let running = world.start();
        let note = world.note("scheduler-0", wanted).await;
        assert!(note.contains("waybill.schedule"), "it says which record: {note}");
        assert_eq!(world.one_request(1).await.carrier.as_str(), whole);
        // Held: not given to others that would break on it in turn, not tried again and again, and never taken for a
        // standstill.
        let claims = world.records(names::SCHEDULE, 0).await.len();
        sleep(BEAT_TIMEOUT * 3).await;
        let report = world.health.report();
        assert!(report.iter().all(|component| component.live), "{report:?}");
        let is_ready = |name: &str| report.iter().find(|component| component.name == name).map(|found| found.ready);
        assert_eq!(is_ready("scheduler-0"), Some(false), "{report:?}");
        assert_eq!((is_ready("scheduler"), is_ready("scheduler-1")), (Some(true), Some(true)), "{report:?}");
        assert_eq!(world.records(names::SCHEDULE, 0).await.len(), claims);
        assert!(world.requests(0).await.is_empty(), "nothing is sent from state that was not read");
        running.stop().await;

        // As it says: another record of that key, under the newest claim's epoch. Nothing was lost meanwhile.
        let records = world.records(names::SCHEDULE, 0).await;
        let newest = records.iter().filter(|record| claims::is_claim(record)).map(|record| record.offset).max();
        world.append(at(names::SCHEDULE, 0), Some(&key), None, claims::epoch_headers(newest.unwrap())).await;
        let running = world.start();
        assert_eq!(world.one_request(0).await.carrier.as_str(), broken, "{key}: {value}");
        running.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn sch_2_a_partition_with_a_request_that_nothing_names_is_refused() {
    let world = World::new().await;
    world.append(at(names::FETCH_REQUESTS, 0), None, Some("{"), Headers::new()).await;
    let running = world.start();
    let note = world.note("scheduler-0", "cannot be read").await;
    assert!(note.contains("offset 0 of waybill.fetch-requests/0"), "{note}");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn poison_of_several_budgets_or_of_envelopes_ends_the_scheduler_with_a_clear_error_and_none_of_it_is_passed_over()
{
    for topic in [names::OUTCOMES, names::COMMANDS] {
        let world = World::new().await;
        let (one, other) = (world.carrier(0, 0), world.carrier(0, 1));
        for round in 0..3 {
            for carrier in [&one, &other] {
                let key = format!("{carrier}:PARCEL0001");
                world.append(at(topic, 0), Some(&key), Some("{"), attempt_headers(round, Some(7))).await;
            }
        }
        stops(&world, topic, &[&one, &other]).await;

        let world = World::new().await;
        for _ in 0..4 {
            world.append(at(topic, 1), None, Some("{"), Headers::new()).await;
        }
        stops(&world, topic, &["4 records", "no JSON"]).await;
    }
}

/// Every life ends with an error that says so: the next one finds the same again.
async fn stops(world: &World, topic: &str, wanted: &[&str]) {
    for life in 1..=3 {
        let ended = timeout(PATIENCE, world.start().task).await;
        let ended = ended.unwrap_or_else(|_| panic!("{topic}: life {life} goes on: {:?}", world.health.report()));
        let error = ended.unwrap().unwrap_err();
        assert!(matches!(error, SchedulerError::Poison(_)), "{topic}, life {life}: {error}");
        let said = error.to_string();
        assert!(wanted.iter().all(|fragment| said.contains(fragment)), "{topic}, life {life}: {said}");
    }
}

#[tokio::test(start_paused = true)]
async fn poison_below_the_limit_becomes_dead_letters_and_the_scheduler_goes_on() {
    let world = World::new().await;
    let carrier = world.carrier(0, 0);
    for topic in [names::OUTCOMES, names::COMMANDS] {
        world.append(at(topic, 0), None, Some("{"), Headers::new()).await;
        world.append(at(topic, 0), Some(&format!("{carrier}:PARCEL0009")), Some("{"), Headers::new()).await;
    }
    world.register(&carrier).await;
    let running = world.start();
    assert_eq!(world.one_request(0).await.carrier.as_str(), carrier);
    assert_eq!(world.records(names::DEAD_LETTERS, 0).await.len(), 4);
    running.stop().await;
}
