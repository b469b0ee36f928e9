//! From notes to the row: the words the original used, so that the operators' queries and the clients' dashboards go on working.
//!
//! Nothing secret can get here: notes hold no body, no header, no key; a judged statement comes with its literals blanked.

use std::time::Duration;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::notes::{Ending, Notes, WouldDeny};
use crate::call::legible;
use crate::clock::Timestamp;
use crate::identity::{Action, CallId, Caller, NAME_LIMIT, Network, UNAUTHENTICATED};
use crate::store::{ActivityStatus, ActivityType, ApiStatus, CallRecord, StatsKey, StatsOutcome};
use crate::verdict::{Denial, Failure, Refusal};
use crate::wording::words;

/// What an absent action is called, as in the original's rows.
const NO_ACTION: &str = "undefined";

pub fn compose(notes: &Notes, ending: &Ending, took: Duration) -> CallRecord {
    let source = notes.caller.as_ref().map_or(UNAUTHENTICATED, Caller::recorded_as);
    let kind = classify(ending);
    let action = notes.action.as_ref().map_or(NO_ACTION, Action::as_str);
    let asked = notes.asked_target.as_deref().map(|name| legible(name, NAME_LIMIT));
    let target = notes.target.as_ref().map(|target| target.as_str()).or(asked.as_deref());
    let error_message = error_message(notes, ending);
    let (title, description) = headline(ending, kind.activity, source, target, action, error_message.as_deref());
    let millis = i32::try_from(took.as_millis()).unwrap_or(i32::MAX);

    let mut metadata = Map::new();
    metadata.insert("source".into(), json!(source));
    metadata.insert("target".into(), json!(target));
    metadata.insert("action".into(), json!(notes.action.as_ref().map(Action::as_str)));
    metadata.insert("execution_time_ms".into(), json!(millis));
    metadata.insert("success".into(), json!(kind.stats == StatsOutcome::Successful));
    metadata.insert("door".into(), json!(notes.door));
    metadata.insert("network".into(), json!(notes.network.to_string()));
    metadata.insert("request_bytes".into(), json!(notes.request_bytes));
    metadata.insert("response_bytes".into(), json!(notes.response_bytes));
    if let Some(key) = notes.key() {
        metadata.insert("key".into(), json!(key.as_str()));
    }
    if let Some(claimed) = &notes.claimed {
        metadata.insert("claimed_source".into(), json!(claimed.as_ref()));
    }
    if let Some(trace) = &notes.trace {
        metadata.insert("trace_id".into(), json!(format!("{:032x}", trace.trace_id)));
    }
    if let Some(upstream) = notes.upstream {
        metadata.insert("upstream_ms".into(), json!(upstream.as_millis()));
        metadata.insert("overhead_us".into(), json!(took.saturating_sub(upstream).as_micros()));
    }
    describe_ending(ending, &mut metadata);
    if let Some(error) = &error_message {
        metadata.insert("error".into(), json!(error));
    }
    if !notes.would_deny.is_empty() {
        if !matches!(ending, Ending::Refused(Refusal::Denied(_))) {
            metadata.insert("enforced".into(), json!(false));
        }
        metadata.insert("would_deny".into(), notes.would_deny.iter().map(would_deny).collect());
    }

    CallRecord {
        id: notes.id.0,
        at: notes.at,
        activity_type: kind.activity,
        activity_status: kind.status,
        title,
        description,
        metadata: Value::Object(metadata).to_string(),
        api_status: kind.api,
        error_message,
        request: json!({ "target": target, "action": notes.action.as_ref().map(Action::as_str), "source": source }).to_string(),
        caller_context: json!({
            "source": source,
            "authenticated": matches!(notes.caller, Some(Caller::Source { .. } | Caller::ServiceRole { .. })),
        })
        .to_string(),
        execution_ms: millis,
        times: 1,
        stats: StatsKey {
            // Sources beyond what the limiter tells apart share their pattern's name, so made-up names do not fill the table.
            source: notes.counted.as_ref().map_or(source, |count| &count.identifier).to_owned(),
            target: notes.target.as_ref().map(|target| target.as_str().to_owned()).unwrap_or_default(),
            outcome: kind.stats,
        },
        counted: notes.counted.clone(),
    }
}

