//! Requests as they come in: each is answered once, by its budget's worker, at once, or as what it is, a dead letter.

use std::sync::Arc;

use tokio::sync::mpsc;
use waybill_log::{
    Record, TopicPartition,
    claims::Standing as Place,
    offset_tracker::{Dispatch, Ticket},
    records::{NamedAttempt, Reason, read_json},
};
use waybill_runtime::trace::{self, Trail};
use waybill_schemas::{
    JourneyMs, Memories, OutcomeClass, ShipmentKey, WallMs,
    command::Registration,
    fetch::{FetchRequest, RequestKind},
    headers,
    shipment::Tracking,
    topics::names,
};

use super::{Partition, Service, State};
use crate::{
    admission::{Short, without_carrier},
    error::FetcherError,
    partition::Standing,
    results::{self, Now},
    worker::Job,
    writer::Answered,
};

fn trail(at: &TopicPartition, record: &Record) -> Trail {
    let place = trace::Place { topic: &at.topic, partition: at.partition, offset: record.offset };
    Trail::process(place, "waybill.fetcher", record.header(headers::TRACEPARENT))
}

impl Service {
    pub(super) async fn records(&mut self, partition: u32, records: Vec<Record>) -> Result<(), FetcherError> {
        let at = TopicPartition::new(self.deps.topics.of(names::FETCH_REQUESTS), partition);
        for record in records {
            let Dispatch::Taken(ticket) = self.tracker.dispatch(partition, record.offset) else { continue };
            let Some(Partition { state: State::Serving(serving), standing, .. }) = self.partitions.get_mut(&partition)
            else {
                continue;
            };
            let refused = match serving.claims.observe(&record) {
                Ok(Place::Claim { .. }) => {
                    self.complete(vec![ticket]);
                    continue;
                }
                Ok(Place::Late { .. }) => Ok(true),
                Ok(Place::Current { .. }) => Ok(false),
                Err(unreadable) => Err(unreadable.to_string()),
            };
            let unreadable = match (&refused, read_json::<FetchRequest>(&record)) {
                (Ok(_), Ok(request)) => Ok(request),
                (Err(detail), _) => Err(detail.clone()),
                // Only the place is told: the parser's message may repeat parts of the value.
                (Ok(_), Err(error)) => Err(format!("it is no request{}", error.place())),
            };
            let request = match unreadable {
                Ok(request) => request,
                Err(detail) => {
                    self.unreadable(&at, &record, &detail, ticket).await?;
                    continue;
                }
            };
            // FET-1: what has its result, or is about to get it, gets no second one.
            if !serving.attempts.note(&request) {
                self.complete(vec![ticket]);
                continue;
            }
            let trail = trail(&at, &record);
            let (clocks, standing) = (self.deps.clocks, Arc::clone(standing));
            let now = Now { wall: clocks.wall(), journey: clocks.journey() };
            let short = if refused == Ok(true) {
                Some(Short::new(OutcomeClass::Expired, "its scheduler had been replaced"))
            } else {
                without_carrier(request.kind, request.expires_at, now.wall)
            };
            let short = match short {
                Some(short) => Some((request, short)),
                None => self.hand_over(partition, &standing, Job::new(ticket, request, trail.clone())),
            };
            if let Some((request, short)) = short
                && let Some(Partition { state: State::Serving(serving), .. }) = self.partitions.get(&partition)
            {
                let result = results::short(request, ticket.offset, short, now);
                let answers = serving.answers.clone();
                answers.short(Answered { ticket, result, payload: None, trail }).await;
            }
        }
        Ok(())
    }

