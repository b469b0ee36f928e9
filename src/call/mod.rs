//! A call as the gates see it: its head before anything of the body is read, and its envelope after.

mod begins;
mod code;
pub mod envelope;
mod escapes;
mod fields;
mod head;
mod passage;
mod wrapped;

use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::identity::{Action, CallId, Secret};

pub use fields::{CodeField, Fields, Path, Reading, Way};
pub use passage::{CacheUse, Passage};
pub use wrapped::unwrapped;

/// What is known of a call from its headers alone.
#[derive(Clone, Debug)]
pub struct Head {
    pub id: CallId,
    /// The moment of arrival: the one time this call is judged, counted and recorded at.
    pub at: Timestamp,
    pub peer: IpAddr,
    pub credentials: Shown,
    pub trace: TraceContext,
    /// Gatekeepers this call has passed already.
    pub hops: u8,
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
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
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
    if text.len() <= limit && text.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        return text.to_owned();
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
    out
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