/// Failed authentications of one network and minute that were not recorded one by one.
pub fn folded_strangers(network: Option<Network>, minute: Timestamp, count: u32) -> CallRecord {
    let network = network.map_or_else(|| "many networks".to_owned(), |network| network.to_string());
    let message = format!("{count} more failed authentications from {network} in the minute of {minute}");
    CallRecord {
        id: CallId::new().0,
        at: minute,
        activity_type: ActivityType::Denied,
        activity_status: ActivityStatus::Blocked,
        title: format!("\u{26d4} {count} unauthenticated calls"),
        description: message.clone(),
        metadata: json!({
            "source": UNAUTHENTICATED, "network": network, "status": 401, "code": "unauthorized", "folded": count, "success": false,
        })
        .to_string(),
        api_status: ApiStatus::Error,
        error_message: Some("Invalid Eliza credentials or untrusted source".into()),
        request: json!({ "target": null, "action": null, "source": UNAUTHENTICATED }).to_string(),
        caller_context: json!({ "source": UNAUTHENTICATED, "authenticated": false }).to_string(),
        execution_ms: 0,
        times: count,
        stats: StatsKey { source: UNAUTHENTICATED.into(), target: String::new(), outcome: StatsOutcome::Denied },
        counted: None,
    }
}

/// The id of a call as people paste it.
pub fn parse_id(text: &str) -> Option<CallId> {
    Uuid::try_parse(text.trim()).ok().map(CallId)
}

struct Kind {
    activity: ActivityType,
    status: ActivityStatus,
    api: ApiStatus,
    stats: StatsOutcome,
}

fn classify(ending: &Ending) -> Kind {
    let kind = |activity, status, api, stats| Kind { activity, status, api, stats };
    match ending {
        Ending::Answered { status } if *status < 400 => {
            kind(ActivityType::Call, ActivityStatus::Completed, ApiStatus::Success, StatsOutcome::Successful)
        }
        Ending::Answered { .. } | Ending::AnswerBroken { .. } | Ending::Abandoned { status: Some(_) } => {
            kind(ActivityType::Call, ActivityStatus::Error, ApiStatus::Error, StatsOutcome::Failed)
        }
        Ending::Abandoned { status: None } => kind(ActivityType::Error, ActivityStatus::Error, ApiStatus::Error, StatsOutcome::Failed),
        Ending::Refused(Refusal::Denied(Denial::DangerousSql(_))) => {
            kind(ActivityType::SchemaProtection, ActivityStatus::Blocked, ApiStatus::Error, StatsOutcome::Denied)
        }
        Ending::Refused(Refusal::Denied(_)) => kind(ActivityType::Denied, ActivityStatus::Blocked, ApiStatus::Error, StatsOutcome::Denied),
        Ending::Refused(Refusal::Failed(failure)) => match failure {
            Failure::TargetTooSlow { .. } => kind(ActivityType::Error, ActivityStatus::Error, ApiStatus::Timeout, StatsOutcome::Failed),
            Failure::TargetNotConfigured { .. }
            | Failure::BreakerOpen { .. }
            | Failure::Unreachable { .. }
            | Failure::TargetReset { .. }
            | Failure::TargetNonsense { .. }
            | Failure::Overloaded
            | Failure::Internal => kind(ActivityType::Error, ActivityStatus::Error, ApiStatus::Error, StatsOutcome::Failed),
            Failure::AmbiguousHeaders(_)
            | Failure::MethodNotAllowed { .. }
            | Failure::InvalidJson { .. }
            | Failure::InvalidEnvelope { .. }
            | Failure::AmbiguousBody { .. }
            | Failure::BodyTooLarge { .. }
            | Failure::BodyTooSlow
            | Failure::BodyBroken
            | Failure::UnsupportedEncoding
            | Failure::UnknownTarget { .. }
            | Failure::LoopDetected => kind(ActivityType::Denied, ActivityStatus::Blocked, ApiStatus::Error, StatsOutcome::Denied),
        },
    }
}

