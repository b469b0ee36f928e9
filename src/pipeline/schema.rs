//! The step of the schema check: the one gate that asks somebody else. Where no answer would stop the call, nobody is asked, nothing is
//! set off, and the call does not wait.

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};

use super::fixer::Rejected;
use super::{Pipeline, Purpose, Route, weigh};
use crate::call::{Head, Shown};
use crate::enforcement::GateMode;
use crate::gates::authenticate::Authenticated;
use crate::gates::schema_check::{Inquiry, Question, SchemaChecked, inquire, schema_check};
use crate::gates::sql_filter::SqlJudged;
use crate::identity::Caller;
use crate::live::Snapshot;
use crate::record::{SchemaNote, Trail};
use crate::upstream::{Ask, ask};
use crate::verdict::{Denial, GateName, NoAnswer, Opinion, Refusal, SchemaRejection};

/// A call at this step.
pub(super) struct Checking<'a> {
    pub caller: &'a Authenticated,
    pub route: &'a Route<'a>,
    pub sql: &'a SqlJudged,
    pub head: &'a Head,
    pub headers: &'a HeaderMap,
    pub purpose: &'a Purpose,
}

impl Pipeline {
    pub(super) async fn check_schema(&self, call: Checking<'_>, snapshot: &Snapshot, trail: &mut Trail) -> Result<SchemaChecked, Refusal> {
        let Route { target, content, .. } = call.route;
        let question = match inquire(target, content, call.sql, &snapshot.policy.schema) {
            Inquiry::Nothing(proof) => return Ok(proof),
            Inquiry::Ask(question) => question,
        };
        let observes = snapshot.modes(trail.notes().at).of(GateName::SchemaCheck) == GateMode::Observe;
        if observes || matches!(call.purpose, Purpose::Explain(_)) {
            trail.note().schema = Some(SchemaNote::NotAsked);
            return Ok(question.unasked());
        }

        let began = self.clock.monotonic_nanos();
        // Apart: few calls ask, and all would hold room for the asking.
        let opinion = Box::pin(self.ask_validator(&question, &call, snapshot)).await;
        trail.note().asking = Some(self.since(began));
        trail.note().schema = Some(match &opinion {
            Opinion::Valid => SchemaNote::Valid,
            Opinion::Rejected { .. } => SchemaNote::Rejected,
            Opinion::Unavailable(why) => SchemaNote::Unavailable(*why),
        });
        let judged = weigh(snapshot, trail, GateName::SchemaCheck, schema_check(&question, opinion, &snapshot.policy.schema));
        match judged {
            Err(Refusal::Denied(Denial::SchemaRejected(rejection))) => {
                let fix_triggered = self.set_off_a_fix(&rejection, question, &call, snapshot);
                Err(Denial::SchemaRejected(SchemaRejection { fix_triggered, ..rejection }).into())
            }
            judged => judged,
        }
    }

    async fn ask_validator(&self, question: &Question, call: &Checking<'_>, snapshot: &Snapshot) -> Opinion {
        let policy = &snapshot.policy.schema;
        let source = call.caller.caller().recorded_as();
        let Some(validator) = &policy.validator else { return Opinion::Unavailable(NoAnswer::NotConfigured) };
        let opinion = if snapshot.switches.against(validator.name.as_str(), source).is_some() {
            Opinion::Unavailable(NoAnswer::SwitchedOff)
        } else {
            let ask = Ask {
                head: call.head,
                shown: &credentials_of(call.headers),
                towards: self.towards(call.caller),
                target: validator,
                timeout: policy.timeout,
                body: ask::question(policy.action.as_str(), &question.sql, source, call.route.target.name.as_str()),
            };
            self.upstream.ask(ask).await.map_or_else(Opinion::Unavailable, |answer| ask::opinion(&answer))
        };
        if let Opinion::Unavailable(why) = &opinion {
            tracing::warn!(call = %call.head.id, validator = %validator.name, %why, kind = ?question.kind, "the validator said nothing");
        }
        opinion
    }

    /// Whether somebody is at work on it.
    fn set_off_a_fix(&self, rejection: &SchemaRejection, question: Question, call: &Checking<'_>, snapshot: &Snapshot) -> bool {
        let policy = &snapshot.policy.schema;
        let source = call.caller.caller().recorded_as();
        let Some(fixer) = policy.fixer.as_ref().filter(|fixer| !fixer.sites.is_empty()) else { return false };
        let sets_off = match call.caller.caller() {
            // Who mends a statement hears of its rejection as the caller that it is; told again, it would go in circles.
            Caller::Source { name, .. } => name.as_str() != fixer.name.as_str(),
            Caller::ServiceRole { .. } => true,
            // Nothing is asked with credentials of ours for somebody who has shown none.
            Caller::Stranger { .. } => false,
        };
        if !sets_off || snapshot.switches.against(fixer.name.as_str(), source).is_some() {
            return false;
        }
        self.fixer.trigger(Rejected {
            fixer: Arc::clone(fixer),
            cooldown: policy.fix_cooldown,
            head: Head { credentials: Shown::default(), ..call.head.clone() },
            source: source.to_owned(),
            target: call.route.target.name.clone(),
            reason: rejection.reason.clone(),
            sql: question.sql,
            fingerprint: question.outline.fingerprint,
            statement: question.outline.statement,
        })
    }
}

/// Of the caller's headers, only those that policy decides about: with any other, a caller could have a say in how the validator answers.
fn credentials_of(headers: &HeaderMap) -> HeaderMap {
    let credentials = [AUTHORIZATION, HeaderName::from_static("apikey")];
    credentials.into_iter().filter_map(|name| Some((headers.get(&name)?.clone(), name))).map(|(value, name)| (name, value)).collect()
}
