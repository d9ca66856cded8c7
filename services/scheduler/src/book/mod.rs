//! The pure core of one partition: every number, where it is, and what it waits for. No clock, no log, no metrics.
//!
//! Laws, checked by [`Book::check`] in tests:
//! - SCH-1: an active number is in exactly one of: its carrier's lane, the controls, under way. None is ever nowhere.
//! - SCH-2: a number is handed out only when it is free, and is free again only by the outcome that names its attempt and
//!   the offset of its request. (The attempt alone would not do: two owners may choose the same millisecond.)
//! - Credit held by a budget is the sum over its polls under way.
//!
//! Every change of a number goes through [`Book::change`]: taken off its list, changed, put where it belongs now, marked to
//! be written. Inputs: [`apply`] outcomes, [`orders`] commands; output: [`dispatch`]ed requests.

pub(crate) mod apply;
mod budgets;
pub(crate) mod dispatch;
mod health;
pub(crate) mod orders;
mod probes;
pub(crate) mod restore;
mod settle;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use hashbrown::HashTable;
use waybill_politeness::{
    credit::{Cost, Guest},
    drift::Change,
};
use waybill_runtime::JourneyScale;
use waybill_schemas::{
    CarrierSlug, JourneyMs, ShipmentKey, TrackingNumber, WallMs, command::Command, drift::CarrierWatch,
    fetch::RequestKind, layout::Layout, schedule::ScheduleRecord, shipment::StopReason,
};
use xxhash_rust::xxh3::Xxh3;

pub(crate) use self::budgets::BudgetView;
use self::{
    budgets::{BudgetBook, Carrier},
    settle::WithDetect,
};
use crate::{
    entry::{Entry, Place},
    terms::Carriers,
    wheel::DueWheel,
    why::Rule,
};

/// The time, both clocks at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub(crate) wall: WallMs,
    pub(crate) journey: JourneyMs,
    pub(crate) scale: JourneyScale,
}

impl Now {
    /// Both clocks at a wall instant.
    pub(crate) fn at(wall: WallMs, scale: JourneyScale) -> Self {
        Self { wall, journey: scale.journey_at(wall), scale }
    }

    /// Journey time per wall time now: the scale until journey time has caught up.
    pub(crate) fn slope(&self) -> f64 {
        if self.journey.ms() >= self.wall.ms() { 1.0 } else { self.scale.scale }
    }
}

/// Figures of the configuration that decide.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// Seconds of a budget's rate that may be under way.
    pub(crate) window_s: f64,
    /// Without a change for this long (journey) a number expires.
    pub(crate) expiry_ms: i64,
    /// A look-up registers for this long (journey) unless it says otherwise.
    pub(crate) lookup_ms: i64,
    /// Room for one step's answer, in `expires_at` (wall).
    pub(crate) step_timeout_ms: i64,
    /// An attempt without an outcome for this long (wall) is given up and made again: its request is no longer kept.
    pub(crate) reopen_ms: i64,
    /// Longest hold that one outcome's feedback may put on a budget here (wall); then one window asks again.
    pub(crate) hold_ms: i64,
    /// Requests other than polls that may be under way at once.
    pub(crate) controls: usize,
}

/// An attempt under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Open {
    pub(crate) id: u32,
    pub(crate) attempt: i64,
    pub(crate) kind: RequestKind,
    pub(crate) cost: Cost,
    pub(crate) since: WallMs,
}

/// One partition's numbers.
pub(crate) struct Book {
    layout: Layout,
    rules: Rules,
    terms: Arc<dyn Carriers>,
    carriers: Vec<Carrier>,
    carrier_by_slug: HashMap<CarrierSlug, u16>,
    budgets: Vec<BudgetBook>,
    entries: Vec<Option<Entry>>,
    unused: Vec<u32>,
    index: HashTable<u32>,
    controls: DueWheel,
    controls_open: usize,
    /// By the offset of the request.
    open: BTreeMap<u64, Open>,
    /// Commands to other partitions; they leave before the state that follows from them.
    outbox: Vec<Command>,
    dirty: Vec<u32>,
    gone: Vec<String>,
    swept: usize,
    turn: usize,
    /// How adapters fit, by carrier.
    health: BTreeMap<CarrierSlug, CarrierWatch>,
    health_changes: Vec<(CarrierSlug, Change)>,
}

