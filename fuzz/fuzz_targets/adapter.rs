//! Any text as `adapter.yaml`; what loads is asked for requests and reads answers of each shape.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use waybill_adapters::{Answer, Answers, Asked, Catalog, Context, Reading};

const BODIES: [&[u8]; 3] = [
    b"<html><body><div id=r><table><tr><td>1 Mar 2026 10:00<td>a<td>b</table></div></body></html>",
    br#"{"a":[{"b":"x","t":"2026-03-01T10:00:00Z"}],"errors":[]}"#,
    b"<r><a k='1'><b>x</b></a></r>",
];

fuzz_target!(init: drop(Catalog::embedded()), |text: &str| {
    let slug = "acme".parse().expect("a slug");
    let Ok(catalog) = Catalog::of_texts(&slug, text, "format: 1\n") else { return };
    for adapter in catalog.all() {
        let (params, taken) = (BTreeMap::new(), BTreeMap::new());
        for step in adapter.sources.iter().flat_map(|source| &source.steps) {
            let context = Context { number: "A{1}&\"<", params: &params, secrets: &params, taken: &taken, lang: "en" };
            let _ = step.request_of_batch(&context, &["A1", "B&2"]);
            for body in BODIES {
                let _ = step.take(&Answer::saved("token", body));
            }
        }
        for body in BODIES {
            let answers = [Answer::saved("page", body), Answer::saved("detail", body)];
            let answers = Answers { number: Some("A1"), list: &answers };
            adapter.read(&answers);
            adapter.explain(&answers, Reading { asked: Asked::Several, ..Reading::default() });
        }
    }
});
