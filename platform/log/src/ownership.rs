//! What a group member owns, readable from any task at any time.
//!
//! The flag of a partition turns false the moment its loss is known, and the lease ages by itself: whoever is about to
//! send asks here, so that neither a revoke nor a silent broker is noticed too late (DESIGN §5, hand-over).

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tokio::time::Instant;

#[derive(Debug)]
struct State {
    owned: BTreeSet<u32>,
    renewed: Instant,
}

/// A shared view of a member's partitions and lease. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ownership {
    state: Arc<RwLock<State>>,
}

impl Default for Ownership {
    fn default() -> Self {
        Self { state: Arc::new(RwLock::new(State { owned: BTreeSet::new(), renewed: Instant::now() })) }
    }
}

impl Ownership {
    /// Whether a partition is this member's now.
    pub fn holds(&self, partition: u32) -> bool {
        self.read(|state| state.owned.contains(&partition))
    }

    /// All partitions that are this member's now.
    pub fn partitions(&self) -> Vec<u32> {
        self.read(|state| state.owned.iter().copied().collect())
    }

    /// Time since the log last acknowledged a commit (or since joining).
    pub fn lease_age(&self) -> Duration {
        self.read(|state| state.renewed.elapsed())
    }

    /// For backends: partitions were assigned.
    pub fn grant(&self, partitions: &[u32]) {
        self.write(|state| {
            state.owned.extend(partitions);
            state.renewed = Instant::now();
        });
    }

    /// For backends: partitions were lost.
    pub fn withdraw(&self, partitions: &[u32]) {
        self.write(|state| state.owned.retain(|partition| !partitions.contains(partition)));
    }

    /// For backends: a commit was acknowledged.
    pub fn renew(&self) {
        self.write(|state| state.renewed = Instant::now());
    }

    fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.write().unwrap_or_else(PoisonError::into_inner));
    }
}
