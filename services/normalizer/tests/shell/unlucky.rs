//! A log that refuses part of a call, all of it, or commits, or that the process dies in.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use waybill_log::{
    Appended, Batch, Bounds, Commit, EmbeddedLog, GroupEvent, GroupMember, JoinGroup, Log, LogError, NewRecord,
    NewTopic, Ownership, ReadFrom, Record, TopicDescription, TopicPartition,
};
use waybill_schemas::WallMs;

/// A log whose producers can be made to fail, or to die.
pub(crate) struct Unlucky {
    pub(crate) log: EmbeddedLog,
    /// Calls of produce that still fail.
    pub(crate) fail: AtomicUsize,
    /// Calls of produce until the process dies; the dying one is appended or not, but never answered.
    pub(crate) dies_after: AtomicUsize,
    pub(crate) appends_when_dying: bool,
    pub(crate) dead: AtomicBool,
    /// What every call of produce is answered, if anything stands here.
    pub(crate) refusal: Mutex<Option<LogError>>,
    /// No commit is taken.
    pub(crate) deaf: Arc<AtomicBool>,
    /// A partition without a leader: nobody tells where it ends.
    pub(crate) unled: Mutex<Option<TopicPartition>>,
}

impl Unlucky {
    pub(crate) fn new(log: EmbeddedLog) -> Self {
        Self {
            log,
            fail: AtomicUsize::new(0),
            dies_after: AtomicUsize::new(usize::MAX),
            appends_when_dying: false,
            dead: AtomicBool::new(false),
            refusal: Mutex::default(),
            deaf: Arc::default(),
            unled: Mutex::default(),
        }
    }

    pub(crate) fn refuse(&self, error: Option<LogError>) {
        *self.refusal.lock().unwrap() = error;
    }
}

#[async_trait]
impl Log for Unlucky {
    async fn create_topics(&self, topics: &[NewTopic]) -> Result<(), LogError> {
        self.log.create_topics(topics).await
    }
    async fn describe(&self, topic: &str) -> Result<TopicDescription, LogError> {
        self.log.describe(topic).await
    }
    async fn produce(&self, records: Vec<NewRecord>) -> Vec<Result<Appended, LogError>> {
        let refusal = self.refusal.lock().unwrap().clone();
        if let Some(error) = refusal {
            return vec![Err(error); records.len()];
        }
        if self.fail.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            // The first half arrives, the rest is refused.
            let half = records.len() / 2;
            let mut answers = self.log.produce(records[..half].to_vec()).await;
            let refused = || Err(LogError::Unavailable("refused by the test".into()));
            answers.extend(std::iter::repeat_with(refused).take(records.len() - half));
            return answers;
        }
        let dying =
            self.dies_after.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err();
        if dying {
            if self.appends_when_dying && !self.dead.load(Ordering::SeqCst) {
                self.log.produce(records).await;
            }
            self.dead.store(true, Ordering::SeqCst);
            return std::future::pending().await;
        }
        self.log.produce(records).await
    }
    async fn read(&self, from: ReadFrom) -> Result<Batch, LogError> {
        self.log.read(from).await
    }
    async fn bounds(&self, at: &TopicPartition) -> Result<Bounds, LogError> {
        if self.unled.lock().unwrap().as_ref() == Some(at) {
            return Err(LogError::Unavailable("it has no leader".into()));
        }
        self.log.bounds(at).await
    }
    async fn offset_for_time(&self, at: &TopicPartition, time: WallMs) -> Result<Option<u64>, LogError> {
        self.log.offset_for_time(at, time).await
    }
    async fn record_at(&self, at: &TopicPartition, offset: u64) -> Result<Option<Record>, LogError> {
        self.log.record_at(at, offset).await
    }
    async fn join(&self, group: JoinGroup) -> Result<Box<dyn GroupMember>, LogError> {
        let inner = self.log.join(group).await?;
        Ok(Box::new(Member { inner, deaf: Arc::clone(&self.deaf) }))
    }
    async fn time(&self) -> Result<WallMs, LogError> {
        self.log.time().await
    }
}

struct Member {
    inner: Box<dyn GroupMember>,
    deaf: Arc<AtomicBool>,
}

#[async_trait]
impl GroupMember for Member {
    async fn next(&mut self, wait: Duration) -> Result<GroupEvent, LogError> {
        self.inner.next(wait).await
    }
    async fn start(&mut self, partition: u32, offset: Option<u64>) -> Result<(), LogError> {
        self.inner.start(partition, offset).await
    }
    fn pause(&mut self, partitions: &[u32]) {
        self.inner.pause(partitions);
    }
    fn resume(&mut self, partitions: &[u32]) {
        self.inner.resume(partitions);
    }
    async fn commit(&mut self, commits: &[Commit]) -> Result<(), LogError> {
        if self.deaf.load(Ordering::SeqCst) {
            return Err(LogError::Unavailable("it takes no commits".into()));
        }
        self.inner.commit(commits).await
    }
    async fn committed(&mut self, partition: u32) -> Result<Option<Commit>, LogError> {
        self.inner.committed(partition).await
    }
    fn release(&mut self, partitions: &[u32]) {
        self.inner.release(partitions);
    }
    fn ownership(&self) -> Ownership {
        self.inner.ownership()
    }
    async fn leave(self: Box<Self>) {
        self.inner.leave().await;
    }
}
