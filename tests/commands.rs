//! The commands of a cluster and the lives of its processes, against a real broker.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "waits for programs of its own")]

mod support;

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use support::{Gone, PATIENCE, PROGRAM, eventually, http_client, watch_readiness};
use tokio::time::{Instant, sleep};
use waybill_log::{
    Headers, KafkaLog, Log, NewRecord, NewTopic, TopicPartition,
    kafka::testing::{TestBroker, free_port, signal_process},
};
use waybill_schemas::{CarrierSlug, layout::Layout, topics::Cleanup};

const PARTITIONS: u32 = 4;
/// From readiness saying 503 to the end's beginning.
const DRAIN_DELAY_MS: u64 = 1_000;

/// A configuration on the shared broker under a prefix of its own.
struct Cluster {
    dir: tempfile::TempDir,
    prefix: String,
    log: KafkaLog,
}

/// A process of a service.
struct Service {
    child: Child,
    admin: SocketAddr,
    log: PathBuf,
}

impl Cluster {
    async fn new(prefix: &str) -> Self {
        let broker = TestBroker::shared().await;
        let dir = tempfile::tempdir().unwrap();
        let config = json!({
            "log": { "prefix": prefix, "partitions": PARTITIONS, "kafka": { "brokers": broker.brokers(), "replication": 1 } },
            "clickhouse": { "url": "http://127.0.0.1:1" },
            "admin": { "drain_delay_ms": DRAIN_DELAY_MS },
            "member": "host-0",
        });
        fs::write(dir.path().join("waybill.json"), config.to_string()).unwrap();
        let log = KafkaLog::connect(broker.options()).await.unwrap();
        Self { dir, prefix: prefix.to_owned(), log }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(args).arg("--config").arg(self.dir.path().join("waybill.json")).stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("the program starts")
    }

    /// What a command prints; it must succeed.
    fn says(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{args:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
        said
    }

    fn refuses(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(!output.status.success(), "{args:?} must not succeed");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!said.contains("panic"), "{said}");
        format!("{}{said}", String::from_utf8_lossy(&output.stdout))
    }

    fn start(&self, service: &str) -> Service {
        let admin = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let log = self.dir.path().join(format!("{service}.log"));
        let file = File::create(&log).unwrap();
        let mut command = self.command(&[service]);
        command.env("WAYBILL__ADMIN__LISTEN", admin.to_string()).stdout(file.try_clone().unwrap()).stderr(file);
        Service { child: command.spawn().unwrap(), admin, log }
    }

    fn at(&self, topic: &str, partition: u32) -> TopicPartition {
        TopicPartition::new(format!("{}.{topic}", self.prefix), partition)
    }

    async fn order(&self, key: &str, value: Vec<u8>) {
        let carrier: CarrierSlug = "sandbox".parse().unwrap();
        let layout = Layout { partitions: PARTITIONS, budgets: Default::default() };
        let record = NewRecord {
            at: self.at("commands", layout.partition_of(&carrier)),
            key: Some(key.to_owned().into()),
            value: Some(value.into()),
            headers: Headers::new(),
        };
        self.log.produce(vec![record]).await.remove(0).unwrap();
    }

    /// Records of a topic as `waybill topics tail` prints them.
    fn tail(&self, topic: &str) -> Vec<Value> {
        let said = self.says(&["topics", "tail", topic, "-n", "1000"]);
        said.lines().map(|line| serde_json::from_str(line).expect("a JSON object a line")).collect()
    }
}

impl Service {
    async fn answers(&self, path: &str) -> u16 {
        let asked = http_client().get(format!("http://{}{path}", self.admin)).send().await;
        asked.map_or(0, |answer| answer.status().as_u16())
    }

