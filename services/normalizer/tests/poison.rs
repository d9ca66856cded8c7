//! Poison: results that cannot be read still end their attempts, and quarantine their carrier.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::{sync::Arc, time::Duration};

use support::*;
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use waybill_log::{
    EmbeddedLog, EmbeddedOptions, Log, NewRecord, NewTopic, ReadFrom, Record, TopicPartition,
    letters::Letter,
    records::{NamedAttempt, attempt_headers},
};
use waybill_normalizer::{Deps, NormalizerConfig, NormalizerError, run};
use waybill_runtime::{Clocks, Health, JourneyScale, poison::PoisonLimits};
use waybill_schemas::{
    OutcomeClass, WallMs,
    fetch::FetchResult,
    layout::Layout,
    outcome::Outcome,
    topics::{self, TopicPrefix, names},
};

const NOW: WallMs = WallMs::new(1_773_000_000_000);

async fn new_log() -> EmbeddedLog {
    let log = EmbeddedLog::in_memory(EmbeddedOptions::new(Arc::new(|| NOW)));
    let topic = |spec: &topics::TopicSpec| NewTopic {
        name: spec.name.clone(),
        partitions: 1,
        cleanup: spec.cleanup,
        retention: Duration::from_secs(86_400),
        min_compaction_lag: Duration::ZERO,
    };
    log.create_topics(&topics::all().iter().map(topic).collect::<Vec<_>>()).await.unwrap();
    log
}

fn start(log: &EmbeddedLog) -> (JoinHandle<Result<(), NormalizerError>>, CancellationToken) {
    let poison =
        PoisonLimits { records: 3, window_s: 600, budgets: 2, envelopes: 4, quarantine_s: 600, longest_s: 600 };
    let deps = Deps {
        log: Arc::new(log.clone()),
        topics: TopicPrefix::default(),
        layout: Layout { partitions: 1, budgets: Default::default() },
        clocks: Clocks::starting_at(NOW, JourneyScale::REAL),
        catalog: catalog(MAPPING).into(),
        member: "normalizer-0".into(),
        health: Health::default(),
        config: NormalizerConfig { poison, ..NormalizerConfig::default() },
    };
    let shutdown = CancellationToken::new();
    (tokio::spawn(run(deps, shutdown.clone())), shutdown)
}

fn look(number: u32, attempt: i64) -> FetchResult {
    let mut result = tracked(vec![event(1, "09:00", "Picked up")]);
    result.request.number = format!("TP{number:09}").parse().unwrap();
    (result.request.attempt, result.request_offset) = (attempt, u64::from(number));
    result
}

async fn send(log: &EmbeddedLog, results: &[FetchResult]) {
    let record = |result: &FetchResult| NewRecord {
        at: TopicPartition::new(names::FETCH_RESULTS, 0),
        key: Some(result.request.key().record_key().into()),
        value: Some(serde_json::to_vec(result).unwrap().into()),
        headers: Vec::new(),
    };
    log.produce(results.iter().map(record).collect()).await.into_iter().for_each(|answer| {
        answer.unwrap();
    });
}

async fn send_unreadable(log: &EmbeddedLog, key: Option<String>, attempt: Option<i64>) {
    let headers = attempt.map(|attempt| attempt_headers(attempt, Some(77))).unwrap_or_default();
    let at = TopicPartition::new(names::FETCH_RESULTS, 0);
    let record = NewRecord { at, key: key.map(Into::into), value: Some("{no json".into()), headers };
    log.produce(vec![record]).await.remove(0).unwrap();
}

async fn all(log: &EmbeddedLog, topic: &str) -> Vec<Record> {
    let (mut offset, mut found) = (0, Vec::new());
    loop {
        let at = TopicPartition::new(topic, 0);
        let read = ReadFrom { at, offset, max_records: 10_000, max_bytes: 1 << 30, wait: Duration::ZERO };
        let batch = log.read(read).await.unwrap();
        if batch.records.is_empty() {
            return found;
        }
        offset = batch.next_offset;
        found.extend(batch.records);
    }
}

