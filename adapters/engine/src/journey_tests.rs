#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use SubStatus as S;

use super::*;

fn local(iso: &str) -> Point {
    let precision = match iso.len() {
        0 => return Point::default(),
        10 => TimePrecision::Date,
        _ => TimePrecision::Minute,
    };
    Point { local_s: local_seconds(iso), utc_ms: None, precision: Some(precision) }
}

fn ordered(isos: &[&str]) -> Vec<usize> {
    order(&isos.iter().map(|iso| local(iso)).collect::<Vec<_>>(), PageOrder::Auto)
}

#[test]
fn pages_of_either_direction_come_out_oldest_first() {
    assert_eq!(ordered(&["2024-01-02T10:00", "2024-01-02T11:00", "2024-01-03T09:00"]), [0, 1, 2]);
    assert_eq!(ordered(&["2024-01-03T09:00", "2024-01-02T11:00", "2024-01-02T10:00"]), [2, 1, 0]);
    assert_eq!(ordered(&["2024-01-02T10:00", "2024-01-02T10:00"]), [1, 0], "ties: newest first unless told");
}

#[test]
fn events_without_time_of_day_keep_their_page_place() {
    // Newest first: the dated one stands between two timed ones of its day.
    assert_eq!(ordered(&["2024-01-03T09:00", "2024-01-02", "2024-01-02T11:00"]), [2, 1, 0]);
    assert_eq!(ordered(&["2024-01-03T09:00", "2024-01-02T11:00", "2024-01-02"]), [2, 1, 0], "before its successor");
    assert_eq!(ordered(&["2024-01-03T09:00", "", "2024-01-02T11:00", ""]), [3, 2, 1, 0]);
    // A day that does not fit its neighbours goes where the day belongs.
    assert_eq!(ordered(&["2024-01-01", "2024-01-05T09:00", "2024-01-04T11:00"]), [0, 2, 1]);
}

#[test]
fn instants_decide_where_both_are_known_and_local_times_elsewhere() {
    let at = |iso: &str, hours: i64| {
        let mut point = local(iso);
        point.utc_ms = point.local_s.map(|s| (s - hours * 3600) * 1000);
        point
    };
    let west_first = [at("2024-01-02T15:38", -5), at("2024-01-02T15:03", -6)];
    assert_eq!(order(&west_first, PageOrder::NewestFirst), [0, 1]);
    let mixed = [at("2024-01-02T15:38", -5), local("2024-01-02T15:03")];
    assert_eq!(order(&mixed, PageOrder::NewestFirst), [1, 0]);
}

proptest::proptest! {
    #[test]
    fn every_list_is_ordered_once_and_instants_rise(
        events in proptest::collection::vec((0i64..5, 0i64..4, 0u8..4), 0..40),
        newest_first in proptest::prelude::any::<bool>(),
    ) {
        let points: Vec<Point> = events
            .iter()
            .map(|(day, hour, kind)| {
                let local_s = day * 86_400 + hour * 3_600;
                match kind {
                    0 => Point::default(),
                    1 => Point { local_s: Some(day * 86_400), utc_ms: None, precision: Some(TimePrecision::Date) },
                    2 => Point { local_s: Some(local_s), utc_ms: None, precision: Some(TimePrecision::Minute) },
                    _ => Point { local_s: Some(local_s), utc_ms: Some(local_s * 1000), precision: Some(TimePrecision::Second) },
                }
            })
            .collect();
        let page = if newest_first { PageOrder::NewestFirst } else { PageOrder::OldestFirst };
        let ordered = order(&points, page);
        let mut seen = ordered.clone();
        seen.sort_unstable();
        proptest::prop_assert_eq!(seen, (0..points.len()).collect::<Vec<_>>());
        let timed: Vec<&Point> = ordered.iter().map(|index| &points[*index]).filter(|point| point.has_time_of_day()).collect();
        proptest::prop_assert!(timed.windows(2).all(|pair| !pair[0].later_than(pair[1])));
    }
}

fn settled(events: &[S], headline: Option<S>) -> Settled {
    let unlatch = [S::ExceptionReturned, S::ExceptionReturning];
    let rules = Rules { unlatch: &unlatch, trust: Trust::Final };
    settle(events.iter().copied().map(Some), headline, rules, Before::default())
}

#[test]
fn nrm_4_delivered_latches_against_all_but_named_contradictions() {
    let late_scan = settled(&[S::InTransitOther, S::DeliveredOther, S::OutForDeliveryOther], None);
    assert_eq!(late_scan.sub_status, Some(S::DeliveredOther));
    assert!(late_scan.delivered);
    let returned = settled(&[S::DeliveredOther, S::ExceptionReturned, S::InTransitOther], None);
    assert_eq!(returned.sub_status, Some(S::InTransitOther), "once undone, events count again");
    assert!(!returned.delivered);
    let remembered = Before { sub_status: Some(S::DeliveredOther), delivered: true, attempted: true };
    let later = settle([Some(S::ExceptionDelayed)], None, Rules::default(), remembered);
    assert_eq!(later.sub_status, Some(S::DeliveredOther));
}

#[test]
fn the_place_in_the_journey_decides_between_failure_and_exception() {
    assert_eq!(settled(&[S::InTransitOther, S::ExceptionRejected], None).sub_status, Some(S::ExceptionRejected));
    let tried = settled(&[S::OutForDeliveryOther, S::ExceptionRejected], None);
    assert_eq!(tried.sub_status, Some(S::DeliveryFailureRejected));
    assert_eq!(tried.resolved[1], Some(S::DeliveryFailureRejected));
    assert_eq!(
        settled(&[S::DeliveryFailureOther, S::ExceptionNoBody], None).sub_status,
        Some(S::DeliveryFailureNoBody)
    );
}

#[test]
fn unmatched_events_keep_the_status_and_the_headline_helps() {
    let rules = Rules::default();
    let keep = settle([Some(S::InTransitArrival), None], None, rules, Before::default());
    assert_eq!(keep.sub_status, Some(S::InTransitArrival));
    let headline = settle([Some(S::InTransitArrival), None], Some(S::OutForDeliveryOther), rules, Before::default());
    assert_eq!((headline.sub_status, headline.by_headline), (Some(S::OutForDeliveryOther), true));
    assert_eq!(settled(&[S::OutForDeliveryOther], Some(S::InTransitOther)).sub_status, Some(S::OutForDeliveryOther));
    assert_eq!(settled(&[S::OutForDeliveryOther], Some(S::DeliveredOther)).sub_status, Some(S::DeliveredOther));
    assert_eq!(
        settled(&[S::DeliveredOther, S::ExceptionReturned], Some(S::DeliveredOther)).sub_status,
        Some(S::ExceptionReturned)
    );
}

#[test]
fn milestones_are_the_first_of_each() {
    let found = settled(&[S::InfoReceived, S::InTransitPickedUp, S::InTransitPickedUp, S::DeliveredOther], None);
    assert_eq!(found.milestones, [(Milestone::InfoReceived, 0), (Milestone::PickedUp, 1), (Milestone::Delivered, 3)]);
}
