//! How a carrier is, for people: what the topics and this process say of it, put together. Pure.

use serde_json::{Map, Value, json};
use waybill_schemas::WallMs;

/// A carrier with its state: `degraded`, `drift`, `canary`, `refuses_automation` and `robots` beside the raw state.
pub(crate) fn described(info: Value, mut state: Value, adapter: &Value, lifted_at: Option<WallMs>) -> Value {
    let slug = info["slug"].as_str().unwrap_or_default().to_owned();
    let health = state["scheduler"]["carriers"][slug.as_str()].clone();
    if let Some(scheduler) = state["scheduler"].as_object_mut() {
        // Told below, without the windows that are nobody's business.
        scheduler.remove("carriers");
    }
    let mut shown = info;
    shown["adapter"] = json!({
        "version": adapter["version"], "mapping_version": adapter["mapping_version"], "refused": adapter["refused"],
    });
    shown["degraded"] = health["degraded"].clone();
    shown["drift"] = drift(&health);
    shown["canary"] = canary(&adapter["candidate"], &health["trial"], &health["stable"]);
    shown["refuses_automation"] = refusal(&state["fetcher"], lifted_at);
    shown["robots"] = state["fetcher"]["robots"].clone();
    shown["state"] = state;
    shown
}

fn drift(health: &Value) -> Value {
    if !health["stable"].is_object() {
        return Value::Null;
    }
    let version = |watch: &Value| {
        let told = ["version", "since", "looks", "shares"].map(|name| (name.to_owned(), watch[name].clone()));
        if watch.is_object() { Value::Object(Map::from_iter(told)) } else { Value::Null }
    };
    json!({
        "stable": version(&health["stable"]), "former": version(&health["former"]), "new_fields": health["new_fields"],
    })
}

/// The candidate as it is loaded, and what its trial has come to; a trial of an older candidate is no news.
fn canary(candidate: &Value, trial: &Value, stable: &Value) -> Value {
    if !candidate.is_object() {
        return Value::Null;
    }
    let mut shown = candidate.clone();
    if trial["version"] == candidate["version"] {
        for name in ["looks", "since", "shares", "differing", "verdict", "stopped"] {
            shown[name] = trial[name].clone();
        }
        let own = trial["control_shares"].is_object();
        shown["control_shares"] = if own { trial["control_shares"].clone() } else { stable["shares"].clone() };
    }
    shown
}

/// The mark of a carrier that refuses automation, unless a person has lifted it since.
fn refusal(fetcher: &Value, lifted_at: Option<WallMs>) -> Value {
    let marked: Option<WallMs> = serde_json::from_value(fetcher["refused_at"].clone()).ok();
    match marked {
        Some(marked) if lifted_at.is_none_or(|lifted| lifted < marked) => json!({
            "since": marked,
            "remedy": "PATCH this carrier with {\"refuses_automation\": false} once the carrier agrees",
        }),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> Value {
        json!({
            "fetcher": { "refused_at": "2026-03-03T15:00:00.000Z", "robots": { "a.example": { "allowed": true } } },
            "scheduler": { "active": 3, "carriers": {
                "acme": {
                    "degraded": { "since": "2026-03-03T14:00:00.000Z", "reasons": ["unreadable"] },
                    "stable": { "version": "a", "looks": 9, "shares": { "unreadable": 0.5 }, "windows": { "unreadable": [[8, 4]] } },
                    "trial": { "version": "b", "looks": 4, "verdict": "undecided", "differing": 0 },
                },
                "other": { "degraded": { "since": "2026-03-03T14:00:00.000Z", "reasons": ["vanished"] } },
            } },
        })
    }

    #[test]
    fn a_carrier_is_told_with_what_is_its_own() {
        let adapter = json!({ "version": "a", "candidate": { "version": "b", "share": 0.1 }, "refused": null });
        let shown = described(json!({ "slug": "acme" }), state(), &adapter, None);
        assert_eq!(shown["degraded"]["reasons"], json!(["unreadable"]));
        assert_eq!(shown["drift"]["stable"]["shares"]["unreadable"], json!(0.5));
        assert_eq!(shown["drift"]["stable"]["windows"], Value::Null);
        assert_eq!((&shown["canary"]["share"], &shown["canary"]["verdict"]), (&json!(0.1), &json!("undecided")));
        assert_eq!(shown["state"]["scheduler"], json!({ "active": 3 }));
        assert_eq!(shown["robots"]["a.example"]["allowed"], json!(true));
        let unknown = described(json!({ "slug": "nobody" }), state(), &Value::Null, None);
        assert_eq!(
            (&unknown["degraded"], &unknown["drift"], &unknown["canary"]),
            (&Value::Null, &Value::Null, &Value::Null)
        );
    }

    #[test]
    fn a_mark_is_shown_until_it_is_lifted() {
        let marked = WallMs::new(1_772_550_000_000);
        let fetcher = json!({ "refused_at": marked });
        assert!(refusal(&fetcher, None).is_object());
        assert!(refusal(&fetcher, Some(marked.plus_ms(-1))).is_object());
        assert_eq!(refusal(&fetcher, Some(marked)), Value::Null);
        assert_eq!(refusal(&json!({}), None), Value::Null);
    }
}
