//! A cluster on this machine: a real broker, ClickHouse's engine in a process of its own, simulated carriers, and several
//! of each service as separate processes, with the command lines, environment and files that the chart gives their pods.
//!
//! What is true is known from outside: the simulator's ledger says what must be stored, its arrivals say whether a budget
//! was ever exceeded. Services run at real time; the carriers' parcels live fast, and budgets bound the longest interval,
//! so that each number is asked every few seconds.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "each test uses a part of it; it fails by panicking and reads what its own programs answer"
)]

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{self, File},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use waybill_carrier_sim::{
    Config as SimConfig, FullestWindow, JourneyMap, PlanConfig, Simulator, fullest_window, wall_now_ms,
};
use waybill_clickhouse::embedded::{EmbeddedClickHouse, EmbeddedConfig, StoreState};
use waybill_log::kafka::testing::TestBroker;

use crate::{
    chart::{Chart, Pod, root},
    support::{PATIENCE, PROGRAM, http_client},
};

/// The services, in the order in which they start.
pub const ROLES: [&str; 5] = ["store", "normalizer", "fetcher", "scheduler", "api"];

/// The key of the HTTP interface.
const KEY: &str = "a-key-of-the-cluster-on-this-machine";

/// What a cluster is to be.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What everything simulated follows from.
    pub seed: u64,
    /// Parcels, over ten carriers.
    pub parcels: u32,
    /// Processes of each service.
    pub replicas: u32,
    /// Requests per second that each carrier allows.
    pub rate_per_second: f64,
    /// Longest time between two looks at a number, in seconds.
    pub max_interval_s: u32,
    /// Wall seconds in which the parcels' lives pass.
    pub lives_s: u32,
    /// A carrier with a daily quota, and how many requests it allows.
    pub quota: Option<(&'static str, u32)>,
    /// What logs hold.
    pub filter: &'static str,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            seed: 1,
            parcels: 600,
            replicas: 3,
            rate_per_second: 30.0,
            max_interval_s: 3,
            lives_s: 60,
            quota: None,
            filter: "info",
        }
    }
}

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

/// The parts and the truth about them.
pub struct Cluster {
    /// The broker.
    pub broker: TestBroker,
    /// ClickHouse; `None` while it is stopped.
    pub clickhouse: Option<EmbeddedClickHouse>,
    /// The carriers.
    pub simulator: Simulator,
    /// All services.
    pub services: Vec<Service>,
    plan: Plan,
    clickhouse_at: SocketAddr,
    smoke: Pod,
    dir: TempDir,
    http: reqwest::Client,
}

/// A port that was free a moment ago.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address")
}

fn clickhouse_config(dir: &Path, listen: SocketAddr) -> EmbeddedConfig {
    let mut config =
        EmbeddedConfig::new(PathBuf::from(PROGRAM), vec![OsString::from("clickhouse-child")], dir.join("clickhouse"));
    config.listen = listen;
    config
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("a child can be signalled");
}

