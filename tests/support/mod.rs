//! A running `waybill` process for tests: started with its own data directory, asked over HTTP and SQL, stopped or killed.
#![allow(
    dead_code,
    clippy::disallowed_methods,
    unreachable_pub,
    clippy::print_stdout,
    reason = "each test uses a part of it, says what it skips, and reads what its own program answers"
)]

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_waybill");

/// How long anything may take before a test gives up: generous, because machines are slow and no figure is asserted.
pub const PATIENCE: Duration = Duration::from_secs(240);

/// A running standalone process.
pub struct Waybill {
    child: Child,
    dir: PathBuf,
    http: reqwest::Client,
    holder: Value,
    runs: u32,
}

/// Starts the program with free ports; `config` is merged over them.
fn command(dir: &Path, args: &[&str], log: File) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .args(args)
        .arg("--data-dir")
        .arg(dir.join("data"))
        .arg("--config")
        .arg(dir.join("waybill.yaml"))
        .stdin(Stdio::null())
        .stdout(Stdio::from(log.try_clone().expect("a log file can be shared")))
        .stderr(Stdio::from(log));
    command
}

impl Waybill {
    /// Starts `waybill standalone` in `dir` and waits until it is ready.
    pub async fn start(dir: &Path, config: &Value) -> Self {
        Self::start_with(dir, config, &["standalone"]).await
    }

    /// The same with other arguments.
    pub async fn start_with(dir: &Path, config: &Value, args: &[&str]) -> Self {
        let mut whole = json!({
            "api": { "listen": "127.0.0.1:0" },
            "admin": { "listen": "127.0.0.1:0" },
            "clickhouse": { "listen": "127.0.0.1:0" },
        });
        merge(&mut whole, config);
        fs::write(dir.join("waybill.yaml"), whole.to_string()).expect("the configuration is written");
        let http = http_client();
        let mut waybill = Self { child: spawn(dir, args, 0), dir: dir.to_owned(), http, holder: Value::Null, runs: 0 };
        waybill.wait_ready().await;
        waybill
    }

    /// Starts again after the process has ended.
    pub async fn restart(&mut self, args: &[&str]) {
        self.runs += 1;
        self.child = spawn(&self.dir, args, self.runs);
        self.wait_ready().await;
    }

    async fn wait_ready(&mut self) {
        let began = Instant::now();
        let pid = self.child.id();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be asked") {
                panic!("waybill ended at start with {status}:\n{}", self.log());
            }
            let holder = fs::read(self.dir.join("data/process.json")).ok();
            let holder: Option<Value> = holder.and_then(|bytes| serde_json::from_slice(&bytes).ok());
            if let Some(holder) = holder.filter(|holder| holder["pid"] == pid) {
                let ready = format!("{}/health/ready", holder["admin"].as_str().expect("an address"));
                if self.http.get(ready).send().await.is_ok_and(|answer| answer.status().is_success()) {
                    self.holder = holder;
                    return;
                }
            }
            assert!(began.elapsed() < PATIENCE, "waybill is not ready in time:\n{}", self.log());
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// What all runs have written, logs and output.
    pub fn log(&self) -> String {
        (0..=self.runs).map(|run| fs::read_to_string(self.dir.join(format!("log-{run}"))).unwrap_or_default()).collect()
    }

    /// SEC-1 for what all runs have written.
    pub fn sec_1_logs_hold_none_of(&self, private: impl IntoIterator<Item = impl AsRef<str>>) {
        let log = self.log();
        assert!(!log.is_empty(), "a log that is empty proves nothing");
        for text in private {
            let text = text.as_ref();
            assert!(text.len() > 5, "`{text}` may stand in a line by chance");
            let line = log.lines().find(|line| line.contains(text));
            assert_eq!(line, None, "SEC-1: full numbers and secrets never reach logs, and here is {text}");
        }
    }

    fn address(&self, of: &str) -> &str {
        self.holder[of].as_str().expect("an address")
    }

    /// Where the API answers.
    pub fn api(&self) -> &str {
        self.address("api")
    }

    /// Where the demo's simulated carriers answer.
    pub fn simulator(&self) -> &str {
        self.address("simulator")
    }

