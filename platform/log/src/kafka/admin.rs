//! What topics should be and what they are: differences shown, and changed only as far as somebody allows.

use std::{collections::BTreeSet, fmt};

use rdkafka::admin::{AlterConfig, NewPartitions, ResourceSpecifier};

use super::{
    KafkaLog,
    error::{from_code, from_error},
};
use crate::seam::{Log as _, LogError, NewTopic};

/// One difference between a topic and what is wanted of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDrift {
    /// Full name.
    pub topic: String,
    /// What differs.
    pub difference: Difference,
}

/// What differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// It does not exist.
    Missing {
        /// How many partitions it would get.
        partitions: u32,
    },
    /// It has another number of partitions.
    Partitions {
        /// As it is.
        actual: u32,
        /// As wanted.
        wanted: u32,
    },
    /// A setting has another value: retention, compaction, `min.insync.replicas`, times of appending, sizes.
    Setting {
        /// The broker's name of it.
        name: String,
        /// As it is; `None` when the broker does not know it.
        actual: Option<String>,
        /// As wanted.
        wanted: String,
    },
}

impl fmt::Display for TopicDrift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let topic = &self.topic;
        match &self.difference {
            Difference::Missing { partitions } => write!(f, "{topic} is missing ({partitions} partitions are wanted)"),
            Difference::Partitions { actual, wanted } => {
                write!(f, "{topic} has {actual} partitions, {wanted} are wanted")
            }
            Difference::Setting { name, actual, wanted } => {
                write!(f, "{topic}: {name} is {}, {wanted} is wanted", actual.as_deref().unwrap_or("not set"))
            }
        }
    }
}

/// What [`KafkaLog::topics_apply`] may do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allow {
    /// Create topics that are missing.
    pub create: bool,
    /// Change settings that differ.
    pub settings: bool,
    /// Topics (full names) that may get more partitions, each by somebody's wish: keys move to other partitions. Never those
    /// that are partitioned by budget: their number is the layout.
    pub grow: BTreeSet<String>,
}

/// What came of a difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// It is as wanted now.
    Done,
    /// Nobody allowed it.
    NotAsked,
    /// It is never done; why, and what to do instead.
    Refused(String),
}

/// A topic's settings that differ, with the values that are wanted.
fn settings_of<'a>(drifts: &'a [TopicDrift], topic: &str) -> Vec<(&'a str, &'a str)> {
    let of = |drift: &'a TopicDrift| match &drift.difference {
        Difference::Setting { name, wanted, .. } => Some((name.as_str(), wanted.as_str())),
        Difference::Missing { .. } | Difference::Partitions { .. } => None,
    };
    drifts.iter().filter(|drift| drift.topic == topic).filter_map(of).collect()
}

impl KafkaLog {
    /// How topics differ from what is wanted; empty when they do not.
    ///
    /// # Errors
    /// Whatever the brokers say.
    pub async fn topics_diff(&self, wanted: &[NewTopic]) -> Result<Vec<TopicDrift>, LogError> {
        let inner = &self.inner;
        let client = inner.reads.any()?;
        let mut all = Vec::new();
        for topic in wanted {
            let drift = |difference| TopicDrift { topic: topic.name.clone(), difference };
            let actual = match inner.topics.look(&client, &topic.name).await {
                Ok((partitions, _)) => partitions,
                Err(LogError::UnknownTopic(_)) => {
                    all.push(drift(Difference::Missing { partitions: topic.partitions }));
                    continue;
                }
                Err(error) => return Err(error),
            };
            if actual != topic.partitions {
                all.push(drift(Difference::Partitions { actual, wanted: topic.partitions }));
            }
            let found = inner.topics.found_settings(&topic.name).await?;
            for (name, wanted) in inner.topics.settings(topic) {
                let actual = found.get(name).map(|setting| setting.value.clone());
                if actual.as_deref() != Some(wanted.as_str()) {
                    all.push(drift(Difference::Setting { name: name.to_owned(), actual, wanted }));
                }
            }
        }
        Ok(all)
    }

    /// Makes topics as wanted, as far as is allowed; answers each difference and what came of it.
    ///
    /// # Errors
    /// Whatever the brokers say; what was changed until then stays changed.
    pub async fn topics_apply(
        &self,
        wanted: &[NewTopic],
        allow: &Allow,
    ) -> Result<Vec<(TopicDrift, Applied)>, LogError> {
        let mut outcomes = Vec::new();
        let drifts = self.topics_diff(wanted).await?;
        let mut altered = BTreeSet::new();
        for drift in drifts.clone() {
            let Some(topic) = wanted.iter().find(|topic| topic.name == drift.topic) else { continue };
            let applied = match &drift.difference {
                Difference::Missing { .. } if allow.create => {
                    self.create_topics(std::slice::from_ref(topic)).await?;
                    Applied::Done
                }
                Difference::Setting { .. } if allow.settings => {
                    if altered.insert(topic.name.as_str()) {
                        self.alter(&topic.name, &settings_of(&drifts, &topic.name)).await?;
                    }
                    Applied::Done
                }
                Difference::Partitions { actual, wanted } if wanted < actual => Applied::Refused(format!(
                    "{} cannot be made smaller: its records would be lost; create a new topic instead",
                    topic.name
                )),
                Difference::Partitions { wanted, .. } if allow.grow.contains(&topic.name) => {
                    self.grow(&topic.name, *wanted).await?;
                    Applied::Done
                }
                Difference::Missing { .. } | Difference::Setting { .. } | Difference::Partitions { .. } => {
                    Applied::NotAsked
                }
            };
            outcomes.push((drift, applied));
        }
        Ok(outcomes)
    }

    /// Sets settings of a topic. The broker replaces all of its own settings at once, so the others are given again; and it
    /// tells of a change a little after it has made it, so one setting after the other would undo the first with the second.
    async fn alter(&self, topic: &str, changes: &[(&str, &str)]) -> Result<(), LogError> {
        let topics = &self.inner.topics;
        let found = topics.found_settings(topic).await?;
        let changed = |name: &str| changes.iter().any(|(other, _)| *other == name);
        let others = found.iter().filter(|(other, setting)| setting.own && !changed(other));
        let change = AlterConfig::new(ResourceSpecifier::Topic(topic));
        let change = changes.iter().fold(change, |change, (name, value)| change.set(name, value));
        let change = others.fold(change, |change, (other, setting)| change.set(other, &setting.value));
        let answers = topics
            .admin()?
            .alter_configs([&change], &topics.options())
            .await
            .map_err(|error| from_error(&error, topic))?;
        for answer in answers {
            answer.map_err(|(_, code)| from_code(code, topic))?;
        }
        for (name, value) in changes {
            tracing::info!(topic, name, value, "kafka.topic_changed");
        }
        Ok(())
    }

    async fn grow(&self, topic: &str, partitions: u32) -> Result<(), LogError> {
        let topics = &self.inner.topics;
        let wanted = NewPartitions::new(topic, usize::try_from(partitions).unwrap_or(usize::MAX));
        let answers = topics
            .admin()?
            .create_partitions([&wanted], &topics.options())
            .await
            .map_err(|error| from_error(&error, topic))?;
        for answer in answers {
            answer.map_err(|(name, code)| from_code(code, &name))?;
        }
        topics.doubt(topic);
        tracing::info!(topic, partitions, "kafka.topic_grown");
        Ok(())
    }
}
