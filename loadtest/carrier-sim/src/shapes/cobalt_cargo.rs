//! JSON API: oldest first; an offset in each time, that of the place; codes; strings with spaces that must stay; the
//! announcement is a state and no scan; entity tags. English.

use serde_json::json;

use super::{Answer, Ask, Media, Place, Profile, Shape, View, Words, place, zoned};
use crate::{
    journey::{Happening, Scan},
    ledger::{AnswerKind, Shown},
};

pub(super) struct CobaltCargo;

const PLACES: &[Place] = &[
    place("Antwerp Gateway", "BE", "Europe/Brussels"),
    place("Liège Air Hub", "BE", "Europe/Brussels"),
    place("Gent  Dok Noord", "BE", "Europe/Brussels"),
    place("Hasselt", "BE", "Europe/Brussels"),
    place("Denver CO", "US", "America/Denver"),
    place("Kochi", "IN", "Asia/Kolkata"),
    place("Auckland", "NZ", "Pacific/Auckland"),
    place("Reykjavík", "IS", "Atlantic/Reykjavik"),
];

const WORDS: Words = [
    ("ANN", ["Shipment announced", "Shipment announced"]),
    ("PUP", ["Collected", "Collected by courier"]),
    ("HIN", ["Processed at facility", "Sorted  (belt 4)"]),
    ("HOU", ["Departed facility", "Departed facility "]),
    ("EXP", ["Uplifted from origin", "Left origin country"]),
    ("IMP", ["Arrived at destination gateway", "Touched down"]),
    ("CUS", ["Customs: under review", "Customs: declaration lodged"]),
    ("CUR", ["Customs: released", "Customs: released, duties paid"]),
    ("CUI", ["Customs: information requested", "Customs: waiting for papers from the receiver"]),
    ("DLY", ["Delayed \"on the road\"", "Delayed"]),
    ("OFD", ["With courier", "With courier for delivery"]),
    ("NH1", ["Not home", "Not home\tcard left"]),
    ("ADR", ["Address unknown", "Address could not be found"]),
    ("PPT", ["At pick-up point", "At locker"]),
    ("DLV", ["Handed over", "Handed over to neighbour <2nd floor>"]),
    ("REF", ["Not accepted", "Not accepted by receiver"]),
    ("RTS", ["Going back", "Going back to shipper"]),
    ("RTD", ["Back at shipper", "Back at shipper's dock"]),
    ("LST", ["Missing, case closed", "Missing"]),
];

static PROFILE: Profile = Profile {
    slug: "cobalt-cargo",
    rate: 25.0,
    requests_per_look: 1,
    media: Media::Json,
    zone: "Europe/Brussels",
    places: PLACES,
    home: 4,
    words: &WORDS,
};

impl Shape for CobaltCargo {
    fn profile(&self) -> &'static Profile {
        &PROFILE
    }

    fn number(&self, serial: u64) -> String {
        format!("CBC{:010}", serial * 7 + 1_000_000_000)
    }

    fn shown(&self, happening: &Happening) -> Option<Shown> {
        if happening.scan == Scan::Registered {
            return None;
        }
        let place = PROFILE.place(happening);
        let time = zoned(happening.at_ms, place.map_or(PROFILE.zone, |place| place.zone));
        let time_raw = time.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string();
        Some(Shown { code: Some(PROFILE.code(happening).to_owned()), ..PROFILE.shown(happening, time_raw) })
    }

    fn answer(&self, ask: &Ask, view: &View<'_>) -> Option<Answer> {
        if ask.step != "page" {
            return None;
        }
        if !view.known {
            let body = json!({ "error": { "code": "SHIPMENT_UNKNOWN", "message": "no shipment with this reference" } });
            return Some(Answer::json(&body, AnswerKind::NotFound).status(404));
        }
        let scans: Vec<serde_json::Value> = view
            .rows
            .iter()
            .map(|row| {
                let facility =
                    PROFILE.place(&row.happening).map(|place| json!({ "name": place.name, "country": place.country }));
                json!({
                    "occurredAt": row.shown.time_raw,
                    "code": row.shown.code,
                    "description": row.shown.text,
                    "facility": facility,
                })
            })
            .collect();
        let state = if scans.is_empty() { "ANNOUNCED" } else { "MOVING" };
        let body = json!({ "shipment": { "reference": view.number, "state": state, "scans": scans } });
        Some(Answer::json(&body, view.kind()).tagged())
    }
}
