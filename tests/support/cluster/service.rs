//! One process of a service: started, stopped, killed, frozen, replaced.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};
use waybill_log::kafka::testing::free_port;

use crate::{
    chart::Pod,
    support::{PATIENCE, PROGRAM},
};

/// One process of a service.
pub struct Service {
    /// `scheduler`, `fetcher`, …
    pub role: String,
    /// Which of its kind.
    pub ordinal: u32,
    /// Its admin listener.
    pub admin: SocketAddr,
    /// Its HTTP interface, of the API.
    pub api: SocketAddr,
    pod: Pod,
    folder: PathBuf,
    child: Option<Child>,
    runs: u32,
}

/// An address of this machine's own that nobody listens on.
pub(super) fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("a child can be signalled");
}

impl Service {
    /// A service that does not run yet; what it writes goes into `folder`.
    pub(super) fn new(role: &str, ordinal: u32, pod: &Pod, folder: PathBuf) -> Self {
        let (admin, api) = (free_address(), free_address());
        Self { role: role.to_owned(), ordinal, admin, api, pod: pod.clone(), folder, child: None, runs: 0 }
    }

    /// Whether it was started and neither stopped nor killed since.
    pub fn runs(&self) -> bool {
        self.child.is_some()
    }

    /// Starts a process of it.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(&mut self) {
        let admin = self.admin.to_string();
        let api = self.api.to_string();
        let mut own = vec![("WAYBILL__ADMIN__LISTEN", admin.as_str())];
        if self.role == "api" {
            own.push(("WAYBILL__API__LISTEN", api.as_str()));
        }
        let unknown = |kind: &str, name: &str, key: &str| panic!("{kind} {name} {key} is not the chart's own");
        let process = self.pod.process(&self.folder, self.ordinal, &unknown, &own);
        let log = File::create(self.log_path(self.runs)).expect("a log file");
        self.runs += 1;
        let mut command = process.command(PROGRAM);
        command.stdin(Stdio::null()).stdout(Stdio::from(log.try_clone().expect("shared"))).stderr(Stdio::from(log));
        self.child = Some(command.spawn().expect("the program starts"));
    }

    fn log_path(&self, run: u32) -> PathBuf {
        self.folder.join(format!("{}-{}.{run}.log", self.role, self.ordinal))
    }

    /// What all its runs have written.
    pub fn log(&self) -> String {
        (0..self.runs).map(|run| fs::read_to_string(self.log_path(run)).unwrap_or_default()).collect()
    }

    /// Its name in messages.
    pub fn name(&self) -> String {
        format!("{}-{}", self.role, self.ordinal)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// SIGKILL, and a new process in its place at once, as Kubernetes does with a StatefulSet's pod.
    pub fn kill_and_restart(&mut self) {
        self.kill();
        self.start();
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("a child can be killed");
            child.wait().expect("a child can be waited for");
        }
    }

    /// SIGSTOP: it does nothing, and nobody is told.
    pub fn freeze(&self) {
        signal(self.child.as_ref().expect("it runs"), Signal::STOP);
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        signal(self.child.as_ref().expect("it runs"), Signal::CONT);
    }

    /// Hands its process to the caller and starts a successor of the same name.
    pub fn replace(&mut self) -> Child {
        let old = self.child.take().expect("it runs");
        self.admin = free_address();
        if self.role == "api" {
            self.api = free_address();
        }
        self.start();
        old
    }

    /// SIGTERM; how it ended, and after what time.
    pub async fn stop(&mut self) -> (ExitStatus, Duration) {
        self.terminate();
        self.stopped().await
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        signal(self.child.as_ref().expect("it runs"), Signal::TERM);
    }

    /// Waits until it has ended; how it did, and how long that took.
    pub async fn stopped(&mut self) -> (ExitStatus, Duration) {
        let began = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                self.child = None;
                return (status, began.elapsed());
            }
            assert!(began.elapsed() < PATIENCE, "{} does not end:\n{}", self.name(), tail(&self.log()));
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut()?.try_wait().expect("a child can be asked")
    }

    /// What it says of itself.
    pub async fn why_not_ready(&self, http: &reqwest::Client) -> String {
        match http.get(format!("http://{}/health/ready", self.admin)).send().await {
            Ok(answer) => answer.text().await.unwrap_or_default(),
            Err(error) => error.to_string(),
        }
    }

    /// Whether it says that it is ready.
    pub async fn ready(&self, http: &reqwest::Client) -> bool {
        let asked = http.get(format!("http://{}/health/ready", self.admin)).send().await;
        asked.is_ok_and(|answer| answer.status().is_success())
    }
}

/// What a process has used so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Used {
    /// CPU time, in seconds.
    pub cpu_s: f64,
    /// Most memory resident at any time, in MiB.
    pub peak_mib: u64,
}

impl Used {
    /// Of a process of this machine, by its id.
    pub fn of(pid: u32) -> Self {
        let cpu_s = cpu_s(&fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default());
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok());
        Self { cpu_s, peak_mib: peak.unwrap_or(0_u64) / 1024 }
    }
}

/// CPU time that a line of `/proc/…/stat` tells.
fn cpu_s(line: &str) -> f64 {
    // Behind the name, which may hold spaces: state is field 3, utime 14, stime 15, in hundredths of a second.
    let fields: Vec<&str> = line.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).unwrap_or_default();
    (ticks(11) + ticks(12)) / 100.0
}

/// Where a process's CPU time went: what its living threads have used, by their names, the busiest first. Tells what is
/// librdkafka's (`rdk:…`), what the services' own.
pub fn by_thread(pid: u32) -> String {
    let mut used: BTreeMap<String, f64> = BTreeMap::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let read = |what: &str| fs::read_to_string(thread.path().join(what)).unwrap_or_default();
        let name = read("comm");
        // Those of a kind are numbered.
        let name = name.trim().trim_end_matches(|digit: char| digit.is_ascii_digit()).to_owned();
        *used.entry(name).or_default() += cpu_s(&read("stat"));
    }
    let mut used: Vec<(String, f64)> = used.into_iter().collect();
    used.sort_by(|one, other| other.1.total_cmp(&one.1));
    let said: Vec<String> = used.iter().take(5).map(|(name, cpu_s)| format!("{name} {cpu_s:.1} s")).collect();
    said.join(", ")
}

impl Drop for Service {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The end of a log.
pub fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}
