//! Deaths at every point, the store's, its connection's and ClickHouse's: every event is there, and once.

use std::{sync::Arc, time::Duration};

use waybill_store::StoreConfig;

use super::{
    support::{
        crash::{CrashLog, Point},
        proxy::{Mode, Proxy},
    },
    *,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sto_1_a_store_dropped_at_any_point_leaves_every_event_once() {
    if no_library() {
        return;
    }
    let world = world().await;
    let mut produced = 0;
    let mut next = 0;
    for point in [Point::BeforePlan, Point::AfterPlan, Point::BeforePosition, Point::AfterPosition] {
        for passes in [0, 1] {
            produced += put_events(&world.log, next..next + 40, 3).await;
            next += 40;
            let (log, crash) = CrashLog::around(&world.log, names::TRACKING_EVENTS, point, passes);
            let running = store_on(&world, log, world.client.clone());
            let mut extra = next;
            // More comes in until the store has got to the point where it is to die.
            let reached = crash.reached.notified();
            tokio::pin!(reached);
            loop {
                tokio::select! {
                    () = &mut reached => break,
                    () = tokio::time::sleep(Duration::from_millis(30)) => {
                        produced += put_events(&world.log, extra..extra + 2, 2).await;
                        extra += 2;
                    }
                }
            }
            next = extra;
            running.crash().await;
        }
    }
    // What came after the last crash makes the next range longer than the one that was under way.
    produced += put_events(&world.log, next..next + 100, 2).await;
    let running = store(&world);
    events_are_there_once(&world, produced).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sto_1_a_store_dropped_in_an_insert_or_before_its_answer_leaves_every_event_once() {
    if no_library() {
        return;
    }
    let world = world().await;
    let proxy = Proxy::before(&world.clickhouse.url()).await;
    let client = writer(&world.clickhouse, &proxy.url);
    let mut produced = 0;
    let rounds = [
        (Mode::CutInserts, true),
        (Mode::SwallowAnswers, true),
        (Mode::CutInserts, false),
        (Mode::SwallowAnswers, false),
    ];
    for (round, (mode, dies)) in (0..).zip(rounds) {
        produced += put_events(&world.log, round * 1_000..round * 1_000 + 300, 3).await;
        // What struck the store of the round before says nothing of this one.
        let _ = tokio::time::timeout(Duration::ZERO, proxy.struck.notified()).await;
        proxy.set(mode);
        let running = store_on(&world, Arc::clone(&world.log), client.clone());
        proxy.struck.notified().await;
        if dies {
            // Dropped with the insert cut or its answer lost.
            running.crash().await;
            proxy.set(Mode::Open);
            continue;
        }
        // Or it lives: a cut insert is sent again for as long as it takes, one whose answer was lost is found.
        if mode == Mode::CutInserts {
            let before = proxy.strikes();
            until_true("another try", async || proxy.strikes() > before + 1).await;
            proxy.set(Mode::Open);
        }
        events_are_there_once(&world, produced).await;
        proxy.set(Mode::Open);
        running.stop().await;
    }
    events_are_there_once(&world, produced).await;
}

/// Runs a store until everything of its ranges is stored and their end is not committed, and drops it there.
async fn stored_but_not_committed(world: &World) -> u64 {
    let produced = put_events(&world.log, 0..100, 3).await;
    let (log, crash) = CrashLog::around(&world.log, names::TRACKING_EVENTS, Point::BeforePosition, 0);
    let running = store_on(world, log, world.client.clone());
    crash.reached.notified().await;
    // The other partition's insert may still be on its way: none of a dead store may arrive after what the test does next.
    for (partition, last) in crash.under_way() {
        let of_range = format!("log_partition = {partition} AND log_offset <= {last}");
        until(&world.client, &format!("SELECT count() FROM tracking_events WHERE {of_range}"), last + 1).await;
    }
    running.crash().await;
    produced
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sto_1_a_token_that_is_remembered_without_its_rows_loses_nothing() {
    if no_library() {
        return;
    }
    let world = world().await;
    let produced = stored_but_not_committed(&world).await;
    // A server killed between writing down a token and its rows. Both months of some ranges, one month of others.
    world.client.query_raw("DELETE FROM tracking_events WHERE log_partition = 0").execute().await.unwrap();
    let month = "DELETE FROM tracking_events WHERE log_partition = 1 AND toYYYYMM(registered_at) = 202610";
    world.client.query_raw(month).execute().await.unwrap();
    assert!(number(&world.client, "SELECT count() FROM tracking_events").await < produced);
    let running = store(&world);
    events_are_there_once(&world, produced).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sto_1_rows_whose_token_is_forgotten_are_not_stored_twice() {
    if no_library() {
        return;
    }
    let world = world().await;
    let produced = stored_but_not_committed(&world).await;
    // A server that lost power after writing the rows and before its list of tokens was on disk.
    let forget = "ALTER TABLE tracking_events MODIFY SETTING non_replicated_deduplication_window = 0";
    world.client.query_raw(forget).execute().await.unwrap();
    let running = store(&world);
    put_events(&world.log, 500..501, 1).await;
    events_are_there_once(&world, produced + 1).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sto_1_kill_9_of_clickhouse_leaves_every_event_once() {
    if no_library() {
        return;
    }
    let world = world().await;
    // Many small ranges, so that a kill meets some.
    let config = StoreConfig { batch_rows: 50, linger_ms: 5, retry_max_ms: 100, ..StoreConfig::default() };
    let running = store_with(&world, Arc::clone(&world.log), world.client.clone(), config);
    let mut produced = 0;
    for round in 0..3 {
        let before = produced;
        let log = Arc::clone(&world.log);
        let feed = tokio::spawn(async move {
            let mut fed = 0;
            for step in 0..20 {
                let first = round * 10_000 + step * 10;
                fed += put_events(&log, first..first + 10, 3).await;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            fed
        });
        until_true("some rows", async || {
            ask(&world.client, "SELECT count() FROM tracking_events").await.is_some_and(|rows| rows > before + 50)
        })
        .await;
        let old = kill_clickhouse(&world);
        produced += feed.await.unwrap();
        running_again(&world, old).await;
        until(&world.client, "SELECT uniqExact(event_id, version) FROM tracking_events", produced).await;
    }
    events_are_there_once(&world, produced).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sto_1_a_dead_stores_ranges_are_finished_by_the_other() {
    if no_library() {
        return;
    }
    let world = world().await;
    let mut produced = put_events(&world.log, 0..200, 3).await;
    let (log, crash) = CrashLog::around(&world.log, names::TRACKING_EVENTS, Point::AfterPlan, 0);
    let dying = store_on(&world, log, world.client.clone());
    crash.reached.notified().await;
    // It holds plans and does nothing; the other one joins, waits for what it is given, and gets the rest by the death.
    let config = StoreConfig { linger_ms: 20, ..StoreConfig::default() };
    let living = store_named(&world, Arc::clone(&world.log), world.client.clone(), (config, "store-1"));
    produced += put_events(&world.log, 500..600, 3).await;
    until(&world.client, "SELECT toUInt64(count() > 0) FROM tracking_events", 1).await;
    dying.crash().await;
    produced += put_events(&world.log, 700..720, 3).await;
    events_are_there_once(&world, produced).await;
    living.stop().await;
}
