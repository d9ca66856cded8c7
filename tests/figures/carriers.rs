//! Answers in the shape of the demonstration's carriers, of any length, and results made of them.

use std::{collections::BTreeMap, fmt::Write, sync::Arc};

use anyhow::{Context, Result, ensure};
use waybill_adapters::{Adapter, Answer, Answers, Catalog, ReadOutcome};
use waybill_schemas::{
    JourneyMs, Memories, Memory, OutcomeClass, WallMs,
    fetch::{FetchRequest, FetchResult, ReadSource, RequestKind},
    shipment::Tracking,
};

/// Events of a typical parcel at its end.
pub(crate) const EVENTS: usize = 12;

/// In October 2026, after the last printed day.
const SEEN_AT: i64 = 1_790_900_000_000;

/// One thing that happens: a page's words, an API's code, an XML's code and words, and where.
type Step = (&'static str, &'static str, &'static str, &'static str, &'static str);

const BEGIN: [Step; 2] = [
    ("Sender preparing item", "ANN", "ANN", "Colis annoncé", "Bristol Mail Centre"),
    ("Item collected from sender", "PUP", "PRC", "Colis pris en charge", "Bristol Mail Centre"),
];
const BETWEEN: [Step; 2] = [
    ("Arrived at sorting centre", "HIN", "ARR", "Colis trié à l'agence", "Swansea (North)"),
    ("Left sorting centre", "HOU", "DEP", "En cours d'acheminement", "Swansea (North)"),
];
const END: [Step; 8] = [
    ("Left the country of origin", "EXP", "EXP", "Sortie du territoire", "Dover"),
    ("Arrived in destination country", "IMP", "IMP", "Entrée sur le territoire", "Antwerp Gateway"),
    ("Handed to customs", "CUS", "DOU", "Présenté en douane", "Antwerp Gateway"),
    ("Released by customs", "CUR", "DLI", "Dédouané", "Antwerp Gateway"),
    ("Delayed by weather", "DLY", "RET", "Retard dû aux intempéries", "Hasselt"),
    ("Tried to deliver, nobody in", "NH1", "ABS", "Destinataire absent", "Hasselt"),
    ("Out for delivery", "OFD", "LIV", "En cours de livraison", "Hasselt"),
    ("Delivered & signed for", "DLV", "LVR", "Livré contre signature", "Hasselt"),
];

/// A journey of so many steps, a day each, oldest first; from 12 to 30.
fn journey(steps: usize) -> Vec<(usize, Step)> {
    let between = steps.saturating_sub(BEGIN.len() + END.len());
    let all = BEGIN.into_iter().chain(BETWEEN.into_iter().cycle().take(between)).chain(END);
    (1..).zip(all).collect()
}

/// The table of `aurora-post`; `at_least` bytes with the menus and scripts that surround real ones.
pub(crate) fn html(steps: usize, at_least: usize) -> Vec<u8> {
    let mut rows = String::new();
    for (day, (text, .., place)) in journey(steps).into_iter().rev() {
        let text = text.replace('&', "&amp;").replace(' ', "\n        ");
        let _ = write!(
            rows,
            "  <tr class=\"even\">\n    <td>{day}&nbsp;Sep&nbsp;2026,\n      10:{day:02}</td>\n    \
             <td class=\"what\">{text}</td>\n    <td>{place}</td>\n  </tr>\n"
        );
    }
    let table = format!(
        "<div id=\"result\"><table id=\"history\"><thead><tr><th>When</th><th>What</th><th>Where</th></tr></thead>\n\
         <tbody>\n{rows}</tbody></table></div>\n"
    );
    let mut around = String::new();
    for n in 0.. {
        if around.len() + table.len() >= at_least {
            break;
        }
        let _ = write!(
            around,
            "<div class=\"menu m{n}\"><h4>Section {n}</h4><ul>\
             <li><a class=\"item\" href=\"/help/topic-{n}?ref=track\" title=\"Help with topic {n}\">Topic {n}</a></li>\
             <li><a class=\"item\" href=\"/shops/{n}\"><span>Shop</span> <b>{n}</b></a></li></ul></div>\n\
             <script>window.layer=window.layer||[];layer.push({{\"event\":\"view\",\"id\":{n},\"a\":[1,2,3]}});</script>\n"
        );
    }
    let page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Track | Aurora Post</title></head>\n\
         <body>\n{around}{table}</body>\n</html>\n"
    );
    page.into_bytes()
}

