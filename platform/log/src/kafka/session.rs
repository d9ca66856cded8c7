//! One life of a group member: the thread that serves librdkafka's group, and what it shares with the member.
//!
//! The consumer here fetches nothing: it joins, hears what is assigned and revoked, and commits. Records come by cursors of
//! another client ([`super::member`]), so neither a slow service nor a long poll is ever in the group's way.
//! The rebalance callback only turns [`Ownership`] and writes down what was asked. A revoked partition is let go
//! (`incremental_unassign`) once it is released or its drain budget is over; until then librdkafka waits, heartbeats go on,
//! and the generation stays valid for the last commits.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    error::Error,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    time::Duration,
};

use rdkafka::{
    Offset, TopicPartitionList,
    client::{ClientContext, OAuthToken},
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext},
    error::{KafkaError, KafkaResult},
    types::{RDKafkaErrorCode as Code, RDKafkaRespErr},
};
use tokio::{sync::Notify, time::Instant};

use super::{
    commits::{Commits, Native},
    context::Context,
    error::from_code,
    fetch::native_partition,
    handover::Mark,
    native::has_member_id,
    options::{GroupProtocol, KafkaOptions},
};
use crate::{Ownership, seam::LogError};

/// How long the thread sleeps in librdkafka when nothing is under way; anything that comes wakes it.
const CALM: Duration = Duration::from_millis(100);
/// The same while a partition is between two members.
const BUSY: Duration = Duration::from_millis(5);
/// How often a held partition's mark is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Longest time that leaving may take.
const LEAVING: Duration = Duration::from_secs(5);

/// What the member is told, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    Assigned(Vec<u32>),
    Revoked(Vec<u32>),
}

/// A partition that the group has given us, and whether nobody else still works on it.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    look_at: Instant,
    /// When a mark was first seen.
    marked_since: Option<Instant>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub changes: VecDeque<Change>,
    /// Why this life is over.
    pub ended: Option<LogError>,
    /// The member wants to go.
    pub leaving: bool,
    /// The thread has gone.
    pub gone: bool,
    /// Revoked and not yet released, until when at most.
    draining: BTreeMap<u32, Instant>,
    /// What librdkafka waits for us to let go, and how many of it the member had to drain.
    revoking: Option<(Vec<u32>, usize)>,
    waiting: BTreeMap<u32, Waiting>,
    /// Let go by the group, not by the member.
    held: BTreeSet<u32>,
}

/// What thread, callbacks and member share.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// Something changed that the member waits for.
    pub changed: Arc<Notify>,
    pub ownership: Ownership,
    pub commits: Commits,
    topic: Arc<str>,
    drain_budget: Duration,
}

