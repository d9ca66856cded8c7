//! The child process: ClickHouse's engine behind its HTTP interface.
//!
//! It lives in a process of its own so that the engine's memory, threads and possible faults are not the pipeline's.
//! Its standard input is its life line: when that ends, the child ends. On standard output it says one line of JSON,
//! `{"ready": ADDRESS}` or `{"error": SENTENCE}`, and nothing after it.
//!
//! Order of the start: listener (a busy port is told at once) · folder and lock · password · room on the disk ·
//! the kernel's confinement · library · engine · the `default` database replaced · the gate's names read from the engine · requests.

use super::args::ChildArgs;
use super::body::BodyLimits;
use super::confine::confine;
use super::http::{App, router};
use super::kill::Killer;
use super::password;
use super::run::{Shared, StatementLimits};
use crate::engine::{Connection, Engine, EngineError};
use crate::gate::Gate;
use crate::library::{LibraryError, locate_library};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use waybill_runtime::serve::{self, Limits};

/// How long a new child waits for the folder's lock: the one before it may still be closing.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
/// How long statements under way may still run when the child ends.
const DRAIN: Duration = Duration::from_secs(4);
/// Most bytes of a result that cannot be streamed.
const MAX_COLLECTED: u64 = 256 << 20;
const SEND_TIMEOUT: Duration = Duration::from_secs(60);
/// Most connections at once: the pools of a few processes and people's tools. Statements are bounded by `concurrency`.
const MAX_CONNECTIONS: usize = 256;

/// Why the embedded store cannot run. Each message is one sentence with a remedy.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// The store would be reachable from other machines.
    #[error("the embedded ClickHouse listens on loopback only, not on {0}: use 127.0.0.1")]
    NotLoopback(SocketAddr),
    /// The port is taken.
    #[error(
        "the store cannot listen on {address}: {source} (is another waybill or ClickHouse running? choose another port with clickhouse.listen)"
    )]
    Listen {
        /// Where it wanted to listen.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The folder cannot be used.
    #[error("the store's folder {path} cannot be used: {reason}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// Another process has the folder.
    #[error(
        "the store's folder {0} is in use by another process: stop that one first, or choose another data directory"
    )]
    Locked(PathBuf),
    /// The library is not there.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// The library is not what it should be.
    #[error(
        "the ClickHouse library {path} cannot be loaded: {reason} (fetch it again with `make setup` or `scripts/fetch-chdb.sh`)"
    )]
    Load {
        /// The library.
        path: PathBuf,
        /// What the loader said.
        reason: String,
    },
    /// The engine did not come up.
    #[error("the embedded ClickHouse did not open {path}: {reason}")]
    Engine {
        /// Its folder.
        path: PathBuf,
        /// What it said.
        reason: String,
    },
    /// The system refused something ordinary.
    #[error("the store's child process cannot run: {0}")]
    System(#[from] io::Error),
    /// It ran, and its listener failed.
    #[error("the store's child process can serve no longer: {0}")]
    Served(#[source] io::Error),
}

/// What the child says to its parent, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Handshake {
    /// It serves at this address.
    Ready(SocketAddr),
    /// It cannot, for this reason.
    Error(String),
}

/// Runs the embedded store until standard input ends or a SIGTERM comes. Call it before starting a runtime: it brings
/// its own. An error has already been told to the parent, which says it to people ([`ChildError::Served`] alone comes when it
/// no longer listens); the caller ends the process with a non-zero code.
pub fn serve_child(args: &ChildArgs) -> Result<(), ChildError> {
    let outcome = serve(args);
    if let Err(error) = &outcome {
        say(&Handshake::Error(error.to_string()));
    }
    outcome
}

/// The parent may be gone already; then there is nobody to tell and the life line has ended too.
fn say(handshake: &Handshake) {
    if let Ok(line) = serde_json::to_string(handshake) {
        let mut out = io::stdout().lock();
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }
}

