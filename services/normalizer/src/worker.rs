//! One partition's work: results in, records out, in the order that no kill can turn into a loss.
//!
//! Of a piece of work first everything public (and the dead letters) is written and acknowledged, then the outcomes, then
//! the offsets are told as done (LOG-1). A kill anywhere repeats the piece: its records are the same again, and consumers
//! know them by `ce_id`, `event_id` and version.

use std::{sync::Arc, time::Duration};

use tokio::{sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;
use waybill_adapters::LiveCatalog;
use waybill_log::{ErrorClass, LogError, NewRecord, Record, SharedLog, offset_tracker::Ticket};
use waybill_runtime::{Clocks, retry::RetryPolicy, telemetry::promise_violated};
use waybill_schemas::{ShipmentKey, fetch::FetchResult};

use crate::{
    Normalized, normalize_read_by,
    records::{Outputs, Topics, read_result, weight},
    repeats::{Arrival, Repeats},
};

/// Results to work on.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) records: Vec<(Ticket, Record)>,
}

/// What a worker tells.
#[derive(Debug)]
pub(crate) enum Told {
    /// These are done: their outputs are durable.
    Done(Vec<Ticket>),
    /// The log refused for good.
    Failed(LogError),
}

/// What all workers share.
pub(crate) struct Shared {
    pub(crate) log: SharedLog,
    pub(crate) topics: Topics,
    pub(crate) catalog: LiveCatalog,
    pub(crate) clocks: Clocks,
    pub(crate) request_timeout: Duration,
    pub(crate) flush_bytes: usize,
}

/// Why a piece of work ended early.
enum End {
    /// It was asked to.
    Asked,
    /// See [`Told::Failed`].
    Failed(LogError),
}

/// The worker of one partition.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) partition: u32,
    pub(crate) repeats: Repeats,
    /// No further piece is begun, and no failing one tried again, once this is cancelled.
    pub(crate) stop: CancellationToken,
}

/// A piece under way.
#[derive(Default)]
struct Piece {
    tickets: Vec<Ticket>,
    before: Vec<NewRecord>,
    outcomes: Vec<NewRecord>,
    bytes: usize,
}

