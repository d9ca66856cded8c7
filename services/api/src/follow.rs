//! The task that follows `waybill.commands`, so that a number is known here from the moment any process accepted it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Interval, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use waybill_log::{LogError, ReadFrom, TopicPartition};
use waybill_runtime::Component;
use waybill_schemas::{
    command::{Command, CommandKind},
    topics::names,
};

use crate::{
    commands::key_of,
    pending::Ordered,
    server::{ApiError, Shared},
    shipments,
};

/// How often it is looked for new commands.
const EVERY: Duration = Duration::from_millis(500);

/// Turns. Those that a log or a store held up are not caught up on: after an hour's outage that would be thousands at once.
fn turns() -> Interval {
    let mut turns = interval(EVERY);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    turns
}

/// Follows every partition of `waybill.commands` from where the store stands.
pub(crate) async fn commands(
    shared: Arc<Shared>,
    component: Component,
    shutdown: CancellationToken,
) -> Result<(), ApiError> {
    let topic = shared.deps.topics.of(names::COMMANDS);
    let failed = |source: LogError| ApiError::Log { topic: topic.clone(), source };
    let mut next = vec![None; shared.deps.layout.partitions as usize];
    let mut turn = turns();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            _ = turn.tick() => {}
        }
        component.beat();
        // The store is asked only while there is something to wait for, or to know where to begin.
        let begins = next.iter().any(Option::is_none);
        let stored = if begins || !shared.pending(|pending| pending.is_empty()) {
            shipments::stored_commands(&shared).await.unwrap_or_default()
        } else {
            BTreeMap::new()
        };
        for (partition, offset) in &stored {
            shared.pending(|pending| pending.stored(*partition, *offset));
        }
        let mut trouble = None;
        // Together: where they end is asked of the broker once for all.
        let mut turns = JoinSet::new();
        for (partition, place) in (0u32..).zip(&next) {
            let at = TopicPartition::new(topic.as_str(), partition);
            let (shared, place, stored) = (Arc::clone(&shared), *place, stored.get(&partition).copied());
            turns.spawn(async move { (partition, follow_next(&shared, at, place, stored).await) });
        }
        while let Some(turn) = turns.join_next().await {
            let (partition, reached) = match turn {
                Ok(turn) => turn,
                Err(panicked) => {
                    trouble = Some(panicked.to_string());
                    continue;
                }
            };
            let Some(place) = next.get_mut(partition as usize) else { continue };
            match reached {
                Ok(reached) => *place = Some(reached),
                // Records that were removed by retention are no longer of interest here.
                Err(LogError::OutOfRange { first, .. }) => *place = Some(first),
                Err(error) if error.class() == waybill_log::ErrorClass::Retry => trouble = Some(error.to_string()),
                Err(error) => return Err(failed(error)),
            }
            component.beat();
        }
        // Not before everything ordered so far is known: a number that another process accepted is never 404 here.
        match trouble {
            None => component.ready(),
            Some(why) => component.not_ready(&why),
        }
    }
}

/// Reads a partition on from where it was read last; the first time from where the store stands.
async fn follow_next(
    shared: &Shared,
    at: TopicPartition,
    place: Option<u64>,
    stored: Option<u64>,
) -> Result<u64, LogError> {
    let from = match place {
        Some(from) => from,
        None => {
            let bounds = shared.deps.log.bounds(&at).await?;
            stored.unwrap_or(bounds.first).clamp(bounds.first, bounds.next)
        }
    };
    follow_one(shared, at, from).await
}

async fn follow_one(shared: &Shared, at: TopicPartition, mut from: u64) -> Result<u64, LogError> {
    let partition = at.partition;
    loop {
        let read =
            ReadFrom { at: at.clone(), offset: from, max_records: 1_000, max_bytes: 1 << 20, wait: Duration::ZERO };
        let batch = shared.deps.log.read(read).await?;
        for record in &batch.records {
            let command = record.value.as_ref().and_then(|value| serde_json::from_slice::<Command>(value).ok());
            // Between owners of numbers: nobody registered anything by them.
            let command = command.filter(|one| !matches!(one.kind, CommandKind::Probe | CommandKind::Probed));
            if let Some(command) = command {
                let at = record.append_time;
                let ordered = Ordered { partition, offset: record.offset, at, kind: command.kind };
                shared.pending(|pending| pending.ordered(key_of(&command), ordered));
            }
        }
        from = batch.next_offset;
        if batch.records.is_empty() || from >= batch.end {
            return Ok(from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn turns_that_were_held_up_are_not_caught_up_on() {
        let mut turns = turns();
        turns.tick().await;
        tokio::time::advance(EVERY * 7_200).await;
        turns.tick().await;
        assert!(tokio::time::timeout(EVERY / 2, turns.tick()).await.is_err(), "one is enough");
    }
}
