//! One group on one topic: its coordination and its commits, behind one lock so that both change together.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use tokio::sync::Notify;

use super::group::Group;
use crate::seam::Commit;

/// What the lock guards.
#[derive(Debug)]
pub(super) struct CellState {
    pub(super) group: Group,
    /// Acknowledged commits by partition.
    pub(super) commits: HashMap<u32, Commit>,
}

/// A group on a topic.
#[derive(Debug)]
pub(super) struct GroupCell {
    pub(super) name: String,
    pub(super) topic: u32,
    state: Mutex<CellState>,
    /// Told whenever something may have moved.
    pub(super) changed: Notify,
}

impl GroupCell {
    pub(super) fn new(name: &str, topic: u32, partitions: u32, commits: HashMap<u32, Commit>) -> Self {
        Self {
            name: name.to_owned(),
            topic,
            state: Mutex::new(CellState { group: Group::new(partitions), commits }),
            changed: Notify::new(),
        }
    }

    /// Works on the state for a moment; never held across a wait.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut CellState) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
