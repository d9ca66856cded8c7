//! `waybill.carriers` → `carriers`: one row a budget and writer. Claims are no rows, and writers that a later version adds
//! are left alone.

use waybill_log::Record;
use waybill_schemas::{
    BudgetName,
    politeness::{FetcherBudgetRecord, SchedulerBudgetRecord},
    schedule::CLAIM_KEY,
};

use super::{Unreadable, epoch, instant, json, needed, state_version, words::Worded};
use crate::{
    buffer::Filling,
    columns::{BudgetWriter, Instant, LogPlace, Part, Word, table_row},
};

table_row! {
    /// What one writer says of a budget.
    CarrierRow in "carriers", |_| Part::ALL, {
        budget: Word<'a>,
        writer: BudgetWriter,
        at: Instant,
        tat: Option<Instant>,
        quota_day: Option<&'a str>,
        quota_used: Option<u32>,
        blocked_until: Option<Instant>,
        block_reason: Option<Word<'a>>,
        backoff_ms: Option<i64>,
        streak_unavailable: Option<u32>,
        streak_unreadable: Option<u32>,
        streak_blocked: Option<u32>,
        refused_at: Option<Instant>,
        rate_per_second: Option<f64>,
        burst: Option<u32>,
        concurrency: Option<u32>,
        quota_requests: Option<u32>,
        min_interval_s: Option<u32>,
        active: Option<u64>,
        stopped: Option<u64>,
        queue: Option<u64>,
        in_flight: Option<u64>,
        oldest_due: Option<Instant>,
        stretch_ratio: Option<f64>,
        version: u128,
        is_deleted: u8,
        log: LogPlace,
    }
}

fn blank<'a>(budget: &'a BudgetName, writer: BudgetWriter, record: &Record, log: LogPlace) -> CarrierRow<'a> {
    CarrierRow {
        budget: Word(budget.as_str()),
        writer,
        at: log.time,
        tat: None,
        quota_day: None,
        quota_used: None,
        blocked_until: None,
        block_reason: None,
        backoff_ms: None,
        streak_unavailable: None,
        streak_unreadable: None,
        streak_blocked: None,
        refused_at: None,
        rate_per_second: None,
        burst: None,
        concurrency: None,
        quota_requests: None,
        min_interval_s: None,
        active: None,
        stopped: None,
        queue: None,
        in_flight: None,
        oldest_due: None,
        stretch_ratio: None,
        version: state_version(epoch(record), record.offset),
        is_deleted: 0,
        log,
    }
}

pub(super) fn read(record: &Record, log: LogPlace, into: &mut Filling) -> Result<(), Unreadable> {
    let key = record.key_str().ok_or(Unreadable::Key)?;
    if key == CLAIM_KEY {
        return Ok(());
    }
    let (budget, writer) = key.split_once('/').ok_or(Unreadable::Key)?;
    let budget: BudgetName = budget.parse().map_err(|_| Unreadable::Key)?;
    let writer = match writer {
        "fetcher" => BudgetWriter::Fetcher,
        "scheduler" => BudgetWriter::Scheduler,
        _ => return Ok(()),
    };
    let blank = blank(&budget, writer, record, log);
    let Some(value) = &record.value else {
        into.row(0, &CarrierRow { is_deleted: 1, ..blank });
        return Ok(());
    };
    match writer {
        BudgetWriter::Fetcher => {
            let state: FetcherBudgetRecord = json(value)?;
            let budget = state.budget.as_ref();
            let row = CarrierRow {
                at: needed(state.at, "at")?,
                tat: instant(waybill_schemas::WallMs::new(state.tat_us.div_euclid(1_000))),
                quota_day: state.quota_day.as_deref(),
                quota_used: Some(state.quota_used),
                blocked_until: state.blocked_until.and_then(instant),
                block_reason: state.block_reason.as_ref().map(|reason| Word(reason.word())),
                backoff_ms: Some(state.backoff_ms),
                streak_unavailable: Some(state.streaks[0]),
                streak_unreadable: Some(state.streaks[1]),
                streak_blocked: Some(state.streaks[2]),
                refused_at: state.refused_at.and_then(instant),
                rate_per_second: budget.map(|budget| budget.rate_per_second),
                burst: budget.map(|budget| budget.burst),
                concurrency: budget.map(|budget| budget.concurrency),
                quota_requests: budget.and_then(|budget| budget.daily_quota.as_ref()).map(|quota| quota.requests),
                min_interval_s: budget.map(|budget| budget.min_interval_s),
                ..blank
            };
            into.row(0, &row);
        }
        BudgetWriter::Scheduler => {
            let state: SchedulerBudgetRecord = json(value)?;
            let row = CarrierRow {
                at: needed(state.at, "at")?,
                blocked_until: state.blocked_until.and_then(instant),
                active: Some(state.active),
                stopped: Some(state.stopped),
                queue: Some(state.queue),
                in_flight: Some(state.in_flight),
                oldest_due: state.oldest_due.and_then(instant),
                stretch_ratio: Some(state.stretch_ratio),
                ..blank
            };
            into.row(0, &row);
        }
    }
    Ok(())
}
