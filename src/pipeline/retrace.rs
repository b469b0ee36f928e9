//! The gates one by one for a call that was made, from what was kept of it: the same steps as an explanation's.

use serde_json::Value;

use super::explain::{Decision, Step, line};
use crate::identity::{Action, Endpoint, Place, SERVICE_ROLE, SourceName, TargetName, UNAUTHENTICATED};
use crate::policy::Policy;
use crate::record::compose::FINGERPRINT_SHOWN;
use crate::verdict::GateName;
use crate::wording::SqlLine;

/// Whether a recorded call was judged by this policy.
pub fn judged_by(metadata: &Value, policy: &Policy) -> bool {
    text(metadata, "policy") == policy.fingerprint.get(..FINGERPRINT_SHOWN)
}

/// `metadata`: of the call's record. `policy`: the one it was judged by, if that is at hand; it names the lines that let the call pass.
pub fn retrace(metadata: &Value, policy: Option<&Policy>) -> Vec<Step> {
    let kept = Kept { metadata, policy, end: End::of(metadata) };
    GateName::ALL.into_iter().map(|gate| kept.step(gate)).collect()
}

/// Where a call's way ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    DeniedBy(GateName),
    /// Not by a gate; this is the last it had passed.
    After(GateName),
    BeforeAllGates,
    BehindAllGates,
    /// It had passed these gates; whether any more, nobody noted.
    Somewhere {
        after: Option<GateName>,
    },
}

impl End {
    fn of(metadata: &Value) -> Self {
        match text(metadata, "code").unwrap_or_default() {
            "unauthorized" | "folded" => Self::DeniedBy(GateName::Authenticate),
            "network_blocked" | "source_disabled" => Self::DeniedBy(GateName::Blocklist),
            "rate_limited" | "burst_exceeded" if text(metadata, "scope") == Some("source") => Self::DeniedBy(GateName::SourceLimit),
            "rate_limited" | "burst_exceeded" => Self::DeniedBy(GateName::EndpointLimit),
            "key_not_scoped" | "caller_not_allowed" => Self::DeniedBy(GateName::Authorize),
            "dangerous_operation" => Self::DeniedBy(GateName::SqlFilter),
            "schema_rejected" | "validator_unavailable" => Self::DeniedBy(GateName::SchemaCheck),
            "ambiguous_headers" | "method_not_allowed" => Self::BeforeAllGates,
            // Turned away at the door, where nobody asks for names.
            "overloaded" if text(metadata, "source") == Some(UNAUTHENTICATED) && would_deny(metadata, GateName::Authenticate).is_none() => {
                Self::BeforeAllGates
            }
            "invalid_json"
            | "invalid_envelope"
            | "ambiguous_body"
            | "unjudgeable_body"
            | "bad_target"
            | "upgrade_not_allowed"
            | "body_too_large"
            | "body_too_slow"
            | "body_broken"
            | "unsupported_encoding"
            | "bad_encoding"
            | "unknown_target"
            | "loop_detected"
            | "overloaded"
            | "not_recordable"
            | "target_disabled" => Self::After(GateName::SourceLimit),
            "answered"
            | "target_error"
            | "answer_broken"
            | "target_not_configured"
            | "breaker_open"
            | "target_busy"
            | "upstream_unreachable"
            | "upstream_timeout"
            | "upstream_reset"
            | "upstream_invalid_response" => Self::BehindAllGates,
            "abandoned" if is_said(metadata, "status") => Self::BehindAllGates,
            // Whoever is known was let in, and whatever target is known was found; nothing waits between these gates.
            _ => Self::Somewhere {
                after: if is_said(metadata, "target") {
                    Some(GateName::EndpointLimit)
                } else if text(metadata, "source") != Some(UNAUTHENTICATED) || would_deny(metadata, GateName::Authenticate).is_some() {
                    Some(GateName::SourceLimit)
                } else {
                    None
                },
            },
        }
    }

