//! Any text: PostgreSQL's parser and the judge agree. Guided by what of the judge it reaches.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Some(disagreement) = eliza_gatekeeper_oracle::disagreement(text) {
        panic!("{disagreement}");
    }
});
