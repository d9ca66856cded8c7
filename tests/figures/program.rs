//! The whole program, as its users meet it: `waybill standalone` from its start to ready, and a number from its
//! registration to its first result at the API, on an idle budget. Readiness is asked every 50 ms, results every 5 ms. With
//! at most a hundred numbers, the 99th percentile is close to the slowest of them.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    report::{Name, Report, timed},
    support::Waybill,
};

/// What is measured here.
pub(crate) const FIGURES: [Name; 5] = [
    ("standalone_first_start_to_ready", "ms"),
    ("standalone_warm_start_to_ready", "ms"),
    ("registered_to_first_result_p50", "ms"),
    ("registered_to_first_result_p99", "ms"),
    ("registration_answered_p50", "ms"),
];
const STARTS: usize = 3;
/// Numbers registered one after the other …
const NUMBERS: usize = 100;
/// … until so much time has passed.
const MOST: Duration = Duration::from_secs(75);

/// Measures what is wanted.
pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    if !report.wants_any(&FIGURES) {
        return Ok(());
    }
    if let Err(error) = waybill_clickhouse::library::locate_library(None) {
        report.skip(&FIGURES, &error.to_string());
        return Ok(());
    }
    let (starts, results) = FIGURES.split_at(2);
    let config = json!({ "telemetry": { "filter": "warn" } });
    if report.wants_any(starts) {
        let (mut first, mut warm) = (Vec::new(), Vec::new());
        for _ in 0..STARTS {
            let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
            let (seconds, mut waybill) = timed(Waybill::start(folder.path(), &config)).await;
            first.push(seconds * 1e3);
            ensure!(waybill.stop().await.success(), "it does not end well:\n{}", waybill.log());
            let (seconds, ()) = timed(waybill.restart(&["standalone"])).await;
            warm.push(seconds * 1e3);
            ensure!(waybill.stop().await.success(), "it does not end well:\n{}", waybill.log());
        }
        report.put("standalone_first_start_to_ready", first)?;
        report.put("standalone_warm_start_to_ready", warm)?;
    }
    if report.wants_any(results) {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let mut waybill = Waybill::start(folder.path(), &config).await;
        first_results(report, &waybill).await?;
        ensure!(waybill.stop().await.success(), "it does not end well:\n{}", waybill.log());
    }
    Ok(())
}

async fn first_results(report: &mut Report, waybill: &Waybill) -> Result<()> {
    let (mut answered, mut results) = (Vec::new(), Vec::new());
    // The first look of all pays for connections and caches; it is the start's and not the budget's.
    first_result(waybill, "SANDBOX-DELIVERED-WARM").await?;
    let began = Instant::now();
    for n in 0..NUMBERS {
        let (registered, result) = first_result(waybill, &format!("SANDBOX-DELIVERED-{n:04}")).await?;
        answered.push(registered * 1e3);
        results.push(result * 1e3);
        if began.elapsed() > MOST {
            break;
        }
    }
    report.put_quantile("registered_to_first_result_p50", results.clone(), 0.5)?;
    report.put_quantile("registered_to_first_result_p99", results, 0.99)?;
    report.put_quantile("registration_answered_p50", answered, 0.5)
}

/// Seconds from sending a registration to its answer, and to the first answer that shows the shipment.
async fn first_result(waybill: &Waybill, number: &str) -> Result<(f64, f64)> {
    const PATIENCE: Duration = Duration::from_secs(30);
    let body = json!({ "shipments": [{ "number": number, "carrier": "sandbox" }] });
    let began = Instant::now();
    let (status, answer) = waybill.post("/v1/shipments", &body).await;
    let registered = began.elapsed().as_secs_f64();
    if status != 200 || answer["accepted"].as_array().is_none_or(Vec::is_empty) {
        bail!("a registration is answered {status}: {answer}");
    }
    let path = format!("/v1/shipments/sandbox/{number}");
    loop {
        let view: Value = waybill.get(&path).await.1;
        if view["shipment"].is_object() {
            return Ok((registered, began.elapsed().as_secs_f64()));
        }
        ensure!(began.elapsed() < PATIENCE, "there is no result within {PATIENCE:?}: {view}");
        sleep(Duration::from_millis(5)).await;
    }
}