    /// Whether a gate let the call pass; if not, why it did not come to that.
    fn passed(self, gate: GateName) -> Result<(), &'static str> {
        let known = |passed: bool| if passed { Ok(()) } else { Err("") };
        match self {
            Self::DeniedBy(last) => known(gate < last),
            Self::After(last) => known(gate <= last),
            Self::BeforeAllGates => known(false),
            Self::BehindAllGates => known(true),
            Self::Somewhere { after } if after.is_some_and(|last| gate <= last) => Ok(()),
            Self::Somewhere { .. } => Err("the call broke off; whether it came this far is not known"),
        }
    }
}

fn text<'v>(value: &'v Value, member: &str) -> Option<&'v str> {
    value.get(member)?.as_str()
}

fn is_said(value: &Value, member: &str) -> bool {
    value.get(member).is_some_and(|value| !value.is_null())
}

fn would_deny(metadata: &Value, gate: GateName) -> Option<&Value> {
    metadata.get("would_deny")?.as_array()?.iter().find(|would| text(would, "gate") == Some(gate.as_str()))
}

struct Kept<'a> {
    metadata: &'a Value,
    policy: Option<&'a Policy>,
    end: End,
}

impl Kept<'_> {
    fn step(&self, gate: GateName) -> Step {
        let denied = match would_deny(self.metadata, gate) {
            _ if self.end == End::DeniedBy(gate) => Some((Decision::Deny, self.metadata)),
            would => would.map(|would| (Decision::WouldDeny, would)),
        };
        if let Some((decision, details)) = denied {
            let place = text(details, "policy_line").map(Place::new).or_else(|| self.place(gate));
            return Step { gate, decision, saw: self.saw(gate, details), why: why(details), place };
        }
        match self.end.passed(gate) {
            Ok(()) if gate == GateName::SchemaCheck && self.text("schema_check") == Some("not_asked") => {
                Step { gate, decision: Decision::NotAsked, saw: self.saw(gate, self.metadata), why: String::new(), place: self.place(gate) }
            }
            Ok(()) => self.allow(gate),
            Err(unknown) => {
                let why = match self.end {
                    // No gate stopped it, so it says itself what did.
                    End::After(_) | End::BeforeAllGates => self.text("error").unwrap_or_default(),
                    End::DeniedBy(_) | End::BehindAllGates | End::Somewhere { .. } => unknown,
                };
                Step { gate, decision: Decision::NotReached, saw: String::new(), why: why.to_owned(), place: None }
            }
        }
    }

    fn allow(&self, gate: GateName) -> Step {
        let step = |details, why, place| Step { gate, decision: Decision::Allow, saw: self.saw(gate, details), why, place };
        match self.metadata.pointer("/excepted/0") {
            Some(excepted) if gate == GateName::SqlFilter => {
                let said = |member: &str| text(excepted, member).unwrap_or_default();
                let why = sql_line(excepted, said("why")).excepted(said("reason"), said("by"));
                step(excepted, why, Some(Place::new(said("policy_line"))))
            }
            _ => step(self.metadata, String::new(), self.place(gate)),
        }
    }

    fn text(&self, member: &str) -> Option<&str> {
        text(self.metadata, member)
    }

    fn saw(&self, gate: GateName, details: &Value) -> String {
        match gate {
            GateName::Authenticate => match (self.text("source"), self.text("claimed_source")) {
                (Some(SERVICE_ROLE), _) => "the service role key".into(),
                (Some(UNAUTHENTICATED) | None, Some(claimed)) => format!("somebody who says it is {claimed}"),
                (Some(UNAUTHENTICATED) | None, None) => "nobody".into(),
                (Some(source), _) => match self.text("key") {
                    Some(key) => format!("source {source} with the key {key}"),
                    None => format!("source {source}"),
                },
            },
            GateName::Blocklist => self.text("network").map(|network| format!("a call from {network}")).unwrap_or_default(),
            GateName::Authorize => match (self.text("target"), self.text("action")) {
                (Some(target), Some(action)) => format!("{target}, action {action}"),
                (Some(target), None) => format!("{target}, no action"),
                (None, _) => String::new(),
            },
            GateName::SqlFilter => text(details, "pointer").map(|pointer| format!("SQL at {pointer}")).unwrap_or_default(),
            GateName::SchemaCheck => match (self.text("schema_check"), self.text("schema_check_fault")) {
                (Some("not_asked"), _) => "a schema operation, which nobody was asked about".into(),
                (Some("unavailable"), fault) => format!("the validator said nothing: {}", fault.unwrap_or_default()),
                (Some(said), _) => format!("the validator said: {said}"),
                (None, _) => String::new(),
            },
            GateName::SourceLimit | GateName::EndpointLimit => String::new(),
        }
    }

    fn place(&self, gate: GateName) -> Option<Place> {
        let (source, target) = (self.text("source").and_then(SourceName::parse), self.text("target").and_then(TargetName::parse));
        let endpoint = target.as_ref().map(|target| match self.text("method") {
            Some(method) => Endpoint::direct(target, method),
            None => Endpoint::of(target, self.text("action").and_then(Action::parse).as_ref()),
        });
        line(self.policy?, gate, source.as_ref(), target.as_ref(), endpoint.as_ref())
    }
}