impl Shared {
    pub(super) fn new(topic: &str, drain_budget: Duration) -> Self {
        let topic: Arc<str> = topic.into();
        Self {
            state: Mutex::default(),
            changed: Arc::default(),
            ownership: Ownership::default(),
            commits: Commits::new(Arc::clone(&topic)),
            topic,
            drain_budget,
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the member may still commit a partition: it owns it, or drains it.
    pub(super) fn may_commit(&self, partition: u32) -> bool {
        self.ownership.holds(partition) || self.state().draining.contains_key(&partition)
    }

    /// The member is done with revoked partitions.
    pub(super) fn release(&self, partitions: &[u32]) {
        self.state().draining.retain(|partition, _| !partitions.contains(partition));
    }

    /// The session is over and the broker knows it: nothing is ours any more.
    pub(super) fn lose_everything(&self) {
        let owned = self.ownership.partitions();
        self.ownership.withdraw(&owned);
        let mut state = self.state();
        state.draining.clear();
        state.waiting.clear();
        if !owned.is_empty() {
            state.changes.push_back(Change::Revoked(owned));
        }
        drop(state);
        self.changed.notify_one();
    }

    /// This life is over.
    fn end(&self, error: LogError) {
        let owned = self.ownership.partitions();
        self.ownership.withdraw(&owned);
        let mut state = self.state();
        state.changes.clear();
        state.draining.clear();
        state.waiting.clear();
        state.revoking = None;
        state.held.clear();
        state.ended.get_or_insert(error);
        drop(state);
        self.changed.notify_one();
    }

    fn list(&self, partitions: &[u32]) -> TopicPartitionList {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            list.add_partition(&self.topic, native_partition(*partition));
        }
        list
    }

    fn let_go(&self, native: &Native, partitions: &[u32]) {
        if let Err(error) = native.incremental_unassign(&self.list(partitions)) {
            tracing::warn!(%error, topic = %self.topic, ?partitions, "kafka.unassign_failed");
        }
    }

    /// The group gives us partitions. They are taken at once, so that the group is never held up; the member hears of each
    /// when nobody else holds it.
    fn assigned(&self, native: &Native, partitions: &[u32]) {
        let mut list = self.list(partitions);
        // From the end and paused at once: this consumer fetches nothing.
        let taken = list.set_all_offsets(Offset::End).and_then(|()| native.incremental_assign(&list));
        if let Err(error) = taken.and_then(|()| if partitions.is_empty() { Ok(()) } else { native.pause(&list) }) {
            tracing::warn!(%error, topic = %self.topic, ?partitions, "kafka.assign_failed");
        }
        self.commits.forget(partitions);
        let now = Instant::now();
        let mut state = self.state();
        for partition in partitions {
            state.waiting.insert(*partition, Waiting { look_at: now, marked_since: None });
        }
    }

    /// The group takes partitions away.
    fn revoked(&self, native: &Native, partitions: &[u32]) {
        let lost = native.assignment_lost();
        // First of all: nobody sends anything for them any more (DESIGN §5, hand-over).
        let mut told: Vec<u32> =
            partitions.iter().filter(|partition| self.ownership.holds(**partition)).copied().collect();
        told.sort_unstable();
        self.ownership.withdraw(partitions);
        let mut state = self.state();
        state.waiting.retain(|partition, _| !partitions.contains(partition));
        let at_once = lost || state.leaving || told.is_empty();
        if !told.is_empty() {
            state.changes.push_back(Change::Revoked(told.clone()));
            if !at_once {
                let until = Instant::now() + self.drain_budget;
                state.draining.extend(told.iter().map(|partition| (*partition, until)));
            }
        }
        if lost {
            state.draining.retain(|partition, _| !partitions.contains(partition));
        }
        // Something that was revoked before and not yet let go goes together with this.
        let (mut all, mut drained) = (partitions.to_vec(), told.len());
        if let Some((earlier, count)) = state.revoking.take() {
            all.extend(earlier.iter().filter(|partition| !partitions.contains(partition)));
            drained += count;
        }
        if at_once && all.iter().all(|partition| state.leaving || !state.draining.contains_key(partition)) {
            drop(state);
            self.let_go(native, &all);
        } else {
            state.revoking = Some((all, drained));
            drop(state);
        }
        self.changed.notify_one();
    }
}

/// The context of a group's consumer.
#[derive(Debug)]
pub(super) struct GroupContext {
    pub basics: Context,
    pub shared: Arc<Shared>,
}

impl ClientContext for GroupContext {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.basics.line(level, facility, text);
    }
    fn error(&self, error: KafkaError, reason: &str) {
        self.basics.failed(&error, reason);
    }
    fn generate_oauth_token(&self, _config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        self.basics.token()
    }
}

impl ConsumerContext for GroupContext {
    fn rebalance(&self, native: &BaseConsumer<Self>, kind: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let rows = list.elements();
        let partitions: Vec<u32> = rows.iter().filter_map(|row| u32::try_from(row.partition()).ok()).collect();
        tracing::debug!(topic = %self.shared.topic, ?kind, ?partitions, "kafka.rebalance");
        match kind {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.shared.assigned(native, &partitions),
            _ => self.shared.revoked(native, &partitions),
        }
    }
    fn commit_callback(&self, _result: KafkaResult<()>, _offsets: &TopicPartitionList) {}
}

/// What was done beside the thread.
enum Done {
    Looked(BTreeSet<u32>, Result<Vec<(u32, super::handover::Stored)>, KafkaError>),
    Marked(BTreeSet<u32>, Result<(), KafkaError>),
    Unmarked(Vec<u32>, Result<(), KafkaError>),
}

