//! kill -9 at any moment loses nothing acknowledged.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use common::{Hand, read_all, record, topic};
use waybill_log::{Commit, EmbeddedLog, GroupEvent, JoinGroup, Log, OutOfRange};
use waybill_schemas::topics::Cleanup;

const PARTITIONS: u32 = 3;

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // The parent has gone: then so may we.
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

fn group() -> JoinGroup {
    JoinGroup {
        group: "g".to_owned(),
        topic: "t".to_owned(),
        member: "m".to_owned(),
        out_of_range: OutOfRange::Fail,
        drain_budget: Duration::from_secs(1),
        max_batch: 100,
    }
}

/// Produces and commits until it is killed, and says what was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_is_killed() {
    let Some(dir) = std::env::var_os("WAYBILL_LOG_KILLED").map(PathBuf::from) else { return };
    let life: u32 = std::env::var("WAYBILL_LOG_LIFE").unwrap().parse().unwrap();
    let log = Arc::new(EmbeddedLog::open(&dir, Hand::default().options()).unwrap());
    log.create_topics(&[topic("t", PARTITIONS, Cleanup::Delete)]).await.unwrap();
    let mut member = log.join(group()).await.unwrap();
    assert!(matches!(member.next(Duration::ZERO).await.unwrap(), GroupEvent::Assigned(_)));
    for producer in 0..4 {
        let log = Arc::clone(&log);
        tokio::spawn(async move {
            for call in 0_u64.. {
                let values: Vec<(u32, String)> = (0..3)
                    .map(|index| {
                        ((producer + index) % PARTITIONS, format!("{life}-{producer}-{}", call * 3 + u64::from(index)))
                    })
                    .collect();
                let padding = "x".repeat((call % 50) as usize * 100);
                let records =
                    values.iter().map(|(partition, value)| record("t", *partition, value, Some(&padding))).collect();
                for (answer, (partition, value)) in log.produce(records).await.into_iter().zip(values) {
                    say(&format!("ack {partition} {} {value}", answer.unwrap().offset));
                }
            }
        });
    }
    let base = u64::from(life) << 32;
    for offset in base.. {
        member.commit(&[Commit { partition: 0, offset, metadata: String::new() }]).await.unwrap();
        say(&format!("commit {offset}"));
    }
}

#[tokio::test]
async fn log_1_nothing_acknowledged_is_lost_by_kill_9_at_any_moment() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged: Vec<BTreeMap<u64, String>> = vec![BTreeMap::new(); PARTITIONS as usize];
    let mut committed = 0;
    for life in 1..=15_u32 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_is_killed", "--nocapture"])
            .env("WAYBILL_LOG_KILLED", dir.path())
            .env("WAYBILL_LOG_LIFE", life.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        // After a number of answers that differs each time, among them none at all; the rest is read to its end.
        let patience = [1, 0, 300, 7, 60, 900, 20, 150, 3, 500, 2, 40, 700, 90, 10][life as usize - 1];
        let (mut seen, mut line) = (0, String::new());
        if patience == 0 {
            tokio::time::sleep(Duration::from_millis(15)).await;
            child.kill().unwrap();
        }
        loop {
            line.clear();
            if lines.read_line(&mut line).unwrap() == 0 {
                break;
            }
            // A line that was cut off was no answer.
            if !line.ends_with('\n') {
                continue;
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["ack", partition, offset, value] => {
                    let (partition, offset): (usize, u64) = (partition.parse().unwrap(), offset.parse().unwrap());
                    let twice = acknowledged[partition].insert(offset, value.to_owned());
                    assert_eq!(twice, None, "offset {offset} of {partition} was given out twice");
                    seen += 1;
                }
                ["commit", offset] => committed = offset.parse().unwrap(),
                _ => {}
            }
            if seen == patience {
                // SIGKILL: nothing in the child can react.
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        check(dir.path(), &acknowledged, committed).await;
    }
    let total: usize = acknowledged.iter().map(BTreeMap::len).sum();
    assert!(total > 2_000, "{total}");
}

async fn check(dir: &std::path::Path, acknowledged: &[BTreeMap<u64, String>], committed: u64) {
    let log = EmbeddedLog::open(dir, Hand::default().options()).unwrap();
    if log.describe("t").await.is_err() {
        // Killed before its topic was there: then nothing was acknowledged either.
        assert!(acknowledged.iter().all(BTreeMap::is_empty));
        return;
    }
    for (partition, expected) in acknowledged.iter().enumerate() {
        let found = read_all(&log, "t", partition as u32).await.unwrap();
        assert!(found.windows(2).all(|pair| pair[0].offset + 1 == pair[1].offset), "offsets have holes");
        let by_offset: BTreeMap<u64, &str> =
            found.iter().map(|record| (record.offset, record.key_str().unwrap())).collect();
        for (offset, value) in expected {
            assert_eq!(by_offset.get(offset).copied(), Some(value.as_str()), "acknowledged and lost");
        }
        let values: BTreeSet<&str> = by_offset.values().copied().collect();
        assert_eq!(values.len(), found.len(), "a record is there twice");
        // Each producer's records are in its order.
        let mut last: BTreeMap<&str, u64> = BTreeMap::new();
        for record in &found {
            let (producer, index) = record.key_str().unwrap().rsplit_once('-').unwrap();
            let index: u64 = index.parse().unwrap();
            if let Some(earlier) = last.insert(producer, index) {
                assert!(earlier < index, "{producer}: {index} behind {earlier}");
            }
        }
    }
    let mut member = log.join(group()).await.unwrap();
    let found = member.committed(0).await.unwrap().map_or(0, |commit| commit.offset);
    assert!(found >= committed, "a commit of {committed} was acknowledged, {found} is there");
}
