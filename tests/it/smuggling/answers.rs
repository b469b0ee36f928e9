//! A target that says more than it was asked, or says where its answer ends in two ways: the caller gets one answer or a refusal, and
//! whoever calls next gets its own.

use super::world::{DOORS, Door, SOURCE, World, fill};
use crate::support::line::Line;

/// What is said on the connection, which goes on, and what comes of it: status, and the body unless we refuse.
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

const OWN: &str = r#"{"ok":true}"#;

#[tokio::test]
async fn a_call_has_one_answer_and_it_is_its_own() {
    let world = World::open().await;
    for door in DOORS {
        for (name, says, status, body) in ROWS {
            let call = || world.house.call(SOURCE).path(door.path()).raw(door.body()).send();
            world.target.answer_next(says);
            let reply = call().await;
            assert_eq!(reply.status, *status, "{name}, {door:?}: {reply:?}");
            assert!(body.is_none_or(|body| reply.body == body), "{name}, {door:?}: {reply:?}");
            assert!(!format!("{reply:?}").contains("hidden"), "{name}, {door:?}: {reply:?}");
            assert_eq!(call().await.expect(200).body, OWN, "after {name}, {door:?}");
        }
    }
}

/// An answer to HEAD has no body, whatever the target sends behind it.
#[tokio::test]
async fn what_follows_an_answer_to_head_is_nobodys() {
    let world = World::open().await;
    for door in [Door::Judged, Door::Streamed] {
        world.target.answer_next("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhidden");
        let mut line = Line::to(world.house.data).await;
        let head = fill(door, "HEAD {path} HTTP/1.1\r\nhost: h\r\n{keys}\r\n");
        let heard = line.say(&head).await.hear("\r\n\r\n").await;
        assert!(heard.starts_with("HTTP/1.1 200 ") && heard.contains("content-length: 6\r\n"), "{door:?}: {heard}");
        let heard = line.say(head.replace("HEAD", "GET")).await.hear(OWN).await;
        assert!(!heard.contains("hidden"), "{door:?}: {heard}");
    }
}
