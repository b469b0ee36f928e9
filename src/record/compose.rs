//! From notes to the row: the words the original used, so that the operators' queries and the clients' dashboards go on working.
//!
//! Nothing secret can get here: notes hold no body, no header, no key; a judged statement comes with its literals blanked.

use std::borrow::Cow;
use std::time::Duration;

use http::Method;
use serde_json::json;
use uuid::Uuid;

use super::class::ErrorClass;
use super::columns::{CallerContext, Metadata, Request};
use super::details::{Details, Excepted, WouldHaveDenied};
use super::notes::{Ending, Notes, SchemaNote, WouldDeny};
use crate::call::{CacheUse, as_legible};
use crate::clock::Timestamp;
use crate::identity::{Action, CallId, Caller, KeyId, NAME_LIMIT, Network, Place, TargetName, UNAUTHENTICATED};
use crate::store::{ActivityStatus, ActivityType, ApiStatus, AuditClass, CallRecord, Record, StatsKey, StatsOutcome};
use crate::verdict::{Denial, Failure, GateName, Refusal};
use crate::wording::words;

/// What an absent action is called, as in the original's rows.
const NO_ACTION: &str = "undefined";

/// Enough of a fingerprint to tell policies apart.
pub const FINGERPRINT_SHOWN: usize = 16;

/// The record of a call that ended like this. Its texts are written into `texts`, one after the other.
pub fn compose<'a>(notes: &'a Notes, ending: &Ending, took: Duration, texts: &'a mut String) -> Record<'a> {
    let source = notes.caller.as_ref().map_or(UNAUTHENTICATED, Caller::recorded_as);
    let kind = classify(ending);
    let action = notes.action.as_ref().map(Action::as_str);
    let asked = notes.asked_target.as_deref().map(|name| as_legible(name, NAME_LIMIT));
    let known = notes.target.as_ref().map(TargetName::as_str);
    let target = known.or(asked.as_deref());
    let error_message = error_message(notes, ending);
    let error = error_message.as_deref();
    let millis = i32::try_from(took.as_millis()).unwrap_or(i32::MAX);

    texts.clear();
    let (title, description) = headline(ending, kind.activity, source, target.unwrap_or("?"), action.unwrap_or(NO_ACTION), error);
    let mut put = |parts: &[&str]| {
        parts.iter().for_each(|part| texts.push_str(part));
        texts.len()
    };
    let (title, description) = (put(&title), put(&description));
    let request = Request { source, target, action };
    let begun = metadata(notes, ending, &kind, request, millis, error).write(texts);
    let metadata = texts.len();
    texts.extend_from_within(description..begun);
    texts.push('}');
    let request = texts.len();
    let authenticated = matches!(notes.caller, Some(Caller::Source { .. } | Caller::ServiceRole { .. }));
    CallerContext { source, authenticated }.write(texts);

    let texts: &'a str = texts;
    let text = |from: usize, to: usize| Cow::Borrowed(texts.get(from..to).unwrap_or_default());
    Record {
        id: notes.id.0,
        // The journal gives it its number.
        origin: None,
        at: notes.at,
        activity_type: kind.activity,
        activity_status: kind.status,
        title: text(0, title),
        description: text(title, description),
        metadata: text(description, metadata),
        api_status: kind.api,
        error_message,
        request: text(metadata, request),
        caller_context: text(request, texts.len()),
        execution_ms: millis,
        times: 1,
        stats: StatsKey {
            // Sources beyond what the limiter tells apart share their pattern's name, so made-up names do not fill the table.
            source: notes.counted.as_ref().map_or(source, |count| &count.identifier).into(),
            target: known.unwrap_or_default().into(),
            outcome: kind.stats,
        },
        counted: notes.counted.as_ref().map(Into::into),
        audit: audit_class(notes, kind.activity),
    }
}

