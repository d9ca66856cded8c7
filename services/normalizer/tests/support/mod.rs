//! An invented carrier and its answers.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, fs, sync::Arc};

use waybill_adapters::{Adapter, Catalog};
use waybill_normalizer::{Normalized, normalize};
use waybill_schemas::{
    CarrierSlug, JourneyMs, Memories, Memory, OutcomeClass, UtcMs, WallMs,
    event::{RawEvent, ReadTime, ShipmentFacts, TimePrecision, ZoneSource},
    fetch::{FetchRequest, FetchResult, ReadSource, RequestKind},
    shipment::Tracking,
};

pub(crate) const MAPPING: &str = "
format: 1
phrases: []
headline: {}
codes: { D9: Delivered_Other }
exact:
  Announced: InfoReceived
  Picked up: InTransit_PickedUp
  Left the country: InTransit_Departure
  Arrived: InTransit_Arrival
  Sorted: InTransit_Other
  Out for delivery: OutForDelivery_Other
  Nobody home: Exception_NoBody
  Delivered: Delivered_Other
  Returning to sender: Exception_Returning
  Returned to sender: Exception_Returned
";

const ADAPTER: &str = "
format: 1
name: Test Post
basis: builtin
languages: [en]
budget: { rate_per_second: 1.0, burst: 1, concurrency: 1, min_interval_s: 60 }
";

pub(crate) const CARRIER: &str = "test-post";

/// The carrier with a mapping of its own.
pub(crate) fn catalog(mapping: &str) -> Catalog {
    let folder = tempfile::tempdir().unwrap();
    let carrier = folder.path().join("carriers").join(CARRIER);
    fs::create_dir_all(&carrier).unwrap();
    fs::write(carrier.join("adapter.yaml"), ADAPTER).unwrap();
    fs::write(carrier.join("mapping.yaml"), mapping).unwrap();
    Catalog::of_folder(&folder.path().join("carriers")).unwrap()
}

pub(crate) fn adapter_with(mapping: &str) -> Arc<Adapter> {
    catalog(mapping).get(&slug()).unwrap()
}

pub(crate) fn adapter() -> Arc<Adapter> {
    adapter_with(MAPPING)
}

pub(crate) fn slug() -> CarrierSlug {
    CARRIER.parse().unwrap()
}

/// An event of `2026-03-DD HH:MM`, local time of an unknown zone; as printed and as understood.
pub(crate) fn event(day: u32, clock: &str, text: &str) -> RawEvent {
    let iso = format!("2026-03-{day:02}T{clock}");
    RawEvent {
        time_raw: format!("{day:02}.03.2026 {clock}"),
        time: Some(ReadTime {
            iso,
            utc: None,
            precision: TimePrecision::Minute,
            zone_source: ZoneSource::Unknown,
            year_inferred: false,
        }),
        text: text.to_owned(),
        ..RawEvent::default()
    }
}

/// The same, of a zone that is known: one hour ahead of UTC.
pub(crate) fn zoned(day: u32, clock: &str, text: &str) -> RawEvent {
    let mut event = event(day, clock, text);
    if let Some(time) = &mut event.time {
        time.iso.push_str("+01:00");
        time.zone_source = ZoneSource::Carrier;
        time.utc = Some(
            time.iso.parse::<UtcMs>().unwrap_or_else(|_| format!("2026-03-{day:02}T{clock}:00+01:00").parse().unwrap()),
        );
    }
    event
}

pub(crate) fn undated(text: &str) -> RawEvent {
    RawEvent { text: text.to_owned(), ..RawEvent::default() }
}

/// A result of the given class, the first attempt of a new number.
pub(crate) fn result(class: OutcomeClass, events: Vec<RawEvent>) -> FetchResult {
    FetchResult {
        request: FetchRequest {
            kind: RequestKind::Poll,
            carrier: slug(),
            number: "TP123456789".parse().unwrap(),
            instance: 1,
            reference: Some("order-7".into()),
            registered_at: JourneyMs::new(1_772_000_000_000),
            registration: Default::default(),
            params: BTreeMap::new(),
            attempt: 1,
            expires_at: WallMs::new(0),
            tracking: Tracking::Active,
            stop_reason: None,
            memories: Memories::default(),
        },
        request_offset: 3,
        class,
        detail: None,
        needs: Vec::new(),
        unchanged: false,
        events,
        facts: ShipmentFacts::default(),
        source: ReadSource {
            adapter: CARRIER.into(),
            adapter_version: "a1".into(),
            source: "api".into(),
            reader: "r".into(),
            ..ReadSource::default()
        },
        payload: None,
        fetched_at: WallMs::new(1_773_000_000_000),
        seen_at: JourneyMs::new(1_773_000_000_000),
        spent: 1,
        not_before: None,
        fetcher_memory: class.is_reading().then(|| Memory(b"etag".to_vec())),
    }
}

pub(crate) fn tracked(events: Vec<RawEvent>) -> FetchResult {
    result(OutcomeClass::Tracked, events)
}

/// A number looked at again and again: memories go round as the scheduler sends them.
pub(crate) struct Walk {
    pub(crate) adapter: Arc<Adapter>,
    pub(crate) memories: Memories,
    pub(crate) attempt: i64,
    pub(crate) instance: u32,
}

impl Walk {
    pub(crate) fn new() -> Self {
        Self { adapter: adapter(), memories: Memories::default(), attempt: 0, instance: 1 }
    }

    /// What the next attempt's result looks like.
    pub(crate) fn prepared(&self, mut result: FetchResult) -> FetchResult {
        result.request.attempt = self.attempt + 1;
        result.request.instance = self.instance;
        result.request.memories = self.memories.clone();
        result.seen_at = result.seen_at.plus_ms(self.attempt * 3_600_000);
        result
    }

    pub(crate) fn look(&mut self, result: FetchResult) -> Normalized {
        let result = self.prepared(result);
        let done = normalize(&result, Some(&self.adapter));
        assert_eq!(done, normalize(&result, Some(&self.adapter)), "a repeat makes the same again");
        assert_eq!(done.violations, Vec::<&str>::new());
        self.attempt = result.request.attempt;
        self.memories = done.outcome.memories.clone();
        self.instance = done.outcome.instance;
        done
    }

    pub(crate) fn order(&mut self, kind: RequestKind) -> Normalized {
        let mut result = result(OutcomeClass::Internal, Vec::new());
        result.request.kind = kind;
        self.look(result)
    }
}
