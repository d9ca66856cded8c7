//! What comes in: outcomes and commands, each read once, and a dead letter for each that cannot be read or carried out.

use waybill_log::{
    Record, TopicPartition,
    records::{NamedAttempt, Reason},
};
use waybill_runtime::trace::{self, Trail};
use waybill_schemas::{
    Memories, OutcomeClass, ShipmentKey,
    command::Command,
    fetch::RequestKind,
    headers,
    outcome::{Feedback, Outcome},
};

use super::Desk;
use crate::book::{
    Now,
    apply::Applied,
    orders::{Ordered, Place, Refusal},
};

/// Code of a command that is none.
const UNREADABLE_COMMAND: &str = "command_unreadable";

fn trail(at: &TopicPartition, record: &Record) -> Trail {
    let place = trace::Place { topic: &at.topic, partition: at.partition, offset: record.offset };
    Trail::process(place, "waybill.scheduler", record.header(headers::TRACEPARENT))
}

impl Desk {
    /// Applies an outcome; one that was read before is passed over.
    pub(crate) fn take_outcome(&mut self, record: &Record, now: &Now) {
        if record.offset < self.outcomes_next {
            return;
        }
        self.outcomes_next = record.offset + 1;
        let trail = trail(&self.context.places.outcomes, record);
        let _within = trail.span().enter();
        let parsed = serde_json::from_slice::<Outcome>(record.value.as_deref().unwrap_or_default());
        let outcome = match parsed {
            Ok(outcome) => Some(outcome),
            Err(error) => self.unreadable_outcome(record, &error, now),
        };
        match outcome.map(|outcome| self.book.apply(outcome, now)) {
            Some(Applied::Freed) => self.counts.applied += 1,
            Some(Applied::Ignored) => self.counts.ignored += 1,
            None => {}
        }
    }

    /// A dead letter; where key and headers name the attempt it ends all the same, and nothing that is remembered is lost.
    fn unreadable_outcome(&mut self, record: &Record, error: &serde_json::Error, now: &Now) -> Option<Outcome> {
        let (partition, offset) = (self.context.partition, record.offset);
        let named = NamedAttempt::of(record);
        let named = named.and_then(|named| Some((named.request_offset?, named)));
        let (line, column) = (error.line(), error.column());
        // Where nothing names it, its number stays under way until its request is no longer kept: loud, because rare.
        let fate = if named.is_some() { "its attempt ended as `unreadable`" } else { "nothing names its attempt" };
        let reason = format!("it is no outcome, at line {line} column {column}; {fate}");
        tracing::error!(partition, offset, %reason, "scheduler.outcome_unreadable");
        self.count_poison(record);
        let from = self.context.places.outcomes.clone();
        self.bury(&from, record, &Refusal { code: "outcome_unreadable", reason });
        let (request_offset, NamedAttempt { key, attempt, .. }) = named?;
        Some(Outcome {
            carrier: key.carrier,
            number: key.number,
            instance: 0,
            attempt,
            request_offset,
            kind: RequestKind::Poll,
            class: OutcomeClass::Unreadable,
            detail: None,
            needs: Vec::new(),
            status: None,
            sub_status: None,
            changed: false,
            seen_at: now.journey,
            not_before: None,
            feedback: Feedback::default(),
            probed: None,
            memories: Memories::default(),
        })
    }

    /// Carries out a command.
    pub(crate) fn take_command(&mut self, record: &Record, now: &Now) {
        if record.offset < self.commands_next {
            return;
        }
        self.commands_next = record.offset + 1;
        let trail = trail(&self.context.places.commands, record);
        let _within = trail.span().enter();
        let at = now.scale.journey_at(record.append_time);
        let ordered = match read_command(record) {
            Ok(command) if self.context.layout.partition_of(&command.carrier) != self.context.partition => {
                let reason = format!("numbers of `{}` live on another partition", command.carrier);
                Ordered::Refused(Refusal { code: "wrong_partition", reason })
            }
            Ok(command) => {
                let key = ShipmentKey::new(command.carrier.clone(), command.number.clone());
                self.traces.keep(key, trail.context());
                self.book.order(command, Place { offset: record.offset, at }, now)
            }
            Err(refusal) => {
                if refusal.code == UNREADABLE_COMMAND {
                    self.count_poison(record);
                }
                Ordered::Refused(refusal)
            }
        };
        self.counts.ordered += 1;
        if let Ordered::Refused(refusal) = ordered {
            let Refusal { code, reason } = &refusal;
            tracing::warn!(partition = self.context.partition, offset = record.offset, %code, %reason, "scheduler.command_refused");
            let from = self.context.places.commands.clone();
            self.bury(&from, record, &refusal);
        }
    }

    /// A record that cannot be read, by whose it is.
    fn count_poison(&self, record: &Record) {
        match record.key_str().and_then(ShipmentKey::from_record_key) {
            Some(key) => self.context.poison.poison(self.context.layout.budget_of(&key.carrier).as_str()),
            None => self.context.poison.envelope(),
        }
    }

    fn bury(&mut self, from: &TopicPartition, record: &Record, refusal: &Refusal) {
        self.counts.refused += 1;
        let reason = Reason { code: refusal.code, detail: &refusal.reason, service: "scheduler" };
        self.dead.push(self.context.dead_letters.letter(from, record, &reason));
    }
}

/// A command, or its refusal with the API's code.
fn read_command(record: &Record) -> Result<Command, Refusal> {
    let bytes = record.value.as_deref().unwrap_or_default();
    serde_json::from_slice::<Command>(bytes).map_err(|error| {
        let field = |name: &str| {
            let value = serde_json::from_slice::<serde_json::Value>(bytes).ok()?;
            value.get(name)?.as_str().map(str::to_owned)
        };
        let odd_number = field("number").is_some_and(|text| text.parse::<waybill_schemas::TrackingNumber>().is_err());
        let odd_carrier = field("carrier").is_some_and(|text| text.parse::<waybill_schemas::CarrierSlug>().is_err());
        match (odd_number, odd_carrier) {
            (true, _) => {
                Refusal { code: "number_invalid", reason: "its number is no canonical tracking number".into() }
            }
            (_, true) => Refusal { code: "carrier_unknown", reason: "its carrier is no carrier's name".into() },
            // Where it broke, not what it said: a command holds personal data.
            _ => Refusal {
                code: UNREADABLE_COMMAND,
                reason: format!("it is no command, at line {} column {}", error.line(), error.column()),
            },
        }
    })
}
