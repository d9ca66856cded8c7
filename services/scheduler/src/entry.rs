//! What is kept in memory of one number. Memories are the bulk; everything else is kept lean, because a scheduler holds
//! millions: absent instants are zero, what most numbers lack sits behind one pointer, sentences are made when asked for.

use std::collections::BTreeMap;

use waybill_schemas::{
    CarrierSlug, JourneyMs, Memories, Memory, Status, SubStatus, TrackingNumber, WallMs,
    command::Registration,
    detection::Settlement,
    fetch::RequestKind,
    schedule::ScheduleRecord,
    shipment::{StopReason, Tracking},
};

use crate::why::{Facts, Rule, why};

/// Where a number is. Exactly one of these holds for each, which is SCH-1 in one line: an active number is in a lane, has
/// something to be published, or is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Stopped, and nothing to publish.
    Idle,
    /// In its carrier's lane, due at [`Entry::at`].
    Lane,
    /// A request other than a poll is to be handed out, from [`Entry::at`].
    Control,
    /// An attempt is under way.
    Open,
}

/// What registration told, where it told anything.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Told {
    pub(crate) registration: Registration,
    pub(crate) params: BTreeMap<String, String>,
    /// Fields of a later version in the number's record.
    pub(crate) extra: serde_json::Map<String, serde_json::Value>,
    /// Memories of a later version.
    pub(crate) memories: serde_json::Map<String, serde_json::Value>,
}

/// What sets a number apart that is not simply tracked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Trying {
    /// Only probed, for this round of an undecided number's owner.
    Probe(u32),
    /// An undecided number, whose candidates are tried.
    Settling(Settlement),
}

/// One number.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) number: TrackingNumber,
    reference: Option<Box<str>>,
    told: Option<Box<Told>>,
    trying: Option<Box<Trying>>,
    fetcher: Box<[u8]>,
    normalizer: Box<[u8]>,
    /// The last attempt whose outcome was applied.
    pub(crate) attempt: i64,
    pub(crate) registered_at: JourneyMs,
    pub(crate) due: JourneyMs,
    /// When a change was last seen, looking was resumed, or it was registered: the expiry counts from here. While an
    /// erasure is pending, the time of a registration that came after it.
    pub(crate) last_change: JourneyMs,
    last_reading: JourneyMs,
    until: JourneyMs,
    not_before: WallMs,
    /// The instant it is listed under in a lane or among controls.
    pub(crate) at: WallMs,
    pub(crate) interval_ms: i64,
    pub(crate) wait_ms: i64,
    pub(crate) commands_applied: u64,
    pub(crate) instance: u32,
    pub(crate) carrier: u16,
    pub(crate) confirmations: u16,
    pub(crate) failures: u16,
    pub(crate) status: Option<Status>,
    pub(crate) sub_status: Option<SubStatus>,
    /// Stopped, and why.
    pub(crate) stop: Option<StopReason>,
    pub(crate) pending: Option<RequestKind>,
    pub(crate) rule: Rule,
    pub(crate) place: Place,
    /// Its record is to be written.
    pub(crate) dirty: bool,
}

fn present<C>(instant: waybill_schemas::time::Millis<C>) -> Option<waybill_schemas::time::Millis<C>> {
    (instant != waybill_schemas::time::Millis::ZERO).then_some(instant)
}

impl Entry {
    /// A number that was just registered: due at once.
    pub(crate) fn new(carrier: u16, number: TrackingNumber, registered_at: JourneyMs) -> Self {
        Self {
            number,
            reference: None,
            told: None,
            trying: None,
            fetcher: Box::default(),
            normalizer: Box::default(),
            attempt: 0,
            registered_at,
            due: registered_at,
            last_change: registered_at,
            last_reading: JourneyMs::ZERO,
            until: JourneyMs::ZERO,
            not_before: WallMs::ZERO,
            at: WallMs::ZERO,
            interval_ms: 0,
            wait_ms: 0,
            commands_applied: 0,
            instance: 1,
            carrier,
            confirmations: 0,
            failures: 0,
            status: None,
            sub_status: None,
            stop: None,
            pending: None,
            rule: Rule::FirstLook,
            place: Place::Idle,
            dirty: false,
        }
    }

    /// From its changelog record.
    pub(crate) fn from_record(carrier: u16, number: TrackingNumber, record: ScheduleRecord) -> Self {
        let stop = match record.tracking {
            Tracking::Active => None,
            Tracking::Stopped => Some(record.stop_reason.unwrap_or(StopReason::Ordered)),
        };
        let told = Told {
            registration: record.registration,
            params: record.params,
            extra: record.extra,
            memories: record.memories.extra,
        };
        let settlement = record.settlement.map(|settlement| Trying::Settling(*settlement));
        let trying = settlement.or(record.probe.map(Trying::Probe)).map(Box::new);
        let mut entry = Self {
            trying,
            reference: record.reference.map(String::into_boxed_str),
            told: None,
            fetcher: record.memories.fetcher.0.into_boxed_slice(),
            normalizer: record.memories.normalizer.0.into_boxed_slice(),
            attempt: record.attempt,
            due: record.due,
            last_change: record.last_change,
            last_reading: record.last_reading.unwrap_or(JourneyMs::ZERO),
            until: record.until.unwrap_or(JourneyMs::ZERO),
            not_before: record.not_before.unwrap_or(WallMs::ZERO),
            interval_ms: record.interval_ms,
            wait_ms: record.why.interval_ms.unwrap_or(0),
            commands_applied: record.commands_applied,
            instance: record.instance,
            confirmations: u16::try_from(record.confirmations).unwrap_or(u16::MAX),
            failures: u16::try_from(record.failures).unwrap_or(u16::MAX),
            status: record.status,
            sub_status: record.sub_status,
            stop,
            pending: record.pending,
            rule: Rule::from_name(&record.why.rule),
            ..Self::new(carrier, number, record.registered_at)
        };
        entry.set_told(told);
        entry
    }

