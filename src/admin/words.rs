//! The values that requests and answers are made of. Each is held to the bounds that it is described by.

use std::net::IpAddr;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error};
use serde::{Serialize, Serializer};
use utoipa::openapi::{KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::enforcement::GateMode;
use crate::policy::values;
use crate::record::compose::parse_id;
use crate::verdict::GateName;

/// What any text may be, as JSON Schema says it: no control characters, and no blanks at its ends.
const LEGIBLE: &str = "^[^\\s\\u0000-\\u001f\\u007f-\\u009f]([^\\u0000-\\u001f\\u007f-\\u009f]*[^\\s\\u0000-\\u001f\\u007f-\\u009f])?$";
/// Longer than anything that is to end by itself.
const LONGEST: Duration = Duration::from_secs(3650 * 86_400);

macro_rules! texts {
    ($($(#[doc = $doc:literal])* $name:ident: $longest:literal;)*) => {$(
        $(#[doc = $doc])*
        #[derive(Clone, Debug)]
        pub struct $name(pub String);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                let fits = (1..=$longest).contains(&text.chars().count());
                let is_legible = !text.chars().any(char::is_control) && text.trim() == text;
                let must = concat!("must be 1 to ", $longest, " characters, without control characters and without blanks at its ends");
                if fits && is_legible { Ok(Self(text)) } else { Err(D::Error::custom(must)) }
            }
        }

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let text = string(concat!($($doc),*)).min_length(Some(1)).max_length(Some($longest));
                text.pattern(Some(LEGIBLE)).into()
            }
        }

        impl ToSchema for $name {}
    )*};
}

texts! {
    /// What somebody or something goes by.
    Name: 128;
    /// Why, in the operator's words.
    Reason: 500;
    /// What came of it, in somebody's words.
    Note: 500;
    /// A name of a certificate, as policy writes it: a URI, a DNS name, or `sha256:` and 64 hex digits.
    Certificate: 2048;
}

macro_rules! whole_numbers {
    ($($(#[doc = $doc:literal])* $name:ident: $type:ty, $least:literal to $most:literal;)*) => {$(
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name(pub $type);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let number = <$type>::try_from(u64::deserialize(deserializer)?).ok();
                let must = concat!("must be a whole number from ", $least, " to ", $most);
                number.filter(|number| ($least..=$most).contains(number)).map(Self).ok_or_else(|| D::Error::custom(must))
            }
        }

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let number = ObjectBuilder::new().schema_type(Type::Integer).description(Some(concat!($($doc),*).trim()));
                number.minimum(Some($least)).maximum(Some($most)).into()
            }
        }

        impl ToSchema for $name {}
    )*};
}

whole_numbers! {
    /// Of a hundred sources, for how many.
    Percentage: u8, 0 to 100;
    /// How many at most.
    Most: u32, 1 to 1000;
}

/// A text that must be read as something else. `must`: what is said of one that cannot be.
fn parsed<'de, D: Deserializer<'de>, T>(deserializer: D, parse: impl FnOnce(&str) -> Option<T>, must: &str) -> Result<T, D::Error> {
    parse(&String::deserialize(deserializer)?).ok_or_else(|| D::Error::custom(must))
}

fn string(description: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).description(Some(description.trim()))
}

fn format(known: KnownFormat) -> Option<SchemaFormat> {
    Some(SchemaFormat::KnownFormat(known))
}

/// A moment.
#[derive(Clone, Copy, Debug)]
pub struct Moment(pub Timestamp);

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer, Timestamp::parse_rfc3339, "must be a time such as 2026-03-04T05:06:07Z").map(Self)
    }
}

impl PartialSchema for Moment {
    fn schema() -> RefOr<Schema> {
        string("A moment.").format(format(KnownFormat::DateTime)).into()
    }
}

impl ToSchema for Moment {}

/// How long.
#[derive(Clone, Copy, Debug)]
pub struct Span(pub Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let must = "must be a duration of at most 3650 days, a number above 0 and s, m, h or d, such as 30m";
        parsed(deserializer, |text| values::duration_up_to(LONGEST)(text).ok(), must).map(Self)
    }
}

