//! `POST /v1/lookup`, `GET /v1/lookups/{id}` and its events: numbers of visitors, and what is known of them by now.
//!
//! A look-up is nothing but its numbers. Where they are kept: in this process's memory for a while, and in the store, where
//! the registering command of each bears the look-up's id. So another process, or this one after a restart, answers as well;
//! of what was refused only this process knows.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    convert::Infallible,
    sync::Arc,
    time::Duration,
};

use axum::{
    Json,
    body::{Body, Bytes},
    extract::{Extension, Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use futures::stream;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use waybill_runtime::trace::Trail;
use waybill_schemas::{ShipmentKey, command::CommandKind, detection::DETECT};

use crate::{
    commands::take,
    problem::Problem,
    register::Entry,
    server::{App, Shared, parse},
    shipments,
};

/// Most numbers in one look-up.
const MAX_LOOKUP: usize = 40;
/// Look-ups that a process remembers by itself.
const MOST_KEPT: usize = 1_000;
/// How often a stream looks for news.
const NEWS: Duration = Duration::from_millis(1_000);
/// How long a stream stays open; whoever wants more asks again.
const LONGEST_STREAM: Duration = Duration::from_secs(120);

/// One number of a look-up.
#[derive(Debug, Clone)]
enum Item {
    /// Registered, for a while if it was not before.
    Known(ShipmentKey),
    /// Refused: the answer, which stays.
    Refused(Value),
}

/// The look-ups of this process.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    by_id: HashMap<String, Vec<Item>>,
    order: VecDeque<String>,
}

impl Kept {
    fn keep(&mut self, id: String, items: Vec<Item>) {
        self.order.push_back(id.clone());
        self.by_id.insert(id, items);
        while self.order.len() > MOST_KEPT {
            if let Some(oldest) = self.order.pop_front() {
                self.by_id.remove(&oldest);
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum LookupEntry {
    Number(String),
    Entry(Box<Entry>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lookup {
    numbers: Vec<LookupEntry>,
    /// For all numbers: find the carrier by trying.
    #[serde(default)]
    settle: bool,
}

/// Registers unknown numbers for a while and answers at once with what is known.
pub(crate) async fn post(
    State(shared): App,
    Extension(trail): Extension<Trail>,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    let Lookup { numbers, settle } = parse(&body)?;
    if numbers.len() > MAX_LOOKUP {
        let detail = format!("at most {MAX_LOOKUP} numbers a look-up");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_many", detail));
    }
    let entry = |entry| match entry {
        LookupEntry::Number(number) => Entry { number, settle, ..Entry::default() },
        LookupEntry::Entry(entry) => Entry { settle: settle || entry.settle, ..*entry },
    };
    let entries = numbers.into_iter().map(entry).collect();
    let (id, taken, rejected) = take(&shared, entries, CommandKind::Lookup, &trail).await?;
    let mut items: Vec<Item> = taken.into_iter().map(|taken| Item::Known(taken.key)).collect();
    items.extend(rejected.into_iter().map(|entry| Item::Refused(refused(&entry))));
    shared.lookups(|kept| kept.keep(id.clone(), items.clone()));
    let results = results(&shared, &items).await?;
    Ok(Json(json!({ "lookup": id, "results": results })))
}

fn refused(entry: &Value) -> Value {
    let error = &entry["error"];
    let state = match error["code"].as_str() {
        Some("needs_data") => "needs_data",
        Some("carrier_ambiguous") => "ambiguous",
        Some("carrier_not_detected") => "not_detected",
        Some("carrier_disabled") => "adapter_disabled",
        _ => "invalid",
    };
    json!({
        "number": entry["number"], "state": state, "needs": error["fields"], "candidates": error["candidates"],
        "error": error,
    })
}

/// `GET /v1/lookups/{id}`: the same again, as it stands now.
pub(crate) async fn one(State(shared): App, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let items = items(&shared, &id).await?;
    Ok(Json(json!({ "lookup": id, "results": results(&shared, &items).await? })))
}

async fn items(shared: &Shared, id: &str) -> Result<Vec<Item>, Problem> {
    if let Some(items) = shared.lookups(|kept| kept.by_id.get(id).cloned()) {
        return Ok(items);
    }
    let plausible = (8..=32).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let keys = if plausible { shipments::ordered_by(shared, id).await? } else { Vec::new() };
    if keys.is_empty() {
        return Err(Problem::not_found("there is no such look-up; POST /v1/lookup begins one"));
    }
    Ok(keys.into_iter().map(Item::Known).collect())
}

/// Each number's state: `known`, `queued`, what was refused, or how the last look failed.
async fn results(shared: &Shared, items: &[Item]) -> Result<Vec<Value>, Problem> {
    let keys: Vec<ShipmentKey> = items
        .iter()
        .filter_map(|item| match item {
            Item::Known(key) => Some(key.clone()),
            Item::Refused(_) => None,
        })
        .collect();
    // An undecided number goes on where it was settled to be.
    let settled = shipments::settled(shared, &keys).await?;
    let place = |key: &ShipmentKey| settled.get(key.number.as_str()).filter(|_| key.carrier.as_str() == DETECT);
    let at = |key: &ShipmentKey| match place(key).and_then(|carrier| carrier.parse().ok()) {
        Some(carrier) => ShipmentKey::new(carrier, key.number.clone()),
        None => key.clone(),
    };
    let places: Vec<ShipmentKey> = keys.iter().map(at).collect();
    let looks = shipments::last_looks(shared, &places).await?;
    let mut results = Vec::with_capacity(items.len());
    for item in items {
        let key = match item {
            Item::Refused(answer) => {
                results.push(answer.clone());
                continue;
            }
            Item::Known(key) => at(key),
        };
        let shipment = shipments::find(shared, &key).await?;
        results.push(result(&key, shipment, looks.get(&key)));
    }
    Ok(results)
}

fn result(key: &ShipmentKey, shipment: Option<Value>, look: Option<&Value>) -> Value {
    let class = look.and_then(|look| look["class"].as_str());
    let state = match (&shipment, class) {
        (Some(_), _) => "known",
        // Put off: its turn is still to come.
        (
            None,
            None | Some("" | "deferred" | "expired" | "internal" | "tracked" | "not_found" | "registered_no_scan"),
        ) => "queued",
        (None, Some(class)) => class,
    };
    json!({
        "number": key.number, "carrier": key.carrier, "state": state, "shipment": shipment,
        "needs": look.map(|look| look["needs"].clone()).filter(|needs| needs.as_array().is_some_and(|all| !all.is_empty())),
        "expected_at": look.map(|look| look["due"].clone()),
    })
}

/// `GET /v1/lookups/{id}/events`: the results as server-sent events, each again when it has changed, until all are settled.
pub(crate) async fn events(State(shared): App, Path(id): Path<String>) -> Result<Response, Problem> {
    let items = items(&shared, &id).await?;
    let Ok(room) = Arc::clone(&shared.streams).try_acquire_owned() else {
        let detail = "too many streams are open; ask GET /v1/lookups/{id} instead";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail));
    };
    let watch =
        Watch { shared, items, shown: BTreeMap::new(), until: Instant::now() + LONGEST_STREAM, state: Some(room) };
    let body = Body::from_stream(stream::unfold(watch, Watch::next));
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, body).into_response())
}

/// A stream under way.
struct Watch {
    shared: Arc<Shared>,
    items: Vec<Item>,
    /// By place: what was told last.
    shown: BTreeMap<usize, Value>,
    until: Instant,
    /// Its room among the streams; none once it has ended.
    state: Option<tokio::sync::OwnedSemaphorePermit>,
}

impl Watch {
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        self.state.as_ref()?;
        loop {
            let news = match results(&self.shared, &self.items).await {
                Ok(now) => self.news(now),
                // The store is away for a moment: the stream waits like everybody.
                Err(_) => String::new(),
            };
            let settled =
                self.shown.len() == self.items.len() && self.shown.values().all(|one| one["state"] != "queued");
            if settled || Instant::now() >= self.until {
                self.state = None;
                return Some((Ok(Bytes::from(format!("{news}event: end\ndata: {{}}\n\n"))), self));
            }
            if !news.is_empty() {
                return Some((Ok(Bytes::from(news)), self));
            }
            sleep(NEWS).await;
        }
    }

    fn news(&mut self, now: Vec<Value>) -> String {
        let mut told = String::new();
        for (place, result) in now.into_iter().enumerate() {
            if self.shown.get(&place) != Some(&result) {
                told.push_str(&format!("event: result\ndata: {result}\n\n"));
                self.shown.insert(place, result);
            }
        }
        told
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn what_failed_says_how_and_what_was_put_off_waits() {
        let key = ShipmentKey::new("dhl".parse().unwrap(), "AB123456".parse().unwrap());
        let state = |class: &str| result(&key, None, Some(&json!({ "class": class })))["state"].clone();
        assert_eq!(
            (state("blocked"), state("deferred"), state("")),
            (json!("blocked"), json!("queued"), json!("queued"))
        );
        assert_eq!(result(&key, Some(json!({})), Some(&json!({ "class": "blocked" })))["state"], "known");
        assert_eq!(result(&key, None, None)["state"], "queued");
    }

    #[test]
    fn the_oldest_look_ups_go() {
        let mut kept = Kept::default();
        for id in 0..MOST_KEPT + 5 {
            kept.keep(id.to_string(), Vec::new());
        }
        assert_eq!(kept.by_id.len(), MOST_KEPT);
        assert!(!kept.by_id.contains_key("4") && kept.by_id.contains_key("5"));
    }
}
