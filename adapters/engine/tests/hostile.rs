//! Whatever bytes come, reading ends, never panics and never takes garbage for an answer.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::OnceLock;

use proptest::prelude::*;
use waybill_adapters::{Answer, Answers, Catalog, ReadOutcome, assess, examples};
use waybill_schemas::OutcomeClass;

fn catalog() -> &'static Catalog {
    static CATALOG: OnceLock<Catalog> = OnceLock::new();
    CATALOG.get_or_init(|| Catalog::embedded().unwrap())
}

/// Every body of every embedded example; there is nothing to damage in an empty one.
fn bodies() -> &'static Vec<Vec<u8>> {
    static BODIES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    BODIES.get_or_init(|| {
        let folder = std::path::Path::new("../carriers");
        let carriers =
            catalog().all().flat_map(|adapter| examples::of_folder(&folder.join(adapter.slug.as_str())).unwrap());
        let files = carriers.flat_map(|example| example.files);
        let bodies: Vec<Vec<u8>> = files
            .filter(|(name, body)| !name.starts_with("expected") && !name.ends_with(".yaml") && !body.is_empty())
            .map(|(_, body)| body)
            .collect();
        assert!(!bodies.is_empty());
        bodies
    })
}

fn read_by_all(body: &[u8]) -> Vec<ReadOutcome> {
    let answers = [Answer::saved("page", body)];
    let read = |adapter: &std::sync::Arc<waybill_adapters::Adapter>| {
        let outcome = adapter.read(&Answers { number: Some("AB123456785DE"), list: &answers });
        assess(adapter, &outcome, None);
        outcome
    };
    catalog().all().map(read).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_unreadable(body in prop::collection::vec(any::<u8>(), 0..2_000)) {
        for outcome in read_by_all(&body) {
            prop_assert_eq!(outcome.class, OutcomeClass::Unreadable);
        }
    }

    #[test]
    fn damaged_answers_never_panic_and_never_exceed_the_limits(
        pick in any::<prop::sample::Index>(),
        cut in any::<prop::sample::Index>(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let mut body = bodies()[pick.index(bodies().len())].clone();
        for (at, byte) in flips {
            let at = at.index(body.len());
            body[at] = byte;
        }
        body.truncate(cut.index(body.len()) + 1);
        for outcome in read_by_all(&body) {
            prop_assert!(outcome.events.len() <= waybill_schemas::limits::MAX_EVENTS);
            prop_assert!(outcome.class == OutcomeClass::Tracked
                || outcome.class == OutcomeClass::RegisteredNoScan
                || outcome.events.is_empty());
        }
    }

    #[test]
    fn times_never_panic(text in "\\PC{0,40}") {
        let body = format!("<table class='table_col'><tr><td>{text}</td><td>a</td><td>b</td><td>c</td></tr></table>");
        read_by_all(body.as_bytes());
    }
}

#[test]
fn a_truncated_page_is_unreadable_not_shorter() {
    let whole = "<html><body><table class='table_col'><tr><td>14:52 17-Aug-2022</td><td>Posting/Collection</td><td>X</td>\
                 <td></td></tr></table></body></html>";
    let adapter = catalog().get(&"korea-post".parse().unwrap()).unwrap();
    let read = |body: &str| {
        let answers = [Answer::saved("page", body.as_bytes())];
        adapter.read(&Answers { number: None, list: &answers })
    };
    assert_eq!(read(whole).class, OutcomeClass::Tracked);
    let cut = read(whole.trim_end_matches("</body></html>"));
    assert_eq!(cut.class, OutcomeClass::Unreadable, "{:?}", cut.detail);
}

#[test]
fn a_page_without_rows_or_message_is_unreadable_never_not_found() {
    let adapter = catalog().get(&"korea-post".parse().unwrap()).unwrap();
    let answers = [Answer::saved("page", b"<table class='table_col'><tr><th>Date</th></tr></table>")];
    assert_eq!(adapter.read(&Answers { number: None, list: &answers }).class, OutcomeClass::Unreadable);
}

#[test]
fn invalid_utf_8_too_much_and_too_deep_are_unreadable() {
    let row = "<tr><td>14:52 17-Aug-2022</td><td>a</td><td>b</td><td>c</td></tr>";
    let table = |rows: &str| format!("<table class='table_col'>{rows}</table>").into_bytes();
    let mut invalid = table(row);
    invalid.extend(b"\xff\xfe\xff");
    let long = format!("<tr><td>14:52 17-Aug-2022</td><td>{}</td><td>b</td><td>c</td></tr>", "x".repeat(5_000));
    let deep = format!("{}{}", "<div>".repeat(5_000), String::from_utf8(table(row)).unwrap());
    let bold: String = (0..5_000).map(|n| format!("<b id={n}><p>")).collect();
    let many: String = row.repeat(1_001);
    for (body, why) in [
        (invalid, "not valid UTF-8"),
        (table(&long), "longer than"),
        (table(&many), "more than 1000 events"),
        (deep.into_bytes(), "deeper"),
        (format!("{bold}<table class='table_col'></table>").into_bytes(), "deeper"),
        (vec![b' '; 9 << 20], "larger"),
        (format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000)).into_bytes(), "no reader"),
        (b"<!DOCTYPE x [<!ENTITY a 'b'>]><TrackResponse>&a;</TrackResponse>".to_vec(), "<!DOCTYPE"),
    ] {
        let adapter = catalog().get(&"korea-post".parse().unwrap()).unwrap();
        let answers = [Answer::saved("page", &body)];
        let outcome = adapter.read(&Answers { number: None, list: &answers });
        assert_eq!(outcome.class, OutcomeClass::Unreadable, "{why}");
        assert!(outcome.detail.as_deref().is_some_and(|detail| detail.contains(why)), "{why}: {:?}", outcome.detail);
    }
}

