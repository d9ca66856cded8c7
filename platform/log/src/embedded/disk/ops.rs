//! What is waiting to be written.

use std::{collections::BTreeSet, sync::Arc};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::super::{cell::GroupCell, topic::Topic};
use crate::seam::{Appended, Commit, LogError, NewRecord, NewTopic};

/// Where an answer goes.
pub(in super::super) type Answer<T> = oneshot::Sender<Result<T, LogError>>;

/// What leaves a partition.
#[derive(Debug)]
pub(in super::super) enum Cut {
    /// Everything before this offset.
    Before(u64),
    /// Single records.
    Records(BTreeSet<u64>),
    /// Nothing: the next append comes this many offsets later.
    #[cfg_attr(not(feature = "conformance"), allow(dead_code, reason = "only faults ask for gaps"))]
    Skip(u64),
}

/// A piece of work for the writer.
pub(in super::super) enum Op {
    Append {
        records: Vec<(Arc<Topic>, NewRecord)>,
        bytes: usize,
        room: OwnedSemaphorePermit,
        answer: Answer<Vec<Appended>>,
    },
    Commit {
        cell: Arc<GroupCell>,
        commits: Vec<Commit>,
        answer: Answer<()>,
    },
    Topics {
        specs: Vec<(u32, NewTopic)>,
        answer: Answer<()>,
    },
    Cut {
        topic: Arc<Topic>,
        partition: u32,
        cut: Cut,
        answer: Answer<()>,
    },
}

impl Op {
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Append { bytes, .. } => *bytes,
            Self::Commit { .. } | Self::Topics { .. } | Self::Cut { .. } => 256,
        }
    }

    /// Whether it may use the room that is kept free: progress and cleaning up must go on when a disk is full.
    pub(super) fn may_use_reserve(&self) -> bool {
        !matches!(self, Self::Append { .. })
    }

    pub(super) fn fail(self, error: &LogError) {
        // Whoever asked may have gone: then nobody needs the answer.
        match self {
            Self::Append { answer, room, .. } => {
                drop(room);
                drop(answer.send(Err(error.clone())));
            }
            Self::Commit { answer, .. } | Self::Topics { answer, .. } | Self::Cut { answer, .. } => {
                drop(answer.send(Err(error.clone())));
            }
        }
    }
}
