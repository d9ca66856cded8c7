//! Records of an invented carrier.

use serde_json::{Value, json};

pub const REGISTERED: &str = "2026-09-30T23:00:00.000Z";

pub fn number(n: u32) -> String {
    format!("TEST{n:06}")
}

pub fn key(n: u32) -> String {
    format!("sandbox:{}", number(n))
}

/// The `i`-th event of a number. Numbers divisible by three were registered a month later: two partitions of the table.
pub fn event(n: u32, i: u32, version: u32) -> Value {
    json!({
        "event_id": format!("{:016x}{:016x}", n, i), "version": version,
        "kind": if version == 1 { "scan" } else { "correction" },
        "carrier": "sandbox", "number": number(n), "instance": 1, "ref": format!("order {n}"),
        "registered_at": if n.is_multiple_of(3) { "2026-10-05T00:00:00.000Z" } else { REGISTERED },
        "time_raw": "1 Oct 2026 14:05", "time": "2026-10-01T14:05", "time_utc": null, "time_precision": "minute",
        "zone_source": "unknown", "text": format!("Ankunft in Köln \u{1F4E6} {i}"), "code": "AR", "location": "Köln",
        "country": "DE", "leg": 0, "status": "InTransit", "sub_status": "InTransit_Arrival", "matched_by": "code",
        "seen_at": "2026-10-01T15:00:00.000Z",
        "source": {
            "attempt": 1_790_000_000_000_i64, "payload": null, "adapter": "sandbox", "adapter_version": "a1",
            "mapping_version": "m1", "reader": "page", "selector": "tr[1]"
        }
    })
}

/// A shipment that was delivered after so many hours, or is still on its way.
pub fn shipment(n: u32, delivered_after_hours: Option<i64>, version: i64) -> Value {
    let moment = |hours: i64| {
        let (day, hour) = (1 + hours / 24, hours % 24);
        json!({
            "time": format!("2026-10-{day:02}T{hour:02}:00"), "time_utc": null, "seen_at": "2026-10-20T00:00:00.000Z"
        })
    };
    let mut milestones = json!({ "PickedUp": moment(0) });
    let (status, sub) = match delivered_after_hours {
        Some(hours) => {
            milestones["Delivered"] = moment(hours);
            ("Delivered", "Delivered_Other")
        }
        None => ("InTransit", "InTransit_PickedUp"),
    };
    json!({
        "carrier": "sandbox", "number": number(n), "instance": 1, "ref": null, "origin": "DE",
        "origin_source": "carrier", "destination": "FR", "destination_source": "registration", "status": status,
        "sub_status": sub, "since": moment(0),
        "latest_event": {
            "event_id": format!("{:016x}{:016x}", n, 1), "time_raw": "1 Oct", "time": "2026-10-01", "time_utc": null,
            "text": "Picked up", "location": null, "sub_status": sub
        },
        "milestones": milestones, "estimated_delivery": { "from": "2026-10-04", "to": "2026-10-05", "source": "carrier" },
        "service": "Parcel", "weight": "1.2 kg", "legs": [{ "carrier": "la-poste", "number": "X1" }], "event_count": 2,
        "registered_at": REGISTERED,
        "last_outcome": { "class": "tracked", "at": "2026-10-20T00:00:00.000Z", "detail": null },
        "tracking": "active", "stop_reason": null, "version": version
    })
}

/// The same shipment on its way back after it had been delivered.
pub fn returned(n: u32, version: i64) -> Value {
    let mut shipment = shipment(n, Some(30), version);
    shipment["status"] = json!("Exception");
    shipment["sub_status"] = json!("Exception_Returned");
    shipment
}

pub fn change(n: u32) -> Value {
    json!({
        "carrier": "sandbox", "number": number(n), "instance": 1, "ref": null, "previous": null, "current": "InTransit",
        "sub_status": "InTransit_PickedUp", "first": true, "initial": true, "cause": "poll", "registered_at": REGISTERED,
        "event_time": "2026-10-01", "seen_at": "2026-10-01T15:00:00.000Z", "attempt": 1_790_000_000_000_i64
    })
}

pub fn outcome(n: u32) -> Value {
    json!({
        "carrier": "sandbox", "number": number(n), "instance": 1, "attempt": 1_790_000_000_000_i64, "request_offset": 12,
        "kind": "poll", "class": "needs_data", "detail": "it wants more", "needs": ["postal_code"], "status": null,
        "sub_status": null, "changed": false, "seen_at": "2026-10-01T15:00:00.000Z", "feedback": { "spent": 2 },
        "memories": { "fetcher": "AAEC" }
    })
}

pub fn command(n: u32, kind: &str) -> Value {
    json!({
        "id": format!("c{n}"), "kind": kind, "carrier": "sandbox", "number": number(n),
        "params": { "postal_code": "SECRET-50667" }, "ref": "order", "tags": ["a", "b"], "origin": "DE"
    })
}

pub fn schedule() -> Value {
    json!({
        "registration": { "tags": ["a"], "origin": "DE" }, "ref": "order", "params": { "postal_code": "SECRET-50667" },
        "registered_at": REGISTERED, "instance": 1, "tracking": "active", "stop_reason": null,
        "attempt": 1_790_000_000_000_i64, "due": "2026-10-02T00:00:00.000Z", "not_before": null,
        "why": { "rule": "later", "text": "in six hours", "interval_ms": 21_600_000 }, "status": "InTransit",
        "sub_status": "InTransit_Arrival", "last_change": "2026-10-01T15:00:00.000Z", "interval_ms": 21_600_000
    })
}

pub fn fetcher_state() -> Value {
    json!({
        "tat_us": 1_790_000_000_123_456_i64, "quota_used": 3, "blocked_until": "2026-10-01T15:00:00.000Z",
        "block_reason": "retry_after", "backoff_ms": 500, "streaks": [1, 2, 3],
        "budget": { "rate_per_second": 0.5, "burst": 1, "concurrency": 1, "min_interval_s": 3600 },
        "at": "2026-10-01T14:59:00.000Z"
    })
}

pub fn scheduler_state() -> Value {
    json!({ "active": 7, "stopped": 1, "queue": 2, "in_flight": 1, "stretch_ratio": 1.5, "at": "2026-10-01T14:59:01.000Z" })
}
