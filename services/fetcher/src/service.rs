//! The fetcher's loop: a member of the group on `waybill.fetch-requests` that boots partitions, hands requests to the
//! workers of their budgets, and commits what has its result.
//!
//! Order (LOG-1): payload acknowledged → result acknowledged → request done → offset committed. Order of a hand-over
//! (DESIGN §5): standing ended, so nothing is sent → look-ups under way end or are given up → their results are written →
//! the partition is released.

mod handover;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use waybill_adapters::LiveCatalog;
use waybill_log::{
    Commit, DeadLetters, GroupEvent, GroupMember, JoinGroup, LogError, OffsetTracker, OutOfRange, Ownership, Record,
    SharedLog, TopicPartition,
    claims::{ClaimTracker, Standing as Place},
    offset_tracker::{Dispatch, Ticket},
    records::{Reason, read_json},
};
use waybill_runtime::{Clocks, Component, Health};
use waybill_schemas::{
    BudgetName, OutcomeClass,
    fetch::FetchRequest,
    layout::Layout,
    politeness::FetcherBudgetRecord,
    topics::{TopicPrefix, names},
};

use crate::{
    admission::{Short, without_carrier},
    beside::Examples,
    budget::{BudgetState, Terms},
    config::FetcherConfig,
    error::FetcherError,
    exchange::Exchange,
    look_up::Tools,
    partition::{self, Attempts, Booted, Owned, Standing, Start, TopicRecorder},
    results::{self, Now},
    terms::{Carriers, Fresh, Policies},
    turnstile::Turnstile,
    worker::{Job, Worker},
    writer::{Answered, Writer},
};

const COMMIT_EVERY: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(50);
const MAX_BATCH: usize = 500;
const DRAIN_BUDGET: Duration = Duration::from_secs(10);
/// How long they may take when the process ends.
const SHUTDOWN_LOOK_UPS: Duration = Duration::from_secs(10);
/// Results that wait for the log, per partition.
const MAX_ANSWERS: usize = 512;
const BOOT_RETRY: Duration = Duration::from_secs(1);

/// What a fetcher stands on.
#[derive(Clone)]
pub struct Deps {
    /// The log.
    pub log: SharedLog,
    /// First part of topics' names.
    pub topics: TopicPrefix,
    /// Where budgets live.
    pub layout: Layout,
    /// Both clocks.
    pub clocks: Clocks,
    /// The carriers; may be exchanged while running.
    pub catalog: LiveCatalog,
    /// Live overrides of operators.
    pub policies: Arc<dyn Policies>,
    /// This process's stable name.
    pub member: String,
    /// Where it tells how it is.
    pub health: Health,
    /// Configuration.
    pub config: FetcherConfig,
}

/// Runs until `shutdown`; then ends what is under way, commits and leaves.
///
/// # Errors
/// [`FetcherError`] when it cannot start or go on.
pub async fn run(deps: Deps, shutdown: CancellationToken) -> Result<(), FetcherError> {
    deps.config.check()?;
    let component = deps.health.component("fetcher");
    let tools = Tools::new(Exchange::new(&deps.config)?, deps.clocks, Examples::new(deps.config.overlays.clone()));
    let carriers = Carriers {
        catalog: deps.catalog.clone(),
        policies: Arc::clone(&deps.policies),
        layout: Arc::new(deps.layout.clone()),
        config: Arc::new(deps.config.clone()),
        clocks: deps.clocks,
    };
    let member = deps
        .log
        .join(JoinGroup {
            group: deps.topics.of("waybill.fetcher"),
            topic: deps.topics.of(names::FETCH_REQUESTS),
            member: deps.member.clone(),
            // Requests that are no longer kept are sent again by the scheduler; its outcome is what counts.
            out_of_range: OutOfRange::Earliest,
            drain_budget: DRAIN_BUDGET,
            max_batch: MAX_BATCH,
        })
        .await?;
    for id in ["POL-1", "FET-1", "LOG-1"] {
        metrics::counter!("waybill_promise_violations_total", "id" => id).increment(0);
    }
    let ownership = member.ownership();
    let (done_sender, done) = mpsc::channel(1_024);
    let dead = DeadLetters::new(&deps.topics);
    let service = Service {
        deps,
        tools,
        carriers,
        member,
        ownership,
        tracker: OffsetTracker::new(),
        partitions: BTreeMap::new(),
        boots: JoinSet::new(),
        writers: JoinSet::new(),
        done,
        done_sender,
        dead,
        component,
        committed_at: Instant::now(),
    };
    service.run(shutdown).await
}

