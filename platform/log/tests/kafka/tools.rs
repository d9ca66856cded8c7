//! What the tests share.

use std::{path::Path, time::Duration};

use bytes::Bytes;
use waybill_log::{KafkaLog, Log as _, NewRecord, NewTopic, TopicPartition};
use waybill_schemas::topics::Cleanup;

/// Shows what the backend logs when WAYBILL_TEST_LOG is set.
pub(crate) fn logs() {
    if std::env::var_os("WAYBILL_TEST_LOG").is_some() {
        let shown = tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_test_writer();
        let _installed_before = shown.try_init();
    }
}

/// A topic that deletes.
pub(crate) fn topic(name: &str, partitions: u32) -> NewTopic {
    NewTopic {
        name: name.to_owned(),
        partitions,
        cleanup: Cleanup::Delete,
        retention: Duration::from_secs(3_600),
        min_compaction_lag: Duration::ZERO,
    }
}

/// A record of a value.
pub(crate) fn record(topic: &str, partition: u32, value: &str) -> NewRecord {
    NewRecord {
        at: TopicPartition::new(topic, partition),
        key: None,
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: Vec::new(),
    }
}

/// Appends the numbers from 0 on, spread over partitions and over `time`. An unclear answer is asked again: a number may be
/// appended twice then, which the caller must not take for a repeat of the consumer's; so it must not happen.
pub(crate) async fn write_numbers(log: KafkaLog, topic: &'static str, partitions: u32, count: u32, time: Duration) {
    const STEPS: u32 = 100;
    let step = (count / STEPS).max(1);
    for first in (0..count).step_by(step as usize) {
        let numbers = first..(first + step).min(count);
        let records = numbers.map(|number| record(topic, number % partitions, &number.to_string())).collect();
        for answer in log.produce(records).await {
            answer.unwrap();
        }
        tokio::time::sleep(time / STEPS).await;
    }
}

/// Lines of logs that are errors or tell of a panic.
pub(crate) fn error_lines(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for file in std::fs::read_dir(dir).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "log") {
            let text = std::fs::read_to_string(path).unwrap();
            found.extend(
                text.lines().filter(|line| line.contains(" ERROR ") || line.contains("panicked")).map(str::to_owned),
            );
        }
    }
    found
}
