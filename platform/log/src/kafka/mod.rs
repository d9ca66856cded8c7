//! The log on Apache Kafka, behind the log seam, through librdkafka.
//!
//! Parts: one idempotent producer ([`producer`]); a small pool of clients that read without a group ([`reads`]); for each
//! group member a client that joins and commits but fetches nothing ([`session`]) and one that fetches ([`member`]); an
//! administrator ([`topics`]). Every call that waits for a broker has a deadline. A broker that is away gives errors of the
//! class *retry*; everything goes on by itself when it is back.

mod admin;
mod bounds;
mod brokers;
mod clock;
mod commits;
mod context;
mod error;
mod faults;
mod fetch;
mod handover;
mod member;
mod namesake;
mod native;
mod options;
mod producer;
mod reads;
mod session;
mod shared;
mod silence;
#[cfg(feature = "conformance")]
pub mod testing;
mod topics;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use rdkafka::{
    config::{ClientConfig, RDKafkaLogLevel},
    consumer::Consumer as _,
};
use waybill_schemas::{WallMs, limits::MAX_RECORD_BYTES};

pub use self::{
    admin::{Allow, Applied, Difference, TopicDrift},
    options::{GroupProtocol, KafkaOptions, OptionsError, Places, Settings, StaticMembers},
};
use self::{
    brokers::Brokers, context::Context, error::from_error, faults::FaultState, member::Member, producer::Producer,
    reads::Reads, topics::Topics,
};
use crate::seam::{
    Appended, Batch, Bounds, GroupMember, JoinGroup, Log, LogError, NewRecord, NewTopic, ReadFrom, Record,
    TopicDescription, TopicPartition,
};

/// The key of the records by which the broker's time is asked for.
pub const CLOCK_KEY: &str = "!clock";

/// Largest batch that librdkafka sends: a record as large as is allowed, with its envelope.
const MAX_MESSAGE_BYTES: u32 = 1_048_576;

/// What all handles of a log share.
struct Inner {
    options: KafkaOptions,
    /// Settings of every client, secrets read.
    common: BTreeMap<String, String>,
    context: Context,
    producer: Producer,
    reads: Reads,
    topics: Topics,
    faults: FaultState,
}

/// A log on Kafka. Cheap to clone; all clones are the same log.
#[derive(Clone)]
pub struct KafkaLog {
    inner: Arc<Inner>,
}

impl fmt::Debug for KafkaLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaLog").field("options", &self.inner.options).finish_non_exhaustive()
    }
}

fn misconfigured(error: OptionsError) -> LogError {
    LogError::Misconfigured(error.0)
}

fn base(options: &KafkaOptions, common: &BTreeMap<String, String>) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set_log_level(RDKafkaLogLevel::Info);
    config
        .set("bootstrap.servers", &options.brokers)
        .set("client.id", &options.client_id)
        .set("socket.timeout.ms", options.request_timeout_ms.to_string())
        .set("socket.keepalive.enable", "true")
        .set("socket.nagle.disable", "true")
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "1000")
        // An idle connection that the broker closes is nothing to report.
        .set("log.connection.close", "false");
    for (name, value) in common {
        config.set(name, value);
    }
    config
}

/// Settings that have a second name at librdkafka. Where both were set, chance would choose.
const ALIASES: [(&str, &str); 3] = [
    ("linger.ms", "queue.buffering.max.ms"),
    ("compression.type", "compression.codec"),
    ("fetch.message.max.bytes", "max.partition.fetch.bytes"),
];

/// Sets what an operator has not given, under either name.
fn unless_given(config: &mut ClientConfig, name: &str, value: &str) {
    let alias = ALIASES.iter().find(|(one, _)| *one == name).map(|(_, other)| *other);
    if config.get(name).is_none() && alias.is_none_or(|alias| config.get(alias).is_none()) {
        config.set(name, value);
    }
}

fn consumer(options: &KafkaOptions, common: &BTreeMap<String, String>, group: &str) -> ClientConfig {
    let mut config = base(options, common);
    for (name, value) in &options.consumer_settings.0 {
        config.set(name, value);
    }
    config
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("isolation.level", "read_committed")
        .set("allow.auto.create.topics", "false");
    config
}

