//! ClickHouse's HTTP interface: `GET|POST /`, `/ping`.
//!
//! Whoever does not address this machine itself is turned away before anything else (SEC-1): reading needs no password,
//! and a web page could otherwise read every number through DNS rebinding.
//!
//! Each statement gets a place among a few (waiting for one is bounded in time: 503 afterwards), a thread that may
//! block, and a guard that kills it when the client goes away or its time is over.

use super::answer::{self, Common, Failure};
use super::body::{self, BodyLimits, Encoding};
use super::kill::{KillGuard, Killer};
use super::request::{Asked, form_boundary, form_fields};
use super::run::{Job, Reply, Shared, run};
use crate::engine::EngineError;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get};
use futures::Stream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use waybill_runtime::local;

/// Pieces of an answer that may wait for the client.
const ANSWER_SLOTS: usize = 4;
/// A form holds a statement and its parameters, never data.
const MAX_FORM: usize = 16 << 20;

/// What every request needs.
pub(super) struct App {
    pub(super) shared: Arc<Shared>,
    pub(super) killer: Killer,
    pub(super) places: Arc<Semaphore>,
    pub(super) queue_limit: Duration,
    /// Longest time from a statement's begin to its last byte.
    pub(super) overall: Duration,
    pub(super) body_limits: BodyLimits,
    pub(super) password: String,
    pub(super) timezone: String,
    /// Makes query names unique between restarts.
    pub(super) instance: String,
    pub(super) counter: AtomicU64,
}

pub(super) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/ping", get(async || "Ok.\n"))
        .route("/replicas_status", get(async || "Ok.\n"))
        .route("/", any(handle))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), only_from_here))
        .with_state(app)
}

async fn only_from_here(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    if local::is_from_here(request.headers()) {
        return next.run(request).await;
    }
    let why =
        "only calls addressed to this machine itself (127.0.0.1, localhost) are answered, and no page from elsewhere";
    let common = Common { query_id: String::new(), timezone: app.timezone.clone() };
    answer::failure(&Failure::refused(why), &common)
}

async fn handle(State(app): State<Arc<App>>, request: Request) -> Response {
    let mut asked = Asked::read(request.uri().query().unwrap_or_default(), request.headers());
    let tag = format!("{}-{}", app.instance, app.counter.fetch_add(1, Ordering::Relaxed));
    let query_id = asked.query_id.take().filter(|id| !id.is_empty()).unwrap_or_else(|| tag.clone());
    let common = Common { query_id, timezone: app.timezone.clone() };
    match serve(&app, asked, tag, request, &common).await {
        Ok(response) => response,
        Err(failure) => answer::failure(&failure, &common),
    }
}

