//! A user of the log, as laws need one: short ways to say what is done and to wait for what must come.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout};
use waybill_schemas::topics::Cleanup;

use super::Instance;
use crate::seam::{
    Appended, Batch, Commit, GroupEvent, GroupMember, Headers, JoinGroup, LogError, NewRecord, NewTopic, OutOfRange,
    ReadFrom, Record, TopicPartition,
};

/// Longest time in which something must happen; reached only by a backend that fails.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// Time in which something must not happen.
pub(super) const SILENCE: Duration = Duration::from_millis(300);

/// A member and what it was told.
pub struct User {
    /// The member.
    pub member: Box<dyn GroupMember>,
    /// Records received, with their partition.
    pub received: Vec<(u32, Record)>,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User").field("received", &self.received.len()).finish_non_exhaustive()
    }
}

impl Instance {
    /// A topic of this law.
    pub(super) fn topic(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    /// Creates a topic and answers its full name.
    pub(super) async fn create(&self, name: &str, partitions: u32) -> String {
        let name = self.topic(name);
        let topic = NewTopic {
            name: name.clone(),
            partitions,
            cleanup: Cleanup::Delete,
            retention: Duration::from_secs(3_600),
            min_compaction_lag: Duration::ZERO,
        };
        self.log.create_topics(&[topic]).await.unwrap();
        name
    }

    /// Appends a value; answers its offset.
    pub(super) async fn append(&self, topic: &str, partition: u32, value: &str) -> Appended {
        self.log.produce(vec![record(topic, partition, value)]).await.remove(0).unwrap()
    }

    /// Reads what is there from an offset on.
    pub(super) async fn read(&self, topic: &str, partition: u32, offset: u64) -> Result<Batch, LogError> {
        let at = TopicPartition::new(topic, partition);
        let from = ReadFrom { at, offset, max_records: 1_000, max_bytes: 1 << 20, wait: Duration::ZERO };
        self.log.read(from).await
    }

    /// A member with defaults.
    pub(super) async fn join(&self, topic: &str, member: &str) -> User {
        self.join_as(self.request(topic, member)).await
    }

    /// What [`Self::join`] asks.
    pub(super) fn request(&self, topic: &str, member: &str) -> JoinGroup {
        JoinGroup {
            group: format!("{}.group", self.prefix),
            topic: topic.to_owned(),
            member: member.to_owned(),
            out_of_range: OutOfRange::Fail,
            drain_budget: PATIENCE,
            max_batch: 100,
        }
    }

    /// A member as asked.
    pub(super) async fn join_as(&self, group: JoinGroup) -> User {
        User { member: self.log.join(group).await.unwrap(), received: Vec::new() }
    }
}

/// A record with only a value.
pub(super) fn record(topic: &str, partition: u32, value: &str) -> NewRecord {
    NewRecord {
        at: TopicPartition::new(topic, partition),
        key: None,
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: Headers::new(),
    }
}

/// A record's value as text.
pub(super) fn text(record: &Record) -> &str {
    std::str::from_utf8(record.value.as_deref().unwrap()).unwrap()
}

impl User {
    /// The next event that is not idleness.
    pub(super) async fn event(&mut self) -> Result<GroupEvent, LogError> {
        // A member that is fenced may be in doubt for two sessions before it says so.
        let deadline = Instant::now() + PATIENCE * 2;
        while Instant::now() < deadline {
            match timeout(PATIENCE, self.member.next(Duration::from_secs(1))).await.expect("next keeps its wait")? {
                GroupEvent::Idle => {}
                event => return Ok(event),
            }
        }
        panic!("nothing came");
    }

    /// Waits until it was assigned exactly so many partitions, over one event or several, and nothing else came.
    pub(super) async fn assigned(&mut self, count: usize) -> Vec<u32> {
        let mut all = Vec::new();
        while all.len() < count {
            match self.event().await.unwrap() {
                GroupEvent::Assigned(partitions) => all.extend(partitions),
                other => panic!("{other:?}"),
            }
        }
        all.sort_unstable();
        assert_eq!(all.len(), count);
        all
    }

    /// Waits until it was assigned so many partitions, and starts all.
    pub(super) async fn started(&mut self, count: usize) -> Vec<u32> {
        let partitions = self.assigned(count).await;
        for partition in &partitions {
            self.member.start(*partition, None).await.unwrap();
        }
        partitions
    }

    /// Waits for a revoke, keeping records that come before it.
    pub(super) async fn revoked(&mut self) -> Vec<u32> {
        loop {
            match self.event().await.unwrap() {
                GroupEvent::Revoked(partitions) => return partitions,
                GroupEvent::Records { partition, records } => {
                    self.received.extend(records.into_iter().map(|record| (partition, record)));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Waits for the next so many records.
    pub(super) async fn records(&mut self, count: usize) -> Vec<(u32, Record)> {
        while self.received.len() < count {
            match self.event().await.unwrap() {
                GroupEvent::Records { partition, records } => {
                    assert!(!records.is_empty());
                    self.received.extend(records.into_iter().map(|record| (partition, record)));
                }
                other => panic!("{other:?}"),
            }
        }
        self.received.drain(..count).collect()
    }

    /// The next so many values.
    pub(super) async fn values(&mut self, count: usize) -> Vec<String> {
        self.records(count).await.iter().map(|(_, record)| text(record).to_owned()).collect()
    }

    /// Nothing comes for a while.
    pub(super) async fn hears_nothing(&mut self) {
        assert!(self.received.is_empty());
        let event = timeout(PATIENCE, self.member.next(SILENCE)).await.expect("next keeps its wait").unwrap();
        assert!(matches!(event, GroupEvent::Idle), "{event:?}");
    }

    /// Commits an offset.
    pub(super) async fn commit(&mut self, partition: u32, offset: u64, metadata: &str) -> Result<(), LogError> {
        self.member.commit(&[Commit { partition, offset, metadata: metadata.to_owned() }]).await
    }
}
