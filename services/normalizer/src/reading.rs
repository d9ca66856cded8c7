//! One accepted answer with events against what is known: which events are new, in what order all stand, what they come to.
//!
//! Status moves only by a new event that means something, or by the headline where the mapping trusts it; so a mapping that
//! was changed meanwhile alters nothing that is published (corrections are `replay`'s), and a shorter page takes nothing
//! away (NRM-3). Events keep the sub-status they were published with.

use std::collections::HashMap;

use waybill_adapters::{
    Mapping,
    journey::{PageOrder, Point, Settled, order, settle},
};
use waybill_schemas::{
    OutcomeClass, ShipmentKey, Status, SubStatus,
    event::{EventId, EventKind, EventSource, MatchedBy, RawEvent, TrackingEvent, ZoneSource},
    fetch::FetchResult,
    shipment::{LastOutcome, Moment},
};

use crate::{
    id::{EventHasher, shipment_hash},
    memory::{KnownEvent, KnownTime, Latches, Latest, ShipmentMemory},
    printed,
};

/// A number is taken for recycled when every event of an answer is unknown and at least so much later than the last event
/// of a life that ended in delivery. Carriers use numbers again after a year or more; a delivered parcel that is scanned
/// once more (a return, a complaint) is mostly seen within weeks and beside its old events.
const RECYCLED_AFTER_S: i64 = 90 * 86_400;

/// What an adapter contributes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Words<'a> {
    pub(crate) mapping: &'a Mapping,
    pub(crate) page: PageOrder,
}

/// What a reading came to.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) memory: ShipmentMemory,
    /// New events, oldest first.
    pub(crate) events: Vec<TrackingEvent>,
    /// New events that nothing matched.
    pub(crate) unmatched: u32,
    /// Whether something that the mapping names contradicts a delivery (NRM-4).
    pub(crate) contradicted: bool,
}

/// An event on the line of the journey.
#[derive(Debug, Clone, Copy)]
struct Entry<'a> {
    hash: u64,
    point: Point,
    /// On the page.
    raw: Option<&'a RawEvent>,
    /// Where in the memory.
    known: Option<usize>,
    /// As published, or as mapped now.
    sub_status: Option<SubStatus>,
    matched_by: MatchedBy,
}

/// Reads an answer of class `tracked` or `registered_no_scan`.
pub(crate) fn read(result: &FetchResult, words: Words<'_>, before: &ShipmentMemory) -> Read {
    let page = page_entries(result, words);
    let mut memory = before.clone();
    if is_recycled(&page, before) {
        memory = ShipmentMemory {
            instance: before.instance.saturating_add(1),
            foreign: before.foreign.clone(),
            ..ShipmentMemory::default()
        };
    }
    let line = line_up(page, &memory);
    let rules = words.mapping.rules();
    let headline = words.mapping.headline(&result.facts);
    let settled = settle(line.iter().map(|entry| entry.sub_status), headline, rules, memory.folded.before);

    let news: Vec<usize> = (0..line.len()).filter(|at| line[*at].known.is_none()).collect();
    let contradicted = news.iter().any(|at| settled.resolved[*at].is_some_and(|sub| rules.unlatch.contains(&sub)))
        || (settled.by_headline && headline.is_some_and(|sub| rules.unlatch.contains(&sub)));
    let turn = Turn { result, mapping: words.mapping, line: &line, settled: &settled, news: &news, contradicted };
    let events = turn.events(&memory);
    let unmatched = news.iter().filter(|at| line[**at].matched_by == MatchedBy::None).count();
    turn.advance(&mut memory);
    Read { memory, events, unmatched: u32::try_from(unmatched).unwrap_or(u32::MAX), contradicted }
}

/// The page's events, oldest first, with their hashes and meanings.
fn page_entries<'a>(result: &'a FetchResult, words: Words<'_>) -> Vec<Entry<'a>> {
    let points: Vec<Point> = result.events.iter().map(Point::of).collect();
    let mut hasher = EventHasher::default();
    let entry = |at: usize| {
        let raw = &result.events[at];
        let mapped = words.mapping.map(raw);
        Entry {
            hash: hasher.next(raw),
            point: points[at],
            raw: Some(raw),
            known: None,
            sub_status: mapped.sub_status,
            matched_by: mapped.matched_by,
        }
    };
    order(&points, words.page).into_iter().map(entry).collect()
}

