//! Taking partitions on: the last commit, claim and restore beside the loop, then writer, watch and the budgets' workers.

use std::{
    collections::BTreeMap,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures::FutureExt;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use waybill_log::{ClaimError, ErrorClass, LogError, TopicPartition};
use waybill_schemas::{BudgetName, topics::names};

use super::{
    BOOT_RETRY, CLAIM_AGAIN, Delivery, Life, MAX_BATCH, Partition, Service, Serving, State, handover::DRAIN_LOOK_UPS,
};
use crate::{
    budget::{BudgetState, Terms},
    error::FetcherError,
    partition::{self, Booted, Owned, Standing, Start, TopicRecorder},
    terms::Fresh,
    turnstile::Turnstile,
    worker::{Attached, Job, Worker},
    writer::{Answers, Writer},
};

impl Service {
    pub(super) fn assigned(&mut self, partitions: &[u32]) {
        for partition in partitions {
            self.begin_life(*partition, State::Booting);
            self.wanted.insert(*partition);
        }
    }

    fn begin_life(&mut self, partition: u32, state: State) {
        self.lives += 1;
        let life = Life { partition, number: self.lives };
        let standing = Arc::new(Standing::new(partition, self.ownership.clone()));
        self.partitions.insert(partition, Partition { life, standing, state, boot: None, delivery: Delivery::Flowing });
    }

    /// Partitions that the group says are ours while a later claim says otherwise: one of our own that was given up and
    /// reached the log all the same, or that of a former owner who did not know yet. Nobody else would ever serve them.
    pub(super) async fn claim_again(&mut self) {
        let ended = |(partition, owned): &(&u32, &Partition)| {
            let serves = matches!(owned.state, State::Serving(_));
            serves && !owned.standing.alive() && self.ownership.holds(**partition)
        };
        let ended: Vec<u32> = self.partitions.iter().filter(ended).map(|(partition, _)| *partition).collect();
        if !ended.is_empty() {
            self.drain(&ended, DRAIN_LOOK_UPS).await;
            for partition in ended {
                let _ = self.tracker.revoke(partition);
                self.member.resume(&[partition]);
                self.begin_life(partition, State::Superseded(Instant::now() + CLAIM_AGAIN));
            }
        }
        let now = Instant::now();
        for (partition, owned) in &mut self.partitions {
            if matches!(owned.state, State::Superseded(until) if until <= now) {
                owned.state = State::Booting;
                self.wanted.insert(*partition);
            }
        }
    }

    /// Begins to boot what was assigned, each from its last commit; a log that does not tell it is asked again next turn.
    pub(super) async fn begin_boots(&mut self) -> Result<(), FetcherError> {
        while let Some(partition) = self.wanted.pop_first() {
            let Some(life) = self.partitions.get(&partition).map(|owned| owned.life) else { continue };
            let committed = match self.member.committed(partition).await {
                Ok(committed) => committed,
                Err(error) if error.class() == ErrorClass::Fatal => return Err(error.into()),
                Err(error) => {
                    tracing::warn!(%error, partition, "fetcher.commit_not_read");
                    self.wanted.insert(partition);
                    self.bear(&error).await;
                    return Ok(());
                }
            };
            let start = Start {
                partition,
                committed: committed.map(|commit| commit.offset),
                max_open: self.carriers.config.max_open,
            };
            self.boot(life, start);
        }
        Ok(())
    }

    fn boot(&mut self, life: Life, start: Start) {
        let (log, topics, member) = (Arc::clone(&self.deps.log), self.deps.topics.clone(), self.deps.member.clone());
        let boot = self.boots.spawn(async move {
            let booted = loop {
                match partition::boot(Arc::clone(&log), topics.clone(), member.clone(), start).await {
                    Err(ClaimError::Log(error)) if error.class() == ErrorClass::Retry => {
                        tracing::warn!(%error, partition = start.partition, "fetcher.boot_retried");
                        tokio::time::sleep(BOOT_RETRY).await;
                    }
                    ended => break ended.map_err(FetcherError::from),
                }
            };
            (life, booted)
        });
        if let Some(owned) = self.partitions.get_mut(&life.partition) {
            owned.boot = Some(boot);
        }
    }

    pub(super) fn booted(&mut self, life: Life, booted: Result<Booted, FetcherError>) -> Result<(), FetcherError> {
        let partition = life.partition;
        let Some(owned) = self.partitions.get_mut(&partition).filter(|owned| owned.life == life) else {
            return Ok(());
        };
        if !owned.standing.alive() {
            return Ok(());
        }
        let booted = match booted {
            Ok(booted) => booted,
            // Somebody else is booting it, and the revocation is on its way; or an earlier claim of ours came late.
            Err(FetcherError::Claim(ClaimError::Superseded { .. })) => {
                tracing::warn!(partition, "fetcher.superseded_while_booting");
                owned.state = State::Superseded(Instant::now() + CLAIM_AGAIN);
                return Ok(());
            }
            // Never passed over: what was spent would be spent again (POL-1, POL-2). The other partitions go on.
            Err(FetcherError::Claim(error @ ClaimError::Unreadable { .. })) => {
                let why = format!(
                    "{error}: run a version of waybill that can read it, or replace that record after saving it"
                );
                tracing::error!(partition, why, "fetcher.partition_refused");
                owned.state = State::Refused(why);
                return Ok(());
            }
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
        // A partition is paused when the next batch might not fit any more: one more may have come in before.
        let (answers, inbox) = Answers::new(self.carriers.config.max_open.saturating_add(MAX_BATCH));
        let standing = Arc::clone(&owned.standing);
        let writer = Writer {
            log: Arc::clone(&self.deps.log),
            topics: self.deps.topics.clone(),
            partition,
            alive: Arc::new(move || standing.alive()),
            done: self.done_sender.clone(),
            pulse: self.component.pulse(&format!("writer {partition}")),
            writes: self.component.writes(),
        };
        let written = CancellationToken::new();
        let ending = written.clone().drop_guard();
        self.writers.spawn(async move {
            // However it ends, whoever waits for it learns of it.
            let _ending = ending;
            writer.run(inbox).await
        });
        // Not among the workers: it ends by itself once the standing has ended, and nobody waits for it.
        let watch = partition::watch(
            Arc::clone(&self.deps.log),
            booted.watch,
            Arc::clone(&owned.standing),
            Arc::clone(&last),
            (watched_sender, self.component.pulse(&format!("watch {partition}"))),
        );
        tokio::spawn(told(format!("the watch of partition {partition}"), watch, self.broken_sender.clone()));
        owned.state = State::Serving(Box::new(Serving {
            epoch: booted.epoch,
            records: booted.records,
            attempts: booted.attempts,
            claims: booted.claims,
            budgets: BTreeMap::new(),
            answers,
            written,
            workers: TaskTracker::new(),
            last,
            watched,
        }));
        self.tracker.assign(partition, booted.position);
        tracing::info!(partition, epoch = booted.epoch, position = booted.position, "fetcher.partition_started");
        self.starting.insert(partition, (life, booted.position));
        Ok(())
    }

    /// Begins delivery from what has booted; a log that does not do it now is asked again next turn.
    pub(super) async fn begin_delivery(&mut self) -> Result<(), FetcherError> {
        while let Some((partition, (life, position))) = self.starting.pop_first() {
            if self.partitions.get(&partition).is_none_or(|owned| owned.life != life) {
                continue;
            }
            match self.member.start(partition, Some(position)).await {
                Ok(()) | Err(LogError::NotOwned(_)) => {}
                Err(error) if error.class() == ErrorClass::Retry => {
                    tracing::warn!(%error, partition, "fetcher.start_retried");
                    self.starting.insert(partition, (life, position));
                    self.bear(&error).await;
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    pub(super) fn open_budget(
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
            clock: self.deps.clock.clone(),
        };
        let turnstile = Arc::new(Turnstile::new(state, Arc::new(recorder), Arc::new(owned), self.deps.clocks));
        let (sender, inbox) = mpsc::channel(self.carriers.config.max_queue);
        let attached = Attached {
            budget: budget.to_string(),
            answers: serving.answers.clone(),
            poison: self.poison.clone(),
            pulse: self.component.pulse(&format!("worker {budget}")),
        };
        let worker = Worker::new(self.tools.clone(), self.carriers.clone(), turnstile, Arc::clone(standing), attached);
        let name = format!("the worker of the budget {budget}");
        serving.workers.spawn(told(name, worker.run(inbox), self.broken_sender.clone()));
        serving.budgets.insert(budget.clone(), sender.clone());
        Ok(sender)
    }
}

/// Runs a task of ours; should it panic, the loop learns of it and ends the fetcher with its name. Of several the first is
/// enough, so nobody waits for a place.
async fn told(name: String, task: impl Future<Output = ()>, broken: mpsc::Sender<String>) {
    if AssertUnwindSafe(task).catch_unwind().await.is_err() {
        let _ = broken.try_send(name);
    }
}