async fn outcomes(log: &EmbeddedLog, count: usize) -> Vec<Outcome> {
    let wait = async {
        loop {
            let records = all(log, names::OUTCOMES).await;
            if records.len() >= count {
                assert!(
                    records.iter().all(|record| NamedAttempt::of(record).is_some()),
                    "outcomes name their attempts"
                );
                let read = |record: &Record| serde_json::from_slice(record.value.as_ref().unwrap()).unwrap();
                return records.iter().map(read).collect();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(60), wait).await.expect("every attempt is answered")
}

#[tokio::test(start_paused = true)]
async fn fet_1_an_unreadable_result_whose_headers_name_its_attempt_ends_it_without_memories() {
    let log = new_log().await;
    send_unreadable(&log, Some(format!("{CARRIER}:TP000000009")), Some(41)).await;
    send_unreadable(&log, Some(format!("{CARRIER}:TP000000010")), None).await;
    let (task, shutdown) = start(&log);
    let ended = outcomes(&log, 1).await.remove(0);
    assert_eq!((ended.class, ended.attempt, ended.request_offset), (OutcomeClass::Unreadable, 41, 77));
    assert!(ended.memories.normalizer.is_empty() && ended.memories.fetcher.is_empty(), "nothing is made up");
    shutdown.cancel();
    task.await.unwrap().unwrap();
    let letters: Vec<Letter> = all(&log, names::DEAD_LETTERS).await.iter().filter_map(Letter::of).collect();
    assert_eq!(letters.len(), 2);
    assert!(letters[0].detail.contains("ended as `unreadable`"), "{}", letters[0].detail);
    assert!(letters[1].detail.contains("nothing could end it"), "{}", letters[1].detail);
}

#[tokio::test(start_paused = true)]
async fn a_quarantined_carriers_results_end_as_disabled_but_for_one_probe() {
    let log = new_log().await;
    for attempt in 0..3 {
        send_unreadable(&log, Some(format!("{CARRIER}:TP000000009")), Some(attempt)).await;
    }
    let (task, shutdown) = start(&log);
    outcomes(&log, 3).await;
    send(&log, &[look(1, 10), look(2, 10)]).await;
    let held = outcomes(&log, 5).await;
    assert!(held[3..].iter().all(|outcome| outcome.class == OutcomeClass::AdapterDisabled), "{held:#?}");
    assert!(held[3].feedback.budget_not_before.is_some(), "the scheduler is told to hold the budget back");
    assert!(all(&log, names::TRACKING_EVENTS).await.is_empty());
    tokio::time::sleep(Duration::from_secs(601)).await;
    // Its memory has not advanced, so the next look finds the same event again: nothing is lost.
    send(&log, &[look(1, 11), look(2, 11)]).await;
    let ended = outcomes(&log, 7).await;
    assert!(ended[5..].iter().all(|outcome| outcome.class == OutcomeClass::Tracked), "{ended:#?}");
    assert_eq!(all(&log, names::TRACKING_EVENTS).await.len(), 2);
    shutdown.cancel();
    task.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn poison_of_several_budgets_ends_the_normalizer_with_a_clear_error_and_commits_none_of_it() {
    let log = new_log().await;
    for round in 0..3 {
        for carrier in [CARRIER, "other-post"] {
            send_unreadable(&log, Some(format!("{carrier}:TP000000009")), Some(round)).await;
        }
    }
    for _ in 0..2 {
        let (task, _shutdown) = start(&log);
        let error = timeout(Duration::from_secs(30), task).await.expect("it ends").unwrap().unwrap_err();
        assert!(matches!(error, NormalizerError::Poison(_)), "{error}");
        assert!(error.to_string().contains("other-post"), "{error}");
    }
}