/// The thread's own state.
pub(super) struct Session {
    native: Arc<Native>,
    shared: Arc<Shared>,
    runtime: tokio::runtime::Handle,
    /// Names this life in marks.
    holder: String,
    limit: Duration,
    classic: bool,
    answers: (mpsc::Sender<Done>, mpsc::Receiver<Done>),
    asking: bool,
    /// A mark could not be written: everything is let go together then.
    unmarkable: bool,
}

impl Session {
    /// Serves a member until it leaves or is fenced, on a thread of its own.
    pub(super) fn start(
        native: Arc<Native>,
        shared: Arc<Shared>,
        holder: String,
        options: &KafkaOptions,
    ) -> Result<(), LogError> {
        let session = Self {
            native,
            shared,
            runtime: tokio::runtime::Handle::current(),
            holder,
            limit: options.request_timeout(),
            classic: options.group_protocol == GroupProtocol::Classic,
            answers: mpsc::channel(),
            asking: false,
            unmarkable: false,
        };
        std::thread::Builder::new()
            .name("kafka-member".to_owned())
            .spawn(move || session.run())
            .map(drop)
            .map_err(|error| LogError::Unavailable(format!("a thread cannot be made: {error}")))
    }

    fn run(mut self) {
        loop {
            let wait = if self.under_way() { BUSY } else { CALM };
            if let Some(Err(error)) = self.native.poll(wait)
                && error.rdkafka_error_code() == Some(Code::FencedInstanceId)
            {
                self.shared.end(LogError::Fenced);
            }
            if let Some((code, reason)) = self.native.client().fatal_error() {
                tracing::warn!(%code, reason, topic = %self.shared.topic, "kafka.member_ended");
                self.shared.end(from_code(code, &self.shared.topic));
            }
            let (leaving, ended) = {
                let state = self.shared.state();
                (state.leaving, state.ended.is_some())
            };
            if leaving {
                if !ended {
                    self.leave();
                }
                break;
            }
            if !ended {
                self.step();
            }
        }
        let Self { native, shared, .. } = self;
        // The last handle closes the consumer, which waits for its threads.
        drop(native);
        shared.state().gone = true;
        shared.changed.notify_one();
    }

    fn under_way(&self) -> bool {
        let state = self.shared.state();
        !(state.draining.is_empty() && state.waiting.is_empty() && state.held.is_empty() && state.revoking.is_none())
    }

    fn step(&mut self) {
        while let Ok(done) = self.answers.1.try_recv() {
            self.asking = false;
            self.done(done);
        }
        let now = Instant::now();
        let mut state = self.shared.state();
        let over: Vec<u32> =
            state.draining.iter().filter(|(_, until)| **until <= now).map(|(partition, _)| *partition).collect();
        for partition in over {
            tracing::warn!(topic = %self.shared.topic, partition, "kafka.drain_budget_over");
            state.draining.remove(&partition);
        }
        if self.asking {
            return;
        }
        if let Some((all, drained)) = state.revoking.clone() {
            let open: BTreeSet<u32> = all.iter().filter(|p| state.draining.contains_key(p)).copied().collect();
            if open.is_empty() {
                state.revoking = None;
                drop(state);
                self.shared.let_go(&self.native, &all);
                return;
            }
            if open.len() < drained && !self.unmarkable {
                let budget = |partition| state.draining.get(partition).map_or(Duration::ZERO, |until| *until - now);
                let marks: BTreeMap<u32, Mark> = open
                    .iter()
                    .map(|partition| {
                        let budget_ms = u64::try_from(budget(partition).as_millis()).unwrap_or(u64::MAX);
                        (*partition, Mark { holder: self.holder.clone(), budget_ms })
                    })
                    .collect();
                drop(state);
                let limit = self.limit;
                self.ask(move |native, shared| Done::Marked(open, shared.commits.mark(native, marks, limit)));
                return;
            }
        }
        let released: Vec<u32> = state.held.iter().filter(|p| !state.draining.contains_key(p)).copied().collect();
        if !released.is_empty() {
            drop(state);
            let limit = self.limit;
            self.ask(move |native, shared| {
                let answer = shared.commits.unmark(native, &released, limit);
                Done::Unmarked(released, answer)
            });
            return;
        }
        let look: BTreeSet<u32> = state
            .waiting
            .iter()
            .filter(|(partition, waiting)| waiting.look_at <= now && !state.draining.contains_key(partition))
            .map(|(partition, _)| *partition)
            .collect();
        if !look.is_empty() {
            drop(state);
            let limit = self.limit;
            self.ask(move |native, shared| {
                let answer = shared.commits.look(native, &look, limit);
                Done::Looked(look, answer)
            });
        }
    }

