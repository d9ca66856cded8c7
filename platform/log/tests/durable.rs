//! The durable log: what was acknowledged is there, and what cannot be read is said.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use common::{Hand, append, read_all, record, texts, topic};
use waybill_log::{Commit, EmbeddedLog, EmbeddedOptions, GroupEvent, JoinGroup, Log, LogError, OutOfRange, Record};
use waybill_schemas::topics::Cleanup;

fn join(member: &str) -> JoinGroup {
    JoinGroup {
        group: "g".to_owned(),
        topic: "t".to_owned(),
        member: member.to_owned(),
        out_of_range: OutOfRange::Fail,
        drain_budget: Duration::from_secs(1),
        max_batch: 10,
    }
}

#[tokio::test]
async fn everything_is_there_after_reopening() {
    let (dir, hand) = (tempfile::tempdir().unwrap(), Hand::default());
    hand.set(7_000);
    let log = EmbeddedLog::open(dir.path(), hand.options()).unwrap();
    log.create_topics(&[topic("t", 2, Cleanup::Delete), topic("c", 1, Cleanup::Compact)]).await.unwrap();
    for index in 0..50 {
        append(&log, record("t", index % 2, "k", Some(&index.to_string()))).await.unwrap();
    }
    append(&log, record("c", 0, "k", None)).await.unwrap();
    let mut member = log.join(join("a")).await.unwrap();
    assert!(matches!(member.next(Duration::ZERO).await.unwrap(), GroupEvent::Assigned(_)));
    member.commit(&[Commit { partition: 1, offset: 9, metadata: "m".to_owned() }]).await.unwrap();
    let before = (read_all(&log, "t", 0).await.unwrap(), read_all(&log, "t", 1).await.unwrap());
    log.close().await;
    assert!(matches!(append(&log, record("t", 0, "k", None)).await, Err(LogError::Closed)));
    drop((log, member));

    hand.set(1);
    let log = EmbeddedLog::open(dir.path(), hand.options()).unwrap();
    assert_eq!((read_all(&log, "t", 0).await.unwrap(), read_all(&log, "t", 1).await.unwrap()), before);
    assert_eq!(log.describe("c").await.unwrap().cleanup, Cleanup::Compact);
    let appended = append(&log, record("t", 1, "k", Some("next"))).await.unwrap();
    assert_eq!((appended.offset, appended.append_time.ms()), (25, 7_000));
    let mut member = log.join(join("b")).await.unwrap();
    assert_eq!(
        member.committed(1).await.unwrap().unwrap(),
        Commit { partition: 1, offset: 9, metadata: "m".to_owned() }
    );
    log.create_topics(&[topic("new", 1, Cleanup::Delete)]).await.unwrap();
    assert_eq!(append(&log, record("new", 0, "k", None)).await.unwrap().offset, 0);
}

#[tokio::test]
async fn a_directory_belongs_to_one_process() {
    let (dir, hand) = (tempfile::tempdir().unwrap(), Hand::default());
    let _log = EmbeddedLog::open(dir.path(), hand.options()).unwrap();
    let second = EmbeddedLog::open(dir.path(), hand.options()).unwrap_err().to_string();
    assert!(
        second.contains("is in use by another process") && second.contains(dir.path().to_str().unwrap()),
        "{second}"
    );
}

#[tokio::test]
async fn a_full_disk_refuses_appends_and_keeps_everything_else() {
    let (dir, hand) = (tempfile::tempdir().unwrap(), Hand::default());
    let log = EmbeddedLog::open(dir.path(), hand.options()).unwrap();
    log.create_topics(&[topic("t", 1, Cleanup::Delete)]).await.unwrap();
    append(&log, record("t", 0, "k", Some("before"))).await.unwrap();
    log.close().await;
    drop(log);
    let reserve = EmbeddedOptions { min_free_bytes: u64::MAX, ..hand.options() };
    let log = EmbeddedLog::open(dir.path(), reserve).unwrap();
    let refused = append(&log, record("t", 0, "k", Some("lost"))).await.unwrap_err();
    assert!(matches!(&refused, LogError::Full(text) if text.contains("make room")), "{refused}");
    assert_eq!(texts(&read_all(&log, "t", 0).await.unwrap()).len(), 1);
    // Progress and cleaning up go on.
    let mut member = log.join(join("a")).await.unwrap();
    assert!(matches!(member.next(Duration::ZERO).await.unwrap(), GroupEvent::Assigned(_)));
    member.commit(&[Commit { partition: 0, offset: 1, metadata: String::new() }]).await.unwrap();
    assert_eq!(log.maintain(waybill_schemas::WallMs::new(1 << 40)).await.unwrap().expired, 1);
}

