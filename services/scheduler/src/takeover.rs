//! Taking a partition over: claims, restore, and the backlog of outcomes. Nothing is scheduled before all of it is done.
//!
//! 1. Claim `schedule/p`, then `fetch-requests/p`. From the second claim on, nothing that a former owner still writes can
//!    be sent to a carrier.
//! 2. Read `schedule/p` to its end as of the second claim. Up to our claim the highest (epoch, offset) of each key counts,
//!    not the last. A claim behind ours means that somebody else is the newer owner: since everybody claims in this order,
//!    whoever passes here is the newest on both topics.
//! 3. Read `fetch-requests/p` from the recorded oldest open request to our claim, as a fetcher does: requests of a lower
//!    epoch than the claim before them were never sent. The others without an outcome are under way.
//! 4. Read `outcomes/p` from the recorded position to its end as of the claim.
//! 5. Write what a zombie overwrote, what the backlog changed, and a position of our own. Only then may anything be handed
//!    out: so whoever finds a request of ours also finds a position of ours, or a later owner's.

use std::collections::HashMap;

use waybill_log::{
    Bounds, ClaimError, Record, TopicPartition,
    claims::{self, ClaimTracker, Standing, StateRecord},
    records::NamedAttempt,
};
use waybill_schemas::{
    ShipmentKey,
    fetch::FetchRequest,
    schedule::{POSITION_KEY, Position},
};

use crate::{
    book::{Book, Now, restore},
    desk::{Context, Desk, Epochs, Found},
    error::End,
    tail::{read_range, within},
};

/// Claims a partition and builds its desk.
pub(crate) async fn take_over(
    context: Context,
    book: Book,
    member: &str,
    health: &waybill_runtime::Component,
) -> Result<Desk, End> {
    let places = context.places.clone();
    let schedule = claims::claim(context.log.as_ref(), &places.schedule, member).await?;
    let requests = claims::claim(context.log.as_ref(), &places.requests, member).await?;
    let epochs = Epochs { schedule, requests };

    let mut state = Restored { book, position: None, now: context.now(), health, taken: 0 };
    let apply = |record: StateRecord<'_>| state.take(&record);
    let _ = claims::restore(context.log.as_ref(), &places.schedule, schedule, None, apply).await?;
    let Restored { mut book, position, .. } = state;
    let behind = read_behind(&context, schedule).await?;
    health.beat();
    read_health(&context, &mut book).await?;

    let outcomes = bounds(&context, &places.outcomes).await?;
    let commands = bounds(&context, &places.commands).await?;
    let kept_requests = bounds(&context, &places.requests).await?;
    let position = match position {
        Some(position) => check_position(&context, position, outcomes, commands)?,
        None => Position { outcomes: outcomes.first, commands: commands.first, ..Position::default() },
    };

    let from = position.oldest_open_request.max(kept_requests.first);
    let (open, floors) = read_requests(&context, from, position.requests_floor, requests).await?;
    book.restore_open(open, &context.now());
    health.beat();

    let schedule_read = behind.iter().map(|record| record.offset + 1).max().unwrap_or(0).max(schedule + 1);
    let found = Found {
        epochs,
        floors,
        outcomes_next: position.outcomes,
        commands_next: position.commands,
        schedule_read,
        position_extra: position.extra,
    };
    let mut desk = Desk::new(context, book, found);
    for record in &behind {
        desk.overwritten(record)?;
    }
    read_outcomes(&mut desk, outcomes.next).await?;
    desk.settle().await?;
    Ok(desk)
}

async fn bounds(context: &Context, at: &TopicPartition) -> Result<Bounds, End> {
    Ok(within(context.deadline, context.log.bounds(at)).await?)
}

struct Restored<'a> {
    book: Book,
    position: Option<Position>,
    now: Now,
    health: &'a waybill_runtime::Component,
    taken: u64,
}

impl Restored<'_> {
    fn take(&mut self, state: &StateRecord<'_>) -> Result<(), String> {
        // A large partition takes its time: restoring is work, not standstill.
        self.taken += 1;
        if self.taken.is_multiple_of(10_000) {
            self.health.beat();
        }
        let key = state.key();
        let value = state.record.value.as_deref();
        if key == POSITION_KEY {
            self.position = value.map(serde_json::from_slice).transpose().map_err(|error| error.to_string())?;
            return Ok(());
        }
        let Some(shipment) = ShipmentKey::from_record_key(key) else {
            // Taken back, it says nothing of any number.
            return if value.is_none() { Ok(()) } else { Err("its key is no carrier and number".to_owned()) };
        };
        match value {
            None => self.book.restore_gone(&shipment),
            Some(bytes) => {
                let record = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
                self.book.restore(shipment, record, &self.now);
            }
        }
        Ok(())
    }
}

