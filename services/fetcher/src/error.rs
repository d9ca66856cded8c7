//! Why a fetcher ends.

use waybill_log::{ClaimError, LogError};

use crate::{config::ConfigError, exchange::ClientError};

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum FetcherError {
    /// The configuration cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The HTTP client cannot be set up.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The log did not do what was asked.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A partition's state cannot be restored.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// A budget's figures cannot be applied.
    #[error("the budget {budget} cannot be applied: {reason}")]
    Budget {
        /// Which.
        budget: String,
        /// Why.
        reason: String,
    },
    /// Too much cannot be processed for one carrier to be the reason.
    #[error("the fetcher stops: {0}")]
    Poison(String),
    /// A task of the fetcher ended where none should.
    #[error("a part of the fetcher has failed: {0}")]
    Task(String),
}
