//! The sandbox carrier through the whole pipeline, and the interface around it, as an integrator meets them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a test fails by panicking")]

mod support;

use serde_json::json;
use support::{Waybill, embedded_clickhouse, eventually};
use tokio::time::Instant;

/// A number on its way for good.
const WALKS_ON: &str = "SANDBOX-INTRANSIT-0003";
/// A number whose second step comes fifty seconds after its first, however slow the machine is that looks.
const BEGINS: &str = "SANDBOX-INTRANSIT_PICKEDUP-0002";

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_number_walks_to_its_status_and_the_interface_holds() {
    if !embedded_clickhouse() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let config = json!({ "telemetry": { "filter": "info" } });
    let mut waybill = Waybill::start(dir.path(), &config).await;

    let register = |number: &str, reference: &str| json!({ "shipments": [{ "number": number, "carrier": "sandbox", "ref": reference }] });
    let began = Instant::now();
    let (status, answer) = waybill.post("/v1/shipments", &register("SANDBOX-DELIVERED-0001", "order-1")).await;
    assert_eq!(status, 200);
    assert_eq!(answer["accepted"][0]["existing"], json!(false), "{answer}");
    let (status, view) = waybill.get("/v1/shipments/sandbox/SANDBOX-DELIVERED-0001").await;
    assert_eq!(status, 200, "accepted is never 404: {view}");
    let first = eventually("a first result", || async {
        let view = waybill.get("/v1/shipments/sandbox/SANDBOX-DELIVERED-0001").await.1;
        view["shipment"].is_object().then_some(view)
    })
    .await;
    println!("sandbox: registered to first result at the API {} ms", began.elapsed().as_millis());
    assert_eq!(first["shipment"]["ref"], "order-1");
    assert!(first["next"]["why"]["text"].is_string(), "every number can answer why: {first}");

    let (_, again) = waybill.post("/v1/shipments", &register("sandbox-delivered-0001", "order-2")).await;
    assert_eq!(again["accepted"][0]["existing"], json!(true), "{again}");

    let delivered = eventually("the sandbox delivers", || async {
        let view = waybill.get("/v1/shipments/sandbox/SANDBOX-DELIVERED-0001").await.1;
        // Shipments and events are stored apart: the last event may be a moment behind.
        let whole = view["shipment"]["event_count"].as_u64() == view["events"].as_array().map(|all| all.len() as u64);
        (view["shipment"]["status"] == "Delivered" && whole).then_some(view)
    })
    .await;
    println!("sandbox: delivered after {} s", began.elapsed().as_secs());
    let events = delivered["events"].as_array().unwrap();
    assert_eq!(delivered["shipment"]["event_count"], json!(events.len()));
    assert!(delivered["shipment"]["milestones"]["Delivered"].is_object(), "{delivered}");

    let (status, refreshed) = waybill.post("/v1/shipments/sandbox/SANDBOX-DELIVERED-0001/refresh", &json!({})).await;
    assert_eq!(status, 202, "{refreshed}");
    let (_, list) = waybill.get("/v1/shipments?status=Delivered&carrier=sandbox").await;
    assert_eq!(list["shipments"].as_array().map(Vec::len), Some(1), "{list}");
    // A number that does not arrive: nothing but an order stops it, so what is published then stays to be seen.
    let (_, answer) = waybill.post("/v1/shipments", &register(WALKS_ON, "order-3")).await;
    assert_eq!(answer["rejected"], json!([]), "{answer}");
    let path = format!("/v1/shipments/sandbox/{WALKS_ON}");
    let tracking = async |what: &str, wanted: &str| {
        let is = async || (waybill.get(&path).await.1["shipment"]["tracking"] == wanted).then_some(());
        eventually(what, is).await;
    };
    tracking("its first look", "active").await;
    let (status, stopped) = waybill.post(&format!("{path}/stop"), &json!({})).await;
    assert_eq!(status, 202, "{stopped}");
    tracking("the stop is published", "stopped").await;

    let (status, carriers) = waybill.get("/v1/carriers").await;
    assert_eq!(status, 200);
    let sandbox = carriers["carriers"].as_array().unwrap().iter().find(|carrier| carrier["slug"] == "sandbox").cloned();
    assert_eq!(sandbox.expect("listed")["enabled"], json!(true));

    // Resuming is published like stopping.
    let (status, resumed) = waybill.post(&format!("{path}/resume"), &json!({})).await;
    assert_eq!(status, 202, "{resumed}");
    tracking("the resumption is published", "active").await;

    // What `helm test` runs, here without topics that another process could read.
    let smoke = std::process::Command::new(support::PROGRAM).args(["smoke", "--api", waybill.api()]).output().unwrap();
    let said = String::from_utf8_lossy(&smoke.stdout);
    assert!(smoke.status.success() && said.contains("the API shows the first event"), "{said}");
    // The command line asks the process that holds the directory, and looks for itself when nobody does.
    let asked = track(&waybill.data(), "SANDBOX-DELIVERED-0001");
    assert_eq!((&asked["status"], &asked["outcome"]), (&json!("Delivered"), &json!("tracked")), "{asked}");
    assert!(waybill.stop().await.success(), "{}", waybill.log());
    let alone = track(&waybill.data(), BEGINS);
    assert_eq!(alone["status"], "InfoReceived", "a parcel that nobody knew begins its walk: {alone}");

    // Restarting keeps everything.
    waybill.restart(&["standalone"]).await;
    let (status, kept) = waybill.get("/v1/shipments/sandbox/SANDBOX-DELIVERED-0001").await;
    assert_eq!((status, &kept["shipment"]["status"]), (200, &json!("Delivered")), "{kept}");
    assert!(waybill.stop().await.success());
    waybill.sec_1_logs_hold_none_of(["SANDBOX-DELIVERED-0001", WALKS_ON, BEGINS]);
}

/// `waybill track NUMBER --carrier sandbox --json` on a data directory.
fn track(data: &std::path::Path, number: &str) -> serde_json::Value {
    let mut command = std::process::Command::new(support::PROGRAM);
    command.args(["track", number, "--carrier", "sandbox", "--json", "--data-dir"]).arg(data);
    let output = command.output().expect("the program starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}
