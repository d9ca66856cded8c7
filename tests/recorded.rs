//! Real carriers' recorded answers through the whole pipeline: simulator → fetcher → normalizer → topics → ClickHouse →
//! API, compared with what each must come to. One round per source, because a carrier's sources ask in different steps.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a test fails by panicking")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::{Map, Value, json};
use support::{Waybill, embedded_clickhouse, eventually};
use waybill_adapters::{
    Adapter, Catalog, Source, SourceKind,
    recorded::{Case, Seen, SeenEvent, cases},
};
use waybill_carrier_sim::{Config as SimConfig, JourneyMap, PlanConfig, Replay, Simulator, wall_now_ms};
use waybill_schemas::TrackingNumber;

fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("WAYBILL_RECORDED").map(PathBuf::from);
    assert!(
        folder.is_some() || std::env::var_os("CI").is_none(),
        "in CI, WAYBILL_RECORDED must name the recorded answers"
    );
    if folder.is_none() {
        println!("skipped: WAYBILL_RECORDED does not name the folder of recorded answers");
    }
    folder
}

/// The sources whose steps are the roles of a case's answers; retired ones too, whose answers must stay readable.
fn sources_for<'a>(adapter: &'a Adapter, case: &Case) -> Vec<&'a Source> {
    let roles: Vec<&str> = case.bodies.iter().map(|body| body.role.as_str()).collect();
    let fits = |source: &&Source| {
        let steps: Vec<&str> = source.steps.iter().map(|step| step.name.as_str()).collect();
        steps == roles
    };
    adapter.sources.iter().filter(fits).collect()
}

/// What one round asks: per carrier a source and its cases.
type Round = BTreeMap<String, (String, Vec<Case>)>;

fn rounds(catalog: &Catalog, all: Vec<Case>) -> Vec<Round> {
    let mut rounds: Vec<Round> = Vec::new();
    let mut unfit = Vec::new();
    for case in all {
        let Some(adapter) = case.carrier.parse().ok().and_then(|slug| catalog.get(&slug)) else { continue };
        let sources = sources_for(&adapter, &case);
        let Some(source) = sources.first() else {
            unfit.push(case.id.clone());
            continue;
        };
        let free = |round: &Round| match round.get(&case.carrier) {
            None => true,
            Some((name, cases)) => *name == source.name && cases.iter().all(|other| other.number != case.number),
        };
        let place = rounds.iter().position(free).unwrap_or_else(|| {
            rounds.push(Round::new());
            rounds.len() - 1
        });
        let entry = rounds[place].entry(case.carrier.clone()).or_insert_with(|| (source.name.clone(), Vec::new()));
        entry.1.push(case);
    }
    assert!(unfit.is_empty(), "no source asks in the steps of these cases: {unfit:?}");
    rounds
}

const SECRET: &str = "for-tests-only";

/// Every carrier of a round switched on, routed to the simulator, with its secrets and a budget that does not wait.
fn config(catalog: &Catalog, round: &Round, route: &str, dir: &Path) -> Value {
    let secret = dir.join("secret");
    fs::write(&secret, SECRET).unwrap();
    let mut carriers = Map::new();
    let mut routes = Vec::new();
    for (slug, (source, _)) in round {
        let adapter = adapter_of(catalog, slug);
        let secrets: Map<String, Value> = adapter
            .source(source)
            .map(|source| source.secrets.iter().map(|name| (name.clone(), json!({ "file": secret }))).collect())
            .unwrap_or_default();
        let budget = json!({ "rate_per_second": 50.0, "burst": 50, "concurrency": 8, "min_interval_s": 1 });
        carriers
            .insert(slug.clone(), json!({ "enabled": true, "source": source, "budget": budget, "secrets": secrets }));
        routes.push(json!({ "carrier": slug, "to": route }));
    }
    json!({ "carriers": carriers, "fetcher": { "allow_private": true, "routes": routes }, "telemetry": { "filter": "debug" } })
}

fn adapter_of(catalog: &Catalog, slug: &str) -> Arc<Adapter> {
    catalog.get(&slug.parse().unwrap()).unwrap()
}

