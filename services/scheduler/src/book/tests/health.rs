//! Laws of what is kept of how adapters fit, and of waking numbers when that may have changed.

use std::sync::atomic::{AtomicU64, Ordering};

use waybill_schemas::{
    drift::{LookFacts, ReadFacts},
    politeness::SchedulerBudgetRecord,
};

use super::*;

struct Changing(CarrierTerms, AtomicU64);

impl Carriers for Changing {
    fn policy(&self, _: &CarrierSlug) -> Option<CarrierTerms> {
        Some(self.0.clone())
    }

    fn revision(&self, _: &CarrierSlug) -> u64 {
        self.1.load(Ordering::Relaxed)
    }
}

fn changing() -> (Bench, Arc<Changing>) {
    let carriers = Arc::new(Changing(terms(100.0, 1), AtomicU64::new(1)));
    let layout = Layout { partitions: 1, budgets: BTreeMap::new() };
    let book = Book::new(layout, RULES, carriers.clone());
    (Bench { book, ..Bench::new(100.0, 1) }, carriers)
}

fn unreadable(outcome: &mut Outcome) {
    outcome.class = OutcomeClass::Unreadable;
    let read = ReadFacts { unreadable: true, ..ReadFacts::default() };
    outcome.feedback.look = Some(LookFacts { version: "a".to_owned(), read, ..LookFacts::default() });
}

fn watch(bench: &Bench) -> waybill_schemas::drift::CarrierWatch {
    bench.book.health_of(&carrier()).unwrap_or_default()
}

#[test]
fn each_attempt_counts_once_and_a_new_owner_goes_on_from_the_record() {
    let (mut bench, _) = changing();
    for index in 0..12 {
        let _ = bench.order(CommandKind::Register, index);
    }
    let asked = bench.dispatch(100);
    assert_eq!(asked.len(), 12);
    let again = outcome(&asked[0], bench.under_way[0].0, bench.now().journey);
    for _ in 0..12 {
        assert_eq!(bench.answer(0, unreadable), Applied::Freed);
    }
    let mut repeat = again;
    unreadable(&mut repeat);
    let now = bench.now();
    assert_eq!(bench.book.apply(repeat, &now), Applied::Ignored);
    assert_eq!(watch(&bench).stable.looks, 12);
    assert_eq!(bench.book.take_health_changes().len(), 1, "an alarm is told once");
    assert!(watch(&bench).degraded.is_some());

    let record: SchedulerBudgetRecord = bench.book.views(&now).remove(0).record;
    let text = serde_json::to_string(&record).unwrap();
    let (mut next, _) = changing();
    next.book.restore_health(serde_json::from_str(&text).unwrap());
    assert_eq!(watch(&next), watch(&bench));
}

#[test]
fn sch_1_numbers_that_waited_for_a_carrier_are_due_when_something_changed_about_it() {
    let (mut bench, carriers) = changing();
    for index in 0..4 {
        let _ = bench.order(CommandKind::Register, index);
    }
    assert_eq!(bench.dispatch(100).len(), 4);
    let until = bench.wall.plus_ms(10 * 60_000);
    let _ = bench.answer(0, unreadable);
    let _ = bench.answer(0, |outcome| outcome.class = OutcomeClass::RefusesAutomation);
    let _ = bench.answer(0, |outcome| {
        outcome.class = OutcomeClass::Deferred;
        outcome.not_before = Some(until);
        outcome.feedback.budget_not_before = Some(until);
    });
    // One was read: it has no reason to be looked at sooner.
    let _ = bench.answer(0, |_| {});
    bench.wait(2_000);
    let now = bench.now();
    bench.book.wake_changed(&now);
    assert_eq!(bench.dispatch(100).len(), 0, "nothing changed");
    carriers.1.store(2, Ordering::Relaxed);
    bench.book.wake_changed(&now);
    assert_eq!(bench.dispatch(100).len(), 0, "everybody has a moment to take the change over");
    bench.wait(3_000);
    let now = bench.now();
    bench.book.wake_changed(&now);
    bench.book.check().unwrap();
    assert_eq!(bench.dispatch(100).len(), 3);
    // A process that took it over later gave one back: it is woken once more.
    let until = bench.wall.plus_ms(10 * 60_000);
    let last = bench.under_way.len() - 1;
    let _ = bench.answer(last, |outcome| {
        outcome.class = OutcomeClass::Deferred;
        outcome.not_before = Some(until);
    });
    bench.wait(30_000);
    let now = bench.now();
    bench.book.wake_changed(&now);
    bench.book.check().unwrap();
    assert_eq!(bench.dispatch(100).len(), 1);
}
