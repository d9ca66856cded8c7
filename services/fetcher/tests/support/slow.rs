//! A log that takes its time over the records of one topic.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use waybill_log::{
    Appended, Batch, Bounds, GroupMember, JoinGroup, Log, LogError, NewRecord, NewTopic, ReadFrom, Record, SharedLog,
    TopicDescription, TopicPartition,
};
use waybill_schemas::WallMs;

pub struct Slow {
    pub log: SharedLog,
    pub topic: String,
    /// How long a record waits before it is appended.
    pub by: Duration,
    /// Somebody has begun to write to the topic.
    pub asked: AtomicBool,
}

#[async_trait]
impl Log for Slow {
    async fn create_topics(&self, topics: &[NewTopic]) -> Result<(), LogError> {
        self.log.create_topics(topics).await
    }
    async fn describe(&self, topic: &str) -> Result<TopicDescription, LogError> {
        self.log.describe(topic).await
    }
    async fn produce(&self, records: Vec<NewRecord>) -> Vec<Result<Appended, LogError>> {
        if records.iter().any(|record| *record.at.topic == *self.topic) {
            self.asked.store(true, Ordering::SeqCst);
            tokio::time::sleep(self.by).await;
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