    /// Asks the broker beside this thread, which must go on serving the group.
    fn ask(&mut self, call: impl FnOnce(&Native, &Shared) -> Done + Send + 'static) {
        self.asking = true;
        let (native, shared, answer) = (Arc::clone(&self.native), Arc::clone(&self.shared), self.answers.0.clone());
        self.runtime.spawn_blocking(move || {
            // Nobody waits any more when the session has ended.
            let _ = answer.send(call(&native, &shared));
        });
    }

    fn done(&mut self, done: Done) {
        let now = Instant::now();
        match done {
            Done::Looked(asked, Ok(found)) => {
                let mut granted = Vec::new();
                let mut state = self.shared.state();
                for (partition, stored) in found {
                    let Some(waiting) = state.waiting.get_mut(&partition) else { continue };
                    let held = stored.mark.filter(|mark| mark.holder != self.holder).is_some_and(|mark| {
                        let since = *waiting.marked_since.get_or_insert(now);
                        now.duration_since(since) < Duration::from_millis(mark.budget_ms)
                    });
                    if held {
                        waiting.look_at = now + LOOK_AGAIN;
                    } else {
                        granted.push(partition);
                    }
                }
                if !granted.is_empty() {
                    granted.sort_unstable();
                    state.waiting.retain(|partition, _| !granted.contains(partition));
                    self.shared.ownership.grant(&granted);
                    state.changes.push_back(Change::Assigned(granted));
                }
                drop(state);
                tracing::trace!(?asked, "kafka.looked");
                self.shared.changed.notify_one();
            }
            Done::Looked(asked, Err(error)) => {
                tracing::warn!(%error, topic = %self.shared.topic, "kafka.commits_unknown");
                let mut state = self.shared.state();
                for partition in asked {
                    if let Some(waiting) = state.waiting.get_mut(&partition) {
                        waiting.look_at = now + LOOK_AGAIN * 5;
                    }
                }
            }
            Done::Marked(open, Ok(())) => {
                let mut state = self.shared.state();
                state.held.extend(open);
                let revoking = state.revoking.take();
                drop(state);
                if let Some((all, _)) = revoking {
                    self.shared.let_go(&self.native, &all);
                }
            }
            Done::Marked(_, Err(error)) => {
                tracing::warn!(%error, topic = %self.shared.topic, "kafka.mark_failed");
                self.unmarkable = true;
            }
            Done::Unmarked(partitions, Ok(())) => {
                self.shared.state().held.retain(|partition| !partitions.contains(partition));
            }
            Done::Unmarked(partitions, Err(error)) => {
                // The mark ends by itself.
                tracing::warn!(%error, topic = %self.shared.topic, ?partitions, "kafka.unmark_failed");
                self.shared.state().held.retain(|partition| !partitions.contains(partition));
            }
        }
    }

    /// Leaves the group so that everything goes to others at once: a static member that merely closes says nothing, and
    /// its partitions would wait for its session's end.
    fn leave(&mut self) {
        let held: Vec<u32> = std::mem::take(&mut self.shared.state().held).into_iter().collect();
        if !held.is_empty()
            && let Err(error) = self.shared.commits.unmark(&self.native, &held, LEAVING)
        {
            tracing::warn!(%error, topic = %self.shared.topic, "kafka.unmark_failed");
        }
        self.native.unsubscribe();
        let deadline = Instant::now() + LEAVING;
        // The classic protocol forgets its member's id the moment the leave is sent. The other one says goodbye when the
        // consumer is closed, once nothing is assigned any more.
        let there = |native: &Native| {
            if self.classic {
                has_member_id(native)
            } else {
                native.assignment().is_ok_and(|assigned| assigned.count() > 0)
            }
        };
        while Instant::now() < deadline && there(&self.native) {
            drop(self.native.poll(BUSY));
        }
        let revoking = self.shared.state().revoking.take();
        if let Some((all, _)) = revoking {
            self.shared.let_go(&self.native, &all);
        }
    }
}
