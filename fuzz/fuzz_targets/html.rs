//! Any bytes as HTML, read by the carrier that the first byte says.
#![no_main]

mod shared;

use libfuzzer_sys::fuzz_target;
use waybill_adapters::Shape;

fuzz_target!(init: shared::load(), |bytes: &[u8]| {
    if let Some((which, body)) = bytes.split_first() {
        shared::read(Shape::Html, *which, body, None);
    }
});
