//! A parcel's way as timed happenings in journey time: a pure function of the seed and the parcel's place in the plan.
//!
//! Laws: happenings are in the order in which they *appear*; a page at time t shows exactly those that have appeared; none
//! appears before it happened; what has appeared never vanishes. The ending happens within [`MAX_DAYS`] of the beginning.

use serde::{Deserialize, Serialize};
use waybill_schemas::SubStatus;

use crate::dice::Dice;

/// Milliseconds of an hour.
const HOUR: i64 = 3_600_000;
/// Milliseconds of a day.
pub const DAY: i64 = 24 * HOUR;
/// Longest way of a parcel from registration to its end, in days.
pub const MAX_DAYS: i64 = 12;
/// How long after its printed time the latest straggler shows up, in journey milliseconds after the end.
const STRAGGLER: i64 = 10 * HOUR;

/// What happened; each carrier has its own words for it.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scan {
    Registered,
    PickedUp,
    AtHub,
    LeftHub,
    LeftCountry,
    ReachedCountry,
    CustomsIn,
    CustomsOut,
    CustomsAsks,
    Delayed,
    OutForDelivery,
    NobodyHome,
    BadAddress,
    AtPickupPoint,
    Delivered,
    Refused,
    Returning,
    Returned,
    Lost,
}

impl Scan {
    /// All of them, in the order of a table of words.
    pub const ALL: [Self; 19] = [
        Self::Registered,
        Self::PickedUp,
        Self::AtHub,
        Self::LeftHub,
        Self::LeftCountry,
        Self::ReachedCountry,
        Self::CustomsIn,
        Self::CustomsOut,
        Self::CustomsAsks,
        Self::Delayed,
        Self::OutForDelivery,
        Self::NobodyHome,
        Self::BadAddress,
        Self::AtPickupPoint,
        Self::Delivered,
        Self::Refused,
        Self::Returning,
        Self::Returned,
        Self::Lost,
    ];

    /// What it comes to in the canonical vocabulary.
    pub const fn sub_status(self) -> SubStatus {
        match self {
            Self::Registered => SubStatus::InfoReceived,
            Self::PickedUp => SubStatus::InTransitPickedUp,
            Self::AtHub | Self::LeftHub => SubStatus::InTransitOther,
            Self::LeftCountry => SubStatus::InTransitDeparture,
            Self::ReachedCountry => SubStatus::InTransitArrival,
            Self::CustomsIn => SubStatus::InTransitCustomsProcessing,
            Self::CustomsOut => SubStatus::InTransitCustomsReleased,
            Self::CustomsAsks => SubStatus::InTransitCustomsRequiringInformation,
            Self::Delayed => SubStatus::ExceptionDelayed,
            Self::OutForDelivery => SubStatus::OutForDeliveryOther,
            Self::NobodyHome => SubStatus::DeliveryFailureNoBody,
            Self::BadAddress => SubStatus::DeliveryFailureInvalidAddress,
            Self::AtPickupPoint => SubStatus::AvailableForPickupOther,
            Self::Delivered => SubStatus::DeliveredOther,
            Self::Refused => SubStatus::DeliveryFailureRejected,
            Self::Returning => SubStatus::ExceptionReturning,
            Self::Returned => SubStatus::ExceptionReturned,
            Self::Lost => SubStatus::ExceptionLost,
        }
    }
}

/// How a parcel's way ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Handed over.
    Delivered,
    /// Back at its sender.
    Returned,
    /// Lost on the way.
    Lost,
    /// Kept by customs, who ask for documents that never come.
    CustomsHold,
    /// Delivered, but the page has a layout that no adapter knows, for good: nobody can read how it ended.
    Unreadable,
}

impl End {
    /// Where a tracker that has seen everything must stand; `None` where nothing can be read.
    pub const fn sub_status(self) -> Option<SubStatus> {
        match self {
            Self::Delivered => Some(SubStatus::DeliveredOther),
            Self::Returned => Some(SubStatus::ExceptionReturned),
            Self::Lost => Some(SubStatus::ExceptionLost),
            Self::CustomsHold => Some(SubStatus::InTransitCustomsRequiringInformation),
            Self::Unreadable => None,
        }
    }
}

/// One happening.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Happening {
    /// Journey time from which the carrier shows it; never before `at_ms`.
    pub appears_ms: i64,
    /// Journey time that is printed.
    pub at_ms: i64,
    /// What.
    pub scan: Scan,
    /// Where: index into the carrier's places; `None` where the carrier names no place.
    pub place: Option<usize>,
    /// Which of the carrier's wordings.
    pub wording: u8,
}

/// A parcel's whole way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journey {
    /// In the order of appearance.
    pub happenings: Vec<Happening>,
    /// How it ends.
    pub end: End,
    /// From when to when, in journey time, the page shows a layout that no adapter knows.
    pub unreadable: Option<(i64, i64)>,
}