struct Service {
    deps: Deps,
    tools: Tools,
    carriers: Carriers,
    member: Box<dyn GroupMember>,
    ownership: Ownership,
    tracker: OffsetTracker,
    partitions: BTreeMap<u32, Partition>,
    boots: JoinSet<(u32, Result<Booted, FetcherError>)>,
    writers: JoinSet<Result<(), LogError>>,
    done: mpsc::Receiver<Vec<Ticket>>,
    done_sender: mpsc::Sender<Vec<Ticket>>,
    dead: DeadLetters,
    component: Component,
    committed_at: Instant,
}

/// An owned partition.
struct Partition {
    standing: Arc<Standing>,
    state: State,
    paused: bool,
}

impl Drop for Partition {
    /// However the service ends, nothing of it goes on sending.
    fn drop(&mut self) {
        self.standing.end();
        self.standing.given_up.cancel();
    }
}

/// Booting, then serving.
enum State {
    Booting,
    Serving(Box<Serving>),
}

struct Serving {
    epoch: u64,
    records: BTreeMap<String, FetcherBudgetRecord>,
    attempts: Attempts,
    claims: ClaimTracker,
    budgets: BTreeMap<BudgetName, mpsc::Sender<Job>>,
    answers: mpsc::Sender<Answered>,
    workers: TaskTracker,
    last: Arc<Mutex<BTreeMap<String, Bytes>>>,
    watched: tokio::sync::watch::Receiver<u64>,
}

impl Service {
    async fn run(mut self, shutdown: CancellationToken) -> Result<(), FetcherError> {
        let outcome = loop {
            if shutdown.is_cancelled() {
                break Ok(());
            }
            if let Err(error) = self.turn().await {
                break Err(error);
            }
        };
        self.component.not_ready("shutting down");
        let all: Vec<u32> = self.partitions.keys().copied().collect();
        self.drain(&all, SHUTDOWN_LOOK_UPS).await;
        if outcome.is_ok() {
            let _ = timeout(COMMIT_EVERY, self.commit()).await;
        }
        self.member.leave().await;
        outcome
    }

    async fn turn(&mut self) -> Result<(), FetcherError> {
        match self.member.next(POLL).await? {
            GroupEvent::Assigned(partitions) => self.assigned(&partitions).await?,
            GroupEvent::Revoked(partitions) => self.revoked(&partitions).await,
            GroupEvent::Records { partition, records } => self.records(partition, records).await?,
            GroupEvent::Idle => {}
        }
        while let Ok(tickets) = self.done.try_recv() {
            self.complete(tickets);
        }
        while let Some(ended) = self.boots.try_join_next() {
            let (partition, booted) = ended.map_err(|error| FetcherError::Task(error.to_string()))?;
            self.booted(partition, booted).await?;
        }
        while let Some(ended) = self.writers.try_join_next() {
            ended.map_err(|error| FetcherError::Task(error.to_string()))??;
        }
        self.balance();
        if self.committed_at.elapsed() >= COMMIT_EVERY {
            self.commit().await?;
        }
        if self.partitions.values().any(|partition| matches!(partition.state, State::Booting)) {
            self.component.not_ready("restoring budgets");
        } else {
            self.component.ready();
        }
        Ok(())
    }

    async fn assigned(&mut self, partitions: &[u32]) -> Result<(), FetcherError> {
        for partition in partitions {
            let standing = Arc::new(Standing::new(*partition, self.ownership.clone()));
            self.partitions.insert(*partition, Partition { standing, state: State::Booting, paused: false });
            let committed = self.member.committed(*partition).await?;
            let start = Start {
                partition: *partition,
                committed: committed.map(|commit| commit.offset),
                max_open: self.carriers.config.max_open,
            };
            self.boot(start);
        }
        Ok(())
    }

    fn boot(&mut self, start: Start) {
        let (log, topics, member) = (Arc::clone(&self.deps.log), self.deps.topics.clone(), self.deps.member.clone());
        self.boots.spawn(async move {
            let booted = loop {
                match partition::boot(Arc::clone(&log), topics.clone(), member.clone(), start).await {
                    Err(waybill_log::ClaimError::Log(error)) if error.class() == waybill_log::ErrorClass::Retry => {
                        tracing::warn!(%error, partition = start.partition, "fetcher.boot_retried");
                        tokio::time::sleep(BOOT_RETRY).await;
                    }
                    ended => break ended.map_err(FetcherError::from),
                }
            };
            (start.partition, booted)
        });
    }