    /// Its changelog record.
    pub(crate) fn to_record(&self) -> ScheduleRecord {
        let told = self.told();
        let facts = Facts { rule: self.rule, wait_ms: self.wait_ms, failures: self.failures, stop: self.stop };
        ScheduleRecord {
            registration: told.registration,
            reference: self.reference(),
            params: told.params,
            registered_at: self.registered_at,
            instance: self.instance,
            tracking: self.tracking(),
            stop_reason: self.stop,
            attempt: self.attempt,
            due: self.due,
            not_before: present(self.not_before),
            why: why(&facts),
            status: self.status,
            sub_status: self.sub_status,
            last_change: self.last_change,
            last_reading: self.last_reading(),
            interval_ms: self.interval_ms,
            confirmations: u32::from(self.confirmations),
            failures: u32::from(self.failures),
            pending: self.pending,
            until: self.until(),
            settlement: match self.trying() {
                Some(Trying::Settling(settlement)) => Some(Box::new(settlement.clone())),
                _ => None,
            },
            probe: match self.trying() {
                Some(Trying::Probe(round)) => Some(*round),
                _ => None,
            },
            commands_applied: self.commands_applied,
            memories: self.memories(),
            extra: told.extra,
        }
    }

    pub(crate) fn tracking(&self) -> Tracking {
        if self.stop.is_some() { Tracking::Stopped } else { Tracking::Active }
    }

    pub(crate) fn trying(&self) -> Option<&Trying> {
        self.trying.as_deref()
    }

    pub(crate) fn trying_mut(&mut self) -> Option<&mut Trying> {
        self.trying.as_deref_mut()
    }

    /// Of an undecided number: whose it turned out to be.
    pub(crate) fn decided(&self) -> Option<&CarrierSlug> {
        match self.trying() {
            Some(Trying::Settling(settlement)) => settlement.carrier.as_ref(),
            _ => None,
        }
    }

    pub(crate) fn set_trying(&mut self, trying: Option<Trying>) {
        self.trying = trying.map(Box::new);
    }

    /// What a look at it asks for.
    pub(crate) fn look(&self) -> RequestKind {
        if matches!(self.trying(), Some(Trying::Probe(_))) { RequestKind::Probe } else { RequestKind::Poll }
    }

    pub(crate) fn reference(&self) -> Option<String> {
        self.reference.as_deref().map(str::to_owned)
    }

    pub(crate) fn set_reference(&mut self, reference: Option<String>) {
        self.reference = reference.map(String::into_boxed_str);
    }

    /// What registration told; empty when nothing.
    pub(crate) fn told(&self) -> Told {
        self.told.as_deref().cloned().unwrap_or_default()
    }

    pub(crate) fn set_told(&mut self, told: Told) {
        self.told = (told != Told::default()).then(|| Box::new(told));
    }

    pub(crate) fn memories(&self) -> Memories {
        let extra = self.told.as_deref().map(|told| told.memories.clone()).unwrap_or_default();
        Memories { fetcher: Memory(self.fetcher.to_vec()), normalizer: Memory(self.normalizer.to_vec()), extra }
    }

    /// Whether nothing is remembered.
    pub(crate) fn remembers_nothing(&self) -> bool {
        self.normalizer.is_empty() && self.fetcher.is_empty()
    }

    pub(crate) fn set_memories(&mut self, memories: Memories) {
        self.fetcher = memories.fetcher.0.into_boxed_slice();
        self.normalizer = memories.normalizer.0.into_boxed_slice();
        if self.told.as_deref().map_or(!memories.extra.is_empty(), |told| told.memories != memories.extra) {
            self.set_told(Told { memories: memories.extra, ..self.told() });
        }
    }

    pub(crate) fn last_reading(&self) -> Option<JourneyMs> {
        present(self.last_reading)
    }

    pub(crate) fn set_last_reading(&mut self, at: Option<JourneyMs>) {
        self.last_reading = at.unwrap_or(JourneyMs::ZERO);
    }

    pub(crate) fn until(&self) -> Option<JourneyMs> {
        present(self.until)
    }

    pub(crate) fn set_until(&mut self, until: Option<JourneyMs>) {
        self.until = until.unwrap_or(JourneyMs::ZERO);
    }

    pub(crate) fn not_before(&self) -> WallMs {
        self.not_before
    }

    pub(crate) fn set_not_before(&mut self, not_before: Option<WallMs>) {
        self.not_before = not_before.unwrap_or(WallMs::ZERO);
    }
}
