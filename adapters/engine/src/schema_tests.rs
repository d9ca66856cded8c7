//! The JSON Schemas in `adapters/schema` are those of the types that read the files, and every carrier's files keep to
//! them. `WAYBILL_BLESS=1` writes them anew.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "these stand for types of other crates")]

use std::{borrow::Cow, fs, path::Path};

use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings, json_schema};
use serde_json::Value;
use waybill_schemas::SubStatus;

use crate::spec::{
    AdapterSpec, CheckRule, CheckSpec, FieldSpec, LongCheck, LongField, MappingSpec, PhrasesSpec, Scalar, StatusSpec,
};

/// What a carrier's door may see.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Budget {
    /// Requests per second, long term; above 0 and at most 1,000.
    rate_per_second: f64,
    /// Requests that may leave at once after a pause.
    #[schemars(range(min = 1))]
    burst: u32,
    /// Requests under way at once.
    #[schemars(range(min = 1))]
    concurrency: u32,
    /// Requests a day, where the carrier states a quota.
    daily_quota: Option<DailyQuota>,
    /// Least time between two looks at one parcel, in seconds.
    min_interval_s: u32,
    /// Most time between two looks at one parcel while the budget has room, in seconds.
    max_interval_s: Option<u32>,
    /// Where the figures come from: a page of the carrier's documentation, or `assumed`.
    basis: Option<String>,
}

/// A daily quota of requests.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct DailyQuota {
    /// Requests a day.
    requests: u32,
    /// Local time at which the day starts, `HH:MM`.
    resets_at: Option<String>,
    /// IANA zone of that time.
    zone: Option<String>,
    /// Spread evenly over the day, instead of first come first served.
    spread: Option<bool>,
}

/// Whether hyphens are part of a carrier's numbers.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub(crate) enum Hyphens {
    /// Hyphens are decoration and are removed.
    Remove,
    /// Hyphens belong to the number.
    Keep,
}

impl JsonSchema for FieldSpec {
    fn schema_name() -> Cow<'static, str> {
        "Field".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (long, own) = (generator.subschema_for::<LongField>(), generator.subschema_for::<Self>());
        json_schema!({
            "description": "A path, a list of fields joined by one space, or the long form.",
            "anyOf": [{ "type": "string" }, { "type": "array", "items": own }, long],
        })
    }
}

impl JsonSchema for Scalar {
    fn schema_name() -> Cow<'static, str> {
        "Scalar".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number", "boolean"] })
    }
}

impl JsonSchema for CheckSpec {
    fn schema_name() -> Cow<'static, str> {
        "Check".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (rule, long) = (generator.subschema_for::<CheckRule>(), generator.subschema_for::<LongCheck>());
        json_schema!({ "anyOf": [rule, long, { "const": "mod10" }] })
    }
}

impl JsonSchema for StatusSpec {
    fn schema_name() -> Cow<'static, str> {
        "Meaning".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let all: Vec<&str> = SubStatus::all().map(SubStatus::as_str).chain(["none"]).collect();
        json_schema!({ "description": "A sub-status; `none` is known and changes nothing.", "enum": all })
    }
}

/// The name of a sub-status.
pub(crate) struct SubStatusName;

impl JsonSchema for SubStatusName {
    fn schema_name() -> Cow<'static, str> {
        "SubStatus".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let all: Vec<&str> = SubStatus::all().map(SubStatus::as_str).collect();
        json_schema!({ "description": "A sub-status.", "enum": all })
    }
}

/// Of the seventh draft, which every editor knows.
fn schema<T: JsonSchema>(title: &str) -> Value {
    let root = SchemaSettings::draft07().into_generator().into_root_schema_for::<T>();
    let mut value = serde_json::to_value(root).unwrap();
    value["title"] = title.into();
    tidy(&mut value);
    value
}

