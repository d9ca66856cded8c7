//! Logs and metrics of a process.

use std::sync::OnceLock;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use serde::{Deserialize, Serialize};
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What is told about a running process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryConfig {
    /// Form of log lines, which go to standard error.
    pub format: LogFormat,
    /// Which are written: `info`, or directives such as `info,waybill_fetcher=debug`.
    pub filter: String,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info".to_owned() }
    }
}

/// The filter is not in the form of directives.
#[derive(Debug, thiserror::Error)]
#[error("telemetry.filter: {0}")]
pub struct FilterError(String);

/// Starts logging to standard error. A second call changes nothing.
///
/// # Errors
/// [`FilterError`] when the filter cannot be read.
pub fn init_logs(config: &TelemetryConfig) -> Result<(), FilterError> {
    let filter = EnvFilter::builder().parse(&config.filter).map_err(|error| FilterError(error.to_string()))?;
    let registry = tracing_subscriber::registry().with(filter);
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    // An error means that a subscriber is installed already, as in tests.
    let _ = match config.format {
        LogFormat::Text => registry.with(fmt::layer().with_writer(std::io::stderr).with_ansi(colours)).try_init(),
        LogFormat::Json => registry.with(fmt::layer().json().with_writer(std::io::stderr)).try_init(),
    };
    Ok(())
}

/// Installs the metrics recorder, once a process, and gives the handle that renders it.
pub fn metrics_handle() -> Option<PrometheusHandle> {
    static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    const SECONDS: [f64; 12] = [0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
    HANDLE
        .get_or_init(|| {
            PrometheusBuilder::new()
                .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
                .ok()?
                .install_recorder()
                .ok()
        })
        .clone()
}

/// Counts a broken promise (DESIGN §7) and logs it; the id is the promise's, e.g. `POL-1`.
pub fn promise_violated(id: &'static str, what: &str) {
    metrics::counter!("waybill_promise_violations_total", "id" => id).increment(1);
    tracing::error!(promise = id, what, "promise.violated");
}
