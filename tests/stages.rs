//! Each stage of a cluster alone, against everything the stage before it has left: how much it takes a second, with how
//! much memory and CPU. Numbers of the sandbox, so that no carrier bounds it; a real broker, ClickHouse's own engine.
//!
//! `WAYBILL_LAG` is how many numbers lie there (`make throughput`: a million). Nothing here asserts a rate; memory is a
//! promise and is asserted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "reads what its own programs answer")]

#[path = "support/chart.rs"]
mod chart;
#[path = "support/cluster/mod.rs"]
mod cluster;
#[path = "support/topics.rs"]
mod read;
mod support;

use std::time::Duration;

use cluster::{Cluster, Commits, Plan, Used, by_thread, tail};
use read::{records, records_from};
use serde_json::{Value, json};
use support::{PATIENCE, cluster_turn, number};
use tokio::time::{Instant, sleep};
use waybill_log::{KafkaLog, Log as _, NewRecord, Record, TopicPartition};

/// Partitions of the chart's default layout.
const PARTITIONS: u32 = 32;
/// Numbers in one call.
const CALL: u32 = 1_000;
/// What a service that is behind may hold, in MiB; the scheduler beside what it keeps of each number.
const CEILING_MIB: u64 = 512;
/// The same for the scheduler, without its numbers.
const SCHEDULER_MIB: u64 = 300;
/// Longest without any progress.
const STALLED: Duration = PATIENCE;

struct Stages {
    cluster: Cluster,
    log: KafkaLog,
    count: u64,
}

impl Stages {
    /// Records that ever came into a topic.
    async fn records(&self, topic: &str) -> u64 {
        let mut all = 0;
        for partition in 0..PARTITIONS {
            let at = TopicPartition::new(format!("waybill.{topic}"), partition);
            all += self.log.bounds(&at).await.expect("the broker answers").next;
        }
        all
    }

    fn done(&self, group: &str, topic: &str) -> Reaches {
        let brokers = self.cluster.broker.brokers();
        Reaches::Done(Commits::of(&brokers, group, &format!("waybill.{topic}")))
    }

    async fn reached(&self, what: &Reaches) -> u64 {
        match what {
            Reaches::Topic(topic) => self.records(topic).await,
            Reaches::Done(commits) => commits.sum(),
            Reaches::OutcomesRead => self.outcomes_read().await,
        }
    }

    /// Runs one process of `role` until `what` has grown by `wanted`; prints what it took and answers its memory.
    async fn run(&mut self, role: &str, unit: &str, what: Reaches, wanted: u64) -> Used {
        let before = self.reached(&what).await;
        let broker = Used::of(self.cluster.broker.pid()).cpu_s;
        let started = Instant::now();
        self.cluster.service(role, 0).start();
        self.cluster.all_ready().await;
        let began = Instant::now();
        let (mut last, mut moved) = (0, Instant::now());
        // Positions are read from the end: they do not only grow.
        let first = self.reached(&what).await.saturating_sub(before);
        while last < wanted {
            sleep(Duration::from_millis(100)).await;
            let now = self.reached(&what).await.saturating_sub(before);
            if now > last {
                (last, moved) = (now, Instant::now());
            }
            let log = self.cluster.service(role, 0).log();
            assert!(moved.elapsed() < STALLED, "{role}: {last} of {wanted}, then nothing:\n{}", tail(&log));
        }
        // What was quick is done before it is ready.
        let (done, took) = if first < wanted { (wanted - first, began.elapsed()) } else { (wanted, started.elapsed()) };
        let took = took.as_secs_f64();
        let pid = self.cluster.service(role, 0).pid();
        let used = Used::of(pid);
        let broker = Used::of(self.cluster.broker.pid()).cpu_s - broker;
        println!(
            "stages: {role}: {:.0} {unit}/s ({done} in {took:.1} s), {:.1} s of CPU, the broker {broker:.1} s, at most {} MiB",
            done as f64 / took.max(0.05),
            used.cpu_s,
            used.peak_mib
        );
        println!("stages: {role}: its CPU by thread: {}", by_thread(pid));
        println!("stages: {role}: the broker's since it runs: {}", by_thread(self.cluster.broker.pid()));
        used
    }

