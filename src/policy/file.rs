//! The shapes of the policy files, exactly as operators write them. Nothing is checked here but the shape.
//! Every value keeps its span, so that whoever finds fault with it can say where it stands.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

pub type Text = Spanned<String>;
pub type List = Spanned<Vec<Text>>;

/// A section whose keys may each be left out. What one file leaves out, another may fill in.
macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($key:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $(pub $key: Option<$type>,)*
        }

        impl $name {
            pub fn or(self, other: Self) -> Self {
                Self { $($key: self.$key.or(other.$key),)* }
            }
        }
    };
}

section! {
    /// `[limits]`
    Limits {
        endpoints_per_source: Spanned<u64>,
        buckets: Spanned<u64>,
        stranger_records_per_minute: Spanned<u32>,
    }
}

section! {
    /// `[[target]]`, and `[target_defaults]`, which has no names.
    Target {
        names: List,
        url: Text,
        shape: Spanned<Shape>,
        inspect: Spanned<Inspect>,
        defaults: Spanned<BTreeMap<Text, toml::Value>>,
        timeout: Text,
        idle_timeout: Text,
        credentials: Spanned<Injected>,
        bearer: Text,
        authorization: Spanned<Authorization>,
        callers: List,
        breaker: Breaker,
        health: Text,
        protocol: Spanned<Protocol>,
        ca: Text,
        client_cert: Text,
        client_key: Text,
        server_name: Text,
    }
}

section! {
    Breaker {
        failures: Spanned<u32>,
        open: Text,
    }
}

section! {
    /// `[sql]`
    Sql {
        fields: List,
        prose: List,
        code: Vec<Code>,
        literals: Literals,
        standard_conforming_strings: ConformingStrings,
        rules: BTreeMap<Text, Mode>,
    }
}

section! {
    /// `[schema]`
    Schema {
        validator: Text,
        action: Text,
        timeout: Text,
        fail: Spanned<Fail>,
        operations: Spanned<bool>,
        actions: List,
        fixer: Text,
        fix_cooldown: Text,
    }
}

section! {
    /// `[body]`
    Body {
        max: Text,
        read_timeout: Text,
        max_hops: Spanned<u8>,
    }
}

section! {
    /// `[retention]`
    Retention {
        activity: Text,
        activity_archive: Text,
        api_calls: Text,
        api_calls_archive: Text,
        rate_limits: Text,
    }
}

section! {
    /// `[journal]`
    Journal {
        sync: Text,
        size: Text,
        when_full: Text,
    }
}

section! {
    /// `[cors]`
    Cors {
        origins: List,
    }
}

/// `[[source]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    pub names: List,
    pub tier: Option<Text>,
    pub total: Option<List>,
    pub total_burst: Option<Text>,
    #[serde(default)]
    pub together: bool,
    pub certificates: Option<List>,
    pub require_certificate: Option<Spanned<bool>>,
}

/// `[tiers.NAME]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    pub limit: List,
    pub burst: Option<Text>,
    pub total: Option<List>,
    pub total_burst: Option<Text>,
}

/// `[[override]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Override {
    pub source: Option<Text>,
    pub endpoint: Text,
    pub limit: List,
    pub burst: Option<Text>,
}

/// `[[block]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Block {
    #[serde(default)]
    pub networks: Vec<Text>,
    #[serde(default)]
    pub sources: Vec<Text>,
    pub reason: Text,
    pub until: Option<Moment>,
}

/// `[[table]]`: of another program.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    pub name: Text,
    pub by: Text,
    pub keep: Text,
    pub archive: Option<Text>,
    #[serde(default)]
    pub only: BTreeMap<Text, Spanned<toml::Value>>,
    #[serde(default = "yes")]
    pub scheduled: bool,
}

fn yes() -> bool {
    true
}

/// `[[sql.code]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Code {
    pub path: Text,
    #[serde(default)]
    pub targets: Vec<Text>,
}

/// `[[rule]]`: what a rule does for some calls.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    pub id: Text,
    pub mode: Mode,
    #[serde(default)]
    pub sources: Vec<Text>,
    #[serde(default)]
    pub targets: Vec<Text>,
    pub reason: Option<Text>,
}

/// `[[pattern]]`: a rule of an operator's own.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pattern {
    pub id: Text,
    pub regex: Text,
    pub why: Text,
    pub refuses: List,
    #[serde(default)]
    pub allows: Vec<Text>,
    pub mode: Option<Mode>,
    #[serde(default)]
    pub sources: Vec<Text>,
    #[serde(default)]
    pub targets: Vec<Text>,
}

/// `[[exception]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exception {
    pub rules: List,
    #[serde(default)]
    pub sources: Vec<Text>,
    #[serde(default)]
    pub targets: Vec<Text>,
    pub objects: Option<List>,
    pub statements: Option<List>,
    pub reason: Text,
    pub by: Text,
    pub until: Option<Moment>,
}

/// A date and time, as TOML's own or in quotes.
pub type Moment = Spanned<toml::Value>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fail {
    Open,
    Closed,
    ClosedForDdl,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    Enforce,
    Observe,
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Literals {
    Mask,
    Keep,
}

/// How the database that gets the SQL is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConformingStrings {
    On,
    Unknown,
}