/// See [`RECYCLED_AFTER_S`].
fn is_recycled(page: &[Entry<'_>], before: &ShipmentMemory) -> bool {
    if !before.latches.delivered || page.is_empty() {
        return false;
    }
    let last_known = before.events.iter().filter_map(|event| event.time).chain(before.folded.until);
    let Some(last_known) = last_known.map(|time| time.rough_s()).max() else { return false };
    page.iter().all(|entry| {
        let later = KnownTime::of(&entry.point).is_some_and(|time| time.rough_s() - last_known >= RECYCLED_AFTER_S);
        later && !before.events.iter().any(|known| known.hash == entry.hash || known.published == Some(entry.hash))
    })
}

/// Page and memory on one line, oldest first. Events of the memory that the page no longer shows stay (NRM-3); events of
/// the page that were folded away are left out: they are known, though no longer one by one.
fn line_up<'a>(mut page: Vec<Entry<'a>>, memory: &ShipmentMemory) -> Vec<Entry<'a>> {
    let mut by_hash = HashMap::with_capacity(memory.events.len());
    for (at, known) in memory.events.iter().enumerate() {
        by_hash.entry(known.published_hash()).or_insert(at);
        by_hash.insert(known.hash, at);
    }
    let mut shown = vec![false; memory.events.len()];
    for entry in &mut page {
        let Some(&at) = by_hash.get(&entry.hash) else { continue };
        if !std::mem::replace(&mut shown[at], true) {
            entry.known = Some(at);
            entry.sub_status = memory.events[at].sub_status;
        }
    }
    drop_folded(&mut page, memory);
    if shown.iter().all(|shown| *shown) {
        return page;
    }
    merge_vanished(page, memory, &shown)
}

fn drop_folded(page: &mut Vec<Entry<'_>>, memory: &ShipmentMemory) {
    if memory.folded.count == 0 {
        return;
    }
    let first_known = page.iter().position(|entry| entry.known.is_some()).unwrap_or(page.len());
    let mut at = 0;
    page.retain(|entry| {
        let rank = at;
        at += 1;
        let folded = match (KnownTime::of(&entry.point), memory.folded.until) {
            (Some(time), Some(until)) => time.rough_s() <= until.rough_s(),
            _ => rank < first_known,
        };
        entry.known.is_some() || !folded
    });
}

fn merge_vanished<'a>(page: Vec<Entry<'a>>, memory: &ShipmentMemory, shown: &[bool]) -> Vec<Entry<'a>> {
    let mut line = page;
    let mut next = 0;
    for (at, known) in memory.events.iter().enumerate() {
        if shown[at] {
            let place = line.iter().position(|entry| entry.known == Some(at));
            next = place.map_or(next, |place| place + 1);
            continue;
        }
        let entry = Entry {
            hash: known.hash,
            point: known.time.map(|time| time.point()).unwrap_or_default(),
            raw: None,
            known: Some(at),
            sub_status: known.sub_status,
            matched_by: MatchedBy::None,
        };
        line.insert(next, entry);
        next += 1;
    }
    let points: Vec<Point> = line.iter().map(|entry| entry.point).collect();
    order(&points, PageOrder::OldestFirst).into_iter().map(|at| line[at]).collect()
}

/// One reading under way.
struct Turn<'a> {
    result: &'a FetchResult,
    mapping: &'a Mapping,
    line: &'a [Entry<'a>],
    settled: &'a Settled,
    news: &'a [usize],
    contradicted: bool,
}

