//! The published JSON Schemas, the invented examples and the Rust types say the same.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};
use waybill_schemas::{
    command::Command,
    event::TrackingEvent,
    fetch::{FetchRequest, FetchResult},
    forgotten::Forgotten,
    layout::Layout,
    outcome::Outcome,
    politeness::{CarrierPolicy, FetcherBudgetRecord, SchedulerBudgetRecord},
    schedule::{Position, ScheduleRecord},
    shipment::{Shipment, StatusChange},
    topics::{self, TopicSpec},
};

/// What a type makes of a value that it reads: the value it writes.
type Through = fn(Value) -> Result<Value, serde_json::Error>;

fn through<T: DeserializeOwned + Serialize>(value: Value) -> Result<Value, serde_json::Error> {
    serde_json::to_value(serde_json::from_value::<T>(value)?)
}

/// A claim belongs to the log; its value is opened only there.
fn as_it_is(value: Value) -> Result<Value, serde_json::Error> {
    Ok(value)
}

/// The type behind an example, by topic and the example's name where a topic has several.
fn type_of(topic: &str, example: &str) -> Through {
    match (topic, example) {
        (_, "claim") => as_it_is,
        ("waybill.commands", _) => through::<Command>,
        ("waybill.fetch-requests", _) => through::<FetchRequest>,
        ("waybill.fetch-results", _) => through::<FetchResult>,
        ("waybill.outcomes", _) => through::<Outcome>,
        ("waybill.shipments", _) => through::<Shipment>,
        ("waybill.status-changes", _) => through::<StatusChange>,
        ("waybill.tracking-events", _) => through::<TrackingEvent>,
        ("waybill.forgotten", _) => through::<Forgotten>,
        ("waybill.schedule", "position") => through::<Position>,
        ("waybill.schedule", _) => through::<ScheduleRecord>,
        ("waybill.carriers", name) if name.starts_with("scheduler") => through::<SchedulerBudgetRecord>,
        ("waybill.carriers", _) => through::<FetcherBudgetRecord>,
        ("waybill.policies", "layout") => through::<Layout>,
        ("waybill.policies", _) => through::<CarrierPolicy>,
        _ => panic!("which type is {topic}/{example}?"),
    }
}

/// Types that write back what a later version added, for they stand on compacted topics that are rewritten.
/// `""` is the record itself, the rest are objects in it that are written back as they came; other objects in it are
/// made anew whenever the record is.
fn kept_places(topic: &str, example: &str) -> &'static [&'static str] {
    match (topic, example) {
        (_, "claim") => &[],
        ("waybill.schedule", "position") => &[""],
        ("waybill.carriers", name) if name.starts_with("fetcher") => &[""],
        ("waybill.schedule", _) => &["", "/registration", "/memories"],
        ("waybill.policies", "layout") => &[],
        ("waybill.policies", _) => &["", "/budget", "/budget/daily_quota"],
        // Not rewritten, but what travels in them comes back to a record that is.
        ("waybill.fetch-requests" | "waybill.fetch-results", _) => &["/registration", "/memories"],
        ("waybill.outcomes", _) => &["/memories"],
        _ => &[],
    }
}

fn folder(name: &str) -> PathBuf {
    PathBuf::from(name)
}

