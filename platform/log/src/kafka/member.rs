//! A member of a group: the service's side. Membership is served by [`super::session`]; records come by cursors of a
//! client without a group, one a started partition, each with its own queue, served in turn.

mod stuck;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use rdkafka::{consumer::Consumer as _, error::KafkaError, types::RDKafkaErrorCode as Code};
use tokio::{
    sync::{Notify, oneshot},
    task::{JoinSet, spawn_blocking},
    time::{Instant, sleep_until, timeout, timeout_at},
};

use super::{
    Inner,
    commits::Native,
    context::Context,
    error::{from_code, from_error, gone},
    fetch::{Cursor, FetchClient},
    handover::MAX_METADATA_BYTES,
    namesake::{ASK_AGAIN, Doubt, Finding, Own},
    session::Session,
    shared::{Change, GroupContext, Shared},
};
use crate::{
    Ownership,
    seam::{Commit, GroupEvent, GroupMember, JoinGroup, LogError, OutOfRange, TopicPartition},
};

/// How long the broker holds back an answer when there is nothing new; a partition that was just started may wait for that
/// long once.
const HOLD: Duration = Duration::from_millis(250);
/// How long the others wait for a partition that was just started.
const COLD: Duration = Duration::from_secs(2);
/// What leaving may take in all.
const LEAVING: Duration = Duration::from_secs(15);
/// Stands in for waits that no clock can express.
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// A started partition.
struct Started {
    cursor: Cursor,
    since: Instant,
    /// Something has come from the broker.
    warm: bool,
    /// Why it cannot be read on where it stands, until that is mended.
    failed: Option<Code>,
}

impl Started {
    fn is_cold(&self, now: Instant) -> bool {
        !self.warm && now.duration_since(self.since) < COLD
    }
}

/// A member: usually one life, another when the broker took it for its own successor.
pub(super) struct Member {
    log: Arc<Inner>,
    group: JoinGroup,
    doubt: Doubt,
    /// `None` only while it is dropped.
    native: Option<Arc<Native>>,
    shared: Arc<Shared>,
    fetch: Arc<FetchClient>,
    /// Told by all cursors and by the session.
    changed: Arc<Notify>,
    topic: Arc<str>,
    out_of_range: OutOfRange,
    max_batch: usize,
    cursors: BTreeMap<u32, Started>,
    paused: BTreeSet<u32>,
    /// Partitions whose position is gone: said at every look until they are started elsewhere.
    broken: BTreeMap<u32, LogError>,
    /// The partition served last: the next look begins behind it, so that a busy one starves no other.
    served: Option<u32>,
    /// When partitions that bring nothing are looked at next.
    look_at: Instant,
    /// Where those partitions end that brought nothing at the last look, once it is known.
    looking: JoinSet<Option<(u32, u64)>>,
}

impl Member {
    pub(super) fn join(log: &Arc<Inner>, group: &JoinGroup) -> Result<Self, LogError> {
        let shared = Arc::new(Shared::new(&group.topic, group.drain_budget, log.options.is_static()));
        let native = begin(log, group, &shared, 0)?;
        let context = Context { role: "group-fetch", ..log.context.clone() };
        let fetch = FetchClient::new(log.reader_config()?, context, HOLD, log.options.request_timeout())?;
        Ok(Self {
            log: Arc::clone(log),
            group: group.clone(),
            doubt: Doubt::default(),
            native: Some(native),
            changed: Arc::clone(&shared.changed),
            shared,
            fetch,
            topic: group.topic.as_str().into(),
            out_of_range: group.out_of_range,
            max_batch: group.max_batch.max(1),
            cursors: BTreeMap::new(),
            paused: BTreeSet::new(),
            broken: BTreeMap::new(),
            served: None,
            look_at: log.reads.next_look(),
            looking: JoinSet::new(),
        })
    }

