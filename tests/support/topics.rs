//! Reads topics from outside.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]

use std::time::Duration;

use waybill_log::{KafkaLog, Log as _, ReadFrom, Record, TopicPartition};

/// Everything that is kept of a partition.
pub async fn records(log: &KafkaLog, at: &TopicPartition) -> Vec<Record> {
    let first = log.bounds(at).await.unwrap().first;
    records_from(log, at, first).await
}

/// What is kept of a partition from an offset on.
pub async fn records_from(log: &KafkaLog, at: &TopicPartition, mut offset: u64) -> Vec<Record> {
    let mut all = Vec::new();
    let bounds = log.bounds(at).await.unwrap();
    while offset < bounds.next {
        let wait = Duration::from_secs(5);
        let from = ReadFrom { at: at.clone(), offset, max_records: 1_000, max_bytes: 1 << 22, wait };
        let batch = log.read(from).await.unwrap();
        offset = batch.next_offset;
        all.extend(batch.records);
    }
    all
}
