//! Topics as they are and as they should be.

use std::time::Duration;

use waybill_log::{
    KafkaLog, Log as _, NewTopic,
    kafka::{Allow, Applied, testing::TestBroker},
};
use waybill_schemas::topics::Cleanup;

use crate::tools;

/// Waits until just these differences are left: the broker tells what was changed a little later.
async fn left(log: &KafkaLog, wanted: &[NewTopic], expected: &[&str]) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        let shown: Vec<String> = log.topics_diff(wanted).await.unwrap().iter().map(ToString::to_string).collect();
        if shown == expected {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{shown:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn differences_are_shown_and_changed_only_as_far_as_is_allowed() {
    let broker = TestBroker::shared().await;
    let mut options = broker.options();
    options.min_insync_replicas = Some(1);
    let log = KafkaLog::connect(options).await.unwrap();
    let old = [tools::topic("drift-a", 2), NewTopic { cleanup: Cleanup::Compact, ..tools::topic("drift-b", 1) }];
    log.create_topics(&old).await.unwrap();
    assert_eq!(log.topics_diff(&old).await.unwrap(), []);

    let hour = Duration::from_secs(3_600);
    let new = [
        NewTopic { partitions: 4, retention: 2 * hour, ..old[0].clone() },
        NewTopic { min_compaction_lag: hour, ..old[1].clone() },
        tools::topic("drift-c", 1),
    ];
    let shown: Vec<String> = log.topics_diff(&new).await.unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "drift-a has 2 partitions, 4 are wanted",
            "drift-a: retention.ms is 3600000, 7200000 is wanted",
            "drift-b: min.compaction.lag.ms is 0, 3600000 is wanted",
            "drift-c is missing (1 partitions are wanted)",
        ]
    );

    let outcomes = log.topics_apply(&new, &Allow::default()).await.unwrap();
    assert!(outcomes.iter().all(|(_, applied)| *applied != Applied::Done));
    assert_eq!(log.topics_diff(&new).await.unwrap().len(), 4);

    let most = Allow { create: true, settings: true, ..Allow::default() };
    let outcomes = log.topics_apply(&new, &most).await.unwrap();
    assert_eq!(outcomes[0].1, Applied::NotAsked, "partitions only where the topic is named: {outcomes:?}");
    assert!(outcomes[1..].iter().all(|(_, applied)| *applied == Applied::Done), "{outcomes:?}");
    left(&log, &new, &["drift-a has 2 partitions, 4 are wanted"]).await;

    let grow = Allow { grow: ["drift-a".to_owned()].into(), ..Allow::default() };
    log.topics_apply(&new, &grow).await.unwrap();
    // What was set before is still set: nothing is reset on the way.
    left(&log, &new, &[]).await;
    let smaller = NewTopic { partitions: 2, ..new[0].clone() };
    let outcomes = log.topics_apply(&[smaller], &grow).await.unwrap();
    assert!(matches!(&outcomes[0].1, Applied::Refused(why) if why.contains("smaller")), "{outcomes:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_cleanup_and_another_least_number_of_replicas_are_shown_and_changed() {
    let broker = TestBroker::shared().await;
    let connect = async |least| {
        let mut options = broker.options();
        options.min_insync_replicas = Some(least);
        KafkaLog::connect(options).await.unwrap()
    };
    let (before, after) = (connect(1).await, connect(2).await);
    let old = [tools::topic("drift-d", 1), NewTopic { cleanup: Cleanup::Compact, ..tools::topic("drift-e", 1) }];
    before.create_topics(&old).await.unwrap();
    let new = [
        NewTopic { cleanup: Cleanup::Compact, min_compaction_lag: Duration::from_secs(60), ..old[0].clone() },
        NewTopic { cleanup: Cleanup::Delete, retention: Duration::from_secs(7_200), ..old[1].clone() },
    ];
    let shown: Vec<String> = after.topics_diff(&new).await.unwrap().iter().map(ToString::to_string).collect();
    for wanted in [
        "drift-d: cleanup.policy is delete, compact is wanted",
        "drift-d: min.compaction.lag.ms is 0, 60000 is wanted",
        "drift-d: min.insync.replicas is 1, 2 is wanted",
        "drift-e: cleanup.policy is compact, delete is wanted",
        "drift-e: min.insync.replicas is 1, 2 is wanted",
    ] {
        assert!(shown.iter().any(|line| line == wanted), "{wanted:?} is not among {shown:#?}");
    }
    assert!(shown.iter().any(|line| line.starts_with("drift-e: retention.ms is ")), "{shown:#?}");

    let settings = Allow { settings: true, ..Allow::default() };
    let outcomes = after.topics_apply(&new, &settings).await.unwrap();
    assert!(outcomes.iter().all(|(_, applied)| *applied == Applied::Done), "{outcomes:?}");
    left(&after, &new, &[]).await;
    // Who does not say how many replicas are the least leaves what is there.
    let mut silent = broker.options();
    silent.min_insync_replicas = None;
    assert_eq!(KafkaLog::connect(silent).await.unwrap().topics_diff(&new).await.unwrap(), []);
}
