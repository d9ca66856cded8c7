//! Memory to bytes and back.

mod parts;

use waybill_adapters::journey::{Before, Rules};
use waybill_schemas::{
    JourneyMs, Memory, OutcomeClass, SubStatus,
    event::{EstimatedDelivery, Leg},
    limits::{MAX_MEMORY_BYTES, MAX_REMEMBERED_EVENTS},
    shipment::LastOutcome,
};
use xxhash_rust::xxh3::xxh3_64;

use self::parts::{
    read_events, read_folded, read_latest, read_milestones, read_moment, write_events, write_latest, write_milestones,
    write_moment, write_time,
};
use super::{
    Latches, MemoryError, Published, ShipmentMemory, Shown,
    wire::{Reader, Writer},
};

const VERSION: u8 = 1;
const CHECKSUM: usize = 4;
/// What a status, its moment, the digests and the last outcome without its sentence may grow by.
const HEADROOM: usize = 128;

/// Tags of fields. Never reused.
mod tag {
    pub(super) const INSTANCE: u64 = 1;
    pub(super) const EVENTS: u64 = 2;
    pub(super) const FOLDED: u64 = 3;
    pub(super) const MILESTONES: u64 = 4;
    pub(super) const LATCHES: u64 = 5;
    pub(super) const STATUS: u64 = 6;
    pub(super) const SINCE: u64 = 7;
    pub(super) const PUBLISHED: u64 = 8;
    pub(super) const LATEST: u64 = 9;
    pub(super) const ESTIMATED_DELIVERY: u64 = 10;
    pub(super) const LEGS: u64 = 11;
    pub(super) const ORIGIN: u64 = 12;
    pub(super) const DESTINATION: u64 = 13;
    pub(super) const SERVICE: u64 = 14;
    pub(super) const WEIGHT: u64 = 15;
    pub(super) const LAST_OUTCOME: u64 = 16;
    pub(super) const PRIVATE: u64 = 17;
}

/// What gives way when the bytes do not fit, first one first.
const GIVING_WAY: [fn(&mut Shown); 8] = [
    |shown| shown.private.clear(),
    |shown| shown.weight = None,
    |shown| shown.service = None,
    |shown| shown.legs.clear(),
    |shown| shown.estimated_delivery = None,
    |shown| (shown.origin, shown.destination) = (None, None),
    |shown| {
        if let Some(outcome) = &mut shown.last_outcome {
            outcome.detail = None;
        }
    },
    |shown| shown.latest = None,
];

impl ShipmentMemory {
    /// Lets go of what does not fit (see the module's header), with some room to spare for what [`Self::fit_shown`] must
    /// keep; `rules` are those of the carrier's mapping.
    pub fn fit(&mut self, rules: Rules<'_>) {
        self.fold_to(MAX_REMEMBERED_EVENTS, rules);
        self.give_way(MAX_MEMORY_BYTES - HEADROOM);
        while self.bytes().len() > MAX_MEMORY_BYTES - HEADROOM && !self.events.is_empty() {
            self.fold_to(self.events.len() - 1, rules);
        }
        if self.bytes().len() > MAX_MEMORY_BYTES - HEADROOM {
            // Only a later build's fields can be this large.
            self.foreign.clear();
        }
    }

    /// As [`Self::fit`] where no events were added: only what is shown gives way.
    pub fn fit_shown(&mut self) {
        self.give_way(MAX_MEMORY_BYTES);
    }

    fn give_way(&mut self, limit: usize) {
        for give_way in GIVING_WAY {
            if self.bytes().len() <= limit {
                return;
            }
            give_way(&mut self.shown);
        }
    }

    /// The bytes; call [`Self::fit`] first.
    pub fn encode(&self) -> Memory {
        Memory(self.bytes())
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.byte(VERSION);
        self.write_core(&mut out);
        self.write_shown(&mut out);
        for (tag, content) in &self.foreign {
            out.field(*tag, content);
        }
        let sum = xxh3_64(&out.0).to_le_bytes();
        out.0.extend(&sum[..CHECKSUM]);
        out.0
    }

    fn write_core(&self, out: &mut Writer) {
        out.field(tag::INSTANCE, &content(|w| w.unsigned(u64::from(self.instance))));
        if !self.events.is_empty() {
            out.field(tag::EVENTS, &content(|w| write_events(w, &self.events)));
        }
        if self.folded.count > 0 {
            out.field(
                tag::FOLDED,
                &content(|w| {
                    w.unsigned(u64::from(self.folded.count));
                    write_time(w, self.folded.until.as_ref());
                    let Before { sub_status, attempted, delivered } = self.folded.before;
                    w.byte(u8::from(attempted) | u8::from(delivered) << 1 | u8::from(sub_status.is_some()) << 2);
                    if let Some(sub_status) = sub_status {
                        w.byte(sub_status.number());
                    }
                }),
            );
        }
        if !self.milestones.is_empty() {
            out.field(tag::MILESTONES, &content(|w| write_milestones(w, &self.milestones)));
        }
        let Latches { read, scanned, delivered } = self.latches;
        out.field(tag::LATCHES, &[u8::from(read) | u8::from(scanned) << 1 | u8::from(delivered) << 2]);
        if let Some(status) = self.status {
            out.field(tag::STATUS, &[status.number()]);
        }
        if let Some(since) = &self.since {
            out.field(tag::SINCE, &content(|w| write_moment(w, since)));
        }
        if let Some(Published { record, rebuilt }) = self.published {
            out.field(
                tag::PUBLISHED,
                &content(|w| {
                    w.fixed(record);
                    w.fixed(rebuilt);
                }),
            );
        }
    }

