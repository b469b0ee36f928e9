//! On the envelope door every error is JSON with a string `error`: a target's own where it is one, a wrapping under the same status
//! where it is not. What is no error is not touched.

use std::time::Duration;

use eliza_gatekeeper::identity::CallId;
use eliza_gatekeeper::upstream::answer::{ERROR_LIMIT, settle};
use eliza_gatekeeper::upstream::{Settled, Upstream};
use serde_json::{Value, json};

use super::{body, call, upstream};
use crate::support::targets::{Conduct, Gate, Targets, within};

async fn settled(upstream: &Upstream, conduct: Conduct) -> (Settled, CallId) {
    let targets = Targets::like_the_platform().but("brain", conduct).start().await;
    let mut target = super::target("brain", targets.url("brain"));
    target.idle_timeout = Duration::from_millis(100);
    let calling = call(&target);
    let id = calling.head.id;
    let answer = calling.through(upstream).await.unwrap();
    (within("settling", settle(answer, &target, id)).await, id)
}

#[tokio::test]
async fn what_is_no_error_streams_on() {
    let gate = Gate::shut();
    let table = [
        ("success", Conduct::status(200, "text/plain", "plain"), 200, "plain"),
        ("nothing", Conduct::no_content(), 204, ""),
        ("elsewhere", Conduct::redirect("/elsewhere"), 302, ""),
        ("success that says error", Conduct::json(200, &json!({"data": null, "error": {}})), 200, r#"{"data":null,"error":{}}"#),
    ];
    for (case, conduct, status, text) in table {
        match settled(&upstream(), conduct).await.0 {
            Settled::AsIs(answer) => {
                assert_eq!(answer.status, status, "{case}");
                assert_eq!(body(answer).await, text, "{case}");
            }
            other => panic!("{case}: {other:?}"),
        }
    }
    // Settling does not wait for a body that is no error.
    let drip = Conduct::Drip { gate, content_type: "text/event-stream", pieces: vec!["never"] };
    assert!(matches!(settled(&upstream(), drip).await.0, Settled::AsIs(_)));
}

#[tokio::test]
async fn an_error_as_callers_expect_it_is_unchanged() {
    let text = r#"{ "error" : "Unknown action: x", "big": 12345678901234567890.50, "details": {"a": []} }"#;
    for (status, content_type) in [(400, "application/json"), (404, "text/plain"), (500, "application/json; charset=utf-8"), (503, "")] {
        let conduct = Conduct::status(status, content_type, text).with("x-theirs", "1");
        match settled(&upstream(), conduct).await.0 {
            Settled::Error { status: got, headers, body } => {
                assert_eq!((got.as_u16(), body.as_ref()), (status, text.as_bytes()));
                assert_eq!((headers["content-type"].to_str().unwrap(), headers["x-theirs"].to_str().unwrap()), (content_type, "1"));
            }
            other => panic!("{status}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn any_other_error_is_wrapped_and_shows_nothing_of_the_targets_text() {
    let secret = "at /srv/app/index.ts:42, postgres://u:p@10.0.0.1/db";
    let long = format!(r#"{{"error":"{}"}}"#, "x".repeat(ERROR_LIMIT));
    let table = [
        ("a page", Conduct::html_500(), 500),
        ("nothing", Conduct::empty_502(), 502),
        ("text", Conduct::status(500, "application/json", secret), 500),
        ("no error in it", Conduct::json(400, &json!({"message": secret})), 400),
        ("an error that is no string", Conduct::json(422, &json!({"error": {"text": secret}})), 422),
        ("a list", Conduct::json(400, &json!([{"error": secret}])), 400),
        ("two errors", Conduct::status(400, "application/json", r#"{"error":"a","error":{}}"#), 400),
        ("too long", Conduct::status(500, "application/json", long), 500),
        ("compressed", Conduct::json(500, &json!({"error": secret})).with("content-encoding", "gzip"), 500),
        ("cut short", Conduct::raw("HTTP/1.1 500 Oh\r\ncontent-length: 90\r\n\r\n{\"error\":"), 500),
        ("still", Conduct::Misbehave(still()), 500),
    ];
    for (case, conduct, status) in table {
        match settled(&upstream(), conduct).await {
            (Settled::Wrapped { status: got, headers, body }, id) => {
                assert_eq!(got.as_u16(), status, "{case}");
                assert_eq!(headers["content-type"], "application/json", "{case}");
                assert_eq!(headers.len(), 1, "{case}: {headers:?}");
                let expected = json!({
                    "error": "Target error",
                    "message": format!("Target 'brain' answered with status {status} and no readable error"),
                    "code": "target_error",
                    "upstream_status": status,
                    "call_id": id.to_string(),
                });
                assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expected, "{case}");
            }
            other => panic!("{case}: {other:?}"),
        }
    }
    match settled(&upstream(), Conduct::empty_502().with("retry-after", "7")).await.0 {
        Settled::Wrapped { headers, .. } => assert_eq!(headers["retry-after"], "7"),
        other => panic!("{other:?}"),
    }
}

fn still() -> crate::support::targets::Misdeed {
    let says = "HTTP/1.1 500 Oh\r\ncontent-length: 90\r\n\r\n{".into();
    crate::support::targets::Misdeed { says, holds: Some(Gate::shut()), cuts: false }
}
