//! A consumer that belongs to no group, and cursors on its partitions.
//!
//! A cursor holds a partition of its client from an offset on; its records come to a queue of its own, so a busy partition
//! never hides another and a cursor that nobody reads holds back only itself.
//!
//! Memory of a consumer with 32 partitions far behind. A partition's queue holds `QUEUED_KIB` (or `QUEUED_RECORDS`), plus
//! what one more fetch brings: `PARTITION_BYTES` *as compressed*, and records of one topic resemble each other, so at a ratio
//! of 30 half a MiB, plus the rest of a batch (at most 1 MiB, our producer's limit). That is 1.75 MiB; 32 of them are 56 MiB.
//! Uncompressed records keep the answer alive in which they came: at most `ANSWER_BYTES` a partition, 32 MiB. Together
//! 88 MiB, whatever the lag; a store has a consumer for each topic that it reads. (With fetches eight times as large a store
//! behind a million numbers was seen to need 830 MiB, and a fetcher 520.) Readers outside groups keep few cursors besides.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError, RwLock, Weak},
    time::Duration,
};

use rdkafka::{
    Offset, TopicPartitionList,
    config::ClientConfig,
    consumer::{BaseConsumer, Consumer as _},
    error::{KafkaError, KafkaResult},
    types::RDKafkaErrorCode as Code,
};
use tokio::{
    sync::Notify,
    task::spawn_blocking,
    time::{Instant, timeout},
};

use waybill_schemas::WallMs;

use super::{
    context::Context,
    error::{from_error, gone},
    native::{Fetched, PartitionQueue, known_end},
    silence::Silence,
    unless_given,
};
use crate::seam::{Bounds, LogError, Record, TopicPartition};

/// Most bytes of one delivery.
const MAX_DELIVERY_BYTES: usize = 4 * 1024 * 1024;
/// Records waiting in a partition's queue, in KiB.
const QUEUED_KIB: u32 = 256;
/// The same in records: each costs some hundred bytes beside its own.
const QUEUED_RECORDS: u32 = 1_000;
/// Most bytes of one partition in one answer, as compressed; one batch always passes.
const PARTITION_BYTES: u32 = 16_384;
/// Most bytes of one answer, as compressed.
const ANSWER_BYTES: u32 = 1_048_576;
/// How often a client's own events are looked at.
const KEEPING: Duration = Duration::from_millis(100);
/// How long a partition that is getting a leader is left alone.
const SETTLING: Duration = Duration::from_millis(30);
/// Most events at one look.
const EVENTS: usize = 64;

type Native = BaseConsumer<Context>;

/// What was found of where a partition begins and ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ends {
    /// There, or not to be known.
    Known(Result<Bounds, LogError>),
    /// It has no leader just now.
    Settling(LogError),
}

/// One client without a group.
pub(super) struct FetchClient {
    /// `None` only while it is dropped.
    native: RwLock<Option<Arc<Native>>>,
    request_timeout: Duration,
    /// Topics of which this client knows the leaders.
    known: Mutex<BTreeSet<Arc<str>>>,
}

impl FetchClient {
    /// `hold`: how long the broker may hold back an answer when there is nothing new.
    pub(super) fn new(
        mut config: ClientConfig,
        context: Context,
        hold: Duration,
        request_timeout: Duration,
    ) -> Result<Arc<Self>, LogError> {
        for (name, value) in [
            ("fetch.wait.max.ms", hold.as_millis().to_string()),
            ("fetch.min.bytes", "1".to_owned()),
            ("fetch.queue.backoff.ms", "5".to_owned()),
            ("fetch.error.backoff.ms", "100".to_owned()),
            ("queued.max.messages.kbytes", QUEUED_KIB.to_string()),
            ("queued.min.messages", QUEUED_RECORDS.to_string()),
            ("fetch.message.max.bytes", PARTITION_BYTES.to_string()),
            ("fetch.max.bytes", ANSWER_BYTES.to_string()),
        ] {
            unless_given(&mut config, name, &value);
        }
        config.set("enable.partition.eof", "true").set("auto.offset.reset", "error");
        let brokers = Arc::clone(&context.brokers);
        let native: Native =
            config.create_with_context(context).map_err(|error| from_error(&error, "the consumer cannot be made"))?;
        let native = Arc::new(native);
        brokers.watch(&native);
        let native = RwLock::new(Some(native));
        let client = Arc::new(Self { native, request_timeout, known: Mutex::default() });
        tokio::spawn(keep(Arc::downgrade(&client)));
        Ok(client)
    }

