//! The one writer: takes what waits, writes it as one batch, and answers.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, PoisonError},
};

use fjall::{OwnedWriteBatch, PersistMode};

use super::{
    Disk, Engine, WriterState,
    codec::{self, StoredTopic},
    engine::{damaged, engine_error, io_error},
    mark::Reading,
    ops::{Cut, Op},
};
use crate::{
    embedded::{
        inner::Inner,
        topic::{Tail, Topic},
    },
    seam::{Appended, Bounds, LogError, Record},
};
use waybill_schemas::WallMs;

/// Bytes of one batch; more waits for the next.
const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Where a partition stands within the batch being built.
struct Staged {
    topic: Arc<Topic>,
    partition: u32,
    first: u64,
    next: u64,
    last_time: WallMs,
    records: Vec<Record>,
}

/// The batch being built, by topic and partition.
type Stage = HashMap<(u32, u32), Staged>;

impl Disk {
    /// Queues work and starts the writer if it rests.
    pub(in crate::embedded) fn submit(log: &Arc<Inner>, disk: &Arc<Self>, op: Op) {
        let start = {
            let mut queue = disk.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.waiting.push_back(op);
            std::mem::replace(&mut queue.writer, WriterState::Running) == WriterState::Idle
        };
        if start {
            let (log, disk) = (Arc::clone(log), Arc::clone(disk));
            // Not a task of its own thread: under paused time the clock must stand still while the disk works.
            tokio::task::spawn_blocking(move || {
                while let Some(ops) = disk.take() {
                    disk.write(&log, ops);
                }
            });
        }
    }