    /// How many outcomes the scheduler has read, by the positions that it wrote last.
    async fn outcomes_read(&self) -> u64 {
        let mut read = 0;
        for partition in 0..PARTITIONS {
            let at = TopicPartition::new("waybill.schedule", partition);
            let bounds = self.log.bounds(&at).await.expect("the broker answers");
            let offset = bounds.next.saturating_sub(2_000).max(bounds.first);
            let last = records_from(&self.log, &at, offset).await;
            let position = last.iter().rfind(|record| record.key_str() == Some("!position"));
            let position = position.and_then(|record| record.value.as_deref()).unwrap_or(b"{}");
            let position: Value = serde_json::from_slice(position).unwrap();
            read += position["outcomes"].as_u64().unwrap_or(0);
        }
        read
    }

    /// Appends a record so often, each time with another number.
    async fn lay_before(&self, (at, record): (TopicPartition, Record), change: impl Fn(&mut Value)) {
        let key = record.key_str().unwrap().to_owned();
        let number = key.split_once(':').expect("carrier:number").1.to_owned();
        let mut value: Value = serde_json::from_slice(record.value.as_ref().unwrap()).unwrap();
        change(&mut value);
        let value = value.to_string();
        for first in (0..self.count).step_by(5_000) {
            let copies = (first..(first + 5_000).min(self.count)).map(|at_number| {
                let other = format!("SANDBOX-DELIVERED-{at_number:07}");
                // Over all partitions: what a service may hold of each adds up.
                let partition = u32::try_from(at_number % u64::from(PARTITIONS)).unwrap_or(0);
                NewRecord {
                    at: TopicPartition::new(at.topic.to_string(), partition),
                    key: Some(key.replace(&number, &other).into()),
                    value: Some(value.replace(&number, &other).into()),
                    headers: record.headers.clone(),
                }
            });
            for answer in self.log.produce(copies.collect()).await {
                answer.expect("the broker takes it");
            }
        }
    }

    /// A record of a topic that fits; waits for the first.
    async fn one(&self, topic: &str, fits: impl Fn(&str) -> bool) -> (TopicPartition, Record) {
        let began = Instant::now();
        while began.elapsed() < STALLED {
            for partition in 0..PARTITIONS {
                let at = TopicPartition::new(format!("waybill.{topic}"), partition);
                let found = records(&self.log, &at).await.into_iter().find(|record| {
                    record.value.as_deref().is_some_and(|value| std::str::from_utf8(value).is_ok_and(&fits))
                });
                if let Some(record) = found {
                    return (at, record);
                }
            }
            sleep(Duration::from_millis(200)).await;
        }
        panic!("no such record on {topic}");
    }

    async fn stop(&mut self, role: &str) {
        let service = self.cluster.service(role, 0);
        let (status, took) = service.stop().await;
        assert!(status.success(), "{role} ended with {status}:\n{}", tail(&service.log()));
        assert!(took < Duration::from_secs(20), "{role} took {took:?} to end");
    }

    /// Registers all numbers over one process of the API.
    async fn register(&mut self) -> Used {
        self.cluster.service("api", 0).start();
        self.cluster.all_ready().await;
        let began = Instant::now();
        let mut next = 0;
        while next < self.count {
            let until = (next + u64::from(CALL)).min(self.count);
            let entries: Vec<Value> = (next..until)
                .map(|at| json!({ "carrier": "sandbox", "number": format!("SANDBOX-DELIVERED-{at:07}") }))
                .collect();
            self.cluster.register(&json!({ "shipments": entries }), entries.len()).await;
            next = until;
        }
        let took = began.elapsed().as_secs_f64();
        let used = Used::of(self.cluster.service("api", 0).pid());
        println!(
            "stages: api: {:.0} registrations/s ({} in {took:.1} s, one client), {:.1} s of CPU, at most {} MiB",
            self.count as f64 / took,
            self.count,
            used.cpu_s,
            used.peak_mib
        );
        used
    }
}

