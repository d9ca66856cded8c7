//! The chart: its values, its objects, and both against a real Kubernetes API server.
//!
//! The server (`scripts/kubernetes.sh`) has no nodes and no controllers: what is proved is that helm and the API server
//! take every object, in the order in which they need each other, and that pods made of them would be admitted. That pods
//! *work* is proved by the tests that run the same command lines and environment as processes (`support/chart.rs`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "reads what its own server answers")]

#[path = "support/chart.rs"]
mod chart;
#[path = "kubernetes/clickhouse.rs"]
mod clickhouse;
#[path = "kubernetes/cluster.rs"]
mod cluster;
#[path = "kubernetes/install.rs"]
mod install;
#[path = "kubernetes/network.rs"]
mod network;
#[path = "kubernetes/objects.rs"]
mod objects;
#[path = "kubernetes/scaling.rs"]
mod scaling;
#[path = "kubernetes/values.rs"]
mod values;

use std::{fs, path::PathBuf};

use chart::{Chart, helm};
use serde_json::Value;

/// Whether helm is there; outside CI a machine without it and without Go skips, aloud.
fn no_helm() -> bool {
    let missing = helm().is_none();
    if missing {
        println!("skipped: neither helm nor Go is installed");
    }
    missing
}

fn example() -> PathBuf {
    chart::root().join("examples/values-three-carriers.yaml")
}

/// Values in a file that lives as long as the test.
struct ValuesFile(tempfile::TempDir);

impl ValuesFile {
    fn new(yaml: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("values.yaml"), yaml).unwrap();
        Self(dir)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("values.yaml")
    }
}

/// Every switch thrown, every optional object there.
const EVERYTHING: &str = r#"
fullnameOverride: tracking
commonLabels: {team: parcels}
image: {repository: registry.example/waybill, digest: "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", pullSecrets: [{name: registry}]}
serviceAccount: {annotations: {example.org/role: waybill}}
kafka:
  brokers: b1.kafka.example:9093,b2.kafka.example:9093
  config: {replication: 3, min_insync_replicas: 2, settings: {security.protocol: SASL_SSL, linger.ms: 2}}
  secretSettings: {sasl.password: {value: kafka-s3cret}}
  files:
    ca.crt: {secret: kafka-ca, key: ca.crt}
    token: {serviceAccountToken: {audience: kafka.example, expirationSeconds: 1800}}
clickhouse:
  url: https://clickhouse.example:8443
  ca: {configMap: clickhouse-ca, key: ca.pem}
  user: waybill
  password: {value: clickhouse-s3cret}
apiKeys: {value: "shop apikey-s3cret-0123456789abcdef"}
carriers:
  usps: {enabled: true, secrets: {client_id: {value: usps-s3cret}, client_secret: {secret: usps, key: secret}}}
  acme:
    enabled: true
    budget: {rate_per_second: 0.25, burst: 2, concurrency: 3, min_interval_s: 60, max_interval_s: 86400, daily_quota: {requests: 3000000}}
    private: [signed_by]
    drift: {unreadable: 0.25, least: 50}
    canary: {adapters: /etc/waybill/adapters/volume-next, share: 0.2, mode: live}
adapters:
  inline: {acme: {adapter: "format: 1\n", mapping: "format: 1\n"}}
  configMaps: [{name: more-carriers, carriers: [bolt, nut]}, {name: maybe, candidates: true, carriers: [bolt]}]
  volumes:
    - {name: shared, source: {persistentVolumeClaim: {claimName: carriers}}}
    - {name: next, candidates: true, source: {persistentVolumeClaim: {claimName: candidates}}}
scheduler: {priorityClassName: high, config: {expiry_days: 45}, env: {RUST_BACKTRACE: 1}}
fetcher:
  autoscaling: {kind: keda, maxReplicas: 16}
  tolerations: [{key: spot, operator: Exists, effect: NoSchedule}]