    fn write_shown(&self, out: &mut Writer) {
        let shown = &self.shown;
        if let Some(latest) = &shown.latest {
            out.field(tag::LATEST, &content(|w| write_latest(w, latest)));
        }
        if let Some(eta) = &shown.estimated_delivery {
            out.field(
                tag::ESTIMATED_DELIVERY,
                &content(|w| {
                    w.text(&eta.from);
                    w.text(&eta.to);
                    w.text(&eta.source);
                }),
            );
        }
        if !shown.legs.is_empty() {
            out.field(
                tag::LEGS,
                &content(|w| {
                    for leg in &shown.legs {
                        w.text(&leg.carrier);
                        w.text(&leg.number);
                    }
                }),
            );
        }
        if !shown.private.is_empty() {
            out.field(
                tag::PRIVATE,
                &content(|w| {
                    for (name, text) in &shown.private {
                        w.text(name);
                        w.text(text);
                    }
                }),
            );
        }
        let texts = [
            (tag::ORIGIN, &shown.origin),
            (tag::DESTINATION, &shown.destination),
            (tag::SERVICE, &shown.service),
            (tag::WEIGHT, &shown.weight),
        ];
        for (tag, text) in texts {
            if let Some(text) = text {
                out.field(tag, &content(|w| w.text(text)));
            }
        }
        if let Some(outcome) = &shown.last_outcome {
            out.field(
                tag::LAST_OUTCOME,
                &content(|w| {
                    w.text(outcome.class.as_str());
                    w.signed(outcome.at.ms());
                    w.optional_text(outcome.detail.as_deref());
                }),
            );
        }
    }

    /// Reads a memory; empty bytes are a memory of nothing.
    ///
    /// # Errors
    /// [`MemoryError`] when this build cannot read it.
    pub fn decode(memory: &Memory) -> Result<Self, MemoryError> {
        if memory.is_empty() {
            return Ok(Self::default());
        }
        let version = memory.0[0];
        if version > VERSION {
            return Err(MemoryError::Newer(version));
        }
        let (body, sum) = memory.0.split_last_chunk::<CHECKSUM>().ok_or(MemoryError::Damaged)?;
        if version != VERSION || xxh3_64(body).to_le_bytes()[..CHECKSUM] != sum[..] {
            return Err(MemoryError::Damaged);
        }
        Self::read_fields(Reader(&body[1..])).ok_or(MemoryError::Damaged)
    }

    fn read_fields(mut fields: Reader<'_>) -> Option<Self> {
        let mut memory = Self::default();
        while !fields.is_empty() {
            let tag = fields.unsigned()?;
            let content = fields.bytes()?;
            let mut r = Reader(content);
            match tag {
                tag::INSTANCE => memory.instance = r.number()?,
                tag::EVENTS => memory.events = read_events(&mut r)?,
                tag::FOLDED => memory.folded = read_folded(&mut r)?,
                tag::MILESTONES => memory.milestones = read_milestones(&mut r)?,
                tag::LATCHES => {
                    let bits = r.byte()?;
                    memory.latches = Latches { read: bits & 1 != 0, scanned: bits & 2 != 0, delivered: bits & 4 != 0 };
                }
                tag::STATUS => memory.status = Some(SubStatus::from_number(r.byte()?)?),
                tag::SINCE => memory.since = Some(read_moment(&mut r)?),
                tag::PUBLISHED => memory.published = Some(Published { record: r.fixed()?, rebuilt: r.fixed()? }),
                _ => {
                    if !read_shown(tag, &mut r, &mut memory.shown)? {
                        memory.foreign.push((tag, content.to_vec()));
                    }
                }
            }
        }
        Some(memory)
    }
}

fn content(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut out = Writer::default();
    write(&mut out);
    out.0
}

/// Whether the tag was known.
fn read_shown(tag: u64, r: &mut Reader<'_>, shown: &mut Shown) -> Option<bool> {
    match tag {
        tag::LATEST => shown.latest = Some(read_latest(r)?),
        tag::ESTIMATED_DELIVERY => {
            shown.estimated_delivery = Some(EstimatedDelivery { from: r.text()?, to: r.text()?, source: r.text()? });
        }
        tag::LEGS => {
            while !r.is_empty() {
                shown.legs.push(Leg { carrier: r.text()?, number: r.text()? });
            }
        }
        tag::ORIGIN => shown.origin = Some(r.text()?),
        tag::DESTINATION => shown.destination = Some(r.text()?),
        tag::SERVICE => shown.service = Some(r.text()?),
        tag::WEIGHT => shown.weight = Some(r.text()?),
        tag::PRIVATE => {
            while !r.is_empty() {
                let name = r.text()?;
                shown.private.insert(name, r.text()?);
            }
        }
        tag::LAST_OUTCOME => {
            let class = r.text()?;
            let class = OutcomeClass::ALL.into_iter().find(|known| known.as_str() == class)?;
            let at = JourneyMs::new(r.signed()?);
            shown.last_outcome = Some(LastOutcome { class, at, detail: r.optional_text()? });
        }
        _ => return Some(false),
    }
    Some(true)
}