fn metadata<'a>(
    notes: &'a Notes,
    ending: &'a Ending,
    kind: &Kind,
    request: Request<'a>,
    execution_time_ms: i32,
    error: Option<&'a str>,
) -> Metadata<'a> {
    let (status, denial) = match ending {
        Ending::Answered { status } | Ending::AnswerBroken { status } => (Some(*status), None),
        Ending::Abandoned { status } => (*status, None),
        Ending::Refused(Refusal::Denied(denial)) => (Some(denial.status()), Some(denial)),
        Ending::Refused(Refusal::Failed(failure)) => (Some(failure.status()), None),
    };
    let whole = |time: u128| u64::try_from(time).unwrap_or(u64::MAX);
    Metadata {
        request,
        execution_time_ms,
        success: kind.stats == StatsOutcome::Successful,
        door: notes.door,
        method: notes.method.as_ref().map(Method::as_str),
        network: notes.network,
        request_bytes: notes.request_bytes,
        response_bytes: notes.response_bytes,
        key: notes.key().map(KeyId::as_str),
        certificate: notes.certificate().map(ToString::to_string),
        claimed_source: notes.claimed.as_deref(),
        shown_certificate: notes.shown_certificate.as_ref().map(ToString::to_string),
        trace_id: notes.trace.map(|trace| trace.trace_id),
        upstream_ms: notes.upstream.map(|upstream| whole(upstream.as_millis())),
        validator_ms: notes.asking.map(|asking| whole(asking.as_millis())),
        tries: (notes.passage.tries > 1).then_some(notes.passage.tries),
        cache: notes.passage.cache.map(CacheUse::as_str),
        overhead_us: notes.overhead.map(|overhead| whole(overhead.as_micros())),
        status,
        code: ending.label(),
        error_class: ErrorClass::of(ending).map(ErrorClass::as_str),
        schema_check: notes.schema.map(SchemaNote::as_str),
        schema_check_fault: match notes.schema {
            Some(SchemaNote::Unavailable(why)) => Some(why.to_string()),
            _ => None,
        },
        details: denial.and_then(Details::of),
        policy_line: denial.and_then(Denial::place).map(Place::as_str),
        policy: notes.policy.as_deref().map(|fingerprint| fingerprint.get(..FINGERPRINT_SHOWN).unwrap_or(fingerprint)),
        error,
        enforced: (!notes.enforced).then_some(false),
        would_deny: each(&notes.would_deny, WouldHaveDenied::of),
        excepted: each(&notes.excepted, Excepted::of),
    }
}

/// There is nothing to be collected, of nearly all calls.
fn each<'a, T, U>(notes: &'a [T], of: impl Fn(&'a T) -> U) -> Vec<U> {
    if notes.is_empty() { Vec::new() } else { notes.iter().map(of).collect() }
}

/// What SQL did, or would have done had it not been stopped, is kept beyond what the logs keep.
fn audit_class(notes: &Notes, activity: ActivityType) -> AuditClass {
    let is_about_sql = |would: &WouldDeny| match would.gate {
        GateName::SqlFilter | GateName::SchemaCheck => true,
        GateName::Authenticate | GateName::Blocklist | GateName::SourceLimit | GateName::Authorize | GateName::EndpointLimit => false,
    };
    match activity {
        ActivityType::SchemaProtection => AuditClass::Blocked,
        ActivityType::Call | ActivityType::Error if !notes.enforced && notes.would_deny.iter().any(is_about_sql) => AuditClass::LetThrough,
        ActivityType::Call | ActivityType::Denied | ActivityType::Error => AuditClass::Ordinary,
    }
}

/// Calls of one network and minute that are recorded in one, by what became of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Folding {
    /// They failed authentication.
    Strangers,
    /// They came to nothing before anybody was asked for, because there were too many calls.
    Shed,
}

