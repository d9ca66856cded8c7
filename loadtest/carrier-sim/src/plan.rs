//! The parcels there are: which carrier, which number, what fate. A pure function of the seed; parcel i is the same however
//! many there are.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::{
    clock::JourneyMap,
    dice::Dice,
    journey::{DAY, End, Fate, Geography, Journey},
    shapes::{self, Shape},
};

/// Journey days within which all parcels are registered with their carriers, unless they begin evenly.
pub const BEGINNINGS_DAYS: i64 = 20;

/// What decides everything that the generated carriers say.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanConfig {
    /// Another seed, other parcels.
    pub seed: u64,
    /// How many.
    pub parcels: u32,
    /// Journey time in milliseconds at which the first parcels begin.
    pub begin_ms: i64,
    /// When the others do.
    #[serde(default)]
    pub beginnings: Beginnings,
    /// Journey time from wall time.
    pub clock: JourneyMap,
    /// Parcels of each thousand whose page nobody can read, for good. They never reach an end that can be seen.
    pub unreadable_per_thousand: u32,
}

impl PlanConfig {
    /// A plan whose parcels begin at the clock's anchor; one in a thousand stays unreadable.
    pub fn new(seed: u64, parcels: u32, clock: JourneyMap) -> Self {
        let beginnings = Beginnings::default();
        Self { seed, parcels, begin_ms: clock.anchor_ms, beginnings, clock, unreadable_per_thousand: 1 }
    }
}

/// How parcels' beginnings are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Beginnings {
    /// Most of them soon, a tail within [`BEGINNINGS_DAYS`], as shippers do.
    #[default]
    Soon,
    /// Evenly over so many journey days: always as many new ones as old ones end.
    Evenly(i64),
}

impl Beginnings {
    fn delay_ms(self, dice: &mut Dice) -> i64 {
        match self {
            Self::Soon => {
                let latest = BEGINNINGS_DAYS * DAY;
                dice.between(0, latest).min(dice.between(0, latest)).min(dice.between(0, latest))
            }
            Self::Evenly(days) => dice.between(0, days * DAY),
        }
    }
}

/// One parcel as somebody registers it, and how it will end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Parcel {
    /// Place in the plan.
    pub index: u32,
    /// The carrier's slug.
    pub carrier: &'static str,
    /// The canonical number.
    pub number: String,
    /// What the carrier asks for beyond the number.
    pub params: BTreeMap<String, String>,
    /// The registrant's own reference.
    #[serde(rename = "ref")]
    pub reference: String,
    /// How it ends.
    pub end: End,
    /// Whether its page changes for some time on the way.
    pub page_changes: bool,
}

/// The parcels and their ways.
#[derive(Debug)]
pub struct Plan {
    config: PlanConfig,
    parcels: Vec<Parcel>,
    by_number: HashMap<(&'static str, String), u32>,
}

impl Plan {
    /// Draws the plan.
    pub fn draw(config: PlanConfig) -> Self {
        let mut turns = Turns::new();
        let parcels: Vec<Parcel> = (0..config.parcels).map(|index| parcel(&config, index, turns.next())).collect();
        let by_number = parcels.iter().map(|parcel| ((parcel.carrier, parcel.number.clone()), parcel.index)).collect();
        Self { config, parcels, by_number }
    }

    /// What it was drawn from.
    pub fn config(&self) -> &PlanConfig {
        &self.config
    }

    /// All parcels, in the plan's order.
    pub fn parcels(&self) -> &[Parcel] {
        &self.parcels
    }

    /// The parcel of a carrier with a number.
    pub fn find(&self, carrier: &str, number: &str) -> Option<&Parcel> {
        let slug = shapes::of(carrier)?.profile().slug;
        let index = self.by_number.get(&(slug, number.to_owned()))?;
        self.parcels.get(*index as usize)
    }

    /// A parcel's way, drawn anew each time: it costs microseconds and no memory.
    pub fn journey(&self, parcel: &Parcel) -> Journey {
        let mut dice = Dice::of(self.config.seed, "journey", &[u64::from(parcel.index)]);
        let delay = self.config.beginnings.delay_ms(&mut dice);
        let fate = Fate { begins_ms: self.config.begin_ms + delay, end: parcel.end, page_changes: parcel.page_changes };
        let geography =
            shapes::of(parcel.carrier).map_or(Geography { home: 3, abroad: 2 }, |shape| shape.profile().geography());
        Journey::draw(&mut dice, fate, geography)
    }

