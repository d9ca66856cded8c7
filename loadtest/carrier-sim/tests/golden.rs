//! The demonstration's carriers are held to what the real ones are held to: every example gives its golden result.
//! `WAYBILL_BLESS=1` writes the results anew: read the diff.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking and says what differs")]

use std::{fs, path::Path};

use waybill_adapters::{Catalog, examples};

#[test]
fn every_example_gives_its_golden_result() {
    let folder = Path::new("../carriers");
    let catalog = Catalog::of_folder(folder).unwrap_or_else(|error| panic!("{error}"));
    let bless = std::env::var_os("WAYBILL_BLESS").is_some();
    let (mut wrong, mut lacking, mut count) = (Vec::new(), Vec::new(), 0);
    for adapter in catalog.all() {
        let mut seen = Vec::new();
        for example in examples::of_folder(&folder.join(adapter.slug.as_str())).unwrap() {
            count += 1;
            let checked = example.check(adapter).unwrap_or_else(|error| panic!("{error}"));
            seen.push(checked.view.outcome.as_str());
            seen.extend(checked.view.status.map(|status| status.as_str()));
            if bless {
                let text = serde_json::to_string_pretty(&checked.json).unwrap() + "\n";
                fs::write(format!("{}/expected.json", example.place), text).unwrap();
            } else {
                wrong.extend(
                    checked.differences.iter().map(|what| format!("{}/{}: {what}", adapter.slug, example.name)),
                );
            }
            assert_eq!(checked.json["unmatched"], serde_json::json!([]), "{}/{}", adapter.slug, example.name);
        }
        let needed = ["Delivered", "InTransit", "not_found", "registered_no_scan", "unreadable"];
        lacking
            .extend(needed.iter().filter(|what| !seen.contains(what)).map(|what| format!("{}: {what}", adapter.slug)));
    }
    eprintln!("{count} examples");
    assert!(wrong.is_empty(), "WAYBILL_BLESS=1 writes golden results anew; these differ:\n{}", wrong.join("\n"));
    assert!(lacking.is_empty(), "examples are missing:\n{}", lacking.join("\n"));
}
