//! `asyncapi.json` describes the public topics to other people's tools: made of the topics' YAML and the JSON Schemas, and
//! current. `WAYBILL_BLESS=1` writes it anew. Form: AsyncAPI 3.0 with the Kafka bindings 0.5.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::{fs, path::Path};

use serde_json::{Map, Value, json};
use waybill_schemas::{
    headers,
    topics::{self, Cleanup, TopicSpec},
};

/// `waybill.tracking-events` → `tracking-events`.
fn short(spec: &TopicSpec) -> &str {
    spec.name.trim_start_matches("waybill.")
}

fn channel(spec: &TopicSpec) -> Value {
    let cleanup = match spec.cleanup {
        Cleanup::Delete => "delete",
        Cleanup::Compact => "compact",
    };
    let kept_ms = u64::from(spec.retention_hours) * 3_600_000;
    let kept = if spec.cleanup == Cleanup::Delete { "retention.ms" } else { "delete.retention.ms" };
    json!({
        "address": spec.name,
        "title": short(spec),
        "description": format!("{} The first part of the name, `waybill`, is configurable.", spec.purpose),
        "messages": { short(spec): { "$ref": format!("#/components/messages/{}", short(spec)) } },
        "bindings": { "kafka": {
            "topic": spec.name,
            "topicConfiguration": { "cleanup.policy": [cleanup], kept: kept_ms },
            "bindingVersion": "0.5.0",
        } },
    })
}

fn message(spec: &TopicSpec) -> Value {
    let schema = spec.schema.as_ref().expect("a public topic has a schema");
    let text = fs::read_to_string(Path::new("json").join(schema)).unwrap();
    let described: Value = serde_json::from_str(&text).unwrap();
    let mut message = json!({
        "title": described["title"],
        "summary": described["description"],
        "contentType": "application/json",
        "headers": { "$ref": "#/components/schemas/headers" },
        "payload": {
            "schemaFormat": "application/schema+json;version=draft-2020-12",
            "schema": { "$ref": format!("./json/{schema}") },
        },
        "bindings": { "kafka": {
            "key": { "type": "string", "description": format!("{}; its partition is murmur2 of it, as the Java client has it.", spec.key) },
            "bindingVersion": "0.5.0",
        } },
    });
    if spec.cleanup == Cleanup::Compact {
        message["description"] = json!(
            "A record without a value is a tombstone: the shipment was forgotten. Its `ce_id` ends in the attempt that forgot it; it has no content-type."
        );
    }
    message
}

fn document() -> Value {
    let public: Vec<&TopicSpec> = topics::all().iter().filter(|spec| spec.public).collect();
    let by_name = |make: &dyn Fn(&TopicSpec) -> Value| -> Map<String, Value> {
        public.iter().map(|spec| (short(spec).to_owned(), make(spec))).collect()
    };
    let operation =
        |spec: &TopicSpec| json!({ "action": "send", "channel": { "$ref": format!("#/channels/{}", short(spec)) } });
    let text = |description: &str| json!({ "type": "string", "description": description });
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Waybill's public topics",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Parcel tracking, normalized. A record may come again: drop repeats by the header `ce_id`. Values may gain fields within a major version: ignore what you do not know. Every topic is described in topics/, internal ones too.",
            "license": { "name": "Apache-2.0" },
        },
        "defaultContentType": "application/json",
        "channels": by_name(&channel),
        "operations": by_name(&operation),
        "components": {
            "messages": by_name(&message),
            "schemas": { "headers": {
                "type": "object",
                "description": "CloudEvents attributes in Kafka's binary mode, and the trace.",
                "required": [headers::CE_SPECVERSION, headers::CE_ID, headers::CE_TYPE, headers::CE_SOURCE],
                "properties": {
                    headers::CE_SPECVERSION: text("Version of CloudEvents: 1.0."),
                    headers::CE_ID: text("Identity of the record; consumers drop repeats by it."),
                    headers::CE_TYPE: text("What the value is: waybill.tracking-event, waybill.shipment or waybill.status-change."),
                    headers::CE_SOURCE: text("Who says so: /waybill/normalizer."),
                    headers::CE_TIME: text("When the carrier answered, or what needs no carrier was done; RFC 3339."),
                    headers::CONTENT_TYPE: text("Media type of the value."),
                    headers::TRACEPARENT: text("W3C trace context of the attempt."),
                },
            } },
        },
    })
}

#[test]
fn the_description_of_the_public_topics_is_current() {
    let path = Path::new("asyncapi.json");
    let wanted = format!("{}\n", serde_json::to_string_pretty(&document()).unwrap());
    if std::env::var_os("WAYBILL_BLESS").is_some() {
        fs::write(path, &wanted).unwrap();
    }
    let found = fs::read_to_string(path).unwrap_or_default();
    assert!(found == wanted, "asyncapi.json is not what the topics say: WAYBILL_BLESS=1 writes it anew");
}

#[test]
fn every_reference_leads_somewhere() {
    fn look(value: &Value, whole: &Value) {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(to)) = map.get("$ref") {
                    let there = to
                        .strip_prefix('#')
                        .map_or_else(|| Path::new(to).is_file(), |pointer| whole.pointer(pointer).is_some());
                    assert!(there, "{to} leads nowhere");
                }
                map.values().for_each(|inner| look(inner, whole));
            }
            Value::Array(all) => all.iter().for_each(|inner| look(inner, whole)),
            _ => {}
        }
    }
    let whole = document();
    look(&whole, &whole);
    assert_eq!(whole["channels"].as_object().map(Map::len), Some(3));
}
