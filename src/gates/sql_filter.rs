//! The gate that stops dangerous SQL, whoever sends it and whatever target it is for.

use crate::call::Envelope;
use crate::identity::Caller;
use crate::policy::SqlPolicy;
use crate::sql::{Hit, Mode, judge};
use crate::verdict::{Denial, SqlFinding, Verdict};

/// Findings of observing rules kept per call: enough to see what a rule would do, whatever a call carries.
const OBSERVED: usize = 16;

/// Proof that a call's SQL was judged.
#[derive(Debug)]
pub struct SqlJudged {
    observed: Vec<SqlFinding>,
}

impl SqlJudged {
    /// What observing rules found, for the record.
    pub fn observed(&self) -> &[SqlFinding] {
        &self.observed
    }
}

/// Denies with the first finding of an enforcing rule. No caller is exempt: a stolen service key must not drop tables either.
pub fn sql_filter(_caller: &Caller, envelope: &Envelope, policy: &SqlPolicy) -> Verdict<SqlJudged> {
    let mut observed = Vec::new();
    for text in &envelope.sql {
        for hit in judge(&text.text, &policy.rules) {
            match hit.rule.mode {
                Mode::Enforce => {
                    let denial = Denial::DangerousSql(Box::new(finding(hit, &text.pointer)));
                    return Verdict::Deny { denial, onward: SqlJudged { observed } };
                }
                Mode::Observe if observed.len() < OBSERVED => observed.push(finding(hit, &text.pointer)),
                Mode::Observe | Mode::Off => {}
            }
        }
    }
    Verdict::Allow(SqlJudged { observed })
}

fn finding(hit: Hit<'_>, pointer: &str) -> SqlFinding {
    SqlFinding {
        rule: hit.rule.id.clone(),
        pattern: hit.rule.pattern.clone(),
        statement: hit.statement,
        pointer: pointer.to_owned(),
        reason: hit.rule.why.clone(),
        place: Some(hit.rule.place.clone()),
    }
}
