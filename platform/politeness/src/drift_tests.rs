#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use proptest::prelude::*;

use super::*;

const T0: WallMs = WallMs::new(1_700_000_000_000);
const RULES: fn() -> DriftRules = DriftRules::default;

fn look(version: &str, read: ReadFacts) -> LookFacts {
    LookFacts { version: version.to_owned(), read, ..LookFacts::default() }
}

fn readable(events: u32) -> ReadFacts {
    ReadFacts { events, history: History::Kept, ..ReadFacts::default() }
}

fn broken() -> ReadFacts {
    ReadFacts { unreadable: true, ..ReadFacts::default() }
}

fn feed(watch: &mut CarrierWatch, version: &str, read: &ReadFacts, times: u32) -> Vec<Change> {
    (0..times)
        .filter_map(|at| note_look(watch, &look(version, read.clone()), &RULES(), T0.plus_ms(i64::from(at))))
        .collect()
}

fn reasons(watch: &CarrierWatch) -> Vec<DriftReason> {
    watch.degraded.as_ref().map(|degraded| degraded.reasons.clone()).unwrap_or_default()
}

#[test]
fn too_few_looks_conclude_nothing_and_ten_in_a_row_alarm_whatever_went_before() {
    let mut fresh = CarrierWatch::default();
    assert!(feed(&mut fresh, "a", &broken(), RULES().least - 1).is_empty());
    assert_eq!(feed(&mut fresh, "a", &broken(), 1), vec![Change::Degraded(vec![DriftReason::Unreadable])]);
    // The breaker leaves a changed page alone after ten answers in a row: by then the alarm must have begun.
    let mut long = CarrierWatch::default();
    assert!(feed(&mut long, "a", &readable(0), 5_000).is_empty());
    feed(&mut long, "a", &broken(), crate::breaker::UNREADABLE_THRESHOLD);
    assert_eq!(reasons(&long), vec![DriftReason::Unreadable]);
}

#[test]
fn an_alarm_begins_once_and_ends_once() {
    let mut watch = CarrierWatch::default();
    feed(&mut watch, "a", &readable(1), 64);
    let begun = feed(&mut watch, "a", &broken(), 30);
    assert_eq!(begun, vec![Change::Degraded(vec![DriftReason::Unreadable])]);
    // Between the two thresholds nothing changes, in neither direction.
    let mut changes = Vec::new();
    let mut looks = 0;
    while watch.degraded.is_some() {
        changes.extend(feed(&mut watch, "a", &readable(1), 1));
        looks += 1;
        assert!(looks < 200, "the alarm never ends");
    }
    assert_eq!(changes, vec![Change::Recovered]);
    assert!(looks > 8, "one good answer ends no alarm");
}

#[test]
fn each_reason_has_its_own_cases() {
    let bad = |read: ReadFacts| {
        let mut watch = CarrierWatch::default();
        feed(&mut watch, "a", &readable(1), 20);
        feed(&mut watch, "a", &read, 30);
        reasons(&watch)
    };
    assert_eq!(bad(ReadFacts { events: 2, unmatched: 2, ..readable(0) }), vec![DriftReason::Unmatched]);
    assert_eq!(bad(ReadFacts { events: 2, untimed: 1, ..readable(0) }), vec![DriftReason::Untimed]);
    for history in [History::Fewer, History::Gone] {
        assert_eq!(bad(ReadFacts { history, ..readable(0) }), vec![DriftReason::Vanished]);
    }
    assert_eq!(bad(readable(3)), vec![]);
    // Looks without new events say nothing of texts: the window of texts is counted in texts.
    let mut watch = CarrierWatch::default();
    feed(&mut watch, "a", &ReadFacts { events: 1, unmatched: 1, ..readable(0) }, 9);
    feed(&mut watch, "a", &readable(0), 1_000);
    assert_eq!(reasons(&watch), vec![]);
    feed(&mut watch, "a", &ReadFacts { events: 1, unmatched: 1, ..readable(0) }, 1);
    assert_eq!(reasons(&watch), vec![DriftReason::Unmatched]);
}

#[test]
fn a_new_version_begins_anew_and_must_show_that_it_is_over() {
    let mut watch = CarrierWatch::default();
    feed(&mut watch, "a", &broken(), 20);
    assert!(feed(&mut watch, "b", &readable(1), 9).is_empty());
    // A last look of the old version changes nothing.
    feed(&mut watch, "a", &broken(), 1);
    assert_eq!((watch.stable.version.as_str(), watch.stable.looks), ("b", 9));
    assert_eq!(feed(&mut watch, "b", &readable(1), 1), vec![Change::Recovered]);
    // Going back is seen as going back.
    feed(&mut watch, "a", &broken(), STRAYS);
    assert_eq!(watch.stable.version, "a");
    assert_eq!(reasons(&watch), vec![DriftReason::Unreadable]);
}

