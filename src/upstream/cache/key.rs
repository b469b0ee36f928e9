//! What makes two requests the same.

use http::{HeaderMap, HeaderName, Method};

use crate::policy::{CachePolicy, Sharing};
use crate::sha256::Sha256;
use crate::upstream::order::{Order, Outgoing};

/// A hash over everything that an answer may depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

/// Headers that differ from call to call or from connection to connection, and that no answer depends on unless it says so in `Vary`. Any
/// other may be what a target chooses its answer by, whether it says so or not.
const NOISE: [&str; 19] = [
    "baggage",
    "cache-control",
    "cf-ray",
    "content-length",
    "forwarded",
    "idempotency-key",
    "pragma",
    "sentry-trace",
    "traceparent",
    "tracestate",
    "user-agent",
    "via",
    "x-amzn-trace-id",
    "x-call-id",
    "x-cloud-trace-context",
    "x-eliza-hops",
    "x-forwarded-for",
    "x-real-ip",
    "x-request-id",
];

/// The key of a call, if policy lets its answer be kept. `outgoing` are the headers that the target would see.
pub fn key(order: &Order<'_>, outgoing: &HeaderMap, policy: &CachePolicy) -> Option<Key> {
    // Answers to the gatekeeper's own questions are never kept: they are judgements.
    let caller = order.caller?;
    let (door, body) = match &order.body {
        Outgoing::Shaped(body) if policy.names(order.action) => ("envelope", body),
        Outgoing::AsSent(body) if matches!(order.method, Method::GET | Method::HEAD) => ("direct", body),
        Outgoing::Shaped(_) | Outgoing::AsSent(_) | Outgoing::WithTrailers(..) | Outgoing::Streaming(_) | Outgoing::Upgrade(_) => {
            return None;
        }
    };
    let source = match policy.sharing {
        Sharing::SameSource => caller,
        Sharing::AllSources => "",
    };
    let mut hash = Hashing(Sha256::new());
    hash.part(door).part(source).part(order.target.name.as_str());
    hash.part(order.method.as_str()).part(order.rest).part(order.action.unwrap_or_default()).part(body);
    let mut telling: Vec<&HeaderName> = outgoing.keys().filter(|name| !NOISE.contains(&name.as_str())).collect();
    telling.sort_by_key(|name| name.as_str());
    for name in telling {
        for value in outgoing.get_all(name) {
            hash.part(name.as_str()).part(value.as_bytes());
        }
    }
    Some(Key(hash.0.finish()))
}

/// Each part with its length, so that no two lists of parts are the same bytes.
struct Hashing(Sha256);

impl Hashing {
    fn part(&mut self, part: impl AsRef<[u8]>) -> &mut Self {
        self.0.update((part.as_ref().len() as u64).to_be_bytes());
        self.0.update(part.as_ref());
        self
    }
}
