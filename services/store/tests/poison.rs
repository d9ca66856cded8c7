//! Records that cannot be read: a few go to the dead letters, too many end the store. Nothing here needs a ClickHouse: what
//! cannot be read has no rows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop at the first surprise")]

mod support;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use support::{Running, dead_letters, log, partition, put_bytes, records, unburied::Unburied, until_true};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use waybill_clickhouse::client::{ClientOptions, build};
use waybill_log::{LogError, SharedLog, TopicPartition};
use waybill_runtime::{Clocks, Health, poison::PoisonLimits};
use waybill_schemas::topics::{TopicPrefix, names};
use waybill_store::{Deps, StoreConfig, StoreError};

/// A store whose ClickHouse is away for good.
fn start(log: &SharedLog, linger_ms: u64) -> Running {
    start_telling(log, linger_ms, &Health::default())
}

/// The same, which tells there how it is.
fn start_telling(log: &SharedLog, linger_ms: u64, health: &Health) -> Running {
    let poison = PoisonLimits { envelopes: 4, ..PoisonLimits::default() };
    let shutdown = CancellationToken::new();
    let deps = Deps {
        log: Arc::clone(log),
        topics: TopicPrefix::default(),
        clickhouse: build(&ClientOptions::new("http://127.0.0.1:1", "waybill", "")).unwrap(),
        clocks: Clocks::real(),
        member: "store-0".to_owned(),
        health: health.clone(),
        config: StoreConfig { linger_ms, poison, ..StoreConfig::default() },
    };
    Running { task: tokio::spawn(waybill_store::run(deps, shutdown.clone())), shutdown }
}

