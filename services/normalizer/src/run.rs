//! The shell: a member of the normalizers' group on `waybill.fetch-results`, one worker a partition.
//!
//! It reads, hands out, and commits what workers have told as done; it never looks inside a result. Idle or not, positions
//! are committed at least every two seconds.

mod partitions;

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use waybill_adapters::LiveCatalog;
use waybill_log::{
    Commit, DeadLetters, ErrorClass, GroupEvent, GroupMember, JoinGroup, LogError, OffsetTracker, OutOfRange,
    Ownership, Record, SharedLog, offset_tracker::Dispatch,
};
use waybill_runtime::{
    Clocks, Component, Health, PoisonWatch,
    health::FIRST_SHARE,
    retry::{Delays, RetryPolicy},
    telemetry::watch_promises,
};
use waybill_schemas::{
    layout::Layout,
    topics::{TopicPrefix, names},
};

use crate::{
    NormalizerConfig, NormalizerError, normalize_read_by,
    records::{Public, Topics},
    worker::{Shared, Told, Work},
};

/// How long the shell waits for records before it looks at anything else.
const TURN: Duration = Duration::from_millis(50);
/// Pauses between tries of what the log does not do now.
const LOG_RETRY: RetryPolicy =
    RetryPolicy { initial: Duration::from_millis(500), max: Duration::from_secs(2), give_up_after: None };
/// A normalizer is not ready when its last acknowledged commit is older (DESIGN §5, hand-over).
const LEASE: Duration = Duration::from_secs(10);
/// How long leaving the group may take.
const LEAVE: Duration = Duration::from_secs(2);
/// What workers have told and the shell has not yet heard: one message a piece written, and it listens every turn, so they
/// all but never wait. It also listens wherever it waits for a worker, so that the two never wait for each other.
const MAX_TOLD: usize = 256;

/// What a normalizer stands on.
pub struct Deps {
    /// The log.
    pub log: SharedLog,
    /// First part of topics' names.
    pub topics: TopicPrefix,
    /// The layout in force.
    pub layout: Layout,
    /// Clocks; no public record is made of them.
    pub clocks: Clocks,
    /// Adapters of all carriers; may be exchanged while running.
    pub catalog: LiveCatalog,
    /// This member's stable name.
    pub member: String,
    /// Where it tells how it is.
    pub health: Health,
    /// Settings.
    pub config: NormalizerConfig,
}

/// Runs a normalizer until `shutdown`, then drains: work under way is finished and committed, and the group is left.
///
/// # Errors
/// [`NormalizerError`] when it cannot go on; whatever was not committed is done again by whoever comes next.
pub async fn run(deps: Deps, shutdown: CancellationToken) -> Result<(), NormalizerError> {
    deps.config.check()?;
    // The first two where a record of ours cannot be written, the others where a reading is checked.
    watch_promises(&["FET-1", "LOG-1", "NRM-2", "NRM-3", "NRM-4"]);
    for adapter in deps.catalog.catalog().all() {
        let carrier = adapter.slug.as_str().to_owned();
        metrics::counter!("waybill_unmatched_texts_total", "carrier" => carrier).increment(0);
    }
    let health = deps.health.component("normalizer");
    let topics = resolve(&deps).await?;
    let results = Arc::clone(&topics.results);
    let member = deps
        .log
        .join(JoinGroup {
            group: deps.config.group.clone(),
            topic: results.to_string(),
            member: deps.member.clone(),
            // Results hold events that nobody has seen yet: a gap is an error, never a silent reset.
            out_of_range: OutOfRange::Fail,
            drain_budget: deps.config.drain(),
            max_batch: deps.config.max_batch,
        })
        .await?;
    let (told, from_workers) = mpsc::channel(MAX_TOLD);
    let shared = Arc::new(Shared {
        log: Arc::clone(&deps.log),
        topics,
        catalog: deps.catalog.clone(),
        clocks: deps.clocks,
        request_timeout: deps.config.request_timeout(),
        flush_bytes: deps.config.flush_bytes,
        layout: deps.layout,
        poison: PoisonWatch::new("normalizer", deps.config.poison.clone(), deps.clocks),
        normalize: normalize_read_by,
    });
    let mut shell = Shell {
        log: deps.log,
        config: deps.config,
        ownership: member.ownership(),
        results,
        shared,
        tracker: OffsetTracker::new(),
        hands: BTreeMap::new(),
        wanted: BTreeSet::new(),
        wanted_from: 0,
        wanted_at: Instant::now(),
        pauses: LOG_RETRY.delays(),
        told,
        from_workers,
        failed: None,
        committed_at: Instant::now(),
        joined: Instant::now(),
        health,
    };
    shell.run(member, shutdown).await
}

