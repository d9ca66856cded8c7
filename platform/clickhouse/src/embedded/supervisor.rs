//! The thread that starts the child, waits for its end and starts it again.

use super::args::ChildArgs;
use super::child::Handshake;
use super::{EmbeddedConfig, StoreState};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// The pause before the first restart; doubled after each failure up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A child that lived this long was well; the pause starts small again.
const WELL: Duration = Duration::from_secs(60);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// What the child may know of the environment.
const INHERITED: &[&str] =
    &["HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "RUST_BACKTRACE", "RUST_LOG", "TMPDIR", "TZ"];

/// Owns the thread.
#[derive(Debug)]
pub(super) struct Supervisor {
    control: Arc<Control>,
    states: watch::Receiver<StoreState>,
}

/// What the thread and its owner share.
#[derive(Debug, Default)]
struct Control {
    wanted: Mutex<Wanted>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Wanted {
    stopping: bool,
    /// The child's life line: dropping it asks the child to end.
    life_line: Option<ChildStdin>,
    /// The child's id for as long as it is certain not to be reused.
    pid: Option<u32>,
}

impl Control {
    fn lock(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask_to_stop(&self) {
        let mut wanted = self.lock();
        wanted.stopping = true;
        wanted.life_line = None;
        self.changed.notify_all();
    }

    fn kill(&self) {
        let wanted = self.lock();
        // Under the lock the child is not yet reaped, so the id is still its own; its group is named after it.
        if let Some(pid) = wanted.pid.and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        }
    }

    /// Waits out a pause, or returns early when stopping.
    fn pause(&self, length: Duration) {
        let wanted = self.lock();
        let _ = self.changed.wait_timeout_while(wanted, length, |wanted| !wanted.stopping);
    }

    fn stopping(&self) -> bool {
        self.lock().stopping
    }
}

impl Supervisor {
    pub(super) fn start(config: EmbeddedConfig) -> io::Result<Self> {
        let control = Arc::new(Control::default());
        let (sender, states) = watch::channel(StoreState::Starting);
        let shared = Arc::clone(&control);
        std::thread::Builder::new()
            .name("store-supervisor".to_owned())
            .spawn(move || supervise(config, &shared, &sender))?;
        Ok(Self { control, states })
    }

    pub(super) fn states(&self) -> watch::Receiver<StoreState> {
        self.states.clone()
    }

    pub(super) async fn stop(self, deadline: Duration) {
        self.control.ask_to_stop();
        let mut states = self.states.clone();
        let stopped = |state: &StoreState| matches!(state, StoreState::Stopped { .. });
        if tokio::time::timeout(deadline, states.wait_for(stopped)).await.is_err() {
            tracing::warn!("store.killed_after_deadline");
            self.control.kill();
            // SIGKILL cannot be refused; the bound is for a disk that holds the process in the kernel.
            let _ = tokio::time::timeout(Duration::from_secs(10), states.wait_for(stopped)).await;
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.control.ask_to_stop();
    }
}

fn supervise(mut config: EmbeddedConfig, control: &Control, states: &watch::Sender<StoreState>) {
    let mut pause = FIRST_PAUSE;
    let mut served_once = false;
    loop {
        let begun = Instant::now();
        let reason = match run_once(&mut config, control, states) {
            Ok(reason) => {
                served_once = true;
                reason
            }
            Err(reason) => reason,
        };
        if control.stopping() || !served_once {
            states.send_replace(StoreState::Stopped { reason });
            return;
        }
        tracing::warn!(reason = %reason, pause_ms = pause.as_millis(), "store.restarting");
        states.send_replace(StoreState::Restarting { reason });
        pause = if begun.elapsed() >= WELL { FIRST_PAUSE } else { pause };
        control.pause(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
        if control.stopping() {
            states.send_replace(StoreState::Stopped { reason: "the store was stopped".to_owned() });
            return;
        }
    }
}

/// Runs one child to its end. `Ok` if it served, `Err` if it never did; either way with the reason of the end.
fn run_once(
    config: &mut EmbeddedConfig,
    control: &Control,
    states: &watch::Sender<StoreState>,
) -> Result<String, String> {
    let mut child = spawn(config).map_err(|error| {
        format!("the store's child process {} cannot be started: {error}", config.program.display())
    })?;
    let stdout = child.stdout.take();
    {
        let mut wanted = control.lock();
        wanted.pid = Some(child.id());
        // Asked to stop in between: the life line is dropped at once and the child ends by itself.
        wanted.life_line = child.stdin.take().filter(|_| !wanted.stopping);
    }
    let served = stdout.ok_or_else(|| "the store's child process has no output".to_owned()).and_then(|stdout| {
        let mut stdout = BufReader::new(stdout);
        let address = handshake(&mut stdout)?;
        ping(address)?;
        // Restarts keep the port that was chosen first: clients have it.
        config.listen = address;
        tracing::info!(%address, pid = child.id(), "store.running");
        states.send_replace(StoreState::Running { address, pid: child.id() });
        // The child says nothing more; its output ends when it does.
        let _ = io::copy(&mut stdout, &mut io::sink());
        Ok(())
    });
    let status = reap(&mut child, control);
    match served {
        Ok(()) => Ok(format!("the store's child process ended ({status})")),
        Err(reason) => Err(reason),
    }
}

fn spawn(config: &EmbeddedConfig) -> io::Result<Child> {
    let args = ChildArgs {
        data_dir: config.data_dir.clone(),
        listen: config.listen,
        library: config.library.clone(),
        limits: config.limits.clone(),
    };
    let mut command = Command::new(&config.program);
    command
        .args(&config.program_args)
        .args(args.to_args())
        // SEC-1: carriers' secrets stand in this process's environment; the engine gets none of it.
        .env_clear()
        .envs(INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    // A group of its own: the engine's shutdown statement signals its whole group, and a keyboard's interrupt is
    // for the parent, which stops the child in its own time.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command.spawn()
}

fn handshake(stdout: &mut BufReader<ChildStdout>) -> Result<SocketAddr, String> {
    const SILENT: &str = "the store's child process ended without a word";
    let mut line = String::new();
    let read = stdout.by_ref().take(64 << 10).read_line(&mut line).map_err(|error| format!("{SILENT}: {error}"))?;
    if read == 0 {
        return Err(SILENT.to_owned());
    }
    match serde_json::from_str(&line) {
        Ok(Handshake::Ready(address)) => Ok(address),
        Ok(Handshake::Error(reason)) => Err(reason),
        Err(_) => Err(format!("the store's child process said something unexpected: {}", line.trim())),
    }
}

fn ping(address: SocketAddr) -> Result<(), String> {
    let attempt = || -> io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&address, PING_TIMEOUT)?;
        stream.set_read_timeout(Some(PING_TIMEOUT))?;
        stream.set_write_timeout(Some(PING_TIMEOUT))?;
        stream.write_all(b"GET /ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        #[allow(clippy::disallowed_methods, reason = "capped by take")]
        stream.take(4096).read_to_string(&mut answer)?;
        Ok(answer.ends_with("Ok.\n"))
    };
    match attempt() {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("something other than the store answers on {address}")),
        Err(error) => Err(format!("the store does not answer on {address}: {error}")),
    }
}

fn reap(child: &mut Child, control: &Control) -> String {
    {
        let mut wanted = control.lock();
        wanted.pid = None;
        wanted.life_line = None;
    }
    // Its output has ended; a child that closed it and lives on would be no store any more.
    if !matches!(child.try_wait(), Ok(Some(_))) {
        std::thread::sleep(Duration::from_millis(50));
        if !matches!(child.try_wait(), Ok(Some(_))) {
            let _ = child.kill();
        }
    }
    child.wait().map_or_else(|error| error.to_string(), |status| status.to_string())
}
