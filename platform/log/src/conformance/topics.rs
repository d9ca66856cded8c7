//! Laws of topics and records.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::timeout;
use waybill_schemas::{WallMs, limits::MAX_RECORD_BYTES, topics::Cleanup};

use super::{
    Instance,
    user::{PATIENCE, record, text},
};
use crate::{
    claims::{self, Observed},
    records::tombstone,
    seam::{Headers, LogError, NewRecord, NewTopic, ReadFrom, TopicPartition},
};

/// Keys, values, headers and tombstones come back byte by byte; absent is not empty.
pub async fn records_come_back_as_they_were_written(with: &Instance) {
    let topic = with.create("t", 1).await;
    let at = TopicPartition::new(topic.as_str(), 0);
    let headers: Headers = vec![
        ("a".to_owned(), Bytes::from_static(b"1")),
        ("b".to_owned(), Bytes::from_static(b"\xff\x00")),
        ("a".to_owned(), Bytes::new()),
    ];
    let written = vec![
        NewRecord { at: at.clone(), key: Some(Bytes::from_static(b"k\x00")), value: Some(Bytes::new()), headers },
        NewRecord { at: at.clone(), key: None, value: Some(Bytes::from(vec![7; 100_000])), headers: vec![] },
        tombstone(at.clone(), "gone", vec![]),
    ];
    for answer in with.log.produce(written.clone()).await {
        answer.unwrap();
    }
    let batch = with.read(&topic, 0, 0).await.unwrap();
    assert_eq!(batch.records.len(), 3);
    for (read, wrote) in batch.records.iter().zip(&written) {
        assert_eq!((&read.key, &read.value, &read.headers), (&wrote.key, &wrote.value, &wrote.headers));
    }
    assert_eq!(batch.next_offset, batch.end);
}

/// Answers stand in the order of the call, and so do the records.
pub async fn answers_and_offsets_are_in_the_order_of_the_call(with: &Instance) {
    let topic = with.create("t", 2).await;
    let records = (0..200).map(|index| record(&topic, index % 2, &index.to_string())).collect();
    let answers: Vec<u64> = with.log.produce(records).await.into_iter().map(|answer| answer.unwrap().offset).collect();
    for partition in 0..2 {
        let read = with.read(&topic, partition, 0).await.unwrap().records;
        let values: Vec<u32> = read.iter().map(|record| text(record).parse().unwrap()).collect();
        assert_eq!(values, (0..200).filter(|index| index % 2 == partition).collect::<Vec<u32>>());
        for (record, value) in read.iter().zip(values) {
            assert_eq!(answers[value as usize], record.offset);
        }
    }
}

/// A record is where it was sent to; partitions count for themselves.
pub async fn partitions_are_explicit_and_independent(with: &Instance) {
    let topic = with.create("t", 3).await;
    with.append(&topic, 2, "x").await;
    assert_eq!(with.read(&topic, 2, 0).await.unwrap().records.len(), 1);
    for partition in 0..2 {
        assert!(with.read(&topic, partition, 0).await.unwrap().records.is_empty());
    }
    let answer = with.log.produce(vec![record(&topic, 3, "x")]).await.remove(0);
    assert!(matches!(answer, Err(LogError::UnknownTopic(_))), "{answer:?}");
}

