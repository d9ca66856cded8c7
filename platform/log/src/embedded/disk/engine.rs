//! The storage engine (`fjall`) as the log uses it, and what its errors mean.

use std::{
    collections::HashMap,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode};
use waybill_schemas::WallMs;

use super::{
    codec,
    journal::{self, Ending},
    mark::Reading,
};
use crate::seam::{Bounds, Commit, LogError, NewTopic, Record};

/// Values from this size on lie apart from the keys, so that cleaning up does not move them again and again.
const SEPARATE_FROM_BYTES: u32 = 4 * 1024;
/// Least that the engine accepts.
const JOURNAL_BYTES: u64 = 64 * 1024 * 1024;
const MEMTABLE_BYTES: u64 = 16 * 1024 * 1024;

/// The open engine.
pub(super) struct Engine {
    pub(super) db: Database,
    pub(super) records: Keyspace,
    pub(super) meta: Keyspace,
}

/// What stands on disk beside the records.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) sequence: u64,
    pub(super) topics: Vec<(u32, NewTopic)>,
    /// By topic and partition.
    pub(super) bounds: HashMap<(u32, u32), (Bounds, WallMs)>,
    /// By group and topic.
    pub(super) commits: HashMap<(String, u32), HashMap<u32, Commit>>,
}

/// Names the directory and what to do; every damage is reported with this sentence.
pub(super) fn damaged(dir: &Path, what: &str) -> LogError {
    LogError::Corrupt(format!(
        "{what} in {}; restore the directory from a backup, or move it away to start with an empty log",
        dir.display()
    ))
}

/// What an error of the disk means.
pub(super) fn io_error(dir: &Path, error: &io::Error) -> LogError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            LogError::Full(format!("{}: {error}", dir.display()))
        }
        _ => LogError::Unavailable(format!("{}: {error}", dir.display())),
    }
}

/// What an error of the engine means.
pub(super) fn engine_error(dir: &Path, error: &fjall::Error) -> LogError {
    match error {
        fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => match error.kind() {
            // The engine reads what its own lists name: a file or bytes that are not there were there. An invalid place
            // is one that a cut-off file leads to.
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::NotFound
            | io::ErrorKind::InvalidData
            | io::ErrorKind::InvalidInput => damaged(dir, &format!("a file is missing or cut off ({error})")),
            _ => io_error(dir, error),
        },
        fjall::Error::Locked => in_use(dir),
        // One changed byte looks the same, so this is told beside the remedy for damage.
        fjall::Error::InvalidVersion(_) | fjall::Error::Storage(fjall::LsmError::InvalidVersion(_)) => {
            damaged(dir, "its format is not this program's (if another version of waybill wrote it, run that one)")
        }
        fjall::Error::Poisoned => LogError::Unavailable(format!("{}: an earlier write failed", dir.display())),
        other => damaged(dir, &format!("stored data cannot be read ({other:?})")),
    }
}

/// Another process has the directory.
pub(super) fn in_use(dir: &Path) -> LogError {
    LogError::Unavailable(format!(
        "{} is in use by another process; stop it or choose another data directory",
        dir.display()
    ))
}

/// Refuses what the engine would silently repair by forgetting, and cuts what nobody was told of: see [`journal`] and
/// [`super::mark`].
fn inspect(dir: &Path, mark: Reading) -> Result<(), LogError> {
    let acknowledged = match mark {
        Reading::Unreadable => return Err(damaged(dir, "the file `acknowledged` is damaged")),
        // What may be cut is not known; the engine judges as it does.
        Reading::Absent => return Ok(()),
        Reading::Acknowledged(count) => count,
    };
    let engine = dir.join("engine");
    if !engine.exists() {
        return Ok(());
    }
    for file in ["version", "keyspaces/0/current", "keyspaces/1/current", "keyspaces/2/current"] {
        if acknowledged > 0 && !engine.join(file).exists() {
            return Err(damaged(dir, &format!("engine/{file} is missing")));
        }
    }
    let journals = journal::list(&engine).map_err(|error| io_error(dir, &error))?;
    let mut newest = None;
    for (index, path) in journals.iter().enumerate() {
        let found = journal::inspect(path).map_err(|error| io_error(dir, &error))?;
        newest = newest.max(found.sequence);
        if found.ending == Ending::Clean {
            continue;
        }
        let has_successor = index + 1 < journals.len();
        let unread = match newest {
            Some(count) => count < acknowledged,
            // Counts went with the journals that the tables made superfluous: a batch that was written to its end behind
            // one that cannot be read says enough.
            None => journal::has_end_behind(path, found.whole_bytes).map_err(|error| io_error(dir, &error))?,
        };
        if acknowledged > 0 && (has_successor || unread) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            return Err(damaged(dir, &format!("acknowledged records in engine/{name} cannot be read")));
        }
        tracing::warn!(journal = %path.display(), whole_bytes = found.whole_bytes, "log.torn_end_cut");
        journal::cut(path, found.whole_bytes).map_err(|error| io_error(dir, &error))?;
    }
    Ok(())
}

