//! One trace from the API's request through every topic to ClickHouse, as a real OpenTelemetry Collector receives it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "reads what its own programs answer")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};
use support::{Waybill, embedded_clickhouse, eventually};
use waybill_log::kafka::testing::free_port;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
const NUMBER: &str = "SANDBOX-DELIVERED-0042";

/// A collector that writes what it receives to a file, a JSON object a line.
struct Collector {
    child: Child,
    address: String,
    file: PathBuf,
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Collector {
    /// `None` where it is not there and cannot be built, outside CI.
    fn start(dir: &Path) -> Option<Self> {
        let script = Path::new("../../scripts/otel-collector.sh");
        let built = Command::new(script).arg("build").output().expect("the script runs");
        let said = String::from_utf8_lossy(&built.stderr);
        if built.status.code() == Some(3) && std::env::var_os("CI").is_none() {
            println!("skipped: {said}");
            return None;
        }
        assert!(built.status.success(), "{said}");
        let program = String::from_utf8(built.stdout).expect("a path");
        let address = format!("127.0.0.1:{}", free_port());
        let file = dir.join("spans.json");
        let config = json!({
            "receivers": { "otlp": { "protocols": { "http": { "endpoint": address } } } },
            "exporters": { "file": { "path": file, "flush_interval": "100ms" } },
            "service": {
                "pipelines": { "traces": { "receivers": ["otlp"], "exporters": ["file"] } },
                "telemetry": { "metrics": { "level": "none" } },
            },
        });
        let config_file = dir.join("collector.yaml");
        fs::write(&config_file, config.to_string()).unwrap();
        let log = File::create(dir.join("collector.log")).unwrap();
        let child = Command::new(program.trim())
            .arg("--config")
            .arg(format!("file:{}", config_file.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::from(log.try_clone().unwrap()))
            .stderr(Stdio::from(log))
            .spawn()
            .expect("the collector starts");
        Some(Self { child, address, file })
    }

    fn received(&self) -> String {
        fs::read_to_string(&self.file).unwrap_or_default()
    }

    /// All spans so far.
    fn spans(&self) -> Vec<Span> {
        let mut spans = Vec::new();
        let received = self.received();
        // The last line may be half written.
        for batch in received.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            for resource in batch["resourceSpans"].as_array().into_iter().flatten() {
                let service = attributes(&resource["resource"])["service.name"].clone();
                for scope in resource["scopeSpans"].as_array().into_iter().flatten() {
                    spans.extend(scope["spans"].as_array().into_iter().flatten().map(|span| Span::of(&service, span)));
                }
            }
        }
        spans
    }
}

#[derive(Debug, Clone)]
struct Span {
    service: String,
    name: String,
    kind: u64,
    trace: String,
    id: String,
    parent: String,
    links: Vec<String>,
    attributes: BTreeMap<String, String>,
}

fn attributes(of: &Value) -> BTreeMap<String, String> {
    let one = |attribute: &Value| {
        let value = attribute["value"].as_object().and_then(|value| value.values().next()).cloned().unwrap_or_default();
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        (attribute["key"].as_str().unwrap_or_default().to_owned(), value)
    };
    of["attributes"].as_array().into_iter().flatten().map(one).collect()
}

impl Span {
    fn of(service: &str, span: &Value) -> Self {
        let text = |name: &str| span[name].as_str().unwrap_or_default().to_owned();
        let links = span["links"].as_array().into_iter().flatten();
        Self {
            service: service.to_owned(),
            name: text("name"),
            kind: span["kind"].as_u64().unwrap_or_default(),
            trace: text("traceId"),
            id: text("spanId"),
            parent: text("parentSpanId"),
            links: links.map(|link| link["traceId"].as_str().unwrap_or_default().to_owned()).collect(),
            attributes: attributes(span),
        }
    }
}

// Kinds of spans in OTLP.
const SERVER: u64 = 2;
const CLIENT: u64 = 3;
const PRODUCER: u64 = 4;
const CONSUMER: u64 = 5;

/// What the trace of a first look must hold: name and kind, in the order of the walk.
const WALK: [(&str, u64); 9] = [
    ("POST /v1/shipments", SERVER),
    ("send waybill.commands", PRODUCER),
    ("process waybill.commands", CONSUMER),
    ("send waybill.fetch-requests", PRODUCER),
    ("process waybill.fetch-requests", CONSUMER),
    ("send waybill.fetch-results", PRODUCER),
    ("process waybill.fetch-results", CONSUMER),
    ("send waybill.outcomes", PRODUCER),
    ("process waybill.outcomes", CONSUMER),
];

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_leads_from_the_request_to_the_store_and_names_no_number() {
    if !embedded_clickhouse() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let Some(collector) = Collector::start(dir.path()) else { return };
    let config = json!({
        "telemetry": { "filter": "warn", "otlp": { "endpoint": format!("http://{}", collector.address) } },
    });
    let waybill = Waybill::start(dir.path(), &config).await;
    let body = json!({ "shipments": [{ "number": NUMBER, "carrier": "sandbox", "ref": "a-reference" }] });
    let traceparent = format!("00-{TRACE}-{CALLER}-01");
    let (status, answer) = waybill.post_with("/v1/shipments", &body, &[("traceparent", &traceparent)]).await;
    assert_eq!((status, &answer["rejected"]), (200, &json!([])), "{answer}");

    let spans = eventually("the trace reaches the store", || async {
        let spans = collector.spans();
        let names: BTreeSet<&str> =
            spans.iter().filter(|span| span.trace == TRACE).map(|span| span.name.as_str()).collect();
        let walked = WALK.iter().all(|(name, _)| names.contains(name));
        let linked = spans
            .iter()
            .any(|span| span.name == "INSERT tracking_events" && span.links.iter().any(|trace| trace == TRACE));
        (walked && linked).then_some(spans)
    })
    .await;

    // Each step stands below the one before it.
    let ours: BTreeMap<&str, &Span> =
        spans.iter().filter(|span| span.trace == TRACE).map(|span| (span.id.as_str(), span)).collect();
    let ancestors = |span: &Span| {
        let mut names = Vec::new();
        let mut parent = span.parent.clone();
        while let Some(above) = ours.get(parent.as_str()) {
            names.push(above.name.clone());
            parent.clone_from(&above.parent);
        }
        (names, parent)
    };
    for pair in WALK.windows(2) {
        let found = ours.values().find(|span| span.name == pair[1].0).unwrap();
        assert_eq!(found.kind, pair[1].1, "{found:?}");
        assert_eq!(found.attributes.get("messaging.system").map(String::as_str), Some("kafka"), "{found:?}");
        let (above, root) = ancestors(found);
        assert_eq!(above.first().map(String::as_str), Some(pair[0].0), "{} stands below {above:?}", pair[1].0);
        assert_eq!(root, CALLER, "the trace is the caller's");
    }
    let insert = spans.iter().find(|span| span.name.starts_with("INSERT ")).unwrap();
    assert_eq!((insert.kind, insert.service.as_str()), (CLIENT, "waybill-standalone"));
    for topic in ["tracking-events", "shipments", "status-changes"] {
        assert!(ours.values().any(|span| span.name == format!("send waybill.{topic}")), "{topic}");
    }

    // What is published carries the trace, and nothing that was exported names the number or the reference.
    let received = collector.received();
    for secret in [NUMBER, "a-reference"] {
        assert!(!received.contains(secret), "{secret} was exported");
    }
    drop(waybill);
}
