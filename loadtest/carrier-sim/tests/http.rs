//! Over real HTTP: right answers, misbehaviour, the ledger and the admin endpoints.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "reads what its own simulator answers")]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use waybill_carrier_sim::{
    AnswerKind, Config, DAY, End, JourneyMap, Misbehaviour, Parcel, PlanConfig, Replay, RetryAfter, Rule, Simulator,
    fullest_window, wall_now_ms,
};

/// An answer as it came over the wire.
#[derive(Debug)]
struct Raw {
    status: u16,
    head: String,
    body: Vec<u8>,
    /// The body has the announced length, or its last chunk.
    whole: bool,
}

impl Raw {
    fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.trim())
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A client without manners or cleverness, so that nothing of what the server does is smoothed over.
fn send(address: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> Raw {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(180))).unwrap();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: sim\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut all = Vec::new();
    let ended = stream.read_to_end(&mut all);
    let split = all.windows(4).position(|window| window == b"\r\n\r\n").map_or(all.len(), |at| at + 4);
    let head = String::from_utf8_lossy(&all[..split]).into_owned();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    let body = all[split..].to_vec();
    let mut raw = Raw { status, head, body, whole: false };
    raw.whole = ended.is_ok()
        && match (raw.header("content-length"), raw.header("transfer-encoding")) {
            (Some(length), _) => length.parse() == Ok(raw.body.len()),
            (None, Some(_)) => raw.body.ends_with(b"0\r\n\r\n"),
            (None, None) => status != 0,
        };
    raw
}

fn get(simulator: &Simulator, path: &str) -> Raw {
    send(simulator.addr(), "GET", path, "", "")
}

fn path_of(parcel: &Parcel, step: &str) -> String {
    format!("/{}/page/{step}/{}", parcel.carrier, parcel.number)
}

/// A simulator in which everything has happened already.
fn arrived() -> Config {
    let now = wall_now_ms();
    let clock = JourneyMap { anchor_ms: now - 45 * DAY, start_ms: now - 45 * DAY, scale: 1.0 };
    Config::new(PlanConfig::new(4, 200, clock))
}

fn parcel_of<'p>(parcels: &'p [Parcel], slug: &str) -> &'p Parcel {
    let fits = |parcel: &&Parcel| parcel.carrier == slug && parcel.end == End::Delivered && !parcel.page_changes;
    parcels.iter().find(fits).unwrap()
}

#[test]
fn what_is_answered_is_in_the_ledger_and_arrivals_are_counted() {
    let simulator = Simulator::start(arrived()).unwrap();
    let plan = simulator.plan();
    let parcel = parcel_of(plan.parcels(), "aurora-post");
    let answer = get(&simulator, &path_of(parcel, "page"));
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let shown = simulator.ledger().events_of(parcel.carrier, &parcel.number);
    assert!(shown.len() >= 5, "{shown:?}");
    assert!(
        shown
            .iter()
            .filter_map(|event| event.location.as_ref())
            .all(|place| answer.text().contains(&place.replace('&', "&amp;")))
    );
    assert_eq!(get(&simulator, "/aurora-post/page/page/AP000GB").status, 200);
    assert_eq!(get(&simulator, "/aurora-post/page/summary/AP000GB").status, 404);
    assert_eq!(get(&simulator, "/nobody/page/page/AP000GB").status, 404);
    let arrivals = simulator.ledger().arrivals(&["aurora-post"]);
    assert_eq!(arrivals.len(), 3);
    assert!(fullest_window(&arrivals, 1_000.0, 3).held());
    let kinds: Vec<AnswerKind> = simulator.ledger().answers().into_iter().map(|answered| answered.kind).collect();
    assert_eq!(kinds, [AnswerKind::Events, AnswerKind::NotFound, AnswerKind::Unknown]);
    let truth = simulator.truth();
    let known = truth.iter().find(|truth| truth.number == parcel.number).unwrap();
    assert!(known.end_shown && known.events == shown);
    assert!(truth.iter().filter(|truth| truth.end_shown).count() == 1);

    for (what, lines) in [("parcels", 200), ("truth", 200), ("ledger", 3)] {
        assert_eq!(get(&simulator, &format!("/_sim/{what}")).text().lines().count(), lines, "{what}");
    }
    let politeness = get(&simulator, "/_sim/politeness?carrier=aurora-post&rate=1000&burst=3");
    let politeness: serde_json::Value = serde_json::from_slice(&politeness.body).unwrap();
    assert_eq!((politeness["requests"].as_u64(), politeness["over"].as_u64()), (Some(3), Some(0)));
    let arrived: serde_json::Value = serde_json::from_slice(&get(&simulator, "/_sim/arrivals").body).unwrap();
    assert_eq!(arrived["aurora-post"].as_array().map(Vec::len), Some(3));
    assert_eq!(get(&simulator, "/_sim/health").status, 200);
    simulator.stop();
}

