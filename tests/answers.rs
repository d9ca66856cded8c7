//! Answers that cannot be read, and what may not be told of any: numbers, keys and secrets (SEC-1).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a test fails by panicking")]

mod support;

use std::{fs, process::Command};

use serde_json::{Value, json};
use support::{PROGRAM, Waybill, embedded_clickhouse, eventually};
use waybill_carrier_sim::{Config as SimConfig, JourneyMap, Misbehaviour, PlanConfig, Rule, Simulator, wall_now_ms};

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_cannot_be_read_are_unreadable_and_erase_nothing() {
    if !embedded_clickhouse() {
        return;
    }
    let now = wall_now_ms();
    // Forty days ago is the beginning: by now every parcel has its whole history.
    let clock = JourneyMap { anchor_ms: now - 40 * 86_400_000, start_ms: now - 40 * 86_400_000, scale: 1.0 };
    let sim = Simulator::start(SimConfig::new(PlanConfig::new(3, 64, clock))).unwrap();
    let plan = sim.plan();
    let mut parcels: Vec<_> =
        plan.parcels().iter().filter(|parcel| parcel.end == waybill_carrier_sim::End::Delivered).cloned().collect();
    parcels.sort_by_key(|parcel| parcel.carrier);
    parcels.dedup_by_key(|parcel| parcel.carrier);
    let mut carriers = serde_json::Map::new();
    let mut routes = Vec::new();
    for slug in waybill_carrier_sim::carriers() {
        let budget = json!({ "rate_per_second": 50.0, "burst": 50, "concurrency": 8, "min_interval_s": 1 });
        carriers.insert(slug.to_owned(), json!({ "enabled": true, "budget": budget }));
        routes.push(json!({ "carrier": slug, "to": sim.route() }));
    }
    let config = json!({
        "adapters": ["../../loadtest/carriers"], "carriers": carriers,
        "fetcher": { "allow_private": true, "routes": routes }, "telemetry": { "filter": "debug" },
    });
    let dir = tempfile::tempdir().unwrap();
    let mut running = Waybill::start(dir.path(), &config).await;
    let entries: Vec<Value> = parcels
        .iter()
        .map(|parcel| json!({ "carrier": parcel.carrier, "number": parcel.number, "params": parcel.params }))
        .collect();
    let (_, answer) = running.post("/v1/shipments", &json!({ "shipments": entries })).await;
    assert_eq!(answer["rejected"], json!([]), "{answer}");
    let troubles = [
        Misbehaviour::Huge { megabytes: 50 },
        Misbehaviour::InvalidUtf8,
        Misbehaviour::ChangedLayout,
        Misbehaviour::GzipBomb { megabytes: 64 },
        Misbehaviour::Empty,
    ];
    for (parcel, trouble) in parcels.iter().zip(troubles.iter().cycle()) {
        let path = format!("/v1/shipments/{}/{}", parcel.carrier, parcel.number);
        let good = eventually("a first good look", || async {
            let view = running.get(&path).await.1;
            // Shipments and events are stored apart: the last event may be a moment behind.
            let events = view["events"].as_array().map(|all| all.len() as u64);
            let whole = view["shipment"]["event_count"].as_u64() == events;
            (view["shipment"]["last_outcome"]["class"] == "tracked" && whole).then_some(view)
        })
        .await;
        sim.misbehave(Rule::new(*trouble).number(&parcel.number)).unwrap();
        running.post(&format!("{path}/refresh"), &json!({})).await;
        let bad = eventually("an unreadable look", || async {
            let view = running.get(&path).await.1;
            (view["shipment"]["last_outcome"]["class"] == "unreadable").then_some(view)
        })
        .await;
        println!("{:<20} {trouble:?}: {}", parcel.carrier, bad["shipment"]["last_outcome"]["detail"]);
        assert!(bad["shipment"]["last_outcome"]["detail"].is_string(), "{bad}");
        assert_eq!(bad["shipment"]["status"], good["shipment"]["status"], "unreadable leaves the status alone");
        assert_eq!(bad["events"].as_array().map(Vec::len), good["events"].as_array().map(Vec::len), "and the history");
    }
    // What is on its way when a process dies is told of by the next one.
    running.kill();
    running.restart(&["standalone"]).await;
    assert!(running.stop().await.success());
    running.sec_1_logs_hold_none_of(parcels.iter().map(|parcel| &parcel.number));
}

