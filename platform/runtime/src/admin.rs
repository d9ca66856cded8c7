//! The admin listener: `/health/started`, `/health/live`, `/health/ready`, `/metrics`. It carries no data of users and needs
//! no key.

use std::net::SocketAddr;

use axum::{Json, Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    health::Health,
    serve::{Limits, serve as serve_http},
};

/// Most connections at once: probes, a few scrapers, people.
const MAX_CONNECTIONS: usize = 64;

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("{what} cannot listen on {address}: {source}; choose another address with {key}")]
pub struct ListenError {
    /// Which listener.
    pub what: &'static str,
    /// Where.
    pub address: SocketAddr,
    /// The configuration key that holds the address.
    pub key: &'static str,
    /// Why.
    pub source: std::io::Error,
}

/// Binds a listener, with an error that names the remedy.
///
/// # Errors
/// [`ListenError`] when the port is taken or the address is not this machine's.
pub async fn bind(what: &'static str, address: SocketAddr, key: &'static str) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).await.map_err(|source| ListenError { what, address, key, source })
}

#[derive(Clone)]
struct Shared {
    health: Health,
    metrics: Option<PrometheusHandle>,
    shutdown: CancellationToken,
}

/// Serves until shutdown; readiness turns 503 as soon as shutdown begins, while the listener still answers.
pub async fn serve(
    listener: TcpListener,
    health: Health,
    metrics: Option<PrometheusHandle>,
    shutdown: CancellationToken,
    closed: CancellationToken,
) {
    let router = Router::new()
        .route("/health/started", get(started))
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .route("/metrics", get(render))
        .with_state(Shared { health, metrics, shutdown });
    serve_http(listener, router, Limits::of(MAX_CONNECTIONS), closed).await;
}

/// Whether the start is over, well or not: a partition that is refused is no reason to begin again.
async fn started(State(shared): State<Shared>) -> impl IntoResponse {
    let started = shared.health.has_started();
    (status(started), Json(json!({ "started": started, "components": shared.health.report() })))
}

async fn live(State(shared): State<Shared>) -> impl IntoResponse {
    let report = shared.health.report();
    let live = report.iter().all(|component| component.live);
    (status(live), Json(json!({ "live": live, "components": report })))
}

async fn ready(State(shared): State<Shared>) -> impl IntoResponse {
    let report = shared.health.report();
    let stopping = shared.shutdown.is_cancelled();
    let ready = !stopping && report.iter().all(|component| component.ready && component.live);
    (status(ready), Json(json!({ "ready": ready, "stopping": stopping, "components": report })))
}

async fn render(State(shared): State<Shared>) -> impl IntoResponse {
    shared.metrics.map_or_else(|| (StatusCode::NOT_FOUND, String::new()), |handle| (StatusCode::OK, handle.render()))
}

const fn status(good: bool) -> StatusCode {
    if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    #![allow(clippy::disallowed_methods, reason = "reads what its own listener answers")]
    use super::*;

    #[tokio::test]
    async fn a_refused_partition_ends_the_start_and_a_shutdown_only_readiness() {
        let listener = bind("a test", SocketAddr::from(([127, 0, 0, 1], 0)), "admin.listen").await.unwrap();
        let at = listener.local_addr().unwrap();
        let (health, shutdown, closed) = (Health::default(), CancellationToken::new(), CancellationToken::new());
        let serving = tokio::spawn(serve(listener, health.clone(), None, shutdown.clone(), closed.clone()));
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let ask = async |path: &str| {
            let answer = client.get(format!("http://{at}/health/{path}")).send().await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        };
        let all = async || (ask("started").await.0, ask("live").await.0, ask("ready").await.0);

        let partition = health.component("scheduler-3");
        partition.not_ready("restoring");
        assert_eq!(all().await, (503, 200, 503), "still restoring");
        partition.hindered("waybill.schedule/3: the record at offset 7 cannot be read");
        assert_eq!(all().await, (200, 200, 503), "refused: the process stays, and says so");
        assert!(ask("ready").await.1.contains("offset 7"), "with the reason");
        partition.ready();
        assert_eq!(all().await, (200, 200, 200));
        shutdown.cancel();
        assert_eq!(all().await, (200, 200, 503), "stopping");
        closed.cancel();
        drop(client);
        serving.await.unwrap();
    }
}
