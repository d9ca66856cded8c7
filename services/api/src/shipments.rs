//! Reading ClickHouse: one shipment with its events and its next look, lists, payloads.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use axum::{
    Json,
    extract::{Path, Query, State},
    http::{HeaderName, HeaderValue, header},
    response::IntoResponse,
};
use clickhouse::query::Query as Sql;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use waybill_clickhouse::client::told;
use waybill_schemas::{ShipmentKey, Status, SubStatus, command::CommandKind, detection::DETECT};

use crate::{
    commands::key_of_path,
    problem::Problem,
    server::{App, Shared},
    views::{EVENT_OBJECTS, SHIPMENT_OBJECTS, nest, newest_first},
};

/// How long ClickHouse may take to answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// Most shipments of one page.
const MAX_PAGE: u32 = 1_000;

/// Rows of a query as JSON objects.
async fn rows(query: Sql) -> Result<Vec<Map<String, Value>>, Problem> {
    let query = query
        .with_setting("output_format_json_quote_64bit_integers", "0")
        .with_setting("date_time_output_format", "iso");
    let read = async {
        let mut lines = query.fetch_bytes("JSONEachRow")?;
        let all = lines.collect().await?;
        Ok::<_, clickhouse::error::Error>(all)
    };
    let bytes = match tokio::time::timeout(DEADLINE, read).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(error)) => {
            tracing::warn!(error = told(&error), "api.store_query_failed");
            return Err(Problem::store_unavailable());
        }
        Err(_) => return Err(Problem::store_unavailable()),
    };
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).map_err(|_| Problem::store_unavailable())).collect()
}

fn by_key(sql: Sql, key: &ShipmentKey) -> Sql {
    sql.param("carrier", key.carrier.as_str()).param("number", key.number.as_str())
}

/// A shipment as the store has it.
pub(crate) async fn find(shared: &Shared, key: &ShipmentKey) -> Result<Option<Value>, Problem> {
    let sql = "SELECT * FROM waybill.v_shipments WHERE carrier = {carrier:String} AND number = {number:String} LIMIT 1";
    let found = rows(by_key(shared.deps.clickhouse.query(sql), key)).await?;
    Ok(found.into_iter().next().map(|row| nest(row, &SHIPMENT_OBJECTS)))
}

/// `GET /v1/shipments/{carrier}/{number}`.
pub(crate) async fn one(
    State(shared): App,
    Path((carrier, number)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let key = key_of_path(&shared, &carrier, &number)?;
    let client = &shared.deps.clickhouse;
    let registration =
        "SELECT * FROM waybill.v_registrations WHERE carrier = {carrier:String} AND number = {number:String} LIMIT 1";
    let events =
        "SELECT * FROM waybill.v_events WHERE carrier = {carrier:String} AND number = {number:String} LIMIT 5000";
    // Asked before the store is: an order leaves these only once the store has it, perhaps while the store answers.
    let before = shared.pending(|pending| pending.get(&key));
    let (shipment, registered, found) = tokio::try_join!(
        find(&shared, &key),
        rows(by_key(client.query(registration), &key)),
        rows(by_key(client.query(events), &key)),
    )?;
    let ordered = shared.pending(|pending| pending.get(&key));
    let known = ordered.or(before);
    let forgotten = known.is_some_and(|order| order.kind == CommandKind::Forget);
    let unknown = shipment.is_none() && registered.is_empty() && known.is_none();
    if unknown || forgotten {
        return Err(Problem::not_found("this number is not registered with this carrier; POST it to /v1/shipments"));
    }
    let mut events: Vec<Value> = found.into_iter().map(|row| nest(row, &EVENT_OBJECTS)).collect();
    newest_first(&mut events);
    let registration = registered.into_iter().next().map(Value::Object);
    let next = registration.as_ref().map(next_look);
    let settlement = if key.carrier.as_str() == DETECT { settlement(&shared, &key).await? } else { Value::Null };
    let state = match (&shipment, ordered) {
        (Some(_), None) => "current",
        (Some(_), Some(_)) => "ordered",
        (None, _) => "pending",
    };
    Ok(Json(json!({
        "carrier": key.carrier, "number": key.number, "state": state,
        "shipment": shipment, "events": events, "next": next, "registration": registration,
        "settlement": settlement,
    })))
}

/// What was tried to settle whose a number is, and the pointer to where it went on.
async fn settlement(shared: &Shared, key: &ShipmentKey) -> Result<Value, Problem> {
    let sql = "SELECT settlement FROM waybill.v_settlements WHERE carrier = {carrier:String} AND number = {number:String} LIMIT 1";
    let found = rows(by_key(shared.deps.clickhouse.query(sql), key)).await?;
    let text = found.first().and_then(|row| row.get("settlement")).and_then(Value::as_str);
    let mut settlement: Value = text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    if let Some(carrier) = settlement.get("carrier").and_then(Value::as_str).map(str::to_owned) {
        settlement["shipment"] = json!(format!("/v1/shipments/{carrier}/{}", key.number));
    }
    Ok(settlement)
}

/// When the number is looked up next, and why. One that is stopped is not, whatever it was due at before.
fn next_look(registration: &Value) -> Value {
    let when =
        |column: &str| if registration["tracking"] == "stopped" { Value::Null } else { registration[column].clone() };
    json!({
        "tracking": registration["tracking"], "due": when("due"), "not_before": when("not_before"),
        "why": { "rule": registration["why_rule"], "text": registration["why_text"], "interval_ms": registration["why_interval_ms"] },
    })
}

/// What a list is narrowed to.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Filter {
    carrier: Option<String>,
    status: Option<String>,
    sub_status: Option<String>,
    tracking: Option<String>,
    #[serde(rename = "ref")]
    reference: Option<String>,
    number: Option<String>,
    cursor: Option<String>,
    limit: Option<u32>,
}

