//! What a look-up comes to on its own, without history: the view that `waybill adapter parse` prints.

use serde::Serialize;
use waybill_schemas::{
    Milestone, OutcomeClass, Status, SubStatus, UtcMs,
    event::{EstimatedDelivery, MatchedBy, ShipmentFacts},
};

use crate::{
    adapter::Adapter,
    answer::ReadOutcome,
    journey::{self, Before, Point},
};

/// A look-up as `waybill adapter parse` prints it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ParsedView {
    /// The carrier.
    pub carrier: String,
    /// The number, where it was given.
    pub number: Option<String>,
    /// How it ended.
    pub outcome: OutcomeClass,
    /// Main status; null unless the answer was read.
    pub status: Option<Status>,
    /// Sub-status; null unless the answer was read.
    pub sub_status: Option<SubStatus>,
    /// Events, the newest first.
    pub events: Vec<ParsedEvent>,
    /// Milestones in the order of the journey's table.
    pub milestones: std::collections::BTreeMap<&'static str, ParsedMoment>,
    /// Estimated delivery.
    pub estimated_delivery: Option<EstimatedDelivery>,
    /// One sentence for people, where there is something to say.
    #[serde(skip)]
    pub detail: Option<String>,
    /// The reader that accepted the answer.
    #[serde(skip)]
    pub reader: String,
    /// What the answer says outside its tables.
    #[serde(skip)]
    pub facts: ShipmentFacts,
}

/// An event as printed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ParsedEvent {
    /// The time in the carrier's words.
    pub time_raw: String,
    /// ISO 8601, as exact as printed.
    pub time: Option<String>,
    /// The carrier's words.
    pub text: String,
    /// The place as printed.
    pub location: Option<String>,
    /// The carrier's code.
    pub code: Option<String>,
    /// What it means.
    pub sub_status: Option<SubStatus>,
    /// What decided that.
    #[serde(skip)]
    pub matched_by: MatchedBy,
}

/// When a milestone was reached.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ParsedMoment {
    /// ISO 8601; absent when the event printed none.
    pub time: Option<String>,
    /// The instant, where the zone is known.
    pub time_utc: Option<UtcMs>,
}

/// Judges a look-up as if it were the first.
pub fn assess(adapter: &Adapter, outcome: &ReadOutcome, number: Option<&str>) -> ParsedView {
    let points: Vec<Point> = outcome.events.iter().map(Point::of).collect();
    let order = journey::order(&points, adapter.page_order(&outcome.reader));
    let mapped: Vec<_> = order.iter().map(|index| adapter.mapping.map(&outcome.events[*index])).collect();
    let headline = adapter.mapping.headline(&outcome.facts);
    let subs = mapped.iter().map(|mapped| mapped.sub_status);
    let settled = journey::settle(subs, headline, adapter.mapping.rules(), Before::default());
    let sub_status = match outcome.class {
        OutcomeClass::NotFound => Some(not_found(headline)),
        OutcomeClass::RegisteredNoScan => Some(SubStatus::InfoReceived),
        OutcomeClass::Tracked => Some(settled.sub_status.unwrap_or(SubStatus::InTransitOther)),
        _ => None,
    };
    let events: Vec<ParsedEvent> = order
        .iter()
        .enumerate()
        .map(|(rank, index)| {
            let event = &outcome.events[*index];
            ParsedEvent {
                time_raw: event.time_raw.clone(),
                time: event.time.as_ref().map(|time| time.iso.clone()),
                text: event.text.clone(),
                location: event.location.clone(),
                code: event.code.clone(),
                sub_status: settled.resolved.get(rank).copied().flatten(),
                matched_by: mapped[rank].matched_by,
            }
        })
        .rev()
        .collect();
    let moment = |(milestone, rank): &(Milestone, usize)| {
        let time = outcome.events[order[*rank]].time.as_ref();
        let moment = ParsedMoment { time: time.map(|time| time.iso.clone()), time_utc: time.and_then(|time| time.utc) };
        (milestone.as_str(), moment)
    };
    ParsedView {
        carrier: adapter.slug.as_str().to_owned(),
        number: number.map(str::to_owned),
        outcome: outcome.class,
        status: sub_status.map(SubStatus::status),
        sub_status,
        events,
        milestones: settled.milestones.iter().map(moment).collect(),
        estimated_delivery: outcome.facts.estimated_delivery.clone(),
        detail: outcome.detail.clone(),
        reader: outcome.reader.clone(),
        facts: outcome.facts.clone(),
    }
}

/// What sort of "not found" a carrier's message tells.
pub fn not_found(headline: Option<SubStatus>) -> SubStatus {
    headline.filter(|sub_status| sub_status.status() == Status::NotFound).unwrap_or(SubStatus::NotFoundOther)
}
