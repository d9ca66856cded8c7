//! One range of one partition on its way into ClickHouse. Pure: it says what is to be done and takes what came of it.
//!
//! Order: the plan is acknowledged by the log, then its work is sent; a changed plan is acknowledged before what follows
//! from it is sent. The range is done when every table has everything, every dead letter is written and every erasure done.

use std::sync::Arc;

use crate::{
    buffer::{Sealed, Slice},
    plan::{Passed, Plan, Refusal, Span},
    rows::Source,
};

/// A piece of work of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Work {
    /// Insert the table's span.
    Table(usize),
    /// Write the dead letter of a record that a table refuses.
    Poison {
        /// The table.
        table: usize,
        /// The record.
        offset: u64,
        /// What the server said.
        reason: String,
    },
    /// Write the dead letters of records that could not be read.
    Dead,
    /// Erase numbers.
    Erase,
}

/// How a piece of work ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is done.
    Done,
    /// The server refuses the rows.
    Refused(String),
}

/// A range under way.
pub(crate) struct Flight {
    source: &'static Source,
    range: Arc<Sealed>,
    plan: Plan,
    acknowledged: bool,
    resumed: bool,
    waiting: Vec<Work>,
    running: usize,
}

impl Flight {
    /// A range that was just closed: its plan is not acknowledged yet.
    pub(crate) fn new(source: &'static Source, range: Sealed) -> Self {
        let plan = Plan::new(range.first, range.last);
        Self::of_plan(source, range, plan, false)
    }

    /// A range that a commit's metadata names: its plan is what the log has (STO-1).
    pub(crate) fn resumed(source: &'static Source, range: Sealed, plan: Plan) -> Self {
        Self::of_plan(source, range, plan, true)
    }

    fn of_plan(source: &'static Source, range: Sealed, plan: Plan, acknowledged: bool) -> Self {
        let mut waiting: Vec<Work> = (0..source.tables.len()).map(Work::Table).collect();
        if !range.dead.is_empty() {
            waiting.push(Work::Dead);
        }
        if !range.erasures.is_empty() {
            waiting.push(Work::Erase);
        }
        Self { source, range: Arc::new(range), plan, acknowledged, resumed: acknowledged, waiting, running: 0 }
    }

    pub(crate) fn range(&self) -> &Arc<Sealed> {
        &self.range
    }

    /// Whether somebody else may have sent some of it before.
    pub(crate) fn is_resumed(&self) -> bool {
        self.resumed
    }

    pub(crate) fn last(&self) -> u64 {
        self.plan.last()
    }

    pub(crate) fn is_done(&self) -> bool {
        self.acknowledged && self.waiting.is_empty() && self.running == 0
    }

    /// Offset and metadata that the log must acknowledge before anything further is sent.
    pub(crate) fn to_acknowledge(&self) -> Option<(u64, String)> {
        (!self.acknowledged).then(|| (self.plan.first(), self.plan.metadata()))
    }

    /// The log has acknowledged the plan as it is.
    pub(crate) fn acknowledged(&mut self) {
        self.acknowledged = true;
    }

    /// What is to be started now; each must come back through [`Self::finished`].
    pub(crate) fn start(&mut self) -> Vec<Work> {
        if !self.acknowledged {
            return Vec::new();
        }
        let waiting = std::mem::take(&mut self.waiting);
        let mut started = Vec::new();
        for work in waiting {
            let needless = matches!(work, Work::Table(table) if self.rows(table).is_none());
            if !needless {
                started.push(work);
            }
        }
        self.running += started.len();
        started
    }

    /// The rows that a table is to get now; `None` when it has everything.
    pub(crate) fn rows(&mut self, table: usize) -> Option<(Span, Slice)> {
        let name = self.source.tables.get(table)?.name;
        while let Some(span) = self.plan.span(name) {
            let slice = self.range.slice(table, span);
            if slice.rows() > 0 {
                return Some((span, slice));
            }
            // Nothing to send, so nothing to acknowledge: whoever resumes finds it empty too.
            let _ = self.plan.passed(name);
        }
        None
    }

    /// A piece of work has ended.
    pub(crate) fn finished(&mut self, work: Work, outcome: Outcome) {
        self.running = self.running.saturating_sub(1);
        match (work, outcome) {
            (Work::Table(table), Outcome::Done) | (Work::Poison { table, .. }, _) => self.passed(table),
            (Work::Table(table), Outcome::Refused(reason)) => self.refused(table, reason),
            (Work::Dead | Work::Erase, _) => {}
        }
    }

    fn passed(&mut self, table: usize) {
        let Some(known) = self.source.tables.get(table) else { return };
        match self.plan.passed(known.name) {
            Passed::Done => {}
            Passed::More => {
                self.acknowledged = false;
                self.waiting.push(Work::Table(table));
            }
        }
    }

    fn refused(&mut self, table: usize, reason: String) {
        let Some((_, slice)) = self.rows(table) else { return };
        let Some(known) = self.source.tables.get(table) else { return };
        match self.plan.refused(known.name, &slice.offsets()) {
            Refusal::Shorter => {
                self.acknowledged = false;
                self.waiting.push(Work::Table(table));
            }
            Refusal::Poison(offset) => self.waiting.push(Work::Poison { table, offset, reason }),
        }
    }
}
