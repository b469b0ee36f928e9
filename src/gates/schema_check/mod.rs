//! The gate that lets a schema operation pass only if its validator does. It judges in two steps, for the validator is asked in between:
//! what there is to ask, and what to make of the answer.

mod shown;

use crate::call::{Content, Reading, SqlText};
use crate::gates::sql_filter::Holds;
use crate::gates::sql_filter::SqlJudged;
use crate::identity::TargetName;
use crate::policy::{Fail, SchemaPolicy, Target};
use crate::sql::Outline;
use crate::verdict::{Denial, Opinion, SchemaRejection, Verdict};

/// Proof that a call is no schema operation, or was judged as one.
#[derive(Debug)]
pub struct SchemaChecked(());

/// Whether there is anything to ask.
#[derive(Debug)]
pub enum Inquiry {
    Nothing(SchemaChecked),
    Ask(Question),
}

/// A schema operation, as its validator is to see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    pub validator: TargetName,
    /// All the SQL of the call.
    pub sql: String,
    pub kind: Kind,
    /// To be told apart, and shown, without its literals.
    pub outline: Outline,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Ddl,
    Other,
}

impl Question {
    /// For a call that nobody is asked about, because no answer would stop it.
    pub fn unasked(&self) -> SchemaChecked {
        SchemaChecked(())
    }
}

/// A call without SQL is no schema operation, and neither is one to the validator itself.
pub fn inquire(target: &Target, content: &Content, judged: &SqlJudged, policy: &SchemaPolicy) -> Inquiry {
    let nothing = Inquiry::Nothing(SchemaChecked(()));
    let Some(validator) = &policy.validator else { return nothing };
    // Only what stands in a field for SQL is meant to be carried out; a note may well be the text of a statement.
    let texts = || content.sql().iter().zip(judged.holds()).filter(|(text, _)| text.reading == Reading::Sql);
    let sql: Vec<&SqlText> = texts().map(|(text, _)| text).collect();
    if sql.is_empty() || validator.name == target.name {
        return nothing;
    }
    let kind = if texts().any(|(_, holds)| *holds == Holds::SchemaChange) {
        Kind::Ddl
    } else if is_named(content, policy) {
        Kind::Other
    } else {
        return nothing;
    };
    let sql = shown::all(&sql);
    Inquiry::Ask(Question { validator: validator.name.clone(), outline: Outline::of(&sql), sql, kind })
}

pub fn schema_check(question: &Question, opinion: Opinion, policy: &SchemaPolicy) -> Verdict<SchemaChecked> {
    let proof = SchemaChecked(());
    let denial = match opinion {
        Opinion::Valid => return Verdict::Allow(proof),
        Opinion::Rejected { reason } => Denial::SchemaRejected(SchemaRejection {
            reason,
            fingerprint: question.outline.fingerprint.clone(),
            fix_triggered: false,
            place: Some(policy.place.clone()),
        }),
        Opinion::Unavailable(why) => match (policy.fail, question.kind) {
            (Fail::Open, _) | (Fail::ClosedForDdl, Kind::Other) => return Verdict::Allow(proof),
            (Fail::Closed, _) | (Fail::ClosedForDdl, Kind::Ddl) => {
                Denial::ValidatorUnavailable { validator: question.validator.clone(), why, place: Some(policy.fail_place.clone()) }
            }
        },
    };
    Verdict::Deny { denial, onward: proof }
}

/// Whether the call says itself that it is a schema operation. Of two actions, either does.
fn is_named(content: &Content, policy: &SchemaPolicy) -> bool {
    let acts = |action| policy.actions.contains(action);
    let by_action = content.actions().any(acts);
    by_action || (policy.operations && content.sql_fields().any(is_operation))
}

fn is_operation(sql: &SqlText) -> bool {
    sql.pointer.strip_prefix("/operation").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
