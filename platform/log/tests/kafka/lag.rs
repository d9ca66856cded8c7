//! A consumer that is slow and far behind: what it has not asked for stays on the broker, and it stays in its group.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use waybill_log::{
    Commit, ErrorClass, GroupEvent, GroupMember, JoinGroup, KafkaLog, Log as _, OutOfRange,
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

/// Longer than a session, which a shorter one would not make a better test: a busy machine may be late with a heartbeat.
const BUSY: Duration = Duration::from_secs(20);
/// Longest time for anything else.
const PATIENCE: Duration = Duration::from_secs(120);

/// Works on what is assigned until it has records, and pauses there.
async fn first_records(member: &mut dyn GroupMember) -> u64 {
    let began = Instant::now();
    let mut to_start = None;
    while began.elapsed() < PATIENCE {
        if let Some(partition) = to_start
            && member.start(partition, None).await.is_ok()
        {
            to_start = None;
        }
        match member.next(Duration::from_millis(200)).await {
            Ok(GroupEvent::Assigned(partitions)) => to_start = partitions.first().copied(),
            Ok(GroupEvent::Records { partition, records }) => {
                member.pause(&[partition]);
                return records.last().unwrap().offset + 1;
            }
            Ok(GroupEvent::Revoked(partitions)) => panic!("{partitions:?} were taken away"),
            Ok(GroupEvent::Idle) => {}
            Err(error) => assert_eq!(error.class(), ErrorClass::Retry, "{error}"),
        }
    }
    panic!("nothing is delivered")
}

/// A stage that is busy with what it has for longer than a session, and asks the group nothing meanwhile: it is still a
/// member, what it did counts, and it goes on where it paused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stage_that_is_slower_than_a_session_stays_in_its_group() {
    let broker = TestBroker::shared().await;
    let options = broker.options();
    assert!(BUSY > Duration::from_millis(u64::from(options.session_timeout_ms)));
    let log = KafkaLog::connect(options).await.unwrap();
    log.create_topics(&[tools::topic("slow", 1)]).await.unwrap();
    log.produce(vec![tools::record("slow", 0, "one")]).await.remove(0).unwrap();
    let join = JoinGroup {
        group: "slow".to_owned(),
        topic: "slow".to_owned(),
        member: "slow".to_owned(),
        out_of_range: OutOfRange::Fail,
        drain_budget: Duration::from_secs(2),
        max_batch: 10,
    };
    let mut member = log.join(join).await.unwrap();
    let done = first_records(&mut *member).await;
    sleep(BUSY).await;
    assert!(member.ownership().holds(0), "its partition was taken away");
    let began = Instant::now();
    loop {
        match member.commit(&[Commit { partition: 0, offset: done, metadata: String::new() }]).await {
            Ok(()) => break,
            Err(error) => assert!(error.class() == ErrorClass::Retry && began.elapsed() < PATIENCE, "{error}"),
        }
        sleep(Duration::from_millis(50)).await;
    }
    log.produce(vec![tools::record("slow", 0, "two")]).await.remove(0).unwrap();
    member.resume(&[0]);
    assert_eq!(first_records(&mut *member).await, done + 1);
    member.leave().await;
}
