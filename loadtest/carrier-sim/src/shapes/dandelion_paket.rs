//! JSON API with a token step: the token goes into a header of the second request and belongs to one number. Date and time
//! in separate strings, newest first. German, local time of Vienna.

use serde_json::json;

use super::{Answer, Ask, Media, Place, Profile, Shape, View, Words, place};
use crate::{
    journey::Happening,
    ledger::{AnswerKind, Shown},
};

pub(super) struct DandelionPaket;

const PLACES: &[Place] = &[
    place("Sankt Pölten", "AT", "Europe/Vienna"),
    place("Graz-Süd", "AT", "Europe/Vienna"),
    place("Hall in Tirol", "AT", "Europe/Vienna"),
    place("Wien 23. Bezirk", "AT", "Europe/Vienna"),
    place("Großenhain", "DE", "Europe/Berlin"),
    place("Győr", "HU", "Europe/Budapest"),
];

const WORDS: Words = [
    ("", ["Sendung angekündigt", "Sendungsdaten vom Absender übermittelt"]),
    ("", ["Sendung abgeholt", "Vom Absender übernommen"]),
    ("", ["Im Verteilzentrum eingetroffen", "Sendung sortiert"]),
    ("", ["Verteilzentrum verlassen", "Weitertransport"]),
    ("", ["Ursprungsland verlassen", "Ausfuhr aus dem Ursprungsland"]),
    ("", ["Im Zielland angekommen", "Einfuhr ins Zielland"]),
    ("", ["In Verzollung", "Dem Zoll übergeben"]),
    ("", ["Verzollung abgeschlossen", "Vom Zoll freigegeben"]),
    ("", ["Zoll: Unterlagen fehlen", "Verzollung angehalten, bitte Rechnung nachreichen"]),
    ("", ["Zustellung verzögert sich", "Verspätung wegen Unwetter"]),
    ("", ["In Zustellung", "Im Zustellfahrzeug"]),
    ("", ["Empfänger nicht angetroffen", "Niemand zu Hause, Karte hinterlassen"]),
    ("", ["Adresse unvollständig", "Anschrift nicht auffindbar"]),
    ("", ["Abholbereit in der Filiale", "Liegt im Paketshop bereit"]),
    ("", ["Zugestellt", "An Nachbarn übergeben"]),
    ("", ["Annahme verweigert", "Empfänger hat abgelehnt"]),
    ("", ["Rücksendung eingeleitet", "Auf dem Rückweg zum Absender"]),
    ("", ["An den Absender zurückgegeben", "Retoure beim Absender eingetroffen"]),
    ("", ["Sendung verloren", "Nachforschung ohne Erfolg: verloren"]),
];

static PROFILE: Profile = Profile {
    slug: "dandelion-paket",
    rate: 24.0,
    requests_per_look: 2,
    media: Media::Json,
    zone: "Europe/Vienna",
    places: PLACES,
    home: 4,
    words: &WORDS,
};

impl Shape for DandelionPaket {
    fn profile(&self) -> &'static Profile {
        &PROFILE
    }

    fn number(&self, serial: u64) -> String {
        format!("DP77{serial:010}")
    }

    fn shown(&self, happening: &Happening) -> Option<Shown> {
        let time_raw = PROFILE.local(happening.at_ms).strftime("%d.%m.%Y %H:%M Uhr").to_string();
        Some(PROFILE.shown(happening, time_raw))
    }

    fn answer(&self, ask: &Ask, view: &View<'_>) -> Option<Answer> {
        match ask.step.as_str() {
            "token" => {
                let body = json!({ "sitzung": { "kennung": view.secret("token"), "gueltig": 300 } });
                Some(Answer::json(&body, AnswerKind::Step))
            }
            "detail" if ask.header("x-sitzung") != view.secret("token") => {
                let body = json!({ "fehler": "SITZUNG_UNGUELTIG" });
                Some(Answer::json(&body, AnswerKind::Refused).status(401))
            }
            "detail" => Some(Answer::json(&detail(view), view.kind())),
            _ => None,
        }
    }
}

fn detail(view: &View<'_>) -> serde_json::Value {
    if !view.known {
        return json!({ "ergebnis": "UNBEKANNT", "hinweis": "Zu dieser Nummer liegen keine Daten vor." });
    }
    let rows: Vec<serde_json::Value> = view
        .rows
        .iter()
        .rev()
        .map(|row| {
            let (date, time) = row.shown.time_raw.split_once(' ').unwrap_or_default();
            let place = row.shown.location.as_deref().unwrap_or_default();
            json!({ "datum": date, "uhrzeit": time, "meldung": row.shown.text, "ort": place })
        })
        .collect();
    json!({ "ergebnis": "OK", "abgefragt": view.noise(), "sendung": { "nummer": view.number, "verlauf": rows } })
}
