//! What a partition shows: metrics, and each budget's record on `waybill.carriers` when it has changed.

use std::collections::HashMap;

use metrics::{counter, gauge};
use waybill_politeness::drift::Change;
use waybill_runtime::telemetry::promise_violated_times;
use waybill_schemas::{
    BudgetName, CarrierSlug, WallMs,
    drift::{CarrierWatch, DriftReason},
    politeness::SchedulerBudgetRecord,
};

use crate::{
    book::{BudgetView, Now},
    codec,
    desk::Desk,
};

/// An attempt without an outcome for longer raises an alarm.
const ALARM_MS: i64 = 3_600_000;
/// How much of the used ratio a second replaces.
const SMOOTHING: f64 = 0.1;

#[derive(Debug, Default)]
struct Shown {
    record: SchedulerBudgetRecord,
    spent: u64,
    used: f64,
}

/// What was shown last.
#[derive(Debug)]
pub(crate) struct Observer {
    partition: u32,
    budgets: HashMap<BudgetName, Shown>,
    last: Option<WallMs>,
    alarmed: bool,
}

impl Observer {
    pub(crate) fn new(partition: u32) -> Self {
        Self { partition, budgets: HashMap::new(), last: None, alarmed: false }
    }

    /// About once a second.
    pub(crate) async fn observe(&mut self, desk: &mut Desk, now: &Now) {
        let passed_s = self.last.map_or(1.0, |last| (now.wall.since_ms(last) as f64 / 1e3).max(0.001));
        self.last = Some(now.wall);
        let mut changed = Vec::new();
        for view in desk.book.views(now) {
            let shown = self.budgets.entry(view.name.clone()).or_default();
            show(&view, shown, passed_s);
            let at = shown.record.at;
            let record = SchedulerBudgetRecord { at, ..view.record.clone() };
            if record != shown.record {
                shown.record = view.record.clone();
                changed.push(codec::budget(&desk.context.places, &view.name, &view.record));
            }
        }
        if !changed.is_empty() {
            // Only for show: what is lost is written again with the next change.
            if let Err(error) = desk.context.produce(changed).await {
                tracing::warn!(partition = self.partition, %error, "scheduler.budgets_not_shown");
                self.budgets.values_mut().for_each(|shown| shown.record = SchedulerBudgetRecord::default());
            }
        }
        for (carrier, change) in desk.book.take_health_changes() {
            tell(&carrier, &change);
        }
        self.count(desk);
        self.alarm(desk, now);
    }

    fn count(&self, desk: &mut Desk) {
        let partition = self.partition.to_string();
        gauge!("waybill_scheduler_numbers", "partition" => partition.clone()).set(desk.book.len() as f64);
        gauge!("waybill_scheduler_in_flight", "partition" => partition.clone()).set(desk.book.open_len() as f64);
        let counts = std::mem::take(&mut desk.counts);
        for (what, count) in [
            ("applied", counts.applied),
            ("ignored", counts.ignored),
            ("ordered", counts.ordered),
            ("refused", counts.refused),
            ("handed_out", counts.handed_out),
            ("rewritten", counts.rewritten),
            ("reopened", counts.reopened),
        ] {
            counter!("waybill_scheduler_records_total", "partition" => partition.clone(), "what" => what)
                .increment(count);
        }
        counter!("waybill_dead_letters_total", "service" => "scheduler").increment(counts.refused);
        // SCH-1: the number is looked at again, but not by the outcome it should have had.
        let what = format!("attempts of partition {} were never answered", self.partition);
        promise_violated_times("SCH-1", counts.reopened, &what);
    }

    fn alarm(&mut self, desk: &Desk, now: &Now) {
        let age_ms = desk.oldest_open_since().map_or(0, |since| now.wall.since_ms(since).max(0));
        gauge!("waybill_scheduler_oldest_attempt_seconds", "partition" => self.partition.to_string())
            .set(age_ms as f64 / 1e3);
        let alarming = age_ms > ALARM_MS;
        if alarming && !self.alarmed {
            tracing::error!(partition = self.partition, minutes = age_ms / 60_000, "scheduler.attempt_open_too_long");
        }
        self.alarmed = alarming;
    }
}

/// One event in the log for each change.
fn tell(carrier: &CarrierSlug, change: &Change) {
    match change {
        Change::Degraded(reasons) => {
            let reasons: Vec<&str> = reasons.iter().map(|reason| reason.as_str()).collect();
            tracing::error!(%carrier, reasons = reasons.join(","), "scheduler.carrier_degraded");
        }
        Change::Recovered => tracing::info!(%carrier, "scheduler.carrier_recovered"),
        Change::TrialStopped(stop) => {
            let (reason, candidate, control) = (stop.reason, stop.candidate, stop.control);
            tracing::error!(%carrier, %reason, candidate, control, "scheduler.candidate_stopped");
        }
    }
}

fn show_health(carrier: &CarrierSlug, watch: &CarrierWatch) {
    let name = || carrier.as_str().to_owned();
    let degraded = watch.degraded.as_ref().map(|degraded| degraded.reasons.as_slice()).unwrap_or_default();
    for reason in DriftReason::ALL {
        let stands = if degraded.contains(&reason) { 1.0 } else { 0.0 };
        gauge!("waybill_carrier_degraded", "carrier" => name(), "reason" => reason.as_str()).set(stands);
        if let Some(share) = watch.stable.shares.get(&reason) {
            gauge!("waybill_drift_ratio", "carrier" => name(), "reason" => reason.as_str(), "version" => "stable")
                .set(*share);
        }
        if let Some(share) = watch.trial.as_ref().and_then(|trial| trial.candidate.shares.get(&reason)) {
            gauge!("waybill_drift_ratio", "carrier" => name(), "reason" => reason.as_str(), "version" => "candidate")
                .set(*share);
        }
    }
}

fn show(view: &BudgetView, shown: &mut Shown, passed_s: f64) {
    let used_now = view.spent.saturating_sub(shown.spent) as f64 / (view.rate * passed_s).max(1e-9);
    shown.spent = view.spent;
    shown.used += (used_now - shown.used) * SMOOTHING;
    let budget = || view.name.as_str().to_owned();
    gauge!("waybill_due_lag_seconds", "budget" => budget()).set(view.lag_ms as f64 / 1e3);
    gauge!("waybill_stretch_ratio", "budget" => budget()).set(view.record.stretch_ratio);
    gauge!("waybill_budget_used_ratio", "budget" => budget()).set(shown.used);
    gauge!("waybill_numbers", "budget" => budget(), "tracking" => "active").set(view.record.active as f64);
    gauge!("waybill_numbers", "budget" => budget(), "tracking" => "stopped").set(view.record.stopped as f64);
    gauge!("waybill_in_flight", "budget" => budget()).set(view.record.in_flight as f64);
    gauge!("waybill_queue", "budget" => budget()).set(view.record.queue as f64);
    view.record.carriers.iter().for_each(|(carrier, watch)| show_health(carrier, watch));
}
