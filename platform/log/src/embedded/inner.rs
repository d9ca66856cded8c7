//! What both storages share: the topics in memory, the groups, and the way of a record in and out.

use std::{
    collections::HashMap,
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::{Notify, oneshot};
use waybill_schemas::WallMs;

use super::{
    cell::GroupCell,
    disk::{
        Disk, Found, answered,
        ops::{Cut, Op},
    },
    faults::FaultState,
    group::MemberId,
    options::EmbeddedOptions,
    topic::{Look, OnDisk, Partition, Tail, TimeLook, Topic, size_of},
};
use crate::seam::{
    Appended, Batch, Bounds, Commit, LogError, NewRecord, NewTopic, Record, TopicDescription, TopicPartition,
};

/// The log behind its handles.
pub(super) struct Inner {
    pub(super) options: EmbeddedOptions,
    pub(super) faults: FaultState,
    topics: RwLock<HashMap<Arc<str>, Arc<Topic>>>,
    groups: Mutex<HashMap<(String, u32), Arc<GroupCell>>>,
    /// Only one call at a time gives out topic numbers.
    creating: tokio::sync::Mutex<()>,
    /// `None` for a log that lives in memory only.
    disk: Option<Arc<Disk>>,
    closed: AtomicBool,
    closing: Notify,
}

/// Bytes of one piece of work for the disk; a larger call is several pieces.
const PIECE_BYTES: usize = 1024 * 1024;

impl Inner {
    pub(super) fn in_memory(options: EmbeddedOptions) -> Self {
        Self {
            options,
            faults: FaultState::default(),
            topics: RwLock::default(),
            groups: Mutex::default(),
            creating: tokio::sync::Mutex::default(),
            disk: None,
            closed: AtomicBool::new(false),
            closing: Notify::new(),
        }
    }

    pub(super) fn durable(options: EmbeddedOptions, disk: Disk, found: Found) -> Self {
        let log = Self::in_memory(options);
        let topics = found.topics.into_iter().map(|topic| (Arc::clone(&topic.name), Arc::new(topic)));
        let topics: HashMap<_, _> = topics.collect();
        let mut groups = HashMap::new();
        for ((group, id), commits) in found.commits {
            // Commits of a topic that is gone have nobody to tell.
            if let Some(topic) = topics.values().find(|topic| topic.id == id) {
                let cell = GroupCell::new(&group, id, topic.partitions.len() as u32, commits);
                groups.insert((group, id), Arc::new(cell));
            }
        }
        Self { topics: RwLock::new(topics), groups: Mutex::new(groups), disk: Some(Arc::new(disk)), ..log }
    }

    pub(super) fn check_open(&self) -> Result<(), LogError> {
        if self.closed.load(Ordering::Acquire) { Err(LogError::Closed) } else { Ok(()) }
    }

    /// Ends when the log is closed.
    pub(super) async fn closing(&self) {
        let closing = self.closing.notified();
        tokio::pin!(closing);
        closing.as_mut().enable();
        if self.check_open().is_ok() {
            closing.await;
        }
    }

    pub(super) async fn close(&self) {
        if let Some(disk) = &self.disk {
            disk.close(|| self.closed.store(true, Ordering::Release)).await;
        }
        self.closed.store(true, Ordering::Release);
        self.closing.notify_waiters();
    }

    #[cfg(feature = "conformance")]
    pub(super) async fn flush_to_tables(&self) {
        if let Some(disk) = &self.disk {
            disk.flush_to_tables().await;
        }
    }

    /// All topics, in no order.
    pub(super) fn topics(&self) -> Vec<Arc<Topic>> {
        self.topics.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(super) fn now(&self) -> WallMs {
        (self.options.clock)()
    }

    pub(super) fn topic(&self, name: &str) -> Result<Arc<Topic>, LogError> {
        self.check_open()?;
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        topics.get(name).cloned().ok_or_else(|| LogError::UnknownTopic(name.to_owned()))
    }

    pub(super) fn partition<'a>(&self, topic: &'a Topic, partition: u32) -> Result<&'a Partition, LogError> {
        let found = topic.partitions.get(partition as usize);
        found.ok_or_else(|| LogError::UnknownTopic(format!("{}/{partition}", topic.name)))
    }

    pub(super) async fn create_topics(self: &Arc<Self>, wanted: &[NewTopic]) -> Result<(), LogError> {
        self.check_open()?;
        let _one_at_a_time = self.creating.lock().await;
        let existing = self.topics();
        let mut id = existing.iter().map(|topic| topic.id + 1).max().unwrap_or(0);
        let mut specs: Vec<(u32, NewTopic)> = Vec::new();
        for spec in wanted {
            let earlier =
                specs.iter().find(|(_, earlier)| earlier.name == spec.name).map(|(_, earlier)| earlier.partitions);
            let known = existing.iter().find(|topic| *topic.name == *spec.name);
            match known.map(|topic| topic.partitions.len() as u32).or(earlier) {
                Some(actual) if actual == spec.partitions => {}
                Some(actual) => {
                    return Err(LogError::TopicMismatch { topic: spec.name.clone(), actual, wanted: spec.partitions });
                }
                None => {
                    let spec = NewTopic { partitions: spec.partitions.max(1), ..spec.clone() };
                    specs.push((id, spec));
                    id += 1;
                }
            }
        }
        if specs.is_empty() {
            return Ok(());
        }
        if let Some(disk) = &self.disk {
            let (answer, done) = oneshot::channel();
            Disk::submit(self, disk, Op::Topics { specs: specs.clone(), answer });
            answered(done).await?;
        }
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        for (id, spec) in specs {
            let tails = (0..spec.partitions).map(|_| Tail::default()).collect();
            let topic = Arc::new(Topic::new(id, &spec, tails));
            topics.insert(Arc::clone(&topic.name), topic);
        }
        Ok(())
    }

    pub(super) fn describe(&self, name: &str) -> Result<TopicDescription, LogError> {
        let topic = self.topic(name)?;
        Ok(TopicDescription {
            name: topic.name.to_string(),
            partitions: topic.partitions.len() as u32,
            cleanup: topic.cleanup,
            retention: topic.retention,
        })
    }

    /// Whether a record may be appended; to which topic, and how many bytes it counts.
    fn admit(&self, record: &NewRecord) -> Result<(Arc<Topic>, usize), LogError> {
        let topic = self.topic(&record.at.topic)?;
        self.partition(&topic, record.at.partition)?;
        let (bytes, limit) =
            (size_of(record.key.as_ref(), record.value.as_ref(), &record.headers), self.options.max_record_bytes);
        if bytes > limit { Err(LogError::TooLarge { bytes, limit }) } else { Ok((topic, bytes)) }
    }

    pub(super) async fn produce(self: &Arc<Self>, records: Vec<NewRecord>) -> Vec<Result<Appended, LogError>> {
        let answers = match &self.disk {
            Some(disk) => self.produce_durably(disk, records).await,
            None => self.produce_in_memory(records),
        };
        self.lose_answers(answers)
    }

    fn produce_in_memory(&self, records: Vec<NewRecord>) -> Vec<Result<Appended, LogError>> {
        let now = self.now();
        let mut answers = Vec::with_capacity(records.len());
        let mut touched: Vec<(Arc<Topic>, u32)> = Vec::new();
        for record in records {
            let answer = self.admit(&record).and_then(|(topic, _)| {
                if self.faults.write_fails() {
                    return Err(LogError::Full("a failure was asked for".to_owned()));
                }
                let partition = record.at.partition;
                let appended = self.append(&topic, record, now)?;
                if !touched.iter().any(|(seen, at)| *at == partition && Arc::ptr_eq(seen, &topic)) {
                    touched.push((topic, partition));
                }
                Ok(appended)
            });
            answers.push(answer);
        }
        for (topic, partition) in touched {
            topic.wake(partition);
        }
        answers
    }

    async fn produce_durably(
        self: &Arc<Self>,
        disk: &Arc<Disk>,
        records: Vec<NewRecord>,
    ) -> Vec<Result<Appended, LogError>> {
        let mut answers: Vec<Result<Appended, LogError>> = Vec::with_capacity(records.len());
        let mut pieces = Vec::new();
        let (mut piece, mut places, mut size) = (Vec::new(), Vec::new(), 0);
        for record in records {
            let place = answers.len();
            match self.admit(&record) {
                Err(error) => answers.push(Err(error)),
                Ok((topic, bytes)) => {
                    // Stands until the piece is answered.
                    answers.push(Err(LogError::Closed));
                    piece.push((topic, record));
                    places.push(place);
                    size += bytes;
                    if size >= PIECE_BYTES {
                        pieces.push((std::mem::take(&mut piece), std::mem::take(&mut places), size));
                        size = 0;
                    }
                }
            }
        }
        if !piece.is_empty() {
            pieces.push((piece, places, size));
        }
        let mut waiting = Vec::with_capacity(pieces.len());
        for (records, places, bytes) in pieces {
            let room = match disk.reserve(bytes).await {
                Ok(room) => room,
                Err(_) => break,
            };
            let (answer, done) = oneshot::channel();
            Disk::submit(self, disk, Op::Append { records, bytes, room, answer });
            waiting.push((places, done));
        }
        for (places, done) in waiting {
            match answered(done).await {
                Ok(appended) => {
                    for (place, appended) in places.into_iter().zip(appended) {
                        answers[place] = Ok(appended);
                    }
                }
                Err(error) => places.into_iter().for_each(|place| answers[place] = Err(error.clone())),
            }
        }
        answers
    }

    fn lose_answers(&self, answers: Vec<Result<Appended, LogError>>) -> Vec<Result<Appended, LogError>> {
        if answers.iter().any(Result::is_ok) && self.faults.produce_answer_is_lost() {
            let lost = LogError::Unavailable("the answer to a produce was lost".to_owned());
            return answers.into_iter().map(|answer| answer.and(Err(lost.clone()))).collect();
        }
        answers
    }

    fn append(&self, topic: &Topic, record: NewRecord, now: WallMs) -> Result<Appended, LogError> {
        let mut tail = self.partition(topic, record.at.partition)?.tail();
        let appended = Appended { offset: tail.bounds().next, append_time: tail.stamp(now) };
        tail.push(Record {
            offset: appended.offset,
            append_time: appended.append_time,
            key: record.key,
            value: record.value,
            headers: record.headers,
        });
        Ok(appended)
    }

    /// Reads what is there, without waiting.
    pub(super) async fn read_now(
        &self,
        topic: &Arc<Topic>,
        partition: u32,
        offset: u64,
        (max_records, max_bytes): (usize, usize),
    ) -> Result<Batch, LogError> {
        let mut position = offset;
        loop {
            let look = self.partition(topic, partition)?.tail().look(position, max_records, max_bytes);
            match look {
                Look::Found(batch) => return Ok(batch),
                Look::OutOfRange(Bounds { first, next }) => {
                    let topic = topic.name.to_string();
                    return Err(LogError::OutOfRange { topic, partition, offset, first, next });
                }
                Look::Older { until, end } => {
                    let limits = (max_records.max(1), max_bytes.max(1));
                    let records = self.scan(topic, partition, position..until, limits).await?;
                    if let Some(last) = records.last() {
                        let next_offset = last.offset + 1;
                        return Ok(Batch { records, next_offset, end });
                    }
                    // A gap up to the tail.
                    position = until;
                }
            }
        }
    }

    async fn scan(
        &self,
        topic: &Topic,
        partition: u32,
        offsets: Range<u64>,
        limits: (usize, usize),
    ) -> Result<Vec<Record>, LogError> {
        match &self.disk {
            Some(disk) => disk.scan((topic.id, partition), offsets, limits).await,
            None => Ok(Vec::new()),
        }
    }

    pub(super) fn bounds(&self, at: &TopicPartition) -> Result<Bounds, LogError> {
        let topic = self.topic(&at.topic)?;
        Ok(self.partition(&topic, at.partition)?.tail().bounds())
    }

    pub(super) async fn offset_for_time(
        &self,
        topic: &Topic,
        partition: u32,
        time: WallMs,
    ) -> Result<Option<u64>, LogError> {
        let look = self.partition(topic, partition)?.tail().offset_for_time(time);
        let (mut low, mut high, mut best) = match look {
            TimeLook::Found(found) => return Ok(found),
            TimeLook::PerhapsOlder { first, until, otherwise } => (first, until, otherwise),
        };
        // Append times never go back, so halving finds the place; a gap counts as the record behind it.
        while low < high {
            let middle = low + (high - low) / 2;
            match self.scan(topic, partition, middle..high, (1, 1)).await?.pop() {
                Some(record) if record.append_time >= time => {
                    best = Some(record.offset);
                    high = middle;
                }
                Some(record) => low = record.offset + 1,
                None => high = middle,
            }
        }
        Ok(best)
    }

    pub(super) async fn record_at(&self, at: &TopicPartition, offset: u64) -> Result<Option<Record>, LogError> {
        let topic = self.topic(&at.topic)?;
        let look = self.partition(&topic, at.partition)?.tail().record_at(offset);
        match look {
            Ok(found) => Ok(found),
            Err(OnDisk) => Ok(self.scan(&topic, at.partition, offset..offset + 1, (1, 1)).await?.pop()),
        }
    }

    /// Deletes from a partition, or leaves a gap in it.
    pub(super) async fn cut(self: &Arc<Self>, topic: &Arc<Topic>, partition: u32, cut: Cut) -> Result<(), LogError> {
        self.check_open()?;
        self.partition(topic, partition)?;
        if let Some(disk) = &self.disk {
            let (answer, done) = oneshot::channel();
            Disk::submit(self, disk, Op::Cut { topic: Arc::clone(topic), partition, cut, answer });
            return answered(done).await;
        }
        let mut tail = self.partition(topic, partition)?.tail();
        match cut {
            Cut::Before(before) => tail.trim(before),
            Cut::Records(offsets) => tail.remove(&offsets),
            Cut::Skip(offsets) => {
                let next = tail.bounds().next;
                tail.advance(next + offsets);
            }
        }
        Ok(())
    }

    pub(super) fn cell(&self, group: &str, topic: &Topic) -> Arc<GroupCell> {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let cell = groups.entry((group.to_owned(), topic.id)).or_insert_with(|| {
            Arc::new(GroupCell::new(group, topic.id, topic.partitions.len() as u32, HashMap::new()))
        });
        Arc::clone(cell)
    }

    /// Records commits if the member may; what it may is decided in the same moment in which the commit takes its place
    /// among all writes, so a commit never overtakes the hand-over of its partition.
    pub(super) async fn commit(
        self: &Arc<Self>,
        cell: &Arc<GroupCell>,
        id: MemberId,
        commits: &[Commit],
    ) -> Result<(), LogError> {
        self.check_open()?;
        let pending = cell.with(|state| {
            for commit in commits {
                if !state.group.has(id) {
                    return Err(LogError::Fenced);
                }
                if !state.group.may_commit(id, commit.partition) {
                    return Err(LogError::NotOwned(commit.partition));
                }
            }
            let Some(disk) = &self.disk else {
                for commit in commits {
                    state.commits.insert(commit.partition, commit.clone());
                }
                return Ok(None);
            };
            let (answer, done) = oneshot::channel();
            Disk::submit(self, disk, Op::Commit { cell: Arc::clone(cell), commits: commits.to_vec(), answer });
            Ok(Some(done))
        })?;
        match pending {
            Some(done) => answered(done).await,
            None => Ok(()),
        }
    }
}