/// Calls of one network and minute that nobody was known to stand behind, and that were not recorded one by one.
pub fn folded(what: Folding, network: Option<Network>, minute: Timestamp, count: u32) -> CallRecord {
    let network = network.map_or_else(|| "many networks".to_owned(), |network| network.to_string());
    let (code, class, are, summary) = match what {
        Folding::Strangers => ("folded", ErrorClass::Auth, "without valid credentials", "unauthenticated calls"),
        Folding::Shed => ("overloaded", ErrorClass::Gatekeeper, "refused for want of room", "calls refused"),
    };
    let (activity_type, activity_status, outcome) = match what {
        Folding::Strangers => (ActivityType::Denied, ActivityStatus::Blocked, StatsOutcome::Denied),
        Folding::Shed => (ActivityType::Error, ActivityStatus::Error, StatsOutcome::Failed),
    };
    let message = format!("{count} more calls {are} from {network} in the minute of {minute}");
    CallRecord {
        id: CallId::new().0,
        origin: None,
        at: minute,
        activity_type,
        activity_status,
        title: format!("\u{26d4} {count} {summary}").into(),
        description: message.into(),
        metadata: json!({
            "source": UNAUTHENTICATED, "network": network, "code": code, "error_class": class.as_str(), "folded": count, "success": false,
        })
        .to_string()
        .into(),
        api_status: ApiStatus::Error,
        error_message: Some(format!("calls {are}, summed up").into()),
        request: json!({ "target": null, "action": null, "source": UNAUTHENTICATED }).to_string().into(),
        caller_context: json!({ "source": UNAUTHENTICATED, "authenticated": false }).to_string().into(),
        execution_ms: 0,
        times: count,
        stats: StatsKey { source: UNAUTHENTICATED.into(), target: "".into(), outcome },
        counted: None,
        audit: AuditClass::Ordinary,
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
        // The target did its part; a caller that has heard enough of a stream is no failure of it.
        Ending::Abandoned { status: Some(status) } if *status < 400 => {
            kind(ActivityType::Call, ActivityStatus::Completed, ApiStatus::Success, StatsOutcome::Successful)
        }
        Ending::Answered { .. } | Ending::AnswerBroken { .. } | Ending::Abandoned { status: Some(_) } => {
            kind(ActivityType::Call, ActivityStatus::Error, ApiStatus::Error, StatsOutcome::Failed)
        }
        Ending::Abandoned { status: None } => kind(ActivityType::Error, ActivityStatus::Error, ApiStatus::Error, StatsOutcome::Failed),
        Ending::Refused(Refusal::Denied(Denial::DangerousSql(_) | Denial::SchemaRejected(_) | Denial::ValidatorUnavailable { .. })) => {
            kind(ActivityType::SchemaProtection, ActivityStatus::Blocked, ApiStatus::Error, StatsOutcome::Denied)
        }
        Ending::Refused(Refusal::Denied(_)) => kind(ActivityType::Denied, ActivityStatus::Blocked, ApiStatus::Error, StatsOutcome::Denied),
        Ending::Refused(Refusal::Failed(failure)) => match failure {
            Failure::TargetTooSlow { .. } => kind(ActivityType::Error, ActivityStatus::Error, ApiStatus::Timeout, StatsOutcome::Failed),
            Failure::TargetNotConfigured { .. }
            | Failure::TargetDisabled { .. }
            | Failure::BreakerOpen { .. }
            | Failure::TargetBusy { .. }
            | Failure::Unreachable { .. }
            | Failure::TargetReset { .. }
            | Failure::TargetNonsense { .. }
            | Failure::Overloaded
            | Failure::NotRecordable
            | Failure::Internal => kind(ActivityType::Error, ActivityStatus::Error, ApiStatus::Error, StatsOutcome::Failed),
            Failure::AmbiguousHeaders(_)
            | Failure::MethodNotAllowed { .. }
            | Failure::InvalidJson { .. }
            | Failure::InvalidEnvelope { .. }
            | Failure::AmbiguousBody { .. }
            | Failure::UnjudgeableBody { .. }
            | Failure::BadTarget { .. }
            | Failure::UpgradeNotAllowed { .. }
            | Failure::BodyTooLarge { .. }
            | Failure::BodyTooSlow
            | Failure::BodyBroken
            | Failure::UnsupportedEncoding { .. }
            | Failure::BadEncoding { .. }
            | Failure::UnknownTarget { .. }
            | Failure::LoopDetected => kind(ActivityType::Denied, ActivityStatus::Blocked, ApiStatus::Error, StatsOutcome::Denied),
        },
    }
}

fn error_message(notes: &Notes, ending: &Ending) -> Option<Cow<'static, str>> {
    let target = notes.target.as_ref().map_or("target", |target| target.as_str());
    match ending {
        Ending::Answered { status } if *status < 400 => None,
        Ending::Answered { status } => Some(format!("{target} answered {status}").into()),
        Ending::AnswerBroken { .. } => Some(format!("the answer of {target} broke off").into()),
        Ending::Abandoned { .. } => Some("the caller went away".into()),
        Ending::Refused(refusal) => Some(words(refusal).message.into()),
    }
}