/// Topics as they are, checked against the layout.
async fn resolve(deps: &Deps) -> Result<Topics, NormalizerError> {
    let deadline = deps.config.request_timeout();
    let describe = async |name: &str| -> Result<Public, NormalizerError> {
        let topic = deps.topics.of(name);
        let found = within(deadline, deps.log.describe(&topic)).await?;
        Ok(Public { topic: topic.into(), partitions: found.partitions })
    };
    let results = describe(names::FETCH_RESULTS).await?;
    let outcomes = describe(names::OUTCOMES).await?;
    for internal in [&results, &outcomes] {
        if internal.partitions != deps.layout.partitions {
            return Err(NormalizerError::Layout {
                topic: internal.topic.to_string(),
                actual: internal.partitions,
                layout: deps.layout.partitions,
            });
        }
    }
    Ok(Topics {
        events: describe(names::TRACKING_EVENTS).await?,
        shipments: describe(names::SHIPMENTS).await?,
        changes: describe(names::STATUS_CHANGES).await?,
        forgotten: describe(names::FORGOTTEN).await?.topic,
        outcomes: outcomes.topic,
        results: results.topic,
        dead: DeadLetters::new(&deps.topics),
    })
}

async fn within<T>(limit: Duration, call: impl Future<Output = Result<T, LogError>>) -> Result<T, LogError> {
    timeout(limit, call).await.unwrap_or_else(|_| Err(LogError::Unavailable("no answer in time".to_owned())))
}

/// A partition's worker, held by its queue.
struct Hand {
    queue: mpsc::Sender<Work>,
    stop: CancellationToken,
    task: JoinHandle<()>,
    paused: bool,
}

struct Shell {
    log: SharedLog,
    config: NormalizerConfig,
    ownership: Ownership,
    results: Arc<str>,
    shared: Arc<Shared>,
    tracker: OffsetTracker,
    hands: BTreeMap<u32, Hand>,
    /// Assigned, and not begun yet: the log did not answer.
    wanted: BTreeSet<u32>,
    /// Where among them beginning goes on.
    wanted_from: u32,
    /// When beginning is tried again.
    wanted_at: Instant,
    pauses: Delays,
    told: mpsc::Sender<Told>,
    from_workers: mpsc::Receiver<Told>,
    /// The first reason to end that a worker told.
    failed: Option<NormalizerError>,
    committed_at: Instant,
    joined: Instant,
    health: Component,
}

impl Shell {
    async fn run(
        &mut self,
        mut member: Box<dyn GroupMember>,
        shutdown: CancellationToken,
    ) -> Result<(), NormalizerError> {
        self.healthy();
        let ended = self.turns(member.as_mut(), &shutdown).await;
        self.health.not_ready("ending");
        let all: Vec<u32> = self.hands.keys().copied().collect();
        let drained = self.let_go(member.as_mut(), &all).await;
        if timeout(LEAVE, member.leave()).await.is_err() {
            tracing::warn!("normalizer.leaving_took_too_long");
        }
        ended.and(drained)
    }

