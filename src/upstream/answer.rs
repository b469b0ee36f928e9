//! What the envelope door makes of a target's answer. Its callers read every error as JSON with a string `error`, so an error that is
//! not gets a wrapping that is. A target's raw text never shows through it: that is where stack traces and addresses stand.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, Limited};
use serde::{Deserialize, Serialize};

use super::client::Answer;
use crate::identity::CallId;
use crate::intake::is_plain;
use crate::policy::Target;

/// The longest error that is read to see whether it is one.
pub const ERROR_LIMIT: usize = 1024 * 1024;

#[derive(Debug)]
pub enum Settled {
    /// No error: streams on, unchanged.
    AsIs(Answer),
    /// An error as callers expect it, read whole and unchanged.
    Error { status: StatusCode, headers: HeaderMap, body: Bytes },
    /// An error in our words, under the target's status.
    Wrapped { status: StatusCode, headers: HeaderMap, body: Bytes },
}

pub async fn settle(answer: Answer, target: &Target, call: CallId) -> Settled {
    if !answer.is_error() {
        return Settled::AsIs(answer);
    }
    let Answer { status, headers, body, .. } = answer;
    // The time bounds the whole reading: an error that drips is not worth more waiting than one that stands still.
    let whole = async {
        let read = tokio::time::timeout(target.idle_timeout, Limited::new(body, ERROR_LIMIT).collect()).await;
        read.ok()?.ok().map(|collected| collected.to_bytes())
    };
    let readable = if is_plain(&headers) { whole.await.filter(|bytes| says_error(bytes)) } else { None };
    match readable {
        Some(body) => Settled::Error { status, headers, body },
        None => wrap(status, &headers, target, call),
    }
}

fn says_error(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Probe<'a> {
        #[serde(borrow, rename = "error")]
        _error: Cow<'a, str>,
    }
    // Only an object: a list would be read as one by its order.
    body.trim_ascii_start().starts_with(b"{") && serde_json::from_slice::<Probe<'_>>(body).is_ok()
}

fn wrap(status: StatusCode, theirs: &HeaderMap, target: &Target, call: CallId) -> Settled {
    #[derive(Serialize)]
    struct Wrapping<'a> {
        error: &'a str,
        message: String,
        code: &'a str,
        upstream_status: u16,
        call_id: String,
    }
    let wrapping = Wrapping {
        error: "Target error",
        message: format!("Target '{}' answered with status {} and no readable error", target.name, status.as_u16()),
        code: "target_error",
        upstream_status: status.as_u16(),
        call_id: call.to_string(),
    };
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // Of their headers only this one is about the error and not about the body that is gone.
    if let Some(retry_after) = theirs.get(RETRY_AFTER) {
        headers.insert(RETRY_AFTER, retry_after.clone());
    }
    let body = serde_json::to_vec(&wrapping).unwrap_or_default().into();
    Settled::Wrapped { status, headers, body }
}
