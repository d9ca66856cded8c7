//! Results that are not one new look at a parcel: repeats, what is no result, what is to be forgotten.

use waybill_schemas::{Memories, OutcomeClass, fetch::RequestKind};

use super::{support::result, *};

#[tokio::test(start_paused = true)]
async fn fet_1_of_two_results_of_one_attempt_the_first_counts_even_after_a_restart() {
    let log = new_log().await;
    let first = parcel(1);
    let mut second = parcel(1);
    second.events.push(event(3, "09:00", "Delivered"));
    log.produce(vec![record(&first, 1), record(&second, 1)]).await;
    let running = start(Arc::new(log.clone()));
    wait_until_answered(&log, 1).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    running.end().await.unwrap();
    // The repeat that comes after a restart is known from the stretch before the committed offset.
    log.produce(vec![record(&second, 1), record(&parcel(2), 1)]).await;
    let running = start(Arc::new(log.clone()));
    wait_until_answered(&log, 2).await;
    running.end().await.unwrap();
    assert_eq!(all(&log, names::OUTCOMES).await.len(), 2, "one outcome an attempt");
    assert_eq!(all(&log, names::TRACKING_EVENTS).await.len(), 4);
    assert_eq!(committed(&log).await[&1], 4);
}

#[tokio::test(start_paused = true)]
async fn fet_1_what_is_no_result_is_buried_and_frees_its_number_where_it_can_be_told() {
    let log = new_log().await;
    let at = || TopicPartition::new(names::FETCH_RESULTS, 2);
    let plain = |value: &[u8]| NewRecord {
        at: at(),
        key: Some(Bytes::from_static(b"test-post:TP1")),
        value: Some(Bytes::copy_from_slice(value)),
        headers: Vec::new(),
    };
    let mut broken = serde_json::to_value(parcel(7)).unwrap();
    broken["class"] = "unheard_of".into();
    broken["memories"] = serde_json::json!({ "normalizer": "AQI" });
    let tombstone = NewRecord { value: None, ..plain(b"") };
    let records = vec![plain(b"\xff no JSON"), plain(broken.to_string().as_bytes()), tombstone, record(&parcel(8), 2)];
    log.produce(records).await;
    let running = start(Arc::new(log.clone()));
    wait_until_answered(&log, 2).await;
    running.end().await.unwrap();
    let letters = all(&log, names::DEAD_LETTERS).await;
    assert_eq!(letters.len(), 2);
    assert_eq!(letters[0].1.value.as_deref(), Some(&b"\xff no JSON"[..]));
    let outcomes: Vec<Outcome> = all(&log, names::OUTCOMES).await.iter().map(|(_, record)| value(record)).collect();
    assert_eq!((outcomes[0].class, outcomes[0].attempt), (OutcomeClass::Unreadable, 1_007));
    assert_eq!(outcomes[0].memories.normalizer.0, [1, 2], "the number keeps its memories");
    assert_eq!(outcomes[1].class, OutcomeClass::Tracked);
    assert_eq!(committed(&log).await[&2], 4);
}

#[tokio::test(start_paused = true)]
async fn forgetting_leaves_a_tombstone_and_an_order_to_erase() {
    let log = new_log().await;
    let first = parcel(3);
    let mut forget = result(OutcomeClass::Internal, Vec::new());
    forget.request.number = first.request.number.clone();
    (forget.request.kind, forget.request.attempt) = (RequestKind::Forget, 2_000);
    log.produce(vec![record(&first, 0), record(&forget, 0)]).await;
    let running = start(Arc::new(log.clone()));
    wait_until_answered(&log, 2).await;
    running.end().await.unwrap();
    let shipments = all(&log, names::SHIPMENTS).await;
    let tombstone = &shipments.last().unwrap().1;
    assert!(tombstone.value.is_none());
    assert_eq!(tombstone.header_str(headers::CE_ID), Some("test-post:TP000000003:2000"), "as of the shipment's others");
    assert_eq!(tombstone.header_str(headers::CE_TYPE), Some("waybill.shipment"));
    let forgotten = all(&log, names::FORGOTTEN).await;
    assert_eq!(forgotten[0].1.key_str(), Some("test-post:TP000000003"));
    let outcomes = all(&log, names::OUTCOMES).await;
    assert_eq!(value::<Outcome>(&outcomes.last().unwrap().1).memories, Memories::default());
}
