//! A real broker for tests, and the faults that the conformance suite asks of one. `scripts/kafka.sh` starts it; it ends
//! with the process that started it, however that ends.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "tests fail by panicking; this module is theirs"
)]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use rdkafka::{
    TopicPartitionList,
    config::ClientConfig,
    producer::{BaseProducer, BaseRecord, Producer as _},
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{sync::OnceCell, task::spawn_blocking};

use super::{
    KafkaLog, KafkaOptions,
    fetch::{native_offset, native_partition},
};
use crate::{
    conformance::Faults,
    seam::{Log as _, TopicPartition},
};

/// Longest wait of an administrator's call.
const PATIENCE: Duration = Duration::from_secs(120);

/// The user of the listener with SASL.
pub const SASL_USER: &str = "waybill";
/// That user's password.
pub const SASL_PASSWORD: &str = "waybill-secret";

#[derive(Debug)]
struct Running {
    /// The script; the broker is its child and ends with the script's standard input.
    script: Child,
    pid: u32,
}

/// A broker of this test's own.
#[derive(Debug)]
pub struct TestBroker {
    dir: PathBuf,
    port: u16,
    controller_port: u16,
    sasl_port: u16,
    running: Mutex<Vec<Running>>,
}

/// A port that nobody listens on and that no outgoing connection is given either: those begin at 32768, and a port that is
/// free for a moment, or while its server restarts, would be theirs sooner or later.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let own = std::process::id().wrapping_mul(61);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 12_000 + u16::try_from(own.wrapping_add(step) % 20_000).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

static STARTED: AtomicU32 = AtomicU32::new(0);

impl TestBroker {
    /// Starts a broker with an empty folder on free ports. Where no broker can run, which `make setup` has said, the program
    /// of tests ends here, aloud: all of it is about a broker. In CI that is a failure.
    pub async fn start() -> Self {
        let found = |tool: &str| Command::new(tool).arg("-version").output().is_ok();
        if std::env::var_os("CI").is_none() && !found("java") {
            let _ = writeln!(std::io::stderr(), "skipped: these tests run a real Kafka and need a JDK of 17 or newer");
            std::process::exit(0);
        }
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("waybill-kafka-{}-{number}", std::process::id()));
        // Of a process that had this number before and was killed together with its broker.
        let _gone = std::fs::remove_dir_all(&dir);
        let broker = Self {
            dir,
            port: free_port(),
            controller_port: free_port(),
            sasl_port: free_port(),
            running: Mutex::default(),
        };
        broker.launch().await;
        broker
    }

    /// The broker that all tests of a process share. It ends, and its folder goes, with the process.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<TestBroker> = OnceCell::const_new();
        SHARED.get_or_init(Self::start).await
    }

    async fn launch(&self) {
        let script = Path::new("../../scripts/kafka.sh");
        let mut command = Command::new("bash");
        command
            .arg(script)
            .arg("run")
            .arg(&self.dir)
            .arg(self.port.to_string())
            .env("KAFKA_CONTROLLER_PORT", self.controller_port.to_string())
            .env("KAFKA_SASL_PORT", self.sasl_port.to_string())
            .env("KAFKA_SASL_USER", SASL_USER)
            .env("KAFKA_SASL_PASSWORD", SASL_PASSWORD)
            .env("KAFKA_EPHEMERAL", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let running = spawn_blocking(move || {
            let mut script = command.spawn().expect("bash runs");
            let mut line = String::new();
            BufReader::new(script.stdout.take().unwrap()).read_line(&mut line).unwrap();
            let pid = line.trim().parse().expect("kafka.sh prints the broker's pid: see its error above");
            Running { script, pid }
        })
        .await
        .unwrap();
        self.running.lock().unwrap_or_else(PoisonError::into_inner).push(running);
        let brokers = self.brokers();
        spawn_blocking(move || until_it_answers(&brokers)).await.unwrap();
    }

    /// Where it listens without authentication.
    pub fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where it listens with SASL/SCRAM-SHA-512, without TLS.
    pub fn sasl_brokers(&self) -> String {
        format!("127.0.0.1:{}", self.sasl_port)
    }

    /// Options to reach it.
    pub fn options(&self) -> KafkaOptions {
        KafkaOptions { brokers: self.brokers(), ..KafkaOptions::default() }
    }

    /// The broker's process.
    pub fn pid(&self) -> u32 {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).last().expect("it was started").pid
    }

    /// Sends the broker a signal.
    pub fn signal(&self, signal: Signal) {
        signal_process(self.pid(), signal);
    }

    /// Stops it in its tracks: connections stay open and nothing answers.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets a frozen broker go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Kills it. What it had acknowledged is on its disk.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Kills it and starts it again in the same folder and on the same ports.
    pub async fn restart(&self) {
        self.kill();
        self.launch().await;
    }
}

