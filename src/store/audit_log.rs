//! The audit log as the stores keep it: what is sealed, in the transaction that records it, and what is asked of it to prove it.
//!
//! A store that was opened with a [`Sealer`] seals by itself, whatever is written through it. One without leaves entries of `security_audit`
//! to the next that has one; so do the databases' own triggers.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::batch::{plain, plain_json};
use super::{AuditClass, Record, StoreFuture};
use crate::audit::AuditEntry;
use crate::clock::Timestamp;
use crate::seal::walk::{Place, StoredRow};
use crate::seal::{Head, Item, Kind, Sealer};

/// Rows read at once.
pub(super) const PAGE: usize = 200;
/// Entries sealed in one transaction.
pub(super) const ENTRIES: usize = 100;
/// Calls without a seal that are told of.
pub(super) const UNSEALED: i64 = 1000;

pub trait AuditLog {
    /// What seals here, if anything does.
    fn sealer(&self) -> Option<&Arc<Sealer>>;

    /// Seals the entries of `security_audit` since `since` that nobody has sealed; how many there were. Nothing without a sealer.
    fn seal_entries(&self, since: Timestamp) -> StoreFuture<'_, u64>;

    /// The next rows behind a place, in order; none at the end.
    fn rows_after<'a>(&'a self, place: Option<&'a Place>) -> StoreFuture<'a, Vec<StoredRow>>;

    /// What there is of these heads, one answer each.
    fn witness<'a>(&'a self, heads: &'a [Head]) -> StoreFuture<'a, Vec<Witness>>;

    /// What the table that people look at says today of these calls or entries, if it still has them.
    fn logged<'a>(&'a self, table: Table, ids: &'a [Uuid]) -> StoreFuture<'a, Vec<Logged>>;

    /// Entries of `security_audit` that nobody has sealed yet.
    fn unsealed_entries(&self) -> StoreFuture<'_, UnsealedEntries>;

    /// Blocked calls of the activity log and its archive that a gatekeeper recorded, for it numbered them, and that have no seal. There
    /// can be none: both are one transaction.
    fn unsealed_calls(&self) -> StoreFuture<'_, Vec<UnsealedCall>>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnsealedEntries {
    pub count: u64,
    pub oldest: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct UnsealedCall {
    pub instance: String,
    pub seq: i64,
    pub id: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Witness {
    /// A row of this number with this hash is there.
    pub is_there: bool,
    /// The highest number of the chain.
    pub last: Option<i64>,
}

/// Where a sealed row's likeness lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    Activity,
    SecurityAudit,
}

impl Table {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Activity => "eliza_activity_log",
            Self::SecurityAudit => "security_audit",
        }
    }

    pub(super) const fn of(kind: Kind) -> Option<Self> {
        match kind {
            Kind::CallBlocked | Kind::CallLetThrough => Some(Self::Activity),
            Kind::Entry => Some(Self::SecurityAudit),
            Kind::ChainOpened => None,
        }
    }
}

/// A row of such a table: the members that can be held against what was sealed.
#[derive(Clone, Debug, PartialEq)]
pub struct Logged {
    pub id: Uuid,
    /// Where it must be the moment that was sealed.
    pub at: Option<Timestamp>,
    pub says: Vec<(&'static str, Value)>,
}

impl Logged {
    /// Whether it says what was sealed.
    pub(super) fn agrees(&self, at: Timestamp, content: &Value) -> bool {
        self.at.is_none_or(|now| now == at)
            && self.says.iter().all(|(member, now)| read(content.get(member).unwrap_or(&Value::Null)) == read(now))
    }
}

/// A table that another program made may keep JSON as text.
fn read(value: &Value) -> Cow<'_, Value> {
    let text = value.as_str().filter(|text| text.starts_with(['{', '[', '"']));
    text.and_then(|text| serde_json::from_str(text).ok()).map_or(Cow::Borrowed(value), Cow::Owned)
}

/// Those of a batch that are sealed, in its order.
pub(super) fn of_calls(records: &[&Record<'_>]) -> Vec<Item> {
    let sealed = |record: &&Record<'_>| {
        let kind = match record.audit {
            AuditClass::Ordinary => return None,
            AuditClass::Blocked => Kind::CallBlocked,
            AuditClass::LetThrough => Kind::CallLetThrough,
        };
        Some(Item { kind, id: record.id, at: record.at, content: content(&Call::of(record)) })
    };
    records.iter().filter_map(sealed).collect()
}

pub(super) fn of_entries(entries: &[AuditEntry]) -> Vec<Item> {
    entries.iter().map(|entry| Item { kind: Kind::Entry, id: entry.id, at: entry.at, content: content(&Entry::of(entry)) }).collect()
}

/// Texts and JSON values, which JSON can always say.
fn content(of: &impl Serialize) -> String {
    serde_json::to_string(of).unwrap_or_default()
}

/// A call's rows, as they are written.
#[derive(Serialize)]
struct Call<'a> {
    activity_type: &'static str,
    status: &'static str,
    title: Cow<'a, str>,
    description: Cow<'a, str>,
    metadata: Value,
    api_status: &'static str,
    error_message: Option<Cow<'a, str>>,
    request_payload: Value,
    caller_context: Value,
    execution_time_ms: i32,
}

impl<'a> Call<'a> {
    fn of(record: &'a Record<'a>) -> Self {
        Self {
            activity_type: record.activity_type.as_str(),
            status: record.activity_status.as_str(),
            title: plain(&record.title),
            description: plain(&record.description),
            metadata: json(&record.metadata),
            api_status: record.api_status.as_str(),
            error_message: record.error_message.as_deref().map(plain),
            request_payload: json(&record.request),
            caller_context: json(&record.caller_context),
            execution_time_ms: record.execution_ms,
        }
    }
}

#[derive(Serialize)]
struct Entry<'a> {
    actor: Cow<'a, str>,
    action: Cow<'a, str>,
    subject: Cow<'a, str>,
    reason: Option<Cow<'a, str>>,
    before: Value,
    after: Value,
}

impl<'a> Entry<'a> {
    fn of(entry: &'a AuditEntry) -> Self {
        let AuditEntry { actor, action, subject, reason, before, after, .. } = entry;
        Self {
            actor: plain(actor),
            action: plain(action),
            subject: plain(subject),
            reason: reason.as_deref().map(plain),
            before: json(&before.to_string()),
            after: json(&after.to_string()),
        }
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(&plain_json(text)).unwrap_or_else(|_| plain(text).into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_logged_is_held_against_what_was_sealed() {
        let at = Timestamp::from_secs(60);
        let sealed = json!({ "title": "a", "reason": null, "metadata": { "n": 1, "m": 2 } });
        let logged = |says| Logged { id: Uuid::nil(), at: None, says };
        assert!(logged(vec![("title", json!("a")), ("reason", Value::Null), ("metadata", json!({ "m": 2, "n": 1 }))]).agrees(at, &sealed));
        assert!(logged(vec![("metadata", json!("{\"m\": 2, \"n\": 1}"))]).agrees(at, &sealed), "JSON as text");
        for changed in [("title", json!("b")), ("title", Value::Null), ("reason", json!("x")), ("metadata", json!({ "n": 1 }))] {
            assert!(!logged(vec![changed.clone()]).agrees(at, &sealed), "{changed:?}");
        }
        assert!(!Logged { at: Some(Timestamp::from_secs(61)), ..logged(vec![]) }.agrees(at, &sealed));
    }
}
