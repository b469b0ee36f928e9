//! The body a target gets. Targets were written against bodies of their own making, so each states in its policy which shape it reads.
//! Values travel as the bytes they came in: a number that no float can hold, or a key order, is none of our business.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::call::Envelope;
use crate::identity::Action;
use crate::policy::{BodyShape, Target};

const NOTHING: &[u8] = b"{}";

pub fn body(target: &Target, envelope: &Envelope) -> Bytes {
    match target.shape {
        BodyShape::Payload => payload(envelope),
        BodyShape::ActionData => action_data(target, envelope),
        BodyShape::Envelope => envelope.whole.clone(),
    }
}

/// The action that the target will carry out. Limits and scopes judge this one: a caller who writes one action on the envelope and
/// another into the payload must not be judged by the harmless of the two.
pub fn executed_action<'a>(target: &Target, envelope: &'a Envelope) -> Option<&'a Action> {
    match target.shape {
        BodyShape::Payload | BodyShape::ActionData => envelope.payload_action.as_ref().or(envelope.action.as_ref()),
        BodyShape::Envelope => envelope.action.as_ref().or(envelope.payload_action.as_ref()),
    }
}

/// Targets read members off their body without looking first, so nothing at all is an empty object to them.
fn payload(envelope: &Envelope) -> Bytes {
    match &envelope.payload {
        Some(bytes) if bytes.trim_ascii() != b"null" => bytes.clone(),
        _ => Bytes::from_static(NOTHING),
    }
}

fn action_data(target: &Target, envelope: &Envelope) -> Bytes {
    let payload = payload(envelope);
    let members = Members::of(&payload);
    let data = members.get("data").filter(|data| is_something(data)).map_or(payload.as_ref(), str::as_bytes);

    let mut out = Vec::with_capacity(data.len() + 128);
    out.push(b'{');
    if let Some(action) = executed_action(target, envelope) {
        push_member(&mut out, "action", Value::from(action.as_str()).to_string().as_bytes());
    }
    push_member(&mut out, "data", data);
    for (name, default) in target.defaults.iter().filter(|(name, _)| !matches!(name.as_str(), "action" | "data")) {
        match members.get(name) {
            Some(own) => push_member(&mut out, name, own.as_bytes()),
            None => push_member(&mut out, name, default.to_string().as_bytes()),
        }
    }
    out.push(b'}');
    out.into()
}

fn push_member(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    out.extend_from_slice(Value::from(name).to_string().as_bytes());
    out.push(b':');
    out.extend_from_slice(value);
}

/// Whether `payload.data` stands for itself. Callers of these targets rely on JavaScript's rule, in which null, false, zero and the
/// empty string count as absent, and the payload as a whole is the data.
fn is_something(raw: &str) -> bool {
    match raw {
        "null" | "false" | "\"\"" => false,
        number if number.starts_with(|c: char| c == '-' || c.is_ascii_digit()) => number.parse::<f64>() != Ok(0.0),
        _ => true,
    }
}

/// The members of a JSON object, each value still the text it came as. Anything but an object has none.
#[derive(Default)]
struct Members<'a>(Vec<(Cow<'a, str>, &'a str)>);

impl<'a> Members<'a> {
    fn of(json: &'a [u8]) -> Self {
        serde_json::from_slice(json).unwrap_or_default()
    }

    /// Of repeated names the last one counts, as it does for every target that uses `JSON.parse`.
    fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().rev().find(|(own, _)| own == name).map(|(_, value)| *value)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        /// A `Cow` on its own always copies; only a borrowing field does not.
        #[derive(Deserialize)]
        struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut members = Vec::new();
                while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                    members.push((name, value.get()));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Reader)
    }
}
