//! What people see: tables and their comments, every column of every topic, repeats shown once, counts that equal a recount,
//! and nothing of what was forgotten.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use serde_json::json;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_migrations_apply_twice_and_every_column_has_a_comment() {
    if no_library() {
        return;
    }
    let world = world().await;
    assert_eq!(migrate(&world.client).await, Vec::<u32>::new());
    world.client.query_raw("TRUNCATE TABLE waybill.schema_migrations").execute().await.unwrap();
    assert_eq!(migrate(&world.client).await.len(), waybill_schemas::migrations::all().len());
    // What begins with a dot is ClickHouse's own: where a refreshed view lies, and where it is made anew just now.
    let silent = "SELECT count() FROM system.columns WHERE database = 'waybill' AND comment = '' \
                  AND table NOT LIKE '.%' AND table != 'schema_migrations'";
    assert_eq!(number(&world.client, silent).await, 0);
    let silent = "SELECT count() FROM system.tables WHERE database = 'waybill' AND comment = '' AND name NOT LIKE '.%'";
    assert_eq!(number(&world.client, silent).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_topic_arrives_in_its_table_with_the_right_columns() {
    if no_library() {
        return;
    }
    let world = world().await;
    let log = &world.log;
    let key = records::key(1);
    put(log, names::TRACKING_EVENTS, &key, &records::event(1, 4, 1)).await;
    put(log, names::SHIPMENTS, &key, &records::shipment(1, Some(36), 10)).await;
    put(log, names::STATUS_CHANGES, &key, &records::change(1)).await;
    put(log, names::OUTCOMES, &key, &records::outcome(1)).await;
    put(log, names::COMMANDS, &key, &records::command(1, "register")).await;
    put(log, names::COMMANDS, &records::key(2), &records::command(2, "lookup")).await;
    put(log, names::COMMANDS, &key, &records::command(1, "stop")).await;
    put(log, names::SCHEDULE, &key, &records::schedule()).await;
    put(log, names::SCHEDULE, "!claim", &json!({})).await;
    put(log, names::CARRIERS, "sandbox/fetcher", &records::fetcher_state()).await;
    put(log, names::CARRIERS, "sandbox/scheduler", &records::scheduler_state()).await;
    put_bytes(log, names::PAYLOADS, "00ff", Some(Bytes::from_static(b"\x28\xb5\x2f\xfd\x00raw"))).await;
    let running = store(&world);
    // People read as the user who only reads.
    let asked = reader(&world);
    for (sql, wanted) in [
        (
            "SELECT count() FROM v_events WHERE carrier = 'sandbox' AND number = 'TEST000001' AND version = 1 AND kind = 'scan' \
          AND endsWith(event_id, '0004') AND ref = 'order 1' AND time = '2026-10-01T14:05' AND time_utc IS NULL \
          AND time_precision = 'minute' AND text = 'Ankunft in Köln \u{1F4E6} 4' AND status = 'InTransit' AND leg = 0 \
          AND registered_at = toDateTime64('2026-09-30 23:00:00', 3, 'UTC') AND source_attempt = 1790000000000 \
          AND source_payload IS NULL AND source_selector = 'tr[1]' AND matched_by = 'code' AND country = 'DE'",
            1,
        ),
        (
            "SELECT count() FROM v_shipments WHERE status = 'Delivered' AND latest_event_text = 'Picked up' \
          AND latest_event_location IS NULL AND milestone_delivered_time = '2026-10-02T12:00' AND milestone_delivered_time_utc IS NULL \
          AND milestone_departure_seen_at IS NULL AND milestone_picked_up_seen_at IS NOT NULL AND legs[1].number = 'X1' \
          AND estimated_delivery_from = '2026-10-04' AND event_count = 2 AND last_outcome_class = 'tracked' AND version = 10",
            1,
        ),
        (
            "SELECT count() FROM v_deliveries WHERE transit_days = 1.5 AND delivered_on = '2026-10-02' AND service = 'Parcel'",
            1,
        ),
        (
            "SELECT count() FROM v_status_changes WHERE previous IS NULL AND current = 'InTransit' AND first AND initial",
            1,
        ),
        (
            "SELECT count() FROM v_fetch_outcomes WHERE class = 'needs_data' AND needs = ['postal_code'] AND feedback_spent = 2 \
          AND attempted_at = fromUnixTimestamp64Milli(1790000000000, 'UTC') AND request_offset = 12",
            1,
        ),
        (
            "SELECT count() FROM v_registrations WHERE number = 'TEST000001' AND NOT pending AND tags = ['a'] AND origin = 'DE' \
          AND tracking = 'active' AND why_rule = 'later' AND why_interval_ms = 21600000 AND params = ['postal_code'] \
          AND due = toDateTime64('2026-10-02 00:00:00', 3, 'UTC') AND ordered_last = 'stop'",
            1,
        ),
        (
            "SELECT count() FROM v_registrations WHERE number = 'TEST000002' AND pending AND tags = ['a', 'b'] AND ref = 'order' \
          AND due IS NULL",
            1,
        ),
        ("SELECT count() FROM v_registrations", 2),
        (
            "SELECT toUInt64(assumeNotNull(sum(next))) FROM (SELECT command_partition, max(command_offset) + 1 AS next FROM registrations \
          WHERE command_offset IS NOT NULL GROUP BY command_partition)",
            3,
        ),
        (
            "SELECT count() FROM v_carriers WHERE budget = 'sandbox' AND quota_used = 3 AND block_reason = 'retry_after' \
          AND streak_blocked = 3 AND rate_per_second = 0.5 AND active = 7 AND stretch_ratio = 1.5 AND oldest_due IS NULL \
          AND tat = fromUnixTimestamp64Milli(1790000000123, 'UTC')",
            1,
        ),
        ("SELECT count() FROM payloads WHERE hash = '00ff' AND hex(body) = '28B52FFD00726177' AND size = 8", 1),
    ] {
        until(&asked, sql, wanted).await;
    }
    // What a parameter held is personal data and is nowhere.
    let dump: Vec<String> = asked.query("SELECT toString(tuple(*)) FROM registrations").fetch_all().await.unwrap();
    assert_eq!(dump.len(), 4);
    assert!(dump.iter().all(|row| !row.contains("SECRET")), "SEC-1");
    assert!(dead_letters(log).await.is_empty());
    until_true("readiness", async || {
        let report = world.health.report();
        report.len() == 10 && report.iter().all(|component| component.ready)
    })
    .await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sto_1_what_is_repeated_upstream_is_shown_once_in_its_newest_version() {
    if no_library() {
        return;
    }
    let world = world().await;
    let running = store(&world);
    let mut all = Vec::new();
    for n in 0..60 {
        for version in 1..=1 + n % 3 {
            let record = json_record(names::TRACKING_EVENTS, &records::key(n), &records::event(n, 1, version));
            // A normalizer killed between produce and commit says everything twice.
            all.extend([record.clone(), record]);
        }
        let change = json_record(names::STATUS_CHANGES, &records::key(n), &records::change(n));
        all.extend([change.clone(), change]);
        let outcome = json_record(names::OUTCOMES, &records::key(n), &records::outcome(n));
        all.extend([outcome.clone(), outcome]);
        let shipment =
            |version| json_record(names::SHIPMENTS, &records::key(n), &records::shipment(n, Some(24), version));
        // The older state comes again after the newer one.
        all.extend([shipment(1), shipment(2), shipment(1)]);
    }
    // In several ranges, so that the repeats are in different parts too.
    for chunk in all.chunks(50) {
        put_all(&world.log, chunk.to_vec()).await;
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    // Ranges of a partition are stored in order: when the last record of each is there, all are.
    let last: Vec<u32> =
        (0..PARTITIONS).map(|at| (900_000..).find(|n| partition(&records::key(*n)) == at).unwrap()).collect();
    for n in &last {
        let key = records::key(*n);
        put(&world.log, names::TRACKING_EVENTS, &key, &records::event(*n, 1, 1)).await;
        put(&world.log, names::SHIPMENTS, &key, &records::shipment(*n, Some(24), 2)).await;
        put(&world.log, names::STATUS_CHANGES, &key, &records::change(*n)).await;
        put(&world.log, names::OUTCOMES, &key, &records::outcome(*n)).await;
    }
    let asked = reader(&world);
    for view in ["v_events", "v_shipments", "v_deliveries", "v_status_changes", "v_fetch_outcomes"] {
        until(&asked, &format!("SELECT count() FROM {view} WHERE number >= 'TEST900000'"), u64::from(PARTITIONS)).await;
    }
    for view in ["v_shipments", "v_deliveries", "v_status_changes", "v_fetch_outcomes"] {
        assert_eq!(number(&asked, &format!("SELECT count() FROM {view}")).await, 62, "{view}");
    }
    assert_eq!(number(&asked, "SELECT count() FROM v_events").await, 62);
    assert_eq!(number(&asked, "SELECT uniqExact(event_id, version) FROM v_events").await, 62);
    assert_eq!(number(&asked, "SELECT sum(version) FROM v_events").await, 122);
    assert_eq!(number(&asked, "SELECT countIf(version = 2) FROM v_shipments").await, 62);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sto_1_deliveries_and_transit_times_equal_a_recount() {
    if no_library() {
        return;
    }
    let world = world().await;
    world.client.query_raw("ALTER TABLE transit_times MODIFY REFRESH AFTER 1 SECOND").execute().await.unwrap();
    let running = store(&world);
    let mut days: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
    let mut all = Vec::new();
    for n in 0..200 {
        let key = records::key(n);
        let hours = i64::from(n % 17) * 12;
        let (delivered, undone) = (n % 4 != 0, n % 10 == 3);
        let state = records::shipment(n, delivered.then_some(hours), 1);
        all.push(json_record(names::SHIPMENTS, &key, &state));
        if undone && delivered {
            all.push(json_record(names::SHIPMENTS, &key, &records::returned(n, 2)));
        } else if delivered {
            // 1 October 2026 is a Thursday: the week is counted from its Monday.
            days.entry((hours / 24 + 3) / 7).or_default().push(hours as f64 / 24.0);
        }
    }
    for chunk in all.chunks(70) {
        put_all(&world.log, chunk.to_vec()).await;
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    // Ranges of a partition are stored in order: who shows the last delivery of each shows all.
    for at in 0..PARTITIONS {
        let n = (900_000..).find(|n| partition(&records::key(*n)) == at).unwrap();
        let mut last = records::shipment(n, Some(24), 1);
        last["service"] = json!("Last");
        put(&world.log, names::SHIPMENTS, &records::key(n), &last).await;
    }
    let asked = reader(&world);
    let delivered: usize = days.values().map(Vec::len).sum();
    for (service, wanted) in [("Last", PARTITIONS as usize), ("Parcel", delivered)] {
        for counted in ["count() FROM v_deliveries", "sum(count) FROM transit_times"] {
            until(&asked, &format!("SELECT {counted} WHERE service = '{service}'"), wanted as u64).await;
        }
    }
    for view in ["transit_times", "v_transit_times"] {
        let sql = format!(
            "SELECT toInt64(dateDiff('week', toDate('2026-09-28'), week)), toUInt64(count), toUInt64(measured), \
             assumeNotNull(p50_days), assumeNotNull(p90_days), assumeNotNull(p95_days) FROM {view} \
             WHERE carrier = 'sandbox' AND origin = 'DE' AND destination = 'FR' AND service = 'Parcel' ORDER BY week"
        );
        let found: Vec<(i64, u64, u64, f64, f64, f64)> =
            asked.clone().with_validation(false).query(&sql).fetch_all().await.unwrap();
        let expected: Vec<(i64, u64, u64, f64, f64, f64)> = days
            .iter()
            .map(|(week, days)| {
                let mut days = days.clone();
                days.sort_by(f64::total_cmp);
                // quantileExact: the value at floor(level · n).
                let at = |level: f64| days[((level * days.len() as f64) as usize).min(days.len() - 1)];
                let count = days.len() as u64;
                (*week, count, count, at(0.5), at(0.9), at(0.95))
            })
            .collect();
        assert_eq!(found, expected, "{view}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_forgotten_or_withdrawn_is_in_no_view() {
    if no_library() {
        return;
    }
    let world = world().await;
    let log = &world.log;
    for n in [1, 2] {
        let key = records::key(n);
        put(log, names::TRACKING_EVENTS, &key, &records::event(n, 1, 1)).await;
        put(log, names::SHIPMENTS, &key, &records::shipment(n, Some(24), 1)).await;
        put(log, names::STATUS_CHANGES, &key, &records::change(n)).await;
        put(log, names::OUTCOMES, &key, &records::outcome(n)).await;
        put(log, names::COMMANDS, &key, &records::command(n, "register")).await;
        put(log, names::SCHEDULE, &key, &records::schedule()).await;
    }
    let running = store(&world);
    let asked = reader(&world);
    let views = ["v_events", "v_shipments", "v_status_changes", "v_deliveries", "v_fetch_outcomes", "v_registrations"];
    for view in views {
        until(&asked, &format!("SELECT count() FROM {view}"), 2).await;
    }
    put(log, names::FORGOTTEN, &records::key(1), &json!({})).await;
    for view in views {
        until(&asked, &format!("SELECT count() FROM {view}"), 1).await;
        assert_eq!(number(&asked, &format!("SELECT count() FROM {view} WHERE number = 'TEST000001'")).await, 0);
    }
    // Registered again, and the same order read again: the new life stays.
    put(log, names::TRACKING_EVENTS, &records::key(1), &records::event(1, 9, 1)).await;
    until(&asked, "SELECT count() FROM v_events", 2).await;
    put_all(
        log,
        vec![new_record(names::SHIPMENTS, &records::key(2), None), new_record(names::SCHEDULE, &records::key(2), None)],
    )
    .await;
    until(&asked, "SELECT count() FROM v_shipments", 0).await;
    running.stop().await;
}
