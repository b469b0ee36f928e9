//! The SQL filter on its own: what it finds in a text or an envelope, for an imagined caller.

use bytes::Bytes;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::call::{Envelope, Reading, SqlText};
use crate::clock::Timestamp;
use crate::gates::sql_filter::{Outcome, Weighed, Weighing, judge};
use crate::identity::{Caller, KeyId, Proof, SourceName, TargetName};
use crate::policy::SqlPolicy;
use crate::verdict::{Failure, SqlFinding};
use crate::wording::words;

/// The key that nobody showed.
const NO_KEY: &str = "inspect";
/// Whom a call is for that names nobody.
const NOBODY: &str = "-";

/// As one caller and one moment have it.
pub struct Judge<'p> {
    policy: &'p SqlPolicy,
    caller: Caller,
    target: Option<TargetName>,
    at: Timestamp,
}

/// A finding, and what becomes of it.
#[derive(Clone, Debug, Serialize)]
pub struct Judged {
    #[serde(flatten)]
    pub finding: SqlFinding,
    pub mode: Standing,
    /// Whose exception lets it pass, why, and where that is written down: for people.
    #[serde(skip)]
    pub exception: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    Enforce,
    Observe,
    Excepted,
}

impl Judged {
    pub fn denies(&self) -> bool {
        self.mode == Standing::Enforce
    }

    fn of(weighed: &Weighed<'_>) -> Self {
        let (mode, exception) = match weighed.outcome {
            Outcome::Refused => (Standing::Enforce, None),
            Outcome::Observed => (Standing::Observe, None),
            Outcome::Excepted(one) => (Standing::Excepted, Some(format!("{} ({}, {})", one.reason, one.by, one.place))),
        };
        Self { finding: weighed.finding(), mode, exception }
    }

    /// Of what the door would not let in at all.
    pub fn unfit(failure: &Failure) -> Self {
        let code = failure.code();
        let finding = SqlFinding {
            rule: code.to_owned(),
            pattern: code.to_owned(),
            statement: String::new(),
            pointer: String::new(),
            reason: words(&failure.clone().into()).message,
            severity: "high",
            kind: "unreadable",
            objects: Vec::new(),
            span: 0..0,
            fingerprint: String::new(),
            place: None,
        };
        Self { finding, mode: Standing::Enforce, exception: None }
    }
}

impl<'p> Judge<'p> {
    /// Without a source, only what policy says of everybody counts.
    pub fn new(policy: &'p SqlPolicy, source: Option<SourceName>, target: Option<TargetName>, at: Timestamp) -> Self {
        let caller = match source {
            Some(name) => Caller::Source { name, proof: Proof::Key(KeyId::new(NO_KEY)) },
            None => Caller::Stranger { claimed: None },
        };
        Self { policy, caller, target, at }
    }

    pub fn text(&self, text: &str, reading: Reading) -> Vec<Judged> {
        self.findings(&[alone(text, reading)], None)
    }

    /// An envelope's own bytes, read as the door reads them.
    pub fn envelope(&self, envelope: &RawValue) -> Vec<Judged> {
        match Envelope::parse(with_target(envelope.get()), &self.policy.fields) {
            Ok(envelope) => self.findings(&envelope.sql, TargetName::parse(&envelope.target)),
            Err(failure) => vec![Judged::unfit(&failure)],
        }
    }

    fn findings(&self, texts: &[SqlText], named: Option<TargetName>) -> Vec<Judged> {
        let Some(target) = self.target.clone().or(named).or_else(|| TargetName::parse(NOBODY)) else { return Vec::new() };
        let weighing = Weighing { caller: &self.caller, target: &target, policy: self.policy, at: self.at };
        let mut all = Vec::new();
        for text in texts {
            let judgement = judge(text, self.policy.backslashes);
            all.extend(weighing.weigh(text, &judgement).map(|weighed| Judged::of(&weighed)));
        }
        all
    }
}

/// A text that stands in no call.
pub fn alone(text: &str, reading: Reading) -> SqlText {
    SqlText { pointer: String::new(), text: text.to_owned(), reading, joined: false }
}

/// An envelope that names nobody is judged all the same: its own bytes, behind a target.
fn with_target(envelope: &str) -> Bytes {
    #[derive(Deserialize)]
    struct Named {
        #[serde(default, deserialize_with = "is_there")]
        target: bool,
    }
    fn is_there<'de, D: Deserializer<'de>>(member: D) -> Result<bool, D::Error> {
        IgnoredAny::deserialize(member).map(|_| true)
    }
    let names_nobody = serde_json::from_str::<Named>(envelope).is_ok_and(|named| !named.target);
    let members = envelope.strip_prefix('{').filter(|_| names_nobody);
    let Some(members) = members else { return Bytes::copy_from_slice(envelope.as_bytes()) };
    let comma = if members.trim_start().starts_with('}') { "" } else { "," };
    Bytes::from(format!("{{\"target\":\"{NOBODY}\"{comma}{members}"))
}