    pub(super) fn native(&self) -> Result<Arc<Native>, LogError> {
        self.native.read().unwrap_or_else(PoisonError::into_inner).clone().ok_or(LogError::Closed)
    }

    /// Runs a call that waits for the broker, beside the runtime; `Unavailable` when it does not end in time.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        what: &str,
        call: impl FnOnce(&Native, Duration) -> Result<T, LogError> + Send + 'static,
    ) -> Result<T, LogError> {
        let (native, limit) = (self.native()?, self.request_timeout);
        let answer = timeout(limit + Duration::from_secs(5), spawn_blocking(move || call(&native, limit))).await;
        match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(gone(what)),
            Err(_) => Err(LogError::Unavailable(format!("{what}: no answer in time"))),
        }
    }

    /// Makes sure that this client knows a topic. Without it the first cursor on a topic would wait for librdkafka's next
    /// look around, up to a second.
    pub(super) async fn know(&self, topic: &Arc<str>) -> Result<(), LogError> {
        if self.known.lock().unwrap_or_else(PoisonError::into_inner).contains(topic) {
            return Ok(());
        }
        let name = Arc::clone(topic);
        self.ask(topic, move |native, limit| {
            native.fetch_metadata(Some(&name), limit).map(drop).map_err(|error| from_error(&error, &name))
        })
        .await?;
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(Arc::clone(topic));
        Ok(())
    }

    /// How long a call may wait for the broker.
    pub(super) fn request_timeout(&self) -> Duration {
        self.request_timeout
    }

    /// The partitions' offsets, asked of the broker now: two requests of each leader.
    pub(super) async fn bounds(
        &self,
        topic: &Arc<str>,
        partitions: BTreeSet<u32>,
    ) -> Result<BTreeMap<u32, Ends>, LogError> {
        let name = Arc::clone(topic);
        self.ask(topic, move |native, limit| {
            let ends = |which: Offset| {
                let mut list = TopicPartitionList::with_capacity(partitions.len());
                for partition in &partitions {
                    list.add_partition_offset(&name, native_partition(*partition), which)?;
                }
                native.offsets_for_times(list, limit)
            };
            let both = ends(Offset::Beginning).and_then(|first| Ok((first, ends(Offset::End)?)));
            let (first, next) = match both {
                Ok(both) => both,
                Err(error) if is_settling(&error) => {
                    let settling = Ends::Settling(from_error(&error, &name));
                    return Ok(partitions.iter().map(|partition| (*partition, settling.clone())).collect());
                }
                Err(error) => return Err(from_error(&error, &name)),
            };
            let bounds = |partition: u32| -> KafkaResult<Bounds> {
                Ok(Bounds { first: offset_in(&first, &name, partition)?, next: offset_in(&next, &name, partition)? })
            };
            let told = |bounds: KafkaResult<Bounds>| match bounds {
                Err(error) if is_settling(&error) => Ends::Settling(from_error(&error, &name)),
                bounds => Ends::Known(bounds.map_err(|error| from_error(&error, &name))),
            };
            Ok(partitions.iter().map(|partition| (*partition, told(bounds(*partition)))).collect())
        })
        .await
    }

    /// The first offsets appended at or after a time, one a partition asked for, asked in one request of each leader.
    pub(super) async fn offsets_for_time(
        &self,
        topic: &Arc<str>,
        partitions: Vec<u32>,
        time: WallMs,
    ) -> Result<Vec<Option<u64>>, LogError> {
        let name = Arc::clone(topic);
        self.ask(topic, move |native, limit| {
            let asked = || {
                let mut list = TopicPartitionList::with_capacity(partitions.len());
                for partition in &partitions {
                    let time = Offset::Offset(time.ms().max(0));
                    list.add_partition_offset(&name, native_partition(*partition), time)?;
                }
                let found = native.offsets_for_times(list, limit)?;
                let mut offsets = Vec::with_capacity(partitions.len());
                for partition in &partitions {
                    let row = found.find_partition(&name, native_partition(*partition));
                    offsets.push(match row {
                        None => None,
                        Some(row) => {
                            row.error()?;
                            if let Offset::Offset(offset) = row.offset() { u64::try_from(offset).ok() } else { None }
                        }
                    });
                }
                Ok(offsets)
            };
            settled(limit, asked).map_err(|error| from_error(&error, &name))
        })
        .await
    }
}

