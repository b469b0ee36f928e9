//! Who calls, when proxies stand between: what a trusted one says of whom it speaks for, and nothing that anybody else says.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// More proxies than stand in any row.
const HOPS: usize = 32;

/// The other end of a connection, if that is a trusted proxy.
pub fn trusted(peer: IpAddr, trusted: &[IpNet]) -> Option<IpAddr> {
    let peer = peer.to_canonical();
    trusted.iter().any(|network| network.contains(&peer)).then_some(peer)
}

/// Each proxy adds at the right whom it heard. Read from there, the first address that is no trusted proxy's is the caller's: what stands
/// further left is that caller's own word. Where something unreadable stands, it is the proxy that wrote it.
pub fn caller(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
    let mut nearest = peer.to_canonical();
    if trusted.is_empty() || !is_trusted(nearest) {
        return nearest;
    }
    let lines: Vec<_> = headers.get_all(FORWARDED_FOR).into_iter().collect();
    let entries = lines.iter().rev().flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    for entry in entries.take(HOPS) {
        let Some(address) = address(entry) else { return nearest };
        nearest = address;
        if !is_trusted(nearest) {
            return nearest;
        }
    }
    nearest
}

/// With a port or without, as proxies differ.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().ok().or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()))?;
    Some(IpAddr::to_canonical(&address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocklist::network;

    #[test]
    fn the_caller_is_whom_the_last_trusted_proxy_heard() {
        let trusted = ["10.0.0.0/8", "2001:db8:a::/48"].map(|text| network(text).unwrap());
        let cases: &[(&str, &str, &[&str], &str)] = &[
            ("no proxy", "198.51.100.1", &[], "198.51.100.1"),
            ("no proxy, but it says so", "198.51.100.1", &["203.0.113.7"], "198.51.100.1"),
            ("a proxy that says nothing", "10.0.0.1", &[], "10.0.0.1"),
            ("one proxy", "10.0.0.1", &["203.0.113.7"], "203.0.113.7"),
            ("two in a row", "10.0.0.1", &["203.0.113.7, 10.0.0.2"], "203.0.113.7"),
            ("two in a row, a line each", "10.0.0.1", &["203.0.113.7", "10.0.0.2"], "203.0.113.7"),
            ("made up by the caller", "10.0.0.1", &["192.0.2.66, 203.0.113.7"], "203.0.113.7"),
            ("made up, in a line of its own", "10.0.0.1", &["192.0.2.66", "203.0.113.7, 10.0.0.2"], "203.0.113.7"),
            ("a trusted one made up", "10.0.0.1", &["10.0.0.9, 203.0.113.7"], "203.0.113.7"),
            ("a trusted one within", "10.0.0.1", &["10.9.9.9"], "10.9.9.9"),
            ("nonsense made up", "10.0.0.1", &["' or 1=1, 203.0.113.7"], "203.0.113.7"),
            ("nonsense of the proxy's", "10.0.0.1", &["203.0.113.7, unknown"], "10.0.0.1"),
            ("nonsense of the second proxy's", "10.0.0.1", &["203.0.113.7, _hidden, 10.0.0.2"], "10.0.0.2"),
            ("nothing", "10.0.0.1", &[""], "10.0.0.1"),
            ("a gap", "10.0.0.1", &["203.0.113.7,,10.0.0.2"], "10.0.0.2"),
            ("a port", "10.0.0.1", &["203.0.113.7:4711"], "203.0.113.7"),
            ("IPv6", "2001:db8:a::1", &["2001:db8:b::7"], "2001:db8:b::7"),
            ("IPv6 in brackets", "10.0.0.1", &["[2001:db8:b::7]"], "2001:db8:b::7"),
            ("IPv6 with a port", "10.0.0.1", &["[2001:db8:b::7]:4711"], "2001:db8:b::7"),
            ("IPv4 as IPv6", "::ffff:10.0.0.1", &["::ffff:203.0.113.7, ::ffff:10.0.0.2"], "203.0.113.7"),
        ];
        for (name, peer, lines, expected) in cases {
            let mut headers = HeaderMap::new();
            for line in *lines {
                headers.append(FORWARDED_FOR, line.parse().unwrap());
            }
            assert_eq!(caller(peer.parse().unwrap(), &headers, &trusted).to_string(), *expected, "{name}");
            let nobody_trusted = caller(peer.parse().unwrap(), &headers, &[]);
            assert_eq!(nobody_trusted, peer.parse::<IpAddr>().unwrap().to_canonical(), "{name}");
        }
    }

    #[test]
    fn a_long_row_is_not_read_to_its_end() {
        let trusted = [network("10.0.0.0/8").unwrap()];
        let mut headers = HeaderMap::new();
        headers.insert(FORWARDED_FOR, format!("203.0.113.7{}", ", 10.0.0.2".repeat(1000)).parse().unwrap());
        assert_eq!(caller("10.0.0.1".parse().unwrap(), &headers, &trusted).to_string(), "10.0.0.2");
    }
}
