//! The body's own JSON, value by value, as `serde_json` reads it: strictly.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::super::fields::Under;
use super::pieces::Bare;
use super::roles::Role;
use super::walk::Walk;
use crate::verdict::Failure;

/// One value of the body, about to be read.
pub struct Node<'w, 'de, 'f> {
    pub walk: &'w mut Walk<'de, 'f>,
    pub role: Role,
    pub under: Under,
}

impl Node<'_, '_, '_> {
    fn number_or_truth<E: Error>(self, value: Bare) -> Result<(), E> {
        self.walk.number_or_truth(self.role, value, self.under).map_err(|failure| fail(self.walk, failure))
    }
}

fn fail<E: Error>(walk: &mut Walk<'_, '_>, failure: Box<Failure>) -> E {
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

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.walk.null(self.role).map_err(|failure| fail(self.walk, failure))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.number_or_truth(Bare::Truth(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.number_or_truth(Bare::Integer(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.number_or_truth(Bare::Natural(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.number_or_truth(Bare::Float(value))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.walk.text(self.role, text.as_bytes(), self.under).map_err(|failure| fail(self.walk, failure))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Self { walk, role, under } = self;
        role.refuses().map_err(|failure| fail(walk, failure))?;
        let under = walk.open_array(under);
        while items.next_element_seed(Node { walk: &mut *walk, role: Role::Other, under })?.is_some() {
            walk.next_item();
        }
        walk.close_array().map_err(|failure| fail(walk, failure))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let Self { walk, role: around, under: outer } = self;
        if around != Role::Root {
            around.refuses().map_err(|failure| fail(walk, failure))?;
        }
        walk.open_object();
        while let Some(Name(name)) = members.next_key()? {
            let written = if let Cow::Borrowed(name) = name { Some(name) } else { None };
            let (role, under) = walk.member(around, outer, &name, written).map_err(|failure| fail(walk, failure))?;
            members.next_value_seed(Node { walk: &mut *walk, role, under })?;
        }
        walk.close_object().map_err(|failure| fail(walk, failure))
    }
}

/// A member's name, unescaped; borrowed from the body where nothing was escaped.
struct Name<'de>(Cow<'de, [u8]>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E: Error>(self, name: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(name.as_bytes())))
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(name.as_bytes().to_owned())))
            }
        }
        deserializer.deserialize_str(Read)
    }
}
