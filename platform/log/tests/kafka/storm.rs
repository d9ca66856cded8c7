//! Rebalance storm: members that come and go, gently and by `kill -9`, while records flow.
//!
//! Short by default; `WAYBILL_CHAOS=long` is the whole of it; `WAYBILL_SEED` repeats one.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use waybill_log::{KafkaLog, Log as _, NewTopic, kafka::GroupProtocol, kafka::testing::TestBroker};
use waybill_schemas::topics::Cleanup;

use crate::{
    child::{Plan, Running},
    tools,
};

const MEMBERS: usize = 4;
const PARTITIONS: u32 = 32;
/// Most records between two commits of a child.
const WINDOW: usize = 100;

#[derive(Debug, Clone, Copy)]
enum Blow {
    Terminate,
    Kill,
}

struct Form {
    records: u32,
    terminations: usize,
    kills: usize,
    /// Mean time between two blows, in milliseconds.
    pace_ms: u64,
}

fn form() -> Form {
    if std::env::var("WAYBILL_CHAOS").as_deref() == Ok("long") {
        Form { records: 100_000, terminations: 16, kills: 4, pace_ms: 1_500 }
    } else {
        Form { records: 20_000, terminations: 2, kills: 1, pace_ms: 1_500 }
    }
}

fn seed() -> u64 {
    std::env::var("WAYBILL_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| rand::random_range(1..=u64::from(u32::MAX)))
}

#[allow(clippy::disallowed_methods, reason = "the test's own time")]
fn now() -> Instant {
    Instant::now()
}

/// Every record is worked on; none more often than what was in flight at a kill explains; nothing is an error.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_1_nothing_is_missing_after_a_rebalance_storm() {
    let (form, seed) = (form(), seed());
    println!("storm: WAYBILL_SEED={seed}, {} records, {} members, {} partitions", form.records, MEMBERS, PARTITIONS);
    let mut rng = StdRng::seed_from_u64(seed);
    let broker = TestBroker::shared().await;
    let dir = tempfile::tempdir().unwrap();
    let log = KafkaLog::connect(broker.options()).await.unwrap();
    let topic = NewTopic {
        name: "storm".to_owned(),
        partitions: PARTITIONS,
        cleanup: Cleanup::Delete,
        retention: Duration::from_secs(3_600),
        min_compaction_lag: Duration::ZERO,
    };
    log.create_topics(&[topic]).await.unwrap();
    let plans: Vec<Plan> = (0..MEMBERS)
        .map(|index| Plan {
            brokers: broker.brokers(),
            protocol: GroupProtocol::Classic,
            topic: "storm".to_owned(),
            group: "storm".to_owned(),
            member: format!("storm-{index}"),
            dir: dir.path().to_owned(),
            window: WINDOW,
            work_ms: 5,
        })
        .collect();
    let mut blows: Vec<(usize, Blow)> = (0..MEMBERS)
        .flat_map(|member| {
            let gentle = std::iter::repeat_n((member, Blow::Terminate), form.terminations);
            gentle.chain(std::iter::repeat_n((member, Blow::Kill), form.kills))
        })
        .collect();
    for index in (1..blows.len()).rev() {
        blows.swap(index, rng.random_range(0..=index));
    }
    let planned = Duration::from_millis(form.pace_ms * u64::try_from(blows.len()).unwrap());
    let writing = tokio::spawn(tools::write_numbers(log.clone(), "storm", PARTITIONS, form.records, planned));

    let mut members: Vec<Running> = plans.iter().map(Running::start).collect();
    let began = now();
    for (member, blow) in blows {
        tokio::time::sleep(Duration::from_millis(rng.random_range(form.pace_ms / 2..=form.pace_ms * 3 / 2))).await;
        let mut running = members.remove(member);
        let plan = plans[member].clone();
        let next = tokio::task::spawn_blocking(move || {
            match blow {
                Blow::Terminate => running.terminate(),
                Blow::Kill => running.kill(),
            }
            Running::start(&plan)
        });
        members.insert(member, next.await.unwrap());
    }
    println!("storm: all blows fell within {:?}", began.elapsed());
    writing.await.unwrap();

    let kills = MEMBERS * form.kills;
    let deadline = now() + Duration::from_secs(240);
    let mut counts;
    loop {
        counts = count(dir.path());
        if counts.len() == form.records as usize || now() > deadline {
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let end = tokio::task::spawn_blocking(move || members.iter_mut().for_each(Running::terminate));
    end.await.unwrap();
    let counts_end = count(dir.path());
    let repeats: u32 = counts_end.values().map(|count| count - 1).sum();
    let errors = tools::error_lines(dir.path());
    println!(
        "storm: {} of {} records, {repeats} repeats (at most {} are explained), {} error lines, after {:?}",
        counts_end.len(),
        form.records,
        WINDOW * kills,
        errors.len(),
        began.elapsed()
    );
    assert_eq!(counts_end.len(), form.records as usize, "records are missing");
    assert!(repeats as usize <= WINDOW * kills, "{repeats} repeats");
    assert!(errors.is_empty(), "{errors:#?}");
}

/// How often each record was worked on.
fn count(dir: &Path) -> BTreeMap<u32, u32> {
    let mut counts = BTreeMap::new();
    for file in std::fs::read_dir(dir).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "out") {
            // A line without an end is being written, or a kill has cut it off.
            let text = std::fs::read_to_string(path).unwrap();
            for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
                *counts.entry(line.parse().unwrap()).or_default() += 1;
            }
        }
    }
    counts
}