#[test]
fn an_entity_tag_saves_the_body() {
    let simulator = Simulator::start(arrived()).unwrap();
    let plan = simulator.plan();
    let parcel = parcel_of(plan.parcels(), "cobalt-cargo");
    let path = path_of(parcel, "page");
    let first = get(&simulator, &path);
    let tag = first.header("etag").unwrap().to_owned();
    let second = send(simulator.addr(), "GET", &path, &format!("if-none-match: {tag}\r\n"), "");
    assert_eq!((second.status, second.body.len()), (304, 0));
    assert_eq!(simulator.ledger().answers()[1].kind, AnswerKind::NotModified);
    simulator.stop();
}

#[test]
fn misbehaviour_is_what_it_says() {
    let simulator = Simulator::start(arrived()).unwrap();
    let plan = simulator.plan();
    let parcel = parcel_of(plan.parcels(), "aurora-post");
    let right = get(&simulator, &path_of(parcel, "page"));
    assert!(right.whole);
    let with = |misbehaviour: Misbehaviour| {
        simulator.behave();
        simulator.misbehave(Rule::new(misbehaviour).carrier("aurora-post").times(1)).unwrap();
        get(&simulator, &path_of(parcel, "page"))
    };
    let throttled = |retry_after| Misbehaviour::Throttled { retry_after, seconds: 7 };
    assert_eq!(with(throttled(RetryAfter::Seconds)).header("retry-after"), Some("7"));
    let date = with(throttled(RetryAfter::Date));
    assert_eq!((date.status, date.header("retry-after").unwrap().ends_with(" GMT")), (429, true));
    assert_eq!(with(throttled(RetryAfter::Absent)).header("retry-after"), None);
    let unavailable = Misbehaviour::Unavailable { retry_after: RetryAfter::Seconds, seconds: 3 };
    assert_eq!(with(unavailable).status, 503);
    assert_eq!(with(Misbehaviour::Broken).status, 500);
    let hung = with(Misbehaviour::Hang { seconds: 1 });
    assert!(!hung.whole && hung.body.is_empty(), "{hung:?}");
    let slow = with(Misbehaviour::Slow { seconds: 1 });
    assert!(slow.whole && slow.text().contains("table id=\"history\""));
    let cut = with(Misbehaviour::Cut);
    assert!(!cut.whole && right.body.len() > cut.body.len() && !cut.body.is_empty(), "{cut:?}");
    assert_eq!(with(Misbehaviour::Captcha { status: 403 }).status, 403);
    let captcha = with(Misbehaviour::Captcha { status: 200 });
    assert!(captcha.status == 200 && captcha.text().contains("captcha"));
    let changed = with(Misbehaviour::ChangedLayout);
    assert!(changed.status == 200 && changed.text().contains("<x-app>") && !changed.text().contains("table id"));
    let bomb = with(Misbehaviour::GzipBomb { megabytes: 50 });
    assert_eq!(bomb.header("content-encoding"), Some("gzip"));
    assert!(bomb.whole && bomb.body.len() < 200_000, "{}", bomb.body.len());
    let mut unpacked = 0;
    let mut decoder = flate2::read::GzDecoder::new(bomb.body.as_slice());
    let mut piece = vec![0; 1 << 16];
    while let Ok(read @ 1..) = decoder.read(&mut piece) {
        unpacked += read;
    }
    assert_eq!(unpacked, 50 << 20);
    assert!(with(Misbehaviour::Huge { megabytes: 50 }).body.len() >= 50 << 20);
    assert!(std::str::from_utf8(&with(Misbehaviour::InvalidUtf8).body).is_err());
    let redirect = with(Misbehaviour::Redirect);
    assert_eq!(redirect.status, 302);
    let second = get(&simulator, redirect.header("location").unwrap());
    assert!(second.status == 200 && second.text().contains("table id=\"history\""));
    assert!(with(Misbehaviour::RedirectAway).header("location").unwrap().starts_with("http://169.254."));
    let empty = with(Misbehaviour::Empty);
    assert_eq!((empty.status, empty.body.len()), (200, 0));

    // Every one of them was a request, and none but the readable ones showed events.
    assert_eq!(simulator.ledger().arrivals(&["aurora-post"]).len(), 19);
    let names =
        simulator.ledger().answers().into_iter().filter(|answered| matches!(answered.kind, AnswerKind::Misbehaved(_)));
    assert_eq!(names.count(), 17);
    simulator.stop();
}

#[test]
fn rules_come_and_go_over_http() {
    let simulator = Simulator::start(arrived()).unwrap();
    let plan = simulator.plan();
    let parcel = parcel_of(plan.parcels(), "polar-fox-post");
    let rule = format!("{{\"number\":\"{}\",\"what\":\"broken\"}}", parcel.number);
    let json = "content-type: application/json\r\n";
    assert_eq!(send(simulator.addr(), "POST", "/_sim/misbehave", json, &rule).status, 200);
    assert_eq!(send(simulator.addr(), "POST", "/_sim/misbehave", json, "{\"what\":\"dance\"}").status, 422);
    assert!(get(&simulator, "/_sim/misbehave").text().contains("broken"));
    assert_eq!(get(&simulator, &path_of(parcel, "page")).status, 500);
    assert_eq!(send(simulator.addr(), "DELETE", "/_sim/misbehave", "", "").status, 204);
    assert_eq!(get(&simulator, &path_of(parcel, "page")).status, 200);
    simulator.stop();
}