fn serve(args: &ChildArgs) -> Result<(), ChildError> {
    // Should the parent die before it could close the life line, the system ends the child. Nothing acknowledged is
    // lost by it, and a successor finds the folder free at once.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    // SEC-1: the reading user has no password, so this listener never leaves the machine.
    if !args.listen.ip().is_loopback() {
        return Err(ChildError::NotLoopback(args.listen));
    }
    let listener = std::net::TcpListener::bind(args.listen)
        .map_err(|source| ChildError::Listen { address: args.listen, source })?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let folder = |error: io::Error| folder_error(&args.data_dir, &error);
    fs::create_dir_all(&args.data_dir).map_err(folder)?;
    let _lock = lock(&args.data_dir)?;
    let password = password::load_or_create(&args.data_dir).map_err(folder)?;
    check_room(&args.data_dir).map_err(folder)?;
    let library = locate_library(args.library.as_deref())?;
    // From here on this process sees the engine's folder and little else, whatever a statement may find a way to ask for.
    let own = engine_folder(args);
    fs::create_dir_all(&own).map_err(folder)?;
    if !confine(&own, &library) {
        tracing::warn!("store.not_confined_by_kernel");
    }
    let engine = Engine::load(&library)
        .map_err(|error| ChildError::Load { path: library.clone(), reason: error.to_string() })?;
    let keeper = open_engine(&engine, args)?;
    let facts = read_facts(&keeper).map_err(|error| engine_error(args, &error.message))?;
    let path = path_argument(args);
    let reserved = engine
        .connect(&[path.clone(), "--max_threads=1".to_owned()])
        .ok_or_else(|| engine_error(args, "it opens no second connection"))?;
    let (killer, kill_thread) = Killer::start(reserved)?;
    let limits = &args.limits;
    let app = Arc::new(App {
        shared: Arc::new(Shared {
            engine: engine.clone(),
            path,
            gate: Gate::new(facts.table_functions.iter().map(String::as_str)),
            limits: StatementLimits {
                max_threads: limits.max_threads,
                max_execution_seconds: limits.max_execution_seconds,
                max_query_memory_bytes: limits.max_query_memory_bytes,
                max_collected_bytes: MAX_COLLECTED,
                send_timeout: SEND_TIMEOUT,
            },
        }),
        killer,
        places: Arc::new(Semaphore::new(usize::try_from(limits.concurrency).unwrap_or(1).max(1))),
        queue_limit: Duration::from_secs(limits.queue_seconds),
        overall: Duration::from_secs(limits.max_execution_seconds.saturating_mul(5)),
        body_limits: BodyLimits {
            max_bytes: limits.max_body_bytes,
            idle: Duration::from_secs(limits.body_idle_seconds),
        },
        password,
        timezone: facts.timezone,
        instance: format!("waybill{}x{}", std::process::id(), facts.boot),
        counter: AtomicU64::new(0),
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let served = runtime.block_on(serve_http(listener, Arc::clone(&app), address));
    // Statements still running are stopped by dropping what waits for them; their threads get a moment to end.
    drop(app);
    runtime.shutdown_timeout(DRAIN);
    let _ = kill_thread.join();
    drop(keeper);
    engine.shutdown();
    served.map_err(ChildError::Served)
}

async fn serve_http(listener: std::net::TcpListener, app: Arc<App>, address: SocketAddr) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let stop = Arc::new(Notify::new());
    watch_life_line(Arc::clone(&stop))?;
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    // An interrupt from the keyboard is the parent's to answer: it will close the life line in its own time.
    let mut _interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    let stopping = CancellationToken::new();
    let serving = serve::serve(listener, router(app), Limits::of(MAX_CONNECTIONS), stopping.clone());
    say(&Handshake::Ready(address));
    let bound = async {
        tokio::select! {
            () = stop.notified() => {}
            _ = terminate.recv() => {}
        }
        stopping.cancel();
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        () = serving => {}
        () = bound => {}
    }
    Ok(())
}

/// A thread that waits for standard input's end.
fn watch_life_line(stop: Arc<Notify>) -> io::Result<()> {
    std::thread::Builder::new().name("store-life-line".to_owned()).spawn(move || {
        let mut byte = [0_u8; 64];
        while !matches!(io::stdin().lock().read(&mut byte), Ok(0) | Err(_)) {}
        stop.notify_one();
    })?;
    Ok(())
}

/// Takes the folder's lock; the system frees it when this process ends, however it ends.
fn lock(data_dir: &Path) -> Result<File, ChildError> {
    let path = data_dir.join("store.lock");
    let file = File::options().create(true).append(true).open(&path).map_err(|error| folder_error(data_dir, &error))?;
    let begun = Instant::now();
    loop {
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(_) if begun.elapsed() < LOCK_PATIENCE => std::thread::sleep(Duration::from_millis(50)),
            Err(_) => return Err(ChildError::Locked(data_dir.to_path_buf())),
        }
    }
}

