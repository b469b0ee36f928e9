//! What a target is told of the way a call came: the standard headers, in the words of RFC 7239 and RFC 9110 and in the older ones that
//! most servers read. What stood there before counts only if a trusted proxy said it.

use std::io::Write;
use std::net::IpAddr;

use bytes::BufMut;
use http::header::{FORWARDED, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue, VIA};
use http::{HeaderMap as Headers, Version};

use super::phrases::{Phrases, Told};
use crate::call::{Head, Hop, Scheme, hop_address};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The way of a call that came by no proxy: of all calls of a connection the same.
#[derive(Debug)]
pub(super) struct Way {
    pub peer: IpAddr,
    scheme: Scheme,
    host: Option<HeaderValue>,
}

impl Way {
    /// For longer than its call: what the head came in is let go.
    pub fn of(peer: IpAddr, hop: &Hop) -> Self {
        let host = hop.host.as_ref().and_then(|host| HeaderValue::from_bytes(host.as_bytes()).ok());
        Self { peer, scheme: hop.scheme, host }
    }

    pub fn is_of(&self, peer: IpAddr, hop: &Hop) -> bool {
        self.peer == peer && self.scheme == hop.scheme && self.host == hop.host
    }

    pub fn told(&self) -> Result<Told, InvalidHeaderValue> {
        Told::of(|| std::iter::once(self.peer), self.scheme, self.host.as_ref())
    }
}

impl Told {
    /// Text of ours is always fit for a header.
    fn of<W: Iterator<Item = IpAddr>>(way: impl Fn() -> W, scheme: Scheme, host: Option<&HeaderValue>) -> Result<Self, InvalidHeaderValue> {
        let host = host.filter(|host| is_plain(host));
        let mut forwarded = Vec::new();
        list(&mut forwarded, way(), |text, address| {
            text.put_slice(b"for=");
            write_node(text, address);
        });
        if let Some(host) = host {
            forwarded.put_slice(b";host=\"");
            forwarded.put_slice(host.as_bytes());
            forwarded.put_slice(b"\"");
        }
        forwarded.put_slice(b";proto=");
        forwarded.put_slice(scheme.as_str().as_bytes());
        let mut forwarded_for = Vec::new();
        list(&mut forwarded_for, way(), write_address);
        Ok(Self { x_forwarded_for: forwarded_for.try_into()?, x_forwarded_host: host.cloned(), forwarded: forwarded.try_into()? })
    }
}

/// `caller`: the headers as they came; `out`: those that go on, with nothing of all this in it yet.
pub(super) fn say(out: &mut HeaderMap, caller: &Headers, head: &Head, phrases: &Phrases) {
    let peer = head.peer.to_canonical();
    let (told, proto) = match head.hop.proxy {
        None => (phrases.told(peer, &head.hop), None),
        Some(proxy) => by_proxy(caller, peer, proxy.to_canonical(), &head.hop),
    };
    if let Some(Told { x_forwarded_for, x_forwarded_host, forwarded }) = told {
        out.append(FORWARDED_FOR, x_forwarded_for);
        out.append(FORWARDED_PROTO, proto.unwrap_or_else(|| spelled(head.hop.scheme)));
        if let Some(host) = x_forwarded_host {
            out.append(FORWARDED_HOST, host);
        }
        out.append(FORWARDED, forwarded);
    }
    via(out, head.hop.version);
}

/// Of a call that came by a trusted proxy, which may say more: and what it was spoken in.
fn by_proxy(caller: &Headers, peer: IpAddr, proxy: IpAddr, hop: &Hop) -> (Option<Told>, Option<HeaderValue>) {
    let behind = joined(caller, &FORWARDED_FOR).map(|said| behind(peer, &said)).unwrap_or_default();
    let way = || [peer].into_iter().chain(behind.iter().copied()).chain(Some(proxy).filter(|proxy| *proxy != peer));
    // `Forwarded` is written anew: proxies that write the older headers let it through as the caller wrote it.
    let told = Told::of(way, hop.scheme, hop.host.as_ref()).ok().map(|told| {
        let theirs = theirs(caller, &FORWARDED_HOST);
        Told { x_forwarded_host: theirs.or(told.x_forwarded_host), ..told }
    });
    (told, theirs(caller, &FORWARDED_PROTO))
}

fn theirs(caller: &Headers, name: &HeaderName) -> Option<HeaderValue> {
    joined(caller, name)?.try_into().ok()
}

fn spelled(scheme: Scheme) -> HeaderValue {
    match scheme {
        Scheme::Http => const { HeaderValue::from_static(Scheme::Http.as_str()) },
        Scheme::Https => const { HeaderValue::from_static(Scheme::Https.as_str()) },
    }
}

