//! A fetcher whose log fails in ways of its own goes on when it can, and says so as long as it cannot.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use support::{Door, PATIENCE, Reply, TRACKED, World, json, refusing::Refusing};
use tokio::time::{Instant, sleep, timeout};
use waybill_fetcher::FetcherError;
use waybill_log::{
    EmbeddedLog, EmbeddedOptions, Headers, LogError, NewRecord, SharedLog, TopicPartition, records::attempt_headers,
};
use waybill_runtime::Clocks;
use waybill_schemas::{
    OutcomeClass, WallMs, headers,
    topics::{TopicPrefix, names},
};

async fn door() -> Door {
    Door::open(|_| Reply::Raw(json(200, TRACKED))).await
}

fn in_memory() -> SharedLog {
    let clocks = Clocks::real();
    Arc::new(EmbeddedLog::in_memory(EmbeddedOptions::new(Arc::new(move || clocks.wall()))))
}

async fn refusing(looks: u32, door: &Door) -> (World, Arc<AtomicBool>) {
    let deaf = Arc::new(AtomicBool::new(false));
    let log = Refusing { log: in_memory(), looks, deaf: Arc::clone(&deaf), refusal: Arc::default() };
    (World::quick_on(Arc::new(log), door).await, deaf)
}

type Refusal = Arc<Mutex<Option<(TopicPartition, LogError)>>>;

fn at(topic: &str, partition: u32) -> TopicPartition {
    TopicPartition::new(TopicPrefix::default().of(topic), partition)
}

/// A world of two partitions on a log one of whose own answers everything with this error, for as long as it stands there.
async fn without(at: TopicPartition, error: LogError) -> (World, Refusal) {
    let refusal: Refusal = Arc::new(Mutex::new(Some((at, error))));
    let log = Refusing { log: in_memory(), looks: 0, deaf: Arc::default(), refusal: Arc::clone(&refusal) };
    (World::wide(Arc::new(log), 2, &[], |_| {}).await, refusal)
}

fn no_leader() -> LogError {
    LogError::Unavailable("it has no leader".to_owned())
}

/// Requests that are answered without asking anybody: they came too late.
async fn send_late(world: &World, partition: u32, count: usize) {
    let late = |number: usize| {
        let mut request = world.poll("acme", &format!("ACME{number:05}"), 1);
        request.expires_at = WallMs::ZERO;
        request
    };
    let requests: Vec<_> = (0..count).map(late).collect();
    world.send_to(at(names::FETCH_REQUESTS, partition), &requests, Headers::new()).await;
}

async fn until_there_are(world: &World, partition: u32, results: u64) {
    let until = Instant::now() + PATIENCE;
    while world.log.bounds(&at(names::FETCH_RESULTS, partition)).await.unwrap().next < results {
        assert!(Instant::now() < until, "{results} results on partition {partition} did not come");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_cannot_be_delivered_from_yet_is_begun_once_the_member_has_joined_anew() {
    let door = door().await;
    let (world, _) = refusing(3, &door).await;
    assert_eq!(world.one("ACME0001").await.class, OutcomeClass::Tracked);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fetcher_whose_lease_is_over_is_not_ready_until_a_commit_is_taken() {
    let door = door().await;
    let (world, deaf) = refusing(0, &door).await;
    let running = world.start();
    world.send(&[world.poll("acme", "ACME0001", 1)], Headers::new()).await;
    world.results(1).await;
    world.until_it_says("").await;
    deaf.store(true, Ordering::SeqCst);
    world.until_it_says("acknowledged no commit").await;
    deaf.store(false, Ordering::SeqCst);
    world.until_it_says("").await;
    world.send(&[world.poll("acme", "ACME0001", 2)], Headers::new()).await;
    assert!(world.results(2).await.iter().all(|result| result.class == OutcomeClass::Tracked));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_among_its_own_that_nobody_could_have_written_refuses_the_partition_aloud() {
    let door = door().await;
    let world = World::quick(&door).await;
    let running = world.start();
    world.send(&[world.poll("acme", "ACME0001", 1)], Headers::new()).await;
    world.results(1).await;
    let at = TopicPartition::new(world.deps.topics.of(names::CARRIERS), 0);
    let headers = vec![(headers::EPOCH.to_owned(), "seven".into())];
    let odd = NewRecord { at, key: Some("acme/fetcher".into()), value: None, headers };
    world.log.produce(vec![odd]).await.remove(0).unwrap();
    // Without a word, budgets would wait for ever for what they record to be seen.
    world.until_it_says("unreadable").await;
    running.stop().await;
}

/// Far more than may wait, and than may be open: the partition is paused meanwhile.
#[tokio::test(start_paused = true)]
async fn a_partition_whose_results_nobody_takes_holds_up_no_other_and_is_told() {
    let (world, refusal) = without(at(names::FETCH_RESULTS, 0), no_leader()).await;
    let most = world.deps.config.max_open;
    let running = world.start();
    world.until_it_says("").await;
    send_late(&world, 0, most + 1_000).await;
    world.until_it_says("no results of partition 0").await;
    send_late(&world, 1, 10).await;
    until_there_are(&world, 1, 10).await;
    assert!(world.deps.health.report().iter().all(|one| one.live), "{:?}", world.deps.health.report());
    *refusal.lock().unwrap() = None;
    until_there_are(&world, 0, most as u64 + 1_000).await;
    world.until_it_says("").await;
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn log_1_a_dead_letter_that_nobody_takes_holds_up_its_own_partition_and_no_other() {
    let (world, refusal) = without(at(names::DEAD_LETTERS, 0), no_leader()).await;
    let running = world.start();
    world.until_it_says("").await;
    let headers = attempt_headers(41, None);
    let (key, value) = (Some("acme:ACME0041".into()), Some("{no json".into()));
    let odd = NewRecord { at: at(names::FETCH_REQUESTS, 0), key, value, headers };
    world.log.produce(vec![odd]).await.remove(0).unwrap();
    world.until_it_says("no dead letters of partition 0").await;
    send_late(&world, 1, 10).await;
    until_there_are(&world, 1, 10).await;
    assert!(world.all_results().await.is_empty(), "its attempt ends behind its dead letter");
    *refusal.lock().unwrap() = None;
    until_there_are(&world, 0, 1).await;
    assert_eq!(world.records(names::DEAD_LETTERS).await.len(), 1);
    assert_eq!(world.all_results().await[0].class, OutcomeClass::Unreadable);
    world.until_it_says("").await;
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn log_1_results_that_can_never_be_written_end_the_fetcher_and_are_not_passed_over() {
    let gone = LogError::UnknownTopic("waybill.fetch-results".to_owned());
    let (world, refusal) = without(at(names::FETCH_RESULTS, 0), gone).await;
    send_late(&world, 0, 3).await;
    let ended = timeout(PATIENCE, world.start().task).await.unwrap().unwrap();
    assert!(matches!(&ended, Err(FetcherError::Log(LogError::UnknownTopic(_)))), "{ended:?}");
    *refusal.lock().unwrap() = None;
    let running = world.start();
    until_there_are(&world, 0, 3).await;
    running.stop().await;
}