/// Without defaults, for editors would write them out: absent is shorter and means the same; and without Rust's names of
/// numbers.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(keys) => {
            keys.remove("default");
            keys.remove("format");
            for (key, value) in keys.iter_mut() {
                match (key.as_str(), value) {
                    ("properties" | "definitions", Value::Object(named)) => named.values_mut().for_each(tidy),
                    (_, value) => tidy(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

fn all() -> [(&'static str, Value); 3] {
    [
        ("adapter", schema::<AdapterSpec>("adapter.yaml")),
        ("mapping", schema::<MappingSpec>("mapping.yaml")),
        ("phrases", schema::<PhrasesSpec>("phrases/<language>.yaml")),
    ]
}

#[test]
fn schemas_on_disk_are_those_of_the_types() {
    let folder = Path::new("../schema");
    for (name, value) in all() {
        let path = folder.join(format!("{name}.schema.json"));
        let text = serde_json::to_string_pretty(&value).unwrap() + "\n";
        if std::env::var_os("WAYBILL_BLESS").is_some() {
            fs::create_dir_all(folder).unwrap();
            fs::write(&path, text).unwrap();
        } else {
            let written = fs::read_to_string(&path).unwrap_or_default();
            assert!(written == text, "{} is out of date; WAYBILL_BLESS=1 writes it anew", path.display());
        }
    }
}

#[test]
fn every_file_of_every_carrier_keeps_to_the_schemas() {
    let [adapter, mapping, phrases] = all().map(|(_, schema)| jsonschema::validator_for(&schema).unwrap());
    let root = Path::new("..");
    let yaml = |path: &Path| -> Value { serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).unwrap() };
    let mut wrong = Vec::new();
    let mut check = |validator: &jsonschema::Validator, path: &Path| {
        for error in validator.iter_errors(&yaml(path)) {
            wrong.push(format!("{}: {error} at {}", path.display(), error.instance_path()));
        }
    };
    for carrier in fs::read_dir(root.join("carriers")).unwrap().map(|entry| entry.unwrap().path()) {
        check(&adapter, &carrier.join("adapter.yaml"));
        check(&mapping, &carrier.join("mapping.yaml"));
    }
    for table in fs::read_dir(root.join("phrases")).unwrap().map(|entry| entry.unwrap().path()) {
        check(&phrases, &table);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_the_program_refuses_the_schema_refuses_as_well() {
    let [adapter, mapping, _] = all().map(|(_, schema)| jsonschema::validator_for(&schema).unwrap());
    let value = |text: &str| serde_saphyr::from_str::<Value>(text).unwrap();
    let good = "{format: 1, name: A, basis: page, languages: [en], readers: [{name: r, shape: html, accept: {has: p}, \
                tables: [{rows: tr, text: {cell: 1}}]}], budget: {rate_per_second: 1, burst: 1, concurrency: 1, \
                min_interval_s: 60}}";
    assert!(adapter.is_valid(&value(good)));
    for (from, to) in [
        ("format: 1", "fromat: 1"),
        ("shape: html", "shape: pdf"),
        ("cell: 1", "cell: first"),
        ("basis: page", "basis: scraping"),
        ("burst: 1", "burst: 0"),
        ("{cell: 1}", "{celll: 1}"),
        ("languages: [en], ", ""),
    ] {
        let bad = good.replacen(from, to, 1);
        assert!(!adapter.is_valid(&value(&bad)), "{to}");
        let loaded = crate::Catalog::of_texts(&"acme".parse().unwrap(), &bad, "format: 1\n");
        assert!(loaded.is_err(), "the program takes `{to}`");
    }
    assert!(mapping.is_valid(&value("{format: 1, exact: {Collected: InTransit_PickedUp}, contains: [[left, none]]}")));
    for bad in [
        "{exact: {}}",
        "{format: 1, exact: {Collected: PickedUp}}",
        "{format: 1, contains: [[left]]}",
        "{format: 1, contians: []}",
        "{format: 1, unlatch: [none]}",
    ] {
        assert!(!mapping.is_valid(&value(bad)), "{bad}");
        let loaded = crate::Catalog::of_texts(&"acme".parse().unwrap(), good, bad);
        assert!(loaded.is_err(), "the program takes {bad}");
    }
}

#[test]
fn what_stands_for_types_of_other_crates_has_their_fields() {
    let quota = waybill_schemas::politeness::DailyQuota {
        requests: 1,
        resets_at: String::new(),
        zone: String::new(),
        spread: true,
        extra: Default::default(),
    };
    let budget = waybill_schemas::politeness::Budget {
        daily_quota: Some(quota),
        max_interval_s: Some(1),
        basis: Some(String::new()),
        ..Default::default()
    };
    let names = |value: &Value| -> Vec<String> { value.as_object().unwrap().keys().cloned().collect() };
    let theirs = serde_json::to_value(&budget).unwrap();
    let ours = |schema: Schema| names(schema.as_value().get("properties").unwrap());
    assert_eq!(names(&theirs), ours(schemars::schema_for!(Budget)));
    assert_eq!(names(&theirs["daily_quota"]), ours(schemars::schema_for!(DailyQuota)));
    for (ours, theirs) in
        [("remove", waybill_schemas::number::Hyphens::Remove), ("keep", waybill_schemas::number::Hyphens::Keep)]
    {
        assert_eq!(serde_json::to_value(theirs).unwrap(), ours);
    }
}
