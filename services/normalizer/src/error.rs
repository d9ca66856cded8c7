//! Why a normalizer ends.

use waybill_log::LogError;

/// Why the normalizer ended.
#[derive(Debug, thiserror::Error)]
pub enum NormalizerError {
    /// A setting is out of range.
    #[error("{0}")]
    Config(String),
    /// The log refused for good.
    #[error("the normalizer cannot go on, because {0}")]
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
    #[error("the normalizer stops: {0}")]
    Poison(String),
    /// A task of the normalizer panicked.
    #[error("the normalizer's work on partition {0} broke down; see the log above")]
    Broken(u32),
}
