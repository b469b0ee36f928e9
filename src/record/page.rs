//! What lies in the journal for a record: a byte for the form, and then the record, in postcard's compact form.
//!
//! A journal may be read by a newer gatekeeper than the one that wrote it, so forms are never changed: a new one gets a new byte, and the
//! old one goes on being read. It may be read by an older one too, one that comes back: so whoever adds a form raises the journal's `VERSION`
//! (`journal/format`) with it, and the older one leaves the whole journal where it lies. What it read and did not know would be lost.

use postcard::ser_flavors::Flavor;
use serde::{Deserialize, Serialize};

use crate::identity::Origin;
use crate::store::Record;
use crate::store::control::ActivityEntry;

/// A new one raises the journal's `VERSION`, as is said above.
const FORM: u8 = 1;
/// More than most records take beside their metadata.
const ROOM: usize = 512;

/// What is recorded.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "nearly all are calls, and each goes at once where it stays")]
pub enum Page<'a> {
    /// Its texts are those of the page.
    Call(#[serde(borrow)] Record<'a>),
    Entry(Box<ActivityEntry>),
}

#[derive(Serialize)]
enum PageRef<'a> {
    Call(&'a Record<'a>),
    Entry(&'a ActivityEntry),
}

/// A page that nobody can read here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is of a form that this gatekeeper does not know")]
pub struct Unknown;

pub fn of_call(record: &Record<'_>) -> Vec<u8> {
    encode(&PageRef::Call(record), record.metadata.len() + ROOM)
}

pub fn of_entry(entry: &ActivityEntry) -> Vec<u8> {
    encode(&PageRef::Entry(entry), 2 * ROOM)
}

fn encode(page: &PageRef<'_>, room: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(room);
    bytes.push(FORM);
    // Only a type that says its length late fails here, and none of these does; what is empty then is told of as damaged.
    postcard::serialize_with_flavor(page, Bytes(bytes)).unwrap_or_default()
}

/// Where postcard puts what it says. Its own way into a `Vec` goes through an iterator, byte by byte.
struct Bytes(Vec<u8>);

impl Flavor for Bytes {
    type Output = Vec<u8>;

    #[inline]
    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        match data {
            // Most numbers, and the lengths of most texts.
            [byte] => self.0.push(*byte),
            bytes => self.0.extend_from_slice(bytes),
        }
        Ok(())
    }

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Vec<u8>> {
        Ok(self.0)
    }
}

