//! What a look shows of the adapter that read it, as it goes with the outcome.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use support::{MAPPING, Walk, adapter_with, event, result, tracked, undated};
use waybill_normalizer::normalize_read_by;
use waybill_schemas::{
    OutcomeClass,
    drift::{History, ReadFacts},
    fetch::RequestKind,
};

fn facts(walk: &mut Walk, class: OutcomeClass, events: Vec<waybill_schemas::event::RawEvent>) -> Option<ReadFacts> {
    walk.look(result(class, events)).outcome.feedback.look.map(|facts| facts.read)
}

#[test]
fn new_events_are_judged_and_a_vanished_history_is_seen() {
    let mut walk = Walk::new();
    let two = || vec![event(1, "09:00", "Announced"), event(2, "09:00", "Picked up")];
    let first = facts(&mut walk, OutcomeClass::Tracked, two()).unwrap();
    assert_eq!(first, ReadFacts { events: 2, ..ReadFacts::default() });
    let mut third = two();
    third.extend([event(3, "09:00", "Beamed aboard"), undated("Sorted")]);
    let again = facts(&mut walk, OutcomeClass::Tracked, third).unwrap();
    // A time is missing where the number's other events have one.
    let expected = ReadFacts { events: 2, unmatched: 1, untimed: 1, history: History::Kept, ..ReadFacts::default() };
    assert_eq!(again, expected);
    let fewer = facts(&mut walk, OutcomeClass::Tracked, vec![event(1, "09:00", "Announced")]).unwrap();
    assert_eq!((fewer.history, fewer.events), (History::Fewer, 0));
    for class in [OutcomeClass::NotFound, OutcomeClass::RegisteredNoScan] {
        assert_eq!(facts(&mut walk, class, Vec::new()).unwrap().history, History::Gone, "{class}");
    }
}

#[test]
fn only_answers_that_came_to_be_read_count() {
    let mut walk = Walk::new();
    let unreadable = facts(&mut walk, OutcomeClass::Unreadable, Vec::new()).unwrap();
    assert!(unreadable.unreadable && unreadable.history == History::Unjudged);
    for class in OutcomeClass::ALL {
        let mut fresh = Walk::new();
        let counted = facts(&mut fresh, class, Vec::new()).is_some();
        let answered = class.is_reading() || matches!(class, OutcomeClass::Unreadable | OutcomeClass::NeedsData);
        assert_eq!(counted, answered, "{class}");
    }
    assert_eq!(walk.order(RequestKind::Clock).outcome.feedback.look, None);
}

#[test]
fn a_result_is_mapped_by_the_mapping_in_force_which_is_recorded() {
    let (old, new) = (adapter_with(MAPPING), adapter_with(&MAPPING.replace("Sorted: InTransit_Other", "Sorted: none")));
    let mut read = tracked(vec![event(1, "09:00", "Sorted")]);
    read.source.adapter_version.clone_from(&old.version);
    let done = normalize_read_by(&read, Some(&new), Some(&old));
    let source = &done.events[0].source;
    assert_eq!((&source.adapter_version, &source.mapping_version), (&old.version, &new.mapping.version));
    assert_ne!(old.mapping.version, new.mapping.version);
    assert_eq!(done.events[0].sub_status, None);
}
