//! JSON API that wants a postcode beside the number, in a POST's body; hyphens belong to its numbers; times are seconds
//! since 1970, once a string and once a number. English, newest first.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Answer, Ask, Media, Place, Profile, Shape, View, Words, place};
use crate::{
    dice::Dice,
    journey::Happening,
    ledger::{AnswerKind, Shown},
};

pub(super) struct TidewaterFreight;

const PLACES: &[Place] = &[
    place("Esbjerg quay 3", "DK", "Europe/Copenhagen"),
    place("Aarhus", "DK", "Europe/Copenhagen"),
    place("Rønne", "DK", "Europe/Copenhagen"),
    place("Gothenburg", "SE", "Europe/Stockholm"),
    place("Tallinn", "EE", "Europe/Tallinn"),
];

const WORDS: Words = [
    ("10", ["Booking confirmed", "Booking confirmed"]),
    ("20", ["Cargo received", "Cargo gated in"]),
    ("30", ["Unloaded", "In terminal"]),
    ("31", ["Loaded", "Left terminal"]),
    ("40", ["Sailed", "Vessel departed"]),
    ("41", ["Berthed", "Vessel arrived"]),
    ("50", ["Customs entry filed", "Customs inspection"]),
    ("51", ["Customs cleared", "Customs cleared"]),
    ("52", ["Customs query open", "Customs query: papers missing"]),
    ("60", ["Late: rough sea", "Late"]),
    ("70", ["On the truck", "Last mile"]),
    ("71", ["Gate closed, nobody there", "Nobody there"]),
    ("72", ["No such address", "No such address"]),
    ("75", ["Ready at the depot", "Ready at the depot"]),
    ("80", ["Proof of delivery signed", "Delivered"]),
    ("90", ["Consignee refused", "Consignee refused"]),
    ("91", ["Sent back", "Sent back"]),
    ("92", ["Returned to shipper", "Returned to shipper"]),
    ("99", ["Overboard", "Total loss"]),
];

static PROFILE: Profile = Profile {
    slug: "tidewater-freight",
    rate: 6.0,
    requests_per_look: 1,
    media: Media::Json,
    zone: "UTC",
    places: PLACES,
    home: 3,
    words: &WORDS,
};

impl Shape for TidewaterFreight {
    fn profile(&self) -> &'static Profile {
        &PROFILE
    }

    fn number(&self, serial: u64) -> String {
        format!("TW-{:05}-{:04}", serial / 10_000, serial % 10_000)
    }

    fn params(&self, dice: &mut Dice) -> BTreeMap<String, String> {
        BTreeMap::from([("postcode".to_owned(), format!("{:04}", dice.between(1_000, 9_990)))])
    }

    fn shown(&self, happening: &Happening) -> Option<Shown> {
        let time_raw = happening.at_ms.div_euclid(1_000).to_string();
        Some(Shown { code: Some(PROFILE.code(happening).to_owned()), ..PROFILE.shown(happening, time_raw) })
    }

    fn answer(&self, ask: &Ask, view: &View<'_>) -> Option<Answer> {
        if ask.step != "page" {
            return None;
        }
        if !view.known {
            return Some(Answer::json(&json!({ "ok": false, "reason": "NO_BOOKING" }), AnswerKind::NotFound));
        }
        let asked: serde_json::Value = serde_json::from_slice(&ask.body).unwrap_or_default();
        let postcode = asked.get("postcode").and_then(serde_json::Value::as_str);
        if postcode != view.params.get("postcode").map(String::as_str) {
            return Some(Answer::json(&json!({ "ok": false, "reason": "POSTCODE_MISMATCH" }), AnswerKind::Refused));
        }
        let rows: Vec<serde_json::Value> = view
            .rows
            .iter()
            .rev()
            .map(|row| {
                let time = match row.happening.wording {
                    0 => json!(row.happening.at_ms.div_euclid(1_000)),
                    _ => json!(row.shown.time_raw),
                };
                json!({ "ts": time, "st": row.shown.code.as_deref().and_then(|code| code.parse::<u32>().ok()),
                        "msg": row.shown.text, "port": row.shown.location })
            })
            .collect();
        let body = json!({ "ok": true, "booking": view.number, "server_time": view.now_ms / 1_000, "moves": rows });
        Some(Answer::json(&body, view.kind()))
    }
}
