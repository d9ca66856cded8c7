//! Promises at the carrier's door and on the log, through kills.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "the fullest window is shown to whoever runs these")]

mod support;

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use support::{
    Arrival, Door, Reply, TRACKED, World, budget, json, one_step, slow::Slow, zombie::a_zombies_requests_are_expired,
};
use tokio::time::Instant;
use waybill_fetcher::{NoPolicies, OnceDeps, RecordError, Recorder, look_up_once};
use waybill_log::{EmbeddedLog, EmbeddedOptions, Headers, TopicPartition, claims};
use waybill_runtime::Clocks;
use waybill_schemas::{
    OutcomeClass,
    fetch::FetchResult,
    politeness::FetcherBudgetRecord,
    topics::{TopicPrefix, names},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pol_1_the_budget_holds_at_the_door_through_kills() {
    let (rate, burst) = (40.0, 4);
    // Every fifth answer is late, so that requests are under way when the fetcher dies.
    let door = Door::open(|arrival: &Arrival| match arrival.path.ends_with('5') {
        true => Reply::Late(Duration::from_millis(150), json(200, TRACKED)),
        false => Reply::Raw(json(200, TRACKED)),
    })
    .await;
    let sources = one_step("api", &format!("http://127.0.0.1:{}/t/{{number}}", door.port));
    let world = World::new(&[("acme", budget(rate, burst, 6), sources)], |_| {}).await;
    let requests: Vec<_> = (1..=120).map(|attempt| world.poll("acme", &format!("ACME{attempt:04}"), attempt)).collect();
    world.send(&requests, Headers::new()).await;
    for life in 0..5_u64 {
        let running = world.start();
        tokio::time::sleep(Duration::from_millis(700 + 130 * life)).await;
        running.kill().await;
    }
    let running = world.start();
    let results = world.results(120).await;
    running.stop().await;
    let (fullest, arrived) = door.fullest_window(rate, f64::from(burst));
    println!("POL-1: {arrived} requests through 5 kills, fullest window {:.1} %", fullest * 100.0);
    assert!(fullest <= 1.0, "fullest window {:.1} %", fullest * 100.0);
    // FET-1: one result per attempt, each a reading.
    let attempts: HashSet<i64> = results.iter().map(|result| result.request.attempt).collect();
    assert_eq!(attempts.len(), 120);
    assert!(results.iter().all(|result| result.class == OutcomeClass::Tracked));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pol_1_the_budget_holds_at_the_door_through_orderly_hand_overs() {
    let (rate, burst) = (40.0, 4);
    let door = Door::open(|_| Reply::Late(Duration::from_millis(60), json(200, TRACKED))).await;
    let sources = one_step("api", &format!("http://127.0.0.1:{}/t/{{number}}", door.port));
    let world = World::new(&[("acme", budget(rate, burst, 6), sources)], |_| {}).await;
    let requests: Vec<_> = (1..=120).map(|attempt| world.poll("acme", &format!("ACME{attempt:04}"), attempt)).collect();
    world.send(&requests, Headers::new()).await;
    let mut running = world.start_as("fetcher-0");
    for next in 1..4 {
        let beside = world.start_as(&format!("fetcher-{next}"));
        tokio::time::sleep(Duration::from_millis(600)).await;
        running.stop().await;
        running = beside;
    }
    world.results(120).await;
    running.stop().await;
    let (fullest, arrived) = door.fullest_window(rate, f64::from(burst));
    println!("POL-1: {arrived} requests through 3 hand-overs, fullest window {:.1} %", fullest * 100.0);
    assert!(fullest <= 1.0, "fullest window {:.1} %", fullest * 100.0);
    // What was under way ended before its partition was given away: nothing was asked or answered twice.
    assert_eq!((arrived, world.all_results().await.len()), (120, 120));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pol_2_a_quota_holds_at_the_door_through_kills() {
    let door = Door::open(|_| Reply::Raw(json(200, TRACKED))).await;
    let sources = one_step("api", &format!("http://127.0.0.1:{}/t/{{number}}", door.port));
    // The day does not end while this runs, whatever the time of day.
    let resets_at = (Clocks::system_now().ms() / 3_600_000 + 12) % 24;
    let quota = format!(", daily_quota: {{requests: 30, resets_at: '{resets_at:02}:00', zone: UTC}}}}");
    let figures = budget(200.0, 3, 3).replace('}', &quota);
    let world = World::new(&[("acme", figures, sources)], |_| {}).await;
    let requests: Vec<_> = (1..=60).map(|attempt| world.poll("acme", "ACME0001", attempt)).collect();
    world.send(&requests, Headers::new()).await;
    for _ in 0..3 {
        let running = world.start();
        tokio::time::sleep(Duration::from_millis(60)).await;
        running.kill().await;
    }
    let running = world.start();
    let results = world.results(60).await;
    running.stop().await;
    let arrived = door.arrivals().len();
    println!("POL-2: {arrived} of 30 requests left through 3 kills");
    assert!(arrived <= 30);
    assert!(results.iter().filter(|result| result.class == OutcomeClass::Deferred).count() >= 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fet_1_a_kill_between_result_and_commit_makes_no_second_result() {
    let door = Door::open(|_| Reply::Raw(json(200, TRACKED))).await;
    let world = World::quick(&door).await;
    let running = world.start();
    let requests: Vec<_> = (1..=10).map(|attempt| world.poll("acme", "ACME0001", attempt)).collect();
    world.send(&requests, Headers::new()).await;
    world.results(10).await;
    // Results are there, the commit comes every two seconds: nothing is committed yet.
    running.kill().await;
    let running = world.start();
    world.send(&[world.poll("acme", "ACME0001", 11)], Headers::new()).await;
    world.results(11).await;
    running.stop().await;
    assert_eq!(world.all_results().await.len(), 11);
    assert_eq!(door.arrivals().len(), 11);
    // LOG-1: after an orderly end everything is committed, so a third life answers only what is new.
    let running = world.start();
    world.send(&[world.poll("acme", "ACME0001", 12)], Headers::new()).await;
    world.results(12).await;
    running.stop().await;
    assert_eq!(world.all_results().await.len(), 12);
}

/// On one thread, so that the clock can stand still while the fetcher ends: who is quicker is then no matter of luck.
#[tokio::test]
async fn fet_1_an_orderly_end_waits_for_a_log_that_takes_its_time_over_a_result() {
    let door = Door::open(|_| Reply::Raw(json(200, TRACKED))).await;
    let clocks = Clocks::real();
    let log = Arc::new(Slow {
        log: Arc::new(EmbeddedLog::in_memory(EmbeddedOptions::new(Arc::new(move || clocks.wall())))),
        topic: TopicPrefix::default().of(names::FETCH_RESULTS),
        by: Duration::from_millis(1_500),
        asked: AtomicBool::new(false),
    });
    let world = World::quick_on(log.clone(), &door).await;
    let running = world.start();
    world.send(&[world.poll("acme", "ACME0001", 1)], Headers::new()).await;
    while !log.asked.load(Ordering::SeqCst) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::pause();
    running.stop().await;
    tokio::time::resume();
    assert_eq!(world.all_results().await.len(), 1, "what was answered is written before the partition goes");
    let next = world.start_as("fetcher-2");
    world.send(&[world.poll("acme", "ACME0001", 2)], Headers::new()).await;
    world.results(2).await;
    next.stop().await;
    assert_eq!((door.arrivals().len(), world.all_results().await.len()), (2, 2), "nobody is asked twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fet_1_a_request_that_was_produced_twice_is_answered_once() {
    let door = Door::open(|_| Reply::Raw(json(200, TRACKED))).await;
    let world = World::quick(&door).await;
    let running = world.start();
    let request = world.poll("acme", "ACME0001", 1);
    world.send(&[request.clone(), request], Headers::new()).await;
    world.send(&[world.poll("acme", "ACME0001", 2)], Headers::new()).await;
    world.results(2).await;
    running.stop().await;
    assert_eq!(world.all_results().await.len(), 2);
    assert_eq!(door.arrivals().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sch_2_a_zombie_schedulers_requests_are_expired() {
    let door = Door::open(|_| Reply::Raw(json(200, TRACKED))).await;
    a_zombies_requests_are_expired(&World::quick(&door).await, &door).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_claim_of_its_own_costs_a_fetcher_no_partition() {
    let door = Door::open(|_| Reply::Raw(json(200, TRACKED))).await;
    let world = World::quick(&door).await;
    let running = world.start();
    world.send(&[world.poll("acme", "ACME0001", 1)], Headers::new()).await;
    world.results(1).await;
    // A broker that was away takes what waited for it: a claim, too, that was given up and made once more.
    let at = TopicPartition::new(world.deps.topics.of(names::CARRIERS), 0);
    for attempt in 2..4 {
        claims::claim(&*world.log, &at, &world.deps.member).await.unwrap();
        // It has seen that claim when the next request comes.
        tokio::time::sleep(Duration::from_millis(300)).await;
        world.send(&[world.poll("acme", "ACME0001", attempt)], Headers::new()).await;
        world.results(usize::try_from(attempt).unwrap()).await;
    }
    running.stop().await;
    let answered = |result: &FetchResult| (result.request.attempt, result.class);
    let answers: Vec<_> = world.all_results().await.iter().map(answered).collect();
    assert_eq!(
        answers,
        [1, 2, 3].map(|attempt| (attempt, OutcomeClass::Tracked)),
        "each is answered once, by the carrier"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_becomes_a_dead_letter_and_holds_up_nothing() {
    let door = Door::open(|_| Reply::Raw(json(200, TRACKED))).await;
    let world = World::quick(&door).await;
    let at = TopicPartition::new(world.deps.topics.of(names::FETCH_REQUESTS), 0);
    let odd = waybill_log::NewRecord { at, key: None, value: Some("{no json".into()), headers: Headers::new() };
    world.log.produce(vec![odd]).await.remove(0).unwrap();
    let result = world.one("ACME0001").await;
    assert_eq!(result.class, OutcomeClass::Tracked);
    assert_eq!(world.records(names::DEAD_LETTERS).await.len(), 1);
}

/// Notes when each record was kept.
#[derive(Default)]
struct Notes(Mutex<Vec<(Instant, FetcherBudgetRecord)>>);

#[async_trait]
impl Recorder for Notes {
    async fn record(&self, record: &FetcherBudgetRecord) -> Result<(), RecordError> {
        self.0.lock().unwrap().push((Instant::now(), record.clone()));
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pol_1_one_look_up_spends_the_same_budget_and_records_it_first() {
    let door = Door::open(|_| Reply::Raw(json(200, TRACKED))).await;
    let sources = one_step("api", &format!("http://127.0.0.1:{}/t/{{number}}", door.port));
    let world = World::new(&[("acme", budget(5.0, 1, 1), sources)], |_| {}).await;
    let deps = || OnceDeps {
        layout: world.deps.layout.clone(),
        clocks: world.deps.clocks,
        catalog: world.deps.catalog.catalog(),
        policies: Arc::new(NoPolicies),
        config: world.deps.config.clone(),
    };
    let mut kept = None;
    for attempt in 1..=4 {
        let notes = Arc::new(Notes::default());
        let request = world.poll("acme", "ACME0001", attempt);
        let (result, record) = look_up_once(deps(), request, kept.take(), notes.clone()).await.unwrap();
        assert_eq!(result.class, OutcomeClass::Tracked);
        let first = notes.0.lock().unwrap()[0].0;
        assert!(first <= door.arrivals().last().unwrap().at);
        kept = Some(record);
    }
    let (fullest, arrived) = door.fullest_window(5.0, 1.0);
    println!("POL-1: {arrived} single look-ups, fullest window {:.1} %", fullest * 100.0);
    assert!(fullest <= 1.0 && arrived == 4);
}
