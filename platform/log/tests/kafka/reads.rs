//! Readers without a group, many at once; readers of either kind whose client stops fetching.

use std::time::Duration;

use waybill_log::{
    ErrorClass, GroupEvent, GroupMember, JoinGroup, KafkaLog, Log as _, OutOfRange, ReadFrom, TopicPartition,
    kafka::testing::{KafkaFaults, TestBroker},
};

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

/// The next record's value, whatever else a member is told before.
async fn next_value(member: &mut dyn GroupMember) -> String {
    loop {
        match member.next(Duration::from_millis(500)).await {
            Ok(GroupEvent::Assigned(partitions)) => {
                for partition in partitions {
                    member.start(partition, None).await.unwrap();
                }
            }
            Ok(GroupEvent::Revoked(partitions)) => member.release(&partitions),
            Ok(GroupEvent::Records { records, .. }) => {
                return String::from_utf8(records[0].value.as_deref().unwrap().to_vec()).unwrap();
            }
            Ok(GroupEvent::Idle) => {}
            Err(error) => assert_eq!(error.class(), ErrorClass::Retry, "{error}"),
        }
    }
}

/// A client that stops fetching without a word looks like a partition where nothing happens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_stop_without_a_word_are_noticed_and_go_on() {
    const PATIENCE: Duration = Duration::from_secs(180);
    let broker = TestBroker::shared().await;
    let log = KafkaLog::connect(broker.options()).await.unwrap();
    log.create_topics(&[tools::topic("hushed", 1)]).await.unwrap();
    let faults = KafkaFaults::new(&log, &broker.brokers());
    log.produce(vec![tools::record("hushed", 0, "first")]).await.remove(0).unwrap();
    let join = JoinGroup {
        group: "hushed".to_owned(),
        topic: "hushed".to_owned(),
        member: "a".to_owned(),
        out_of_range: OutOfRange::Fail,
        drain_budget: Duration::from_secs(2),
        max_batch: 50,
    };
    let mut member = log.join(join).await.unwrap();
    let first = tokio::time::timeout(PATIENCE, next_value(&mut *member)).await.expect("it comes");
    assert_eq!(first, "first");
    let at = TopicPartition::new("hushed", 0);
    let from = ReadFrom { at, offset: 1, max_records: 10, max_bytes: 1_000, wait: PATIENCE };
    let tailing = tokio::spawn({
        let log = log.clone();
        async move { log.read(from).await.unwrap() }
    });
    // Both stand at the end and wait.
    tokio::time::sleep(Duration::from_secs(2)).await;
    faults.hush().await;
    // And the first try to go on fails: librdkafka says nothing a second time.
    faults.refuse_looks(1);
    log.produce(vec![tools::record("hushed", 0, "second")]).await.remove(0).unwrap();
    let second = tokio::time::timeout(PATIENCE, next_value(&mut *member)).await.expect("the member goes on");
    assert_eq!(second, "second");
    let batch = tokio::time::timeout(PATIENCE, tailing).await.expect("the tail goes on").unwrap();
    assert_eq!(batch.records.iter().map(|record| record.offset).collect::<Vec<_>>(), [1]);
    member.leave().await;
}
