//! The forms of a memory's parts: events, times, moments, milestones, the latest event.

use std::collections::BTreeMap;

use waybill_adapters::journey::Before;
use waybill_schemas::{JourneyMs, Milestone, SubStatus, UtcMs, event::TimePrecision, shipment::Moment};

use crate::memory::{
    Folded, KnownEvent, KnownTime, Latest,
    wire::{Reader, Writer},
};

// An event: its hash, a byte of flags, then what the flags announce.
const PRECISION: u8 = 0b0000_0111; // 0 = no time, else 1 + precision
const HAS_OFFSET: u8 = 0b0000_1000;
const SAME_OFFSET: u8 = 0b0001_0000; // as the last event that had one
const HAS_VERSION: u8 = 0b0010_0000;
const HAS_PUBLISHED: u8 = 0b0100_0000;
const HAS_STATUS: u8 = 0b1000_0000;

const PRECISIONS: [TimePrecision; 4] =
    [TimePrecision::Date, TimePrecision::HalfDay, TimePrecision::Minute, TimePrecision::Second];

pub(super) fn write_events(w: &mut Writer, events: &[KnownEvent]) {
    let (mut last_s, mut last_offset) = (0, None);
    for event in events {
        let mut flags = event.time.map_or(0, |time| 1 + precision_number(time.precision));
        let offset = event.time.and_then(|time| time.offset_min);
        if offset.is_some() {
            flags |= if offset == last_offset { SAME_OFFSET } else { HAS_OFFSET };
        }
        flags |= if event.version == 1 { 0 } else { HAS_VERSION };
        flags |= if event.published.is_none() { 0 } else { HAS_PUBLISHED };
        flags |= if event.sub_status.is_none() { 0 } else { HAS_STATUS };
        w.fixed(event.hash);
        w.byte(flags);
        if let Some(time) = event.time {
            w.signed(time.local_s.wrapping_sub(last_s));
            last_s = time.local_s;
        }
        if let Some(minutes) = offset {
            if offset != last_offset {
                w.signed(i64::from(minutes));
            }
            last_offset = offset;
        }
        if event.version != 1 {
            w.unsigned(u64::from(event.version));
        }
        if let Some(published) = event.published {
            w.fixed(published);
        }
        if let Some(status) = event.sub_status {
            w.byte(status.number());
        }
    }
}

pub(super) fn read_events(r: &mut Reader<'_>) -> Option<Vec<KnownEvent>> {
    let mut events = Vec::new();
    let (mut last_s, mut last_offset) = (0i64, None);
    while !r.is_empty() {
        let hash = r.fixed()?;
        let flags = r.byte()?;
        let mut time = None;
        if let Some(place) = (flags & PRECISION).checked_sub(1) {
            last_s = last_s.wrapping_add(r.signed()?);
            let offset_min = if flags & HAS_OFFSET != 0 {
                last_offset = Some(i32::try_from(r.signed()?).ok()?);
                last_offset
            } else if flags & SAME_OFFSET != 0 {
                Some(last_offset?)
            } else {
                None
            };
            let precision = *PRECISIONS.get(usize::from(place))?;
            time = Some(KnownTime { local_s: last_s, offset_min, precision });
        }
        let version = if flags & HAS_VERSION != 0 { r.number()? } else { 1 };
        let published = if flags & HAS_PUBLISHED != 0 { Some(r.fixed()?) } else { None };
        let sub_status = if flags & HAS_STATUS != 0 { Some(SubStatus::from_number(r.byte()?)?) } else { None };
        events.push(KnownEvent { hash, published, version, time, sub_status });
    }
    Some(events)
}

fn precision_number(precision: TimePrecision) -> u8 {
    match precision {
        TimePrecision::Date => 0,
        TimePrecision::HalfDay => 1,
        TimePrecision::Minute => 2,
        TimePrecision::Second => 3,
    }
}

pub(super) fn write_time(w: &mut Writer, time: Option<&KnownTime>) {
    w.byte(time.map_or(0, |time| 1 + precision_number(time.precision)));
    if let Some(time) = time {
        w.signed(time.local_s);
        w.optional_signed(time.offset_min.map(i64::from));
    }
}

fn read_time(r: &mut Reader<'_>) -> Option<Option<KnownTime>> {
    let Some(place) = r.byte()?.checked_sub(1) else { return Some(None) };
    let precision = *PRECISIONS.get(usize::from(place))?;
    let local_s = r.signed()?;
    let offset_min = match r.optional_signed()? {
        Some(minutes) => Some(i32::try_from(minutes).ok()?),
        None => None,
    };
    Some(Some(KnownTime { local_s, offset_min, precision }))
}

pub(super) fn read_folded(r: &mut Reader<'_>) -> Option<Folded> {
    let (count, until) = (r.number()?, read_time(r)?);
    let bits = r.byte()?;
    let sub_status = if bits & 4 != 0 { Some(SubStatus::from_number(r.byte()?)?) } else { None };
    Some(Folded { count, until, before: Before { sub_status, attempted: bits & 1 != 0, delivered: bits & 2 != 0 } })
}

pub(super) fn write_moment(w: &mut Writer, moment: &Moment) {
    w.optional_text(moment.time.as_deref());
    w.optional_signed(moment.time_utc.map(UtcMs::ms));
    w.signed(moment.seen_at.ms());
}

pub(super) fn read_moment(r: &mut Reader<'_>) -> Option<Moment> {
    Some(Moment {
        time: r.optional_text()?,
        time_utc: r.optional_signed()?.map(UtcMs::new),
        seen_at: JourneyMs::new(r.signed()?),
    })
}

pub(super) fn write_milestones(w: &mut Writer, milestones: &BTreeMap<Milestone, Moment>) {
    for (milestone, moment) in milestones {
        w.byte(*milestone as u8);
        write_moment(w, moment);
    }
}

pub(super) fn read_milestones(r: &mut Reader<'_>) -> Option<BTreeMap<Milestone, Moment>> {
    let mut milestones = BTreeMap::new();
    while !r.is_empty() {
        let milestone = *Milestone::ALL.get(usize::from(r.byte()?))?;
        milestones.insert(milestone, read_moment(r)?);
    }
    Some(milestones)
}

pub(super) fn write_latest(w: &mut Writer, latest: &Latest) {
    w.fixed(latest.event);
    w.text(&latest.time_raw);
    w.optional_text(latest.time.as_deref());
    w.optional_signed(latest.time_utc.map(UtcMs::ms));
    w.text(&latest.text);
    w.optional_text(latest.location.as_deref());
    if let Some(status) = latest.sub_status {
        w.byte(status.number());
    }
}

pub(super) fn read_latest(r: &mut Reader<'_>) -> Option<Latest> {
    Some(Latest {
        event: r.fixed()?,
        time_raw: r.text()?,
        time: r.optional_text()?,
        time_utc: r.optional_signed()?.map(UtcMs::new),
        text: r.text()?,
        location: r.optional_text()?,
        sub_status: if r.is_empty() { None } else { Some(SubStatus::from_number(r.byte()?)?) },
    })
}