    async fn booted(&mut self, partition: u32, booted: Result<Booted, FetcherError>) -> Result<(), FetcherError> {
        let Some(owned) = self.partitions.get_mut(&partition) else { return Ok(()) };
        if !owned.standing.alive() || matches!(owned.state, State::Serving(_)) {
            return Ok(());
        }
        let booted = match booted {
            Ok(booted) => booted,
            // Somebody else is booting it: the revocation is on its way.
            Err(FetcherError::Claim(waybill_log::ClaimError::Superseded { .. })) => return Ok(()),
            Err(error) => return Err(error),
        };
        debug_assert_eq!(booted.partition, partition);
        let last: BTreeMap<String, Bytes> = booted
            .records
            .iter()
            .filter_map(|(budget, record)| Some((format!("{budget}/fetcher"), serde_json::to_vec(record).ok()?.into())))
            .collect();
        let last = Arc::new(Mutex::new(last));
        let (watched_sender, watched) = tokio::sync::watch::channel(0);
        let (answers, inbox) = mpsc::channel(MAX_ANSWERS);
        let standing = Arc::clone(&owned.standing);
        let writer = Writer {
            log: Arc::clone(&self.deps.log),
            topics: self.deps.topics.clone(),
            partition,
            alive: Arc::new(move || standing.alive()),
            done: self.done_sender.clone(),
        };
        self.writers.spawn(writer.run(inbox));
        let workers = TaskTracker::new();
        // Not among the workers: it ends by itself once the standing has ended, and nobody waits for it.
        tokio::spawn(partition::watch(
            Arc::clone(&self.deps.log),
            booted.watch,
            Arc::clone(&owned.standing),
            Arc::clone(&last),
            watched_sender,
        ));
        owned.state = State::Serving(Box::new(Serving {
            epoch: booted.epoch,
            records: booted.records,
            attempts: booted.attempts,
            claims: booted.claims,
            budgets: BTreeMap::new(),
            answers,
            workers,
            last,
            watched,
        }));
        self.tracker.assign(partition, booted.position);
        tracing::info!(partition, epoch = booted.epoch, position = booted.position, "fetcher.partition_started");
        match self.member.start(partition, Some(booted.position)).await {
            Err(LogError::NotOwned(_)) => Ok(()),
            other => Ok(other?),
        }
    }

