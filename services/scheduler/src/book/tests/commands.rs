//! Laws of commands: read again they change nothing, what they leave out stays, and what cannot be carried out is refused.

use super::*;

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
