//! What is written, where and in which order, when nothing goes wrong and when everything does.

use std::sync::atomic::Ordering;

use waybill_schemas::{OutcomeClass, event::TrackingEvent, layout::public_partition, shipment::Shipment};

use super::{
    support::{CARRIER, Walk},
    unlucky::Unlucky,
    *,
};

#[tokio::test(start_paused = true)]
async fn log_1_every_result_becomes_its_records_in_their_places() {
    let log = new_log().await;
    send(&log, 20).await;
    let running = start(Arc::new(log.clone()));
    wait_until_answered(&log, 20).await;
    running.end().await.unwrap();

    let events = all(&log, names::TRACKING_EVENTS).await;
    assert_eq!(events.len(), 40);
    for (partition, record) in &events {
        let event: TrackingEvent = value(record);
        assert_eq!(record.header_str(headers::CE_ID).unwrap(), format!("{}.{}", event.event_id, event.version));
        assert_eq!(record.header_str(headers::TRACEPARENT), Some("00-aa-bb-01"));
        assert_eq!(record.header_str(headers::CE_SPECVERSION), Some("1.0"));
        assert_eq!(record.header_str(headers::CE_TIME).unwrap(), event.seen_at.to_string());
        assert_eq!(*partition, public_partition(record.key.as_ref().unwrap(), PUBLIC_PARTITIONS));
    }
    let shipments = all(&log, names::SHIPMENTS).await;
    assert_eq!(shipments.len(), 20);
    for (partition, record) in &shipments {
        let shipment: Shipment = value(record);
        let key = format!("{}:{}", shipment.carrier, shipment.number);
        assert_eq!(record.key_str(), Some(key.as_str()));
        assert_eq!(record.header_str(headers::CE_ID).unwrap(), format!("{key}:{}", shipment.version));
        assert_eq!(*partition, public_partition(key.as_bytes(), PUBLIC_PARTITIONS));
    }
    let changes = all(&log, names::STATUS_CHANGES).await;
    assert!(changes.iter().all(|(_, record)| record.header_str(headers::CE_ID).unwrap().ends_with(":InTransit")));
    assert_eq!(changes.len(), 20);
    for (partition, record) in all(&log, names::OUTCOMES).await {
        let outcome: Outcome = value(&record);
        assert_eq!(u64::from(partition), outcome.request_offset % u64::from(PARTITIONS), "the partition of its result");
        assert_eq!(outcome.class, OutcomeClass::Tracked);
    }
    assert_eq!(committed(&log).await.values().sum::<u64>(), 20, "all is committed at the end");
    // A second run finds nothing to do.
    let again = start(Arc::new(log.clone()));
    tokio::time::sleep(Duration::from_secs(5)).await;
    again.end().await.unwrap();
    assert_eq!(all(&log, names::TRACKING_EVENTS).await.len(), 40);
}

/// More pieces than may wait to be heard are written while the shell waits for the worker's end.
#[tokio::test(start_paused = true)]
async fn log_1_a_worker_that_is_waited_for_is_heard_to_its_end() {
    let log = new_log().await;
    let records = (0..800).map(|index| record(&parcel(index), 0)).collect();
    log.produce(records).await.into_iter().for_each(|answer| assert!(answer.is_ok(), "{answer:?}"));
    let config = NormalizerConfig { max_batch: 800, max_waiting: 800, flush_bytes: 1, drain_ms: 15_000, ..config() };
    let running = start_with(Deps { config, ..deps(Arc::new(log.clone())) });
    wait_until_answered(&log, 1).await;
    running.end().await.unwrap();
    let answered = attempts_answered(&log).await.len();
    assert!(answered > 256, "{answered} were answered: too few to fill anything");
    assert_eq!(committed(&log).await[&0], answered as u64, "what is written is committed");
}

#[tokio::test(start_paused = true)]
async fn log_1_a_kill_at_any_moment_loses_nothing_and_repeats_are_the_same_again() {
    for dies_after in 0..12 {
        for appends_when_dying in [false, true] {
            let log = new_log().await;
            send(&log, 24).await;
            let unlucky = Unlucky { appends_when_dying, ..Unlucky::new(log.clone()) };
            unlucky.dies_after.store(dies_after, Ordering::SeqCst);
            let unlucky = Arc::new(unlucky);
            let killed = start(unlucky.clone());
            let died = async {
                while !unlucky.dead.load(Ordering::SeqCst) {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                // Commits go on for what was done before.
                tokio::time::sleep(Duration::from_secs(3)).await;
            };
            timeout(Duration::from_secs(60), died).await.expect("it dies");
            killed.task.abort();
            let _ = killed.task.await;

            // No outcome goes before the public records it stands for, and nothing is committed that has no outcome.
            let answered = attempts_answered(&log).await;
            let published = all(&log, names::TRACKING_EVENTS).await;
            for (number, _) in &answered {
                let key = format!("{CARRIER}:{number}");
                assert!(published.iter().filter(|(_, record)| record.key_str() == Some(&key)).count() >= 2);
            }
            let offsets = committed(&log).await;
            for (partition, record) in all(&log, names::FETCH_RESULTS).await {
                let result: FetchResult = value(&record);
                if record.offset < offsets[&partition] {
                    assert!(answered.contains(&(result.request.number.to_string(), result.request.attempt)));
                }
            }

            let heir = start(Arc::new(log.clone()));
            wait_until_answered(&log, 24).await;
            heir.end().await.unwrap();
            // Consumers that drop repeats see each once, and repeats say the same.
            let mut seen: BTreeMap<String, Bytes> = BTreeMap::new();
            for topic in [names::TRACKING_EVENTS, names::SHIPMENTS, names::STATUS_CHANGES] {
                for (_, record) in all(&log, topic).await {
                    let id = record.header_str(headers::CE_ID).unwrap().to_owned();
                    let before = seen.insert(id, record.value.clone().unwrap());
                    assert!(before.is_none_or(|before| before == record.value.unwrap()));
                }
            }
            assert_eq!(seen.len(), 24 * 4, "two events, a shipment and a change of each parcel");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn log_1_refused_records_are_written_again_in_their_order() {
    let log = new_log().await;
    let unlucky = Arc::new(Unlucky::new(log.clone()));
    unlucky.fail.store(7, Ordering::SeqCst);
    // Three attempts of one number behind one another, as after a lost commit.
    let mut walk = Walk::new();
    let mut records = Vec::new();
    for day in 1..=3 {
        let page: Vec<_> = (1..=day).map(|day| event(day, "09:00", "Sorted")).collect();
        let result = walk.prepared(tracked(page.clone()));
        records.push(record(&result, 1));
        walk.look(tracked(page));
    }
    for answer in log.produce(records).await {
        answer.unwrap();
    }
    let running = start(unlucky);
    wait_until_answered(&log, 3).await;
    running.end().await.unwrap();
    let shipments = all(&log, names::SHIPMENTS).await;
    let last: Shipment = value(&shipments.last().unwrap().1);
    assert_eq!((last.version, last.event_count), (3, 3), "the newest state is the last record");
    let ids: BTreeSet<String> = all(&log, names::TRACKING_EVENTS)
        .await
        .iter()
        .map(|(_, record)| value::<TrackingEvent>(record).event_id.to_string())
        .collect();
    assert_eq!(ids.len(), 3);
}
