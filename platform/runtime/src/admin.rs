//! The admin listener: `/health/live`, `/health/ready`, `/metrics`. It carries no data of users and needs no key.

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
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .route("/metrics", get(render))
        .with_state(Shared { health, metrics, shutdown });
    serve_http(listener, router, Limits::of(MAX_CONNECTIONS), closed).await;
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
