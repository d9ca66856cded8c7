//! The embedded ClickHouse, seen from the process that wants one: a child process is started, watched, started again
//! when it dies, and ended with this process.
//!
//! One thread of its own starts the child and waits for it: the system ties the child's life to the *thread* that
//! started it, so it must be one that lives as long as the store is wanted. State goes out through a watch channel;
//! only `start` ever fails, later deaths are restarts with a growing, bounded pause.

mod answer;
mod args;
mod blocks;
mod body;
mod child;
mod confine;
mod http;
mod kill;
mod password;
mod pieces;
mod request;
mod run;
mod supervisor;

pub use args::{ArgsError, ChildArgs, EmbeddedLimits};
pub use child::{ChildError, serve_child};
pub use password::PASSWORD_FILE;

use crate::library::{LibraryError, locate_library};
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use supervisor::Supervisor;
use tokio::sync::watch;

/// How the embedded store is started.
#[derive(Debug, Clone)]
pub struct EmbeddedConfig {
    /// The program to run as the child: usually this very program.
    pub program: PathBuf,
    /// What stands between the program and the child's own arguments: the hidden subcommand that calls
    /// [`serve_child`] with [`ChildArgs::parse`] of the rest.
    pub program_args: Vec<OsString>,
    /// The store's folder; made if missing. One process at a time.
    pub data_dir: PathBuf,
    /// Where to listen, loopback only; port 0 lets the system choose, once.
    pub listen: SocketAddr,
    /// The engine's library, if not found by the usual rule.
    pub library: Option<PathBuf>,
    /// What it may use.
    pub limits: EmbeddedLimits,
    /// How long the first start may take.
    pub start_deadline: Duration,
}

impl EmbeddedConfig {
    /// The usual settings: this program with one hidden subcommand, 127.0.0.1:8123.
    pub fn new(program: PathBuf, program_args: Vec<OsString>, data_dir: PathBuf) -> Self {
        Self {
            program,
            program_args,
            data_dir,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8123)),
            library: None,
            limits: EmbeddedLimits::default(),
            start_deadline: Duration::from_secs(60),
        }
    }
}

/// What the embedded store is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreState {
    /// The first start is under way.
    Starting,
    /// It serves.
    Running {
        /// Where.
        address: SocketAddr,
        /// The child's process id.
        pid: u32,
    },
    /// It died, or could not start again; the next attempt follows.
    Restarting {
        /// Why, in a sentence.
        reason: String,
    },
    /// It was stopped, or its first start failed.
    Stopped {
        /// Why, in a sentence.
        reason: String,
    },
}

/// Why the store did not start. Each message is one sentence with a remedy.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The library is missing.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// The folder's password could not be read or made.
    #[error("the store's folder {path} cannot be used: {source}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The child said why it cannot run, or ended without a word.
    #[error("{0}")]
    Child(String),
    /// The child did not answer in time.
    #[error("the embedded ClickHouse did not answer within {0:?}: is the machine overloaded or the disk stalled?")]
    Deadline(Duration),
}

/// A name and a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user.
    pub user: String,
    /// The password; never logged.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // SEC-1: secrets never reach logs.
        formatter.debug_struct("Credentials").field("user", &self.user).field("password", &"***").finish()
    }
}

/// A running embedded ClickHouse. Dropping it ends the child soon after; [`EmbeddedClickHouse::stop`] waits for that.
#[derive(Debug)]
pub struct EmbeddedClickHouse {
    supervisor: Supervisor,
    address: SocketAddr,
    writer: Credentials,
}

impl EmbeddedClickHouse {
    /// Starts the child and returns when it answers, or says in a sentence why it cannot.
    pub async fn start(config: EmbeddedConfig) -> Result<Self, StartError> {
        let library = locate_library(config.library.as_deref())?;
        let data_dir = config.data_dir.clone();
        let made = tokio::task::spawn_blocking(move || password::load_or_create(&data_dir)).await;
        let password = made
            .unwrap_or_else(|error| Err(std::io::Error::other(error)))
            .map_err(|source| StartError::Folder { path: config.data_dir.clone(), source: plain_disk_error(source) })?;
        let deadline = config.start_deadline;
        let supervisor = Supervisor::start(EmbeddedConfig { library: Some(library), ..config })
            .map_err(|error| StartError::Child(format!("the store's thread cannot start: {error}")))?;
        let mut states = supervisor.states();
        let first = states.wait_for(|state| !matches!(state, StoreState::Starting));
        let address = match tokio::time::timeout(deadline, first).await {
            Ok(Ok(state)) => match &*state {
                StoreState::Running { address, .. } => *address,
                StoreState::Restarting { reason } | StoreState::Stopped { reason } => {
                    return Err(StartError::Child(reason.clone()));
                }
                StoreState::Starting => return Err(StartError::Deadline(deadline)),
            },
            Ok(Err(_)) => return Err(StartError::Child("the store's thread ended without a word".to_owned())),
            Err(_) => return Err(StartError::Deadline(deadline)),
        };
        let writer = Credentials { user: request::WRITER.to_owned(), password };
        Ok(Self { supervisor, address, writer })
    }

    /// Where it answers, as a URL. It stays the same over restarts.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The user that may write to the database `waybill`.
    pub fn writer(&self) -> Credentials {
        self.writer.clone()
    }

    /// The user that may only read.
    pub fn reader(&self) -> Credentials {
        Credentials { user: "default".to_owned(), password: String::new() }
    }

    /// What it is doing, now and from now on.
    pub fn states(&self) -> watch::Receiver<StoreState> {
        self.supervisor.states()
    }

    /// Ends the child: statements under way get until `deadline`, then it is killed. Returns when it is gone.
    pub async fn stop(self, deadline: Duration) {
        self.supervisor.stop(deadline).await;
    }
}

fn plain_disk_error(error: std::io::Error) -> std::io::Error {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            std::io::Error::new(error.kind(), "the disk is full: free some space and start again")
        }
        _ => error,
    }
}
