//! A consumer that is slow and far behind: what it has not asked for stays on the broker.

use std::time::Duration;

use waybill_log::{
    KafkaLog, Log as _,
    kafka::{GroupProtocol, testing::TestBroker},
};

use crate::{
    child::{Plan, Running},
    tools,
};

const PARTITIONS: u32 = 32;
/// What a consumer may need: 128 MiB for records at the very worst, and itself.
const BOUND_KIB: u64 = 256 * 1_024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_consumer_needs_little_memory_whatever_the_lag() {
    let records: u32 = if std::env::var("WAYBILL_CHAOS").as_deref() == Ok("long") { 1_000_000 } else { 100_000 };
    let broker = TestBroker::shared().await;
    let log = KafkaLog::connect(broker.options()).await.unwrap();
    log.create_topics(&[tools::topic("lag", PARTITIONS)]).await.unwrap();
    let filling = "x".repeat(500);
    for first in (0..records).step_by(10_000) {
        // Numbers differ, so that compression leaves something.
        let value = |number: u32| format!("{}{filling}", u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let batch = (first..first + 10_000).map(|number| tools::record("lag", number % PARTITIONS, &value(number)));
        for answer in log.produce(batch.collect()).await {
            answer.unwrap();
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let plan = Plan {
        brokers: broker.brokers(),
        protocol: GroupProtocol::Classic,
        topic: "lag".to_owned(),
        group: "lag".to_owned(),
        member: "lag".to_owned(),
        dir: dir.path().to_owned(),
        window: 10,
        work_ms: 100,
    };
    let peak = tokio::task::spawn_blocking(move || {
        let mut child = Running::start(&plan);
        let mut owned = 0;
        while owned < PARTITIONS {
            owned += u32::from(child.hear().starts_with('+'));
        }
        // Long enough for every queue to fill: what is prefetched comes within a second or two.
        std::thread::sleep(Duration::from_secs(6));
        let peak = child.peak_kib();
        child.terminate();
        peak
    })
    .await
    .unwrap();
    println!("lag: {records} records of 520 bytes behind, the consumer needed {} MiB at most", peak / 1_024);
    assert!(peak < BOUND_KIB, "{peak} KiB");
}