impl Engine {
    /// Opens the engine below `dir`, creating it when there is none, after a look at what is there. Damage may show as a
    /// panic inside the engine: that is an answer too, not the end of the process.
    pub(super) fn open(dir: &Path, mark: Reading, cache_bytes: u64) -> Result<Self, LogError> {
        inspect(dir, mark)?;
        catch_unwind(AssertUnwindSafe(|| Self::open_plainly(dir, cache_bytes)))
            .unwrap_or_else(|_| Err(damaged(dir, "stored data cannot be read (the storage engine gave up)")))
    }

    fn open_plainly(dir: &Path, cache_bytes: u64) -> Result<Self, LogError> {
        let explain = |error: fjall::Error| engine_error(dir, &error);
        let db = Database::builder(dir.join("engine"))
            .cache_size(cache_bytes)
            .max_journaling_size(2 * JOURNAL_BYTES)
            .worker_threads(2)
            .manual_journal_persist(true)
            .open()
            .map_err(explain)?;
        let records = db
            .keyspace("records", || {
                KeyspaceCreateOptions::default()
                    .max_memtable_size(MEMTABLE_BYTES)
                    .with_kv_separation(Some(KvSeparationOptions::default().separation_threshold(SEPARATE_FROM_BYTES)))
            })
            .map_err(explain)?;
        let meta = db
            .keyspace("meta", || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES / 4))
            .map_err(explain)?;
        Ok(Self { db, records, meta })
    }

    /// Whether an earlier failure, of a write or in the background, forbids further writes.
    pub(super) fn is_poisoned(&self) -> bool {
        matches!(self.db.persist(PersistMode::Buffer), Err(fjall::Error::Poisoned))
    }

    /// Everything but the records.
    pub(super) fn contents(&self, dir: &Path) -> Result<Contents, LogError> {
        let explain = |error: fjall::Error| engine_error(dir, &error);
        let broken = || damaged(dir, "the list of topics and commits cannot be read");
        let mut contents = Contents::default();
        for entry in self.meta.iter() {
            let (key, value) = entry.into_inner().map_err(explain)?;
            match key.first() {
                _ if *key == *codec::SEQUENCE => {
                    contents.sequence = value[..].try_into().map(u64::from_le_bytes).map_err(|_| broken())?;
                }
                Some(&codec::TOPICS) => {
                    let name = std::str::from_utf8(&key[1..]).map_err(|_| broken())?;
                    let stored: codec::StoredTopic = serde_json::from_slice(&value).map_err(|_| broken())?;
                    contents.topics.push((stored.id, stored.spec(name)));
                }
                Some(&codec::BOUNDS) if key.len() == 9 => {
                    let part = |at: usize| key[at..at + 4].try_into().map(u32::from_be_bytes).map_err(|_| broken());
                    contents.bounds.insert((part(1)?, part(5)?), codec::decode_bounds(&value).ok_or_else(broken)?);
                }
                Some(&codec::COMMITS) => {
                    let (topic, group, commit) = codec::decode_commit(&key, &value).ok_or_else(broken)?;
                    contents.commits.entry((group, topic)).or_default().insert(commit.partition, commit);
                }
                _ => return Err(broken()),
            }
        }
        Ok(contents)
    }

    /// Offsets and last append time of a partition, from what was noted and from its last record.
    pub(super) fn recover(
        &self,
        dir: &Path,
        place: (u32, u32),
        noted: Option<(Bounds, WallMs)>,
    ) -> Result<(Bounds, WallMs), LogError> {
        let (mut bounds, mut last_time) = noted.unwrap_or((Bounds { first: 0, next: 0 }, WallMs::ZERO));
        let range = codec::record_key(place.0, place.1, 0)..=codec::record_key(place.0, place.1, u64::MAX);
        if let Some(last) = self.records.range(range).next_back() {
            let (key, value) = last.into_inner().map_err(|error| engine_error(dir, &error))?;
            let record = codec::decode_record(&key, &value).ok_or_else(|| damaged(dir, "a record cannot be read"))?;
            bounds.next = bounds.next.max(record.offset + 1);
            last_time = last_time.max(record.append_time);
        }
        Ok((bounds, last_time))
    }

    /// Records of a partition in `offsets`, in order, up to a count and a size.
    pub(super) fn scan(
        &self,
        dir: &Path,
        place: (u32, u32),
        offsets: std::ops::Range<u64>,
        (max_records, max_bytes): (usize, usize),
    ) -> Result<Vec<Record>, LogError> {
        let range =
            codec::record_key(place.0, place.1, offsets.start)..codec::record_key(place.0, place.1, offsets.end);
        let (mut records, mut bytes) = (Vec::new(), 0);
        for entry in self.records.range(range) {
            let (key, value) = entry.into_inner().map_err(|error| engine_error(dir, &error))?;
            let record = codec::decode_record(&key, &value).ok_or_else(|| damaged(dir, "a record cannot be read"))?;
            bytes +=
                record.key.as_ref().map_or(0, bytes::Bytes::len) + record.value.as_ref().map_or(0, bytes::Bytes::len);
            records.push(record);
            if records.len() >= max_records || bytes >= max_bytes {
                break;
            }
        }
        Ok(records)
    }
}
