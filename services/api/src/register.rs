//! Registration as a pure function: what a caller sent, and what the carriers are, to commands or rejections.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use waybill_schemas::{
    CarrierSlug, JourneyMs, TrackingNumber,
    command::{Command, CommandKind},
    detection::{Candidate, DETECT, Settling},
    limits::MAX_REF_BYTES,
    number::NumberError,
};

use crate::carriers::{CarrierDirectory, CarrierInfo, DetectedNumber};

/// Most parameters, tags, and bytes of each.
const MAX_EXTRAS: usize = 20;
const MAX_EXTRA_BYTES: usize = 256;
/// More than any ISO date-time takes.
const MAX_DATE_BYTES: usize = 40;
/// Most candidates of an undecided number that are tried.
const MOST_TRIED: usize = 6;

/// One number as a caller sends it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// As typed.
    pub number: String,
    /// The carrier's slug; absent: found by the number's form.
    #[serde(default)]
    pub carrier: Option<String>,
    /// What the carrier needs beyond the number.
    #[serde(default)]
    pub params: Option<BTreeMap<String, String>>,
    /// The caller's own reference.
    #[serde(default, rename = "ref")]
    pub reference: Option<String>,
    /// The caller's labels.
    #[serde(default)]
    pub tags: Option<Vec<String>>,
    /// Origin country.
    #[serde(default)]
    pub origin: Option<String>,
    /// Destination country.
    #[serde(default)]
    pub destination: Option<String>,
    /// When the goods were ordered.
    #[serde(default)]
    pub ordered_at: Option<String>,
    /// Whether to find the carrier by trying those that it may be, where none is sure enough.
    #[serde(default)]
    pub settle: bool,
}

/// How the carrier of a number was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Detection {
    /// The caller named it.
    Caller,
    /// By the number's form.
    Number(Candidate),
    /// By trying these, one after another; see the shipment of the pseudo-carrier `detect`.
    Trying {
        /// Best first.
        candidates: Vec<Candidate>,
    },
}

/// A number that was not accepted: a stable code, a sentence, and fields that help.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejection(Value);

/// Every code of a [`Rejection`], as `openapi.json` lists them.
const CODES: [&str; 9] = [
    "number_invalid",
    "carrier_unknown",
    "carrier_not_detected",
    "carrier_ambiguous",
    "carrier_disabled",
    "needs_data",
    "too_many",
    "too_long",
    "country_invalid",
];

impl Rejection {
    fn new(code: &str, message: impl Into<String>) -> Self {
        debug_assert!(CODES.contains(&code), "{code} is not listed");
        Self(json!({ "code": code, "message": message.into() }))
    }

    fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0[name] = value.into();
        self
    }

    /// `{"code","message",…}`.
    pub fn into_json(self) -> Value {
        self.0
    }

    /// The stable code.
    pub fn code(&self) -> &str {
        self.0["code"].as_str().unwrap_or_default()
    }
}

fn invalid(error: &NumberError) -> Rejection {
    Rejection::new("number_invalid", error.to_string())
}

/// What stays the same for all numbers of a call.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// Register or look up.
    pub kind: CommandKind,
    /// Identity of the call; commands are numbered under it.
    pub id: &'a str,
    /// The end of a temporary registration.
    pub until: Option<JourneyMs>,
}

/// Turns one entry into a command.
///
/// # Errors
/// The [`Rejection`], with one of the codes of the interface.
pub fn command(
    entry: Entry,
    index: usize,
    order: Order<'_>,
    carriers: &dyn CarrierDirectory,
) -> Result<(Command, Detection), Rejection> {
    let (info, detection) = match carrier_of(&entry, carriers)? {
        Found::Carrier(info, detection) => (*info, detection),
        Found::Undecided(slug, number, candidates) => {
            check_extras(&entry)?;
            let settling = Settling::Try { candidates: candidates.clone() };
            let command = of(entry, index, order, (slug, number), Some(settling))?;
            return Ok((command, Detection::Trying { candidates }));
        }
    };
    let number = TrackingNumber::canonical(&entry.number, info.hyphens).map_err(|error| invalid(&error))?;
    if !info.enabled {
        let how = if info.sources.is_empty() {
            format!("{} can be recognised and not asked: no interface that is open to us is known", info.name)
        } else {
            let why = info.why_not.as_deref().unwrap_or("it is switched off; an operator can enable it");
            format!("{} is not asked: {why}", info.slug)
        };
        return Err(Rejection::new("carrier_disabled", how));
    }
    let missing: Vec<&String> = info.needs.iter().filter(|need| !has(entry.params.as_ref(), need)).collect();
    if !missing.is_empty() {
        let names: Vec<&str> = missing.iter().map(|name| name.as_str()).collect();
        let how = format!("{} also needs {} in params", info.slug, names.join(" and "));
        return Err(Rejection::new("needs_data", how).with("fields", json!(missing)));
    }
    check_extras(&entry)?;
    Ok((of(entry, index, order, (info.slug, number), None)?, detection))
}

