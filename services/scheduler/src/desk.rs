//! One partition at work: the book, the epochs it writes under, and what of it is durable.
//!
//! Order of writes, on which everything after a crash rests:
//! 1. **State before requests.** A number's record is acknowledged before a request made from it is written, so a request
//!    that is found always has its record.
//! 2. **Position after state.** A position is written only once every record that contains its inputs is acknowledged: it
//!    rides with the *next* write. So a position that is read back is never newer than the state beside it, whichever
//!    records of a call a crash has kept; an older one is harmless, because outcomes name their attempts and commands
//!    their offsets. Proof by acknowledgement alone; no call needs to be atomic.
//! 3. **Commit after position** (LOG-1): the group's offset is that of a position that is acknowledged.
//! 4. A write that was not clearly acknowledged ends the epoch. The next claim settles it: what arrives behind it under
//!    the old epoch is void in the state topic and answered `expired` by the fetcher.

mod intake;

use std::time::Duration;

use tokio::time::Instant;
use waybill_log::{
    Appended, DeadLetters, NewRecord, Record, SharedLog,
    claims::{Observed, observe_as_owner},
    records,
};
use waybill_runtime::{
    Clocks, PoisonWatch,
    trace::{self, Sender},
};
use waybill_schemas::{
    WallMs,
    layout::Layout,
    schedule::{POSITION_KEY, Position},
};

use crate::{
    book::{Book, Now, dispatch::Handout},
    codec::{self, Places},
    error::End,
    tail::{Tail, within},
    traces::Traces,
};

/// Most records in one call to the log.
const CHUNK: usize = 500;

/// What a partition is worked with.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) log: SharedLog,
    pub(crate) clocks: Clocks,
    pub(crate) layout: Layout,
    pub(crate) places: Places,
    pub(crate) dead_letters: DeadLetters,
    pub(crate) poison: PoisonWatch,
    pub(crate) partition: u32,
    pub(crate) deadline: Duration,
    /// Seconds are counted from here in all partitions of a process: they keep house at the same time, and what they ask of
    /// the broker is asked together.
    pub(crate) joined: Instant,
}

impl Context {
    pub(crate) fn now(&self) -> Now {
        Now::at(self.clocks.wall(), self.clocks.scale())
    }

    /// Appends and waits for every acknowledgement.
    pub(crate) async fn produce(&self, records: Vec<NewRecord>) -> Result<Vec<Appended>, End> {
        let wanted = records.len();
        let appended = within(self.deadline, records::produce_all(self.log.as_ref(), records)).await?;
        if appended.len() == wanted {
            Ok(appended)
        } else {
            let text = format!("{} of {wanted} records were acknowledged", appended.len());
            Err(End::Uncertain(waybill_log::LogError::Unavailable(text)))
        }
    }
}

/// Counts since the last time they were taken.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) applied: u64,
    pub(crate) ignored: u64,
    pub(crate) ordered: u64,
    pub(crate) refused: u64,
    pub(crate) handed_out: u64,
    pub(crate) rewritten: u64,
    pub(crate) reopened: u64,
}

/// See the module.
pub(crate) struct Desk {
    pub(crate) context: Context,
    pub(crate) book: Book,
    pub(crate) counts: Counts,
    epochs: Epochs,
    schedule_tail: Tail,
    requests_tail: Tail,
    /// Claims on requests at or after the oldest open request, and the one before; ours is the last.
    floors: Vec<u64>,
    /// After the last request of ours that was acknowledged, or after our claim.
    requests_next: u64,
    outcomes_next: u64,
    commands_next: u64,
    /// Contained in acknowledged records.
    durable: Option<Position>,
    /// In an acknowledged position record.
    written: Option<Position>,
    position_extra: serde_json::Map<String, serde_json::Value>,
    dead: Vec<NewRecord>,
    traces: Traces,
}

/// The epochs of one owner.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Epochs {
    pub(crate) schedule: u64,
    pub(crate) requests: u64,
}