/// What a carrier's geography offers: the first `home` of its places are in its own country.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geography {
    /// Places in the carrier's country, at least 3.
    pub(crate) home: usize,
    /// Places abroad, at least 2; they follow the ones at home.
    pub(crate) abroad: usize,
}

/// What is decided of a parcel before its way is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fate {
    /// Journey time of its registration.
    pub(crate) begins_ms: i64,
    /// How it ends.
    pub(crate) end: End,
    /// Whether its page changes for some time on the way.
    pub(crate) page_changes: bool,
}

impl Journey {
    /// The way of one parcel.
    pub(crate) fn draw(dice: &mut Dice, fate: Fate, geography: Geography) -> Self {
        let route = Route::draw(dice, geography, fate.end == End::CustomsHold);
        let legs = route.scans(dice, fate.end);
        let length = dice.between(2 * DAY, MAX_DAYS * DAY);
        let mut happenings = timed(dice, &legs, fate.begins_ms, length);
        make_untidy(dice, &mut happenings, fate.end);
        happenings.sort_by_key(|happening| (happening.appears_ms, happening.at_ms));
        let end_at = happenings.iter().map(|happening| happening.at_ms).max().unwrap_or(fate.begins_ms);
        let unreadable = match (fate.end, fate.page_changes) {
            (End::Unreadable, _) => Some((i64::MIN, i64::MAX)),
            // Between a quarter of the way and the last tenth before its end, so that the end can be read.
            (_, true) => {
                let way = end_at - fate.begins_ms;
                Some((fate.begins_ms + way / 4, fate.begins_ms + way * 9 / 10))
            }
            _ => None,
        };
        Self { happenings, end: fate.end, unreadable }
    }

    /// What the carrier shows at a journey instant, in the order of appearance.
    pub fn visible(&self, journey_ms: i64) -> &[Happening] {
        let shown = self.happenings.partition_point(|happening| happening.appears_ms <= journey_ms);
        &self.happenings[..shown]
    }

    /// Whether the page is in a layout that no adapter knows.
    pub fn is_unreadable(&self, journey_ms: i64) -> bool {
        self.unreadable.is_some_and(|(from, to)| (from..to).contains(&journey_ms))
    }

    /// How many happenings must have appeared for the end to be among them.
    pub fn happenings_to_the_end(&self) -> usize {
        let last = self.end.sub_status().unwrap_or(SubStatus::DeliveredOther);
        self.happenings.iter().position(|happening| happening.scan.sub_status() == last).map_or(usize::MAX, |at| at + 1)
    }
}

struct Route {
    origin: usize,
    hubs: Vec<usize>,
    destination: usize,
    abroad: bool,
}

impl Route {
    fn draw(dice: &mut Dice, geography: Geography, must_cross: bool) -> Self {
        let home = |dice: &mut Dice| usize::try_from(dice.below(geography.home as u64)).unwrap_or(0);
        let abroad = must_cross || dice.chance(0.45);
        let origin = if abroad {
            geography.home + usize::try_from(dice.below(geography.abroad as u64)).unwrap_or(0)
        } else {
            home(dice)
        };
        let hubs = (0..dice.between(1, 3)).map(|_| home(dice)).collect();
        Self { origin, hubs, destination: home(dice), abroad }
    }

    /// What happens where, in order.
    fn scans(&self, dice: &mut Dice, end: End) -> Vec<(Scan, Option<usize>)> {
        let mut legs = vec![(Scan::Registered, None), (Scan::PickedUp, Some(self.origin))];
        if self.abroad {
            let port = self.hubs.first().copied().unwrap_or(self.destination);
            legs.push((Scan::LeftCountry, Some(self.origin)));
            legs.push((Scan::ReachedCountry, Some(port)));
            legs.push((Scan::CustomsIn, Some(port)));
            if end == End::CustomsHold {
                legs.push((Scan::CustomsAsks, Some(port)));
                return legs;
            }
            legs.push((Scan::CustomsOut, Some(port)));
        }
        for hub in &self.hubs {
            legs.push((Scan::AtHub, Some(*hub)));
            if dice.chance(0.8) {
                legs.push((Scan::LeftHub, Some(*hub)));
            }
        }
        if end == End::Lost {
            legs.push((Scan::Lost, None));
            return legs;
        }
        if dice.chance(0.06) {
            legs.push((Scan::Delayed, None));
        }
        let here = Some(self.destination);
        legs.push((Scan::OutForDelivery, here));
        if end == End::Returned {
            legs.push((if dice.chance(0.5) { Scan::Refused } else { Scan::NobodyHome }, here));
            legs.push((Scan::Returning, here));
            legs.push((Scan::Returned, Some(self.origin)));
            return legs;
        }
        match dice.below(100) {
            0..=7 => legs.extend([(Scan::NobodyHome, here), (Scan::OutForDelivery, here)]),
            8..=12 => legs.extend([(Scan::NobodyHome, here), (Scan::AtPickupPoint, here)]),
            13..=14 => legs.extend([(Scan::BadAddress, here), (Scan::OutForDelivery, here)]),
            _ => {}
        }
        legs.push((Scan::Delivered, here));
        legs
    }
}

