#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use bytes::Bytes;
use waybill_schemas::{Memory, event::RawEvent};

use super::*;
use crate::{
    beside::Beside,
    look_up::{Reading, bare},
    memory::Validators,
    payload::Kept,
};

fn request() -> FetchRequest {
    serde_json::from_value(serde_json::json!({
        "kind": "poll", "carrier": "acme", "number": "ACME0001", "instance": 1, "ref": null,
        "registered_at": "2026-01-01T00:00:00Z", "attempt": 7, "expires_at": "2026-01-02T00:00:00Z",
    }))
    .unwrap()
}

fn asked() -> Asked {
    Asked { adapter: "acme".to_owned(), adapter_version: "v1".to_owned(), source: "api".to_owned(), candidate: false }
}

fn found(outcome: ReadOutcome) -> LookUp {
    let body = Bytes::from_static(b"{}");
    LookUp {
        outcome,
        not_modified: false,
        validators: Validators { etag: Some("\"e\"".to_owned()), last_modified: None },
        answers: vec![Kept {
            step: "page",
            status: 200,
            content_type: "application/json".to_owned(),
            body,
            speaks: true,
        }],
        headers: vec![Vec::new()],
        spent: 1,
        not_before: None,
        fetched_at: WallMs::new(5),
        seen_at: JourneyMs::new(5),
        signal: None,
        adapter: Reading::Sound,
        beside: Beside::default(),
    }
}

fn tracked(texts: &[&str]) -> ReadOutcome {
    let event = |text: &&str| RawEvent { text: (*text).to_owned(), ..RawEvent::default() };
    let digest = xxh3_64(texts.concat().as_bytes());
    ReadOutcome { events: texts.iter().map(event).collect(), digest, ..bare(OutcomeClass::Tracked, None, Vec::new()) }
}

/// A request that carries the memories of an earlier result.
fn next(result: &FetchResult) -> (FetchRequest, FetcherMemory) {
    let mut request = request();
    request.attempt += 1;
    request.memories.fetcher = result.fetcher_memory.clone().unwrap();
    request.memories.normalizer = Memory(vec![1]);
    let known = FetcherMemory::decode(&request.memories.fetcher).unwrap();
    (request, known)
}

#[test]
fn the_same_reading_is_unchanged_and_kept_once() {
    let (first, payload) =
        of_look_up(request(), 3, found(tracked(&["in", "out"])), &FetcherMemory::default(), (&asked(), 0));
    assert!(!first.unchanged && first.events.len() == 2);
    assert_eq!(first.payload, payload.map(|payload| payload.hash));
    assert!(first.payload.is_some());
    let (again, known) = next(&first);
    let (second, payload) = of_look_up(again.clone(), 4, found(tracked(&["in", "out"])), &known, (&asked(), 0));
    assert!(second.unchanged && second.events.is_empty() && payload.is_none() && second.payload.is_none());
    assert!(second.fetcher_memory.is_some());
    let (third, payload) = of_look_up(again.clone(), 5, found(tracked(&["in"])), &known, (&asked(), 0));
    assert!(!third.unchanged && payload.is_some());
    // Another adapter version may read the same and mean something else.
    let newer = Asked { adapter_version: "v2".to_owned(), ..asked() };
    let (fourth, _) = of_look_up(again.clone(), 6, found(tracked(&["in", "out"])), &known, (&newer, 0));
    assert!(!fourth.unchanged);
    // Nothing is "the same as before" for a normalizer that knows nothing.
    let mut fresh = again;
    fresh.memories.normalizer = Memory::default();
    let (fifth, _) = of_look_up(fresh, 7, found(tracked(&["in", "out"])), &known, (&asked(), 0));
    assert!(!fifth.unchanged && fifth.events.len() == 2);
}

#[test]
fn only_an_accepted_reading_advances_the_memory_and_only_tracked_keeps_an_etag() {
    for class in OutcomeClass::ALL {
        let mut found = found(bare(class, None, Vec::new()));
        if class != OutcomeClass::Tracked {
            found.validators = Validators::default();
        }
        let (result, _) = of_look_up(request(), 1, found, &FetcherMemory::default(), (&asked(), 0));
        assert_eq!(result.class, class);
        assert_eq!(result.fetcher_memory.is_some(), class.is_reading(), "{class}");
        if let Some(memory) = &result.fetcher_memory {
            let etag = FetcherMemory::decode(memory).unwrap().validators.etag;
            assert_eq!(etag.is_some(), class == OutcomeClass::Tracked);
        }
    }
}

#[test]
fn not_modified_is_unchanged_and_keeps_what_was_known() {
    let (first, _) = of_look_up(request(), 3, found(tracked(&["in"])), &FetcherMemory::default(), (&asked(), 0));
    let (again, known) = next(&first);
    let not_modified = LookUp { not_modified: true, ..found(bare(OutcomeClass::Tracked, None, Vec::new())) };
    let (result, payload) = of_look_up(again, 4, not_modified, &known, (&asked(), 1));
    assert!(result.unchanged && payload.is_none());
    assert_eq!(FetcherMemory::decode(&result.fetcher_memory.unwrap()).unwrap().digest, known.digest);
}

#[test]
fn what_is_too_large_is_unreadable_and_its_payload_is_kept() {
    let many = vec!["x"; MAX_EVENTS + 1];
    let long = "x".repeat(MAX_TEXT_BYTES + 1);
    let heavy = "y".repeat(MAX_TEXT_BYTES);
    let heavies = vec![heavy.as_str(); 300];
    for outcome in [tracked(&many), tracked(&[&long]), tracked(&heavies)] {
        let (result, payload) = of_look_up(request(), 1, found(outcome), &FetcherMemory::default(), (&asked(), 0));
        assert_eq!(result.class, OutcomeClass::Unreadable);
        assert!(result.detail.clone().unwrap().starts_with("too large"));
        assert!(result.events.is_empty() && result.fetcher_memory.is_none());
        assert_eq!(result.payload, payload.map(|payload| payload.hash));
        assert!(result.payload.is_some());
        assert!(serde_json::to_vec(&result).unwrap().len() <= MAX_RESULT_BYTES);
    }
}