impl Filter {
    fn check(&self) -> Result<(), Problem> {
        let known = |status: &String| Status::ALL.iter().any(|known| known.as_str() == status);
        if self.status.as_ref().is_some_and(|status| !known(status)) {
            let all: Vec<&str> = Status::ALL.iter().map(|status| status.as_str()).collect();
            return Err(Problem::bad_request(format!("status is one of {}", all.join(", "))));
        }
        if self.sub_status.as_ref().is_some_and(|sub| sub.parse::<SubStatus>().is_err()) {
            return Err(Problem::bad_request("sub_status is not in the vocabulary, e.g. InTransit_PickedUp"));
        }
        if self.tracking.as_ref().is_some_and(|tracking| !["active", "stopped"].contains(&tracking.as_str())) {
            return Err(Problem::bad_request("tracking is active or stopped"));
        }
        Ok(())
    }

    fn columns(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let pairs = [
            ("carrier", &self.carrier),
            ("status", &self.status),
            ("sub_status", &self.sub_status),
            ("tracking", &self.tracking),
            ("ref", &self.reference),
            ("number", &self.number),
        ];
        pairs.into_iter().filter_map(|(column, value)| value.as_deref().map(|value| (column, value)))
    }
}

/// `GET /v1/shipments?…`: pages in the order of carrier and number; `next_cursor` is null on the last.
pub(crate) async fn list(
    State(shared): App,
    filter: Result<Query<Filter>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(filter) = filter.map_err(|error| Problem::bad_request(error.body_text()))?;
    filter.check()?;
    let limit = filter.limit.unwrap_or(100).clamp(1, MAX_PAGE);
    let mut conditions: Vec<String> =
        filter.columns().map(|(column, _)| format!("toString({column}) = {{{column}:String}}")).collect();
    let after = match &filter.cursor {
        Some(cursor) => Some(ShipmentKey::from_record_key(cursor).ok_or_else(|| {
            Problem::bad_request("cursor is not one that this interface gave; leave it out to begin again")
        })?),
        None => None,
    };
    if after.is_some() {
        conditions.push("(toString(carrier), number) > ({after_carrier:String}, {after_number:String})".to_owned());
    }
    let narrowed = if conditions.is_empty() { String::new() } else { format!("WHERE {}", conditions.join(" AND ")) };
    let sql = format!("SELECT * FROM waybill.v_shipments {narrowed} ORDER BY carrier, number LIMIT {}", limit + 1);
    let mut query = shared.deps.clickhouse.query(&sql);
    for (column, value) in filter.columns() {
        query = query.param(column, value);
    }
    if let Some(after) = &after {
        query = query.param("after_carrier", after.carrier.as_str()).param("after_number", after.number.as_str());
    }
    let mut shipments: Vec<Value> = rows(query).await?.into_iter().map(|row| nest(row, &SHIPMENT_OBJECTS)).collect();
    let more = shipments.len() > limit as usize;
    shipments.truncate(limit as usize);
    let last = shipments.last().filter(|_| more);
    let cursor = last.map(|shipment| {
        format!(
            "{}:{}",
            shipment["carrier"].as_str().unwrap_or_default(),
            shipment["number"].as_str().unwrap_or_default()
        )
    });
    Ok(Json(json!({ "shipments": shipments, "next_cursor": cursor })))
}

