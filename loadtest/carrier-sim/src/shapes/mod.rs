//! The generated carriers, each in the shape of real ones, in a module of its own: what its happenings look like to a
//! careful reader ([`Shape::shown`]) and the page that shows them ([`Shape::answer`]). All are invented.
//!
//! Law (the round trip): reading [`Shape::answer`] through the carrier's adapter gives exactly [`Shape::shown`] of every
//! happening that is visible, as a multiset.

mod aurora_post;
mod bluebird_express;
mod cobalt_cargo;
mod dandelion_paket;
mod ember_messagerie;
mod mangrove_kurir;
mod markup;
mod moonhare_parcel;
mod paper_crane_express;
mod polar_fox_post;
mod redesign;
mod tidewater_freight;

use std::collections::BTreeMap;

use jiff::{Timestamp, Zoned, tz::TimeZone};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::{
    dice::Dice,
    journey::{Geography, Happening, Scan},
    ledger::{AnswerKind, Shown},
};

/// Every generated carrier.
pub(crate) const ALL: [&dyn Shape; 10] = [
    &aurora_post::AuroraPost,
    &bluebird_express::BluebirdExpress,
    &cobalt_cargo::CobaltCargo,
    &dandelion_paket::DandelionPaket,
    &ember_messagerie::EmberMessagerie,
    &mangrove_kurir::MangroveKurir,
    &moonhare_parcel::MoonhareParcel,
    &paper_crane_express::PaperCraneExpress,
    &polar_fox_post::PolarFoxPost,
    &tidewater_freight::TidewaterFreight,
];

/// The generated carrier with this slug.
pub(crate) fn of(carrier: &str) -> Option<&'static dyn Shape> {
    ALL.into_iter().find(|shape| shape.profile().slug == carrier)
}

/// A place as the carrier prints it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) name: &'static str,
    /// ISO 3166-1 alpha-2.
    pub(crate) country: &'static str,
    /// IANA zone.
    pub(crate) zone: &'static str,
}

/// A place of its parts.
const fn place(name: &'static str, country: &'static str, zone: &'static str) -> Place {
    Place { name, country, zone }
}

/// What the carrier's answers are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Media {
    Html,
    Json,
    Xml,
}

/// Words for every scan, in the order of [`Scan::ALL`], two wordings each. A code where the carrier has codes.
pub(crate) type Words = [(&'static str, [&'static str; 2]); 19];

/// What is fixed of a carrier.
#[derive(Debug)]
pub(crate) struct Profile {
    pub(crate) slug: &'static str,
    /// Requests per second that its adapter's budget allows; guarded by a test against the adapter.
    pub(crate) rate: f64,
    /// Requests that one look-up takes.
    pub(crate) requests_per_look: u32,
    pub(crate) media: Media,
    /// Zone in which times are printed, unless the carrier prints those of the places.
    pub(crate) zone: &'static str,
    /// Places at home first.
    pub(crate) places: &'static [Place],
    /// How many of them are at home.
    pub(crate) home: usize,
    pub(crate) words: &'static Words,
}

impl Profile {
    pub(crate) fn looks_per_second(&self) -> f64 {
        self.rate / f64::from(self.requests_per_look)
    }

    pub(crate) fn geography(&self) -> Geography {
        Geography { home: self.home, abroad: self.places.len() - self.home }
    }

    fn place(&self, happening: &Happening) -> Option<&'static Place> {
        self.places.get(happening.place?)
    }

    fn words(&self, scan: Scan) -> &'static (&'static str, [&'static str; 2]) {
        &self.words[scan as usize]
    }

    fn text(&self, happening: &Happening) -> &'static str {
        self.words(happening.scan).1[usize::from(happening.wording & 1)]
    }

    fn code(&self, happening: &Happening) -> &'static str {
        self.words(happening.scan).0
    }

    /// What people see of what has happened, with the time as the carrier prints it; no code.
    fn shown(&self, happening: &Happening, time_raw: String) -> Shown {
        let location = self.place(happening).map(|place| place.name.to_owned());
        Shown { time_raw, text: self.text(happening).to_owned(), location, code: None }
    }

    /// Local time at home.
    fn local(&self, ms: i64) -> Zoned {
        zoned(ms, self.zone)
    }
}

/// Local time in a zone; UTC if the zone were unknown, which a test excludes.
fn zoned(ms: i64, zone: &str) -> Zoned {
    let instant = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH);
    instant.to_zoned(TimeZone::get(zone).unwrap_or(TimeZone::UTC))
}

