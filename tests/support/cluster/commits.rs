//! What a group has committed, asked without joining it.

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
};

use crate::support::PATIENCE;

/// A group's commits on one topic.
pub struct Commits {
    asking: BaseConsumer,
    partitions: TopicPartitionList,
}

impl Commits {
    /// # Panics
    /// When the broker does not answer.
    pub fn of(brokers: &str, group: &str, topic: &str) -> Self {
        let settings = [("bootstrap.servers", brokers), ("group.id", group)];
        let settings = settings.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        let asking: BaseConsumer = settings.collect::<ClientConfig>().create().expect("a client");
        let metadata = asking.fetch_metadata(Some(topic), PATIENCE).expect("the broker answers");
        let mut partitions = TopicPartitionList::new();
        for partition in metadata.topics()[0].partitions() {
            partitions.add_partition(topic, partition.id());
        }
        Self { asking, partitions }
    }

    /// The sum of its offsets: so many records are done, where none was deleted.
    ///
    /// # Panics
    /// When the broker does not answer.
    pub fn sum(&self) -> u64 {
        let committed = self.asking.committed_offsets(self.partitions.clone(), PATIENCE).expect("the broker answers");
        let offset = |offset| if let Offset::Offset(offset) = offset { u64::try_from(offset).unwrap_or(0) } else { 0 };
        committed.elements().iter().map(|one| offset(one.offset())).sum()
    }
}
