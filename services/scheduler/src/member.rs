//! The group's loop: partitions come and go, outcomes are passed on, what is done is committed.
//!
//! Nothing here waits for a partition except a revoke, so commits, which are the lease, go on while one restores.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use waybill_log::{Commit, DeadLetters, ErrorClass, GroupEvent, GroupMember, LogError, Record};
use waybill_runtime::{Component, PoisonWatch, health::FIRST_SHARE};

use crate::{
    Deps, SchedulerError,
    codec::Places,
    desk::Context,
    error::End,
    partition::{LEASE, Progress, Seat},
};

/// Batches that wait for a partition.
const WAITING_BATCHES: usize = 4;
/// How long one look for news of the group lasts.
const POLL: Duration = Duration::from_millis(50);
/// How long the commit behind a drain, and leaving the group, may take: what is not committed is done again.
const LAST_COMMIT: Duration = Duration::from_secs(2);

/// One owned partition as the group's loop sees it.
struct Slot {
    outcomes: mpsc::Sender<Vec<Record>>,
    progress: watch::Receiver<Progress>,
    asked: CancellationToken,
    /// A scheduler that is dropped, rather than asked to stop, leaves no loop behind.
    task: AbortOnDropHandle<End>,
    delivery: Delivery,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delivery {
    /// The partition restores.
    NotStarted,
    Flowing,
    /// Its channel is full.
    Paused,
}

/// The group's loop.
pub(crate) struct Membership<'a> {
    deps: &'a Deps,
    member: Box<dyn GroupMember>,
    slots: BTreeMap<u32, Slot>,
    health: Component,
    poison: PoisonWatch,
    failures: u32,
    /// The log has failed in this turn.
    troubled: bool,
    joined: Instant,
}

impl<'a> Membership<'a> {
    pub(crate) fn new(deps: &'a Deps, member: Box<dyn GroupMember>) -> Self {
        let health = deps.health.component("scheduler");
        let poison = PoisonWatch::new("scheduler", deps.config.poison.clone(), deps.clocks);
        let (slots, joined) = (BTreeMap::new(), Instant::now());
        Self { deps, member, slots, health, poison, failures: 0, troubled: false, joined }
    }