    /// After the broker has said that another holds this member's name, or this member has slept through its session: begins
    /// anew once nobody else holds the name, and answers whether it has.
    async fn begin_again(&mut self) -> Result<bool, LogError> {
        let own = {
            let state = self.shared.state();
            Own { ids: state.ids.clone(), are_all: state.forsaken }
        };
        match self.doubt.look(self.native()?, &self.group, own, &self.log.options).await? {
            Finding::NotYet => Ok(false),
            Finding::Another => Err(LogError::Fenced),
            Finding::Nobody => {
                let life = self.shared.begin_again();
                tracing::warn!(topic = %self.topic, member = %self.group.member, life, "kafka.member_joins_again");
                self.paused.clear();
                self.broken.clear();
                self.native = Some(begin(&self.log, &self.group, &self.shared, life)?);
                Ok(true)
            }
        }
    }

    fn change(&mut self) -> Result<Option<GroupEvent>, LogError> {
        let mut state = self.shared.state();
        if let Some(error) = state.ended.clone() {
            drop(state);
            self.cursors.clear();
            return Err(error);
        }
        let change = state.changes.pop_front();
        drop(state);
        Ok(match change {
            None => None,
            Some(Change::Assigned(partitions)) => Some(GroupEvent::Assigned(partitions)),
            Some(Change::Revoked(partitions)) => {
                for partition in &partitions {
                    self.cursors.remove(partition);
                    self.paused.remove(partition);
                    self.broken.remove(partition);
                }
                Some(GroupEvent::Revoked(partitions))
            }
        })
    }

    /// Records of the next partition that has any.
    async fn deliver(&mut self) -> Result<Option<GroupEvent>, LogError> {
        if let Some((_, error)) = self.broken.iter().find(|(partition, _)| !self.paused.contains(partition)) {
            return Err(error.clone());
        }
        let next = self.served.map_or(0, |served| served.saturating_add(1));
        let order: Vec<u32> =
            self.cursors.range(next..).chain(self.cursors.range(..next)).map(|(partition, _)| *partition).collect();
        for started in self.cursors.values_mut() {
            if !started.warm && started.cursor.has_some() {
                started.warm = true;
                let (partition, took) = (started.cursor.at().partition, started.since.elapsed());
                tracing::debug!(topic = %self.topic, partition, ?took, "kafka.flows");
            }
        }
        if self.thaw(Instant::now()).is_some() {
            return Ok(None);
        }
        for partition in order {
            // Nothing is delivered from a partition that is known to be lost, also not what came before.
            if self.paused.contains(&partition) || !self.shared.ownership.holds(partition) {
                continue;
            }
            let Some(started) = self.cursors.get_mut(&partition) else { continue };
            let (records, failed) = match started.failed {
                None => started.cursor.take_some(self.max_batch),
                failed => (Vec::new(), failed),
            };
            if !records.is_empty() {
                // What came before is delivered first: a repair that fails must not swallow it.
                started.failed = failed;
                self.served = Some(partition);
                return Ok(Some(GroupEvent::Records { partition, records }));
            }
            if let Some(code) = failed {
                // The next look begins behind it: what cannot be mended now holds up no other.
                self.served = Some(partition);
                self.repair(partition, code).await?;
            }
        }
        Ok(None)
    }

    /// Until when everybody waits for partitions that were just started: what is quick to begin must not use up the turns
    /// of the others.
    fn thaw(&self, now: Instant) -> Option<Instant> {
        let awaited = |(partition, started): &(&u32, &Started)| {
            started.is_cold(now) && !self.paused.contains(partition) && self.shared.ownership.holds(**partition)
        };
        self.cursors.iter().filter(awaited).map(|(_, started)| started.since + COLD).max()
    }

    fn not_owned(&self, partition: u32) -> LogError {
        // Whether a fenced member is over is said by its next event.
        let ended = self.shared.state().ended.clone().filter(|error| *error != LogError::Fenced);
        ended.unwrap_or(LogError::NotOwned(partition))
    }

    fn native(&self) -> Result<Arc<Native>, LogError> {
        self.native.clone().ok_or(LogError::Closed)
    }

