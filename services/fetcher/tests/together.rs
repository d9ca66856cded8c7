//! What the engine understands of asking, over a real connection: several numbers in one request, tokens that live as long
//! as their answer says, years that are not printed, and what tells of people.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use jiff::{ToSpan as _, Zoned, tz::TimeZone};
use support::{Arrival, Door, Reply, World, budget, json};
use waybill_fetcher::{CarrierConfig, Route};
use waybill_log::Headers;
use waybill_runtime::clock_gate::Trust;
use waybill_schemas::{
    OutcomeClass,
    fetch::{FetchRequest, FetchResult, RequestKind},
    topics::names,
};

/// A source that takes up to four numbers, and its reader; `absent` is what a number comes to that the answer leaves out.
fn takes_four(port: u16, absent: &str) -> String {
    format!(
        r#"sources:
  - name: many
    kind: api
    batch: {{max: 4}}
    steps:
      - {{name: page, get: 'http://127.0.0.1:{port}/t', query: {{ids: '{{numbers}}'}}}}
readers:
  - name: many
    shape: json
    accept: {{has: [$.parcels]}}
    scope: {{each: '$.parcels[*]', number: id, pick: none, absent: {absent}}}
    order: newest_first
    times: {{formats: ['%Y-%m-%d %H:%M']}}
    tables:
      - {{rows: '$.events[*]', time: time, text: text}}
  - name: error
    shape: json
    accept: {{has: [$.error]}}
    not_found:
      - when: {{text: $.error, matches: malformed}}
"#
    )
}

/// The numbers that a request asks for.
fn asked(arrival: &Arrival) -> Vec<String> {
    let query = arrival.path.split_once("ids=").map(|(_, ids)| ids.to_owned()).unwrap_or_default();
    query.replace("%2C", ",").split(',').map(str::to_owned).collect()
}

