//! From outcome to HTTP: the only writer of refusal bodies, and of the headers that go with them.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::clock::whole_seconds;
use crate::identity::CallId;
use crate::json::{self, first, next};
use crate::verdict::{Denial, Failure, Refusal, SchemaRejection, SqlFinding};
use crate::wording::{Words, words};

/// For most answers of ours, so that they do not grow in steps.
const ROOM: usize = 512;
/// As many headers as most refusals have when they go out, so that there is room for them from the beginning.
const HEADERS: usize = 18;

pub const X_CALL_ID: HeaderName = HeaderName::from_static("x-call-id");

/// A whole answer of ours.
pub type Answer = Response<Bytes>;

/// A refusal as the caller gets it: the original's `error` and `message`, a stable `code`, and the members of RFC 9457.
pub fn refusal(refusal: &Refusal, id: CallId) -> Answer {
    let mut headers = HeaderMap::with_capacity(HEADERS);
    let mut beyond = None;
    match refusal {
        Refusal::Denied(Denial::DangerousSql(finding)) => {
            beyond = Some(Beyond::Sql { blocked_pattern: &finding.pattern, finding });
        }
        Refusal::Denied(Denial::SchemaRejected(SchemaRejection { fix_triggered, fingerprint, .. })) => {
            beyond = Some(Beyond::Schema { auto_fix_triggered: *fix_triggered, fingerprint });
        }
        Refusal::Denied(Denial::ValidatorUnavailable { why, .. }) => retry_after(&mut headers, why.retry_after()),
        Refusal::Denied(Denial::Limited(limited)) => retry_after(&mut headers, limited.retry_after),
        Refusal::Failed(Failure::BreakerOpen { retry_after: wait, .. }) => retry_after(&mut headers, *wait),
        Refusal::Failed(Failure::Overloaded | Failure::NotRecordable | Failure::TargetBusy { .. }) => {
            retry_after(&mut headers, Duration::from_secs(1))
        }
        Refusal::Failed(Failure::MethodNotAllowed { allow }) => {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        Refusal::Failed(Failure::UnsupportedEncoding { accepted }) => {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(accepted));
        }
        Refusal::Denied(_) | Refusal::Failed(_) => {}
    }
    let status = StatusCode::from_u16(status_of(refusal)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    problem(status, headers, refusal.code(), &words(refusal), beyond, &[], id)
}

/// An address that nothing answers at.
pub fn no_such_address(id: CallId) -> Answer {
    let words = Words { error: "Not found", message: "Nothing answers at this address".into(), detail: None };
    problem(StatusCode::NOT_FOUND, HeaderMap::new(), "no_such_address", &words, None, &[], id)
}

/// A refusal of the ops plane.
pub struct OpsRefusal<'a> {
    pub status: StatusCode,
    pub code: &'static str,
    pub error: &'static str,
    pub message: String,
    pub headers: HeaderMap,
    pub problems: &'a [String],
}

pub fn ops_refusal(refusal: OpsRefusal<'_>, id: CallId) -> Answer {
    let OpsRefusal { status, code, error, message, headers, problems } = refusal;
    problem(status, headers, code, &Words { error, message, detail: None }, None, problems, id)
}

pub fn status_of(refusal: &Refusal) -> u16 {
    match refusal {
        Refusal::Denied(denial) => denial.status(),
        Refusal::Failed(failure) => failure.status(),
    }
}

/// Every refusal's members, in the order people read them. What is derived here says how each is spelled; `write` writes the same text, sooner.
#[derive(Serialize, ToSchema)]
pub struct Problem<'a> {
    /// What kind of refusal.
    error: &'a str,
    /// This refusal, in a sentence.
    message: &'a str,
    /// The same, in a word that stays.
    #[schema(pattern = "^[a-z_]+$")]
    code: &'a str,
    /// As in `x-call-id`.
    #[schema(format = "uuid")]
    call_id: &'a str,
    #[serde(flatten)]
    #[schema(ignore)]
    beyond: Option<Beyond<'a>>,
    /// Of a policy that may not come into force: all that is wrong with it, each with file and line.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    problems: &'a [String],
    /// `urn:eliza-gatekeeper:` and the code.
    r#type: &'a str,
    /// As `error`.
    title: &'a str,
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// As `message`, or what there is to say beyond it.
    detail: &'a str,
}

