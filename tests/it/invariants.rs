//! What must hold for any bytes whatever, as functions: the property tests here run them over generated input, the fuzz targets over
//! everything else. Each asks a slow, simple reader of the same bytes and demands the same answer.

use std::fmt;

use bytes::Bytes;
use eliza_gatekeeper::call::{Envelope, Fields, Head, Reading, SqlText};
use eliza_gatekeeper::clock::Timestamp;
use eliza_gatekeeper::identity::{Action, CallId, NAME_LIMIT, SourceName, TargetName};
use eliza_gatekeeper::journal::{Entry, Found, Medium, Scan, SegmentId, Unreadable};
use eliza_gatekeeper::sql::{Backslashes, Field, Judgement, examine};
use eliza_gatekeeper::verdict::Failure;
use http::{HeaderMap, HeaderName, HeaderValue, Version};
use serde_json::Value;
use uuid::Uuid;

const FIELDS: [&str; 3] = ["operation", "sql", "query"];

/// For any body: no panic; what is accepted is what a simple reader accepts; every part is what that reader finds.
pub fn envelope(body: &[u8]) {
    let bytes = Bytes::copy_from_slice(body);
    let fields = Fields { sql: FIELDS.map(str::to_owned).to_vec(), ..Fields::default() };
    let parsed = Envelope::parse(bytes.clone(), &fields);
    if let Err(failure) = &parsed {
        is_short(failure);
    }
    match (&parsed, expected(body)) {
        (Ok(envelope), Expected::Accept { whole, tree }) => {
            agrees(envelope, &bytes, &whole, &tree);
            for text in &envelope.sql {
                sql(&text.text);
            }
        }
        (Err(Failure::AmbiguousBody { .. }), Expected::Ambiguous) => {}
        (Err(Failure::InvalidJson { .. }), Expected::NotText) => {}
        (Err(Failure::InvalidEnvelope { .. }), Expected::NotEnvelope) => {}
        // Whichever flaw is met first.
        (Err(_), Expected::Flawed) => {}
        (got, expected) => panic!("{got:?} where {expected:?} was expected of {}", String::from_utf8_lossy(body)),
    }
}

fn is_short(failure: &Failure) {
    match failure {
        Failure::InvalidJson { what } | Failure::InvalidEnvelope { what } => assert!(what.len() < 120, "{what}"),
        Failure::AmbiguousBody { what } => assert!(what.len() < 400, "{what}"),
        other => panic!("{other:?}"),
    }
}

fn agrees(envelope: &Envelope, body: &Bytes, whole: &Value, tree: &Tree) {
    assert_eq!(envelope.whole, body);
    let target = whole["target"].as_str().unwrap();
    if TargetName::parse(target).is_some() {
        assert_eq!(envelope.target, target);
    } else {
        assert!(TargetName::parse(&envelope.target).is_none() && envelope.target.len() <= NAME_LIMIT);
    }
    let action = whole.get("action").and_then(Value::as_str).filter(|action| !action.is_empty());
    assert_eq!(envelope.action.as_ref().map(Action::as_str), action);

    let payload = whole.get("payload").filter(|payload| !payload.is_null());
    let inner = payload.and_then(|payload| payload.get("action")).and_then(Value::as_str).filter(|action| !action.is_empty());
    assert_eq!(envelope.payload_action.is_some(), inner.is_some());
    if let Some(fits) = inner.and_then(Action::parse) {
        assert_eq!(envelope.payload_action.as_ref(), Some(&fits));
    }
    assert_eq!(envelope.payload.is_some(), payload.is_some());
    if let Some(slice) = &envelope.payload {
        assert!(body.as_ptr_range().start <= slice.as_ptr() && slice.as_ptr_range().end <= body.as_ptr_range().end, "a copy");
        assert_eq!(serde_json::from_slice::<Value>(slice).ok().as_ref(), payload);
    }

    if tree.is_unclear() {
        return;
    }
    let mut sql = Vec::new();
    tree.gather(&mut String::new(), false, 0, &mut sql);
    // What items of lists say together, tables of tests say.
    let fields: Vec<_> = envelope.sql_fields().filter(|text| !text.joined).collect();
    assert_eq!(fields.len(), sql.len());
    for (found, wanted) in fields.into_iter().zip(&sql) {
        assert_eq!(found.text, wanted.text);
        if wanted.pointer.len() <= 256 && !wanted.pointer.chars().any(char::is_control) {
            assert_eq!(found.pointer, wanted.pointer);
            match whole.pointer(&found.pointer) {
                Some(Value::String(text)) => assert_eq!(&found.text, text),
                // In a string of JSON no pointer of this document leads.
                Some(Value::Array(_)) | None => {}
                other => panic!("{} leads to {other:?}", found.pointer),
            }
        } else {
            assert!(found.pointer.len() <= 256);
        }
    }
}

