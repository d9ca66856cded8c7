//! A carrier's door on loopback that notes every arrival, and a fetcher on a log in memory.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

pub mod refusing;
pub mod slow;
pub mod zombie;

use std::{
    fmt::Write as _,
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use waybill_adapters::Catalog;
use waybill_fetcher::{Deps, FetcherConfig, FetcherError, NoPolicies, run};
use waybill_log::{
    EmbeddedLog, EmbeddedOptions, Headers, NewTopic, ReadFrom, Record, SharedLog, TopicPartition, json_record,
    records::{produce_all, read_json},
};
use waybill_runtime::{ClockGate, Clocks, Health};
use waybill_schemas::{
    fetch::{FetchRequest, FetchResult},
    layout::Layout,
    topics::{self, TopicPrefix, names},
};

/// How long is waited for what must come: far longer than a busy machine may pause.
pub const PATIENCE: Duration = Duration::from_secs(180);
/// How long requests stay worth sending, in ms. One look-up that a pause made slow makes the fetcher expect as much of
/// each that waits, and give back what would not be done in time; shorter than what carriers and quotas here close for.
const WORTH_SENDING_MS: i64 = 1_800_000;

/// What the door does with a request.
pub enum Reply {
    /// These bytes, head and all.
    Raw(Vec<u8>),
    /// These bytes after a while.
    Late(Duration, Vec<u8>),
    /// Nothing, and the connection stays open.
    Hang,
    /// These bytes, then the connection is cut.
    Cut(Vec<u8>),
}

/// One request as it arrived.
#[derive(Debug, Clone)]
pub struct Arrival {
    pub at: Instant,
    pub path: String,
    pub head: String,
}

/// A carrier's door.
pub struct Door {
    pub port: u16,
    arrivals: Arc<Mutex<Vec<Arrival>>>,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Handler = Arc<dyn Fn(&Arrival) -> Reply + Send + Sync>;

impl Door {
    pub async fn open(handler: impl Fn(&Arrival) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let arrivals: Arc<Mutex<Vec<Arrival>>> = Arc::default();
        let (noted, handler): (_, Handler) = (Arc::clone(&arrivals), Arc::new(handler));
        let connections: Arc<AtomicUsize> = Arc::default();
        let opened = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                opened.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, Arc::clone(&noted), Arc::clone(&handler)));
            }
        });
        Self { port, arrivals, connections, task }
    }

    /// How many connections were opened so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub fn arrivals(&self) -> Vec<Arrival> {
        self.arrivals.lock().unwrap().clone()
    }

    /// The fullest window, as a share of what rate and burst allow there (POL-1), and the number of requests.
    pub fn fullest_window(&self, rate: f64, burst: f64) -> (f64, usize) {
        let times: Vec<Instant> = self.arrivals().iter().map(|arrival| arrival.at).collect();
        let mut fullest: f64 = 0.0;
        for (first, start) in times.iter().enumerate() {
            for (last, end) in times.iter().enumerate().skip(first) {
                let allowed = end.duration_since(*start).as_secs_f64() * rate + burst;
                fullest = fullest.max((last - first + 1) as f64 / allowed);
            }
        }
        (fullest, times.len())
    }
}

async fn serve(mut stream: TcpStream, noted: Arc<Mutex<Vec<Arrival>>>, handler: Handler) {
    let mut buffer = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            let mut chunk = [0; 4096];
            match stream.read(&mut chunk).await {
                Ok(0) | Err(_) => return,
                Ok(read) => buffer.extend_from_slice(&chunk[..read]),
            }
        };
        let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let length =
            head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned));
        let length: usize = length.map_or(0, |text| text.trim().parse().unwrap());
        while buffer.len() < end + length {
            let mut chunk = [0; 4096];
            match stream.read(&mut chunk).await {
                Ok(0) | Err(_) => return,
                Ok(read) => buffer.extend_from_slice(&chunk[..read]),
            }
        }
        buffer.drain(..end + length);
        let arrival = Arrival { at: Instant::now(), path, head };
        noted.lock().unwrap().push(arrival.clone());
        let (bytes, goes_on) = match handler(&arrival) {
            Reply::Raw(bytes) => (bytes, true),
            Reply::Late(after, bytes) => {
                tokio::time::sleep(after).await;
                (bytes, true)
            }
            Reply::Cut(bytes) => (bytes, false),
            Reply::Hang => {
                // Until the other side has had enough.
                let mut chunk = [0; 64];
                while stream.read(&mut chunk).await.is_ok_and(|read| read > 0) {}
                return;
            }
        };
        if stream.write_all(&bytes).await.is_err() || !goes_on {
            return;
        }
    }
}