impl Service {
    fn start(&mut self) {
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
        let began = Instant::now();
        signal(self.child.as_ref().expect("it runs"), Signal::TERM);
        loop {
            if let Some(status) = self.ended() {
                self.child = None;
                return (status, began.elapsed());
            }
            assert!(began.elapsed() < PATIENCE, "{} does not end:\n{}", self.name(), tail(&self.log()));
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Starts it again after it was stopped or killed.
    pub fn start_again(&mut self) {
        self.start();
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut()?.try_wait().expect("a child can be asked")
    }

    async fn ready(&self, http: &reqwest::Client) -> bool {
        let asked = http.get(format!("http://{}/health/ready", self.admin)).send().await;
        asked.is_ok_and(|answer| answer.status().is_success())
    }
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

impl Plan {
    /// The chart's values for this plan.
    fn values(&self, brokers: &str, clickhouse: (&str, &str, &str), route: &str) -> Value {
        let (url, user, password) = clickhouse;
        let mut carriers = serde_json::Map::new();
        let mut routes = Vec::new();
        let mut adapters = serde_json::Map::new();
        for slug in waybill_carrier_sim::carriers() {
            let mut budget = json!({
                "rate_per_second": self.rate_per_second, "burst": 10, "concurrency": 8,
                "min_interval_s": 1, "max_interval_s": self.max_interval_s,
            });
            if let Some((_, requests)) = self.quota.filter(|(carrier, _)| *carrier == slug) {
                budget["daily_quota"] =
                    json!({ "requests": requests, "resets_at": "00:00", "zone": "UTC", "spread": false });
            }
            carriers.insert(slug.to_owned(), json!({ "enabled": true, "budget": budget }));
            routes.push(json!({ "carrier": slug, "to": route }));
            let file = |name: &str| {
                let path = root().join("loadtest/carriers").join(slug).join(name);
                fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
            };
            adapters
                .insert(slug.to_owned(), json!({ "adapter": file("adapter.yaml"), "mapping": file("mapping.yaml") }));
        }
        json!({
            "kafka": { "brokers": brokers, "config": { "replication": 1 } },
            "clickhouse": { "url": url, "user": user, "password": { "value": password } },
            "apiKeys": { "value": format!("tests {KEY}") },
            // The broker is no Service of a cluster; processes have no network policy anyway.
            "networkPolicy": { "enabled": false },
            "carriers": carriers,
            "adapters": { "inline": adapters },
            "fetcher": { "config": { "allow_private": true, "routes": routes, "contact": "tests@waybill.example" }, "replicas": self.replicas },
            "scheduler": { "replicas": self.replicas },
            "normalizer": { "replicas": self.replicas },
            "store": { "replicas": self.replicas },
            "api": { "replicas": self.replicas },
            "telemetry": { "format": "text", "filter": self.filter },
        })
    }
}

impl Cluster {
    /// Starts everything and waits until all of it is ready.
    ///
    /// # Panics
    /// When a part cannot be started.
    pub async fn start(plan: Plan) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let broker = TestBroker::start().await;
        let clickhouse_at = free_address();
        let clickhouse =
            EmbeddedClickHouse::start(clickhouse_config(dir.path(), clickhouse_at)).await.expect("ClickHouse starts");
        let now = wall_now_ms();
        let ago = 45 * 86_400_000_i64;
        let clock = JourneyMap {
            anchor_ms: now - ago,
            start_ms: now,
            scale: 1.0 + ago as f64 / (f64::from(plan.lives_s) * 1_000.0),
        };
        let simulator = Simulator::start(SimConfig::new(PlanConfig::new(plan.seed, plan.parcels, clock)))
            .expect("the simulated carriers start");

        let writer = clickhouse.writer();
        let url = format!("http://{clickhouse_at}");
        let values = plan.values(&broker.brokers(), (&url, &writer.user, &writer.password), &simulator.route());
        let file = dir.path().join("values.json");
        fs::write(&file, values.to_string()).expect("the values are written");
        let pods = Chart::render("waybill", "tests", &[&file], &[]).expect("the chart takes the values").pods();

        let mut cluster = Self {
            broker,
            clickhouse: Some(clickhouse),
            simulator,
            services: Vec::new(),
            plan,
            clickhouse_at,
            smoke: pods["smoke"].clone(),
            dir,
            http: http_client(),
        };
        for job in ["topics", "migrations"] {
            cluster.run_job(&pods[job]);
        }
        for role in ROLES {
            let pod = &pods[role];
            for ordinal in 0..pod.replicas {
                let folder = cluster.dir.path().join(format!("{role}-{ordinal}"));
                fs::create_dir_all(&folder).expect("a folder");
                let mut service = Service {
                    role: role.to_owned(),
                    ordinal,
                    admin: free_address(),
                    api: free_address(),
                    pod: pod.clone(),
                    folder,
                    child: None,
                    runs: 0,
                };
                service.start();
                cluster.services.push(service);
            }
        }
        cluster.all_ready().await;
        cluster
    }

    fn run_job(&self, pod: &Pod) {
        let folder = self.dir.path().join(&pod.name);
        fs::create_dir_all(&folder).expect("a folder");
        let unknown = |kind: &str, name: &str, key: &str| panic!("{kind} {name} {key} is not the chart's own");
        let answer = pod.process(&folder, 0, &unknown, &[]).command(PROGRAM).output().expect("the job runs");
        let said = String::from_utf8_lossy(&answer.stderr);
        assert!(answer.status.success(), "the job {} ended with {}:\n{said}", pod.name, answer.status);
    }

    /// What `helm test` runs: a number of the sandbox from the API to ClickHouse and to the topic. Answers what it said.
    pub fn smoke(&self) -> String {
        let folder = self.dir.path().join("smoke");
        fs::create_dir_all(&folder).expect("a folder");
        let unknown = |kind: &str, name: &str, key: &str| panic!("{kind} {name} {key} is not the chart's own");
        let mut process = self.smoke.process(&folder, 0, &unknown, &[]);
        let api = self.services.iter().find(|service| service.role == "api").expect("there is one").api;
        // The Service's name leads to one of the pods.
        for argument in process.args.iter_mut().filter(|argument| argument.starts_with("http://")) {
            *argument = format!("http://{api}");
        }
        let answer = process.command(PROGRAM).output().expect("the test's pod runs");
        let said = String::from_utf8_lossy(&answer.stdout).into_owned();
        assert!(answer.status.success(), "{said}{}", String::from_utf8_lossy(&answer.stderr));
        said
    }

    /// Waits until every service that runs is ready.
    pub async fn all_ready(&mut self) {
        let began = Instant::now();
        for place in 0..self.services.len() {
            loop {
                let service = &mut self.services[place];
                if service.child.is_none() {
                    break;
                }
                if let Some(status) = service.ended() {
                    panic!("{} ended with {status}:\n{}", service.name(), tail(&service.log()));
                }
                if service.ready(&self.http).await {
                    break;
                }
                assert!(began.elapsed() < PATIENCE, "{} is not ready:\n{}", service.name(), tail(&service.log()));
                sleep(Duration::from_millis(100)).await;
            }
        }
    }

    /// One service.
    pub fn service(&mut self, role: &str, ordinal: u32) -> &mut Service {
        let found = self.services.iter_mut().find(|service| service.role == role && service.ordinal == ordinal);
        found.expect("there is one")
    }

    /// Registers every parcel of the plan over the HTTP interface, spread over its processes; asks again where a call was
    /// refused for now, as a client does. Repeating is safe.
    pub async fn register_all(&mut self) {
        let plan = self.simulator.plan();
        let apis: Vec<SocketAddr> =
            self.services.iter().filter(|service| service.role == "api").map(|service| service.api).collect();
        for (turn, chunk) in plan.parcels().chunks(500).enumerate() {
            let entries: Vec<Value> = chunk
                .iter()
                .map(|parcel| {
                    json!({
                        "carrier": parcel.carrier, "number": parcel.number, "params": parcel.params, "ref": parcel.reference,
                    })
                })
                .collect();
            let body = json!({ "shipments": entries });
            let began = Instant::now();
            for attempt in 0.. {
                let api = apis[(turn + attempt) % apis.len()];
                match self.post(api, "/v1/shipments", &body).await {
                    Ok((200, answer)) => {
                        assert_eq!(answer["rejected"], json!([]), "{answer}");
                        assert_eq!(answer["accepted"].as_array().map(Vec::len), Some(chunk.len()));
                        break;
                    }
                    other => assert!(began.elapsed() < PATIENCE, "a registration does not get through: {other:?}"),
                }
                sleep(Duration::from_millis(300)).await;
            }
        }
    }

    async fn post(&self, api: SocketAddr, path: &str, body: &Value) -> Result<(u16, Value), reqwest::Error> {
        let request = self.http.post(format!("http://{api}{path}")).bearer_auth(KEY).json(body);
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        Ok((status, answer.json().await.unwrap_or(Value::Null)))
    }

    /// GET at one of the HTTP interfaces.
    pub async fn get(&mut self, ordinal: u32, path: &str) -> (u16, Value) {
        let api = self.service("api", ordinal).api;
        let answer =
            self.http.get(format!("http://{api}{path}")).bearer_auth(KEY).send().await.expect("the API answers");
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or(Value::Null))
    }

    /// Rows of a query, asked as the user that only reads.
    pub async fn sql(&self, query: &str) -> Vec<Value> {
        self.try_sql(query).await.unwrap_or_else(|error| panic!("{query}: {error}"))
    }

    async fn try_sql(&self, query: &str) -> Result<Vec<Value>, String> {
        let settings = [("default_format", "JSONEachRow"), ("output_format_json_quote_64bit_integers", "0")];
        let request = self.http.post(format!("http://{}", self.clickhouse_at)).query(&settings);
        let answer = request.body(query.to_owned()).send().await.map_err(|error| error.to_string())?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| error.to_string())?;
        if !status.is_success() {
            return Err(text);
        }
        text.lines().map(|line| serde_json::from_str(line).map_err(|error| error.to_string())).collect()
    }

