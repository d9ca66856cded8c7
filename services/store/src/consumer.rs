//! One topic's loop: read, close ranges, acknowledge them, have them inserted, commit.
//!
//! The loop alone talks to the group member; inserts run beside it and come back to it. Per partition one range is under
//! way while the next one fills. Reading is paused where a range is full or memory is used up, never given up: the member
//! goes on answering for its partitions, so ClickHouse being away stalls nothing but the store's own position.
//! Order (LOG-1, STO-1): plan acknowledged → inserts and dead letters done → offset committed.

mod adopt;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{task::JoinSet, time::Instant};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::AbortOnDropHandle,
};
use waybill_log::{
    Commit, DeadLetters, ErrorClass, GroupEvent, GroupMember, LogError, Record, SharedLog, TopicPartition,
};
use waybill_runtime::{
    Component, PoisonWatch,
    retry::{Delays, RetryPolicy},
};

use crate::{
    StoreConfig, StoreError,
    buffer::Filling,
    flight::{Flight, Outcome, Work},
    insert::{Earlier, Inserter},
    job::Job,
    rows::{Read, Source},
};

/// Longest wait for records when nothing is under way.
const IDLE_WAIT: Duration = Duration::from_millis(250);
/// Longest wait while something is under way: how late its end may be noticed.
const BUSY_WAIT: Duration = Duration::from_millis(5);
/// Pauses between tries of what the log does not do now.
pub(crate) const LOG_RETRY: RetryPolicy =
    RetryPolicy { initial: Duration::from_millis(200), max: Duration::from_secs(2), give_up_after: None };
/// How long leaving the group may take.
const LEAVE: Duration = Duration::from_secs(2);
/// How often the lag is measured.
const LAG_EVERY: Duration = Duration::from_secs(2);

/// What all topics' loops share. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) log: SharedLog,
    pub(crate) letters: DeadLetters,
    pub(crate) inserter: Inserter,
    pub(crate) config: Arc<StoreConfig>,
    pub(crate) poison: PoisonWatch,
    /// Bytes of rows in memory, over all topics.
    pub(crate) buffered: Arc<AtomicUsize>,
}

/// A partition that is ours.
struct Partition {
    generation: u64,
    filling: Filling,
    since: Option<Instant>,
    flight: Option<Flight>,
    /// Everything before is stored.
    position: u64,
    /// The position is not committed yet.
    uncommitted: bool,
    paused: bool,
    cancel: CancellationToken,
    _cancel_on_drop: DropGuard,
}

/// A piece of work that has ended.
struct Finished {
    partition: u32,
    generation: u64,
    work: Work,
    outcome: Result<Outcome, LogError>,
}

/// One topic's loop.
pub(crate) struct Consumer {
    shared: Shared,
    source: &'static Source,
    topic: Arc<str>,
    member: Box<dyn GroupMember>,
    partitions: BTreeMap<u32, Partition>,
    /// Assigned, and not taken over yet.
    wanted: BTreeSet<u32>,
    /// Where among them taking over goes on.
    wanted_from: u32,
    /// When taking over is tried again.
    wanted_at: Instant,
    work: JoinSet<Finished>,
    generation: u64,
    draining: bool,
    component: Component,
    lag_due: Instant,
    /// The last look at the lag.
    measuring: Option<AbortOnDropHandle<()>>,
    pauses: Delays,
    /// The log has failed in this turn.
    troubled: bool,
}

impl Consumer {
    pub(crate) fn new(
        shared: Shared,
        source: &'static Source,
        topic: Arc<str>,
        member: Box<dyn GroupMember>,
        component: Component,
    ) -> Self {
        let (partitions, wanted, work) = (BTreeMap::new(), BTreeSet::new(), JoinSet::new());
        let (generation, draining, lag_due) = (0, false, Instant::now());
        let (pauses, troubled) = (LOG_RETRY.delays(), false);
        Self {
            shared,
            source,
            topic,
            member,
            partitions,
            wanted,
            wanted_from: 0,
            wanted_at: Instant::now(),
            work,
            generation,
            draining,
            component,
            lag_due,
            measuring: None,
            pauses,
            troubled,
        }
    }

