//! The API's part of the configuration.

use std::{net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

/// The most that `max_connections` may be: far beyond what a process may usually open.
const MOST_CONNECTIONS: usize = 100_000;

/// Where and to whom the API answers, and how many at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApiConfig {
    /// Where it listens. Beyond loopback a keys file is required (SEC-1).
    pub listen: SocketAddr,
    /// Keys that are accepted as `Authorization: Bearer`: a line each, `name token`; tokens of 24 characters or more.
    pub keys_file: Option<PathBuf>,
    /// Connections that are open at once, a file descriptor each; more wait until one ends.
    pub max_connections: usize,
    /// Streams of server-sent events that are open at once, less than `max_connections`; more are answered 503.
    pub max_streams: usize,
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
            // Every stream, and as many calls again.
            max_connections: 512,
            max_streams: 256,
            concurrency: 64,
            pending_limit: 200_000,
        }
    }
}

/// A setting is out of range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(&'static str);

impl ApiConfig {
    /// Checks the figures.
    ///
    /// # Errors
    /// [`ConfigError`] names the first figure that is out of range.
    pub fn check(&self) -> Result<(), ConfigError> {
        if !(2..=MOST_CONNECTIONS).contains(&self.max_connections) {
            return Err(ConfigError("api.max_connections must be from 2 to 100000"));
        }
        if !(1..self.max_connections).contains(&self.max_streams) {
            return Err(ConfigError(
                "api.max_streams must be at least 1 and less than api.max_connections: a stream holds its connection, \
                 and calls need some too",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_never_take_every_connection() {
        assert_eq!(ApiConfig::default().check(), Ok(()));
        let said = |max_connections, max_streams| {
            let config = ApiConfig { max_connections, max_streams, ..ApiConfig::default() };
            config.check().map_err(|error| error.to_string())
        };
        for (connections, streams) in [(2, 1), (MOST_CONNECTIONS, MOST_CONNECTIONS - 1)] {
            assert_eq!(said(connections, streams), Ok(()));
        }
        for (connections, streams, key) in [
            (1, 1, "api.max_connections"),
            (MOST_CONNECTIONS + 1, 1, "api.max_connections must be from 2 to 100000"),
            (512, 512, "api.max_streams"),
            (512, 0, "api.max_streams"),
        ] {
            let refused = said(connections, streams).err().unwrap_or_default();
            assert!(refused.starts_with(key), "{connections} and {streams}: {refused:?}");
        }
    }
}