/// The proxies behind the caller, of those that are said to have been. What stands before the caller in the list is its own word.
fn behind(caller: IpAddr, said: &str) -> Vec<IpAddr> {
    let mut said: Vec<IpAddr> = said.split(',').filter_map(hop_address).collect();
    match said.iter().rposition(|address| *address == caller) {
        Some(at) => said.split_off(at.saturating_add(1)),
        None => Vec::new(),
    }
}

fn list(text: &mut Vec<u8>, way: impl Iterator<Item = IpAddr>, word: impl Fn(&mut Vec<u8>, IpAddr)) {
    for (nth, address) in way.enumerate() {
        if nth > 0 {
            text.put_slice(b", ");
        }
        word(text, address);
    }
}

/// Adds us to those that a message came through. `version`: of what was received.
pub fn via(headers: &mut HeaderMap, version: Version) {
    const HTTP10: HeaderValue = HeaderValue::from_static("1.0 eliza-gatekeeper");
    const HTTP11: HeaderValue = HeaderValue::from_static("1.1 eliza-gatekeeper");
    const HTTP2: HeaderValue = HeaderValue::from_static("2 eliza-gatekeeper");
    const HTTP3: HeaderValue = HeaderValue::from_static("3 eliza-gatekeeper");
    let hop = match version {
        Version::HTTP_09 | Version::HTTP_10 => HTTP10,
        Version::HTTP_2 => HTTP2,
        Version::HTTP_3 => HTTP3,
        _ => HTTP11,
    };
    headers.append(VIA, hop);
}

/// All lines of a header as one.
fn joined(headers: &Headers, name: &HeaderName) -> Option<String> {
    let lines: Vec<&str> = headers.get_all(name).iter().filter_map(|line| line.to_str().ok()).collect();
    (!lines.is_empty()).then(|| lines.join(", "))
}

/// A host that needs no escapes, with its port if it has one.
fn is_plain(host: &HeaderValue) -> bool {
    let is_plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    !host.is_empty() && host.as_bytes().iter().all(is_plain)
}

/// RFC 7239, section 6.
fn write_node(text: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(_) => write_address(text, address),
        IpAddr::V6(_) => {
            text.put_slice(b"\"[");
            write_address(text, address);
            text.put_slice(b"]\"");
        }
    }
}

fn write_address(text: &mut Vec<u8>, address: IpAddr) {
    match address {
        // Every call that comes by a proxy writes some twice; what formats anything takes ten times as long for one.
        IpAddr::V4(v4) => {
            for (nth, octet) in v4.octets().into_iter().enumerate() {
                if nth > 0 {
                    text.put_u8(b'.');
                }
                text.put_slice(itoa::Buffer::new().format(octet).as_bytes());
            }
        }
        // Memory grows where it is short, so this does not fail.
        IpAddr::V6(v6) => drop(write!(text, "{v6}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{Shown, TraceContext};
    use crate::clock::Timestamp;
    use crate::identity::CallId;
    use crate::policy::Credentials;

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
        say(&mut out, &caller, &head, &Phrases::showing(&Credentials::None));
        out.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
    }

    fn pairs(pairs: [(&str, &str); 5]) -> Vec<(String, String)> {
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
    }

    #[test]
    fn addresses_are_written_as_they_print() {
        for address in ["0.0.0.0", "9.10.99.100", "101.200.249.255", "::", "2001:db8::1", "::ffff:1.2.3.4"] {
            let mut text = Vec::new();
            write_address(&mut text, address.parse().unwrap());
            assert_eq!(text, address.as_bytes());
        }
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
            ("forwarded", "for=203.0.113.7, for=10.0.0.2, for=\"[2001:db8::1]\";host=\"gate.example:8443\";proto=https"),
            ("via", "2 eliza-gatekeeper"),
        ]);
        assert_eq!(said("203.0.113.7", Some("2001:db8::1"), &CLAIMS), expected);
        let expected = pairs([
            ("x-forwarded-for", "198.51.100.1, 10.0.0.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "gate.example:8443"),
            ("forwarded", "for=198.51.100.1, for=10.0.0.1;host=\"gate.example:8443\";proto=https"),
            ("via", "2 eliza-gatekeeper"),
        ]);
        let own_word = [("x-forwarded-for", "203.0.113.7, 198.51.100.1:4711"), ("forwarded", "for=203.0.113.7")];
        assert_eq!(said("198.51.100.1", Some("10.0.0.1"), &own_word), expected, "what the caller said of others before goes nowhere");
    }
}