impl Inner {
    /// An error about a topic that was there when last looked at: whether it is gone is looked at before the next call.
    fn doubt(&self, topic: &str, error: LogError) -> LogError {
        match error {
            LogError::UnknownTopic(_) => {
                self.topics.doubt(topic);
                LogError::Unavailable(format!("the broker does not know {topic} now"))
            }
            other => other,
        }
    }

    fn doubted<T>(&self, topic: &str, answer: Result<T, LogError>) -> Result<T, LogError> {
        answer.map_err(|error| self.doubt(topic, error))
    }

    /// A consumer that never joins.
    fn reader_config(&self) -> Result<ClientConfig, LogError> {
        Ok(reader(&self.options, &self.common))
    }

    /// A consumer that joins.
    fn group_config(&self, group: &JoinGroup) -> Result<ClientConfig, LogError> {
        Ok(joining(&self.options, &self.common, group))
    }
}

fn joining(options: &KafkaOptions, common: &BTreeMap<String, String>, group: &JoinGroup) -> ClientConfig {
    let mut config = consumer(options, common, &group.group);
    // Also how long the others wait for a member that is there but does not join again: longer than any drain.
    let session = Duration::from_millis(u64::from(options.session_timeout_ms));
    let patience = (group.drain_budget + Duration::from_secs(30)).max(session * 2).max(Duration::from_secs(60));
    config.set("max.poll.interval.ms", patience.as_millis().to_string());
    match options.group_protocol {
        GroupProtocol::Classic => {
            // What the others do is heard with a heartbeat's answer: one second is how fast partitions move.
            let beat = (options.session_timeout_ms / 3).min(1_000);
            config
                .set("group.protocol", "classic")
                .set("partition.assignment.strategy", "cooperative-sticky")
                .set("session.timeout.ms", options.session_timeout_ms.to_string())
                .set("heartbeat.interval.ms", beat.to_string());
        }
        GroupProtocol::Consumer => {
            config.set("group.protocol", "consumer");
        }
    }
    if options.is_static() {
        config.set("group.instance.id", &group.member);
    }
    // Nothing is fetched by it.
    config.set("auto.offset.reset", "latest").set("queued.min.messages", "1");
    config
}

/// The producer's: LOG-1 rests on the first two.
fn producing(options: &KafkaOptions, common: &BTreeMap<String, String>) -> ClientConfig {
    let mut config = base(options, common);
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("message.timeout.ms", options.delivery_timeout_ms.to_string())
        .set("message.max.bytes", MAX_MESSAGE_BYTES.to_string());
    for (name, value) in &options.producer_settings.0 {
        config.set(name, value);
    }
    for (name, value) in [
        ("linger.ms", "2"),
        ("compression.type", "lz4"),
        ("queue.buffering.max.kbytes", "65536"),
        ("topic.metadata.propagation.max.ms", "5000"),
    ] {
        unless_given(&mut config, name, value);
    }
    config
}

fn reader(options: &KafkaOptions, common: &BTreeMap<String, String>) -> ClientConfig {
    consumer(options, common, &format!("{}-reader", options.client_id))
}

impl KafkaLog {
    /// Makes the clients and looks whether a broker answers.
    ///
    /// # Errors
    /// [`LogError::Misconfigured`] for options that can never work, [`LogError::Unavailable`] when no broker answers within
    /// the request timeout: it is worth trying again.
    pub async fn connect(options: KafkaOptions) -> Result<Self, LogError> {
        options.check().map_err(misconfigured)?;
        let common = options.common().map_err(misconfigured)?;
        let brokers = Brokers::new(&options.brokers);
        tokio::spawn(Brokers::serve(Arc::downgrade(&brokers)));
        let context = Context { role: "client", oauth_token_file: options.oauth_token_file.clone(), brokers };
        let appending = Context { role: "producer", ..context.clone() };
        let producer = Producer::new(producing(&options, &common), appending, options.delivery_timeout())?;
        let reads = Reads::new(reader(&options, &common), context.clone(), options.request_timeout());
        let copies = (options.replication, options.min_insync_replicas);
        let administrating = Context { role: "admin", ..context.clone() };
        let topics = Topics::new(&base(&options, &common), administrating, copies, options.request_timeout())?;
        let faults = FaultState::default();
        let log = Self { inner: Arc::new(Inner { options, common, context, producer, reads, topics, faults }) };
        log.answers().await?;
        Ok(log)
    }

