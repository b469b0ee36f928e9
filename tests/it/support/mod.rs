//! What the tests stand on.

pub mod client;
pub mod house;
pub mod line;
pub mod postgres;
pub mod program;
pub mod rows;
pub mod targets;
