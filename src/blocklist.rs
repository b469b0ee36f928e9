//! Whom operators keep out: networks and sources, by policy or at a moment's notice.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};

use crate::clock::Timestamp;
use crate::identity::{NamePattern, Place};
use crate::verdict::BlockedWhat;

/// One network or source that is kept out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    pub subject: Subject,
    /// In the operator's words.
    pub reason: String,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
    pub place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    Network(IpNet),
    Source(NamePattern),
}

impl Subject {
    /// An address, a network such as `203.0.113.0/24`, or, where it is neither, a source or a pattern of sources.
    pub fn network(text: &str) -> Option<Self> {
        network(text).map(Self::Network)
    }

    pub fn source(text: &str) -> Option<Self> {
        NamePattern::parse(text).map(Self::Source)
    }

    /// Nobody would be left to call, or to lift the block.
    pub fn is_everything(&self) -> bool {
        match self {
            Self::Network(net) => net.prefix_len() == 0,
            Self::Source(pattern) => pattern.as_str().bytes().all(|byte| byte == b'*'),
        }
    }

    pub fn what(&self) -> BlockedWhat {
        match self {
            Self::Network(_) => BlockedWhat::Network,
            Self::Source(_) => BlockedWhat::Source,
        }
    }

    pub fn text(&self) -> String {
        match self {
            Self::Network(net) if net.prefix_len() == net.max_prefix_len() => net.addr().to_string(),
            Self::Network(net) => net.to_string(),
            Self::Source(pattern) => pattern.as_str().to_owned(),
        }
    }

    /// The address as IPv4 wherever it is one.
    fn covers(&self, address: IpAddr, source: Option<&str>) -> bool {
        match self {
            Self::Network(net) => net.contains(&address),
            Self::Source(pattern) => source.is_some_and(|source| pattern.matches(source)),
        }
    }
}

/// An address, or a network such as `203.0.113.0/24`. What IPv6 says of IPv4 is IPv4.
pub fn network(text: &str) -> Option<IpNet> {
    let net = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))?.trunc();
    let within_ipv4 = net.prefix_len().checked_sub(96).zip(match net.addr().to_canonical() {
        IpAddr::V4(address) if net.addr().is_ipv6() => Some(address),
        _ => None,
    });
    within_ipv4.map_or(Some(net), |(prefix, address)| Some(Ipv4Net::new(address, prefix).ok()?.into()))
}

/// All blocks of one moment.
#[derive(Clone, Debug, Default)]
pub struct Blocklist {
    all: Vec<Arc<Block>>,
    /// Of single addresses there may be many thousands: of each, the block that lasts longest.
    hosts: HashMap<IpAddr, Arc<Block>>,
    others: Vec<Arc<Block>>,
}

impl Blocklist {
    pub fn of(blocks: impl IntoIterator<Item = Block>) -> Self {
        let mut list = Self::default();
        for block in blocks.into_iter().map(Arc::new) {
            match &block.subject {
                Subject::Network(net) if net.prefix_len() == net.max_prefix_len() => {
                    let kept = list.hosts.entry(net.addr()).or_insert_with(|| Arc::clone(&block));
                    if kept.until.is_some_and(|kept| block.until.is_none_or(|until| until > kept)) {
                        *kept = Arc::clone(&block);
                    }
                }
                Subject::Network(_) | Subject::Source(_) => list.others.push(Arc::clone(&block)),
            }
            list.all.push(block);
        }
        list
    }

    /// The block that keeps this call out, if any does.
    pub fn against(&self, address: IpAddr, source: Option<&str>, at: Timestamp) -> Option<&Block> {
        if self.all.is_empty() {
            return None;
        }
        let address = address.to_canonical();
        let covering = self.others.iter().filter(|block| block.subject.covers(address, source));
        self.hosts.get(&address).into_iter().chain(covering).find(|block| block.until.is_none_or(|until| at < until)).map(Arc::as_ref)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Block> {
        self.all.iter().map(Arc::as_ref)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(subject: Subject) -> Block {
        Block { subject, reason: "flood".into(), until: Some(Timestamp::from_secs(100)), place: Place::new("own.toml:1") }
    }

    #[test]
    fn networks_and_sources_are_kept_out_until_their_time_is_over() {
        let list = Blocklist::of([block(Subject::network("203.0.113.7/24").unwrap()), block(Subject::source("superduper-*").unwrap())]);
        let against =
            |ip: &str, source, secs| list.against(ip.parse().unwrap(), source, Timestamp::from_secs(secs)).map(|b| b.subject.text());
        assert_eq!(against("203.0.113.200", None, 99).as_deref(), Some("203.0.113.0/24"));
        assert_eq!(against("::ffff:203.0.113.1", None, 99).as_deref(), Some("203.0.113.0/24"));
        assert_eq!(against("203.0.114.1", Some("superduper-x"), 99).as_deref(), Some("superduper-*"));
        assert_eq!(against("203.0.114.1", Some("gemini-chat"), 99), None);
        assert_eq!(against("203.0.113.200", Some("superduper-x"), 100), None);
    }

    #[test]
    fn a_single_address_reads_as_one() {
        assert_eq!(Subject::network("203.0.113.7").unwrap().text(), "203.0.113.7");
        assert_eq!(Subject::network("2001:db8::1/64").unwrap().text(), "2001:db8::/64");
        assert!(Subject::network("203.0.113.0/33").is_none() && Subject::network("gemini-chat").is_none());
    }

    #[test]
    fn ipv4_is_ipv4_however_it_is_written() {
        for (text, read) in [
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("::ffff:203.0.113.7/120", "203.0.113.0/24"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("::ffff:0:0/95", "::fffe:0:0/95"),
            ("2001:db8::7/128", "2001:db8::7"),
        ] {
            assert_eq!(Subject::network(text).unwrap().text(), read, "{text}");
        }
        for text in ["0.0.0.0/0", "::/0", "::ffff:0:0/96"] {
            assert!(Subject::network(text).unwrap().is_everything(), "{text}");
        }
    }

    #[test]
    fn of_many_addresses_each_is_kept_out_as_long_as_any_block_says() {
        let host = |n: u32, until: Option<i64>| Block {
            until: until.map(Timestamp::from_secs),
            ..block(Subject::network(&std::net::Ipv4Addr::from(0x0a00_0000 + n).to_string()).unwrap())
        };
        let lasting = [Some(100), Some(300), Some(200)].map(|until| host(7, until));
        let list = Blocklist::of((0..10_000).map(|n| host(n, Some(100))).chain(lasting).chain([host(8, None)]));
        assert_eq!(list.iter().count(), 10_004);
        let until =
            |n: u32, secs| list.against(std::net::Ipv4Addr::from(0x0a00_0000 + n).into(), None, Timestamp::from_secs(secs)).is_some();
        assert_eq!(
            [until(7, 299), until(7, 300), until(8, 9999), until(9, 99), until(9, 100), until(10_000, 0)],
            [true, false, true, true, false, false]
        );
    }
}
