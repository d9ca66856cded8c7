//! The shell: listener, routes and access.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, MatchedPath, Path, Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use waybill_log::{LogError, SharedLog};
use waybill_runtime::{
    Clocks, Health,
    serve::{Limits, serve},
    trace::{TraceParent, Trail},
};
use waybill_schemas::{CarrierSlug, headers, layout::Layout, limits::MAX_POST_BYTES, topics::TopicPrefix};

use crate::{
    auth::{Access, AuthError, Refusal},
    carriers::CarrierDirectory,
    commands,
    config::ApiConfig,
    detection, follow, health,
    lookups::{self, Kept},
    patch,
    pending::Pending,
    problem::{Problem, told},
    shipments,
};

/// How long calls under way may take to end when the process ends.
const DRAIN: Duration = Duration::from_secs(8);

/// What the API stands on.
pub struct Deps {
    /// The log.
    pub log: SharedLog,
    /// Names of topics.
    pub topics: TopicPrefix,
    /// Where numbers live.
    pub layout: Layout,
    /// The clocks.
    pub clocks: Clocks,
    /// The carriers.
    pub carriers: Arc<dyn CarrierDirectory>,
    /// ClickHouse, for reading.
    pub clickhouse: clickhouse::Client,
    /// Where to tell of health.
    pub health: Health,
    /// The configuration.
    pub config: ApiConfig,
}

/// Why the API ended.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Access is not configured safely.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The listener failed.
    #[error("the API's listener failed: {0}")]
    Listener(#[from] std::io::Error),
    /// The log failed.
    #[error("the API cannot follow {topic}: {source}")]
    Log {
        /// The topic.
        topic: String,
        /// Why.
        source: LogError,
    },
}

pub(crate) struct Shared {
    pub(crate) deps: Deps,
    pub(crate) access: Access,
    pub(crate) pending: Mutex<Pending>,
    pub(crate) room: Semaphore,
    pub(crate) lookups: Mutex<Kept>,
    pub(crate) streams: Arc<Semaphore>,
}

impl Shared {
    pub(crate) fn pending<T>(&self, look: impl FnOnce(&mut Pending) -> T) -> T {
        look(&mut self.pending.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn lookups<T>(&self, look: impl FnOnce(&mut Kept) -> T) -> T {
        look(&mut self.lookups.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

pub(crate) type App = State<Arc<Shared>>;

/// Serves until shutdown.
///
/// # Errors
/// [`ApiError`] when access is not safe, or the listener or the log fails for good.
pub async fn run(deps: Deps, listener: TcpListener, shutdown: CancellationToken) -> Result<(), ApiError> {
    let access = Access::new(listener.local_addr()?, deps.config.keys_file.as_deref())?;
    let component = deps.health.component("api");
    let limits = Limits::of(deps.config.max_connections);
    let shared = Arc::new(Shared {
        access,
        pending: Mutex::new(Pending::new(deps.config.pending_limit)),
        room: Semaphore::new(deps.config.concurrency.max(1)),
        lookups: Mutex::default(),
        streams: Arc::new(Semaphore::new(deps.config.max_streams)),
        deps,
    });
    let server = serve(listener, router(Arc::clone(&shared)), limits, shutdown.clone());
    tokio::pin!(server);
    tokio::select! {
        // Only because the process ends.
        () = &mut server => return Ok(()),
        followed = follow::commands(Arc::clone(&shared), component, shutdown.clone()) => followed?,
    }
    // Following has ended because the process ends: calls under way are still answered.
    if tokio::time::timeout(DRAIN, server).await.is_err() {
        tracing::warn!("api.drain_timeout");
    }
    Ok(())
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/shipments", post(commands::post_shipments).get(shipments::list))
        .route("/v1/shipments/{carrier}/{number}", get(shipments::one))
        .route("/v1/shipments/{carrier}/{number}", delete(commands::forget))
        .route("/v1/shipments/{carrier}/{number}/{order}", post(commands::order))
        .route("/v1/shipments/{carrier}/{number}/payloads/{hash}", get(shipments::payload))
        .route("/v1/lookup", post(lookups::post))
        .route("/v1/lookups/{id}", get(lookups::one))
        .route("/v1/lookups/{id}/events", get(lookups::events))
        .route("/v1/detect", post(detection::post_detect))
        .route("/v1/carriers", get(carriers))
        .route("/v1/carriers/{slug}", get(carrier).patch(patch_carrier))
        .route("/v1/analytics/transit-times", get(shipments::transit_times))
        .route("/openapi.json", get(openapi))
        .fallback(async || Problem::not_found("there is nothing under this address; /openapi.json lists what there is"))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this address does not take this method")
        })
        .layer(DefaultBodyLimit::max(MAX_POST_BYTES))
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), guard))
        .with_state(shared)
}

