//! Laws of how much is handed out, and of how fast.

use super::*;

#[test]
fn a_blocked_budget_hands_out_no_polls_and_still_all_that_needs_no_network() {
    let mut bench = Bench::new(1.0, 1);
    for index in 0..5 {
        let _ = bench.order(CommandKind::Register, index);
    }
    let _ = bench.dispatch(1);
    let until = bench.wall.plus_ms(60_000);
    let _ = bench.answer(0, |outcome| {
        outcome.class = OutcomeClass::Throttled;
        outcome.feedback.budget_not_before = Some(until);
    });
    assert!(bench.dispatch(10).is_empty());
    let _ = bench.order(CommandKind::Stop, 4);
    assert_eq!(bench.dispatch(10)[0].kind, RequestKind::Stop);
    bench.wall = until;
    assert!(bench.dispatch(10).iter().all(|request| request.kind == RequestKind::Poll));
    assert!(bench.book.open_len() > 1);
}

#[test]
fn a_request_stays_worth_sending_for_all_that_is_ahead_of_it() {
    let mut bench = Bench::new(0.5, 1);
    for index in 0..20 {
        let _ = bench.order(CommandKind::Register, index);
    }
    let sent = bench.dispatch(100);
    assert_eq!(sent.len(), 5, "ten seconds of the budget");
    for (ahead, request) in sent.iter().enumerate() {
        let at_rate_ms = (ahead as i64 + 1) * 2_000;
        assert!(request.expires_at.since_ms(bench.wall) >= at_rate_ms + 10_000 + RULES.step_timeout_ms);
    }
}

#[test]
fn a_carrier_that_takes_several_numbers_at_once_is_given_them() {
    let shared = CarrierTerms { numbers_per_attempt: 20, ..terms(0.01, 1) };
    let layout = Layout { partitions: 1, budgets: BTreeMap::new() };
    let book = Book::new(layout, RULES, Arc::new(Fixed(shared)));
    let mut bench = Bench { book, ..Bench::new(0.01, 1) };
    for index in 0..500 {
        let _ = bench.order(CommandKind::Register, index);
    }
    assert_eq!(bench.dispatch(100).len(), 20, "one full look, however slow the budget");
    assert!(bench.dispatch(100).is_empty());
    let _ = bench.answer(0, |_| {});
    assert_eq!(bench.dispatch(100).len(), 1, "a place is free again by its own outcome");
    // What bounds a carrier asked one by one leaves room here.
    let stretch = |book: &Book, now: &Now| book.views(now).remove(0).record.stretch_ratio;
    let mut alone = Bench::new(0.01, 1);
    for index in 0..500 {
        let _ = alone.order(CommandKind::Register, index);
    }
    let _ = (alone.dispatch(1), bench.dispatch(1));
    let (shared, alone) = (stretch(&bench.book, &bench.now()), stretch(&alone.book, &alone.now()));
    assert!(alone > shared, "{alone} against {shared}");
    bench.book.check().unwrap();
}

/// The due load is five times the budget: intervals stretch, the queue does not grow, on both kinds of clock.
#[test]
fn intervals_stretch_instead_of_a_growing_queue() {
    const NUMBERS: u32 = 2_000;
    for (scale, rate, step_ms) in [(1.0, 0.01, 50_000), (5_000.0, 50.0, 10)] {
        let mut bench = Bench::new(rate, 1);
        let start = WallMs::new(START);
        bench.scale = JourneyScale { anchor: JourneyMs::new(START - 4_000 * DAY), start, scale };
        for index in 0..NUMBERS {
            let _ = bench.order(CommandKind::Register, index);
        }
        let mut queues = Vec::new();
        for _ in 0..20_000 {
            bench.wait(step_ms);
            let _ = bench.dispatch(100);
            // The carrier's door lets through what the rate allows: one answer per 1 / rate.
            let allowed = ((step_ms as f64 / 1e3 * rate).ceil() as usize).min(bench.under_way.len());
            for _ in 0..allowed {
                let _ = bench.answer(0, |_| {});
            }
            queues.push(bench.book.queue());
        }
        let now = bench.now();
        let view = bench.book.views(&now).remove(0);
        assert!(view.record.stretch_ratio > 3.0, "scale {scale}: {}", view.record.stretch_ratio);
        let (half, last) = (queues[queues.len() / 2], queues[queues.len() - 1]);
        assert!(last <= half.max(NUMBERS as usize / 10), "scale {scale}: the queue grew from {half} to {last}");
        bench.book.check().unwrap();
    }
}