/// Which of these numbers are registered; `None` when the store cannot be asked and the log does not say.
pub(crate) async fn registered(shared: &Shared, keys: &[ShipmentKey]) -> Option<BTreeSet<ShipmentKey>> {
    let mut known: BTreeSet<ShipmentKey> = BTreeSet::new();
    let mut unsure: Vec<String> = Vec::new();
    for key in keys {
        match shared.pending(|pending| pending.get(key)) {
            Some(order) if order.kind == CommandKind::Forget => {}
            Some(_) => {
                known.insert(key.clone());
            }
            None => unsure.push(key.record_key()),
        }
    }
    if unsure.is_empty() {
        return Some(known);
    }
    let sql = "SELECT DISTINCT toString(carrier) AS carrier, number FROM waybill.v_registrations \
               WHERE (toString(carrier), number) IN (SELECT splitByChar(':', k)[1], splitByChar(':', k)[2] FROM (SELECT arrayJoin(splitByChar(',', {keys:String})) AS k))";
    let query = shared.deps.clickhouse.query(sql).param("keys", unsure.join(","));
    let found = rows(query).await.ok()?;
    let field =
        |row: &Map<String, Value>, name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    known.extend(found.iter().filter_map(|row| {
        ShipmentKey::from_record_key(&format!("{}:{}", field(row, "carrier"), field(row, "number")))
    }));
    Some(known)
}

/// The text that [`KEYS`] takes apart again. Slugs and canonical numbers hold neither comma nor colon.
fn listed(keys: &[ShipmentKey]) -> String {
    keys.iter().map(ShipmentKey::record_key).collect::<Vec<_>>().join(",")
}

/// Of the parameter `keys`: pairs of carrier and number.
const KEYS: &str = "(SELECT splitByChar(':', k)[1], splitByChar(':', k)[2] FROM (SELECT arrayJoin(splitByChar(',', {keys:String})) AS k))";

fn key_of_row(row: &Map<String, Value>) -> Option<ShipmentKey> {
    let field = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default();
    ShipmentKey::from_record_key(&format!("{}:{}", field("carrier"), field("number")))
}

/// The numbers that were registered by the commands of one call, in their order.
pub(crate) async fn ordered_by(shared: &Shared, id: &str) -> Result<Vec<ShipmentKey>, Problem> {
    let sql = "SELECT toString(carrier) AS carrier, number FROM waybill.registrations FINAL \
               WHERE startsWith(command_id, concat({id:String}, '-')) ORDER BY command_partition, command_offset LIMIT 100";
    let found = rows(shared.deps.clickhouse.query(sql).param("id", id)).await?;
    Ok(found.iter().filter_map(key_of_row).collect())
}

/// Of undecided numbers those that are settled: number → carrier.
pub(crate) async fn settled(shared: &Shared, keys: &[ShipmentKey]) -> Result<BTreeMap<String, String>, Problem> {
    let undecided: Vec<ShipmentKey> = keys.iter().filter(|key| key.carrier.as_str() == DETECT).cloned().collect();
    if undecided.is_empty() {
        return Ok(BTreeMap::new());
    }
    let sql = format!(
        "SELECT number, decided FROM waybill.v_settlements WHERE (toString(carrier), number) IN {KEYS} AND decided IS NOT NULL"
    );
    let found = rows(shared.deps.clickhouse.query(&sql).param("keys", listed(&undecided))).await?;
    let text = |row: &Map<String, Value>, name: &str| row.get(name).and_then(Value::as_str).map(str::to_owned);
    Ok(found.iter().filter_map(|row| Some((text(row, "number")?, text(row, "decided")?))).collect())
}

