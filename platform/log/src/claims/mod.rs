//! Claims keep zombies out (DESIGN §4.4): who may write a partition's state, without locks and transactions.
//!
//! A new owner appends a *claim*; the claim's offset is its *epoch*. Everything it writes to that partition afterwards
//! carries the epoch as a header ([`epoch_headers`]). Order, for an owner:
//! 1. [`claim`] the partition. 2. [`restore`] up to its own claim: the boot gate, nothing is sent before it returns.
//! 3. while it owns the partition, [`Watch::next`]: write again what a lower epoch overwrote, stop when superseded.
//!
//! A restore keeps for each key the record that an owner of its time wrote last. A record behind a higher claim is late:
//! it counts only where nothing else is known of its key, so neither its epoch nor its place lets a zombie win (SCH-2).
//! Each partition has epochs of its own: they are offsets of that partition and are never compared across partitions.

mod core;

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use tokio::time::timeout;

pub use self::core::{
    CLAIM, ClaimTracker, Observed, Restore, Standing, Unreadable, Verdict, claim_owner, epoch_headers, epoch_of,
    is_claim, observe_as_owner,
};
use crate::seam::{Batch, Log, LogError, ReadFrom, Record, TopicPartition};

/// Most records of one read.
const STEP: usize = 2_000;
/// Most keys whose unreadable record may still be replaced by a later one.
const MOST_BROKEN: usize = 1_000;
/// Most bytes of one read.
const STEP_BYTES: usize = 4 * 1024 * 1024;
/// Longest wait for a log that should answer at once.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why a partition cannot be owned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// The log did not do what was asked.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A record cannot be read: working on would lose what it says.
    #[error("{topic}/{partition} cannot be restored: the record at offset {offset} is unreadable: {reason}")]
    Unreadable {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// The record.
        offset: u64,
        /// What is wrong with it.
        reason: Unreadable,
    },
    /// Another owner claimed the partition meanwhile.
    #[error("{topic}/{partition} was claimed by another owner while it was being restored")]
    Superseded {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
    },
}

fn unreadable(at: &TopicPartition, record: &Record, reason: Unreadable) -> ClaimError {
    ClaimError::Unreadable { topic: at.topic.to_string(), partition: at.partition, offset: record.offset, reason }
}

async fn read(log: &dyn Log, at: &TopicPartition, offset: u64, wait: Duration) -> Result<Batch, LogError> {
    let from = ReadFrom { at: at.clone(), offset, max_records: STEP, max_bytes: STEP_BYTES, wait };
    timeout(wait.saturating_add(PATIENCE), log.read(from))
        .await
        .unwrap_or_else(|_| Err(LogError::Unavailable(format!("reading {}/{} takes too long", at.topic, at.partition))))
}

/// Claims a partition for `owner`; answers the epoch. A failed call may have claimed all the same: the next call's claim
/// is higher and settles it.
///
/// # Errors
/// Whatever producing says.
pub async fn claim(log: &dyn Log, at: &TopicPartition, owner: &str) -> Result<u64, ClaimError> {
    loop {
        let mut answers = timeout(PATIENCE, log.produce(vec![core::claim_record(at, owner)]))
            .await
            .map_err(|_| LogError::Unavailable(format!("claiming {}/{} takes too long", at.topic, at.partition)))?;
        let appended = answers.pop().unwrap_or(Err(LogError::Closed))?;
        // Epoch 0 stands for "no epoch": on an empty partition the claim is made once more.
        if appended.offset > 0 {
            return Ok(appended.offset);
        }
    }
}

/// A record that a restore applies.
#[derive(Debug, Clone, Copy)]
pub struct StateRecord<'a> {
    /// The record.
    pub record: &'a Record,
    /// Under which epoch it was written.
    pub epoch: u64,
}

impl StateRecord<'_> {
    /// The key as text; empty when it is no UTF-8.
    pub fn key(&self) -> &str {
        self.record.key_str().unwrap_or_default()
    }
}

/// What a restore did, and where watching goes on.
#[derive(Debug)]
#[must_use]
pub struct Restored {
    /// Records read, claims included.
    pub read: u64,
    /// Records applied; a key may have been applied several times.
    pub applied: u64,
    /// Watches the partition from behind the own claim.
    pub watch: Watch,
}

