//! A call as the gates see it: its head before anything of the body is read, and its envelope after.

mod begins;
mod code;
mod direct;
pub mod envelope;
mod escapes;
mod fields;
mod head;
mod passage;
mod traffic;
mod wrapped;

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Version};

use crate::clock::Timestamp;
use crate::identity::{Action, CallId, PeerCertificate, Secret};

pub use direct::{Address, DIRECT, leads_out};
pub use envelope::Brought;
pub use fields::{CodeField, Fields, Path, Reading, Way};
pub use passage::{CacheUse, Passage};
pub use traffic::Traffic;
pub use wrapped::unwrapped;

/// What is known of a call from its headers alone.
#[derive(Clone, Debug)]
pub struct Head {
    pub id: CallId,
    /// The moment of arrival: the one time this call is judged, counted and recorded at.
    pub at: Timestamp,
    pub peer: IpAddr,
    pub credentials: Shown,
    /// What the connection has verified. Never from a header.
    pub certificate: Option<Arc<PeerCertificate>>,
    pub trace: TraceContext,
    /// Gatekeepers this call has passed already.
    pub hops: u8,
    pub hop: Hop,
}

/// How a call came over its last hop, which the next one is told.
#[derive(Clone, Debug, Default)]
pub struct Hop {
    pub version: Version,
    pub scheme: Scheme,
    /// What it called us.
    pub host: Option<HeaderValue>,
    /// The trusted proxy that it came through: what that says of the hops before may be passed on.
    pub proxy: Option<IpAddr>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    #[default]
    Http,
    Https,
}

impl Scheme {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// An address in a list of those that a call came through: with a port or without, as proxies differ.
pub fn hop_address(entry: &str) -> Option<IpAddr> {
    let text = entry.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address: IpAddr = bare.parse().ok().or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()))?;
    Some(address.to_canonical())
}

/// The credentials a caller showed, not yet judged.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// Present whenever the header is: what cannot be read stands here as a key that nobody has.
    pub eliza_key: Option<Secret>,
    pub eliza_source: Option<Arc<str>>,
    /// The token of `Authorization: Bearer`.
    pub bearer: Option<Secret>,
    pub apikey: Option<Secret>,
}

/// W3C trace context: the caller's trace goes on, with a span of our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    pub trace_id: u128,
    pub span_id: u64,
    pub flags: u8,
}

/// A body of the envelope door, parsed: every part is valid, nothing of it is judged yet.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// As written where it can name a target at all, else cut and marked; whether it does name one is for the route to find.
    pub target: String,
    pub action: Option<Action>,
    /// The payload's own bytes as they came.
    pub payload: Option<Bytes>,
    /// The envelope's own bytes as they came.
    pub whole: Bytes,
    /// `payload.action`, where that is a string with something in it; cut and marked where it is no action, so that it names none.
    pub payload_action: Option<Action>,
    /// Every string that may be SQL, decoded, with its JSON pointer.
    pub sql: Vec<SqlText>,
}

impl Envelope {
    /// The strings that stand where policy says that SQL stands.
    pub fn sql_fields(&self) -> impl Iterator<Item = &SqlText> {
        self.sql.iter().filter(|text| text.reading == Reading::Sql)
    }
}

/// What a direct call says, as far as it is judged: the whole of it is for its target.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// Every string of body and query that may be SQL, decoded, with its place.
    pub sql: Vec<SqlText>,
    /// The actions that body and query name; a target takes either.
    pub actions: Vec<Action>,
}

/// What the gates look at of a call, by the door it came through.
#[derive(Clone, Debug)]
pub enum Content {
    Envelope(Arc<Envelope>),
    Direct(Arc<Contents>),
}

impl Content {
    /// In the order in which they stand there.
    pub fn sql(&self) -> &[SqlText] {
        match self {
            Self::Envelope(envelope) => &envelope.sql,
            Self::Direct(contents) => &contents.sql,
        }
    }

    /// The strings that stand where policy says that SQL stands.
    pub fn sql_fields(&self) -> impl Iterator<Item = &SqlText> {
        self.sql().iter().filter(|text| text.reading == Reading::Sql)
    }

    /// Every action that is named.
    pub fn actions(&self) -> impl Iterator<Item = &Action> {
        let (of_envelope, of_direct) = match self {
            Self::Envelope(envelope) => ([envelope.action.as_ref(), envelope.payload_action.as_ref()], &[][..]),
            Self::Direct(contents) => ([None, None], contents.actions.as_slice()),
        };
        of_envelope.into_iter().flatten().chain(of_direct)
    }
}

/// A string of a call that is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlText {
    /// Cut to a bound.
    pub pointer: String,
    pub text: String,
    pub reading: Reading,
    /// Put together of the items of an array, which are there by themselves too.
    pub joined: bool,
}

/// One authenticated call as `rate_limits` counts it, refused or not.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Count {
    /// The source, or the pattern whose sources share one count, or the service role.
    pub identifier: Arc<str>,
    /// An [`Endpoint`](crate::identity::Endpoint), or one of its two labels.
    pub endpoint: Arc<str>,
    /// The start of the clock minute of the call's arrival.
    pub minute: Timestamp,
}

/// Marks what was cut off a caller's words.
pub const CUT: char = '…';

/// A caller's own words made fit to be kept and shown: at most `limit` bytes, and nothing that a log, a terminal or a database
/// chokes on. What had to be changed bears a mark (U+FFFD, `…`) that no name can contain, so a changed text never passes for a name.
pub fn legible(text: &str, limit: usize) -> String {
    as_legible(text, limit).into_owned()
}

/// The same, of what is mostly fit as it is.
pub fn as_legible(text: &str, limit: usize) -> Cow<'_, str> {
    if is_legible(text, limit) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len().min(limit));
    for c in text.chars() {
        let c = if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
        if out.len() + c.len_utf8() > limit {
            while out.len() + CUT.len_utf8() > limit && out.pop().is_some() {}
            out.push(CUT);
            break;
        }
        out.push(c);
    }
    out.into()
}

/// Whether a text is fit as it is, as most are.
fn is_legible(text: &str, limit: usize) -> bool {
    text.len() <= limit && text.bytes().all(|b| (b' '..=b'~').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_text_is_bounded_and_marked() {
        assert_eq!(legible("gemini-chat", 128), "gemini-chat");
        assert_eq!(legible(&"a".repeat(128), 128), "a".repeat(128));
        assert_eq!(legible(&"a".repeat(129), 128), format!("{}…", "a".repeat(125)));
        assert_eq!(legible(&"é".repeat(100), 128), format!("{}…", "é".repeat(62)));
        assert_eq!(legible("a\0b\u{85}c", 128), "a\u{FFFD}b\u{FFFD}c");
    }
}
