//! Laws of how looking pauses and ends: for want of data, in silence, by a delivery, in time, by being forgotten.

use waybill_schemas::shipment::Tracking;

use super::*;

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