normalizer: {autoscaling: {kind: hpa}, nodeSelector: {kubernetes.io/arch: amd64}}
store: {autoscaling: {kind: keda}, config: {batch_bytes: 16777216}}
api: {autoscaling: {kind: hpa}, podLabels: {example.org/mesh: inside}, podAnnotations: {example.org/scrape: "no"}}
service: {type: LoadBalancer, port: 80, annotations: {example.org/internal: "true"}}
networkPolicy:
  kafka: {to: [{ipBlock: {cidr: 192.0.2.0/24}}]}
  clickhouse: {to: [{ipBlock: {cidr: 198.51.100.7/32}}], ports: [8443]}
  carriers: {except: [203.0.113.0/24, "2001:db8::/32"]}
  api: {from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ingress}}}]}
  extraEgress: [{to: [{ipBlock: {cidr: 192.0.2.44/32}}], ports: [{protocol: TCP, port: 4317}]}]
serviceMonitor: {enabled: true, labels: {release: prometheus}}
telemetry: {otlp: {endpoint: "http://collector.monitoring:4318", sample_ratio: 0.01}}
otlpHeaders: {authorization: {value: otlp-s3cret}, x-tenant: {secret: usps, key: secret}}
keda: {prometheusAddress: "http://prometheus.monitoring:9090"}
"#;

/// What is written into values as a secret in [`EVERYTHING`].
const SECRETS: [&str; 5] =
    ["kafka-s3cret", "clickhouse-s3cret", "apikey-s3cret-0123456789abcdef", "usps-s3cret", "otlp-s3cret"];

/// The certificate of an authority whose key nobody has.
const AUTHORITY: &str = "-----BEGIN CERTIFICATE-----
MIIBcjCCARigAwIBAgIUGf4v8AgYWL13xyEZdz3M9N5nf4AwCgYIKoZIzj0EAwIw
HjEcMBoGA1UEAwwTQXV0aG9yaXR5IG9mIGEgdGVzdDAgFw0yNjExMjMwNDQ4MjZa
GA8yMTI2MTAzMDA0NDgyNlowHjEcMBoGA1UEAwwTQXV0aG9yaXR5IG9mIGEgdGVz
dDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABKDUwuJG+XPAtsxt2Q30DQktdUDt
nqd3jE4DmWVC6p6He+9Tlg6vVK8n9zFu6grZCspdPPmrPD9ucldK7mTVMvGjMjAw
MA8GA1UdEwEB/wQFMAMBAf8wHQYDVR0OBBYEFMEFTGqi2Z9fDqBxCE8cKsGJhORt
MAoGCCqGSM49BAMCA0gAMEUCIFPfBIbDoYPDEXzjDdjTk28FHwQ6C1A0fe3eN8f0
vXbrAiEA91X93mQevQsZRMOUlac7IjMsM5U3HaluGOgjKTW9+Bc=
-----END CERTIFICATE-----
";

/// What Secrets and ConfigMaps hold that are not the chart's.
fn held(_kind: &str, name: &str, _key: &str) -> String {
    match name {
        "clickhouse-ca" => AUTHORITY.to_owned(),
        // As a file of keys wants it: a name and a token.
        _ => "test secret-of-the-test-0123456789".to_owned(),
    }
}

fn render(values: &[PathBuf], set: &[&str]) -> Result<Chart, String> {
    let files: Vec<&std::path::Path> = values.iter().map(PathBuf::as_path).collect();
    Chart::render("waybill", "shop", &files, set)
}

/// The chart as every test of its objects looks at it: with no values, with the example's, with everything.
fn renderings() -> Vec<(&'static str, Chart)> {
    let everything = ValuesFile::new(EVERYTHING);
    vec![
        ("no values", render(&[], &[]).unwrap()),
        ("three carriers", render(&[example()], &[]).unwrap()),
        ("everything", render(&[everything.path()], &[]).unwrap()),
    ]
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
