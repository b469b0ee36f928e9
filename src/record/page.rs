//! What lies in the journal for a record: a byte for the form, and then the record, in postcard's compact form.
//!
//! A journal may be read by a newer gatekeeper than the one that wrote it, so forms are never changed: a new one gets a new byte, and the
//! old one goes on being read. Of an older gatekeeper that comes back, what it does not know is kept nowhere, and told.

use serde::{Deserialize, Serialize};

use crate::identity::Origin;
use crate::store::CallRecord;
use crate::store::control::ActivityEntry;

const FORM: u8 = 1;

/// What is recorded.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub enum Page {
    Call(Box<CallRecord>),
    Entry(Box<ActivityEntry>),
}

#[derive(Serialize)]
enum PageRef<'a> {
    Call(&'a CallRecord),
    Entry(&'a ActivityEntry),
}

/// A page that nobody can read here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is of a form that this gatekeeper does not know")]
pub struct Unknown;

pub fn of_call(record: &CallRecord) -> Vec<u8> {
    encode(&PageRef::Call(record), record.metadata.len())
}

pub fn of_entry(entry: &ActivityEntry) -> Vec<u8> {
    encode(&PageRef::Entry(entry), 0)
}

fn encode(page: &PageRef<'_>, metadata: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(metadata + 1024);
    bytes.push(FORM);
    // Only a type that says its length late fails here, and none of these does; what is empty then is told of as damaged.
    postcard::to_extend(page, bytes).unwrap_or_default()
}

/// The record, as the entry of a journal that it is.
pub fn read(bytes: &[u8], origin: Origin) -> Result<Page, Unknown> {
    let (FORM, rest) = bytes.split_first().ok_or(Unknown).map(|(form, rest)| (*form, rest))? else { return Err(Unknown) };
    let mut page: Page = postcard::from_bytes(rest).map_err(|_| Unknown)?;
    match &mut page {
        Page::Call(record) => record.origin = Some(origin),
        Page::Entry(entry) => entry.origin = Some(origin),
    }
    Ok(page)
}