/// The API answer of `cobalt-cargo`.
pub(crate) fn json(steps: usize) -> Vec<u8> {
    let scan = |(day, (text, code, .., place)): (usize, Step)| {
        serde_json::json!({
            "code": code, "description": text, "facility": { "country": "BE", "name": place },
            "occurredAt": format!("2026-09-{day:02}T16:25:07+02:00"),
        })
    };
    let scans: Vec<_> = journey(steps).into_iter().map(scan).collect();
    let whole = serde_json::json!({ "shipment": { "reference": "CBC1607598502", "scans": scans, "state": "MOVING" } });
    whole.to_string().into_bytes()
}

/// The XML answer of `ember-messagerie`.
pub(crate) fn xml(steps: usize) -> Vec<u8> {
    let mut rows = String::new();
    for (day, (_, _, code, text, place)) in journey(steps).into_iter().rev() {
        let _ = writeln!(
            rows,
            "      <evenement code=\"{code}\"><date>{day:02}/09/2026</date><heure>09h16</heure>\
             <libelle><![CDATA[{text}]]></libelle><g:lieu ville=\"{place}\" pays=\"FR\"/></evenement>"
        );
    }
    let whole = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<suivi xmlns=\"urn:ember:suivi:2\" xmlns:g=\"urn:ember:geo:1\">\n  \
         <colis numero=\"EM00955233191FR\">\n    <evenements>\n{rows}    </evenements>\n  </colis>\n</suivi>\n"
    );
    whole.into_bytes()
}

/// A carrier of the program or of its demonstration.
pub(crate) fn adapter(slug: &str) -> Result<Arc<Adapter>> {
    let catalog = Catalog::embedded()?.with_dir(&waybill_carrier_sim::CARRIERS)?;
    catalog.get(&slug.parse()?).with_context(|| format!("there is no carrier {slug}"))
}

/// Reads an answer, and makes sure that all of it was read.
pub(crate) fn read(adapter: &Adapter, body: &[u8], steps: usize) -> Result<ReadOutcome> {
    let answers = [Answer::saved("page", body)];
    let read = adapter.read(&Answers { number: None, list: &answers });
    let found = read.events.len();
    ensure!(found == steps, "{found} of {steps} events were read: {:?} {:?}", read.class, read.detail);
    let unmatched = read.events.iter().filter(|event| adapter.mapping.map(event).sub_status.is_none()).count();
    ensure!(unmatched == 0, "{unmatched} events of the page mean nothing to the mapping");
    Ok(read)
}

/// Results of looks at parcels of `aurora-post` that have [`EVENTS`] events.
pub(crate) struct Looks {
    /// The carrier.
    pub(crate) adapter: Arc<Adapter>,
    read: ReadOutcome,
}

impl Looks {
    /// Reads the page once.
    pub(crate) fn new() -> Result<Self> {
        let adapter = adapter("aurora-post")?;
        let read = read(&adapter, &html(EVENTS, 0), EVENTS)?;
        Ok(Self { adapter, read })
    }

    /// The fetcher's result for the `n`-th parcel, whose request carried these memories.
    pub(crate) fn result(&self, n: usize, memories: Memories) -> Result<FetchResult> {
        let attempt = if memories.normalizer.is_empty() { 1 } else { 2 };
        Ok(FetchResult {
            request: FetchRequest {
                kind: RequestKind::Poll,
                carrier: self.adapter.slug.clone(),
                number: format!("AP{n:09}GB").parse()?,
                instance: 1,
                reference: Some(format!("order-{n:07}")),
                registered_at: JourneyMs::new(SEEN_AT - 86_400_000),
                registration: waybill_schemas::command::Registration::default(),
                params: BTreeMap::new(),
                attempt,
                expires_at: WallMs::new(SEEN_AT + 60_000),
                tracking: Tracking::Active,
                stop_reason: None,
                memories,
            },
            request_offset: n as u64,
            class: OutcomeClass::Tracked,
            detail: None,
            needs: Vec::new(),
            unchanged: false,
            events: self.read.events.clone(),
            facts: self.read.facts.clone(),
            source: ReadSource {
                adapter: self.adapter.slug.as_str().to_owned(),
                adapter_version: self.adapter.version.clone(),
                source: "page".to_owned(),
                reader: self.read.reader.clone(),
                ..ReadSource::default()
            },
            payload: None,
            fetched_at: WallMs::new(SEEN_AT),
            seen_at: JourneyMs::new(SEEN_AT),
            spent: 1,
            not_before: None,
            fetcher_memory: Some(self.fetcher_memory()),
        })
    }

    /// As many bytes as the fetcher keeps of a page: version, source, digest, and the hash of the payload. Only the fetcher
    /// looks inside, so the content is of no matter here.
    fn fetcher_memory(&self) -> Memory {
        const TAG: usize = 3;
        let fields = [self.adapter.version.len(), "page".len(), size_of::<u64>(), 32];
        Memory(vec![7; 1 + fields.iter().map(|length| TAG + length).sum::<usize>()])
    }
}
