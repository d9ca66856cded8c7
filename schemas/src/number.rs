//! The canonical tracking number and the key of a shipment.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

use crate::carrier::CarrierSlug;

/// Whether hyphens are part of a carrier's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hyphens {
    /// Hyphens are decoration and are removed.
    #[default]
    Remove,
    /// Hyphens belong to the number.
    Keep,
}

/// A canonical tracking number: `[A-Z0-9._-]{3,64}`. It is personal data: `Debug` shows only its ends; `Display` and
/// [`Self::as_str`] show all of it and are for records and answers, never for logs. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TrackingNumber(Arc<str>);

/// Why a text is no tracking number. The number itself is not repeated: errors reach logs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// Fewer than 3 or more than 64 characters once canonical.
    #[error("a tracking number has 3 to 64 characters, this one has {0}")]
    Length(usize),
    /// A character outside the alphabet.
    #[error("a tracking number consists of A-Z, 0-9, dot, underscore and hyphen, this one contains {0:?}")]
    Character(char),
}

/// Characters that stand between others and that nobody sees: soft hyphens, zero-width spaces and joiners, marks of direction and
/// of byte order, selectors of variants (as keyboards on phones add them), and the control characters that scanners send
/// between the parts of a barcode.
pub fn is_invisible(c: char) -> bool {
    let in_text = matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}');
    in_text || (c.is_control() && !c.is_whitespace())
}

/// Hyphens of typography, the en dash and the minus sign, which programs of writing put for a hyphen.
pub fn is_dash(c: char) -> bool {
    matches!(c, '\u{2010}'..='\u{2013}' | '\u{2212}')
}

impl TrackingNumber {
    /// Longest input that is looked at, in bytes; longer ones are refused by their length alone.
    const MAX_INPUT: usize = 1024;

    /// Canonical form of what a person typed: NFKC, trimmed, upper case, white space removed, hyphens as told, without the
    /// full stop or comma of the sentence or list that it ended.
    ///
    /// # Errors
    /// [`NumberError`] when the canonical form is not `[A-Z0-9._-]{3,64}`.
    pub fn canonical(text: &str, hyphens: Hyphens) -> Result<Self, NumberError> {
        Self::checked(Self::folded(text, hyphens)?.trim_end_matches(['.', ',', ';', ':']))
    }

    fn folded(text: &str, hyphens: Hyphens) -> Result<String, NumberError> {
        if text.len() > Self::MAX_INPUT {
            return Err(NumberError::Length(text.chars().count()));
        }
        let plain = text.nfkc().filter(|c| !c.is_whitespace() && !is_invisible(*c));
        let plain = plain.map(|c| if is_dash(c) { '-' } else { c }).flat_map(char::to_uppercase);
        Ok(plain.filter(|c| hyphens == Hyphens::Keep || *c != '-').collect())
    }

    fn checked(canonical: &str) -> Result<Self, NumberError> {
        if let Some(odd) = canonical.chars().find(|c| !matches!(c, 'A'..='Z' | '0'..='9' | '.' | '_' | '-')) {
            return Err(NumberError::Character(odd));
        }
        if !(3..=64).contains(&canonical.len()) {
            return Err(NumberError::Length(canonical.len()));
        }
        Ok(Self(canonical.into()))
    }

    /// The whole number, for records and answers.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TrackingNumber {
    type Err = NumberError;
    /// Reads a number that is canonical already, as in records; hyphens stay.
    fn from_str(text: &str) -> Result<Self, NumberError> {
        Self::checked(&Self::folded(text, Hyphens::Keep)?)
    }
}
impl TryFrom<String> for TrackingNumber {
    type Error = NumberError;
    fn try_from(text: String) -> Result<Self, NumberError> {
        text.parse()
    }
}
impl From<TrackingNumber> for String {
    fn from(number: TrackingNumber) -> Self {
        number.0.as_ref().to_owned()
    }
}
impl fmt::Display for TrackingNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Debug for TrackingNumber {
    /// First two and last two characters, so that logs can be followed and not read (SEC-1).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = &self.0;
        if text.len() < 8 {
            return write!(f, "…[{}]", text.len());
        }
        write!(f, "{}…{}[{}]", &text[..2], &text[text.len() - 2..], text.len())
    }
}

/// What a shipment is known by: a carrier and a number. Written `carrier:number` as a record's key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShipmentKey {
    /// The carrier asked.
    pub carrier: CarrierSlug,
    /// The canonical number.
    pub number: TrackingNumber,
}

impl ShipmentKey {
    /// A key of its parts.
    pub fn new(carrier: CarrierSlug, number: TrackingNumber) -> Self {
        Self { carrier, number }
    }

    /// The key of the shipment's records: `carrier:number`.
    pub fn record_key(&self) -> String {
        format!("{}:{}", self.carrier, self.number)
    }

    /// Reads a record's key back; `None` for anything else, such as `!claim`.
    pub fn from_record_key(key: &str) -> Option<Self> {
        let (carrier, number) = key.split_once(':')?;
        Some(Self { carrier: carrier.parse().ok()?, number: number.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn typed_numbers_become_canonical() {
        let number = |text: &str, hyphens| TrackingNumber::canonical(text, hyphens).map(String::from);
        assert_eq!(number("  rr 123-456 785 de ", Hyphens::Remove).unwrap(), "RR123456785DE");
        assert_eq!(number("ab-12", Hyphens::Keep).unwrap(), "AB-12");
        assert_eq!(number("１２３４５", Hyphens::Remove).unwrap(), "12345");
        assert_eq!(number("12\u{2013}34\u{ad}5\u{200b}6", Hyphens::Remove).unwrap(), "123456");
        assert_eq!(number("ab\u{2011}12", Hyphens::Keep).unwrap(), "AB-12");
        assert_eq!(number("42012345\u{1d}94001\u{61c}2\u{fe0f}", Hyphens::Remove).unwrap(), "42012345940012");
        assert_eq!(number("rr123456785de.", Hyphens::Remove).unwrap(), "RR123456785DE");
        assert_eq!(number("99.00.123456,", Hyphens::Remove).unwrap(), "99.00.123456");
        assert_eq!(
            "AB12.".parse::<TrackingNumber>().map(String::from).unwrap(),
            "AB12.",
            "records are read as written"
        );
        assert_eq!(number("12", Hyphens::Remove), Err(NumberError::Length(2)));
        assert_eq!(number(&"7".repeat(200), Hyphens::Remove), Err(NumberError::Length(200)));
        assert_eq!(number("12;34", Hyphens::Remove), Err(NumberError::Character(';')));
    }

    #[test]
    fn sec_1_debug_hides_the_number() {
        let number: TrackingNumber = "RR123456785DE".parse().unwrap();
        assert_eq!(format!("{number:?}"), "RR…DE[13]");
    }

    #[test]
    fn record_keys_are_read_back() {
        let key = ShipmentKey::new("dhl-germany".parse().unwrap(), "AB-12.3".parse().unwrap());
        assert_eq!(ShipmentKey::from_record_key(&key.record_key()), Some(key));
        assert_eq!(ShipmentKey::from_record_key("!claim"), None);
    }
}
