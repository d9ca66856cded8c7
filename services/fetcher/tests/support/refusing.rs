//! A log whose members cannot begin delivery until they have been asked for their next event some more times, and take no
//! commits for as long as they are told to: as one of Kafka whose group has to be joined anew, or whose coordinator is away.
//! And one of whose partitions takes nothing, as one without a leader.

use std::{
    sync::{
        Arc, Mutex,
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

pub struct Refusing {
    pub log: SharedLog,
    /// How often a member has to be asked for its next event, once it was refused, until it begins delivery.
    pub looks: u32,
    /// No commit is taken.
    pub deaf: Arc<AtomicBool>,
    /// The partition that takes nothing, and what it answers.
    pub refusal: Arc<Mutex<Option<(TopicPartition, LogError)>>>,
}

#[async_trait]
impl Log for Refusing {
    async fn create_topics(&self, topics: &[NewTopic]) -> Result<(), LogError> {
        self.log.create_topics(topics).await
    }
    async fn describe(&self, topic: &str) -> Result<TopicDescription, LogError> {
        self.log.describe(topic).await
    }
    async fn produce(&self, records: Vec<NewRecord>) -> Vec<Result<Appended, LogError>> {
        let refusal = self.refusal.lock().unwrap().clone();
        match refusal {
            Some((at, error)) if records.iter().any(|record| record.at == at) => vec![Err(error); records.len()],
            _ => self.log.produce(records).await,
        }
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
        Ok(Box::new(Member { inner, looks: self.looks, refused: false, deaf: Arc::clone(&self.deaf) }))
    }
    async fn time(&self) -> Result<WallMs, LogError> {
        self.log.time().await
    }
}

struct Member {
    inner: Box<dyn GroupMember>,
    looks: u32,
    refused: bool,
    deaf: Arc<AtomicBool>,
}

#[async_trait]
impl GroupMember for Member {
    async fn next(&mut self, wait: Duration) -> Result<GroupEvent, LogError> {
        if self.refused {
            self.looks = self.looks.saturating_sub(1);
        }
        self.inner.next(wait).await
    }
    async fn start(&mut self, partition: u32, offset: Option<u64>) -> Result<(), LogError> {
        if self.looks > 0 {
            self.refused = true;
            return Err(LogError::Unavailable("it has to join anew".to_owned()));
        }
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
            return Err(LogError::Unavailable("it takes no commits".to_owned()));
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
