//! Readers without a group, many at once.

use std::time::Duration;

use waybill_log::{KafkaLog, Log as _, ReadFrom, TopicPartition, kafka::testing::TestBroker};

use crate::tools;

/// Tails, scans and looks at single records of one partition at the same time: each sees every record once, in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_readers_of_one_partition_do_not_disturb_each_other() {
    const RECORDS: u32 = 3_000;
    let broker = TestBroker::shared().await;
    let log = KafkaLog::connect(broker.options()).await.unwrap();
    log.create_topics(&[tools::topic("readers", 1)]).await.unwrap();
    let mut readers = Vec::new();
    for reader in 0..6_u64 {
        let log = log.clone();
        readers.push(tokio::spawn(async move {
            let (mut offset, mut next, mut looks) = (0, 0_u32, 0_u32);
            while next < RECORDS {
                let at = TopicPartition::new("readers", 0);
                // Some wait, some ask over and over; one gives up in the middle of every other wait.
                looks += 1;
                let wait = Duration::from_millis(if reader % 2 == 0 { 500 } else { 0 });
                let max_records = 7 + 50 * usize::try_from(reader).unwrap();
                let from = ReadFrom { at: at.clone(), offset, max_records, max_bytes: 10_000, wait };
                let patience = Duration::from_millis(if reader == 4 && looks % 2 == 1 { 20 } else { 30_000 });
                let Ok(batch) = tokio::time::timeout(patience, log.read(from)).await else { continue };
                let batch = batch.unwrap();
                for record in &batch.records {
                    let value: u32 = std::str::from_utf8(record.value.as_deref().unwrap()).unwrap().parse().unwrap();
                    assert_eq!((record.offset, value), (u64::from(next), next), "reader {reader}");
                    next += 1;
                }
                assert!(batch.end >= batch.next_offset);
                offset = batch.next_offset;
                if let Some(record) = batch.records.first() {
                    assert_eq!(log.record_at(&at, record.offset).await.unwrap().as_ref(), Some(record));
                }
            }
        }));
    }
    tools::write_numbers(log.clone(), "readers", 1, RECORDS, Duration::from_secs(2)).await;
    for reader in readers {
        tokio::time::timeout(Duration::from_secs(180), reader).await.expect("reads to the end").unwrap();
    }
}
