//! One trace from the API's request through every topic to ClickHouse, as a real OpenTelemetry Collector receives it: from
//! one process, and from five over a real broker.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "reads what its own programs answer")]

#[path = "support/chart.rs"]
mod chart;
#[path = "support/cluster/mod.rs"]
mod cluster;
#[path = "support/collector.rs"]
mod collector;
mod support;

use std::collections::{BTreeMap, BTreeSet};

use cluster::{Cluster, Plan};
use collector::{Collector, Span};
use serde_json::json;
use support::{Waybill, cluster_turn, embedded_clickhouse, eventually};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
const NUMBER: &str = "SANDBOX-DELIVERED-0042";

// Kinds of spans in OTLP.
const SERVER: u64 = 2;
const CLIENT: u64 = 3;
const PRODUCER: u64 = 4;
const CONSUMER: u64 = 5;

/// What the trace of a first look must hold: name and kind, in the order of the walk.
const WALK: [(&str, u64); 9] = [
    ("POST /v1/shipments", SERVER),
    ("send waybill.commands", PRODUCER),
    ("process waybill.commands", CONSUMER),
    ("send waybill.fetch-requests", PRODUCER),
    ("process waybill.fetch-requests", CONSUMER),
    ("send waybill.fetch-results", PRODUCER),
    ("process waybill.fetch-results", CONSUMER),
    ("send waybill.outcomes", PRODUCER),
    ("process waybill.outcomes", CONSUMER),
];

/// What its result is published on.
const PUBLISHED: [&str; 3] = ["send waybill.tracking-events", "send waybill.shipments", "send waybill.status-changes"];

/// The spans once the trace has come to the store: processes export theirs each in its own time.
async fn whole_trace(collector: &Collector) -> Vec<Span> {
    eventually("the trace reaches the store", || async {
        let spans = collector.spans();
        let names: BTreeSet<&str> =
            spans.iter().filter(|span| span.trace == TRACE).map(|span| span.name.as_str()).collect();
        let walked = WALK.iter().map(|(name, _)| name).chain(&PUBLISHED).all(|name| names.contains(name));
        let linked = spans
            .iter()
            .any(|span| span.name == "INSERT tracking_events" && span.links.iter().any(|trace| trace == TRACE));
        (walked && linked).then_some(spans)
    })
    .await
}

/// Each step stands below the one before it, and all below the caller's; answers who made them, step by step.
fn walk(spans: &[Span]) -> Vec<String> {
    let ours: BTreeMap<&str, &Span> =
        spans.iter().filter(|span| span.trace == TRACE).map(|span| (span.id.as_str(), span)).collect();
    let ancestors = |span: &Span| {
        let mut names = Vec::new();
        let mut parent = span.parent.clone();
        while let Some(above) = ours.get(parent.as_str()) {
            names.push(above.name.clone());
            parent.clone_from(&above.parent);
        }
        (names, parent)
    };
    let mut services = Vec::new();
    for pair in WALK.windows(2) {
        let found = ours.values().find(|span| span.name == pair[1].0).unwrap();
        assert_eq!(found.kind, pair[1].1, "{found:?}");
        assert_eq!(found.attributes.get("messaging.system").map(String::as_str), Some("kafka"), "{found:?}");
        let (above, root) = ancestors(found);
        assert_eq!(above.first().map(String::as_str), Some(pair[0].0), "{} stands below {above:?}", pair[1].0);
        assert_eq!(root, CALLER, "the trace is the caller's");
        services.push(found.service.clone());
    }
    services
}

fn insert(spans: &[Span]) -> &Span {
    let insert = spans.iter().find(|span| span.name.starts_with("INSERT ")).unwrap();
    assert_eq!(insert.kind, CLIENT);
    insert
}

/// Nothing that was exported names the number or the reference.
fn names_nobody(collector: &Collector) {
    let received = collector.received();
    for secret in [NUMBER, "a-reference"] {
        assert!(!received.contains(secret), "SEC-1: {secret} was exported");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_1_one_trace_leads_from_the_request_to_the_store_and_names_no_number() {
    if !embedded_clickhouse() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let Some(collector) = Collector::start(dir.path()) else { return };
    let config = json!({
        "telemetry": { "filter": "warn", "otlp": { "endpoint": format!("http://{}", collector.address) } },
    });
    let waybill = Waybill::start(dir.path(), &config).await;
    let body = json!({ "shipments": [{ "number": NUMBER, "carrier": "sandbox", "ref": "a-reference" }] });
    let traceparent = format!("00-{TRACE}-{CALLER}-01");
    let (status, answer) = waybill.post_with("/v1/shipments", &body, &[("traceparent", &traceparent)]).await;
    assert_eq!((status, &answer["rejected"]), (200, &json!([])), "{answer}");

    let spans = whole_trace(&collector).await;
    walk(&spans);
    assert_eq!(insert(&spans).service, "waybill-standalone");
    names_nobody(&collector);
    drop(waybill);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trace_goes_through_five_processes_and_a_real_broker() {
    let Some(_turn) = cluster_turn().await else { return };
    let dir = tempfile::tempdir().unwrap();
    let Some(collector) = Collector::start(dir.path()) else { return };
    let plan = Plan { parcels: 1, replicas: 1, otlp: Some(format!("http://{}", collector.address)), ..Plan::default() };
    let mut cluster = Cluster::start(plan).await;
    let body = json!({ "shipments": [{ "number": NUMBER, "carrier": "sandbox", "ref": "a-reference" }] });
    let traceparent = format!("00-{TRACE}-{CALLER}-01");
    let api = cluster.service("api", 0).api;
    let answered = cluster.post_with(api, "/v1/shipments", &body, &[("traceparent", &traceparent)]).await.unwrap();
    assert_eq!(answered.1["rejected"], json!([]), "{answered:?}");

    let spans = whole_trace(&collector).await;
    // Who sends and who processes, from the call's own topic on.
    let [api, scheduler, fetcher, normalizer] =
        ["api", "scheduler", "fetcher", "normalizer"].map(|role| format!("waybill-{role}"));
    let expected = [&api, &scheduler, &scheduler, &fetcher, &fetcher, &normalizer, &normalizer, &scheduler];
    assert_eq!(walk(&spans).iter().collect::<Vec<_>>(), expected);
    assert_eq!(insert(&spans).service, "waybill-store");
    names_nobody(&collector);
}
