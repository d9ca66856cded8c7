//! Laws of settling an undecided number by trying, both sides in one book.

use waybill_schemas::{
    detection::{Candidate, CheckDigit, Confidence, DETECT, Evidence, Settlement, Settling},
    outcome::Probed,
    shipment::{StopReason, Tracking},
};

use super::*;
use crate::book::restore::Found;

fn detect() -> CarrierSlug {
    DETECT.parse().unwrap()
}

fn candidate(slug: &str) -> Candidate {
    Candidate {
        carrier: slug.parse().unwrap(),
        service: None,
        confidence: Confidence::Low,
        check_digit: CheckDigit::None,
        reason: "its form fits".to_owned(),
    }
}

fn undecided(slugs: &[&str]) -> Command {
    let candidates = slugs.iter().map(|slug| candidate(slug)).collect();
    Command {
        carrier: detect(),
        reference: Some("order-7".to_owned()),
        ordered_at: Some("2026-01-20".to_owned()),
        settling: Some(Box::new(Settling::Try { candidates })),
        ..command(CommandKind::Register, 1)
    }
}

impl Bench {
    /// Carries commands to their partitions, which are this one, until none is left; answers their kinds.
    fn carry(&mut self) -> Vec<(CommandKind, String)> {
        let mut carried = Vec::new();
        loop {
            let outbox = self.book.take_outbox();
            if outbox.is_empty() {
                return carried;
            }
            for command in outbox {
                carried.push((command.kind, command.carrier.to_string()));
                let _ = self.order_with(command);
            }
        }
    }

    fn settlement(&mut self) -> Settlement {
        let id = self.book.find(&detect(), &number(1)).unwrap();
        *self.book.entry(id).unwrap().to_record().settlement.unwrap()
    }

    fn registered(&self, slug: &str) -> Option<ScheduleRecord> {
        let id = self.book.find(&slug.parse().unwrap(), &number(1))?;
        Some(self.book.entry(id).unwrap().to_record())
    }

    /// Ends the probe of a carrier.
    fn probe_ends(&mut self, slug: &str, class: OutcomeClass, evidence: Option<Evidence>) {
        let of = |(_, handout): &(u64, Handout)| handout.request.carrier.as_str() == slug;
        let index = self.under_way.iter().position(of).unwrap();
        let freed = self.answer(index, |outcome| {
            outcome.class = class;
            outcome.status = None;
            outcome.sub_status = None;
            outcome.memories = Memories::default();
            outcome.probed = evidence.map(|evidence| Probed { evidence, events: 3 });
        });
        assert_eq!(freed, Applied::Freed);
        self.book.check().unwrap();
    }

    /// Every number of the book restored from its records, as after a crash.
    fn restarted(&mut self) {
        let changes: Vec<_> = self
            .book
            .entries
            .iter()
            .flatten()
            .map(|entry| {
                let carrier = self.book.carriers[usize::from(entry.carrier)].slug.clone();
                (ShipmentKey::new(carrier, entry.number.clone()), entry.to_record())
            })
            .collect();
        let now = self.now();
        let mut fresh = book(100.0, 1);
        for (key, record) in changes {
            let text = serde_json::to_vec(&record).unwrap();
            fresh.restore(key, serde_json::from_slice(&text).unwrap(), &now);
        }
        let open = self
            .under_way
            .iter()
            .map(|(offset, handout)| (handout.request.key(), Found::new(&handout.request, *offset, now.wall)));
        fresh.restore_open(open.collect(), &now);
        self.book = fresh;
        self.book.check().unwrap();
    }
}

/// Both candidates asked; their requests are under way.
fn asked() -> Bench {
    let mut bench = Bench::new(100.0, 1);
    assert_eq!(bench.order_with(undecided(&["carrier-a", "carrier-b"])), Ordered::Done);
    assert!(bench.dispatch(10).is_empty(), "the pseudo-carrier itself asks nobody");
    let probes = bench.carry();
    assert_eq!(probes.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [CommandKind::Probe, CommandKind::Probe]);
    // Visitors' share: one after the other.
    let mut kinds = Vec::new();
    for _ in 0..20 {
        kinds.extend(bench.dispatch(10).into_iter().map(|request| (request.kind, request.registration.ordered_at)));
        bench.wait(1_000);
    }
    let ordered = Some("2026-01-20".to_owned());
    assert_eq!(kinds, [(RequestKind::Probe, ordered.clone()), (RequestKind::Probe, ordered)]);
    bench.book.check().unwrap();
    bench
}

