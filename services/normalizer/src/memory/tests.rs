#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::{collection::vec, option, prelude::*};
use waybill_schemas::{
    JourneyMs, Memory, OutcomeClass,
    limits::{MAX_MEMORY_BYTES, MAX_REMEMBERED_EVENTS, MAX_TEXT_BYTES},
};

use super::*;

fn sub_status() -> impl Strategy<Value = SubStatus> {
    (0u8..30).prop_map(|number| SubStatus::from_number(number).unwrap())
}

fn time() -> impl Strategy<Value = KnownTime> {
    let precision = prop_oneof![
        Just(TimePrecision::Date),
        Just(TimePrecision::HalfDay),
        Just(TimePrecision::Minute),
        Just(TimePrecision::Second)
    ];
    (-1_000_000_000i64..4_000_000_000, option::of(-900i32..900), precision)
        .prop_map(|(local_s, offset_min, precision)| KnownTime { local_s, offset_min, precision })
}

fn known_event() -> impl Strategy<Value = KnownEvent> {
    (
        any::<u64>(),
        option::weighted(0.1, any::<u64>()),
        1u32..5,
        option::weighted(0.9, time()),
        option::of(sub_status()),
    )
        .prop_map(|(hash, published, version, time, sub_status)| KnownEvent {
            hash,
            published,
            version,
            time,
            sub_status,
        })
}

fn moment() -> impl Strategy<Value = Moment> {
    (option::of("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}"), option::of(any::<i64>()), any::<i64>())
        .prop_map(|(time, utc, seen)| Moment { time, time_utc: utc.map(UtcMs::new), seen_at: JourneyMs::new(seen) })
}

fn shown(longest: usize) -> impl Strategy<Value = Shown> {
    let text = move || vec(any::<char>(), 0..=longest / 4).prop_map(String::from_iter);
    let latest = (any::<u64>(), text(), option::of(text()), option::of(any::<i64>()), text(), option::of(sub_status()))
        .prop_map(|(event, time_raw, location, utc, text, sub_status)| Latest {
            event,
            time_raw,
            time: Some("2026-01-31T10:00".into()),
            time_utc: utc.map(UtcMs::new),
            text,
            location,
            sub_status,
        });
    let legs = vec((text(), text()).prop_map(|(carrier, number)| Leg { carrier, number }), 0..3);
    (option::of(latest), legs, option::of(text()), option::of(text()), option::of(text()), option::of(text())).prop_map(
        |(latest, legs, origin, service, detail, signed_by)| Shown {
            latest,
            legs,
            origin,
            service,
            private: signed_by.map(|name| ("signed_by".to_owned(), name)).into_iter().collect(),
            estimated_delivery: Some(EstimatedDelivery {
                from: "2026-02-01".into(),
                to: "2026-02-03".into(),
                source: "carrier".into(),
            }),
            last_outcome: Some(LastOutcome { class: OutcomeClass::Tracked, at: JourneyMs::new(5), detail }),
            ..Shown::default()
        },
    )
}

