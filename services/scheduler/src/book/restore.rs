//! Building a book from what the log holds: first every number's record, then the attempts that are under way.
//!
//! Of the requests of one number only the last that was not stale can be under way: whoever wrote it knew that all before
//! were answered or would never be sent. It is under way unless the number's record contains its outcome
//! (`attempt` reached), or it belongs to an earlier life of the name (another `registered_at`). Credit is held for each,
//! those of former epochs too: every request yields an outcome.

use std::collections::HashMap;

use waybill_politeness::credit::Cost;
use waybill_schemas::{
    ShipmentKey, WallMs,
    fetch::{FetchRequest, RequestKind},
    schedule::ScheduleRecord,
};

use super::{Book, Now, Open};
use crate::{
    entry::{Entry, Place},
    terms::CarrierTerms,
};

/// A request found in the log, as far as restoring needs it.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) offset: u64,
    pub(crate) attempt: i64,
    pub(crate) kind: RequestKind,
    /// Which life of the name; unknown of a request whose value cannot be read.
    pub(crate) registered_at: Option<waybill_schemas::JourneyMs>,
    pub(crate) since: WallMs,
}

impl Found {
    /// What of a request at an offset matters.
    pub(crate) fn new(request: &FetchRequest, offset: u64, since: WallMs) -> Self {
        let FetchRequest { attempt, kind, registered_at, .. } = *request;
        Self { offset, attempt, kind, registered_at: Some(registered_at), since }
    }

    /// A request of which only key and headers can be read.
    pub(crate) fn named(attempt: i64, offset: u64, since: WallMs) -> Self {
        Self { offset, attempt, kind: RequestKind::Poll, registered_at: None, since }
    }
}

impl Book {
    /// Puts in a number from its record, in place of what an earlier record said.
    pub(crate) fn restore(&mut self, key: ShipmentKey, record: ScheduleRecord, now: &Now) {
        let terms = self.terms.policy(&key.carrier).unwrap_or_else(CarrierTerms::unknown);
        let carrier = self.carrier_id(&key.carrier, terms);
        self.restore_gone(&key);
        self.insert(Entry::from_record(carrier, key.number, record), now);
    }

    /// A tombstone came after the number's record.
    pub(crate) fn restore_gone(&mut self, key: &ShipmentKey) {
        if let Some(id) = self.find(&key.carrier, &key.number) {
            let _ = self.remove(id);
        }
    }

    /// Marks as under way what is; to be called once, after every record is in.
    pub(crate) fn restore_open(&mut self, requests: HashMap<ShipmentKey, Found>, now: &Now) {
        for (key, found) in requests {
            let Some(id) = self.find(&key.carrier, &key.number) else {
                // Forgotten: its record went after its last outcome.
                continue;
            };
            let under_way = self.entry(id).is_some_and(|entry| {
                let this_life = found.registered_at.is_none_or(|at| at == entry.registered_at);
                found.attempt > entry.attempt && this_life
            });
            if under_way {
                self.reopen(id, &found, now);
            }
        }
    }

    fn reopen(&mut self, id: u32, found: &Found, now: &Now) {
        self.unlist(id);
        let mut cost = Cost::NONE;
        if let Some(entry) = self.entries.get_mut(id as usize).and_then(Option::as_mut) {
            entry.place = Place::Open;
            let carrier = &self.carriers[usize::from(entry.carrier)];
            let budget = &mut self.budgets[carrier.budget];
            budget.under_way += 1;
            if found.kind.asks_the_carrier() {
                cost = carrier.terms.cost();
                budget.credit.hold(cost);
            } else {
                self.controls_open += 1;
            }
        }
        self.list(id, now);
        let open = Open { id, attempt: found.attempt, kind: found.kind, cost, since: found.since };
        self.open.insert(found.offset, open);
    }
}