#[derive(Debug)]
enum Expected {
    Accept {
        whole: Value,
        tree: Tree,
    },
    NotText,
    NotEnvelope,
    Ambiguous,
    /// Not JSON, or wrong in more than one way.
    Flawed,
}

fn expected(body: &[u8]) -> Expected {
    let marked = [&b"\xEF\xBB\xBF"[..], b"\xFE\xFF", b"\xFF\xFE"].iter().any(|mark| body.starts_with(mark));
    if marked || body.iter().take(4).any(|byte| *byte == 0) {
        return Expected::Ambiguous;
    }
    let Ok(tree) = serde_json::from_slice::<Tree>(body) else {
        return if std::str::from_utf8(body).is_ok() { Expected::Flawed } else { Expected::NotText };
    };
    let Tree::Map(members) = &tree else { return Expected::NotEnvelope };
    let named = |wanted: &'static str| members.iter().filter(move |(name, _)| name == wanted).map(|(_, value)| value);
    let fits = named("target").next().is_some()
        && named("target").all(|target| matches!(target, Tree::Text(target) if !target.is_empty()))
        && named("action").all(|action| match action {
            Tree::Null => true,
            Tree::Text(action) => action.is_empty() || Action::parse(action).is_some(),
            Tree::Other | Tree::List(_) | Tree::Map(_) => false,
        });
    match (fits, tree.ambiguous()) {
        (true, true) => Expected::Ambiguous,
        (false, true) => Expected::Flawed,
        (false, false) => Expected::NotEnvelope,
        (true, false) => Expected::Accept { whole: serde_json::from_slice(body).unwrap(), tree },
    }
}

/// JSON with every member kept, as often as it stands there.
#[derive(Debug)]
enum Tree {
    Null,
    Other,
    Text(String),
    List(Vec<Tree>),
    Map(Vec<(String, Tree)>),
}

impl Tree {
    fn ambiguous(&self) -> bool {
        match self {
            Self::Null | Self::Other | Self::Text(_) => false,
            Self::List(items) => items.iter().any(Self::ambiguous),
            Self::Map(members) => members.iter().enumerate().any(|(at, (name, value))| {
                name.starts_with("$serde_json::private::") || value.ambiguous() || members[..at].iter().any(|(earlier, _)| earlier == name)
            }),
        }
    }

    /// Whether a string in it looks like JSON and is none to a strict reader: others may read it, and so does the gatekeeper.
    fn is_unclear(&self) -> bool {
        match self {
            Self::Null | Self::Other => false,
            Self::Text(text) => match embedded(text) {
                Some(inner) => inner.is_unclear(),
                None => text.trim_ascii().starts_with(['{', '[', '"']),
            },
            Self::List(items) => items.iter().any(Self::is_unclear),
            Self::Map(members) => members.iter().any(|(_, value)| value.is_unclear()),
        }
    }