    async fn turns(
        &mut self,
        member: &mut dyn GroupMember,
        shutdown: &CancellationToken,
    ) -> Result<(), NormalizerError> {
        while !shutdown.is_cancelled() {
            self.health.beat();
            match member.next(TURN).await {
                Ok(GroupEvent::Assigned(partitions)) => self.wanted.extend(partitions),
                Ok(GroupEvent::Revoked(partitions)) => {
                    self.wanted.retain(|partition| !partitions.contains(partition));
                    self.let_go(member, &partitions).await?;
                    member.release(&partitions);
                }
                Ok(GroupEvent::Records { partition, records }) => self.hand_out(member, partition, records).await?,
                Ok(GroupEvent::Idle) => {}
                Err(error) if error.class() == ErrorClass::Retry => {
                    tracing::warn!(%error, "normalizer.poll_failed");
                    self.bear(&error).await;
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
            self.take_wanted(member).await?;
            self.listen(member)?;
            if self.committed_at.elapsed() >= self.config.commit_interval() {
                self.commit(member).await?;
            }
        }
        Ok(())
    }

    /// The log did not do what was asked, and will: says so, and waits a while.
    async fn bear(&mut self, error: &LogError) {
        self.health.not_ready(&error.to_string());
        tokio::time::sleep(self.pauses.next().unwrap_or(LOG_RETRY.max)).await;
    }

    /// The start is not over before the group has shared out, or has been given time enough to.
    fn healthy(&self) {
        if let Some(why) = lease_is_over(!self.hands.is_empty(), self.ownership.lease_age()) {
            self.health.not_ready(&why);
        } else if self.hands.is_empty() && self.joined.elapsed() < FIRST_SHARE {
            self.health.ready_for_work();
        } else {
            self.health.ready();
        }
    }

    async fn hand_out(
        &mut self,
        member: &mut dyn GroupMember,
        partition: u32,
        records: Vec<Record>,
    ) -> Result<(), NormalizerError> {
        let mut taken = Vec::with_capacity(records.len());
        for record in records {
            if let Dispatch::Taken(ticket) = self.tracker.dispatch(partition, record.offset) {
                taken.push((ticket, record));
            }
        }
        let Some(queue) = self.hands.get(&partition).map(|hand| hand.queue.clone()) else { return Ok(()) };
        if taken.is_empty() {
            return Ok(());
        }
        // A worker that ended has told why, or panicked; both end the normalizer.
        if self.listening(queue.send(Work { records: taken })).await.is_err() {
            self.listen(member)?;
            return Err(NormalizerError::Broken(partition));
        }
        if let Some(hand) = self.hands.get_mut(&partition).filter(|_| queue.capacity() == 0) {
            hand.paused = true;
            member.pause(&[partition]);
        }
        Ok(())
    }

    /// Waits for a worker to take or to end, and hears meanwhile what workers tell.
    async fn listening<T>(&mut self, wait: impl Future<Output = T>) -> T {
        let mut wait = pin!(wait);
        loop {
            tokio::select! {
                done = wait.as_mut() => return done,
                Some(told) = self.from_workers.recv() => self.hear(told),
            }
        }
    }

    fn hear(&mut self, told: Told) {
        match told {
            Told::Done(tickets) => {
                for ticket in tickets {
                    let _ = self.tracker.complete(ticket);
                }
            }
            Told::Failed(error) => {
                self.failed.get_or_insert(error.into());
            }
            Told::Poisoned(why) => {
                self.failed.get_or_insert(NormalizerError::Poison(why));
            }
        }
    }

    /// What workers have told meanwhile.
    fn listen(&mut self, member: &mut dyn GroupMember) -> Result<(), NormalizerError> {
        // Looked at first: a worker tells why before it ends, so what it told is then at hand.
        let ended = self.hands.iter().find(|(_, hand)| hand.task.is_finished() && !hand.stop.is_cancelled());
        let ended = ended.map(|(partition, _)| *partition);
        while let Ok(told) = self.from_workers.try_recv() {
            self.hear(told);
        }
        if let Some(failed) = self.failed.take() {
            return Err(failed);
        }
        if let Some(partition) = ended {
            return Err(NormalizerError::Broken(partition));
        }
        for (partition, hand) in &mut self.hands {
            if hand.paused && hand.queue.capacity() > 0 {
                hand.paused = false;
                member.resume(&[*partition]);
            }
        }
        Ok(())
    }

    /// Commits what is done, and where nothing is, the position again: it renews the lease.
    async fn commit(&mut self, member: &mut dyn GroupMember) -> Result<(), NormalizerError> {
        self.committed_at = Instant::now();
        let commits: Vec<Commit> = self.hands.keys().filter_map(|partition| self.position(*partition)).collect();
        self.commit_these(member, &commits).await
    }

    fn position(&self, partition: u32) -> Option<Commit> {
        let offset = self.tracker.processed(partition)?;
        Some(Commit { partition, offset, metadata: String::new() })
    }

    async fn commit_these(&mut self, member: &mut dyn GroupMember, commits: &[Commit]) -> Result<(), NormalizerError> {
        if commits.is_empty() {
            return Ok(());
        }
        // No longer than a drain may take: a log that does not answer must not hold up the end.
        match within(self.config.request_timeout().min(self.config.drain()), member.commit(commits)).await {
            Ok(()) => {
                for commit in commits {
                    self.tracker.committed(commit.partition, commit.offset);
                }
                Ok(())
            }
            Err(error) if matches!(error.class(), ErrorClass::Retry | ErrorClass::Lost) => {
                // What was not committed is done again: harmless (LOG-1).
                tracing::warn!(%error, "normalizer.commit_failed");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Why it is not known whether partitions that are worked on are still this member's.
fn lease_is_over(works: bool, age: Duration) -> Option<String> {
    (works && age >= LEASE).then(|| format!("the log has acknowledged no commit for {} s", age.as_secs()))
}
