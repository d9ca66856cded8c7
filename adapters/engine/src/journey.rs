//! The order of a shipment's events and the status that follows from it: one pure piece of code for whole answers
//! ([`crate::assess`]) and for the normalizer, which remembers of old events only their minute and sub-status.
//!
//! Order (by [`order`]): by instant if both zones are known, else by printed local time; an event without time of day
//! keeps its page place within its day; ties by page order. Status (by [`settle`]): the newest event that means something,
//! except that *Delivered* latches (NRM-4) and that the headline may decide where the mapping trusts it.

use serde::Deserialize;
use waybill_schemas::{
    Milestone, SubStatus,
    event::{RawEvent, ReadTime, TimePrecision},
};

/// In which order an answer lists its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum PageOrder {
    /// To be seen from the times; newest first if they do not tell.
    #[default]
    Auto,
    /// The newest event on top.
    NewestFirst,
    /// The oldest event on top.
    OldestFirst,
}

/// What must be known of an event to place it. Order of fields in a list: the page's own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Point {
    /// The printed local time, as seconds since 1970-01-01T00:00:00 on that same clock; a date counts as its midnight.
    pub local_s: Option<i64>,
    /// The instant, in milliseconds since the Unix epoch, where the zone is known.
    pub utc_ms: Option<i64>,
    /// How exact the time is.
    pub precision: Option<TimePrecision>,
}

impl Point {
    /// Of a time as read.
    pub fn of_time(time: &ReadTime) -> Self {
        Self {
            local_s: local_seconds(&time.iso),
            utc_ms: time.utc.map(waybill_schemas::UtcMs::ms),
            precision: Some(time.precision),
        }
    }

    /// Of a raw event.
    pub fn of(event: &RawEvent) -> Self {
        event.time.as_ref().map(Self::of_time).unwrap_or_default()
    }

    fn day(&self) -> Option<i64> {
        self.local_s.map(|seconds| seconds.div_euclid(86_400))
    }

    fn has_time_of_day(&self) -> bool {
        self.local_s.is_some() && self.precision >= Some(TimePrecision::Minute)
    }

    /// Whether this one is later than `other`; both have a time of day.
    fn later_than(&self, other: &Self) -> bool {
        match (self.utc_ms, other.utc_ms) {
            (Some(mine), Some(theirs)) => mine > theirs,
            _ => self.local_s > other.local_s,
        }
    }
}

/// Seconds of an ISO date or date-time on its own clock; an offset behind it is left aside.
fn local_seconds(iso: &str) -> Option<i64> {
    let date: jiff::civil::Date = iso.get(..10)?.parse().ok()?;
    let days = i64::from((date - jiff::civil::date(1970, 1, 1)).get_days());
    let part = |from: usize| iso.get(from..from + 2).and_then(|two| two.parse::<i64>().ok());
    let time = if iso.len() >= 16 {
        let seconds = if iso.get(16..17) == Some(":") { part(17)? } else { 0 };
        part(11)? * 3600 + part(14)? * 60 + seconds
    } else {
        0
    };
    Some(days * 86_400 + time)
}

/// The order of events, oldest first, as indices into `points` (which stand in the page's order).
pub fn order(points: &[Point], page: PageOrder) -> Vec<usize> {
    // The page's order, oldest first: what all ties fall back to.
    let mut paged: Vec<usize> = (0..points.len()).collect();
    if !is_oldest_first(points, page) {
        paged.reverse();
    }
    // Events with a time of day, by insertion: the relation "later" mixes instants and local times and need not be
    // transitive, so a general sort could not be trusted with it. Insertion always ends and always gives the same.
    let mut ordered: Vec<usize> = Vec::with_capacity(points.len());
    for &index in paged.iter().filter(|index| points[**index].has_time_of_day()) {
        let mut at = ordered.len();
        while at > 0 && points[ordered[at - 1]].later_than(&points[index]) {
            at -= 1;
        }
        ordered.insert(at, index);
    }
    // The others keep their page place, within their day where a day is known.
    for (rank, &index) in paged.iter().enumerate().filter(|(_, index)| !points[**index].has_time_of_day()) {
        let at = place_of(points, &paged, rank, &ordered);
        ordered.insert(at, index);
    }
    ordered
}

/// Where among `ordered` the event at `rank` of the page goes: behind its page predecessor or before its successor, if
/// that is of the same day or no day is known; else behind everything up to its day.
fn place_of(points: &[Point], paged: &[usize], rank: usize, ordered: &[usize]) -> usize {
    let position = |index: usize| ordered.iter().position(|other| *other == index);
    let day = points[paged[rank]].day();
    let fits = |index: usize| day.is_none() || points[index].day() == day || points[index].day().is_none();
    let before = paged[..rank].iter().rev().copied().find(|index| position(*index).is_some());
    if let Some(before) = before
        && fits(before)
        && let Some(at) = position(before)
    {
        return at + 1;
    }
    let after = paged[rank + 1..].iter().copied().find(|index| points[*index].has_time_of_day());
    if let Some(after) = after
        && fits(after)
        && let Some(at) = position(after)
    {
        return at;
    }
    let Some(day) = day else { return 0 };
    ordered.iter().rposition(|index| points[*index].day().is_some_and(|other| other <= day)).map_or(0, |at| at + 1)
}

