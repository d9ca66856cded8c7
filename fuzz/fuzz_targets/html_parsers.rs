//! The quick HTML parser and the full one make the same tree.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waybill_adapters::fuzzing::html_parsers_agree;

fuzz_target!(|page: &str| html_parsers_agree(page));