    async fn ready(&mut self) {
        let began = Instant::now();
        while self.answers("/health/ready").await != 200 {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("it ended with {status}:\n{}", self.said());
            }
            assert!(began.elapsed() < PATIENCE, "not ready in time:\n{}", self.said());
            sleep(Duration::from_millis(100)).await;
        }
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// SIGTERM: what readiness said before the end, how it ended and how long that took.
    async fn stop(&mut self) -> (Gone, ExitStatus, Duration) {
        let watched = watch_readiness(&http_client(), self.admin);
        let began = Instant::now();
        signal_process(self.child.id(), rustix::process::Signal::TERM);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                let took = began.elapsed();
                return (watched.await.unwrap(), status, took);
            }
            assert!(began.elapsed() < PATIENCE, "it does not end:\n{}", self.said());
            sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn errors(log: &str) -> Vec<&str> {
    log.lines().filter(|line| line.contains(" ERROR ")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_created_once_compared_and_never_shrunk() {
    let cluster = Cluster::new("cmd-topics").await;
    assert!(cluster.refuses(&["topics", "diff"]).contains("cmd-topics.commands is missing"));
    assert!(cluster.refuses(&["normalizer"]).contains("waybill topics apply"));
    // Two at once are harmless.
    let mut both: Vec<Child> =
        (0..2).map(|_| cluster.command(&["topics", "apply"]).stdout(Stdio::null()).spawn().unwrap()).collect();
    for child in &mut both {
        assert!(child.wait().unwrap().success());
    }
    let said = cluster.says(&["topics", "apply"]);
    assert!(said.contains("partitions of internal ones: 4, differences left: 0"), "{said}");
    assert!(cluster.says(&["topics", "diff"]).contains("as they should be"));
    // Another number of partitions is another layout: refused before anything is touched, public topics as well.
    let public = "waybill.tracking-events";
    for (partitions, args) in [("2", &["--yes"][..]), ("8", &["--yes"]), ("8", &["--yes", "--grow", public])] {
        let mut command = cluster.command(&[&["topics", "apply"], args].concat());
        let answer = command.env("WAYBILL__LOG__PARTITIONS", partitions).output().unwrap();
        let said = String::from_utf8_lossy(&answer.stderr).into_owned();
        assert!(!answer.status.success() && said.contains("set log.partitions to 4"), "{partitions} {args:?}: {said}");
        for topic in ["cmd-topics.schedule", "cmd-topics.tracking-events"] {
            assert_eq!(cluster.log.describe(topic).await.unwrap().partitions, PARTITIONS, "{partitions}: {topic}");
        }
    }
    let said = cluster.refuses(&["doctor"]);
    for good in ["ok       kafka", "ok       topics", "ok       clock", "ok       api"] {
        assert!(said.contains(good), "{good}: {said}");
    }
    assert!(said.contains("MISSING  clickhouse"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_topic_grows_only_by_its_name_and_settings_change_only_with_yes() {
    let cluster = Cluster::new("cmd-grow").await;
    let of_hour = |topic: &str, partitions| NewTopic {
        name: format!("cmd-grow.{topic}"),
        partitions,
        cleanup: Cleanup::Delete,
        retention: Duration::from_secs(3_600),
        min_compaction_lag: Duration::ZERO,
    };
    // Somebody made them by hand.
    let by_hand = [of_hour("tracking-events", 2), of_hour("status-changes", 2), of_hour("policies", 1)];
    cluster.log.create_topics(&by_hand).await.unwrap();
    let partitions = async |topic: &str| cluster.log.describe(&format!("cmd-grow.{topic}")).await.unwrap().partitions;
    let diff = cluster.refuses(&["topics", "diff"]);
    for wanted in [
        "cmd-grow.tracking-events has 2 partitions, 4 are wanted",
        "cmd-grow.tracking-events: retention.ms is 3600000",
        "cmd-grow.policies: cleanup.policy is delete, compact is wanted",
        "cmd-grow.schedule is missing",
    ] {
        assert!(diff.contains(wanted), "{wanted}: {diff}");
    }

    let said = cluster.says(&["topics", "apply"]);
    assert!(said.contains("retention.ms") && said.contains("; --yes changes it"), "{said}");
    assert!(said.contains("--yes --grow waybill.tracking-events adds them"), "{said}");
    let said = cluster.says(&["topics", "apply", "--yes"]);
    assert!(said.contains("done: cmd-grow.policies: cleanup.policy"), "{said}");
    assert!(said.contains("differences left: 2"), "{said}");
    assert_eq!((partitions("tracking-events").await, partitions("status-changes").await), (2, 2));

    for (topic, wanted) in [
        ("waybill.schedule", "internal topics are the layout"),
        ("waybill.policies", "one partition, always"),
        ("waybill.nothing", "waybill topics list"),
    ] {
        let said = cluster.refuses(&["topics", "apply", "--yes", "--grow", topic]);
        assert!(said.contains(wanted), "{topic}: {said}");
    }
    assert!(cluster.refuses(&["topics", "apply", "--grow", "waybill.tracking-events"]).contains("--yes"));
    let said = cluster.says(&["topics", "apply", "--yes", "--grow", "waybill.tracking-events"]);
    assert!(said.contains("differences left: 1"), "{said}");
    eventually("it has grown", async || (partitions("tracking-events").await == PARTITIONS).then_some(())).await;
    assert_eq!(partitions("status-changes").await, 2, "nobody named it");
}

#[tokio::test(flavor = "multi_thread")]
async fn tail_follows_what_is_appended_until_it_is_stopped() {
    let cluster = Cluster::new("cmd-tail").await;
    cluster.says(&["topics", "apply"]);
    cluster.order("sandbox:FIRST0001", b"{\"first\": true}".to_vec()).await;
    let mut child = cluster
        .command(&["topics", "tail", "waybill.commands", "--follow"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let (sender, lines) = std::sync::mpsc::channel();
    let out = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        BufReader::new(out).lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
    });
    let next = || -> Value { serde_json::from_str(&lines.recv_timeout(PATIENCE).expect("a line")).unwrap() };
    assert_eq!(next()["value"]["first"], true, "what is there comes first");
    // It reads on behind the end that it saw: nothing is printed twice, and nothing appended since is left out.
    for number in 2..5 {
        cluster.order("sandbox:NEXT0001", json!({ "number": number }).to_string().into_bytes()).await;
        let line = next();
        assert_eq!((&line["value"]["number"], &line["key"]), (&json!(number), &json!("sandbox:NEXT0001")));
    }
    assert!(child.try_wait().unwrap().is_none(), "it follows until it is stopped");
    signal_process(child.id(), rustix::process::Signal::TERM);
    let ended = tokio::task::spawn_blocking(move || child.wait().unwrap());
    let ended = tokio::time::timeout(PATIENCE, ended).await.expect("it ends").unwrap();
    assert!(ended.success(), "{ended}");
    reader.join().unwrap();
    assert!(lines.try_recv().is_err(), "and says no more");
}

#[tokio::test(flavor = "multi_thread")]
async fn three_processes_walk_a_number_a_letter_is_written_back_and_sigterm_drains() {
    let cluster = Cluster::new("cmd-walk").await;
    cluster.says(&["topics", "apply"]);
    let mut services: Vec<Service> = ["scheduler", "fetcher", "normalizer"].map(|name| cluster.start(name)).into();
    for service in &mut services {
        service.ready().await;
        assert_eq!(service.answers("/health/live").await, 200);
        eventually("the start is over", async || (service.answers("/health/started").await == 200).then_some(())).await;
    }
    let number = "SANDBOX-DELIVERED-0001";
    let command = json!({ "id": "1", "kind": "register", "carrier": "sandbox", "number": number });
    cluster.order(&format!("sandbox:{number}"), serde_json::to_vec(&command).unwrap()).await;
    cluster.order("sandbox:BROKEN0001", b"{ no command".to_vec()).await;
    eventually("an event is published", async || {
        let events = cluster.tail("waybill.tracking-events");
        events.iter().any(|record| record["value"]["number"] == number).then_some(())
    })
    .await;

    let listed = || -> Vec<Value> {
        let said = cluster.says(&["dead-letters", "list", "--json"]);
        said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let letter = eventually("the letter is there", async || listed().into_iter().next()).await;
    assert_eq!((&letter["reason"], &letter["service"]), (&json!("command_unreadable"), &json!("scheduler")));
    assert_eq!((&letter["replayed"], &letter["topic"]), (&json!(false), &json!("cmd-walk.commands")));
    assert!(cluster.says(&["dead-letters", "replay", "--dry-run"]).contains("1 would be written back"));
    assert!(cluster.says(&["dead-letters", "replay"]).contains("1 written back"));
    // It is as broken as before, so it dies again; the first letter is not written back a second time.
    eventually("it died again", async || (listed().len() == 2).then_some(())).await;
    assert_eq!(listed()[0]["replayed"], json!(true));
    assert!(cluster.says(&["dead-letters", "replay", "--limit", "0"]).contains("0 written back"));

    for mut service in services {
        let (gone, status, took) = service.stop().await;
        let said = service.said();
        assert!(status.success() && took < Duration::from_secs(20), "{status} after {took:?}:\n{said}");
        gone.assert_told_for(Duration::from_millis(DRAIN_DELAY_MS), &said);
        assert!(errors(&said).iter().all(|line| line.contains("command")), "{said}");
    }
}

#[test]
fn commands_of_a_cluster_without_kafka_say_what_to_set() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("waybill.json");
    fs::write(&empty, "{}").unwrap();
    let run = |args: &[&str], config: &Path| {
        let output = Command::new(PROGRAM).args(args).arg("--config").arg(config).output().unwrap();
        assert!(!output.status.success(), "{args:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    for args in [["topics", "apply"].as_slice(), &["topics", "diff"], &["scheduler"], &["fetcher"], &["api"]] {
        let said = run(args, &empty);
        assert!(said.contains("log.kafka.brokers"), "{args:?}: {said}");
    }
    let kafka = dir.path().join("kafka.json");
    fs::write(&kafka, json!({ "log": { "kafka": { "brokers": "127.0.0.1:1" } } }).to_string()).unwrap();
    let said = run(&["standalone"], &kafka);
    assert!(said.contains("log.kafka is set"), "{said}");
    let said = run(&["store"], &kafka);
    assert!(said.contains("clickhouse.url"), "{said}");
    let wrong = dir.path().join("wrong.json");
    let options = json!({ "log": { "kafka": { "brokers": "127.0.0.1:1", "settings": { "acks": "0" } } } });
    fs::write(&wrong, options.to_string()).unwrap();
    let said = run(&["config", "check"], &wrong);
    assert!(said.contains("acks"), "{said}");
    let secret = json!({ "log": { "kafka": { "brokers": "k:1", "settings": { "sasl.password": "hunter22" } } } });
    fs::write(&wrong, secret.to_string()).unwrap();
    let shown = Command::new(PROGRAM).args(["config", "show", "--config"]).arg(&wrong).output().unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("\"partitions\": 32") && !shown.contains("hunter22"), "{shown}");
}

/// What the commands that need ClickHouse say of one at `url`: each one line that names it and holds `expected`.
fn told_of_clickhouse(url: &str, expected: &str) {
    let dir = tempfile::tempdir().unwrap();
    let (file, data) = (dir.path().join("waybill.json"), dir.path().join("data"));
    let free = json!({ "listen": "127.0.0.1:0" });
    fs::write(&file, json!({ "api": free, "admin": free, "clickhouse": { "url": url } }).to_string()).unwrap();
    for args in [["standalone"].as_slice(), &["migrate"], &["doctor"]] {
        let mut command = Command::new(PROGRAM);
        let output = command.args(args).arg("--config").arg(&file).arg("--data-dir").arg(&data).output().unwrap();
        assert!(!output.status.success(), "{args:?}");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        let about = |line: &&str| line.contains(url) && line.contains(expected);
        assert_eq!(said.lines().filter(about).count(), 1, "{args:?}: {said}");
    }
}

#[test]
fn a_clickhouse_that_does_not_answer_is_named_with_what_to_do() {
    told_of_clickhouse("http://127.0.0.1:1", "start it, or correct clickhouse.url");
}

#[test]
fn a_clickhouse_that_speaks_plainly_where_tls_is_meant_is_named_with_what_to_write() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            if stream.read(&mut [0; 4_096]).is_ok_and(|bytes| bytes > 0) {
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
            }
        }
    });
    told_of_clickhouse(&url, "clickhouse.url does not speak TLS there; write http://");
}
