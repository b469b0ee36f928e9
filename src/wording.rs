//! What callers are told when they are refused. The original's clients read these sentences, so theirs are kept to the letter.
//!
//! Nothing here may name an address, a query, a stack or a key; what the operator needs beyond it is in the record and the log.

use std::fmt;

use crate::call::legible;
use crate::identity::NAME_LIMIT;
use crate::verdict::{Blocked, BlockedWhat, Crowd, Denial, Failure, LimitRule, Refusal, SqlFinding};

/// More objects than these are not named one by one.
const NAMED: usize = 3;

/// A refusal in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// What kind of refusal: `error` and `title` of the answer.
    pub error: &'static str,
    /// This refusal: `message`, and `detail` too where that has nothing of its own.
    pub message: String,
    /// What there is to say beyond the original's sentence.
    pub detail: Option<String>,
}

pub fn words(refusal: &Refusal) -> Words {
    match refusal {
        Refusal::Denied(denial) => denied(denial),
        Refusal::Failed(failure) => failed(failure),
    }
}

fn denied(denial: &Denial) -> Words {
    let (error, message) = match denial {
        Denial::Unauthorized(_) => ("Unauthorized", "Invalid Eliza credentials or untrusted source".into()),
        Denial::Limited(limited) => (
            "Rate limit exceeded",
            match limited.rule {
                LimitRule::Window { limit, window_secs } => format!("Maximum {limit} requests per {} exceeded", window_words(window_secs)),
                LimitRule::Burst { size } => format!("Maximum {size} requests at once exceeded"),
            },
        ),
        Denial::KeyNotScoped { target } => ("Forbidden", format!("This key is not valid for that action of '{target}'")),
        Denial::CallerNotAllowed { target, .. } => ("Forbidden", format!("This source may not call '{target}'")),
        Denial::DangerousSql(finding) => {
            ("Dangerous operation blocked", format!("Schema protection: {} operations are not allowed", finding.pattern))
        }
        Denial::Blocked(Blocked { what: BlockedWhat::Network, .. }) => ("Forbidden", "Calls from this network are blocked".into()),
        Denial::Blocked(Blocked { what: BlockedWhat::Source, .. }) => ("Forbidden", "This source is disabled".into()),
        Denial::SchemaRejected(rejection) => ("Schema validation failed", rejection.reason.clone()),
        Denial::ValidatorUnavailable { validator, .. } => {
            ("Validator unavailable", format!("'{validator}' could not validate this schema operation, so it is not carried out"))
        }
    };
    let detail = match denial {
        Denial::DangerousSql(finding) => Some(what_to_do(finding)),
        _ => None,
    };
    Words { error, message, detail }
}

/// Which rule, where, why, and what whoever is refused can do about it.
fn what_to_do(finding: &SqlFinding) -> String {
    let SqlFinding { rule, pointer, span, reason, fingerprint, objects, .. } = finding;
    let by_name = match objects.as_slice() {
        [] => String::new(),
        named if named.len() <= NAMED => format!(" or by name ({})", named.join(", ")),
        [first, ..] => format!(" or by name ({first} and {} more)", objects.len() - 1),
    };
    let (from, to) = (span.start, span.end);
    format!(
        "Rule {rule} refuses what stands at {pointer}, bytes {from} to {to}: {reason} Send another statement, or ask the operator for an \
         exception, by fingerprint {fingerprint}{by_name}."
    )
}

/// A finding in a line, for operators. Of older records some parts are not known.
#[derive(Clone, Copy, Debug)]
pub struct SqlLine<'a> {
    pub rule: &'a str,
    pub pointer: &'a str,
    pub span: Option<(u64, u64)>,
    pub reason: &'a str,
    pub fingerprint: &'a str,
}

impl<'a> SqlLine<'a> {
    pub fn of(finding: &'a SqlFinding) -> Self {
        let SqlFinding { rule, pointer, span, reason, fingerprint, .. } = finding;
        let span = u64::try_from(span.start).ok().zip(u64::try_from(span.end).ok());
        Self { rule, pointer, span, reason, fingerprint }
    }