impl Worker {
    /// Works until the queue is closed or a stop is asked for.
    pub(crate) async fn run(mut self, mut queue: mpsc::Receiver<Work>, told: mpsc::UnboundedSender<Told>) {
        loop {
            let work = tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                work = queue.recv() => work,
            };
            let Some(work) = work else { return };
            match self.work(work, &told).await {
                Ok(()) => {}
                Err(End::Asked) => return,
                Err(End::Failed(error)) => {
                    // The shell is gone when nobody listens; then there is nobody to tell.
                    let _ = told.send(Told::Failed(error));
                    return;
                }
            }
        }
    }

    async fn work(&mut self, work: Work, told: &mpsc::UnboundedSender<Told>) -> Result<(), End> {
        let mut piece = Piece::default();
        for (ticket, record) in work.records {
            // Normalizing is work without waiting: let other partitions have their turn.
            tokio::task::consume_budget().await;
            let outputs = self.outputs(&record);
            piece.tickets.push(ticket);
            piece.bytes += outputs.before.iter().chain(&outputs.outcome).map(weight).sum::<usize>();
            piece.before.extend(outputs.before);
            piece.outcomes.extend(outputs.outcome);
            if piece.bytes >= self.shared.flush_bytes {
                self.write(std::mem::take(&mut piece), told).await?;
            }
        }
        self.write(piece, told).await
    }

    async fn write(&self, piece: Piece, told: &mpsc::UnboundedSender<Told>) -> Result<(), End> {
        self.produce(piece.before).await?;
        self.produce(piece.outcomes).await?;
        let _ = told.send(Told::Done(piece.tickets));
        Ok(())
    }

    fn outputs(&mut self, record: &Record) -> Outputs {
        let Some(read) = read_result(record) else { return Outputs::default() };
        let made = match read {
            Ok(result) => {
                let key = result.request.key();
                if self.repeats.note(&key, result.request.attempt) == Arrival::Repeat {
                    metrics::counter!("waybill_repeated_results_total").increment(1);
                    tracing::debug!(partition = self.partition, offset = record.offset, "normalizer.repeat_dropped");
                    return Outputs::default();
                }
                let done = self.normalized(&key, &result);
                self.shared.topics.outputs(&done, record, self.partition, result.seen_at)
            }
            Err(error) => {
                let now = self.shared.clocks.journey();
                self.shared.topics.unreadable(record, self.partition, now, &error)
            }
        };
        made.unwrap_or_else(|error| {
            // Our own records are plain data; should one not be writable, its number must not hang unnoticed.
            promise_violated("FET-1", "a record could not be written as JSON");
            tracing::error!(partition = self.partition, offset = record.offset, %error, "normalizer.unwritable");
            Outputs::default()
        })
    }

    fn normalized(&self, key: &ShipmentKey, result: &FetchResult) -> Normalized {
        let source = &result.source;
        let now = self.shared.catalog.now();
        let reader = self.shared.catalog.version(&key.carrier, &source.adapter_version);
        // A candidate's words are mapped by the candidate; every other reading by the mapping in force, which is recorded.
        let candidate = now.candidates.get(&key.carrier).filter(|other| other.version == source.adapter_version);
        let adapter = candidate.cloned().or_else(|| now.catalog.get(&key.carrier));
        let done = normalize_read_by(result, adapter.as_deref(), reader.as_deref());
        count(&done);
        done
    }

    /// Writes until everything is acknowledged. After a failure the first record that was refused and all behind it are
    /// written again, so that of one key's records the newest stays last.
    async fn produce(&self, records: Vec<NewRecord>) -> Result<(), End> {
        let mut left = records;
        let mut delays = RetryPolicy::FOREVER.delays();
        while !left.is_empty() {
            let answers = timeout(self.shared.request_timeout, self.shared.log.produce(left.clone())).await;
            let answers = answers.unwrap_or_else(|_| vec![Err(LogError::Unavailable("no answer in time".to_owned()))]);
            let refused = answers.into_iter().enumerate().find_map(|(at, answer)| Some((at, answer.err()?)));
            let Some((at, error)) = refused else { return Ok(()) };
            left.drain(..at);
            match error.class() {
                ErrorClass::Retry => {
                    tracing::warn!(partition = self.partition, %error, "normalizer.produce_retried");
                    let delay = delays.next().unwrap_or(Duration::from_secs(1));
                    tokio::select! {
                        () = self.stop.cancelled() => return Err(End::Asked),
                        () = tokio::time::sleep(delay) => {}
                    }
                }
                ErrorClass::Drop => {
                    // Limits on results keep every record far below the log's; this is an error in this program.
                    promise_violated("LOG-1", "a record was refused as too large");
                    tracing::error!(partition = self.partition, %error, "normalizer.record_refused");
                    left.remove(0);
                }
                ErrorClass::Lost | ErrorClass::Fatal => return Err(End::Failed(error)),
            }
        }
        Ok(())
    }
}

fn count(done: &Normalized) {
    let carrier = done.outcome.carrier.as_str().to_owned();
    let class = done.outcome.class.as_str();
    metrics::counter!("waybill_outcomes_total", "carrier" => carrier.clone(), "class" => class).increment(1);
    if !done.events.is_empty() {
        let events = u64::try_from(done.events.len()).unwrap_or(u64::MAX);
        metrics::counter!("waybill_events_total", "carrier" => carrier.clone()).increment(events);
    }
    if done.unmatched > 0 {
        metrics::counter!("waybill_unmatched_texts_total", "carrier" => carrier).increment(u64::from(done.unmatched));
    }
    for id in &done.violations {
        promise_violated(id, "a normalized result");
    }
}
