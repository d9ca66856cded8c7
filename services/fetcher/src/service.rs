//! The fetcher's loop: a member of the group on `waybill.fetch-requests` that boots partitions, hands requests to the
//! workers of their budgets, and commits what has its result.
//!
//! Order (LOG-1): payload acknowledged → result acknowledged → request done → offset committed. Order of a hand-over
//! (DESIGN §5): standing ended, so nothing is sent → look-ups under way end or are given up → their results are written →
//! the partition is released.
//!
//! A log that does not answer for a while ends nothing: the loop goes on asking, the lease ages, and past its end nothing
//! is sent.

mod boot;
mod handover;
mod requests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinSet},
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use waybill_adapters::LiveCatalog;
use waybill_log::{
    Commit, DeadLetters, ErrorClass, GroupEvent, GroupMember, JoinGroup, LogError, OffsetTracker, OutOfRange,
    Ownership, SharedLog, claims::ClaimTracker, offset_tracker::Ticket,
};
use waybill_runtime::{
    ClockGate, Clocks, Component, Health, PoisonWatch,
    health::FIRST_SHARE,
    retry::{Delays, RetryPolicy},
    telemetry::watch_promises,
};
use waybill_schemas::{
    BudgetName,
    layout::Layout,
    politeness::FetcherBudgetRecord,
    topics::{TopicPrefix, names},
};

use crate::{
    beside::Examples,
    config::FetcherConfig,
    error::FetcherError,
    exchange::Exchange,
    look_up::Tools,
    partition::{Attempts, Booted, LEASE, Standing},
    terms::{Carriers, Policies},
    worker::Job,
    writer::Answers,
};

const COMMIT_EVERY: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(50);
const MAX_BATCH: usize = 500;
/// Answers of one partition that its writer has not taken up; beyond, no further requests are taken in.
const MAX_WAITING: usize = 512;
const DRAIN_BUDGET: Duration = Duration::from_secs(10);
/// How long they may take when the process ends.
const SHUTDOWN_LOOK_UPS: Duration = Duration::from_secs(6);
const BOOT_RETRY: Duration = Duration::from_secs(1);
/// From the end of a claim of ours to the next: who has lost the partition in truth learns of it meanwhile.
const CLAIM_AGAIN: Duration = Duration::from_secs(1);
/// Pauses between tries of what the log does not do now.
const LOG_RETRY: RetryPolicy =
    RetryPolicy { initial: Duration::from_millis(500), max: Duration::from_secs(2), give_up_after: None };
/// How long leaving the group may take.
const LEAVE: Duration = Duration::from_secs(2);

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
    /// Whether the clock may be trusted; nothing is sent while it may not.
    pub clock: ClockGate,
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
    watch_promises(&["POL-1", "POL-2", "FET-1"]);
    let ownership = member.ownership();
    let (done_sender, done) = mpsc::channel(1_024);
    // One place: the first that panicked ends the service.
    let (broken_sender, broken) = mpsc::channel(1);
    let poison = PoisonWatch::new("fetcher", deps.config.poison.clone(), deps.clocks);
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
        lives: 0,
        writers: JoinSet::new(),
        done,
        done_sender,
        broken,
        broken_sender,
        poison,
        wanted: BTreeSet::new(),
        starting: BTreeMap::new(),
        trouble: None,
        pauses: LOG_RETRY.delays(),
        dead,
        component,
        joined: Instant::now(),
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
    boots: JoinSet<(Life, Result<Booted, FetcherError>)>,
    /// Lives begun so far.
    lives: u64,
    writers: JoinSet<Result<(), LogError>>,
    done: mpsc::Receiver<Vec<Ticket>>,
    done_sender: mpsc::Sender<Vec<Ticket>>,
    /// Tasks that panicked, by name.
    broken: mpsc::Receiver<String>,
    broken_sender: mpsc::Sender<String>,
    poison: PoisonWatch,
    /// Assigned, and their last commit is not known yet.
    wanted: BTreeSet<u32>,
    /// Booted, and not delivered from yet: in which life, and from where on.
    starting: BTreeMap<u32, (Life, u64)>,
    /// What the log did not do in this turn.
    trouble: Option<String>,
    pauses: Delays,
    dead: DeadLetters,
    component: Component,
    joined: Instant,
    committed_at: Instant,
}

/// One time that a partition is ours: what a boot of an earlier one found is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Life {
    partition: u32,
    number: u64,
}

/// Whether requests of a partition are taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delivery {
    Flowing,
    /// Paused: too many are under way.
    Full,
    /// Paused: too many answers wait for the writer.
    Behind,
}

/// An owned partition.
struct Partition {
    life: Life,
    standing: Arc<Standing>,
    state: State,
    /// The boot that was begun last.
    boot: Option<AbortHandle>,
    delivery: Delivery,
}

impl Drop for Partition {
    /// However the service ends, nothing of it goes on sending, and no claim of it follows.
    fn drop(&mut self) {
        self.standing.end();
        self.standing.given_up.cancel();
        if let Some(boot) = self.boot.take() {
            boot.abort();
        }
    }
}

/// Booting, then serving.
enum State {
    Booting,
    Serving(Box<Serving>),
    /// The group says that it is ours, a claim that it is somebody else's: claimed anew from then on.
    Superseded(Instant),
    /// Its records cannot be read: held and shown, so that nobody else breaks on it in turn, until somebody looks.
    Refused(String),
}