    /// Why it was let pass all the same.
    pub fn excepted(&self, reason: &str, by: &str) -> String {
        format!("{} is excepted: {reason} ({by}{})", self.head(), self.named(", "))
    }

    fn head(&self) -> String {
        let at = if self.pointer.is_empty() { String::new() } else { format!(" at {}", self.pointer) };
        let span = self.span.map_or_else(String::new, |(from, to)| format!(" {from}..{to}"));
        format!("{}{at}{span}", self.rule)
    }

    fn named(&self, before: &str) -> String {
        if self.fingerprint.is_empty() { String::new() } else { format!("{before}fingerprint {}", self.fingerprint) }
    }
}

impl fmt::Display for SqlLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.head(), self.reason)?;
        if self.fingerprint.is_empty() { Ok(()) } else { write!(f, " ({})", self.named("")) }
    }
}

/// `minute` as the original says it; longer windows in the same manner.
pub fn window_words(secs: u32) -> String {
    match secs {
        60 => "minute".into(),
        3600 => "hour".into(),
        86_400 => "day".into(),
        secs if secs % 3600 == 0 => format!("{} hours", secs / 3600),
        secs => format!("{} minutes", secs / 60),
    }
}

fn failed(failure: &Failure) -> Words {
    let (error, message) = match failure {
        Failure::AmbiguousHeaders(what) => ("Ambiguous headers", format!("The request's headers can be read in two ways: {what}")),
        Failure::MethodNotAllowed { allow } => ("Method not allowed", format!("This address answers {allow}")),
        Failure::InvalidJson { what } => ("Invalid JSON", format!("The body is not valid JSON: {what}")),
        Failure::InvalidEnvelope { what } => ("Invalid envelope", what.clone()),
        Failure::AmbiguousBody { what } => ("Ambiguous body", format!("The body can be read in two ways: {what}")),
        Failure::UnjudgeableBody { what } => ("Body not judgeable", format!("The body is beyond what is judged: {what}")),
        Failure::BadTarget { what } => ("Bad target", format!("The address can be read as more than one target's: {what}")),
        Failure::UpgradeNotAllowed { target } => (
            "Upgrade not allowed",
            format!(
                "Target '{target}' may be called over HTTP alone, for what another protocol carries cannot be judged; an operator can let it \
                 pass with inspect = \"skip\" at this target"
            ),
        ),
        Failure::BodyTooLarge { limit } => ("Payload too large", format!("The body is larger than {limit} bytes")),
        Failure::BodyTooSlow => ("Request timeout", "The body did not arrive in time".into()),
        Failure::BodyBroken => ("Incomplete body", "The body ended before it was complete".into()),
        Failure::UnsupportedEncoding { accepted: "identity" } => {
            ("Unsupported encoding", "Send the body without a content-encoding".into())
        }
        Failure::UnsupportedEncoding { accepted } => {
            ("Unsupported encoding", format!("Send the body without a content-encoding, or with up to three of {accepted}"))
        }
        Failure::BadEncoding { encoding, what } => {
            ("Bad encoding", format!("The body is not the {encoding} that its content-encoding says: {what}"))
        }
        Failure::UnknownTarget { name } => {
            ("Unknown target", format!("Target '{}' is not recognized by the gatekeeper", legible(name, NAME_LIMIT)))
        }
        Failure::LoopDetected => ("Loop detected", "The call has passed through too many gatekeepers".into()),
        Failure::NotRecordable => {
            ("Not recordable", "The gatekeeper has no room to record this call, and lets none go unrecorded; try again shortly".into())
        }
        Failure::Overloaded => ("Overloaded", "The gatekeeper has more calls than it can carry; try again shortly".into()),
        Failure::TargetNotConfigured { target } => ("Target not configured", format!("Target '{target}' has no address yet")),
        Failure::TargetDisabled { target } => ("Target disabled", format!("Target '{target}' is switched off for now")),
        Failure::BreakerOpen { target, .. } => {
            ("Target unavailable", format!("Target '{target}' keeps failing and is being left alone for a moment"))
        }
        Failure::TargetBusy { target, whose: Crowd::Everybodys } => {
            ("Target busy", format!("Target '{target}' has as many calls under way as it is given at once; try again shortly"))
        }
        Failure::TargetBusy { target, whose: Crowd::TheSources } => {
            ("Target busy", format!("As many of your calls to target '{target}' are under way as you may have at once; try again shortly"))
        }
        Failure::Unreachable { target } => ("Target unreachable", format!("Target '{target}' could not be reached")),
        Failure::TargetTooSlow { target } => ("Target timeout", format!("Target '{target}' did not answer in time")),
        Failure::TargetReset { target } => ("Target unreachable", format!("Target '{target}' closed the connection without an answer")),
        Failure::TargetNonsense { target } => ("Bad answer", format!("Target '{target}' sent an answer that is not HTTP")),
        Failure::Internal => ("Internal error", "Gatekeeper encountered an error processing your request".into()),
    };
    Words { error, message, detail: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::{AuthFault, LimitScope, Limited};

    fn finding(objects: &[&str]) -> SqlFinding {
        SqlFinding {
            rule: "delete-without-where".into(),
            pattern: r"/DELETE\s+FROM\s+\w+\s*;/i".into(),
            statement: "DELETE FROM users".into(),
            pointer: "/payload/sql".into(),
            reason: "DELETE without a WHERE is for every row.".into(),
            severity: "critical",
            kind: "delete",
            objects: objects.iter().map(|name| (*name).to_owned()).collect(),
            span: 0..17,
            fingerprint: "0123456789abcdef".into(),
            place: None,
        }
    }

    #[test]
    fn whoever_is_refused_reads_what_rule_where_why_and_what_to_do() {
        let begin = "Rule delete-without-where refuses what stands at /payload/sql, bytes 0 to 17: DELETE without a WHERE is for every row. \
                     Send another statement, or ask the operator for an exception, by fingerprint 0123456789abcdef";
        let table: [(&[&str], &str); 3] = [
            (&[], "."),
            (&["users", "public.a"], " or by name (users, public.a)."),
            (&["a", "b", "c", "d"], " or by name (a and 3 more)."),
        ];
        for (objects, end) in table {
            let words = words(&Denial::DangerousSql(Box::new(finding(objects))).into());
            assert_eq!(words.message, r"Schema protection: /DELETE\s+FROM\s+\w+\s*;/i operations are not allowed");
            assert_eq!(words.detail, Some(format!("{begin}{end}")));
        }
    }

    #[test]
    fn operators_read_a_finding_in_a_line_as_far_as_it_is_known() {
        let finding = finding(&[]);
        let line = SqlLine::of(&finding);
        let older = SqlLine { span: None, fingerprint: "", ..line };
        let told = [line.to_string(), older.to_string(), line.excepted("nightly", "dba"), older.excepted("nightly", "dba")];
        assert_eq!(
            told,
            [
                "delete-without-where at /payload/sql 0..17: DELETE without a WHERE is for every row. (fingerprint 0123456789abcdef)",
                "delete-without-where at /payload/sql: DELETE without a WHERE is for every row.",
                "delete-without-where at /payload/sql 0..17 is excepted: nightly (dba, fingerprint 0123456789abcdef)",
                "delete-without-where at /payload/sql is excepted: nightly (dba)",
            ]
        );
    }
    use std::time::Duration;

    #[test]
    fn the_originals_sentences_are_kept_to_the_letter() {
        let unauthorized = words(&Denial::Unauthorized(AuthFault::WrongKey).into());
        assert_eq!((unauthorized.error, unauthorized.message.as_str()), ("Unauthorized", "Invalid Eliza credentials or untrusted source"));
        let limited = Limited {
            scope: LimitScope::Source,
            rule: LimitRule::Window { limit: 500, window_secs: 60 },
            retry_after: Duration::from_secs(1),
            place: None,
        };
        assert_eq!(words(&Denial::Limited(limited).into()).message, "Maximum 500 requests per minute exceeded");
        let unknown = words(&Failure::UnknownTarget { name: "nope".into() }.into());
        assert_eq!((unknown.error, unknown.message.as_str()), ("Unknown target", "Target 'nope' is not recognized by the gatekeeper"));
        assert_eq!(words(&Failure::Internal.into()).message, "Gatekeeper encountered an error processing your request");
    }
}