fn read(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn schema_of(spec: &TopicSpec) -> Option<Value> {
    spec.schema.as_ref().map(|file| read(&folder("json").join(file)))
}

/// Every example: topic, name, value.
fn examples() -> Vec<(&'static TopicSpec, String, Value)> {
    let mut found = Vec::new();
    for spec in topics::all().iter().filter(|spec| spec.schema.is_some()) {
        let place = folder("examples").join(spec.name.trim_start_matches("waybill."));
        let files = fs::read_dir(&place).unwrap_or_else(|error| panic!("{}: {error}", place.display()));
        for file in files {
            let path = file.unwrap().path();
            found.push((spec, path.file_stem().unwrap().to_str().unwrap().to_owned(), read(&path)));
        }
    }
    found
}

#[test]
fn every_topics_schema_exists_and_is_a_valid_schema_of_the_2020_draft() {
    for spec in topics::all() {
        let Some(schema) = schema_of(spec) else { continue };
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{}", spec.name);
        jsonschema::meta::validate(&schema).unwrap_or_else(|error| panic!("{}: {error}", spec.name));
        for text in ["$id", "title", "description"] {
            assert!(schema[text].is_string(), "{} has no {text}", spec.name);
        }
    }
    let used: BTreeSet<String> = topics::all().iter().filter_map(|spec| spec.schema.clone()).collect();
    let there = fs::read_dir(folder("json")).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    assert_eq!(there.collect::<BTreeSet<String>>(), used, "no schema without its topic");
}

#[test]
fn every_field_is_described() {
    fn look(schema: &Value, place: &str) {
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            for (name, property) in properties {
                let described = property.get("description").is_some() || property.get("$ref").is_some();
                let alternatives = property.get("anyOf").and_then(Value::as_array);
                let described =
                    described || alternatives.is_some_and(|all| all.iter().any(|one| one.get("$ref").is_some()));
                assert!(described, "{place}.{name} says nothing of itself");
                look(property, &format!("{place}.{name}"));
            }
        }
        for part in ["anyOf", "$defs"] {
            match schema.get(part) {
                Some(Value::Array(all)) => all.iter().for_each(|one| look(one, place)),
                Some(Value::Object(all)) => all.iter().for_each(|(name, one)| look(one, name)),
                _ => {}
            }
        }
    }
    for spec in topics::all() {
        if let Some(schema) = schema_of(spec) {
            look(&schema, &spec.name);
        }
    }
}

#[test]
fn every_topic_has_examples_and_each_is_valid() {
    let mut seen = BTreeSet::new();
    for (spec, name, value) in examples() {
        let schema = schema_of(spec).unwrap();
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        let errors: Vec<String> =
            validator.iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{}/{name}: {errors:#?}", spec.name);
        seen.insert(spec.name.clone());
    }
    let wanted = topics::all().iter().filter(|spec| spec.schema.is_some()).map(|spec| spec.name.clone());
    assert_eq!(seen, wanted.collect());
}

#[test]
fn every_example_goes_through_its_type_unchanged() {
    for (spec, name, value) in examples() {
        let written =
            type_of(&spec.name, &name)(value.clone()).unwrap_or_else(|error| panic!("{}/{name}: {error}", spec.name));
        assert_eq!(written, value, "{}/{name}", spec.name);
    }
}

/// Every record that a released version wrote: topic, name, value. Tombstones have none and are left out.
fn frozen() -> Vec<(&'static TopicSpec, String, Value)> {
    let mut found = Vec::new();
    for version in fs::read_dir(folder("frozen")).unwrap().map(|entry| entry.unwrap().path()) {
        for file in fs::read_dir(&version).into_iter().flatten().map(|entry| entry.unwrap().path()) {
            let topic = format!("waybill.{}", file.file_stem().unwrap().to_str().unwrap());
            let spec = topics::find(&topic).unwrap_or_else(|| panic!("{}: no such topic any more", file.display()));
            let Value::Array(records) = read(&file) else { panic!("{}: no list", file.display()) };
            for mut record in records {
                let value = record["value"].take();
                if spec.schema.is_some() && !value.is_null() {
                    found.push((spec, record["name"].as_str().unwrap().to_owned(), value));
                }
            }
        }
    }
    found
}

/// The first place where something of `old` is gone or has changed; what is new beside it is fine.
fn lost(old: &Value, new: &Value, place: &str) -> Option<String> {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => old.iter().find_map(|(name, old)| {
            let place = format!("{place}/{name}");
            new.get(name).map_or(Some(place.clone()), |new| lost(old, new, &place))
        }),
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            old.iter().zip(new).enumerate().find_map(|(at, (old, new))| lost(old, new, &format!("{place}/{at}")))
        }
        _ => (old != new).then(|| place.to_owned()),
    }
}

