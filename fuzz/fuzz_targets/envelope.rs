//! Any bytes as a body; and, apart from JSON's escapes, as SQL.
#![no_main]

#[path = "../../tests/it/invariants.rs"]
#[allow(dead_code)]
mod invariants;

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    invariants::envelope(body);
    if let Ok(text) = std::str::from_utf8(body) {
        invariants::sql(text);
    }
});
