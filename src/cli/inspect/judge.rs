//! The SQL filter on its own: what it finds in a text or an envelope, for an imagined caller.

use bytes::Bytes;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::call::Envelope;
use crate::clock::Timestamp;
use crate::identity::{Caller, KeyId, SourceName, TargetName};
use crate::policy::SqlPolicy;
use crate::sql::{Backslashes, Field, Finding, examine};
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
        Self { finding, mode: Standing::Enforce }
    }
}

impl<'p> Judge<'p> {
    /// Without a source, only what policy says of everybody counts.
    pub fn new(policy: &'p SqlPolicy, source: Option<SourceName>, target: Option<TargetName>, at: Timestamp) -> Self {
        let caller = match source {
            Some(name) => Caller::Source { name, key: KeyId::new(NO_KEY) },
            None => Caller::Stranger { claimed: None },
        };
        Self { policy, caller, target, at }
    }

    pub fn text(&self, text: &str, field: Field) -> Vec<Judged> {
        self.findings([(text, "", field)], None)
    }

    /// An envelope's own bytes, read as the door reads them.
    pub fn envelope(&self, envelope: &RawValue) -> Vec<Judged> {
        match Envelope::parse(with_target(envelope.get()), &self.policy.fields) {
            Ok(envelope) => {
                let texts = envelope.sql.iter().map(|sql| (sql.text.as_str(), sql.pointer.as_str(), Field::Sql));
                self.findings(texts, TargetName::parse(&envelope.target))
            }
            Err(failure) => vec![Judged::unfit(&failure)],
        }
    }

    fn findings<'t>(&self, texts: impl IntoIterator<Item = (&'t str, &'t str, Field)>, named: Option<TargetName>) -> Vec<Judged> {
        let Some(target) = self.target.clone().or(named).or_else(|| TargetName::parse(NOBODY)) else { return Vec::new() };
        let excepted = |finding: &Finding| {
            self.policy.exceptions.iter().any(|exception| exception.covers(finding.rule.id, &self.caller, &target, self.at))
        };
        let mut all = Vec::new();
        for (text, pointer, field) in texts {
            for finding in examine(text, field, Backslashes::Plain).findings {
                let mode = if excepted(&finding) { Standing::Excepted } else { Standing::Enforce };
                all.push(Judged { finding: shown(finding, pointer), mode });
            }
        }
        all
    }
}

fn shown(finding: Finding, pointer: &str) -> SqlFinding {
    SqlFinding {
        rule: finding.rule.id.to_owned(),
        pattern: finding.rule.pattern.to_owned(),
        statement: finding.statement,
        pointer: pointer.to_owned(),
        reason: finding.why.to_owned(),
        severity: finding.rule.tier.severity(),
        kind: finding.kind.as_str(),
        objects: finding.objects.iter().map(ToString::to_string).collect(),
        span: finding.span,
        fingerprint: finding.fingerprint.to_string(),
        place: None,
    }
}

/// An envelope that names nobody is judged all the same: its own bytes, behind a target.
fn with_target(envelope: &str) -> Bytes {
    #[derive(Deserialize)]
    struct Named {
        target: Option<IgnoredAny>,
    }
    let names_nobody = serde_json::from_str::<Named>(envelope).is_ok_and(|named| named.target.is_none());
    let members = envelope.strip_prefix('{').filter(|_| names_nobody);
    let Some(members) = members else { return Bytes::copy_from_slice(envelope.as_bytes()) };
    let comma = if members.trim_start().starts_with('}') { "" } else { "," };
    Bytes::from(format!("{{\"target\":\"{NOBODY}\"{comma}{members}"))
}
