//! From outcome to HTTP: the only writer of refusal bodies, and of the headers that go with them.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use serde_json::{Map, Value, json};

use crate::identity::CallId;
use crate::verdict::{Denial, Failure, Refusal};
use crate::wording::{Words, words};

pub const X_CALL_ID: HeaderName = HeaderName::from_static("x-call-id");

/// A whole answer of ours.
pub type Answer = Response<Bytes>;

/// A refusal as the caller gets it: the original's `error` and `message`, a stable `code`, and the members of RFC 9457.
pub fn refusal(refusal: &Refusal, id: CallId) -> Answer {
    let status = StatusCode::from_u16(status_of(refusal)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut body = problem(status, refusal.code(), &words(refusal), id);
    let mut headers = HeaderMap::new();
    match refusal {
        Refusal::Denied(Denial::DangerousSql(finding)) => {
            body.insert("blocked_pattern".into(), json!(finding.pattern));
            body.insert("rule".into(), json!(finding.rule));
            body.insert("pointer".into(), json!(finding.pointer));
            body.insert("reason".into(), json!(finding.reason));
        }
        Refusal::Denied(Denial::Limited(limited)) => retry_after(&mut headers, limited.retry_after),
        Refusal::Failed(Failure::BreakerOpen { retry_after: wait, .. }) => retry_after(&mut headers, *wait),
        Refusal::Failed(Failure::Overloaded) => retry_after(&mut headers, Duration::from_secs(1)),
        Refusal::Failed(Failure::MethodNotAllowed { allow }) => {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        Refusal::Denied(_) | Refusal::Failed(_) => {}
    }
    json_answer(status, headers, Value::Object(body))
}

/// An address that nothing answers at.
pub fn no_such_address(id: CallId) -> Answer {
    let words = Words { error: "Not found", message: "Nothing answers at this address".into() };
    json_answer(StatusCode::NOT_FOUND, HeaderMap::new(), Value::Object(problem(StatusCode::NOT_FOUND, "no_such_address", &words, id)))
}

/// A refusal of the ops plane.
pub fn ops_refusal(status: StatusCode, code: &str, error: &'static str, message: &str, id: CallId) -> Answer {
    let words = Words { error, message: message.to_owned() };
    json_answer(status, HeaderMap::new(), Value::Object(problem(status, code, &words, id)))
}

/// A target's error that did not come in the form clients read, put into it. Its own text stays behind: it may hold anything.
pub fn target_error(status: StatusCode, target: &str, id: CallId) -> Answer {
    let words = Words { error: "Target error", message: format!("Target '{target}' answered {}", status.as_u16()) };
    let mut body = problem(status, "target_error", &words, id);
    body.insert("upstream_status".into(), json!(status.as_u16()));
    json_answer(status, HeaderMap::new(), Value::Object(body))
}

pub fn status_of(refusal: &Refusal) -> u16 {
    match refusal {
        Refusal::Denied(denial) => denial.status(),
        Refusal::Failed(failure) => failure.status(),
    }
}

fn problem(status: StatusCode, code: &str, words: &Words, id: CallId) -> Map<String, Value> {
    let members = [
        ("error", json!(words.error)),
        ("message", json!(words.message)),
        ("code", json!(code)),
        ("call_id", json!(id.to_string())),
        ("type", json!(format!("urn:eliza-gatekeeper:{code}"))),
        ("title", json!(words.error)),
        ("status", json!(status.as_u16())),
        ("detail", json!(words.message)),
    ];
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// JSON of ours: never kept by anybody on the way.
pub fn json_answer(status: StatusCode, mut headers: HeaderMap, body: Value) -> Answer {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let mut answer = Response::new(Bytes::from(body.to_string()));
    *answer.status_mut() = status;
    *answer.headers_mut() = headers;
    answer
}

/// Whole seconds, rounded up and at least one: a caller that waits that long finds room.
fn retry_after(headers: &mut HeaderMap, wait: Duration) {
    headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(wait).max(1)));
}

pub fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}
