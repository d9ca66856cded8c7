//! A carrier that changes its page while the program runs: noticed, told, mended without a restart, and nothing lost.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a test fails by panicking")]

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use support::{Waybill, embedded_clickhouse, eventually};
use waybill_carrier_sim::{
    Config as SimConfig, End, JourneyMap, Misbehaviour, Parcel, PlanConfig, Rule, Simulator, wall_now_ms,
};

const CARRIER: &str = "aurora-post";
const PATH: &str = "/v1/carriers/aurora-post";

/// What somebody who looked at the new page would add to the adapter.
const NEW_READER: &str = "
  - name: cards
    shape: html
    accept: {has: x-parcel}
    order: oldest_first
    times: {formats: ['%d %b %Y, %H:%M']}
    tables:
      - rows: x-step
        time: {attr: when}
        text: h4
        location: {attr: where}
";

/// Overlay folders with the simulated carrier, its own adapter and a reader that is added to it.
struct Overlay(PathBuf);

impl Overlay {
    fn new(dir: &Path, name: &str) -> Self {
        let folder = dir.join(name).join("carriers");
        let carrier = folder.join(CARRIER);
        fs::create_dir_all(&carrier).unwrap();
        let source = Path::new("../../loadtest/carriers").join(CARRIER);
        for file in ["adapter.yaml", "mapping.yaml"] {
            fs::copy(source.join(file), carrier.join(file)).unwrap();
        }
        Self(folder)
    }

    fn adapter(&self) -> PathBuf {
        self.0.join(CARRIER).join("adapter.yaml")
    }

    fn change(&self, change: impl FnOnce(String) -> String) {
        let text = change(fs::read_to_string(self.adapter()).unwrap());
        // In one step, as a ConfigMap changes: whoever follows the file must not meet a half of it.
        let next = self.0.with_file_name("next.yaml");
        fs::write(&next, text).unwrap();
        fs::rename(next, self.adapter()).unwrap();
    }
}

/// Parcels that are on their way and show the same events for the next while.
fn simulator() -> (Simulator, Vec<Parcel>) {
    const MINUTE: i64 = 60_000;
    let now = wall_now_ms();
    let anchor = now - 9 * 86_400_000;
    let clock = JourneyMap { anchor_ms: anchor, start_ms: anchor, scale: 1.0 };
    let sim = Simulator::start(SimConfig::new(PlanConfig::new(5, 1_500, clock))).unwrap();
    let plan = sim.plan();
    let on_its_way = |parcel: &&Parcel| {
        let appears: Vec<i64> = plan.journey(parcel).happenings.iter().map(|one| one.appears_ms).collect();
        let begun = appears.iter().filter(|at| **at < now - 5 * MINUTE).count() >= 2;
        let quiet = !appears.iter().any(|at| (now - 5 * MINUTE..now + 30 * MINUTE).contains(at));
        begun && quiet && appears.last().is_some_and(|last| *last > now)
    };
    let readable =
        |parcel: &&Parcel| parcel.carrier == CARRIER && !parcel.page_changes && parcel.end != End::Unreadable;
    let parcels = plan.parcels().iter().filter(readable).filter(on_its_way).take(40).cloned().collect::<Vec<_>>();
    assert!(parcels.len() >= 15, "{} parcels", parcels.len());
    (sim, parcels)
}

fn config(sim: &Simulator, overlay: &Overlay, own: Value) -> Value {
    let budget =
        json!({ "rate_per_second": 50.0, "burst": 50, "concurrency": 8, "min_interval_s": 1, "max_interval_s": 2 });
    let mut carrier = json!({ "enabled": true, "budget": budget });
    support::merge(&mut carrier, &own);
    json!({
        "adapters": [overlay.0], "carriers": { CARRIER: carrier },
        "fetcher": { "allow_private": true, "routes": [{ "carrier": CARRIER, "to": sim.route() }] },
        "telemetry": { "filter": "info" },
    })
}