    /// What a refused commit means.
    fn refused(&self, commits: &[Commit], error: &KafkaError) -> LogError {
        let partition = commits.first().map_or(0, |commit| commit.partition);
        match error.rdkafka_error_code() {
            Some(Code::UnknownMemberId | Code::FencedMemberEpoch | Code::AssignmentLost) => {
                self.shared.lose_everything();
                LogError::NotOwned(partition)
            }
            Some(Code::FencedInstanceId) => LogError::NotOwned(partition),
            Some(Code::OffsetMetadataTooLarge) => {
                let bytes = commits.iter().map(|commit| commit.metadata.len()).max().unwrap_or(0);
                LogError::TooLarge { bytes, limit: MAX_METADATA_BYTES }
            }
            // The group is just being shared out anew: what is still ours then may be committed again.
            Some(code @ (Code::IllegalGeneration | Code::RebalanceInProgress | Code::StaleMemberEpoch)) => {
                LogError::Unavailable(format!("committing to {}: {code}", self.topic))
            }
            Some(code) => self.log.doubt(&self.topic, from_code(code, &self.topic)),
            None => from_error(error, &self.topic),
        }
    }
}

/// Joins the group and serves the membership.
fn begin(log: &Arc<Inner>, group: &JoinGroup, shared: &Arc<Shared>, life: u64) -> Result<Arc<Native>, LogError> {
    let basics = Context { role: "group", ..log.context.clone() };
    let config = log.group_config(group)?;
    let context = GroupContext { basics, shared: Arc::clone(shared), life };
    let native: Native = config
        .create_with_context(context)
        .map_err(|error| from_error(&error, "the group's consumer cannot be made"))?;
    let native = Arc::new(native);
    log.context.brokers.watch(&native);
    native.subscribe(&[&group.topic]).map_err(|error| from_error(&error, &group.topic))?;
    let holder = format!("{}/{:016x}", group.member, rand_u64());
    Session::start(Arc::clone(&native), Arc::clone(shared), life, holder, &log.options)?;
    Ok(native)
}

/// A number that tells two lives of one name apart.
fn rand_u64() -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _, RandomState};
    RandomState::new().build_hasher().finish()
}

#[async_trait]
impl GroupMember for Member {
    async fn next(&mut self, wait: Duration) -> Result<GroupEvent, LogError> {
        let deadline = Instant::now() + wait.min(FAR);
        loop {
            // Everything below may be ready at once, for ever: let others run.
            tokio::task::consume_budget().await;
            match self.change() {
                Err(LogError::Fenced) => {
                    if self.begin_again().await? {
                        continue;
                    }
                    let now = Instant::now();
                    if now >= deadline {
                        return Ok(GroupEvent::Idle);
                    }
                    sleep_until(deadline.min(now + ASK_AGAIN)).await;
                    continue;
                }
                changed => {
                    if let Some(event) = changed? {
                        return Ok(event);
                    }
                }
            }
            self.look_at_silence();
            if let Some(event) = self.deliver().await? {
                return Ok(event);
            }
            // A change that comes in between leaves its mark in the notification: it is not missed.
            let now = Instant::now();
            let wake = self.thaw(now).map_or(deadline, |thaw| thaw.min(deadline)).min(self.look_at);
            if timeout_at(wake, self.changed.notified()).await.is_err() && Instant::now() >= deadline {
                return Ok(GroupEvent::Idle);
            }
        }
    }

    async fn start(&mut self, partition: u32, offset: Option<u64>) -> Result<(), LogError> {
        if !self.shared.ownership.holds(partition) {
            return Err(self.not_owned(partition));
        }
        let at = TopicPartition { topic: Arc::clone(&self.topic), partition };
        let position = match offset {
            Some(offset) => offset,
            None => match self.committed(partition).await? {
                Some(committed) => committed.offset,
                None => self.log.doubted(&at.topic, self.log.reads.bounds(&at).await)?.first,
            },
        };
        self.fetch.know(&self.topic).await?;
        if !self.shared.ownership.holds(partition) {
            return Err(self.not_owned(partition));
        }
        self.broken.remove(&partition);
        // A cursor that stands elsewhere is let go first: a client has one a partition.
        drop(self.cursors.remove(&partition));
        let cursor = Cursor::open(&self.fetch, &at, position, Arc::clone(&self.changed))?;
        self.cursors.insert(partition, Started { cursor, since: Instant::now(), warm: false, failed: None });
        Ok(())
    }

