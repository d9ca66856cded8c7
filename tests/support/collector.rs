//! A real OpenTelemetry Collector, and the spans it received.
#![allow(unreachable_pub, reason = "a module of tests")]

use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use waybill_log::kafka::testing::free_port;

use crate::support::PATIENCE;

/// A collector that writes what it receives to a file, a JSON object a line.
pub struct Collector {
    child: Child,
    /// Where it takes spans, over HTTP.
    pub address: String,
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
    pub fn start(dir: &Path) -> Option<Self> {
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
        let mut collector = Self { child, address, file };
        // Spans that are sent before it listens may be given up.
        let began = Instant::now();
        while TcpStream::connect(&collector.address).is_err() {
            let said = || fs::read_to_string(dir.join("collector.log")).unwrap_or_default();
            if let Some(status) = collector.child.try_wait().expect("a child can be asked") {
                panic!("the collector ended with {status}:\n{}", said());
            }
            assert!(began.elapsed() < PATIENCE, "the collector does not listen:\n{}", said());
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(collector)
    }

    /// All that came in, as it was written.
    pub fn received(&self) -> String {
        fs::read_to_string(&self.file).unwrap_or_default()
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Span> {
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

/// A span as it was received.
#[derive(Debug, Clone)]
pub struct Span {
    /// Who made it.
    pub service: String,
    /// What it is of.
    pub name: String,
    /// Its kind, as OTLP numbers them.
    pub kind: u64,
    /// The trace it belongs to.
    pub trace: String,
    /// Its own id.
    pub id: String,
    /// The span it stands below.
    pub parent: String,
    /// Traces it is linked with.
    pub links: Vec<String>,
    /// What is told of it.
    pub attributes: BTreeMap<String, String>,
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