/// Keys and a carrier's secrets, right ones and wrong ones, at an API that asks for them and a carrier that refuses them.
#[tokio::test(flavor = "multi_thread")]
async fn sec_1_keys_and_secrets_are_told_nowhere() {
    if !embedded_clickhouse() {
        return;
    }
    const KEY: &str = "key-of-the-shop-4f0c2d7a91";
    const WRONG_KEY: &str = "key-of-a-stranger-77ab13e0c2";
    const SECRET: &str = "secret-of-the-carrier-5d1e";
    const NUMBER: &str = "9400100000000000000000";
    let now = wall_now_ms();
    let sim = SimConfig::new(PlanConfig::new(1, 0, JourneyMap { anchor_ms: now, start_ms: now, scale: 1.0 }));
    let sim = Simulator::start(sim).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (keys, secret) = (dir.path().join("keys"), dir.path().join("secret"));
    fs::write(&keys, format!("shop {KEY}\n")).unwrap();
    fs::write(&secret, SECRET).unwrap();
    let config = json!({
        "api": { "keys_file": keys },
        "carriers": { "usps": {
            "enabled": true,
            "secrets": { "client_id": { "file": secret }, "client_secret": { "file": secret } },
            "budget": { "rate_per_second": 5.0, "burst": 5, "min_interval_s": 1 },
        } },
        "fetcher": { "allow_private": true, "routes": [{ "carrier": "usps", "to": sim.route() }] },
        "telemetry": { "filter": "debug" },
    });
    let mut running = Waybill::start(dir.path(), &config).await;
    let order = json!({ "shipments": [{ "carrier": "usps", "number": NUMBER }] });
    let bearer = |key: &str| format!("Bearer {key}");
    // The command line asks the process that holds the directory, with its key.
    let track = |key: &str| {
        let mut command = Command::new(PROGRAM);
        command.args(["track", "SANDBOX-DELIVERED-0001", "--carrier", "sandbox", "--data-dir"]).arg(running.data());
        command.env("WAYBILL_API_KEY", key).output().unwrap()
    };
    let refused = track(WRONG_KEY);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("WAYBILL_API_KEY") && !said.contains(WRONG_KEY), "{said}");
    let answered = track(KEY);
    assert!(answered.status.success(), "{}", String::from_utf8_lossy(&answered.stderr));
    assert_eq!(running.post_with("/v1/shipments", &order, &[("authorization", &bearer(WRONG_KEY))]).await.0, 401);
    assert_eq!(running.post(&format!("/v1/shipments?key={WRONG_KEY}"), &order).await.0, 401);
    let (status, answer) = running.post_with("/v1/shipments", &order, &[("authorization", &bearer(KEY))]).await;
    assert_eq!((status, &answer["rejected"]), (200, &json!([])), "{answer}");
    let outcomes = "SELECT class, ifNull(detail, '') AS detail FROM waybill.v_fetch_outcomes WHERE carrier = 'usps'";
    // Whatever hinders the first looks: in the end it was the token, which is asked for with the secrets.
    let told = eventually("the carrier was asked with its secrets", || async {
        let rows = running.sql(outcomes).await;
        let token = |row: &Value| row["detail"].as_str().is_some_and(|detail| detail.contains("token"));
        rows.iter().any(token).then_some(rows)
    })
    .await;
    assert!(running.stop().await.success());
    let private = [KEY, WRONG_KEY, SECRET, NUMBER];
    let told = format!("{told:?}");
    assert!(private.iter().all(|text| !told.contains(text)), "{told}");
    running.sec_1_logs_hold_none_of(private);
}
