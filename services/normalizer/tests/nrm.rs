//! The normalizer's promises, NRM-1 to NRM-5, and what becomes of every kind of result.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use support::*;
use waybill_normalizer::{memory::ShipmentMemory, normalize};
use waybill_schemas::{
    Memories, Memory, Milestone, OutcomeClass, Status, SubStatus, WallMs,
    detection::Evidence,
    event::{MatchedBy, RawEvent, ZoneSource},
    fetch::RequestKind,
    limits::MAX_MEMORY_BYTES,
    shipment::{Cause, StopReason, Tracking},
};

fn texts(done: &waybill_normalizer::Normalized) -> Vec<&str> {
    done.events.iter().map(|event| event.text.as_str()).collect()
}

#[test]
fn nrm_1_the_carriers_words_pass_through_untouched() {
    let raw = RawEvent {
        time_raw: " 1. M\u{e4}rz  um 9 Uhr ".into(),
        text: "Zugestellt &amp; unterschrieben \n".into(),
        code: Some("d9".into()),
        location: Some("  M\u{fc}nchen\u{a0}1".into()),
        country: Some("DE".into()),
        leg: 1,
        selector: "tr[3]".into(),
        ..RawEvent::default()
    };
    let done = Walk::new().look(tracked(vec![raw.clone()]));
    let event = &done.events[0];
    assert_eq!((&event.time_raw, &event.text, &event.code), (&raw.time_raw, &raw.text, &raw.code));
    assert_eq!((&event.location, &event.country, event.leg), (&raw.location, &raw.country, raw.leg));
    assert_eq!(event.source.selector, raw.selector);
    assert_eq!((event.matched_by, event.sub_status), (MatchedBy::Code, Some(SubStatus::DeliveredOther)));
    let latest = done.shipment.unwrap().latest_event.unwrap();
    assert_eq!((latest.text, latest.location, latest.event_id), (raw.text, raw.location, event.event_id));
}

#[test]
fn a_probe_publishes_nothing_and_says_what_it_showed() {
    let look = |ordered_at: Option<&str>, mut result: waybill_schemas::fetch::FetchResult| {
        result.request.kind = RequestKind::Probe;
        result.request.registration.ordered_at = ordered_at.map(str::to_owned);
        let done = normalize(&result, Some(&adapter()));
        assert!(done.events.is_empty() && done.shipment.is_none() && done.change.is_none(), "{done:?}");
        done.outcome.probed.map(|probed| (probed.evidence, probed.events))
    };
    let two = || tracked(vec![event(2, "10:00", "Sorted"), event(4, "10:00", "Delivered")]);
    assert_eq!(look(None, two()), Some((Evidence::Events, 2)));
    assert_eq!(look(Some("2026-03-04T23:00:00+01:00"), two()), Some((Evidence::Events, 2)));
    assert_eq!(look(Some("2026-03-05"), two()), Some((Evidence::TooOld, 2)));
    assert_eq!(look(Some("2026-03-01"), tracked(vec![undated("Sorted")])), Some((Evidence::TooOld, 1)));
    assert_eq!(look(None, tracked(vec![undated("Sorted")])), Some((Evidence::Events, 1)));
    assert_eq!(look(None, result(OutcomeClass::NotFound, Vec::new())), Some((Evidence::Nothing, 0)));
    assert_eq!(look(None, result(OutcomeClass::Blocked, Vec::new())), None);
}

#[test]
fn nrm_2_a_page_that_grows_adds_only_what_is_new_whichever_end_it_grows_at() {
    let all = [
        event(1, "09:00", "Picked up"),
        event(2, "10:00", "Sorted"),
        event(2, "10:00", "Sorted"),
        undated("Sorted"),
        event(3, "10:00", "Sorted"),
        undated("Sorted"),
        event(4, "10:00", "Delivered"),
    ];
    let ids = |newest_first: bool| {
        let mut walk = Walk::new();
        let mut ids = Vec::new();
        for length in 1..=all.len() {
            let mut page = all[..length].to_vec();
            if newest_first {
                page.reverse();
            }
            let done = walk.look(tracked(page));
            assert_eq!(done.events.len(), 1, "the {length}th event is the only new one");
            ids.push(done.events[0].event_id);
        }
        ids
    };
    let growing = ids(true);
    assert_eq!(growing, ids(false), "ordinals of equals do not depend on the page's direction");
    let mut unique = growing.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), all.len());
}