#[test]
fn fields_are_learnt_first_and_then_noticed() {
    let with = |fields: &[&str]| LookFacts {
        unknown_fields: fields.iter().map(|field| (*field).to_owned()).collect(),
        ..look("a", readable(0))
    };
    let mut watch = CarrierWatch::default();
    for _ in 0..RULES().window {
        assert_eq!(note_look(&mut watch, &with(&["a.b"]), &RULES(), T0), None);
    }
    for _ in 0..20 {
        assert_eq!(note_look(&mut watch, &with(&["a.b"]), &RULES(), T0), None);
    }
    let changes: Vec<Change> =
        (0..RULES().window).filter_map(|_| note_look(&mut watch, &with(&["a.b", "a.c[]"]), &RULES(), T0)).collect();
    assert_eq!(changes, vec![Change::Degraded(vec![DriftReason::UnknownFields])]);
    assert_eq!(watch.new_fields, vec!["a.c[]".to_owned()]);
}

fn trial(candidate: ReadFacts, control: ReadFacts) -> TrialFacts {
    TrialFacts { version: "b".to_owned(), same: candidate == control, candidate, control }
}

#[test]
fn a_worse_candidate_is_stopped_once_and_a_better_one_is_only_told() {
    let run = |facts: TrialFacts| {
        let mut watch = CarrierWatch::default();
        let changes: Vec<Change> = (0..40).filter_map(|_| note_trial(&mut watch, &facts, &RULES(), T0)).collect();
        let trial = watch.trial.unwrap();
        (changes.len(), trial.verdict, trial.stopped.map(|stop| stop.reason))
    };
    let fine = readable(3);
    assert_eq!(run(trial(broken(), fine.clone())), (1, TrialVerdict::Worse, Some(DriftReason::Unreadable)));
    assert_eq!(run(trial(fine.clone(), broken())), (0, TrialVerdict::Better, None));
    assert_eq!(run(trial(fine.clone(), fine.clone())), (0, TrialVerdict::Same, None));
    let gone = ReadFacts { history: History::Gone, ..ReadFacts::default() };
    assert_eq!(run(trial(gone, fine)), (1, TrialVerdict::Worse, Some(DriftReason::Vanished)));
}

#[test]
fn a_live_candidate_is_compared_with_the_version_in_force_and_never_degrades_the_carrier() {
    let mut watch = CarrierWatch::default();
    feed(&mut watch, "a", &readable(1), 50);
    let candidate = LookFacts { candidate: true, ..look("b", broken()) };
    let changes: Vec<Change> = (0..20).filter_map(|_| note_look(&mut watch, &candidate, &RULES(), T0)).collect();
    assert!(matches!(changes.as_slice(), [Change::TrialStopped(_)]), "{changes:?}");
    assert_eq!((reasons(&watch), watch.stable.version.as_str()), (vec![], "a"));
}

#[test]
fn rules_are_checked() {
    RULES().check().unwrap();
    for wrong in [
        DriftRules { least: 0, ..RULES() },
        DriftRules { window: 7, ..RULES() },
        DriftRules { unmatched: 0.0, ..RULES() },
        DriftRules { clear: f64::NAN, ..RULES() },
        DriftRules { untimed: f64::NAN, ..RULES() },
    ] {
        assert!(wrong.check().is_err(), "{wrong:?}");
    }
}

proptest! {
    /// Whatever comes in: windows are bounded, shares are shares, and a record restores the same state.
    #[test]
    fn windows_are_bounded_and_survive_their_record(
        looks in prop::collection::vec((any::<bool>(), 0u32..50, 0u32..50, 0u32..50, 0u8..4, 0u8..3), 1..400),
    ) {
        let mut watch = CarrierWatch::default();
        for (unreadable, events, unmatched, untimed, history, version) in looks {
            let history = [History::Unjudged, History::Kept, History::Fewer, History::Gone][usize::from(history)];
            let read = ReadFacts { unreadable, events, unmatched, untimed, history };
            let _ = note_look(&mut watch, &look(&format!("v{version}"), read), &RULES(), T0);
            for window in watch.stable.windows.values() {
                let (cases, bad) = sum(window);
                prop_assert!(bad <= cases && window.len() <= BLOCKS as usize + 1, "{window:?}");
                let newest = window.last().map_or(0, |block| block[0]);
                prop_assert!(cases < RULES().window + 8 + 50 || cases == newest, "{window:?}");
            }
            prop_assert!(watch.stable.shares.values().all(|share| (0.0..=1.0).contains(share)));
        }
        let text = serde_json::to_string(&watch).unwrap();
        prop_assert_eq!(serde_json::from_str::<CarrierWatch>(&text).unwrap(), watch);
    }
}
