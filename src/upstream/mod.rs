//! Towards the targets, and back. What leaves here carries our credentials and nothing of the caller's secrets; what comes back is
//! the target's answer, or one plain [`Failure`](crate::verdict::Failure). What exactly went wrong is for the log alone.

mod about;
mod address;
pub mod answer;
pub mod ask;
pub mod body;
pub mod breaker;
mod budget;
mod cache;
pub mod client;
mod clients;
mod crowd;
pub mod dial;
mod forwarded;
pub mod headers;
mod known;
mod link;
mod links;
mod loss;
pub mod order;
mod phrases;
mod probe;
pub mod shape;
mod site;
mod sites;
mod tries;
mod trying;
mod tunnel;
mod upload;
mod views;

pub use answer::{Settled, settle};
pub use ask::Ask;
pub use body::{AnswerBody, AnswerBroken};
pub use breaker::{BreakerState, BreakerView};
pub use budget::BudgetView;
pub use cache::CacheView;
pub use client::{Answer, Upgrade, Upstream};
pub use dial::Dial;
pub use headers::Towards;
pub use order::{Order, Outgoing};
pub use phrases::Phrases;
pub use probe::HealthPath;
pub use tunnel::{Tunnel, TunnelEnd, Tunnels};
pub use upload::Upload;
pub use views::{Probe, SiteCondition, SiteView, TargetView};
