//! Poison: requests that cannot be read, carriers in quarantine, and what a process may not send.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use support::{Door, PATIENCE, Reply, TRACKED, World, budget, json, one_step};
use tokio::time::Instant;
use waybill_fetcher::FetcherError;
use waybill_log::{
    Headers, NewRecord, TopicPartition,
    letters::Letter,
    records::{attempt_headers, produce_all},
};
use waybill_runtime::{ClockGate, clock_gate::Trust, poison::PoisonLimits};
use waybill_schemas::{OutcomeClass, topics::names};

fn limits() -> PoisonLimits {
    PoisonLimits { records: 3, window_s: 600, budgets: 2, envelopes: 4, quarantine_s: 600, longest_s: 600 }
}

async fn world(door: &Door, carriers: &[&str]) -> World {
    let sources = one_step("api", &format!("http://127.0.0.1:{}/t/{{number}}", door.port));
    let carriers: Vec<(&str, String, String)> =
        carriers.iter().map(|slug| (*slug, budget(100.0, 20, 8), sources.clone())).collect();
    World::new(&carriers, |config| config.poison = limits()).await
}

/// A request whose value is none, named by its key and, if it has one, its attempt.
async fn send_unreadable(world: &World, key: Option<&'static str>, attempt: Option<i64>) {
    let at = TopicPartition::new(world.deps.topics.of(names::FETCH_REQUESTS), 0);
    let headers = attempt.map(|attempt| attempt_headers(attempt, None)).unwrap_or_default();
    let record = NewRecord { at, key: key.map(Into::into), value: Some("{no json".into()), headers };
    produce_all(&*world.log, vec![record]).await.unwrap();
}

