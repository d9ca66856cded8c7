//! A rollback: what the next version has written, this one reads. The next version is played by records on every topic with
//! fields and headers that nobody knows yet; on the topics that hold state they are the newest of their keys.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "reads what its own programs answer")]

#[path = "support/chart.rs"]
mod chart;
#[path = "support/cluster/mod.rs"]
mod cluster;
#[path = "support/topics.rs"]
mod read;
mod support;

use std::collections::BTreeMap;

use cluster::{Cluster, Plan, Service};
use read::records;
use serde_json::{Value, json};
use support::{cluster_turn, eventually};
use waybill_log::{KafkaLog, Log as _, NewRecord, TopicPartition};
use waybill_schemas::topics::{self, Cleanup, TopicSpec, names};

/// Numbers of the sandbox, which walk to their end within a minute.
const NUMBERS: usize = 24;

/// A field of tomorrow in the record and in each object directly in it, but not in maps whose names are data.
fn of_tomorrow(mut value: Value) -> Value {
    let fields = value.as_object_mut().expect("records are objects");
    for (name, inner) in fields.iter_mut() {
        if let Some(inner) =
            inner.as_object_mut().filter(|_| !["params", "milestones", "budgets"].contains(&name.as_str()))
        {
            inner.insert("of_tomorrow".to_owned(), json!({ "deep": [1, null] }));
        }
    }
    fields.insert("of_tomorrow".to_owned(), json!([{ "so": "it is" }]));
    value
}

/// Appends a copy of what stands in a topic as the next version would have written it. Answers how many.
async fn write_as_tomorrow(log: &KafkaLog, spec: &TopicSpec) -> usize {
    let mut written = 0;
    for partition in 0..log.describe(&spec.name).await.unwrap().partitions {
        let at = TopicPartition::new(spec.name.as_str(), partition);
        let mut newest = BTreeMap::new();
        for (place, record) in records(log, &at).await.into_iter().enumerate() {
            let claim = record.key_str().is_some_and(|key| key.starts_with("!claim"))
                || record.header("waybill-kind").is_some();
            let place = if spec.cleanup == Cleanup::Compact { 0 } else { place };
            if !claim && record.value.is_some() {
                newest.insert((record.key.clone(), place), record);
            }
        }
        let copies: Vec<NewRecord> = newest
            .into_values()
            .map(|record| {
                let value = of_tomorrow(serde_json::from_slice(record.value.as_ref().unwrap()).unwrap());
                let mut headers = record.headers;
                headers.push(("waybill-of-tomorrow".to_owned(), "yes".into()));
                NewRecord { at: at.clone(), key: record.key, value: Some(value.to_string().into()), headers }
            })
            .collect();
        written += copies.len();
        for answer in log.produce(copies).await {
            answer.unwrap();
        }
    }
    written
}

/// Records of the schedule, newest of each number, that still have the field of tomorrow: `(with it, all)`.
async fn kept(log: &KafkaLog) -> (usize, usize) {
    let mut newest = BTreeMap::new();
    for partition in 0..log.describe("waybill.schedule").await.unwrap().partitions {
        for record in records(log, &TopicPartition::new("waybill.schedule", partition)).await {
            if record.key_str().is_some_and(|key| !key.starts_with('!')) {
                newest.insert(record.key.clone(), record);
            }
        }
    }
    let with = newest.values().filter(|record| {
        let value: Value = serde_json::from_slice(record.value.as_deref().unwrap_or(b"{}")).unwrap();
        value.get("of_tomorrow").is_some() && value["registration"].get("of_tomorrow").is_some()
    });
    (with.count(), newest.len())
}

async fn register(cluster: &mut Cluster, name: &str) {
    let entries: Vec<Value> = (0..NUMBERS)
        .map(|at| json!({ "carrier": "sandbox", "number": format!("SANDBOX-DELIVERED-{name}{at:03}") }))
        .collect();
    cluster.register(&json!({ "shipments": entries }), NUMBERS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sch_1_a_rollback_reads_the_records_of_the_next_version_and_writes_back_what_it_does_not_know() {
    let Some(_turn) = cluster_turn().await else { return };
    let plan = Plan { parcels: 1, replicas: 1, ..Plan::default() };
    let mut cluster = Cluster::start(plan).await;
    let log = KafkaLog::connect(cluster.broker.options()).await.unwrap();
    register(&mut cluster, "A").await;
    let sql = "SELECT uniqExact(number) FROM waybill.v_events";
    eventually("each number has been seen", || async {
        (cluster.sql_number(sql).await == NUMBERS as u64).then_some(())
    })
    .await;
    cluster.stop_all().await;

    // Values of the remaining topics are no JSON of ours; and a request stands once, for its offset is its identity.
    for spec in topics::all().iter().filter(|spec| spec.schema.is_some() && spec.name != names::FETCH_REQUESTS) {
        println!("rollback: {} records of tomorrow on {}", write_as_tomorrow(&log, spec).await, spec.name);
    }
    cluster.services.iter_mut().for_each(Service::start);
    cluster.all_ready().await;
    register(&mut cluster, "B").await;

    let on_its_way =
        "SELECT count() FROM waybill.v_shipments WHERE status IN ('InTransit', 'OutForDelivery', 'Delivered')";
    eventually("all are under way", || async {
        (cluster.sql_number(on_its_way).await == 2 * NUMBERS as u64).then_some(())
    })
    .await;
    let double = cluster.sql_number("SELECT count() - uniqExact(event_id, version) FROM waybill.v_events").await;
    assert_eq!(double, 0, "each (event_id, version) once in the views");
    eventually("what a later version added is still there", || async {
        let (with, all) = kept(&log).await;
        (with == NUMBERS && all == 2 * NUMBERS).then_some(())
    })
    .await;
    assert_eq!(
        log.bounds(&TopicPartition::new("waybill.dead-letters", 0)).await.unwrap().next,
        0,
        "nothing was refused"
    );
    for level in ["ERROR", "promise.violated"] {
        let lines = cluster.lines_with(level);
        assert!(lines.is_empty(), "{}", lines.join("\n"));
    }
}
