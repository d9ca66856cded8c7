//! Who owns which partition of a topic: the coordination of one group. Pure: time comes in, nothing waits here.
//!
//! A partition is free, offered to a member (chosen, but not told yet), owned, or draining (taken from a member that has
//! until a deadline to let go). Joining and leaving move as few partitions as an even share allows, and only those that
//! move are revoked. A name joins once: the newcomer inherits what its namesake held, and the namesake is fenced.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;

use crate::ownership::Ownership;

/// One life of a member; a name that joins again gets another.
pub(super) type MemberId = u64;

/// Who has a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holder {
    Free,
    Offered(MemberId),
    Owned(MemberId),
    Draining { by: MemberId, until: Instant },
}

/// What a member must be told next.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub(super) enum Change {
    Assigned(Vec<u32>),
    Revoked(Vec<u32>),
    /// Another took the name, or the member was removed.
    Gone,
}

/// Whether the group counts on a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Session {
    Live,
    /// It was not heard of for too long: its partitions went to others and it does not know yet.
    Ended,
}

#[derive(Debug)]
struct Member {
    name: String,
    drain_budget: Duration,
    ownership: Ownership,
    session: Session,
    /// Taken away, not told yet.
    revoked: BTreeSet<u32>,
}

/// The members of a group and the partitions between them.
#[derive(Debug)]
pub(super) struct Group {
    holders: Vec<Holder>,
    members: BTreeMap<MemberId, Member>,
    next_id: MemberId,
}

impl Group {
    pub(super) fn new(partitions: u32) -> Self {
        Self { holders: vec![Holder::Free; partitions as usize], members: BTreeMap::new(), next_id: 0 }
    }

    /// Adds a member; one of the same name is fenced and its partitions pass to the newcomer.
    pub(super) fn join(&mut self, name: &str, drain_budget: Duration, now: Instant) -> (MemberId, Ownership) {
        let id = self.next_id;
        self.next_id += 1;
        let namesake = self.members.iter().find(|(_, member)| member.name == name).map(|(id, _)| *id);
        if let Some(old) = namesake {
            self.dismiss(old, |_| Holder::Offered(id));
        }
        let ownership = Ownership::default();
        let member = Member {
            name: name.to_owned(),
            drain_budget,
            ownership: ownership.clone(),
            session: Session::Live,
            revoked: BTreeSet::new(),
        };
        self.members.insert(id, member);
        self.settle(now);
        (id, ownership)
    }

    /// Removes a member; what it held goes to others at once.
    pub(super) fn leave(&mut self, id: MemberId, now: Instant) {
        self.dismiss(id, |_| Holder::Free);
        self.settle(now);
    }

    /// Ends the session of the member of this name, as when a broker no longer hears from it: its partitions go to
    /// others at once and it learns of it at its next call. Whether there is such a member.
    #[cfg_attr(not(feature = "conformance"), allow(dead_code, reason = "only faults end sessions in one process"))]
    pub(super) fn expire(&mut self, name: &str, now: Instant) -> bool {
        let Some((id, member)) = self.members.iter_mut().find(|(_, member)| member.name == name) else { return false };
        let id = *id;
        member.session = Session::Ended;
        for (partition, holder) in self.holders.iter_mut().enumerate() {
            match *holder {
                Holder::Owned(by) | Holder::Draining { by, .. } if by == id => {
                    member.revoked.insert(partition as u32);
                    *holder = Holder::Free;
                }
                Holder::Offered(by) if by == id => *holder = Holder::Free,
                _ => {}
            }
        }
        self.settle(now);
        true
    }

    /// A member lets revoked partitions go.
    pub(super) fn release(&mut self, id: MemberId, partitions: &[u32], now: Instant) {
        for partition in partitions {
            let Some(holder) = self.holders.get_mut(*partition as usize) else { continue };
            if matches!(holder, Holder::Draining { by, .. } if *by == id) {
                *holder = Holder::Free;
            }
        }
        self.settle(now);
    }

    /// Ends drains whose budget is over; whether anything moved.
    pub(super) fn tick(&mut self, now: Instant) -> bool {
        let mut moved = false;
        for holder in &mut self.holders {
            if matches!(holder, Holder::Draining { until, .. } if *until <= now) {
                *holder = Holder::Free;
                moved = true;
            }
        }
        if moved {
            self.settle(now);
        }
        moved
    }

