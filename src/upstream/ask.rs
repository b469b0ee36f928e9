//! Asking a target something on the gatekeeper's own account: nothing of the caller's headers goes along, and the answer is read whole,
//! in bounded size and time. What an answer means is for whoever asked; that there is none is one word.

use bytes::Bytes;
use http::{HeaderMap, Method};
use http_body_util::{BodyExt, Limited};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

use super::client::Upstream;
use super::headers::Towards;
use super::order::{Order, Outgoing};
use crate::call::{Head, legible};
use crate::intake::is_plain;
use crate::policy::Target;
use crate::verdict::{Failure, NoAnswer, Opinion};

/// The longest answer.
const ANSWER_LIMIT: usize = 64 * 1024;
/// The longest reason, in bytes.
const REASON_LIMIT: usize = 500;
const NO_REASON: &str = "The validator rejected this schema operation and gave no reason";

/// What a target is asked.
#[derive(Debug)]
pub struct Ask<'a> {
    /// The call that it is about.
    pub head: &'a Head,
    /// What of the caller's headers the target's policy may let through.
    pub shown: &'a HeaderMap,
    pub towards: Towards,
    pub target: &'a Target,
    /// For the whole answer.
    pub timeout: Duration,
    pub body: Bytes,
}

impl Upstream {
    /// What the target said, if it said so with success.
    pub async fn ask(&self, ask: Ask<'_>) -> Result<Bytes, NoAnswer> {
        let Ask { head, shown, towards, target, timeout, body } = ask;
        let until = Instant::now() + timeout;
        let body = Outgoing::Shaped(body);
        let (caller, action) = (None, None);
        let order = Order { head, target, method: Method::POST, rest: "", headers: shown, body, towards, caller, action, timeout };
        let answer = self.forward(order).await.map_err(|failure| no_answer(&failure))?;
        if !answer.status.is_success() {
            return Err(NoAnswer::Status(answer.status.as_u16()));
        }
        if !is_plain(&answer.headers) {
            return Err(NoAnswer::NotJson);
        }
        match timeout_at(until, Limited::new(answer.body, ANSWER_LIMIT).collect()).await {
            Ok(Ok(whole)) => Ok(whole.to_bytes()),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(NoAnswer::TooLarge),
            Ok(Err(_)) => Err(NoAnswer::BrokenOff),
            Err(_) => Err(NoAnswer::TooSlow),
        }
    }
}

fn no_answer(failure: &Failure) -> NoAnswer {
    match failure {
        Failure::TargetNotConfigured { .. } => NoAnswer::NotConfigured,
        Failure::BreakerOpen { retry_after, .. } => NoAnswer::BreakerOpen { retry_after: *retry_after },
        Failure::TargetBusy { .. } => NoAnswer::Busy,
        Failure::TargetTooSlow { .. } => NoAnswer::TooSlow,
        Failure::TargetReset { .. } => NoAnswer::Reset,
        Failure::TargetNonsense { .. } => NoAnswer::NotHttp,
        // Whatever else there is, it was not reached.
        _ => NoAnswer::Unreachable,
    }
}

/// The question to a validator. It says everything twice, for some validators read their body's own members and others read `data`.
pub fn question(action: &str, sql: &str, source: &str, target: &str) -> Bytes {
    json!({ "action": action, "sql": sql, "data": { "sql": sql, "source": source, "target": target } }).to_string().into()
}

/// What a validator's answer means: `valid` and `reason`, at the top or in `data`. What says two things at once says nothing.
pub fn opinion(answer: &[u8]) -> Opinion {
    let Some(top) = Said::of(answer) else { return Opinion::Unavailable(NoAnswer::NotJson) };
    let below = top.data.as_ref().and_then(|data| Said::of(data.get().as_bytes()));
    // A repeated member is two answers.
    if top.data.as_ref().is_some_and(|data| data.get().starts_with('{')) && below.is_none() {
        return Opinion::Unavailable(NoAnswer::Unclear);
    }
    let all = || [Some(&top), below.as_ref()].into_iter().flatten();
    let mut verdicts = all().filter_map(|said| said.valid.as_ref());
    let valid = match (verdicts.next(), verdicts.next()) {
        (Some(Value::Bool(one)), None) => *one,
        (Some(Value::Bool(one)), Some(Value::Bool(other))) if one == other => *one,
        _ => return Opinion::Unavailable(NoAnswer::Unclear),
    };
    if valid {
        return Opinion::Valid;
    }
    let reason = all().filter_map(|said| said.reason.as_ref()?.as_str()).map(str::trim).find(|reason| !reason.is_empty());
    Opinion::Rejected { reason: reason.map_or_else(|| NO_REASON.to_owned(), |reason| legible(reason, REASON_LIMIT)) }
}

