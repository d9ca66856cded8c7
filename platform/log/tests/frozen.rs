//! Headers and envelopes as released versions wrote them: see schemas/frozen/README.md.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::Path};

use bytes::Bytes;
use serde_json::Value;
use waybill_log::{
    Record, claims,
    letters::{self, Letter},
    records::{NamedAttempt, header},
};
use waybill_schemas::WallMs;

/// The records of a topic, with their names.
fn frozen(topic: &str) -> Vec<(String, Record)> {
    let path = Path::new("../../schemas/frozen/v0.1").join(topic).with_extension("json");
    let records: Vec<Value> = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let one = |(offset, record): (usize, Value)| {
        let headers = record["headers"].as_object().unwrap();
        let value = match &record["value"] {
            Value::Null => None,
            Value::String(text) => Some(Bytes::from(text.clone())),
            json => Some(Bytes::from(json.to_string())),
        };
        let read = Record {
            offset: offset as u64,
            append_time: WallMs::new(1_772_550_000_250),
            key: record["key"].as_str().map(|key| Bytes::from(key.to_owned())),
            value,
            headers: headers.iter().map(|(name, value)| header(name, value.as_str().unwrap())).collect(),
        };
        (record["name"].as_str().unwrap().to_owned(), read)
    };
    records.into_iter().enumerate().map(one).collect()
}

#[test]
fn sch_2_claims_and_epochs_of_version_0_1_keep_zombies_out() {
    for (topic, owner) in [("schedule", "scheduler-0"), ("fetch-requests", "scheduler-0"), ("carriers", "fetcher-0")] {
        let records = frozen(topic);
        let of = |record: &Record| claims::is_claim(record).then(|| claims::claim_owner(record).unwrap());
        let owners: Vec<String> = records.iter().filter_map(|(_, record)| of(record)).collect();
        assert_eq!(owners, [owner], "{topic}");
        for (name, record) in records.iter().filter(|(name, _)| name != "claim" && !name.starts_with("scheduler-")) {
            assert_eq!(claims::epoch_of(record), Ok(41), "{topic}/{name}");
        }
    }
}

#[test]
fn fet_1_headers_of_version_0_1_name_their_attempts() {
    for (topic, request_offset) in [("fetch-requests", None), ("fetch-results", Some(812)), ("outcomes", Some(812))] {
        for (name, record) in frozen(topic).iter().filter(|(name, _)| name != "claim") {
            let named = NamedAttempt::of(record).unwrap_or_else(|| panic!("{topic}/{name} names no attempt"));
            assert_eq!((named.attempt, named.request_offset), (1_772_438_400_124, request_offset), "{topic}/{name}");
            assert_eq!(named.key.carrier.as_str(), "dhl-germany", "{topic}/{name}");
        }
    }
}

#[test]
fn dead_letters_of_version_0_1_are_read() {
    let records = frozen("dead-letters");
    let letters: Vec<Letter> = records.iter().filter_map(|(_, record)| Letter::of(record)).collect();
    let said: Vec<_> = letters
        .iter()
        .map(|letter| (letter.reason.as_str(), letter.service.as_str(), letter.from.partition, letter.from_offset))
        .collect();
    assert_eq!(said, [("request_unreadable", "fetcher", 3, 812), ("unreadable", "store", 0, 7)]);
    assert_eq!(letters[0].value.as_deref(), Some(b"{no json".as_slice()));
    assert!(letters[1].value_omitted && !letters[0].value_omitted);
    let marks: Vec<Vec<u64>> = records.iter().filter_map(|(_, record)| letters::replayed(record)).collect();
    assert_eq!(marks, [[4, 7]]);
}
