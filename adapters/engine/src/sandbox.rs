//! The carrier `sandbox`: inside this program, no network, for integrators and for health tests.
//!
//! A pure function of the number, the instant of registration and now: `SANDBOX-<SUB_STATUS>-0001` walks through a
//! plausible journey and has reached that sub-status a minute after its registration.

use waybill_schemas::{
    JourneyMs, OutcomeClass, SubStatus, UtcMs,
    event::{RawEvent, ReadTime, ShipmentFacts, TimePrecision, ZoneSource},
};

use crate::answer::ReadOutcome;
use SubStatus as S;

/// The carrier's slug.
pub const SLUG: &str = "sandbox";

/// The last step of every journey is made so many milliseconds after registration.
const WALK_MS: i64 = 50_000;

/// What the sandbox answers for a number at an instant.
pub fn read(number: &str, registered_at: JourneyMs, now: JourneyMs) -> ReadOutcome {
    let Some(goal) = goal_of(number) else { return not_found(S::NotFoundInvalidCode) };
    if goal.status() == waybill_schemas::Status::NotFound {
        return not_found(goal);
    }
    let journey = journey_to(goal);
    let last = i64::try_from(journey.len() - 1).unwrap_or(0).max(1);
    let mut outcome = ReadOutcome::new(OutcomeClass::Tracked, SLUG);
    for (index, sub_status) in journey.iter().enumerate() {
        // Whole seconds, so that what is printed is what is meant.
        let begun = registered_at.ms().div_euclid(1000) * 1000;
        let at = begun + i64::try_from(index).unwrap_or(0) * (WALK_MS / last);
        if index == 0 || at <= now.ms() {
            outcome.events.push(event(*sub_status, at, index));
        }
    }
    if outcome.events.len() == 1 {
        outcome.class = OutcomeClass::RegisteredNoScan;
    }
    outcome.facts.service = Some("Sandbox".to_owned());
    outcome.sealed()
}

fn not_found(sub_status: SubStatus) -> ReadOutcome {
    let mut outcome = ReadOutcome::new(OutcomeClass::NotFound, SLUG);
    outcome.facts = ShipmentFacts { status_code: Some(sub_status.as_str().to_owned()), ..ShipmentFacts::default() };
    outcome.sealed()
}

/// The sub-status that a number names: whole (`INTRANSIT_PICKEDUP`) or by its main status (`DELIVERED`).
fn goal_of(number: &str) -> Option<SubStatus> {
    let upper = number.trim().to_ascii_uppercase();
    let rest = upper.strip_prefix("SANDBOX-")?;
    let name = rest.split('-').next()?;
    let whole = S::all().find(|sub_status| sub_status.as_str().eq_ignore_ascii_case(name));
    whole.or_else(|| {
        let other = format!("{name}_OTHER");
        S::all().find(|sub_status| sub_status.as_str().eq_ignore_ascii_case(&other))
    })
}

/// A plausible way to a sub-status, beginning with the announcement.
fn journey_to(goal: SubStatus) -> Vec<SubStatus> {
    let abroad = [S::InfoReceived, S::InTransitPickedUp, S::InTransitDeparture, S::InTransitArrival];
    let (way, then): (&[SubStatus], &[SubStatus]) = match goal {
        S::InfoReceived => (&[], &[]),
        S::InTransitPickedUp | S::ExceptionCancel => (&abroad[..1], &[]),
        S::InTransitDeparture => (&abroad[..2], &[]),
        S::InTransitArrival | S::ExceptionDelayed | S::ExceptionLost | S::ExceptionDestroyed | S::ExceptionDamage => {
            (&abroad[..3], &[])
        }
        S::InTransitOther | S::ExpiredOther | S::ExceptionOther => (&abroad[..2], &[]),
        S::InTransitCustomsReleased | S::InTransitCustomsRequiringInformation => {
            (&abroad, &[S::InTransitCustomsProcessing])
        }
        S::DeliveryFailureNoBody
        | S::DeliveryFailureSecurity
        | S::DeliveryFailureRejected
        | S::DeliveryFailureInvalidAddress
        | S::DeliveryFailureOther
        | S::DeliveredOther => (&abroad, &[S::OutForDeliveryOther]),
        S::ExceptionReturning => (&abroad, &[S::OutForDeliveryOther, S::DeliveryFailureNoBody]),
        S::ExceptionReturned => (&abroad, &[S::OutForDeliveryOther, S::DeliveryFailureNoBody, S::ExceptionReturning]),
        _ => (&abroad, &[]),
    };
    way.iter().chain(then).copied().chain([goal]).collect()
}

