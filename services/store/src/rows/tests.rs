#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use serde_json::{Value, json};
use waybill_schemas::{WallMs, migrations};

use super::*;
use crate::plan::Span;

const ALL: Span = Span { from: 0, to: u64::MAX };

fn record(offset: u64, key: &str, value: Option<Bytes>) -> Record {
    Record {
        offset,
        append_time: WallMs::new(1_790_000_000_000),
        key: Some(Bytes::copy_from_slice(key.as_bytes())),
        value,
        headers: Vec::new(),
    }
}

fn source(topic: &str) -> &'static Source {
    SOURCES.iter().find(|source| source.topic == topic).unwrap()
}

fn read(topic: &str, key: &str, value: Option<Value>) -> crate::buffer::Sealed {
    let source = source(topic);
    let mut filling = Filling::new(source.tables.len());
    let value = value.map(|value| Bytes::from(serde_json::to_vec(&value).unwrap()));
    source.take(&record(7, key, value), 3, &mut filling);
    filling.seal().unwrap()
}

/// Name and type of every column of every table, as the migrations declare them.
fn declared() -> BTreeMap<String, Vec<(String, String)>> {
    let mut tables: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for migration in migrations::all() {
        for statement in migration.sql.split("CREATE TABLE IF NOT EXISTS waybill.").skip(1) {
            let (name, rest) = statement.split_once('\n').unwrap();
            let columns = rest.lines().skip(1).take_while(|line| *line != ")");
            let column = |line: &str| {
                let (name, rest) = line.trim().split_once(' ')?;
                let (kind, _) = rest.split_once(" COMMENT ")?;
                Some((name.to_owned(), kind.to_owned()))
            };
            tables.insert(name.to_owned(), columns.filter_map(column).collect());
        }
        for statement in migration.sql.split("ALTER TABLE waybill.").skip(1) {
            let (table, rest) = statement.split_once('\n').unwrap();
            let added = rest.trim().strip_prefix("ADD COLUMN IF NOT EXISTS ").unwrap();
            let (name, rest) = added.split_once(' ').unwrap();
            let (kind, rest) = rest.split_once(" DEFAULT ").unwrap();
            let (_, before) = rest.split(';').next().unwrap().rsplit_once(" AFTER ").unwrap();
            let columns = tables.get_mut(table).unwrap();
            let place = columns.iter().position(|(name, _)| name == before).unwrap();
            columns.insert(place + 1, (name.to_owned(), kind.to_owned()));
        }
    }
    tables
}

#[test]
fn rows_have_exactly_the_columns_that_the_migrations_declare() {
    let declared = declared();
    let tables: Vec<&Table> = SOURCES.iter().flat_map(|source| source.tables.iter().copied()).collect();
    assert!(tables.len() >= 9);
    for table in tables {
        let written: Vec<(String, String)> =
            (table.columns)().into_iter().map(|(name, kind)| (name, kind.to_owned())).collect();
        assert_eq!(Some(&written), declared.get(table.name), "{}", table.name);
    }
}

/// Every example message of the schemas, where there are any.
fn examples(topic: &str) -> Vec<(PathBuf, Value)> {
    let short = topic.trim_start_matches("waybill.");
    let folder = Path::new("../../schemas/examples").join(short);
    let files = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let json = files.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    json.map(|path| (path.clone(), serde_json::from_slice(&fs::read(&path).unwrap()).unwrap())).collect()
}

/// The key that an example's record has.
fn key_of(topic: &str, file: &std::path::Path, value: &Value) -> &'static str {
    match topic {
        _ if file.ends_with("claim.json") => "!claim",
        _ if file.ends_with("position.json") => "!position",
        names::CARRIERS if value.get("tat_us").is_some() => "dhl-germany/fetcher",
        names::CARRIERS => "dhl-germany/scheduler",
        _ => "dhl-germany:00340434161094042557",
    }
}

#[test]
fn sto_1_every_example_of_the_schemas_becomes_rows_and_always_the_same() {
    let json_topics = SOURCES.iter().filter(|source| ![names::PAYLOADS, names::FORGOTTEN].contains(&source.topic));
    for source in json_topics {
        for (path, value) in examples(source.topic) {
            let sealed = || read(source.topic, key_of(source.topic, &path, &value), Some(value.clone()));
            let (one, two) = (sealed(), sealed());
            assert!(one.dead.is_empty(), "{}: {:?}", path.display(), one.dead);
            for table in 0..source.tables.len() {
                assert_eq!(one.slice(table, ALL), two.slice(table, ALL), "{}", path.display());
            }
        }
    }
}

