//! Records as they stand in topics: the scheduler's own and what it reads.

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use waybill_log::{Headers, NewRecord, TopicPartition, claims::epoch_headers, records::attempt_headers};
use waybill_schemas::{
    BudgetName, ShipmentKey,
    command::Command,
    fetch::FetchRequest,
    layout::Layout,
    politeness::SchedulerBudgetRecord,
    schedule::{POSITION_KEY, Position, ScheduleRecord},
    topics::{TopicPrefix, names},
};

/// The places of one partition.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    pub(crate) outcomes: TopicPartition,
    pub(crate) commands: TopicPartition,
    pub(crate) schedule: TopicPartition,
    pub(crate) requests: TopicPartition,
    pub(crate) carriers: TopicPartition,
}

impl Places {
    pub(crate) fn new(topics: &TopicPrefix, partition: u32) -> Self {
        let at = |name: &str| TopicPartition::new(Arc::<str>::from(topics.of(name)), partition);
        Self {
            outcomes: at(names::OUTCOMES),
            commands: at(names::COMMANDS),
            schedule: at(names::SCHEDULE),
            requests: at(names::FETCH_REQUESTS),
            carriers: at(names::CARRIERS),
        }
    }
}

/// JSON of our own types, whose maps have text keys: it cannot fail, and an empty value would be refused by readers.
fn json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).unwrap_or_default().into()
}

fn under_epoch(at: &TopicPartition, key: &str, value: Option<Bytes>, epoch: u64) -> NewRecord {
    NewRecord { at: at.clone(), key: Some(Bytes::from(key.to_owned())), value, headers: epoch_headers(epoch) }
}

/// A number's record, or the tombstone of a number that is gone.
pub(crate) fn schedule(places: &Places, key: &str, record: Option<&ScheduleRecord>, epoch: u64) -> NewRecord {
    under_epoch(&places.schedule, key, record.map(json), epoch)
}

/// How far the inputs are contained.
pub(crate) fn position(places: &Places, position: &Position, epoch: u64) -> NewRecord {
    under_epoch(&places.schedule, POSITION_KEY, Some(json(position)), epoch)
}

/// A request.
pub(crate) fn request(places: &Places, request: &FetchRequest, epoch: u64) -> NewRecord {
    let mut record = under_epoch(&places.requests, &request.key().record_key(), Some(json(request)), epoch);
    record.headers.extend(attempt_headers(request.attempt, None));
    record
}

/// A command to the partition where its carrier's numbers live.
pub(crate) fn command(places: &Places, layout: &Layout, command: &Command) -> NewRecord {
    let key = ShipmentKey::new(command.carrier.clone(), command.number.clone()).record_key();
    NewRecord {
        at: TopicPartition::new(Arc::clone(&places.commands.topic), layout.partition_of(&command.carrier)),
        key: Some(Bytes::from(key)),
        value: Some(json(command)),
        headers: Headers::new(),
    }
}

/// What a budget shows.
pub(crate) fn budget(places: &Places, name: &BudgetName, record: &SchedulerBudgetRecord) -> NewRecord {
    NewRecord {
        at: places.carriers.clone(),
        key: Some(Bytes::from(format!("{name}/scheduler"))),
        value: Some(json(record)),
        headers: Headers::new(),
    }
}
