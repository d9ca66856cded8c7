//! What both storages share: the topics in memory, the groups, and the way of a record in and out.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::Notify;
use waybill_schemas::WallMs;

use super::{
    cell::GroupCell,
    faults::FaultState,
    group::MemberId,
    options::EmbeddedOptions,
    topic::{Look, Partition, Tail, TimeLook, Topic, size_of},
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
    closed: AtomicBool,
    closing: Notify,
}

impl Inner {
    pub(super) fn in_memory(options: EmbeddedOptions) -> Self {
        Self {
            options,
            faults: FaultState::default(),
            topics: RwLock::default(),
            groups: Mutex::default(),
            closed: AtomicBool::new(false),
            closing: Notify::new(),
        }
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

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.closing.notify_waiters();
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

    pub(super) async fn create_topics(&self, wanted: &[NewTopic]) -> Result<(), LogError> {
        self.check_open()?;
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        for spec in wanted {
            if let Some(existing) = topics.get(spec.name.as_str()) {
                let actual = existing.partitions.len() as u32;
                if actual != spec.partitions {
                    return Err(LogError::TopicMismatch { topic: spec.name.clone(), actual, wanted: spec.partitions });
                }
            }
        }
        for spec in wanted {
            if !topics.contains_key(spec.name.as_str()) {
                let tails = (0..spec.partitions.max(1)).map(|_| Tail::default()).collect();
                let topic = Arc::new(Topic::new(topics.len() as u32, spec, tails));
                topics.insert(Arc::clone(&topic.name), topic);
            }
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

    /// Whether a record may be appended, and to which topic.
    fn admit(&self, record: &NewRecord) -> Result<Arc<Topic>, LogError> {
        let topic = self.topic(&record.at.topic)?;
        self.partition(&topic, record.at.partition)?;
        let (bytes, limit) =
            (size_of(record.key.as_ref(), record.value.as_ref(), &record.headers), self.options.max_record_bytes);
        if bytes > limit { Err(LogError::TooLarge { bytes, limit }) } else { Ok(topic) }
    }

    pub(super) async fn produce(&self, records: Vec<NewRecord>) -> Vec<Result<Appended, LogError>> {
        let now = self.now();
        let mut answers = Vec::with_capacity(records.len());
        let mut touched: Vec<(Arc<Topic>, u32)> = Vec::new();
        for record in records {
            let answer = self.admit(&record).and_then(|topic| {
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
        self.lose_answers(answers)
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
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Batch, LogError> {
        match self.partition(topic, partition)?.tail().look(offset, max_records, max_bytes) {
            Look::Found(batch) => Ok(batch),
            Look::Older { .. } => Err(LogError::Corrupt("a record in memory is missing".to_owned())),
            Look::OutOfRange(Bounds { first, next }) => {
                Err(LogError::OutOfRange { topic: topic.name.to_string(), partition, offset, first, next })
            }
        }
    }

    pub(super) fn bounds(&self, at: &TopicPartition) -> Result<Bounds, LogError> {
        let topic = self.topic(&at.topic)?;
        Ok(self.partition(&topic, at.partition)?.tail().bounds())
    }

    pub(super) async fn offset_for_time(&self, at: &TopicPartition, time: WallMs) -> Result<Option<u64>, LogError> {
        let topic = self.topic(&at.topic)?;
        match self.partition(&topic, at.partition)?.tail().offset_for_time(time) {
            TimeLook::Found(found) => Ok(found),
            TimeLook::PerhapsOlder { otherwise, .. } => Ok(otherwise),
        }
    }

    pub(super) async fn record_at(&self, at: &TopicPartition, offset: u64) -> Result<Option<Record>, LogError> {
        let topic = self.topic(&at.topic)?;
        Ok(self.partition(&topic, at.partition)?.tail().record_at(offset).unwrap_or(None))
    }

    pub(super) fn cell(&self, group: &str, topic: &Topic) -> Arc<GroupCell> {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let cell = groups.entry((group.to_owned(), topic.id)).or_insert_with(|| {
            Arc::new(GroupCell::new(group, topic.id, topic.partitions.len() as u32, HashMap::new()))
        });
        Arc::clone(cell)
    }

    pub(super) async fn commit(&self, cell: &GroupCell, id: MemberId, commits: &[Commit]) -> Result<(), LogError> {
        self.check_open()?;
        cell.with(|state| {
            for commit in commits {
                if !state.group.has(id) {
                    return Err(LogError::Fenced);
                }
                if !state.group.may_commit(id, commit.partition) {
                    return Err(LogError::NotOwned(commit.partition));
                }
            }
            for commit in commits {
                state.commits.insert(commit.partition, commit.clone());
            }
            Ok(())
        })
    }
}