/// What stands in people's logs: see schemas/frozen/README.md.
#[test]
fn sto_1_every_record_of_version_0_1_becomes_rows() {
    for source in SOURCES.iter().filter(|source| source.topic != names::PAYLOADS) {
        let file = format!("../../schemas/frozen/v0.1/{}.json", source.topic.trim_start_matches("waybill."));
        let records: Vec<Value> = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        assert!(!records.is_empty(), "{file}");
        for one in records {
            let value = Some(one["value"].clone()).filter(|value| !value.is_null());
            let sealed = read(source.topic, one["key"].as_str().unwrap(), value);
            assert!(sealed.dead.is_empty(), "{file}, {}: {:?}", one["name"], sealed.dead);
        }
    }
}

fn shipment(status: &str, sub_status: &str, milestones: Value) -> Value {
    let moment = json!({ "time": "2026-09-01T10:00", "time_utc": null, "seen_at": "2026-09-01T12:00:00.000Z" });
    json!({
        "carrier": "dhl-germany", "number": "AB123456", "instance": 1, "ref": null, "origin": "DE",
        "origin_source": "carrier", "destination": null, "destination_source": null, "status": status,
        "sub_status": sub_status, "since": moment, "latest_event": null, "milestones": milestones,
        "estimated_delivery": null, "legs": [], "event_count": 3, "registered_at": "2026-08-30T00:00:00.000Z",
        "last_outcome": { "class": "tracked", "at": "2026-09-01T12:00:00.000Z", "detail": null },
        "tracking": "active", "stop_reason": null, "version": 5,
    })
}

#[test]
fn a_delivery_is_a_row_and_one_that_is_undone_is_a_row_that_says_so() {
    let moment = json!({ "time": null, "time_utc": null, "seen_at": "2026-09-01T12:00:00.000Z" });
    let reached = json!({ "Delivered": moment });
    let deliveries = |value| read(names::SHIPMENTS, "k", Some(value)).slice(1, ALL).rows();
    assert_eq!(deliveries(shipment("Delivered", "Delivered_Other", reached.clone())), 1);
    assert_eq!(deliveries(shipment("Exception", "Exception_Returned", reached)), 1);
    assert_eq!(deliveries(shipment("InTransit", "InTransit_Other", json!({}))), 0);
    let mut replayed = shipment("InTransit", "InTransit_Other", json!({}));
    replayed["last_outcome"]["class"] = json!("internal");
    assert_eq!(deliveries(replayed), 1);
}

#[test]
fn what_cannot_be_read_yields_no_row_in_any_table_and_a_reason_without_the_number() {
    let mut far = shipment("Delivered", "Delivered_Other", json!({}));
    far["registered_at"] = json!("9000-01-01T00:00:00.000Z");
    let sealed = read(names::SHIPMENTS, "k", Some(far));
    assert_eq!((sealed.slice(0, ALL).rows(), sealed.slice(1, ALL).rows(), sealed.dead.len()), (0, 0, 1));
    assert!(sealed.dead[0].reason.contains("registered_at"));
    let sealed = read(names::TRACKING_EVENTS, "k", Some(json!({ "number": "SECRET123456" })));
    assert_eq!(sealed.dead.len(), 1);
    assert!(!sealed.dead[0].reason.contains("SECRET"), "SEC-1: {}", sealed.dead[0].reason);
    assert_eq!(read(names::FORGOTTEN, "no key", Some(json!({}))).dead.len(), 1);
}

#[test]
fn claims_positions_and_unknown_writers_are_no_rows() {
    for (topic, key) in [
        (names::SCHEDULE, "!claim"),
        (names::SCHEDULE, "!position"),
        (names::CARRIERS, "!claim"),
        (names::CARRIERS, "dhl/later"),
    ] {
        let sealed = read(topic, key, Some(json!({ "anything": 1 })));
        assert_eq!((sealed.slice(0, ALL).rows(), sealed.dead.len(), sealed.last), (0, 0, 7), "{topic} {key}");
    }
}

#[test]
fn sch_2_a_record_of_a_lower_epoch_never_wins() {
    assert!(state_version(5, 1) > state_version(4, u64::MAX));
    assert!(state_version(5, 2) > state_version(5, 1));
    let mut old = record(9, "a:b", None);
    assert_eq!(epoch(&old), 0);
    old.headers.push((waybill_schemas::headers::EPOCH.to_owned(), Bytes::from_static(b"41")));
    assert_eq!(epoch(&old), 41);
}

#[test]
fn tombstones_withdraw_what_they_name() {
    assert_eq!(read(names::SHIPMENTS, "dhl-germany:AB123456", None).slice(0, ALL).rows(), 1);
    assert_eq!(read(names::SCHEDULE, "dhl-germany:AB123456", None).slice(0, ALL).rows(), 1);
    let sealed = read(names::FORGOTTEN, "dhl-germany:AB123456", Some(json!({})));
    assert_eq!(sealed.erasures.len(), 1);
    assert_eq!(sealed.erasures[0].until_ms, 1_790_000_000_000);
    assert_eq!(read(names::FORGOTTEN, "dhl-germany:AB123456", None).erasures.len(), 0);
}