async fn letters(world: &World) -> Vec<Letter> {
    world.records(names::DEAD_LETTERS).await.iter().filter_map(Letter::of).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fet_1_an_unreadable_request_whose_key_and_headers_name_it_ends_as_unreadable() {
    let door = Door::open(|_| Reply::Raw(json(200, TRACKED))).await;
    let world = world(&door, &["acme"]).await;
    send_unreadable(&world, Some("acme:ACME0007"), Some(41)).await;
    send_unreadable(&world, Some("acme:ACME0008"), None).await;
    let running = world.start();
    world.send(&[world.poll("acme", "ACME0001", 1)], Headers::new()).await;
    let results = world.results(2).await;
    running.stop().await;
    let ended = results.iter().find(|result| result.request.attempt == 41).unwrap();
    assert_eq!((ended.class, ended.request.number.as_str()), (OutcomeClass::Unreadable, "ACME0007"));
    assert_eq!((ended.request_offset, ended.spent), (0, 0));
    assert!(ended.request.memories.normalizer.is_empty(), "nothing is made up");
    let letters = letters(&world).await;
    let details: Vec<&str> = letters.iter().map(|letter| letter.detail.as_str()).collect();
    assert!(details[0].contains("was answered `unreadable`"), "{details:?}");
    assert!(details[1].contains("nothing could answer it"), "{details:?}");
    let letter = &letters[0];
    assert_eq!((letter.reason.as_str(), letter.from.partition, letter.from_offset), ("request_unreadable", 0, 0));
    assert_eq!(letter.value.as_deref(), Some(b"{no json".as_slice()), "the original bytes");
    // Results name their attempt beside their value, so that the same holds one step further.
    let record = &world.records(names::FETCH_RESULTS).await[0];
    assert!(waybill_log::records::NamedAttempt::of(record).is_some_and(|named| named.request_offset.is_some()));
}

/// On one thread, so that the clock can be moved: the quarantine lasts longer than any pause of the machine.
#[tokio::test]
async fn too_much_poison_quarantines_its_carrier_alone_and_one_good_probe_brings_it_back() {
    let door = Door::open(|_| Reply::Raw(json(200, TRACKED))).await;
    let world = world(&door, &["acme", "other"]).await;
    for attempt in 0..3 {
        send_unreadable(&world, Some("acme:ACME0099"), Some(attempt)).await;
    }
    let running = world.start();
    world.results(3).await;
    world.send(&[world.poll("acme", "ACME0001", 1), world.poll("other", "ACME0001", 1)], Headers::new()).await;
    let results = world.results(5).await;
    let class = |carrier: &str| {
        let found = results
            .iter()
            .find(|result| result.request.carrier.as_str() == carrier && result.request.number.as_str() == "ACME0001");
        found.unwrap().class
    };
    assert_eq!((class("acme"), class("other")), (OutcomeClass::AdapterDisabled, OutcomeClass::Tracked));
    assert_eq!(door.arrivals().len(), 1, "a quarantined carrier is not asked");
    // After the quarantine one look is the probe; a good one ends it.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(601)).await;
    tokio::time::resume();
    world.send(&[world.poll("acme", "ACME0002", 1)], Headers::new()).await;
    assert_eq!(world.results(6).await[5].class, OutcomeClass::Tracked);
    world
        .send(&(3..9).map(|n| world.poll("acme", &format!("ACME000{n}"), 1)).collect::<Vec<_>>(), Headers::new())
        .await;
    let results = world.results(12).await;
    assert!(results[6..].iter().all(|result| result.class == OutcomeClass::Tracked), "{results:#?}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poison_of_several_budgets_or_of_envelopes_ends_the_fetcher_with_a_clear_error() {
    let door = Door::open(|_| Reply::Raw(json(200, TRACKED))).await;
    for keys in [[Some("acme:ACME0099"), Some("other:ACME0099")], [None, None]] {
        let world = world(&door, &["acme", "other"]).await;
        for key in keys.into_iter().cycle().take(6) {
            send_unreadable(&world, key, None).await;
        }
        let running = world.start();
        let ended = tokio::time::timeout(PATIENCE, running.task).await.unwrap().unwrap();
        let error = ended.unwrap_err();
        assert!(matches!(error, FetcherError::Poison(_)), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_clock_is_off_nothing_leaves_and_what_waits_is_sent_later_or_expires() {
    let door = Door::open(|_| Reply::Raw(json(200, TRACKED))).await;
    let mut world = world(&door, &["acme"]).await;
    world.deps.clock = ClockGate::closed();
    let running = world.start();
    let mut brief = world.poll("acme", "ACME0002", 1);
    brief.expires_at = world.deps.clocks.wall().plus_ms(700);
    world.send(&[world.poll("acme", "ACME0001", 1), brief], Headers::new()).await;
    let expired = world.results(1).await.remove(0);
    assert_eq!((expired.class, expired.request.number.as_str()), (OutcomeClass::Expired, "ACME0002"));
    assert_eq!(door.arrivals().len(), 0);
    world.deps.clock.set(Trust::Given);
    let began = Instant::now();
    let results = world.results(2).await;
    assert_eq!(results[1].class, OutcomeClass::Tracked, "it waited {:?}", began.elapsed());
    running.stop().await;
}

/// A look-up that has begun when sending is forbidden goes back to the queue: its attempt is answered all the same (FET-1).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fet_1_a_look_up_cut_off_between_two_requests_is_done_again_when_sending_is_allowed() {
    let gate = ClockGate::default();
    let closing = gate.clone();
    let door = Door::open(move |arrival| {
        if arrival.path.contains("/first") {
            // The second step finds the gate closed.
            closing.set(Trust::Withheld);
            let opening = closing.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(600)).await;
                opening.set(Trust::Given);
            });
            return Reply::Raw(json(200, r#"{"token":"t"}"#));
        }
        Reply::Raw(json(200, TRACKED))
    })
    .await;
    let port = door.port;
    let sources = format!(
        "sources:\n  - name: api\n    kind: api\n    steps:\n      \
         - {{name: token, get: 'http://127.0.0.1:{port}/first', keep_s: 60, take: {{token: {{json: $.token}}}}}}\n      \
         - {{name: page, get: 'http://127.0.0.1:{port}/t/{{number}}', headers: {{Authorization: 'Bearer {{take.token}}'}}}}\n"
    );
    let mut world = World::new(&[("acme", budget(100.0, 20, 8), sources)], |_| {}).await;
    world.deps.clock = gate;
    let running = world.start();
    world.send(&[world.poll("acme", "ACME0001", 1)], Headers::new()).await;
    let results = tokio::time::timeout(PATIENCE * 2 / 3, world.results(1)).await;
    let results = results.unwrap_or_else(|_| panic!("it has no answer: {:#?}", door.arrivals()));
    running.stop().await;
    assert_eq!(results[0].class, OutcomeClass::Tracked, "{results:#?}");
    assert_eq!(world.all_results().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pol_1_a_partition_whose_budgets_cannot_be_read_is_refused_loudly_and_held() {
    let door = Door::open(|_| Reply::Raw(json(200, TRACKED))).await;
    let world = world(&door, &["acme"]).await;
    let at = TopicPartition::new(world.deps.topics.of(names::CARRIERS), 0);
    let broken = NewRecord { at, key: Some("acme/fetcher".into()), value: Some("{".into()), headers: Headers::new() };
    produce_all(&*world.log, vec![broken]).await.unwrap();
    world.send(&[world.poll("acme", "ACME0001", 1)], Headers::new()).await;
    let running = world.start();
    let began = Instant::now();
    let note = loop {
        let report = world.deps.health.report();
        let found = report.iter().find(|component| component.note.contains("cannot be restored"));
        if let Some(found) = found {
            assert!(!found.ready && found.live);
            if found.up {
                break found.note.clone();
            }
        }
        assert!(began.elapsed() < PATIENCE, "{report:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(note.contains("waybill.carriers/0") && note.contains("offset 0"), "{note}");
    assert!(world.deps.health.has_started(), "a restart would find the same: nobody should try one");
    assert_eq!((door.arrivals().len(), world.all_results().await.len()), (0, 0));
    running.stop().await;
}
