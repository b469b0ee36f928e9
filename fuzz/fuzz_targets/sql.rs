//! Any bytes as SQL, in every field and reading: what must hold for whatever a caller sends.
#![no_main]

#[path = "../../tests/it/invariants.rs"]
#[allow(dead_code)]
mod invariants;

libfuzzer_sys::fuzz_target!(|text: &[u8]| invariants::sql(&String::from_utf8_lossy(text)));
