//! When a number is looked at again: a pure function of what the last look told.
//!
//! All times are milliseconds of journey time. The interval *in force* adapts: × 0.6 when a look found something new,
//! × 1.4 when it did not, within the bounds of the status; entering another main status starts at that status's own.
//! What is actually waited ([`Plan::wait_ms`]) is the interval in force, jittered by the key's hash so that numbers
//! registered together drift apart, stretched by the budget's load ([`stretch_ratio`]), and never below the carrier's
//! least interval. The stretch is kept out of the interval in force: when load falls, numbers are back at once.

use waybill_schemas::{OutcomeClass, Status, SubStatus, shipment::StopReason};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

/// However overloaded a budget is, a due instant stays one that can be written down.
const LONGEST_WAIT: i64 = 365 * 24 * HOUR;

/// Part of a budget's rate that planned looks may fill; the rest is left to first looks, retries and visitors.
const PLANNED_SHARE: f64 = 0.9;

/// Time since the last change over this: no number is looked at more often than its silence justifies.
const QUIET_DIVISOR: i64 = 48;

/// What a look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// The first accepted reading of this number, or its main status is another than before.
    Moved,
    /// Something new within the same main status.
    Changed,
    /// Nothing new.
    Unchanged,
}

/// What is known of a number right after an accepted reading.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// The status after it.
    pub status: Option<SubStatus>,
    /// What it found.
    pub finding: Finding,
    /// The interval in force until now; 0 before the first reading.
    pub previous_ms: i64,
    /// Since the last change was seen, or since the registration.
    pub quiet_ms: i64,
    /// Readings before this one that confirmed an end.
    pub confirmations: u32,
}

/// What a carrier's policy adds.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Least wait between two looks at one parcel.
    pub least_ms: i64,
    /// Most wait between two looks at one parcel before it is stretched.
    pub most_ms: i64,
    /// By how much waits are stretched; at least 1.
    pub stretch: f64,
    /// Hash of the number's key and attempt: where in the jitter it falls.
    pub hash: u64,
}

/// What decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// The status is new: its own first interval.
    NewStatus,
    /// Something new: sooner.
    Sooner,
    /// Nothing new: later.
    Later,
    /// An end was read and is confirmed once more.
    Confirm,
}

/// When to look again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// What decided.
    pub rule: Rule,
    /// The interval in force from now on.
    pub interval_ms: i64,
    /// What is waited: jittered, stretched, at least the carrier's least.
    pub wait_ms: i64,
}

/// What follows from a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Next {
    /// Look again.
    Look(Plan),
    /// The end is confirmed: look no more.
    Stop(StopReason),
}

#[derive(Debug, Clone, Copy)]
struct Bounds {
    least: i64,
    first: i64,
    most: i64,
}

const fn bounds(status: Option<Status>) -> Bounds {
    let (least, first, most) = match status {
        None | Some(Status::NotFound) => (HOUR, 3 * HOUR, 24 * HOUR),
        Some(Status::InfoReceived) => (2 * HOUR, 6 * HOUR, 24 * HOUR),
        Some(Status::InTransit) => (HOUR, 4 * HOUR, 12 * HOUR),
        Some(Status::AvailableForPickup) => (2 * HOUR, 6 * HOUR, 24 * HOUR),
        Some(Status::OutForDelivery) => (15 * MINUTE, 30 * MINUTE, 2 * HOUR),
        Some(Status::DeliveryFailure) => (HOUR, 3 * HOUR, 8 * HOUR),
        Some(Status::Delivered) => (6 * HOUR, 12 * HOUR, 24 * HOUR),
        Some(Status::Exception) => (2 * HOUR, 6 * HOUR, 24 * HOUR),
        Some(Status::Expired) => (6 * HOUR, 24 * HOUR, 24 * HOUR),
    };
    Bounds { least, first, most }
}

/// The interval that a number counts with before its first reading.
pub const fn first_interval_ms() -> i64 {
    bounds(None).first
}

/// The reason for which looking ends once this status is confirmed; `None` when it is no end.
pub const fn end_of(status: SubStatus) -> Option<StopReason> {
    match status {
        SubStatus::DeliveredOther => Some(StopReason::Delivered),
        SubStatus::ExceptionReturned => Some(StopReason::Returned),
        SubStatus::ExceptionLost | SubStatus::ExceptionDestroyed | SubStatus::ExceptionCancel => {
            Some(StopReason::Ended)
        }
        _ => None,
    }
}

