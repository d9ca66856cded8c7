//! What is being inserted of one partition, as it stands in the commit's metadata (STO-1).
//!
//! A plan names one contiguous range of offsets. It is acknowledged by the log before anything of it is sent, so whoever
//! comes after a crash sends exactly the same ranges under the same tokens. A refused insert has stored nothing (one block,
//! one part), so only then a table's range may be cut; the cut is acknowledged before the shorter range is sent. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Offsets, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) from: u64,
    pub(crate) to: u64,
}

/// Where a table stands that does not take the whole range at once: what is stored ends before `next`; `next..=to` is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Cut {
    next: u64,
    to: u64,
}

/// The range under way of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    first: u64,
    last: u64,
    cuts: BTreeMap<String, Cut>,
}

/// The form of a plan in a commit; the range's first offset is the commit's own.
#[derive(Debug, Serialize, Deserialize)]
struct Metadata {
    v: u32,
    last: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    cuts: BTreeMap<String, Cut>,
}

const VERSION: u32 = 1;

/// What follows from a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Refusal {
    /// A shorter span is to be sent, after the plan has been acknowledged.
    Shorter,
    /// This one record is what is refused.
    Poison(u64),
}

/// What follows from a span that is done with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Passed {
    /// The table has taken the whole range.
    Done,
    /// The next span is to be sent, after the plan has been acknowledged.
    More,
}

impl Plan {
    pub(crate) fn new(first: u64, last: u64) -> Self {
        Self { first, last, cuts: BTreeMap::new() }
    }

    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// What is to be sent to a table now; `None` when it has everything.
    pub(crate) fn span(&self, table: &str) -> Option<Span> {
        let cut = self.cuts.get(table).copied().unwrap_or(Cut { next: self.first, to: self.last });
        (cut.next <= self.last).then_some(Span { from: cut.next, to: cut.to })
    }

    /// The table has stored its span, or the only record in it went to the dead letters.
    pub(crate) fn passed(&mut self, table: &str) -> Passed {
        let Some(span) = self.span(table) else { return Passed::Done };
        let whole = span.to >= self.last;
        self.cuts.insert(table.to_owned(), Cut { next: span.to + 1, to: self.last });
        if whole { Passed::Done } else { Passed::More }
    }

    /// The table refused its span for what stands in it. `offsets` are the records with rows in the span, in order.
    pub(crate) fn refused(&mut self, table: &str, offsets: &[u64]) -> Refusal {
        let Some(span) = self.span(table) else { return Refusal::Shorter };
        match offsets {
            [] => Refusal::Shorter,
            [only] => Refusal::Poison(*only),
            several => {
                let to = several[several.len() / 2 - 1];
                self.cuts.insert(table.to_owned(), Cut { next: span.from, to });
                Refusal::Shorter
            }
        }
    }

    /// The text for the commit.
    pub(crate) fn metadata(&self) -> String {
        let metadata = Metadata { v: VERSION, last: self.last, cuts: self.cuts.clone() };
        serde_json::to_string(&metadata).unwrap_or_default()
    }

    /// The plan of a commit: `None` when nothing was under way, an error when the text is not understood.
    pub(crate) fn of_commit(offset: u64, metadata: &str) -> Result<Option<Self>, ()> {
        if metadata.is_empty() {
            return Ok(None);
        }
        let read: Metadata = serde_json::from_str(metadata).map_err(|_| ())?;
        if read.v != VERSION || read.last < offset {
            return Err(());
        }
        Ok(Some(Self { first: offset, last: read.last, cuts: read.cuts }))
    }
}

/// The name under which ClickHouse remembers an insert. It must never stand for two row sets.
pub(crate) fn token(topic: &str, partition: u32, span: Span, table: &str) -> String {
    format!("{topic}:{partition}:{}-{}:{table}", span.from, span.to)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