/// What a new owner found.
pub(crate) struct Found {
    pub(crate) epochs: Epochs,
    pub(crate) floors: Vec<u64>,
    pub(crate) outcomes_next: u64,
    pub(crate) commands_next: u64,
    /// Offset after the last record of `schedule` that was read.
    pub(crate) schedule_read: u64,
    /// Fields of a later version in the position.
    pub(crate) position_extra: serde_json::Map<String, serde_json::Value>,
}

impl Desk {
    pub(crate) fn new(context: Context, book: Book, found: Found) -> Self {
        let Found { epochs, floors, outcomes_next, commands_next, schedule_read, position_extra } = found;
        Self {
            schedule_tail: Tail::new(context.places.schedule.clone(), schedule_read),
            requests_tail: Tail::new(context.places.requests.clone(), epochs.requests + 1),
            context,
            book,
            counts: Counts::default(),
            requests_next: epochs.requests + 1,
            epochs,
            floors,
            outcomes_next,
            commands_next,
            durable: None,
            written: None,
            position_extra,
            dead: Vec::new(),
            traces: Traces::default(),
        }
    }

    /// Where outcomes are read next.
    pub(crate) fn outcomes_next(&self) -> u64 {
        self.outcomes_next
    }

    /// Where commands are read next.
    pub(crate) fn commands_next(&self) -> u64 {
        self.commands_next
    }

    /// How far the group may commit: outcomes before it are contained in an acknowledged position.
    pub(crate) fn committable(&self) -> Option<u64> {
        self.written.as_ref().map(|position| position.outcomes)
    }

    /// Whether a position waits to be written.
    pub(crate) fn position_waits(&self) -> bool {
        self.durable != self.written
    }

    /// Writes what has changed, and the position of what was durable before.
    pub(crate) async fn flush(&mut self, position: WritePosition) -> Result<(), End> {
        // What has tripped it is not passed over: otherwise each life turns a little more of a topic into dead letters.
        if let Some(why) = self.context.poison.must_stop() {
            return Err(End::Poison(why));
        }
        let reached = Position {
            outcomes: self.outcomes_next,
            commands: self.commands_next,
            oldest_open_request: self.oldest_open(),
            requests_floor: self.floor(),
            extra: self.position_extra.clone(),
        };
        // Before the state that follows from them: a crash in between repeats them, and loses none.
        for chunk in self.book.take_outbox().chunks(CHUNK) {
            let commands =
                chunk.iter().map(|command| codec::command(&self.context.places, &self.context.layout, command));
            self.context.produce(commands.collect()).await?;
        }
        let changes = self.book.take_changes();
        let mut records = std::mem::take(&mut self.dead);
        let schedule = |(key, record): &(String, Option<_>)| {
            codec::schedule(&self.context.places, key, record.as_ref(), self.epochs.schedule)
        };
        records.extend(changes.iter().map(schedule));
        let waits = self.position_waits() && (!records.is_empty() || position == WritePosition::Now);
        let riding = self.durable.clone().filter(|_| waits);
        let position = |durable: &Position| codec::position(&self.context.places, durable, self.epochs.schedule);
        records.extend(riding.as_ref().map(position));
        while !records.is_empty() {
            let rest = records.split_off(records.len().min(CHUNK));
            self.write_state(std::mem::replace(&mut records, rest)).await?;
        }
        self.written = riding.or(self.written.take());
        self.durable = Some(reached);
        Ok(())
    }

    /// Writes everything and the position of it.
    pub(crate) async fn settle(&mut self) -> Result<(), End> {
        self.flush(WritePosition::WithState).await?;
        if self.position_waits() {
            self.flush(WritePosition::Now).await?;
        }
        Ok(())
    }

    async fn write_state(&mut self, records: Vec<NewRecord>) -> Result<(), End> {
        let ours: Vec<bool> = records.iter().map(|record| record.at == self.context.places.schedule).collect();
        let appended = self.context.produce(records).await?;
        for (answer, _) in appended.iter().zip(ours).filter(|(_, ours)| *ours) {
            self.schedule_tail.own(answer.offset);
        }
        Ok(())
    }