async fn run_round(catalog: &Catalog, folder: &Path, round: &Round) -> Vec<String> {
    let now = wall_now_ms();
    let clock = JourneyMap { anchor_ms: now, start_ms: now, scale: 1.0 };
    let mut sim = SimConfig::new(PlanConfig::new(1, 0, clock));
    sim.replay = Replay::load(folder, &folder.join("expected.jsonl"), None).unwrap();
    let sim = Simulator::start(sim).unwrap();

    let dir = tempfile::tempdir().unwrap();
    let waybill = Waybill::start(dir.path(), &config(catalog, round, &sim.route(), dir.path())).await;
    let mut entries = Vec::new();
    for (slug, (source, cases)) in round {
        let adapter = adapter_of(catalog, slug);
        let needs: BTreeSet<&String> =
            adapter.needs.iter().chain(adapter.source(source).into_iter().flat_map(|source| &source.needs)).collect();
        let params: Map<String, Value> = needs.into_iter().map(|name| (name.clone(), json!("12345"))).collect();
        entries.extend(cases.iter().map(|case| json!({ "carrier": slug, "number": case.number, "params": params })));
    }
    let (status, answer) = waybill.post("/v1/shipments", &json!({ "shipments": entries })).await;
    assert_eq!((status, &answer["rejected"]), (200, &json!([])), "{answer}");

    let mut wrong = Vec::new();
    for (slug, (_, cases)) in round {
        let adapter = adapter_of(catalog, slug);
        for case in cases {
            let number = TrackingNumber::canonical(&case.number, adapter.hyphens).unwrap();
            let asked = format!(
                "SELECT toString(class) AS class, detail FROM waybill.v_fetch_outcomes WHERE carrier = '{slug}' AND number = '{number}'"
            );
            let looked = eventually(&format!("an outcome of {}", case.id), || async {
                let (status, view) = waybill.get(&format!("/v1/shipments/{slug}/{number}")).await;
                assert_eq!(status, 200, "{slug}: {view}");
                let events = view["events"].as_array().map_or(0, Vec::len);
                let counted = view["shipment"]["event_count"].as_u64() == Some(events as u64);
                if view["shipment"].is_object() && counted {
                    return Some(Ok(view));
                }
                // A look that brought no reading leaves no shipment; say how it ended instead of waiting.
                let failed = waybill.sql(&asked).await.into_iter().find(|row| {
                    !["tracked", "not_found", "registered_no_scan", "deferred"]
                        .contains(&row["class"].as_str().unwrap_or_default())
                });
                failed.map(Err)
            })
            .await;
            let view = match looked {
                Ok(view) => view,
                Err(outcome) => {
                    wrong.push(format!("{}: {outcome}", case.id));
                    continue;
                }
            };
            for difference in case.differences(&seen(&view)) {
                wrong.push(format!("{}: {difference}", case.id));
            }
        }
    }
    let violated = |line: &&str| line.starts_with("waybill_promise_violations_total") && !line.ends_with(" 0");
    let metrics = waybill.metrics().await;
    assert_eq!(metrics.lines().find(violated), None, "a promise was violated:\n{}", waybill.log());
    let numbers = round.values().flat_map(|(_, cases)| cases.iter().map(|case| case.number.as_str()));
    // Shorter ones are also parts of other words: times, addresses, offsets.
    waybill.sec_1_logs_hold_none_of(numbers.filter(|number| number.len() > 7).chain([SECRET]));
    wrong
}

fn seen(view: &Value) -> Seen {
    let shipment = &view["shipment"];
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let event = |event: &Value| SeenEvent {
        time_raw: text(&event["time_raw"]).unwrap_or_default(),
        time: text(&event["time"]),
        text: text(&event["text"]).unwrap_or_default(),
        location: text(&event["location"]),
    };
    let events = view["events"].as_array().cloned().unwrap_or_default();
    Seen {
        outcome: text(&shipment["last_outcome"]["class"]).unwrap_or_default(),
        status: text(&shipment["status"]),
        sub_status: text(&shipment["sub_status"]),
        event_count: events.len(),
        newest: events.first().map(event),
        oldest: events.last().map(event),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nrm_1_sec_1_recorded_answers_come_out_of_the_whole_pipeline_as_expected() {
    let Some(folder) = folder() else { return };
    if !embedded_clickhouse() {
        return;
    }
    let catalog = Catalog::embedded().unwrap();
    let all = cases(&folder).unwrap();
    let total = all.len();
    let rounds = rounds(&catalog, all);
    let mut ran = 0;
    let mut carriers = BTreeSet::new();
    let mut wrong = Vec::new();
    for round in &rounds {
        ran += round.values().map(|(_, cases)| cases.len()).sum::<usize>();
        carriers.extend(round.keys().cloned());
        let builtin =
            |slug: &String| adapter_of(&catalog, slug).sources.iter().all(|source| source.kind == SourceKind::Builtin);
        assert!(!round.keys().any(builtin));
        wrong.extend(run_round(&catalog, &folder, round).await);
    }
    println!(
        "recorded: {ran} of {total} cases of {} carriers in {} rounds through the whole pipeline",
        carriers.len(),
        rounds.len()
    );
    assert!(carriers.len() >= 10, "ten carriers or more: {carriers:?}");
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}
