//! A log that refuses part of a call, or that the process dies in.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use waybill_log::{
    Appended, Batch, Bounds, EmbeddedLog, GroupMember, JoinGroup, Log, LogError, NewRecord, NewTopic, ReadFrom, Record,
    TopicDescription, TopicPartition,
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
}

impl Unlucky {
    pub(crate) fn new(log: EmbeddedLog) -> Self {
        let dies_after = AtomicUsize::new(usize::MAX);
        Self { log, fail: AtomicUsize::new(0), dies_after, appends_when_dying: false, dead: AtomicBool::new(false) }
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
        self.log.bounds(at).await
    }
    async fn offset_for_time(&self, at: &TopicPartition, time: WallMs) -> Result<Option<u64>, LogError> {
        self.log.offset_for_time(at, time).await
    }
    async fn record_at(&self, at: &TopicPartition, offset: u64) -> Result<Option<Record>, LogError> {
        self.log.record_at(at, offset).await
    }
    async fn join(&self, group: JoinGroup) -> Result<Box<dyn GroupMember>, LogError> {
        self.log.join(group).await
    }
    async fn time(&self) -> Result<WallMs, LogError> {
        self.log.time().await
    }
}
