//! The rules of claims, without a log: records go in, in order, and each is judged.

use std::collections::HashMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use waybill_schemas::{headers, schedule::CLAIM_KEY};
use xxhash_rust::xxh3::xxh3_128;

use crate::seam::{Headers, NewRecord, Record, TopicPartition};

/// Value of [`headers::KIND`] on a claim.
pub const CLAIM: &str = "claim";

/// A claim's value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct ClaimValue {
    owner: String,
}

/// Something that nobody could have written under these rules: the partition must not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The epoch header is no decimal number.
    #[error("its epoch header is not a number")]
    Epoch,
    /// A record claims an epoch that had not begun.
    #[error("its epoch {0} had not begun when it was written")]
    FutureEpoch(u64),
    /// State without a key.
    #[error("it has no key")]
    NoKey,
    /// Whoever restores could not read the value.
    #[error("{0}")]
    Value(String),
}

/// The claim record of an owner.
pub(super) fn claim_record(at: &TopicPartition, owner: &str) -> NewRecord {
    let value = serde_json::json!(ClaimValue { owner: owner.to_owned() }).to_string();
    NewRecord {
        at: at.clone(),
        key: Some(Bytes::from_static(CLAIM_KEY.as_bytes())),
        value: Some(Bytes::from(value)),
        headers: vec![(headers::KIND.to_owned(), Bytes::from_static(CLAIM.as_bytes()))],
    }
}

/// Headers of a state record or request written under an epoch.
pub fn epoch_headers(epoch: u64) -> Headers {
    vec![(headers::EPOCH.to_owned(), Bytes::from(epoch.to_string()))]
}

/// Whether a record is a claim; its own offset is the epoch it begins.
pub fn is_claim(record: &Record) -> bool {
    record.header_str(headers::KIND) == Some(CLAIM)
}

/// Who a claim says it is from, if it is readable.
pub fn claim_owner(record: &Record) -> Option<String> {
    let value: ClaimValue = serde_json::from_slice(record.value.as_ref()?).ok()?;
    Some(value.owner)
}

/// Under which epoch a record was written; 0 without the header (commands of people, records from before claims).
///
/// # Errors
/// [`Unreadable::Epoch`].
pub fn epoch_of(record: &Record) -> Result<u64, Unreadable> {
    match record.header(headers::EPOCH) {
        None => Ok(0),
        Some(_) => {
            let text = record.header_str(headers::EPOCH).ok_or(Unreadable::Epoch)?;
            text.parse().map_err(|_| Unreadable::Epoch)
        }
    }
}

/// How a record stands among the claims before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Standing {
    /// A claim: its epoch begins.
    Claim {
        /// The claim's offset.
        epoch: u64,
    },
    /// Written by the owner of its time.
    Current {
        /// The writer's epoch.
        epoch: u64,
    },
    /// Written behind a higher claim, by an owner that did not know that it had been replaced.
    Late {
        /// The writer's epoch.
        epoch: u64,
        /// The highest epoch that had begun.
        highest: u64,
    },
}

/// Follows a partition's claims: the highest epoch seen so far. For a fetcher, requests that are [`Standing::Late`] must
/// be answered as expired.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClaimTracker {
    highest: u64,
}

impl ClaimTracker {
    /// A tracker that knows of claims up to `highest`; 0 when none is known.
    pub const fn starting_from(highest: u64) -> Self {
        Self { highest }
    }

    /// The highest epoch seen; small enough for a commit's metadata.
    pub const fn highest(&self) -> u64 {
        self.highest
    }

    /// Judges the next record of the partition.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn observe(&mut self, record: &Record) -> Result<Standing, Unreadable> {
        if is_claim(record) {
            self.highest = self.highest.max(record.offset);
            return Ok(Standing::Claim { epoch: record.offset });
        }
        let epoch = epoch_of(record)?;
        if epoch >= record.offset && epoch > 0 {
            return Err(Unreadable::FutureEpoch(epoch));
        }
        if epoch < self.highest {
            return Ok(Standing::Late { epoch, highest: self.highest });
        }
        // Compaction may have taken the claim itself away.
        self.highest = epoch;
        Ok(Standing::Current { epoch })
    }
}