/// Whether an answer that came with success says that there was none.
pub fn admits_failure(answer: &[u8]) -> bool {
    Said::of(answer).is_some_and(|said| {
        let error = said.error.is_some_and(|error| !matches!(error, Value::Null | Value::Bool(false)) && error != "");
        error || said.success == Some(Value::Bool(false))
    })
}

#[derive(Deserialize)]
struct Said {
    #[serde(default, deserialize_with = "present")]
    valid: Option<Value>,
    reason: Option<Value>,
    error: Option<Value>,
    success: Option<Value>,
    data: Option<Box<RawValue>>,
}

/// A null is there as well.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl Said {
    /// Only of an object: a list would be read as one by its order.
    fn of(json: &[u8]) -> Option<Self> {
        if json.trim_ascii_start().starts_with(b"{") { serde_json::from_slice(json).ok() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_means_what_it_says_and_nothing_else() {
        let rejected = |reason: &str| Opinion::Rejected { reason: reason.to_owned() };
        let (unclear, no_json) = (Opinion::Unavailable(NoAnswer::Unclear), Opinion::Unavailable(NoAnswer::NotJson));
        let long = format!(r#"{{"valid": false, "reason": "{}"}}"#, "x".repeat(1000));
        let table = [
            (r#"{"valid": true}"#, Opinion::Valid),
            (r#" {"valid":true,"reason":"fine","more":[1]} "#, Opinion::Valid),
            (r#"{"success":true,"data":{"valid":true}}"#, Opinion::Valid),
            (r#"{"valid":true,"data":{"valid":true}}"#, Opinion::Valid),
            (r#"{"valid":true,"data":[{"valid":false}]}"#, Opinion::Valid),
            (r#"{"valid":false,"reason":"column \"a\" exists"}"#, rejected("column \"a\" exists")),
            (r#"{"data":{"valid":false,"reason":" no "}}"#, rejected("no")),
            (r#"{"valid":false,"data":{"reason":"below"}}"#, rejected("below")),
            (r#"{"valid":false,"reason":"a\u0000b\nc"}"#, rejected("a\u{FFFD}b\u{FFFD}c")),
            (r#"{"valid":false}"#, rejected(NO_REASON)),
            (r#"{"valid":false,"reason":7}"#, rejected(NO_REASON)),
            (r#"{"valid":false,"reason":"  "}"#, rejected(NO_REASON)),
            (&long, rejected(&legible(&"x".repeat(1000), 500))),
            (r#"{"valid":true,"data":{"valid":false}}"#, unclear.clone()),
            (r#"{"valid":true,"data":{"valid":null}}"#, unclear.clone()),
            (r#"{"valid":"true"}"#, unclear.clone()),
            (r#"{"valid":1}"#, unclear.clone()),
            (r#"{"valid":null}"#, unclear.clone()),
            (r#"{"Valid":true}"#, unclear.clone()),
            (r#"{"data":{"data":{"valid":true}}}"#, unclear.clone()),
            (r#"{"valid":true,"data":{"valid":false,"valid":true}}"#, unclear.clone()),
            ("{}", unclear),
            (r#"{"valid":false,"valid":true}"#, no_json.clone()),
            ("[true]", no_json.clone()),
            ("true", no_json.clone()),
            ("", no_json.clone()),
            (r#"{"valid":true"#, no_json.clone()),
            ("<html>", no_json),
        ];
        for (answer, expected) in table {
            assert_eq!(opinion(answer.as_bytes()), expected, "{answer}");
        }
        assert_eq!(opinion(b"{\"valid\":true,\"reason\":\"\xff\"}"), Opinion::Unavailable(NoAnswer::NotJson));
    }

    #[test]
    fn a_fixer_may_say_that_it_failed() {
        for failed in [r#"{"success":false}"#, r#"{"error":"no"}"#, r#"{"success":true,"error":{"code":1}}"#] {
            assert!(admits_failure(failed.as_bytes()), "{failed}");
        }
        for fine in ["", "done", "{}", r#"{"success":true,"error":null}"#, r#"{"error":""}"#, r#"{"error":false}"#, r#"[{"error":"x"}]"#] {
            assert!(!admits_failure(fine.as_bytes()), "{fine}");
        }
    }
}
