//! The gatekeeper between AI agents, in the order a call meets it. `ARCHITECTURE.md` is the map.

// The vocabulary: imports nothing of ours.
pub mod call;
pub mod clock;
pub mod identity;
pub mod verdict;

// What operators decide, and how SQL is judged.
pub mod policy;
pub mod sql;

// Towards the targets.
pub mod upstream;

// Where records go.
pub mod store;
