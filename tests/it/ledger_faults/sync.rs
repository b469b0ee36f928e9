//! `sync = "always"`: whatever an answer looks like, it waits for its record, and gets there.

use http::StatusCode;
use serde_json::json;

use super::Site;
use super::load::{Load, Mix};
use super::rows::{self, Missing};
use crate::support::house::{KEY, call_at, eventually};
use crate::support::line::Line;
use crate::support::targets::{Conduct, Gate};

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_every_form_wait_for_the_disk_and_come() {
    let site = Site::with(None, &[("sync", "always")]).await;
    let gate = Gate::shut();
    gate.open();
    let stream = Conduct::Drip { gate, content_type: "text/event-stream", pieces: vec!["data: one\n\n", "data: two\n\n"] };
    let empty = Conduct::Answer { status: StatusCode::OK, headers: vec![], body: bytes::Bytes::new() };
    let forms = [
        ("gemini-chat", Conduct::no_content(), 204),
        ("deepseek-chat", Conduct::status(304, "text/plain", ""), 304),
        ("lovable-chat", empty, 200),
        ("openai-chat", stream, 200),
        ("task-orchestrator", Conduct::Large(300_000), 200),
        ("vercel-manager", Conduct::empty_502(), 502),
    ];
    for (target, conduct, _) in &forms {
        site.targets.let_be(target, conduct.clone());
    }
    let serving = site.serve().await;
    let load = Load::full(serving.data, 8, Mix::Everything);
    let mut ids = Vec::new();
    for _ in 0..5 {
        for (target, _, status) in &forms {
            let reply = call_at(serving.data, KEY, "gemini-chat", &json!({"target": target, "action": "try", "payload": {}})).await;
            ids.push(reply.expect(*status).call_id().to_owned());
        }
    }
    // An answer whose body nobody gets.
    let mut line = Line::to(serving.data).await;
    line.say("HEAD /functions/v1/eliza-gatekeeper HTTP/1.1\r\nhost: gatekeeper\r\n\r\n").await;
    let head = line.hear("\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 405 "), "{head}");
    ids.push(head.lines().find_map(|line| line.strip_prefix("x-call-id: ")).unwrap().to_owned());

    eventually("there is a load beside it", || async { load.heard() > 300 }).await;
    assert_eq!(serving.metric("journal_unconfirmed").await, 0.0);
    // In the middle of it.
    serving.running.kill().await;
    let heard = load.end().await;
    let serving = site.serve().await;
    serving.settled().await;
    rows::hold(&site.database, heard.whole.iter().map(|answer| &answer.id).chain(&ids).map(String::as_str)).await;
    assert_eq!(Missing::in_all(&site.database).await.unexplained, 0);
    assert_eq!(serving.metric("journal_unconfirmed").await, 0.0);
    serving.stop().await.expect(0);
}
