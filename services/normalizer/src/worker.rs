//! One partition's work: results in, records out, in the order that no kill can turn into a loss.
//!
//! Of a piece of work first everything public (and the dead letters) is written and acknowledged, then the outcomes, then
//! the offsets are told as done (LOG-1). A kill anywhere repeats the piece: its records are the same again, and consumers
//! know them by `ce_id`, `event_id` and version.
//!
//! Poison: a result that cannot be read, or on which the mapping panics, is a dead letter, its attempt ends as `unreadable`,
//! and its budget is counted. A quarantined budget's results are not looked into but for one probe; their attempts end as
//! `adapter_disabled`, their memories have not advanced, so a later look finds the same events again. When it must stop,
//! the piece at hand is left unwritten: whoever comes next, a repaired program it is hoped, does it again.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;
use waybill_adapters::{Adapter, LiveCatalog};
use waybill_log::{
    ErrorClass, LogError, NewRecord, Record, SharedLog,
    offset_tracker::Ticket,
    records::{JsonError, dead_letter_headers},
};
use waybill_runtime::{
    Clocks, PoisonWatch, Pulse, Writes,
    poison::{Gate, quarantined_until},
    retry::RetryPolicy,
    telemetry::promise_violated,
    trace::{self, Trail},
};
use waybill_schemas::{
    OutcomeClass, ShipmentKey,
    fetch::{FetchResult, RequestKind},
    headers,
    layout::Layout,
};

use crate::{
    Normalized,
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
    /// Too much is poison.
    Poisoned(String),
}

/// What all workers share.
pub(crate) struct Shared {
    pub(crate) log: SharedLog,
    pub(crate) topics: Topics,
    pub(crate) catalog: LiveCatalog,
    pub(crate) clocks: Clocks,
    pub(crate) request_timeout: Duration,
    pub(crate) flush_bytes: usize,
    pub(crate) layout: Layout,
    pub(crate) poison: PoisonWatch,
    /// The pure function; another only in tests.
    pub(crate) normalize: fn(&FetchResult, Option<&Adapter>, Option<&Adapter>) -> Normalized,
}

/// Why a piece of work ended early.
enum End {
    /// It was asked to.
    Asked,
    /// See [`Told::Failed`].
    Failed(LogError),
    /// See [`Told::Poisoned`].
    Poisoned(String),
}

/// The worker of one partition.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) partition: u32,
    pub(crate) repeats: Repeats,
    /// No further piece is begun, and no failing one tried again, once this is cancelled.
    pub(crate) stop: CancellationToken,
    pub(crate) pulse: Pulse,
    pub(crate) writes: Writes,
}

/// A piece under way.
#[derive(Default)]
struct Piece {
    tickets: Vec<Ticket>,
    before: Vec<NewRecord>,
    outcomes: Vec<NewRecord>,
    bytes: usize,
    /// Of what is sent, until it is acknowledged.
    spans: Vec<tracing::Span>,
}

