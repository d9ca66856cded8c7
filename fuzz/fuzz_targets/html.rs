//! Any bytes as HTML, read by every carrier that reads HTML.
#![no_main]

mod shared;

use libfuzzer_sys::fuzz_target;
use waybill_adapters::Shape;

fuzz_target!(init: shared::load(), |body: &[u8]| shared::read(Shape::Html, body, None));
