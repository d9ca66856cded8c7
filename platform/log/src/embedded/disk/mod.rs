//! The durable storage: one directory, one process, one writer.
//!
//! Producers queue; whoever finds the queue idle starts the writer, which writes everything that waits as one atomic
//! batch, waits for the disk, makes it visible and answers (group commit). So nothing is ever read that could be lost,
//! a batch is on disk wholly or not at all, and an unfinished one at the end of a journal is dropped at opening: nobody
//! was told that it was there.
//!
//! A failed write closes the engine; the next one opens it again, after which offsets are taken from the disk. What
//! cannot be read is [`LogError::Corrupt`], at opening or when it is reached; it is never skipped.

pub(super) mod codec;
mod engine;
mod journal;
mod mark;
pub(super) mod ops;
mod writer;

use std::{
    collections::{HashMap, VecDeque},
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use self::{
    engine::{Engine, damaged, in_use, io_error},
    mark::{Mark, Reading},
    ops::Op,
};
use super::{
    options::EmbeddedOptions,
    topic::{Tail, Topic},
};
use crate::seam::{Commit, LogError, Record};

/// Topics, groups' commits and offsets as found at opening.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) topics: Vec<Topic>,
    pub(super) commits: HashMap<(String, u32), HashMap<u32, Commit>>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Op>,
    writer: WriterState,
}

#[derive(Default, PartialEq, Eq)]
enum WriterState {
    #[default]
    Idle,
    Running,
}

/// The storage behind a durable log.
pub(super) struct Disk {
    dir: PathBuf,
    cache_bytes: u64,
    min_free_bytes: u64,
    tail_bytes: usize,
    /// `None` after a failed write, until it is opened again, and after closing.
    engine: RwLock<Option<Engine>>,
    mark: Mark,
    queue: Mutex<Queue>,
    room: Arc<Semaphore>,
    queue_bytes: usize,
    /// Batches written; only the writer changes it.
    sequence: Mutex<u64>,
    /// Held until this is closed or dropped.
    lock: File,
}

impl Disk {
    /// Opens the directory, creating it when it is not there.
    pub(super) fn open(dir: &Path, options: &EmbeddedOptions) -> Result<(Self, Found), LogError> {
        let explain = |error: std::io::Error| io_error(dir, &error);
        fs::create_dir_all(dir).map_err(explain)?;
        let lock = File::options().create(true).truncate(false).write(true).open(dir.join("lock")).map_err(explain)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => in_use(dir),
            TryLockError::Error(error) => io_error(dir, &error),
        })?;
        let fresh = !dir.join("engine").exists();
        let (mark, reading) = Mark::open(&dir.join("acknowledged")).map_err(explain)?;
        if fresh && !matches!(reading, Reading::Absent | Reading::Acknowledged(0)) {
            return Err(damaged(dir, "the folder `engine` is missing"));
        }
        let engine = Engine::open(dir, reading, options.cache_bytes)?;
        let contents = engine.contents(dir)?;
        match reading {
            Reading::Acknowledged(count) if contents.sequence < count => {
                return Err(damaged(dir, "acknowledged records are missing"));
            }
            Reading::Absent if !fresh => tracing::warn!(dir = %dir.display(), "log.mark_absent"),
            _ => {}
        }
        mark.set(contents.sequence).and_then(|()| mark.sync()).map_err(explain)?;
        let mut topics = Vec::with_capacity(contents.topics.len());
        for (id, spec) in &contents.topics {
            let mut tails = Vec::with_capacity(spec.partitions as usize);
            for partition in 0..spec.partitions {
                let place = (*id, partition);
                let (bounds, last_time) = engine.recover(dir, place, contents.bounds.get(&place).copied())?;
                tails.push(Tail::recovered(bounds, last_time));
            }
            topics.push(Topic::new(*id, spec, tails));
        }
        let disk = Self {
            dir: dir.to_owned(),
            cache_bytes: options.cache_bytes,
            min_free_bytes: options.min_free_bytes,
            tail_bytes: options.tail_bytes,
            engine: RwLock::new(Some(engine)),
            mark,
            queue: Mutex::default(),
            room: Arc::new(Semaphore::new(options.queue_bytes)),
            queue_bytes: options.queue_bytes,
            sequence: Mutex::new(contents.sequence),
            lock,
        };
        Ok((disk, Found { topics, commits: contents.commits }))
    }

    /// Waits for room in the queue.
    pub(super) async fn reserve(&self, bytes: usize) -> Result<OwnedSemaphorePermit, LogError> {
        // A record larger than the whole queue passes when the queue is empty.
        let wanted = u32::try_from(bytes.clamp(1, self.queue_bytes)).unwrap_or(u32::MAX);
        Arc::clone(&self.room).acquire_many_owned(wanted).await.map_err(|_| LogError::Closed)
    }

    /// Reads on a thread that may block.
    pub(super) async fn scan(
        self: &Arc<Self>,
        place: (u32, u32),
        offsets: std::ops::Range<u64>,
        limits: (usize, usize),
    ) -> Result<Vec<Record>, LogError> {
        let disk = Arc::clone(self);
        let work = move || {
            let engine = disk.engine.read().unwrap_or_else(PoisonError::into_inner);
            match engine.as_ref() {
                Some(engine) => engine.scan(&disk.dir, place, offsets, limits),
                None => Err(LogError::Unavailable(format!("{}: an earlier write failed", disk.dir.display()))),
            }
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(found) => found,
            Err(error) if error.is_panic() => Err(damaged(&self.dir, "stored data cannot be read")),
            Err(_) => Err(LogError::Closed),
        }
    }

    #[cfg(feature = "conformance")]
    pub(super) async fn flush_to_tables(self: &Arc<Self>) {
        let disk = Arc::clone(self);
        let work = move || {
            let engine = disk.engine.read().unwrap_or_else(PoisonError::into_inner);
            engine.as_ref().map(|engine| engine.records.rotate_memtable_and_wait())
        };
        if let Ok(Some(Err(error))) = tokio::task::spawn_blocking(work).await {
            tracing::warn!(%error, "log.flush_failed");
        }
    }

    /// Waits for what is queued, then lets go of the engine; `closed` is called in between.
    pub(super) async fn close(self: &Arc<Self>, closed: impl FnOnce() + Send) {
        // All room is free only when every queued append has been answered.
        let all = u32::try_from(self.queue_bytes).unwrap_or(u32::MAX);
        let everything = self.room.acquire_many(all).await;
        closed();
        let disk = Arc::clone(self);
        let shut = move || {
            drop(disk.engine.write().unwrap_or_else(PoisonError::into_inner).take());
            if let Err(error) = disk.mark.sync() {
                tracing::warn!(%error, "log.mark_not_synced");
            }
            disk.let_go();
        };
        drop(tokio::task::spawn_blocking(shut).await);
        self.room.close();
        drop(everything);
    }
}

impl Disk {
    /// Gives the directory back, once its engine is closed. Said and not left to the end of the file: the writer's thread may
    /// hold this value a moment longer than whoever it has answered, and a process that is just being started has a copy of
    /// every open file until it begins its program.
    fn let_go(&self) {
        if let Err(error) = self.lock.unlock() {
            tracing::warn!(%error, dir = %self.dir.display(), "log.not_unlocked");
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(self.engine.get_mut().unwrap_or_else(PoisonError::into_inner).take());
        self.let_go();
    }
}

/// An answer that is on its way.
pub(super) async fn answered<T>(answer: oneshot::Receiver<Result<T, LogError>>) -> Result<T, LogError> {
    answer.await.unwrap_or(Err(LogError::Closed))
}
