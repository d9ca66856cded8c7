//! One piece of work of a range, beside the topic's loop: an insert, dead letters, or an erasure. It ends only when it is
//! done, refused for what stands in the rows, or beyond what trying again can mend.

use std::sync::Arc;

use tracing::Instrument as _;
use waybill_log::{ErrorClass, LogError, Record, TopicPartition};
use waybill_runtime::{Writes, health::Unacknowledged, trace};

use crate::{
    buffer::{Sealed, Slice},
    consumer::{LOG_RETRY, Shared},
    dead::{Code, bury},
    erase,
    flight::{Outcome, Work},
    insert::{Earlier, Inserted, Load},
    plan::Span,
    rows::Source,
};

/// What a piece of work needs.
pub(crate) struct Job {
    pub(crate) shared: Shared,
    pub(crate) source: &'static Source,
    pub(crate) at: TopicPartition,
    pub(crate) range: Arc<Sealed>,
    pub(crate) earlier: Earlier,
    pub(crate) writes: Writes,
}

impl Job {
    /// Does it, however long it takes.
    ///
    /// # Errors
    /// What the log says that trying again cannot mend.
    pub(crate) async fn run(self, work: &Work, rows: Option<(Span, Slice)>) -> Result<Outcome, LogError> {
        match work {
            Work::Table(index) => {
                let (Some((span, slice)), Some(table)) = (rows, self.source.tables.get(*index)) else {
                    return Ok(Outcome::Done);
                };
                let rows = slice.rows();
                let load = Load { at: self.at, span, table, own_rows: self.source.own_rows_of(*index), slice };
                let traces = self.range.traces.iter().copied();
                let span = trace::insert(table.name, usize::try_from(rows).unwrap_or(usize::MAX), traces);
                match self.shared.inserter.insert(&load, self.earlier).instrument(span).await {
                    Inserted::Stored => {
                        metrics::counter!("waybill_store_rows_total", "table" => table.name).increment(rows);
                    }
                    Inserted::Refused(reason) => return Ok(Outcome::Refused(reason)),
                }
            }
            Work::Poison { offset, reason, .. } => self.poison(*offset, reason).await?,
            Work::Dead => {
                for dead in &self.range.dead {
                    self.bury(&dead.record, (Code::Unreadable, &dead.reason)).await?;
                }
            }
            Work::Erase => self.shared.inserter.execute("forgotten", &erase::statements(&self.range.erasures)).await,
        }
        Ok(Outcome::Done)
    }

    /// Held until a dead letter is written.
    fn waiting(&self) -> Unacknowledged {
        self.writes.begin(&format!("dead letters of {}/{}", self.at.topic, self.at.partition))
    }

    async fn bury(&self, record: &Record, why: (Code, &str)) -> Result<(), LogError> {
        let _waiting = self.waiting();
        bury(&self.shared.log, &self.shared.letters, &self.at, record, why).await
    }

    async fn poison(&self, offset: u64, reason: &str) -> Result<(), LogError> {
        let _waiting = self.waiting();
        let mut pauses = LOG_RETRY.delays();
        loop {
            match self.shared.log.record_at(&self.at, offset).await {
                Ok(Some(record)) => return self.bury(&record, (Code::RefusedByStore, reason)).await,
                Ok(None) => {
                    tracing::error!(topic = %self.at.topic, partition = self.at.partition, offset, reason, "store.refused_record_gone");
                    return Ok(());
                }
                Err(error) if error.class() == ErrorClass::Fatal => return Err(error),
                Err(error) => {
                    tracing::warn!(topic = %self.at.topic, %error, "store.log_unavailable");
                    tokio::time::sleep(pauses.next().unwrap_or(LOG_RETRY.max)).await;
                }
            }
        }
    }
}
