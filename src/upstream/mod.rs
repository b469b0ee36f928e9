//! Towards the targets, and back. What leaves here carries our credentials and nothing of the caller's secrets; what comes back is
//! the target's answer, or one plain [`Failure`](crate::verdict::Failure). What exactly went wrong is for the log alone.

mod address;
pub mod answer;
pub mod ask;
pub mod body;
pub mod breaker;
pub mod client;
mod clients;
pub mod dial;
mod forwarded;
pub mod headers;
mod loss;
pub mod order;
mod probe;
pub mod shape;
mod tunnel;
mod upload;

pub use answer::{Settled, settle};
pub use ask::Ask;
pub use body::{AnswerBody, AnswerBroken};
pub use breaker::{BreakerState, BreakerView};
pub use client::{Answer, Upgrade, Upstream};
pub use dial::Dial;
pub use headers::Towards;
pub use order::{Order, Outgoing};
pub use tunnel::{Tunnel, TunnelEnd, Tunnels};
pub use upload::Upload;
