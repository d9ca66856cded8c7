//! A fetcher whose log fails in ways of its own goes on when it can, and says so as long as it cannot.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use support::{Door, Reply, TRACKED, World, json, refusing::Refusing};
use waybill_log::{EmbeddedLog, EmbeddedOptions, Headers, NewRecord, SharedLog, TopicPartition};
use waybill_runtime::Clocks;
use waybill_schemas::{OutcomeClass, headers, topics::names};

async fn door() -> Door {
    Door::open(|_| Reply::Raw(json(200, TRACKED))).await
}

async fn refusing(looks: u32, door: &Door) -> (World, Arc<AtomicBool>) {
    let (clocks, deaf) = (Clocks::real(), Arc::new(AtomicBool::new(false)));
    let log: SharedLog = Arc::new(EmbeddedLog::in_memory(EmbeddedOptions::new(Arc::new(move || clocks.wall()))));
    (World::quick_on(Arc::new(Refusing { log, looks, deaf: Arc::clone(&deaf) }), door).await, deaf)
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
