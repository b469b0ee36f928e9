//! A target that says more than it was asked, or says where its answer ends in two ways: the caller gets one answer or a refusal, and
//! whoever calls next gets its own.

use http::Method;
use serde_json::json;

use crate::support::house::{House, KEY, Reply};
use crate::support::line::Line;
use crate::support::targets::{Conduct, Gate, Misdeed};

/// What is said on the connection, which then stays open, and what comes of it: status, and the body unless we refuse.
const ROWS: &[(&str, &str, u16, Option<&str>)] = &[
    ("two answers", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhidden", 200, Some("{}")),
    ("bytes behind the answer", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}hidden", 200, Some("{}")),
    ("bytes behind no content", "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhidden", 204, Some("")),
    ("no content with a length", "HTTP/1.1 204 No Content\r\ncontent-length: 6\r\n\r\nhidden", 204, Some("")),
    (
        "length and chunks",
        "HTTP/1.1 200 OK\r\ncontent-length: 300\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        200,
        Some("{}"),
    ),
    (
        "chunks and length",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 1\r\n\r\n2\r\n{}\r\n0\r\n\r\nhidden",
        200,
        Some("{}"),
    ),
    ("two lengths", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 8\r\n\r\n{}hidden", 502, None),
    ("a list of lengths", "HTTP/1.1 200 OK\r\ncontent-length: 2, 8\r\n\r\n{}hidden", 502, None),
    ("a length with a sign", "HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\n{}", 502, None),
    ("space before a colon", "HTTP/1.1 200 OK\r\ncontent-length : 2\r\n\r\n{}", 502, None),
    ("a folded line", "HTTP/1.1 200 OK\r\nx: a\r\n hidden: b\r\ncontent-length: 2\r\n\r\n{}", 502, None),
    ("a carriage return within a value", "HTTP/1.1 200 OK\r\nx: a\rhidden: b\r\ncontent-length: 2\r\n\r\n{}", 502, None),
    ("a NUL within a value", "HTTP/1.1 200 OK\r\nx: a\0hidden\r\ncontent-length: 2\r\n\r\n{}", 502, None),
    (
        "another protocol that nobody asked for",
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nhidden",
        502,
        None,
    ),
    (
        "what is still to come",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </hidden>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        200,
        Some("{}"),
    ),
];

async fn call(house: &House, path: &str) -> Reply {
    let call = house.call("lovable-chat").path(path);
    let question = json!({"messages": []});
    if path.ends_with("eliza-gatekeeper") { call.to("openai-chat").payload(question) } else { call.raw(question.to_string()) }.send().await
}

#[tokio::test]
async fn a_call_has_one_answer_and_it_is_its_own() {
    let house = House::open().await;
    for path in ["/functions/v1/eliza-gatekeeper", "/functions/v1/openai-chat"] {
        for (name, says, status, body) in ROWS {
            let gate = Gate::shut();
            let misdeed = Misdeed { says: (*says).into(), holds: Some(gate.clone()), cuts: false };
            house.targets.let_be("openai-chat", Conduct::Misbehave(misdeed));
            let reply = call(&house, path).await.expect(*status);
            if let Some(body) = body {
                assert_eq!(reply.body, body, "{name}, {path}");
            }
            assert!(!format!("{reply:?}").contains("hidden"), "{name}, {path}: {reply:?}");
            house.targets.let_be("openai-chat", Conduct::status(200, "text/plain", "its own"));
            assert_eq!(call(&house, path).await.expect(200).body, "its own", "after {name}, {path}");
            gate.open();
        }
    }
}

/// An answer to HEAD has no body, whatever the target sends behind it.
#[tokio::test]
async fn what_follows_an_answer_to_head_is_nobodys() {
    let house = House::open().await;
    let gate = Gate::shut();
    let says = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhidden".into();
    house.targets.let_be("openai-chat", Conduct::Misbehave(Misdeed { says, holds: Some(gate.clone()), cuts: false }));
    let mut line = Line::to(house.data).await;
    let head = |method: Method| {
        format!("{method} /functions/v1/openai-chat HTTP/1.1\r\nhost: h\r\nx-eliza-key: {KEY}\r\nx-eliza-source: lovable-chat\r\n")
    };
    let heard = line.say(head(Method::HEAD) + "\r\n").await.hear("\r\n\r\n").await;
    assert!(heard.starts_with("HTTP/1.1 200 ") && heard.contains("content-length: 6\r\n"), "{heard}");
    house.targets.let_be("openai-chat", Conduct::status(200, "text/plain", "its own"));
    let heard = line.say(head(Method::GET) + "connection: close\r\n\r\n").await.hear_the_end().await;
    assert!(heard.ends_with("its own") && !heard.contains("hidden"), "{heard}");
    gate.open();
}
