//! What the gatekeeper promises, one file per promise.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test states what must hold; a panic is its message"
)]

mod rate_limits;
