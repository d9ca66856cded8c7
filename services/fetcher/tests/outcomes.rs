//! What carriers do and what it comes to: every class, over a real connection.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use flate2::{Compression, write::GzEncoder};
use support::{Arrival, Door, Reply, TRACKED, World, answer, budget, json, one_step};
use waybill_fetcher::{CarrierConfig, Route};
use waybill_log::Headers;
use waybill_schemas::{
    Memory, OutcomeClass,
    fetch::{FetchResult, RequestKind},
    limits::MAX_ANSWER_BYTES,
    topics::names,
};

/// One look-up of a carrier that always answers so.
async fn one(reply: impl Fn() -> Reply + Send + Sync + 'static) -> (FetchResult, World, usize) {
    let door = Door::open(move |_| reply()).await;
    let world = World::quick(&door).await;
    let result = world.one("ACME0001").await;
    (result, world, door.arrivals().len())
}

async fn raw(bytes: Vec<u8>) -> (FetchResult, World, usize) {
    one(move || Reply::Raw(bytes.clone())).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reading_comes_with_its_events_its_memory_and_its_payload() {
    let (result, world, arrivals) = raw(json(200, TRACKED)).await;
    assert_eq!((result.class, result.spent, arrivals), (OutcomeClass::Tracked, 1, 1));
    assert_eq!(result.events[0].text, "Picked up");
    assert_eq!((result.source.source.as_str(), result.source.reader.as_str()), ("api", "json"));
    assert!(result.fetcher_memory.is_some_and(|memory| !memory.is_empty()));
    let payloads = world.records(names::PAYLOADS).await;
    assert_eq!(payloads[0].key_str(), result.payload.as_deref());
    let bytes = zstd::bulk::decompress(payloads[0].value.as_ref().unwrap(), 10_000).unwrap();
    assert_eq!(bytes, TRACKED.as_bytes());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_has_its_class() {
    for (status, body, class) in [
        (404, r#"{"error":"unknown number"}"#, OutcomeClass::NotFound),
        (200, "<html>moved</html>", OutcomeClass::Unreadable),
        (404, "nginx", OutcomeClass::Unreadable),
        (401, "{}", OutcomeClass::Blocked),
        (403, TRACKED, OutcomeClass::Blocked),
        (429, "", OutcomeClass::Throttled),
        (500, TRACKED, OutcomeClass::CarrierDown),
        (503, "", OutcomeClass::CarrierDown),
    ] {
        let (result, _, arrivals) = raw(json(status, body)).await;
        assert_eq!((result.class, arrivals), (class, 1), "{status} {body}: {:?}", result.detail);
        assert_eq!(result.fetcher_memory.is_some(), class.is_reading());
    }
    let (down, _, _) = one(|| Reply::Cut(Vec::new())).await;
    assert_eq!(down.class, OutcomeClass::CarrierDown, "{:?}", down.detail);
    let (down, _, _) = one(|| Reply::Cut(json(200, TRACKED)[..120].to_vec())).await;
    assert_eq!(down.class, OutcomeClass::CarrierDown, "{:?}", down.detail);
    let door = Door::open(|_| Reply::Hang).await;
    let sources = one_step("api", &format!("http://127.0.0.1:{}/t/{{number}}", door.port));
    let world = World::new(&[("acme", budget(100.0, 20, 8), sources)], |config| config.answer_timeout_s = 1).await;
    let down = world.one("ACME0001").await;
    assert_eq!(down.class, OutcomeClass::CarrierDown, "{:?}", down.detail);
    let mut invalid = TRACKED.as_bytes().to_vec();
    invalid[30] = 0xff;
    let (invalid, _, _) = raw(answer(200, &[("content-type", "application/json; charset=utf-8")], &invalid)).await;
    assert_eq!(invalid.class, OutcomeClass::Unreadable, "{:?}", invalid.detail);
    assert!(invalid.payload.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_listening_is_carrier_down() {
    // Bound and not listened on: nobody else can come to listen there.
    let taken = tokio::net::TcpSocket::new_v4().unwrap();
    taken.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = taken.local_addr().unwrap().port();
    let sources = one_step("api", &format!("http://127.0.0.1:{port}/{{number}}"));
    let world = World::new(&[("acme", budget(100.0, 20, 8), sources)], |_| {}).await;
    let result = world.one("ACME0001").await;
    assert_eq!((result.class, result.spent), (OutcomeClass::CarrierDown, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retry_after_blocks_the_budget_in_both_forms() {
    for status in [429, 503] {
        for value in ["3600".to_owned(), "Fri, 31 Dec 9999 23:59:59 GMT".to_owned()] {
            let header = value.clone();
            let door = Door::open(move |_| Reply::Raw(answer(status, &[("retry-after", &header)], b""))).await;
            let world = World::quick(&door).await;
            let running = world.start();
            world.send(&[world.poll("acme", "ACME0001", 1)], Headers::new()).await;
            let first = world.results(1).await.remove(0);
            assert_eq!(first.class, OutcomeClass::Throttled);
            let until = first.not_before.unwrap();
            assert!(until.since_ms(first.fetched_at) > 3_000_000, "{value}: {until}");
            world.send(&[world.poll("acme", "ACME0002", 2)], Headers::new()).await;
            let second = world.results(2).await.remove(1);
            assert_eq!((second.class, second.not_before, second.spent), (OutcomeClass::Deferred, Some(until), 0));
            assert_eq!(door.arrivals().len(), 1);
            // A new owner knows it from the record.
            running.kill().await;
            let running = world.start();
            world.send(&[world.poll("acme", "ACME0003", 3)], Headers::new()).await;
            assert_eq!(world.results(3).await[2].class, OutcomeClass::Deferred);
            running.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_unpacks_to_fifty_megabytes_is_unreadable() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..50 {
        encoder.write_all(&vec![b' '; 1 << 20]).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    let headers = [("content-encoding", "gzip"), ("content-type", "application/json")];
    let (result, world, _) = raw(answer(200, &headers, &bomb)).await;
    assert_eq!(result.class, OutcomeClass::Unreadable);
    assert!(result.detail.clone().unwrap().contains("too large"), "{:?}", result.detail);
    let payloads = world.records(names::PAYLOADS).await;
    assert_eq!(payloads[0].key_str(), result.payload.as_deref());
    let kept = zstd::bulk::decompress(payloads[0].value.as_ref().unwrap(), MAX_ANSWER_BYTES).unwrap();
    assert!(kept.len() <= MAX_ANSWER_BYTES);

    let (plain, _, _) = raw(answer(200, &[], &vec![b'x'; MAX_ANSWER_BYTES + 1])).await;
    assert!(plain.class == OutcomeClass::Unreadable && plain.detail.unwrap().contains("too large"));
    let (damaged, _, _) = raw(answer(200, &headers, b"\x1f\x8b\x08\x00 this is no gzip at all")).await;
    assert_eq!(damaged.class, OutcomeClass::Unreadable, "{:?}", damaged.detail);
    let (unasked, _, _) = raw(answer(200, &[("content-encoding", "br")], b"x")).await;
    assert!(unasked.detail.unwrap().contains("`br`"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redirects_are_followed_counted_and_bounded() {
    let door = Door::open(|arrival: &Arrival| {
        let to = |place: &str| Reply::Raw(answer(302, &[("location", place), ("set-cookie", "seen=1; Path=/")], b""));
        match arrival.path.as_str() {
            "/t/HOPS01" => to("/t/HOPS02"),
            "/t/HOPS02" => to("/t/HOPS03"),
            "/t/LOOP01" => to("/t/LOOP01"),
            "/t/AWAY01" => to("http://example.org/"),
            _ => Reply::Raw(json(200, TRACKED)),
        }
    })
    .await;
    let world = World::quick(&door).await;
    let running = world.start();
    let numbers = ["HOPS01", "LOOP01", "AWAY01"];
    for (attempt, number) in (1..).zip(numbers) {
        world.send(&[world.poll("acme", number, attempt)], Headers::new()).await;
    }
    let mut results = world.results(3).await;
    results.sort_by_key(|result| result.request.attempt);
    assert_eq!((results[0].class, results[0].spent), (OutcomeClass::Tracked, 3));
    assert_eq!((results[1].class, results[1].spent), (OutcomeClass::Unreadable, 6));
    // SEC-1: a host that the adapter does not declare is never asked.
    assert_eq!((results[2].class, results[2].spent), (OutcomeClass::Unreadable, 1));
    let spent: u32 = results.iter().map(|result| result.spent).sum();
    assert_eq!(door.arrivals().len(), spent as usize);
    let last = door.arrivals().into_iter().find(|arrival| arrival.path == "/t/HOPS03").unwrap();
    assert!(last.head.contains("cookie: seen=1"), "{}", last.head);
    assert!(last.head.contains("user-agent: waybill/"), "{}", last.head);
    // Cookies end with their look-up.
    let first = door.arrivals().into_iter().filter(|arrival| arrival.path == "/t/AWAY01");
    assert!(first.into_iter().all(|arrival| !arrival.head.contains("cookie:")));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sec_1_a_redirect_carries_keys_and_forms_to_no_other_host() {
    let door = Door::open(|arrival: &Arrival| {
        let port = arrival.head.lines().find_map(|line| line.strip_prefix("host: 127.0.0.1:"));
        let away = format!("http://localhost:{}/away", port.unwrap_or_default());
        let to = |status: u16, place: &str| Reply::Raw(answer(status, &[("location", place)], b""));
        match arrival.path.as_str() {
            "/t/ACME0001" => to(302, "/here"),
            "/t/ACME0002" => to(302, &away),
            "/t/ACME0003" => to(307, &away),
            _ => Reply::Raw(json(200, TRACKED)),
        }
    })
    .await;
    let sources = format!(
        "sources:\n  - name: api\n    kind: api\n    steps:\n      - {{name: page, post: \
         'http://127.0.0.1:{}/t/{{number}}', form: {{key: s3cret}}, headers: {{Authorization: s3cret, X-Key: s3cret}}}}\n",
        door.port
    );
    let world = World::new(&[("acme", budget(100.0, 20, 1), sources)], |_| {}).await;
    let running = world.start();
    for attempt in 1..=3 {
        world.send(&[world.poll("acme", &format!("ACME000{attempt}"), attempt)], Headers::new()).await;
        world.results(usize::try_from(attempt).unwrap()).await;
    }
    let classes: Vec<_> = world.results(3).await.iter().map(|result| result.class).collect();
    assert_eq!(classes, [OutcomeClass::Tracked, OutcomeClass::Tracked, OutcomeClass::Unreadable]);
    let keys = |path: &str| -> Vec<usize> {
        let arrivals = door.arrivals().into_iter().filter(|arrival| arrival.path == path);
        arrivals.map(|arrival| arrival.head.matches("s3cret").count()).collect()
    };
    assert_eq!((keys("/here"), keys("/away")), (vec![2], vec![0]), "{:?}", door.arrivals());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sec_1_private_addresses_are_not_reached_unless_allowed() {
    let door = Door::open(|_| Reply::Raw(json(200, TRACKED))).await;
    for host in ["127.0.0.1", "localhost"] {
        let sources = one_step("api", &format!("http://{host}:{}/t/{{number}}", door.port));
        let world = World::new(&[("acme", budget(100.0, 20, 8), sources)], |config| config.allow_private = false).await;
        let result = world.one("ACME0001").await;
        assert_eq!(result.class, OutcomeClass::CarrierDown);
        assert!(result.detail.clone().unwrap().contains("private"), "{:?}", result.detail);
    }
    assert!(door.arrivals().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_needs_no_carrier_is_answered_without_it() {
    let door = Door::open(|_| Reply::Raw(json(200, TRACKED))).await;
    let sources = one_step("api", &format!("http://127.0.0.1:{}/t/{{number}}", door.port));
    let world = World::new(&[("acme", budget(100.0, 20, 8), sources)], |config| {
        let off = CarrierConfig { enabled: Some(false), ..CarrierConfig::default() };
        config.carriers.insert("acme".parse().unwrap(), off);
    })
    .await;
    let mut requests = Vec::new();
    for (attempt, kind) in (1..).zip([RequestKind::Clock, RequestKind::Stop, RequestKind::Resume, RequestKind::Forget])
    {
        requests.push(waybill_schemas::fetch::FetchRequest { kind, ..world.poll("acme", "ACME0001", attempt) });
    }
    requests.push(world.poll("acme", "ACME0001", 10));
    requests.push(world.poll("nobody", "ACME0001", 11));
    let mut late = world.poll("acme", "ACME0001", 12);
    late.expires_at = world.deps.clocks.wall().plus_ms(-1);
    requests.push(late);
    let running = world.start();
    world.send(&requests, Headers::new()).await;
    let mut results = world.results(7).await;
    results.sort_by_key(|result| result.request.attempt);
    let classes: Vec<OutcomeClass> = results.iter().map(|result| result.class).collect();
    assert_eq!(classes[..4], [OutcomeClass::Internal; 4]);
    assert_eq!(classes[4..], [OutcomeClass::AdapterDisabled, OutcomeClass::AdapterDisabled, OutcomeClass::Expired]);
    assert!(door.arrivals().is_empty());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_answer_is_unchanged_and_304_as_well() {
    let door = Door::open(|arrival: &Arrival| {
        let headers = [("etag", "\"v7\""), ("content-type", "application/json")];
        if arrival.head.contains("if-none-match: \"v7\"") {
            return Reply::Raw(answer(304, &[("etag", "\"v7\"")], b""));
        }
        Reply::Raw(answer(200, &headers, TRACKED.as_bytes()))
    })
    .await;
    let world = World::quick(&door).await;
    let running = world.start();
    world.send(&[world.poll("acme", "ACME0001", 1)], Headers::new()).await;
    let first = world.results(1).await.remove(0);
    let mut again = world.poll("acme", "ACME0001", 2);
    again.memories.fetcher = first.fetcher_memory.clone().unwrap();
    again.memories.normalizer = Memory(vec![1]);
    world.send(&[again.clone()], Headers::new()).await;
    let second = world.results(2).await.remove(1);
    assert!(second.class == OutcomeClass::Tracked && second.unchanged && second.events.is_empty());
    assert_eq!(door.arrivals().len(), 2);
    // Without the normalizer's memory everything is told anew.
    again.attempt = 3;
    again.memories.normalizer = Memory::default();
    world.send(&[again.clone()], Headers::new()).await;
    let third = world.results(3).await.remove(2);
    assert!(!third.unchanged && third.events.len() == 2);
    // A memory that cannot be read is never taken as empty.
    again.attempt = 4;
    again.memories.fetcher = Memory(vec![99, 1, 2]);
    world.send(&[again], Headers::new()).await;
    let fourth = world.results(4).await.remove(3);
    assert_eq!((fourth.class, fourth.spent), (OutcomeClass::Deferred, 0));
    assert!(fourth.not_before.is_some() && fourth.fetcher_memory.is_none());
    assert_eq!(door.arrivals().len(), 3);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_kept_renewed_once_and_never_stored() {
    let tokens = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&tokens);
    let door = Door::open(move |arrival: &Arrival| {
        if arrival.path == "/token" {
            let number = counted.fetch_add(1, Ordering::SeqCst);
            return Reply::Raw(json(200, &format!(r#"{{"access":"tok-{number}"}}"#)));
        }
        // The first token is withdrawn after two look-ups.
        let withdrawn = arrival.path.contains("ACME0003") && arrival.head.contains("tok-0");
        if withdrawn { Reply::Raw(json(401, "{}")) } else { Reply::Raw(json(200, TRACKED)) }
    })
    .await;
    let base = format!("http://127.0.0.1:{}", door.port);
    let sources = format!(
        "sources:\n  - name: api\n    kind: api\n    steps:\n      - {{name: token, get: '{base}/token', take: {{access: \
         {{json: $.access}}}}, keep_s: 600}}\n      - {{name: detail, get: '{base}/t/{{number}}', headers: \
         {{Authorization: 'Bearer {{take.access}}'}}}}\n"
    );
    let world = World::new(&[("acme", budget(100.0, 20, 1), sources)], |_| {}).await;
    let running = world.start();
    for attempt in 1..=4 {
        world.send(&[world.poll("acme", &format!("ACME000{attempt}"), attempt)], Headers::new()).await;
        let result = world.results(usize::try_from(attempt).unwrap()).await.pop().unwrap();
        assert_eq!(result.class, OutcomeClass::Tracked, "{:?}", result.detail);
        assert_eq!(result.spent, [2, 1, 3, 1][usize::try_from(attempt).unwrap() - 1]);
    }
    assert_eq!(tokens.load(Ordering::SeqCst), 2);
    // SEC-1: no token in any payload.
    for record in world.records(names::PAYLOADS).await {
        let bytes = zstd::bulk::decompress(record.value.as_ref().unwrap(), 100_000).unwrap();
        assert!(!bytes.windows(4).any(|window| window == b"tok-"));
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_send_a_carrier_to_its_simulator() {
    let door = Door::open(|_| Reply::Raw(json(200, TRACKED))).await;
    let sources = one_step("page", "https://www.acme.example/track?id={number}");
    // Declared hosts of these worlds are on loopback only; nothing listens at that port's https.
    let sources = sources.replace("www.acme.example", "localhost");
    let to = format!("http://127.0.0.1:{}/{{carrier}}/{{source}}/{{step}}/{{number}}", door.port);
    let world = World::new(&[("acme", budget(100.0, 20, 8), sources)], |config| {
        config.routes.push(Route { carrier: "acme".parse().unwrap(), to, robots: None });
    })
    .await;
    let result = world.one("ACME0001").await;
    assert_eq!(result.class, OutcomeClass::Tracked, "{:?}", result.detail);
    assert_eq!(door.arrivals()[0].path, "/acme/api/page/ACME0001?id=ACME0001");
    assert_eq!(door.arrivals().len(), 1, "a routed carrier has no robots.txt unless its route says so");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_are_asked_only_as_robots_txt_allows() {
    for (robots, status, class, arrivals) in [
        ("User-agent: *\nDisallow: /t/\n", 200, OutcomeClass::RefusesAutomation, 1),
        ("User-agent: *\nDisallow: /private\n", 200, OutcomeClass::Tracked, 3),
        ("", 404, OutcomeClass::Tracked, 3),
        ("", 500, OutcomeClass::CarrierDown, 2),
    ] {
        let door = Door::open(move |arrival: &Arrival| match arrival.path.as_str() {
            "/robots.txt" => Reply::Raw(answer(status, &[], robots.as_bytes())),
            _ => Reply::Raw(json(200, TRACKED)),
        })
        .await;
        let sources = one_step("page", &format!("http://127.0.0.1:{}/t/{{number}}", door.port));
        let world = World::new(&[("acme", budget(100.0, 20, 1), sources)], |config| {
            let on = CarrierConfig { enabled: Some(true), ..CarrierConfig::default() };
            config.carriers.insert("acme".parse().unwrap(), on);
        })
        .await;
        let running = world.start();
        world.send(&[world.poll("acme", "ACME0001", 1), world.poll("acme", "ACME0002", 2)], Headers::new()).await;
        let results = world.results(2).await;
        assert!(results.iter().all(|result| result.class == class), "{robots} {status}: {results:?}");
        assert_eq!(door.arrivals().len(), arrivals, "robots.txt is asked once a day; 5xx is no answer");
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_of_a_page_leads_only_where_robots_txt_allows() {
    let door = Door::open(|arrival: &Arrival| match arrival.path.as_str() {
        "/robots.txt" => Reply::Raw(answer(200, &[], b"User-agent: *\nDisallow: /private/\n")),
        "/t/ACME0001" => Reply::Raw(answer(302, &[("location", "/private/ACME0001")], b"")),
        "/t/ACME0002" => Reply::Raw(answer(302, &[("location", "/open/ACME0002")], b"")),
        _ => Reply::Raw(json(200, TRACKED)),
    })
    .await;
    let sources = one_step("page", &format!("http://127.0.0.1:{}/t/{{number}}", door.port));
    let world = World::new(&[("acme", budget(100.0, 20, 1), sources)], |config| {
        let on = CarrierConfig { enabled: Some(true), ..CarrierConfig::default() };
        config.carriers.insert("acme".parse().unwrap(), on);
    })
    .await;
    let running = world.start();
    for attempt in 1..=2 {
        world.send(&[world.poll("acme", &format!("ACME000{attempt}"), attempt)], Headers::new()).await;
        world.results(usize::try_from(attempt).unwrap()).await;
    }
    let results = world.results(2).await;
    let ended: Vec<_> = results.iter().map(|result| (result.class, result.spent)).collect();
    assert_eq!(ended, [(OutcomeClass::RefusesAutomation, 2), (OutcomeClass::Tracked, 2)]);
    assert!(door.arrivals().iter().all(|arrival| !arrival.path.starts_with("/private/")), "{:?}", door.arrivals());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_carrier_that_hangs_holds_up_nobody_else() {
    let door = Door::open(|arrival: &Arrival| match arrival.path.starts_with("/slow/") {
        true => Reply::Hang,
        false => Reply::Raw(json(200, TRACKED)),
    })
    .await;
    let step = |name: &str| one_step("api", &format!("http://127.0.0.1:{}/{name}/{{number}}", door.port));
    let carriers = [("slow", budget(50.0, 2, 2), step("slow")), ("acme", budget(200.0, 50, 8), step("quick"))];
    let world = World::new(&carriers, |config| config.answer_timeout_s = 3_600).await;
    let running = world.start();
    let mut requests: Vec<_> = (1..40).map(|attempt| world.poll("slow", "SLOW0001", attempt)).collect();
    requests.extend((1..=50).map(|attempt| world.poll("acme", "ACME0001", attempt)));
    world.send(&requests, Headers::new()).await;
    // The other carrier's first numbers are given up only when nobody waits here any more.
    let results = world.results(50).await;
    let quick = results.iter().filter(|result| result.request.carrier.as_str() == "acme").count();
    assert_eq!(quick, 50);
    running.kill().await;
}
