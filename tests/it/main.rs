//! What the gatekeeper promises, one file per promise.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test states what must hold; a panic is its message"
)]
#![allow(dead_code, reason = "support serves every file, and no file needs all of it")]

mod store_adoption;
mod store_contract;
mod store_postgres;
mod support;