/// A record's rank among those of its key: what an owner of its time wrote beats anything late, then epoch, then offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    in_time: bool,
    epoch: u64,
    offset: u64,
}

/// Chooses, record by record, what a restore keeps (SCH-2).
#[derive(Debug, Default)]
pub struct Restore {
    claims: ClaimTracker,
    ranks: HashMap<u128, Rank>,
}

/// What a restore does with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// It is the state of its key now, replacing what was applied before.
    Apply {
        /// The writer's epoch.
        epoch: u64,
    },
    /// Something of a higher rank stands.
    Ignore,
    /// It is a claim.
    Claim {
        /// Its epoch.
        epoch: u64,
    },
}

impl Restore {
    /// Judges the next record.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn observe(&mut self, record: &Record) -> Result<Verdict, Unreadable> {
        let rank = match self.claims.observe(record)? {
            Standing::Claim { epoch } => return Ok(Verdict::Claim { epoch }),
            Standing::Current { epoch } => Rank { in_time: true, epoch, offset: record.offset },
            Standing::Late { epoch, .. } => Rank { in_time: false, epoch, offset: record.offset },
        };
        let key = xxh3_128(record.key.as_ref().ok_or(Unreadable::NoKey)?);
        match self.ranks.get(&key) {
            Some(standing) if *standing > rank => Ok(Verdict::Ignore),
            _ => {
                self.ranks.insert(key, rank);
                Ok(Verdict::Apply { epoch: rank.epoch })
            }
        }
    }
}

/// What an owner must do about what it reads behind its own claim.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Observed {
    /// A lower epoch wrote this key: write the key's present state again (a tombstone where there is none).
    Overwritten {
        /// Which key.
        key: Bytes,
        /// The writer's epoch.
        epoch: u64,
        /// Where it wrote.
        offset: u64,
    },
    /// Somebody claimed the partition: stop.
    Superseded {
        /// The higher epoch.
        epoch: u64,
        /// Who, if it says so.
        owner: Option<String>,
    },
}