/// Access, a bound on what is worked on at once, and a deadline for each call.
async fn guard(State(shared): App, mut request: Request, next: Next) -> Response {
    let incoming = request.headers().get(headers::TRACEPARENT).and_then(|value| TraceParent::read(value.as_bytes()));
    let route = request.extensions().get::<MatchedPath>().map_or("", |path| path.as_str()).to_owned();
    let trail = Trail::serve(request.method().as_str(), &route, incoming);
    let span = trail.span().clone();
    request.extensions_mut().insert(trail);
    let response = answer(shared, request, next).instrument(span.clone()).await;
    span.record("http.response.status_code", i64::from(response.status().as_u16()));
    response
}

async fn answer(shared: Arc<Shared>, request: Request, next: Next) -> Response {
    match shared.access.check(request.headers()) {
        Ok(()) => {}
        Err(Refusal::Key) => {
            let detail = "send a key as `Authorization: Bearer TOKEN`";
            let mut response = Problem::new(StatusCode::UNAUTHORIZED, "key_needed", detail).into_response();
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return response;
        }
        Err(Refusal::Host) => {
            let detail = "without keys only calls addressed to this machine itself (127.0.0.1, localhost) are answered";
            return Problem::new(StatusCode::FORBIDDEN, "host_not_local", detail).into_response();
        }
    }
    let deadline = Duration::from_secs(30);
    let answered = tokio::time::timeout(deadline, async {
        let Ok(_room) = shared.room.acquire().await else { return busy() };
        told(next.run(request).await)
    });
    answered.await.unwrap_or_else(|_| busy())
}

fn busy() -> Response {
    let detail = "the API is too busy to answer in time; try again in a moment";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail).into_response()
}

async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], waybill_schemas::OPENAPI)
}

/// Reads a JSON body; an error names the place.
pub(crate) fn parse<T: for<'de> Deserialize<'de>>(body: &Bytes) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| Problem::bad_request(format!("the body is not as expected: {error}")))
}

fn describe(shared: &Shared, slug: &CarrierSlug) -> Option<Value> {
    let carriers = &shared.deps.carriers;
    let info = carriers.find(slug)?;
    let lifted_at = carriers.policy(slug).lifted_at;
    Some(health::described(json!(info), carriers.state(slug), &carriers.adapter(slug), lifted_at))
}

async fn carriers(State(shared): App) -> Json<Value> {
    let all = shared.deps.carriers.list();
    let described: Vec<Value> = all.iter().filter_map(|info| describe(&shared, &info.slug)).collect();
    Json(json!({ "carriers": described }))
}

fn known_carrier(shared: &Shared, slug: &str) -> Result<CarrierSlug, Problem> {
    let slug = slug.parse::<CarrierSlug>().ok().filter(|slug| shared.deps.carriers.find(slug).is_some());
    slug.ok_or_else(|| Problem::not_found("there is no such carrier; /v1/carriers lists them"))
}

async fn carrier(State(shared): App, Path(slug): Path<String>) -> Result<Json<Value>, Problem> {
    let slug = known_carrier(&shared, &slug)?;
    Ok(Json(describe(&shared, &slug).unwrap_or_default()))
}

async fn patch_carrier(
    State(shared): App,
    Path(slug): Path<String>,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let slug = known_carrier(&shared, &slug)?;
    let carriers = &shared.deps.carriers;
    let about = patch::About {
        budget: carriers.find(&slug).map(|info| info.budget).unwrap_or_default(),
        candidate: carriers.adapter(&slug)["candidate"]["version"].as_str().map(str::to_owned),
        now: shared.deps.clocks.wall(),
    };
    let policy = patch::applied(carriers.policy(&slug), parse(&body)?, &about)?;
    let written = carriers.set_policy(&slug, policy.clone()).await;
    written.map_err(|error| Problem::log_unavailable(&error))?;
    tracing::info!(carrier = %slug, policy = %json!(policy), "api.carrier_policy_changed");
    Ok((StatusCode::ACCEPTED, Json(json!({ "carrier": slug, "policy": policy }))))
}
