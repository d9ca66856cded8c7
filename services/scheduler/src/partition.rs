//! One partition's loop, from claim to claim.
//!
//! A turn: all outcomes that are there (bounded), one batch of commands, once a second the housekeeping; then state is
//! made durable, and from durable state requests are handed out. Waiting is for whatever comes first: an outcome, a
//! command, the next due instant, the second.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use waybill_log::{LogError, Ownership, ReadFrom, Record};
use waybill_runtime::Component;

use crate::{
    book::Book,
    config::SchedulerConfig,
    desk::{Context, Desk, WritePosition},
    error::End,
    observe::Observer,
    takeover::take_over,
    terms::Carriers,
};

/// Most batches of outcomes in one turn.
const OUTCOME_BATCHES: usize = 8;
const SECOND: Duration = Duration::from_secs(1);
/// How soon a queue that credit or a block holds back is looked at again.
const RETRY_QUEUE: Duration = Duration::from_millis(100);
/// Nothing is handed out when the last acknowledged commit is older.
pub(crate) const LEASE: Duration = Duration::from_secs(10);
/// Longest pause between two takeovers.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What the group's loop learns of a partition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Where delivery of outcomes begins; set once.
    pub(crate) start: Option<u64>,
    /// Outcomes before it are done.
    pub(crate) done: Option<u64>,
}

/// What a partition's loop needs.
pub(crate) struct Seat {
    pub(crate) context: Context,
    pub(crate) config: SchedulerConfig,
    pub(crate) carriers: Arc<dyn Carriers>,
    pub(crate) member: String,
    pub(crate) ownership: Ownership,
    pub(crate) outcomes: mpsc::Receiver<Vec<Record>>,
    pub(crate) progress: watch::Sender<Progress>,
    pub(crate) asked: CancellationToken,
}

impl Seat {
    /// Works until asked to stop, lost, refused or broken; takes over anew after what a new claim settles.
    pub(crate) async fn run(mut self, health: Component) -> End {
        let partition = self.context.partition;
        let mut failures = 0_u32;
        loop {
            let began = Instant::now();
            health.not_ready("restoring");
            let asked = self.asked.clone();
            // Asked to stop while restoring: nothing of this epoch has been handed out.
            let end = tokio::select! {
                biased;
                () = asked.cancelled(), if self.progress.borrow().start.is_none() => End::Asked,
                end = self.epoch(&health) => end,
            };
            match &end {
                End::Uncertain(_) | End::Superseded
                    if self.ownership.holds(partition) && !self.asked.is_cancelled() =>
                {
                    failures = if began.elapsed() > Duration::from_secs(60) { 0 } else { (failures + 1).min(10) };
                    tracing::warn!(partition, why = %end, failures, "scheduler.epoch_ended");
                    health.not_ready(&end.to_string());
                    let pause = Duration::from_millis(50 << failures).min(LONGEST_PAUSE);
                    tokio::select! {
                        () = sleep(pause) => {}
                        () = self.asked.cancelled() => return End::Asked,
                    }
                }
                End::Refused(why) => {
                    tracing::error!(partition, %why, "scheduler.partition_refused");
                    health.hindered(why);
                    // Held and shown, so that nobody else breaks on it in turn, until the group takes it away.
                    self.hold_refused(&health).await;
                    return end;
                }
                _ => return end,
            }
        }
    }

    async fn hold_refused(&mut self, health: &Component) {
        loop {
            tokio::select! {
                () = self.asked.cancelled() => return,
                () = sleep(SECOND) => health.beat(),
            }
        }
    }

    /// One epoch, from its claim to its end.
    async fn epoch(&mut self, health: &Component) -> End {
        let book = Book::new(self.context.layout.clone(), self.config.rules(), Arc::clone(&self.carriers));
        let mut desk = match take_over(self.context.clone(), book, &self.member, health).await {
            Ok(desk) => desk,
            Err(end) => return end,
        };
        let (partition, numbers, open) = (self.context.partition, desk.book.len(), desk.book.open_len());
        tracing::info!(partition, numbers, open, "scheduler.partition_taken");
        let start = desk.outcomes_next();
        self.progress.send_modify(|progress| {
            progress.start = progress.start.or(Some(start));
            progress.done = desk.committable().max(progress.done);
        });
        health.ready();
        let ended = self.work(&mut desk, health).await;
        match ended {
            Err(end) => end,
            Ok(()) => {
                // Asked to stop: what is applied becomes durable, and committable.
                let settled = desk.settle().await;
                self.report(&desk);
                settled.err().unwrap_or(End::Asked)
            }
        }
    }

    fn report(&self, desk: &Desk) {
        self.progress.send_if_modified(|progress| {
            let done = desk.committable().max(progress.done);
            std::mem::replace(&mut progress.done, done) != done
        });
    }

