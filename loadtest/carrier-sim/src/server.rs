//! The door: stamps each arrival, writes it down, answers. One thread of its own, so that what the pipeline does to its
//! runtime does not delay the stamps.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    body::{Body, Bytes, to_bytes},
    extract::{Path, Query, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header},
    response::IntoResponse,
    routing::{any, get, post},
};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    clock::WallClock,
    desk::{self, Layout, Question, Verdict},
    ledger::{AnswerKind, Answered, Ledger, Shown},
    misbehave::{self, Misbehaviour, Rule, Rules},
    plan::Plan,
    replay::Replay,
    shapes::Ask,
    trouble::{self, Asked, Right},
    window::fullest_window,
};

/// Largest body of a request that is read.
const MOST_ASKED: usize = 64 * 1024;
/// How long a request's body may take.
const BODY_DEADLINE: Duration = Duration::from_secs(30);

/// Everything that requests share.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) plan: Arc<Plan>,
    pub(crate) replay: Replay,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) rules: Mutex<Rules>,
    pub(crate) clock: WallClock,
    pub(crate) stop: CancellationToken,
}

impl Door {
    pub(crate) fn journey_ms(&self) -> i64 {
        self.plan.config().clock.journey_at(self.clock.now_us() / 1_000)
    }

    pub(crate) fn with_rules<T>(&self, work: impl FnOnce(&mut Rules) -> T) -> T {
        work(&mut self.rules.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

type Shared = State<Arc<Door>>;

/// All routes.
pub(crate) fn router(door: Arc<Door>) -> Router {
    Router::new()
        .route("/{carrier}/{source}/{step}/{number}", any(carrier))
        .route("/_sim/health", get(health))
        .route("/_sim/parcels", get(parcels))
        .route("/_sim/ledger", get(answers))
        .route("/_sim/truth", get(truth))
        .route("/_sim/arrivals", get(arrivals))
        .route("/_sim/politeness", get(politeness))
        .route("/_sim/misbehave", post(add_rule).get(list_rules).delete(clear_rules))
        .with_state(door)
}

async fn carrier(
    State(door): Shared,
    Path((carrier, source, step, number)): Path<(String, String, String, String)>,
    request: Request,
) -> Response<Body> {
    // The arrival: the head has been read and nothing else has been done.
    let at_us = door.clock.now_us();
    let (parts, body) = request.into_parts();
    let journey_ms = door.plan.config().clock.journey_at(at_us / 1_000);
    let Ok(Ok(body)) = tokio::time::timeout(BODY_DEADLINE, to_bytes(body, MOST_ASKED)).await else {
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        if desk::has_door(&door.replay, &carrier) {
            let (kind, status) = (AnswerKind::Refused, status.as_u16());
            let answered = Answered { at_us, journey_ms, carrier, source, step, number, status, kind };
            if let Err(error) = door.ledger.record(answered, &[]) {
                tracing::error!(%error, "sim.ledger_failed");
            }
        }
        return (status, "the request's body is too large or too slow\n").into_response();
    };
    let redirected = parts.uri.query().is_some_and(|query| query.contains(trouble::REDIRECTED));
    let trouble = door
        .with_rules(|rules| rules.decide(misbehave::Request { carrier: &carrier, number: &number, step: &step }))
        .filter(|trouble| !(redirected && *trouble == Misbehaviour::Redirect));
    let layout = if trouble == Some(Misbehaviour::ChangedLayout) { Layout::Changed } else { Layout::Planned };
    let ask = Ask { step: step.clone(), headers: texts(&parts.headers), body: body.to_vec() };
    let question = Question { carrier: &carrier, number: &number, journey_ms, ask: &ask, layout };
    let verdict = desk::answer(&door.plan, &door.replay, question);

    let mut shown: Vec<Shown> = Vec::new();
    let (kind, mut response, right) = match verdict {
        Verdict::NoSuchCarrier => return (StatusCode::NOT_FOUND, "no such carrier\n").into_response(),
        Verdict::NoSuchStep => {
            let right =
                Right { content_type: "text/plain".to_owned(), body: Bytes::from_static(b"no such step or case\n") };
            (AnswerKind::Unknown, (StatusCode::NOT_FOUND, right.body.clone()).into_response(), right)
        }
        Verdict::Recorded(recorded) => {
            let right = Right { content_type: recorded.content_type, body: recorded.bytes };
            let head = [(header::CONTENT_TYPE, right.content_type.clone())];
            (AnswerKind::Replay, (head, right.body.clone()).into_response(), right)
        }
        Verdict::Generated(answer, events) => {
            shown = events;
            let tag = answer.tagged.then(|| format!("\"{:016x}\"", xxh3_64(&answer.body)));
            let right = Right { content_type: answer.content_type.to_owned(), body: answer.body.into() };
            let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
            let known = tag.as_deref().is_some_and(|tag| has_tag(&parts.headers, tag));
            let (kind, mut response) = if known {
                (AnswerKind::NotModified, StatusCode::NOT_MODIFIED.into_response())
            } else {
                let head = [(header::CONTENT_TYPE, right.content_type.clone())];
                (answer.kind, (status, head, right.body.clone()).into_response())
            };
            let tag = tag.map(|tag| ("etag", tag));
            for (name, value) in answer.headers.into_iter().chain(tag) {
                if let Ok(value) = HeaderValue::from_str(&value) {
                    response.headers_mut().insert(HeaderName::from_static(name), value);
                }
            }
            (kind, response, right)
        }
    };
    let asked = Asked { method: parts.method, uri: parts.uri, now_ms: at_us / 1_000 };
    let (kind, status) = match trouble {
        None => (kind, response.status()),
        Some(trouble) => {
            // Only what arrives whole and readable shows events.
            if !matches!(trouble, Misbehaviour::Slow { .. }) {
                shown.clear();
            }
            (AnswerKind::Misbehaved(trouble.name().to_owned()), trouble::status_of(trouble, &asked))
        }
    };
    let answered = Answered { at_us, journey_ms, carrier, source, step, number, status: status.as_u16(), kind };
    if let Err(error) = door.ledger.record(answered, &shown) {
        // What cannot be written down must not be said.
        tracing::error!(%error, "sim.ledger_failed");
        return (StatusCode::INSUFFICIENT_STORAGE, format!("{error}\n")).into_response();
    }
    if let Some(trouble) = trouble {
        response = trouble::respond(trouble, right, &asked, &door.stop).await;
    }
    response
}

fn texts(headers: &HeaderMap) -> BTreeMap<String, String> {
    let text =
        |(name, value): (&HeaderName, &HeaderValue)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()));
    headers.iter().filter_map(text).collect()
}

fn has_tag(headers: &HeaderMap, tag: &str) -> bool {
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    known.split(',').any(|known| known.trim().trim_start_matches("W/") == tag)
}

fn lines<T: Serialize>(items: impl Iterator<Item = T>) -> Response<Body> {
    let mut out = Vec::new();
    for item in items {
        if serde_json::to_writer(&mut out, &item).is_ok() {
            out.push(b'\n');
        }
    }
    ([(header::CONTENT_TYPE, "application/x-ndjson")], out).into_response()
}

async fn health(State(door): Shared) -> Json<serde_json::Value> {
    Json(serde_json::json!({
        "status": "ok",
        "parcels": door.plan.parcels().len(),
        "recorded": door.replay.cases().count(),
        "journey_ms": door.journey_ms(),
        "plan": door.plan.config(),
    }))
}

async fn parcels(State(door): Shared) -> Response<Body> {
    lines(door.plan.parcels().iter())
}

async fn answers(State(door): Shared) -> Response<Body> {
    lines(door.ledger.answers().into_iter())
}

async fn truth(State(door): Shared) -> Response<Body> {
    lines(crate::truth::of_all(&door.plan, &door.ledger))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ArrivalsQuery {
    /// Comma-separated slugs; absent: all.
    #[serde(default)]
    carrier: Option<String>,
}

async fn arrivals(State(door): Shared, Query(query): Query<ArrivalsQuery>) -> Json<BTreeMap<String, Vec<i64>>> {
    let carriers = match query.carrier {
        Some(list) => list.split(',').map(str::to_owned).collect(),
        None => door.ledger.carriers(),
    };
    Json(carriers.into_iter().map(|slug| (slug.clone(), door.ledger.arrivals(&[&slug]))).collect())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PolitenessQuery {
    /// Comma-separated slugs that share the budget.
    carrier: String,
    /// Requests per second.
    rate: f64,
    /// Requests at once.
    burst: u32,
}

async fn politeness(State(door): Shared, Query(query): Query<PolitenessQuery>) -> Response<Body> {
    if !(query.rate > 0.0 && query.rate.is_finite()) || query.burst == 0 {
        return (StatusCode::BAD_REQUEST, "rate must be above 0 and burst at least 1\n").into_response();
    }
    let carriers: Vec<&str> = query.carrier.split(',').collect();
    Json(fullest_window(&door.ledger.arrivals(&carriers), query.rate, query.burst)).into_response()
}

async fn add_rule(State(door): Shared, Json(rule): Json<Rule>) -> Response<Body> {
    match door.with_rules(|rules| rules.add(rule)) {
        Ok(id) => Json(serde_json::json!({ "id": id })).into_response(),
        Err(error) => (StatusCode::INSUFFICIENT_STORAGE, format!("{error}\n")).into_response(),
    }
}

async fn list_rules(State(door): Shared) -> Response<Body> {
    let rules: Vec<(u64, Rule)> = door.with_rules(|rules| rules.list().cloned().collect());
    lines(rules.into_iter().map(|(id, rule)| serde_json::json!({ "id": id, "rule": rule })))
}

async fn clear_rules(State(door): Shared) -> StatusCode {
    door.with_rules(Rules::clear);
    StatusCode::NO_CONTENT
}