#[test]
fn nrm_2_a_mapping_change_alters_no_id_and_publishes_nothing_again() {
    let page = vec![event(1, "09:00", "Picked up"), event(2, "08:00", "Zollabfertigung"), event(2, "10:00", "Sorted")];
    let mut walk = Walk::new();
    let first = walk.look(tracked(page.clone()));
    assert_eq!((first.events.len(), first.unmatched), (3, 1));
    walk.adapter = adapter_with(
        "{format: 1, phrases: [], exact: {Picked up: InfoReceived, Zollabfertigung: InTransit_CustomsProcessing, \
         Sorted: Delivered_Other, Gone: InTransit_Other}}",
    );
    let again = walk.look(tracked(page.clone()));
    assert!(again.events.is_empty() && again.shipment.is_none() && again.change.is_none());
    // A look of the new mapping alone gives the same ids.
    let fresh = normalize(&tracked(page.clone()), Some(&walk.adapter));
    let ids = |events: &[waybill_schemas::event::TrackingEvent]| events.iter().map(|e| e.event_id).collect::<Vec<_>>();
    assert_eq!(ids(&fresh.events), ids(&first.events));
    // What is new is read by the new mapping, beside what was published by the old.
    let mut more = page;
    more.push(event(3, "10:00", "Gone"));
    let grown = walk.look(tracked(more));
    assert_eq!((texts(&grown), grown.events[0].sub_status), (vec!["Gone"], Some(SubStatus::InTransitOther)));
}

#[test]
fn nrm_2_entities_and_spaces_do_not_make_an_event_new() {
    let mut walk = Walk::new();
    walk.look(tracked(vec![event(1, "09:00", "Sorted in M\u{fc}nchen")]));
    let done = walk.look(tracked(vec![event(1, "09:00", " Sorted  in Mu\u{308}nchen"), event(1, "10:00", "Arrived")]));
    assert_eq!(texts(&done), ["Arrived"]);
}

#[test]
fn nrm_3_fewer_events_than_before_erase_none() {
    let mut walk = Walk::new();
    walk.look(tracked(vec![
        event(1, "09:00", "Announced"),
        event(2, "09:00", "Picked up"),
        event(3, "09:00", "Arrived"),
        event(4, "09:00", "Out for delivery"),
    ]));
    let shorter = walk.look(tracked(vec![event(2, "09:00", "Picked up")]));
    assert!(shorter.events.is_empty() && shorter.change.is_none());
    assert_eq!(shorter.outcome.status, Some(Status::OutForDelivery));
    let back = walk.look(tracked(vec![event(4, "09:00", "Out for delivery"), event(5, "09:00", "Delivered")]));
    assert_eq!(texts(&back), ["Delivered"]);
    let shipment = back.shipment.unwrap();
    assert_eq!(shipment.event_count, 5);
    assert!(shipment.milestones.contains_key(&Milestone::Arrival));
}

#[test]
fn nrm_3_not_found_counts_only_while_there_is_no_scan() {
    let mut walk = Walk::new();
    let first = walk.look(result(OutcomeClass::NotFound, Vec::new()));
    let change = first.change.unwrap();
    assert_eq!((change.current, change.first, change.initial), (Status::NotFound, true, true));
    let announced = walk.look(result(OutcomeClass::RegisteredNoScan, vec![event(1, "09:00", "Announced")]));
    let change = announced.change.unwrap();
    assert_eq!((change.previous, change.current), (Some(Status::NotFound), Status::InfoReceived));
    assert_eq!((change.first, change.initial, announced.events.len()), (false, false, 1));
    assert_eq!(walk.look(result(OutcomeClass::NotFound, Vec::new())).outcome.status, Some(Status::NotFound));
    walk.look(tracked(vec![event(1, "09:00", "Announced"), event(2, "09:00", "Picked up")]));
    for class in [OutcomeClass::NotFound, OutcomeClass::RegisteredNoScan] {
        let done = walk.look(result(class, Vec::new()));
        assert_eq!(done.outcome.status, Some(Status::InTransit), "{class}");
        assert!(done.change.is_none() && done.events.is_empty());
        assert_eq!(done.shipment.unwrap().last_outcome.class, class, "the user sees how the last look ended");
    }
}

