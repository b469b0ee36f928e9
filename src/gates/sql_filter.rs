//! The gate that stops dangerous SQL, whoever sends it and whatever target it is for, but for the exceptions that policy states.

use crate::call::Envelope;
use crate::clock::Timestamp;
use crate::identity::{Caller, TargetName};
use crate::policy::SqlPolicy;
use crate::sql::{Hit, Mode, judge};
use crate::verdict::{Denial, ExceptedSql, SqlFinding, Verdict};

/// Findings kept per call of those that refuse nothing: enough to see what a rule would do, whatever a call carries.
const KEPT: usize = 16;

/// Proof that a call's SQL was judged.
#[derive(Debug, Default)]
pub struct SqlJudged {
    observed: Vec<SqlFinding>,
    excepted: Vec<ExceptedSql>,
}

impl SqlJudged {
    /// What observing rules found, for the record.
    pub fn observed(&self) -> &[SqlFinding] {
        &self.observed
    }

    /// What enforcing rules found, and exceptions let pass, for the record.
    pub fn excepted(&self) -> &[ExceptedSql] {
        &self.excepted
    }
}

/// Denies with the first finding of an enforcing rule that no exception covers. No caller is exempt by being who it is: a stolen service
/// key must not drop tables either.
pub fn sql_filter(caller: &Caller, target: &TargetName, envelope: &Envelope, policy: &SqlPolicy, at: Timestamp) -> Verdict<SqlJudged> {
    let mut judged = SqlJudged::default();
    for text in &envelope.sql {
        for hit in judge(&text.text, &policy.rules) {
            match hit.rule.mode {
                Mode::Enforce => {
                    let covering = policy.exceptions.iter().find(|exception| exception.covers(&hit.rule.id, caller, target, at));
                    let finding = finding(hit, &text.pointer);
                    let Some(exception) = covering else {
                        return Verdict::Deny { denial: Denial::DangerousSql(Box::new(finding)), onward: judged };
                    };
                    if judged.excepted.len() < KEPT {
                        let (by, reason, place) = (exception.by.clone(), exception.reason.clone(), exception.place.clone());
                        judged.excepted.push(ExceptedSql { finding, by, reason, place });
                    }
                }
                Mode::Observe if judged.observed.len() < KEPT => judged.observed.push(finding(hit, &text.pointer)),
                Mode::Observe | Mode::Off => {}
            }
        }
    }
    Verdict::Allow(judged)
}

fn finding(hit: Hit<'_>, pointer: &str) -> SqlFinding {
    SqlFinding {
        rule: hit.rule.id.clone(),
        pattern: hit.rule.pattern.clone(),
        statement: hit.statement,
        pointer: pointer.to_owned(),
        reason: hit.rule.why.clone(),
        severity: "critical",
        kind: "drop",
        objects: Vec::new(),
        span: 0..0,
        fingerprint: String::new(),
        place: Some(hit.rule.place.clone()),
    }
}