/// Title and description, in parts.
fn headline<'a>(
    ending: &'a Ending,
    activity: ActivityType,
    source: &'a str,
    target: &'a str,
    action: &'a str,
    error: Option<&'a str>,
) -> ([&'a str; 4], [&'a str; 4]) {
    let error = [error.unwrap_or_default(), "", "", ""];
    match (activity, ending) {
        (ActivityType::SchemaProtection, Ending::Refused(Refusal::Denied(Denial::DangerousSql(finding)))) => {
            (["\u{1f6ab} Dangerous Operation Blocked", "", "", ""], ["Blocked ", &finding.pattern, " from ", source])
        }
        (ActivityType::SchemaProtection, Ending::Refused(Refusal::Denied(Denial::SchemaRejected(rejection)))) => {
            (["\u{1f6ab} Schema Operation Rejected", "", "", ""], ["Rejected from ", source, ": ", &rejection.reason])
        }
        (ActivityType::Error, _) => (["\u{274c} Gatekeeper Error", "", "", ""], error),
        (ActivityType::Denied | ActivityType::SchemaProtection, _) => (["\u{26d4} ", source, " \u{2192} ", target], error),
        (ActivityType::Call, _) => (["\u{1f6e1}\u{fe0f} ", source, " \u{2192} ", target], ["Action: ", action, "", ""]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Proof, SourceName};
    use crate::verdict::{AuthFault, SqlFinding};
    use serde_json::Value;

    const AT: Timestamp = Timestamp::from_secs(60);

    fn notes() -> Notes {
        Notes {
            caller: Some(Caller::Source { name: SourceName::parse("gemini-chat").unwrap(), proof: Proof::Key(KeyId::new("env:current")) }),
            target: TargetName::parse("brain"),
            action: Action::parse("think"),
            upstream: Some(Duration::from_millis(7)),
            overhead: Some(Duration::from_micros(2_500)),
            request_bytes: 496,
            response_bytes: 72,
            ..Notes::new(CallId::new(), AT, [192, 0, 2, 7].into(), "envelope")
        }
    }

    fn metadata(notes: &Notes, ending: &Ending) -> Value {
        serde_json::from_str(&compose(notes, ending, Duration::from_micros(9_500), &mut String::new()).metadata).unwrap()
    }

    fn dangerous() -> Denial {
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
            place: Some(Place::new("sql.toml:12")),
        }))
    }

    #[test]
    fn every_text_of_a_record_is_in_its_column() {
        let call = notes();
        let mut texts = String::new();
        let record = compose(&call, &Ending::Answered { status: 200 }, Duration::ZERO, &mut texts);
        assert_eq!((&*record.title, &*record.description), ("\u{1f6e1}\u{fe0f} gemini-chat \u{2192} brain", "Action: think"));
        assert!(record.metadata.starts_with('{') && record.metadata.ends_with('}'), "{}", record.metadata);
        assert_eq!(record.request, r#"{"source":"gemini-chat","target":"brain","action":"think"}"#);
        assert_eq!(record.caller_context, r#"{"source":"gemini-chat","authenticated":true}"#);
        assert_eq!((record.error_message.as_deref(), &*record.stats.source, &*record.stats.target), (None, "gemini-chat", "brain"));

        let unknown = Notes { target: None, asked_target: Some("a\"b".into()), action: None, ..notes() };
        let record = compose(&unknown, &Ending::Refused(Failure::UnknownTarget { name: "a\"b".into() }.into()), Duration::ZERO, &mut texts);
        assert_eq!((&*record.title, Some(record.description)), ("\u{26d4} gemini-chat \u{2192} a\"b", record.error_message));
        assert_eq!(record.request, r#"{"source":"gemini-chat","target":"a\"b","action":null}"#);
        assert_eq!(record.stats.target, "");

        let record = compose(&call, &Ending::Refused(dangerous().into()), Duration::ZERO, &mut texts);
        let headline = ("\u{1f6ab} Dangerous Operation Blocked", "Blocked /DROP/ from gemini-chat");
        assert_eq!((&*record.title, &*record.description), headline);
    }

    #[test]
    fn the_metadata_of_an_answered_call() {
        let expected = json!({
            "source": "gemini-chat", "target": "brain", "action": "think", "key": "env:current", "door": "envelope",
            "network": "192.0.2.0/24", "request_bytes": 496, "response_bytes": 72, "execution_time_ms": 9, "upstream_ms": 7,
            "overhead_us": 2500, "success": true, "status": 200, "code": "answered",
        });
        assert_eq!(metadata(&notes(), &Ending::Answered { status: 200 }), expected);
    }

    #[test]
    fn the_metadata_of_a_stranger_says_what_was_wrong_and_what_was_claimed() {
        let stranger = Notes { claimed: Some("gemini-chat".into()), ..Notes::new(CallId::new(), AT, [192, 0, 2, 7].into(), "envelope") };
        let expected = json!({
            "source": "unauthenticated", "target": null, "action": null, "claimed_source": "gemini-chat", "door": "envelope",
            "network": "192.0.2.0/24", "request_bytes": 0, "response_bytes": 0, "execution_time_ms": 9, "success": false, "status": 401,
            "code": "unauthorized", "error_class": "auth", "fault": "wrong_key", "error": "Invalid Eliza credentials or untrusted source",
        });
        assert_eq!(metadata(&stranger, &Ending::Refused(Denial::Unauthorized(AuthFault::WrongKey).into())), expected);
    }

    #[test]
    fn the_metadata_of_dangerous_sql_names_rule_statement_and_place_refused_or_not() {
        let refused = metadata(&notes(), &Ending::Refused(dangerous().into()));
        let observed = Notes { would_deny: vec![WouldDeny { gate: GateName::SqlFilter, denial: dangerous() }], enforced: false, ..notes() };
        let passed = metadata(&observed, &Ending::Answered { status: 200 });
        let would = passed.pointer("/would_deny/0").unwrap();
        for (member, said) in [
            ("rule", json!("drop-table")),
            ("severity", json!("critical")),
            ("kind", json!("drop")),
            ("objects", json!(["a"])),
            ("pattern", json!("/DROP/")),
            ("sql", json!("DROP TABLE a")),
            ("pointer", json!("/payload/sql")),
            ("span", json!([0, 12])),
            ("fingerprint", json!("0123456789abcdef")),
            ("reason", json!("It destroys.")),
            ("policy_line", json!("sql.toml:12")),
            ("code", json!("dangerous_operation")),
        ] {
            assert_eq!((&refused[member], &would[member]), (&said, &said), "{member}");
        }
        assert_eq!((&would["gate"], &would["status"], &passed["enforced"]), (&json!("sql_filter"), &json!(403), &json!(false)));
        assert_eq!(refused.get("enforced"), None);
    }

    #[test]
    fn what_sql_did_or_would_have_done_is_audited() {
        let class = |notes: &Notes, ending: &Ending| compose(notes, ending, Duration::ZERO, &mut String::new()).audit;
        let would =
            |enforced| Notes { would_deny: vec![WouldDeny { gate: GateName::SqlFilter, denial: dangerous() }], enforced, ..notes() };
        let (answered, too_slow) =
            (Ending::Answered { status: 200 }, Failure::TargetTooSlow { target: TargetName::parse("brain").unwrap() });
        let unknown: Failure = Failure::UnknownTarget { name: "x".into() };
        for (notes, ending, expected) in [
            (notes(), Ending::Refused(dangerous().into()), AuditClass::Blocked),
            (notes(), Ending::Refused(Denial::Unauthorized(AuthFault::WrongKey).into()), AuditClass::Ordinary),
            (notes(), answered.clone(), AuditClass::Ordinary),
            (would(false), answered.clone(), AuditClass::LetThrough),
            (would(false), Ending::Refused(too_slow.into()), AuditClass::LetThrough),
            (would(false), Ending::Refused(unknown.into()), AuditClass::Ordinary),
            (would(true), answered, AuditClass::Ordinary),
        ] {
            assert_eq!(class(&notes, &ending), expected, "{ending:?}");
        }
    }
}
