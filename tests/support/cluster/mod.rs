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

mod commits;
mod consumers;
mod plan;
mod service;
mod truth;

use std::{
    ffi::OsString,
    fs,
    net::SocketAddr,
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use waybill_carrier_sim::{Config as SimConfig, JourneyMap, PlanConfig, Simulator, wall_now_ms};
use waybill_clickhouse::embedded::{EmbeddedClickHouse, EmbeddedConfig, StoreState};
use waybill_log::kafka::testing::TestBroker;

use crate::{
    chart::{Chart, Pod},
    support::{PATIENCE, PROGRAM, http_client, watch_readiness},
};

pub use commits::Commits;
#[allow(unused_imports, reason = "one test uses it")]
pub use consumers::Consumers;
#[allow(unused_imports, reason = "one test uses it")]
pub use plan::Lives;
pub use plan::Plan;
use plan::{DRAIN_DELAY_MS, KEY};
use service::free_address;
pub use service::{Service, Used, by_thread, tail};

/// The services, in the order in which they start.
pub const ROLES: [&str; 5] = ["store", "normalizer", "fetcher", "scheduler", "api"];

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
    /// Calls made so far: they go round the processes of the API.
    calls: usize,
    dir: TempDir,
    http: reqwest::Client,
}

impl Drop for Cluster {
    /// What was written is kept where a test fails.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.dir.disable_cleanup(true);
            println!("the services' logs are kept in {}", self.dir.path().display());
        }
    }
}

fn clickhouse_config(dir: &Path, listen: SocketAddr) -> EmbeddedConfig {
    let mut config =
        EmbeddedConfig::new(PathBuf::from(PROGRAM), vec![OsString::from("clickhouse-child")], dir.join("clickhouse"));
    config.listen = listen;
    config.start_deadline = PATIENCE;
    config
}

impl Cluster {
    /// Starts everything and waits until all of it is ready.
    ///
    /// # Panics
    /// When a part cannot be started.
    pub async fn start(plan: Plan) -> Self {
        let mut cluster = Self::prepare(plan).await;
        cluster.services.iter_mut().for_each(Service::start);
        cluster.all_ready().await;
        cluster
    }

