//! What a header is about, told in one look at its name: every header of every call is asked, on its way there and back.

use http::HeaderName;

/// What a header is about, as far as that decides whether it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// RFC 9110, section 7.6.1. What `Connection` names comes on top: see [`headers`](super::headers).
    Connection,
    KeepAlive,
    Coding,
    Trailers,
    Hop,
    /// True of the caller's connection, its framing or its body as it came; said anew towards the target where it is said at all.
    ThisHop,
    Trace,
    CallId,
    Authorization,
    Apikey,
    ContentType,
    AcceptEncoding,
    /// A proxy's word on who called it (RFC 9440), and nobody's here.
    ProxysWord,
    ElizaKey,
    Eliza,
    Cors,
    Cookie,
    TraceState,
    Anything,
}

impl About {
    pub fn is_hop_by_hop(self) -> bool {
        matches!(self, Self::Connection | Self::KeepAlive | Self::Coding | Self::Trailers | Self::Hop)
    }

    pub fn is_about_this_hop(self) -> bool {
        matches!(self, Self::ThisHop | Self::Trace | Self::CallId)
    }

    pub fn is_ours_to_say(self) -> bool {
        matches!(self, Self::CallId | Self::Cors | Self::Eliza | Self::ElizaKey)
    }
}

/// By length first: of most headers no more than that is looked at.
pub(super) fn about(name: &HeaderName) -> About {
    let text = name.as_str();
    match (text.len(), text) {
        (2, "te") => About::Coding,
        (4, "host") | (6, "expect") | (9, "forwarded" | "x-real-ip") | (14, "content-length") | (16, "content-encoding") => About::ThisHop,
        (6, "apikey") => About::Apikey,
        (6, "cookie") => About::Cookie,
        (7, "trailer") => About::Trailers,
        (7, "upgrade") | (14, "http2-settings") | (17, "transfer-encoding") => About::Hop,
        (9, "x-call-id") => About::CallId,
        (10, "keep-alive") => About::KeepAlive,
        (10, "connection") => About::Connection,
        (10, "tracestate") => About::TraceState,
        (11, "traceparent") => About::Trace,
        (12, "content-type") => About::ContentType,
        (15, "accept-encoding") => About::AcceptEncoding,
        (11, "client-cert") | (17, "client-cert-chain") => About::ProxysWord,
        (11, "x-eliza-key") => About::ElizaKey,
        (13, "authorization") => About::Authorization,
        _ => match text.as_bytes() {
            [b'p', ..] if text.starts_with("proxy-") => About::Hop,
            [b'x', ..] if text.starts_with("x-forwarded-") => About::ThisHop,
            [b'x', ..] if text.starts_with("x-eliza-") => About::Eliza,
            [b'a', ..] if text.starts_with("access-control-") => About::Cors,
            _ => About::Anything,
        },
    }
}