    /// When [`Self::tick`] is next worth calling.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let deadlines = self.holders.iter().filter_map(|holder| match holder {
            Holder::Draining { until, .. } => Some(*until),
            _ => None,
        });
        deadlines.min()
    }

    /// What the member must be told; losses before gains, so that a partition that comes back is not mixed up.
    pub(super) fn take_change(&mut self, id: MemberId, now: Instant) -> Option<Change> {
        let ended = self.members.get(&id).is_some_and(|member| member.session == Session::Ended);
        if ended {
            self.rejoin(id, now);
        }
        let Some(member) = self.members.get_mut(&id) else { return Some(Change::Gone) };
        if !member.revoked.is_empty() {
            return Some(Change::Revoked(std::mem::take(&mut member.revoked).into_iter().collect()));
        }
        let mut gained = Vec::new();
        for (partition, holder) in self.holders.iter_mut().enumerate() {
            if *holder == Holder::Offered(id) {
                *holder = Holder::Owned(id);
                gained.push(partition as u32);
            }
        }
        if gained.is_empty() {
            return None;
        }
        member.ownership.grant(&gained);
        Some(Change::Assigned(gained))
    }

    /// Whether this life of the member is still in the group.
    pub(super) fn has(&self, id: MemberId) -> bool {
        self.members.contains_key(&id)
    }

    /// Whether the member owns the partition and has been told so.
    pub(super) fn owns(&self, id: MemberId, partition: u32) -> bool {
        self.holders.get(partition as usize) == Some(&Holder::Owned(id))
    }

    /// Whether the member may record progress: while it owns a partition, and while it drains it, because what it
    /// finishes in that time would otherwise be done again by the next owner.
    pub(super) fn may_commit(&self, id: MemberId, partition: u32) -> bool {
        match self.holders.get(partition as usize) {
            Some(Holder::Owned(by) | Holder::Draining { by, .. }) => *by == id,
            _ => false,
        }
    }

    /// A member whose session had ended is heard of again: it loses what it believed to own and is counted again.
    fn rejoin(&mut self, id: MemberId, now: Instant) {
        if let Some(member) = self.members.get_mut(&id) {
            member.session = Session::Live;
            member.ownership.withdraw(&member.ownership.partitions());
            self.settle(now);
        }
    }

    /// Takes a member out; each partition it held becomes what `heir` says.
    fn dismiss(&mut self, id: MemberId, heir: impl Fn(u32) -> Holder) {
        let Some(member) = self.members.remove(&id) else { return };
        member.ownership.withdraw(&member.ownership.partitions());
        for (partition, holder) in self.holders.iter_mut().enumerate() {
            match *holder {
                Holder::Offered(by) | Holder::Owned(by) if by == id => *holder = heir(partition as u32),
                Holder::Draining { by, .. } if by == id => *holder = Holder::Free,
                _ => {}
            }
        }
    }

    fn held_by(&self, id: MemberId) -> usize {
        let holds = |holder: &&Holder| matches!(holder, Holder::Offered(by) | Holder::Owned(by) if *by == id);
        self.holders.iter().filter(holds).count()
    }

    /// Evens out: who has more than its share gives up the surplus, who has less takes what is free.
    fn settle(&mut self, now: Instant) {
        let live = self.members.iter().filter(|(_, member)| member.session == Session::Live).map(|(id, _)| *id);
        let mut ranked: Vec<(usize, MemberId)> = live.map(|id| (self.held_by(id), id)).collect();
        let count = ranked.len();
        if count == 0 {
            return;
        }
        let (share, extra) = (self.holders.len() / count, self.holders.len() % count);
        // Those who hold most keep the odd ones, so that the fewest move.
        ranked.sort_by_key(|(held, id)| (std::cmp::Reverse(*held), *id));
        let quotas: Vec<(MemberId, usize)> =
            ranked.iter().enumerate().map(|(rank, (_, id))| (*id, share + usize::from(rank < extra))).collect();
        for (id, quota) in &quotas {
            self.give_up(*id, *quota, now);
        }
        for (id, quota) in quotas {
            let mut missing = quota.saturating_sub(self.held_by(id));
            for holder in &mut self.holders {
                if missing > 0 && *holder == Holder::Free {
                    *holder = Holder::Offered(id);
                    missing -= 1;
                }
            }
        }
    }

    /// Takes partitions beyond the quota away: first what the member does not know of yet.
    fn give_up(&mut self, id: MemberId, quota: usize, now: Instant) {
        let mut surplus = self.held_by(id).saturating_sub(quota);
        for holder in self.holders.iter_mut().rev() {
            if surplus > 0 && *holder == Holder::Offered(id) {
                *holder = Holder::Free;
                surplus -= 1;
            }
        }
        let Some(member) = self.members.get_mut(&id) else { return };
        let until = now + member.drain_budget;
        for (partition, holder) in self.holders.iter_mut().enumerate().rev() {
            if surplus > 0 && *holder == Holder::Owned(id) {
                *holder = Holder::Draining { by: id, until };
                member.ownership.withdraw(&[partition as u32]);
                member.revoked.insert(partition as u32);
                surplus -= 1;
            }
        }
    }
}
