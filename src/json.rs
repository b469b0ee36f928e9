//! JSON objects written member by member, straight into the text that they are part of. Every call leaves three of them, and every refusal
//! is one: a serializer that looks through the members' own names for what must be escaped, and collects flattened ones first, takes ten
//! times as long.

use serde::Serialize;

/// What comes before the value of an object's first member.
macro_rules! first {
    ($name:literal) => {
        concat!("{\"", $name, "\":")
    };
}

/// What comes before that of any other.
macro_rules! next {
    ($name:literal) => {
        concat!(",\"", $name, "\":")
    };
}

pub(crate) use {first, next};

pub fn text(into: &mut String, name: &'static str, value: &str) {
    if value.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
        self::value(into, name, &value);
    } else {
        plain(into, name, value);
    }
}

/// A name, or a word of our own: there is nothing in it that would have to be escaped.
///
/// Inlined wherever it is called, so that the member's name, which is known there, is no copying of bytes.
#[inline(always)]
pub fn plain(into: &mut String, name: &'static str, value: &str) {
    into.push_str(name);
    into.push('"');
    into.push_str(value);
    into.push('"');
}

pub fn null(into: &mut String, name: &'static str) {
    into.push_str(name);
    into.push_str("null");
}

#[inline]
pub fn number(into: &mut String, name: &'static str, value: impl itoa::Integer) {
    into.push_str(name);
    into.push_str(itoa::Buffer::new().format(value));
}

#[inline]
pub fn truth(into: &mut String, name: &'static str, value: bool) {
    into.push_str(name);
    into.push_str(if value { "true" } else { "false" });
}

/// Whatever is too rare to be worth more.
#[cold]
pub fn value(into: &mut String, name: &'static str, value: &impl Serialize) {
    into.push_str(name);
    into.push_str(&of(value));
}

/// The members of an object, as further ones of the object that is being written.
#[cold]
pub fn members(into: &mut String, object: &impl Serialize) {
    let object = of(object);
    if let Some(members) = object.strip_prefix('{').and_then(|members| members.strip_suffix('}')).filter(|members| !members.is_empty()) {
        into.push(',');
        into.push_str(members);
    }
}

/// Plain text and numbers, which JSON can always say.
fn of(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
