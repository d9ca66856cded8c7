//! How records, commits and topics lie on disk.
//!
//! A record's key is topic, partition, offset, big-endian, so that a partition's records are neighbours in order. Its
//! value ends in a checksum over key and value: a record is what was written at this very place, or it is damaged.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use waybill_schemas::{WallMs, topics::Cleanup};
use xxhash_rust::xxh3::Xxh3;

use crate::seam::{Bounds, Commit, NewTopic, Record};

const FORMAT: u8 = 1;
const HAS_KEY: u8 = 1;
const HAS_VALUE: u8 = 2;

/// Place of a record.
pub(super) fn record_key(topic: u32, partition: u32, offset: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..4].copy_from_slice(&topic.to_be_bytes());
    key[4..8].copy_from_slice(&partition.to_be_bytes());
    key[8..].copy_from_slice(&offset.to_be_bytes());
    key
}

/// Offset in a record's key.
pub(super) fn offset_of(key: &[u8]) -> Option<u64> {
    key.get(8..16)?.try_into().ok().map(u64::from_be_bytes)
}

fn checksum(key: &[u8], body: &[u8]) -> u64 {
    let mut hasher = Xxh3::new();
    hasher.update(key);
    hasher.update(body);
    hasher.digest()
}

/// A record as it is written under its key.
pub(super) fn encode_record(key: &[u8; 16], record: &Record) -> Vec<u8> {
    let payload = record.key.as_ref().map_or(0, Bytes::len) + record.value.as_ref().map_or(0, Bytes::len);
    let mut out = Vec::with_capacity(payload + 64 + 64 * record.headers.len());
    out.push(FORMAT);
    out.push(if record.key.is_some() { HAS_KEY } else { 0 } | if record.value.is_some() { HAS_VALUE } else { 0 });
    out.extend(record.append_time.ms().to_le_bytes());
    put(&mut out, record.key.as_deref().unwrap_or_default());
    out.extend((record.headers.len() as u32).to_le_bytes());
    for (name, value) in &record.headers {
        put(&mut out, name.as_bytes());
        put(&mut out, value);
    }
    put(&mut out, record.value.as_deref().unwrap_or_default());
    let sum = checksum(key, &out);
    out.extend(sum.to_le_bytes());
    out
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u32).to_le_bytes());
    out.extend(bytes);
}

/// Reads a record back; `None` when it is not what was written there.
pub(super) fn decode_record(key: &[u8], stored: &[u8]) -> Option<Record> {
    let (body, sum) = stored.split_at_checked(stored.len().checked_sub(8)?)?;
    if checksum(key, body).to_le_bytes() != sum {
        return None;
    }
    let offset = offset_of(key)?;
    // One allocation for all parts; keys, values and headers are views into it.
    let mut cursor = Cursor { bytes: Bytes::copy_from_slice(body) };
    let [format, flags] = cursor.array()?;
    if format != FORMAT {
        return None;
    }
    let append_time = WallMs::new(i64::from_le_bytes(cursor.array()?));
    let record_key = cursor.piece()?;
    let count = u32::from_le_bytes(cursor.array()?);
    let mut headers = Vec::with_capacity(count.min(64) as usize);
    for _ in 0..count {
        let name = String::from_utf8(cursor.piece()?.to_vec()).ok()?;
        headers.push((name, cursor.piece()?));
    }
    let value = cursor.piece()?;
    Some(Record {
        offset,
        append_time,
        key: (flags & HAS_KEY != 0).then_some(record_key),
        value: (flags & HAS_VALUE != 0).then_some(value),
        headers,
    })
}

struct Cursor {
    bytes: Bytes,
}

impl Cursor {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let found = self.bytes.get(..N)?.try_into().ok()?;
        self.bytes = self.bytes.slice(N..);
        Some(found)
    }

    fn piece(&mut self) -> Option<Bytes> {
        let length = u32::from_le_bytes(self.array()?) as usize;
        if length > self.bytes.len() {
            return None;
        }
        Some(self.bytes.split_to(length))
    }
}

/// Key of the count of write batches.
pub(super) const SEQUENCE: &[u8] = b"sequence";

/// First byte of topics' keys.
pub(super) const TOPICS: u8 = b't';
/// First byte of bounds' keys.
pub(super) const BOUNDS: u8 = b'b';
/// First byte of commits' keys.
pub(super) const COMMITS: u8 = b'c';

/// A topic as stored.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredTopic {
    pub(super) id: u32,
    partitions: u32,
    cleanup: Cleanup,
    retention_ms: u64,
    min_compaction_lag_ms: u64,
}