async fn serve(
    app: &Arc<App>,
    mut asked: Asked,
    tag: String,
    request: Request,
    common: &Common,
) -> Result<Response, Failure> {
    let method = request.method().clone();
    let reads_only = method == Method::GET || method == Method::HEAD;
    if !reads_only && method != Method::POST {
        return Err(Failure::own(StatusCode::METHOD_NOT_ALLOWED, 501, "only GET and POST are served"));
    }
    let access = asked.access(&app.password).ok_or_else(|| {
        Failure::own(
            StatusCode::UNAUTHORIZED,
            516,
            "Authentication failed: password is incorrect, or there is no user with such name. (AUTHENTICATION_FAILED)",
        )
    })?;
    // A GET never writes: a link must not change anything.
    let access = if reads_only { crate::gate::Access::Reader } else { access };
    if reads_only && asked.query.is_empty() {
        return Ok("Ok.\n".into_response());
    }
    let (parts, body) = request.into_parts();
    let encoding =
        parts.headers.get(header::CONTENT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let encoding = Encoding::from_header(encoding).ok_or_else(|| {
        Failure::own(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            48,
            format_args!("the Content-Encoding {encoding:?} is not understood"),
        )
    })?;
    let body = match form_boundary(&parts.headers) {
        None => body,
        Some(boundary) => {
            let form = tokio::time::timeout(app.body_limits.idle, axum::body::to_bytes(body, MAX_FORM));
            let form = form.await.map_err(|_| Failure::bad_request("the form stalled"))?;
            let form = form.map_err(|_| Failure::bad_request("the form is too large or broke off"))?;
            for (name, value) in form_fields(&form, &boundary).map_err(Failure::bad_request)? {
                asked.take(&name, value);
            }
            Body::empty()
        }
    };
    let place = tokio::time::timeout(app.queue_limit, Arc::clone(&app.places).acquire_owned());
    let Ok(Ok(place)) = place.await else {
        return Err(Failure::own(
            StatusCode::SERVICE_UNAVAILABLE,
            202,
            "too many statements at once, try again. (TOO_MANY_SIMULTANEOUS_QUERIES)",
        ));
    };
    start(app, Job { asked, access, tag }, place, (body, encoding), common).await
}

async fn start(
    app: &Arc<App>,
    job: Job,
    place: OwnedSemaphorePermit,
    (body, encoding): (Body, Encoding),
    common: &Common,
) -> Result<Response, Failure> {
    let deadline = tokio::time::Instant::now() + app.overall;
    let guard = app.killer.guard(job.tag.clone());
    let finished = guard.finished();
    let (head_sender, head) = oneshot::channel();
    let (piece_sender, pieces) = mpsc::channel(ANSWER_SLOTS);
    let (reader, pump) = body::pump(body, app.body_limits);
    let limits = app.body_limits;
    let reply = Reply::new(head_sender, piece_sender, app.shared.limits.send_timeout);
    let shared = Arc::clone(&app.shared);
    tokio::task::spawn_blocking(move || {
        // The place is kept until the thread is done, not until the client is: places bound the engine's load.
        let _place = place;
        let body = body::unpack(reader, encoding, job.asked.packed_body, limits.max_bytes);
        run(&shared, &job, body, reply);
        finished.store(true, Ordering::Release);
    });
    let meta = match tokio::time::timeout_at(deadline, head).await {
        Ok(Ok(outcome)) => outcome?,
        Ok(Err(_)) => {
            return Err(Failure::own(StatusCode::INTERNAL_SERVER_ERROR, 1001, "the statement ended without an answer"));
        }
        Err(_) => {
            return Err(Failure::own(
                StatusCode::REQUEST_TIMEOUT,
                159,
                "the statement took too long. (TIMEOUT_EXCEEDED)",
            ));
        }
    };
    let waiting = Waiting { pieces, deadline, _guard: guard, _pump: pump };
    Ok(answer::success(&meta, common, Body::from_stream(into_stream(waiting))))
}

/// What stays alive until the answer is taken.
struct Waiting {
    pieces: mpsc::Receiver<Result<Bytes, EngineError>>,
    deadline: tokio::time::Instant,
    _guard: KillGuard,
    _pump: tokio_util::task::AbortOnDropHandle<()>,
}

enum Stage {
    Pieces(Waiting),
    /// The statement failed: its mark follows.
    Mark(EngineError),
    /// The error's mark was sent; the body is now broken off, for clients that do not know the mark.
    BreakOff,
}

/// The server writes out what it has when the stream pauses. Before the mark, so that it travels in a piece of its
/// own: clients look for it at the end of a piece and cannot put together one that was cut. After the mark, because an
/// error at once would drop it.
const PAUSE: Duration = Duration::from_millis(50);

fn into_stream(waiting: Waiting) -> impl Stream<Item = Result<Bytes, std::io::Error>> {
    futures::stream::unfold(Some(Stage::Pieces(waiting)), |stage| async move {
        let error = match stage? {
            Stage::Pieces(mut waiting) => {
                match tokio::time::timeout_at(waiting.deadline, waiting.pieces.recv()).await {
                    Ok(None) => return None,
                    Ok(Some(Ok(bytes))) => return Some((Ok(bytes), Some(Stage::Pieces(waiting)))),
                    Ok(Some(Err(error))) => error,
                    Err(_) => too_long(),
                }
            }
            Stage::Mark(error) => {
                tokio::time::sleep(PAUSE).await;
                return Some((Ok(answer::exception_trailer(&error)), Some(Stage::BreakOff)));
            }
            Stage::BreakOff => {
                tokio::time::sleep(PAUSE).await;
                return Some((Err(std::io::Error::other("the statement failed")), None));
            }
        };
        // An empty piece: what came before is on its way while the mark waits.
        Some((Ok(Bytes::new()), Some(Stage::Mark(error))))
    })
}

fn too_long() -> EngineError {
    let message = "Code: 159. DB::Exception: the statement took too long. (TIMEOUT_EXCEEDED)".to_owned();
    EngineError { code: 159, message }
}
