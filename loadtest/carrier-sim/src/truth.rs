//! The ledger against the plan: per number, what was shown, and whether its end was.

use serde::Serialize;
use waybill_schemas::SubStatus;

use crate::{
    journey::End,
    ledger::{Ledger, Shown},
    plan::Plan,
};

/// What must be known of one parcel by whoever read every answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Truth {
    /// The carrier's slug.
    pub carrier: String,
    /// The canonical number.
    pub number: String,
    /// How it ends.
    pub end: End,
    /// Where a tracker that has seen the end must stand; absent where nothing can be read.
    pub sub_status: Option<SubStatus>,
    /// Whether an answer that shows the end has been given.
    pub end_shown: bool,
    /// Requests for it since the carrier knew it.
    pub requests: u64,
    /// Every event ever shown, in the order of appearance; equal ones are separate events.
    pub events: Vec<Shown>,
}

/// The truth of every parcel of the plan, in its order.
pub(crate) fn of_all<'a>(plan: &'a Plan, ledger: &'a Ledger) -> impl Iterator<Item = Truth> + 'a {
    plan.parcels().iter().map(move |parcel| {
        let known = ledger.truth_of(parcel.carrier, &parcel.number).unwrap_or_default();
        // Happenings that the carrier shows outside its history come first; they do not count.
        let to_the_end = crate::shapes::of(parcel.carrier).map_or(usize::MAX, |shape| {
            let journey = plan.journey(parcel);
            let upto = journey.happenings_to_the_end().min(journey.happenings.len());
            journey.happenings[..upto].iter().filter(|happening| shape.shown(happening).is_some()).count()
        });
        Truth {
            carrier: parcel.carrier.to_owned(),
            number: parcel.number.clone(),
            end: parcel.end,
            sub_status: parcel.end.sub_status(),
            end_shown: parcel.end != End::Unreadable && known.events.len() >= to_the_end,
            requests: known.requests,
            events: known.events,
        }
    })
}