/// What some refusals say beyond that.
#[derive(Serialize)]
#[serde(untagged)]
enum Beyond<'a> {
    Sql {
        blocked_pattern: &'a str,
        #[serde(flatten)]
        finding: &'a SqlFinding,
    },
    Schema {
        auto_fix_triggered: bool,
        fingerprint: &'a str,
    },
}

fn problem(
    status: StatusCode,
    headers: HeaderMap,
    code: &str,
    words: &Words,
    beyond: Option<Beyond<'_>>,
    problems: &[String],
    id: CallId,
) -> Answer {
    let (mut call_id, kind) = (Uuid::encode_buffer(), ["urn:eliza-gatekeeper:", code].concat());
    let problem = Problem {
        error: words.error,
        message: &words.message,
        code,
        call_id: id.0.hyphenated().encode_lower(&mut call_id),
        beyond,
        problems,
        r#type: &kind,
        title: words.error,
        status: status.as_u16(),
        detail: words.detail.as_deref().unwrap_or(&words.message),
    };
    let mut text = String::with_capacity(ROOM);
    problem.write(&mut text);
    answer(status, headers, text.into())
}

impl Problem<'_> {
    fn write(&self, into: &mut String) {
        let Self { error, message, code, call_id, beyond, problems, r#type, title, status, detail } = self;
        json::text(into, first!("error"), error);
        json::text(into, next!("message"), message);
        json::plain(into, next!("code"), code);
        json::plain(into, next!("call_id"), call_id);
        if let Some(beyond) = beyond {
            json::members(into, beyond);
        }
        if !problems.is_empty() {
            json::value(into, next!("problems"), problems);
        }
        json::plain(into, next!("type"), r#type);
        json::text(into, next!("title"), title);
        json::number(into, next!("status"), *status);
        json::text(into, next!("detail"), detail);
        into.push('}');
    }
}

/// Whatever can be said in JSON.
pub fn json_answer(status: StatusCode, headers: HeaderMap, body: &impl Serialize) -> Answer {
    // What is written here is plain text and numbers, which JSON can always say.
    let mut text = Vec::with_capacity(ROOM);
    let _always = serde_json::to_writer(&mut text, body);
    answer(status, headers, text.into())
}

/// JSON of ours: never kept by anybody on the way.
fn answer(status: StatusCode, mut headers: HeaderMap, json: Bytes) -> Answer {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let mut answer = Response::new(json);
    *answer.status_mut() = status;
    *answer.headers_mut() = headers;
    answer
}

/// Whole seconds, rounded up and at least one: a caller that waits that long finds room.
fn retry_after(headers: &mut HeaderMap, wait: Duration) {
    headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(wait).max(1)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_the_members_say() {
        let problems = ["policies/a.toml:1: \"x\" is no name".to_owned(), "b\tc".to_owned()];
        let schema = || Some(Beyond::Schema { auto_fix_triggered: true, fingerprint: "ab12" });
        for (message, beyond, problems) in [
            ("Maximum 100 requests per minute exceeded", None, &[][..]),
            ("'a \"quoted\" name\\' of\na line \u{1} é \u{2028}", None, &problems),
            ("", schema(), &[]),
            ("both", schema(), &problems),
        ] {
            let detail = if problems.is_empty() { message } else { "what \\ to do" };
            let (error, code, title, status) = ("Forbidden \"", "forbidden", "Forbidden \"", 403);
            let problem = Problem {
                error,
                message,
                code,
                call_id: "0192",
                beyond,
                problems,
                r#type: "urn:eliza-gatekeeper:forbidden",
                title,
                status,
                detail,
            };
            let mut text = String::new();
            problem.write(&mut text);
            assert_eq!(text, serde_json::to_string(&problem).unwrap());
        }
    }
}