    async fn records(&mut self, partition: u32, records: Vec<Record>) -> Result<(), FetcherError> {
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
            let request = match (&refused, read_json::<FetchRequest>(&record)) {
                (Ok(_), Ok(request)) => request,
                (Err(detail), _) => {
                    let detail = detail.clone();
                    self.bury(&at, &record, &detail, ticket).await?;
                    continue;
                }
                (Ok(_), Err(error)) => {
                    self.bury(&at, &record, &error.to_string(), ticket).await?;
                    continue;
                }
            };
            // FET-1: what has its result, or is about to get it, gets no second one.
            if !serving.attempts.note(&request) {
                self.complete(vec![ticket]);
                continue;
            }
            let (clocks, standing) = (self.deps.clocks, Arc::clone(standing));
            let now = Now { wall: clocks.wall(), journey: clocks.journey() };
            let short = if refused == Ok(true) {
                Some(Short::new(OutcomeClass::Expired, "its scheduler had been replaced"))
            } else {
                without_carrier(request.kind, request.expires_at, now.wall)
            };
            let short = match short {
                Some(short) => Some((request, short)),
                None => self.hand_over(partition, &standing, Job { ticket, request }),
            };
            if let Some((request, short)) = short
                && let Some(Partition { state: State::Serving(serving), .. }) = self.partitions.get(&partition)
            {
                let result = results::short(request, ticket.offset, short, now);
                let answers = serving.answers.clone();
                self.send(answers, Answered { ticket, result, payload: None }).await;
            }
        }
        Ok(())
    }

    /// Hands an answer to the writer, taking in what is done meanwhile: the writer waits for that when it is far ahead.
    async fn send(&mut self, answers: mpsc::Sender<Answered>, answered: Answered) {
        let sending = answers.send(answered);
        tokio::pin!(sending);
        loop {
            tokio::select! {
                biased;
                _ = &mut sending => return,
                Some(tickets) = self.done.recv() => {
                    for ticket in tickets {
                        let _ = self.tracker.complete(ticket);
                    }
                }
            }
        }
    }

    /// Gives a job to its budget's worker; answers it when there is none, or no room.
    fn hand_over(&mut self, partition: u32, standing: &Arc<Standing>, job: Job) -> Option<(FetchRequest, Short)> {
        let carrier = &job.request.carrier;
        let budget = self.carriers.layout.budget_of(carrier);
        if self.carriers.layout.partition_of_budget(&budget) != partition {
            let detail = "its budget lives on another partition; waybill reshard moves numbers";
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

    fn open_budget(
        &mut self,
        partition: u32,
        standing: &Arc<Standing>,
        budget: &BudgetName,
    ) -> Result<mpsc::Sender<Job>, String> {
        let terms: Terms = self.carriers.terms(budget)?;
        let Some(Partition { state: State::Serving(serving), .. }) = self.partitions.get_mut(&partition) else {
            return Err("the partition is not served".to_owned());
        };
        let record = serving.records.get(budget.as_str()).cloned();
        let state = BudgetState::restored(record, &terms, self.deps.clocks.wall_us());
        let recorder = TopicRecorder {
            log: Arc::clone(&self.deps.log),
            at: TopicPartition::new(self.deps.topics.of(names::CARRIERS), partition),
            budget: budget.clone(),
            epoch: serving.epoch,
            last: Arc::clone(&serving.last),
            watched: serving.watched.clone(),
        };
        let owned = Owned {
            standing: Arc::clone(standing),
            carriers: self.carriers.clone(),
            budget: budget.clone(),
            terms: Fresh::default(),
        };
        let turnstile = Arc::new(Turnstile::new(state, Arc::new(recorder), Arc::new(owned), self.deps.clocks));
        let (sender, inbox) = mpsc::channel(self.carriers.config.max_queue);
        let worker = Worker::new(
            self.tools.clone(),
            self.carriers.clone(),
            turnstile,
            Arc::clone(standing),
            (budget.to_string(), serving.answers.clone()),
        );
        serving.workers.spawn(worker.run(inbox));
        serving.budgets.insert(budget.clone(), sender.clone());
        Ok(sender)
    }

    async fn bury(
        &mut self,
        at: &TopicPartition,
        record: &Record,
        detail: &str,
        ticket: Ticket,
    ) -> Result<(), FetcherError> {
        let reason = Reason { code: "request_unreadable", detail, service: "fetcher" };
        metrics::counter!("waybill_dead_letters_total", "service" => "fetcher").increment(1);
        self.dead.bury(&*self.deps.log, at, record, &reason).await?;
        self.complete(vec![ticket]);
        Ok(())
    }

    fn complete(&mut self, tickets: Vec<Ticket>) {
        for ticket in tickets {
            // Of a former life: the offset counts anew, and the result that was written is dropped as a repeat.
            let _ = self.tracker.complete(ticket);
        }
    }

    /// Pauses partitions with too many requests under way and resumes them when half are answered.
    fn balance(&mut self) {
        let most = self.carriers.config.max_open;
        let mut fullest = 0;
        let (mut pause, mut resume) = (Vec::new(), Vec::new());
        for (number, partition) in &mut self.partitions {
            let open = self.tracker.in_flight_of(*number);
            fullest = fullest.max(open);
            if !partition.paused && open + MAX_BATCH > most {
                partition.paused = true;
                pause.push(*number);
            } else if partition.paused && open <= most / 2 {
                partition.paused = false;
                resume.push(*number);
            }
        }
        if !pause.is_empty() {
            self.member.pause(&pause);
        }
        if !resume.is_empty() {
            self.member.resume(&resume);
        }
        metrics::gauge!("waybill_fetcher_saturation_ratio").set(fullest as f64 / most as f64);
    }

    /// Commits what is done, of every partition: an unchanged commit is the lease's heartbeat.
    async fn commit(&mut self) -> Result<(), FetcherError> {
        let mut commits = Vec::new();
        for (number, partition) in &self.partitions {
            let State::Serving(serving) = &partition.state else { continue };
            if let Some(offset) = self.tracker.processed(*number).filter(|_| partition.standing.alive()) {
                let metadata = format!("{{\"claim\":{}}}", serving.claims.highest());
                commits.push(Commit { partition: *number, offset, metadata });
            }
        }
        self.committed_at = Instant::now();
        if commits.is_empty() {
            return Ok(());
        }
        match timeout(COMMIT_EVERY * 2, self.member.commit(&commits)).await {
            Ok(Ok(())) => {
                for commit in commits {
                    self.tracker.committed(commit.partition, commit.offset);
                }
                Ok(())
            }
            Ok(Err(error)) => match error.class() {
                waybill_log::ErrorClass::Fatal => Err(error.into()),
                _ => {
                    tracing::warn!(%error, "fetcher.commit_failed");
                    Ok(())
                }
            },
            // The lease ages; past its end nothing is sent.
            Err(_) => {
                tracing::warn!("fetcher.commit_not_acknowledged");
                Ok(())
            }
        }
    }
}
