//! The API's part of the configuration.

use std::{net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

/// Where and to whom the API answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApiConfig {
    /// Where it listens. Beyond loopback a keys file is required (SEC-1).
    pub listen: SocketAddr,
    /// Keys that are accepted as `Authorization: Bearer`: a line each, `name token`; tokens of 24 characters or more.
    pub keys_file: Option<PathBuf>,
    /// Requests that are worked on at once; more wait.
    pub concurrency: usize,
    /// Orders that the store has not shown yet and that are remembered.
    pub pending_limit: usize,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            keys_file: None,
            concurrency: 64,
            pending_limit: 200_000,
        }
    }
}
