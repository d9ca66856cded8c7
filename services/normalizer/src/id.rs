//! Identity of events (NRM-2): hash(carrier, number, instance) beside hash(folded raw fields, ordinal among equals).
//!
//! Only the carrier's words take part, never what a mapping or a clock makes of them. What is hashed is fixed for ever:
//! an altered byte of input duplicates everybody's history, so the tests pin values.

use std::collections::HashMap;

use unicode_normalization::UnicodeNormalization;
use waybill_schemas::{ShipmentKey, event::RawEvent};
use xxhash_rust::xxh3::xxh3_64;

/// Names of U+00A0 to U+00FF in HTML, in the order of their code points.
const LATIN_1: &str = "nbsp iexcl cent pound curren yen brvbar sect uml copy ordf laquo not shy reg macr deg plusmn sup2 \
    sup3 acute micro para middot cedil sup1 ordm raquo frac14 frac12 frac34 iquest Agrave Aacute Acirc Atilde Auml Aring \
    AElig Ccedil Egrave Eacute Ecirc Euml Igrave Iacute Icirc Iuml ETH Ntilde Ograve Oacute Ocirc Otilde Ouml times Oslash \
    Ugrave Uacute Ucirc Uuml Yacute THORN szlig agrave aacute acirc atilde auml aring aelig ccedil egrave eacute ecirc euml \
    igrave iacute icirc iuml eth ntilde ograve oacute ocirc otilde ouml divide oslash ugrave uacute ucirc uuml yacute thorn \
    yuml";

const OTHERS: [(&str, char); 15] = [
    ("amp", '&'),
    ("lt", '<'),
    ("gt", '>'),
    ("quot", '"'),
    ("apos", '\''),
    ("ndash", '\u{2013}'),
    ("mdash", '\u{2014}'),
    ("lsquo", '\u{2018}'),
    ("rsquo", '\u{2019}'),
    ("ldquo", '\u{201c}'),
    ("rdquo", '\u{201d}'),
    ("bull", '\u{2022}'),
    ("hellip", '\u{2026}'),
    ("euro", '\u{20ac}'),
    ("trade", '\u{2122}'),
];

/// Longest entity that is looked for, between `&` and `;`.
const LONGEST_ENTITY: usize = 10;

/// Hash of one life of a shipment: the first half of its events' ids.
pub fn shipment_hash(key: &ShipmentKey, instance: u32) -> u64 {
    let mut bytes = Vec::with_capacity(96);
    push(&mut bytes, key.carrier.as_str());
    push(&mut bytes, key.number.as_str());
    bytes.extend(instance.to_le_bytes());
    xxh3_64(&bytes)
}

/// Hands out the second half of events' ids. Events are shown oldest first in the order of the journey: then of several
/// events with the same words the oldest has ordinal 0, whichever end of its page a carrier adds to, and a further one
/// never takes the id of another.
#[derive(Debug, Default)]
pub struct EventHasher {
    seen: HashMap<u64, u32>,
}

impl EventHasher {
    /// The hash of the next event.
    pub fn next(&mut self, event: &RawEvent) -> u64 {
        let mut bytes = Vec::with_capacity(128);
        let code = event.code.as_deref().unwrap_or_default();
        let place = event.location.as_deref().unwrap_or_default();
        for field in [event.time_raw.as_str(), code, &event.text, place] {
            push(&mut bytes, &folded(field));
        }
        let ordinal = self.seen.entry(xxh3_64(&bytes)).or_default();
        bytes.extend(ordinal.to_le_bytes());
        *ordinal += 1;
        xxh3_64(&bytes)
    }
}

fn push(bytes: &mut Vec<u8>, text: &str) {
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    bytes.extend(length.to_le_bytes());
    bytes.extend(text.as_bytes());
}

/// A raw field as it is compared: entities decoded once, NFC, every run of white space one space, ends trimmed.
pub fn folded(text: &str) -> String {
    let decoded = if text.contains('&') { decode(text) } else { text.to_owned() };
    let mut out = String::with_capacity(decoded.len());
    let mut gap = false;
    for c in decoded.nfc() {
        if c.is_whitespace() {
            gap = true;
        } else {
            if gap && !out.is_empty() {
                out.push(' ');
            }
            gap = false;
            out.push(c);
        }
    }
    out
}

