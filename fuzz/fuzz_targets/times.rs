//! Any format, and any text in it: the first line is the format.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waybill_adapters::fuzzing::time;

fuzz_target!(|text: &str| {
    let (format, printed) = text.split_once('\n').unwrap_or(("iso", text));
    if format.len() <= 200 {
        time(format, printed);
    }
});