/// Append times do not go back, and a time finds the first record that is not older.
pub async fn append_times_never_go_back_and_find_their_offsets(with: &Instance) {
    let topic = with.create("t", 1).await;
    let at = TopicPartition::new(topic.as_str(), 0);
    assert_eq!(with.log.offset_for_time(&at, WallMs::ZERO).await.unwrap(), None);
    let mut appended = Vec::new();
    for index in 0..20 {
        appended.push(with.append(&topic, 0, &index.to_string()).await);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let read = with.read(&topic, 0, 0).await.unwrap().records;
    assert!(read.is_sorted_by_key(|record| record.append_time));
    for (record, answer) in read.iter().zip(&appended) {
        assert_eq!((record.offset, record.append_time), (answer.offset, answer.append_time));
        let first = read.iter().find(|other| other.append_time >= record.append_time).unwrap();
        assert_eq!(with.log.offset_for_time(&at, record.append_time).await.unwrap(), Some(first.offset));
    }
    let last = read.last().unwrap().append_time;
    assert_eq!(with.log.offset_for_time(&at, last.plus_ms(1)).await.unwrap(), None);
    assert!(with.log.time().await.unwrap() >= read[0].append_time);
}

/// First and next offset, and a record by its offset.
pub async fn bounds_and_single_records(with: &Instance) {
    let topic = with.create("t", 1).await;
    let at = TopicPartition::new(topic.as_str(), 0);
    let empty = with.log.bounds(&at).await.unwrap();
    assert_eq!(empty.first, empty.next);
    let (one, two) = (with.append(&topic, 0, "one").await.offset, with.append(&topic, 0, "two").await.offset);
    let bounds = with.log.bounds(&at).await.unwrap();
    assert!(bounds.first <= one && bounds.next > two);
    assert_eq!(text(&with.log.record_at(&at, two).await.unwrap().unwrap()), "two");
    assert_eq!(with.log.record_at(&at, bounds.next).await.unwrap(), None);
    with.faults.delete_before(&at, two).await;
    assert_eq!(with.log.bounds(&at).await.unwrap().first, two);
    assert_eq!(with.log.record_at(&at, one).await.unwrap(), None);
}

/// Limits of a read hold, and one record always passes.
pub async fn a_read_is_limited_and_gives_at_least_one_record(with: &Instance) {
    let topic = with.create("t", 1).await;
    for _ in 0..10 {
        with.append(&topic, 0, &"x".repeat(1_000)).await;
    }
    let read = |max_records, max_bytes| {
        let at = TopicPartition::new(topic.as_str(), 0);
        with.log.read(ReadFrom { at, offset: 0, max_records, max_bytes, wait: Duration::ZERO })
    };
    assert_eq!(read(3, 1 << 20).await.unwrap().records.len(), 3);
    assert_eq!(read(100, 1).await.unwrap().records.len(), 1);
    let some = read(100, 3_500).await.unwrap();
    assert_eq!(some.records.len(), 4);
    assert_eq!(some.next_offset, some.records[3].offset + 1);
    assert!(some.end > some.next_offset);
}

/// Who waits at the end is woken by an append, without asking again.
pub async fn a_waiting_read_wakes_at_the_next_append(with: &Instance) {
    let topic = with.create("t", 1).await;
    let (log, at) = (Arc::clone(&with.log), TopicPartition::new(topic.as_str(), 0));
    let reader = tokio::spawn(async move {
        log.read(ReadFrom { at, offset: 0, max_records: 10, max_bytes: 1 << 20, wait: PATIENCE }).await
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    with.append(&topic, 0, "now").await;
    let batch = timeout(PATIENCE / 2, reader).await.expect("woken").unwrap().unwrap();
    assert_eq!(text(&batch.records[0]), "now");
}

/// Reading before the first kept offset or beyond the end is an error, never a silent move.
pub async fn positions_that_are_not_kept_are_errors(with: &Instance) {
    let topic = with.create("t", 1).await;
    for value in ["a", "b", "c"] {
        with.append(&topic, 0, value).await;
    }
    let at = TopicPartition::new(topic.as_str(), 0);
    let next = with.log.bounds(&at).await.unwrap().next;
    assert!(with.read(&topic, 0, next).await.unwrap().records.is_empty());
    assert!(matches!(with.read(&topic, 0, next + 1).await, Err(LogError::OutOfRange { .. })));
    with.faults.delete_before(&at, 2).await;
    match with.read(&topic, 0, 1).await {
        Err(LogError::OutOfRange { offset: 1, first: 2, .. }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(with.read(&topic, 0, 2).await.unwrap().records.len(), 1);
}

/// Offsets have gaps; readers get over them, also over one at the end.
pub async fn gaps_are_skipped(with: &Instance) {
    let topic = with.create("t", 1).await;
    let at = TopicPartition::new(topic.as_str(), 0);
    let before = with.append(&topic, 0, "a").await.offset;
    with.faults.gap(&at).await;
    let after = with.append(&topic, 0, "b").await.offset;
    assert!(after > before + 1, "{before} {after}");
    let batch = with.read(&topic, 0, before).await.unwrap();
    assert_eq!(batch.records.iter().map(text).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(text(&with.read(&topic, 0, before + 1).await.unwrap().records[0]), "b");
    assert_eq!(with.log.record_at(&at, before + 1).await.unwrap(), None);
    with.faults.gap(&at).await;
    let mut user = with.join(&topic, "a").await;
    user.started(1).await;
    assert_eq!(user.values(2).await, ["a", "b"]);
    user.hears_nothing().await;
}

/// One record beyond the limit harms nobody else.
pub async fn a_record_too_large_is_refused_and_its_neighbours_are_not(with: &Instance) {
    let topic = with.create("t", 1).await;
    let huge = "x".repeat(MAX_RECORD_BYTES + 1);
    let records = vec![record(&topic, 0, "a"), record(&topic, 0, &huge), record(&topic, 0, "b")];
    let answers = with.log.produce(records).await;
    assert!(answers[0].is_ok() && answers[2].is_ok());
    assert!(matches!(answers[1], Err(LogError::TooLarge { .. })), "{:?}", answers[1]);
    let read = with.read(&topic, 0, 0).await.unwrap().records;
    assert_eq!(read.iter().map(text).collect::<Vec<_>>(), ["a", "b"]);
    let fits = "x".repeat(MAX_RECORD_BYTES - 1_000);
    with.append(&topic, 0, &fits).await;
}

/// Creating again is nothing; another shape is an error; an unknown topic is one too.
pub async fn topics_are_created_once_and_described(with: &Instance) {
    let topic = NewTopic {
        name: with.topic("t"),
        partitions: 4,
        cleanup: Cleanup::Compact,
        retention: Duration::from_secs(7_200),
        min_compaction_lag: Duration::from_secs(3_600),
    };
    with.log.create_topics(std::slice::from_ref(&topic)).await.unwrap();
    with.log.create_topics(std::slice::from_ref(&topic)).await.unwrap();
    let described = with.log.describe(&topic.name).await.unwrap();
    assert_eq!((described.partitions, described.cleanup, described.retention), (4, Cleanup::Compact, topic.retention));
    let other = NewTopic { partitions: 5, ..topic.clone() };
    match with.log.create_topics(&[other]).await {
        Err(LogError::TopicMismatch { actual: 4, wanted: 5, .. }) => {}
        answer => panic!("{answer:?}"),
    }
    let unknown = with.topic("unknown");
    assert!(matches!(with.log.describe(&unknown).await, Err(LogError::UnknownTopic(_))));
    assert!(matches!(with.read(&unknown, 0, 0).await, Err(LogError::UnknownTopic(_))));
    assert!(matches!(with.log.join(with.request(&unknown, "a")).await, Err(LogError::UnknownTopic(_))));
}

/// Concurrent producers: nothing lost, nothing twice, each call in order.
pub async fn many_producers_share_a_partition(with: &Instance) {
    let topic = with.create("t", 1).await;
    let producers = (0..8).map(|producer| {
        let (log, topic) = (Arc::clone(&with.log), topic.clone());
        tokio::spawn(async move {
            for call in 0..10 {
                let records = (0..5).map(|index| record(&topic, 0, &format!("{producer} {}", call * 5 + index)));
                for answer in log.produce(records.collect()).await {
                    answer.unwrap();
                }
            }
        })
    });
    for producer in producers.collect::<Vec<_>>() {
        producer.await.unwrap();
    }
    let read = with.read(&topic, 0, 0).await.unwrap().records;
    assert_eq!(read.len(), 400);
    assert_eq!(read.iter().map(|record| record.offset).collect::<BTreeSet<_>>().len(), 400);
    for producer in 0..8 {
        let own = read.iter().map(text).filter_map(|value| value.strip_prefix(&format!("{producer} ")));
        let own: Vec<u32> = own.map(|index| index.parse().unwrap()).collect();
        assert_eq!(own, (0..50).collect::<Vec<u32>>());
    }
}

/// An error may hide an append; what is asked again afterwards is appended.
pub async fn a_lost_produce_answer_may_hide_an_append(with: &Instance) {
    let topic = with.create("t", 1).await;
    with.faults.lose_produce_answer().await;
    let answer = with.log.produce(vec![record(&topic, 0, "a")]).await.remove(0);
    assert!(matches!(answer, Err(LogError::Unavailable(_))), "{answer:?}");
    with.append(&topic, 0, "a").await;
    let count = with.read(&topic, 0, 0).await.unwrap().records.len();
    assert!((1..=2).contains(&count));
}

/// Two owners, one of which does not know that it was replaced: what it writes is seen, undone and never restored.
pub async fn sch_2_a_zombies_late_records_never_win(with: &Instance) {
    let topic = with.create("t", 1).await;
    let at = TopicPartition::new(topic.as_str(), 0);
    let write = |key: &'static str, value: &'static str, epoch: u64| {
        let headers = claims::epoch_headers(epoch);
        let record = NewRecord { at: at.clone(), key: Some(key.into()), value: Some(value.into()), headers };
        async move { with.log.produce(vec![record]).await.remove(0).unwrap() }
    };
    let old = claims::claim(&*with.log, &at, "old").await.unwrap();
    write("kept", "1", old).await;
    write("moved", "1", old).await;
    let new = claims::claim(&*with.log, &at, "new").await.unwrap();
    assert!(new > old && old > 0);
    let mut watch = claims::restore(&*with.log, &at, new, None, |_| Ok(())).await.unwrap().watch;
    write("moved", "2", new).await;
    write("kept", "zombie", old).await;
    write("moved", "zombie", old).await;
    let mut seen = Vec::new();
    while seen.len() < 2 {
        seen.extend(watch.next(&*with.log, PATIENCE).await.unwrap());
    }
    let keys = seen.iter().map(|observed| match observed {
        Observed::Overwritten { key, epoch, .. } if *epoch == old => String::from_utf8(key.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    });
    assert_eq!(keys.collect::<Vec<_>>(), ["kept", "moved"]);
    // The owner dies before it has rewritten anything.
    let third = claims::claim(&*with.log, &at, "third").await.unwrap();
    let mut state = std::collections::BTreeMap::new();
    let restored = claims::restore(&*with.log, &at, third, None, |record| {
        state.insert(record.key().to_owned(), text(record.record).to_owned());
        Ok(())
    });
    assert_eq!(restored.await.unwrap().applied, 3);
    assert_eq!(state, [("kept".to_owned(), "1".to_owned()), ("moved".to_owned(), "2".to_owned())].into());
    let observed = watch.next(&*with.log, PATIENCE).await.unwrap();
    assert!(
        matches!(&observed[..], [Observed::Superseded { epoch, owner: Some(owner) }] if *epoch == third && owner == "third")
    );
    assert_eq!(claims::last_claim_before(&*with.log, &at, third).await.unwrap(), new);
    let unreadable = claims::restore(&*with.log, &at, third, None, |_| Err("it is no JSON".to_owned())).await;
    assert!(matches!(unreadable, Err(claims::ClaimError::Unreadable { .. })));
}
