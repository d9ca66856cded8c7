//! The child's command line: written by the parent, read by the hidden subcommand, so both ends stand here.

use std::ffi::{OsStr, OsString};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// What the embedded store may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddedLimits {
    /// Most memory of the engine as a whole, in bytes.
    pub max_server_memory_bytes: u64,
    /// Most memory of one statement, in bytes.
    pub max_query_memory_bytes: u64,
    /// The engine's cache of index marks, in bytes.
    pub mark_cache_bytes: u64,
    /// Threads of one statement.
    pub max_threads: u32,
    /// Statements that run at once.
    pub concurrency: u32,
    /// How long a statement may wait for its turn, in seconds; 503 afterwards.
    pub queue_seconds: u64,
    /// How long a statement may run, in seconds.
    pub max_execution_seconds: u64,
    /// Longest pause within a request's body, in seconds.
    pub body_idle_seconds: u64,
    /// Most bytes of one insert's data, unpacked.
    pub max_body_bytes: u64,
}

impl Default for EmbeddedLimits {
    fn default() -> Self {
        Self {
            max_server_memory_bytes: 2 << 30,
            max_query_memory_bytes: 1 << 30,
            mark_cache_bytes: 128 << 20,
            max_threads: 2,
            concurrency: 6,
            queue_seconds: 15,
            max_execution_seconds: 60,
            body_idle_seconds: 60,
            max_body_bytes: 4 << 30,
        }
    }
}

impl EmbeddedLimits {
    /// Name and value of every limit, for the command line.
    fn fields(&mut self) -> [(&'static str, &mut u64); 7] {
        [
            ("--max-server-memory-bytes", &mut self.max_server_memory_bytes),
            ("--max-query-memory-bytes", &mut self.max_query_memory_bytes),
            ("--mark-cache-bytes", &mut self.mark_cache_bytes),
            ("--queue-seconds", &mut self.queue_seconds),
            ("--max-execution-seconds", &mut self.max_execution_seconds),
            ("--body-idle-seconds", &mut self.body_idle_seconds),
            ("--max-body-bytes", &mut self.max_body_bytes),
        ]
    }

    fn small_fields(&mut self) -> [(&'static str, &mut u32); 2] {
        [("--max-threads", &mut self.max_threads), ("--concurrency", &mut self.concurrency)]
    }
}

/// The child's arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildArgs {
    /// The store's folder.
    pub data_dir: PathBuf,
    /// Where to listen; loopback only.
    pub listen: SocketAddr,
    /// The engine's library; found by the usual rule when absent.
    pub library: Option<PathBuf>,
    /// What it may use.
    pub limits: EmbeddedLimits,
}

/// Why the child's command line cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgsError {
    /// An argument nobody knows.
    #[error("the store's child process does not know the argument {0:?}")]
    Unknown(OsString),
    /// An argument without a usable value.
    #[error("the store's child process needs a usable value after {0}")]
    Value(String),
    /// No data directory was named.
    #[error("the store's child process needs --data-dir")]
    NoDataDirectory,
}

impl ChildArgs {
    /// The arguments as a command line, without the program and its subcommand.
    pub fn to_args(&self) -> Vec<OsString> {
        let mut all: Vec<OsString> =
            vec!["--data-dir".into(), self.data_dir.clone().into(), "--listen".into(), self.listen.to_string().into()];
        if let Some(library) = &self.library {
            all.extend(["--library".into(), library.clone().into_os_string()]);
        }
        let mut limits = self.limits.clone();
        for (name, value) in limits.fields() {
            all.extend([name.into(), value.to_string().into()]);
        }
        for (name, value) in limits.small_fields() {
            all.extend([name.into(), value.to_string().into()]);
        }
        all
    }

    /// Reads a command line written by [`ChildArgs::to_args`].
    pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, ArgsError> {
        let mut data_dir = None;
        let mut listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut library = None;
        let mut limits = EmbeddedLimits::default();
        let mut args = args.into_iter();
        while let Some(name) = args.next() {
            let known = name.to_str().ok_or_else(|| ArgsError::Unknown(name.clone()))?;
            let value = args.next().ok_or_else(|| ArgsError::Value(known.to_owned()))?;
            match known {
                "--data-dir" => data_dir = Some(PathBuf::from(value)),
                "--library" => library = Some(PathBuf::from(value)),
                "--listen" => listen = number(known, &value)?,
                _ => {
                    if let Some((_, field)) = limits.fields().into_iter().find(|(field, _)| *field == known) {
                        *field = number(known, &value)?;
                    } else if let Some((_, field)) =
                        limits.small_fields().into_iter().find(|(field, _)| *field == known)
                    {
                        *field = number(known, &value)?;
                    } else {
                        return Err(ArgsError::Unknown(name));
                    }
                }
            }
        }
        Ok(Self { data_dir: data_dir.ok_or(ArgsError::NoDataDirectory)?, listen, library, limits })
    }
}

fn number<T: std::str::FromStr>(name: &str, value: &OsStr) -> Result<T, ArgsError> {
    value.to_str().and_then(|text| text.parse().ok()).ok_or_else(|| ArgsError::Value(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_says_all_and_unknown_words_are_errors() {
        let limits = EmbeddedLimits { max_threads: 3, concurrency: 5, max_body_bytes: 7, ..EmbeddedLimits::default() };
        let args = ChildArgs {
            data_dir: "/d".into(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8123)),
            library: Some("/l.so".into()),
            limits,
        };
        assert_eq!(ChildArgs::parse(args.to_args()), Ok(args));
        assert!(ChildArgs::parse(["--what".into(), "x".into()]).is_err());
        assert_eq!(ChildArgs::parse([]), Err(ArgsError::NoDataDirectory));
    }
}