    /// One number of a query.
    pub async fn sql_number(&self, query: &str) -> u64 {
        let rows = self.sql(query).await;
        rows.first().and_then(Value::as_object).and_then(|row| row.values().next()?.as_u64()).expect("a number")
    }

    /// Stops ClickHouse as a crash would; nothing answers at its address.
    pub async fn clickhouse_stop(&mut self) {
        if let Some(clickhouse) = self.clickhouse.take() {
            clickhouse.stop(Duration::from_secs(5)).await;
        }
    }

    /// Starts it again on its data, at its address.
    pub async fn clickhouse_start(&mut self) {
        let config = clickhouse_config(self.dir.path(), self.clickhouse_at);
        self.clickhouse = Some(EmbeddedClickHouse::start(config).await.expect("ClickHouse starts again"));
    }

    /// The process that holds ClickHouse's engine.
    pub fn clickhouse_pid(&self) -> Option<u32> {
        match &*self.clickhouse.as_ref()?.states().borrow() {
            StoreState::Running { pid, .. } => Some(*pid),
            _ => None,
        }
    }

    /// Requests that the carriers have seen.
    pub fn requests(&self) -> usize {
        let carriers = waybill_carrier_sim::carriers();
        self.simulator.ledger().arrivals(&carriers).len()
    }

