//! What the benchmarks share: a policy, a caller's headers, and two bodies of a kind that agents send.
#![allow(dead_code, reason = "each benchmark has use for some of it")]

use std::net::{IpAddr, Ipv4Addr};

use eliza_gatekeeper::identity::Secret;
use eliza_gatekeeper::policy::Policy;
use eliza_gatekeeper::policy::load::{CredentialInputs, Origin, load};
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue};

pub const KEY: &str = "a-key-that-opens-nothing-but-benchmarks-0123456789";
pub const SERVICE_KEY: &str = "a-service-key-that-opens-nothing-but-benchmarks-01";
pub const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

/// 496 bytes.
pub const SMALL: &str = include_str!("../data/body500.json");
/// 63,802 bytes.
pub const LARGE: &str = include_str!("../data/body64k.json");

/// An address where nobody listens: the benchmarks' targets are reached in memory.
pub const PLATFORM: &str = "http://127.0.0.1:9";

pub fn policy() -> Policy {
    let variables = |name: &str| (name == "SUPABASE_URL").then(|| PLATFORM.to_owned());
    let credentials = CredentialInputs { service_role: Some(Secret::new(SERVICE_KEY)) };
    load(&Origin::Directory(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/data/policies").into()), &variables, &credentials).unwrap()
}

/// What a client library sends, ten headers in all.
pub fn headers(key: &'static str, source: &'static str, body: &str) -> HeaderMap {
    let fixed = [
        (HOST, "gatekeeper.example"),
        (USER_AGENT, "supabase-edge-functions/1.68.0"),
        (ACCEPT, "*/*"),
        (ACCEPT_ENCODING, "gzip, br"),
        (CONTENT_TYPE, "application/json"),
        (HeaderName::from_static("x-client-info"), "supabase-js-web/2.57.4"),
        (HeaderName::from_static("traceparent"), "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        (HeaderName::from_static("x-eliza-key"), key),
        (HeaderName::from_static("x-eliza-source"), source),
    ];
    let mut headers: HeaderMap = fixed.into_iter().map(|(name, value)| (name, HeaderValue::from_static(value))).collect();
    headers.insert(CONTENT_LENGTH, body.len().into());
    headers
}