    /// What arrays in arrays may be put together from.
    fn gather(&self, pointer: &mut String, within: bool, depth: usize, out: &mut Vec<SqlText>) {
        let base = pointer.len();
        match self {
            Self::Text(text) if depth < 4 && base > 0 && embedded(text).is_some() => {
                embedded(text).unwrap().gather(pointer, within, depth + 1, out);
            }
            Self::Text(text) if within && !text.trim().is_empty() => {
                out.push(SqlText { pointer: pointer.clone(), text: text.clone(), reading: Reading::Sql, joined: false })
            }
            Self::Null | Self::Other | Self::Text(_) => {}
            Self::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    *pointer += &format!("/{index}");
                    item.gather(pointer, within, depth, out);
                    pointer.truncate(base);
                }
            }
            Self::Map(members) => {
                for (name, value) in members {
                    let own = name == "target" && base == 0 && depth == 0;
                    let named = FIELDS.contains(&name.to_lowercase().as_str());
                    *pointer += &format!("/{}", name.replace('~', "~0").replace('/', "~1"));
                    value.gather(pointer, !own && (within || named), depth, out);
                    pointer.truncate(base);
                }
            }
        }
    }
}

impl<'de> serde::Deserialize<'de> for Tree {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> serde::de::Visitor<'de> for Read {
            type Value = Tree;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }
            fn visit_unit<E>(self) -> Result<Tree, E> {
                Ok(Tree::Null)
            }
            fn visit_bool<E>(self, _: bool) -> Result<Tree, E> {
                Ok(Tree::Other)
            }
            fn visit_i64<E>(self, _: i64) -> Result<Tree, E> {
                Ok(Tree::Other)
            }
            fn visit_u64<E>(self, _: u64) -> Result<Tree, E> {
                Ok(Tree::Other)
            }
            fn visit_f64<E>(self, _: f64) -> Result<Tree, E> {
                Ok(Tree::Other)
            }
            fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
                Ok(Tree::Text(text.to_owned()))
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Tree, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Tree::List(items))
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Tree::Map(members))
            }
        }
        deserializer.deserialize_any(Read)
    }
}

/// JSON in a string.
fn embedded(text: &str) -> Option<Tree> {
    let trimmed = text.trim_ascii();
    let is_one = (trimmed.starts_with('{') && trimmed.ends_with('}')) || (trimmed.starts_with('[') && trimmed.ends_with(']'));
    is_one.then(|| serde_json::from_str(text).ok()).flatten()
}

/// For any text: judging it does not panic, says the same twice, and shows nothing unbounded or unprintable; what it says of places is so.
pub fn sql(text: &str) {
    for field in [Field::Sql, Field::Text] {
        for backslashes in [Backslashes::Plain, Backslashes::Both] {
            let judgement = examine(text, field, backslashes);
            assert_eq!(judgement, examine(text, field, backslashes));
            is_bounded(text, &judgement);
        }
    }
}

fn is_bounded(text: &str, judgement: &Judgement) {
    assert!(judgement.findings.len() < 1000, "{} findings", judgement.findings.len());
    for statement in &judgement.statements {
        assert!(text.get(statement.span.clone()).is_some(), "{statement:?} of {text:?}");
    }
    for finding in &judgement.findings {
        assert!(text.get(finding.span.clone()).is_some(), "{finding:?} of {text:?}");
        assert!(!finding.statement.is_empty() && finding.statement.chars().count() <= 501, "{finding:?}");
        assert!(!finding.statement.chars().any(char::is_control), "{finding:?}");
    }
}

