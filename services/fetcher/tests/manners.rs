//! Manners at a carrier's door: who we say we are, robots.txt as it is told, conditional requests, a refusal that only a
//! person lifts; and adapters that are exchanged or tried meanwhile.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use support::{Arrival, Door, PATIENCE, Reply, TRACKED, World, answer, budget, json, one_step};
use waybill_adapters::{Catalog, LiveCatalog};
use waybill_fetcher::{CarrierConfig, Policies};
use waybill_log::{
    Headers, TopicPartition, json_record,
    records::{produce_all, read_json},
};
use waybill_schemas::{
    CarrierSlug, Memory, OutcomeClass, WallMs,
    drift::TrialMode,
    politeness::{BlockReason, CanaryPolicy, CarrierPolicy, FetcherBudgetRecord},
    topics::names,
};

/// Policies that a test changes.
#[derive(Default)]
struct Live(Mutex<CarrierPolicy>, Mutex<Option<String>>);

impl Policies for Live {
    fn carrier(&self, _: &CarrierSlug) -> CarrierPolicy {
        self.0.lock().unwrap().clone()
    }

    fn stopped_candidate(&self, _: &CarrierSlug) -> Option<String> {
        self.1.lock().unwrap().clone()
    }
}

fn acme() -> CarrierSlug {
    "acme".parse().unwrap()
}

