//! Writes the results of one partition: dead letters and payloads acknowledged → results acknowledged → their requests are
//! done (LOG-1).

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::timeout,
};
use waybill_log::{
    ErrorClass, LogError, NewRecord, SharedLog, TopicPartition, json_record, offset_tracker::Ticket,
    records::attempt_headers,
};
use waybill_runtime::{Pulse, Writes, telemetry::promise_violated, trace::Trail};
use waybill_schemas::{
    OutcomeClass,
    fetch::FetchResult,
    topics::{TopicPrefix, names},
};

use crate::payload::Payload;

/// Most results of one append.
const BATCH: usize = 256;
/// Most bytes of payloads in one append.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
const PRODUCE_TIMEOUT: Duration = Duration::from_secs(30);
const RETRY: Duration = Duration::from_millis(250);
/// Most look-ups of one partition whose results wait for the log: they bring what the carrier said, and may be large.
const MAX_LOOKED_UP: usize = 3 * BATCH;

/// A result on its way.
pub(crate) struct Answered {
    pub(crate) ticket: Ticket,
    pub(crate) result: FetchResult,
    pub(crate) payload: Option<Payload>,
    pub(crate) trail: Trail,
}

/// What is handed in.
pub(crate) enum Handed {
    /// A dead letter, and the request that ends with it; without one its answer follows.
    Letter(NewRecord, Option<Ticket>),
    /// An answer, and its place among the look-ups.
    Answer(Box<Answered>, Option<OwnedSemaphorePermit>),
}

/// Where results of one partition are handed in. Each request that may be open has a place, and one for a dead letter, so
/// whoever answers without the carrier never waits for the log: a partition whose results nobody takes holds up no other.
/// Look-ups wait for one of a few places of their own.
#[derive(Clone)]
pub(crate) struct Answers {
    all: mpsc::Sender<Handed>,
    looked_up: Arc<Semaphore>,
}

impl Answers {
    /// For a partition of which at most so many requests are open at once.
    pub(crate) fn new(most_open: usize) -> (Self, mpsc::Receiver<Handed>) {
        let (all, inbox) = mpsc::channel(most_open.saturating_mul(2).clamp(1, Semaphore::MAX_PERMITS));
        (Self { all, looked_up: Arc::new(Semaphore::new(MAX_LOOKED_UP)) }, inbox)
    }

    /// Hands in the dead letter of a request, which ends with it where it has no answer.
    pub(crate) async fn dead(&self, letter: NewRecord, ends: Option<Ticket>) {
        self.hand_in(Handed::Letter(letter, ends)).await;
    }

    /// Hands in what was answered without the carrier.
    pub(crate) async fn short(&self, answered: Answered) {
        self.hand_in(Handed::Answer(Box::new(answered), None)).await;
    }

    /// Hands in what a look-up came to, once there is a place for it.
    pub(crate) async fn looked_up(&self, answered: Answered) {
        // Nobody closes it.
        let place = Arc::clone(&self.looked_up).acquire_owned().await.ok();
        self.hand_in(Handed::Answer(Box::new(answered), place)).await;
    }

    /// How much of what was handed in the writer has not taken up.
    pub(crate) fn waiting(&self) -> usize {
        self.all.max_capacity() - self.all.capacity()
    }

    async fn hand_in(&self, handed: Handed) {
        // There is room: no request has two answers. A writer that has ended has told the service why.
        let _ = self.all.send(handed).await;
    }
}

/// Where results of one partition go.
pub(crate) struct Writer {
    pub(crate) log: SharedLog,
    pub(crate) topics: TopicPrefix,
    pub(crate) partition: u32,
    /// Whether this process may still write for the partition.
    pub(crate) alive: Arc<dyn Fn() -> bool + Send + Sync>,
    pub(crate) done: mpsc::Sender<Vec<Ticket>>,
    pub(crate) pulse: Pulse,
    pub(crate) writes: Writes,
}

