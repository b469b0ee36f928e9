//! What the tests stand on.

#[cfg(any())]
pub mod house;
pub mod targets;
