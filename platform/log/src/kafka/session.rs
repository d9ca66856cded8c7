//! One life of a group member: the thread that serves librdkafka's group.
//!
//! The consumer here fetches nothing: it joins, hears what is assigned and revoked, and commits. Records come by cursors of
//! another client ([`super::member`]), so neither a slow service nor a long poll is ever in the group's way.
//! The rebalance callback ([`super::shared`]) only turns the ownership and writes down what was asked. A revoked partition is let go
//! (`incremental_unassign`) once it is released or its drain budget is over; until then librdkafka waits, heartbeats go on,
//! and the generation stays valid for the last commits.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, mpsc},
    time::Duration,
};

use rdkafka::{consumer::Consumer as _, error::KafkaError, types::RDKafkaErrorCode as Code};
use tokio::time::Instant;

use super::{
    commits::Native,
    error::from_code,
    handover::{Mark, Stored},
    native::member_id,
    options::{GroupProtocol, KafkaOptions},
    shared::{Change, Shared},
};
use crate::seam::LogError;

/// How long the thread sleeps in librdkafka when nothing is under way; anything that comes wakes it.
const CALM: Duration = Duration::from_millis(100);
/// The same while a partition is between two members.
const BUSY: Duration = Duration::from_millis(5);
/// How often a held partition's mark is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Longest time that leaving may take.
const LEAVING: Duration = Duration::from_secs(5);

/// What was done beside the thread.
enum Done {
    Looked(BTreeSet<u32>, Result<Vec<(u32, Stored)>, KafkaError>),
    Marked(BTreeSet<u32>, Result<(), KafkaError>),
    Unmarked(Vec<u32>, Result<(), KafkaError>),
}

/// The thread's own state.
pub(super) struct Session {
    native: Arc<Native>,
    shared: Arc<Shared>,
    life: u64,
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

/// What a life's end is that librdkafka calls fatal: it never gets over it, so nobody must wait for that. Only a name that
/// another may have is asked for again.
fn for_good(code: Code, reason: &str, topic: &str) -> LogError {
    match from_code(code, topic) {
        LogError::Fenced => LogError::Fenced,
        _ => LogError::Misconfigured(format!("the group on {topic} does not take this member: {code}: {reason}")),
    }
}

impl Session {
    /// Serves a member until it leaves or is fenced, on a thread of its own.
    pub(super) fn start(
        native: Arc<Native>,
        shared: Arc<Shared>,
        life: u64,
        holder: String,
        options: &KafkaOptions,
    ) -> Result<(), LogError> {
        let session = Self {
            native,
            shared,
            life,
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
            let polled = self.native.poll(wait);
            if self.shared.state().life != self.life {
                break;
            }
            if let Some(Err(error)) = polled
                && error.rdkafka_error_code() == Some(Code::FencedInstanceId)
            {
                self.shared.end(self.life, LogError::Fenced);
            }
            let known = self.shared.state().ended.is_some();
            if !known && let Some((code, reason)) = self.native.client().fatal_error() {
                tracing::warn!(%code, reason, topic = %self.shared.topic, "kafka.member_ended");
                self.shared.end(self.life, for_good(code, &reason, &self.shared.topic));
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
        let Self { native, shared, life, .. } = self;
        // The last handle closes the consumer, which waits for its threads.
        drop(native);
        let mut state = shared.state();
        state.gone |= state.life == life;
        drop(state);
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
                member_id(native).is_some()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seam::ErrorClass;

    #[test]
    fn what_librdkafka_never_gets_over_ends_the_member_and_is_not_tried_for_ever() {
        assert_eq!(for_good(Code::FencedInstanceId, "", "t"), LogError::Fenced);
        for code in [Code::UnsupportedVersion, Code::GroupAuthorizationFailed, Code::InvalidRequest] {
            assert_eq!(for_good(code, "no", "t").class(), ErrorClass::Fatal, "{code}");
        }
    }
}