impl PartialSchema for Span {
    fn schema() -> RefOr<Schema> {
        string("How long: a number and s, m, h or d.").pattern(Some("^[1-9][0-9]{0,8}(ms|s|m|h|d)$")).examples(["30m"]).into()
    }
}

impl ToSchema for Span {}

/// What one entry goes by.
#[derive(Clone, Copy, Debug)]
pub struct Id(pub Uuid);

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer, parse_id, "must look like 0192f0c1-2345-7abc-8def-0123456789ab").map(|id| Self(id.0))
    }
}

impl PartialSchema for Id {
    fn schema() -> RefOr<Schema> {
        string("What one entry goes by.").format(Some(SchemaFormat::Custom("uuid".into()))).into()
    }
}

impl ToSchema for Id {}

/// An address of the network.
#[derive(Clone, Copy, Debug)]
pub struct Address(pub IpAddr);

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer, |text| text.parse().ok(), "must be an address such as 203.0.113.7").map(Self)
    }
}

impl PartialSchema for Address {
    fn schema() -> RefOr<Schema> {
        let format = |known| string("").format(format(known)).description(None::<&str>);
        utoipa::openapi::OneOfBuilder::new()
            .item(format(KnownFormat::Ipv4))
            .item(format(KnownFormat::Ipv6))
            .description(Some("An address of the network."))
            .into()
    }
}

impl ToSchema for Address {}

/// One of the gates that a call meets.
#[derive(Clone, Copy, Debug)]
pub struct Gate(pub GateName);

impl Serialize for Gate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

impl<'de> Deserialize<'de> for Gate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let must = format!("must be one of {}", GateName::ALL.map(GateName::as_str).join(", "));
        parsed(deserializer, GateName::parse, &must).map(Self)
    }
}

impl PartialSchema for Gate {
    fn schema() -> RefOr<Schema> {
        string("One of the gates that a call meets.").enum_values(Some(GateName::ALL.map(GateName::as_str))).into()
    }
}

impl ToSchema for Gate {}

/// Whether denials stand.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    Enforce,
    Observe,
}

impl From<GateMode> for Mode {
    fn from(mode: GateMode) -> Self {
        match mode {
            GateMode::Enforce => Self::Enforce,
            GateMode::Observe => Self::Observe,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::members::{self, Member};
    use proptest::prelude::*;
    use regex::Regex;
    use serde::de::DeserializeOwned;

    #[derive(serde::Deserialize)]
    struct One<T> {
        one: T,
    }

    fn read<T: DeserializeOwned>(text: &str) -> Result<T, String> {
        members::read::<One<T>>(vec![("one".into(), Member::Text(text.into()))]).map(|read| read.one)
    }

    fn pattern<T: PartialSchema>() -> Regex {
        let schema = serde_json::to_value(T::schema()).unwrap();
        Regex::new(schema["pattern"].as_str().unwrap()).unwrap()
    }

    proptest! {
        #[test]
        fn a_text_is_taken_exactly_if_its_description_says_so(text in "[a ]{0,3}\\PC{0,6}[\\n\\t a\u{85}\u{2003}]{0,2}") {
            let described = pattern::<Name>().is_match(&text) && (1..=128).contains(&text.chars().count());
            prop_assert_eq!(read::<Name>(&text).is_ok(), described, "{:?}", text);
        }

        #[test]
        fn a_duration_that_is_described_is_taken(number in 1_u32..86_400, unit in "ms|s|m|h|d") {
            let text = format!("{number}{unit}");
            prop_assert!(pattern::<Span>().is_match(&text));
            prop_assert_eq!(read::<Span>(&text).is_ok(), unit != "d" || number <= 3650);
        }
    }

    #[test]
    fn bounds_are_counted_in_characters() {
        assert!(read::<Name>(&"é".repeat(128)).is_ok() && read::<Name>(&"é".repeat(129)).is_err());
        assert!(read::<Reason>(&"é".repeat(500)).is_ok() && read::<Reason>(&"é".repeat(501)).is_err());
        assert!(read::<Percentage>("100").is_ok() && read::<Percentage>("101").is_err() && read::<Most>("0").is_err());
    }
}