/// A carrier with one reader.
fn reading(reader: &str) -> Catalog {
    let text = format!(
        "format: 1\nname: Acme\nbasis: page\nlanguages: [en]\nhosts: [acme.example]\n\
         budget: {{rate_per_second: 1, burst: 1, concurrency: 1, min_interval_s: 60}}\nreaders:\n  - {{name: only, {reader}}}\n"
    );
    Catalog::of_texts(&"acme".parse().unwrap(), &text, "format: 1\n").unwrap()
}

#[test]
fn rows_that_each_look_through_the_whole_answer_are_more_work_than_is_done() {
    let html = |row: &str| format!("<html><body><table>{}</table></body></html>", row.repeat(100_000));
    let rows = html("<tr><td></td></tr>");
    let json = format!(r#"{{"a":[{{}}{}]}}"#, ",{}".repeat(100_000));
    let xml = format!("<r>{}</r>", "<a/>".repeat(100_000));
    for (reader, body) in [
        ("shape: html, accept: {has: table}, tables: [{rows: tr, text: {of: document, path: p}}]", &rows),
        ("shape: html, accept: {has: table}, tables: [{rows: tr, text: {of: document, path: body, match: x}}]", &rows),
        ("shape: html, accept: {has: table}, tables: [{rows: tr, heading: 'tr:nth-child(3)', text: {cell: 1}}]", &rows),
        ("shape: html, accept: {has: table}, tables: [{rows: 'tr.x ~ tr', text: {cell: 1}}]", &rows),
        ("shape: html, accept: {has: table}, tables: [{rows: tr, skip: {contains: [p]}, text: {cell: 1}}]", &rows),
        ("shape: json, accept: {has: a}, tables: [{rows: 'a[*]', text: {of: document, path: 'a[*].b'}}]", &json),
        ("shape: json, accept: {has: a}, tables: [{rows: 'a[*]', text: {of: document, path: '$..b'}}]", &json),
        ("shape: json, accept: {has: a}, tables: [{rows: 'a[?count($.a[*]) > 1]', text: b}]", &json),
        ("shape: xml, accept: {root: r}, tables: [{rows: a, text: {of: document, path: '//b'}}]", &xml),
    ] {
        let catalog = reading(reader);
        let adapter = catalog.get(&"acme".parse().unwrap()).unwrap();
        let read = |body: &str| {
            let answers = [Answer::saved("page", body.as_bytes())];
            adapter.read(&Answers { number: None, list: &answers })
        };
        let outcome = read(body);
        assert_eq!(outcome.class, OutcomeClass::Unreadable, "{reader}");
        assert!(outcome.detail.is_some_and(|detail| detail.contains("more work")), "{reader}");
        // The next answer is not to blame for the one before.
        let next = read("<html><body><table></table></body></html>");
        assert!(next.detail.is_some_and(|detail| !detail.contains("more work")), "{reader}");
    }
}

#[test]
fn a_captcha_is_blocked_and_other_strangers_are_unreadable() {
    let adapter = catalog().get(&"usps".parse().unwrap()).unwrap();
    let class = |body: &str| {
        let answers = [Answer::saved("page", body.as_bytes())];
        adapter.read(&Answers { number: None, list: &answers }).class
    };
    assert_eq!(class("<html><head><title>Access Denied</title></head></html>"), OutcomeClass::Blocked);
    assert_eq!(class("<html><body>Hello</body></html>"), OutcomeClass::Unreadable);
    assert_eq!(class(""), OutcomeClass::Unreadable);
}
