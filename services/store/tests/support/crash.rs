//! A log whose commits stop for ever at a chosen point, so that the store can be dropped exactly there.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tokio::sync::Notify;
use waybill_log::{
    Appended, Batch, Bounds, Commit, GroupEvent, GroupMember, JoinGroup, Log, LogError, NewRecord, NewTopic, Ownership,
    ReadFrom, Record, SharedLog, TopicDescription, TopicPartition,
};
use waybill_schemas::WallMs;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// A plan is about to be acknowledged.
    BeforePlan,
    /// A plan has been acknowledged, nothing is sent.
    AfterPlan,
    /// Everything of a range is stored, its end is not committed.
    BeforePosition,
    /// The range's end is committed.
    AfterPosition,
}

#[derive(Debug)]
pub struct Crash {
    topic: String,
    point: Point,
    /// How many times the point is passed before it stops.
    passes: AtomicU32,
    pub reached: Notify,
    /// By partition: where the plan ends that the log has acknowledged, and whose end it has not.
    under_way: Mutex<BTreeMap<u32, u64>>,
}

impl Crash {
    /// The last offset of each partition's range that may have been sent.
    pub fn under_way(&self) -> BTreeMap<u32, u64> {
        self.under_way.lock().unwrap().clone()
    }

    fn acknowledged(&self, commits: &[Commit]) {
        let mut under_way = self.under_way.lock().unwrap();
        for commit in commits {
            under_way.remove(&commit.partition);
            if !commit.metadata.is_empty() {
                let plan: serde_json::Value = serde_json::from_str(&commit.metadata).unwrap();
                under_way.insert(commit.partition, plan["last"].as_u64().unwrap());
            }
        }
    }
}

pub struct CrashLog {
    inner: SharedLog,
    crash: Arc<Crash>,
}

impl CrashLog {
    pub fn around(inner: &SharedLog, topic: &str, point: Point, passes: u32) -> (SharedLog, Arc<Crash>) {
        let (passes, reached) = (AtomicU32::new(passes), Notify::new());
        let crash = Crash { topic: topic.to_owned(), point, passes, reached, under_way: Mutex::default() };
        let crash = Arc::new(crash);
        (Arc::new(Self { inner: Arc::clone(inner), crash: Arc::clone(&crash) }), crash)
    }
}

#[async_trait]
impl Log for CrashLog {
    async fn create_topics(&self, topics: &[NewTopic]) -> Result<(), LogError> {
        self.inner.create_topics(topics).await
    }
    async fn describe(&self, topic: &str) -> Result<TopicDescription, LogError> {
        self.inner.describe(topic).await
    }
    async fn produce(&self, records: Vec<NewRecord>) -> Vec<Result<Appended, LogError>> {
        self.inner.produce(records).await
    }
    async fn read(&self, from: ReadFrom) -> Result<Batch, LogError> {
        self.inner.read(from).await
    }
    async fn bounds(&self, at: &TopicPartition) -> Result<Bounds, LogError> {
        self.inner.bounds(at).await
    }
    async fn offset_for_time(&self, at: &TopicPartition, time: WallMs) -> Result<Option<u64>, LogError> {
        self.inner.offset_for_time(at, time).await
    }
    async fn record_at(&self, at: &TopicPartition, offset: u64) -> Result<Option<Record>, LogError> {
        self.inner.record_at(at, offset).await
    }
    async fn join(&self, group: JoinGroup) -> Result<Box<dyn GroupMember>, LogError> {
        let mine = group.topic == self.crash.topic;
        let inner = self.inner.join(group).await?;
        Ok(if mine { Box::new(CrashMember { inner, crash: Arc::clone(&self.crash) }) } else { inner })
    }
    async fn time(&self) -> Result<WallMs, LogError> {
        self.inner.time().await
    }
}

struct CrashMember {
    inner: Box<dyn GroupMember>,
    crash: Arc<Crash>,
}

impl CrashMember {
    async fn stop_at(crash: Arc<Crash>, here: bool, point: Point) {
        if !here || crash.point != point {
            return;
        }
        if crash.passes.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1)).is_err() {
            crash.reached.notify_one();
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl GroupMember for CrashMember {
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
        let plan = commits.iter().any(|commit| !commit.metadata.is_empty());
        let position = commits.iter().any(|commit| commit.offset > 0);
        Self::stop_at(Arc::clone(&self.crash), plan, Point::BeforePlan).await;
        Self::stop_at(Arc::clone(&self.crash), position, Point::BeforePosition).await;
        self.inner.commit(commits).await?;
        self.crash.acknowledged(commits);
        Self::stop_at(Arc::clone(&self.crash), plan, Point::AfterPlan).await;
        Self::stop_at(Arc::clone(&self.crash), position, Point::AfterPosition).await;
        Ok(())
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
