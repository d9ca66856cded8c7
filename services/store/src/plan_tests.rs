#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// ClickHouse as far as it matters: a token stands for the rows that came with it first; a refusal stores nothing.
#[derive(Default)]
struct Server {
    tokens: BTreeMap<String, Vec<u64>>,
    rows: Vec<u64>,
}

impl Server {
    fn insert(&mut self, token: String, rows: &[u64], poison: &BTreeSet<u64>) -> bool {
        if rows.iter().any(|row| poison.contains(row)) {
            return false;
        }
        if let Some(known) = self.tokens.get(&token) {
            assert_eq!(known, rows, "a token names two row sets");
            return true;
        }
        self.tokens.insert(token, rows.to_vec());
        self.rows.extend(rows);
        true
    }
}

fn in_span(offsets: &[u64], span: Span) -> Vec<u64> {
    offsets.iter().copied().filter(|offset| (span.from..=span.to).contains(offset)).collect()
}

proptest! {
    #[test]
    fn sto_1_every_record_is_stored_once_or_dead_whatever_crashes_and_is_refused(
        offsets in proptest::collection::btree_set(0_u64..200, 1..40),
        poisoned in proptest::collection::vec(any::<prop::sample::Index>(), 0..4),
        crashes in proptest::collection::vec(0_u8..3, 200),
    ) {
        let offsets: Vec<u64> = offsets.into_iter().collect();
        let poison: BTreeSet<u64> = poisoned.iter().map(|index| *index.get(&offsets)).collect();
        let mut server = Server::default();
        let mut dead = BTreeSet::new();
        let mut plan = Plan::new(offsets[0], *offsets.last().unwrap());
        // What the log has acknowledged; a crash goes back to it.
        let mut acknowledged = plan.metadata();
        let mut crashes = crashes.into_iter();
        let mut turns = 0;
        while let Some(span) = plan.span("t") {
            turns += 1;
            prop_assert!(turns < 2_000);
            let rows = in_span(&offsets, span);
            let crash = crashes.next().unwrap_or(0);
            if crash == 1 {
                // Before the insert.
                plan = Plan::of_commit(offsets[0], &acknowledged).unwrap().unwrap();
                continue;
            }
            let stored = rows.is_empty() || server.insert(token("x", 0, span, "t"), &rows, &poison);
            if crash == 2 {
                // After the insert, before anything was acknowledged.
                plan = Plan::of_commit(offsets[0], &acknowledged).unwrap().unwrap();
                continue;
            }
            if stored {
                let _ = plan.passed("t");
            } else if let Refusal::Poison(offset) = plan.refused("t", &rows) {
                dead.insert(offset);
                let _ = plan.passed("t");
            }
            if plan.span("t").is_some() {
                acknowledged = plan.metadata();
            }
        }
        let mut stored = server.rows.clone();
        stored.sort_unstable();
        let expected: Vec<u64> = offsets.iter().copied().filter(|offset| !poison.contains(offset)).collect();
        prop_assert_eq!(stored, expected);
        prop_assert_eq!(dead, poison);
    }
}

#[test]
fn sto_1_metadata_brings_the_same_plan_back() {
    let mut plan = Plan::new(10, 99);
    assert_eq!(Plan::of_commit(10, &plan.metadata()), Ok(Some(plan.clone())));
    assert_eq!(plan.refused("deliveries", &[12, 40, 41, 90]), Refusal::Shorter);
    assert_eq!(plan.span("deliveries"), Some(Span { from: 10, to: 40 }));
    assert_eq!(plan.span("shipments"), Some(Span { from: 10, to: 99 }));
    assert_eq!(Plan::of_commit(10, &plan.metadata()), Ok(Some(plan.clone())));
    assert_eq!(plan.passed("deliveries"), Passed::More);
    assert_eq!(plan.span("deliveries"), Some(Span { from: 41, to: 99 }));
    assert_eq!(plan.passed("deliveries"), Passed::Done);
    assert_eq!(plan.span("deliveries"), None);
    assert!(plan.metadata().len() < 4_096);
}

/// As it stands in the commits of a running version 0.1: a rolling upgrade goes on from it.
#[test]
fn sto_1_metadata_of_version_0_1_is_read() {
    let metadata = r#"{"v":1,"last":99,"cuts":{"deliveries":{"next":41,"to":60}}}"#;
    let plan = Plan::of_commit(10, metadata).unwrap().unwrap();
    assert_eq!(plan.span("deliveries"), Some(Span { from: 41, to: 60 }));
    assert_eq!(plan.span("shipments"), Some(Span { from: 10, to: 99 }));
    assert_eq!(Plan::of_commit(10, r#"{"v":1,"last":99}"#), Ok(Some(Plan::new(10, 99))));
}

#[test]
fn metadata_of_a_later_version_is_not_taken_for_nothing() {
    assert_eq!(Plan::of_commit(5, ""), Ok(None));
    assert_eq!(Plan::of_commit(5, "{\"v\":2,\"last\":9}"), Err(()));
    assert_eq!(Plan::of_commit(5, "{\"v\":1,\"last\":4}"), Err(()));
    assert_eq!(Plan::of_commit(5, "what"), Err(()));
}
