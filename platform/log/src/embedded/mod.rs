//! The embedded log: topics and groups inside this process, in memory or durable on local disk, behind the log seam.
//!
//! One coordination of groups serves both storages. Several members may join a group in one process; a member that is
//! dropped has left. Time comes from the clock in [`EmbeddedOptions`] (append times) and from tokio's (waits, leases,
//! drains), so that tests under paused time see neither move.

mod cell;
mod disk;
mod faults;
mod group;
mod inner;
mod member;
mod options;
mod retention;
mod topic;

use std::{fmt, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::time::Instant;
use waybill_schemas::WallMs;

#[cfg(feature = "conformance")]
pub use self::faults::EmbeddedFaults;
use self::{disk::Disk, inner::Inner, member::Member};
pub use self::{
    options::{EmbeddedOptions, WallClock},
    retention::Maintained,
};
use crate::seam::{
    Appended, Batch, Bounds, GroupMember, JoinGroup, Log, LogError, NewRecord, NewTopic, ReadFrom, Record,
    TopicDescription, TopicPartition,
};

/// Stands in for waits that no clock can express.
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// A log inside this process. Cheap to clone; all clones are the same log.
#[derive(Clone)]
pub struct EmbeddedLog {
    inner: Arc<Inner>,
}

impl fmt::Debug for EmbeddedLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedLog").field("options", &self.inner.options).finish_non_exhaustive()
    }
}

impl EmbeddedLog {
    /// An empty log that lives as long as this process.
    pub fn in_memory(options: EmbeddedOptions) -> Self {
        Self { inner: Arc::new(Inner::in_memory(options)) }
    }

    /// Opens the log of a directory, creating it when there is none. Blocks while it reads; one process at a time.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] when another process has the directory or it cannot be used, [`LogError::Corrupt`] when
    /// what is stored cannot be read or acknowledged records are missing.
    pub fn open(dir: &Path, options: EmbeddedOptions) -> Result<Self, LogError> {
        let (disk, found) = Disk::open(dir, &options)?;
        Ok(Self { inner: Arc::new(Inner::durable(options, disk, found)) })
    }

    /// Deletes what each topic no longer keeps at `now`: old records on `delete` topics; on `compact` topics records that
    /// a newer one of their key replaces, once both are older than the compaction lag, and tombstones past their
    /// retention. For a background task, every minute or so; offsets have gaps afterwards.
    ///
    /// # Errors
    /// Whatever the storage cannot hide; what was deleted until then stays deleted.
    pub async fn maintain(&self, now: WallMs) -> Result<Maintained, LogError> {
        retention::maintain(&self.inner, now).await
    }

    /// Waits for what is being written, then closes: every call answers [`LogError::Closed`] from now on, and a durable
    /// log's directory may be opened again once all clones and members are dropped.
    pub async fn close(&self) {
        self.inner.close().await;
    }

    /// Makes this log misbehave; for tests.
    #[cfg(feature = "conformance")]
    pub fn faults(&self) -> EmbeddedFaults {
        EmbeddedFaults { inner: Arc::clone(&self.inner) }
    }
}

#[async_trait]
impl Log for EmbeddedLog {
    async fn create_topics(&self, topics: &[NewTopic]) -> Result<(), LogError> {
        self.inner.create_topics(topics).await
    }

    async fn describe(&self, topic: &str) -> Result<TopicDescription, LogError> {
        self.inner.describe(topic)
    }

    async fn produce(&self, records: Vec<NewRecord>) -> Vec<Result<Appended, LogError>> {
        // An append in memory never waits: without this a producer in a loop would starve its neighbours.
        tokio::task::consume_budget().await;
        self.inner.produce(records).await
    }

    async fn read(&self, from: ReadFrom) -> Result<Batch, LogError> {
        let topic = self.inner.topic(&from.at.topic)?;
        let deadline = Instant::now() + from.wait.min(FAR);
        loop {
            tokio::task::consume_budget().await;
            self.inner.check_open()?;
            let appended = self.inner.partition(&topic, from.at.partition)?.appended.notified();
            tokio::pin!(appended);
            appended.as_mut().enable();
            let limits = (from.max_records, from.max_bytes);
            let batch = self.inner.read_now(&topic, from.at.partition, from.offset, limits).await?;
            if !batch.records.is_empty() || batch.next_offset > from.offset || Instant::now() >= deadline {
                return Ok(batch);
            }
            tokio::select! {
                () = appended => {}
                () = self.inner.closing() => {}
                () = tokio::time::sleep_until(deadline) => {}
            }
        }
    }

    async fn bounds(&self, at: &TopicPartition) -> Result<Bounds, LogError> {
        self.inner.bounds(at)
    }

    async fn offset_for_time(&self, at: &TopicPartition, time: WallMs) -> Result<Option<u64>, LogError> {
        let topic = self.inner.topic(&at.topic)?;
        self.inner.offset_for_time(&topic, at.partition, time).await
    }

    async fn record_at(&self, at: &TopicPartition, offset: u64) -> Result<Option<Record>, LogError> {
        self.inner.record_at(at, offset).await
    }

    async fn join(&self, group: JoinGroup) -> Result<Box<dyn GroupMember>, LogError> {
        let topic = self.inner.topic(&group.topic)?;
        let cell = self.inner.cell(&group.group, &topic);
        Ok(Box::new(Member::join(Arc::clone(&self.inner), topic, cell, &group)))
    }

    async fn time(&self) -> Result<WallMs, LogError> {
        self.inner.check_open()?;
        Ok(self.inner.now())
    }
}