/// The engine's own words about a full disk come late and in a stack trace; a small write finds it out first.
fn check_room(data_dir: &Path) -> io::Result<()> {
    let path = data_dir.join("store.room");
    let written = File::create(&path).and_then(|mut file| {
        file.write_all(&[0_u8; 256 << 10])?;
        file.sync_all()
    });
    let _ = fs::remove_file(&path);
    written
}

fn folder_error(path: &Path, error: &io::Error) -> ChildError {
    let reason = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "the disk is full: free some space and start again".to_owned()
        }
        io::ErrorKind::PermissionDenied => "permission denied: give this user the folder or choose another".to_owned(),
        _ => error.to_string(),
    };
    ChildError::Folder { path: path.to_path_buf(), reason }
}

fn engine_error(args: &ChildArgs, reason: &str) -> ChildError {
    ChildError::Engine { path: args.data_dir.clone(), reason: reason.to_owned() }
}

/// The engine's folder: below the store's own, so that the password beside it stays outside the engine's reach.
fn engine_folder(args: &ChildArgs) -> PathBuf {
    args.data_dir.join("clickhouse")
}

/// Every connection must name the path of the first one.
fn path_argument(args: &ChildArgs) -> String {
    format!("--path={}", engine_folder(args).display())
}

/// Boots the engine. This connection is kept for as long as the child lives: the last one closed would stop it.
fn open_engine(engine: &Engine, args: &ChildArgs) -> Result<Connection, ChildError> {
    let limits = &args.limits;
    engine
        .connect(&[
            path_argument(args),
            format!("--max_server_memory_usage={}", limits.max_server_memory_bytes),
            format!("--mark_cache_size={}", limits.mark_cache_bytes),
            "--implicit_select=0".to_owned(),
            "--max_threads=1".to_owned(),
        ])
        .ok_or_else(|| {
            engine_error(args, "the engine gave no reason (is the folder damaged, or made by a newer version?)")
        })
}

/// What the endpoint needs to know of the engine it serves.
struct Facts {
    timezone: String,
    boot: String,
    table_functions: Vec<String>,
}

/// Closes the engine's own way to the host's files, then asks what the gate must know.
fn read_facts(keeper: &Connection) -> Result<Facts, EngineError> {
    let text = |sql: &str| {
        let block = keeper.query(sql, "TabSeparated", &[])?;
        Ok::<String, EngineError>(String::from_utf8_lossy(block.bytes()).trim().to_owned())
    };
    // The library's `default` database resolves unknown tables to files of the host (`SELECT * FROM '/etc/passwd'`).
    // It is not kept on disk: each start brings it back and each start replaces it by an empty one.
    text("DROP DATABASE IF EXISTS default")?;
    text("CREATE DATABASE default ENGINE = Memory")?;
    let leaks = text("SELECT count() FROM system.databases WHERE engine NOT IN ('Memory', 'Atomic')")?;
    if leaks != "0" {
        let message = "a database of this folder reaches outside it and is not served".to_owned();
        return Err(EngineError { code: 0, message });
    }
    let table_functions: Vec<String> =
        text("SELECT name FROM system.table_functions")?.lines().map(str::to_owned).collect();
    if table_functions.len() < 10 {
        return Err(EngineError { code: 0, message: "the engine does not list its table functions".to_owned() });
    }
    Ok(Facts { timezone: text("SELECT timezone()")?, boot: text("SELECT hex(rand())")?, table_functions })
}
