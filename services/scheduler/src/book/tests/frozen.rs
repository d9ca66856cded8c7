//! What stands in people's changelogs: see schemas/frozen/README.md.

use super::*;

/// What reading a record and writing it again comes to.
fn through(key: &ShipmentKey, record: ScheduleRecord) -> ScheduleRecord {
    let mut book = book(1.0, 1);
    let now = Now::at(WallMs::new(1_772_560_000_000), JourneyScale::REAL);
    book.restore(key.clone(), record, &now);
    book.check().unwrap();
    book.rewrite(&key.record_key());
    let mut written = book.take_changes().remove(0).1.unwrap();
    // The sentence is this version's: it is made from the rule.
    written.why.text.clear();
    written
}

#[test]
fn sch_1_numbers_of_version_0_1_are_restored_as_they_were_with_what_a_later_version_added() {
    let records = include_str!("../../../../../schemas/frozen/v0.1/schedule.json");
    let records: Vec<serde_json::Value> = serde_json::from_str(records).unwrap();
    let mut restored = 0;
    for record in &records {
        let Some(key) = ShipmentKey::from_record_key(record["key"].as_str().unwrap()) else { continue };
        let mut value = record["value"].clone();
        value["of_tomorrow"] = serde_json::json!({ "deep": [1, null] });
        value["registration"]["of_tomorrow"] = serde_json::json!(2);
        value["memories"]["of_tomorrow"] = serde_json::json!("Aw");
        let mut wanted: ScheduleRecord = serde_json::from_value(value).unwrap();
        let written = through(&key, wanted.clone());
        wanted.why.text.clear();
        assert_eq!(written, wanted, "{}", record["name"]);
        restored += 1;
    }
    assert!(restored > 15, "{restored}");
}
