//! What the tests stand on.

pub mod house;
pub mod postgres;
pub mod targets;