/// Files may not grow beyond what the shell that started this process allows, until it is lifted.
#[tokio::test]
async fn child_that_runs_out_of_room() {
    let Some(dir) = std::env::var_os("WAYBILL_LOG_NO_ROOM").map(PathBuf::from) else { return };
    let hand = Hand::default();
    let options = EmbeddedOptions { tail_bytes: 0, ..hand.options() };
    let log = EmbeddedLog::open(&dir, options).unwrap();
    let mut kept = texts(&read_all(&log, "t", 0).await.unwrap()).len();
    // Incompressible, or the journal would never grow.
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let noise: String = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(33 + (state >> 40) as u8 % 90)
    })
    .take(100_000)
    .collect();
    let mut refusals = 0;
    for _ in 0..200 {
        match append(&log, record("t", 0, "k", Some(&noise))).await {
            Ok(_) => kept += 1,
            Err(LogError::Full(_)) => refusals += 1,
            Err(other) => panic!("{other}"),
        }
        if refusals == 3 {
            break;
        }
    }
    assert_eq!(refusals, 3, "the limit was never met");
    let limit = rustix::process::getrlimit(rustix::process::Resource::Fsize);
    let lifted = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    rustix::process::setrlimit(rustix::process::Resource::Fsize, lifted).unwrap();
    append(&log, record("t", 0, "k", Some("room again"))).await.unwrap();
    let found = read_all(&log, "t", 0).await.unwrap();
    assert!(found.windows(2).all(|pair| pair[0].offset + 1 == pair[1].offset));
    // A refused record may have become whole after all (the seam says so); none is there in part.
    assert!((kept + 1..=kept + 1 + refusals).contains(&found.len()), "{} of {kept}", found.len());
    log.close().await;
}

#[tokio::test]
async fn after_a_write_that_failed_half_way_nothing_is_lost_and_appends_go_on() {
    let (dir, hand) = (tempfile::tempdir().unwrap(), Hand::default());
    let log = EmbeddedLog::open(dir.path(), hand.options()).unwrap();
    log.create_topics(&[topic("t", 1, Cleanup::Delete)]).await.unwrap();
    append(&log, record("t", 0, "k", Some("before"))).await.unwrap();
    log.close().await;
    drop(log);
    // Opening cuts the preallocated journal to what it holds; only then can a limit bite.
    drop(EmbeddedLog::open(dir.path(), hand.options()).unwrap());
    let child = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -S -f 4000; exec \"$0\" --exact child_that_runs_out_of_room --nocapture"])
        .arg(std::env::current_exe().unwrap())
        .env("WAYBILL_LOG_NO_ROOM", dir.path())
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
    let log = EmbeddedLog::open(dir.path(), hand.options()).unwrap();
    let found = texts(&read_all(&log, "t", 0).await.unwrap());
    assert_eq!(found.first().unwrap().1.as_deref(), Some("before"));
    assert_eq!(found.last().unwrap().1.as_deref(), Some("room again"));
}

/// A log with records in tables, in separate values and in the journal; answers what it holds.
async fn well_used(dir: &Path) -> Vec<Vec<Record>> {
    let hand = Hand::default();
    let log = EmbeddedLog::open(dir, hand.options()).unwrap();
    log.create_topics(&[topic("t", 2, Cleanup::Delete)]).await.unwrap();
    for round in 0..3 {
        for index in 0..60 {
            let value = format!("{round} {index} ").repeat(if index % 7 == 0 { 1_500 } else { 20 });
            append(&log, record("t", index % 2, &format!("key {index}"), Some(&value))).await.unwrap();
        }
        if round < 2 {
            log.faults().flush_to_tables().await;
        }
    }
    let all = vec![read_all(&log, "t", 0).await.unwrap(), read_all(&log, "t", 1).await.unwrap()];
    log.close().await;
    drop(log);
    // The journal is cut to what it holds, so that damage hits something.
    let log = EmbeddedLog::open(dir, hand.options()).unwrap();
    log.close().await;
    all
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.metadata().unwrap().len() > 0 {
            found.push(path);
        }
    }
    found.sort();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

