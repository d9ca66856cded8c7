//! Members in processes of their own: this test binary once more, told by an environment variable what to do.
//!
//! A child consumes one topic: it writes each record's value as a line to its output file, then commits. It tells of what
//! it owns on its standard output. SIGTERM makes it drain and leave.

use std::{
    fs::{File, OpenOptions},
    io::{BufRead as _, BufReader, Write as _},
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};
use waybill_log::{
    Commit, GroupEvent, GroupMember, JoinGroup, KafkaLog, KafkaOptions, Log as _, LogError, OutOfRange,
    kafka::{GroupProtocol, testing::signal_process},
};

const PLAN: &str = "WAYBILL_KAFKA_CHILD";
/// Longest time a child waits for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a child does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub brokers: String,
    pub protocol: GroupProtocol,
    pub topic: String,
    pub group: String,
    pub member: String,
    /// Where its output and its log are.
    pub dir: PathBuf,
    /// Most records between two commits.
    pub window: usize,
    /// How long the work on one delivery takes, in milliseconds.
    pub work_ms: u64,
}

impl Plan {
    /// One file for each life: what a kill cut off is the end of its file, and nothing is written behind it.
    fn output(&self) -> PathBuf {
        self.dir.join(format!("{}-{}.out", self.member, std::process::id()))
    }
    pub(crate) fn log(&self) -> PathBuf {
        self.dir.join(format!("{}.log", self.member))
    }
}

/// A child that runs.
pub(crate) struct Running {
    child: Child,
    /// Open as long as the child shall live.
    _stdin: ChildStdin,
    log: PathBuf,
    ready: bool,
    /// Lines it says: `+3` now owns partition 3, `-3` no longer.
    pub said: mpsc::Receiver<String>,
}

impl Running {
    pub(crate) fn start(plan: &Plan) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child::a_child", "--ignored", "--nocapture", "--test-threads=1"])
            .env(PLAN, serde_json::to_string(plan).unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(OpenOptions::new().create(true).append(true).open(plan.log()).unwrap())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (say, said) = mpsc::channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                // The harness writes its own words before the first.
                if let Some((_, text)) = line.split_once('@') {
                    let _ended = say.send(text.to_owned());
                }
            }
        });
        let stdin = child.stdin.take().unwrap();
        Self { child, _stdin: stdin, log: plan.log(), ready: false, said }
    }

    /// What it says next.
    pub(crate) fn hear(&mut self) -> String {
        let said =
            self.said.recv_timeout(PATIENCE * 2).unwrap_or_else(|error| panic!("{error}:\n{}", self.last_words()));
        self.ready |= said == "ready";
        said
    }

    /// The most memory it ever had, in KiB.
    pub(crate) fn peak_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Ends it without a word.
    pub(crate) fn kill(&mut self) {
        signal_process(self.child.id(), Signal::KILL);
        self.child.wait().unwrap();
    }

    /// Freezes it where it stands.
    pub(crate) fn freeze(&self) {
        signal_process(self.child.id(), Signal::STOP);
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        signal_process(self.child.id(), Signal::CONT);
    }

    /// Whether it has ended, and well.
    pub(crate) fn ended(&mut self) -> Option<bool> {
        self.child.try_wait().unwrap().map(|status| status.success())
    }

    /// Asks it to end; it must do so by itself, well.
    pub(crate) fn terminate(&mut self) {
        // Before it listens for the signal, the signal would simply kill it.
        while !self.ready {
            self.hear();
        }
        signal_process(self.child.id(), Signal::TERM);
        let status = self.child.wait().unwrap();
        assert!(status.success(), "a member that was asked to leave ended with {status}:\n{}", self.last_words());
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        log.lines().skip(log.lines().count().saturating_sub(30)).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "@{text}").unwrap();
    out.flush().unwrap();
}

/// Not a test: what a child process runs.
#[test]
#[ignore = "run only by other tests, as a process of its own"]
fn a_child() {
    let Ok(plan) = std::env::var(PLAN) else { return };
    let plan: Plan = serde_json::from_str(&plan).unwrap();
    // Nobody is left behind: a child ends when its parent's end of the pipe is closed, however that came.
    std::thread::spawn(|| {
        let _ended = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(3);
    });
    let log = OpenOptions::new().create(true).append(true).open(plan.log()).unwrap();
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::DEBUG)
        .with_writer(std::sync::Mutex::new(log))
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(consume(&plan));
    runtime.shutdown_timeout(Duration::from_secs(5));
}

async fn consume(plan: &Plan) {
    let mut terminated = signal(SignalKind::terminate()).unwrap();
    say("ready");
    let options = KafkaOptions {
        brokers: plan.brokers.clone(),
        client_id: plan.member.clone(),
        group_protocol: plan.protocol,
        ..KafkaOptions::default()
    };
    let log = KafkaLog::connect(options).await.unwrap();
    let join = JoinGroup {
        group: plan.group.clone(),
        topic: plan.topic.clone(),
        member: plan.member.clone(),
        out_of_range: OutOfRange::Fail,
        drain_budget: Duration::from_secs(5),
        max_batch: plan.window,
    };
    let mut member = log.join(join).await.unwrap();
    let mut output = OpenOptions::new().create(true).append(true).open(plan.output()).unwrap();
    loop {
        let event = tokio::select! {
            _ = terminated.recv() => break,
            event = member.next(Duration::from_millis(500)) => event,
        };
        match event {
            Ok(GroupEvent::Assigned(partitions)) => {
                for partition in partitions {
                    start(&mut *member, partition).await;
                }
            }
            Ok(GroupEvent::Revoked(partitions)) => {
                // Nothing is in flight here: every delivery is finished before the next event.
                for partition in &partitions {
                    say(&format!("-{partition}"));
                }
                member.release(&partitions);
            }
            Ok(GroupEvent::Records { partition, records }) => {
                work(&mut output, &records);
                tokio::time::sleep(Duration::from_millis(plan.work_ms)).await;
                let offset = records.last().map_or(0, |record| record.offset + 1);
                commit(&mut *member, Commit { partition, offset, metadata: String::new() }).await;
            }
            Ok(GroupEvent::Idle) => {}
            Err(error) => {
                tracing::warn!(%error, "child.next");
                assert!(error.class() == waybill_log::ErrorClass::Retry, "{error}");
            }
        }
    }
    member.leave().await;
}

async fn start(member: &mut dyn GroupMember, partition: u32) {
    loop {
        match member.start(partition, None).await {
            Ok(()) => return say(&format!("+{partition}")),
            Err(LogError::NotOwned(_)) => return,
            Err(error) => {
                tracing::warn!(%error, "child.start");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

fn work(output: &mut File, records: &[waybill_log::Record]) {
    let mut lines = Vec::new();
    for record in records {
        lines.extend_from_slice(record.value.as_deref().unwrap_or_default());
        lines.push(b'\n');
    }
    // One write: hardly ever does a kill leave a part of it, and then it cuts off the last line.
    output.write_all(&lines).unwrap();
}

/// Commits until it is acknowledged, or the partition is somebody else's.
async fn commit(member: &mut dyn GroupMember, commit: Commit) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        match member.commit(std::slice::from_ref(&commit)).await {
            Ok(()) => return,
            Err(LogError::NotOwned(_)) => {
                tracing::info!(partition = commit.partition, "child.commit_refused");
                return;
            }
            Err(error) if tokio::time::Instant::now() < deadline => {
                tracing::info!(%error, "child.commit");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}