/// The record, as the entry of a journal that it is.
pub fn read(bytes: &[u8], origin: Origin) -> Result<Page<'_>, Unknown> {
    let (FORM, rest) = bytes.split_first().ok_or(Unknown).map(|(form, rest)| (*form, rest))? else { return Err(Unknown) };
    let mut page: Page<'_> = postcard::from_bytes(rest).map_err(|_| Unknown)?;
    match &mut page {
        Page::Call(record) => record.origin = Some(origin),
        Page::Entry(entry) => entry.origin = Some(origin),
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use uuid::Uuid;

    use super::*;
    use crate::clock::Timestamp;
    use crate::store::control::{EntryKind, EntryStatus};
    use crate::store::{ActivityStatus, ActivityType, ApiStatus, AuditClass, CallRecord, Counted, StatsKey, StatsOutcome};

    const ORIGIN: Origin = Origin { instance: Uuid::from_u128(0x0192_f0c1_2345_7abc_8def_0123_4567_89ab), seq: 7 };
    const ACTIVITY_STATUSES: [ActivityStatus; 3] = [ActivityStatus::Completed, ActivityStatus::Error, ActivityStatus::Blocked];
    const API_STATUSES: [ApiStatus; 3] = [ApiStatus::Success, ApiStatus::Error, ApiStatus::Timeout];
    const OUTCOMES: [StatsOutcome; 3] = [StatsOutcome::Successful, StatsOutcome::Failed, StatsOutcome::Denied];
    const AUDIT_CLASSES: [AuditClass; 3] = [AuditClass::Ordinary, AuditClass::Blocked, AuditClass::LetThrough];
    const ENTRY_KINDS: [EntryKind; 2] = [EntryKind::ManualBypass, EntryKind::AutoFix];
    const ENTRY_STATUSES: [EntryStatus; 4] = [EntryStatus::Open, EntryStatus::Triggered, EntryStatus::Succeeded, EntryStatus::Failed];

    fn call() -> CallRecord {
        CallRecord {
            id: Uuid::from_u128(1),
            origin: None,
            at: Timestamp::from_micros(1_700_000_000_000_001),
            activity_type: ActivityType::SchemaProtection,
            activity_status: ActivityStatus::Blocked,
            title: "\u{26d4} no".into(),
            description: "d".into(),
            metadata: "{\"a\":1}".into(),
            api_status: ApiStatus::Timeout,
            error_message: Some("e".into()),
            request: "{}".into(),
            caller_context: "{\"c\":2}".into(),
            execution_ms: -300,
            times: 300,
            stats: StatsKey { source: "s".into(), target: "".into(), outcome: StatsOutcome::Denied },
            counted: Some(Counted { identifier: "i".into(), endpoint: "t:a".into(), minute: Timestamp::from_secs(1_699_999_980) }),
            audit: AuditClass::LetThrough,
        }
    }

    fn entry() -> ActivityEntry {
        ActivityEntry {
            id: Uuid::from_u128(2),
            origin: None,
            at: Timestamp::from_micros(-1),
            kind: EntryKind::AutoFix,
            status: EntryStatus::Failed,
            title: "t".into(),
            description: "d".into(),
            metadata: json!({"k": ["v", null]}),
        }
    }

    const CALL: &str = "010010000000000000000000000000000000018280f28183898506020206e29b94206e6f0164077b2261223a317d02010165027b7d077b2263223a327dd704ac020173000201016903743a6180cce8ee8289850602";
    const ENTRY: &str = "0101100000000000000000000000000000000201010301740164107b226b223a5b2276222c6e756c6c5d7d";

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(hex.get(at..at + 2).unwrap(), 16).unwrap()).collect()
    }

    /// If this fails, a new gatekeeper loses what an old one left: give what changed a form of its own instead, and go on reading this one.
    #[test]
    fn what_lies_in_journals_goes_on_being_read() {
        assert_eq!((hex(&of_call(&call())), hex(&of_entry(&entry()))), (CALL.into(), ENTRY.into()));
        let expected = CallRecord { origin: Some(ORIGIN), ..call() };
        assert_eq!(read(&bytes(CALL), ORIGIN), Ok(Page::Call(expected)));
        let expected = ActivityEntry { origin: Some(ORIGIN), ..entry() };
        assert_eq!(read(&bytes(ENTRY), ORIGIN), Ok(Page::Entry(Box::new(expected))));
    }

    /// Each by its place: a new one goes to the end of its enum.
    #[test]
    fn words_keep_their_numbers() {
        fn numbers<T: Serialize>(words: &[T]) -> Vec<u8> {
            words.iter().flat_map(|word| postcard::to_extend(word, Vec::new()).unwrap()).collect()
        }
        assert_eq!(numbers(&ActivityType::ALL), [0, 1, 2, 3]);
        assert_eq!(numbers(&ACTIVITY_STATUSES), [0, 1, 2]);
        assert_eq!(numbers(&API_STATUSES), [0, 1, 2]);
        assert_eq!(numbers(&OUTCOMES), [0, 1, 2]);
        assert_eq!(numbers(&AUDIT_CLASSES), [0, 1, 2]);
        assert_eq!(numbers(&ENTRY_KINDS), [0, 1]);
        assert_eq!(numbers(&ENTRY_STATUSES), [0, 1, 2, 3]);
    }

    #[test]
    fn what_is_of_another_form_or_no_page_is_unknown() {
        let mut later = of_call(&call());
        later[0] = FORM + 1;
        for page in [&later[..], &[], &[FORM], &[FORM, 2]] {
            assert_eq!(read(page, ORIGIN), Err(Unknown));
        }
    }

    fn any_call() -> impl Strategy<Value = CallRecord> {
        let text = || any::<String>();
        let words = (
            prop::sample::select(ActivityType::ALL.to_vec()),
            prop::sample::select(ACTIVITY_STATUSES.to_vec()),
            prop::sample::select(API_STATUSES.to_vec()),
            prop::sample::select(OUTCOMES.to_vec()),
            prop::sample::select(AUDIT_CLASSES.to_vec()),
        );
        let texts = (text(), text(), text(), prop::option::of(text()), text(), text());
        let names = (text(), text(), prop::option::of((text(), text(), any::<i64>())));
        (any::<u128>(), any::<i64>(), any::<i32>(), any::<u32>(), words, texts, names).prop_map(
            |(id, at, execution_ms, times, words, texts, (source, target, counted))| {
                let (activity_type, activity_status, api_status, outcome, audit) = words;
                let (title, description, metadata, error_message, request, caller_context) = texts;
                CallRecord {
                    id: Uuid::from_u128(id),
                    origin: Some(ORIGIN),
                    at: Timestamp::from_micros(at),
                    activity_type,
                    activity_status,
                    title: title.into(),
                    description: description.into(),
                    metadata: metadata.into(),
                    api_status,
                    error_message: error_message.map(Into::into),
                    request: request.into(),
                    caller_context: caller_context.into(),
                    execution_ms,
                    times,
                    stats: StatsKey { source: source.into(), target: target.into(), outcome },
                    counted: counted.map(|(identifier, endpoint, minute)| Counted {
                        identifier: identifier.into(),
                        endpoint: endpoint.into(),
                        minute: Timestamp::from_micros(minute),
                    }),
                    audit,
                }
            },
        )
    }

    fn any_entry() -> impl Strategy<Value = ActivityEntry> {
        let words = (prop::sample::select(ENTRY_KINDS.to_vec()), prop::sample::select(ENTRY_STATUSES.to_vec()));
        let metadata = (any::<String>(), any::<i64>(), any::<bool>());
        (any::<u128>(), any::<i64>(), words, any::<String>(), any::<String>(), metadata).prop_map(
            |(id, at, (kind, status), title, description, (text, number, word))| ActivityEntry {
                id: Uuid::from_u128(id),
                origin: Some(ORIGIN),
                at: Timestamp::from_micros(at),
                kind,
                status,
                title,
                description,
                metadata: json!({"text": text, "more": [number, word, null]}),
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(call in any_call(), entry in any_entry()) {
            let page = of_call(&call);
            prop_assert_eq!(read(&page, ORIGIN), Ok(Page::Call(call)));
            let page = of_entry(&entry);
            prop_assert_eq!(read(&page, ORIGIN), Ok(Page::Entry(Box::new(entry))));
        }

        /// Whatever a disk makes of it.
        #[test]
        fn reading_comes_to_an_end_without_a_panic(call in any_call(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
            let mut page = of_call(&call);
            let at = at.index(page.len());
            page[at] = byte;
            page.truncate(cut.index(page.len()) + 1);
            let _either = read(&page, ORIGIN);
        }
    }
}