/// Asks again while a partition is just getting a leader. Waits, so not for the runtime's own threads.
pub(super) fn settled<T>(limit: Duration, ask: impl Fn() -> KafkaResult<T>) -> KafkaResult<T> {
    let deadline = Instant::now() + limit;
    loop {
        match ask() {
            Err(error) if Instant::now() < deadline && is_settling(&error) => std::thread::sleep(SETTLING),
            answer => return answer,
        }
    }
}

/// Whether a partition is just getting a leader.
fn is_settling(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::NotLeaderForPartition | Code::LeaderNotAvailable | Code::FencedLeaderEpoch | Code::UnknownLeaderEpoch
        )
    )
}

/// The offset that was found for a partition.
fn offset_in(found: &TopicPartitionList, topic: &str, partition: u32) -> KafkaResult<u64> {
    let row = found.find_partition(topic, native_partition(partition));
    let row = row.ok_or(KafkaError::OffsetFetch(Code::UnknownPartition))?;
    row.error()?;
    match row.offset() {
        Offset::Offset(offset) => Ok(u64::try_from(offset).unwrap_or(0)),
        _ => Err(KafkaError::OffsetFetch(Code::NoOffset)),
    }
}

/// Serves a client's own events (logs, errors, tokens) as long as it lives.
async fn keep(client: Weak<FetchClient>) {
    loop {
        tokio::time::sleep(KEEPING).await;
        let Some(client) = client.upgrade() else { return };
        let Ok(native) = client.native() else { return };
        for _ in 0..EVENTS {
            // Records never come here; what does is either handled by the context or told by the queue it concerns.
            if native.poll(Duration::ZERO).is_none() {
                break;
            }
        }
    }
}

impl Drop for FetchClient {
    fn drop(&mut self) {
        // Closing waits for the client's threads; nobody else has to. Cursors may hold it a little longer.
        if let Some(native) = self.native.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            discard(native);
        }
    }
}

/// Lets go of a value whose end waits for other threads.
pub(super) fn discard<T: Send + 'static>(value: T) {
    let ended = std::thread::Builder::new().name("kafka-discard".to_owned()).spawn(move || drop(value));
    if let Err(error) = ended {
        tracing::warn!(%error, "kafka.discard_failed");
    }
}

pub(super) fn native_partition(partition: u32) -> i32 {
    i32::try_from(partition).unwrap_or(i32::MAX)
}

pub(super) fn native_offset(offset: u64) -> Offset {
    Offset::Offset(i64::try_from(offset).unwrap_or(i64::MAX))
}

/// A place in a partition from which records come.
pub(super) struct Cursor {
    client: Arc<FetchClient>,
    at: TopicPartition,
    /// `None` only while it is dropped.
    queue: Option<PartitionQueue<Context>>,
    /// Taken from the queue, and not yet from here.
    next: Option<Fetched>,
    position: u64,
    silence: Silence,
}

impl Cursor {
    /// Begins at an offset. The client must have no other cursor on this partition.
    /// Arrivals are told to `filled`, by which one waiter may wait for several cursors.
    pub(super) fn open(
        client: &Arc<FetchClient>,
        at: &TopicPartition,
        offset: u64,
        filled: Arc<Notify>,
    ) -> Result<Self, LogError> {
        let native = client.native()?;
        let queue = PartitionQueue::new(&native, &at.topic, native_partition(at.partition), filled)
            .ok_or_else(|| LogError::UnknownTopic(at.topic.to_string()))?;
        let (client, at, silence) = (Arc::clone(client), at.clone(), Silence::default());
        let cursor = Self { client, at, queue: Some(queue), next: None, position: offset, silence };
        cursor.assign(offset)?;
        Ok(cursor)
    }

