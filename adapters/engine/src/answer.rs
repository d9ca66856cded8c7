//! What a carrier answered, and what reading it came to.

use waybill_schemas::{
    OutcomeClass, UtcMs,
    event::{RawEvent, ShipmentFacts},
};

/// One answer. Headers matter to values that later steps take and to conditions that ask for them; recordings have
/// none.
#[derive(Debug, Clone, Copy, Default)]
pub struct Answer<'a> {
    /// The step that got it: `page`, `token`, `cookie`, `summary` or `detail`.
    pub step: &'a str,
    /// The HTTP status; 200 for saved answers.
    pub status: u16,
    /// The `Content-Type`, with or without parameters.
    pub content_type: Option<&'a str>,
    /// The charset, where the transport or a recording states it apart from the content type.
    pub charset: Option<&'a str>,
    /// Headers as they came.
    pub headers: &'a [(String, String)],
    /// The body after content decoding.
    pub body: &'a [u8],
}

impl<'a> Answer<'a> {
    /// A saved answer.
    pub fn saved(step: &'a str, body: &'a [u8]) -> Self {
        Self { step, status: 200, body, ..Self::default() }
    }
}

/// The answers of one look-up, in the order of its steps.
#[derive(Debug, Clone, Copy, Default)]
pub struct Answers<'a> {
    /// The number asked for; it chooses among several shipments in one answer.
    pub number: Option<&'a str>,
    /// The answers.
    pub list: &'a [Answer<'a>],
}

/// What a reading may depend on beside the answers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reading<'a> {
    /// When the carrier answered; times without a year are understood only if it is known.
    pub seen_at: Option<UtcMs>,
    /// Names of the private fields that the operator wants.
    pub private: &'a [String],
    /// Whether the request asked for several numbers.
    pub asked: Asked,
}

/// What a request asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Asked {
    /// One number: an answer about one shipment is about that.
    #[default]
    One,
    /// Several: what does not bear the number is about another.
    Several,
}

/// What reading the answers came to.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadOutcome {
    /// `tracked`, `not_found`, `registered_no_scan`, `unreadable`, `needs_data`, `blocked`, `throttled` or `carrier_down`.
    pub class: OutcomeClass,
    /// One sentence where there is something to say; never contains the number.
    pub detail: Option<String>,
    /// With `needs_data`: what is missing.
    pub needs: Vec<String>,
    /// Events in the answer's order.
    pub events: Vec<RawEvent>,
    /// What else the answer says.
    pub facts: ShipmentFacts,
    /// The reader that accepted the answer; empty when none did.
    pub reader: String,
    /// Digest of class, events and facts: equal digests mean that the carrier said the same.
    pub digest: u64,
}

impl ReadOutcome {
    pub(crate) fn new(class: OutcomeClass, reader: &str) -> Self {
        Self {
            class,
            detail: None,
            needs: Vec::new(),
            events: Vec::new(),
            facts: ShipmentFacts::default(),
            reader: reader.to_owned(),
            digest: 0,
        }
    }

    pub(crate) fn unreadable(reader: &str, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..Self::new(OutcomeClass::Unreadable, reader) }
    }

    pub(crate) fn sealed(mut self) -> Self {
        let mut hash = xxhash_rust::xxh3::Xxh3::new();
        let mut part = |text: Option<&str>| {
            let text = text.unwrap_or("\u{0}");
            hash.update(&(text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        };
        part(Some(self.class.as_str()));
        for event in &self.events {
            part(Some(&event.time_raw));
            part(event.time.as_ref().map(|time| time.iso.as_str()));
            part(Some(&event.text));
            part(event.code.as_deref());
            part(event.location.as_deref());
            part(event.country.as_deref());
        }
        part(serde_json::to_string(&self.facts).ok().as_deref());
        self.digest = hash.digest();
        self
    }
}
