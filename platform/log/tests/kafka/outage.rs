//! A broker that goes away: frozen (connections stay open, nothing answers), then killed and started again.

use std::{collections::BTreeSet, time::Duration};

use tokio::{
    sync::oneshot,
    time::{Instant, sleep},
};
use waybill_log::{
    Commit, ErrorClass, GroupEvent, JoinGroup, KafkaLog, Log as _, LogError, OutOfRange, ReadFrom, TopicPartition,
    kafka::testing::TestBroker,
};

use crate::tools;

/// How long the broker is away, each time.
fn away() -> Duration {
    let long = std::env::var("WAYBILL_CHAOS").as_deref() == Ok("long");
    Duration::from_secs(if long { 30 } else { 18 })
}

fn only_retry(error: &LogError, doing: &str) {
    assert_eq!(error.class(), ErrorClass::Retry, "{doing}: {error}");
}

/// Least number of records that must be acknowledged.
const LEAST: usize = 50;

/// Appends numbers for as long as it is told to, and until enough are acknowledged; answers those that were acknowledged,
/// and how many answers were errors.
async fn append(log: KafkaLog, until: Instant) -> (BTreeSet<u32>, u32) {
    let (mut number, mut acknowledged, mut errors) = (0, BTreeSet::new(), 0);
    let latest = until + Duration::from_secs(120);
    while Instant::now() < until || (acknowledged.len() <= LEAST && Instant::now() < latest) {
        match log.produce(vec![tools::record("outage", number % 4, &number.to_string())]).await.remove(0) {
            Ok(_) => drop(acknowledged.insert(number)),
            Err(error) => {
                only_retry(&error, "producing");
                errors += 1;
            }
        }
        number += 1;
        sleep(Duration::from_millis(10)).await;
    }
    (acknowledged, errors)
}

/// Joins, says so, and works until everything that was asked for has been seen.
async fn consume(
    log: KafkaLog,
    joined: oneshot::Sender<()>,
    all: oneshot::Receiver<BTreeSet<u32>>,
) -> (BTreeSet<u32>, u32) {
    let join = JoinGroup {
        group: "outage".to_owned(),
        topic: "outage".to_owned(),
        member: "a".to_owned(),
        out_of_range: OutOfRange::Fail,
        drain_budget: Duration::from_secs(2),
        max_batch: 50,
    };
    let mut member = log.join(join).await.unwrap();
    joined.send(()).unwrap();
    let (mut all, mut wanted, mut seen, mut errors) = (all, None, BTreeSet::new(), 0);
    let mut to_start = BTreeSet::new();
    loop {
        if wanted.is_none() {
            wanted = all.try_recv().ok();
        }
        if wanted.as_ref().is_some_and(|wanted: &BTreeSet<u32>| wanted.is_subset(&seen)) {
            break;
        }
        for partition in to_start.clone() {
            match member.start(partition, None).await {
                Ok(()) | Err(LogError::NotOwned(_)) => drop(to_start.remove(&partition)),
                Err(error) => {
                    only_retry(&error, "starting");
                    errors += 1;
                }
            }
        }
        match member.next(Duration::from_millis(200)).await {
            Ok(GroupEvent::Assigned(partitions)) => to_start.extend(partitions),
            Ok(GroupEvent::Revoked(partitions)) => {
                to_start.retain(|partition| !partitions.contains(partition));
                member.release(&partitions);
            }
            Ok(GroupEvent::Records { partition, records }) => {
                let values = records.iter().filter_map(|record| std::str::from_utf8(record.value.as_deref()?).ok());
                seen.extend(values.map(|value| value.parse::<u32>().unwrap()));
                let offset = records.last().map_or(0, |record| record.offset + 1);
                let commit = Commit { partition, offset, metadata: String::new() };
                match member.commit(&[commit]).await {
                    Ok(()) | Err(LogError::NotOwned(_)) => {}
                    Err(error) => {
                        only_retry(&error, "committing");
                        errors += 1;
                    }
                }
            }
            Ok(GroupEvent::Idle) => {}
            Err(error) => {
                only_retry(&error, "waiting");
                errors += 1;
            }
        }
    }
    member.leave().await;
    (seen, errors)
}

/// Reads a partition from its beginning, over and over.
async fn tail(log: KafkaLog, until: Instant) -> u32 {
    let (mut offset, mut errors) = (0, 0);
    while Instant::now() < until {
        let at = TopicPartition::new("outage", 1);
        let from = ReadFrom { at, offset, max_records: 100, max_bytes: 1 << 20, wait: Duration::from_millis(300) };
        match log.read(from).await {
            Ok(batch) => offset = batch.next_offset,
            Err(error) => {
                only_retry(&error, "reading");
                errors += 1;
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
    errors
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_was_away_costs_time_and_nothing_else() {
    let broker = TestBroker::start().await;
    let log = KafkaLog::connect(broker.options()).await.unwrap();
    log.create_topics(&[tools::topic("outage", 4)]).await.unwrap();
    // Joining is no part of what an outage may hold up: it is done before the first.
    let ((say, joined), (tell, told)) = (oneshot::channel(), oneshot::channel());
    let consuming = tokio::spawn(consume(log.clone(), say, told));
    joined.await.expect("it joins");
    let until = Instant::now() + away() * 2 + Duration::from_secs(15);
    let appending = tokio::spawn(append(log.clone(), until));
    let tailing = tokio::spawn(tail(log.clone(), until));

    sleep(Duration::from_secs(3)).await;
    broker.freeze();
    sleep(away()).await;
    broker.thaw();
    sleep(Duration::from_secs(4)).await;
    broker.kill();
    sleep(away() / 2).await;
    broker.restart().await;

    let (acknowledged, append_errors) = appending.await.unwrap();
    let count = acknowledged.len();
    tell.send(acknowledged).unwrap();
    let consumed = tokio::time::timeout(Duration::from_secs(180), consuming).await;
    let (seen, consume_errors) = consumed.expect("everything acknowledged is consumed").unwrap();
    let tail_errors = tailing.await.unwrap();
    println!(
        "outage: {count} acknowledged, {} consumed; answers *try again*: {append_errors} of produces, {consume_errors} of \
         the group, {tail_errors} of reads",
        seen.len()
    );
    assert!(count > LEAST, "{count} records were acknowledged");
}
