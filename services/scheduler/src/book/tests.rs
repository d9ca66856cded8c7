//! Laws of the book, and the bench that they are tested on.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "a test fails by panicking")]

mod attempts;
mod commands;
mod endings;
mod frozen;
mod health;
mod pacing;
mod settling;
mod steps;

use std::collections::BTreeMap;

use waybill_schemas::{
    Memories, Memory, OutcomeClass, Status, SubStatus,
    command::{Command, CommandKind},
    fetch::FetchRequest,
    outcome::{Feedback, Outcome},
    politeness::Budget,
};

use super::{
    apply::Applied,
    dispatch::Handout,
    orders::{Ordered, Place as At},
    *,
};
use crate::terms::{CarrierTerms, Switch};

const START: i64 = 1_700_000_000_000;
const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

struct Fixed(CarrierTerms);

impl Carriers for Fixed {
    fn policy(&self, carrier: &CarrierSlug) -> Option<CarrierTerms> {
        carrier.as_str().starts_with("carrier").then(|| self.0.clone())
    }
}

const RULES: Rules = Rules {
    window_s: 10.0,
    expiry_ms: 30 * DAY,
    lookup_ms: 7 * DAY,
    step_timeout_ms: 30_000,
    reopen_ms: 3 * DAY,
    hold_ms: 900_000,
    controls: 100,
};

fn terms(rate: f64, cost: u32) -> CarrierTerms {
    let budget = Budget { rate_per_second: rate, min_interval_s: 60, ..Budget::default() };
    CarrierTerms { budget, requests_per_attempt: cost, numbers_per_attempt: 1, switch: Switch::On }
}

fn book(rate: f64, cost: u32) -> Book {
    let layout = Layout { partitions: 1, budgets: BTreeMap::new() };
    Book::new(layout, RULES, Arc::new(Fixed(terms(rate, cost))))
}

/// A book with a log of one line: where requests and commands stand.
struct Bench {
    book: Book,
    wall: WallMs,
    scale: JourneyScale,
    requests: u64,
    commands: u64,
    under_way: Vec<(u64, Handout)>,
}

impl Bench {
    fn new(rate: f64, cost: u32) -> Self {
        let scale = JourneyScale::REAL;
        let book = book(rate, cost);
        Self { book, wall: WallMs::new(START), scale, requests: 0, commands: 0, under_way: Vec::new() }
    }

    fn now(&self) -> Now {
        Now::at(self.wall, self.scale)
    }

    fn order(&mut self, kind: CommandKind, number: u32) -> Ordered {
        let command = command(kind, number);
        self.order_with(command)
    }

    fn order_with(&mut self, command: Command) -> Ordered {
        let now = self.now();
        let place = At { offset: self.commands, at: now.journey };
        self.commands += 1;
        self.book.order(command, place, &now)
    }

    /// Hands out and appends; answers what went out.
    fn dispatch(&mut self, most: usize) -> Vec<FetchRequest> {
        let now = self.now();
        self.book.tick(&now);
        let mut sent = Vec::new();
        for handout in self.book.dispatch(&now, most) {
            self.book.opened(&handout, self.requests, now.wall);
            sent.push(handout.request.clone());
            self.under_way.push((self.requests, handout));
            self.requests += 1;
        }
        sent
    }

    fn answer(&mut self, index: usize, change: impl FnOnce(&mut Outcome)) -> Applied {
        let (offset, handout) = self.under_way.swap_remove(index);
        let mut outcome = outcome(&handout.request, offset, self.now().journey);
        change(&mut outcome);
        let now = self.now();
        self.book.apply(outcome, &now)
    }

    fn record(&mut self, number: u32) -> ScheduleRecord {
        let id = self.book.find(&carrier(), &self::number(number)).unwrap();
        self.book.entry(id).unwrap().to_record()
    }

    fn wait(&mut self, ms: i64) {
        self.wall = self.wall.plus_ms(ms);
    }
}

fn carrier() -> CarrierSlug {
    "carrier-a".parse().unwrap()
}

fn number(index: u32) -> TrackingNumber {
    format!("NUMBER{index:05}").parse().unwrap()
}

fn command(kind: CommandKind, index: u32) -> Command {
    Command::new(format!("c{index}"), kind, carrier(), number(index))
}

/// A plain good answer: in transit, nothing new; other kinds are carried out.
fn outcome(request: &FetchRequest, offset: u64, seen_at: JourneyMs) -> Outcome {
    let poll = request.kind == RequestKind::Poll;
    Outcome {
        carrier: request.carrier.clone(),
        number: request.number.clone(),
        instance: request.instance,
        attempt: request.attempt,
        request_offset: offset,
        kind: request.kind,
        class: if poll { OutcomeClass::Tracked } else { OutcomeClass::Internal },
        detail: None,
        needs: Vec::new(),
        status: poll.then_some(Status::InTransit),
        sub_status: poll.then_some(SubStatus::InTransitOther),
        changed: false,
        probed: None,
        seen_at,
        not_before: None,
        feedback: Feedback::default(),
        memories: Memories { normalizer: Memory(vec![1]), ..Memories::default() },
    }
}
