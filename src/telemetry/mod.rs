//! What the process says of itself: metrics for machines, a log for people.

pub mod logging;
pub mod metrics;
