//! Sending spans to an OTLP receiver over HTTP, in the background: a receiver that is slow or away costs spans, counted,
//! and nothing else.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use bytes::Bytes;
use opentelemetry::{KeyValue, trace::TracerProvider as _};
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider},
};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use waybill_schemas::files::read_secret;

/// How long the last spans may take at the end of a process.
const FLUSH: Duration = Duration::from_secs(3);
/// Most of an answer that is read; nothing of it is needed.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Where spans go.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OtlpConfig {
    /// The receiver's address for OTLP over HTTP, e.g. `http://collector:4318`; `/v1/traces` is added.
    pub endpoint: String,
    /// Share of new traces that are recorded, from 0 to 1; a trace that came from elsewhere keeps its own decision.
    #[serde(default = "everything")]
    pub sample_ratio: f64,
    /// How long one export may take, in milliseconds.
    #[serde(default = "ten_seconds")]
    pub timeout_ms: u64,
    /// Headers of each request whose values are in files, e.g. `authorization: /run/secrets/otlp`.
    #[serde(default)]
    pub header_files: BTreeMap<String, PathBuf>,
}

const fn everything() -> f64 {
    1.0
}

const fn ten_seconds() -> u64 {
    10_000
}

/// Spans cannot be exported as configured.
#[derive(Debug, thiserror::Error)]
pub enum OtlpError {
    /// A figure or address that cannot be.
    #[error("telemetry.otlp.{0}")]
    Config(String),
    /// The client cannot be made.
    #[error("telemetry.otlp: {0}")]
    Client(String),
}

/// The running export; [`Exporter::finish`] sends what is left.
#[derive(Debug)]
pub struct Exporter {
    provider: SdkTracerProvider,
}

impl OtlpConfig {
    /// Checks the figures.
    ///
    /// # Errors
    /// [`OtlpError::Config`].
    pub fn check(&self) -> Result<(), OtlpError> {
        if !(0.0..=1.0).contains(&self.sample_ratio) {
            return Err(OtlpError::Config("sample_ratio must be from 0 to 1".to_owned()));
        }
        if !self.endpoint.starts_with("http://") && !self.endpoint.starts_with("https://") {
            return Err(OtlpError::Config("endpoint must be an address such as http://collector:4318".to_owned()));
        }
        if !(100..=60_000).contains(&self.timeout_ms) {
            return Err(OtlpError::Config("timeout_ms must be from 100 to 60000".to_owned()));
        }
        Ok(())
    }

    fn headers(&self) -> Result<std::collections::HashMap<String, String>, OtlpError> {
        let read = |(name, path): (&String, &PathBuf)| {
            let text = read_secret(path)
                .map_err(|error| OtlpError::Config(format!("header_files.{name} {}: {error}", path.display())))?;
            Ok((name.clone(), text.trim().to_owned()))
        };
        self.header_files.iter().map(read).collect()
    }
}

impl Exporter {
    /// Starts exporting; `service` is the part of Waybill that speaks (`waybill-fetcher`), `instance` this process's name.
    /// Must be called within the runtime that is to carry the requests.
    ///
    /// # Errors
    /// [`OtlpError`].
    pub fn start(config: &OtlpConfig, service: &str, instance: &str) -> Result<(Self, SdkTracer), OtlpError> {
        config.check()?;
        let timeout = Duration::from_millis(config.timeout_ms);
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .timeout(timeout)
            .connect_timeout(Duration::from_secs(5))
            .build()
            .map_err(|error| OtlpError::Client(error.to_string()))?;
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(Client { http, runtime: Handle::current() })
            .with_endpoint(format!("{}/v1/traces", config.endpoint.trim_end_matches('/')))
            .with_timeout(timeout)
            .with_headers(config.headers()?)
            .build()
            .map_err(|error| OtlpError::Client(error.to_string()))?;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(4_096)
            .with_max_export_batch_size(512)
            .with_scheduled_delay(Duration::from_secs(1))
            .build();
        let resource = Resource::builder()
            .with_service_name(service.to_owned())
            .with_attribute(KeyValue::new("service.instance.id", instance.to_owned()))
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(BatchSpanProcessor::builder(exporter).with_batch_config(batches).build())
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(config.sample_ratio))))
            .with_resource(resource)
            .build();
        let tracer = provider.tracer("waybill");
        Ok((Self { provider }, tracer))
    }

    /// Sends what is left, for as long as that may take. The sender's thread waits for the runtime, so this one must not.
    pub async fn finish(self) {
        let ended = tokio::task::spawn_blocking(move || self.provider.shutdown_with_timeout(FLUSH)).await;
        if let Ok(Err(error)) = ended {
            tracing::warn!(%error, "trace.last_spans_lost");
        }
    }
}

/// The workspace's own HTTP client, on the runtime: the exporter's thread has none.
struct Client {
    http: reqwest::Client,
    runtime: Handle,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers may be secrets.
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let http = self.http.clone();
        let sending = self.runtime.spawn(async move {
            let (parts, body) = request.into_parts();
            let asked = http.request(parts.method, parts.uri.to_string()).headers(parts.headers).body(body);
            let mut answer = asked.send().await?;
            let status = answer.status();
            let mut body = Vec::new();
            while let Some(chunk) = answer.chunk().await? {
                let room = MAX_ANSWER_BYTES.saturating_sub(body.len());
                body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                if room == 0 {
                    break;
                }
            }
            Ok::<_, reqwest::Error>((status, body))
        });
        let sent = match sending.await {
            Ok(sent) => sent,
            Err(error) => return Err(error.into()),
        };
        // Counted here and not logged: one line an export would fill the log while a receiver is away.
        if !sent.as_ref().is_ok_and(|(status, _)| status.is_success()) {
            metrics::counter!("waybill_trace_exports_failed_total").increment(1);
        }
        let (status, body) = sent?;
        Ok(Response::builder().status(status).body(Bytes::from(body))?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn headers_come_from_files_and_one_without_an_end_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "Bearer x\n").unwrap();
        let with = |path: PathBuf| OtlpConfig {
            endpoint: "http://collector:4318".to_owned(),
            sample_ratio: everything(),
            timeout_ms: ten_seconds(),
            header_files: BTreeMap::from([("authorization".to_owned(), path)]),
        };
        assert_eq!(with(file.path().to_owned()).headers().unwrap()["authorization"], "Bearer x");
        let refused = with("/dev/zero".into()).headers().unwrap_err().to_string();
        assert!(
            refused.contains("header_files.authorization") && refused.contains("more than 65536 bytes"),
            "{refused}"
        );
    }
}
