//! Why a scheduler, or its work on one partition, ends.

use waybill_log::{ErrorClass, LogError};

/// Why the scheduler ended.
#[derive(Debug, thiserror::Error)]
pub enum SchedulerError {
    /// A setting is out of range.
    #[error("{0}")]
    Config(String),
    /// The log refused for good.
    #[error("the scheduler cannot go on, because {0}")]
    Log(#[from] LogError),
    /// The layout in force and the topics differ.
    #[error("topic {topic} has {actual} partitions and the layout says {layout}: start with the recorded layout")]
    Layout {
        /// The topic.
        topic: String,
        /// Its partitions.
        actual: u32,
        /// The layout's.
        layout: u32,
    },
    /// Too much cannot be processed for one carrier to be the reason.
    #[error("the scheduler stops: {0}")]
    Poison(String),
    /// A task of the scheduler panicked.
    #[error("the scheduler's work on partition {0} broke down; see the log above")]
    Broken(u32),
}

/// Why work on one partition ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    /// It was asked to.
    #[error("asked to stop")]
    Asked,
    /// A higher claim was seen.
    #[error("another scheduler has claimed this partition")]
    Superseded,
    /// The group gave the partition to another member.
    #[error("the partition is another member's")]
    Lost,
    /// Something may or may not have been written: this epoch ends, and a new claim settles it.
    #[error("the log did not answer clearly: {0}")]
    Uncertain(LogError),
    /// Its state cannot be read: nothing is done with it until somebody looks.
    #[error("{0}")]
    Refused(String),
    /// Too much cannot be read: the process stops, and what has tripped it stays where it is.
    #[error("{0}")]
    Poison(String),
    /// The process must end.
    #[error("{0}")]
    Fatal(LogError),
}

impl From<LogError> for End {
    fn from(error: LogError) -> Self {
        match error.class() {
            ErrorClass::Retry => Self::Uncertain(error),
            ErrorClass::Lost => Self::Lost,
            // A record of ours that is too large can never be written; the number it belongs to would be lost.
            ErrorClass::Drop | ErrorClass::Fatal => Self::Fatal(error),
        }
    }
}