/// Confirming looks that an end needs. A loss is taken back more often than a delivery.
const fn confirmations_needed(reason: StopReason) -> u32 {
    match reason {
        StopReason::Ended => 2,
        _ => 1,
    }
}

/// What follows from an accepted reading.
pub fn after_reading(look: &Look, pace: &Pace) -> Next {
    let bounds = bounds(look.status.map(SubStatus::status));
    if let Some(reason) = look.status.and_then(end_of) {
        if look.finding == Finding::Unchanged && look.confirmations + 1 >= confirmations_needed(reason) {
            return Next::Stop(reason);
        }
        return Next::Look(plan(Rule::Confirm, bounds.first, pace));
    }
    let scaled = |factor: f64| (look.previous_ms.max(1) as f64 * factor) as i64;
    let (rule, wished) = match look.finding {
        Finding::Moved => (Rule::NewStatus, bounds.first),
        Finding::Changed => (Rule::Sooner, scaled(0.6)),
        Finding::Unchanged => (Rule::Later, scaled(1.4)),
    };
    // Silence slows a number down: after 12 hours without news looking every 15 minutes tells nothing more.
    let least = bounds.least.max(look.quiet_ms.max(0) / QUIET_DIVISOR).min(bounds.most);
    Next::Look(plan(rule, wished.clamp(least, bounds.most), pace))
}

fn plan(rule: Rule, interval_ms: i64, pace: &Pace) -> Plan {
    Plan { rule, interval_ms, wait_ms: wait_ms(interval_ms, pace) }
}

/// What is waited for an interval: ± 10 % by hash, at most the carrier's most, stretched, at least the carrier's least, at
/// most a year.
pub fn wait_ms(interval_ms: i64, pace: &Pace) -> i64 {
    let place = (pace.hash >> 11) as f64 / (1_u64 << 53) as f64;
    let jittered = (interval_ms as f64 * (0.9 + 0.2 * place)).min(pace.most_ms as f64);
    ((jittered * pace.stretch.max(1.0)) as i64).min(LONGEST_WAIT).max(pace.least_ms).max(1)
}

/// How long a number rests after a failure, by class and failures in a row (from 1); `None` for classes after which it is
/// due at once (nothing was wrong) or not at all by itself (`needs_data`), and for readings.
pub fn retry_ms(class: OutcomeClass, failures: u32) -> Option<i64> {
    let (first, most) = match class {
        OutcomeClass::CarrierDown | OutcomeClass::Throttled => (5 * MINUTE, 6 * HOUR),
        OutcomeClass::Unreadable => (HOUR, 24 * HOUR),
        OutcomeClass::Blocked => (2 * HOUR, 24 * HOUR),
        OutcomeClass::AdapterDisabled => (HOUR, 6 * HOUR),
        OutcomeClass::RefusesAutomation => (24 * HOUR, 24 * HOUR),
        OutcomeClass::Tracked
        | OutcomeClass::NotFound
        | OutcomeClass::RegisteredNoScan
        | OutcomeClass::NeedsData
        | OutcomeClass::Deferred
        | OutcomeClass::Expired
        | OutcomeClass::Internal => return None,
    };
    let doublings = failures.saturating_sub(1).min(20);
    Some((first << doublings).min(most))
}

