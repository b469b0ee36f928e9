//! Whom operators keep out: networks and sources, by policy or at a moment's notice.

use std::net::IpAddr;

use ipnet::IpNet;

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
        let net = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))?;
        Some(Self::Network(net.trunc()))
    }

    pub fn source(text: &str) -> Option<Self> {
        NamePattern::parse(text).map(Self::Source)
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

    fn covers(&self, address: IpAddr, source: Option<&str>) -> bool {
        match self {
            Self::Network(net) => net.contains(&address.to_canonical()),
            Self::Source(pattern) => source.is_some_and(|source| pattern.matches(source)),
        }
    }
}

/// All blocks of one moment.
#[derive(Clone, Debug, Default)]
pub struct Blocklist {
    blocks: Vec<Block>,
}

impl Blocklist {
    pub fn of(blocks: impl IntoIterator<Item = Block>) -> Self {
        Self { blocks: blocks.into_iter().collect() }
    }

    /// The block that keeps this call out, if any does.
    pub fn against(&self, address: IpAddr, source: Option<&str>, at: Timestamp) -> Option<&Block> {
        self.blocks.iter().find(|block| block.until.is_none_or(|until| at < until) && block.subject.covers(address, source))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Block> {
        self.blocks.iter()
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
}
