//! Reading an envelope: strictly, in bounds, and so that whoever reads the same bytes after us cannot read another call out of them.
//!
//! One pass over the body checks everything and gathers what the gates ask for, without building a tree. Failures name a place, never what stands there: a body may hold secrets.

mod contents;
mod embedded;
mod pieces;
mod quick;
mod roles;
mod text;
mod visit;
mod walk;
mod whereabouts;

use std::str::Utf8Error;

use bytes::Bytes;
use serde::de::DeserializeSeed;
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::Envelope;
use super::fields::{Fields, Under};
use crate::verdict::Failure;
use quick::Stop;
use roles::Role;
use text::Text;
use visit::Node;
use walk::{Place, Walk};

pub use contents::Brought;

/// What some put before a text to say how it is encoded.
const MARKS: [&[u8]; 4] = [b"\xEF\xBB\xBF", b"\xFE\xFF", b"\xFF\xFE", b"\0\0\xFE\xFF"];

impl Envelope {
    /// `fields`: which strings are judged how. The envelope's own `operation` always is SQL.
    pub fn parse(body: Bytes, fields: &Fields) -> Result<Self, Failure> {
        refuse_disguises(&body)?;
        let text = Text::of(&body).map_err(|error| no_utf8(&error))?;
        let mut walk = Walk::new(&body, fields);
        read(&mut walk, text, Role::Root).map_err(|wrong| match wrong {
            Wrong::Refused(failure) => failure,
            Wrong::NoJson(error) => invalid_json(&error),
        })?;
        let Some(target) = walk.target.take() else {
            return Err(invalid("\"target\" is missing"));
        };
        walk.read_code(&target)?;
        let payload = payload(text, walk.payload)?.map(|payload| body.slice_ref(payload));
        let Walk { action, payload_action, sql, .. } = walk;
        Ok(Self { target, action, payload, payload_action, sql, whole: body })
    }
}

/// What is wrong with a text, whichever comes first.
enum Wrong {
    Refused(Failure),
    NoJson(serde_json::Error),
}

/// With a walk on which nothing was met yet.
fn read<'de>(walk: &mut Walk<'de, '_>, text: Text<'de>, role: Role) -> Result<(), Wrong> {
    match quick::read(walk, text, role) {
        Ok(()) => return Ok(()),
        Err(Stop::Refused(failure)) => return Err(Wrong::Refused(*failure)),
        Err(Stop::Unread) => walk.start_over(),
    }
    let mut json = serde_json::Deserializer::from_str(text.as_str());
    let node = Node { walk: &mut *walk, role, under: Under::Nothing };
    let read = node.deserialize(&mut json).and_then(|()| json.end());
    read.map_err(|error| walk.failure.take().map_or(Wrong::NoJson(error), |failure| Wrong::Refused(*failure)))
}

/// The payload's own bytes; `null` is none. All of the text is known to be a JSON object by now.
fn payload<'t>(text: Text<'t>, place: Place<'t>) -> Result<Option<&'t [u8]>, Failure> {
    let (name, next) = match place {
        Place::Nowhere => return Ok(None),
        Place::Between(name, next) => (name, next),
        Place::Somewhere => return skip_to_payload(text),
    };
    let bytes = text.as_bytes();
    let at = |part: &[u8]| part.as_ptr().addr().saturating_sub(bytes.as_ptr().addr());
    // What is around the value is the quote of its name and a colon, and a comma and the quote of the next or a brace.
    let end = next.map_or(bytes.len(), |next| at(next).saturating_sub(1));
    let around = bytes.get(at(name) + name.len() + 1..end).unwrap_or_default().trim_ascii();
    let close: &[u8] = if next.is_some() { b"," } else { b"}" };
    match around.strip_prefix(b":").and_then(|value| value.strip_suffix(close)).map(<[u8]>::trim_ascii) {
        Some(value) => Ok(Some(value).filter(|value| *value != b"null")),
        None => skip_to_payload(text),
    }
}

/// Reads all of it once more.
fn skip_to_payload(text: Text<'_>) -> Result<Option<&[u8]>, Failure> {
    #[derive(serde::Deserialize)]
    struct Members<'a> {
        #[serde(borrow)]
        payload: Option<&'a RawValue>,
    }
    let Members { payload } = serde_json::from_str(text.as_str()).map_err(|error| invalid_json(&error))?;
    Ok(payload.map(|payload| payload.get().as_bytes()))
}

/// The text of a body that claims to be JSON.
pub fn decode(body: &[u8]) -> Result<&str, Failure> {
    refuse_disguises(body)?;
    str::from_utf8(body).map_err(|error| no_utf8(&error))
}

/// What is in another encoding than UTF-8, or may be taken for that; and nothing at all.
fn refuse_disguises(body: &[u8]) -> Result<(), Failure> {
    if MARKS.iter().any(|mark| body.starts_with(mark)) {
        return Err(ambiguous("the body begins with a byte order mark; send UTF-8 without one".to_owned()));
    }
    // Every JSON text begins with ASCII, so UTF-16 and UTF-32 show a NUL at once; UTF-8 has none.
    if body.iter().take(4).any(|byte| *byte == 0) {
        return Err(ambiguous("the body looks like UTF-16 or UTF-32; send UTF-8".to_owned()));
    }
    if body.trim_ascii().is_empty() {
        return Err(Failure::InvalidJson { what: "the body is empty".to_owned() });
    }
    Ok(())
}

fn no_utf8(error: &Utf8Error) -> Failure {
    Failure::InvalidJson { what: format!("not UTF-8 from byte {} on", error.valid_up_to()) }
}

/// What is wrong with it, and where: never what stands there.
pub fn invalid_json(error: &serde_json::Error) -> Failure {
    let text = error.to_string();
    let phrase = match error.classify() {
        // Fixed phrases; all others may quote what they found.
        Category::Syntax | Category::Eof => text.rsplit_once(" at line ").map_or("not JSON", |(phrase, _)| phrase),
        Category::Data | Category::Io => "not JSON",
    };
    Failure::InvalidJson { what: format!("{phrase} at line {}, column {}", error.line(), error.column()) }
}

fn invalid(what: &str) -> Failure {
    Failure::InvalidEnvelope { what: what.to_owned() }
}

fn ambiguous(what: String) -> Failure {
    Failure::AmbiguousBody { what }
}
