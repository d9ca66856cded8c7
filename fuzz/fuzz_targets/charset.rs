//! Any bytes in any charset, and what is unwrapped from them: the first line names the content type.
#![no_main]

mod shared;

use libfuzzer_sys::fuzz_target;
use waybill_adapters::Shape;

fuzz_target!(init: shared::load(), |bytes: &[u8]| {
    let split = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let (head, body) = bytes.split_at(split);
    let head = String::from_utf8_lossy(head);
    let which = body.len() as u8;
    shared::read(Shape::Html, which, body, Some(&format!("text/html; charset={head}")));
    shared::read(Shape::Json, which, body, Some(&head));
});