    /// Whether a broker answers now.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] when none does within the request timeout.
    pub async fn answers(&self) -> Result<(), LogError> {
        let brokers = self.inner.options.brokers.clone();
        let client = self.inner.reads.any()?;
        let answered = client
            .ask(&format!("no broker answers at {brokers}"), move |native, limit| {
                let what = format!("no broker answers at {brokers}");
                native.fetch_metadata(Some("waybill-probe"), limit).map(drop).map_err(|error| from_error(&error, &what))
            })
            .await;
        let refusal = self.inner.context.brokers.take_refusal();
        answered.map_err(|error| match (error, refusal) {
            (LogError::Unavailable(what), Some(why)) => {
                LogError::Unavailable(format!("{what}; a client was refused: {why}"))
            }
            (error, _) => error,
        })
    }

    async fn exists(&self, at: &TopicPartition) -> Result<(), LogError> {
        let inner = &self.inner;
        let client = inner.reads.any()?;
        if at.partition >= inner.topics.partitions(&client, &at.topic).await? {
            // It may have grown since it was looked at.
            inner.topics.doubt(&at.topic);
            if at.partition >= inner.topics.partitions(&client, &at.topic).await? {
                return Err(LogError::UnknownTopic(format!("{}/{}", at.topic, at.partition)));
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Log for KafkaLog {
    async fn create_topics(&self, topics: &[NewTopic]) -> Result<(), LogError> {
        let client = self.inner.reads.any()?;
        self.inner.topics.create(&client, topics).await
    }

    async fn describe(&self, topic: &str) -> Result<TopicDescription, LogError> {
        let client = self.inner.reads.any()?;
        self.inner.topics.describe(&client, topic).await
    }

    async fn produce(&self, records: Vec<NewRecord>) -> Vec<Result<Appended, LogError>> {
        let inner = &self.inner;
        let mut unknown: BTreeMap<TopicPartition, LogError> = BTreeMap::new();
        for record in &records {
            let known = inner.topics.known(&record.at.topic).is_some_and(|partitions| record.at.partition < partitions);
            if !known
                && !unknown.contains_key(&record.at)
                && let Err(error) = self.exists(&record.at).await
            {
                unknown.insert(record.at.clone(), error);
            }
        }
        let places: Vec<TopicPartition> = records.iter().map(|record| record.at.clone()).collect();
        let mut answers = inner.producer.produce(records, |record| unknown.get(&record.at).cloned()).await;
        for (answer, at) in answers.iter_mut().zip(&places).filter(|(_, at)| !unknown.contains_key(at)) {
            if let Err(error) = answer {
                *answer = Err(inner.doubt(&at.topic, error.clone()));
            }
        }
        if inner.faults.produce_answer_is_lost() {
            for answer in &mut answers {
                *answer = Err(LogError::Unavailable("the answer to a produce was lost".to_owned()));
            }
        }
        answers
    }

    async fn read(&self, from: ReadFrom) -> Result<Batch, LogError> {
        self.exists(&from.at).await?;
        let topic = Arc::clone(&from.at.topic);
        self.inner.doubted(&topic, self.inner.reads.read(from).await)
    }

    async fn bounds(&self, at: &TopicPartition) -> Result<Bounds, LogError> {
        self.exists(at).await?;
        self.inner.doubted(&at.topic, self.inner.reads.bounds(at).await)
    }

    async fn offset_for_time(&self, at: &TopicPartition, time: WallMs) -> Result<Option<u64>, LogError> {
        self.exists(at).await?;
        let client = self.inner.reads.any()?;
        let found = client.offsets_for_time(&at.topic, vec![at.partition], time).await;
        let found = self.inner.doubted(&at.topic, found)?;
        Ok(found.into_iter().next().flatten())
    }

    async fn record_at(&self, at: &TopicPartition, offset: u64) -> Result<Option<Record>, LogError> {
        self.exists(at).await?;
        let from =
            ReadFrom { at: at.clone(), offset, max_records: 1, max_bytes: MAX_RECORD_BYTES, wait: Duration::ZERO };
        match self.inner.reads.read(from).await {
            Ok(batch) => Ok(batch.records.into_iter().next().filter(|record| record.offset == offset)),
            Err(LogError::OutOfRange { .. }) => Ok(None),
            Err(error) => Err(self.inner.doubt(&at.topic, error)),
        }
    }

    async fn join(&self, group: JoinGroup) -> Result<Box<dyn GroupMember>, LogError> {
        let client = self.inner.reads.any()?;
        self.inner.topics.partitions(&client, &group.topic).await?;
        Ok(Box::new(Member::join(&self.inner, &group)?))
    }

    async fn time(&self) -> Result<WallMs, LogError> {
        if let Some(time) = self.inner.producer.time() {
            return Ok(time);
        }
        let at = TopicPartition::new(self.inner.options.clock_topic.as_str(), 0);
        let tick = NewRecord { at, key: Some(CLOCK_KEY.into()), value: None, headers: Vec::new() };
        let appended = self.produce(vec![tick]).await.pop().unwrap_or(Err(LogError::Closed))?;
        Ok(self.inner.producer.time().unwrap_or(appended.append_time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seam::OutOfRange;

    fn has(config: &ClientConfig, wanted: &[(&str, Option<&str>)]) {
        for (name, value) in wanted {
            assert_eq!(config.get(name), *value, "{name}");
        }
    }

    /// Members of a group, as `options` have them join.
    fn member(options: &KafkaOptions) -> ClientConfig {
        let group = JoinGroup {
            group: "g".to_owned(),
            topic: "t".to_owned(),
            member: "g-0".to_owned(),
            out_of_range: OutOfRange::Fail,
            drain_budget: Duration::from_secs(10),
            max_batch: 1,
        };
        joining(options, &BTreeMap::new(), &group)
    }

    #[test]
    fn log_1_what_is_acknowledged_is_in_all_replicas_once_and_nothing_is_committed_unasked() {
        let producer = producing(&KafkaOptions::default(), &BTreeMap::new());
        has(&producer, &[("enable.idempotence", Some("true")), ("acks", Some("all"))]);
        let options = KafkaOptions::default();
        for consumer in [member(&options), reader(&options, &BTreeMap::new())] {
            let never = [("enable.auto.commit", Some("false")), ("enable.auto.offset.store", Some("false"))];
            has(&consumer, &never);
            has(&consumer, &[("isolation.level", Some("read_committed"))]);
        }
    }

    #[test]
    fn members_are_classic_and_static_unless_asked_otherwise_and_never_static_under_kip_848() {
        let classic = [
            ("group.protocol", Some("classic")),
            ("partition.assignment.strategy", Some("cooperative-sticky")),
            ("session.timeout.ms", Some("15000")),
        ];
        let mut options = KafkaOptions::default();
        has(&member(&options), &classic);
        has(&member(&options), &[("group.instance.id", Some("g-0"))]);
        options.static_members = StaticMembers::Dynamic;
        has(&member(&options), &classic);
        has(&member(&options), &[("group.instance.id", None)]);
        options = KafkaOptions { group_protocol: GroupProtocol::Consumer, ..KafkaOptions::default() };
        // The broker decides on the rest, and librdkafka refuses to be told.
        let decided = ["group.instance.id", "partition.assignment.strategy", "session.timeout.ms"];
        has(&member(&options), &[("group.protocol", Some("consumer"))]);
        has(&member(&options), &decided.map(|name| (name, None::<&str>)));
    }

    #[test]
    fn what_an_operator_gives_stands_under_either_name() {
        for (given, name) in [("compression.codec", "compression.type"), ("linger.ms", "linger.ms")] {
            let mut config = ClientConfig::new();
            config.set(given, "theirs");
            unless_given(&mut config, name, "ours");
            assert_eq!((config.get(given), config.config_map().len()), (Some("theirs"), 1), "{name}");
        }
        let mut config = ClientConfig::new();
        unless_given(&mut config, "compression.type", "ours");
        assert_eq!(config.get("compression.type"), Some("ours"));
    }
}