struct Serving {
    epoch: u64,
    records: BTreeMap<String, FetcherBudgetRecord>,
    attempts: Attempts,
    claims: ClaimTracker,
    budgets: BTreeMap<BudgetName, mpsc::Sender<Job>>,
    answers: Answers,
    /// Cancelled once the writer has ended, and with that told of every result it wrote.
    written: CancellationToken,
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
        if timeout(LEAVE, self.member.leave()).await.is_err() {
            tracing::warn!("fetcher.leaving_took_too_long");
        }
        outcome
    }

    async fn turn(&mut self) -> Result<(), FetcherError> {
        self.trouble = None;
        match self.member.next(POLL).await {
            Ok(GroupEvent::Assigned(partitions)) => self.assigned(&partitions),
            Ok(GroupEvent::Revoked(partitions)) => self.revoked(&partitions).await,
            Ok(GroupEvent::Records { partition, records }) => self.records(partition, records).await?,
            Ok(GroupEvent::Idle) => {}
            Err(error) => match error.class() {
                ErrorClass::Fatal => return Err(error.into()),
                ErrorClass::Retry | ErrorClass::Lost | ErrorClass::Drop => {
                    tracing::warn!(%error, "fetcher.log_unavailable");
                    self.bear(&error).await;
                }
            },
        }
        self.claim_again().await;
        self.begin_boots().await?;
        while let Ok(tickets) = self.done.try_recv() {
            self.complete(tickets);
        }
        while let Some(ended) = self.boots.try_join_next() {
            match ended {
                Ok((life, booted)) => self.booted(life, booted)?,
                // Its partition went before it was done.
                Err(error) if error.is_cancelled() => {}
                Err(error) => return Err(FetcherError::Task(error.to_string())),
            }
        }
        self.begin_delivery().await?;
        while let Some(ended) = self.writers.try_join_next() {
            ended.map_err(|error| FetcherError::Task(error.to_string()))??;
        }
        self.balance();
        if self.committed_at.elapsed() >= COMMIT_EVERY {
            self.commit().await?;
        }
        if let Ok(what) = self.broken.try_recv() {
            return Err(FetcherError::Task(format!("{what} panicked; see the log above")));
        }
        if let Some(why) = self.poison.must_stop() {
            return Err(FetcherError::Poison(why));
        }
        let is_booting = |partition: &Partition| matches!(partition.state, State::Booting | State::Superseded(_));
        let booting = self.partitions.values().any(is_booting);
        let refused = self.partitions.values().find_map(|partition| match &partition.state {
            State::Refused(why) => Some(why.clone()),
            State::Booting | State::Serving(_) | State::Superseded(_) => None,
        });
        if self.trouble.is_none() {
            self.pauses.reset();
        }
        let silent = self.lease_is_over();
        match (self.trouble.take().or(silent), refused) {
            (Some(why), _) => self.component.not_ready(&why),
            (None, Some(why)) if booting => self.component.not_ready(&why),
            (None, Some(why)) => self.component.hindered(&why),
            (None, None) if booting => self.component.not_ready("restoring budgets"),
            // Not the end of the start before the group has shared out, or has been given time enough to.
            (None, None) if self.partitions.is_empty() && self.joined.elapsed() < FIRST_SHARE => {
                self.component.ready_for_work();
            }
            (None, None) => self.component.ready(),
        }
        Ok(())
    }

    /// The log did not do what was asked, and will: says so, and waits a while. Whoever tries again does so in a later turn:
    /// a member that is not asked for its events does not learn that it has lost its partitions, or has to join anew.
    async fn bear(&mut self, error: &LogError) {
        let why = error.to_string();
        self.component.not_ready(&why);
        self.trouble = Some(why);
        tokio::time::sleep(self.pauses.next().unwrap_or(LOG_RETRY.max)).await;
    }

    /// Why nothing is sent although partitions are served.
    fn lease_is_over(&self) -> Option<String> {
        let serves = self.partitions.values().any(|partition| matches!(partition.state, State::Serving(_)));
        let age = self.ownership.lease_age();
        (serves && age > LEASE)
            .then(|| format!("the log has acknowledged no commit for {} s: nothing is sent meanwhile", age.as_secs()))
    }

    fn complete(&mut self, tickets: Vec<Ticket>) {
        for ticket in tickets {
            // Of a former life: the offset counts anew, and the result that was written is dropped as a repeat.
            let _ = self.tracker.complete(ticket);
        }
    }

    /// Pauses partitions with too many requests under way, or whose writer is too far behind, and resumes them at the half.
    fn balance(&mut self) {
        let most = self.carriers.config.max_open;
        let mut fullest = 0;
        let (mut pause, mut resume) = (Vec::new(), Vec::new());
        for (number, partition) in &mut self.partitions {
            let open = self.tracker.in_flight_of(*number);
            let waiting = match &partition.state {
                State::Serving(serving) => serving.answers.waiting(),
                State::Booting | State::Superseded(_) | State::Refused(_) => 0,
            };
            fullest = fullest.max(open);
            let delivery = match partition.delivery {
                Delivery::Flowing if open + MAX_BATCH > most => Delivery::Full,
                Delivery::Flowing if waiting > MAX_WAITING => Delivery::Behind,
                Delivery::Full if open <= most / 2 => Delivery::Flowing,
                Delivery::Behind if waiting <= MAX_WAITING / 2 => Delivery::Flowing,
                same => same,
            };
            if delivery != partition.delivery {
                let told = if delivery == Delivery::Flowing { &mut resume } else { &mut pause };
                told.push(*number);
                partition.delivery = delivery;
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