    /// Works until asked to stop or broken; leaves the group either way.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) -> Result<(), SchedulerError> {
        self.healthy();
        let ended = self.work(&shutdown).await;
        self.health.not_ready("stopping");
        let all: Vec<u32> = self.slots.keys().copied().collect();
        let closed = self.close(&all).await;
        if timeout(LAST_COMMIT, self.member.leave()).await.is_err() {
            tracing::warn!("scheduler.leaving_took_too_long");
        }
        ended.and(closed)
    }

    async fn work(&mut self, shutdown: &CancellationToken) -> Result<(), SchedulerError> {
        let interval = Duration::from_millis(self.deps.config.commit_interval_ms);
        let mut committed = Instant::now();
        while !shutdown.is_cancelled() {
            self.health.beat();
            if let Some(why) = self.poison.must_stop() {
                return Err(SchedulerError::Poison(why));
            }
            self.troubled = false;
            self.look_after_slots().await?;
            if committed.elapsed() >= interval {
                committed = Instant::now();
                let commits = self.commits();
                let done = self.commit(&commits).await;
                self.bear(done).await?;
            }
            let next = self.next().await;
            match next {
                Ok(event) => {
                    self.take(event).await?;
                    // A group that answers is not all: partitions may wait to be begun.
                    if !self.troubled {
                        self.failures = 0;
                        self.healthy();
                    }
                }
                Err(error) => self.bear(Err(error)).await?,
            }
        }
        Ok(())
    }

    /// The start is not over before the group has shared out, or has been given time enough to.
    fn healthy(&self) {
        let serves = self.slots.values().any(|slot| slot.progress.borrow().done.is_some());
        if let Some(why) = lease_is_over(serves, self.member.ownership().lease_age()) {
            self.health.not_ready(&why);
        } else if self.slots.is_empty() && self.joined.elapsed() < FIRST_SHARE {
            self.health.ready_for_work();
        } else {
            self.health.ready();
        }
    }

    async fn next(&mut self) -> Result<GroupEvent, LogError> {
        let deadline = self.deps.config.request_timeout() + POLL;
        let answer = timeout(deadline, self.member.next(POLL)).await;
        answer.unwrap_or_else(|_| Err(LogError::Unavailable("the group does not answer".to_owned())))
    }

    /// What an error of the group means: wait, pass over, or end.
    async fn bear(&mut self, answer: Result<(), LogError>) -> Result<(), SchedulerError> {
        let Err(error) = answer else {
            return Ok(());
        };
        match error.class() {
            ErrorClass::Retry => {
                self.failures = (self.failures + 1).min(6);
                self.troubled = true;
                tracing::warn!(%error, failures = self.failures, "scheduler.group_unavailable");
                self.health.not_ready(&error.to_string());
                sleep(Duration::from_millis(100 << self.failures).min(Duration::from_secs(5))).await;
                Ok(())
            }
            // The event that says so is on its way.
            ErrorClass::Lost | ErrorClass::Drop => {
                tracing::info!(%error, "scheduler.commit_passed_over");
                Ok(())
            }
            ErrorClass::Fatal => Err(error.into()),
        }
    }

    async fn take(&mut self, event: GroupEvent) -> Result<(), SchedulerError> {
        match event {
            GroupEvent::Assigned(partitions) => {
                for partition in partitions {
                    self.open(partition);
                }
            }
            GroupEvent::Revoked(partitions) => {
                let closed = self.close(&partitions).await;
                self.member.release(&partitions);
                closed?;
            }
            GroupEvent::Records { partition, records } => self.pass_on(partition, records).await,
            GroupEvent::Idle => {}
        }
        Ok(())
    }

    fn open(&mut self, partition: u32) {
        let deps = self.deps;
        let (sender, outcomes) = mpsc::channel(WAITING_BATCHES);
        let (progress, watched) = watch::channel(Progress::default());
        let asked = CancellationToken::new();
        let seat = Seat {
            context: Context {
                log: Arc::clone(&deps.log),
                clocks: deps.clocks,
                layout: deps.layout.clone(),
                places: Places::new(&deps.topics, partition),
                dead_letters: DeadLetters::new(&deps.topics),
                poison: self.poison.clone(),
                partition,
                deadline: deps.config.request_timeout(),
                joined: self.joined,
            },
            config: deps.config.clone(),
            carriers: Arc::clone(&deps.carriers),
            member: deps.member.clone(),
            ownership: self.member.ownership(),
            outcomes,
            progress,
            asked: asked.clone(),
        };
        tracing::info!(partition, "scheduler.partition_assigned");
        let health = deps.health.component(&format!("scheduler-{partition}"));
        let task = AbortOnDropHandle::new(tokio::spawn(seat.run(health)));
        let slot = Slot { outcomes: sender, progress: watched, asked, task, delivery: Delivery::NotStarted };
        self.slots.insert(partition, slot);
    }

    async fn pass_on(&mut self, partition: u32, records: Vec<Record>) {
        let Some(slot) = self.slots.get_mut(&partition) else {
            return;
        };
        // There is room: delivery is paused while there is none.
        let _ = slot.outcomes.send(records).await;
        if slot.outcomes.capacity() == 0 {
            self.member.pause(&[partition]);
            slot.delivery = Delivery::Paused;
        }
    }

    async fn look_after_slots(&mut self) -> Result<(), SchedulerError> {
        let mut ended = Vec::new();
        let mut begun = Ok(());
        for (&partition, slot) in &mut self.slots {
            if slot.task.is_finished() {
                ended.push(partition);
                continue;
            }
            let start = slot.progress.borrow().start;
            match (slot.delivery, start) {
                (Delivery::NotStarted, Some(offset)) => match self.member.start(partition, Some(offset)).await {
                    Ok(()) => slot.delivery = Delivery::Flowing,
                    Err(error) if error.class() == ErrorClass::Lost => {
                        // The event that says so is on its way.
                        tracing::debug!(partition, %error, "scheduler.start_passed_over");
                    }
                    Err(error) => {
                        begun = Err(error);
                        break;
                    }
                },
                (Delivery::Paused, _) if slot.outcomes.capacity() > 0 => {
                    self.member.resume(&[partition]);
                    slot.delivery = Delivery::Flowing;
                }
                _ => {}
            }
        }
        if !ended.is_empty() {
            self.close(&ended).await?;
        }
        self.bear(begun).await
    }

    fn commits(&self) -> Vec<Commit> {
        let done = |(partition, slot): (&u32, &Slot)| {
            let offset = slot.progress.borrow().done?;
            Some(Commit { partition: *partition, offset, metadata: String::new() })
        };
        self.slots.iter().filter_map(done).collect()
    }

    /// LOG-1: only what partitions report as durable. Without news too, because commits are the lease.
    async fn commit(&mut self, commits: &[Commit]) -> Result<(), LogError> {
        if commits.is_empty() {
            return Ok(());
        }
        let answer = timeout(self.deps.config.request_timeout(), self.member.commit(commits)).await;
        answer.unwrap_or_else(|_| Err(LogError::Unavailable("a commit was not answered".to_owned())))
    }

    /// Asks partitions to stop, all at once, waits for them, and commits what they have done.
    async fn close(&mut self, partitions: &[u32]) -> Result<(), SchedulerError> {
        let slots: Vec<(u32, Slot)> = partitions.iter().filter_map(|p| self.slots.remove_entry(p)).collect();
        for (_, slot) in &slots {
            slot.asked.cancel();
        }
        let mut answer = Ok(());
        let mut commits = Vec::new();
        // One deadline for all: they drain side by side.
        let deadline = Instant::now() + self.deps.config.drain();
        for (partition, mut slot) in slots {
            let end = match timeout_at(deadline, &mut slot.task).await {
                Ok(Ok(end)) => end,
                Ok(Err(_)) => {
                    answer = Err(SchedulerError::Broken(partition));
                    continue;
                }
                Err(_) => {
                    slot.task.abort();
                    tracing::warn!(partition, "scheduler.partition_did_not_drain");
                    continue;
                }
            };
            tracing::info!(partition, why = %end, "scheduler.partition_closed");
            let offset = slot.progress.borrow().done;
            commits.extend(offset.map(|offset| Commit { partition, offset, metadata: String::new() }));
            if let End::Fatal(error) = end {
                answer = Err(error.into());
            }
        }
        match timeout(LAST_COMMIT, self.commit(&commits)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::info!(%error, "scheduler.last_commit_passed_over"),
            Err(_) => tracing::info!("scheduler.last_commit_not_answered"),
        }
        answer
    }
}

/// Why nothing is handed out although partitions are served.
fn lease_is_over(serves: bool, age: Duration) -> Option<String> {
    (serves && age >= LEASE)
        .then(|| format!("the log has acknowledged no commit for {} s: nothing is handed out meanwhile", age.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_that_is_over_is_told_where_something_is_served() {
        assert_eq!(lease_is_over(true, LEASE - Duration::from_millis(1)), None);
        assert_eq!(lease_is_over(false, LEASE * 2), None, "nothing is there to commit");
        assert!(lease_is_over(true, LEASE).is_some_and(|why| why.contains("10 s")));
    }
}