fn of(
    entry: Entry,
    index: usize,
    order: Order<'_>,
    (carrier, number): (CarrierSlug, TrackingNumber),
    settling: Option<Settling>,
) -> Result<Command, Rejection> {
    Ok(Command {
        id: format!("{}-{index}", order.id),
        kind: order.kind,
        carrier,
        number,
        params: entry.params,
        reference: entry.reference,
        tags: entry.tags,
        origin: country("origin", entry.origin)?,
        destination: country("destination", entry.destination)?,
        ordered_at: entry.ordered_at,
        until: order.until,
        settling: settling.map(Box::new),
    })
}

/// Whom a number is registered with.
enum Found {
    Carrier(Box<CarrierInfo>, Detection),
    /// The pseudo-carrier, the number, and whom to try.
    Undecided(CarrierSlug, TrackingNumber, Vec<Candidate>),
}

fn has(params: Option<&BTreeMap<String, String>>, need: &str) -> bool {
    params.and_then(|params| params.get(need)).is_some_and(|value| !value.trim().is_empty())
}

fn carrier_of(entry: &Entry, carriers: &dyn CarrierDirectory) -> Result<Found, Rejection> {
    if let Some(named) = &entry.carrier {
        let slug = named.trim().to_lowercase().parse::<CarrierSlug>().ok();
        let info = slug.and_then(|slug| carriers.find(&slug));
        let shown: String = named.chars().take(60).collect();
        let unknown = || Rejection::new("carrier_unknown", format!("there is no carrier `{shown}`; see /v1/carriers"));
        return info.map(|info| Found::Carrier(Box::new(info), Detection::Caller)).ok_or_else(unknown);
    }
    let detected = carriers.detect(&entry.number).map_err(|error| invalid(&error))?;
    let chosen = detected.carrier.as_ref().and_then(|slug| {
        let offer = detected.candidates.iter().find(|offer| offer.candidate.carrier == *slug)?;
        Some(Found::Carrier(Box::new(carriers.find(slug)?), Detection::Number(offer.candidate.clone())))
    });
    if let Some(chosen) = chosen {
        return Ok(chosen);
    }
    let on = detected.candidates.iter().filter(|offer| offer.enabled).map(|offer| offer.candidate.clone());
    let on: Vec<Candidate> = on.take(MOST_TRIED).collect();
    match DETECT.parse() {
        Ok(slug) if entry.settle && !on.is_empty() => Ok(Found::Undecided(slug, detected.number, on)),
        _ => Err(undecided(&detected)),
    }
}

/// Why no carrier was taken at once, with those that it may be.
fn undecided(detected: &DetectedNumber) -> Rejection {
    let on = detected.candidates.iter().any(|offer| offer.enabled);
    let (code, how) = match (detected.candidates.first(), on) {
        (None, _) => ("carrier_not_detected", "no carrier's number format fits; name the carrier".to_owned()),
        (Some(_), true) => (
            "carrier_ambiguous",
            "no carrier is sure enough to be taken at once; name the carrier, or say settle: true to have them tried"
                .to_owned(),
        ),
        (Some(best), false) => {
            let carrier = &best.candidate.carrier;
            let how = format!("the number looks like one of {carrier}, which is switched off, as are all that fit");
            ("carrier_not_detected", how)
        }
    };
    Rejection::new(code, how).with("candidates", json!(detected.candidates))
}

