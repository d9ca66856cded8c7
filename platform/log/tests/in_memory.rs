//! The smallest walk through the log in memory.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use waybill_log::{
    Commit, EmbeddedLog, EmbeddedOptions, GroupEvent, JoinGroup, Log, NewRecord, NewTopic, OutOfRange, TopicPartition,
};
use waybill_schemas::{WallMs, topics::Cleanup};

#[tokio::test(start_paused = true)]
async fn a_record_goes_in_and_comes_out_to_the_group_that_owns_its_partition() {
    let log = EmbeddedLog::in_memory(EmbeddedOptions::new(Arc::new(|| WallMs::new(1_000))));
    let topic = NewTopic {
        name: "t".to_owned(),
        partitions: 2,
        cleanup: Cleanup::Delete,
        retention: Duration::from_secs(3_600),
        min_compaction_lag: Duration::ZERO,
    };
    log.create_topics(&[topic]).await.unwrap();
    let join = JoinGroup {
        group: "g".to_owned(),
        topic: "t".to_owned(),
        member: "a".to_owned(),
        out_of_range: OutOfRange::Fail,
        drain_budget: Duration::from_secs(5),
        max_batch: 10,
    };
    let mut member = log.join(join).await.unwrap();
    let GroupEvent::Assigned(partitions) = member.next(Duration::from_secs(1)).await.unwrap() else { panic!() };
    assert_eq!(partitions, [0, 1]);
    for partition in partitions {
        member.start(partition, None).await.unwrap();
    }
    let writer = log.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let record = NewRecord {
            at: TopicPartition::new("t", 1),
            key: Some(Bytes::from_static(b"k")),
            value: Some(Bytes::from_static(b"v")),
            headers: vec![],
        };
        writer.produce(vec![record]).await
    });
    let GroupEvent::Records { partition, records } = member.next(Duration::from_secs(10)).await.unwrap() else {
        panic!()
    };
    assert_eq!((partition, records.len(), records[0].offset), (1, 1, 0));
    member.commit(&[Commit { partition: 1, offset: 1, metadata: "m".to_owned() }]).await.unwrap();
    assert_eq!(member.committed(1).await.unwrap().unwrap().metadata, "m");
    assert!(matches!(member.next(Duration::from_secs(1)).await.unwrap(), GroupEvent::Idle));
}
