//! The Rust crate's inserts and reads: whole and verbatim, and never half, not even through kills.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{
    Event, insert, row,
    support::{kill, migrated, no_library, pid, reader, running_again, start, stop},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_crates_inserts_and_reads_work() {
    if no_library() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let store = start(folder.path()).await;
    let client = migrated(&store).await;

    // Validated, unvalidated and packed inserts arrive whole and verbatim.
    insert(&client, 0..50_000).await.unwrap();
    insert(&client.clone().with_validation(false), 50_000..50_100).await.unwrap();
    insert(&client.clone().with_compression(clickhouse::Compression::Lz4), 50_100..50_200).await.unwrap();
    let all: Vec<Event> = reader(&store).query("SELECT ?fields FROM v_events ORDER BY id").fetch_all().await.unwrap();
    assert_eq!(all.len(), 50_200);
    assert!(all.iter().zip(0..).all(|(have, id)| *have == row(id)));

    // Bound values, server-side parameters with awkward text, an unvalidated read, a packed answer asked for.
    let text = row(7).text;
    let found: u64 = client
        .query("SELECT id FROM events WHERE text = {t:String} AND id < ?")
        .bind(100)
        .param("t", &text)
        .fetch_one()
        .await
        .unwrap();
    assert_eq!(found, 7);
    let plain = client.clone().with_validation(false).with_compression(clickhouse::Compression::Lz4);
    assert_eq!(plain.query("SELECT count() FROM events").fetch_one::<u64>().await.unwrap(), 50_200);

    // A wrong row type is caught before anything is sent, a missing table is the store's own sentence.
    let wrong = client.insert::<Event>("nothing").await.err().map(|error| error.to_string());
    assert!(wrong.is_some_and(|text| text.contains("UNKNOWN_TABLE")));

    // An error in the middle of a stream reaches the reader.
    let late = reader(&store)
        .query("SELECT throwIf(number = 3000000, 'late') AS x FROM numbers(4000000) SETTINGS max_block_size = 1000")
        .fetch_all::<u8>()
        .await;
    assert!(late.is_err(), "settings within a statement are refused to readers");
    let late =
        client.query("SELECT throwIf(number = 3000000, 'late') AS x FROM numbers(4000000)").fetch_all::<u8>().await;
    let late = late.expect_err("it fails").to_string();
    // The crate understands a mark that the network cut in two as an error too, only without its text.
    assert!(late.contains("late") || late.contains("exception tag"), "{late}");

    // An insert that is dropped stores nothing.
    let mut dropped = client.insert::<Event>("events").await.unwrap();
    for id in 1_000_000..1_010_000 {
        dropped.write(&row(id)).await.unwrap();
    }
    drop(dropped);
    assert_eq!(client.query("SELECT count() FROM events").fetch_one::<u64>().await.unwrap(), 50_200);
    stop(store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sto_1_kill_9_during_inserts_loses_nothing_acknowledged() {
    if no_library() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let store = start(folder.path()).await;
    let client = migrated(&store).await;
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let next = Arc::new(AtomicU64::new(0));
    let done = Arc::new(AtomicBool::new(false));
    const BATCH: u64 = 500;
    let mut inserters = Vec::new();
    for _ in 0..2 {
        let (client, acknowledged, next, done) = (client.clone(), acknowledged.clone(), next.clone(), done.clone());
        inserters.push(tokio::spawn(async move {
            while !done.load(Ordering::Relaxed) {
                let first = next.fetch_add(BATCH, Ordering::Relaxed);
                if insert(&client, first..first + BATCH).await.is_ok() {
                    acknowledged.lock().unwrap().push(first);
                } else {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }));
    }
    for _ in 0..3 {
        let before = acknowledged.lock().unwrap().len();
        let grown = async {
            while acknowledged.lock().unwrap().len() < before + 5 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), grown).await.expect("inserts go on");
        let old = pid(&store).expect("it runs");
        kill(old);
        running_again(&store, old).await;
    }
    done.store(true, Ordering::Relaxed);
    for inserter in inserters {
        inserter.await.unwrap();
    }
    let batches: Vec<(u64, u64)> = reader(&store)
        .query("SELECT intDiv(id, 500) * 500 AS first, count() FROM events GROUP BY first ORDER BY first")
        .fetch_all()
        .await
        .unwrap();
    assert!(batches.iter().all(|(_, rows)| *rows == BATCH), "a batch is there whole or not at all");
    let stored: std::collections::HashSet<u64> = batches.iter().map(|(first, _)| *first).collect();
    let acknowledged = acknowledged.lock().unwrap().clone();
    assert!(acknowledged.len() >= 15);
    assert!(acknowledged.iter().all(|first| stored.contains(first)), "an acknowledged batch is lost");
    stop(store).await;
}