/// How much intervals are stretched so that a load (requests per second of wall time at unstretched intervals) fits a
/// rate; 1 when it does.
pub fn stretch_ratio(load_per_second: f64, rate_per_second: f64) -> f64 {
    if rate_per_second <= 0.0 {
        return 1.0;
    }
    (load_per_second / (rate_per_second * PLANNED_SHARE)).max(1.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use super::*;

    const PACE: Pace = Pace { least_ms: 0, most_ms: i64::MAX, stretch: 1.0, hash: u64::MAX / 2 };

    fn look(status: SubStatus, finding: Finding, previous_ms: i64) -> Look {
        Look { status: Some(status), finding, previous_ms, quiet_ms: 0, confirmations: 0 }
    }

    fn planned(look: &Look, pace: &Pace) -> Plan {
        match after_reading(look, pace) {
            Next::Look(plan) => plan,
            Next::Stop(reason) => panic!("stopped: {reason:?}"),
        }
    }

    #[test]
    fn out_for_delivery_is_faster_than_transit_and_transit_than_a_label() {
        let first = |status| planned(&look(status, Finding::Moved, 0), &PACE).interval_ms;
        assert!(first(SubStatus::OutForDeliveryOther) < first(SubStatus::InTransitOther));
        assert!(first(SubStatus::InTransitOther) < first(SubStatus::InfoReceived));
    }

    #[test]
    fn nothing_new_waits_longer_and_news_shorter_within_the_bounds_of_the_status() {
        for status in SubStatus::all().filter(|status| end_of(*status).is_none()) {
            let limits = bounds(Some(status.status()));
            let mut interval = limits.first;
            for _ in 0..50 {
                let next = planned(&look(status, Finding::Unchanged, interval), &PACE).interval_ms;
                assert!(next >= interval && next <= limits.most);
                interval = next;
            }
            assert_eq!(interval, limits.most);
            for _ in 0..50 {
                let next = planned(&look(status, Finding::Changed, interval), &PACE).interval_ms;
                assert!(next <= interval && next >= limits.least);
                interval = next;
            }
            assert_eq!(interval, limits.least);
        }
    }

    #[test]
    fn an_end_is_confirmed_before_looking_stops() {
        let mut seen = look(SubStatus::DeliveredOther, Finding::Moved, HOUR);
        assert_eq!(planned(&seen, &PACE).rule, Rule::Confirm);
        seen.finding = Finding::Unchanged;
        assert_eq!(after_reading(&seen, &PACE), Next::Stop(StopReason::Delivered));
        // Something new after the delivery is looked at once more.
        seen.finding = Finding::Changed;
        assert_eq!(planned(&seen, &PACE).rule, Rule::Confirm);
        let lost = look(SubStatus::ExceptionLost, Finding::Unchanged, HOUR);
        assert_eq!(planned(&lost, &PACE).rule, Rule::Confirm);
        assert_eq!(after_reading(&Look { confirmations: 1, ..lost }, &PACE), Next::Stop(StopReason::Ended));
    }

    #[test]
    fn silence_slows_down_and_never_beyond_the_bounds() {
        let seen = look(SubStatus::OutForDeliveryOther, Finding::Changed, 30 * MINUTE);
        assert!(planned(&Look { quiet_ms: 48 * HOUR, ..seen }, &PACE).interval_ms >= HOUR);
        assert_eq!(planned(&Look { quiet_ms: 10_000 * HOUR, ..seen }, &PACE).interval_ms, 2 * HOUR);
    }

    #[test]
    fn the_wait_is_jittered_by_at_most_a_tenth_and_never_below_the_carriers_least() {
        for hash in [0, 1, u64::MAX / 3, u64::MAX] {
            let wait = wait_ms(10 * HOUR, &Pace { hash, ..PACE });
            assert!((9 * HOUR..=11 * HOUR).contains(&wait), "{wait}");
            assert!(wait_ms(MINUTE, &Pace { hash, least_ms: HOUR, ..PACE }) >= HOUR);
        }
        assert_ne!(wait_ms(10 * HOUR, &Pace { hash: 0, ..PACE }), wait_ms(10 * HOUR, &Pace { hash: u64::MAX, ..PACE }));
    }

    #[test]
    fn a_stretched_load_fits_the_rate_and_a_light_one_is_left_alone() {
        assert!((stretch_ratio(0.1, 1.0) - 1.0).abs() < f64::EPSILON);
        for load in [1.0, 5.0, 1_000.0] {
            let ratio = stretch_ratio(load, 0.5);
            assert!(load / ratio <= 0.5);
            let wait = wait_ms(HOUR, &Pace { stretch: ratio, ..PACE });
            assert!(wait as f64 >= HOUR as f64 * ratio * 0.89);
        }
    }

    #[test]
    fn failures_back_off_up_to_a_limit_and_readings_do_not() {
        for class in OutcomeClass::ALL {
            let Some(first) = retry_ms(class, 1) else {
                continue;
            };
            assert!(!class.is_reading());
            let mut previous = first;
            for failures in 2..40 {
                let next = retry_ms(class, failures).unwrap();
                assert!(next >= previous && next <= 24 * HOUR);
                previous = next;
            }
        }
        assert_eq!(retry_ms(OutcomeClass::Deferred, 9), None);
        assert_eq!(retry_ms(OutcomeClass::Tracked, 1), None);
    }

    #[test]
    fn a_carriers_most_interval_holds_until_the_budget_is_stretched() {
        for hash in [0, u64::MAX / 3, u64::MAX] {
            let pace = Pace { most_ms: MINUTE, hash, ..PACE };
            assert!(wait_ms(6 * HOUR, &pace) <= MINUTE);
            assert!(wait_ms(6 * HOUR, &Pace { stretch: 3.0, ..pace }) > MINUTE);
            assert!(wait_ms(6 * HOUR, &Pace { least_ms: HOUR, ..pace }) >= HOUR);
        }
    }
}
