//! JSON objects written member by member, straight into the text that they are part of. Every call leaves three of them: a serializer that
//! looks through the members' own names for what must be escaped, and collects flattened ones first, takes ten times as long.

use std::fmt;

use serde::Serialize;

/// The name of an object's first member.
macro_rules! first {
    ($name:literal) => {
        concat!("{\"", $name, "\":")
    };
}

/// The name of any other.
macro_rules! next {
    ($name:literal) => {
        concat!(",\"", $name, "\":")
    };
}

pub(super) use {first, next};

pub fn text(into: &mut String, name: &'static str, value: &str) {
    into.push_str(name);
    let is_plain = !value.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\');
    if is_plain {
        into.push('"');
        into.push_str(value);
        into.push('"');
    } else {
        into.push_str(&of(&value));
    }
}

/// A text that holds nothing which needs escaping.
pub fn plain(into: &mut String, name: &'static str, write: impl FnOnce(&mut String) -> fmt::Result) {
    into.push_str(name);
    into.push('"');
    // Text can be added to a text.
    let _always = write(into);
    into.push('"');
}

pub fn text_or_null(into: &mut String, name: &'static str, value: Option<&str>) {
    match value {
        Some(value) => text(into, name, value),
        None => {
            into.push_str(name);
            into.push_str("null");
        }
    }
}

pub fn number(into: &mut String, name: &'static str, value: impl itoa::Integer) {
    into.push_str(name);
    into.push_str(itoa::Buffer::new().format(value));
}

pub fn truth(into: &mut String, name: &'static str, value: bool) {
    into.push_str(name);
    into.push_str(if value { "true" } else { "false" });
}

/// Whatever is too rare to be worth more.
pub fn value(into: &mut String, name: &'static str, value: &impl Serialize) {
    into.push_str(name);
    into.push_str(&of(value));
}

/// The members of an object, as further ones of the object that is being written.
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