#[test]
fn the_first_with_events_after_the_order_wins_and_goes_on_as_a_real_shipment() {
    let mut bench = asked();
    bench.probe_ends("carrier-a", OutcomeClass::Tracked, Some(Evidence::TooOld));
    assert_eq!(bench.carry(), [(CommandKind::Probed, "detect".to_owned())]);
    assert_eq!(bench.registered("carrier-a"), None, "a probe is gone with its answer");
    assert_eq!(bench.settlement().carrier, None);
    bench.probe_ends("carrier-b", OutcomeClass::Tracked, Some(Evidence::Events));
    let carried = bench.carry();
    assert_eq!(carried.last().unwrap(), &(CommandKind::Register, "carrier-b".to_owned()));
    let settlement = bench.settlement();
    assert_eq!(settlement.carrier, Some("carrier-b".parse().unwrap()));
    let tried: Vec<(&str, Evidence)> =
        settlement.tried.iter().map(|tried| (tried.carrier.as_str(), tried.evidence)).collect();
    assert_eq!(tried, [("carrier-a", Evidence::TooOld), ("carrier-b", Evidence::Events)]);
    let won = bench.registered("carrier-b").unwrap();
    assert_eq!((won.probe, won.reference.as_deref(), won.tracking), (None, Some("order-7"), Tracking::Active));
    let stopped = bench.registered("detect").unwrap();
    assert_eq!((stopped.stop_reason, stopped.pending), (Some(StopReason::Settled), None));
    assert_eq!(bench.dispatch(10).first().map(|request| request.kind), Some(RequestKind::Poll));
    bench.book.check().unwrap();
    // What is told of it later reaches it there.
    let later = Command { reference: Some("order-8".to_owned()), ..undecided(&["carrier-a"]) };
    assert_eq!(bench.order_with(later), Ordered::Done);
    assert_eq!(bench.carry(), [(CommandKind::Register, "carrier-b".to_owned())]);
    assert_eq!(bench.registered("carrier-b").unwrap().reference.as_deref(), Some("order-8"));
}

#[test]
fn none_with_events_stays_undecided_with_reasons_and_is_tried_again_later() {
    let mut bench = asked();
    bench.probe_ends("carrier-a", OutcomeClass::Blocked, None);
    bench.probe_ends("carrier-b", OutcomeClass::NotFound, Some(Evidence::Nothing));
    let _ = bench.carry();
    let record = bench.registered("detect").unwrap();
    assert_eq!((record.tracking, record.why.rule.as_str()), (Tracking::Active, "undecided"));
    let classes: Vec<OutcomeClass> = bench.settlement().tried.iter().map(|tried| tried.class).collect();
    assert_eq!(classes, [OutcomeClass::Blocked, OutcomeClass::NotFound]);
    let first_pause = record.due.since_ms(bench.now().journey);
    bench.wait(first_pause);
    assert!(bench.dispatch(10).is_empty());
    assert_eq!(bench.carry().len(), 2, "another round");
    assert_eq!(bench.settlement().round, 2);
    // Silence ends it, and nothing is published of it.
    bench.wait(31 * DAY);
    for _ in 0..3 {
        let sent = bench.dispatch(10);
        assert!(sent.iter().all(|request| request.carrier.as_str() != DETECT), "{sent:?}");
        let _ = bench.carry();
    }
    assert_eq!(bench.registered("detect").unwrap().stop_reason, Some(StopReason::Expired));
}

