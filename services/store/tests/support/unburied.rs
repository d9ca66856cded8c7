//! A log that takes no dead letters, for as long as it is told why not, or does not tell where partitions end.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use waybill_log::{
    Appended, Batch, Bounds, GroupMember, JoinGroup, Log, LogError, NewRecord, NewTopic, ReadFrom, Record, SharedLog,
    TopicDescription, TopicPartition,
};
use waybill_schemas::{
    WallMs,
    topics::{TopicPrefix, names},
};

pub struct Unburied {
    inner: SharedLog,
    refusal: Mutex<Option<LogError>>,
    silent: AtomicBool,
    unled: Mutex<Option<TopicPartition>>,
}

impl Unburied {
    /// `inner`, which answers dead letters so.
    pub fn around(inner: &SharedLog, refusal: LogError) -> Arc<Self> {
        let (refusal, silent) = (Mutex::new(Some(refusal)), AtomicBool::new(false));
        Arc::new(Self { inner: Arc::clone(inner), refusal, silent, unled: Mutex::default() })
    }

    /// From now on it takes them.
    pub fn yields(&self) {
        *self.refusal.lock().unwrap() = None;
    }

    /// From now on this partition has no leader, or every one has.
    pub fn unlead(&self, at: Option<TopicPartition>) {
        *self.unled.lock().unwrap() = at;
    }

    /// From now on it does not tell where partitions end.
    pub fn hush(&self) {
        self.silent.store(true, Ordering::SeqCst);
    }
}

#[async_trait]
impl Log for Unburied {
    async fn create_topics(&self, topics: &[NewTopic]) -> Result<(), LogError> {
        self.inner.create_topics(topics).await
    }
    async fn describe(&self, topic: &str) -> Result<TopicDescription, LogError> {
        self.inner.describe(topic).await
    }
    async fn produce(&self, records: Vec<NewRecord>) -> Vec<Result<Appended, LogError>> {
        let letters = TopicPrefix::default().of(names::DEAD_LETTERS);
        let refusal = self.refusal.lock().unwrap().clone();
        match refusal {
            Some(error) if records.iter().any(|record| *record.at.topic == *letters) => {
                vec![Err(error); records.len()]
            }
            _ => self.inner.produce(records).await,
        }
    }
    async fn read(&self, from: ReadFrom) -> Result<Batch, LogError> {
        self.inner.read(from).await
    }
    async fn bounds(&self, at: &TopicPartition) -> Result<Bounds, LogError> {
        if self.silent.load(Ordering::SeqCst) {
            return std::future::pending().await;
        }
        if self.unled.lock().unwrap().as_ref() == Some(at) {
            return Err(LogError::Unavailable("it has no leader".to_owned()));
        }
        self.inner.bounds(at).await
    }
    async fn offset_for_time(&self, at: &TopicPartition, time: WallMs) -> Result<Option<u64>, LogError> {
        self.inner.offset_for_time(at, time).await
    }
    async fn record_at(&self, at: &TopicPartition, offset: u64) -> Result<Option<Record>, LogError> {
        self.inner.record_at(at, offset).await
    }
    async fn join(&self, group: JoinGroup) -> Result<Box<dyn GroupMember>, LogError> {
        self.inner.join(group).await
    }
    async fn time(&self) -> Result<WallMs, LogError> {
        self.inner.time().await
    }
}