    /// Journey time by which everything there is to see can be seen.
    pub fn over_at_ms(&self) -> i64 {
        self.parcels
            .iter()
            .filter_map(|parcel| self.journey(parcel).happenings.last().map(|last| last.appears_ms))
            .max()
            .unwrap_or(self.config.begin_ms)
    }
}

fn parcel(config: &PlanConfig, index: u32, shape: &'static dyn Shape) -> Parcel {
    let (end, page_changes) = fate(config, index);
    let profile = shape.profile();
    // 7919 and a power of ten have no common factor: serials do not repeat, and neighbours do not look alike.
    let offset = Dice::of(config.seed, "serials", &[]).below(1_000_000_000);
    let serial = (u64::from(index) * 7_919 + offset) % 1_000_000_000;
    Parcel {
        index,
        carrier: profile.slug,
        number: shape.number(serial),
        params: shape.params(&mut Dice::of(config.seed, "params", &[u64::from(index)])),
        reference: format!("order-{index:06}"),
        end,
        page_changes,
    }
}

/// Of each hundred parcels exactly one is returned, one lost, one kept by customs and one unreadable for a while; of each
/// thousand as many as asked are unreadable for good. Which ones depends on the seed.
fn fate(config: &PlanConfig, index: u32) -> (End, bool) {
    let place = |block: u32, what: &str, of: u32| {
        let offset = Dice::of(config.seed, what, &[u64::from(block)]).below(u64::from(of));
        // 37 and a power of ten have no common factor: each place is taken once.
        (u64::from(index % of) * 37 + offset) % u64::from(of)
    };
    match place(index / 100, "odd ends", 100) {
        0 => (End::Returned, false),
        1 => (End::Lost, false),
        2 => (End::CustomsHold, false),
        3 => (End::Delivered, true),
        _ if place(index / 1_000, "never readable", 1_000) < u64::from(config.unreadable_per_thousand) => {
            (End::Unreadable, false)
        }
        _ => (End::Delivered, false),
    }
}

/// Hands parcels to carriers in proportion to the looks per second that their budgets allow, evenly mixed.
struct Turns {
    weights: Vec<f64>,
    credit: Vec<f64>,
}

impl Turns {
    fn new() -> Self {
        let weights: Vec<f64> = shapes::ALL.iter().map(|shape| shape.profile().looks_per_second()).collect();
        Self { credit: vec![0.0; weights.len()], weights }
    }

    fn next(&mut self) -> &'static dyn Shape {
        let sum: f64 = self.weights.iter().sum();
        let mut first = 0;
        for (index, weight) in self.weights.iter().enumerate() {
            self.credit[index] += weight;
            if self.credit[index] > self.credit[first] {
                first = index;
            }
        }
        self.credit[first] -= sum;
        shapes::ALL[first]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::collections::BTreeSet;

    use super::*;

    fn plan(seed: u64, parcels: u32) -> Plan {
        let clock = JourneyMap { anchor_ms: 1_790_000_000_000, start_ms: 1_794_000_000_000, scale: 36_000.0 };
        Plan::draw(PlanConfig::new(seed, parcels, clock))
    }

    #[test]
    fn the_same_seed_gives_the_same_plan_and_another_seed_another() {
        let (one, two, other) = (plan(1, 500), plan(1, 500), plan(2, 500));
        assert_eq!(one.parcels(), two.parcels());
        assert!(one.parcels().iter().all(|parcel| one.journey(parcel) == two.journey(parcel)));
        assert_ne!(one.parcels(), other.parcels());
        // A larger plan begins with the smaller one.
        assert_eq!(plan(1, 900).parcels()[..500], *one.parcels());
    }

    #[test]
    fn numbers_are_canonical_and_unique_and_are_found() {
        let plan = plan(5, 3_000);
        let mut seen = BTreeSet::new();
        for parcel in plan.parcels() {
            let number: waybill_schemas::TrackingNumber = parcel.number.parse().unwrap();
            assert_eq!(number.as_str(), parcel.number);
            assert!(seen.insert((parcel.carrier, parcel.number.clone())));
            assert_eq!(plan.find(parcel.carrier, &parcel.number), Some(parcel));
            assert!(parcel.reference.len() <= waybill_schemas::limits::MAX_REF_BYTES);
        }
        assert_eq!(plan.find("aurora-post", "AP000GB"), None);
    }

    #[test]
    fn one_in_a_hundred_shows_each_odd_end() {
        let plan = plan(9, 2_000);
        let count = |end: End| plan.parcels().iter().filter(|parcel| parcel.end == end).count();
        for end in [End::Returned, End::Lost, End::CustomsHold] {
            assert_eq!(count(end), 20, "{end:?}");
        }
        assert_eq!(plan.parcels().iter().filter(|parcel| parcel.page_changes).count(), 20);
        // Those that fall on another odd end are not taken a second time.
        assert!((1..=2).contains(&count(End::Unreadable)));
    }

    #[test]
    fn everybody_has_arrived_well_before_the_forty_fifth_day() {
        let plan = plan(3, 2_000);
        let begin = plan.config().begin_ms;
        assert!(plan.over_at_ms() < begin + 34 * DAY, "{}", (plan.over_at_ms() - begin) / DAY);
        for parcel in plan.parcels() {
            let journey = plan.journey(parcel);
            let first = journey.happenings[0].at_ms;
            assert!((begin..=begin + BEGINNINGS_DAYS * DAY).contains(&first) || first >= begin - 1_000);
            assert_eq!(journey.end, parcel.end);
            assert_eq!(journey.is_unreadable(plan.over_at_ms()), parcel.end == End::Unreadable);
        }
    }

    #[test]
    fn every_carrier_has_its_share() {
        let plan = plan(3, 2_000);
        for shape in shapes::ALL {
            let profile = shape.profile();
            let share = plan.parcels().iter().filter(|parcel| parcel.carrier == profile.slug).count() as f64;
            let looks = 110.0 * profile.looks_per_second();
            assert!(share > 30.0 && looks / share > 4.0, "{}: {share} parcels, {looks} looks", profile.slug);
        }
    }
}
