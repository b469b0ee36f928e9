//! The promises the gatekeeper makes, one file each; one binary, so that they link once and run side by side.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

mod call_parsing;
mod invariants;
mod sql_filter;