/// An answer with a body.
pub fn answer(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    head.push_str("\r\n");
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// A JSON answer.
pub fn json(status: u16, body: &str) -> Vec<u8> {
    answer(status, &[("content-type", "application/json")], body.as_bytes())
}

/// What a carrier that knows the number says.
pub const TRACKED: &str =
    r#"{"events":[{"time":"2026-01-01 10:00","text":"Picked up"},{"time":"2026-01-01 09:00","text":"Announced"}]}"#;

const READERS: &str = r#"
readers:
  - name: json
    shape: json
    accept: {has: [$.events]}
    order: newest_first
    times: {formats: ['%Y-%m-%d %H:%M']}
    tables:
      - rows: $.events[*]
        time: time
        text: text
  - name: error
    shape: json
    accept: {has: [$.error]}
    not_found:
      - when: {text: $.error, matches: unknown}
"#;

/// A fetcher's world: a log, in memory unless told otherwise, and carriers whose doors are on loopback.
pub struct World {
    pub log: SharedLog,
    pub deps: Deps,
    folder: tempfile::TempDir,
}

/// A fetcher that runs.
pub struct Running {
    pub task: JoinHandle<Result<(), FetcherError>>,
    pub shutdown: CancellationToken,
}

impl Running {
    /// Kills it, as far as a task can be killed.
    pub async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    /// Ends it in order.
    pub async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }
}

/// The figures of a carrier's budget, as they stand in its file.
pub fn budget(rate: f64, burst: u32, concurrency: u32) -> String {
    format!("{{rate_per_second: {rate}, burst: {burst}, concurrency: {concurrency}, min_interval_s: 1}}")
}

/// Sources with one step `page`.
pub fn one_step(kind: &str, url: &str) -> String {
    format!("sources:\n  - name: api\n    kind: {kind}\n    steps:\n      - {{name: page, get: '{url}'}}\n")
}

impl World {
    /// A world with carriers: slug, budget, sources (with their own readers, if any).
    pub async fn new(carriers: &[(&str, String, String)], change: impl FnOnce(&mut FetcherConfig)) -> Self {
        let clocks = Clocks::real();
        let log = EmbeddedLog::in_memory(EmbeddedOptions::new(Arc::new(move || clocks.wall())));
        Self::on(Arc::new(log), carriers, change).await
    }

    /// A world on a log that has no topics yet.
    pub async fn on(
        log: SharedLog,
        carriers: &[(&str, String, String)],
        change: impl FnOnce(&mut FetcherConfig),
    ) -> Self {
        Self::wide(log, 1, carriers, change).await
    }

    /// The same of several partitions.
    pub async fn wide(
        log: SharedLog,
        partitions: u32,
        carriers: &[(&str, String, String)],
        change: impl FnOnce(&mut FetcherConfig),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (slug, budget, sources) in carriers {
            let place = folder.path().join(slug);
            fs::create_dir(&place).unwrap();
            let readers = if sources.contains("readers:") { "" } else { READERS };
            let adapter = format!(
                "format: 1\nname: {slug}\nbasis: api\nlanguages: [en]\nzone: UTC\nbudget: {budget}\n\
                 hosts: [127.0.0.1, localhost]\n{sources}{readers}"
            );
            fs::write(place.join("adapter.yaml"), adapter).unwrap();
            fs::write(place.join("mapping.yaml"), "format: 1\n").unwrap();
        }
        let catalog = Catalog::of_folder(folder.path()).unwrap().into();
        let clocks = Clocks::real();
        let topics = TopicPrefix::default();
        let new = |spec: &topics::TopicSpec| NewTopic {
            name: topics.of(&spec.name),
            partitions,
            cleanup: spec.cleanup,
            retention: Duration::from_secs(3_600),
            min_compaction_lag: Duration::from_secs(3_600),
        };
        log.create_topics(&topics::all().iter().map(new).collect::<Vec<_>>()).await.unwrap();
        let mut config = FetcherConfig {
            allow_private: true,
            // No carrier here is given up but by a test about that.
            connect_timeout_s: 120,
            answer_timeout_s: 120,
            contact: "ops@example.org".to_owned(),
            ..FetcherConfig::default()
        };
        change(&mut config);
        let deps = Deps {
            log: Arc::clone(&log),
            topics,
            layout: Layout { partitions, budgets: Default::default() },
            clocks,
            catalog,
            policies: Arc::new(NoPolicies),
            member: "fetcher-1".to_owned(),
            health: Health::default(),
            clock: ClockGate::default(),
            config,
        };
        Self { log, deps, folder }
    }