    /// GET at the API: status and body.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        let answer = self.http.get(format!("{}{path}", self.address("api"))).send().await.expect("the API answers");
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or(Value::Null))
    }

    /// GET at the API: the body as text, to its end.
    pub async fn text(&self, path: &str) -> String {
        let request = self.http.get(format!("{}{path}", self.address("api"))).timeout(PATIENCE);
        request.send().await.expect("the API answers").text().await.expect("text")
    }

    /// POST at the API: status and body.
    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let answer = self.http.post(format!("{}{path}", self.address("api"))).json(body).send().await;
        let answer = answer.expect("the API answers");
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or(Value::Null))
    }

    /// POST at the API: status and body; nothing when nobody answers.
    pub async fn try_post(&self, path: &str, body: &Value) -> Option<(u16, Value)> {
        let answer = self.http.post(format!("{}{path}", self.address("api"))).json(body).send().await.ok()?;
        let status = answer.status().as_u16();
        Some((status, answer.json().await.unwrap_or(Value::Null)))
    }

    /// POST with further headers.
    pub async fn post_with(&self, path: &str, body: &Value, headers: &[(&str, &str)]) -> (u16, Value) {
        let mut request = self.http.post(format!("{}{path}", self.address("api"))).json(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.expect("the API answers");
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or(Value::Null))
    }

    /// PATCH at the API: status and body.
    pub async fn patch(&self, path: &str, body: &Value) -> (u16, Value) {
        let answer = self.http.patch(format!("{}{path}", self.address("api"))).json(body).send().await;
        let answer = answer.expect("the API answers");
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or(Value::Null))
    }

    /// POST of a body as it is.
    pub async fn post_raw(&self, path: &str, body: Vec<u8>) -> (u16, Value) {
        let request = self.http.post(format!("{}{path}", self.address("api")));
        let answer = request.header("content-type", "application/json").body(body).send().await;
        let answer = answer.expect("the API answers");
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or(Value::Null))
    }

    /// The metrics page.
    pub async fn metrics(&self) -> String {
        let answer = self.http.get(format!("{}/metrics", self.address("admin"))).send().await.expect("it answers");
        answer.text().await.expect("text")
    }

    /// Rows of a query, asked as the user that only reads.
    pub async fn sql(&self, query: &str) -> Vec<Value> {
        let request = self
            .http
            .post(self.address("sql"))
            .query(&[("default_format", "JSONEachRow"), ("output_format_json_quote_64bit_integers", "0")]);
        let answer = request.body(query.to_owned()).send().await.expect("ClickHouse answers");
        let status = answer.status();
        let text = answer.text().await.expect("text");
        assert!(status.is_success(), "{query}: {text}");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON rows")).collect()
    }

    /// One number of a query.
    pub async fn sql_number(&self, query: &str) -> u64 {
        let rows = self.sql(query).await;
        let row = rows.first().and_then(Value::as_object).expect("one row");
        row.values().next().and_then(Value::as_u64).expect("a number")
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a child can be waited for");
    }

    /// SIGTERM, and how it ended.
    pub async fn stop(&mut self) -> ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("a child can be signalled");
        self.wait().await
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child can be asked").is_some()
    }

    /// Waits for the end.
    pub async fn wait(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be asked") {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "waybill does not end:\n{}", self.log());
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Where its log, history and clock are.
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }
}

impl Drop for Waybill {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(dir: &Path, args: &[&str], run: u32) -> Child {
    let log = File::create(dir.join(format!("log-{run}"))).expect("a log file");
    command(dir, args, log).spawn().expect("the program starts")
}

/// How a process that was told to end went, as whoever asks for its readiness sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Gone {
    /// It said 503 first.
    Told,
    /// It was not heard to say so: between the last question that it answered as ready and its end lay so long.
    Untold(Duration),
}

impl Gone {
    /// Readiness turns, and at least `delay` passes before the listener closes. So whoever was never told has not asked for
    /// that long: it was held up, which happens on a busy machine, and says nothing against the process.
    pub fn assert_told_for(self, delay: Duration, who: &str) {
        if let Self::Untold(silence) = self {
            assert!(
                silence >= delay,
                "{who}: it went {silence:?} after it had said that it is ready, and never said 503"
            );
        }
    }
}

/// Asks a process whether it is ready until it says 503 or nobody listens any more. To be called before it is told to end.
pub fn watch_readiness(http: &reqwest::Client, admin: SocketAddr) -> JoinHandle<Gone> {
    let (http, ready) = (http.clone(), format!("http://{admin}/health/ready"));
    tokio::spawn(async move {
        let mut last = Instant::now();
        loop {
            let asked = Instant::now();
            match http.get(&ready).send().await {
                Ok(answer) if answer.status().as_u16() == 503 => return Gone::Told,
                Ok(_) => last = asked,
                Err(error) if error.is_connect() => return Gone::Untold(last.elapsed()),
                // A connection that was cut: whether anybody still listens is told by the next.
                Err(_) => {}
            }
            sleep(Duration::from_millis(50)).await;
        }
    })
}

/// An HTTP client with a deadline.
pub fn http_client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().timeout(Duration::from_secs(90)).no_proxy().build().expect("a client")
}

/// Puts `over` into `base`, object by object.
pub fn merge(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over.clone(),
    }
}

/// Asks until an answer is there.
pub async fn eventually<T, F>(what: &str, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let began = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        sleep(Duration::from_millis(200)).await;
    }
}

/// Whether the embedded ClickHouse can be used here. In CI its absence is a failure.
pub fn embedded_clickhouse() -> bool {
    match waybill_clickhouse::library::locate_library(None) {
        Ok(_) => true,
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "in CI the embedded ClickHouse must be there: {error}");
            println!("skipped: {error}");
            false
        }
    }
}

/// A number from the environment.
///
/// # Panics
/// When it is none.
pub fn number(name: &str, default: u32) -> u32 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// The right to a whole cluster: two at once would only slow each other down.
pub struct ClusterTurn {
    _turn: tokio::sync::MutexGuard<'static, ()>,
}

/// Waits for this process's turn with a whole cluster; `None` where such tests, minutes long, are not asked for or cannot
/// run.
pub async fn cluster_turn() -> Option<ClusterTurn> {
    static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    if std::env::var_os("WAYBILL_CLUSTER").is_none() {
        println!("not asked for: WAYBILL_CLUSTER=1, or `make test`, `make e2e`, `make chaos`, `make throughput`");
        return None;
    }
    if !embedded_clickhouse() {
        return None;
    }
    Some(ClusterTurn { _turn: TURN.lock().await })
}
