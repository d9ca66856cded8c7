//! What a group member, its thread and librdkafka's callbacks share: what is assigned, revoked, drained and held.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    error::Error,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rdkafka::{
    Offset, TopicPartitionList,
    client::{ClientContext, OAuthToken},
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext},
    error::{KafkaError, KafkaResult},
    types::RDKafkaRespErr,
};
use tokio::{sync::Notify, time::Instant};

use super::{
    commits::{Commits, Native},
    context::Context,
    fetch::native_partition,
    native::member_id,
};
use crate::{Ownership, seam::LogError};

/// What the member is told, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    Assigned(Vec<u32>),
    Revoked(Vec<u32>),
}

impl Change {
    fn revoked(self) -> Option<Vec<u32>> {
        match self {
            Self::Revoked(partitions) => Some(partitions),
            Self::Assigned(_) => None,
        }
    }
}

/// A partition that the group has given us, and whether nobody else still works on it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting {
    pub look_at: Instant,
    /// When a mark was first seen.
    pub marked_since: Option<Instant>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub changes: VecDeque<Change>,
    /// Counts the lives of this member: a consumer of an earlier one has no say.
    pub life: u64,
    /// Why this life is over.
    pub ended: Option<LogError>,
    /// It was given up by this member, which has not joined again since.
    pub forsaken: bool,
    /// What is gone with it, and the member has not been told.
    pub lost: BTreeSet<u32>,
    /// The member wants to go.
    pub leaving: bool,
    /// The thread has gone.
    pub gone: bool,
    /// Revoked and not yet released, until when at most.
    pub draining: BTreeMap<u32, Instant>,
    /// What librdkafka waits for us to let go, and how many of it the member had to drain.
    pub revoking: Option<(Vec<u32>, usize)>,
    pub waiting: BTreeMap<u32, Waiting>,
    /// Let go by the group, not by the member.
    pub held: BTreeSet<u32>,
    /// The ids under which this member was given partitions.
    pub ids: BTreeSet<String>,
}

/// What thread, callbacks and member share.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// Something changed that the member waits for.
    pub changed: Arc<Notify>,
    pub ownership: Ownership,
    pub commits: Commits,
    pub topic: Arc<str>,
    drain_budget: Duration,
    /// The member keeps a name (`group.instance.id`) that a successor may take.
    is_static: bool,
}

impl Shared {
    pub(super) fn new(topic: &str, drain_budget: Duration, is_static: bool) -> Self {
        let topic: Arc<str> = topic.into();
        Self {
            state: Mutex::default(),
            changed: Arc::default(),
            ownership: Ownership::default(),
            commits: Commits::new(Arc::clone(&topic)),
            topic,
            drain_budget,
            is_static,
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

    /// A life is over.
    pub(super) fn end(&self, life: u64, error: LogError) {
        let mut state = self.state();
        if state.life != life {
            return;
        }
        let owned = self.ownership.partitions();
        self.ownership.withdraw(&owned);
        // What the member was not yet told to be gone is told when it begins again: only then is it sure to listen.
        let untold = std::mem::take(&mut state.changes).into_iter().filter_map(Change::revoked).flatten();
        state.lost.extend(untold.chain(owned));
        state.draining.clear();
        state.waiting.clear();
        state.revoking = None;
        state.held.clear();
        if state.ended.is_none() && error == LogError::Fenced {
            // For at most two sessions: see `namesake`. Nothing is owned meanwhile, so nothing comes.
            tracing::warn!(topic = %self.topic, life, "kafka.name_in_doubt");
        }
        state.ended.get_or_insert(error);
        drop(state);
        self.changed.notify_one();
    }

    /// Another life begins after one has ended: the member hears that all it had is gone.
    pub(super) fn begin_again(&self) -> u64 {
        let mut state = self.state();
        let lost = std::mem::take(&mut state.lost);
        let life = state.life + 1;
        let ids = std::mem::take(&mut state.ids);
        *state = State { life, leaving: state.leaving, ids, ..State::default() };
        let lost: Vec<u32> = lost.into_iter().collect();
        if !lost.is_empty() {
            state.changes.push_back(Change::Revoked(lost.clone()));
        }
        drop(state);
        // A commit of the earlier life may still wait for the broker, and this for its end: nobody else has to.
        if !lost.is_empty() {
            self.commits.forget(&lost);
        }
        life
    }

    fn list(&self, partitions: &[u32]) -> TopicPartitionList {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            list.add_partition(&self.topic, native_partition(*partition));
        }
        list
    }

    pub(super) fn let_go(&self, native: &Native, partitions: &[u32]) {
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
        let id = self.is_static.then(|| member_id(native)).flatten();
        let now = Instant::now();
        let mut state = self.state();
        state.ids.extend(id);
        for partition in partitions {
            state.waiting.insert(*partition, Waiting { look_at: now, marked_since: None });
        }
    }

    /// A static member's session is over. librdkafka would join again under the name at once, and so end the successor that
    /// may hold it by now: this life is over, and the name is asked for before another begins.
    fn forsake(&self, native: &Native, life: u64, partitions: &[u32]) {
        self.end(life, LogError::Fenced);
        self.state().forsaken = true;
        // In this order: a consumer that is being closed joins no more when what it had is let go.
        if let Err(error) = native.close_queue() {
            tracing::warn!(%error, topic = %self.topic, "kafka.close_failed");
        }
        self.let_go(native, partitions);
    }

    /// The group takes partitions away.
    fn revoked(&self, native: &Native, life: u64, partitions: &[u32]) {
        let lost = native.assignment_lost();
        if lost && self.is_static && !self.state().leaving {
            self.forsake(native, life, partitions);
            return;
        }
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
    /// The life that this consumer serves.
    pub life: u64,
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
        if self.shared.state().life != self.life {
            self.shared.let_go(native, &partitions);
            return;
        }
        match kind {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.shared.assigned(native, &partitions),
            _ => self.shared.revoked(native, self.life, &partitions),
        }
    }
    fn commit_callback(&self, _result: KafkaResult<()>, _offsets: &TopicPartitionList) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A refused commit and the group's own word come in any order, and either may be first to end the session.
    #[test]
    fn what_was_lost_is_told_once_however_the_life_ended() {
        for commit_refused_first in [true, false] {
            let shared = Shared::new("t", Duration::from_secs(1), true);
            shared.ownership.grant(&[0, 2]);
            if commit_refused_first {
                shared.lose_everything();
            }
            shared.end(0, LogError::Fenced);
            assert!(shared.state().changes.is_empty(), "before it begins again it only hears that it is fenced");
            assert_eq!(shared.begin_again(), 1);
            assert_eq!(shared.state().changes, [Change::Revoked(vec![0, 2])]);
            assert!(shared.ownership.partitions().is_empty());
        }
    }
}
