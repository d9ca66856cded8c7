//! Normalizers that come, share, take over and go.

use std::sync::atomic::Ordering;

use super::{unlucky::Unlucky, *};

#[tokio::test(start_paused = true)]
async fn two_members_share_the_partitions_and_one_takes_over_what_the_other_leaves() {
    let log = new_log().await;
    let one = start(Arc::new(log.clone()));
    let mut other = deps(Arc::new(log.clone()));
    other.member = "normalizer-1".into();
    let shutdown = CancellationToken::new();
    let two = Running { task: tokio::spawn(run(other, shutdown.clone())), shutdown };
    send(&log, 40).await;
    wait_until_answered(&log, 40).await;
    one.end().await.unwrap();
    log.produce((40..60).map(|index| record(&parcel(index), index % PARTITIONS)).collect()).await;
    wait_until_answered(&log, 60).await;
    two.end().await.unwrap();
    let ids: BTreeSet<String> = all(&log, names::TRACKING_EVENTS)
        .await
        .iter()
        .map(|(_, record)| record.header_str(headers::CE_ID).unwrap().to_owned())
        .collect();
    assert_eq!(ids.len(), 120);
    assert_eq!(committed(&log).await.values().sum::<u64>(), 60);
}

#[tokio::test(start_paused = true)]
async fn it_ends_within_seconds_though_the_log_is_silent_and_says_why_it_cannot_start() {
    let log = new_log().await;
    send(&log, 4).await;
    let silent = Unlucky::new(log.clone());
    silent.dies_after.store(0, Ordering::SeqCst);
    let running = start(Arc::new(silent));
    tokio::time::sleep(Duration::from_secs(2)).await;
    let asked = tokio::time::Instant::now();
    running.end().await.unwrap();
    assert!(asked.elapsed() <= Duration::from_secs(10));
    assert_eq!(committed(&log).await.values().sum::<u64>(), 0);

    let mut other = deps(Arc::new(log));
    other.layout.partitions = 32;
    let refused = run(other, CancellationToken::new()).await.unwrap_err().to_string();
    assert!(refused.contains("waybill.fetch-results has 4 partitions and the layout says 32"), "{refused}");
}
