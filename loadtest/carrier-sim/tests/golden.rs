//! The demonstration's carriers are held to what the real ones are held to: every example gives its golden result.
//! `WAYBILL_BLESS=1` writes the results anew: read the diff.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking and says what differs")]

#[path = "../../../adapters/engine/tests/support/mod.rs"]
mod support;

use std::fs;

use waybill_adapters::Catalog;

#[test]
fn every_example_gives_its_golden_result() {
    let folder = support::carriers();
    let catalog = Catalog::of_folder(&folder).unwrap_or_else(|error| panic!("{error}"));
    let bless = std::env::var_os("WAYBILL_BLESS").is_some();
    let (mut wrong, mut lacking, mut count) = (Vec::new(), Vec::new(), 0);
    for adapter in catalog.all() {
        let mut outcomes = Vec::new();
        for example in support::folders(&folder.join(adapter.slug.as_str()).join("examples")) {
            let (view, json) = support::example(adapter, &example);
            outcomes.push(view.outcome.as_str().to_owned());
            outcomes.extend(view.status.map(|status| status.as_str().to_owned()));
            let found = serde_json::to_string_pretty(&json).unwrap() + "\n";
            let path = example.join("expected.json");
            if bless {
                fs::write(&path, &found).unwrap();
            }
            if fs::read_to_string(&path).unwrap_or_default() != found {
                wrong.push(format!("{}\n--- found\n{found}", path.display()));
            }
            assert_eq!(json["unmatched"], serde_json::json!([]), "{}", path.display());
            count += 1;
        }
        let needed = ["Delivered", "InTransit", "not_found", "registered_no_scan", "unreadable"];
        lacking.extend(needed.iter().filter(|what| !outcomes.iter().any(|seen| seen == *what)).map(|what| format!("{}: {what}", adapter.slug)));
    }
    eprintln!("{count} examples");
    assert!(wrong.is_empty(), "{} of {count} differ (WAYBILL_BLESS=1 writes them anew):\n{}", wrong.len(), wrong.join("\n"));
    assert!(lacking.is_empty(), "examples are missing:\n{}", lacking.join("\n"));
}
