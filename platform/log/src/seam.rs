//! The log seam: what a service may ask of topics. Two backends stand behind it; a service never knows which.
//!
//! Contract, the same for every backend and forced by the conformance suite:
//! - `produce` answers only once the record is durable as the backend understands it; an error may hide a record that was
//!   appended all the same, so repeats are possible and must be harmless.
//! - Offsets of a partition rise and may have gaps. Order within one partition and one `produce` call is kept.
//! - A partition is consumed by at most one member of a group. A member that loses one is told with
//!   [`GroupEvent::Revoked`]; nobody else gets it before [`GroupMember::release`] or the end of the drain budget, and
//!   [`Ownership`] turns false the moment the loss is known, before the event is read.
//! - Reading beyond what is kept is an error on [`OutOfRange::Fail`], never a silent reset.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use waybill_schemas::{WallMs, topics::Cleanup};

use crate::ownership::Ownership;

/// Headers in order; names are ASCII.
pub type Headers = Vec<(String, Bytes)>;

/// A shared log.
pub type SharedLog = Arc<dyn Log>;

/// A partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic's full name, prefix included.
    pub topic: Arc<str>,
    /// From 0.
    pub partition: u32,
}

impl TopicPartition {
    /// A partition of its parts.
    pub fn new(topic: impl Into<Arc<str>>, partition: u32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

/// A record to append. A value of `None` is a tombstone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// Where to: the partition is always explicit, so that every backend agrees.
    pub at: TopicPartition,
    /// The key.
    pub key: Option<Bytes>,
    /// The value; `None` deletes the key on compacted topics.
    pub value: Option<Bytes>,
    /// Headers.
    pub headers: Headers,
}

/// A record as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Place in its partition.
    pub offset: u64,
    /// When the log appended it.
    pub append_time: WallMs,
    /// The key.
    pub key: Option<Bytes>,
    /// The value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// Headers.
    pub headers: Headers,
}

impl Record {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&Bytes> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value)
    }

    /// The first header of this name as text; `None` when absent or no UTF-8.
    pub fn header_str(&self, name: &str) -> Option<&str> {
        self.header(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The key as text; `None` when absent or no UTF-8.
    pub fn key_str(&self) -> Option<&str> {
        self.key.as_ref().and_then(|key| std::str::from_utf8(key).ok())
    }
}

/// Where and when a record was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Its offset.
    pub offset: u64,
    /// The log's time of appending.
    pub append_time: WallMs,
}

/// The offsets of a partition: the first record that is still kept, and the next that will be appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// First kept offset; equals `next` when nothing is kept.
    pub first: u64,
    /// Offset of the next append.
    pub next: u64,
}

/// A read without a group.
#[derive(Debug, Clone)]
pub struct ReadFrom {
    /// Which partition.
    pub at: TopicPartition,
    /// The first offset wanted; a gap is skipped.
    pub offset: u64,
    /// Most records to return; at least 1.
    pub max_records: usize,
    /// Stop after the record that passes this many bytes of keys and values; at least one record is returned.
    pub max_bytes: usize,
    /// How long to wait for a first record; zero answers at once.
    pub wait: Duration,
}

/// What a read found.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Records in order.
    pub records: Vec<Record>,
    /// Where to read on: after the last record returned, past any gap that is known.
    pub next_offset: u64,
    /// The partition's next append, when it was read.
    pub end: u64,
}

/// A topic to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    /// Full name.
    pub name: String,
    /// At least 1.
    pub partitions: u32,
    /// What is kept.
    pub cleanup: Cleanup,
    /// How long records (`delete`) or tombstones (`compact`) stay.
    pub retention: Duration,
    /// Least age before compaction.
    pub min_compaction_lag: Duration,
}

/// A topic as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDescription {
    /// Full name.
    pub name: String,
    /// Its partitions.
    pub partitions: u32,
    /// What is kept.
    pub cleanup: Cleanup,
    /// How long records or tombstones stay.
    pub retention: Duration,
}

