//! `waybill.outcomes` → `fetch_outcomes`; the memories stay out.

use waybill_log::Record;
use waybill_schemas::{WallMs, outcome::Outcome};

use super::{Unreadable, instant, json, needed, words::Worded};
use crate::{
    buffer::Filling,
    columns::{Instant, LogPlace, Part, Texts, Word, table_row},
};

table_row! {
    /// How an attempt ended.
    OutcomeRow in "fetch_outcomes", |row| Part::month(row.attempted_at), {
        carrier: Word<'a>,
        number: &'a str,
        instance: u32,
        attempt: i64,
        attempted_at: Instant,
        request_offset: u64,
        kind: Word<'a>,
        class: Word<'a>,
        detail: Option<&'a str>,
        needs: Texts<'a>,
        status: Option<Word<'a>>,
        sub_status: Option<Word<'a>>,
        changed: bool,
        seen_at: Instant,
        not_before: Option<Instant>,
        feedback_spent: u32,
        feedback_budget_not_before: Option<Instant>,
        log: LogPlace,
    }
}

pub(super) fn read(record: &Record, log: LogPlace, into: &mut Filling) -> Result<(), Unreadable> {
    let Some(value) = &record.value else { return Ok(()) };
    let outcome: Outcome = json(value)?;
    let row = OutcomeRow {
        carrier: Word(outcome.carrier.as_str()),
        number: outcome.number.as_str(),
        instance: outcome.instance,
        attempt: outcome.attempt,
        attempted_at: needed(WallMs::new(outcome.attempt), "attempt")?,
        request_offset: outcome.request_offset,
        kind: Word(outcome.kind.word()),
        class: Word(outcome.class.as_str()),
        detail: outcome.detail.as_deref(),
        needs: Texts(&outcome.needs),
        status: outcome.status.map(|status| Word(status.as_str())),
        sub_status: outcome.sub_status.map(|sub| Word(sub.as_str())),
        changed: outcome.changed,
        seen_at: needed(outcome.seen_at, "seen_at")?,
        not_before: outcome.not_before.and_then(instant),
        feedback_spent: outcome.feedback.spent,
        feedback_budget_not_before: outcome.feedback.budget_not_before.and_then(instant),
        log,
    };
    into.row(0, &row);
    Ok(())
}
