//! A log that does not take what is written: told as long as it lasts, and the end where it can never succeed.

use std::sync::atomic::Ordering;

use waybill_log::LogError;

use super::{unlucky::Unlucky, *};

/// Waits until the normalizer lives and is not ready for a reason that has this in it, or ready where it is empty.
async fn until_it_says(health: &Health, why: &str) {
    let said = async {
        while !health.report().iter().any(|one| one.live && one.ready == why.is_empty() && one.note.contains(why)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(timeout(Duration::from_secs(180), said).await.is_ok(), "{why:?}: {:?}", health.report());
}

fn running_on(log: &Arc<Unlucky>) -> (Running, Health) {
    let deps = deps(log.clone());
    let health = deps.health.clone();
    (start_with(deps), health)
}

#[tokio::test(start_paused = true)]
async fn a_normalizer_whose_records_nobody_takes_is_not_ready_until_somebody_does() {
    let log = new_log().await;
    let unlucky = Arc::new(Unlucky::new(log.clone()));
    unlucky.refuse(Some(LogError::Unavailable("it has no leader".into())));
    let (running, health) = running_on(&unlucky);
    until_it_says(&health, "").await;
    log.produce(vec![record(&parcel(1), 1)]).await;
    let sent = tokio::time::Instant::now();
    until_it_says(&health, "no records made from partition 1").await;
    assert!(sent.elapsed() >= Duration::from_secs(30), "not before: {:?}", sent.elapsed());
    unlucky.refuse(None);
    wait_until_answered(&log, 1).await;
    until_it_says(&health, "").await;
    running.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_normalizer_whose_commits_nobody_takes_is_not_ready_until_somebody_does() {
    let log = new_log().await;
    let unlucky = Arc::new(Unlucky::new(log.clone()));
    let (running, health) = running_on(&unlucky);
    until_it_says(&health, "").await;
    unlucky.deaf.store(true, Ordering::SeqCst);
    until_it_says(&health, "no commit").await;
    unlucky.deaf.store(false, Ordering::SeqCst);
    until_it_says(&health, "").await;
    running.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn log_1_records_that_can_never_be_written_end_the_normalizer_and_nothing_is_passed_over() {
    let log = new_log().await;
    send(&log, 4).await;
    let unlucky = Arc::new(Unlucky::new(log.clone()));
    unlucky.refuse(Some(LogError::UnknownTopic(names::TRACKING_EVENTS.into())));
    let (running, _) = running_on(&unlucky);
    let ended = timeout(Duration::from_secs(60), running.task).await.expect("it ends").unwrap();
    assert!(matches!(&ended, Err(NormalizerError::Log(LogError::UnknownTopic(_)))), "{ended:?}");
    assert_eq!(committed(&log).await.values().sum::<u64>(), 0);
    let heir = start(Arc::new(log.clone()));
    wait_until_answered(&log, 4).await;
    heir.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_cannot_be_begun_holds_up_no_other_and_is_told() {
    let log = new_log().await;
    send(&log, 8).await;
    let unlucky = Arc::new(Unlucky::new(log.clone()));
    // The first in order.
    *unlucky.unled.lock().unwrap() = Some(TopicPartition::new(names::FETCH_RESULTS, 0));
    let (running, health) = running_on(&unlucky);
    wait_until_answered(&log, 6).await;
    until_it_says(&health, "no leader").await;
    *unlucky.unled.lock().unwrap() = None;
    wait_until_answered(&log, 8).await;
    until_it_says(&health, "").await;
    running.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_cannot_be_begun_slows_down_no_other() {
    let log = new_log().await;
    let unlucky = Arc::new(Unlucky::new(log.clone()));
    *unlucky.unled.lock().unwrap() = Some(TopicPartition::new(names::FETCH_RESULTS, 0));
    let (running, health) = running_on(&unlucky);
    until_it_says(&health, "no leader").await;
    let sent = tokio::time::Instant::now();
    // Thirty times what is taken up at once.
    for answer in log.produce((1..=90).map(|index| record(&parcel(index), 1)).collect()).await {
        answer.unwrap();
    }
    wait_until_answered(&log, 90).await;
    assert!(sent.elapsed() < Duration::from_secs(10), "{:?}", sent.elapsed());
    running.end().await.unwrap();
}
