//! Reading requests member by member, be they JSON, a query or the parts of an address, so that every fault names the member and says
//! what it must be: in the same words everywhere, and never with what stood there, which may be a secret.

use std::borrow::Cow;
use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::value::RawValue;

use crate::call::legible;

/// Enough of an unknown member's name to find it by.
const NAME_SHOWN: usize = 64;

/// The value of a member, as it came.
#[derive(Clone, Debug)]
pub enum Member<'a> {
    Json(&'a RawValue),
    /// Of a query or an address.
    Text(Cow<'a, str>),
}

/// Members with their names, in the order they came.
pub type Members<'a> = Vec<(Cow<'a, str>, Member<'a>)>;

/// Reads a whole request.
pub fn read<T: de::DeserializeOwned>(members: Members<'_>) -> Result<T, String> {
    T::deserialize(Object(members)).map_err(|wrong| wrong.0)
}

/// The members of a JSON object; `None` if the text is JSON, but no object.
pub fn of_json(text: &str) -> Result<Option<Members<'_>>, serde_json::Error> {
    if !text.trim_start().starts_with('{') {
        return serde_json::from_str::<&RawValue>(text).map(|_| None);
    }
    serde_json::from_str::<Listed<'_>>(text).map(|listed| Some(listed.0))
}

struct Listed<'a>(Members<'a>);

impl<'de> Deserialize<'de> for Listed<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Listed<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    members.push((Cow::Owned(name), Member::Json(value)));
                }
                Ok(Listed(members))
            }
        }
        deserializer.deserialize_map(List)
    }
}

/// What is wrong, in words for whoever asked.
#[derive(Debug)]
pub struct Wrong(String);

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Wrong {}

impl de::Error for Wrong {
    fn custom<T: fmt::Display>(what: T) -> Self {
        Self(what.to_string())
    }

    fn missing_field(name: &'static str) -> Self {
        Self(format!("\"{name}\" is missing"))
    }

    fn duplicate_field(name: &'static str) -> Self {
        Self(format!("\"{name}\" stands there twice"))
    }

    fn unknown_field(name: &str, known: &'static [&'static str]) -> Self {
        let name = legible(name, NAME_SHOWN);
        match known {
            [] => Self(format!("\"{name}\" is not known here: nothing is")),
            known => Self(format!("\"{name}\" is not known here: there are {}", known.join(", "))),
        }
    }

    fn unknown_variant(_: &str, known: &'static [&'static str]) -> Self {
        Self(format!("must be one of {}", known.join(", ")))
    }
}

struct Object<'a>(Members<'a>);

impl<'de> Deserializer<'de> for Object<'de> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_map(Walk { rest: self.0.into_iter(), at: None })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct seq
        tuple tuple_struct map struct enum identifier ignored_any
    }
}

struct Walk<'a> {
    rest: std::vec::IntoIter<(Cow<'a, str>, Member<'a>)>,
    at: Option<(Cow<'a, str>, Member<'a>)>,
}

impl<'de> MapAccess<'de> for Walk<'de> {
    type Error = Wrong;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Wrong> {
        self.at = self.rest.next();
        let Some((name, _)) = &self.at else { return Ok(None) };
        let name: StrDeserializer<'_, Wrong> = name.as_ref().into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Wrong> {
        let Some((name, value)) = self.at.take() else { return Err(Wrong("a value without a name".into())) };
        seed.deserialize(value).map_err(|wrong| Wrong(format!("\"{name}\" {wrong}")))
    }
}

impl<'a> Member<'a> {
    fn text(self) -> Result<Cow<'a, str>, Wrong> {
        match self {
            Self::Json(json) => serde_json::from_str(json.get()).map(Cow::Owned).map_err(|_| Wrong("must be a text".into())),
            Self::Text(text) => Ok(text),
        }
    }

    fn whole(self) -> Result<u64, Wrong> {
        let whole = match &self {
            Self::Json(json) => json.get().parse().ok().or_else(|| whole_float(json.get())),
            Self::Text(text) => text.parse().ok(),
        };
        whole.ok_or_else(|| Wrong("must be a whole number".into()))
    }

    fn truth(self) -> Result<bool, Wrong> {
        let text = match &self {
            Self::Json(json) => json.get(),
            Self::Text(text) => text,
        };
        text.parse().map_err(|_| Wrong("must be true or false".into()))
    }
}

/// JSON has one kind of number, so 1.0 is as whole as 1.
fn whole_float(text: &str) -> Option<u64> {
    let number: f64 = text.parse().ok()?;
    let whole = number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number);
    if whole { format!("{number:.0}").parse().ok() } else { None }
}

impl<'de> Deserializer<'de> for Member<'de> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_string(visitor)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_bool(self.truth()?)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_u64(self.whole()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_string(self.text()?.into_owned())
    }

    /// The JSON itself, as it came.
    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self {
            Self::Json(json) => visitor.visit_bytes(json.get().as_bytes()),
            Self::Text(text) => visitor.visit_bytes(text.as_bytes()),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match &self {
            Self::Json(json) if json.get() == "null" => visitor.visit_none(),
            Self::Json(_) | Self::Text(_) => visitor.visit_some(self),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        let text = self.text()?;
        let text: StrDeserializer<'_, Wrong> = text.as_ref().into_deserializer();
        text.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u128 f32 f64 char str byte_buf unit unit_struct newtype_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Order {
        name: String,
        on: Option<bool>,
        most: Option<u64>,
    }

    fn order(json: &str) -> Result<Order, String> {
        read(of_json(json).unwrap().unwrap())
    }

    #[test]
    fn what_is_left_out_and_what_is_null_are_the_same() {
        let bare = Order { name: "x".into(), on: None, most: None };
        for json in [r#"{"name":"x"}"#, r#"{"name":"x","on":null,"most":null}"#] {
            assert_eq!(order(json).as_ref(), Ok(&bare), "{json}");
        }
        assert_eq!(order(r#"{"name":null}"#), Err("\"name\" must be a text".into()));
    }

    #[test]
    fn json_has_one_kind_of_number_and_a_query_has_none() {
        for (number, whole) in [("1", Some(1)), ("1.0", Some(1)), ("1e3", Some(1000)), ("1.5", None), ("-1", None), ("\"1\"", None)] {
            let read = order(&format!(r#"{{"name":"x","most":{number}}}"#)).ok().and_then(|order| order.most);
            assert_eq!(read, whole, "{number}");
        }
        let most = |text: &str| {
            read::<Order>(vec![("name".into(), Member::Text("x".into())), ("most".into(), Member::Text(text.to_owned().into()))])
        };
        assert_eq!(most("7").map(|order| order.most), Ok(Some(7)));
        assert_eq!(most("7.0"), Err("\"most\" must be a whole number".into()));
    }

    proptest! {
        #[test]
        fn whatever_stands_there_is_read_or_refused_without_being_repeated(value in "[0-9a-z\\[\\]{}\",:. ]{0,30}") {
            let secret = "hunter2-hunter2";
            let json = format!(r#"{{"name":["{secret}"],"on":{value}}}"#);
            if let Ok(Some(members)) = of_json(&json) {
                let refused = read::<Order>(members).unwrap_err();
                prop_assert!(!refused.contains(secret), "{}", refused);
            }
        }
    }
}
