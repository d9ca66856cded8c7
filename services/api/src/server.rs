//! The shell: listener, routes, access, and the task that follows `waybill.commands`.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;
use waybill_log::{LogError, NewRecord, ReadFrom, SharedLog, TopicPartition};
use waybill_runtime::{Clocks, Component, Health};
use waybill_schemas::{
    CarrierSlug, ShipmentKey, TrackingNumber,
    command::{Command, CommandKind},
    headers,
    layout::Layout,
    limits::{MAX_NUMBERS_PER_POST, MAX_POST_BYTES},
    number::Hyphens,
    topics::{TopicPrefix, names},
};

use crate::{
    auth::{Access, AuthError, Refusal},
    carriers::CarrierDirectory,
    config::ApiConfig,
    detection, health,
    lookups::{self, Kept},
    patch,
    pending::{Ordered, Pending},
    problem::Problem,
    register::{self, Entry, Order},
    shipments,
};

/// Most streams of server-sent events at once.
const MAX_STREAMS: usize = 256;
/// How long a look-up's number stays registered: 7 days, in ms of journey time.
const LOOKUP_MS: i64 = 7 * 86_400_000;

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
    let shared = Arc::new(Shared {
        access,
        pending: Mutex::new(Pending::new(deps.config.pending_limit)),
        room: Semaphore::new(deps.config.concurrency.max(1)),
        lookups: Mutex::default(),
        streams: Arc::new(Semaphore::new(MAX_STREAMS)),
        deps,
    });
    component.ready();
    let followers = follow_commands(Arc::clone(&shared), component, shutdown.clone());
    let stop = shutdown.clone();
    let server = axum::serve(listener, router(Arc::clone(&shared)))
        .with_graceful_shutdown(async move { stop.cancelled().await });
    tokio::select! {
        served = server => Ok(served?),
        followed = followers => followed,
    }
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/shipments", post(post_shipments).get(shipments::list))
        .route("/v1/shipments/{carrier}/{number}", get(shipments::one))
        .route("/v1/shipments/{carrier}/{number}", delete(forget))
        .route("/v1/shipments/{carrier}/{number}/{order}", post(order))
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
async fn guard(State(shared): App, request: Request, next: Next) -> Response {
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
        next.run(request).await
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Registrations {
    shipments: Vec<Entry>,
}

async fn post_shipments(State(shared): App, body: Bytes) -> Result<Json<Value>, Problem> {
    let entries = parse::<Registrations>(&body)?.shipments;
    if entries.len() > MAX_NUMBERS_PER_POST {
        let detail = format!("at most {MAX_NUMBERS_PER_POST} numbers a call");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_many", detail));
    }
    let (_, accepted, rejected) = take(&shared, entries, CommandKind::Register).await?;
    let accepted: Vec<Value> = accepted.into_iter().map(|taken| taken.answer).collect();
    Ok(Json(json!({ "accepted": accepted, "rejected": rejected })))
}

/// A number that was accepted.
pub(crate) struct Taken {
    pub(crate) key: ShipmentKey,
    answer: Value,
}

/// Turns entries into commands and appends them; all or, when the log fails, an error for the whole call. Also answers the
/// id of the call, under which the commands are numbered.
pub(crate) async fn take(
    shared: &Shared,
    entries: Vec<Entry>,
    kind: CommandKind,
) -> Result<(String, Vec<Taken>, Vec<Value>), Problem> {
    let id = format!("{:x}", shared.deps.clocks.wall_us());
    let until = (kind == CommandKind::Lookup).then(|| shared.deps.clocks.journey().plus_ms(LOOKUP_MS));
    let order = Order { kind, id: &id, until };
    let mut taken = Vec::new();
    let mut rejected = Vec::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let typed: String = entry.number.chars().take(80).collect();
        match register::command(entry, index, order, shared.deps.carriers.as_ref()) {
            Ok(accepted) => taken.push(accepted),
            Err(rejection) => rejected.push(json!({ "number": typed, "error": rejection.into_json() })),
        }
    }
    let keys: Vec<ShipmentKey> = taken.iter().map(|(command, _)| key_of(command)).collect();
    let known = shipments::registered(shared, &keys).await;
    let answers: Vec<Taken> = taken
        .iter()
        .map(|(command, detection)| {
            let key = key_of(command);
            let existing = known.as_ref().map(|known| known.contains(&key));
            let answer = json!({
                "number": command.number, "carrier": command.carrier, "ref": command.reference,
                "existing": existing, "detection": detection,
            });
            Taken { key, answer }
        })
        .collect();
    send(shared, taken.into_iter().map(|(command, _)| command).collect()).await?;
    Ok((id, answers, rejected))
}

fn key_of(command: &Command) -> ShipmentKey {
    ShipmentKey::new(command.carrier.clone(), command.number.clone())
}