/// What a change of a number may look at.
#[derive(Debug, Clone, Copy)]
struct Around {
    least_ms: i64,
    most_ms: i64,
    stretch: f64,
    hash: u64,
}

fn hash_of(carrier: &CarrierSlug, number: &TrackingNumber) -> u64 {
    let mut hasher = Xxh3::new();
    hasher.update(carrier.as_str().as_bytes());
    hasher.update(b":");
    hasher.update(number.as_str().as_bytes());
    hasher.digest()
}

/// A visitor's number has an end; so has one that is only probed.
fn guest_of(entry: &Entry) -> Guest {
    if entry.until().is_some() { Guest::Visitor } else { Guest::Resident }
}

impl Book {
    /// An empty book.
    pub(crate) fn new(layout: Layout, rules: Rules, terms: Arc<dyn Carriers>) -> Self {
        Self {
            layout,
            rules,
            terms: Arc::new(WithDetect(terms)),
            carriers: Vec::new(),
            carrier_by_slug: HashMap::new(),
            budgets: Vec::new(),
            entries: Vec::new(),
            unused: Vec::new(),
            index: HashTable::new(),
            controls: DueWheel::default(),
            controls_open: 0,
            open: BTreeMap::new(),
            outbox: Vec::new(),
            dirty: Vec::new(),
            gone: Vec::new(),
            swept: 0,
            turn: 0,
            health: BTreeMap::new(),
            health_changes: Vec::new(),
        }
    }

    /// Numbers in the book.
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// When [`Self::dispatch`] may next have something to do, as far as time alone decides; `None` when only an input can
    /// change that.
    pub(crate) fn next_at(&self) -> Option<WallMs> {
        let lanes =
            self.carriers.iter().flat_map(|carrier| [Guest::Resident, Guest::Visitor].map(|guest| carrier.lane(guest)));
        lanes.chain([&self.controls]).filter_map(DueWheel::next_at).min()
    }

    /// Numbers that are due and wait.
    pub(crate) fn queue(&self) -> usize {
        let lanes =
            self.carriers.iter().flat_map(|carrier| [Guest::Resident, Guest::Visitor].map(|guest| carrier.lane(guest)));
        lanes.chain([&self.controls]).map(DueWheel::due_len).sum()
    }

    /// Attempts under way.
    pub(crate) fn open_len(&self) -> usize {
        self.open.len()
    }

    /// The oldest attempt under way: the offset of its request, and since when.
    pub(crate) fn oldest_open(&self) -> Option<(u64, WallMs)> {
        self.open.first_key_value().map(|(offset, open)| (*offset, open.since))
    }

    fn entry(&self, id: u32) -> Option<&Entry> {
        self.entries.get(id as usize).and_then(Option::as_ref)
    }

    fn find(&self, carrier: &CarrierSlug, number: &TrackingNumber) -> Option<u32> {
        let carrier_id = *self.carrier_by_slug.get(carrier)?;
        let same =
            |id: &u32| self.entry(*id).is_some_and(|entry| entry.carrier == carrier_id && entry.number == *number);
        self.index.find(hash_of(carrier, number), same).copied()
    }

