//! Registration and orders: from a call's body to commands in the log.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::{Extension, Path, State},
    http::StatusCode,
};
use serde::Deserialize;
use serde_json::{Value, json};
use waybill_log::{NewRecord, TopicPartition};
use waybill_runtime::trace::Trail;
use waybill_schemas::{
    CarrierSlug, ShipmentKey, TrackingNumber,
    command::{Command, CommandKind},
    headers,
    limits::MAX_NUMBERS_PER_POST,
    number::Hyphens,
    topics::names,
};

use crate::{
    pending::Ordered,
    problem::Problem,
    register::{self, Entry, Order},
    server::{App, Shared, parse},
    shipments,
};

/// How long a look-up's number stays registered: 7 days, in ms of journey time.
const LOOKUP_MS: i64 = 7 * 86_400_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Registrations {
    shipments: Vec<Entry>,
}

pub(crate) async fn post_shipments(
    State(shared): App,
    Extension(trail): Extension<Trail>,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    let entries = parse::<Registrations>(&body)?.shipments;
    if entries.len() > MAX_NUMBERS_PER_POST {
        let detail = format!("at most {MAX_NUMBERS_PER_POST} numbers a call");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_many", detail));
    }
    let (_, accepted, rejected) = take(&shared, entries, CommandKind::Register, &trail).await?;
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
    trail: &Trail,
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
    send(shared, taken.into_iter().map(|(command, _)| command).collect(), trail).await?;
    Ok((id, answers, rejected))
}

pub(crate) fn key_of(command: &Command) -> ShipmentKey {
    ShipmentKey::new(command.carrier.clone(), command.number.clone())
}

/// Appends commands and remembers them as pending.
async fn send(shared: &Shared, commands: Vec<Command>, trail: &Trail) -> Result<(), Problem> {
    let topic: Arc<str> = shared.deps.topics.of(names::COMMANDS).into();
    let mut records = Vec::with_capacity(commands.len());
    // One span for the whole append, whose context every command carries.
    let mut carried = Vec::new();
    let sending = trail.send(&topic, &mut carried);
    for command in &commands {
        let value = serde_json::to_vec(command).map_err(|error| Problem::bad_request(error.to_string()))?;
        records.push(NewRecord {
            at: TopicPartition::new(Arc::clone(&topic), shared.deps.layout.partition_of(&command.carrier)),
            key: Some(key_of(command).record_key().into()),
            value: Some(value.into()),
            headers: [(headers::CONTENT_TYPE.to_owned(), Bytes::from_static(b"application/json"))]
                .into_iter()
                .chain(carried.iter().cloned())
                .collect(),
        });
    }
    let places: Vec<u32> = records.iter().map(|record| record.at.partition).collect();
    let answers = shared.deps.log.produce(records).await;
    drop(sending);
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

pub(crate) async fn order(
    State(shared): App,
    Extension(trail): Extension<Trail>,
    Path((carrier, number, what)): Path<(String, String, String)>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let kind = match what.as_str() {
        "stop" => CommandKind::Stop,
        "resume" => CommandKind::Resume,
        "refresh" => CommandKind::Refresh,
        _ => return Err(Problem::not_found("a shipment takes the orders stop, resume and refresh")),
    };
    order_known(&shared, (&carrier, &number), kind, &trail).await
}

pub(crate) async fn forget(
    State(shared): App,
    Extension(trail): Extension<Trail>,
    Path((carrier, number)): Path<(String, String)>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    order_known(&shared, (&carrier, &number), CommandKind::Forget, &trail).await
}

async fn order_known(
    shared: &Shared,
    (carrier, number): (&str, &str),
    kind: CommandKind,
    trail: &Trail,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let key = key_of_path(shared, carrier, number)?;
    if shipments::registered(shared, std::slice::from_ref(&key)).await.is_some_and(|known| known.is_empty()) {
        return Err(Problem::not_found("this number is not registered with this carrier; POST it to /v1/shipments"));
    }
    let id = format!("{:x}", shared.deps.clocks.wall_us());
    let command = Command::new(id, kind, key.carrier.clone(), key.number.clone());
    send(shared, vec![command], trail).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "carrier": key.carrier, "number": key.number, "ordered": kind }))))
}
