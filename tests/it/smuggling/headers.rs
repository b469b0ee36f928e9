//! What a head may look like, and which of its lines go on.

use std::collections::BTreeSet;

use super::world::Expected::{Passes, Refused, Turned};
use super::world::{DOORS, Door, Row, World, fill};
use crate::support::house::SERVICE_KEY;
use crate::support::line::Line;

const ROWS: &[Row] = &[
    ("line feeds alone", "POST {path} HTTP/1.1\nhost: gatekeeper\nx-eliza-key: nobody\ncontent-length: 0\n\n", Turned(401)),
    ("a carriage return within a value", "{start}x: a\rcontent-length: {len}\r\n\r\n{body}", Refused(400)),
    ("a carriage return before a line end", "{start}x: a\r\r\ncontent-length: {len}\r\n\r\n{body}", Refused(400)),
    ("a NUL within a value", "{start}x: a\0b\r\ncontent-length: {len}\r\n\r\n{body}", Refused(400)),
    ("a NUL within a name", "{start}x\0y: a\r\ncontent-length: {len}\r\n\r\n{body}", Refused(400)),
    ("a folded line", "{start}x: a\r\n b\r\ncontent-length: {len}\r\n\r\n{body}", Refused(400)),
    (
        "a fold before any header",
        "POST {path} HTTP/1.1\r\n x: y\r\nhost: gatekeeper\r\n{keys}content-length: {len}\r\n\r\n{body}",
        Refused(400),
    ),
    ("space before a colon", "{start}content-length : {len}\r\n\r\n{body}", Refused(400)),
    ("a tab before a colon", "{start}content-length\t: {len}\r\n\r\n{body}", Refused(400)),
    ("a name without a colon", "{start}x-nothing\r\ncontent-length: {len}\r\n\r\n{body}", Refused(400)),
    ("a colon without a name", "{start}: x\r\ncontent-length: {len}\r\n\r\n{body}", Refused(400)),
    ("a name in brackets", "{start}[x]: y\r\ncontent-length: {len}\r\n\r\n{body}", Refused(400)),
    ("no value, and space around values", "{start}x:\r\ny: \t z \t\r\ncontent-length:{len} \r\n\r\n{body}", Passes),
    ("the key twice", "{start}x-eliza-key: other\r\ncontent-length: {len}\r\n\r\n{body}", Turned(400)),
    ("the source twice", "{start}X-Eliza-Source: other\r\ncontent-length: {len}\r\n\r\n{body}", Turned(400)),
    ("Host twice", "{start}Host: other\r\ncontent-length: {len}\r\n\r\n{body}", Turned(400)),
    ("Host missing", "POST {path} HTTP/1.1\r\n{keys}content-length: {len}\r\n\r\n{body}", Turned(400)),
    ("underscores for the key", "{start}x_eliza_key: hidden\r\nx_eliza_source: hidden\r\ncontent-length: {len}\r\n\r\n{body}", Passes),
    ("underscores for the length", "{start}content_length: 3\r\ntransfer_encoding: chunked\r\ncontent-length: {len}\r\n\r\n{body}", Passes),
    (
        "the key in a trailer",
        "{start}trailer: x-eliza-key\r\ntransfer-encoding: chunked\r\n\r\n{hex}\r\n{body}\r\n0\r\nx-eliza-key: hidden\r\n\r\n",
        Passes,
    ),
    (
        "the key in a trailer alone",
        "POST {path} HTTP/1.1\r\nhost: h\r\nx-eliza-source: gemini-chat\r\ntransfer-encoding: chunked\r\n\r\n{hex}\r\n{body}\r\n0\r\n{keys}\r\n",
        Turned(401),
    ),
    (
        "framing in a trailer",
        "{start}transfer-encoding: chunked\r\n\r\n{hex}\r\n{body}\r\n0\r\ncontent-length: 300\r\ntransfer-encoding: x\r\nhost: hidden\r\n\r\n",
        Passes,
    ),
    (
        "credentials in a trailer",
        "{start}transfer-encoding: chunked\r\n\r\n{hex}\r\n{body}\r\n0\r\nauthorization: hidden\r\napikey: hidden\r\nx-forwarded-for: hidden\r\n\r\n",
        Passes,
    ),
    ("a broken trailer", "{start}transfer-encoding: chunked\r\n\r\n{hex}\r\n{body}\r\n0\r\nno colon\r\n\r\n", Refused(400)),
];

#[tokio::test]
async fn a_head_is_read_one_way_or_not_at_all() {
    let world = World::open().await;
    for door in DOORS {
        world.hold(door, ROWS).await;
    }
}