    fn insert(&mut self, entry: Entry, now: &Now) -> u32 {
        let hash = hash_of(&self.carriers[usize::from(entry.carrier)].slug, &entry.number);
        let id = self.unused.pop().unwrap_or_else(|| {
            self.entries.push(None);
            u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX)
        });
        self.entries[id as usize] = Some(entry);
        let (entries, carriers) = (&self.entries, &self.carriers);
        let rehash = |id: &u32| {
            let entry = entries.get(*id as usize).and_then(Option::as_ref);
            entry.map_or(0, |entry| hash_of(&carriers[usize::from(entry.carrier)].slug, &entry.number))
        };
        self.index.insert_unique(hash, id, rehash);
        self.list(id, now);
        id
    }

    /// Removes a number for good; a tombstone will be written.
    fn erase(&mut self, id: u32) {
        let key = self.remove(id).map(|key| key.record_key());
        self.gone.extend(key);
    }

    fn remove(&mut self, id: u32) -> Option<ShipmentKey> {
        self.unlist(id);
        let entry = self.entries.get_mut(id as usize).and_then(Option::take)?;
        let carrier = self.carriers[usize::from(entry.carrier)].slug.clone();
        if let Ok(found) = self.index.find_entry(hash_of(&carrier, &entry.number), |known| *known == id) {
            found.remove();
        }
        self.unused.push(id);
        Some(ShipmentKey::new(carrier, entry.number))
    }

    /// Changes a number: the only way to.
    fn change(&mut self, id: u32, now: &Now, with: impl FnOnce(&mut Entry, &Around)) {
        self.unlist(id);
        if let Some(entry) = self.entries.get_mut(id as usize).and_then(Option::as_mut) {
            let carrier = &self.carriers[usize::from(entry.carrier)];
            let key = hash_of(&carrier.slug, &entry.number);
            let around = Around {
                least_ms: carrier.terms.least_ms(),
                most_ms: carrier.terms.most_ms(),
                stretch: self.budgets[carrier.budget].stretch,
                hash: xxhash_rust::xxh3::xxh3_64_with_seed(&key.to_le_bytes(), entry.attempt.cast_unsigned()),
            };
            with(entry, &around);
        }
        self.mark(id);
        self.list(id, now);
    }

    fn mark(&mut self, id: u32) {
        if let Some(entry) = self.entries.get_mut(id as usize).and_then(Option::as_mut).filter(|entry| !entry.dirty) {
            entry.dirty = true;
            self.dirty.push(id);
        }
    }

    fn unlist(&mut self, id: u32) {
        let Some(entry) = self.entries.get_mut(id as usize).and_then(Option::as_mut) else {
            return;
        };
        let carrier = &mut self.carriers[usize::from(entry.carrier)];
        match entry.place {
            Place::Lane => {
                carrier.lane_mut(guest_of(entry)).remove(entry.at, id);
                entry.place = Place::Idle;
            }
            Place::Control => {
                self.controls.remove(entry.at, id);
                entry.place = Place::Idle;
            }
            Place::Idle | Place::Open => {}
        }
        self.budgets[carrier.budget].count_out(carrier, entry);
    }

    fn list(&mut self, id: u32, now: &Now) {
        let rules = self.rules;
        let Some(entry) = self.entries.get_mut(id as usize).and_then(Option::as_mut) else {
            return;
        };
        let carrier = &mut self.carriers[usize::from(entry.carrier)];
        if entry.place != Place::Open {
            if entry.pending.is_some() {
                entry.place = Place::Control;
                entry.at = entry.not_before().max(now.wall);
                self.controls.insert(entry.at, id);
            } else if entry.stop.is_none() {
                entry.place = Place::Lane;
                let due = entry.due.min(deadline(entry, &rules));
                entry.at = now.scale.wall_at(due).max(entry.not_before());
                carrier.lane_mut(guest_of(entry)).insert(entry.at, id);
            } else {
                entry.place = Place::Idle;
            }
        }
        self.budgets[carrier.budget].count_in(carrier, entry);
    }

    /// Takes the commands to other partitions; to be written before the changes.
    pub(crate) fn take_outbox(&mut self) -> Vec<Command> {
        std::mem::take(&mut self.outbox)
    }

    /// Takes what is to be written: records of changed numbers, and keys that are gone.
    pub(crate) fn take_changes(&mut self) -> Vec<(String, Option<ScheduleRecord>)> {
        let mut changes: Vec<_> = std::mem::take(&mut self.gone).into_iter().map(|key| (key, None)).collect();
        for id in std::mem::take(&mut self.dirty) {
            let Some(entry) = self.entries.get_mut(id as usize).and_then(Option::as_mut) else {
                continue;
            };
            // An erased number's place may have been taken by another one that is listed itself.
            if std::mem::take(&mut entry.dirty) {
                let carrier = self.carriers[usize::from(entry.carrier)].slug.clone();
                let key = ShipmentKey::new(carrier, entry.number.clone()).record_key();
                changes.push((key, Some(entry.to_record())));
            }
        }
        changes
    }

    /// Somebody of a lower epoch wrote this key: ours is to be written again.
    pub(crate) fn rewrite(&mut self, key: &str) {
        let found = ShipmentKey::from_record_key(key).and_then(|key| self.find(&key.carrier, &key.number));
        match found {
            Some(id) => self.mark(id),
            None => self.gone.push(key.to_owned()),
        }
    }

    /// Checks every law of this module; the sentence names the first that is broken.
    #[cfg(test)]
    pub(crate) fn check(&self) -> Result<(), String> {
        let under_way: HashMap<u32, &Open> = self.open.values().map(|open| (open.id, open)).collect();
        if under_way.len() != self.open.len() {
            return Err("SCH-2: a number is under way twice".to_owned());
        }
        let mut listed = 0;
        for (id, entry) in self.entries.iter().enumerate().filter_map(|(id, e)| Some((id as u32, e.as_ref()?))) {
            let lane = self.carriers[usize::from(entry.carrier)].lane(guest_of(entry));
            let (in_lane, in_controls) = (lane.contains(entry.at, id), self.controls.contains(entry.at, id));
            let wanted = match entry.place {
                Place::Lane => (true, false, false),
                Place::Control => (false, true, false),
                Place::Open => (false, false, true),
                Place::Idle => (false, false, false),
            };
            if (in_lane, in_controls, under_way.contains_key(&id)) != wanted {
                return Err(format!("SCH-1: {:?} says {:?} and is not there", entry.number, entry.place));
            }
            if entry.place == Place::Idle && (entry.stop.is_none() || entry.pending.is_some()) {
                return Err(format!("SCH-1: {:?} waits for nothing", entry.number));
            }
            listed += usize::from(in_lane);
        }
        let lanes: usize = self
            .carriers
            .iter()
            .flat_map(|carrier| [carrier.lane(Guest::Resident).len(), carrier.lane(Guest::Visitor).len()])
            .sum();
        if lanes != listed {
            return Err("a lane holds numbers that are not in it".to_owned());
        }
        let held: u64 = self.budgets.iter().map(|budget| budget.credit.held()).sum();
        let polls: u64 =
            self.open.values().filter(|open| open.kind.asks_the_carrier()).map(|open| open.cost.share()).sum();
        if held != polls { Err(format!("credit held is {held}, polls under way cost {polls}")) } else { Ok(()) }
    }
}

/// When a number must be stopped or expired, whatever its next look.
fn deadline(entry: &Entry, rules: &Rules) -> JourneyMs {
    expiry(entry, rules).min(entry.until().unwrap_or(JourneyMs::new(i64::MAX)))
}

/// When silence ends it. What has reached its end by then, and could not be confirmed, ends as what it is.
fn expiry(entry: &Entry, rules: &Rules) -> JourneyMs {
    entry.last_change.plus_ms(rules.expiry_ms)
}

/// Something must be published. An erasure is never displaced; a replay only by one.
fn publish(entry: &mut Entry, kind: RequestKind) {
    // Of an undecided number and of a probe nothing is published; an erasure is carried out all the same.
    if entry.trying().is_some() && kind != RequestKind::Forget {
        return;
    }
    match (entry.pending, kind) {
        (Some(RequestKind::Forget), _) => {}
        (Some(RequestKind::Replay), other) if other != RequestKind::Forget => {}
        (_, kind) => entry.pending = Some(kind),
    }
}

fn stop(entry: &mut Entry, reason: StopReason) {
    entry.stop = Some(reason);
    entry.rule = Rule::Stopped;
    entry.wait_ms = 0;
    publish(entry, RequestKind::Stop);
}