fn memory(events: usize, longest: usize) -> impl Strategy<Value = ShipmentMemory> {
    let milestones = vec(moment(), 0..=9);
    let published = option::of((any::<u64>(), any::<u64>()));
    (vec(known_event(), 0..=events), milestones, 0u8..8, option::of(sub_status()), shown(longest), published, 1u32..9)
        .prop_map(|(events, moments, latches, status, shown, published, instance)| ShipmentMemory {
            instance,
            events,
            milestones: Milestone::ALL.into_iter().zip(moments.clone()).collect(),
            latches: Latches { read: latches & 1 != 0, scanned: latches & 2 != 0, delivered: latches & 4 != 0 },
            status,
            since: moments.first().cloned(),
            shown,
            published: published.map(|(record, rebuilt)| Published { record, rebuilt }),
            ..ShipmentMemory::default()
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_remembered_is_read_back(memory in memory(60, 60)) {
        let mut memory = memory;
        memory.fit(Rules::default());
        prop_assert_eq!(ShipmentMemory::decode(&memory.encode()).unwrap(), memory);
    }

    #[test]
    fn nrm_2_a_memory_keeps_its_bound_and_every_event_one_by_one_or_folded(
        memory in memory(1_000, MAX_TEXT_BYTES),
    ) {
        let mut fitted = memory.clone();
        fitted.fit(Rules::default());
        prop_assert!(fitted.encode().0.len() <= MAX_MEMORY_BYTES);
        prop_assert!(fitted.events.len() <= MAX_REMEMBERED_EVENTS);
        prop_assert_eq!(fitted.event_count(), memory.event_count());
        // What is left one by one is the newest, unaltered.
        prop_assert_eq!(&memory.events[memory.events.len() - fitted.events.len()..], &fitted.events[..]);
        prop_assert_eq!(fitted.milestones, memory.milestones);
        prop_assert_eq!(fitted.latches, memory.latches);
    }

    #[test]
    fn folding_at_once_or_bit_by_bit_comes_to_the_same(memory in memory(200, 20), keep in 0usize..150) {
        let (mut at_once, mut bit_by_bit) = (memory.clone(), memory);
        at_once.fold_to(keep, Rules::default());
        while bit_by_bit.events.len() > keep {
            bit_by_bit.fold_to(bit_by_bit.events.len() - 1, Rules::default());
        }
        prop_assert_eq!(at_once, bit_by_bit);
    }

    #[test]
    fn bytes_that_were_altered_or_cut_are_damaged_and_never_empty(
        memory in memory(20, 40), at in any::<prop::sample::Index>(), flip in 1u8..=255,
    ) {
        let mut memory = memory;
        memory.fit(Rules::default());
        let bytes = memory.encode().0;
        let at = at.index(bytes.len());
        let mut altered = bytes.clone();
        altered[at] ^= flip;
        prop_assert!(ShipmentMemory::decode(&Memory(altered)).is_err());
        if at > 0 {
            prop_assert_eq!(ShipmentMemory::decode(&Memory(bytes[..at].to_vec())), Err(MemoryError::Damaged));
        }
    }

    #[test]
    fn any_bytes_are_answered_without_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _ = ShipmentMemory::decode(&Memory(bytes));
    }
}

#[test]
fn fields_of_a_later_build_are_written_back_as_they_came() {
    let mut memory = ShipmentMemory { instance: 2, ..ShipmentMemory::default() };
    memory.foreign.push((900, b"of tomorrow".to_vec()));
    let read = ShipmentMemory::decode(&memory.encode()).unwrap();
    assert_eq!(read, memory);
    assert_eq!(read.encode(), memory.encode());
}

#[test]
fn a_newer_version_is_told_from_damage() {
    let mut bytes = ShipmentMemory::default().encode().0;
    bytes[0] = 9;
    assert_eq!(ShipmentMemory::decode(&Memory(bytes)), Err(MemoryError::Newer(9)));
    assert_eq!(ShipmentMemory::decode(&Memory(vec![0, 1, 2, 3, 4])), Err(MemoryError::Damaged));
    assert_eq!(ShipmentMemory::decode(&Memory::default()), Ok(ShipmentMemory::default()));
}

#[test]
fn twelve_events_and_150_fit_with_all_that_is_shown() {
    let event = |index: u64| KnownEvent {
        hash: index.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        published: None,
        version: 1,
        time: Some(KnownTime {
            local_s: 1_780_000_000 + i64::try_from(index).unwrap() * 14_000,
            offset_min: Some(60),
            precision: TimePrecision::Minute,
        }),
        sub_status: Some(SubStatus::InTransitOther),
    };
    let moment = Moment { time: Some("2026-06-01T10:15+01:00".into()), time_utc: None, seen_at: JourneyMs::new(1) };
    for count in [12, 150] {
        let mut memory = ShipmentMemory {
            instance: 1,
            events: (0..count).map(event).collect(),
            milestones: Milestone::ALL.into_iter().map(|milestone| (milestone, moment.clone())).collect(),
            ..ShipmentMemory::default()
        };
        memory.shown.weight = Some("1.2 kg".into());
        memory.fit(Rules::default());
        assert_eq!(memory.events.len(), usize::try_from(count).unwrap());
        assert_eq!(memory.shown.weight.as_deref(), Some("1.2 kg"));
    }
}

/// A memory with everything in it.
fn whole() -> ShipmentMemory {
    let known =
        |hash: u64, time: Option<KnownTime>| KnownEvent { hash, published: None, version: 1, time, sub_status: None };
    let time = |local_s: i64, offset_min: Option<i32>, precision| Some(KnownTime { local_s, offset_min, precision });
    let moment = Moment {
        time: Some("2026-03-03T14:05+01:00".to_owned()),
        time_utc: Some(UtcMs::new(1_772_543_100_000)),
        seen_at: JourneyMs::new(1_772_550_000_250),
    };
    ShipmentMemory {
        instance: 2,
        events: vec![
            known(0x0102_0304_0506_0708, None),
            known(11, time(1_772_460_000, None, TimePrecision::Date)),
            known(12, time(1_772_470_000, Some(60), TimePrecision::HalfDay)),
            KnownEvent {
                published: Some(77),
                version: 3,
                sub_status: Some(SubStatus::OutForDeliveryOther),
                ..known(13, time(1_772_546_700, Some(60), TimePrecision::Minute))
            },
            known(14, time(1_772_546_705, Some(-330), TimePrecision::Second)),
        ],
        folded: Folded {
            count: 9,
            until: time(1_772_400_000, Some(0), TimePrecision::Minute),
            before: Before { sub_status: Some(SubStatus::InTransitOther), attempted: true, delivered: true },
        },
        milestones: Milestone::ALL.into_iter().map(|milestone| (milestone, moment.clone())).collect(),
        latches: Latches { read: true, scanned: true, delivered: true },
        status: Some(SubStatus::OutForDeliveryOther),
        since: Some(moment),
        shown: Shown {
            latest: Some(Latest {
                event: 13,
                time_raw: "03.03.2026 14:05 Uhr".to_owned(),
                time: Some("2026-03-03T14:05+01:00".to_owned()),
                time_utc: Some(UtcMs::new(1_772_543_100_000)),
                text: "In das Zustellfahrzeug geladen".to_owned(),
                location: Some("Graz".to_owned()),
                sub_status: Some(SubStatus::OutForDeliveryOther),
            }),
            estimated_delivery: Some(EstimatedDelivery {
                from: "2026-03-03".to_owned(),
                to: "2026-03-04".to_owned(),
                source: "carrier".to_owned(),
            }),
            legs: vec![Leg { carrier: "austrian-post".to_owned(), number: "1000123456789".to_owned() }],
            origin: Some("DE".to_owned()),
            destination: Some("AT".to_owned()),
            service: Some("Paket".to_owned()),
            weight: Some("1,2 kg".to_owned()),
            private: [("signed_by".to_owned(), "M".to_owned())].into(),
            last_outcome: Some(LastOutcome {
                class: OutcomeClass::NeedsData,
                at: JourneyMs::new(1_772_550_000_250),
                detail: Some("the carrier asks for the postal code".to_owned()),
            }),
        },
        published: Some(Published { record: 0x1122_3344_5566_7788, rebuilt: 5 }),
        foreign: Vec::new(),
    }
}

/// What stands in people's logs: see schemas/frozen/README.md.
#[test]
fn nrm_3_a_memory_of_version_0_1_is_read_and_written_back_with_what_a_later_build_added() {
    let records = include_str!("../../../../schemas/frozen/v0.1/schedule.json");
    let records: Vec<serde_json::Value> = serde_json::from_str(records).unwrap();
    let tracked = records.iter().find(|record| record["name"] == "tracked").unwrap();
    let memory: Memory = serde_json::from_value(tracked["value"]["memories"]["normalizer"].clone()).unwrap();
    let mut known = ShipmentMemory::decode(&memory).unwrap();
    assert_eq!(known, whole());
    known.foreign.push((200, vec![7, 9]));
    assert_eq!(ShipmentMemory::decode(&known.encode()).unwrap(), known);
}