/// For any header lines (`name:value`, after a first byte that picks the version): no panic, and nothing shown that was not sent, whole.
pub fn headers(data: &[u8]) {
    let Some((first, lines)) = data.split_first() else { return };
    let version = [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2][usize::from(first % 3)];
    let mut map = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n').take(64) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(&line[colon + 1..])) {
            map.append(name, value);
        }
    }
    let count = |name: &str| map.get_all(name).iter().count();
    let only = |name: &str| map.get(name).map(HeaderValue::as_bytes);
    let parse = || Head::parse(&map, version, CallId::new(), Timestamp::from_secs(0), std::net::IpAddr::from([127, 0, 0, 1]), None);
    let repeated = map.keys().any(|name| count(name.as_str()) > 1 && name.as_str().starts_with("x-eliza-"))
        || ["authorization", "apikey", "host"].iter().any(|name| count(name) > 1);
    let homeless = version == Version::HTTP_11 && count("host") == 0;
    let hops = only("x-eliza-hops")
        .map(|hops| std::str::from_utf8(hops).ok().filter(|hops| !hops.starts_with('+')).and_then(|hops| hops.parse::<u8>().ok()));
    let head = match parse() {
        Ok(head) => head,
        Err(Failure::AmbiguousHeaders(_)) => return assert!(repeated || homeless || hops == Some(None)),
        Err(other) => panic!("{other:?}"),
    };
    assert!(!repeated && !homeless);
    assert_eq!(hops.unwrap_or(Some(0)), Some(head.hops));

    let shown = &head.credentials;
    let printable = |bytes: &&[u8]| (1..=4096).contains(&bytes.len()) && bytes.iter().all(|byte| (0x20..=0x7E).contains(byte));
    assert_eq!(shown.eliza_key.is_some(), count("x-eliza-key") == 1);
    if let Some(key) = &shown.eliza_key {
        assert_eq!(key.reveal().as_bytes(), only("x-eliza-key").filter(printable).unwrap_or(b"\0"));
    }
    assert_eq!(shown.apikey.as_ref().map(|key| key.reveal().as_bytes()), only("apikey").filter(printable));
    if let Some(token) = &shown.bearer {
        let value = std::str::from_utf8(only("authorization").unwrap()).unwrap();
        let scheme = value.strip_suffix(token.reveal()).unwrap();
        assert!(scheme.trim_end_matches(' ').eq_ignore_ascii_case("bearer") && scheme.ends_with(' ') && !token.reveal().starts_with(' '));
    }
    if let Some(source) = &shown.eliza_source {
        let sent = only("x-eliza-source").unwrap();
        assert!(source.len() <= NAME_LIMIT && !source.chars().any(char::is_control));
        assert!(SourceName::parse(source).is_none() || source.as_bytes() == sent, "{source} passes for a name");
    } else {
        assert!(only("x-eliza-source").is_none_or(<[u8]>::is_empty));
    }

    assert!(head.trace.trace_id != 0 && head.trace.span_id != 0 && head.trace.flags <= 1);
    map.remove("traceparent");
    map.insert("traceparent", HeaderValue::from_bytes(&head.trace.traceparent()).unwrap());
    let next = Head::parse(&map, version, CallId::new(), Timestamp::from_secs(0), std::net::IpAddr::from([127, 0, 0, 1]), None).unwrap();
    assert_eq!((next.trace.trace_id, next.trace.flags), (head.trace.trace_id, head.trace.flags));
    assert_ne!(next.trace.span_id, head.trace.span_id);
}

/// For any bytes of a journal's segment: reading ends; every byte is part of an entry or named as damaged, in order; numbers grow; and no
/// entry is read but as it was appended. The numbers read.
pub fn journal_segment(bytes: &[u8], instance: Uuid, segment: SegmentId, is_appended: &dyn Fn(&Entry) -> bool) -> Vec<u64> {
    journal_medium(Scan::new(bytes, instance, segment, bytes.len() as u64, Unreadable::Error), bytes.len() as u64, is_appended)
}

/// The same wherever the bytes are.
pub fn journal_medium<M: Medium + ?Sized>(mut scan: Scan<'_, M>, end: u64, is_appended: &dyn Fn(&Entry) -> bool) -> Vec<u64> {
    let (mut numbers, mut read) = (Vec::new(), 0);
    loop {
        let found = scan.step().expect("it can be read");
        match &found {
            Found::Entry(entry) => {
                assert!(numbers.last().is_none_or(|last| *last < entry.number), "{} after {numbers:?}", entry.number);
                assert!(is_appended(entry), "{entry:?}");
                numbers.push(entry.number);
            }
            Found::Damage { offset, bytes, .. } => assert!(*offset >= read && *bytes > 0 && offset + bytes == scan.offset(), "{found:?}"),
            Found::End => {
                assert_eq!(scan.offset(), end);
                return numbers;
            }
        }
        assert!(scan.offset() > read, "{found:?} at {read}");
        read = scan.offset();
    }
}