    /// Runs until shutdown, then waits a while for what is under way.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) -> Result<(), StoreError> {
        let mut drained_by = None;
        self.component.ready();
        loop {
            self.component.beat();
            if let Some(why) = self.shared.poison.must_stop() {
                return Err(StoreError::Poison(why));
            }
            if shutdown.is_cancelled() {
                self.draining = true;
                let budget = Duration::from_millis(self.shared.config.drain_ms);
                let by = *drained_by.get_or_insert_with(|| Instant::now() + budget);
                if self.is_idle() || Instant::now() >= by {
                    break;
                }
            }
            self.balance();
            self.troubled = false;
            match self.member.next(self.wait()).await {
                Ok(event) => {
                    self.on_event(event);
                    if !self.draining {
                        self.adopt_wanted().await?;
                    }
                }
                Err(error) => self.on_log_error(error).await?,
            }
            self.collect()?;
            self.advance().await?;
            // Not before: while a broker is away its group still answers, and what has to be acknowledged is tried anew.
            if !self.troubled && self.wanted.is_empty() {
                self.component.ready();
                self.pauses.reset();
            }
            self.measure();
        }
        self.work.shutdown().await;
        if tokio::time::timeout(LEAVE, self.member.leave()).await.is_err() {
            tracing::warn!(topic = %self.topic, "store.leaving_took_too_long");
        }
        Ok(())
    }

    fn is_idle(&self) -> bool {
        self.partitions.values().all(|part| part.flight.is_none() && part.filling.is_empty() && !part.uncommitted)
    }

    fn wait(&self) -> Duration {
        let busy = |part: &Partition| part.flight.is_some() || part.uncommitted;
        if self.draining || self.partitions.values().any(busy) {
            return BUSY_WAIT;
        }
        let linger = self.shared.config.linger();
        let due = self.partitions.values().filter_map(|part| part.since).min();
        due.map_or(IDLE_WAIT, |since| linger.saturating_sub(since.elapsed()).min(IDLE_WAIT))
    }

    /// Pauses and resumes partitions so that memory stays bounded.
    fn balance(&mut self) {
        let stop = self.draining || self.is_pressed();
        let config = &self.shared.config;
        let (mut pause, mut resume) = (Vec::new(), Vec::new());
        for (partition, part) in &mut self.partitions {
            let wanted = stop || is_full(&part.filling, config);
            if wanted != part.paused {
                part.paused = wanted;
                if wanted { pause.push(*partition) } else { resume.push(*partition) }
            }
        }
        if !pause.is_empty() {
            self.member.pause(&pause);
        }
        if !resume.is_empty() {
            self.member.resume(&resume);
        }
    }

    fn is_pressed(&self) -> bool {
        self.shared.buffered.load(Ordering::Relaxed) >= self.shared.config.buffer_bytes
    }

    fn on_event(&mut self, event: GroupEvent) {
        match event {
            GroupEvent::Idle => {}
            GroupEvent::Records { partition, records } => self.take(partition, &records),
            GroupEvent::Revoked(lost) => {
                // What is under way is left to the new owner, who sends the same ranges under the same tokens; our own
                // late inserts are then repeats.
                for partition in &lost {
                    self.wanted.remove(partition);
                    self.forget(*partition);
                }
                self.member.release(&lost);
            }
            GroupEvent::Assigned(gained) => self.wanted.extend(gained),
        }
    }

    async fn on_log_error(&mut self, error: LogError) -> Result<(), StoreError> {
        match error.class() {
            ErrorClass::Retry | ErrorClass::Drop => {
                tracing::warn!(topic = %self.topic, %error, "store.log_unavailable");
                // It waits, and says so; that is no standstill.
                self.component.not_ready(&error.to_string());
                self.troubled = true;
                // Who is to end tries on at a steady pace: there is not much time.
                let pause = self.pauses.next().filter(|_| !self.draining);
                tokio::time::sleep(pause.unwrap_or(LOG_RETRY.initial)).await;
                Ok(())
            }
            ErrorClass::Lost => {
                if let LogError::NotOwned(partition) = error {
                    self.forget(partition);
                }
                Ok(())
            }
            ErrorClass::Fatal => Err(self.fail(error)),
        }
    }

    fn fail(&self, source: LogError) -> StoreError {
        StoreError::Log { topic: self.topic.to_string(), source }
    }

    fn take(&mut self, partition: u32, records: &[Record]) {
        let Some(part) = self.partitions.get_mut(&partition) else { return };
        let before = part.filling.bytes();
        for record in records {
            let read = self.source.take(record, partition, &mut part.filling);
            if read == Read::NoJson {
                self.shared.poison.envelope();
            }
        }
        self.shared.buffered.fetch_add(part.filling.bytes() - before, Ordering::Relaxed);
        part.since.get_or_insert_with(Instant::now);
        metrics::counter!("waybill_store_records_total", "topic" => self.source.topic).increment(records.len() as u64);
    }

    fn forget(&mut self, partition: u32) {
        if let Some(part) = self.partitions.remove(&partition) {
            let flying = part.flight.as_ref().map_or(0, |flight| flight.range().bytes);
            self.shared.buffered.fetch_sub(part.filling.bytes() + flying, Ordering::Relaxed);
        }
    }

    /// Takes what has ended beside the loop.
    fn collect(&mut self) -> Result<(), StoreError> {
        while let Some(ended) = self.work.try_join_next() {
            // Its range would never end: better begun anew by whoever comes next.
            let ended = ended.map_err(|error| StoreError::Died(error.to_string()))?;
            let outcome = ended.outcome.map_err(|error| self.fail(error))?;
            let part = self.partitions.get_mut(&ended.partition);
            let part = part.filter(|part| part.generation == ended.generation);
            if let Some(flight) = part.and_then(|part| part.flight.as_mut()) {
                flight.finished(ended.work, outcome);
            }
        }
        Ok(())
    }

    /// Closes ranges, has plans and positions acknowledged, starts work.
    async fn advance(&mut self) -> Result<(), StoreError> {
        let pressed = self.is_pressed();
        let mut commits = Vec::new();
        for (partition, part) in &mut self.partitions {
            if let Some(flight) = part.flight.take_if(|flight| flight.is_done()) {
                part.position = flight.last() + 1;
                part.uncommitted = true;
                self.shared.buffered.fetch_sub(flight.range().bytes, Ordering::Relaxed);
            }
            let due = part.since.is_some_and(|since| since.elapsed() >= self.shared.config.linger());
            let close = due || pressed || self.draining || is_full(&part.filling, &self.shared.config);
            if part.flight.is_none() && close {
                part.since = None;
                part.flight = part.filling.seal().map(|range| Flight::new(self.source, range));
            }
            let (offset, metadata) = match part.flight.as_ref().map(Flight::to_acknowledge) {
                // STO-1: the range's end is in the metadata before anything is inserted; the offset stays at its first.
                Some(Some(plan)) => plan,
                // LOG-1: a position moves only when everything before it is stored.
                None if part.uncommitted => (part.position, String::new()),
                Some(None) | None => continue,
            };
            commits.push(Commit { partition: *partition, offset, metadata });
        }
        if !commits.is_empty() {
            match self.member.commit(&commits).await {
                Ok(()) => self.acknowledged(&commits),
                Err(error) => return self.on_log_error(error).await,
            }
        }
        self.start_work();
        Ok(())
    }

    fn acknowledged(&mut self, commits: &[Commit]) {
        for commit in commits {
            let Some(part) = self.partitions.get_mut(&commit.partition) else { continue };
            part.uncommitted = false;
            match &mut part.flight {
                Some(flight) => {
                    part.position = commit.offset;
                    flight.acknowledged();
                }
                None => part.position = commit.offset,
            }
        }
    }

    fn start_work(&mut self) {
        for (partition, part) in &mut self.partitions {
            let Some(flight) = &mut part.flight else { continue };
            for work in flight.start() {
                let at = TopicPartition::new(Arc::clone(&self.topic), *partition);
                let earlier = if flight.is_resumed() { Earlier::Possible } else { Earlier::Impossible };
                let rows = match &work {
                    Work::Table(table) => flight.rows(*table),
                    _ => None,
                };
                let range = Arc::clone(flight.range());
                let (shared, writes) = (self.shared.clone(), self.component.writes());
                let job = Job { shared, source: self.source, at, range, earlier, writes };
                let (partition, generation, cancel) = (*partition, part.generation, part.cancel.clone());
                self.work.spawn(async move {
                    let done = cancel.run_until_cancelled(job.run(&work, rows)).await;
                    Finished { partition, generation, work, outcome: done.unwrap_or(Ok(Outcome::Done)) }
                });
            }
        }
    }

    /// Beside the loop: a partition whose end nobody tells holds up no other.
    fn measure(&mut self) {
        if Instant::now() < self.lag_due {
            return;
        }
        self.lag_due = Instant::now() + LAG_EVERY;
        metrics::gauge!("waybill_store_buffered_bytes").set(self.shared.buffered.load(Ordering::Relaxed) as f64);
        if self.measuring.as_ref().is_some_and(|measuring| !measuring.is_finished()) {
            return;
        }
        // Together: the broker is asked once for all.
        let mut asked = JoinSet::new();
        for (partition, part) in &self.partitions {
            let at = TopicPartition::new(Arc::clone(&self.topic), *partition);
            let (log, position) = (Arc::clone(&self.shared.log), part.position);
            asked.spawn(async move {
                let bounds = log.bounds(&at).await.ok()?;
                Some(bounds.next.saturating_sub(position.max(bounds.first)))
            });
        }
        let topic = self.source.topic;
        self.measuring = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            if let Some(lag) = whole_lag(asked.join_all().await) {
                metrics::gauge!("waybill_store_lag_records", "topic" => topic).set(lag as f64);
            }
        })));
    }
}

/// Over all partitions; `None` while the log does not tell of one. The figure then stays as it was: without that partition
/// it would look as if the store had caught up, and pods are taken away by it.
fn whole_lag(lags: Vec<Option<u64>>) -> Option<u64> {
    lags.into_iter().sum()
}

fn is_full(filling: &Filling, config: &StoreConfig) -> bool {
    filling.rows() >= config.batch_rows || filling.bytes() >= config.batch_bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lag_that_is_not_known_whole_is_not_told() {
        assert_eq!(whole_lag(vec![Some(40), Some(2)]), Some(42));
        assert_eq!(whole_lag(vec![Some(40), None]), None);
        assert_eq!(whole_lag(Vec::new()), Some(0), "who owns nothing is behind with nothing");
    }
}