/// What a group does about a committed offset that is no longer kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutOfRange {
    /// Report [`LogError::OutOfRange`]; for state and for inputs of promises.
    Fail,
    /// Go on at the first kept record, with a warning; for views that may be rebuilt.
    Earliest,
}

/// Joining a group on one topic.
#[derive(Debug, Clone)]
pub struct JoinGroup {
    /// The group's name.
    pub group: String,
    /// The one topic whose partitions are shared out.
    pub topic: String,
    /// This member's stable name.
    pub member: String,
    /// For committed offsets that are gone.
    pub out_of_range: OutOfRange,
    /// How long a revoked partition may be held back from others.
    pub drain_budget: Duration,
    /// Most records in one [`GroupEvent::Records`].
    pub max_batch: usize,
}

/// A commit: everything before `offset` is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Which partition.
    pub partition: u32,
    /// The next record to process.
    pub offset: u64,
    /// At most 4 KiB that come back with [`GroupMember::committed`].
    pub metadata: String,
}

/// What a member is told.
#[derive(Debug)]
pub enum GroupEvent {
    /// These partitions are now this member's. Nothing is delivered from one before [`GroupMember::start`].
    Assigned(Vec<u32>),
    /// These are no longer this member's: stop, drain, then [`GroupMember::release`].
    Revoked(Vec<u32>),
    /// Records of one partition, in order.
    Records {
        /// Whose.
        partition: u32,
        /// At least one.
        records: Vec<Record>,
    },
    /// Nothing came within the wait.
    Idle,
}

/// A member of a group.
#[async_trait]
pub trait GroupMember: Send {
    /// The next event, waiting up to `wait`.
    ///
    /// # Errors
    /// [`LogError::OutOfRange`] for a position that is gone, [`LogError::Fenced`] when another member took this name, and
    /// whatever the backend cannot hide.
    async fn next(&mut self, wait: Duration) -> Result<GroupEvent, LogError>;

    /// Begins delivery from an assigned partition: at `offset`, or where the group last committed (else at the first).
    ///
    /// # Errors
    /// [`LogError::NotOwned`] when it has been revoked meanwhile.
    async fn start(&mut self, partition: u32, offset: Option<u64>) -> Result<(), LogError>;

    /// Delivers nothing from these partitions until [`Self::resume`]; the member stays in the group.
    fn pause(&mut self, partitions: &[u32]);

    /// Delivers again from these partitions.
    fn resume(&mut self, partitions: &[u32]);

    /// Records what is done; answers when the log has acknowledged it, which renews the lease.
    ///
    /// # Errors
    /// [`LogError::NotOwned`] when a partition is no longer this member's (nothing is recorded then).
    async fn commit(&mut self, commits: &[Commit]) -> Result<(), LogError>;

    /// The group's last commit for a partition.
    ///
    /// # Errors
    /// Whatever the backend cannot hide.
    async fn committed(&mut self, partition: u32) -> Result<Option<Commit>, LogError>;

    /// Lets revoked partitions go to others.
    fn release(&mut self, partitions: &[u32]);

    /// A handle that tells at any time, from any task, what is owned and how old the lease is.
    fn ownership(&self) -> Ownership;

    /// Leaves the group; everything still owned goes to others at once.
    async fn leave(self: Box<Self>);
}

