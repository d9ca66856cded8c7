//! Whose a number is: told by its form, and where that leaves doubt, settled by asking, without publishing anything.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a test fails by panicking")]

mod support;

use std::{fs, path::Path};

use serde_json::{Value, json};
use support::{Waybill, embedded_clickhouse, eventually};
use waybill_carrier_sim::{Config as SimConfig, End, JourneyMap, Parcel, PlanConfig, Simulator, wall_now_ms};

/// The carrier whose numbers are tried, and another that claims the same form.
const OWNER: &str = "aurora-post";
const OTHER: &str = "bluebird-express";
/// A carrier whose page wants more than the number.
const NEEDY: &str = "needy-post";

/// Overlay folders of both simulated carriers; the other one's form fits the owner's numbers too. Beside them one that is the
/// owner in all but its name, its numbers, and what it needs.
fn overlay(dir: &Path) -> std::path::PathBuf {
    let folder = dir.join("carriers");
    for slug in [OWNER, OTHER] {
        fs::create_dir_all(folder.join(slug)).unwrap();
        let source = Path::new("../../loadtest/carriers").join(slug);
        for file in ["adapter.yaml", "mapping.yaml"] {
            let text = fs::read_to_string(source.join(file)).unwrap();
            let ambiguous = text.replace("'BB[0-9]{12}'", "'(?:BB[0-9]{12}|AP[0-9]{9}GB)'");
            fs::write(folder.join(slug).join(file), ambiguous).unwrap();
        }
    }
    fs::create_dir_all(folder.join(NEEDY)).unwrap();
    for file in ["adapter.yaml", "mapping.yaml"] {
        let text = fs::read_to_string(Path::new("../../loadtest/carriers").join(OWNER).join(file)).unwrap();
        let needy = text.replace("'AP[0-9]{9}GB'", "'NP[0-9]{9}'");
        let needy = needy.replace("    kind: page\n", "    kind: page\n    needs: [postal_code]\n");
        fs::write(folder.join(NEEDY).join(file), needy).unwrap();
    }
    folder
}

fn simulator() -> (Simulator, Vec<Parcel>) {
    let now = wall_now_ms();
    let anchor = now - 22 * 86_400_000;
    let clock = JourneyMap { anchor_ms: anchor, start_ms: anchor, scale: 1.0 };
    let sim = Simulator::start(SimConfig::new(PlanConfig::new(5, 200, clock))).unwrap();
    let readable = |parcel: &&Parcel| parcel.carrier == OWNER && !parcel.page_changes && parcel.end != End::Unreadable;
    let parcels: Vec<Parcel> = sim.plan().parcels().iter().filter(readable).cloned().collect();
    (sim, parcels)
}

