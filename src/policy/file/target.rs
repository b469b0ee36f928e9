//! What a target's entry says of how it is called.

use serde::Deserialize;
use toml::Spanned;

use super::{List, Text};

section! {
    Breaker {
        failures: Spanned<u32>,
        open: Text,
    }
}

section! {
    Eject {
        failures: Spanned<u32>,
        first: Text,
        longest: Text,
    }
}

section! {
    HealthCheck {
        interval: Text,
        timeout: Text,
        fails: Spanned<u32>,
        passes: Spanned<u32>,
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cache {
    pub ttl: Text,
    pub actions: Option<List>,
    pub max: Option<Text>,
    #[serde(default)]
    pub shared: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Retry {
    Safe,
    All,
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    Payload,
    ActionData,
    Envelope,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Inspect {
    Required,
    Skip,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    Http1,
    Http2,
    Auto,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Injected {
    None,
    ServiceRole,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Authorization {
    Stop,
    Pass,
}