/// What was kept of a denial, in a sentence.
fn why(details: &Value) -> String {
    let said = |member: &str| text(details, member);
    match (said("fault"), said("rule"), said("reason"), said("error")) {
        (Some(fault), ..) => fault.replace('_', " "),
        (_, Some(_), Some(reason), _) => sql_line(details, reason).to_string(),
        (_, _, Some(reason), _) => reason.to_owned(),
        (.., Some(error)) => error.to_owned(),
        (.., None) => said("code").unwrap_or_default().replace('_', " "),
    }
}

/// What was kept of a statement that falls under a rule.
fn sql_line<'v>(details: &'v Value, reason: &'v str) -> SqlLine<'v> {
    let said = |member: &str| text(details, member).unwrap_or_default();
    let byte = |at: usize| details.get("span")?.get(at)?.as_u64();
    SqlLine { rule: said("rule"), pointer: said("pointer"), span: byte(0).zip(byte(1)), reason, fingerprint: said("fingerprint") }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::Timestamp;
    use crate::identity::{CallId, Caller, KeyId, Proof};
    use crate::record::compose::compose;
    use crate::record::{Ending, Notes, SchemaNote, WouldDeny};
    use crate::verdict::{
        AuthFault, Blocked, BlockedWhat, Crowd, Denial, ExceptedSql, Failure, LimitRule, LimitScope, Limited, NoAnswer, Refusal,
        SchemaRejection, SqlFinding,
    };

    fn notes() -> Notes {
        Notes {
            caller: Some(Caller::Source { name: SourceName::parse("gemini-chat").unwrap(), proof: Proof::Key(KeyId::new("env:current")) }),
            target: TargetName::parse("brain"),
            action: Action::parse("think"),
            ..Notes::new(CallId::new(), Timestamp::from_secs(60), [192, 0, 2, 7].into(), "envelope")
        }
    }

    fn steps(notes: &Notes, ending: &Ending) -> Vec<Step> {
        retrace(&serde_json::from_str(&compose(notes, ending, Duration::ZERO, &mut String::new()).metadata).unwrap(), None)
    }

    fn decisions(steps: &[Step]) -> Vec<Decision> {
        steps.iter().map(|step| step.decision).collect()
    }

    fn denials() -> Vec<Denial> {
        let (target, place) = (TargetName::parse("brain").unwrap(), Some(Place::new("own.toml:1")));
        let limited = |scope, rule| Denial::Limited(Limited { scope, rule, retry_after: Duration::from_secs(1), place: place.clone() });
        let blocked = |what| Denial::Blocked(Blocked { what, reason: "flood".into(), place: place.clone() });
        vec![
            Denial::Unauthorized(AuthFault::WrongKey),
            blocked(BlockedWhat::Network),
            blocked(BlockedWhat::Source),
            limited(LimitScope::Source, LimitRule::Window { limit: 1, window_secs: 60 }),
            limited(LimitScope::Source, LimitRule::Burst { size: 1 }),
            limited(LimitScope::Endpoint, LimitRule::Window { limit: 1, window_secs: 60 }),
            limited(LimitScope::Endpoint, LimitRule::Burst { size: 1 }),
            Denial::KeyNotScoped { target: target.clone() },
            Denial::CallerNotAllowed { target: target.clone(), place: place.clone() },
            Denial::DangerousSql(Box::new(SqlFinding {
                rule: "drop-table".into(),
                pattern: "/DROP/".into(),
                statement: "DROP TABLE a".into(),
                pointer: "/payload/sql".into(),
                reason: "It destroys.".into(),
                severity: "critical",
                kind: "drop",
                objects: vec!["a".into()],
                span: 0..12,
                fingerprint: "0123456789abcdef".into(),
                place: place.clone(),
            })),
            Denial::SchemaRejected(SchemaRejection {
                reason: "no".into(),
                fingerprint: "f".into(),
                fix_triggered: false,
                place: place.clone(),
            }),
            Denial::ValidatorUnavailable { validator: target, why: NoAnswer::TooSlow, place },
        ]
    }

    #[test]
    fn a_denial_is_found_at_its_gate_whether_or_not_it_stood() {
        for denial in denials() {
            let (gate, place) = (denial.gate(), denial.place().cloned());
            let refused = steps(&notes(), &Ending::Refused(Refusal::Denied(denial.clone())));
            let expected: Vec<_> = GateName::ALL
                .into_iter()
                .map(|other| match other.cmp(&gate) {
                    std::cmp::Ordering::Less => Decision::Allow,
                    std::cmp::Ordering::Equal => Decision::Deny,
                    std::cmp::Ordering::Greater => Decision::NotReached,
                })
                .collect();
            assert_eq!(decisions(&refused), expected, "{denial:?}");

            let observed = Notes { would_deny: vec![WouldDeny { gate, denial: denial.clone() }], enforced: false, ..notes() };
            let passed = steps(&observed, &Ending::Answered { status: 200 });
            let expected = GateName::ALL.map(|other| if other == gate { Decision::WouldDeny } else { Decision::Allow });
            assert_eq!(decisions(&passed), expected, "{denial:?}");
            for step in [refused, passed].concat().into_iter().filter(|step| step.gate == gate) {
                assert_eq!(step.place, place, "{denial:?}");
                assert!(!step.why.is_empty(), "{denial:?}");
            }
        }
    }

    #[test]
    fn a_call_turned_away_at_the_door_came_to_no_gate() {
        let nobody = Notes { caller: None, ..notes() };
        let passed = steps(&nobody, &Ending::Refused(Refusal::Failed(Failure::Overloaded)));
        assert!(passed.iter().all(|step| step.decision == Decision::NotReached), "{passed:?}");
    }

    #[test]
    fn what_no_gate_refused_came_as_far_as_it_did() {
        let target = || TargetName::parse("brain").unwrap();
        let failures = [
            Failure::AmbiguousHeaders("twice"),
            Failure::MethodNotAllowed { allow: "POST" },
            Failure::InvalidJson { what: String::new() },
            Failure::InvalidEnvelope { what: "no target".into() },
            Failure::AmbiguousBody { what: String::new() },
            Failure::UnjudgeableBody { what: String::new() },
            Failure::BadTarget { what: "" },
            Failure::UpgradeNotAllowed { target: target() },
            Failure::BodyTooLarge { limit: 1 },
            Failure::BodyTooSlow,
            Failure::BodyBroken,
            Failure::UnsupportedEncoding { accepted: "gzip" },
            Failure::BadEncoding { encoding: "gzip", what: "more follows its end" },
            Failure::UnknownTarget { name: "x".into() },
            Failure::LoopDetected,
            Failure::Overloaded,
            Failure::NotRecordable,
            Failure::TargetDisabled { target: target() },
            Failure::TargetNotConfigured { target: target() },
            Failure::BreakerOpen { target: target(), retry_after: Duration::ZERO },
            Failure::TargetBusy { target: target(), whose: Crowd::Everybodys },
            Failure::Unreachable { target: target() },
            Failure::TargetTooSlow { target: target() },
            Failure::TargetReset { target: target() },
            Failure::TargetNonsense { target: target() },
        ];
        for failure in failures {
            let before_the_gates = matches!(failure, Failure::AmbiguousHeaders(_) | Failure::MethodNotAllowed { .. });
            let passed = steps(&notes(), &Ending::Refused(Refusal::Failed(failure.clone())));
            for step in passed {
                let reached = !before_the_gates && (step.gate <= GateName::SourceLimit || !failure.is_before_the_route());
                let expected = if reached { Decision::Allow } else { Decision::NotReached };
                assert_eq!(step.decision, expected, "{failure:?} {:?}", step.gate);
                assert_eq!(step.why.is_empty(), reached, "{failure:?} says why");
            }
        }
        for ending in [Ending::Answered { status: 500 }, Ending::AnswerBroken { status: 200 }, Ending::Abandoned { status: Some(200) }] {
            assert_eq!(decisions(&steps(&notes(), &ending)), [Decision::Allow; 7], "{ending:?}");
        }
    }

    #[test]
    fn of_a_call_that_broke_off_only_what_is_known_is_said() {
        let nobody = || Notes { caller: None, target: None, ..notes() };
        let gone = Ending::Abandoned { status: None };
        let allowed = |notes: Notes| steps(&notes, &gone).iter().filter(|step| step.decision == Decision::Allow).count();
        assert_eq!([allowed(nobody()), allowed(Notes { target: None, ..notes() }), allowed(notes())], [0, 3, 5]);
        assert!(steps(&notes(), &gone).last().unwrap().why.contains("not known"));
    }

    #[test]
    fn an_exception_is_named_with_its_line() {
        let Some(Denial::DangerousSql(finding)) = denials().into_iter().find(|denial| denial.gate() == GateName::SqlFilter) else {
            panic!("there is one")
        };
        let place = Place::new("exceptions.toml:3");
        let excepted = ExceptedSql { finding: *finding, by: "dba".into(), reason: "nightly".into(), place: place.clone() };
        let passed = steps(&Notes { excepted: vec![excepted], ..notes() }, &Ending::Answered { status: 200 });
        let step = passed.into_iter().find(|step| step.gate == GateName::SqlFilter).unwrap();
        let why = "drop-table at /payload/sql 0..12 is excepted: nightly (dba, fingerprint 0123456789abcdef)";
        let expected = (Decision::Allow, "SQL at /payload/sql", why, Some(place));
        assert_eq!((step.decision, step.saw.as_str(), step.why.as_str(), step.place), expected);
    }

    #[test]
    fn each_gate_says_what_it_saw() {
        let saw = |notes: Notes| steps(&notes, &Ending::Answered { status: 200 }).into_iter().map(|step| step.saw).collect::<Vec<_>>();
        let known = saw(notes());
        assert_eq!((known[0].as_str(), known[1].as_str()), ("source gemini-chat with the key env:current", "a call from 192.0.2.0/24"));
        assert_eq!(known[3], "brain, action think");
        let stranger =
            |claimed: Option<&str>| Notes { caller: Some(Caller::Stranger { claimed: None }), claimed: claimed.map(Into::into), ..notes() };
        assert_eq!(saw(stranger(Some("gemini-chat")))[0], "somebody who says it is gemini-chat");
        assert_eq!(saw(stranger(None))[0], "nobody");
        assert_eq!(saw(Notes { caller: Some(Caller::ServiceRole { claimed: None }), ..notes() })[0], "the service role key");
        let checked = |schema| saw(Notes { schema: Some(schema), ..notes() })[6].clone();
        assert_eq!(checked(SchemaNote::Valid), "the validator said: valid");
        assert_eq!(checked(SchemaNote::Unavailable(NoAnswer::Status(500))), "the validator said nothing: status_500");
        let unasked = Notes { schema: Some(SchemaNote::NotAsked), ..notes() };
        assert_eq!(steps(&unasked, &Ending::Answered { status: 200 })[6].decision, Decision::NotAsked);
    }
}
