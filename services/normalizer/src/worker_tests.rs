//! A mapping that panics: a dead letter, an outcome, and poison; the worker goes on.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and lets the mapping panic")]

use waybill_adapters::Catalog;
use waybill_log::{DeadLetters, EmbeddedLog, EmbeddedOptions, letters::Letter};
use waybill_runtime::{Health, poison::PoisonLimits};
use waybill_schemas::{WallMs, outcome::Outcome, topics::TopicPrefix};

use super::*;
use crate::records::Public;

const NOW: WallMs = WallMs::new(1_773_000_000_000);

fn worker(normalize: fn(&FetchResult, Option<&Adapter>, Option<&Adapter>) -> Normalized) -> Worker {
    let public = |topic: &str| Public { topic: topic.into(), partitions: 1 };
    let topics = Topics {
        events: public("waybill.tracking-events"),
        shipments: public("waybill.shipments"),
        changes: public("waybill.status-changes"),
        forgotten: "waybill.forgotten".into(),
        outcomes: "waybill.outcomes".into(),
        results: "waybill.fetch-results".into(),
        dead: DeadLetters::new(&TopicPrefix::default()),
    };
    let clocks = Clocks::starting_at(NOW, waybill_runtime::JourneyScale::REAL);
    let limits = PoisonLimits { records: 2, ..PoisonLimits::default() };
    let shared = Shared {
        log: Arc::new(EmbeddedLog::in_memory(EmbeddedOptions::new(Arc::new(|| NOW)))),
        topics,
        catalog: LiveCatalog::from(Catalog::load(&[]).unwrap()),
        clocks,
        request_timeout: Duration::from_secs(1),
        flush_bytes: 1,
        layout: Layout { partitions: 1, budgets: Default::default() },
        poison: PoisonWatch::new("normalizer", limits, clocks),
        normalize,
    };
    let health = Health::default().component("normalizer");
    Worker {
        shared: Arc::new(shared),
        partition: 0,
        repeats: Repeats::new(10),
        stop: CancellationToken::new(),
        pulse: health.pulse("worker 0"),
        writes: health.writes(),
    }
}

fn record(attempt: i64, memory: &str) -> Record {
    let value = serde_json::json!({
        "kind": "poll", "carrier": "acme", "number": "ACME0001", "instance": 1, "ref": null,
        "registered_at": "2026-01-01T00:00:00Z", "attempt": attempt, "expires_at": "2026-01-02T00:00:00Z",
        "memories": { "normalizer": memory }, "request_offset": 5, "class": "tracked",
        "fetched_at": "2026-01-01T00:00:00Z", "seen_at": "2026-01-01T00:00:00Z", "spent": 2,
    });
    Record {
        offset: 9,
        append_time: NOW,
        key: Some("acme:ACME0001".into()),
        value: Some(serde_json::to_vec(&value).unwrap().into()),
        headers: Vec::new(),
    }
}

#[test]
fn fet_1_a_mapping_that_panics_ends_its_attempt_with_the_memories_as_they_were_sent() {
    let mut worker = worker(|_, _, _| panic!("a mapping's fault"));
    for attempt in 1..=2 {
        let outputs = worker.outputs(&record(attempt, "AAEC"));
        let outcome: Outcome = serde_json::from_slice(outputs.outcome.unwrap().value.as_deref().unwrap()).unwrap();
        assert_eq!((outcome.class, outcome.attempt, outcome.request_offset), (OutcomeClass::Unreadable, attempt, 5));
        assert_eq!((outcome.memories.normalizer.0.as_slice(), outcome.feedback.spent), ([0, 1, 2].as_slice(), 2));
        let letter = outputs.before.into_iter().next().unwrap();
        let read =
            Record { offset: 0, append_time: NOW, key: letter.key, value: letter.value, headers: letter.headers };
        assert_eq!(Letter::of(&read).unwrap().reason, "mapping_panicked");
    }
    // Poison beyond the limit: its carrier's answers are not looked into any more.
    let outputs = worker.outputs(&record(3, "AAEC"));
    let outcome: Outcome = serde_json::from_slice(outputs.outcome.unwrap().value.as_deref().unwrap()).unwrap();
    assert_eq!(outcome.class, OutcomeClass::AdapterDisabled);
    assert_eq!(outcome.memories.normalizer.0, [0, 1, 2]);
}
