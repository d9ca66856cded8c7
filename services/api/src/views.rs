//! ClickHouse's flat rows as the nested shapes of the interface: columns bear the same names, nested by `_`.

use serde_json::{Map, Value, json};

/// Objects of a shipment whose fields are columns `<object>_<field>`.
pub const SHIPMENT_OBJECTS: [&str; 4] = ["latest_event", "since", "estimated_delivery", "last_outcome"];
/// Objects of an event.
pub const EVENT_OBJECTS: [&str; 1] = ["source"];

/// Nests a flat row. An object whose fields are all null or empty becomes null; `milestone_<name>_<field>` columns become
/// `milestones.{Name}.{field}` for those reached.
pub fn nest(flat: Map<String, Value>, objects: &[&str]) -> Value {
    let mut nested = Map::new();
    let mut milestones: Map<String, Value> = Map::new();
    let mut has_milestones = false;
    for (column, value) in flat {
        if let Some(rest) = column.strip_prefix("milestone_") {
            has_milestones = true;
            if let Some((name, field)) = milestone_field(rest)
                && !is_blank(&value)
            {
                let entry = milestones.entry(name).or_insert_with(|| json!({}));
                entry[field] = value;
            }
            continue;
        }
        let object = objects.iter().find(|object| {
            column.len() > object.len() + 1 && column.starts_with(**object) && column.as_bytes()[object.len()] == b'_'
        });
        match object {
            Some(object) => {
                let field = column[object.len() + 1..].to_owned();
                let entry = nested.entry((*object).to_owned()).or_insert_with(|| json!({}));
                entry[field] = value;
            }
            None => {
                nested.insert(column, value);
            }
        }
    }
    for object in objects {
        let empty = nested.get(*object).and_then(Value::as_object).is_some_and(|fields| fields.values().all(is_blank));
        if empty {
            nested.insert((*object).to_owned(), Value::Null);
        }
    }
    if has_milestones {
        nested.insert("milestones".to_owned(), Value::Object(milestones));
    }
    Value::Object(nested)
}

fn is_blank(value: &Value) -> bool {
    value.is_null() || value.as_str() == Some("")
}

/// `out_for_delivery_time_utc` → (`OutForDelivery`, `time_utc`).
fn milestone_field(column: &str) -> Option<(String, &str)> {
    let field = ["_time_utc", "_seen_at", "_time"].into_iter().find(|field| column.ends_with(field))?;
    let name = column[..column.len() - field.len()]
        .split('_')
        .map(|word| {
            let mut letters = word.chars();
            letters.next().map(|first| first.to_uppercase().chain(letters).collect::<String>()).unwrap_or_default()
        })
        .collect();
    Some((name, &field[1..]))
}

/// Orders events newest first: by instant when all are known, else by printed local time. An event without a time of day
/// keeps its place among those that were published with it (DESIGN §9), and equal times keep the order of publication,
/// which is the normalizer's.
pub fn newest_first(events: &mut [Value]) {
    let attempt = |event: &Value| event["source"]["attempt"].as_i64().unwrap_or_default();
    events.sort_by_key(|event| (attempt(event), event["log_offset"].as_u64().unwrap_or_default()));
    let all_known = events.iter().all(|event| event["time_utc"].is_string());
    let mut keys: Vec<String> = Vec::with_capacity(events.len());
    for (index, event) in events.iter().enumerate() {
        let before = index.checked_sub(1).filter(|before| attempt(&events[*before]) == attempt(event));
        let own = printed(event, all_known);
        let key = match before.map(|before| &keys[before]) {
            // Nothing printed, or only the day that its neighbour has too.
            Some(neighbour) if own.is_empty() || (own.len() == 10 && neighbour.starts_with(&own)) => neighbour.clone(),
            None if own.is_empty() => first_printed(&events[index..], all_known),
            _ => own,
        };
        keys.push(key);
    }
    let mut order: Vec<usize> = (0..events.len()).collect();
    order.sort_by(|a, b| keys[*b].cmp(&keys[*a]).then(b.cmp(a)));
    let sorted: Vec<Value> = order.into_iter().map(|index| events[index].take()).collect();
    for (place, event) in events.iter_mut().zip(sorted) {
        *place = event;
    }
}

/// The time that counts, as text that sorts: without an offset, which is the same for all where instants are compared.
fn printed(event: &Value, all_known: bool) -> String {
    let time = if all_known { &event["time_utc"] } else { &event["time"] };
    let text = time.as_str().unwrap_or_default();
    let end = text.find('T').map_or(text.len(), |t| text[t..].find(['+', '-', 'Z']).map_or(text.len(), |end| t + end));
    text[..end].to_owned()
}

fn first_printed(events: &[Value], all_known: bool) -> String {
    events.iter().map(|event| printed(event, all_known)).find(|time| !time.is_empty()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn columns_become_objects_and_blank_objects_null() {
        let flat = json!({
            "carrier": "x", "latest_event_text": "Hello", "latest_event_time_raw": "1 May",
            "since_time": "", "since_seen_at": null, "event_count": 2,
            "milestone_out_for_delivery_time_utc": "2026-01-01T00:00:00Z", "milestone_delivered_time": null,
        });
        let nested = nest(flat.as_object().unwrap().clone(), &SHIPMENT_OBJECTS);
        assert_eq!(nested["latest_event"]["time_raw"], "1 May");
        assert_eq!(nested["since"], Value::Null);
        assert_eq!(nested["event_count"], 2);
        assert_eq!(nested["milestones"], json!({"OutForDelivery": {"time_utc": "2026-01-01T00:00:00Z"}}));
    }

    #[test]
    fn events_are_ordered_newest_first() {
        let event = |time: Option<&str>, attempt: i64, log_offset: u64| json!({"time": time, "source": {"attempt": attempt}, "log_offset": log_offset});
        let mut events = vec![
            event(Some("2026-01-01T10:00"), 1, 10),
            event(None, 1, 11),
            event(Some("2026-01-02T09:00+01:00"), 1, 12),
            event(Some("2026-01-02"), 1, 13),
            // Found by a later look, and older.
            event(Some("2026-01-01T12:00"), 2, 20),
            event(Some("2026-01-03T08:00"), 2, 21),
        ];
        newest_first(&mut events);
        let order: Vec<u64> = events.iter().map(|event| event["log_offset"].as_u64().unwrap()).collect();
        assert_eq!(order, [21, 13, 12, 20, 11, 10]);
    }
}