    async fn work(&mut self, desk: &mut Desk, health: &Component) -> Result<(), End> {
        let mut feeds = JoinSet::new();
        let mut commands = self.feed_commands(desk.commands_next(), &mut feeds);
        let mut observer = Observer::new(self.context.partition);
        let mut second = self.next_second();
        let mut outcome_first: Option<Vec<Record>> = None;
        let mut command_first: Option<Result<Vec<Record>, LogError>> = None;
        while !self.asked.is_cancelled() {
            health.beat();
            let now = self.context.now();
            self.take_outcomes(desk, outcome_first.take());
            let batch = command_first.take().or_else(|| commands.try_recv().ok());
            for record in batch.transpose()?.into_iter().flatten() {
                desk.take_command(&record, &now);
            }
            let mut position = WritePosition::WithState;
            if Instant::now() >= second || desk.watch_is_pressing() {
                second = self.next_second();
                position = WritePosition::Now;
                self.housekeeping(desk, &mut observer).await?;
            }
            desk.flush(position).await?;
            self.report(desk);

            let now = self.context.now();
            desk.book.tick(&now);
            let mut handed_out = 0;
            if self.may_hand_out() {
                handed_out = desk.hand_out(&now, self.config.requests_per_turn).await?;
            }
            let until = self.pause_until(desk, handed_out, second);
            tokio::select! {
                biased;
                () = self.asked.cancelled() => {}
                batch = self.outcomes.recv() => match batch {
                    Some(batch) => outcome_first = Some(batch),
                    None => return Err(End::Lost),
                },
                batch = commands.recv() => command_first = batch,
                () = sleep_until(until) => {}
            }
        }
        Ok(())
    }

    /// The end of the second that runs.
    fn next_second(&self) -> Instant {
        let joined = self.context.joined;
        joined + Duration::from_secs(joined.elapsed().as_secs() + 1)
    }

    fn take_outcomes(&mut self, desk: &mut Desk, first: Option<Vec<Record>>) {
        let now = self.context.now();
        let mut batch = first.or_else(|| self.outcomes.try_recv().ok());
        let mut batches = 0;
        while let Some(records) = batch {
            records.iter().for_each(|record| desk.take_outcome(record, &now));
            batches += 1;
            batch = if batches < OUTCOME_BATCHES { self.outcomes.try_recv().ok() } else { None };
        }
    }

    /// The partition is ours and the lease is fresh. Epochs keep a zombie out; this keeps it from wasting work.
    fn may_hand_out(&self) -> bool {
        self.ownership.holds(self.context.partition) && self.ownership.lease_age() < LEASE
    }

    /// When the next turn begins if nothing comes in.
    fn pause_until(&self, desk: &Desk, handed_out: usize, second: Instant) -> Instant {
        let now = Instant::now();
        if handed_out >= self.config.requests_per_turn {
            return now;
        }
        let queue = (desk.book.queue() > 0).then(|| now + RETRY_QUEUE);
        let due = desk.book.next_at().map(|at| now + self.context.clocks.until(at));
        [queue, due].into_iter().flatten().fold(second, Instant::min)
    }

    async fn housekeeping(&self, desk: &mut Desk, observer: &mut Observer) -> Result<(), End> {
        desk.watch().await?;
        let now = self.context.now();
        desk.book.refresh_terms();
        desk.book.wake_changed(&now);
        desk.book.tick(&now);
        desk.book.sweep(&now);
        desk.counts.reopened += desk.book.reopen_lost(&now) as u64;
        observer.observe(desk, &now).await;
        Ok(())
    }

    /// Reads commands in a task of its own, one batch ahead.
    fn feed_commands(&self, from: u64, feeds: &mut JoinSet<()>) -> mpsc::Receiver<Result<Vec<Record>, LogError>> {
        let (sender, receiver) = mpsc::channel(1);
        let (log, at) = (self.context.log.clone(), self.context.places.commands.clone());
        let (deadline, most) = (self.context.deadline, self.config.commands_per_turn);
        feeds.spawn(async move {
            let mut offset = from;
            loop {
                let (at, wait) = (at.clone(), SECOND);
                let read = ReadFrom { at, offset, max_records: most, max_bytes: 4 * 1024 * 1024, wait };
                let answer = crate::tail::within(deadline + wait, log.read(read)).await;
                let sent = match answer {
                    Ok(batch) => {
                        offset = batch.next_offset.max(offset);
                        if batch.records.is_empty() { continue } else { sender.send(Ok(batch.records)).await }
                    }
                    Err(error) => {
                        let _ = sender.send(Err(error)).await;
                        return;
                    }
                };
                if sent.is_err() {
                    return;
                }
            }
        });
        receiver
    }
}
