//! Topics: which there are, creating, describing.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rdkafka::{
    admin::{self, AdminClient, AdminOptions, ResourceSpecifier, TopicReplication},
    config::ClientConfig,
    consumer::Consumer as _,
    error::KafkaError,
    types::RDKafkaErrorCode as Code,
};
use tokio::time::{Instant, sleep};
use waybill_schemas::{WallMs, topics::Cleanup};

use super::{
    context::Context,
    error::{from_code, from_error},
    fetch::{FetchClient, discard},
};
use crate::seam::{LogError, NewTopic, TopicDescription};

/// Most bytes of one batch of a topic: a record as large as is allowed, with its envelope.
const MAX_MESSAGE_BYTES: usize = 1_048_588;
/// How often to look whether a new topic has its leaders.
const SETTLING: Duration = Duration::from_millis(20);

/// What the broker says of a topic's settings, by name.
pub(super) type TopicSettings = BTreeMap<String, Setting>;

/// One setting of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    pub value: String,
    /// Whether the topic itself sets it, and not the broker for all.
    pub own: bool,
}

/// What is known of a topic.
#[derive(Debug, Clone, Copy)]
struct Known {
    partitions: u32,
    /// Something since made it doubtful.
    doubtful: bool,
}

/// Asks and changes topics.
pub(super) struct Topics {
    admin: Option<AdminClient<Context>>,
    /// Topics that exist, or existed when last looked at.
    known: Mutex<BTreeMap<String, Known>>,
    replication: Option<u16>,
    min_insync_replicas: Option<u16>,
    request_timeout: Duration,
}

impl Topics {
    pub(super) fn new(
        config: &ClientConfig,
        context: Context,
        copies: (Option<u16>, Option<u16>),
        request_timeout: Duration,
    ) -> Result<Self, LogError> {
        let admin: AdminClient<Context> = config
            .create_with_context(context)
            .map_err(|error| from_error(&error, "the administrator cannot be made"))?;
        let (replication, min_insync_replicas) = copies;
        Ok(Self { admin: Some(admin), known: Mutex::default(), replication, min_insync_replicas, request_timeout })
    }

    pub(super) fn admin(&self) -> Result<&AdminClient<Context>, LogError> {
        self.admin.as_ref().ok_or(LogError::Closed)
    }

    pub(super) fn options(&self) -> AdminOptions {
        AdminOptions::new().request_timeout(Some(self.request_timeout)).operation_timeout(Some(self.request_timeout))
    }