    /// Services that ended by themselves, which none may.
    pub fn ended_by_themselves(&mut self) -> Vec<String> {
        let ended = self.services.iter_mut().filter_map(|service| {
            let status = service.ended()?;
            Some(format!("{} ended with {status}:\n{}", service.name(), tail(&service.log())))
        });
        ended.collect()
    }

    /// Lines of a level in the logs of all services.
    pub fn lines_with(&self, what: &str) -> Vec<String> {
        let of = |service: &Service| -> Vec<String> {
            let name = service.name();
            service.log().lines().filter(|line| line.contains(what)).map(|line| format!("{name}: {line}")).collect()
        };
        self.services.iter().flat_map(of).collect()
    }
}

/// The events of each number; equal ones are separate events, so they are kept as sorted lists.
pub type Histories = BTreeMap<(String, String), Vec<(String, String, String)>>;

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

impl Cluster {
    /// What the carriers have shown.
    pub fn shown(&self) -> Histories {
        let history = |truth: waybill_carrier_sim::Truth| {
            let event =
                |shown: waybill_carrier_sim::Shown| (shown.time_raw, shown.text, shown.location.unwrap_or_default());
            let mut events: Vec<_> = truth.events.into_iter().map(event).collect();
            events.sort();
            ((truth.carrier, truth.number), events)
        };
        self.simulator.truth().into_iter().map(history).filter(|(_, events)| !events.is_empty()).collect()
    }

    /// What the views show.
    pub async fn stored(&self) -> Histories {
        let sql = "SELECT toString(carrier) AS carrier, number, time_raw, text, ifNull(location, '') AS location \
                   FROM waybill.v_events";
        let mut all = Histories::new();
        for row in self.try_sql(sql).await.unwrap_or_default() {
            let key = (text(&row["carrier"]), text(&row["number"]));
            all.entry(key).or_default().push((text(&row["time_raw"]), text(&row["text"]), text(&row["location"])));
        }
        all.values_mut().for_each(|events| events.sort());
        all
    }

