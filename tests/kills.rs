//! kill -9 of the whole standalone process, five times in the middle, against the simulator's ledger.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "reads what its own program answers")]

mod support;

use std::{collections::BTreeMap, fs, process::Command, time::Duration};

use serde_json::{Value, json};
use support::{PATIENCE, PROGRAM, Waybill, embedded_clickhouse, eventually};
use tokio::time::{Instant, sleep};

const ARGS: [&str; 2] = ["standalone", "--demo"];

type Event = (String, String, String);

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// What the simulator has shown, a parcel each.
async fn truth(sim: &str, http: &reqwest::Client) -> Vec<Value> {
    let answer = http.get(format!("{sim}/_sim/truth")).send().await.expect("the simulator answers");
    let lines = answer.text().await.expect("text");
    lines.lines().map(|line| serde_json::from_str(line).expect("a parcel a line")).collect()
}

/// The events of each number; equal ones are separate events, so they are kept as sorted lists.
type Histories = BTreeMap<(String, String), Vec<Event>>;

fn shown(parcels: &[Value]) -> Histories {
    let history = |parcel: &Value| {
        let events = parcel["events"].as_array().expect("events").iter();
        let mut events: Vec<Event> = events.map(event_of).collect();
        events.sort();
        ((text(&parcel["carrier"]), text(&parcel["number"])), events)
    };
    parcels.iter().map(history).filter(|(_, events)| !events.is_empty()).collect()
}

fn event_of(value: &Value) -> Event {
    (text(&value["time_raw"]), text(&value["text"]), text(&value["location"]))
}

async fn stored(waybill: &Waybill) -> Histories {
    let sql = "SELECT toString(carrier) AS carrier, number, time_raw, text, ifNull(location, '') AS location FROM waybill.v_events";
    let mut all = Histories::new();
    for row in waybill.sql(sql).await {
        all.entry((text(&row["carrier"]), text(&row["number"]))).or_default().push(event_of(&row));
    }
    all.values_mut().for_each(|events| events.sort());
    all
}

/// Parcels whose shipment is not at the end that the carrier has shown.
async fn wrong_ends(waybill: &Waybill, parcels: &[Value]) -> Vec<String> {
    let ends: BTreeMap<(String, String), String> = waybill
        .sql("SELECT toString(carrier) AS carrier, number, toString(sub_status) AS sub_status FROM waybill.v_shipments")
        .await
        .iter()
        .map(|row| ((text(&row["carrier"]), text(&row["number"])), text(&row["sub_status"])))
        .collect();
    parcels
        .iter()
        .filter(|parcel| parcel["sub_status"].is_string())
        .filter_map(|parcel| {
            let key = (text(&parcel["carrier"]), text(&parcel["number"]));
            let found = ends.get(&key).cloned().unwrap_or_default();
            (found != text(&parcel["sub_status"]))
                .then(|| format!("{key:?}: {found} instead of {}", parcel["sub_status"]))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn sch_1_pol_1_sto_1_sec_1_five_kills_lose_nothing_double_nothing_and_stay_polite() {
    if !embedded_clickhouse() {
        return;
    }
    let parcels = 300;
    let dir = tempfile::tempdir().unwrap();
    let config = json!({
        "demo": { "parcels": parcels, "catch_up_s": 100, "seed": 7 },
        "telemetry": { "filter": "debug" },
    });
    let mut waybill = Waybill::start_with(dir.path(), &config, &ARGS).await;
    for pause in [3, 7, 5, 11, 8] {
        sleep(Duration::from_secs(pause)).await;
        waybill.kill();
        waybill.restart(&ARGS).await;
    }

    let http = support::http_client();
    let sim = waybill.simulator().to_owned();
    eventually("no registered number is lost", || async {
        (waybill.sql_number("SELECT count() FROM waybill.v_registrations").await == parcels).then_some(())
    })
    .await;

    // Every parcel that can be read reaches its end, and the views show what the simulator showed.
    let parcels_shown = eventually("every parcel has shown its end", || async {
        let all = truth(&sim, &http).await;
        let open = all.iter().filter(|parcel| parcel["sub_status"].is_string() && parcel["end_shown"] != json!(true));
        (open.count() == 0).then_some(all)
    })
    .await;
    eventually("the views equal the ledger", || async {
        // What the last answers brought may still be on its way, and new answers come in.
        let ledger = shown(&truth(&sim, &http).await);
        (stored(&waybill).await == ledger).then_some(())
    })
    .await;
    // Shipments come by another table than events, a little later.
    let began = Instant::now();
    loop {
        let wrong = wrong_ends(&waybill, &parcels_shown).await;
        if wrong.is_empty() {
            break;
        }
        let count = wrong.len();
        assert!(began.elapsed() < PATIENCE, "{count} parcels stand elsewhere than at their end: {wrong:#?}");
        sleep(Duration::from_millis(500)).await;
    }

    let rows = waybill.sql_number("SELECT count() FROM waybill.v_events").await;
    // In one question: a scan that is handed in late may still come.
    let double = waybill.sql_number("SELECT count() - uniqExact(event_id, version) FROM waybill.v_events").await;
    assert_eq!(double, 0, "each (event_id, version) once in the views");
    let base = waybill.sql_number("SELECT count() FROM waybill.tracking_events").await;
    println!("kills: {parcels} numbers, {rows} events in the views, {base} rows in the base table");

    let lines = waybill.log();
    assert!(!lines.contains("promise.violated"), "{lines}");
    assert!(waybill.stop().await.success(), "the demo ends with a budget exceeded:\n{}", waybill.log());
    let log = waybill.log();
    let verdict = log.lines().rfind(|line| line.starts_with("politeness:")).unwrap_or_default();
    println!("kills: {verdict}");
    assert!(verdict.contains(" 0 over budget"), "{log}");
    waybill.sec_1_logs_hold_none_of(parcels_shown.iter().map(|parcel| text(&parcel["number"])));
}

#[test]
fn a_demo_with_an_end_ends_by_itself_with_the_verdict_last() {
    if !embedded_clickhouse() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let free = json!({ "listen": "127.0.0.1:0" });
    let config = json!({ "api": free, "admin": free, "clickhouse": free, "demo": { "parcels": 50, "catch_up_s": 60 } });
    let file = dir.path().join("waybill.yaml");
    fs::write(&file, config.to_string()).unwrap();
    let mut command = Command::new(PROGRAM);
    command.args(ARGS).args(["--for", "5s", "--data-dir"]).arg(dir.path().join("data")).arg("--config").arg(&file);
    let output = command.output().expect("the program starts");
    let (said, logged) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{said}\n{logged}", output.status);
    let last = said.lines().next_back().unwrap_or_default();
    assert!(last.starts_with("politeness: ") && last.contains(" 0 over budget"), "{said}");
}