impl Turn<'_> {
    fn events(&self, memory: &ShipmentMemory) -> Vec<TrackingEvent> {
        let key = self.result.request.key();
        let shipment = shipment_hash(&key, memory.instance);
        let entry = |at: &usize| {
            let entry = &self.line[*at];
            entry.raw.map(|raw| self.event(raw, (shipment, entry), self.settled.resolved[*at], &key, memory.instance))
        };
        self.news.iter().filter_map(entry).collect()
    }

    fn event(
        &self,
        raw: &RawEvent,
        (shipment, entry): (u64, &Entry<'_>),
        sub_status: Option<SubStatus>,
        key: &ShipmentKey,
        instance: u32,
    ) -> TrackingEvent {
        let (result, request) = (self.result, &self.result.request);
        let time = raw.time.as_ref();
        TrackingEvent {
            event_id: EventId { shipment, event: entry.hash },
            version: 1,
            kind: EventKind::Scan,
            carrier: key.carrier.clone(),
            number: key.number.clone(),
            instance,
            reference: request.reference.clone(),
            registered_at: request.registered_at,
            // NRM-1, NRM-5: the carrier's words pass through untouched; what was understood of the time stands beside them.
            time_raw: raw.time_raw.clone(),
            time: time.map(|time| time.iso.clone()),
            time_utc: time.and_then(|time| time.utc),
            time_precision: time.map(|time| time.precision),
            zone_source: time.map_or(ZoneSource::Unknown, |time| time.zone_source),
            year_inferred: time.is_some_and(|time| time.year_inferred),
            text: raw.text.clone(),
            code: raw.code.clone(),
            location: raw.location.clone(),
            country: raw.country.clone(),
            leg: raw.leg,
            status: sub_status.map(SubStatus::status),
            sub_status,
            matched_by: entry.matched_by,
            seen_at: result.seen_at,
            source: EventSource {
                attempt: request.attempt,
                payload: result.payload.clone(),
                adapter: result.source.adapter.clone(),
                adapter_version: result.source.adapter_version.clone(),
                mapping_version: self.mapping.version.clone(),
                reader: result.source.reader.clone(),
                selector: raw.selector.clone(),
            },
        }
    }

    fn advance(&self, memory: &mut ShipmentMemory) {
        let status = self.status(memory);
        self.advance_since(memory, status);
        self.advance_milestones(memory);
        self.advance_shown(memory);
        let scan = |at: &usize| self.settled.resolved[*at] != Some(SubStatus::InfoReceived);
        if self.result.class == OutcomeClass::Tracked {
            memory.latches.scanned |= self.news.iter().any(scan) || is_beyond_info(status);
        }
        memory.latches.read = true;
        memory.latches.delivered = if memory.latches.delivered {
            self.settled.delivered || !self.contradicted
        } else {
            self.settled.delivered
        };
        memory.status = Some(status);
        memory.events = self
            .line
            .iter()
            .zip(&self.settled.resolved)
            .map(|(entry, resolved)| {
                let published = entry.known.map(|at| memory.events[at].clone());
                let fresh =
                    || KnownEvent { hash: entry.hash, published: None, version: 1, time: None, sub_status: *resolved };
                KnownEvent { time: KnownTime::of(&entry.point), ..published.unwrap_or_else(fresh) }
            })
            .collect();
    }

    /// Where the shipment stands now.
    fn status(&self, memory: &ShipmentMemory) -> SubStatus {
        let Latches { scanned, delivered, .. } = memory.latches;
        let held = memory.status;
        let settled = self.settled;
        // Time passing was undone by nothing but a later event, or by a headline that tells of a delivery.
        let lifted = !self.news.is_empty() || (settled.delivered && !delivered);
        if let Some(held) = held
            && held.status() == Status::Expired
            && !lifted
        {
            return held;
        }
        if self.result.class == OutcomeClass::RegisteredNoScan {
            // NRM-3: announced says nothing of a shipment that has been scanned.
            let held = if scanned { held.filter(|held| held.status() != Status::Expired) } else { None };
            return held.or(settled.sub_status.filter(|_| scanned)).unwrap_or(SubStatus::InfoReceived);
        }
        if let Some(held) = held
            && delivered
            && !settled.delivered
            && !self.contradicted
        {
            // NRM-4: the delivery was told by a headline or by an event folded away; nothing here undoes it.
            return held;
        }
        let told = self.news.iter().any(|at| settled.resolved[*at].is_some()) || settled.by_headline;
        if let Some(held) = held
            && scanned
            && !told
            && held.status() != Status::Expired
        {
            return held;
        }
        let held = held.filter(|held| scanned && held.status() != Status::Expired);
        settled.sub_status.or(held).unwrap_or(SubStatus::InTransitOther)
    }

    fn advance_since(&self, memory: &mut ShipmentMemory, status: SubStatus) {
        if memory.since.is_some() && memory.status.map(SubStatus::status) == Some(status.status()) {
            return;
        }
        let seen = Moment { time: None, time_utc: None, seen_at: self.result.seen_at };
        memory.since = Some(self.run_start(status).map_or(seen, |at| self.moment(&self.line[at])));
    }

    /// The first event of the run with which the main status began, going back from the one that decided.
    fn run_start(&self, status: SubStatus) -> Option<usize> {
        let resolved = &self.settled.resolved;
        let mut start = resolved.iter().rposition(|found| *found == Some(status))?;
        for at in (0..start).rev() {
            match resolved[at] {
                Some(found) if found.status() == status.status() => start = at,
                Some(_) => break,
                None => {}
            }
        }
        Some(start)
    }

    fn moment(&self, entry: &Entry<'_>) -> Moment {
        let seen_at = self.result.seen_at;
        match entry.raw {
            Some(raw) => Moment {
                time: raw.time.as_ref().map(|time| time.iso.clone()),
                time_utc: raw.time.as_ref().and_then(|time| time.utc),
                seen_at,
            },
            None => printed::moment(KnownTime::of(&entry.point), seen_at),
        }
    }

    /// The first time each was reached; an older scan that arrives late moves it back.
    fn advance_milestones(&self, memory: &mut ShipmentMemory) {
        for (milestone, at) in &self.settled.milestones {
            let entry = &self.line[*at];
            if entry.known.is_none() || !memory.milestones.contains_key(milestone) {
                memory.milestones.insert(*milestone, self.moment(entry));
            }
        }
    }

    fn advance_shown(&self, memory: &mut ShipmentMemory) {
        let facts = &self.result.facts;
        let published = |entry: &Entry<'_>| entry.known.map_or(entry.hash, |at| memory.events[at].published_hash());
        let kept = memory.shown.latest.take();
        let newest_is_kept = self.line.last().is_some_and(|newest| {
            newest.raw.is_none() && kept.as_ref().is_some_and(|kept| kept.event == published(newest))
        });
        let on_page = self.line.iter().rposition(|entry| entry.raw.is_some());
        let latest = on_page.and_then(|at| {
            let (entry, raw) = (&self.line[at], self.line[at].raw?);
            Some(Latest {
                event: published(entry),
                time_raw: raw.time_raw.clone(),
                time: raw.time.as_ref().map(|time| time.iso.clone()),
                time_utc: raw.time.as_ref().and_then(|time| time.utc),
                text: raw.text.clone(),
                location: raw.location.clone(),
                sub_status: entry.known.map_or(self.settled.resolved[at], |known| memory.events[known].sub_status),
            })
        });
        let shown = &mut memory.shown;
        shown.latest = if newest_is_kept { kept } else { latest.or(kept) };
        shown.estimated_delivery.clone_from(&facts.estimated_delivery);
        // Gone as soon as the operator no longer asks for it.
        shown.private.clone_from(&facts.private);
        if !facts.legs.is_empty() {
            shown.legs.clone_from(&facts.legs);
        }
        for (kept, said) in [
            (&mut shown.origin, &facts.origin),
            (&mut shown.destination, &facts.destination),
            (&mut shown.service, &facts.service),
            (&mut shown.weight, &facts.weight),
        ] {
            if said.is_some() {
                kept.clone_from(said);
            }
        }
        shown.last_outcome =
            Some(LastOutcome { class: self.result.class, at: self.result.seen_at, detail: self.result.detail.clone() });
    }
}

fn is_beyond_info(status: SubStatus) -> bool {
    !matches!(status.status(), Status::NotFound | Status::InfoReceived | Status::Expired)
}
