//! A log whose members are refused until they have been asked for their next event some more times, as one of Kafka is that
//! has to join its group anew: it learns of that only there. And one that takes no commits for a while.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use waybill_log::{
    Appended, Batch, Bounds, Commit, GroupEvent, GroupMember, JoinGroup, Log, LogError, NewRecord, NewTopic, Ownership,
    ReadFrom, Record, SharedLog, TopicDescription, TopicPartition,
};
use waybill_schemas::WallMs;

/// How often a member is asked for its next event after an assignment until it is taken in again.
const LOOKS: u32 = 3;
/// How long a commit takes to be refused.
const REFUSAL: Duration = Duration::from_millis(100);

pub struct RejoinLog {
    log: SharedLog,
    looks: u32,
    /// No commit is taken.
    deaf: Arc<AtomicBool>,
}

#[async_trait]
impl Log for RejoinLog {
    async fn create_topics(&self, topics: &[NewTopic]) -> Result<(), LogError> {
        self.log.create_topics(topics).await
    }
    async fn describe(&self, topic: &str) -> Result<TopicDescription, LogError> {
        self.log.describe(topic).await
    }
    async fn produce(&self, records: Vec<NewRecord>) -> Vec<Result<Appended, LogError>> {
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
        let inner = self.log.join(group).await?;
        Ok(Box::new(RejoinMember { inner, looks: 0, after: self.looks, deaf: Arc::clone(&self.deaf) }))
    }
    async fn time(&self) -> Result<WallMs, LogError> {
        self.log.time().await
    }
}

struct RejoinMember {
    inner: Box<dyn GroupMember>,
    looks: u32,
    after: u32,
    deaf: Arc<AtomicBool>,
}

#[async_trait]
impl GroupMember for RejoinMember {
    async fn next(&mut self, wait: Duration) -> Result<GroupEvent, LogError> {
        self.looks = self.looks.saturating_sub(1);
        let event = self.inner.next(wait).await?;
        if matches!(event, GroupEvent::Assigned(_)) {
            self.looks = self.after;
        }
        Ok(event)
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
            tokio::time::sleep(REFUSAL).await;
            return Err(LogError::Unavailable("it takes no commits".to_owned()));
        }
        self.inner.commit(commits).await
    }
    async fn committed(&mut self, partition: u32) -> Result<Option<Commit>, LogError> {
        if self.looks > 0 {
            return Err(LogError::Unavailable("it has to join anew".to_owned()));
        }
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

/// `log`, with members that have to join anew.
pub fn rejoining(log: &SharedLog) -> SharedLog {
    Arc::new(RejoinLog { log: Arc::clone(log), looks: LOOKS, deaf: Arc::default() })
}

/// `log`, which takes no commits as long as what is answered beside it says so.
pub fn deaf(log: &SharedLog) -> (SharedLog, Arc<AtomicBool>) {
    let deaf = Arc::new(AtomicBool::new(true));
    (Arc::new(RejoinLog { log: Arc::clone(log), looks: 0, deaf: Arc::clone(&deaf) }), deaf)
}
