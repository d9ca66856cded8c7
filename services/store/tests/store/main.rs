//! The store against a real ClickHouse: what arrives, what a crash leaves behind, what is refused, what people see.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop at the first surprise")]

mod crashes;
mod hindrances;
#[path = "../support/mod.rs"]
mod support;
mod views;

use support::*;
use waybill_log::SharedLog;
use waybill_schemas::topics::names;

/// Both base-table laws of STO-1: nothing missing, nothing twice, without FINAL.
async fn events_are_there_once(world: &World, produced: u64) {
    until(&world.client, "SELECT uniqExact(event_id, version) FROM tracking_events", produced).await;
    assert_eq!(number(&world.client, "SELECT count() FROM tracking_events").await, produced);
    assert_eq!(
        number(&world.client, "SELECT uniqExact(log_partition, log_offset) FROM tracking_events").await,
        produced
    );
}

async fn put_events(log: &SharedLog, numbers: std::ops::Range<u32>, per_number: u32) -> u64 {
    let records: Vec<_> = numbers
        .flat_map(|n| (0..per_number).map(move |i| (n, i)))
        .map(|(n, i)| json_record(names::TRACKING_EVENTS, &records::key(n), &records::event(n, i, 1)))
        .collect();
    let count = records.len() as u64;
    put_all(log, records).await;
    count
}