    fn pause(&mut self, partitions: &[u32]) {
        // Its queue fills up to its bound and stays so.
        self.paused.extend(partitions);
    }

    fn resume(&mut self, partitions: &[u32]) {
        self.paused.retain(|partition| !partitions.contains(partition));
    }

    async fn commit(&mut self, commits: &[Commit]) -> Result<(), LogError> {
        for commit in commits {
            if commit.metadata.len() > MAX_METADATA_BYTES {
                return Err(LogError::TooLarge { bytes: commit.metadata.len(), limit: MAX_METADATA_BYTES });
            }
            if !self.shared.may_commit(commit.partition) {
                return Err(self.not_owned(commit.partition));
            }
        }
        if commits.is_empty() {
            return Ok(());
        }
        let (native, shared, wanted) = (self.native()?, Arc::clone(&self.shared), commits.to_vec());
        let (answer, answered) = oneshot::channel();
        spawn_blocking(move || {
            let done = shared.commits.commit(&native, &wanted, || answer.is_closed());
            // Nobody waits any more: the caller was told that nobody knows.
            let _ = answer.send(done);
        });
        // LOG-1: only what the broker has acknowledged is an answer, and renews the lease.
        match timeout(self.log.options.request_timeout(), answered).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => {
                // The group may have taken it while the broker was asked: then that is the reason, whatever the error says.
                let refused = self.refused(commits, &error);
                let lost = commits.iter().find(|commit| !self.shared.may_commit(commit.partition));
                return Err(lost.map_or(refused, |commit| self.not_owned(commit.partition)));
            }
            Ok(Err(_)) => return Err(gone("committing")),
            Err(_) => return Err(LogError::Unavailable("the broker does not acknowledge commits".to_owned())),
        }
        if self.log.faults.commit_answer_is_lost() {
            return Err(LogError::Unavailable("the answer to a commit was lost".to_owned()));
        }
        self.shared.ownership.renew();
        Ok(())
    }

    async fn committed(&mut self, partition: u32) -> Result<Option<Commit>, LogError> {
        let (native, shared) = (self.native()?, Arc::clone(&self.shared));
        let limit = self.log.options.request_timeout();
        let asked = spawn_blocking(move || shared.commits.look(&native, &BTreeSet::from([partition]), limit));
        let found = match timeout(limit + Duration::from_secs(5), asked).await {
            Ok(Ok(found)) => found.map_err(|error| from_error(&error, &self.topic))?,
            Ok(Err(_)) => return Err(gone("asking for commits")),
            Err(_) => return Err(LogError::Unavailable("the broker does not tell commits".to_owned())),
        };
        Ok(found.into_iter().next().and_then(|(_, stored)| stored.commit))
    }

    fn release(&mut self, partitions: &[u32]) {
        self.shared.release(partitions);
    }

    fn ownership(&self) -> Ownership {
        self.shared.ownership.clone()
    }

    async fn leave(mut self: Box<Self>) {
        self.go();
        let deadline = Instant::now() + LEAVING;
        while !self.shared.state().gone {
            if timeout_at(deadline, self.changed.notified()).await.is_err() {
                tracing::warn!(topic = %self.topic, "kafka.leave_unanswered");
                return;
            }
        }
    }
}

impl Member {
    /// Begins to leave: from now on nothing is owned.
    fn go(&mut self) {
        // The session's thread holds the consumer as well, and closes it: it has left when that is done.
        drop(self.native.take());
        self.shared.ownership.withdraw(&self.shared.ownership.partitions());
        let mut state = self.shared.state();
        state.leaving = true;
        state.changes.clear();
        drop(state);
        self.cursors.clear();
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.go();
    }
}