fn event(sub_status: SubStatus, at_ms: i64, index: usize) -> RawEvent {
    let instant = UtcMs::new(at_ms);
    let iso = instant.to_string().replace(".000Z", "Z");
    RawEvent {
        time_raw: iso.clone(),
        time: Some(ReadTime {
            iso,
            utc: Some(instant),
            precision: TimePrecision::Second,
            zone_source: ZoneSource::Carrier,
            year_inferred: false,
        }),
        text: words(sub_status).to_owned(),
        code: Some(sub_status.as_str().to_owned()),
        location: Some("Sandbox".to_owned()),
        selector: format!("step[{}]", index + 1),
        ..RawEvent::default()
    }
}

const fn words(sub_status: SubStatus) -> &'static str {
    match sub_status {
        S::NotFoundOther | S::NotFoundInvalidCode => "Not found",
        S::InfoReceived => "Shipment announced",
        S::InTransitPickedUp => "Picked up",
        S::InTransitDeparture => "Departed from the country of origin",
        S::InTransitArrival => "Arrived in the destination country",
        S::InTransitCustomsProcessing => "Presented to customs",
        S::InTransitCustomsReleased => "Released by customs",
        S::InTransitCustomsRequiringInformation => "Customs asks for more information",
        S::InTransitOther => "In transit",
        S::ExpiredOther => "No further news",
        S::AvailableForPickupOther => "Ready for collection",
        S::OutForDeliveryOther => "Out for delivery",
        S::DeliveryFailureNoBody => "Delivery attempted: nobody was there",
        S::DeliveryFailureSecurity => "Delivery attempted: no access",
        S::DeliveryFailureRejected => "Delivery attempted: refused",
        S::DeliveryFailureInvalidAddress => "Delivery attempted: the address is wrong",
        S::DeliveryFailureOther => "Delivery attempted",
        S::DeliveredOther => "Delivered",
        S::ExceptionReturning => "On its way back to the sender",
        S::ExceptionReturned => "Back with the sender",
        S::ExceptionNoBody => "The recipient cannot be reached",
        S::ExceptionSecurity => "Held for security reasons",
        S::ExceptionDamage => "Damaged",
        S::ExceptionRejected => "Refused by the recipient",
        S::ExceptionDelayed => "Delayed",
        S::ExceptionLost => "Lost",
        S::ExceptionDestroyed => "Destroyed",
        S::ExceptionCancel => "Cancelled",
        S::ExceptionOther => "Something out of the ordinary happened",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::{Catalog, assess};

    #[test]
    fn every_sub_status_is_reached_within_a_minute() {
        let catalog = Catalog::embedded().unwrap();
        let adapter = catalog.get(&SLUG.parse().unwrap()).unwrap();
        let registered = JourneyMs::new(1_700_000_000_123);
        for goal in S::all() {
            let number = format!("SANDBOX-{}-0001", goal.as_str().to_uppercase());
            let seen = |after_ms: i64| assess(&adapter, &read(&number, registered, registered.plus_ms(after_ms)), None);
            assert_eq!(seen(60_000).sub_status, Some(goal), "{number}");
            assert_eq!(seen(60_000), seen(600_000), "it stays there");
            let mut before = 0;
            for second in 0..60 {
                let count = seen(second * 1000).events.len();
                assert!(count >= before, "events never vanish");
                before = count;
            }
        }
    }

    #[test]
    fn main_statuses_serve_and_unknown_names_are_invalid() {
        assert_eq!(goal_of("sandbox-delivered-0001"), Some(S::DeliveredOther));
        assert_eq!(goal_of("SANDBOX-NOTFOUND-0001"), Some(S::NotFoundOther));
        let unknown = read("SANDBOX-TELEPORTED-0001", JourneyMs::ZERO, JourneyMs::ZERO);
        assert_eq!(unknown.class, OutcomeClass::NotFound);
        assert_eq!(unknown.facts.status_code.as_deref(), Some("NotFound_InvalidCode"));
    }
}