    /// Goes to another offset.
    pub(super) fn reposition(&mut self, offset: u64) -> Result<(), LogError> {
        self.unassign();
        self.next = None;
        self.position = offset;
        self.silence = Silence::default();
        self.assign(offset)
    }

    fn assign(&self, offset: u64) -> Result<(), LogError> {
        let mut list = TopicPartitionList::with_capacity(1);
        let native = self.client.native()?;
        let assigned = list
            .add_partition_offset(&self.at.topic, native_partition(self.at.partition), native_offset(offset))
            .and_then(|()| native.incremental_assign(&list));
        assigned.map_err(|error| from_error(&error, &self.at.topic))
    }

    fn unassign(&self) {
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition(&self.at.topic, native_partition(self.at.partition));
        if let Ok(native) = self.client.native()
            && let Err(error) = native.incremental_unassign(&list)
        {
            tracing::debug!(%error, topic = %self.at.topic, "kafka.unassign_failed");
        }
    }

    /// The partition.
    pub(super) fn at(&self) -> &TopicPartition {
        &self.at
    }

    /// The next offset.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// What has arrived, at most one delivery of at most `most` records, and why nothing more comes, if so. The position
    /// moves past it.
    pub(super) fn take_some(&mut self, most: usize) -> (Vec<Record>, Option<Code>) {
        let (mut records, mut bytes) = (Vec::new(), 0_usize);
        while records.len() < most && bytes < MAX_DELIVERY_BYTES {
            match self.take() {
                None => break,
                Some(Fetched::Record(record)) => {
                    bytes += record.key.as_ref().map_or(0, bytes::Bytes::len);
                    bytes += record.value.as_ref().map_or(0, bytes::Bytes::len);
                    records.push(record);
                }
                Some(Fetched::End(_)) => {}
                Some(Fetched::Failed(code)) => return (records, Some(code)),
            }
        }
        (records, None)
    }

    /// What has arrived, without waiting. The position moves past it.
    pub(super) fn take(&mut self) -> Option<Fetched> {
        let fetched = match self.next.take() {
            Some(fetched) => fetched,
            None => self.queue.as_ref()?.take()?,
        };
        match &fetched {
            Fetched::Record(record) => self.position = record.offset + 1,
            // An end behind the position is an old one; one beyond it says that there is only a gap.
            Fetched::End(offset) => self.position = self.position.max(*offset),
            Fetched::Failed(_) => {}
        }
        Some(fetched)
    }

    /// Whether something has arrived. Looked at by taking it: a queue also holds entries of librdkafka's own.
    pub(super) fn has_some(&mut self) -> bool {
        if self.next.is_none() {
            self.next = self.queue.as_ref().and_then(PartitionQueue::take);
        }
        self.next.is_some()
    }

    /// Whether nothing has come from here for long, although the partition ends at `end`.
    pub(super) fn is_stuck(&mut self, end: u64) -> bool {
        !self.has_some() && self.silence.is_long(self.position, end)
    }

    /// Tells of arrivals; to be armed before [`Self::take`].
    pub(super) fn filled(&self) -> Option<&Notify> {
        self.queue.as_ref().map(PartitionQueue::filled)
    }

    /// The partition's end as far as is known without asking; at least the position.
    pub(super) fn known_end(&self) -> u64 {
        let native = self.client.native().ok();
        let told = native.and_then(|native| known_end(&native, &self.at.topic, native_partition(self.at.partition)));
        told.map_or(self.position, |end| end.max(self.position))
    }

    /// Where the client is.
    pub(super) fn client(&self) -> &Arc<FetchClient> {
        &self.client
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        self.unassign();
        self.queue = None;
    }
}