async fn register(waybill: &Waybill, parcels: &[Parcel]) {
    let entries: Vec<Value> =
        parcels.iter().map(|parcel| json!({ "carrier": CARRIER, "number": parcel.number })).collect();
    let (_, answer) = waybill.post("/v1/shipments", &json!({ "shipments": entries })).await;
    assert_eq!(answer["rejected"], json!([]), "{answer}");
    let all = parcels.len() as u64;
    eventually("every number's first look", || async {
        (waybill.sql_number("SELECT count() FROM waybill.v_shipments WHERE event_count > 0").await == all).then_some(())
    })
    .await;
    // Shipments and events are stored apart: the last events may be a moment behind.
    eventually("every event of these looks", || async {
        let counted = waybill.sql_number("SELECT sum(event_count) FROM waybill.v_shipments").await;
        (waybill.sql_number(EVENTS).await == counted).then_some(())
    })
    .await;
}

async fn carrier(waybill: &Waybill, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let found = async || {
        let shown = waybill.get(PATH).await.1;
        is(&shown).then_some(shown)
    };
    eventually(what, found).await
}

async fn metric(waybill: &Waybill, name: &str, labels: [&str; 2]) -> Option<String> {
    let metrics = waybill.metrics().await;
    let line = metrics.lines().find(|line| line.starts_with(name) && labels.iter().all(|label| line.contains(label)));
    line.and_then(|line| line.rsplit(' ').next()).map(str::to_owned)
}

