//! The fetcher on a real broker. Its other tests stand on the log in memory; what may differ between the two is here.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use support::{Door, Reply, TRACKED, World, json, zombie::a_zombies_requests_are_expired};
use waybill_log::{KafkaLog, kafka::testing::TestBroker};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sch_2_a_zombie_schedulers_requests_are_expired_on_a_real_broker() {
    let broker = TestBroker::start().await;
    let log = KafkaLog::connect(broker.options()).await.unwrap();
    let door = Door::open(|_| Reply::Raw(json(200, TRACKED))).await;
    a_zombies_requests_are_expired(&World::quick_on(Arc::new(log), &door).await, &door).await;
}
