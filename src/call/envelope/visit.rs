//! The body's own JSON, value by value, as `serde_json` reads it: strictly.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::super::fields::Under;
use super::super::legible;
use super::pieces::Bare;
use super::walk::{Place, Walk};
use super::{ambiguous, invalid};
use crate::identity::{Action, NAME_LIMIT};
use crate::verdict::Failure;

/// Names that `serde_json::Value` does not read as names: a value read and written again would be another value.
const RESERVED: &str = "$serde_json::private::";

/// Which part of the envelope a value is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Root,
    Target,
    Action,
    Operation,
    Payload,
    PayloadAction,
    Other,
}

impl Role {
    fn of_member(self, name: &str) -> Self {
        match (self, name) {
            (Self::Root, "target") => Self::Target,
            (Self::Root, "action") => Self::Action,
            (Self::Root, "operation") => Self::Operation,
            (Self::Root, "payload") => Self::Payload,
            (Self::Payload, "action") => Self::PayloadAction,
            _ => Self::Other,
        }
    }
}

impl<'de> Place<'de> {
    /// With one more member of the root.
    fn with(self, role: Role, name: &Cow<'de, str>) -> Self {
        let name = match name {
            Cow::Borrowed(name) => Some(*name),
            Cow::Owned(_) => None,
        };
        match (self, role, name) {
            (Self::Nowhere, Role::Payload, Some(name)) => Self::Between(name, None),
            (Self::Between(before, None), _, Some(name)) => Self::Between(before, Some(name)),
            (Self::Nowhere, Role::Payload, None) | (Self::Between(_, None), _, None) => Self::Somewhere,
            (place, ..) => place,
        }
    }
}

/// One value of the body, about to be read.
pub struct Node<'w, 'de, 'f> {
    pub walk: &'w mut Walk<'de, 'f>,
    pub role: Role,
    pub under: Under,
}

impl Node<'_, '_, '_> {
    /// A value that is no string stands where the envelope asks for one, or no object where it asks for that.
    fn check<E: Error>(&mut self, fits: impl FnOnce(Role) -> bool) -> Result<(), E> {
        let what = match self.role {
            role if fits(role) => return Ok(()),
            Role::Root => "the body must be a JSON object",
            Role::Target => "\"target\" must be a string",
            Role::Action => "\"action\" must be a string or null",
            Role::Operation | Role::Payload | Role::PayloadAction | Role::Other => return Ok(()),
        };
        Err(fail(self.walk, invalid(what)))
    }

    fn bare<E: Error>(mut self, value: Bare) -> Result<(), E> {
        self.check(|_| false)?;
        self.walk.bare(value, self.under).map_err(|failure| fail(self.walk, failure))
    }

    fn string(&mut self, text: &str) -> Result<(), Failure> {
        match self.role {
            Role::Root => return Err(invalid("the body must be a JSON object")),
            Role::Target if text.is_empty() => return Err(invalid("\"target\" must not be empty")),
            // It names a target, or the call goes nowhere.
            Role::Target => {
                self.walk.target = Some(legible(text, NAME_LIMIT));
                return Ok(());
            }
            Role::Action if text.is_empty() => {}
            Role::Action => match Action::parse(text) {
                Some(action) => self.walk.action = Some(action),
                None => return Err(invalid("\"action\" must be at most 128 bytes without control characters")),
            },
            // To most targets this is just data, so it is not refused; what is no action is marked, and so names none that is listed.
            Role::PayloadAction => self.walk.payload_action = Action::parse(&legible(text, NAME_LIMIT)),
            Role::Operation | Role::Payload | Role::Other => {}
        }
        self.walk.string(text, self.under)
    }
}

fn fail<E: Error>(walk: &mut Walk<'_, '_>, failure: Failure) -> E {
    walk.failure = Some(failure);
    E::custom("refused")
}

impl<'de> DeserializeSeed<'de> for Node<'_, 'de, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_, 'de, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(mut self) -> Result<(), E> {
        self.check(|role| role == Role::Action)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.bare(Bare::Truth(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.bare(Bare::Integer(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.bare(Bare::Natural(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.bare(Bare::Float(value))
    }

    fn visit_str<E: Error>(mut self, text: &str) -> Result<(), E> {
        self.string(text).map_err(|failure| fail(self.walk, failure))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        self.check(|_| false)?;
        let Self { walk, under, .. } = self;
        let mark = walk.mark();
        let under = walk.enter_items(under);
        while items.next_element_seed(Node { walk: &mut *walk, role: Role::Other, under })?.is_some() {
            walk.next_item();
        }
        walk.close_array(&mark).map_err(|failure| fail(walk, failure))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        self.check(|role| role == Role::Root)?;
        let Self { walk, role: around, under: outer } = self;
        let mark = walk.mark();
        while let Some(Name(name)) = members.next_key()? {
            let role = around.of_member(&name);
            if around == Role::Root {
                walk.payload = walk.payload.with(role, &name);
            }
            let reserved = name.starts_with(RESERVED);
            let mut under = walk.enter_member(name, outer);
            if reserved {
                let what = format!("the member at {} has a reserved name", walk.pointer());
                return Err(fail(walk, ambiguous(what)));
            }
            if role == Role::Operation {
                under = Under::Sql;
            }
            members.next_value_seed(Node { walk: &mut *walk, role, under })?;
            walk.leave_member();
        }
        walk.close_object(&mark).map_err(|failure| fail(walk, failure))
    }
}

/// A member's name, unescaped; borrowed from the body where nothing was escaped.
struct Name<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E: Error>(self, name: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(name)))
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }
        deserializer.deserialize_str(Read)
    }
}