/// A log of topics.
#[async_trait]
pub trait Log: Send + Sync + 'static {
    /// Creates topics that do not exist; existing ones must have the same partitions.
    ///
    /// # Errors
    /// [`LogError::TopicMismatch`] when one exists with other partitions.
    async fn create_topics(&self, topics: &[NewTopic]) -> Result<(), LogError>;

    /// A topic as it is.
    ///
    /// # Errors
    /// [`LogError::UnknownTopic`].
    async fn describe(&self, topic: &str) -> Result<TopicDescription, LogError>;

    /// Appends records and answers for each, in order, once it is durable.
    async fn produce(&self, records: Vec<NewRecord>) -> Vec<Result<Appended, LogError>>;

    /// Reads a partition without a group.
    ///
    /// # Errors
    /// [`LogError::OutOfRange`] when `offset` is before the first kept record or beyond the end.
    async fn read(&self, from: ReadFrom) -> Result<Batch, LogError>;

    /// The partition's offsets.
    ///
    /// # Errors
    /// [`LogError::UnknownTopic`].
    async fn bounds(&self, at: &TopicPartition) -> Result<Bounds, LogError>;

    /// The first offset whose append time is at or after `time`; `None` when there is none yet.
    ///
    /// # Errors
    /// [`LogError::UnknownTopic`].
    async fn offset_for_time(&self, at: &TopicPartition, time: WallMs) -> Result<Option<u64>, LogError>;

    /// One record by its offset; `None` when it is not kept or was never appended.
    ///
    /// # Errors
    /// [`LogError::UnknownTopic`].
    async fn record_at(&self, at: &TopicPartition, offset: u64) -> Result<Option<Record>, LogError>;

    /// Joins a group.
    ///
    /// # Errors
    /// [`LogError::UnknownTopic`].
    async fn join(&self, group: JoinGroup) -> Result<Box<dyn GroupMember>, LogError>;

    /// The log's own time, for comparing clocks.
    ///
    /// # Errors
    /// Whatever the backend cannot hide.
    async fn time(&self) -> Result<WallMs, LogError>;
}

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// Try again after a pause.
    Retry,
    /// This record or call can never succeed; others can.
    Drop,
    /// This partition is no longer ours.
    Lost,
    /// The process must end.
    Fatal,
}

/// Why the log did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// No such topic or partition.
    #[error("topic {0} does not exist")]
    UnknownTopic(String),
    /// A topic exists with another shape.
    #[error("topic {topic} has {actual} partitions, {wanted} are wanted")]
    TopicMismatch {
        /// Its name.
        topic: String,
        /// As it is.
        actual: u32,
        /// As asked.
        wanted: u32,
    },
    /// A record beyond the limit.
    #[error("a record of {bytes} bytes is larger than {limit}")]
    TooLarge {
        /// Key, value and headers.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// A position that is not kept.
    #[error("offset {offset} of {topic}/{partition} is out of range: {first} to {next} are kept")]
    OutOfRange {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// What was asked.
        offset: u64,
        /// First kept.
        first: u64,
        /// Next append.
        next: u64,
    },
    /// The partition belongs to another member.
    #[error("partition {0} is not owned by this member")]
    NotOwned(u32),
    /// Another member took this member's name.
    #[error("another member has joined under the same name")]
    Fenced,
    /// The disk or the broker has no room.
    #[error("the log has no room left: {0}")]
    Full(String),
    /// What is stored cannot be read.
    #[error("the log is damaged: {0}")]
    Corrupt(String),
    /// Not reachable now.
    #[error("the log is unavailable: {0}")]
    Unavailable(String),
    /// Settings that can never work; the sentence names the key.
    #[error("the log's configuration cannot be used: {0}")]
    Misconfigured(String),
    /// The log has been closed.
    #[error("the log is closed")]
    Closed,
}

impl LogError {
    /// What to do about it.
    pub const fn class(&self) -> ErrorClass {
        match self {
            Self::Unavailable(_) | Self::Full(_) => ErrorClass::Retry,
            Self::TooLarge { .. } => ErrorClass::Drop,
            Self::NotOwned(_) => ErrorClass::Lost,
            Self::UnknownTopic(_)
            | Self::TopicMismatch { .. }
            | Self::OutOfRange { .. }
            | Self::Fenced
            | Self::Corrupt(_)
            | Self::Misconfigured(_)
            | Self::Closed => ErrorClass::Fatal,
        }
    }
}