    fn take(&self) -> Option<Vec<Op>> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while bytes < MAX_BATCH_BYTES
            && let Some(op) = queue.waiting.pop_front()
        {
            bytes += op.bytes();
            taken.push(op);
        }
        if taken.is_empty() {
            queue.writer = WriterState::Idle;
            return None;
        }
        Some(taken)
    }

    fn write(&self, log: &Inner, mut ops: Vec<Op>) {
        if let Err(error) = self.ensure_open(log) {
            let error = self.reason(error);
            ops.into_iter().for_each(|op| op.fail(&error));
            return;
        }
        if let Err(error) = self.check_room(log) {
            let (kept, refused) = ops.into_iter().partition(Op::may_use_reserve);
            Vec::into_iter(refused).for_each(|op: Op| op.fail(&error));
            ops = kept;
        }
        if ops.is_empty() {
            return;
        }
        // A panic inside the engine must not leave producers waiting for ever.
        let written = catch_unwind(AssertUnwindSafe(|| self.write_batch(log, &ops)))
            .unwrap_or_else(|_| Err(damaged(&self.dir, "the storage engine gave up while writing")));
        match written {
            Ok(stage) => self.publish(stage, ops),
            Err(error) => {
                let error = self.reason(error);
                tracing::error!(%error, "log.write_failed");
                // The engine takes no more writes after a failure; it is opened again at the next one.
                drop(self.engine.write().unwrap_or_else(PoisonError::into_inner).take());
                ops.into_iter().for_each(|op| op.fail(&error));
            }
        }
    }

    /// Opens the engine again after a failure. What the failed batch left may have become whole: the disk says where
    /// each partition stands.
    fn ensure_open(&self, log: &Inner) -> Result<(), LogError> {
        let mut slot = self.engine.write().unwrap_or_else(PoisonError::into_inner);
        // Asked with the engine in hand: who closes says so first and takes it then, and it must not be opened once more.
        log.check_open()?;
        if slot.as_ref().is_some_and(|engine| !engine.is_poisoned()) {
            return Ok(());
        }
        drop(slot.take());
        let mut sequence = self.sequence.lock().unwrap_or_else(PoisonError::into_inner);
        let engine = Engine::open(&self.dir, Reading::Acknowledged(*sequence), self.cache_bytes)?;
        let contents = engine.contents(&self.dir)?;
        if contents.sequence < *sequence {
            return Err(damaged(&self.dir, "acknowledged records are missing"));
        }
        *sequence = contents.sequence;
        for topic in log.topics() {
            for (partition, state) in topic.partitions.iter().enumerate() {
                let place = (topic.id, partition as u32);
                let (bounds, last_time) = engine.recover(&self.dir, place, contents.bounds.get(&place).copied())?;
                let mut tail = state.tail();
                if bounds != tail.bounds() {
                    *tail = Tail::recovered(bounds, last_time);
                    drop(tail);
                    topic.wake(partition as u32);
                }
            }
        }
        *slot = Some(engine);
        tracing::warn!(dir = %self.dir.display(), "log.reopened");
        Ok(())
    }

    /// Why the engine failed: on a full disk it fails in many ways, and room is the one remedy for all of them.
    fn reason(&self, error: LogError) -> LogError {
        match error {
            LogError::Closed => error,
            other => self.room().err().unwrap_or(other),
        }
    }

    /// Refuses before the disk does: an engine that meets a full disk half-way has to be opened again.
    fn check_room(&self, log: &Inner) -> Result<(), LogError> {
        if log.faults.write_fails() {
            return Err(LogError::Full("a failure was asked for".to_owned()));
        }
        self.room()
    }

    fn room(&self) -> Result<(), LogError> {
        let space = rustix::fs::statvfs(&self.dir).map_err(|error| io_error(&self.dir, &error.into()))?;
        let free = space.f_bavail.saturating_mul(space.f_frsize);
        if free >= self.min_free_bytes {
            return Ok(());
        }
        Err(LogError::Full(format!(
            "{} has {} MiB free and {} MiB must stay free; make room on that disk",
            self.dir.display(),
            free >> 20,
            self.min_free_bytes >> 20
        )))
    }

    fn write_batch(&self, log: &Inner, ops: &[Op]) -> Result<Stage, LogError> {
        let slot = self.engine.read().unwrap_or_else(PoisonError::into_inner);
        let engine = slot.as_ref().ok_or(LogError::Closed)?;
        let now = log.now();
        let mut sequence = self.sequence.lock().unwrap_or_else(PoisonError::into_inner);
        let mut batch = engine.db.batch().durability(Some(PersistMode::SyncData));
        let mut stage = Stage::new();
        batch.insert(&engine.meta, codec::SEQUENCE, (*sequence + 1).to_le_bytes());
        for op in ops {
            match op {
                Op::Append { records, .. } => {
                    for (topic, record) in records {
                        let staged = staged(&mut stage, topic, record.at.partition);
                        let appended = Record {
                            offset: staged.next,
                            append_time: now.max(staged.last_time),
                            key: record.key.clone(),
                            value: record.value.clone(),
                            headers: record.headers.clone(),
                        };
                        let key = codec::record_key(topic.id, record.at.partition, appended.offset);
                        batch.insert(&engine.records, key, codec::encode_record(&key, &appended));
                        staged.next += 1;
                        staged.last_time = appended.append_time;
                        staged.records.push(appended);
                    }
                }
                Op::Commit { cell, commits, .. } => {
                    for commit in commits {
                        let key = codec::commit_key(cell.topic, commit.partition, &cell.name);
                        batch.insert(&engine.meta, key, codec::encode_commit(commit));
                    }
                }
                Op::Topics { specs, .. } => {
                    for (id, spec) in specs {
                        let stored = serde_json::to_vec(&StoredTopic::new(*id, spec))
                            .map_err(|error| LogError::Unavailable(error.to_string()))?;
                        batch.insert(&engine.meta, codec::topic_key(&spec.name), stored);
                    }
                }
                Op::Cut { topic, partition, cut, .. } => {
                    let staged = staged(&mut stage, topic, *partition);
                    self.stage_cut(engine, &mut batch, staged, cut)?;
                }
            }
        }
        batch.commit().map_err(|error| engine_error(&self.dir, &error))?;
        *sequence += 1;
        // Before anybody is answered: see the module.
        if let Err(error) = self.mark.set(*sequence) {
            tracing::warn!(%error, "log.mark_not_written");
        }
        Ok(stage)
    }

    fn stage_cut(
        &self,
        engine: &Engine,
        batch: &mut OwnedWriteBatch,
        staged: &mut Staged,
        cut: &Cut,
    ) -> Result<(), LogError> {
        let place = (staged.topic.id, staged.partition);
        match cut {
            Cut::Before(before) => {
                let before = (*before).min(staged.next);
                let range = codec::record_key(place.0, place.1, 0)..codec::record_key(place.0, place.1, before);
                for entry in engine.records.range(range) {
                    batch.remove(&engine.records, entry.key().map_err(|error| engine_error(&self.dir, &error))?);
                }
                staged.first = staged.first.max(before);
            }
            Cut::Records(offsets) => {
                for offset in offsets {
                    batch.remove(&engine.records, codec::record_key(place.0, place.1, *offset));
                }
            }
            Cut::Skip(offsets) => staged.next += offsets,
        }
        let bounds = Bounds { first: staged.first, next: staged.next };
        let stored = codec::encode_bounds(bounds, staged.last_time);
        batch.insert(&engine.meta, codec::bounds_key(place.0, place.1), stored);
        Ok(())
    }

    /// Makes a batch visible that is safe on disk, and answers.
    fn publish(&self, stage: Stage, ops: Vec<Op>) {
        let mut appended: HashMap<(u32, u32), std::vec::IntoIter<Appended>> = HashMap::new();
        for (place, staged) in stage {
            let answers: Vec<Appended> = staged
                .records
                .iter()
                .map(|record| Appended { offset: record.offset, append_time: record.append_time })
                .collect();
            let mut tail = staged.topic.partitions[place.1 as usize].tail();
            for record in staged.records {
                tail.push(record);
            }
            tail.advance(staged.next);
            tail.shrink(self.tail_bytes);
            drop(tail);
            appended.insert(place, answers.into_iter());
            staged.topic.wake(place.1);
        }
        for op in ops {
            match op {
                Op::Append { records, room, answer, .. } => {
                    let offsets = records.iter().filter_map(|(topic, record)| {
                        appended.get_mut(&(topic.id, record.at.partition)).and_then(Iterator::next)
                    });
                    // Whoever asked may have gone; the records are there all the same.
                    drop(answer.send(Ok(offsets.collect())));
                    drop(room);
                }
                Op::Commit { cell, commits, answer } => {
                    cell.with(|state| {
                        for commit in commits {
                            state.commits.insert(commit.partition, commit);
                        }
                    });
                    drop(answer.send(Ok(())));
                }
                Op::Topics { answer, .. } => drop(answer.send(Ok(()))),
                Op::Cut { topic, partition, cut, answer } => {
                    let mut tail = topic.partitions[partition as usize].tail();
                    match cut {
                        Cut::Before(before) => tail.trim(before),
                        Cut::Records(offsets) => tail.remove(&offsets),
                        Cut::Skip(_) => {}
                    }
                    drop(tail);
                    drop(answer.send(Ok(())));
                }
            }
        }
    }
}

fn staged<'a>(stage: &'a mut Stage, topic: &Arc<Topic>, partition: u32) -> &'a mut Staged {
    stage.entry((topic.id, partition)).or_insert_with(|| {
        let tail = topic.partitions[partition as usize].tail();
        Staged {
            topic: Arc::clone(topic),
            partition,
            first: tail.bounds().first,
            next: tail.bounds().next,
            last_time: tail.stamp(WallMs::ZERO),
            records: Vec::new(),
        }
    })
}
