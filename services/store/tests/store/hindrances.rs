//! What keeps a range from being stored: a ClickHouse that is away, rows that it refuses, a table of another shape.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;

use super::{
    support::{
        proxy::{Mode, Proxy},
        rejoin::{deaf, rejoining},
    },
    *,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clickhouse_being_away_stalls_no_producer_and_drops_nothing() {
    if no_library() {
        return;
    }
    let world = world().await;
    let proxy = Proxy::before(&world.clickhouse.url()).await;
    proxy.set(Mode::Down);
    let running = store_on(&world, Arc::clone(&world.log), writer(&world.clickhouse, &proxy.url));
    let mut produced = put_events(&world.log, 0..100, 3).await;
    let waits = async || {
        world.health.report().iter().any(|one| one.name == "store.clickhouse" && !one.ready && one.note != "starting")
    };
    until_true("not being ready", waits).await;
    // Five seconds of records while nothing can be stored.
    for round in 1..=50 {
        produced += put_events(&world.log, round * 100..round * 100 + 20, 3).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(!running.task.is_finished());
    assert_eq!(number(&world.client, "SELECT count() FROM tracking_events").await, 0);
    proxy.set(Mode::Open);
    events_are_there_once(&world, produced).await;
    until_true("being ready", async || world.health.report().iter().all(|one| one.ready)).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_refused_until_it_joins_anew_takes_its_partitions_over_then() {
    if no_library() {
        return;
    }
    let world = world().await;
    let running = store_on(&world, rejoining(&world.log), world.client.clone());
    let produced = put_events(&world.log, 0..100, 3).await;
    events_are_there_once(&world, produced).await;
    until_true("being ready", async || world.health.report().iter().all(|one| one.ready)).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_takes_no_commits_keeps_the_store_from_being_ready_until_it_does() {
    if no_library() {
        return;
    }
    let world = world().await;
    let (log, is_deaf) = deaf(&world.log);
    let running = store_on(&world, log, world.client.clone());
    let produced = put_events(&world.log, 0..100, 3).await;
    let says_so = || {
        let report = world.health.report();
        report.iter().any(|one| one.name == "store.tracking-events" && !one.ready && one.note.contains("no commits"))
    };
    until_true("saying that nothing is acknowledged", async || says_so()).await;
    // Its group answers all the while: that alone makes nobody ready.
    for _ in 0..50 {
        assert!(says_so(), "{:?}", world.health.report());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(number(&world.client, "SELECT count() FROM tracking_events").await, 0);
    is_deaf.store(false, Ordering::SeqCst);
    events_are_there_once(&world, produced).await;
    until_true("being ready", async || world.health.report().iter().all(|one| one.ready)).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_1_poison_goes_to_the_dead_letters_and_the_rest_arrives_once() {
    if no_library() {
        return;
    }
    let world = world().await;
    for sql in [
        "ALTER TABLE tracking_events ADD CONSTRAINT no_poison CHECK number NOT IN ('TEST000007', 'TEST000008', 'TEST000150')",
        "ALTER TABLE deliveries ADD CONSTRAINT no_poison CHECK number != 'TEST000033'",
    ] {
        world.client.query_raw(sql).execute().await.unwrap();
    }
    // Everything is there before the store starts: the ranges are long.
    let mut produced = put_events(&world.log, 0..200, 2).await;
    produced -= 2 * 3;
    put_bytes(&world.log, names::TRACKING_EVENTS, &records::key(300), Some(Bytes::from_static(b"{ no json"))).await;
    for n in 0..60 {
        put(&world.log, names::SHIPMENTS, &records::key(n), &records::shipment(n, Some(24), 1)).await;
    }
    let running = store(&world);
    events_are_there_once(&world, produced).await;
    until(&world.client, "SELECT count() FROM deliveries", 59).await;
    // The other table of the same range is not touched by the refusal. It is filled beside, sooner or later.
    until(&world.client, "SELECT count() FROM shipments", 60).await;
    assert_eq!(number(&world.client, "SELECT uniqExact(log_partition, log_offset) FROM deliveries").await, 59);
    until_true("all dead letters", async || dead_letters(&world.log).await.len() >= 8).await;
    let letters = dead_letters(&world.log).await;
    assert_eq!(letters.len(), 8);
    let with =
        |code: &str| letters.iter().filter(|letter| letter.header_str("waybill-dead-reason") == Some(code)).count();
    assert_eq!((with("refused_by_store"), with("unreadable")), (7, 1));
    for letter in &letters {
        let detail = letter.header_str("waybill-dead-detail").unwrap();
        assert!(!detail.is_empty() && !detail.contains("TEST0000"), "SEC-1: {detail}");
    }
    // And it goes on.
    produced += put_events(&world.log, 400..420, 2).await;
    events_are_there_once(&world, produced).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_of_another_shape_is_waited_out_and_never_taken_for_poison() {
    if no_library() {
        return;
    }
    let world = world().await;
    world.client.query_raw("ALTER TABLE status_changes MODIFY COLUMN seen_at String").execute().await.unwrap();
    for n in 0..20 {
        put(&world.log, names::STATUS_CHANGES, &records::key(n), &records::change(n)).await;
    }
    let running = store(&world);
    let waits = async || {
        world.health.report().iter().any(|one| one.name == "store.clickhouse" && one.note.contains("status_changes"))
    };
    until_true("not being ready", waits).await;
    assert!(dead_letters(&world.log).await.is_empty());
    world.client.query_raw("DROP TABLE status_changes SYNC").execute().await.unwrap();
    world.client.query_raw("TRUNCATE TABLE schema_migrations").execute().await.unwrap();
    migrate(&world.client).await;
    until(&world.client, "SELECT count() FROM status_changes", 20).await;
    assert!(dead_letters(&world.log).await.is_empty());
    running.stop().await;
}
