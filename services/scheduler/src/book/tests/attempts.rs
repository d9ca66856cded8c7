//! Laws of attempts: one at a time of a number, each later than the one before, and only its own outcome ends it.

use std::collections::HashMap;

use super::*;
use crate::book::restore::Found;

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