#[tokio::test]
async fn heads_beyond_the_bounds_are_refused() {
    let world = World::open().await;
    for door in DOORS {
        let long = format!("{{start}}x: {}\r\ncontent-length: {{len}}\r\n\r\n{{body}}", "y".repeat(70_000));
        let many = format!("{{start}}{}content-length: {{len}}\r\n\r\n{{body}}", "x: y\r\n".repeat(100));
        for text in [long, many] {
            let mut line = Line::to(world.house.data).await;
            line.try_say(fill(door, &text)).await;
            let heard = line.hear_the_end().await;
            // The connection may be reset while the rest of such a head is still on its way.
            assert!(heard.is_empty() || heard.starts_with("HTTP/1.1 431 "), "{door:?}: {heard}");
        }
    }
    assert_eq!(world.target.take(), []);
}

/// Of all that a caller can say about its connection, itself and us, what a target may hear.
#[tokio::test]
async fn what_was_meant_for_this_hop_ends_here() {
    let world = World::open().await;
    for door in DOORS {
        let text = "{start}content-length: {len}\r\n\
            connection: keep-alive, x-eliza-key, x-mine, authorization, content-length, host, x-call-id\r\n\
            keep-alive: hidden\r\nproxy-connection: keep-alive\r\nproxy-authorization: hidden\r\nproxy-hidden: x\r\n\
            te: trailers, hidden\r\ntrailer: x-eliza-key, hidden_one\r\nupgrade: h2c\r\nhttp2-settings: hidden\r\n\
            authorization: Bearer hidden\r\napikey: hidden\r\nx-mine: hidden\r\nx-eliza-hops: 2\r\nx-eliza-other: hidden\r\n\
            x_forwarded_for: hidden\r\nforwarded: for=hidden\r\nx-forwarded-for: hidden\r\nx-forwarded-host: hidden\r\n\
            x-real-ip: hidden\r\nx-call-id: hidden\r\nexpect: 100-continue\r\n\
            accept: text/plain\r\nuser-agent: me/1\r\nx-theirs: kept\r\ncookie: a=b\r\n\r\n{body}";
        let mut line = Line::to(world.house.data).await;
        line.say(fill(door, text)).await.hear("{\"ok\":true}").await;
        let [request] = &world.target.take()[..] else { panic!("{door:?}: not one request") };
        let names: BTreeSet<_> = request.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
        for name in ["keep-alive", "upgrade", "http2-settings", "authorization", "apikey", "x-mine"] {
            assert!(!names.contains(name), "{door:?}: {name} in {request:?}");
        }
        assert!(
            names.iter().all(|name| !name.starts_with("proxy-") && !name.contains('_') && name != "x-eliza-other"),
            "{door:?}: {names:?}"
        );
        // Whoever takes trailers is told so anew.
        assert_eq!((request.header("connection"), request.header("te")), (Some("te"), Some("trailers")), "{door:?}");
        assert_eq!(request.header("x-eliza-key"), None);
        assert_eq!(request.header("x-eliza-hops"), Some("3"), "{door:?}: of it goes on what keeps calls from going round");
        assert_eq!(request.header("x-theirs"), Some("kept"), "{door:?}");
        assert_eq!(request.header("cookie"), Some("a=b"), "{door:?}");
        assert_eq!(format!("http://{}", request.header("host").unwrap()), world.target.origin(), "{door:?}");
        assert_eq!(request.header("content-length"), Some("16"), "{door:?}: `Connection` cannot take the framing away");
        assert!(!world.target.was_told("hidden"), "{door:?}: {request:?}");
        assert!(!world.target.was_told(SERVICE_KEY), "{door:?}: policy gives this target no credentials");
    }
}

#[tokio::test]
async fn a_name_with_underscores_is_no_credential() {
    let world = World::open().await;
    for door in DOORS {
        let text = "POST {path} HTTP/1.1\r\nhost: h\r\nx_eliza_key: test-key-7d3f1c0a9b8e4d2f\r\nx_eliza_source: gemini-chat\r\ncontent-length: {len}\r\n\r\n{body}";
        let refused = Line::to(world.house.data).await.say(fill(door, text)).await.reply().await;
        assert_eq!(refused.expect(401).code(), "unauthorized", "{door:?}");
    }
    assert_eq!(world.target.take(), []);
    let doors = DOORS.iter().filter(|door| **door != Door::Envelope).count();
    assert_eq!(world.house.records().await.len(), doors + 1);
}