/// An answer about these numbers, each with an event of its own.
fn about(numbers: &[String]) -> Vec<u8> {
    let parcel = |number: &String| {
        format!(r#"{{"id":"{number}","events":[{{"time":"2026-01-01 10:00","text":"Seen {number}"}}]}}"#)
    };
    json(200, &format!(r#"{{"parcels":[{}]}}"#, numbers.iter().map(parcel).collect::<Vec<_>>().join(",")))
}

fn numbers(count: usize) -> Vec<String> {
    (1..=count).map(|index| format!("ACME{index:04}")).collect()
}

/// One poll of each number. Nothing leaves before all of them wait, so that who goes with whom is not a matter of luck.
async fn all(world: &World, numbers: &[String]) -> BTreeMap<String, FetchResult> {
    world.deps.clock.set(Trust::Withheld);
    let running = world.start();
    let mut requests: Vec<_> =
        (1..).zip(numbers).map(|(attempt, number)| world.poll("acme", number, attempt)).collect();
    // This one needs no carrier: it is answered at once when its turn comes, and then those before it wait.
    requests.push(FetchRequest { kind: RequestKind::Clock, ..world.poll("acme", "ACME9999", 1) });
    world.send(&requests, Headers::new()).await;
    assert_eq!(world.results(1).await[0].request.kind, RequestKind::Clock);
    world.deps.clock.set(Trust::Given);
    world.results(requests.len()).await;
    running.stop().await;
    // Repeats would show here.
    let mut results = world.all_results().await;
    results.retain(|result| result.request.kind == RequestKind::Poll);
    assert_eq!(results.len(), numbers.len(), "FET-1: one result for each attempt");
    results.into_iter().map(|result| (result.request.number.as_str().to_owned(), result)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pol_1_sch_2_fet_1_numbers_that_wait_share_a_request_and_each_has_its_own_result() {
    let door = Door::open(|arrival| {
        let wanted: Vec<String> = asked(arrival).into_iter().filter(|number| number != "ACME0005").collect();
        Reply::Raw(about(&wanted))
    })
    .await;
    let world = World::new(&[("acme", budget(4.0, 1, 1), takes_four(door.port, "not_found"))], |_| {}).await;
    let numbers = numbers(13);
    let results = all(&world, &numbers).await;

    let arrivals = door.arrivals();
    let each: Vec<String> = arrivals.iter().flat_map(asked).collect();
    assert_eq!(each.len(), 13, "SCH-2: no number is asked for twice");
    assert_eq!(each.iter().collect::<BTreeSet<_>>().len(), 13);
    assert!(arrivals.iter().all(|arrival| asked(arrival).len() <= 4));
    assert!((4..=7).contains(&arrivals.len()), "{} requests for 13 numbers", arrivals.len());
    // Half a request for what the way to the door may take longer for one than for another.
    let over = arrivals.last().unwrap().at.duration_since(arrivals[0].at).as_secs_f64();
    assert!(arrivals.len() as f64 <= over * 4.0 + 1.5, "POL-1: {} requests in {over:.2} s", arrivals.len());

    for (number, result) in &results {
        if number == "ACME0005" {
            assert_eq!(result.class, OutcomeClass::NotFound, "{:?}", result.detail);
        } else {
            assert_eq!((result.class, result.events.len()), (OutcomeClass::Tracked, 1), "{:?}", result.detail);
            assert_eq!(result.events[0].text, format!("Seen {number}"));
        }
    }
    let spent: u32 = results.values().map(|result| result.spent).sum();
    assert_eq!(spent as usize, arrivals.len(), "what was spent is told once");
    // What they share is kept once, and each result points to it.
    let kept: Vec<String> =
        world.records(names::PAYLOADS).await.iter().filter_map(|record| record.key_str().map(str::to_owned)).collect();
    assert_eq!(kept.len(), arrivals.len());
    assert!(results.values().all(|result| result.payload.as_ref().is_some_and(|hash| kept.contains(hash))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fet_1_a_number_that_the_answer_leaves_out_is_asked_alone_once() {
    // Of several it tells of the first; of one number never.
    let door = Door::open(|arrival| {
        let first = asked(arrival)[..1].to_vec();
        Reply::Raw(about(if first == ["ACME0004"] { &[] } else { &first }))
    })
    .await;
    let world = World::new(&[("acme", budget(20.0, 1, 1), takes_four(door.port, "unreadable"))], |_| {}).await;
    let results = all(&world, &numbers(6)).await;
    for (number, result) in &results {
        let class = if number == "ACME0004" { OutcomeClass::Unreadable } else { OutcomeClass::Tracked };
        assert_eq!(result.class, class, "{number}: {:?}", result.detail);
    }
    let spent: u32 = results.values().map(|result| result.spent).sum();
    assert_eq!(spent as usize, door.arrivals().len(), "what was spent in vain is told as well");
    let alone = door.arrivals().iter().filter(|arrival| asked(arrival) == ["ACME0004"]).count();
    assert!(alone <= 1, "{alone} requests for the number that is never told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fet_1_an_answer_that_tells_nothing_of_any_number_is_followed_by_one_look_each() {
    let door = Door::open(|arrival| match asked(arrival) {
        wanted if wanted.iter().any(|number| number == "ACME0003") => {
            Reply::Raw(json(400, r#"{"error":"malformed number"}"#))
        }
        wanted => Reply::Raw(about(&wanted)),
    })
    .await;
    let world = World::new(&[("acme", budget(20.0, 1, 1), takes_four(door.port, "not_found"))], |_| {}).await;
    let results = all(&world, &numbers(6)).await;
    for (number, result) in &results {
        let class = if number == "ACME0003" { OutcomeClass::NotFound } else { OutcomeClass::Tracked };
        assert_eq!(result.class, class, "{number}: {:?}", result.detail);
    }
    let spent: u32 = results.values().map(|result| result.spent).sum();
    assert_eq!(spent as usize, door.arrivals().len(), "what was spent for nothing is told as well");
    let several = door.arrivals().iter().filter(|arrival| asked(arrival).len() > 1).count();
    assert!(several <= 2, "{several} requests for several numbers, of which one had told nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_says_whether_several_numbers_may_stand_in_it() {
    for (place, together) in [("{number}", false), ("{numbers}", true)] {
        let door = Door::open(|arrival| Reply::Raw(about(&asked(arrival)))).await;
        let to = format!("http://127.0.0.1:{}/{{carrier}}/{place}", door.port);
        let world = World::new(&[("acme", budget(20.0, 1, 1), takes_four(1, "not_found"))], |config| {
            config.routes = vec![Route { carrier: "acme".parse().unwrap(), to, robots: None }];
        })
        .await;
        let results = all(&world, &numbers(9)).await;
        assert!(results.values().all(|result| result.class == OutcomeClass::Tracked));
        assert_eq!(door.arrivals().len() < 9, together, "{} requests", door.arrivals().len());
        let named = |arrival: &Arrival| arrival.path.split('?').next().unwrap_or_default().matches("ACME").count();
        assert!(door.arrivals().iter().all(|arrival| named(arrival) == asked(arrival).len()));
    }
}

/// A source whose token is kept, for as long as its answer says.
fn with_token(port: u16) -> String {
    format!(
        r#"sources:
  - name: api
    kind: api
    steps:
      - name: token
        get: http://127.0.0.1:{port}/token
        take: {{access: {{json: $.access}}, life: {{json: $.life}}}}
        keep_s: 7200
        keep_from: life
      - {{name: page, get: 'http://127.0.0.1:{port}/t/{{number}}', headers: {{x-token: '{{take.access}}'}}}}
readers:
  - name: json
    shape: json
    accept: {{has: [$.events]}}
    order: newest_first
    times: {{formats: ['%Y-%m-%d %H:%M']}}
    tables:
      - {{rows: '$.events[*]', time: time, text: text}}
  - name: fault
    shape: json
    accept: {{has: [$.fault]}}
    blocked:
      - when: {{text: $.fault, matches: token}}
"#
    )
}

/// A door that hands out tokens `t1`, `t2`, … of this life, and takes those that `good` likes; others are told so in a 200.
async fn token_door(life: u32, good: impl Fn(&str) -> bool + Send + Sync + 'static) -> (Door, Arc<AtomicU32>) {
    let tokens = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&tokens);
    let door = Door::open(move |arrival| {
        if arrival.path == "/token" {
            let number = counted.fetch_add(1, Ordering::SeqCst) + 1;
            return Reply::Raw(json(200, &format!(r#"{{"access":"t{number}","life":{life}}}"#)));
        }
        let head = arrival.head.to_ascii_lowercase();
        let token = head.lines().find_map(|line| line.strip_prefix("x-token: ")).unwrap_or_default();
        if good(token) {
            Reply::Raw(json(200, support::TRACKED))
        } else {
            Reply::Raw(json(200, r#"{"fault":"the token has been withdrawn"}"#))
        }
    })
    .await;
    (door, tokens)
}

/// Polls one number after the other.
async fn in_turn(world: &World, count: i64) -> Vec<FetchResult> {
    let running = world.start();
    let mut results = Vec::new();
    for attempt in 1..=count {
        world.send(&[world.poll("acme", &format!("ACME{attempt:04}"), attempt)], Headers::new()).await;
        results = world.results(usize::try_from(attempt).unwrap()).await;
    }
    running.stop().await;
    results
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_token_that_is_refused_in_the_words_of_a_200_is_taken_anew_once() {
    let looks = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&looks);
    // The first token is withdrawn after two look-ups.
    let (door, tokens) = token_door(3_600, move |token| match token {
        "t1" => seen.fetch_add(1, Ordering::SeqCst) < 2,
        _ => true,
    })
    .await;
    let world = World::new(&[("acme", budget(100.0, 20, 1), with_token(door.port))], |_| {}).await;
    let results = in_turn(&world, 4).await;
    let ended: Vec<_> = results.iter().map(|result| (result.class, result.spent)).collect();
    let tracked = |spent| (OutcomeClass::Tracked, spent);
    assert_eq!(ended, [tracked(2), tracked(1), tracked(3), tracked(1)]);
    assert_eq!(tokens.load(Ordering::SeqCst), 2);

    // A carrier that refuses the new one as well has refused: no third is asked for.
    let looks = Arc::new(AtomicU32::new(0));
    let (door, tokens) = token_door(3_600, move |_| looks.fetch_add(1, Ordering::SeqCst) < 1).await;
    let world = World::new(&[("acme", budget(100.0, 20, 1), with_token(door.port))], |_| {}).await;
    let results = in_turn(&world, 2).await;
    let ended: Vec<_> = results.iter().map(|result| (result.class, result.spent)).collect();
    assert_eq!(ended, [tracked(2), (OutcomeClass::Blocked, 3)]);
    assert_eq!(tokens.load(Ordering::SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_lives_as_long_as_its_answer_says() {
    for (life, taken) in [(3_600, 1), (20, 3)] {
        let (door, tokens) = token_door(life, |_| true).await;
        let world = World::new(&[("acme", budget(100.0, 20, 1), with_token(door.port))], |_| {}).await;
        let results = in_turn(&world, 3).await;
        assert!(results.iter().all(|result| result.class == OutcomeClass::Tracked));
        assert_eq!(tokens.load(Ordering::SeqCst), taken, "a life of {life} s");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn look_ups_that_begin_together_take_one_token() {
    let (door, tokens) = token_door(3_600, |_| true).await;
    let world = World::new(&[("acme", budget(100.0, 20, 8), with_token(door.port))], |_| {}).await;
    let results = all(&world, &numbers(6)).await;
    assert!(results.values().all(|result| result.class == OutcomeClass::Tracked), "{results:?}");
    assert_eq!(tokens.load(Ordering::SeqCst), 1);
}

/// One step, and a reader that knows neither years nor shame.
fn page_without_years(port: u16) -> String {
    format!(
        r#"sources:
  - name: api
    kind: api
    steps:
      - {{name: page, get: 'http://127.0.0.1:{port}/t/{{number}}'}}
readers:
  - name: json
    shape: json
    accept: {{has: [$.events]}}
    order: newest_first
    times: {{formats: ['%d.%m. %H:%M'], year: inferred}}
    tables:
      - {{rows: '$.events[*]', time: time, text: text}}
    facts:
      private: {{signed_by: $.signature, consignee: $.to}}
"#
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nrm_5_a_year_that_is_not_printed_follows_from_the_look_and_is_marked() {
    #[allow(clippy::disallowed_methods, reason = "the fetcher under test reads the system's clock too")]
    let day = Zoned::now().with_time_zone(TimeZone::UTC).date().checked_sub(200.days()).unwrap();
    let body = format!(
        r#"{{"events":[{{"time":"{:02}.{:02}. 10:30","text":"Handed over"}}],"signature":"A. Nobody","to":"B. Nobody"}}"#,
        day.day(),
        day.month()
    );
    for listed in [vec![], vec!["signed_by".to_owned()]] {
        let body = body.clone();
        let door = Door::open(move |_| Reply::Raw(json(200, &body))).await;
        let private = listed.clone();
        let world = World::new(&[("acme", budget(100.0, 20, 8), page_without_years(door.port))], |config| {
            config.carriers.insert("acme".parse().unwrap(), CarrierConfig { private, ..CarrierConfig::default() });
        })
        .await;
        let result = world.one("ACME0001").await;
        let time = result.events[0].time.clone().unwrap();
        assert_eq!((time.iso, time.year_inferred), (format!("{day}T10:30+00:00"), true));
        // Who signed is told only where the operator asked for it, and nothing else of it.
        let told: Vec<_> = result.facts.private.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let wanted: &[(&str, &str)] = if listed.is_empty() { &[] } else { &[("signed_by", "A. Nobody")] };
        assert_eq!(told, wanted);
    }
}
