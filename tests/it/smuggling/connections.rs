//! One connection, several requests: each is judged by itself, and none comes to be by the way another ends.

use super::world::Expected::{Passes, PassesAlone};
use super::world::{CONTENT, DOORS, Door, Row, World, fill};
use crate::support::house::KEY;
use crate::support::line::Line;

const ROWS: &[Row] = &[
    ("to be closed", "{start}connection: close\r\ncontent-length: {len}\r\n\r\n{body}", PassesAlone),
    ("to be closed, in capitals", "{start}Connection: CLOSE, x\r\ncontent-length: {len}\r\n\r\n{body}", PassesAlone),
    ("to be kept", "{start}connection: keep-alive\r\ncontent-length: {len}\r\n\r\n{body}", Passes),
    ("expected", "{start}expect: 100-continue\r\ncontent-length: {len}\r\n\r\n{body}", Passes),
    ("expected, in capitals", "{start}Expect: 100-Continue\r\ncontent-length: {len}\r\n\r\n{body}", Passes),
    ("expected in chunks", "{start}expect: 100-continue\r\ntransfer-encoding: chunked\r\n\r\n{hex}\r\n{body}\r\n0\r\n\r\n", Passes),
    ("expected twice", "{start}expect: 100-continue\r\nexpect: 100-continue\r\ncontent-length: {len}\r\n\r\n{body}", Passes),
    ("expected otherwise", "{start}expect: hidden\r\ncontent-length: {len}\r\n\r\n{body}", Passes),
    (
        "an upgrade to h2c",
        "{start}connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAARAAAAAAAIAAAAA\r\ncontent-length: {len}\r\n\r\n{body}",
        Passes,
    ),
    ("an upgrade to what nobody knows", "{start}connection: upgrade\r\nupgrade: hidden\r\ncontent-length: {len}\r\n\r\n{body}", Passes),
];

#[tokio::test]
async fn each_request_is_judged_by_itself() {
    let world = World::open().await;
    for door in DOORS {
        world.hold(door, ROWS).await;
    }
}

/// A request in a body is a body.
#[tokio::test]
async fn a_body_stays_a_body() {
    let world = World::open().await;
    let inner = fill(Door::Judged, "{start}content-length: {len}\r\n\r\n{body}{hidden}");
    for (door, reaches) in [(Door::Envelope, false), (Door::Judged, true), (Door::Streamed, true)] {
        let head = format!("{{start}}content-length: {}\r\n\r\n", inner.len());
        let mut line = Line::to(world.house.data).await;
        let reply = line.say(fill(door, &head)).await.say(&inner).await.reply().await;
        assert_eq!(reply.status, if reaches { 200 } else { 400 }, "{door:?}");
        let seen: Vec<_> = world.target.take().into_iter().map(|request| request.body).collect();
        assert_eq!(seen, if reaches { vec![inner.clone()] } else { vec![] }, "{door:?}");
    }
}

/// Credentials belong to a request, not to its connection.
#[tokio::test]
async fn whoever_was_let_in_once_is_asked_again() {
    let world = World::open().await;
    for door in DOORS {
        let mut line = Line::to(world.house.data).await;
        let heads = ["{keys}", "", "x-eliza-key: wrong\r\nx-eliza-source: gemini-chat\r\n", "{keys}"];
        for keys in heads {
            let text = format!("POST {{path}} HTTP/1.1\r\nhost: h\r\n{keys}content-length: {{len}}\r\n\r\n{{body}}");
            line.say(fill(door, &text)).await;
        }
        for status in [200, 401, 401, 200] {
            line.reply().await.expect(status);
        }
        assert_eq!(world.target.take().len(), 2, "{door:?}");
    }
}

/// Nothing of a body is asked for before it is known who calls.
#[tokio::test]
async fn a_body_is_asked_for_once_its_caller_is_known() {
    let world = World::open().await;
    for door in DOORS {
        let mut line = Line::to(world.house.data).await;
        let head = "{start}expect: 100-continue\r\ncontent-length: {len}\r\n\r\n";
        line.say(fill(door, head)).await.hear("HTTP/1.1 100 Continue\r\n\r\n").await;
        line.say(door.body()).await.hear("{\"ok\":true}").await;
        assert_eq!(world.target.take()[0].body, CONTENT, "{door:?}");

        let mut line = Line::to(world.house.data).await;
        let heard = line.say(fill(door, &head.replace("{start}", "POST {path} HTTP/1.1\r\nhost: h\r\n"))).await.hear_the_end().await;
        assert!(heard.starts_with("HTTP/1.1 401 "), "{door:?}: {heard}");
        assert!(heard.contains("connection: close\r\n"), "its body is not waited for, so nothing may come behind it: {door:?}: {heard}");
    }
    assert_eq!(world.target.take(), []);

    // One that was asked for and has come keeps its connection, whatever is said to it.
    for framing in ["content-length: 2\r\n\r\n[]", "transfer-encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n"] {
        let mut line = Line::to(world.house.data).await;
        let call = fill(Door::Envelope, &format!("{{start}}expect: 100-continue\r\n{framing}"));
        for _ in 0..2 {
            let heard = line.say(&call).await.hear_up_to("\r\n\r\n").await;
            let heard = if heard.contains(" 100 ") { line.hear_head().await } else { heard };
            assert!(heard.starts_with("HTTP/1.1 400 ") && !heard.contains("connection: close"), "{heard}");
            let length = heard.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            line.skip(length.parse().unwrap()).await;
        }
    }
}

/// Half a body is no body, whichever way its end was announced.
#[tokio::test]
async fn a_request_that_breaks_off_reaches_nobody_whole() {
    let world = World::open().await;
    for door in DOORS {
        for text in ["{start}content-length: 900\r\n\r\n{body}", "{start}transfer-encoding: chunked\r\n\r\n{hex}\r\n{body}\r\n"] {
            let mut line = Line::to(world.house.data).await;
            line.say(fill(door, text)).await.finish().await;
            line.hear_the_end().await;
        }
        assert_eq!(world.house.records().await.len() % 2, 0, "{door:?}");
        assert_eq!(world.target.take(), [], "{door:?}");
    }
    assert!(!world.target.was_told(KEY));
}
