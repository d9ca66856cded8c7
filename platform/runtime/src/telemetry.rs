//! Logs and metrics of a process.

use std::sync::OnceLock;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use serde::{Deserialize, Serialize};
use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter, Layer as _,
    filter::{FilterExt as _, filter_fn},
    fmt,
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use crate::trace::{Exporter, OtlpConfig, OtlpError, TARGET};

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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryConfig {
    /// Form of log lines, which go to standard error.
    pub format: LogFormat,
    /// Which are written: `info`, or directives such as `info,waybill_fetcher=debug`. Absent: `info`; `waybill standalone` and
    /// commands choose fewer. Libraries are never heard below `info`: they would quote addresses and answers.
    pub filter: Option<String>,
    /// Where traces are sent; nowhere by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp: Option<OtlpConfig>,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: None, otlp: None }
    }
}

/// Telemetry cannot start as configured.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not in the form of directives.
    #[error("telemetry.filter: {0}")]
    Filter(String),
    /// Traces cannot be exported.
    #[error(transparent)]
    Otlp(#[from] OtlpError),
}

/// Running telemetry. Dropping it loses the last spans; [`Telemetry::finish`] sends them.
#[derive(Debug)]
#[must_use]
pub struct Telemetry {
    exporter: Option<Exporter>,
}

impl Telemetry {
    /// Sends the last spans, within three seconds.
    pub async fn finish(self) {
        if let Some(exporter) = self.exporter {
            exporter.finish().await;
        }
    }
}

/// Whether a line may be written, whatever the filter says. Spans of traces are for the receiver. SEC-1: what a library says
/// below `info` may quote a number, a secret or a carrier's answer.
fn is_ours(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    target != TARGET && (*metadata.level() <= Level::INFO || target.starts_with("waybill") || target == "rdkafka")
}

/// Starts logging to standard error and, where configured, the export of traces as `service` (such as `waybill-fetcher`)
/// of the process `instance`. Called within the runtime. A second call in a process changes nothing.
///
/// # Errors
/// [`TelemetryError`] when the configuration cannot be used.
pub fn init(config: &TelemetryConfig, service: &str, instance: &str) -> Result<Telemetry, TelemetryError> {
    let filter = directives(config)?;
    let filter = filter.and(filter_fn(is_ours));
    let (exporter, tracer) = match &config.otlp {
        None => (None, None),
        Some(otlp) => {
            let (exporter, tracer) = Exporter::start(otlp, service, instance)?;
            (Some(exporter), Some(tracer))
        }
    };
    let spans = tracer.map(|tracer| {
        tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_location(false)
            .with_threads(false)
            .with_level(false)
            .with_tracked_inactivity(false)
            .with_filter(filter_fn(|metadata| metadata.target() == TARGET))
    });
    let lines = match config.format {
        LogFormat::Text => {
            let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
            fmt::layer().with_writer(std::io::stderr).with_ansi(colours).with_filter(filter).boxed()
        }
        LogFormat::Json => fmt::layer().json().with_writer(std::io::stderr).with_filter(filter).boxed(),
    };
    // An error means that a subscriber is installed already, as in tests.
    let _ = tracing_subscriber::registry().with(lines).with(spans).try_init();
    Ok(Telemetry { exporter })
}

fn directives(config: &TelemetryConfig) -> Result<EnvFilter, TelemetryError> {
    let written = config.filter.as_deref().unwrap_or("info");
    EnvFilter::builder().parse(written).map_err(|error| TelemetryError::Filter(error.to_string()))
}

/// Whether the filter can be read; nothing is started.
///
/// # Errors
/// [`TelemetryError`] when it cannot.
pub fn check(config: &TelemetryConfig) -> Result<(), TelemetryError> {
    directives(config).map(|_| ())
}

/// Starts logging only, for commands that look something up and end.
///
/// # Errors
/// [`TelemetryError`] when the filter cannot be read.
pub fn init_logs(config: &TelemetryConfig) -> Result<(), TelemetryError> {
    let _ = init(&TelemetryConfig { otlp: None, ..config.clone() }, "waybill", "")?;
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

const VIOLATIONS: &str = "waybill_promise_violations_total";

/// Shows promises at 0 from a process's start, so that its metrics name what is watched there. Each service names those
/// that its code can count.
pub fn watch_promises(ids: &[&'static str]) {
    for id in ids {
        metrics::counter!(VIOLATIONS, "id" => *id).increment(0);
    }
}

/// Counts a broken promise (DESIGN §7) and logs it; the id is the promise's, e.g. `POL-1`. The one way to tell of it, so
/// that one metric and one text in the log (`promise.violated`) show every breach.
pub fn promise_violated(id: &'static str, what: &str) {
    promise_violated_times(id, 1, what);
}

/// The same for something that happened `times` times at once; nothing where that is 0.
pub fn promise_violated_times(id: &'static str, times: u64, what: &str) {
    if times > 0 {
        metrics::counter!(VIOLATIONS, "id" => id).increment(times);
        tracing::error!(promise = id, times, what, "promise.violated");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used, reason = "a test fails by panicking")]
    use std::sync::{Arc, Mutex};

    use tracing::{Event, Subscriber};
    use tracing_subscriber::layer::{Context, Layer};

    use super::*;

    /// Writes down what comes through the filter.
    #[derive(Clone, Default)]
    struct Heard(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Heard {
        fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
            let line = format!("{} {}", event.metadata().level(), event.metadata().target());
            self.0.lock().expect("nobody panics").push(line);
        }
    }

    #[test]
    fn sec_1_a_library_is_not_heard_below_info_whatever_the_filter_says() {
        let config = TelemetryConfig { filter: Some("trace".to_owned()), ..TelemetryConfig::default() };
        let filter = directives(&config).expect("a filter").and(filter_fn(is_ours));
        let heard = Heard::default();
        let subscriber = tracing_subscriber::registry().with(heard.clone().with_filter(filter));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(target: "hyper_util::client", "told");
            tracing::debug!(target: "hyper_util::client", "hidden");
            tracing::trace!(target: "html5ever", "hidden");
            tracing::debug!(target: "rdkafka", "told");
            tracing::trace!(target: "waybill_fetcher::writer", "told");
            tracing::info!(target: TARGET, "a trace's, not a line's");
        });
        let heard = heard.0.lock().expect("nobody panics").clone();
        assert_eq!(heard, ["INFO hyper_util::client", "DEBUG rdkafka", "TRACE waybill_fetcher::writer"]);
    }

    #[test]
    fn a_promise_is_shown_from_the_start_and_every_breach_is_counted() {
        let handle = metrics_handle().expect("nobody else installs a recorder here");
        let shown = || handle.render();
        watch_promises(&["POL-2", "SCH-1"]);
        assert!(shown().contains("waybill_promise_violations_total{id=\"POL-2\"} 0"), "{}", shown());
        promise_violated("POL-2", "a test");
        promise_violated_times("POL-2", 3, "a test");
        promise_violated_times("SCH-1", 0, "a test");
        assert!(shown().contains("waybill_promise_violations_total{id=\"POL-2\"} 4"), "{}", shown());
        assert!(shown().contains("waybill_promise_violations_total{id=\"SCH-1\"} 0"), "{}", shown());
    }
}
