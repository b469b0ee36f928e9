//! What a target is told of the way a call came: the standard headers, in the words of RFC 7239 and RFC 9110 and in the older ones that
//! most servers read. What stood there before counts only if a trusted proxy said it.

use std::net::IpAddr;

use http::header::{FORWARDED, HeaderMap, HeaderName, HeaderValue, VIA};
use http::{HeaderMap as Headers, Version};

use crate::call::{Head, Hop};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// `caller`: the headers as they came; `out`: those that go on, with nothing of all this in it yet.
pub fn say(out: &mut HeaderMap, caller: &Headers, head: &Head) {
    let Hop { version, scheme, host, proxy } = &head.hop;
    let peer = head.peer.to_canonical();
    let nearest = proxy.map_or(peer, |proxy| proxy.to_canonical());
    let theirs = |name: &HeaderName| proxy.and_then(|_| joined(caller, name));

    let chain = theirs(&FORWARDED_FOR).filter(|chain| !chain.is_empty());
    put(out, FORWARDED_FOR, &chain.map_or_else(|| nearest.to_string(), |chain| format!("{chain}, {nearest}")));
    put(out, FORWARDED_PROTO, &theirs(&FORWARDED_PROTO).unwrap_or_else(|| scheme.as_str().to_owned()));
    let host = host.as_ref().and_then(plain);
    if let Some(host) = theirs(&FORWARDED_HOST).or_else(|| host.map(str::to_owned)) {
        put(out, FORWARDED_HOST, &host);
    }

    let mut elements: Vec<String> = theirs(&FORWARDED).into_iter().filter(|elements| !elements.is_empty()).collect();
    if elements.is_empty() && nearest != peer {
        elements.push(format!("for={}", node(peer)));
    }
    let host = host.map(|host| format!(";host=\"{host}\"")).unwrap_or_default();
    elements.push(format!("for={}{host};proto={}", node(nearest), scheme.as_str()));
    put(out, FORWARDED, &elements.join(", "));
    via(out, *version);
}

/// Adds us to those that a message came through. `version`: of what was received.
pub fn via(headers: &mut HeaderMap, version: Version) {
    let hop = match version {
        Version::HTTP_09 | Version::HTTP_10 => "1.0 eliza-gatekeeper",
        Version::HTTP_2 => "2 eliza-gatekeeper",
        Version::HTTP_3 => "3 eliza-gatekeeper",
        _ => "1.1 eliza-gatekeeper",
    };
    headers.append(VIA, HeaderValue::from_static(hop));
}

/// All lines of a header as one.
fn joined(headers: &Headers, name: &HeaderName) -> Option<String> {
    let lines: Vec<&str> = headers.get_all(name).iter().filter_map(|line| line.to_str().ok()).collect();
    (!lines.is_empty()).then(|| lines.join(", "))
}

/// A host that needs no escapes, with its port if it has one.
fn plain(host: &HeaderValue) -> Option<&str> {
    let text = host.to_str().ok()?;
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    (!text.is_empty() && text.bytes().all(is_plain)).then_some(text)
}

/// RFC 7239, section 6.
fn node(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("\"[{v6}]\""),
    }
}

/// For text that is fit for a header: ours, or what stood in one.
fn put(out: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        out.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{Scheme, Shown, TraceContext};
    use crate::clock::Timestamp;
    use crate::identity::CallId;

    fn said(peer: &str, proxy: Option<&str>, headers: &[(&'static str, &'static str)]) -> Vec<(String, String)> {
        let hop = Hop {
            version: Version::HTTP_2,
            scheme: Scheme::Https,
            host: Some(HeaderValue::from_static("gate.example:8443")),
            proxy: proxy.map(|proxy| proxy.parse().unwrap()),
        };
        let head = Head {
            certificate: None,
            id: CallId::new(),
            at: Timestamp::default(),
            peer: peer.parse().unwrap(),
            credentials: Shown::default(),
            trace: TraceContext { trace_id: 1, span_id: 1, flags: 0 },
            hops: 0,
            hop,
        };
        let mut caller = HeaderMap::new();
        for (name, value) in headers {
            caller.append(*name, HeaderValue::from_static(value));
        }
        let mut out = HeaderMap::new();
        say(&mut out, &caller, &head);
        out.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
    }

    fn pairs(pairs: [(&str, &str); 5]) -> Vec<(String, String)> {
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
    }

    const CLAIMS: [(&str, &str); 5] = [
        ("x-forwarded-for", "203.0.113.7"),
        ("x-forwarded-for", "10.0.0.2"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "public.example"),
        ("forwarded", "for=203.0.113.7;proto=http"),
    ];

    #[test]
    fn what_a_caller_says_of_its_way_counts_for_nothing() {
        let expected = pairs([
            ("x-forwarded-for", "192.0.2.7"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "gate.example:8443"),
            ("forwarded", "for=192.0.2.7;host=\"gate.example:8443\";proto=https"),
            ("via", "2 eliza-gatekeeper"),
        ]);
        assert_eq!(said("192.0.2.7", None, &CLAIMS), expected);
        assert_eq!(said("::ffff:192.0.2.7", None, &[]), expected);
    }

    #[test]
    fn what_a_trusted_proxy_says_goes_on_with_the_proxy_behind_it() {
        let expected = pairs([
            ("x-forwarded-for", "203.0.113.7, 10.0.0.2, 2001:db8::1"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "public.example"),
            ("forwarded", "for=203.0.113.7;proto=http, for=\"[2001:db8::1]\";host=\"gate.example:8443\";proto=https"),
            ("via", "2 eliza-gatekeeper"),
        ]);
        assert_eq!(said("203.0.113.7", Some("2001:db8::1"), &CLAIMS), expected);
        let expected = pairs([
            ("x-forwarded-for", "203.0.113.7, 10.0.0.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "gate.example:8443"),
            ("forwarded", "for=203.0.113.7, for=10.0.0.1;host=\"gate.example:8443\";proto=https"),
            ("via", "2 eliza-gatekeeper"),
        ]);
        assert_eq!(said("203.0.113.7", Some("10.0.0.1"), &[("x-forwarded-for", "203.0.113.7")]), expected, "in the older words alone");
    }
}
