//! Whether another has a member's name.
//!
//! When a broker hangs, librdkafka joins again under a new id, and what it still sends under the old one is answered as if
//! a namesake had taken its place, for good. Then the other is nobody but this member itself, and the group forgets it when
//! its session ends; a successor's stays. So a member that is told so asks who is in the group before it ends. So does one
//! that has slept through its session, before it joins again: its name may be a successor's by now.
//!
//! Only a coordinator that tells of the group is believed. A broker that has just started lists no groups at all for some
//! tenths of a second, without an error, and librdkafka forgets the error of one broker over the answer of the next: who
//! takes that for an empty group joins again and so ends the successor.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use rdkafka::{consumer::Consumer as _, error::KafkaError, groups::GroupMemberInfo};
use tokio::{task::spawn_blocking, time::Instant};

use super::{KafkaOptions, commits::Native, error::gone};
use crate::seam::{JoinGroup, LogError};

/// How often a member in doubt asks, however often its service looks for events.
pub(super) const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Beyond two sessions, a name that is still held is another's, and a group that nobody tells of is gone.
const LONG_GONE: Duration = Duration::from_secs(5);

/// What is known of a namesake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finding {
    /// Nothing: ask again.
    NotYet,
    /// The name is free.
    Nobody,
    /// It is not this member's own, or has been held for too long to be.
    Another,
}

/// What brokers tell of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// A member of the group has it.
    Held,
    /// None has.
    Free,
    /// None of them knows the group: its coordinator still loads it, or another is about to.
    Nothing,
}

/// The ids that this member has had in the group.
#[derive(Debug)]
pub(super) struct Own {
    pub ids: BTreeSet<String>,
    /// There can be no other: it has not joined again since it had the last of them.
    pub are_all: bool,
}

/// Since when another may have this member's name, and when that was last asked.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    since: Option<Instant>,
    asked: Option<Instant>,
}

impl Doubt {
    /// Whether it is time to ask; if so, it is noted that it was.
    fn is_due(&mut self) -> bool {
        let due = self.asked.is_none_or(|asked| asked.elapsed() >= ASK_AGAIN);
        if due {
            self.asked = Some(Instant::now());
        }
        due
    }

    /// Asks who is in the group, unless it was asked just now.
    pub(super) async fn look(
        &mut self,
        native: Arc<Native>,
        group: &JoinGroup,
        own: Own,
        options: &KafkaOptions,
    ) -> Result<Finding, LogError> {
        let since = *self.since.get_or_insert_with(Instant::now);
        if !self.is_due() {
            return Ok(Finding::NotYet);
        }
        let (group, name, limit) = (group.group.clone(), group.member.clone(), options.request_timeout());
        let Own { ids, are_all } = own;
        let asked = spawn_blocking(move || {
            let groups = native.fetch_group_list(Some(&group), limit)?;
            let own = &ids;
            let found = groups.groups().iter().filter(|found| found.name() == group).map(|found| {
                let others = found.members().iter().map(GroupMemberInfo::id).filter(move |id| !own.contains(*id));
                (found.state(), others)
            });
            Ok::<Told, KafkaError>(told(&name, found))
        });
        // Two sessions: the group may be shared out anew first, and that waits for whoever is missing.
        let sessions = Duration::from_millis(u64::from(options.session_timeout_ms)) * 2;
        let is_long = since.elapsed() > sessions + LONG_GONE;
        match asked.await.map_err(|_| gone("asking who is in the group"))? {
            Ok(Told::Held) => Ok(if are_all || is_long { Finding::Another } else { Finding::NotYet }),
            Ok(Told::Nothing) if !is_long => {
                tracing::warn!("kafka.group_not_told");
                Ok(Finding::NotYet)
            }
            Ok(Told::Free | Told::Nothing) => {
                self.since = None;
                Ok(Finding::Nobody)
            }
            Err(error) => {
                // Nobody's session ends while there is no broker.
                tracing::warn!(%error, "kafka.group_unknown");
                self.since = None;
                Ok(Finding::NotYet)
            }
        }
    }
}

/// What is told of a name, by each answer's state of the group and its members' ids. An answer without a state is an error.
fn told<'a, I: Iterator<Item = &'a str>>(name: &str, answers: impl Iterator<Item = (&'a str, I)>) -> Told {
    let known = answers.filter(|(state, _)| !state.is_empty());
    match known.map(|(_, ids)| is_held(name, ids)).reduce(|one, other| one || other) {
        None => Told::Nothing,
        Some(false) => Told::Free,
        Some(true) => Told::Held,
    }
}

/// Whether the group has a member of this name. Kafka makes a static member's id of its name, a hyphen and a UUID: 22
/// characters from the coordinator of Kafka 4, 36 from the one before. It tells no more: a member that takes a name over
/// inherits client id and host of whom it replaces.
fn is_held<'a>(name: &str, mut ids: impl Iterator<Item = &'a str>) -> bool {
    ids.any(|id| {
        let unique = id.strip_prefix(name).and_then(|rest| rest.strip_prefix('-'));
        unique.is_some_and(|unique| matches!(unique.len(), 22 | 36))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_group_is_not_asked_each_time_that_a_service_looks_for_events() {
        let mut doubt = Doubt::default();
        assert!(doubt.is_due());
        assert!((0..50).all(|_| !doubt.is_due()));
        tokio::time::advance(ASK_AGAIN).await;
        assert!(doubt.is_due() && !doubt.is_due());
    }

    #[test]
    fn a_name_is_held_by_a_member_whose_id_begins_with_it_and_goes_on_with_a_uuid() {
        let held = |ids: &[&str]| is_held("fetcher-1", ids.iter().copied());
        assert!(!held(&[]));
        assert!(held(&["fetcher-0-AAsAGFL5Tb2_ahkAq-cW7w", "fetcher-1-UMsAGFL5Tb2_ahkAq-cW7w"]));
        assert!(held(&["fetcher-1-7f3c8f1e-0f52-4e0e-9d43-3f1f6f1f8a11"]));
        assert!(!held(&["fetcher-1-b-UMsAGFL5Tb2_ahkAq-cW7w", "fetcher-11-UMsAGFL5Tb2_ahkAq-cW7w"]));
    }

    #[test]
    fn a_coordinator_that_does_not_know_the_group_yet_is_not_taken_for_an_empty_group() {
        const HELD: &[&str] = &["fetcher-1-UMsAGFL5Tb2_ahkAq-cW7w"];
        const OTHER: &[&str] = &["fetcher-0-AAsAGFL5Tb2_ahkAq-cW7w"];
        let tell = |answers: &[(&'static str, &'static [&'static str])]| {
            told("fetcher-1", answers.iter().map(|(state, ids)| (*state, ids.iter().copied())))
        };
        assert_eq!(tell(&[]), Told::Nothing, "it lists no groups");
        assert_eq!(tell(&[("", &[])]), Told::Nothing, "it lists the group and cannot describe it");
        assert_eq!(tell(&[("Empty", &[])]), Told::Free);
        assert_eq!(tell(&[("Stable", OTHER)]), Told::Free);
        assert_eq!(tell(&[("Stable", HELD)]), Told::Held);
        assert_eq!(tell(&[("", &[]), ("Stable", HELD)]), Told::Held, "whoever else does not know");
    }
}
