//! What topics keep and what goes, the same in memory and on disk.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Hand, append, read_all, record, texts, topic};
use waybill_log::{EmbeddedLog, EmbeddedOptions, Log, LogError, ReadFrom, TopicPartition};
use waybill_schemas::{WallMs, topics::Cleanup};

/// Runs a law on each storage.
async fn on_each<F: AsyncFn(EmbeddedLog, Hand)>(law: F) {
    let hand = Hand::default();
    law(EmbeddedLog::in_memory(hand.options()), hand).await;
    for tail_bytes in [0, 512 * 1024] {
        let (dir, hand) = (tempfile::tempdir().unwrap(), Hand::default());
        let options = EmbeddedOptions { tail_bytes, ..hand.options() };
        law(EmbeddedLog::open(dir.path(), options).unwrap(), hand).await;
    }
}

#[tokio::test]
async fn records_older_than_the_retention_go_and_their_offsets_are_out_of_range() {
    on_each(async |log, hand| {
        log.create_topics(&[topic("t", 1, Cleanup::Delete)]).await.unwrap();
        for index in 0..10 {
            hand.set(index * 100);
            append(&log, record("t", 0, &index.to_string(), Some("v"))).await.unwrap();
        }
        assert_eq!(log.maintain(WallMs::new(1_000)).await.unwrap().expired, 0);
        assert_eq!(log.maintain(WallMs::new(1_450)).await.unwrap().expired, 5);
        let kept = read_all(&log, "t", 0).await.unwrap();
        assert_eq!(kept.iter().map(|record| record.offset).collect::<Vec<_>>(), [5, 6, 7, 8, 9]);
        let at = TopicPartition::new("t", 0);
        let gone =
            ReadFrom { at: at.clone(), offset: 4, max_records: 1, max_bytes: 1, wait: std::time::Duration::ZERO };
        assert!(matches!(log.read(gone).await, Err(LogError::OutOfRange { first: 5, next: 10, .. })));
        // When everything is gone, offsets go on where they were.
        log.maintain(WallMs::new(10_000)).await.unwrap();
        let bounds = log.bounds(&at).await.unwrap();
        assert_eq!((bounds.first, bounds.next), (10, 10));
        assert_eq!(append(&log, record("t", 0, "k", Some("v"))).await.unwrap().offset, 10);
    })
    .await;
}

#[tokio::test]
async fn the_newest_record_of_a_key_stays_and_nothing_younger_than_the_lag_counts() {
    on_each(async |log, hand| {
        log.create_topics(&[topic("t", 1, Cleanup::Compact)]).await.unwrap();
        for (time, key, value) in [(0, "a", "1"), (10, "b", "1"), (20, "a", "2"), (30, "a", "3"), (200, "b", "2")] {
            hand.set(time);
            append(&log, record("t", 0, key, Some(value))).await.unwrap();
        }
        // At 250 only what is older than 150 may be touched: b's newest replaces nothing yet.
        assert_eq!(log.maintain(WallMs::new(250)).await.unwrap().compacted, 2);
        let pair = |key: &str, value: &str| (key.to_owned(), Some(value.to_owned()));
        assert_eq!(texts(&read_all(&log, "t", 0).await.unwrap()), [pair("b", "1"), pair("a", "3"), pair("b", "2")]);
        assert_eq!(log.maintain(WallMs::new(400)).await.unwrap().compacted, 1);
        let kept = read_all(&log, "t", 0).await.unwrap();
        assert_eq!(texts(&kept), [pair("a", "3"), pair("b", "2")]);
        assert_eq!(kept.iter().map(|record| record.offset).collect::<Vec<_>>(), [3, 4]);
    })
    .await;
}

#[tokio::test]
async fn a_tombstone_deletes_its_key_and_goes_itself_after_the_retention() {
    on_each(async |log, hand| {
        log.create_topics(&[topic("t", 1, Cleanup::Compact)]).await.unwrap();
        append(&log, record("t", 0, "a", Some("1"))).await.unwrap();
        append(&log, record("t", 0, "b", Some("1"))).await.unwrap();
        hand.set(50);
        append(&log, record("t", 0, "a", None)).await.unwrap();
        assert_eq!(log.maintain(WallMs::new(500)).await.unwrap().compacted, 1);
        let kept = texts(&read_all(&log, "t", 0).await.unwrap());
        assert_eq!(kept, [("b".to_owned(), Some("1".to_owned())), ("a".to_owned(), None)]);
        assert_eq!(log.maintain(WallMs::new(1_049)).await.unwrap().compacted, 0);
        assert_eq!(log.maintain(WallMs::new(1_050)).await.unwrap().compacted, 1);
        assert_eq!(texts(&read_all(&log, "t", 0).await.unwrap()), [("b".to_owned(), Some("1".to_owned()))]);
    })
    .await;
}

#[tokio::test]
async fn append_times_never_go_back_when_the_clock_does() {
    on_each(async |log, hand| {
        log.create_topics(&[topic("t", 1, Cleanup::Delete)]).await.unwrap();
        hand.set(500);
        append(&log, record("t", 0, "a", Some("1"))).await.unwrap();
        hand.set(100);
        assert_eq!(append(&log, record("t", 0, "a", Some("2"))).await.unwrap().append_time.ms(), 500);
    })
    .await;
}
