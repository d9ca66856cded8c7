//! An adapter that panics, on the blocking side and on the other: its attempt ends, and it is poison.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and lets adapters panic")]

use std::{fs, sync::Arc};

use async_trait::async_trait;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use waybill_adapters::Catalog;
use waybill_log::{OffsetTracker, offset_tracker::Dispatch};
use waybill_runtime::{Clocks, poison::PoisonLimits};
use waybill_schemas::{fetch::FetchResult, layout::Layout, politeness::FetcherBudgetRecord};

use super::*;
use crate::{
    beside::Examples,
    budget::{BudgetState, Terms},
    config::FetcherConfig,
    exchange::Exchange,
    look_up::{PANICKED, Read},
    payload::Payload,
    terms::NoPolicies,
    turnstile::{RecordError, Recorder, Surroundings},
};

struct Ours(Terms);

impl Surroundings for Ours {
    fn terms(&self) -> Option<Terms> {
        Some(self.0.clone())
    }

    fn may_send(&self) -> bool {
        true
    }
}

#[async_trait]
impl Recorder for Ours {
    async fn record(&self, _: &FetcherBudgetRecord) -> Result<(), RecordError> {
        Ok(())
    }
}

async fn door() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4_096];
            let _ = stream.read(&mut request).await;
            let body = r#"{"events":[]}"#;
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n", body.len());
            let _ = stream.write_all(format!("{head}connection: close\r\n\r\n{body}").as_bytes()).await;
        }
    });
    port
}

/// A task for the carrier `acme`, whose reading is `read`.
async fn task(read: Read) -> (Task, Chosen, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("acme");
    fs::create_dir(&place).unwrap();
    let adapter = format!(
        "format: 1\nname: acme\nbasis: api\nlanguages: [en]\nzone: UTC\n\
         budget: {{rate_per_second: 100.0, burst: 20, concurrency: 4, min_interval_s: 1}}\nhosts: [127.0.0.1]\n\
         sources:\n  - name: api\n    kind: api\n    steps:\n      - {{name: page, get: 'http://127.0.0.1:{}/{{number}}'}}\n\
         readers:\n  - name: json\n    shape: json\n    accept: {{has: [$.nothing]}}\n    order: newest_first\n    \
         times: {{formats: ['%Y-%m-%d']}}\n    tables:\n      - {{rows: '$.nothing[*]', time: time, text: text}}\n",
        door().await
    );
    fs::write(place.join("adapter.yaml"), adapter).unwrap();
    fs::write(place.join("mapping.yaml"), "format: 1\n").unwrap();
    let clocks = Clocks::real();
    let config = FetcherConfig {
        allow_private: true,
        connect_timeout_s: 120,
        answer_timeout_s: 120,
        ..FetcherConfig::default()
    };
    let carriers = Carriers {
        catalog: Catalog::of_folder(folder.path()).unwrap().into(),
        policies: Arc::new(NoPolicies),
        layout: Arc::new(Layout { partitions: 1, budgets: Default::default() }),
        config: Arc::new(config.clone()),
        clocks,
    };
    let slug: CarrierSlug = "acme".parse().unwrap();
    let chosen = carriers.choose(&slug).unwrap();
    let terms = carriers.terms(&slug.own_budget()).unwrap();
    let state = BudgetState::restored(None, &terms, clocks.wall_us());
    let turnstile = Turnstile::new(state, Arc::new(Ours(terms.clone())), Arc::new(Ours(terms)), clocks);
    let mut tools = Tools::new(Exchange::new(&config).unwrap(), clocks, Examples::new(Vec::new()));
    tools.read = read;
    let limits = PoisonLimits { records: 2, ..PoisonLimits::default() };
    let task = Task {
        tools,
        turnstile: Arc::new(turnstile),
        poison: PoisonWatch::new("fetcher", limits, clocks),
        budget: "acme".to_owned(),
        probes: Probes { carrier: Probe::No, adapter: Probe::No },
        sample_one_in: 0,
    };
    (task, chosen, folder)
}

fn job(attempt: i64) -> Job {
    let mut tracker = OffsetTracker::new();
    tracker.assign(0, 0);
    let Dispatch::Taken(ticket) = tracker.dispatch(0, 7) else { panic!("a fresh tracker takes it") };
    let request = serde_json::from_value(serde_json::json!({
        "kind": "poll", "carrier": "acme", "number": "ACME0001", "instance": 1, "ref": null,
        "registered_at": "2026-01-01T00:00:00Z", "attempt": attempt,
        "expires_at": Clocks::system_now().plus_ms(3_600_000),
    }));
    Job::new(ticket, request.unwrap(), Trail::default())
}

/// The one result of one job.
async fn one_result(task: &Task, attempt: i64, chosen: &Chosen) -> (FetchResult, Option<Payload>) {
    let CameTo::Results(mut results, _) = task.run(vec![(job(attempt), FetcherMemory::default())], chosen).await else {
        panic!("it ends in a result")
    };
    assert_eq!(results.len(), 1);
    let answered = results.remove(0);
    (answered.result, answered.payload)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fet_1_a_reader_that_panics_ends_its_attempt_keeps_the_bytes_and_is_poison() {
    let (task, chosen, _folder) = task(|_, _, _| panic!("a reader's fault")).await;
    for attempt in 1..=2 {
        assert_eq!(task.poison.gate("acme"), Gate::Open);
        let (result, payload) = one_result(&task, attempt, &chosen).await;
        assert_eq!((result.class, result.detail.as_deref()), (OutcomeClass::Unreadable, Some(PANICKED)));
        assert!(payload.is_some(), "what it could not bear is kept");
        assert_eq!((result.spent, result.request.attempt), (1, attempt));
    }
    assert!(matches!(task.poison.gate("acme"), Gate::Closed(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reading_that_comes_to_an_end_is_no_poison_whatever_it_finds() {
    let (task, chosen, _folder) = task(|adapter, answers, reading| adapter.read_with(answers, reading)).await;
    for attempt in 1..=4 {
        let (result, _) = one_result(&task, attempt, &chosen).await;
        assert_eq!(result.class, OutcomeClass::Unreadable, "no reader accepts it");
    }
    assert_eq!(task.poison.gate("acme"), Gate::Open);
}
