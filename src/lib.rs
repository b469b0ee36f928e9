//! The gatekeeper between AI agents, in the order a call meets it. `ARCHITECTURE.md` is the map.

// The vocabulary: imports nothing of ours but itself.
pub mod audit;
pub mod blocklist;
pub mod call;
pub mod clock;
pub mod enforcement;
pub mod identity;
pub mod intake;
pub mod json;
pub mod retention;
pub mod switches;
pub mod verdict;
pub mod wording;

// What is fixed at start, what operators decide, and who holds a key.
pub mod keys;
pub mod live;
pub mod policy;
pub mod settings;
pub mod sha256;
pub mod sql;
pub mod tls;

// The way of a call.
pub mod doors;
pub mod gates;
pub mod pipeline;
pub mod reply;
pub mod server;
pub mod upstream;

// What is kept of it.
pub mod journal;
pub mod record;
pub mod seal;
pub mod store;

// Around it.
pub mod admin;
pub mod cli;
pub mod control;
pub mod gatekeeper;
pub mod health;
pub mod telemetry;
pub mod upkeep;