/// Appends commands and remembers them as pending.
async fn send(shared: &Shared, commands: Vec<Command>) -> Result<(), Problem> {
    let topic: Arc<str> = shared.deps.topics.of(names::COMMANDS).into();
    let mut records = Vec::with_capacity(commands.len());
    for command in &commands {
        let value = serde_json::to_vec(command).map_err(|error| Problem::bad_request(error.to_string()))?;
        records.push(NewRecord {
            at: TopicPartition::new(Arc::clone(&topic), shared.deps.layout.partition_of(&command.carrier)),
            key: Some(key_of(command).record_key().into()),
            value: Some(value.into()),
            headers: vec![(headers::CONTENT_TYPE.to_owned(), Bytes::from_static(b"application/json"))],
        });
    }
    let places: Vec<u32> = records.iter().map(|record| record.at.partition).collect();
    let answers = shared.deps.log.produce(records).await;
    for ((command, partition), answer) in commands.iter().zip(places).zip(answers) {
        let appended = answer.map_err(|error| Problem::log_unavailable(&error))?;
        let ordered = Ordered { partition, offset: appended.offset, at: appended.append_time, kind: command.kind };
        shared.pending(|pending| pending.ordered(key_of(command), ordered));
    }
    Ok(())
}

/// The carrier and number of a path.
pub(crate) fn key_of_path(shared: &Shared, carrier: &str, number: &str) -> Result<ShipmentKey, Problem> {
    let slug: CarrierSlug = carrier
        .parse()
        .map_err(|error: waybill_schemas::carrier::SlugError| Problem::bad_request(error.to_string()))?;
    let hyphens = shared.deps.carriers.find(&slug).map_or(Hyphens::Keep, |info| info.hyphens);
    let number = TrackingNumber::canonical(number, hyphens).map_err(|error| Problem::bad_request(error.to_string()))?;
    Ok(ShipmentKey::new(slug, number))
}

async fn order(
    State(shared): App,
    Path((carrier, number, what)): Path<(String, String, String)>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let kind = match what.as_str() {
        "stop" => CommandKind::Stop,
        "resume" => CommandKind::Resume,
        "refresh" => CommandKind::Refresh,
        _ => return Err(Problem::not_found("a shipment takes the orders stop, resume and refresh")),
    };
    order_known(&shared, &carrier, &number, kind).await
}

async fn forget(
    State(shared): App,
    Path((carrier, number)): Path<(String, String)>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    order_known(&shared, &carrier, &number, CommandKind::Forget).await
}

async fn order_known(
    shared: &Shared,
    carrier: &str,
    number: &str,
    kind: CommandKind,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let key = key_of_path(shared, carrier, number)?;
    if shipments::registered(shared, std::slice::from_ref(&key)).await.is_some_and(|known| known.is_empty()) {
        return Err(Problem::not_found("this number is not registered with this carrier; POST it to /v1/shipments"));
    }
    let command = Command {
        id: format!("{:x}", shared.deps.clocks.wall_us()),
        kind,
        carrier: key.carrier.clone(),
        number: key.number.clone(),
        params: None,
        reference: None,
        tags: None,
        origin: None,
        destination: None,
        ordered_at: None,
        until: None,
        settling: None,
    };
    send(shared, vec![command]).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "carrier": key.carrier, "number": key.number, "ordered": kind }))))
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

/// Follows every partition of `waybill.commands` from where the store stands.
async fn follow_commands(
    shared: Arc<Shared>,
    component: Component,
    shutdown: CancellationToken,
) -> Result<(), ApiError> {
    let topic = shared.deps.topics.of(names::COMMANDS);
    let failed = |source: LogError| ApiError::Log { topic: topic.clone(), source };
    let mut next = vec![None; shared.deps.layout.partitions as usize];
    let mut turn = tokio::time::interval(Duration::from_millis(500));
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            _ = turn.tick() => {}
        }
        component.beat();
        // The store is asked only while there is something to wait for, or to know where to begin.
        let begins = next.iter().any(Option::is_none);
        let stored = if begins || !shared.pending(|pending| pending.is_empty()) {
            shipments::stored_commands(&shared).await.unwrap_or_default()
        } else {
            BTreeMap::new()
        };
        for (partition, offset) in &stored {
            shared.pending(|pending| pending.stored(*partition, *offset));
        }
        for (partition, place) in (0u32..).zip(next.iter_mut()) {
            let at = TopicPartition::new(topic.as_str(), partition);
            let from = match *place {
                Some(from) => from,
                None => {
                    let bounds = shared.deps.log.bounds(&at).await.map_err(failed)?;
                    let stored = stored.get(&partition).copied().unwrap_or(bounds.first);
                    stored.clamp(bounds.first, bounds.next)
                }
            };
            match follow_one(&shared, at, from).await {
                Ok(reached) => *place = Some(reached),
                // Records that were removed by retention are no longer of interest here.
                Err(LogError::OutOfRange { first, .. }) => *place = Some(first),
                Err(error) if error.class() == waybill_log::ErrorClass::Retry => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }
}

async fn follow_one(shared: &Shared, at: TopicPartition, mut from: u64) -> Result<u64, LogError> {
    let partition = at.partition;
    loop {
        let read =
            ReadFrom { at: at.clone(), offset: from, max_records: 1_000, max_bytes: 1 << 20, wait: Duration::ZERO };
        let batch = shared.deps.log.read(read).await?;
        for record in &batch.records {
            let command = record.value.as_ref().and_then(|value| serde_json::from_slice::<Command>(value).ok());
            // Between owners of numbers: nobody registered anything by them.
            let command = command.filter(|one| !matches!(one.kind, CommandKind::Probe | CommandKind::Probed));
            if let Some(command) = command {
                let at = record.append_time;
                let ordered = Ordered { partition, offset: record.offset, at, kind: command.kind };
                shared.pending(|pending| pending.ordered(key_of(&command), ordered));
            }
        }
        from = batch.next_offset;
        if batch.records.is_empty() || from >= batch.end {
            return Ok(from);
        }
    }
}