fn is_oldest_first(points: &[Point], page: PageOrder) -> bool {
    match page {
        PageOrder::NewestFirst => false,
        PageOrder::OldestFirst => true,
        PageOrder::Auto => {
            let dated: Vec<i64> = points.iter().filter_map(|point| point.local_s).collect();
            let rising = dated.windows(2).filter(|pair| pair[0] < pair[1]).count();
            let falling = dated.windows(2).filter(|pair| pair[0] > pair[1]).count();
            rising > falling
        }
    }
}

/// How far a headline is believed against the events below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// Only where the newest event says nothing.
    Fallback,
    /// Also when it says that the journey has ended.
    #[default]
    Final,
    /// Always.
    Always,
}

/// What a shipment had come to before the events at hand (those folded away by a bounded memory included).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Before {
    /// The sub-status it stood at.
    pub sub_status: Option<SubStatus>,
    /// An attempt at delivery was made.
    pub attempted: bool,
    /// It was delivered and nothing that the mapping names has contradicted that since (NRM-4).
    pub delivered: bool,
}

/// What the events come to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settled {
    /// Where the shipment stands; absent when nothing was ever understood.
    pub sub_status: Option<SubStatus>,
    /// Per event, oldest first: its sub-status, once its place in the journey has decided between `DeliveryFailure` and
    /// `Exception`.
    pub resolved: Vec<Option<SubStatus>>,
    /// Milestones that the events reach, each with the index of the first event that does.
    pub milestones: Vec<(Milestone, usize)>,
    /// See [`Before::attempted`].
    pub attempted: bool,
    /// See [`Before::delivered`].
    pub delivered: bool,
    /// The headline decided, not an event.
    pub by_headline: bool,
}

/// What the mapping knows beside single events.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rules<'a> {
    /// Sub-statuses that undo a delivery.
    pub unlatch: &'a [SubStatus],
    /// How far the headline is believed.
    pub trust: Trust,
}

/// `NoBody`, `Security` and `Rejected` belong to the place in the journey: once an attempt was made they are failures of
/// delivery. Words that themselves tell of an attempt are mapped to `DeliveryFailure_…` and stay so.
pub const fn place(sub_status: SubStatus, attempted: bool) -> SubStatus {
    match (sub_status, attempted) {
        (SubStatus::ExceptionNoBody, true) => SubStatus::DeliveryFailureNoBody,
        (SubStatus::ExceptionSecurity, true) => SubStatus::DeliveryFailureSecurity,
        (SubStatus::ExceptionRejected, true) => SubStatus::DeliveryFailureRejected,
        (other, _) => other,
    }
}

const fn is_attempt(sub_status: SubStatus) -> bool {
    matches!(
        sub_status,
        SubStatus::OutForDeliveryOther
            | SubStatus::DeliveryFailureNoBody
            | SubStatus::DeliveryFailureSecurity
            | SubStatus::DeliveryFailureRejected
            | SubStatus::DeliveryFailureInvalidAddress
            | SubStatus::DeliveryFailureOther
    )
}

const fn is_end(sub_status: SubStatus) -> bool {
    matches!(
        sub_status,
        SubStatus::DeliveredOther
            | SubStatus::ExceptionReturning
            | SubStatus::ExceptionReturned
            | SubStatus::ExceptionLost
            | SubStatus::ExceptionDestroyed
            | SubStatus::ExceptionCancel
    )
}

/// Follows events, oldest first, from what was `before`. An event without sub-status keeps the one before it.
pub fn settle(
    events: impl IntoIterator<Item = Option<SubStatus>>,
    headline: Option<SubStatus>,
    rules: Rules<'_>,
    before: Before,
) -> Settled {
    let mut now = Settled {
        sub_status: before.sub_status,
        attempted: before.attempted,
        delivered: before.delivered,
        ..Settled::default()
    };
    let mut newest_says_nothing = false;
    for (index, event) in events.into_iter().enumerate() {
        let resolved = event.map(|sub_status| place(sub_status, now.attempted));
        now.resolved.push(resolved);
        newest_says_nothing = resolved.is_none();
        let Some(sub_status) = resolved else { continue };
        now.attempted |= is_attempt(sub_status);
        if let Some(milestone) = Milestone::reached_by(sub_status)
            && now.milestones.iter().all(|(known, _)| *known != milestone)
        {
            now.milestones.push((milestone, index));
        }
        now.follow(sub_status, rules);
    }
    if let Some(headline) = headline {
        let headline = place(headline, now.attempted);
        let undone = rules.unlatch.iter().any(|sub_status| now.sub_status == Some(*sub_status));
        let believed = match rules.trust {
            Trust::Always => true,
            Trust::Final => now.sub_status.is_none() || newest_says_nothing || (is_end(headline) && !undone),
            Trust::Fallback => now.sub_status.is_none() || newest_says_nothing,
        };
        if believed && now.sub_status != Some(headline) {
            let held = now.sub_status;
            now.follow(headline, rules);
            now.by_headline = now.sub_status != held;
        }
    }
    now
}

impl Settled {
    /// NRM-4: after a delivery only what the mapping names moves the status.
    fn follow(&mut self, sub_status: SubStatus, rules: Rules<'_>) {
        if sub_status == SubStatus::DeliveredOther {
            self.delivered = true;
        } else if self.delivered {
            if !rules.unlatch.contains(&sub_status) {
                return;
            }
            self.delivered = false;
        }
        self.sub_status = Some(sub_status);
    }
}

#[cfg(test)]
#[path = "journey_tests.rs"]
mod tests;