    /// The partitions of a topic, as far as is known without asking.
    pub(super) fn known(&self, topic: &str) -> Option<u32> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(topic).filter(|known| !known.doubtful).map(|known| known.partitions)
    }

    /// What is known of a topic is looked at again before it is relied on.
    pub(super) fn doubt(&self, topic: &str) {
        if let Some(known) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get_mut(topic) {
            known.doubtful = true;
        }
    }

    /// The partitions of a topic, asked only once.
    pub(super) async fn partitions(&self, client: &FetchClient, topic: &str) -> Result<u32, LogError> {
        match self.known(topic) {
            Some(partitions) => Ok(partitions),
            None => match self.look(client, topic).await {
                Ok((partitions, _)) => Ok(partitions),
                // A broker that has just come up may not know all topics yet: what has been there is not simply gone.
                Err(LogError::UnknownTopic(_)) if self.has_been_there(topic) => {
                    Err(LogError::Unavailable(format!("topic {topic} is not there any more, as it seems")))
                }
                Err(error) => Err(error),
            },
        }
    }

    fn has_been_there(&self, topic: &str) -> bool {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).contains_key(topic)
    }

    /// The partitions of a topic as they are now, and how many have a leader.
    pub(super) async fn look(&self, client: &FetchClient, topic: &str) -> Result<(u32, u32), LogError> {
        let name = topic.to_owned();
        let found = client
            .ask(topic, move |native, limit| {
                let metadata = native.fetch_metadata(Some(&name), limit).map_err(|error| from_error(&error, &name))?;
                let Some(found) = metadata.topics().iter().find(|found| found.name() == name) else {
                    return Err(LogError::UnknownTopic(name));
                };
                if let Some(error) = found.error() {
                    return Err(from_code(error.into(), &name));
                }
                let led = found.partitions().iter().filter(|partition| partition.leader() >= 0).count();
                Ok((found.partitions().len(), led))
            })
            .await?;
        let (all, led) = (u32::try_from(found.0).unwrap_or(u32::MAX), u32::try_from(found.1).unwrap_or(u32::MAX));
        if all == 0 {
            return Err(LogError::UnknownTopic(topic.to_owned()));
        }
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(topic.to_owned(), Known { partitions: all, doubtful: false });
        Ok((all, led))
    }

    /// Creates what is missing.
    pub(super) async fn create(&self, client: &FetchClient, topics: &[NewTopic]) -> Result<(), LogError> {
        let mut missing = Vec::new();
        for topic in topics {
            match self.look(client, &topic.name).await {
                Ok((partitions, _)) => same_shape(topic, partitions)?,
                Err(LogError::UnknownTopic(_)) => missing.push(topic),
                Err(error) => return Err(error),
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let settings: Vec<Vec<(&'static str, String)>> = missing.iter().map(|topic| self.settings(topic)).collect();
        let wanted: Vec<admin::NewTopic<'_>> = missing
            .iter()
            .zip(&settings)
            .map(|(topic, settings)| {
                let partitions = i32::try_from(topic.partitions).unwrap_or(i32::MAX);
                let replication = TopicReplication::Fixed(self.replication.map_or(-1, i32::from));
                let new = admin::NewTopic::new(&topic.name, partitions, replication);
                settings.iter().fold(new, |new, (name, value)| new.set(name, value))
            })
            .collect();
        let answers = self
            .admin()?
            .create_topics(&wanted, &self.options())
            .await
            .map_err(|error| from_error(&error, "creating topics"))?;
        for answer in answers {
            match answer {
                // Somebody else was quicker; its shape is checked below.
                Ok(_) | Err((_, Code::TopicAlreadyExists)) => {}
                Err((name, code @ (Code::InvalidReplicationFactor | Code::PolicyViolation | Code::InvalidConfig))) => {
                    return Err(LogError::Misconfigured(format!("topic {name} cannot be created: {code}")));
                }
                Err((name, code)) => return Err(from_code(code, &name)),
            }
        }
        for topic in missing {
            self.settled(client, topic).await?;
        }
        Ok(())
    }

    /// Waits until every broker that is asked knows a new topic and who leads it.
    async fn settled(&self, client: &FetchClient, topic: &NewTopic) -> Result<(), LogError> {
        let deadline = Instant::now() + self.request_timeout;
        loop {
            match self.look(client, &topic.name).await {
                Ok((partitions, led)) if led == partitions => {
                    // A leader that is named may not lead yet: it does once it answers.
                    let name = Arc::from(topic.name.as_str());
                    client.offsets_for_time(&name, (0..partitions).collect(), WallMs::ZERO).await?;
                    return same_shape(topic, partitions);
                }
                Ok(_) | Err(LogError::UnknownTopic(_)) if Instant::now() < deadline => sleep(SETTLING).await,
                Ok(_) => return Err(LogError::Unavailable(format!("topic {} has no leaders yet", topic.name))),
                Err(error) => return Err(error),
            }
        }
    }

    /// The settings that a topic is created with, and that it should keep.
    pub(super) fn settings(&self, topic: &NewTopic) -> Vec<(&'static str, String)> {
        let retention = topic.retention.as_millis().to_string();
        let mut all = vec![
            ("message.timestamp.type", "LogAppendTime".to_owned()),
            ("max.message.bytes", MAX_MESSAGE_BYTES.to_string()),
        ];
        match topic.cleanup {
            Cleanup::Delete => {
                all.push(("cleanup.policy", "delete".to_owned()));
                all.push(("retention.ms", retention));
            }
            Cleanup::Compact => {
                all.push(("cleanup.policy", "compact".to_owned()));
                all.push(("delete.retention.ms", retention));
                all.push(("min.compaction.lag.ms", topic.min_compaction_lag.as_millis().to_string()));
            }
        }
        if let Some(least) = self.min_insync_replicas {
            all.push(("min.insync.replicas", least.to_string()));
        }
        all
    }

    /// A topic's settings as the broker has them.
    pub(super) async fn found_settings(&self, topic: &str) -> Result<TopicSettings, LogError> {
        let asked = [ResourceSpecifier::Topic(topic)];
        let answers = self
            .admin()?
            .describe_configs(&asked, &self.options())
            .await
            .map_err(|error: KafkaError| from_error(&error, topic))?;
        let resource = match answers.into_iter().next() {
            Some(Ok(resource)) => resource,
            Some(Err(code)) => return Err(from_code(code, topic)),
            None => return Err(LogError::UnknownTopic(topic.to_owned())),
        };
        let entries = resource.entries.into_iter().filter_map(|entry| {
            let own = entry.source == admin::ConfigSource::DynamicTopic;
            entry.value.map(|value| (entry.name, Setting { value, own }))
        });
        Ok(entries.collect())
    }

    /// [`crate::seam::Log::describe`].
    pub(super) async fn describe(&self, client: &FetchClient, topic: &str) -> Result<TopicDescription, LogError> {
        let (partitions, _) = self.look(client, topic).await?;
        let settings = self.found_settings(topic).await?;
        let value = |name: &str| settings.get(name).map_or("", |setting| setting.value.as_str());
        // A topic that is compacted and also deletes is described by its compaction: keys are what readers rely on.
        let cleanup = if value("cleanup.policy").contains("compact") { Cleanup::Compact } else { Cleanup::Delete };
        let kept = value(match cleanup {
            Cleanup::Delete => "retention.ms",
            Cleanup::Compact => "delete.retention.ms",
        });
        // A retention of -1 is without end.
        let retention = kept.parse::<i64>().ok().and_then(|ms| u64::try_from(ms).ok()).unwrap_or(u64::MAX);
        let retention = Duration::from_millis(retention);
        Ok(TopicDescription { name: topic.to_owned(), partitions, cleanup, retention })
    }
}

fn same_shape(topic: &NewTopic, actual: u32) -> Result<(), LogError> {
    if topic.partitions == actual {
        return Ok(());
    }
    Err(LogError::TopicMismatch { topic: topic.name.clone(), actual, wanted: topic.partitions })
}

impl Drop for Topics {
    fn drop(&mut self) {
        if let Some(admin) = self.admin.take() {
            discard(admin);
        }
    }
}