/// Reads a partition's state up to the own claim `epoch`, from `from` on (`None`: from the first kept record).
///
/// `apply` is called with each record that becomes the state of its key, replacing what was applied for that key before;
/// a value of `None` removes the key. An error from it refuses the partition, unless a later record of that key is applied.
///
/// # Errors
/// [`ClaimError::Unreadable`] when a record cannot be understood, [`ClaimError::Superseded`] when the own claim is gone,
/// and what reading says.
pub async fn restore(
    log: &dyn Log,
    at: &TopicPartition,
    epoch: u64,
    from: Option<u64>,
    mut apply: impl FnMut(StateRecord<'_>) -> Result<(), String> + Send,
) -> Result<Restored, ClaimError> {
    let mut position = match from {
        Some(offset) => offset,
        None => log.bounds(at).await?.first,
    };
    let mut core = Restore::default();
    let (mut read_count, mut applied, mut own_seen) = (0, 0, false);
    // By key, what its last applied record could not be read for: what has been replaced since is nobody's state.
    let mut broken: BTreeMap<Option<Bytes>, (u64, ClaimError)> = BTreeMap::new();
    while position <= epoch {
        let batch = read(log, at, position, Duration::ZERO).await?;
        if batch.records.is_empty() && batch.next_offset <= position {
            let missing = format!("{}/{} ends at {position}, before the claim at {epoch}", at.topic, at.partition);
            return Err(ClaimError::Log(LogError::Unavailable(missing)));
        }
        for record in batch.records.iter().take_while(|record| record.offset <= epoch) {
            read_count += 1;
            match core.observe(record).map_err(|reason| unreadable(at, record, reason))? {
                Verdict::Claim { epoch: claimed } => own_seen |= claimed == epoch,
                Verdict::Ignore => {}
                Verdict::Apply { epoch } => {
                    applied += 1;
                    match apply(StateRecord { record, epoch }) {
                        Ok(()) if broken.is_empty() => {}
                        Ok(()) => drop(broken.remove(&record.key)),
                        // As many as this are no slip: nothing replaces them all.
                        Err(reason) if broken.len() >= MOST_BROKEN => {
                            return Err(unreadable(at, record, Unreadable::Value(reason)));
                        }
                        Err(reason) => {
                            let why = unreadable(at, record, Unreadable::Value(reason));
                            broken.insert(record.key.clone(), (record.offset, why));
                        }
                    }
                }
            }
        }
        position = batch.next_offset;
    }
    if !own_seen {
        // Only a newer claim lets compaction take ours away.
        return Err(ClaimError::Superseded { topic: at.topic.to_string(), partition: at.partition });
    }
    if let Some((_, why)) = broken.into_values().min_by_key(|(offset, _)| *offset) {
        return Err(why);
    }
    let watch = Watch { at: at.clone(), epoch, next_offset: epoch + 1 };
    Ok(Restored { read: read_count, applied, watch })
}

/// An owner's look at what is written behind its claim.
#[derive(Debug)]
pub struct Watch {
    at: TopicPartition,
    epoch: u64,
    next_offset: u64,
}

impl Watch {
    /// The own epoch.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The partition.
    pub fn at(&self) -> &TopicPartition {
        &self.at
    }

    /// Where it reads next.
    pub fn next_offset(&self) -> u64 {
        self.next_offset
    }

    /// Reads on, waiting up to `wait` for something new; answers what the owner must do, in order. After
    /// [`Observed::Superseded`] nothing follows: the partition is somebody else's. Cancel-safe.
    ///
    /// # Errors
    /// [`ClaimError::Unreadable`], and what reading says.
    pub async fn next(&mut self, log: &dyn Log, wait: Duration) -> Result<Vec<Observed>, ClaimError> {
        let batch = read(log, &self.at, self.next_offset, wait).await?;
        let mut found = Vec::new();
        for record in &batch.records {
            let observed =
                observe_as_owner(self.epoch, record).map_err(|reason| unreadable(&self.at, record, reason))?;
            let superseded = matches!(observed, Some(Observed::Superseded { .. }));
            found.extend(observed);
            if superseded {
                break;
            }
        }
        self.next_offset = batch.next_offset;
        Ok(found)
    }
}

/// The last claim before an offset, read backwards; 0 when none is kept. Where a reader starts that must know which
/// requests stand behind a higher claim (see [`ClaimTracker`]).
///
/// # Errors
/// What reading says.
pub async fn last_claim_before(log: &dyn Log, at: &TopicPartition, offset: u64) -> Result<u64, ClaimError> {
    let first = log.bounds(at).await?.first;
    let mut end = offset;
    let mut step = 256;
    while end > first {
        let start = end.saturating_sub(step).max(first);
        let (mut position, mut found) = (start, 0);
        while position < end {
            let batch = read(log, at, position, Duration::ZERO).await?;
            if batch.next_offset <= position {
                break;
            }
            let before = batch.records.iter().take_while(|record| record.offset < end);
            found = before.filter(|record| is_claim(record)).map(|record| record.offset).max().unwrap_or(found);
            position = batch.next_offset;
        }
        if found > 0 {
            return Ok(found);
        }
        end = start;
        step *= 2;
    }
    Ok(0)
}