/// How adapters fitted their carriers when the last owner wrote it down. Records without a claim: what a zombie still
/// writes is counted anew with the next change of ours, and no promise hangs on it.
async fn read_health(context: &Context, book: &mut Book) -> Result<(), End> {
    let at = &context.places.carriers;
    let kept = bounds(context, at).await?;
    let mut last = HashMap::new();
    read_range(context.log.as_ref(), at, (kept.first, kept.next), context.deadline, |record| {
        if record.key_str().is_some_and(|key| key.ends_with("/scheduler")) {
            last.insert(record.key.clone(), record.value);
        }
        Ok(())
    })
    .await?;
    for value in last.into_values().flatten() {
        match serde_json::from_slice(&value) {
            Ok(record) => book.restore_health(record),
            Err(error) => tracing::warn!(%error, "scheduler.health_unreadable"),
        }
    }
    Ok(())
}

/// What stands behind our claim on the schedule by now.
async fn read_behind(context: &Context, claim: u64) -> Result<Vec<Record>, End> {
    let at = &context.places.schedule;
    let end = bounds(context, at).await?.next;
    let mut behind = Vec::new();
    read_range(context.log.as_ref(), at, (claim + 1, end), context.deadline, |record| {
        behind.push(record);
        Ok(())
    })
    .await?;
    Ok(behind)
}

impl From<ClaimError> for End {
    fn from(error: ClaimError) -> Self {
        match error {
            ClaimError::Log(error) => error.into(),
            ClaimError::Superseded { .. } => Self::Superseded,
            // Never passed over: a number whose record is skipped would be forgotten in silence (SCH-1).
            ClaimError::Unreadable { .. } => Self::Refused(format!(
                "{error}: run a version of waybill that can read it, or save that record and append another one of its key under \
                 the newest claim's epoch"
            )),
        }
    }
}

/// A position that is no longer kept means that inputs were lost: never passed over in silence.
fn check_position(context: &Context, position: Position, outcomes: Bounds, commands: Bounds) -> Result<Position, End> {
    let places = &context.places;
    for (at, wanted, kept) in
        [(&places.outcomes, position.outcomes, outcomes), (&places.commands, position.commands, commands)]
    {
        if !(kept.first..=kept.next).contains(&wanted) {
            return Err(End::Refused(format!(
                "{}/{} is to be read from offset {wanted} and only {} to {} are kept: restore the topic, or write a new \
                 {POSITION_KEY} record to {}",
                at.topic, at.partition, kept.first, kept.next, places.schedule.topic
            )));
        }
    }
    Ok(position)
}

/// The last request of each number that was not stale, and the claims seen.
async fn read_requests(
    context: &Context,
    from: u64,
    floor: u64,
    own_claim: u64,
) -> Result<(HashMap<ShipmentKey, restore::Found>, Vec<u64>), End> {
    let mut open = HashMap::new();
    let mut floors = vec![floor];
    let mut claims = ClaimTracker::starting_from(floor);
    let at = &context.places.requests;
    read_range(context.log.as_ref(), at, (from, own_claim), context.deadline, |record| {
        match claims.observe(&record) {
            Ok(Standing::Claim { epoch }) => {
                floors.push(epoch);
                return Ok(());
            }
            Ok(Standing::Late { .. }) => return Ok(()),
            Ok(Standing::Current { .. }) => {}
            Err(reason) => return Err(unreadable_request(at, &record, &reason)),
        }
        let bytes = record.value.as_deref().unwrap_or_default();
        match serde_json::from_slice::<FetchRequest>(bytes) {
            Ok(request) => {
                open.insert(request.key(), restore::Found::new(&request, record.offset, record.append_time));
            }
            // The fetcher answers it by the same key and headers, so it is under way like any other.
            Err(error) => match NamedAttempt::of(&record) {
                Some(named) => {
                    let found = restore::Found::named(named.attempt, record.offset, record.append_time);
                    open.insert(named.key, found);
                }
                None => return Err(unreadable_request(at, &record, &error)),
            },
        }
        Ok(())
    })
    .await?;
    floors.push(own_claim);
    Ok((open, floors))
}

fn unreadable_request(at: &TopicPartition, record: &Record, why: &dyn std::fmt::Display) -> End {
    End::Refused(format!(
        "the request at offset {} of {}/{} cannot be read, because {why}: run a version of waybill that can",
        record.offset, at.topic, at.partition
    ))
}

async fn read_outcomes(desk: &mut Desk, end: u64) -> Result<(), End> {
    let context = desk.context.clone();
    let from = desk.outcomes_next();
    let now = context.now();
    read_range(context.log.as_ref(), &context.places.outcomes, (from, end), context.deadline, |record| {
        desk.take_outcome(&record, &now);
        Ok(())
    })
    .await
}