impl StoredTopic {
    pub(super) fn new(id: u32, spec: &NewTopic) -> Self {
        Self {
            id,
            partitions: spec.partitions,
            cleanup: spec.cleanup,
            retention_ms: u64::try_from(spec.retention.as_millis()).unwrap_or(u64::MAX),
            min_compaction_lag_ms: u64::try_from(spec.min_compaction_lag.as_millis()).unwrap_or(u64::MAX),
        }
    }

    pub(super) fn spec(&self, name: &str) -> NewTopic {
        NewTopic {
            name: name.to_owned(),
            partitions: self.partitions,
            cleanup: self.cleanup,
            retention: Duration::from_millis(self.retention_ms),
            min_compaction_lag: Duration::from_millis(self.min_compaction_lag_ms),
        }
    }
}

/// Key of a topic's description.
pub(super) fn topic_key(name: &str) -> Vec<u8> {
    [&[TOPICS], name.as_bytes()].concat()
}

/// Key of a partition's offsets.
pub(super) fn bounds_key(topic: u32, partition: u32) -> [u8; 9] {
    let mut key = [BOUNDS; 9];
    key[1..5].copy_from_slice(&topic.to_be_bytes());
    key[5..].copy_from_slice(&partition.to_be_bytes());
    key
}

/// A partition's offsets, kept because its records may all be gone.
pub(super) fn encode_bounds(bounds: Bounds, last_time: WallMs) -> [u8; 24] {
    let mut out = [0; 24];
    out[..8].copy_from_slice(&bounds.first.to_le_bytes());
    out[8..16].copy_from_slice(&bounds.next.to_le_bytes());
    out[16..].copy_from_slice(&last_time.ms().to_le_bytes());
    out
}

/// Reads [`encode_bounds`].
pub(super) fn decode_bounds(stored: &[u8]) -> Option<(Bounds, WallMs)> {
    let mut cursor = Cursor { bytes: Bytes::copy_from_slice(stored) };
    let bounds = Bounds { first: u64::from_le_bytes(cursor.array()?), next: u64::from_le_bytes(cursor.array()?) };
    Some((bounds, WallMs::new(i64::from_le_bytes(cursor.array()?))))
}

/// Key of a group's commit.
pub(super) fn commit_key(topic: u32, partition: u32, group: &str) -> Vec<u8> {
    [&[COMMITS][..], &topic.to_be_bytes(), &partition.to_be_bytes(), group.as_bytes()].concat()
}

/// A commit's value.
pub(super) fn encode_commit(commit: &Commit) -> Vec<u8> {
    [&commit.offset.to_le_bytes(), commit.metadata.as_bytes()].concat()
}

/// Reads key and value of a commit: topic, group, commit.
pub(super) fn decode_commit(key: &[u8], stored: &[u8]) -> Option<(u32, String, Commit)> {
    let mut cursor = Cursor { bytes: Bytes::copy_from_slice(key.get(1..)?) };
    let topic = u32::from_be_bytes(cursor.array()?);
    let partition = u32::from_be_bytes(cursor.array()?);
    let group = String::from_utf8(cursor.bytes.to_vec()).ok()?;
    let (offset, metadata) = stored.split_at_checked(8)?;
    let offset = u64::from_le_bytes(offset.try_into().ok()?);
    Some((topic, group, Commit { partition, offset, metadata: String::from_utf8(metadata.to_vec()).ok()? }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn any_record()(
            offset: u64,
            time: i64,
            key in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40)),
            value in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..200)),
            headers in proptest::collection::vec(("[a-z]{0,8}", proptest::collection::vec(any::<u8>(), 0..20)), 0..4),
        ) -> Record {
            Record {
                offset,
                append_time: WallMs::new(time),
                key: key.map(Bytes::from),
                value: value.map(Bytes::from),
                headers: headers.into_iter().map(|(name, value)| (name, Bytes::from(value))).collect(),
            }
        }
    }

    proptest! {
        #[test]
        fn a_record_comes_back_as_it_was_written(record in any_record()) {
            let key = record_key(3, 7, record.offset);
            prop_assert_eq!(decode_record(&key, &encode_record(&key, &record)).unwrap(), record);
        }

        #[test]
        fn a_record_with_a_changed_bit_or_place_is_never_read(record in any_record(), at: prop::sample::Index, bit in 0..8_u32) {
            let key = record_key(3, 7, record.offset);
            let stored = encode_record(&key, &record);
            let mut damaged = stored.clone();
            damaged[at.index(stored.len())] ^= 1_u8 << bit;
            prop_assert!(decode_record(&key, &damaged).is_none());
            prop_assert!(decode_record(&key, &stored[..at.index(stored.len())]).is_none());
            prop_assert!(decode_record(&record_key(3, 8, record.offset), &stored).is_none());
        }
    }
}