/// Judges a record that the owner of `epoch` reads behind its own claim; `None` for its own records.
///
/// # Errors
/// [`Unreadable`].
pub fn observe_as_owner(epoch: u64, record: &Record) -> Result<Option<Observed>, Unreadable> {
    if is_claim(record) {
        let superseded = Observed::Superseded { epoch: record.offset, owner: claim_owner(record) };
        return Ok((record.offset > epoch).then_some(superseded));
    }
    let written = epoch_of(record)?;
    if written > epoch {
        // Its claim has been compacted away already.
        return Ok(Some(Observed::Superseded { epoch: written, owner: None }));
    }
    if written == epoch {
        return Ok(None);
    }
    let key = record.key.clone().ok_or(Unreadable::NoKey)?;
    Ok(Some(Observed::Overwritten { key, epoch: written, offset: record.offset }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use waybill_schemas::WallMs;

    use super::*;

    /// One append: which owner, and what.
    #[derive(Debug, Clone)]
    enum Act {
        Claim(usize),
        Write { owner: usize, key: u8, value: Option<u8> },
    }

    fn any_act() -> impl Strategy<Value = Act> {
        prop_oneof![
            1 => (0_usize..2).prop_map(Act::Claim),
            6 => (0_usize..2, 0_u8..5, proptest::option::of(any::<u8>()))
                .prop_map(|(owner, key, value)| Act::Write { owner, key, value }),
        ]
    }

    fn record(offset: u64, key: &[u8], value: Option<u8>, headers: Headers) -> Record {
        Record {
            offset,
            append_time: WallMs::new(1),
            key: Some(Bytes::copy_from_slice(key)),
            value: value.map(|value| Bytes::copy_from_slice(&[value])),
            headers,
        }
    }

    /// Plays acts into records, and what the owners of their time wrote into a map.
    fn play(acts: &[Act]) -> (Vec<Record>, BTreeMap<u8, u8>) {
        // Offset 0 is taken, so that no claim has the epoch that stands for none.
        let (mut epochs, mut highest) = ([0_u64; 2], 0);
        let (mut records, mut truth) = (Vec::new(), BTreeMap::new());
        for (index, act) in acts.iter().enumerate() {
            let offset = index as u64 + 1;
            match act {
                Act::Claim(owner) => {
                    epochs[*owner] = offset;
                    highest = offset;
                    let kind = (headers::KIND.to_owned(), Bytes::from_static(CLAIM.as_bytes()));
                    records.push(record(offset, CLAIM_KEY.as_bytes(), Some(0), vec![kind]));
                }
                Act::Write { owner, key, value } => {
                    records.push(record(offset, &[*key], *value, epoch_headers(epochs[*owner])));
                    if epochs[*owner] == highest {
                        match value {
                            Some(value) => drop(truth.insert(*key, *value)),
                            None => drop(truth.remove(key)),
                        }
                    }
                }
            }
        }
        (records, truth)
    }

    fn restore(records: &[Record]) -> BTreeMap<u8, Option<u8>> {
        let mut core = Restore::default();
        let mut map = BTreeMap::new();
        for record in records {
            if let Verdict::Apply { .. } = core.observe(record).unwrap() {
                map.insert(record.key.as_ref().unwrap()[0], record.value.as_ref().map(|value| value[0]));
            }
        }
        map
    }

    proptest! {
        #[test]
        fn sch_2_whatever_a_zombie_writes_the_restored_state_is_that_of_the_owners_of_their_time(
            acts in proptest::collection::vec(any_act(), 0..80)
        ) {
            let (records, truth) = play(&acts);
            let restored = restore(&records);
            // Keys that nobody wrote in time are kept as they are: nothing better is known of them.
            let in_time: std::collections::BTreeSet<u8> = {
                let mut claims = ClaimTracker::default();
                records.iter().filter_map(|record| match claims.observe(record).unwrap() {
                    Standing::Current { .. } => Some(record.key.as_ref().unwrap()[0]),
                    _ => None,
                }).collect()
            };
            for key in 0..5 {
                if in_time.contains(&key) {
                    prop_assert_eq!(restored.get(&key).copied().flatten(), truth.get(&key).copied());
                }
            }
        }

        #[test]
        fn sch_2_once_the_owner_has_rewritten_what_it_saw_overwritten_even_the_last_record_is_right(
            acts in proptest::collection::vec(any_act(), 0..80)
        ) {
            let (mut records, truth) = play(&acts);
            let Some(epoch) = records.iter().filter(|record| is_claim(record)).map(|record| record.offset).max() else {
                return Ok(());
            };
            let behind: Vec<Record> = records.iter().filter(|record| record.offset > epoch).cloned().collect();
            for seen in behind {
                if let Some(Observed::Overwritten { key, .. }) = observe_as_owner(epoch, &seen).unwrap() {
                    let offset = records.len() as u64 + 1;
                    records.push(record(offset, &key, truth.get(&key[0]).copied(), epoch_headers(epoch)));
                }
            }
            // What compaction leaves of keys touched behind the claim: the last record of each.
            for key in 0..5_u8 {
                let last = records.iter().rev().find(|record| record.key.as_ref().unwrap()[..] == [key]);
                if let Some(last) = last.filter(|last| last.offset > epoch) {
                    prop_assert_eq!(last.value.as_ref().map(|value| value[0]), truth.get(&key).copied());
                }
            }
        }
    }

    #[test]
    fn a_higher_claim_or_epoch_ends_an_ownership() {
        let claim =
            record(9, CLAIM_KEY.as_bytes(), None, vec![(headers::KIND.to_owned(), Bytes::from_static(b"claim"))]);
        assert_eq!(observe_as_owner(4, &claim).unwrap(), Some(Observed::Superseded { epoch: 9, owner: None }));
        assert_eq!(observe_as_owner(9, &claim).unwrap(), None);
        let later = record(12, b"k", None, epoch_headers(9));
        assert!(matches!(observe_as_owner(4, &later).unwrap(), Some(Observed::Superseded { epoch: 9, .. })));
    }

    #[test]
    fn what_nobody_could_have_written_is_refused() {
        let mut claims = ClaimTracker::default();
        assert_eq!(claims.observe(&record(3, b"k", None, epoch_headers(7))), Err(Unreadable::FutureEpoch(7)));
        let text = vec![(headers::EPOCH.to_owned(), Bytes::from_static(b"seven"))];
        assert_eq!(claims.observe(&record(3, b"k", None, text)), Err(Unreadable::Epoch));
    }
}