/// The last record of the budget, once it satisfies something.
async fn budget_record(world: &World, is: impl Fn(&FetcherBudgetRecord) -> bool) -> FetcherBudgetRecord {
    let until = tokio::time::Instant::now() + PATIENCE;
    while tokio::time::Instant::now() < until {
        let records = world.records(names::CARRIERS).await;
        let last = records.iter().rev().find(|record| record.key_str() == Some("acme/fetcher"));
        if let Some(found) = last.map(|record| read_json::<FetcherBudgetRecord>(record).unwrap()).filter(&is) {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the budget's record never came to what was expected");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_kept_and_no_more_than_look_ups_under_way() {
    let door = Door::open(|_| Reply::Late(Duration::from_millis(10), json(200, TRACKED))).await;
    let sources = one_step("api", &format!("http://127.0.0.1:{}/t/{{number}}", door.port));
    let world = World::new(&[("acme", budget(200.0, 40, 2), sources)], |_| {}).await;
    let running = world.start();
    let polls: Vec<_> = (1..=40).map(|index| world.poll("acme", &format!("ACME{index:04}"), index)).collect();
    world.send(&polls, Headers::new()).await;
    assert!(world.results(40).await.iter().all(|result| result.class == OutcomeClass::Tracked));
    assert_eq!(door.arrivals().len(), 40);
    // Two at once; one that comes back late may be stood in for.
    assert!(door.connections() <= 6, "{} connections for 40 requests, two at once", door.connections());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_outlives_a_restart_and_only_a_person_lifts_it() {
    let door_open = Arc::new(AtomicBool::new(false));
    let opens = Arc::clone(&door_open);
    let door = Door::open(move |_| match opens.load(Ordering::SeqCst) {
        true => Reply::Raw(json(200, TRACKED)),
        false => Reply::Raw(answer(403, &[], b"no")),
    })
    .await;
    let mut world = World::quick(&door).await;
    let policies = Arc::new(Live::default());
    world.deps.policies = policies.clone();
    // Two spaced blocks have been, and the pause after the second is over: this look is the third probe.
    let before = FetcherBudgetRecord {
        streaks: [0, 0, 2],
        block_reason: Some(BlockReason::Blocked),
        blocked_until: Some(world.deps.clocks.wall().plus_ms(-1_000)),
        backoff_ms: 1_800_000,
        at: world.deps.clocks.wall(),
        ..FetcherBudgetRecord::default()
    };
    let at = TopicPartition::new(world.deps.topics.of(names::CARRIERS), 0);
    let claim = waybill_log::claims::claim(&*world.log, &at, "former").await.unwrap();
    let headers = waybill_log::claims::epoch_headers(claim);
    produce_all(&*world.log, vec![json_record(at, "acme/fetcher", &before, headers).unwrap()]).await.unwrap();

    let running = world.start();
    world.send(&[world.poll("acme", "ACME0001", 1)], Headers::new()).await;
    assert_eq!(world.results(1).await[0].class, OutcomeClass::RefusesAutomation);
    let marked = budget_record(&world, |record| record.refused_at.is_some()).await;
    assert_eq!(marked.block_reason, Some(BlockReason::RefusesAutomation));
    running.stop().await;

    door_open.store(true, Ordering::SeqCst);
    let running = world.start();
    world.send(&[world.poll("acme", "ACME0001", 2)], Headers::new()).await;
    let refused = world.results(2).await.remove(1);
    assert_eq!((refused.class, refused.spent), (OutcomeClass::RefusesAutomation, 0));
    assert_eq!(door.arrivals().len(), 1, "a carrier that refuses is left alone");

    policies.0.lock().unwrap().lifted_at = Some(world.deps.clocks.wall());
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    world.send(&[world.poll("acme", "ACME0001", 3)], Headers::new()).await;
    assert_eq!(world.results(3).await.remove(2).class, OutcomeClass::Tracked);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_learn_whom_to_ask_and_are_not_asked_without_an_address() {
    let door = Door::open(|arrival: &Arrival| match arrival.path.as_str() {
        "/robots.txt" => Reply::Raw(answer(404, &[], b"")),
        _ => Reply::Raw(json(200, TRACKED)),
    })
    .await;
    for contact in ["", "ops@example.org"] {
        let sources = one_step("page", &format!("http://127.0.0.1:{}/t/{{number}}", door.port));
        let world = World::new(&[("acme", budget(100.0, 20, 1), sources)], |config| {
            config.contact = contact.to_owned();
            config.carriers.insert(acme(), CarrierConfig { enabled: Some(true), ..CarrierConfig::default() });
        })
        .await;
        let result = world.one("ACME0001").await;
        if contact.is_empty() {
            assert_eq!((result.class, result.spent), (OutcomeClass::AdapterDisabled, 0));
            assert!(result.detail.unwrap().contains("fetcher.contact"));
            assert!(door.arrivals().is_empty());
        } else {
            assert_eq!(result.class, OutcomeClass::Tracked, "{:?}", result.detail);
            let record = budget_record(&world, |record| record.robots.contains_key("127.0.0.1")).await;
            assert!(record.robots["127.0.0.1"].allowed && record.robots["127.0.0.1"].until.is_some());
        }
    }
    let arrivals = door.arrivals();
    let honest = |arrival: &Arrival| {
        let head = arrival.head.to_ascii_lowercase();
        head.contains(concat!("user-agent: waybill/", env!("CARGO_PKG_VERSION"), " (ops@example.org)"))
    };
    assert!(arrivals.len() == 2 && arrivals.iter().all(honest), "{arrivals:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_robots_txt_forbids_is_told() {
    let door = Door::open(|_| Reply::Raw(answer(503, &[], b""))).await;
    let sources = one_step("page", &format!("http://127.0.0.1:{}/t/{{number}}", door.port));
    let world = World::new(&[("acme", budget(100.0, 20, 1), sources)], |config| {
        config.carriers.insert(acme(), CarrierConfig { enabled: Some(true), ..CarrierConfig::default() });
    })
    .await;
    assert_eq!(world.one("ACME0001").await.class, OutcomeClass::CarrierDown);
    let record = budget_record(&world, |record| record.robots.contains_key("127.0.0.1")).await;
    let verdict = &record.robots["127.0.0.1"];
    assert!(!verdict.allowed && verdict.because.contains("503"), "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_date_of_change_is_asked_with_like_an_etag() {
    const DATE: &str = "Sun, 22 Nov 2026 04:00:00 GMT";
    let door = Door::open(|arrival: &Arrival| {
        let known = arrival.head.to_ascii_lowercase().contains("if-modified-since: sun, 22 nov 2026 04:00:00 gmt");
        let headers = [("content-type", "application/json"), ("last-modified", DATE)];
        match known {
            true => Reply::Raw(b"HTTP/1.1 304 Not Modified\r\n\r\n".to_vec()),
            false => Reply::Raw(answer(200, &headers, TRACKED.as_bytes())),
        }
    })
    .await;
    let world = World::quick(&door).await;
    let running = world.start();
    world.send(&[world.poll("acme", "ACME0001", 1)], Headers::new()).await;
    let first = world.results(1).await.remove(0);
    for attempt in 2..=3 {
        let mut again = world.poll("acme", "ACME0001", attempt);
        again.memories.fetcher = first.fetcher_memory.clone().unwrap();
        again.memories.normalizer = Memory(vec![1]);
        world.send(&[again], Headers::new()).await;
        let result = world.results(usize::try_from(attempt).unwrap()).await.pop().unwrap();
        assert!(result.class == OutcomeClass::Tracked && result.unchanged, "{:?}", result.detail);
    }
    running.stop().await;
}

/// The adapter of a world's carrier, changed and compiled.
fn changed(world: &World, change: impl FnOnce(String) -> String) -> (tempfile::TempDir, Catalog) {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("acme");
    std::fs::create_dir(&place).unwrap();
    let from = world.folder().join("acme");
    let text = change(std::fs::read_to_string(from.join("adapter.yaml")).unwrap());
    std::fs::write(place.join("adapter.yaml"), text).unwrap();
    std::fs::copy(from.join("mapping.yaml"), place.join("mapping.yaml")).unwrap();
    let catalog = Catalog::of_folder(folder.path()).unwrap();
    (folder, catalog)
}

fn reload(live: &LiveCatalog, overlays: &[PathBuf], candidates: &BTreeMap<CarrierSlug, PathBuf>) {
    let reloaded = live.reload(&Catalog::default(), (overlays, candidates), |_| Ok(()), WallMs::new(1));
    assert_eq!(reloaded.refused, vec![]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fet_1_requests_under_way_end_with_the_version_they_began_with() {
    let door = Door::open(|arrival: &Arrival| match arrival.path.contains("SLOW") {
        true => Reply::Late(Duration::from_millis(1_800), json(200, TRACKED)),
        false => Reply::Raw(json(200, TRACKED)),
    })
    .await;
    let world = World::quick(&door).await;
    let live = world.deps.catalog.clone();
    let old = live.get(&acme()).unwrap().version.clone();
    let running = world.start();
    world.send(&[world.poll("acme", "SLOW0001", 1)], Headers::new()).await;
    while door.arrivals().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (folder, _) = changed(&world, |text| text.replace("name: acme", "name: Acme"));
    reload(&live, &[folder.path().to_owned()], &BTreeMap::new());
    let new = live.get(&acme()).unwrap().version.clone();
    assert_ne!(old, new);
    // What was chosen is believed for a second; then the new version is at work, while the old one still reads.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    world.send(&[world.poll("acme", "ACME0001", 2)], Headers::new()).await;
    let results = world.results(2).await;
    let version = |number: &str| {
        let found = results.iter().find(|result| result.request.number.as_str() == number).unwrap();
        (found.class, found.source.adapter_version.clone())
    };
    assert_eq!(version("SLOW0001"), (OutcomeClass::Tracked, old));
    assert_eq!(version("ACME0001"), (OutcomeClass::Tracked, new));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_is_tried_on_its_share_and_numbers_stay_on_their_side() {
    let door = Door::open(|_| Reply::Raw(json(200, TRACKED))).await;
    let mut world = World::quick(&door).await;
    let policies = Arc::new(Live::default());
    world.deps.policies = policies.clone();
    // It reads half of the events.
    let (folder, _) = changed(&world, |text| text.replace("$.events[*]", "$.events[0]"));
    let candidates = BTreeMap::from([(acme(), folder.path().to_owned())]);
    reload(&world.deps.catalog, &[world.folder()], &candidates);
    let stable = world.deps.catalog.get(&acme()).unwrap().version.clone();
    let candidate = world.deps.catalog.now().candidates[&acme()].version.clone();
    let running = world.start();
    let mut attempt = 0;
    let mut round = async |mode: TrialMode, share: f64, stopped: Option<String>| {
        let canary = CanaryPolicy { share: Some(share), mode: Some(mode), promote: None };
        policies.0.lock().unwrap().canary = Some(canary);
        *policies.1.lock().unwrap() = stopped;
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        attempt += 1;
        let polls: Vec<_> = (0..40).map(|n| world.poll("acme", &format!("ACME{n:04}"), attempt)).collect();
        world.send(&polls, Headers::new()).await;
        let mut results = world.results(usize::try_from(attempt).unwrap() * 40).await;
        results.retain(|result| result.request.attempt == attempt);
        results.sort_by_key(|result| result.request.number.clone());
        results
    };
    let shadowed = round(TrialMode::Shadow, 0.5, None).await;
    // Nothing that is published comes from a shadow, and it costs no request.
    assert!(shadowed.iter().all(|result| result.source.adapter_version == stable && result.events.len() == 2));
    assert!(shadowed.iter().all(|result| result.spent == 1 && !result.source.candidate));
    let tried: Vec<bool> = shadowed.iter().map(|result| result.source.trial.is_some()).collect();
    let count = tried.iter().filter(|tried| **tried).count();
    assert!((8..=32).contains(&count), "about half: {count} of 40");
    let trial = shadowed.iter().find_map(|result| result.source.trial.clone()).unwrap();
    assert_eq!((trial.version.as_str(), trial.same), (candidate.as_str(), false));
    assert_eq!((trial.candidate.events, trial.control.events), (1, 2));

    let again = round(TrialMode::Shadow, 0.5, None).await;
    assert_eq!(again.iter().map(|result| result.source.trial.is_some()).collect::<Vec<_>>(), tried);
    let live = round(TrialMode::Live, 0.5, None).await;
    assert_eq!(live.iter().map(|result| result.source.candidate).collect::<Vec<_>>(), tried);
    let version = |candidate_reads: bool| if candidate_reads { &candidate } else { &stable };
    assert!(live.iter().all(|result| result.source.adapter_version == *version(result.source.candidate)));
    // One that was stopped is not tried any more, whatever its share.
    let stopped = round(TrialMode::Live, 1.0, Some(candidate.clone())).await;
    assert!(stopped.iter().all(|result| result.source.adapter_version == stable && result.source.trial.is_none()));
    running.stop().await;
}