/// Spreads what happens over the way, at least a minute apart, by seconds as clocks of carriers have them.
fn timed(dice: &mut Dice, legs: &[(Scan, Option<usize>)], begins_ms: i64, length: i64) -> Vec<Happening> {
    let gaps: Vec<f64> = legs.iter().skip(1).map(|_| 0.15 + dice.fraction()).collect();
    let sum: f64 = gaps.iter().sum();
    let mut passed = 0.0;
    let mut at_ms = begins_ms;
    legs.iter()
        .enumerate()
        .map(|(index, (scan, place))| {
            if index > 0 {
                passed += gaps[index - 1];
                let at = begins_ms.saturating_add((length as f64 * passed / sum) as i64);
                at_ms = at.max(at_ms.saturating_add(60_000));
            }
            let at_ms = at_ms - at_ms.rem_euclid(1_000);
            Happening { appears_ms: at_ms, at_ms, scan: *scan, place: *place, wording: (dice.bits() & 1) as u8 }
        })
        .collect()
}

/// What real histories have: two scans in one second, the same scan twice, a scan that is handed in late.
fn make_untidy(dice: &mut Dice, happenings: &mut Vec<Happening>, end: End) {
    let hubs: Vec<usize> = (0..happenings.len()).filter(|at| happenings[*at].scan == Scan::AtHub).collect();
    let Some(hub) = hubs.get(usize::try_from(dice.below(hubs.len() as u64)).unwrap_or(0)).copied() else { return };
    if dice.chance(0.04)
        && let Some(next) = happenings.get(hub + 1).filter(|next| next.scan == Scan::LeftHub).copied()
    {
        let at_ms = happenings[hub].at_ms;
        happenings[hub + 1] = Happening { appears_ms: at_ms, at_ms, ..next };
    }
    if dice.chance(0.02) {
        let twin = happenings[hub];
        happenings.insert(hub + 1, Happening { appears_ms: twin.appears_ms.saturating_add(HOUR), ..twin });
    }
    // NRM-4 is only worth something if scans do come in after delivery.
    if dice.chance(0.03) && end == End::Delivered {
        let last = happenings.iter().map(|happening| happening.at_ms).max().unwrap_or(0);
        happenings[hub].appears_ms = last.saturating_add(dice.between(HOUR / 2, STRAGGLER));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GEOGRAPHY: Geography = Geography { home: 5, abroad: 3 };

    fn ways() -> impl Iterator<Item = (Fate, Journey)> {
        let ends = [End::Delivered, End::Returned, End::Lost, End::CustomsHold, End::Unreadable];
        (0..4_000_u64).map(move |index| {
            let end = ends[usize::try_from(index % 5).unwrap_or(0)];
            let fate = Fate { begins_ms: 1_700_000_000_000, end, page_changes: index % 7 == 0 };
            (fate, Journey::draw(&mut Dice::of(3, "way", &[index]), fate, GEOGRAPHY))
        })
    }

    #[test]
    fn ways_are_valid() {
        for (fate, way) in ways() {
            let all = &way.happenings;
            assert!(all.is_sorted_by_key(|happening| happening.appears_ms));
            assert!(all.iter().all(|happening| happening.at_ms <= happening.appears_ms));
            assert!(all.iter().all(|happening| happening.at_ms >= fate.begins_ms));
            assert!(all.iter().all(|happening| happening.place.is_none_or(|place| place < 8)));
            assert_eq!(all[0].scan, Scan::Registered);
            let printed = all.iter().map(|happening| happening.at_ms).max().unwrap_or(0);
            assert!(printed <= fate.begins_ms + MAX_DAYS * DAY + all.len() as i64 * 60_000);
            // What is printed as the latest is the end.
            let latest = all.iter().filter(|happening| happening.at_ms == printed).map(|happening| happening.scan);
            let end = way.end.sub_status().unwrap_or(SubStatus::DeliveredOther);
            assert!(latest.map(Scan::sub_status).any(|sub| sub == end));
            assert!(way.happenings_to_the_end() <= all.len());
        }
    }

    #[test]
    fn pages_only_grow_and_the_end_can_be_read() {
        for (fate, way) in ways() {
            let mut before = 0;
            for hours in 0..(MAX_DAYS + 2) * 24 {
                let shown = way.visible(fate.begins_ms + hours * HOUR).len();
                assert!(shown >= before);
                before = shown;
            }
            assert_eq!(before, way.happenings.len());
            let late = fate.begins_ms + (MAX_DAYS + 1) * DAY;
            assert_eq!(way.is_unreadable(late), fate.end == End::Unreadable);
        }
    }

    #[test]
    fn the_same_seed_draws_the_same_way() {
        assert!(ways().map(|(_, way)| way).eq(ways().map(|(_, way)| way)));
    }
}