fn decode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('&') {
        out.push_str(&rest[..start]);
        let after = &rest[start + 1..];
        let entity = after.bytes().take(LONGEST_ENTITY + 1).position(|b| b == b';').map(|end| &after[..end]);
        match entity.and_then(|name| character(name).map(|c| (c, name.len()))) {
            Some((c, length)) => {
                out.push(c);
                rest = &after[length + 1..];
            }
            None => {
                out.push('&');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

fn character(name: &str) -> Option<char> {
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok()?,
            None => number.parse().ok()?,
        };
        return char::from_u32(code);
    }
    if let Some((_, c)) = OTHERS.iter().find(|(known, _)| *known == name) {
        return Some(*c);
    }
    let place = LATIN_1.split_whitespace().position(|known| known == name)?;
    char::from_u32(0xa0 + u32::try_from(place).ok()?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn event(time: &str, text: &str) -> RawEvent {
        RawEvent { time_raw: time.into(), text: text.into(), ..RawEvent::default() }
    }

    #[test]
    fn nrm_2_folding_forgives_entities_composition_and_white_space_and_nothing_else() {
        assert_eq!(LATIN_1.split_whitespace().count(), 96);
        assert_eq!(folded("  Zugestellt\u{a0}\n in  M&uuml;nchen "), "Zugestellt in München");
        assert_eq!(folded("Mu\u{308}nchen"), folded("M&#252;nchen"));
        assert_eq!(folded("M&#xFC;nchen"), "München");
        assert_eq!(folded("a &amp;lt; b"), "a &lt; b");
        assert_eq!(folded("R&D; x & y &unknown; &#xffffffff; &"), "R&D; x & y &unknown; &#xffffffff; &");
        assert_ne!(folded("Delivered"), folded("delivered"));
    }

    #[test]
    fn nrm_2_ids_are_pinned_for_ever() {
        let key = ShipmentKey::new("dhl-germany".parse().unwrap(), "RR123456785DE".parse().unwrap());
        assert_eq!(format!("{:016x}", shipment_hash(&key, 1)), "d9e9829f717e0491");
        let mut hasher = EventHasher::default();
        let full = RawEvent {
            code: Some("Z1".into()),
            location: Some("Bonn".into()),
            ..event("01.02.2026 10:15", "Zugestellt")
        };
        assert_eq!(format!("{:016x}", hasher.next(&full)), "41a97c5424c1d9b5");
        assert_eq!(format!("{:016x}", hasher.next(&full)), "d822f5e5e9603206");
    }

    #[test]
    fn nrm_2_fields_cannot_be_confused_with_one_another() {
        let mut ids: Vec<u64> = Vec::new();
        for (time, text, code, place) in
            [("ab", "c", None, None), ("a", "bc", None, None), ("ab", "", Some("c"), None), ("ab", "", None, Some("c"))]
        {
            let event =
                RawEvent { code: code.map(str::to_owned), location: place.map(str::to_owned), ..event(time, text) };
            ids.push(EventHasher::default().next(&event));
        }
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 4);
    }

    #[test]
    fn nrm_2_what_a_mapping_or_reader_adds_takes_no_part() {
        let plain = event("2026-01-01", "Arrived");
        let dressed = RawEvent { leg: 2, selector: "tr:nth(4)".into(), country: Some("AT".into()), ..plain.clone() };
        assert_eq!(EventHasher::default().next(&plain), EventHasher::default().next(&dressed));
    }

    #[test]
    fn lives_numbers_and_carriers_differ() {
        let key = |carrier: &str, number: &str| ShipmentKey::new(carrier.parse().unwrap(), number.parse().unwrap());
        let all = [
            shipment_hash(&key("ups", "ABC1"), 1),
            shipment_hash(&key("ups", "ABC1"), 2),
            shipment_hash(&key("usps", "ABC1"), 1),
            shipment_hash(&key("ups", "ABC11"), 1),
        ];
        for (place, hash) in all.iter().enumerate() {
            assert!(!all[..place].contains(hash));
        }
    }
}