    fn oldest_open(&self) -> u64 {
        self.book.oldest_open().map_or(self.requests_next, |(offset, _)| offset)
    }

    /// The claim in force at the oldest open request.
    fn floor(&mut self) -> u64 {
        let oldest = self.oldest_open();
        let before = self.floors.partition_point(|claim| *claim <= oldest);
        self.floors.drain(..before.saturating_sub(1));
        self.floors.first().copied().filter(|claim| *claim <= oldest).unwrap_or(0)
    }

    /// Hands out what is due. Flush before: requests are written from durable state only.
    pub(crate) async fn hand_out(&mut self, now: &Now, most: usize) -> Result<usize, End> {
        let handouts: Vec<Handout> = self.book.dispatch(now, most);
        let mut handed_out = 0;
        for chunk in handouts.chunks(CHUNK) {
            let mut sending = Vec::with_capacity(chunk.len());
            let mut records = Vec::with_capacity(chunk.len());
            for handout in chunk {
                let mut record = codec::request(&self.context.places, &handout.request, self.epochs.requests);
                let parent = self.traces.take(&handout.request.key());
                let span = trace::send(&record.at.topic, 1, Sender::Context(parent));
                record.headers.extend(trace::header(trace::forward(&span, parent)));
                sending.push(span);
                records.push(record);
            }
            let appended = self.context.produce(records).await?;
            drop(sending);
            for (handout, answer) in chunk.iter().zip(appended) {
                self.requests_tail.own(answer.offset);
                self.requests_next = self.requests_next.max(answer.offset + 1);
                self.book.opened(handout, answer.offset, now.wall);
            }
            handed_out += chunk.len();
        }
        self.counts.handed_out += handed_out as u64;
        Ok(handed_out)
    }

    /// Whether so much was written that [`Self::watch`] should not wait for its second.
    pub(crate) fn watch_is_pressing(&self) -> bool {
        self.schedule_tail.is_pressing() || self.requests_tail.is_pressing()
    }

    /// Looks at what others wrote: ends at a higher claim, and writes again what a lower epoch overwrote (SCH-2).
    pub(crate) async fn watch(&mut self) -> Result<(), End> {
        let (log, deadline) = (self.context.log.clone(), self.context.deadline);
        let (requests, schedule) = tokio::join!(
            self.requests_tail.foreign(log.as_ref(), deadline),
            self.schedule_tail.foreign(log.as_ref(), deadline)
        );
        for record in requests? {
            if let Ok(Some(Observed::Superseded { .. })) = observe_as_owner(self.epochs.requests, &record) {
                return Err(End::Superseded);
            }
        }
        for record in schedule? {
            self.overwritten(&record)?;
        }
        Ok(())
    }

    /// A record that stands behind our claim and is not ours.
    pub(crate) fn overwritten(&mut self, record: &Record) -> Result<(), End> {
        let places = &self.context.places.schedule;
        let observed = observe_as_owner(self.epochs.schedule, record).map_err(|reason| {
            let (topic, partition, offset) = (&places.topic, places.partition, record.offset);
            End::Refused(format!(
                "the record at offset {offset} of {topic}/{partition} cannot be read, because {reason}"
            ))
        })?;
        match observed {
            None => {}
            Some(Observed::Superseded { .. }) => return Err(End::Superseded),
            Some(Observed::Overwritten { key, .. }) => {
                self.counts.rewritten += 1;
                match std::str::from_utf8(&key) {
                    Ok(POSITION_KEY) => self.written = None,
                    Ok(key) => self.book.rewrite(key),
                    Err(_) => {}
                }
            }
        }
        Ok(())
    }

    /// Since when the oldest attempt is under way.
    pub(crate) fn oldest_open_since(&self) -> Option<WallMs> {
        self.book.oldest_open().map(|(_, since)| since)
    }
}

/// When the durable position is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WritePosition {
    /// With the next state that is written anyway.
    WithState,
    /// Now, if it is not yet.
    Now,
}