impl Writer {
    /// Writes until nobody can hand in results any more.
    pub(crate) async fn run(self, mut inbox: mpsc::Receiver<Handed>) -> Result<(), LogError> {
        let mut batch = Vec::with_capacity(BATCH);
        while self.pulse.while_waiting(inbox.recv_many(&mut batch, BATCH)).await > 0 {
            let mut answers = Vec::with_capacity(batch.len());
            // The dead letters first: a request whose answer is written has its letter.
            for handed in batch.drain(..) {
                match handed {
                    Handed::Answer(answered, place) => answers.push((*answered, place)),
                    Handed::Letter(letter, ends) => {
                        // The partition is lost: this letter, and so all behind it, is left to the new owner.
                        let Some(kept) = self.bury(letter).await? else { return Ok(()) };
                        if !kept {
                            tracing::error!(partition = self.partition, "fetcher.dead_letter_refused");
                        }
                        self.tell(ends.into_iter().collect()).await;
                    }
                }
            }
            while !answers.is_empty() {
                let mut bytes = 0;
                let fits = answers.iter().take_while(|(answered, _): &&(Answered, _)| {
                    bytes += answered.payload.as_ref().map_or(0, Payload::len);
                    bytes <= BATCH_BYTES
                });
                let count = fits.count().max(1);
                // Places are free again once what stood there is written.
                let (part, _places): (Vec<Answered>, Vec<_>) = answers.drain(..count).unzip();
                self.write(part).await?;
            }
        }
        Ok(())
    }

    fn at(&self, topic: &str) -> TopicPartition {
        TopicPartition::new(self.topics.of(topic), self.partition)
    }

    async fn write(&self, mut part: Vec<Answered>) -> Result<(), LogError> {
        let mut payloads = Vec::new();
        // Until what they send is acknowledged.
        let mut spans = Vec::new();
        // Numbers that were asked for together share their answer: the first of them keeps it.
        let mut keeper: HashMap<String, usize> = HashMap::new();
        let mut sharing = Vec::new();
        for (index, answered) in part.iter_mut().enumerate() {
            if let Some(payload) = answered.payload.take() {
                if let Some(first) = keeper.get(&payload.hash) {
                    sharing.push((index, *first));
                    continue;
                }
                keeper.insert(payload.hash.clone(), index);
                let (carrier, at) = (&answered.result.request.carrier, answered.result.fetched_at);
                let mut record = payload.record(self.at(names::PAYLOADS), carrier, at);
                spans.push(answered.trail.send(&record.at.topic, &mut record.headers));
                payloads.push((index, record));
            }
        }
        for (index, kept) in self.append("payloads", payloads).await? {
            if !kept {
                // Evidence that cannot be kept must not hold back the result; nothing may point to it, though.
                part[index].result.payload = None;
                for (other, _) in sharing.iter().filter(|(_, first)| *first == index) {
                    part[*other].result.payload = None;
                }
            }
        }
        let mut results = Vec::new();
        for (index, answered) in part.iter().enumerate() {
            let mut record = self.result_record(&answered.result)?;
            spans.push(answered.trail.send(&record.at.topic, &mut record.headers));
            results.push((index, record));
        }
        let mut refused = Vec::new();
        let mut done = Vec::new();
        for (index, kept) in self.append("results", results).await? {
            if kept { done.push(index) } else { refused.push(index) }
        }
        for index in refused {
            // Too large for this log although within our own limit: its events stay behind, its end does not (FET-1).
            let result = &mut part[index].result;
            result.class = OutcomeClass::Unreadable;
            result.detail = Some("too large for the log".to_owned());
            (result.events, result.facts) = Default::default();
            (result.unchanged, result.fetcher_memory) = (false, None);
            let mut record = self.result_record(result)?;
            spans.push(part[index].trail.send(&record.at.topic, &mut record.headers));
            match self.append("results", vec![(index, record)]).await?.first() {
                Some((_, true)) => done.push(index),
                Some((_, false)) => promise_violated("FET-1", "a result was refused even without its events"),
                // The partition is lost: the new owner answers.
                None => {}
            }
        }
        for index in &done {
            let result = &part[*index].result;
            let (carrier, class) = (result.request.carrier.to_string(), result.class.as_str());
            metrics::counter!("waybill_outcomes_total", "carrier" => carrier, "class" => class).increment(1);
            tracing::debug!(
                carrier = %result.request.carrier, number = ?result.request.number, class,
                spent = result.spent, unchanged = result.unchanged, "fetcher.answered"
            );
        }
        self.tell(done.into_iter().map(|index| part[index].ticket).collect()).await;
        Ok(())
    }

    /// Writes a dead letter; answers whether it was kept, nothing when the partition is lost.
    async fn bury(&self, letter: NewRecord) -> Result<Option<bool>, LogError> {
        Ok(self.append("dead letters", vec![(0, letter)]).await?.pop().map(|(_, kept)| kept))
    }