#[test]
fn nrm_3_only_readings_move_status_history_and_what_was_read() {
    for class in OutcomeClass::ALL.into_iter().filter(|class| !class.is_reading()) {
        let mut walk = Walk::new();
        walk.look(tracked(vec![event(1, "09:00", "Picked up")]));
        let read = walk.memories.clone();
        // Even with events, which no fetcher sends.
        let mut failed = result(class, vec![event(2, "09:00", "Delivered")]);
        failed.not_before = Some(WallMs::new(9));
        let done = walk.look(failed);
        assert_eq!((done.outcome.class, done.outcome.status), (class, Some(Status::InTransit)));
        assert!(done.events.is_empty() && done.change.is_none() && !done.outcome.changed, "{class}");
        assert_eq!(done.outcome.memories.fetcher, read.fetcher);
        let (before, after) =
            (ShipmentMemory::decode(&read.normalizer), ShipmentMemory::decode(&walk.memories.normalizer));
        let (before, mut after) = (before.unwrap(), after.unwrap());
        (after.published, after.shown.last_outcome) = (before.published, before.shown.last_outcome.clone());
        assert_eq!(after, before, "{class}: nothing but the note of what is shown");
        let waits = done.outcome.not_before.is_some();
        assert_eq!(
            waits,
            class == OutcomeClass::Deferred,
            "{class}: a deferral is the number's, the rest the budget's"
        );
        assert_ne!(waits, done.outcome.feedback.budget_not_before.is_some());
    }
}

#[test]
fn nrm_3_expired_comes_from_the_clock_and_a_later_event_lifts_it() {
    let page = vec![event(1, "09:00", "Picked up"), event(2, "09:00", "Arrived")];
    let mut walk = Walk::new();
    walk.look(tracked(page.clone()));
    let expired = walk.order(RequestKind::Clock);
    let change = expired.change.unwrap();
    assert_eq!(
        (change.previous, change.current, change.cause),
        (Some(Status::InTransit), Status::Expired, Cause::Clock)
    );
    assert_eq!(expired.shipment.unwrap().status, Status::Expired);
    assert_eq!(walk.look(tracked(page.clone())).outcome.status, Some(Status::Expired), "the same page lifts nothing");
    for class in [OutcomeClass::NotFound, OutcomeClass::RegisteredNoScan] {
        assert_eq!(walk.look(result(class, Vec::new())).outcome.status, Some(Status::Expired), "{class}");
    }
    let mut more = page;
    more.push(event(9, "09:00", "something unheard of"));
    let lifted = walk.look(tracked(more));
    let change = lifted.change.unwrap();
    assert_eq!((change.previous, change.current), (Some(Status::Expired), Status::InTransit));
}

#[test]
fn nrm_4_delivered_latches_until_a_named_contradiction() {
    let mut walk = Walk::new();
    let mut page = vec![event(1, "09:00", "Out for delivery"), event(2, "09:00", "Delivered")];
    walk.look(tracked(page.clone()));
    for (day, text) in [(1, "Arrived"), (3, "Sorted"), (4, "Nobody home"), (5, "something unheard of")] {
        page.push(event(day, "10:00", text));
        let late = walk.look(tracked(page.clone()));
        assert_eq!((texts(&late), late.outcome.status), (vec![text], Some(Status::Delivered)));
        assert!(late.change.is_none());
    }
    assert_eq!(walk.order(RequestKind::Clock).outcome.status, Some(Status::Delivered));
    // The page forgets the delivery; the shipment does not.
    let short = vec![event(3, "10:00", "Sorted"), event(6, "10:00", "Arrived")];
    assert_eq!(walk.look(tracked(short)).outcome.status, Some(Status::Delivered));
    page.push(event(7, "10:00", "Returned to sender"));
    let returned = walk.look(tracked(page));
    let change = returned.change.unwrap();
    assert_eq!((change.previous, change.sub_status), (Some(Status::Delivered), SubStatus::ExceptionReturned));
}