/// A request as the carrier sees it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ask {
    pub(crate) step: String,
    /// Names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Ask {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// What there is to show at one instant.
#[derive(Debug)]
pub(crate) struct View<'a> {
    pub(crate) seed: u64,
    pub(crate) number: &'a str,
    /// What the carrier asks for beyond the number; right values.
    pub(crate) params: &'a BTreeMap<String, String>,
    /// Journey time in milliseconds.
    pub(crate) now_ms: i64,
    /// The carrier knows the number.
    pub(crate) known: bool,
    /// What is shown, by printed time, oldest first.
    pub(crate) rows: Vec<Row>,
}

/// An event and what a careful reader must extract of it.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) happening: Happening,
    pub(crate) shown: Shown,
}

impl View<'_> {
    /// A value that only the carrier can make, for tokens and cookies.
    fn secret(&self, what: &str) -> String {
        let key = format!("{what}:{}", self.number);
        format!("{:016x}", xxh3_64_with_seed(key.as_bytes(), self.seed))
    }

    /// Noise of a page: it differs at every look though nothing has happened.
    fn noise(&self) -> String {
        format!("{:x}", xxh3_64_with_seed(self.number.as_bytes(), self.now_ms.unsigned_abs()))
    }

    /// Kind of an answer that shows the rows, or says that there are none yet.
    fn kind(&self) -> AnswerKind {
        match (self.known, self.rows.is_empty()) {
            (false, _) => AnswerKind::NotFound,
            (true, true) => AnswerKind::Announced,
            (true, false) => AnswerKind::Events,
        }
    }
}

/// What the carrier answers.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) kind: AnswerKind,
    /// Whether an entity tag goes with it.
    pub(crate) tagged: bool,
}

impl Answer {
    fn new(content_type: &'static str, body: impl Into<Vec<u8>>, kind: AnswerKind) -> Self {
        Self { status: 200, content_type, headers: Vec::new(), body: body.into(), kind, tagged: false }
    }

    fn html(body: String, kind: AnswerKind) -> Self {
        Self::new("text/html; charset=utf-8", body, kind)
    }

    fn json(body: &serde_json::Value, kind: AnswerKind) -> Self {
        Self::new("application/json", body.to_string(), kind)
    }

    fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    fn tagged(mut self) -> Self {
        self.tagged = true;
        self
    }

    fn header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }
}

/// A generated carrier: pure functions only.
pub(crate) trait Shape: Sync {
    /// What is fixed of it.
    fn profile(&self) -> &'static Profile;

    /// The canonical number with a serial below 10⁹.
    fn number(&self, serial: u64) -> String;

    /// What it asks for beyond the number.
    fn params(&self, _dice: &mut Dice) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    /// What a careful reader extracts of a happening; `None` where this carrier shows it outside its history.
    fn shown(&self, happening: &Happening) -> Option<Shown>;

    /// The answer to a step; `None` for a step it does not have.
    fn answer(&self, ask: &Ask, view: &View<'_>) -> Option<Answer>;

    /// The same events in a layout that no adapter knows; for the step that shows events, else the usual answer.
    fn redesigned(&self, ask: &Ask, view: &View<'_>) -> Option<Answer> {
        let usual = self.answer(ask, view)?;
        Some(if usual.kind == AnswerKind::Step { usual } else { redesign::answer(self.profile().media, view) })
    }
}

/// What is visible of happenings, by printed time, oldest first; equal times stay in the order of appearance.
pub(crate) fn rows(shape: &dyn Shape, visible: &[Happening]) -> Vec<Row> {
    let mut rows: Vec<Row> = visible
        .iter()
        .filter_map(|happening| Some(Row { happening: *happening, shown: shape.shown(happening)? }))
        .collect();
    rows.sort_by_key(|row| row.happening.at_ms);
    rows
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn profiles_are_sound() {
        for shape in ALL {
            let profile = shape.profile();
            assert!(profile.slug.parse::<waybill_schemas::CarrierSlug>().is_ok());
            assert!(profile.home >= 3 && profile.places.len() - profile.home >= 2, "{}", profile.slug);
            assert!((5.0..=25.0).contains(&profile.rate), "{}", profile.slug);
            assert!(TimeZone::get(profile.zone).is_ok());
            for place in profile.places {
                assert!(TimeZone::get(place.zone).is_ok(), "{place:?}");
                assert_eq!(place.country.len(), 2);
            }
            for (index, scan) in Scan::ALL.into_iter().enumerate() {
                assert_eq!(scan as usize, index);
                assert!(profile.words(scan).1.iter().all(|text| !text.trim().is_empty()));
            }
        }
    }
}