    /// These requests are done.
    async fn tell(&self, tickets: Vec<Ticket>) {
        // Nobody listens only when the service has ended; then nothing is committed either.
        let _ = self.pulse.while_waiting(self.done.send(tickets)).await;
    }

    fn result_record(&self, result: &FetchResult) -> Result<NewRecord, LogError> {
        let key = result.request.key().record_key();
        let named = attempt_headers(result.request.attempt, Some(result.request_offset));
        json_record(self.at(names::FETCH_RESULTS), key, result, named)
            .map_err(|error| LogError::Corrupt(error.to_string()))
    }

    /// Appends records, again and again what may succeed later, until all are kept or refused. When the partition is lost
    /// meanwhile, what is left counts as neither.
    async fn append(&self, what: &str, mut open: Vec<(usize, NewRecord)>) -> Result<Vec<(usize, bool)>, LogError> {
        let mut ended = Vec::new();
        if open.is_empty() {
            return Ok(ended);
        }
        let waiting = self.writes.begin(&format!("{what} of partition {}", self.partition));
        while !open.is_empty() {
            let records = open.iter().map(|(_, record)| record.clone()).collect();
            let answers = self.pulse.while_waiting(timeout(PRODUCE_TIMEOUT, self.log.produce(records))).await;
            let answers = answers.unwrap_or_else(|_| {
                open.iter().map(|_| Err(LogError::Unavailable("no acknowledgement in time".to_owned()))).collect()
            });
            let asked = open.len();
            let mut again = Vec::new();
            for ((index, record), answer) in open.into_iter().zip(answers) {
                match answer.map_err(|error| (error.class(), error)) {
                    Ok(_) => ended.push((index, true)),
                    Err((ErrorClass::Drop, error)) => {
                        tracing::warn!(%error, partition = self.partition, "fetcher.record_refused");
                        ended.push((index, false));
                    }
                    Err((ErrorClass::Retry | ErrorClass::Lost, error)) => {
                        tracing::warn!(%error, partition = self.partition, "fetcher.produce_retried");
                        again.push((index, record));
                    }
                    Err((ErrorClass::Fatal, error)) => return Err(error),
                }
            }
            if again.len() < asked {
                waiting.goes_on();
            }
            open = again;
            if !open.is_empty() {
                if !(self.alive)() {
                    return Ok(ended);
                }
                tokio::time::sleep(RETRY).await;
            }
        }
        Ok(ended)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use waybill_log::{OffsetTracker, offset_tracker::Dispatch};
    use waybill_runtime::Clocks;

    use super::*;
    use crate::{
        admission::Short,
        results::{self, Now},
    };

    fn answered(offset: u64) -> Answered {
        let mut tracker = OffsetTracker::new();
        tracker.assign(0, 0);
        let Dispatch::Taken(ticket) = tracker.dispatch(0, offset) else { panic!("a fresh tracker takes it") };
        let clocks = Clocks::real();
        let now = Now { wall: clocks.wall(), journey: clocks.journey() };
        let request = serde_json::from_value(serde_json::json!({
            "kind": "poll", "carrier": "acme", "number": "ACME0001", "instance": 1, "ref": null,
            "registered_at": "2026-01-01T00:00:00Z", "attempt": 1, "expires_at": now.wall,
        }));
        let result = results::short(request.unwrap(), offset, Short::new(OutcomeClass::Expired, ""), now);
        Answered { ticket, result, payload: None, trail: Trail::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn look_ups_wait_for_one_of_their_places_and_nobody_else_waits() {
        let (answers, mut inbox) = Answers::new(MAX_LOOKED_UP);
        let mut offsets = 0..;
        let mut next = || answered(offsets.next().unwrap());
        for _ in 0..MAX_LOOKED_UP {
            answers.looked_up(next()).await;
        }
        let soon = Duration::from_secs(1);
        assert!(timeout(soon, answers.looked_up(next())).await.is_err(), "they may be large");
        assert!(timeout(soon, answers.short(next())).await.is_ok());
        assert_eq!(answers.waiting(), MAX_LOOKED_UP + 1);
        drop(inbox.recv().await);
        assert!(timeout(soon, answers.looked_up(next())).await.is_ok(), "one has been written");
    }
}