fn error_message(notes: &Notes, ending: &Ending) -> Option<String> {
    let target = notes.target.as_ref().map_or("target", |target| target.as_str());
    match ending {
        Ending::Answered { status } if *status < 400 => None,
        Ending::Answered { status } => Some(format!("{target} answered {status}")),
        Ending::AnswerBroken { .. } => Some(format!("the answer of {target} broke off")),
        Ending::Abandoned { .. } => Some("the caller went away".into()),
        Ending::Refused(refusal) => Some(words(refusal).message),
    }
}

fn headline(
    ending: &Ending,
    activity: ActivityType,
    source: &str,
    target: Option<&str>,
    action: &str,
    error: Option<&str>,
) -> (String, String) {
    let target = target.unwrap_or("?");
    match (activity, ending) {
        (ActivityType::SchemaProtection, Ending::Refused(Refusal::Denied(Denial::DangerousSql(finding)))) => {
            ("\u{1f6ab} Dangerous Operation Blocked".into(), format!("Blocked {} from {source}", finding.pattern))
        }
        (ActivityType::Error, _) => ("\u{274c} Gatekeeper Error".into(), error.unwrap_or_default().to_owned()),
        (ActivityType::Denied | ActivityType::SchemaProtection, _) => {
            (format!("\u{26d4} {source} \u{2192} {target}"), error.unwrap_or_default().to_owned())
        }
        (ActivityType::Call, _) => (format!("\u{1f6e1}\u{fe0f} {source} \u{2192} {target}"), format!("Action: {action}")),
    }
}

fn describe_ending(ending: &Ending, metadata: &mut Map<String, Value>) {
    match ending {
        Ending::Answered { status } | Ending::AnswerBroken { status } | Ending::Abandoned { status: Some(status) } => {
            metadata.insert("status".into(), json!(status));
        }
        Ending::Abandoned { status: None } => {}
        Ending::Refused(refusal) => {
            let (status, denial) = match refusal {
                Refusal::Denied(denial) => (denial.status(), Some(denial)),
                Refusal::Failed(failure) => (failure.status(), None),
            };
            metadata.insert("status".into(), json!(status));
            if let Some(denial) = denial {
                describe_denial(denial, metadata);
            }
        }
    }
    metadata.insert("code".into(), json!(ending.label()));
}

/// What the operator should know of a denial beyond what the caller was told.
fn describe_denial(denial: &Denial, into: &mut Map<String, Value>) {
    match denial {
        Denial::Unauthorized(fault) => {
            into.insert("fault".into(), json!(fault.as_str()));
        }
        Denial::Limited(limited) => {
            into.insert("scope".into(), json!(format!("{:?}", limited.scope).to_lowercase()));
            into.insert("retry_after_seconds".into(), json!(limited.retry_after.as_secs()));
        }
        Denial::DangerousSql(finding) => {
            into.insert("pattern".into(), json!(finding.pattern));
            into.insert("rule".into(), json!(finding.rule));
            into.insert("sql".into(), json!(finding.statement));
            into.insert("pointer".into(), json!(finding.pointer));
            into.insert("reason".into(), json!(finding.reason));
        }
        Denial::KeyNotScoped { .. } | Denial::CallerNotAllowed { .. } => {}
    }
}

fn would_deny(would: &WouldDeny) -> Value {
    let mut entry = Map::new();
    entry.insert("gate".into(), json!(would.gate.as_str()));
    entry.insert("code".into(), json!(would.denial.code()));
    entry.insert("status".into(), json!(would.denial.status()));
    describe_denial(&would.denial, &mut entry);
    Value::Object(entry)
}