async fn settlement(waybill: &Waybill, number: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let path = format!("/v1/shipments/detect/{number}");
    let found = async || {
        let (status, view) = waybill.get(&path).await;
        assert_eq!(status, 200, "accepted is never 404: {view}");
        is(&view["settlement"]).then_some(view)
    };
    eventually(what, found).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undecided_number_is_settled_by_trying_and_goes_on_as_a_real_shipment() {
    if !embedded_clickhouse() {
        return;
    }
    let (sim, parcels) = simulator();
    let dir = tempfile::tempdir().unwrap();
    let budget = json!({ "rate_per_second": 50.0, "burst": 50, "concurrency": 8, "min_interval_s": 1 });
    let carrier = json!({ "enabled": true, "budget": budget });
    let route = |slug: &str| json!({ "carrier": slug, "to": sim.route() });
    let config = json!({
        "adapters": [overlay(dir.path())], "carriers": { OWNER: carrier, OTHER: carrier, NEEDY: carrier },
        "fetcher": { "allow_private": true, "routes": [route(OWNER), route(OTHER), route(NEEDY)] },
        "telemetry": { "filter": "info" },
    });
    let mut waybill = Waybill::start(dir.path(), &config).await;

    // By its form alone.
    let number = parcels[0].number.clone();
    let text =
        json!({ "text": format!("Your parcel {} is on its way, and so is sandbox-delivered.", number.to_lowercase()) });
    let (status, found) = waybill.post("/v1/detect", &text).await;
    assert_eq!((status, &found["numbers"][0]["number"]), (200, &json!(number)), "{found}");
    let carriers: Vec<&str> = found["numbers"][0]["candidates"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|c| c["enabled"] == true)
        .map(|c| c["carrier"].as_str().unwrap())
        .collect();
    assert_eq!(carriers, [OWNER, OTHER], "{found}");
    assert_eq!(found["numbers"][0]["carrier"], Value::Null, "two forms fit alike: {found}");
    let register = |number: &str, settle: bool| json!({ "shipments": [{ "number": number, "ref": "order-1", "settle": settle, "ordered_at": "2001-01-01" }] });
    let (_, sandbox) = waybill.post("/v1/shipments", &register("SANDBOX-DELIVERED-0009", false)).await;
    assert_eq!(sandbox["accepted"][0]["detection"]["by"], "number", "{sandbox}");
    assert_eq!(sandbox["accepted"][0]["carrier"], "sandbox", "{sandbox}");
    let (_, off) = waybill.post("/v1/shipments", &register("1ZW4Y12E0342158905", false)).await;
    let error = &off["rejected"][0]["error"];
    assert_eq!(
        (&error["code"], &error["candidates"][0]["carrier"]),
        (&json!("carrier_not_detected"), &json!("ups")),
        "{off}"
    );
    assert_eq!(error["candidates"][0]["enabled"], json!(false), "{off}");
    let (_, ambiguous) = waybill.post("/v1/shipments", &register(&number, false)).await;
    assert_eq!(ambiguous["rejected"][0]["error"]["code"], "carrier_ambiguous", "{ambiguous}");

    // What the source that is asked needs is said before anybody is asked.
    let needy = json!({ "number": "NP000000025", "carrier": NEEDY });
    let (_, refused) = waybill.post("/v1/shipments", &json!({ "shipments": [needy] })).await;
    let error = &refused["rejected"][0]["error"];
    assert_eq!((&error["code"], &error["fields"]), (&json!("needs_data"), &json!(["postal_code"])), "{refused}");
    let (_, refused) = waybill.post("/v1/lookup", &json!({ "numbers": [needy] })).await;
    let result = &refused["results"][0];
    assert_eq!((&result["state"], &result["needs"]), (&json!("needs_data"), &json!(["postal_code"])), "{refused}");

    // By trying.
    let (_, accepted) = waybill.post("/v1/shipments", &register(&number, true)).await;
    assert_eq!(accepted["accepted"][0]["carrier"], "detect", "{accepted}");
    assert_eq!(accepted["accepted"][0]["detection"]["by"], "trying", "{accepted}");
    let settled = settlement(&waybill, &number, "the carrier is found", |s| s["carrier"] == OWNER).await;
    let path = format!("/v1/shipments/{OWNER}/{number}");
    assert_eq!(settled["settlement"]["shipment"], json!(path), "{settled}");
    let tried = settled["settlement"]["tried"].as_array().unwrap();
    assert!(tried.iter().any(|one| one["carrier"] == OWNER && one["evidence"] == "events"), "{settled}");
    let view = eventually("the real shipment", || async {
        let view = waybill.get(&path).await.1;
        view["shipment"].is_object().then_some(view)
    })
    .await;
    assert_eq!(view["shipment"]["ref"], "order-1", "{view}");
    eventually("the detour ends", || async {
        let view = waybill.get(&format!("/v1/shipments/detect/{number}")).await.1;
        (view["registration"]["stop_reason"] == "settled").then_some(())
    })
    .await;

    // A number that nobody knows, and one whose goods were ordered after its last scan: undecided, with the reasons.
    let unknown = "AP000000017GB";
    waybill.post("/v1/shipments", &register(unknown, true)).await;
    let asked = |s: &Value| s["tried"].as_array().is_some_and(|tried| tried.len() == 2);
    let undecided = settlement(&waybill, unknown, "both have answered", asked).await;
    assert_eq!(undecided["settlement"]["carrier"], Value::Null, "{undecided}");
    let classes: Vec<&Value> =
        undecided["settlement"]["tried"].as_array().unwrap().iter().map(|one| &one["class"]).collect();
    assert_eq!(classes, [&json!("not_found"), &json!("not_found")], "{undecided}");
    let old = &parcels[1].number;
    let late = json!({ "shipments": [{ "number": old, "settle": true, "ordered_at": "2999-01-01" }] });
    waybill.post("/v1/shipments", &late).await;
    let too_old = settlement(&waybill, old, "both have answered", asked).await;
    let evidence =
        too_old["settlement"]["tried"].as_array().unwrap().iter().find(|one| one["carrier"] == OWNER).unwrap();
    assert_eq!(
        (&evidence["evidence"], &too_old["settlement"]["carrier"]),
        (&json!("too_old"), &Value::Null),
        "{too_old}"
    );

    // A visitor asks the same: an id to ask again under, and a stream that ends when all is settled.
    let visited = &parcels[2].number;
    let question = json!({ "settle": true, "numbers": [visited, "no number at all, this!"] });
    let (status, looked) = waybill.post("/v1/lookup", &question).await;
    assert_eq!((status, &looked["results"][1]["state"]), (200, &json!("invalid")), "{looked}");
    let place = format!("/v1/lookups/{}", looked["lookup"].as_str().unwrap());
    let stream = waybill.text(&format!("{place}/events")).await;
    assert!(stream.ends_with("event: end\ndata: {}\n\n"), "{stream}");
    let told =
        stream.split("\n\n").filter(|event| event.contains("event: result") && event.contains("\"known\"")).count();
    assert_eq!(told, 1, "{stream}");
    let (_, again) = waybill.get(&place).await;
    assert_eq!(
        (&again["results"][0]["state"], &again["results"][0]["carrier"]),
        (&json!("known"), &json!(OWNER)),
        "{again}"
    );
    assert_eq!(waybill.get("/v1/lookups/0123456789abcdef").await.0, 404);

    // Nothing is published of what was only tried.
    for table in ["v_events", "v_shipments", "v_registrations"] {
        let strays = format!(
            "SELECT count() FROM waybill.{table} WHERE carrier = '{OTHER}' OR number IN ('{unknown}', '{old}') AND carrier != 'detect'"
        );
        assert_eq!(waybill.sql_number(&strays).await, 0, "{table}");
    }
    let (status, _) = waybill.get(&format!("/v1/shipments/{OTHER}/{number}")).await;
    assert_eq!(status, 404, "a probe is no registration");
    let payloads = format!("SELECT count() FROM waybill.payloads WHERE carrier = '{OTHER}'");
    assert_eq!(waybill.sql_number(&payloads).await, 0);
    // Another process knows a look-up by its numbers.
    assert!(waybill.stop().await.success(), "{}", waybill.log());
    waybill.restart(&["standalone"]).await;
    let (_, kept) = waybill.get(&place).await;
    assert_eq!(kept["results"][0]["carrier"], json!(OWNER), "{kept}");
    assert!(waybill.stop().await.success(), "{}", waybill.log());
    assert!(!waybill.log().contains(&number), "SEC-1: full numbers never reach logs");
}
