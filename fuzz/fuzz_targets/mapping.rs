//! Any text as `mapping.yaml`; what loads maps what stands in it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waybill_adapters::Catalog;

const ADAPTER: &str = "format: 1\nname: A\nbasis: page\nlanguages: [en, de]\n\
    budget: {rate_per_second: 1, burst: 1, concurrency: 1, min_interval_s: 60}\n\
    readers: [{name: r, shape: json, accept: {has: e}, tables: [{rows: 'e[*]', text: t, code: c}], facts: {status: t}}]\n";

fuzz_target!(init: drop(Catalog::embedded()), |text: &str| {
    let slug = "acme".parse().expect("a slug");
    let Ok(catalog) = Catalog::of_texts(&slug, ADAPTER, text) else { return };
    for adapter in catalog.all() {
        for line in text.lines().take(40) {
            let event = waybill_adapters::fuzzing::event(line, line.split(':').next().unwrap_or_default());
            adapter.mapping.map(&event);
            adapter.mapping.rule(&event);
        }
    }
});