    /// Starts what the services stand on, with topics and tables, and no service yet.
    ///
    /// # Panics
    /// When a part cannot be started.
    pub async fn prepare(plan: Plan) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let broker = TestBroker::start().await;
        let clickhouse_at = free_address();
        let clickhouse =
            EmbeddedClickHouse::start(clickhouse_config(dir.path(), clickhouse_at)).await.expect("ClickHouse starts");
        let now = wall_now_ms();
        let (beginnings, days) = plan.lives.spread();
        let ago = days * 86_400_000;
        let clock = JourneyMap {
            anchor_ms: now - ago,
            start_ms: now,
            scale: 1.0 + ago as f64 / (f64::from(plan.lives_s) * 1_000.0),
        };
        let parcels = PlanConfig { beginnings, ..PlanConfig::new(plan.seed, plan.parcels, clock) };
        let simulator = Simulator::start(SimConfig::new(parcels)).expect("the simulated carriers start");

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
            calls: 0,
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
                cluster.services.push(Service::new(role, ordinal, pod, folder));
            }
        }
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
                if !service.runs() {
                    break;
                }
                if let Some(status) = service.ended() {
                    panic!("{} ended with {status}:\n{}", service.name(), tail(&service.log()));
                }
                if service.ready(&self.http).await {
                    break;
                }
                if began.elapsed() > PATIENCE {
                    let why = service.why_not_ready(&self.http).await;
                    panic!("{} is not ready: {why}\n{}", service.name(), tail(&service.log()));
                }
                sleep(Duration::from_millis(100)).await;
            }
        }
    }

    /// SIGTERM to all at once. Answers how long it took until the last had ended.
    ///
    /// # Panics
    /// When one does not end with 0 within 20 s.
    pub async fn stop_all(&mut self) -> Duration {
        // Whoever is being replaced says so first, and has not ended yet.
        let watch = |service: &Service| (service.name(), watch_readiness(&self.http, service.admin));
        let watched: Vec<_> = self.services.iter().map(watch).collect();
        let began = Instant::now();
        self.services.iter().for_each(Service::terminate);
        for service in &mut self.services {
            let (status, _) = service.stopped().await;
            let (name, took) = (service.name(), began.elapsed());
            assert!(status.success(), "{name} ended with {status}:\n{}", tail(&service.log()));
            assert!(took < Duration::from_secs(20), "{name} took {took:?} to end");
        }
        let took = began.elapsed();
        for (name, gone) in watched {
            let gone = gone.await.expect("asking does not panic");
            gone.assert_told_for(Duration::from_millis(DRAIN_DELAY_MS), &name);
        }
        took
    }

    /// One service.
    pub fn service(&mut self, role: &str, ordinal: u32) -> &mut Service {
        let found = self.services.iter_mut().find(|service| service.role == role && service.ordinal == ordinal);
        found.expect("there is one")
    }

    /// Registers every parcel of the plan over the HTTP interface, spread over its processes; asks again where a call was
    /// refused for now, as a client does. Repeating is safe.
    pub async fn register_all(&mut self) {
        self.register_places(0..self.plan.parcels as usize).await;
    }

    /// The same for the parcels at some places of the plan.
    pub async fn register_places(&mut self, places: Range<usize>) {
        let plan = self.simulator.plan();
        for chunk in plan.parcels()[places].chunks(500) {
            let entries: Vec<Value> = chunk
                .iter()
                .map(|parcel| {
                    json!({
                        "carrier": parcel.carrier, "number": parcel.number, "params": parcel.params, "ref": parcel.reference,
                    })
                })
                .collect();
            self.register(&json!({ "shipments": entries }), chunk.len()).await;
        }
    }

    /// One call that registers `count` numbers, at the processes of the API in turn until one takes it.
    pub async fn register(&mut self, body: &Value, count: usize) {
        let apis: Vec<SocketAddr> =
            self.services.iter().filter(|service| service.role == "api").map(|service| service.api).collect();
        let began = Instant::now();
        loop {
            self.calls += 1;
            match self.post(apis[self.calls % apis.len()], "/v1/shipments", body).await {
                Ok((200, answer)) => {
                    assert_eq!(answer["rejected"], json!([]), "{answer}");
                    assert_eq!(answer["accepted"].as_array().map(Vec::len), Some(count));
                    return;
                }
                other => assert!(began.elapsed() < PATIENCE, "a registration does not get through: {other:?}"),
            }
            sleep(Duration::from_millis(300)).await;
        }
    }

    async fn post(&self, api: SocketAddr, path: &str, body: &Value) -> Result<(u16, Value), reqwest::Error> {
        self.post_with(api, path, body, &[]).await
    }

    /// POST with further headers, at one process of the API: status and body.
    pub async fn post_with(
        &self,
        api: SocketAddr,
        path: &str,
        body: &Value,
        headers: &[(&str, &str)],
    ) -> Result<(u16, Value), reqwest::Error> {
        let mut request = self.http.post(format!("http://{api}{path}")).bearer_auth(KEY).json(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
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

    /// CPU time, by threads as well, and memory of each service and of what they stand on, a line each.
    pub fn used(&self) -> Vec<String> {
        let services = self.services.iter().filter(|service| service.runs()).map(|one| (one.name(), one.pid()));
        let parts = [("the broker".to_owned(), self.broker.pid())];
        let store = self.clickhouse_pid().map(|pid| ("ClickHouse".to_owned(), pid));
        let line = |(name, pid): (String, u32)| {
            let Used { cpu_s, peak_mib } = Used::of(pid);
            format!("{name}: {cpu_s:.1} s of CPU ({}), at most {peak_mib} MiB", by_thread(pid))
        };
        services.chain(parts).chain(store).map(line).collect()
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
