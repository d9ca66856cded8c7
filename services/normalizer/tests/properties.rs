//! Laws that hold for any sequence of looks.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, option, prelude::*};
use support::*;
use waybill_adapters::{ReadOutcome, assess};
use waybill_normalizer::normalize;
use waybill_schemas::{OutcomeClass, Status, event::RawEvent, fetch::RequestKind, limits::MAX_MEMORY_BYTES};

const TEXTS: [&str; 8] = [
    "Announced",
    "Picked up",
    "Arrived",
    "Out for delivery",
    "Nobody home",
    "Delivered",
    "Returned to sender",
    "unheard of",
];

fn raw_event() -> impl Strategy<Value = RawEvent> {
    (1u32..6, 8u32..12, 0usize..TEXTS.len(), 0u8..4).prop_map(|(day, hour, text, dress)| {
        let clock = format!("{hour:02}:30");
        match dress {
            0 => undated(TEXTS[text]),
            1 => zoned(day, &clock, TEXTS[text]),
            _ => event(day, &clock, TEXTS[text]),
        }
    })
}

#[derive(Debug, Clone)]
enum Look {
    Page { shown: Vec<bool>, newest_first: bool },
    Class(OutcomeClass),
    Clock,
}

fn look() -> impl Strategy<Value = Look> {
    prop_oneof![
        6 => (vec(any::<bool>(), 30), any::<bool>()).prop_map(|(shown, newest_first)| Look::Page { shown, newest_first }),
        2 => (0usize..OutcomeClass::ALL.len()).prop_map(|at| Look::Class(OutcomeClass::ALL[at])),
        1 => Just(Look::Clock),
    ]
}

type Words = (String, String);

fn words(event: &RawEvent) -> Words {
    (event.time_raw.clone(), event.text.clone())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nrm_2_nrm_3_history_is_the_union_of_all_readings_and_each_event_is_published_once(
        mut pool in vec(raw_event(), 1..30), looks in vec(look(), 1..12),
    ) {
        pool.sort_by_key(|event| event.time.as_ref().map(|time| time.iso.clone()));
        let mut walk = Walk::new();
        let mut most: BTreeMap<Words, usize> = BTreeMap::new();
        let mut published: BTreeMap<Words, usize> = BTreeMap::new();
        let mut ids = BTreeSet::new();
        let mut status = None;
        for look in looks {
            let done = match look {
                Look::Page { shown, newest_first } => {
                    let mut page: Vec<RawEvent> =
                        pool.iter().zip(&shown).filter(|(_, shown)| **shown).map(|(event, _)| event.clone()).collect();
                    if newest_first {
                        page.reverse();
                    }
                    let mut counts: BTreeMap<Words, usize> = BTreeMap::new();
                    for event in &page {
                        *counts.entry(words(event)).or_default() += 1;
                    }
                    for (words, count) in counts {
                        let most = most.entry(words).or_default();
                        *most = count.max(*most);
                    }
                    walk.look(tracked(page))
                }
                Look::Class(class) => walk.look(result(class, Vec::new())),
                Look::Clock => walk.order(RequestKind::Clock),
            };
            for event in &done.events {
                prop_assert!(ids.insert((event.event_id, event.version)), "published twice");
                *published.entry((event.time_raw.clone(), event.text.clone())).or_default() += 1;
            }
            prop_assert!(walk.memories.normalizer.0.len() <= MAX_MEMORY_BYTES);
            if let Some(shipment) = &done.shipment {
                prop_assert_eq!(usize::try_from(shipment.event_count).unwrap(), ids.len());
                prop_assert_eq!(Some(shipment.status), done.outcome.status);
            }
            // A change is published exactly when the main status moves.
            let now = done.outcome.status;
            prop_assert_eq!(done.change.is_some(), now != status);
            if let Some(change) = &done.change {
                prop_assert_eq!((change.previous, Some(change.current)), (status, now));
            }
            status = now;
        }
        prop_assert_eq!(published, most);
    }

    #[test]
    fn log_1_a_result_normalized_again_makes_the_same_records(pool in vec(raw_event(), 0..20), split in 0usize..20) {
        let mut walk = Walk::new();
        let split = split.min(pool.len());
        walk.look(tracked(pool[..split].to_vec()));
        let result = walk.prepared(tracked(pool));
        let bytes = |result| {
            let done = normalize(result, Some(&walk.adapter));
            serde_json::to_vec(&(done.events, done.shipment, done.change, done.outcome)).unwrap()
        };
        prop_assert_eq!(bytes(&result), bytes(&result));
    }

    #[test]
    fn nrm_4_once_delivered_only_a_return_moves_the_status(
        pages in vec(vec(raw_event(), 0..8), 1..8),
    ) {
        let mut walk = Walk::new();
        walk.look(tracked(vec![event(3, "10:00", "Delivered")]));
        for page in pages {
            let returned = page.iter().any(|event| event.text.starts_with("Return"));
            let done = walk.look(tracked(page));
            if returned {
                return Ok(());
            }
            prop_assert_eq!(done.outcome.status, Some(Status::Delivered));
        }
    }

    #[test]
    fn a_first_look_comes_to_what_the_command_line_prints(
        events in vec(raw_event(), 0..20), class in 0usize..3, headline in option::of(0usize..TEXTS.len()),
    ) {
        let class = [OutcomeClass::Tracked, OutcomeClass::NotFound, OutcomeClass::RegisteredNoScan][class];
        let adapter = adapter();
        let mut result = result(class, if class == OutcomeClass::NotFound { Vec::new() } else { events });
        result.facts.status_text = headline.map(|at| TEXTS[at].to_owned());
        let read = ReadOutcome {
            class,
            detail: None,
            needs: Vec::new(),
            events: result.events.clone(),
            facts: result.facts.clone(),
            reader: result.source.reader.clone(),
            digest: 0,
        };
        let printed = assess(&adapter, &read, None);
        let done = normalize(&result, Some(&adapter));
        prop_assert_eq!(done.outcome.sub_status, printed.sub_status);
        let words = |time_raw: &str, text: &str, sub| (time_raw.to_owned(), text.to_owned(), sub);
        let published: Vec<_> = done.events.iter().rev().map(|e| words(&e.time_raw, &e.text, e.sub_status)).collect();
        let shown: Vec<_> = printed.events.iter().map(|e| words(&e.time_raw, &e.text, e.sub_status)).collect();
        prop_assert_eq!(published, shown);
        let shipment = done.shipment.unwrap();
        let reached: BTreeMap<&str, Option<String>> =
            shipment.milestones.iter().map(|(milestone, moment)| (milestone.as_str(), moment.time.clone())).collect();
        let shown: BTreeMap<&str, Option<String>> =
            printed.milestones.iter().map(|(milestone, moment)| (*milestone, moment.time.clone())).collect();
        prop_assert_eq!(reached, shown);
        prop_assert_eq!(shipment.latest_event.map(|latest| latest.text), printed.events.first().map(|e| e.text.clone()));
    }
}