enum Reaches {
    /// The scheduler's own position.
    OutcomesRead,
    Topic(&'static str),
    /// What its group has committed: all before is done, be it a repeat that leaves nothing behind.
    Done(Commits),
}

/// All of a cluster at once, one process of each service, from the call to the store; the carriers answer over HTTP and
/// allow more than the services can ask.
#[tokio::test(flavor = "multi_thread")]
async fn from_registration_to_first_result_to_the_store() {
    let Some(_turn) = cluster_turn().await else { return };
    let parcels = number("WAYBILL_PARCELS", 1_000);
    let plan = Plan {
        parcels,
        replicas: 1,
        rate_per_second: 1_000.0,
        // Parcels at their age of today, asked once while the test runs.
        max_interval_s: 600,
        lives_s: 3_600,
        ..Plan::default()
    };
    let mut cluster = Cluster::start(plan).await;
    let began = Instant::now();
    cluster.register_all().await;
    let registered = began.elapsed().as_secs_f64();
    let first = "SELECT uniqExact(carrier, number) FROM waybill.v_fetch_outcomes";
    let mut asked = None;
    while cluster.sql_number(first).await < u64::from(parcels) {
        if asked.is_none() && cluster.requests() >= parcels as usize {
            asked = Some(began.elapsed().as_secs_f64());
        }
        assert!(
            began.elapsed() < PATIENCE + Duration::from_millis(u64::from(parcels) * 20),
            "not all have a first result"
        );
        sleep(Duration::from_millis(50)).await;
    }
    let stored = began.elapsed().as_secs_f64();
    let asked = asked.unwrap_or(stored);
    let events = cluster.sql_number("SELECT count() FROM waybill.tracking_events").await;
    let per = |seconds: f64| f64::from(parcels) / seconds;
    println!("stages: whole: {parcels} numbers registered in {registered:.1} s ({:.0}/s)", per(registered));
    println!("stages: whole: asked at the carriers once each after {asked:.1} s ({:.0}/s)", per(asked));
    println!("stages: whole: first results stored after {stored:.1} s ({:.0}/s, {events} events)", per(stored));
    for line in cluster.used() {
        println!("stages: whole:   {line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_stage_takes_all_that_lies_before_it_within_its_memory() {
    let Some(_turn) = cluster_turn().await else { return };
    let count = number("WAYBILL_LAG", 5_000);
    let plan = Plan { parcels: 1, replicas: 1, sandbox_per_second: Some(1_000), ..Plan::default() };
    let cluster = Cluster::prepare(plan).await;
    let log = KafkaLog::connect(cluster.broker.options()).await.unwrap();
    let mut stages = Stages { cluster, log, count: u64::from(count) };
    let count = stages.count;

    let api = stages.register().await;
    let behind = stages.run("scheduler", "commands applied", Reaches::Topic("schedule"), count).await;
    stages.stop("scheduler").await;
    stages.cluster.service("fetcher", 0).start();
    let in_time = |value: &str| {
        ["tracked", "registered_no_scan"].iter().any(|class| value.contains(&format!("\"class\":\"{class}\"")))
    };
    let result = stages.one("fetch-results", in_time).await;
    stages.stop("fetcher").await;
    // More requests than a scheduler would ever hand out at once: too late to be sent, so that no budget bounds the answers.
    let too_late = |request: &mut Value| request["expires_at"] = json!("2026-01-01T00:00:00.000Z");
    let request = stages.one("fetch-requests", |value| value.contains("\"poll\"")).await;
    stages.lay_before(request, too_late).await;
    let fetcher = stages.run("fetcher", "late requests answered", Reaches::Topic("fetch-results"), count).await;
    stages.stop("fetcher").await;
    // Behind those in each number's order, or it would pass for a repeat.
    let later = |result: &mut Value| result["attempt"] = json!(result["attempt"].as_i64().unwrap() + (1 << 20));
    stages.lay_before(result, later).await;
    let results = stages.records("fetch-results").await;
    let normalized = stages.done("waybill-normalizer", "fetch-results");
    let normalizer = stages.run("normalizer", "results normalized", normalized, results).await;
    stages.stop("normalizer").await;
    let events = stages.records("tracking-events").await;
    println!("stages: {events} tracking events");
    let stored = stages.done("waybill.store.tracking-events", "tracking-events");
    let store = stages.run("store", "events stored", stored, events).await;
    stages.stop("store").await;
    let outcomes = stages.records("outcomes").await - stages.outcomes_read().await;
    let scheduler = stages.run("scheduler", "outcomes applied", Reaches::OutcomesRead, outcomes).await;
    stages.stop("scheduler").await;

    for (role, used) in [("api", api), ("fetcher", fetcher), ("normalizer", normalizer), ("store", store)] {
        assert!(used.peak_mib < CEILING_MIB, "{role} held {} MiB while it was behind", used.peak_mib);
    }
    // What the scheduler keeps of a number is measured by `make bench` (scheduler heap per number).
    let of_numbers = count * 1_100 / 1_048_576;
    for used in [behind, scheduler] {
        assert!(used.peak_mib < SCHEDULER_MIB + of_numbers, "the scheduler held {} MiB", used.peak_mib);
    }
}
