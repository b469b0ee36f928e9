//! Any bytes as header lines.
#![no_main]

#[path = "../../tests/it/invariants.rs"]
#[allow(dead_code)]
mod invariants;

libfuzzer_sys::fuzz_target!(|lines: &[u8]| invariants::headers(lines));