impl Worker {
    /// Works until the queue is closed or a stop is asked for.
    pub(crate) async fn run(mut self, mut queue: mpsc::Receiver<Work>, told: mpsc::Sender<Told>) {
        loop {
            let work = tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                work = self.pulse.while_waiting(queue.recv()) => work,
            };
            let Some(work) = work else { return };
            match self.work(work, &told).await {
                Ok(()) => {}
                Err(End::Asked) => return,
                Err(End::Failed(error)) => {
                    // The shell is gone when nobody listens; then there is nobody to tell.
                    let _ = told.send(Told::Failed(error)).await;
                    return;
                }
                Err(End::Poisoned(why)) => {
                    let _ = told.send(Told::Poisoned(why)).await;
                    return;
                }
            }
        }
    }

    async fn work(&mut self, work: Work, told: &mpsc::Sender<Told>) -> Result<(), End> {
        let mut piece = Piece::default();
        for (ticket, record) in work.records {
            // Normalizing is work without waiting: let other partitions have their turn.
            tokio::task::consume_budget().await;
            let outputs = self.traced(&record, &mut piece.spans);
            if let Some(why) = self.shared.poison.must_stop() {
                return Err(End::Poisoned(why));
            }
            self.pulse.beat();
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

    async fn write(&self, piece: Piece, told: &mpsc::Sender<Told>) -> Result<(), End> {
        self.produce(piece.before).await?;
        self.produce(piece.outcomes).await?;
        let _ = self.pulse.while_waiting(told.send(Told::Done(piece.tickets))).await;
        Ok(())
    }

    /// What follows from a record; what is sent carries a context below the record's.
    fn traced(&mut self, record: &Record, spans: &mut Vec<tracing::Span>) -> Outputs {
        let results = Arc::clone(&self.shared.topics.results);
        let place = trace::Place { topic: &results, partition: self.partition, offset: record.offset };
        let trail = Trail::process(place, "waybill.normalizer", record.header(headers::TRACEPARENT));
        let mut outputs = trail.span().in_scope(|| self.outputs(record));
        let is_letter = |record: &NewRecord| record.headers.iter().any(|(name, _)| name == dead_letter_headers::REASON);
        // A dead letter keeps the headers of what it is about.
        for sent in outputs.before.iter_mut().chain(&mut outputs.outcome).filter(|record| !is_letter(record)) {
            spans.push(trail.send(&sent.at.topic, &mut sent.headers));
        }
        outputs
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
                self.of_result(record, &key, &result)
            }
            Err(error) => {
                match record.key_str().and_then(ShipmentKey::from_record_key) {
                    Some(key) => self.shared.poison.poison(self.shared.layout.budget_of(&key.carrier).as_str()),
                    None => self.shared.poison.envelope(),
                }
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

    /// What follows from a result that can be read, its budget's quarantine considered.
    fn of_result(&self, record: &Record, key: &ShipmentKey, result: &FetchResult) -> Result<Outputs, JsonError> {
        let (topics, poison) = (&self.shared.topics, &self.shared.poison);
        let budget = self.shared.layout.budget_of(&key.carrier);
        // Orders and the passing of time ask nothing of a mapping; nor do looks that brought no answer.
        let mapped = result.request.kind == RequestKind::Poll && result.class.is_reading();
        if mapped {
            match poison.gate(budget.as_str()) {
                Gate::Open => {}
                Gate::Probe => poison.begin_probe(budget.as_str()),
                Gate::Closed(until) => {
                    let why = (OutcomeClass::AdapterDisabled, quarantined_until(until), Some(until));
                    return topics.short(record, self.partition, result, why);
                }
            }
        }
        let source = &result.source;
        let now = self.shared.catalog.now();
        let reader = self.shared.catalog.version(&key.carrier, &source.adapter_version);
        // A candidate's words are mapped by the candidate; every other reading by the mapping in force, which is recorded.
        let candidate = now.candidates.get(&key.carrier).filter(|other| other.version == source.adapter_version);
        let adapter = candidate.cloned().or_else(|| now.catalog.get(&key.carrier));
        let normalize = self.shared.normalize;
        match catch_unwind(AssertUnwindSafe(|| normalize(result, adapter.as_deref(), reader.as_deref()))) {
            Ok(done) => {
                if mapped {
                    poison.good(budget.as_str());
                }
                count(&done);
                topics.outputs(&done, record, self.partition, result.seen_at)
            }
            Err(_) => {
                tracing::error!(partition = self.partition, offset = record.offset, "normalizer.mapping_panicked");
                poison.poison(budget.as_str());
                topics.panicked(record, self.partition, result)
            }
        }
    }

    /// Writes until everything is acknowledged. After a failure the first record that was refused and all behind it are
    /// written again, so that of one key's records the newest stays last.
    async fn produce(&self, records: Vec<NewRecord>) -> Result<(), End> {
        let mut left = records;
        if left.is_empty() {
            return Ok(());
        }
        let waiting = self.writes.begin(&format!("records made from partition {}", self.partition));
        let mut delays = RetryPolicy::FOREVER.delays();
        while !left.is_empty() {
            self.pulse.beat();
            let answers = timeout(self.shared.request_timeout, self.shared.log.produce(left.clone())).await;
            let answers = answers.unwrap_or_else(|_| vec![Err(LogError::Unavailable("no answer in time".to_owned()))]);
            let refused = answers.into_iter().enumerate().find_map(|(at, answer)| Some((at, answer.err()?)));
            let Some((at, error)) = refused else { return Ok(()) };
            left.drain(..at);
            if at > 0 {
                waiting.goes_on();
            }
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
    metrics::counter!("waybill_unmatched_texts_total", "carrier" => carrier).increment(u64::from(done.unmatched));
    for id in &done.violations {
        promise_violated(id, "a normalized result");
    }
}

#[cfg(test)]
#[path = "worker_tests.rs"]
mod tests;
