//! What the tests stand on.

pub mod house;
pub mod targets;