    /// Waits until every parcel that can be read has shown its end and the views equal the ledger, and checks all that must
    /// hold at the end: nothing lost, nothing double, every parcel at its end, budgets and quotas held at the door, no
    /// promise violated. Answers a line for people.
    ///
    /// # Panics
    /// When something does not hold.
    pub async fn check_whole(&mut self) -> String {
        let parcels = u64::from(self.plan.parcels);
        let quota = self.plan.quota.map(|(carrier, _)| carrier);
        let began = Instant::now();
        loop {
            let truth = self.simulator.truth();
            // A carrier whose quota is used up shows no ends; what it has shown must be stored all the same.
            let open = truth.iter().filter(|truth| {
                truth.sub_status.is_some() && !truth.end_shown && Some(truth.carrier.as_str()) != quota
            });
            let (open, shown) = (open.count(), self.shown());
            if open == 0 && self.stored().await == shown && self.shown() == shown {
                break;
            }
            let ended = self.ended_by_themselves();
            assert!(ended.is_empty(), "{}", ended.join("\n"));
            if began.elapsed() > PATIENCE {
                let stored = self.stored().await;
                let differ: Vec<_> = shown
                    .iter()
                    .filter(|(key, events)| stored.get(*key) != Some(events))
                    .map(|(key, events)| {
                        format!("{key:?}: {} shown, {} stored", events.len(), stored.get(key).map_or(0, Vec::len))
                    })
                    .collect();
                panic!(
                    "{open} parcels have not shown their end; {} histories differ: {:#?}",
                    differ.len(),
                    &differ[..differ.len().min(10)]
                );
            }
            sleep(Duration::from_millis(500)).await;
        }
        let registered = self.sql_number("SELECT count() FROM waybill.v_registrations").await;
        assert_eq!(registered, parcels, "no registered number is lost");
        self.check_ends(quota).await;
        let rows = self.sql_number("SELECT count() FROM waybill.v_events").await;
        let unique = self.sql_number("SELECT uniqExact(event_id, version) FROM waybill.v_events").await;
        assert_eq!(rows, unique, "each (event_id, version) once in the views");
        let base = self.sql_number("SELECT count() FROM waybill.tracking_events").await;
        let violated = self.lines_with("promise.violated");
        assert!(violated.is_empty(), "{}", violated.join("\n"));
        let (requests, worst) = self.check_door();
        format!(
            "{registered} numbers, {rows} events in the views ({base} rows in the base table), {requests} requests, 0 over \
             budget, fullest window {:.0} %",
            worst.percent()
        )
    }

    async fn check_ends(&self, without: Option<&str>) {
        let sql =
            "SELECT toString(carrier) AS carrier, number, toString(sub_status) AS sub_status FROM waybill.v_shipments";
        let ends: BTreeMap<(String, String), String> = self
            .sql(sql)
            .await
            .iter()
            .map(|row| ((text(&row["carrier"]), text(&row["number"])), text(&row["sub_status"])))
            .collect();
        let wrong: Vec<String> = self
            .simulator
            .truth()
            .into_iter()
            .filter(|truth| Some(truth.carrier.as_str()) != without)
            .filter_map(|truth| {
                let end = truth.sub_status?.to_string();
                let key = (truth.carrier, truth.number);
                let found = ends.get(&key).cloned().unwrap_or_default();
                (found != end).then(|| format!("{key:?}: {found} instead of {end}"))
            })
            .collect();
        assert!(wrong.is_empty(), "{} parcels stand elsewhere than at their end: {wrong:#?}", wrong.len());
    }

    /// POL-1 and POL-2 at the carriers' door.
    ///
    /// # Panics
    /// When a budget or a quota was exceeded.
    pub fn check_door(&self) -> (usize, FullestWindow) {
        let ledger = self.simulator.ledger();
        let mut requests = 0;
        let mut worst: Option<FullestWindow> = None;
        for slug in waybill_carrier_sim::carriers() {
            let arrivals = ledger.arrivals(&[slug]);
            requests += arrivals.len();
            let window = fullest_window(&arrivals, self.plan.rate_per_second, 10);
            assert!(window.held(), "POL-1: {slug}: {window:?}");
            if worst.as_ref().is_none_or(|worst| window.ratio > worst.ratio) {
                worst = Some(window);
            }
            if let Some((_, allowed)) = self.plan.quota.filter(|(carrier, _)| *carrier == slug) {
                let mut days: BTreeMap<i64, u32> = BTreeMap::new();
                arrivals.iter().for_each(|at| *days.entry(at / 86_400_000_000).or_default() += 1);
                let fullest = days.values().copied().max().unwrap_or_default();
                println!("quota of {slug}: {fullest} of {allowed} requests in a day");
                assert!(fullest <= allowed, "POL-2: {slug}: {fullest} requests in a day that allows {allowed}");
            }
        }
        (requests, worst.expect("there are carriers"))
    }

    /// Requests per second at the carriers' door between two instants (µs).
    pub fn rate_between(&self, from_us: i64, to_us: i64) -> f64 {
        let arrivals = self.simulator.ledger().arrivals(&waybill_carrier_sim::carriers());
        let within = arrivals.iter().filter(|at| (from_us..to_us).contains(*at)).count();
        within as f64 / ((to_us - from_us).max(1) as f64 / 1e6)
    }

    /// The plan that this cluster was started with.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The carriers' ledger.
    pub fn ledger(&self) -> Arc<waybill_carrier_sim::Ledger> {
        self.simulator.ledger()
    }
}