#[test]
fn nrm_4_a_delivery_that_only_the_headline_told_latches_too() {
    let mut walk = Walk::new();
    let mut told = tracked(vec![event(1, "09:00", "Out for delivery")]);
    told.facts.status_text = Some("Delivered".into());
    assert_eq!(walk.look(told).outcome.status, Some(Status::Delivered));
    let done = walk.look(tracked(vec![event(1, "09:00", "Out for delivery"), event(2, "09:00", "Sorted")]));
    assert_eq!(done.outcome.status, Some(Status::Delivered));
    let done = walk.look(tracked(vec![event(3, "09:00", "Returning to sender")]));
    assert_eq!(done.outcome.sub_status, Some(SubStatus::ExceptionReturning));
}

#[test]
fn nrm_5_a_year_that_was_not_printed_is_marked_in_what_is_published() {
    let mut odd = event(1, "09:00", "Picked up");
    odd.time.as_mut().unwrap().year_inferred = true;
    let done = Walk::new().look(tracked(vec![odd, event(2, "09:00", "Sorted")]));
    assert_eq!(done.events.iter().map(|event| event.year_inferred).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn what_tells_of_people_is_shown_as_long_as_it_is_asked_for() {
    let mut walk = Walk::new();
    let signed = |name: Option<&str>, text: &str| {
        let mut result = tracked(vec![event(1, "09:00", text)]);
        result.facts.private = name.map(|name| ("signed_by".to_owned(), name.to_owned())).into_iter().collect();
        result
    };
    let shown = |done: &waybill_normalizer::Normalized| {
        done.shipment.as_ref().unwrap().private.values().cloned().collect::<Vec<_>>()
    };
    let done = walk.look(signed(Some("A. Nobody"), "Delivered"));
    assert_eq!(shown(&done), ["A. Nobody"]);
    let done = walk.look(signed(None, "Delivered to a neighbour"));
    assert!(shown(&done).is_empty());
}

#[test]
fn nrm_5_no_time_is_invented() {
    let mut odd = undated("Sorted");
    odd.time_raw = "yesterday".into();
    let done = Walk::new().look(tracked(vec![event(1, "09:00", "Picked up"), odd, zoned(3, "09:00", "Arrived")]));
    let [local, none, known] = &done.events[..] else { panic!("three events") };
    assert_eq!(
        (local.time.as_deref(), local.time_utc, local.zone_source),
        (Some("2026-03-01T09:00"), None, ZoneSource::Unknown)
    );
    assert_eq!((none.time_raw.as_str(), &none.time, none.time_utc), ("yesterday", &None, None));
    assert_eq!((none.time_precision, none.zone_source), (None, ZoneSource::Unknown));
    assert_eq!(known.time.as_deref(), Some("2026-03-03T09:00+01:00"));
    assert_eq!(known.time_utc.unwrap().to_string(), "2026-03-03T08:00:00.000Z");
    let shipment = done.shipment.unwrap();
    assert_eq!(shipment.milestones[&Milestone::PickedUp].time_utc, None);
    assert_eq!(shipment.since.time.as_deref(), Some("2026-03-01T09:00"), "in transit since the run began");
}

#[test]
fn fet_1_every_result_has_exactly_one_outcome_that_names_its_request() {
    for kind in [RequestKind::Poll, RequestKind::Clock, RequestKind::Stop, RequestKind::Replay, RequestKind::Forget] {
        for class in OutcomeClass::ALL {
            for adapter in [Some(adapter()), None] {
                let mut any = tracked(vec![event(1, "09:00", "Sorted")]);
                (any.class, any.request.kind, any.request.attempt) = (class, kind, 77);
                let done = normalize(&any, adapter.as_deref());
                let outcome = done.outcome;
                assert_eq!((outcome.attempt, outcome.request_offset, outcome.kind), (77, 3, kind));
                let put_off =
                    adapter.is_none() && matches!(class, OutcomeClass::Tracked | OutcomeClass::RegisteredNoScan);
                assert_eq!(outcome.class, if put_off { OutcomeClass::Deferred } else { class });
            }
        }
    }
}

#[test]
fn a_memory_that_cannot_be_read_defers_and_is_kept() {
    for bytes in [vec![1, 2, 3], vec![200, 0, 0, 0, 0, 0]] {
        let mut any = tracked(vec![event(1, "09:00", "Sorted")]);
        any.request.memories = Memories { fetcher: Memory(vec![7]), normalizer: Memory(bytes), ..Memories::default() };
        let done = normalize(&any, Some(&adapter()));
        assert_eq!(done.outcome.class, OutcomeClass::Deferred);
        assert_eq!(done.outcome.memories, any.request.memories);
        assert!(done.events.is_empty() && done.shipment.is_none() && done.outcome.detail.is_some());
    }
}

#[test]
fn a_look_that_found_nothing_new_does_not_rewrite_the_shipment_and_a_failure_and_its_end_are_shown() {
    let page = vec![event(1, "09:00", "Picked up")];
    let unchanged = || {
        let mut result = tracked(Vec::new());
        result.unchanged = true;
        result
    };
    let mut walk = Walk::new();
    assert!(walk.look(result(OutcomeClass::CarrierDown, Vec::new())).shipment.is_none(), "nothing to say yet");
    assert!(walk.look(tracked(page.clone())).shipment.is_some());
    for _ in 0..3 {
        assert!(walk.look(unchanged()).shipment.is_none());
        assert!(walk.look(tracked(page.clone())).shipment.is_none());
    }
    let down = walk.look(result(OutcomeClass::CarrierDown, Vec::new())).shipment.unwrap();
    assert_eq!(
        (down.last_outcome.class, down.status, down.event_count),
        (OutcomeClass::CarrierDown, Status::InTransit, 1)
    );
    assert_eq!(down.latest_event.unwrap().text, "Picked up");
    assert!(walk.look(result(OutcomeClass::CarrierDown, Vec::new())).shipment.is_none());
    assert!(walk.look(result(OutcomeClass::Deferred, Vec::new())).shipment.is_none());
    let up = walk.look(unchanged()).shipment.unwrap();
    assert_eq!((up.last_outcome.class, up.version), (OutcomeClass::Tracked, walk.attempt));
    assert!(walk.look(unchanged()).shipment.is_none());
}

#[test]
fn stop_and_resume_are_published_and_nothing_else_moves() {
    let mut walk = Walk::new();
    walk.look(tracked(vec![event(1, "09:00", "Delivered")]));
    let read = ShipmentMemory::decode(&walk.memories.normalizer).unwrap();
    let mut stop = result(OutcomeClass::Internal, Vec::new());
    (stop.request.kind, stop.request.tracking) = (RequestKind::Stop, Tracking::Stopped);
    stop.request.stop_reason = Some(StopReason::Delivered);
    let stopped = walk.look(stop).shipment.unwrap();
    assert_eq!((stopped.tracking, stopped.stop_reason), (Tracking::Stopped, Some(StopReason::Delivered)));
    assert_eq!((stopped.status, stopped.event_count), (Status::Delivered, 1));
    assert_eq!(stopped.last_outcome.class, OutcomeClass::Tracked);
    let resumed = walk.order(RequestKind::Resume).shipment.unwrap();
    assert_eq!((resumed.tracking, resumed.stop_reason, resumed.version), (Tracking::Active, None, 3));
    assert_eq!(ShipmentMemory::decode(&walk.memories.normalizer).unwrap().events, read.events);
}

#[test]
fn forgetting_empties_both_memories_and_says_so() {
    let mut walk = Walk::new();
    walk.look(tracked(vec![event(1, "09:00", "Picked up")]));
    let done = walk.order(RequestKind::Forget);
    assert_eq!(done.outcome.memories, Memories::default());
    assert_eq!(done.forgotten.unwrap().attempt, 2);
    assert!(done.shipment.is_none() && done.events.is_empty() && done.change.is_none());
}

#[test]
fn a_recycled_number_begins_a_new_life() {
    let later = |month: u32, text: &str| {
        let mut event = event(1, "09:00", text);
        event.time_raw = format!("01.{month:02}.2026 09:00");
        if let Some(time) = &mut event.time {
            time.iso = format!("2026-{month:02}-01T09:00");
        }
        event
    };
    let mut walk = Walk::new();
    let old = walk.look(tracked(vec![event(1, "09:00", "Picked up"), event(4, "09:00", "Delivered")]));
    let again = walk.look(tracked(vec![later(9, "Picked up")]));
    assert_eq!((again.outcome.instance, again.outcome.status), (2, Some(Status::InTransit)));
    let change = again.change.unwrap();
    assert_eq!((change.instance, change.previous, change.first, change.initial), (2, None, true, true));
    assert_ne!(again.events[0].event_id.shipment, old.events[0].event_id.shipment);
    assert_eq!(again.shipment.unwrap().event_count, 1);
    // Not recycled: not delivered, too soon, or beside an event of the old life.
    let beginnings = [vec![event(1, "09:00", "Picked up")], vec![event(4, "09:00", "Delivered")]];
    let answers = [vec![later(9, "Arrived")], vec![later(5, "Sorted")]];
    for (begin, answer) in beginnings.into_iter().zip(answers) {
        let mut walk = Walk::new();
        walk.look(tracked(begin.clone()));
        assert_eq!(walk.look(tracked(answer)).outcome.instance, 1);
        assert_eq!(walk.look(tracked([begin, vec![later(12, "Sorted")]].concat())).outcome.instance, 1);
    }
}

#[test]
fn nrm_2_a_thousand_events_fold_and_are_never_published_again() {
    let at = |index: u32| {
        let mut event = event(1 + index / 60 % 28, &format!("{:02}:{:02}", index / 1_680, index % 60), "Sorted");
        event.location = Some(format!("hub {index}"));
        event
    };
    let mut page: Vec<RawEvent> = (0..999).map(at).collect();
    let mut walk = Walk::new();
    let first = walk.look(tracked(page.clone()));
    assert_eq!(first.events.len(), 999);
    assert!(walk.memories.normalizer.0.len() <= MAX_MEMORY_BYTES);
    assert!(walk.look(tracked(page.clone())).events.is_empty());
    page.reverse();
    assert!(walk.look(tracked(page.clone())).events.is_empty(), "in the other direction");
    page.push(event(30, "09:00", "Delivered"));
    let grown = walk.look(tracked(page.clone()));
    assert_eq!(texts(&grown), ["Delivered"]);
    assert_eq!(grown.shipment.unwrap().event_count, 1_000);
    page.truncate(100);
    assert!(walk.look(tracked(page)).events.is_empty());
}

#[test]
fn undated_pages_fold_by_their_order() {
    let page: Vec<RawEvent> = (0..300).map(|index| undated(&format!("step {index}"))).rev().collect();
    let mut walk = Walk::new();
    assert_eq!(walk.look(tracked(page.clone())).events.len(), 300);
    assert!(walk.look(tracked(page.clone())).events.is_empty());
    let grown = [vec![undated("Delivered")], page].concat();
    assert_eq!(texts(&walk.look(tracked(grown))), ["Delivered"]);
}

#[test]
fn a_result_beyond_the_limits_is_a_dead_letter_and_yields_an_outcome() {
    let done = normalize(&tracked(vec![undated("x"); 1_001]), Some(&adapter()));
    assert_eq!(done.outcome.class, OutcomeClass::Unreadable);
    assert!(done.dead.is_some() && done.events.is_empty());
    let done = normalize(&tracked(vec![undated(&"x".repeat(4_097))]), Some(&adapter()));
    assert!(done.dead.is_some());
}
