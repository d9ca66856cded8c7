//! Laws of the book.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;
use waybill_schemas::{
    Memories, Memory, OutcomeClass, Status, SubStatus,
    command::{Command, CommandKind},
    outcome::{Feedback, Outcome},
    politeness::Budget,
    shipment::Tracking,
};

use super::{
    apply::Applied,
    dispatch::Handout,
    orders::{Ordered, Place as At},
    restore::Found,
    *,
};
use crate::terms::{CarrierTerms, Switch};

mod frozen;
mod health;
mod pacing;
mod settling;

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

use waybill_schemas::fetch::FetchRequest;

fn carrier() -> CarrierSlug {
    "carrier-a".parse().unwrap()
}

fn number(index: u32) -> TrackingNumber {
    format!("NUMBER{index:05}").parse().unwrap()
}

fn command(kind: CommandKind, index: u32) -> Command {
    Command {
        id: format!("c{index}"),
        kind,
        carrier: carrier(),
        number: number(index),
        params: None,
        reference: None,
        tags: None,
        origin: None,
        destination: None,
        ordered_at: None,
        until: None,
        settling: None,
    }
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

#[test]
fn sch_2_only_the_outcome_of_the_open_attempt_frees_a_number() {
    let mut bench = Bench::new(1.0, 1);
    let _ = bench.order(CommandKind::Register, 1);
    let sent = bench.dispatch(10);
    assert_eq!(sent.len(), 1);
    bench.wait(HOUR);
    assert!(bench.dispatch(10).is_empty(), "a number under way is never handed out");

    let now = bench.now();
    let right = outcome(&sent[0], 0, now.journey);
    let older = Outcome { attempt: right.attempt - 1, ..right.clone() };
    assert_eq!(bench.book.apply(older, &now), Applied::Ignored);
    // Another owner may have chosen the same millisecond: its request stands elsewhere.
    let other_owner = Outcome { request_offset: 7, ..right.clone() };
    assert_eq!(bench.book.apply(other_owner, &now), Applied::Ignored);
    assert_eq!(bench.book.apply(right.clone(), &now), Applied::Freed);
    assert_eq!(bench.book.apply(right, &now), Applied::Ignored, "a repeat changes nothing");
    bench.book.check().unwrap();
}

#[test]
fn attempts_rise_even_when_the_clock_does_not() {
    let mut bench = Bench::new(1.0, 1);
    let _ = bench.order(CommandKind::Register, 1);
    let first = bench.dispatch(10)[0].attempt;
    let _ = bench.answer(0, |_| {});
    let _ = bench.order(CommandKind::Refresh, 1);
    // The clock of a new owner may lie behind.
    bench.wait(60_000);
    let _ = bench.dispatch(10);
    bench.wall = WallMs::new(START - DAY);
    let _ = bench.answer(0, |outcome| outcome.class = OutcomeClass::Expired);
    bench.wait(2_000);
    let id = bench.book.find(&carrier(), &number(1)).unwrap();
    let now = bench.now();
    bench.book.change(id, &now, |entry, _| {
        entry.due = JourneyMs::ZERO;
        entry.set_not_before(None);
    });
    assert!(bench.dispatch(10)[0].attempt > first);
}

#[test]
fn a_command_read_again_changes_nothing() {
    let mut bench = Bench::new(1.0, 1);
    let mut register = command(CommandKind::Register, 1);
    register.reference = Some("first".to_owned());
    let _ = bench.order_with(register.clone());
    let _ = bench.order(CommandKind::Stop, 1);
    let _ = bench.order(CommandKind::Resume, 1);
    let before = bench.record(1);
    let now = bench.now();
    for (offset, kind) in [(0, CommandKind::Register), (1, CommandKind::Stop), (2, CommandKind::Resume)] {
        let again = if offset == 0 { register.clone() } else { command(kind, 1) };
        assert_eq!(bench.book.order(again, At { offset, at: now.journey }, &now), Ordered::Nothing);
    }
    assert_eq!(bench.record(1), before);
}

#[test]
fn present_fields_replace_and_absent_ones_stay() {
    let mut bench = Bench::new(1.0, 1);
    let mut first = command(CommandKind::Register, 1);
    first.reference = Some("order 1".to_owned());
    first.tags = Some(vec!["a".to_owned()]);
    first.origin = Some("DE".to_owned());
    let _ = bench.order_with(first);
    let registered_at = bench.record(1).registered_at;
    bench.wait(HOUR);
    let mut second = command(CommandKind::Register, 1);
    second.tags = Some(vec!["b".to_owned()]);
    let _ = bench.order_with(second);
    let record = bench.record(1);
    assert_eq!(record.reference.as_deref(), Some("order 1"));
    assert_eq!(record.registration.tags, ["b"]);
    assert_eq!(record.registration.origin.as_deref(), Some("DE"));
    assert_eq!(record.registered_at, registered_at, "the first registration's, for ever");
    assert_eq!(bench.book.len(), 1);
}

#[test]
fn commands_that_cannot_be_carried_out_are_refused_with_a_code() {
    let mut bench = Bench::new(1.0, 1);
    let code = |ordered| match ordered {
        Ordered::Refused(refusal) => refusal.code,
        other => panic!("{other:?}"),
    };
    let unknown = Command { carrier: "nobody".parse().unwrap(), ..command(CommandKind::Register, 1) };
    assert_eq!(code(bench.order_with(unknown)), "carrier_unknown");
    let long = Command { reference: Some("x".repeat(65)), ..command(CommandKind::Register, 1) };
    assert_eq!(code(bench.order_with(long)), "ref_too_long");
    let params = BTreeMap::from([("a".to_owned(), "x".repeat(20_000))]);
    let large = Command { params: Some(params), ..command(CommandKind::Register, 1) };
    assert_eq!(code(bench.order_with(large)), "too_large");
    assert_eq!(bench.order(CommandKind::Stop, 9), Ordered::Nothing);
    assert_eq!(bench.book.len(), 0);
}

#[test]
fn a_number_that_needs_data_waits_until_the_data_comes() {
    let mut bench = Bench::new(1.0, 1);
    let _ = bench.order(CommandKind::Register, 1);
    let _ = bench.dispatch(10);
    let _ = bench.answer(0, |outcome| outcome.class = OutcomeClass::NeedsData);
    bench.wait(10 * DAY);
    assert!(bench.dispatch(10).is_empty());
    assert_eq!(bench.record(1).why.rule, "needs_data");
    let params = BTreeMap::from([("postal_code".to_owned(), "1000".to_owned())]);
    let _ = bench.order_with(Command { params: Some(params.clone()), ..command(CommandKind::Register, 1) });
    assert_eq!(bench.dispatch(10)[0].params, params);
}

#[test]
fn silence_is_published_by_a_clock_request_and_then_looking_stops() {
    let mut bench = Bench::new(1.0, 1);
    let _ = bench.order(CommandKind::Register, 1);
    let _ = bench.dispatch(10);
    let _ = bench.answer(0, |outcome| outcome.class = OutcomeClass::NeedsData);
    bench.wait(30 * DAY);
    // The lane notices, the next turn hands out.
    let mut sent = bench.dispatch(10);
    sent.extend(bench.dispatch(10));
    assert_eq!(sent.iter().map(|request| request.kind).collect::<Vec<_>>(), [RequestKind::Clock]);
    let _ = bench.answer(0, |outcome| {
        outcome.status = Some(Status::Expired);
        outcome.sub_status = Some(SubStatus::ExpiredOther);
    });
    let sent = bench.dispatch(10);
    assert_eq!((sent[0].kind, sent[0].tracking), (RequestKind::Stop, Tracking::Stopped));
    assert_eq!(sent[0].stop_reason, Some(StopReason::Expired));
    let _ = bench.answer(0, |_| {});
    bench.wait(100 * DAY);
    assert!(bench.dispatch(10).is_empty());
    // Resumed, the silence counts anew.
    let _ = bench.order(CommandKind::Resume, 1);
    assert_eq!(bench.dispatch(10)[0].kind, RequestKind::Resume);
    let _ = bench.answer(0, |_| {});
    assert_eq!(bench.dispatch(10)[0].kind, RequestKind::Poll);
    bench.book.check().unwrap();
}

#[test]
fn a_delivery_is_confirmed_and_the_stop_is_published() {
    let mut bench = Bench::new(1.0, 1);
    let _ = bench.order(CommandKind::Register, 1);
    let _ = bench.dispatch(10);
    let delivered = |outcome: &mut Outcome| {
        outcome.status = Some(Status::Delivered);
        outcome.sub_status = Some(SubStatus::DeliveredOther);
    };
    let _ = bench.answer(0, |outcome| {
        delivered(outcome);
        outcome.changed = true;
    });
    assert!(bench.dispatch(10).is_empty());
    bench.wait(DAY);
    assert_eq!(bench.dispatch(10)[0].kind, RequestKind::Poll);
    let _ = bench.answer(0, delivered);
    let record = bench.record(1);
    assert_eq!((record.tracking, record.stop_reason), (Tracking::Stopped, Some(StopReason::Delivered)));
    assert_eq!(bench.dispatch(10)[0].kind, RequestKind::Stop);
    let _ = bench.answer(0, |_| {});
    assert_eq!(bench.record(1).pending, None);
    // Registering a stopped number resumes it.
    let _ = bench.order(CommandKind::Register, 1);
    assert_eq!(bench.record(1).tracking, Tracking::Active);
}

#[test]
fn a_temporary_registration_ends_and_a_lasting_one_replaces_it() {
    let mut bench = Bench::new(1.0, 1);
    let _ = bench.order(CommandKind::Lookup, 1);
    let _ = bench.order(CommandKind::Lookup, 2);
    let _ = bench.order(CommandKind::Register, 2);
    assert_eq!(bench.record(2).until, None);
    assert!(bench.record(1).until.is_some());
    bench.wait(8 * DAY);
    let now = bench.now();
    bench.book.sweep(&now);
    assert_eq!(bench.record(1).stop_reason, Some(StopReason::Until));
    assert_eq!(bench.record(2).tracking, Tracking::Active);
}

#[test]
fn forgetting_ends_in_a_tombstone_and_registering_meanwhile_in_a_new_number() {
    let mut bench = Bench::new(1.0, 1);
    for index in 1..=2 {
        let _ = bench.order(CommandKind::Register, index);
    }
    let _ = bench.dispatch(10);
    for index in 1..=2 {
        let _ = bench.order(CommandKind::Forget, index);
    }
    bench.wait(HOUR);
    let mut again = command(CommandKind::Register, 2);
    again.reference = Some("anew".to_owned());
    let _ = bench.order_with(again);
    let anew_at = bench.now().journey;
    bench.wait(HOUR);
    let _ = bench.answer(0, |_| {});
    let _ = bench.answer(0, |_| {});
    let sent = bench.dispatch(10);
    assert!(sent.iter().all(|request| request.kind == RequestKind::Forget) && sent.len() == 2);
    let _ = bench.book.take_changes();
    let _ = bench.answer(0, |_| {});
    let _ = bench.answer(0, |_| {});
    let changes = bench.book.take_changes();
    assert!(changes.iter().any(|(key, record)| key.ends_with("NUMBER00001") && record.is_none()));
    assert!(changes.iter().any(|(key, record)| key.ends_with("NUMBER00002") && record.is_some()));
    let record = bench.record(2);
    assert_eq!((record.registered_at, record.reference.as_deref()), (anew_at, Some("anew")));
    assert_eq!((record.memories, record.status), (Memories::default(), None));
    bench.book.check().unwrap();
}

#[test]
fn attempts_that_nobody_answers_are_made_again_when_their_requests_are_no_longer_kept() {
    let mut bench = Bench::new(1.0, 1);
    let _ = bench.order(CommandKind::Register, 1);
    let first = bench.dispatch(10)[0].attempt;
    bench.wait(RULES.reopen_ms);
    let now = bench.now();
    assert_eq!(bench.book.reopen_lost(&now), 1);
    bench.book.check().unwrap();
    assert!(bench.dispatch(10)[0].attempt > first);
}

/// SCH-2 across owners: what is under way holds its credit and is not handed out again; what is answered is free.
#[test]
fn sch_2_a_new_owner_finds_what_is_under_way_and_what_is_answered() {
    let mut bench = Bench::new(1.0, 2);
    for index in 0..4 {
        let _ = bench.order(CommandKind::Register, index);
    }
    let sent = bench.dispatch(100);
    assert_eq!(sent.len(), 4);
    let answered = bench.answer(0, |_| {});
    assert_eq!(answered, Applied::Freed);
    let records: Vec<(String, Option<ScheduleRecord>)> = bench.book.take_changes();

    let mut next = book(1.0, 2);
    let now = bench.now();
    for (key, record) in records {
        next.restore(ShipmentKey::from_record_key(&key).unwrap(), record.unwrap(), &now);
    }
    let found =
        sent.iter().enumerate().map(|(offset, request)| (request.key(), Found::new(request, offset as u64, now.wall)));
    next.restore_open(found.collect(), &now);
    next.check().unwrap();
    assert_eq!(next.open_len(), 3);
    next.tick(&now);
    assert!(next.dispatch(&now, 100).is_empty());
    let late = outcome(&sent[1], 1, now.journey);
    assert_eq!(next.apply(late, &now), Applied::Freed);
}

#[test]
fn a_request_of_an_earlier_life_of_the_name_is_not_under_way() {
    let mut bench = Bench::new(1.0, 1);
    let _ = bench.order(CommandKind::Register, 1);
    let old = bench.dispatch(10).remove(0);
    let mut next = book(1.0, 1);
    bench.wait(DAY);
    let now = bench.now();
    let _ = next.order(command(CommandKind::Register, 1), At { offset: 9, at: now.journey }, &now);
    next.restore_open(HashMap::from([(old.key(), Found::new(&old, 0, bench.wall))]), &now);
    assert_eq!(next.open_len(), 0);
}

#[test]
fn records_are_read_back_as_they_were_written() {
    let mut bench = Bench::new(1.0, 1);
    let params = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
    let _ = bench.order_with(Command { params: Some(params), ..command(CommandKind::Lookup, 1) });
    let _ = bench.dispatch(10);
    let _ = bench.answer(0, |outcome| outcome.class = OutcomeClass::CarrierDown);
    let mut record = bench.record(1);
    record.extra.insert("of_a_later_version".to_owned(), serde_json::json!(7));
    let mut next = book(1.0, 1);
    let now = bench.now();
    next.restore(ShipmentKey::new(carrier(), number(1)), record.clone(), &now);
    next.rewrite(&ShipmentKey::new(carrier(), number(1)).record_key());
    assert_eq!(next.take_changes()[0].1.as_ref(), Some(&record));
}

#[derive(Debug, Clone)]
enum Step {
    Order(CommandKind, u32),
    Dispatch(usize),
    Answer(usize, OutcomeClass, bool),
    Stale(usize),
    Wait(i64),
    Keep,
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![
        4 => Just(CommandKind::Register),
        2 => Just(CommandKind::Lookup),
        1 => Just(CommandKind::Stop),
        1 => Just(CommandKind::Resume),
        1 => Just(CommandKind::Refresh),
        1 => Just(CommandKind::Forget),
        1 => Just(CommandKind::Replay),
    ];
    prop_oneof![
        3 => (kind, 0..6_u32).prop_map(|(kind, number)| Step::Order(kind, number)),
        3 => (1..4_usize).prop_map(Step::Dispatch),
        4 => (0..8_usize, 0..13_usize, any::<bool>())
            .prop_map(|(index, class, delivered)| Step::Answer(index, OutcomeClass::ALL[class], delivered)),
        1 => (0..8_usize).prop_map(Step::Stale),
        2 => prop_oneof![0..5_000_i64, 0..DAY, 0..40 * DAY].prop_map(Step::Wait),
        1 => Just(Step::Keep),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    /// Whatever happens in whatever order: every number is somewhere, none is handed out twice, credit adds up.
    #[test]
    fn sch_1_sch_2_the_laws_hold_after_every_step(steps in prop::collection::vec(step(), 1..120)) {
        let mut bench = Bench::new(0.5, 2);
        let mut answered: Vec<Outcome> = Vec::new();
        for step in steps {
            match step {
                Step::Order(kind, number) => drop(bench.order(kind, number)),
                Step::Dispatch(most) => {
                    let before: Vec<ShipmentKey> = bench.under_way.iter().map(|(_, h)| h.request.key()).collect();
                    for request in bench.dispatch(most) {
                        prop_assert!(!before.contains(&request.key()), "handed out while under way");
                    }
                }
                Step::Answer(index, class, delivered) if !bench.under_way.is_empty() => {
                    let index = index % bench.under_way.len();
                    let mut kept = None;
                    let applied = bench.answer(index, |outcome| {
                        if outcome.kind == RequestKind::Poll || class == OutcomeClass::Expired {
                            outcome.class = class;
                        }
                        if delivered && outcome.kind == RequestKind::Poll {
                            outcome.status = Some(Status::Delivered);
                            outcome.sub_status = Some(SubStatus::DeliveredOther);
                        }
                        kept = Some(outcome.clone());
                    });
                    prop_assert_eq!(applied, Applied::Freed);
                    answered.extend(kept);
                }
                Step::Stale(index) if !answered.is_empty() => {
                    let now = bench.now();
                    let again = answered[index % answered.len()].clone();
                    prop_assert_eq!(bench.book.apply(again, &now), Applied::Ignored);
                }
                Step::Wait(ms) => {
                    bench.wait(ms);
                    let now = bench.now();
                    bench.book.tick(&now);
                    bench.book.sweep(&now);
                }
                Step::Keep => drop(bench.book.take_changes()),
                Step::Answer(..) | Step::Stale(_) => {}
            }
            prop_assert_eq!(bench.book.check(), Ok(()));
        }
    }
}