#[test]
fn records_of_earlier_versions_are_read_keep_what_they_say_and_fit_todays_schemas() {
    let mut seen = BTreeSet::new();
    for (spec, name, value) in frozen() {
        let written =
            type_of(&spec.name, &name)(value.clone()).unwrap_or_else(|error| panic!("{}/{name}: {error}", spec.name));
        assert_eq!(lost(&value, &written, ""), None, "{}/{name}", spec.name);
        let validator = jsonschema::draft202012::new(&schema_of(spec).unwrap()).unwrap();
        let errors: Vec<String> =
            validator.iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{}/{name}: {errors:#?}", spec.name);
        seen.insert(spec.name.as_str());
    }
    let wanted: BTreeSet<&str> =
        topics::all().iter().filter(|spec| spec.schema.is_some()).map(|spec| spec.name.as_str()).collect();
    assert_eq!(seen, wanted, "each topic has records of earlier versions");
}

#[test]
fn records_of_earlier_versions_with_fields_of_later_ones_give_them_back_where_state_is_rewritten() {
    for (spec, name, value) in frozen() {
        let later = with_unknown_fields(&value, "");
        let written =
            type_of(&spec.name, &name)(later.clone()).unwrap_or_else(|error| panic!("{}/{name}: {error}", spec.name));
        assert_eq!(lost(&value, &written, ""), None, "{}/{name}", spec.name);
        for place in kept_places(&spec.name, &name) {
            let of_tomorrow = |value: &Value| value.pointer(&format!("{place}/of_tomorrow")).cloned();
            assert_eq!(of_tomorrow(&written), of_tomorrow(&later), "{}/{name}{place}", spec.name);
        }
    }
}

/// A field of tomorrow in every object whose names are fixed; the names of maps are data.
fn with_unknown_fields(value: &Value, name: &str) -> Value {
    match value {
        Value::Object(map) => {
            let mut out: Map<String, Value> =
                map.iter().map(|(key, value)| (key.clone(), with_unknown_fields(value, key))).collect();
            if ![
                "params",
                "milestones",
                "budgets",
                "private",
                "robots",
                "carriers",
                "shares",
                "windows",
                "control",
                "control_shares",
            ]
            .contains(&name)
            {
                out.insert("of_tomorrow".to_owned(), json!({ "deep": [1, null] }));
            }
            Value::Object(out)
        }
        Value::Array(all) => Value::Array(all.iter().map(|value| with_unknown_fields(value, name)).collect()),
        other => other.clone(),
    }
}

#[test]
fn unknown_fields_are_accepted_everywhere_and_written_back_where_state_is_rewritten() {
    for (spec, name, value) in examples() {
        let later = with_unknown_fields(&value, "");
        let schema = schema_of(spec).unwrap();
        assert!(jsonschema::draft202012::is_valid(&schema, &later), "{}/{name}", spec.name);
        let written =
            type_of(&spec.name, &name)(later.clone()).unwrap_or_else(|error| panic!("{}/{name}: {error}", spec.name));
        for place in kept_places(&spec.name, &name) {
            let of_tomorrow = |value: &Value| value.pointer(&format!("{place}/of_tomorrow")).cloned();
            assert_eq!(of_tomorrow(&written), of_tomorrow(&later), "{}/{name}{place}", spec.name);
        }
    }
}

#[test]
fn the_schemas_refuse_what_the_types_refuse() {
    let broken: [(&str, &str, Value); 7] = [
        ("waybill.tracking-events", "event_id", json!("xyz")),
        ("waybill.tracking-events", "sub_status", json!("InTransit_Lost")),
        ("waybill.shipments", "status", json!(null)),
        ("waybill.outcomes", "class", json!("unheard_of")),
        ("waybill.fetch-results", "number", json!("a b")),
        ("waybill.commands", "carrier", json!("No Slug")),
        ("waybill.status-changes", "seen_at", json!("yesterday")),
    ];
    for (topic, field, wrong) in broken {
        let (spec, name, mut value) = examples().into_iter().find(|(spec, _, _)| spec.name == topic).unwrap();
        value[field] = wrong;
        assert!(!jsonschema::draft202012::is_valid(&schema_of(spec).unwrap(), &value), "{topic}.{field}");
        assert!(type_of(topic, &name)(value).is_err(), "{topic}.{field}");
    }
}

#[test]
fn the_vocabulary_of_the_schemas_is_the_types() {
    let schema = read(&folder("json").join("shipment.schema.json"));
    let listed = |name: &str| -> Vec<String> { serde_json::from_value(schema["$defs"][name]["enum"].clone()).unwrap() };
    let statuses: Vec<&str> = waybill_schemas::Status::ALL.iter().map(|status| status.as_str()).collect();
    let subs: Vec<&str> = waybill_schemas::SubStatus::all().map(waybill_schemas::SubStatus::as_str).collect();
    let classes: Vec<&str> = waybill_schemas::OutcomeClass::ALL.iter().map(|class| class.as_str()).collect();
    assert_eq!((listed("status"), listed("sub_status")), (owned(&statuses), owned(&subs)));
    assert_eq!(listed("outcome_class"), owned(&classes));
}

fn owned(all: &[&str]) -> Vec<String> {
    all.iter().map(|text| (*text).to_owned()).collect()
}