/// Opens a damaged directory: it is refused, or reading is, or everything is there.
async fn tells_or_has_all(dir: &Path, all: &[Vec<Record>]) -> Result<(), LogError> {
    let hand = Hand::default();
    let log = EmbeddedLog::open(dir, hand.options())?;
    for (partition, expected) in all.iter().enumerate() {
        let found = read_all(&log, "t", partition as u32).await?;
        assert_eq!(found.len(), expected.len(), "records are missing and nobody said so");
        assert!(found == *expected, "records differ and nobody said so");
    }
    log.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_is_told_or_harmless_and_never_silent() {
    let origin = tempfile::tempdir().unwrap();
    let all = well_used(origin.path()).await;
    let mut paths = Vec::new();
    files(origin.path(), &mut paths);
    let mut told = 0;
    // Deterministic places: the same in every run.
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for path in &paths {
        for damage in 0..6 {
            let broken = tempfile::tempdir().unwrap();
            copy(origin.path(), broken.path());
            let target = broken.path().join(path.strip_prefix(origin.path()).unwrap());
            let length = target.metadata().unwrap().len();
            let file = fs::File::options().read(true).write(true).open(&target).unwrap();
            let what = match damage {
                0 => {
                    fs::remove_file(&target).unwrap();
                    "removed".to_owned()
                }
                1 => {
                    file.set_len(random() % length).unwrap();
                    "cut off".to_owned()
                }
                _ => {
                    let (at, mut byte) = (random() % length, [0]);
                    file.read_exact_at(&mut byte, at).unwrap();
                    byte[0] ^= 1 << (random() % 8);
                    file.write_all_at(&byte, at).unwrap();
                    format!("changed at {at}")
                }
            };
            let dir = broken.path().to_owned();
            let checked = {
                let all = all.clone();
                tokio::spawn(async move { tells_or_has_all(&dir, &all).await }).await
            };
            let name = path.strip_prefix(origin.path()).unwrap().display();
            match checked {
                Ok(Ok(())) => {}
                Ok(Err(LogError::Corrupt(text))) => {
                    assert!(text.contains("restore the directory from a backup"), "{text}");
                    assert!(text.contains(broken.path().to_str().unwrap()), "{text}");
                    told += 1;
                }
                Ok(Err(other)) => panic!("{name} {what}: {other}"),
                Err(panic) => panic!("{name} {what}: {panic}"),
            }
        }
    }
    assert!(told >= paths.len(), "only {told} damages of {} files were told", paths.len());
}

#[tokio::test]
async fn a_torn_batch_at_the_end_is_dropped_because_nobody_was_told_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let all = well_used(dir.path()).await;
    let mut paths = Vec::new();
    files(dir.path(), &mut paths);
    let journal = paths.iter().rfind(|path| path.extension().is_some_and(|end| end == "jnl")).unwrap();
    let whole = fs::read(journal).unwrap();
    // The beginning of a batch of three: its start, and an item whose value is said to have seven bytes.
    let batch = [1, 3, 0, 0, 0, 99, 0, 0, 0, 0, 0, 0, 0];
    let item = [2, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 7, 0, 0, 0, 7, 0, 0, 0, b'k', b'v'];
    let started = [batch.as_slice(), &item].concat();
    // As a crash in the middle of a write leaves it, or a disk that was full: the rest was allocated before and is zero.
    for (torn, zeroes) in (1..started.len()).flat_map(|torn| [(torn, 0), (torn, 100)]) {
        let left = [&whole, &started[..torn], &vec![0; zeroes]].concat();
        fs::write(journal, left).unwrap();
        let found = tells_or_has_all(dir.path(), &all).await;
        assert!(found.is_ok(), "torn after {torn} bytes, {zeroes} zeroes behind them: {found:?}");
    }
}

/// What stands behind a batch that cannot be read may be all that can still be saved by hand.
#[tokio::test]
async fn a_journal_that_is_refused_is_left_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let all = well_used(dir.path()).await;
    let mut paths = Vec::new();
    files(dir.path(), &mut paths);
    let journal = paths.iter().rfind(|path| path.extension().is_some_and(|end| end == "jnl")).unwrap();
    let mut bytes = fs::read(journal).unwrap();
    // The first key of its first batch.
    bytes[34] ^= 1;
    fs::write(journal, &bytes).unwrap();
    let refused = tells_or_has_all(dir.path(), &all).await.unwrap_err();
    assert!(matches!(refused, LogError::Corrupt(_)), "{refused}");
    assert!(fs::read(journal).unwrap() == bytes, "it was changed");
}

#[tokio::test]
async fn a_directory_of_another_version_is_told_as_one() {
    for version in [2_u8, 9] {
        let dir = tempfile::tempdir().unwrap();
        well_used(dir.path()).await;
        fs::write(dir.path().join("engine/version"), [b'F', b'J', b'L', version]).unwrap();
        let told = EmbeddedLog::open(dir.path(), Hand::default().options()).err().unwrap().to_string();
        assert!(told.contains("another version of waybill") && told.contains(dir.path().to_str().unwrap()), "{told}");
    }
}