#[test]
fn sch_1_a_crash_between_probe_and_answer_loses_neither() {
    let mut bench = asked();
    bench.restarted();
    bench.probe_ends("carrier-b", OutcomeClass::Tracked, Some(Evidence::Events));
    // The answer left, and the state that forgets the probe was not written: both happen again.
    let answer = bench.book.take_outbox();
    assert_eq!(answer.len(), 1);
    for command in answer.iter().chain(&answer).cloned() {
        let _ = bench.order_with(command);
    }
    let carried = bench.carry();
    assert_eq!(carried, [(CommandKind::Register, "carrier-b".to_owned())], "registered once");
    bench.restarted();
    assert_eq!(bench.settlement().carrier, Some("carrier-b".parse().unwrap()));
    assert!(bench.dispatch(10).iter().all(|request| request.carrier.as_str() != DETECT), "decided for good");
}

#[test]
fn a_candidate_that_is_off_answers_at_once_and_one_that_knows_it_already_decides() {
    let mut bench = Bench::new(100.0, 1);
    let _ = bench.order(CommandKind::Register, 1);
    let _ = bench.dispatch(10);
    assert_eq!(bench.answer(0, |_| {}), Applied::Freed);
    let order = Command { ordered_at: None, ..undecided(&["nobody", "carrier-a"]) };
    let _ = bench.order_with(order);
    let _ = bench.dispatch(10);
    let _ = bench.carry();
    let settlement = bench.settlement();
    assert_eq!(settlement.carrier, Some(carrier()), "{settlement:?}");
    assert_eq!(settlement.tried[0].class, OutcomeClass::AdapterDisabled);
    assert_eq!(bench.registered("carrier-a").unwrap().reference.as_deref(), Some("order-7"));
}

#[test]
fn events_that_are_known_already_count_only_if_they_are_not_older_than_the_order() {
    for (ordered_at, evidence) in [("2999-01-01", Evidence::TooOld), ("2000-01-01", Evidence::Events)] {
        let mut bench = Bench::new(100.0, 1);
        let _ = bench.order(CommandKind::Register, 1);
        let _ = bench.dispatch(10);
        assert_eq!(bench.answer(0, |_| {}), Applied::Freed);
        let order = Command { ordered_at: Some(ordered_at.to_owned()), ..undecided(&["carrier-a"]) };
        let _ = bench.order_with(order);
        let _ = bench.dispatch(10);
        let _ = bench.carry();
        let settlement = bench.settlement();
        assert_eq!(settlement.tried[0].evidence, evidence, "{settlement:?}");
        assert_eq!(settlement.carrier.is_some(), evidence == Evidence::Events, "{settlement:?}");
    }
}

#[test]
fn a_number_that_is_registered_while_it_is_probed_becomes_a_real_one() {
    let mut bench = asked();
    let _ = bench.order(CommandKind::Register, 1);
    let real = bench.registered("carrier-a").unwrap();
    assert_eq!((real.probe, real.until), (None, None));
    bench.probe_ends("carrier-a", OutcomeClass::NotFound, Some(Evidence::Nothing));
    assert!(bench.carry().is_empty());
    bench.wait(5_000);
    let polls = bench.dispatch(10);
    assert_eq!(polls.first().map(|request| request.kind), Some(RequestKind::Poll));
}

#[test]
fn orders_about_a_number_that_is_only_probed_find_nothing() {
    let mut bench = asked();
    for kind in [CommandKind::Stop, CommandKind::Refresh, CommandKind::Forget] {
        assert_eq!(bench.order(kind, 1), Ordered::Nothing);
    }
    let unknown = Command { carrier: detect(), ..command(CommandKind::Register, 2) };
    assert!(matches!(bench.order_with(unknown), Ordered::Refused(_)));
}

#[test]
fn a_probe_that_finds_no_room_is_answered_and_gone() {
    let mut bench = Bench::new(100.0, 1);
    let _ = bench.order_with(undecided(&["carrier-a"]));
    let _ = bench.dispatch(10);
    let _ = bench.carry();
    // The carrier has no room: nothing is handed out for longer than a probe waits.
    bench.wait(2 * HOUR);
    let now = bench.now();
    bench.book.sweep(&now);
    assert_eq!(bench.carry().first(), Some(&(CommandKind::Probed, "detect".to_owned())));
    assert_eq!(bench.registered("carrier-a"), None);
    assert_eq!(bench.settlement().tried[0].class, OutcomeClass::Deferred);
}
