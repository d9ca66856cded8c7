//! Any bytes as a saved answer to draft an adapter from.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waybill_adapters::draft::{Wish, draft};

fuzz_target!(init: drop(waybill_adapters::Catalog::embedded()), |body: &[u8]| {
    if body.len() > 16 * 1024 {
        return;
    }
    let wish = Wish { number: Some("AB1"), url: Some("https://a.example/{x}?n=AB1"), ..Wish::default() };
    if let Err(waybill_adapters::draft::DraftError::Broken(error)) = draft(&"acme".parse().expect("a slug"), body, wish) {
        panic!("{error}");
    }
});