#[test]
fn recorded_bytes_come_back_beside_generated_ones() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("bodies")).unwrap();
    std::fs::write(folder.path().join("bodies/a.html"), b"<p>\xed\x95\x9c</p>").unwrap();
    std::fs::write(folder.path().join("bodies/b.json"), b"{\"x\":1}").unwrap();
    let line = r#"{"id":"c-1","carrier":"some-post","number":"ab 12-3","source":"s","bodies":[
        {"role":"token","file":"bodies/a.html","content_type":"text/html","charset":"utf-8"},
        {"role":"detail","file":"bodies/b.json","content_type":"application/json","charset":"utf-8"}]}"#;
    let expected = folder.path().join("expected.jsonl");
    std::fs::write(&expected, line.replace('\n', " ")).unwrap();
    let mut config = arrived();
    config.replay = Replay::load(folder.path(), &expected, None).unwrap();
    assert_eq!(Replay::load(folder.path(), &expected, Some("t")).unwrap().cases().count(), 0);
    let simulator = Simulator::start(config).unwrap();
    let token = get(&simulator, "/some-post/page/token/AB123");
    assert_eq!(
        (token.header("content-type"), token.body.as_slice()),
        (Some("text/html; charset=utf-8"), "<p>한</p>".as_bytes())
    );
    assert_eq!(get(&simulator, "/some-post/api/detail/AB-12-3").text(), "{\"x\":1}");
    assert_eq!(get(&simulator, "/some-post/api/page/AB123").status, 404);
    assert_eq!(get(&simulator, "/some-post/api/detail/OTHER").status, 404);
    let plan = simulator.plan();
    assert_eq!(get(&simulator, &path_of(parcel_of(plan.parcels(), "moonhare-parcel"), "page")).status, 200);
    simulator.stop();
}

#[test]
fn every_recorded_body_is_answered_byte_for_byte() {
    let Some(folder) = std::env::var_os("WAYBILL_RECORDED").map(std::path::PathBuf::from) else { return };
    let mut config = arrived();
    config.replay = Replay::load(&folder, &folder.join("expected.jsonl"), None).unwrap();
    let cases: Vec<_> = config.replay.cases().cloned().collect();
    let simulator = Simulator::start(config).unwrap();
    for case in &cases {
        for body in &case.bodies {
            let answer = get(&simulator, &format!("/{}/page/{}/{}", case.carrier, body.step, case.number));
            assert_eq!((answer.status, &answer.body[..]), (200, &body.bytes[..]), "{}", case.id);
        }
    }
    simulator.stop();
}

#[test]
fn the_ledger_goes_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let config = || {
        let mut plan = PlanConfig::new(
            4,
            200,
            JourneyMap { anchor_ms: 1_780_000_000_000, start_ms: 1_780_000_000_000, scale: 1.0 },
        );
        plan.begin_ms = 1_700_000_000_000;
        let mut config = Config::new(plan);
        config.ledger = Some(folder.path().to_owned());
        config
    };
    let simulator = Simulator::start(config()).unwrap();
    let plan = simulator.plan();
    let parcel = parcel_of(plan.parcels(), "bluebird-express");
    assert_eq!(get(&simulator, &path_of(parcel, "page")).status, 200);
    let before = simulator.ledger().events_of(parcel.carrier, &parcel.number);
    assert!(!before.is_empty());
    simulator.stop();

    let again = Simulator::start(config()).unwrap();
    assert_eq!(again.ledger().events_of(parcel.carrier, &parcel.number), before);
    assert_eq!(get(&again, &path_of(parcel, "page")).status, 200);
    assert_eq!(again.ledger().events_of(parcel.carrier, &parcel.number), before);
    assert_eq!(again.ledger().arrivals(&[parcel.carrier]).len(), 2);
    again.stop();

    let mut other = config();
    other.plan.seed = 5;
    let refused = Simulator::start(other).unwrap_err().to_string();
    assert!(refused.contains("belongs to another plan"), "{refused}");
}

#[test]
fn a_busy_port_and_a_foreign_address_are_refused_in_a_sentence() {
    let simulator = Simulator::start(arrived()).unwrap();
    let mut config = arrived();
    config.listen = simulator.addr();
    assert!(Simulator::start(config).unwrap_err().to_string().contains("cannot listen on"));
    let mut config = arrived();
    config.listen = SocketAddr::from(([0, 0, 0, 0], 0));
    assert!(Simulator::start(config).unwrap_err().to_string().contains("loopback only"));
    simulator.stop();
}