async fn put_text(log: &SharedLog, topic: &str, text: &'static str) {
    put_bytes(log, topic, &records::key(1), Some(Bytes::from_static(text.as_bytes()))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sto_1_records_that_are_no_json_end_the_store_with_a_clear_error_and_none_of_them_is_passed_over() {
    // Counted over all topics: whatever writes them is no part of Waybill.
    for topics in [[names::OUTCOMES; 4], [names::OUTCOMES, names::SCHEDULE, names::SHIPMENTS, names::TRACKING_EVENTS]] {
        let log = log().await;
        for topic in topics {
            put_text(&log, topic, "{ no json").await;
        }
        // No range is closed before all four have been read, however long that takes: what has tripped it is not
        // acknowledged before it is noticed.
        for life in 1..=2 {
            let ended = timeout(Duration::from_secs(60), start(&log, 3_600_000).task).await.expect("it ends");
            let error = ended.unwrap().unwrap_err();
            assert!(matches!(error, StoreError::Poison(_)), "life {life}: {error}");
            let said = error.to_string();
            assert!(said.contains("4 records") && said.contains("no JSON"), "life {life}: {said}");
        }
        assert!(dead_letters(&log).await.is_empty());
    }
}

/// JSON that is not the topic's, and payloads, which are no JSON, say nothing against whatever writes the topics.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_are_json_but_not_the_topics_are_dead_letters_however_many_and_end_nothing() {
    let log = log().await;
    for _ in 0..10 {
        put_text(&log, names::OUTCOMES, r#"{"class":"unheard_of"}"#).await;
    }
    put_text(&log, names::SHIPMENTS, "{ no json").await;
    let running = start(&log, 20);
    until_true("the dead letters", async || dead_letters(&log).await.len() == 11).await;
    running.stop().await;
    let reasons: Vec<_> = dead_letters(&log).await.iter().filter_map(waybill_log::letters::Letter::of).collect();
    assert!(reasons.iter().all(|letter| letter.reason == "unreadable" && letter.service == "store"), "{reasons:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_1_a_dead_letter_that_can_never_be_written_ends_the_store_and_its_record_is_not_passed_over() {
    let log = log().await;
    put_text(&log, names::OUTCOMES, r#"{"class":"unheard_of"}"#).await;
    let refusing: SharedLog = Unburied::around(&log, LogError::UnknownTopic("waybill.dead-letters".to_owned()));
    let ended = timeout(Duration::from_secs(60), start(&refusing, 20).task).await.expect("it ends");
    let error = ended.unwrap().unwrap_err();
    assert!(matches!(&error, StoreError::Log { source: LogError::UnknownTopic(_), .. }), "{error}");
    assert!(error.to_string().contains("waybill.dead-letters does not exist"), "{error}");
    let running = start(&log, 20);
    until_true("the dead letter", async || dead_letters(&log).await.len() == 1).await;
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn dead_letters_that_the_log_does_not_take_keep_the_store_from_being_ready_until_it_does() {
    let log = log().await;
    put_text(&log, names::OUTCOMES, r#"{"class":"unheard_of"}"#).await;
    let unburied = Unburied::around(&log, LogError::Unavailable("it has no leader".to_owned()));
    let refusing: SharedLog = unburied.clone();
    let health = Health::default();
    let running = start_telling(&refusing, 20, &health);
    // Ready where there is no reason not to be.
    let says = |why: &str| {
        let report = health.report();
        let one = report.iter().find(|one| one.name == "store.outcomes");
        one.is_some_and(|one| one.live && one.ready == why.is_empty() && one.note.contains(why))
    };
    until_true("being ready", async || says("")).await;
    until_true("saying what waits", async || says("no dead letters of waybill.outcomes")).await;
    unburied.yields();
    until_true("being ready again", async || says("")).await;
    assert_eq!(dead_letters(&log).await.len(), 1);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn partitions_whose_ends_nobody_tells_are_stored_all_the_same() {
    let log = log().await;
    let unburied = Unburied::around(&log, LogError::Unavailable("not yet".to_owned()));
    unburied.yields();
    let silent: SharedLog = unburied.clone();
    let running = start(&silent, 20);
    put_text(&log, names::OUTCOMES, r#"{"class":"unheard_of"}"#).await;
    until_true("the first dead letter", async || dead_letters(&log).await.len() == 1).await;
    unburied.hush();
    // Longer than from one look at the lag to the next.
    tokio::time::sleep(Duration::from_secs(10)).await;
    put_text(&log, names::OUTCOMES, r#"{"class":"unheard_of"}"#).await;
    until_true("the second", async || dead_letters(&log).await.len() == 2).await;
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_cannot_be_taken_over_holds_up_no_other() {
    let log = log().await;
    let unburied = Unburied::around(&log, LogError::Unavailable("not yet".to_owned()));
    unburied.yields();
    // The first in order; records come to the other, then to this one.
    unburied.unlead(Some(TopicPartition::new(TopicPrefix::default().of(names::OUTCOMES), 0)));
    let of = |wanted: u32| (0..).map(records::key).find(|key| partition(key) == wanted).unwrap();
    for number in [1, 0] {
        let unheard_of = Bytes::from_static(br#"{"class":"unheard_of"}"#);
        put_bytes(&log, names::OUTCOMES, &of(number), Some(unheard_of)).await;
    }
    let silent: SharedLog = unburied.clone();
    let running = start(&silent, 20);
    until_true("the other's dead letter", async || dead_letters(&log).await.len() == 1).await;
    unburied.unlead(None);
    until_true("its own", async || dead_letters(&log).await.len() == 2).await;
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_cannot_be_taken_over_slows_down_no_other() {
    let log = log().await;
    let unburied = Unburied::around(&log, LogError::Unavailable("not yet".to_owned()));
    unburied.yields();
    unburied.unlead(Some(TopicPartition::new(TopicPrefix::default().of(names::OUTCOMES), 0)));
    let silent: SharedLog = unburied.clone();
    let running = start(&silent, 20);
    let other = (0..).map(records::key).find(|key| partition(key) == 1).unwrap();
    let began = tokio::time::Instant::now();
    // One after the other: each takes some of the loop's turns.
    for count in 1..=10 {
        put_bytes(&log, names::OUTCOMES, &other, Some(Bytes::from_static(br#"{"class":"unheard_of"}"#))).await;
        until_true("its dead letter", async || dead_letters(&log).await.len() == count).await;
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    running.stop().await;
}
