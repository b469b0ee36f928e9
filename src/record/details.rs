//! What the column `metadata` says of denials: of the one that ended a call, and of those that would have.

use serde::Serialize;

use super::notes::WouldDeny;
use crate::identity::Place;
use crate::verdict::{Denial, ExceptedSql, LimitScope, SchemaRejection, SqlFinding};

/// What the operator should know of a denial beyond what the caller was told.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Details<'a> {
    Credentials {
        fault: &'static str,
    },
    Limit {
        scope: &'static str,
        retry_after_seconds: u64,
    },
    Sql {
        pattern: &'a str,
        reason: &'a str,
        #[serde(flatten)]
        found: Found<'a>,
    },
    Blocked {
        reason: &'a str,
    },
    Schema {
        reason: &'a str,
        fingerprint: &'a str,
        auto_fix_triggered: bool,
    },
    Validator {
        validator: &'a str,
    },
}

impl<'a> Details<'a> {
    pub fn of(denial: &'a Denial) -> Option<Self> {
        match denial {
            Denial::Unauthorized(fault) => Some(Self::Credentials { fault: fault.as_str() }),
            Denial::Limited(limited) => {
                let scope = match limited.scope {
                    LimitScope::Source => "source",
                    LimitScope::Endpoint => "endpoint",
                };
                Some(Self::Limit { scope, retry_after_seconds: limited.retry_after.as_secs() })
            }
            Denial::DangerousSql(finding) => {
                Some(Self::Sql { pattern: &finding.pattern, reason: &finding.reason, found: Found::of(finding) })
            }
            Denial::Blocked(blocked) => Some(Self::Blocked { reason: &blocked.reason }),
            Denial::SchemaRejected(rejection) => {
                let SchemaRejection { reason, fingerprint, fix_triggered, .. } = rejection;
                Some(Self::Schema { reason, fingerprint, auto_fix_triggered: *fix_triggered })
            }
            Denial::ValidatorUnavailable { validator, .. } => Some(Self::Validator { validator: validator.as_str() }),
            Denial::KeyNotScoped { .. } | Denial::CallerNotAllowed { .. } => None,
        }
    }
}

/// A statement that falls under a rule.
#[derive(Serialize)]
pub struct Found<'a> {
    pub rule: &'a str,
    pub severity: &'static str,
    pub kind: &'static str,
    pub objects: &'a [String],
    /// Its literals are masked.
    pub sql: &'a str,
    pub pointer: &'a str,
    pub span: [usize; 2],
    pub fingerprint: &'a str,
}

impl<'a> Found<'a> {
    fn of(finding: &'a SqlFinding) -> Self {
        let SqlFinding { rule, statement, pointer, severity, kind, objects, span, fingerprint, .. } = finding;
        Self { rule, severity, kind, objects, sql: statement, pointer, span: [span.start, span.end], fingerprint }
    }
}

#[derive(Serialize)]
pub struct WouldHaveDenied<'a> {
    pub gate: &'static str,
    pub code: &'static str,
    pub status: u16,
    #[serde(flatten)]
    pub details: Option<Details<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_line: Option<&'a str>,
}

impl<'a> WouldHaveDenied<'a> {
    pub fn of(would: &'a WouldDeny) -> Self {
        let denial = &would.denial;
        Self {
            gate: would.gate.as_str(),
            code: denial.code(),
            status: denial.status(),
            details: Details::of(denial),
            policy_line: denial.place().map(Place::as_str),
        }
    }
}

#[derive(Serialize)]
pub struct Excepted<'a> {
    #[serde(flatten)]
    pub found: Found<'a>,
    /// Why the rule refuses it.
    pub why: &'a str,
    /// Whose exception it is, why there is one, and where it is written down.
    pub by: &'a str,
    pub reason: &'a str,
    pub policy_line: &'a str,
}

impl<'a> Excepted<'a> {
    pub fn of(excepted: &'a ExceptedSql) -> Self {
        let ExceptedSql { finding, by, reason, place } = excepted;
        Self { found: Found::of(finding), why: &finding.reason, by, reason, policy_line: place.as_str() }
    }
}
