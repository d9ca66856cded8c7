//! Real carriers' answers come to what a careful reader says they do. Runs where `WAYBILL_RECORDED` names the folder; with
//! `CI` set its absence is a failure.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking and says what differs")]

mod support;

use std::path::PathBuf;

use waybill_adapters::{
    Answer, Answers, Catalog, assess,
    recorded::{Seen, cases},
};

#[test]
fn recorded_answers_come_to_what_is_expected() {
    let Some(folder) = std::env::var_os("WAYBILL_RECORDED").map(PathBuf::from) else {
        assert!(std::env::var_os("CI").is_none(), "set WAYBILL_RECORDED to the folder of recorded answers");
        eprintln!("recorded answers: skipped, WAYBILL_RECORDED is not set");
        return;
    };
    let catalog = Catalog::of_folder(&support::carriers()).unwrap_or_else(|error| panic!("{error}"));
    let only = std::env::var("WAYBILL_CARRIER").ok();
    let (mut ran, mut total, mut wrong) = (0, 0, Vec::new());
    for case in cases(&folder).unwrap() {
        total += 1;
        if only.as_deref().is_some_and(|slug| slug != case.carrier) {
            continue;
        }
        let Some(adapter) = catalog.get(&case.carrier.parse().unwrap()) else {
            wrong.push(format!("{}: there is no carrier {}", case.id, case.carrier));
            continue;
        };
        let bodies = case.load(&folder).unwrap();
        let answers: Vec<Answer<'_>> = case
            .bodies
            .iter()
            .zip(&bodies)
            .map(|(body, bytes)| Answer {
                content_type: Some(&body.content_type),
                charset: Some(&body.charset),
                ..Answer::saved(&body.role, bytes)
            })
            .collect();
        let outcome = adapter.read(&Answers { number: Some(&case.number), list: &answers });
        let view = assess(&adapter, &outcome, Some(&case.number));
        ran += 1;
        if std::env::var_os("WAYBILL_SHOW").is_some() {
            let shown = serde_json::to_string_pretty(&view).unwrap();
            eprintln!("{} (reader `{}`, {:?})\n{shown}\n{:?}", case.id, view.reader, view.detail, outcome.facts);
        }
        let differences = case.differences(&Seen::of(&view));
        if !differences.is_empty() {
            let read = format!("reader `{}`, {:?}", view.reader, view.detail.as_deref().unwrap_or_default());
            wrong.push(format!("{} ({read})\n    {}", case.id, differences.join("\n    ")));
        }
        let unmatched: Vec<&str> = view
            .events
            .iter()
            .filter(|event| event.matched_by == waybill_schemas::event::MatchedBy::None && !event.text.is_empty())
            .map(|event| event.text.as_str())
            .collect();
        if !unmatched.is_empty() {
            eprintln!("{}: nothing matched {unmatched:?}", case.id);
        }
    }
    eprintln!("recorded answers: {ran} of {total} look-ups ran, {} not as expected", wrong.len());
    assert!(wrong.is_empty(), "{} of {total} are not as expected:\n{}", wrong.len(), wrong.join("\n"));
}