    /// Gives a job to its budget's worker; answers it when there is none, or no room.
    fn hand_over(&mut self, partition: u32, standing: &Arc<Standing>, job: Job) -> Option<(FetchRequest, Short)> {
        let carrier = &job.request.carrier;
        let budget = self.carriers.layout.budget_of(carrier);
        if self.carriers.layout.partition_of_budget(&budget) != partition {
            let detail = "its budget lives on another partition";
            return Some((job.request, Short::new(OutcomeClass::AdapterDisabled, detail)));
        }
        let known = match self.partitions.get(&partition) {
            Some(Partition { state: State::Serving(serving), .. }) => serving.budgets.get(&budget).cloned(),
            _ => None,
        };
        let sender = match known {
            Some(sender) => sender,
            None => match self.open_budget(partition, standing, &budget) {
                Ok(sender) => sender,
                Err(reason) => {
                    tracing::error!(%budget, reason, "fetcher.budget_unusable");
                    let later = self.deps.clocks.wall().plus_ms(60_000);
                    return Some((job.request, Short::deferred(later, "the budget's figures cannot be applied")));
                }
            },
        };
        match sender.try_send(job) {
            Ok(()) => None,
            // More than fits is given back: it would wait long, and it must not hold up other budgets.
            Err(mpsc::error::TrySendError::Full(job) | mpsc::error::TrySendError::Closed(job)) => {
                let not_before = job.request.expires_at.min(self.deps.clocks.wall().plus_ms(10_000));
                Some((job.request, Short::deferred(not_before, "too many requests wait for this budget")))
            }
        }
    }

    /// A request that cannot be read, or stands where nobody could have written it: a dead letter and poison. Its attempt
    /// still ends where key and headers name it, so that its number is free and its credit returns (FET-1).
    async fn unreadable(
        &mut self,
        at: &TopicPartition,
        record: &Record,
        detail: &str,
        ticket: Ticket,
    ) -> Result<(), FetcherError> {
        let named = NamedAttempt::of(record);
        let carrier = record.key_str().and_then(ShipmentKey::from_record_key).map(|key| key.carrier);
        match &carrier {
            Some(carrier) => self.poison.poison(self.carriers.layout.budget_of(carrier).as_str()),
            None => self.poison.envelope(),
        }
        if let Some(why) = self.poison.must_stop() {
            return Err(FetcherError::Poison(why));
        }
        let fate = if named.is_some() {
            "its attempt was answered `unreadable`"
        } else {
            "neither key nor headers name its attempt, so that nothing could answer it"
        };
        let detail = format!("{detail}; {fate}");
        let reason = Reason { code: "request_unreadable", detail: &detail, service: "fetcher" };
        let letter = self.dead.letter(at, record, &reason);
        tracing::warn!(partition = at.partition, offset = record.offset, detail, "fetcher.dead_letter");
        metrics::counter!("waybill_dead_letters_total", "service" => "fetcher", "topic" => at.topic.to_string())
            .increment(1);
        let Some(Partition { state: State::Serving(serving), .. }) = self.partitions.get_mut(&at.partition) else {
            return Ok(());
        };
        let request = named.map(bare).filter(|request| serving.attempts.note(request));
        let answers = serving.answers.clone();
        let Some(request) = request else {
            answers.dead(letter, Some(ticket)).await;
            return Ok(());
        };
        answers.dead(letter, None).await;
        let now = Now { wall: self.deps.clocks.wall(), journey: self.deps.clocks.journey() };
        let short = Short::new(OutcomeClass::Unreadable, "the request could not be read");
        let result = results::short(request, ticket.offset, short, now);
        let trail = trail(at, record);
        answers.short(Answered { ticket, result, payload: None, trail }).await;
        Ok(())
    }
}

/// All that is known of a request that cannot be read. The memories are not among it: an outcome without them takes
/// nothing from what the scheduler remembers.
fn bare(named: NamedAttempt) -> FetchRequest {
    FetchRequest {
        kind: RequestKind::Poll,
        carrier: named.key.carrier,
        number: named.key.number,
        instance: 0,
        reference: None,
        registered_at: JourneyMs::ZERO,
        registration: Registration::default(),
        params: Default::default(),
        attempt: named.attempt,
        expires_at: WallMs::ZERO,
        tracking: Tracking::Active,
        stop_reason: None,
        memories: Memories::default(),
    }
}