/// How the last look at each ended, and when the next is due: `{class, needs, due}`.
pub(crate) async fn last_looks(shared: &Shared, keys: &[ShipmentKey]) -> Result<BTreeMap<ShipmentKey, Value>, Problem> {
    if keys.is_empty() {
        return Ok(BTreeMap::new());
    }
    let looks = format!(
        "SELECT toString(carrier) AS carrier, number, argMax(toString(class), attempt) AS class, argMax(needs, attempt) AS needs \
         FROM waybill.v_fetch_outcomes WHERE (toString(carrier), number) IN {KEYS} AND kind = 'poll' GROUP BY carrier, number"
    );
    let due = format!(
        "SELECT toString(carrier) AS carrier, number, due FROM waybill.v_registrations WHERE (toString(carrier), number) IN {KEYS}"
    );
    let client = &shared.deps.clickhouse;
    let (looks, due) = tokio::try_join!(
        rows(client.query(&looks).param("keys", listed(keys))),
        rows(client.query(&due).param("keys", listed(keys))),
    )?;
    let mut found: BTreeMap<ShipmentKey, Value> = BTreeMap::new();
    for row in looks.into_iter().chain(due) {
        let Some(key) = key_of_row(&row) else { continue };
        let entry = found.entry(key).or_insert_with(|| json!({}));
        for name in ["class", "needs", "due"] {
            if let Some(value) = row.get(name) {
                entry[name] = value.clone();
            }
        }
    }
    Ok(found)
}

/// How far the store has shown each partition of `waybill.commands`: the next offset.
pub(crate) async fn stored_commands(shared: &Shared) -> Result<BTreeMap<u32, u64>, Problem> {
    let sql = "SELECT command_partition AS partition, max(command_offset) + 1 AS next FROM waybill.registrations \
               WHERE command_offset IS NOT NULL GROUP BY partition";
    let found = rows(shared.deps.clickhouse.query(sql)).await?;
    let number = |row: &Map<String, Value>, name: &str| row.get(name).and_then(Value::as_u64);
    Ok(found
        .iter()
        .filter_map(|row| Some((u32::try_from(number(row, "partition")?).ok()?, number(row, "next")?)))
        .collect())
}

/// `GET …/payloads/{hash}`: a carrier's answer as it came, as a download that no browser renders.
pub(crate) async fn payload(
    State(shared): App,
    Path((carrier, number, hash)): Path<(String, String, String)>,
) -> Result<impl IntoResponse, Problem> {
    let key = key_of_path(&shared, &carrier, &number)?;
    if hash.len() > 64 || !hash.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(Problem::bad_request("a payload's hash consists of hexadecimal digits"));
    }
    let sql = "SELECT base64Encode(body) AS body FROM waybill.payloads WHERE hash = {hash:String} AND hash IN \
               (SELECT source_payload FROM waybill.tracking_events WHERE carrier = {carrier:String} AND number = {number:String}) LIMIT 1";
    let found = rows(by_key(shared.deps.clickhouse.query(sql), &key).param("hash", hash.as_str())).await?;
    let gone = || Problem::not_found("no such payload is kept for this number; payloads are kept for a few days");
    let body = found.first().and_then(|row| row.get("body")).and_then(Value::as_str).ok_or_else(gone)?;
    let nosniff = (HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    let media = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(([media, nosniff], json!({ "hash": hash, "zstd_base64": body }).to_string()))
}

/// `GET /v1/analytics/transit-times`: the refreshed aggregate, by carrier if asked.
pub(crate) async fn transit_times(
    State(shared): App,
    Query(filter): Query<BTreeMap<String, String>>,
) -> Result<Json<Value>, Problem> {
    let carrier = filter.get("carrier").cloned().unwrap_or_default();
    let sql = "SELECT * FROM waybill.transit_times WHERE {carrier:String} = '' OR carrier = {carrier:String} \
               ORDER BY carrier, origin, destination, service, week LIMIT 10000";
    let found = rows(shared.deps.clickhouse.query(sql).param("carrier", carrier)).await?;
    Ok(Json(json!({ "transit_times": found })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stopped_number_has_no_next_look() {
        let row =
            |tracking: &str| json!({ "tracking": tracking, "due": "2026-11-22T12:00:00.000Z", "why_rule": "stopped" });
        assert_eq!(next_look(&row("active"))["due"], "2026-11-22T12:00:00.000Z");
        let stopped = next_look(&row("stopped"));
        assert_eq!((&stopped["due"], &stopped["why"]["rule"]), (&Value::Null, &json!("stopped")));
    }
}