const EVENTS: &str = "SELECT count() FROM waybill.v_events";
const DENIED: &str = "SELECT count() FROM waybill.v_fetch_outcomes WHERE class = 'not_found'";

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_page_is_noticed_and_mended_while_running() {
    if !embedded_clickhouse() {
        return;
    }
    let (sim, parcels) = simulator();
    let dir = tempfile::tempdir().unwrap();
    let overlay = Overlay::new(dir.path(), "in-force");
    let mut waybill = Waybill::start(dir.path(), &config(&sim, &overlay, json!({}))).await;
    register(&waybill, &parcels).await;
    let before =
        carrier(&waybill, "a fitting adapter", |shown| shown["drift"]["stable"]["looks"].as_u64() > Some(20)).await;
    assert_eq!(before["degraded"], Value::Null, "{before}");
    let (events, denied) = (waybill.sql_number(EVENTS).await, waybill.sql_number(DENIED).await);

    // The carrier's new page.
    sim.misbehave(Rule::new(Misbehaviour::ChangedLayout).carrier(CARRIER)).unwrap();
    let unreadable = |shown: &Value| shown["degraded"]["reasons"] == json!(["unreadable"]);
    let degraded = carrier(&waybill, "the alarm", unreadable).await;
    println!("drift: {}", degraded["drift"]["stable"]);
    let labels = ["carrier=\"aurora-post\"", "reason=\"unreadable\""];
    assert_eq!(metric(&waybill, "waybill_carrier_degraded", labels).await.as_deref(), Some("1"));
    assert_eq!(waybill.log().matches("scheduler.carrier_degraded").count(), 1, "one event in the log for each change");

    // A restart forgets nothing.
    assert!(waybill.stop().await.success(), "{}", waybill.log());
    waybill.restart(&["standalone"]).await;
    let still = carrier(&waybill, "the alarm after a restart", unreadable).await;
    assert_eq!(still["degraded"], degraded["degraded"]);

    // A mistake while mending it: refused with its place, the version in force stays.
    let version = still["adapter"]["version"].clone();
    overlay.change(|text| text.replace("order: newest_first", "ordr: newest_first"));
    let refused = carrier(&waybill, "the refusal", |shown| shown["adapter"]["refused"].is_object()).await;
    assert_eq!(refused["adapter"]["version"], version);
    assert!(refused["adapter"]["refused"]["file"].as_str().unwrap().ends_with("adapter.yaml"), "{refused}");
    assert!(refused["adapter"]["refused"]["line"].is_u64(), "{refused}");
    assert!(waybill.log().contains("adapters.refused"));

    // The fix.
    overlay.change(|text| text.replace("ordr: newest_first", "order: newest_first") + NEW_READER);
    let mended = carrier(&waybill, "the end of the alarm", |shown| {
        shown["adapter"]["version"] != version
            && shown["degraded"].is_null()
            && shown["drift"]["stable"]["version"] != version
    })
    .await;
    assert_eq!(mended["adapter"]["refused"], Value::Null);
    assert_eq!(mended["drift"]["stable"]["version"], mended["adapter"]["version"]);
    assert_eq!(metric(&waybill, "waybill_carrier_degraded", labels).await.as_deref(), Some("0"));
    assert!(waybill.log().contains("scheduler.carrier_recovered"));

    // Nothing lost, nothing doubled, and an unreadable page was never "no such parcel".
    eventually("every number is read again", || async {
        let unread = "SELECT count() FROM waybill.v_shipments WHERE tracking = 'active' AND last_outcome_class != 'tracked' \
                      AND last_outcome_class != 'registered_no_scan'";
        (waybill.sql_number(unread).await == 0).then_some(())
    })
    .await;
    assert_eq!(waybill.sql_number(EVENTS).await, events, "the new page shows the same events");
    assert_eq!(waybill.sql_number(DENIED).await, denied, "unreadable is never not_found");
    let violated = |line: &&str| line.starts_with("waybill_promise_violations_total") && !line.ends_with(" 0");
    assert_eq!(waybill.metrics().await.lines().find(violated), None, "{}", waybill.log());
    assert!(waybill.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worse_candidate_is_stopped_and_a_better_one_can_be_promoted() {
    if !embedded_clickhouse() {
        return;
    }
    let (sim, parcels) = simulator();
    let dir = tempfile::tempdir().unwrap();
    let overlay = Overlay::new(dir.path(), "in-force");
    let candidate = Overlay::new(dir.path(), "candidate");
    // It would not find the rows.
    candidate.change(|text| text.replace("rows: table#history tbody tr", "rows: table#story tbody tr"));
    let canary = json!({ "canary": { "adapters": candidate.0, "share": 0.5 } });
    let mut waybill = Waybill::start(dir.path(), &config(&sim, &overlay, canary)).await;
    register(&waybill, &parcels).await;
    let events = waybill.sql_number(EVENTS).await;

    let stopped = carrier(&waybill, "the stop of the trial", |shown| shown["canary"]["stopped"].is_object()).await;
    assert_eq!(stopped["canary"]["verdict"], "worse", "{stopped}");
    assert_eq!(stopped["degraded"], Value::Null, "a shadow degrades nobody");
    assert!(waybill.log().contains("scheduler.candidate_stopped"));
    assert_eq!(waybill.sql_number(EVENTS).await, events, "nothing of a shadow is published");
    let looks = |of: &Value| of["looks"].as_u64().unwrap();
    assert!(looks(&stopped["canary"]) < looks(&stopped["drift"]["stable"]), "only a share of the numbers is tried");

    // Another candidate begins anew; the carrier's page changes, and only the candidate can read it.
    candidate.change(|text| text.replace("table#story", "table#history") + NEW_READER);
    let fresh = carrier(&waybill, "the new candidate", |shown| {
        shown["canary"]["version"] != stopped["canary"]["version"] && shown["canary"]["verdict"] == "same"
    })
    .await;
    sim.misbehave(Rule::new(Misbehaviour::ChangedLayout).carrier(CARRIER)).unwrap();
    let better = carrier(&waybill, "a better candidate", |shown| shown["canary"]["verdict"] == "better").await;
    assert!(
        better["canary"]["control_shares"]["unreadable"].as_f64() > better["canary"]["shares"]["unreadable"].as_f64()
    );

    let wrong = json!({ "canary": { "promote": "0123" } });
    assert_eq!(waybill.patch(PATH, &wrong).await.0, 422);
    let promote = json!({ "canary": { "promote": fresh["canary"]["version"] } });
    assert_eq!(waybill.patch(PATH, &promote).await.0, 202);
    let promoted = carrier(&waybill, "the promoted version at work", |shown| {
        shown["drift"]["stable"]["version"] == fresh["canary"]["version"] && shown["degraded"].is_null()
    })
    .await;
    assert_eq!(promoted["canary"]["promoted"], json!(true));
    assert_eq!(waybill.sql_number(EVENTS).await, events);
    assert!(waybill.stop().await.success(), "{}", waybill.log());
}