    /// A world with the carrier `acme`, quick, with one step behind `door`.
    pub async fn quick(door: &Door) -> Self {
        Self::new(&[Self::acme(door)], |_| {}).await
    }

    /// The same on another log.
    pub async fn quick_on(log: SharedLog, door: &Door) -> Self {
        Self::on(log, &[Self::acme(door)], |_| {}).await
    }

    fn acme(door: &Door) -> (&'static str, String, String) {
        let sources = one_step("api", &format!("http://127.0.0.1:{}/t/{{number}}", door.port));
        ("acme", budget(100.0, 20, 8), sources)
    }

    /// Where the carriers' files are.
    pub fn folder(&self) -> std::path::PathBuf {
        self.folder.path().to_owned()
    }

    pub fn start(&self) -> Running {
        self.start_as("fetcher-1")
    }

    /// Starts a member of another name beside those that run.
    pub fn start_as(&self, member: &str) -> Running {
        let shutdown = CancellationToken::new();
        let deps = Deps { member: member.to_owned(), ..self.deps.clone() };
        Running { task: tokio::spawn(run(deps, shutdown.clone())), shutdown }
    }

    fn at(&self, topic: &str) -> TopicPartition {
        TopicPartition::new(self.deps.topics.of(topic), 0)
    }

    /// A poll of a number.
    pub fn poll(&self, carrier: &str, number: &str, attempt: i64) -> FetchRequest {
        let expires_at = self.deps.clocks.wall().plus_ms(WORTH_SENDING_MS);
        serde_json::from_value(serde_json::json!({
            "kind": "poll", "carrier": carrier, "number": number, "instance": 1, "ref": null,
            "registered_at": "2026-01-01T00:00:00Z", "attempt": attempt, "expires_at": expires_at,
        }))
        .unwrap()
    }

    pub async fn send(&self, requests: &[FetchRequest], headers: Headers) {
        self.send_to(self.at(names::FETCH_REQUESTS), requests, headers).await;
    }

    /// Sends requests to a partition of theirs.
    pub async fn send_to(&self, at: TopicPartition, requests: &[FetchRequest], headers: Headers) {
        let record = |request: &FetchRequest| {
            json_record(at.clone(), request.key().record_key(), request, headers.clone()).unwrap()
        };
        produce_all(&*self.log, requests.iter().map(record).collect()).await.unwrap();
    }

    pub async fn records(&self, topic: &str) -> Vec<Record> {
        let (mut offset, mut found) = (0, Vec::new());
        loop {
            let from =
                ReadFrom { at: self.at(topic), offset, max_records: 10_000, max_bytes: 1 << 30, wait: Duration::ZERO };
            let batch = self.log.read(from).await.unwrap();
            if batch.records.is_empty() {
                return found;
            }
            found.extend(batch.records);
            offset = batch.next_offset;
        }
    }

    /// All results, repeats included.
    pub async fn all_results(&self) -> Vec<FetchResult> {
        self.records(names::FETCH_RESULTS).await.iter().map(|record| read_json(record).unwrap()).collect()
    }

    /// Results as a reader that drops repeats sees them, once there are `count`.
    pub async fn results(&self, count: usize) -> Vec<FetchResult> {
        let until = Instant::now() + PATIENCE;
        loop {
            let mut seen = std::collections::HashSet::new();
            let mut results = self.all_results().await;
            results.retain(|result| seen.insert((result.request.key().record_key(), result.request.attempt)));
            if results.len() >= count {
                return results;
            }
            assert!(Instant::now() < until, "{} of {count} results after {PATIENCE:?}", results.len());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until the fetcher is not ready for a reason that has this in it, or ready where it is empty.
    pub async fn until_it_says(&self, why: &str) {
        let says = |one: &waybill_runtime::health::ComponentReport| {
            one.name == "fetcher" && one.ready == why.is_empty() && one.note.contains(why)
        };
        let until = Instant::now() + PATIENCE;
        while !self.deps.health.report().iter().any(says) {
            assert!(Instant::now() < until, "{:?}", self.deps.health.report());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The result of one poll.
    pub async fn one(&self, number: &str) -> FetchResult {
        let running = self.start();
        self.send(&[self.poll("acme", number, 1)], Headers::new()).await;
        let result = self.results(1).await.remove(0);
        running.stop().await;
        result
    }
}