impl Drop for TestBroker {
    fn drop(&mut self) {
        for mut running in self.running.get_mut().unwrap_or_else(PoisonError::into_inner).drain(..) {
            drop(running.script.stdin.take());
            let _ended = running.script.wait();
        }
        let _gone = std::fs::remove_dir_all(&self.dir);
    }
}

/// A broker listens a while before it answers: on a slow machine for longer than a client of ours waits.
fn until_it_answers(brokers: &str) {
    let client: BaseProducer = ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    client.client().fetch_metadata(None, PATIENCE).expect("the broker answers");
}

/// Sends a process a signal; one that has gone is left alone.
pub fn signal_process(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _gone = kill_process(pid, signal);
    }
}

/// What can go wrong with Kafka, brought about by the broker's own means.
#[derive(Debug, Clone)]
pub struct KafkaFaults {
    log: KafkaLog,
    brokers: String,
}

impl KafkaFaults {
    /// Faults of a log, at brokers that ask for no authentication.
    pub fn new(log: &KafkaLog, brokers: &str) -> Self {
        Self { log: log.clone(), brokers: brokers.to_owned() }
    }

    /// Makes every reader of the log stop fetching without a word.
    pub async fn hush(&self) {
        let brokers = std::sync::Arc::clone(&self.log.inner.context.brokers);
        spawn_blocking(move || brokers.hush()).await.unwrap();
    }

    /// Lets this many looks fail that members take at the ends of partitions that cannot be read on.
    pub fn refuse_looks(&self, count: u32) {
        self.log.inner.faults.refuse_looks(count);
    }

    /// Sends a static member away as an administrator would: its session ends, and it is not told.
    pub async fn remove_member(&self, group: &str, instance: &str) {
        let (brokers, group, instance) = (self.brokers.clone(), group.to_owned(), instance.to_owned());
        spawn_blocking(move || leave_group(&brokers, &group, &instance)).await.unwrap();
    }
}

#[async_trait]
impl Faults for KafkaFaults {
    async fn gap(&self, at: &TopicPartition) {
        let before = self.log.bounds(at).await.unwrap().next;
        let (brokers, partition) = (self.brokers.clone(), at.clone());
        spawn_blocking(move || abort_transaction(&brokers, &partition)).await.unwrap();
        // The marker is written a little after the transaction's end: until then readers see no further.
        while self.log.bounds(at).await.unwrap().next < before + 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn delete_before(&self, at: &TopicPartition, offset: u64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&at.topic, native_partition(at.partition), native_offset(offset)).unwrap();
        let topics = &self.log.inner.topics;
        let deleted = topics.admin().unwrap().delete_records(&list, &topics.options()).await.unwrap();
        for row in deleted.elements() {
            row.error().unwrap();
        }
    }

    async fn end_session(&self, group: &str, _topic: &str, member: &str) {
        self.remove_member(group, member).await;
    }

    async fn lose_commit_answer(&self) {
        self.log.inner.faults.lose_commit_answers(1);
    }

    async fn lose_produce_answer(&self) {
        self.log.inner.faults.lose_produce_answers(1);
    }
}

/// A transaction that is aborted leaves its record, which nobody sees, and its marker.
fn abort_transaction(brokers: &str, at: &TopicPartition) {
    let number = STARTED.fetch_add(1, Ordering::Relaxed);
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("transactional.id", format!("gap-{}-{number}", std::process::id()))
        .create()
        .unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    producer.begin_transaction().unwrap();
    let record = BaseRecord::<(), str>::to(&at.topic).partition(native_partition(at.partition)).payload("aborted");
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(PATIENCE).unwrap();
    producer.abort_transaction(PATIENCE).unwrap();
}

/// LeaveGroup (version 3) for somebody else, by its instance id. A member that has gone already is no error.
fn leave_group(brokers: &str, group: &str, instance: &str) {
    fn text(into: &mut Vec<u8>, text: &str) {
        into.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
        into.extend(text.as_bytes());
    }
    let mut body = Vec::new();
    body.extend(13_i16.to_be_bytes());
    body.extend(3_i16.to_be_bytes());
    body.extend(1_i32.to_be_bytes());
    text(&mut body, "waybill-test");
    text(&mut body, group);
    body.extend(1_i32.to_be_bytes());
    text(&mut body, "");
    text(&mut body, instance);
    let mut stream = TcpStream::connect(brokers).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&u32::try_from(body.len()).unwrap().to_be_bytes()).unwrap();
    stream.write_all(&body).unwrap();
    let mut size = [0; 4];
    stream.read_exact(&mut size).unwrap();
    let mut answer = vec![0; usize::try_from(u32::from_be_bytes(size)).unwrap()];
    stream.read_exact(&mut answer).unwrap();
    // Correlation, throttling, then the error of the whole call.
    let error = i16::from_be_bytes([answer[8], answer[9]]);
    assert!(error == 0 || error == 25, "leaving for another member failed: {error}");
}
