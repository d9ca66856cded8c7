//! How a reading came about: which reader accepted which answer and why the others did not, what each selector found, and
//! which rule gave each event its meaning. For people who write adapters; nothing else depends on it.

use serde::Serialize;
use waybill_schemas::{
    OutcomeClass, SubStatus,
    event::{RawEvent, ShipmentFacts},
};

use crate::{
    adapter::Adapter,
    answer::{Answers, ReadOutcome, Reading},
    work,
};

/// What an answer looks like before anybody reads it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ExplainedAnswer {
    /// The step that got it.
    pub step: String,
    /// The HTTP status.
    pub status: u16,
    /// Its size in bytes.
    pub bytes: usize,
    /// The content type, where one is known.
    pub content_type: Option<String>,
    /// The charset it was read in, or why it could not be.
    pub charset: String,
}

/// A reader and an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExplainedReader {
    /// The reader's name.
    pub reader: String,
    /// The answer's step.
    pub step: String,
    /// Why it was not accepted; absent when it was.
    pub refused: Option<String>,
    /// What of `accept` holds, in words; absent when it does not.
    pub accepted: Option<String>,
    /// Where `accept` stands, e.g. `acme/adapter.yaml:21`.
    pub place: Option<String>,
}

/// The marker that decided how a look-up ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExplainedMarker {
    /// Its key: `not_found`, `no_scan`, `blocked`, `needs_data`, `throttled`, `down` or `unreadable`.
    pub marker: &'static str,
    /// Where it stands, e.g. `acme/adapter.yaml:36`.
    pub place: Option<String>,
    /// What of its condition holds, in words.
    pub because: String,
}

/// A table of the reader that accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ExplainedTable {
    /// The selector of its rows as written.
    pub rows: String,
    /// How many rows it found; skipped ones and headings are not counted.
    pub found: usize,
    /// Its fields.
    pub fields: Vec<ExplainedField>,
}

/// A field of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExplainedField {
    /// Its name.
    pub name: &'static str,
    /// In how many rows it is not blank.
    pub filled: usize,
    /// The first text it found.
    pub first: String,
}

/// What an event means and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExplainedEvent {
    /// As read.
    pub event: RawEvent,
    /// What it means, before its place in the journey has its say.
    pub sub_status: Option<SubStatus>,
    /// The rule that decided, as written; absent when nothing matched.
    pub rule: Option<String>,
}

/// How a reading came about.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explained {
    /// The answers.
    pub answers: Vec<ExplainedAnswer>,
    /// Every pair that was tried, in that order, up to the one that accepted.
    pub readers: Vec<ExplainedReader>,
    /// What the selectors of the accepting reader found.
    pub tables: Vec<ExplainedTable>,
    /// The marker that decided; absent where rows did, or the want of anything known.
    pub decided: Option<ExplainedMarker>,
    /// The events in the answer's order.
    pub events: Vec<ExplainedEvent>,
    /// What it says outside its tables.
    pub facts: ShipmentFacts,
    /// How it ended.
    pub class: OutcomeClass,
    /// One sentence where there is something to say.
    pub detail: Option<String>,
}

/// What was tried until a reader accepted.
pub(crate) struct Tried {
    pub(crate) answers: Vec<ExplainedAnswer>,
    pub(crate) readers: Vec<ExplainedReader>,
    pub(crate) tables: Vec<ExplainedTable>,
    pub(crate) decided: Option<ExplainedMarker>,
}

impl Adapter {
    /// Reads answers and tells how.
    pub fn explain(&self, answers: &Answers<'_>, reading: Reading<'_>) -> (ReadOutcome, Explained) {
        let outcome = self.read_with(answers, reading);
        let Tried { answers, readers, tables, decided } = work::bounded(|| self.tried(answers, reading, &outcome));
        let events = outcome.events.iter().map(|event| ExplainedEvent {
            event: event.clone(),
            sub_status: self.mapping.map(event).sub_status,
            rule: self.mapping.rule(event),
        });
        let explained = Explained {
            answers,
            readers,
            tables,
            decided,
            events: events.collect(),
            facts: outcome.facts.clone(),
            class: outcome.class,
            detail: outcome.detail.clone(),
        };
        (outcome, explained)
    }
}