fn check_extras(entry: &Entry) -> Result<(), Rejection> {
    let short = |what: &str, text: &String, most: usize| {
        let how = || Rejection::new("too_long", format!("{what}: at most {most} bytes"));
        if text.len() > most { Err(how()) } else { Ok(()) }
    };
    let few = |what: &str, count: usize| {
        let how = || Rejection::new("too_many", format!("{what}: at most {MAX_EXTRAS}"));
        if count > MAX_EXTRAS { Err(how()) } else { Ok(()) }
    };
    if let Some(reference) = &entry.reference {
        short("ref", reference, MAX_REF_BYTES)?;
    }
    if let Some(params) = &entry.params {
        few("params", params.len())?;
        for (key, value) in params {
            short("params, each name", key, MAX_EXTRA_BYTES)?;
            short("params, each value", value, MAX_EXTRA_BYTES)?;
        }
    }
    if let Some(tags) = &entry.tags {
        few("tags", tags.len())?;
        for tag in tags {
            short("tags, each", tag, MAX_EXTRA_BYTES)?;
        }
    }
    if let Some(at) = &entry.ordered_at {
        short("ordered_at, an ISO date or date-time", at, MAX_DATE_BYTES)?;
    }
    Ok(())
}

fn country(field: &str, value: Option<String>) -> Result<Option<String>, Rejection> {
    let Some(code) = value.map(|code| code.trim().to_ascii_uppercase()) else { return Ok(None) };
    if code.len() == 2 && code.bytes().all(|b| b.is_ascii_uppercase()) {
        return Ok(Some(code));
    }
    Err(Rejection::new("country_invalid", format!("{field}: write two letters, as in ISO 3166-1")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn code(entry: Value) -> Option<String> {
        let entry: Entry = serde_json::from_value(entry).unwrap();
        check_extras(&entry).err().map(|rejection| rejection.code().to_owned())
    }

    #[test]
    fn the_interface_lists_every_code() {
        let openapi: Value = serde_json::from_str(waybill_schemas::OPENAPI).unwrap();
        let listed = &openapi["components"]["schemas"]["Rejected"]["properties"]["error"]["properties"]["code"];
        assert_eq!(listed["enum"], json!(CODES));
        for code in CODES {
            assert!(listed["description"].as_str().unwrap().contains(&format!("{code}:")), "{code} is not described");
        }
    }

    #[test]
    fn what_is_too_long_is_not_called_too_many() {
        let long = |bytes: usize| "x".repeat(bytes);
        let fits = json!({
            "number": "1", "ref": long(MAX_REF_BYTES), "tags": vec![long(MAX_EXTRA_BYTES); MAX_EXTRAS],
            "params": { "postal_code": long(MAX_EXTRA_BYTES) }, "ordered_at": "2026-03-01T10:00:00+01:00",
        });
        assert_eq!(code(fits), None);
        for (wrong, expected) in [
            (json!({ "number": "1", "ref": long(MAX_REF_BYTES + 1) }), "too_long"),
            (json!({ "number": "1", "tags": [long(MAX_EXTRA_BYTES + 1)] }), "too_long"),
            (json!({ "number": "1", "params": { "a": long(MAX_EXTRA_BYTES + 1) } }), "too_long"),
            (json!({ "number": "1", "params": { long(MAX_EXTRA_BYTES + 1): "a" } }), "too_long"),
            (json!({ "number": "1", "ordered_at": long(MAX_DATE_BYTES + 1) }), "too_long"),
            (json!({ "number": "1", "tags": vec!["a"; MAX_EXTRAS + 1] }), "too_many"),
        ] {
            assert_eq!(code(wrong.clone()).as_deref(), Some(expected), "{wrong}");
        }
    }

    #[test]
    fn a_country_is_two_letters() {
        assert_eq!(country("origin", Some(" de ".to_owned())).unwrap().as_deref(), Some("DE"));
        for wrong in ["", "DEU", "1A", "ß"] {
            let refused = country("origin", Some(wrong.to_owned())).unwrap_err();
            assert_eq!(refused.code(), "country_invalid", "{wrong}");
        }
    }
}
