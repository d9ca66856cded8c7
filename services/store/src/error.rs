//! Why the store stops. ClickHouse being away is no reason.

use waybill_log::LogError;

use crate::config::ConfigError;

/// Why the store stopped.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A setting is out of range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The log cannot be used.
    #[error("the store cannot go on with {topic}: {source}")]
    Log {
        /// The topic's full name.
        topic: String,
        /// What the log says.
        source: LogError,
    },
    /// The group's commit was written by a later version.
    #[error(
        "{topic}/{partition} was being stored by a later version of this program ({metadata:?}); run that version, or let it finish"
    )]
    Metadata {
        /// The topic's full name.
        topic: String,
        /// The partition.
        partition: u32,
        /// What was found.
        metadata: String,
    },
    /// The log is shorter than what was read from it: it is another log.
    #[error(
        "{topic}/{partition} ends at {end}, but the store has read it up to {committed}: the log was replaced; give it another topic prefix, or restore it"
    )]
    LogReplaced {
        /// The topic's full name.
        topic: String,
        /// The partition.
        partition: u32,
        /// Where it ends.
        end: u64,
        /// What was committed.
        committed: u64,
    },
    /// Too much cannot be read for a few bad records to be the reason.
    #[error("the store stops: {0}")]
    Poison(String),
    /// A part of the store panicked.
    #[error("the store's part for a topic has died: {0}")]
    Died(String),
}
