//! HTTP/2 counts its bytes, so nothing can be hidden in its framing; but what it carries becomes HTTP/1.1 towards a target, where a
//! space or a line end means something.

use super::world::{CONTENT, DOORS, Door, SOURCE, World};
use crate::support::frames::Frames;
use crate::support::frames::Outcome::{self, Cut, Passed, Turned};
use crate::support::house::KEY;
use crate::support::line::Line;

type Fields = &'static [(&'static str, &'static str)];

/// Fields that stand in place of those of an ordinary call, if they have the name of one; those with `+` stand behind it.
const ROWS: &[(&str, Fields, Outcome)] = &[
    ("an ordinary call", &[], Passed),
    ("a space in the path", &[(":path", "/functions/v1/judged hidden")], Cut),
    ("a request line in the path", &[(":path", "/ HTTP/1.1\r\nhost: hidden\r\n\r\nGET /hidden")], Cut),
    ("no path", &[(":path", "")], Cut),
    ("a path without a slash", &[(":path", "functions/v1/judged/hidden")], Cut),
    ("a whole address for a path", &[(":path", "http://hidden/functions/v1/judged")], Cut),
    ("two paths", &[("+:path", "/hidden")], Cut),
    ("two methods", &[("+:method", "GET")], Cut),
    ("a request line in the method", &[(":method", "GET /hidden HTTP/1.1\r\nx:")], Cut),
    ("a space in the method", &[(":method", "PO ST")], Cut),
    ("another authority", &[(":authority", "other.example")], Passed),
    ("a space in the authority", &[(":authority", "a hidden")], Cut),
    ("a path in the authority", &[(":authority", "a/hidden")], Cut),
    ("another Host", &[("+host", "hidden.example")], Passed),
    ("an address in the scheme", &[(":scheme", "http://hidden/?")], Cut),
    ("a pseudo-header nobody knows", &[("+:hidden", "x")], Cut),
    ("capitals in a name", &[("+X-Hidden", "x")], Cut),
    ("a colon in a name", &[("+x: hidden", "x")], Cut),
    ("a space in a name", &[("+x hidden", "x")], Cut),
    ("a line end in a name", &[("+x: y\r\nhidden", "x")], Cut),
    ("a name without letters", &[("+", "hidden")], Cut),
    ("a line end in a value", &[("+x", "y\r\nhidden: z")], Cut),
    ("a line feed in a value", &[("+x", "y\nhidden: z")], Cut),
    ("a NUL in a value", &[("+x", "y\0hidden")], Cut),
    ("Connection", &[("+connection", "x-eliza-key")], Cut),
    ("Transfer-Encoding", &[("+transfer-encoding", "chunked")], Cut),
    ("Keep-Alive", &[("+keep-alive", "hidden")], Cut),
    ("Proxy-Connection", &[("+proxy-connection", "hidden")], Cut),
    ("Upgrade", &[("+upgrade", "hidden")], Cut),
    ("TE: trailers", &[("+te", "trailers")], Passed),
    ("TE: anything else", &[("+te", "hidden")], Cut),
    ("a longer length", &[("+content-length", "300")], Cut),
    ("a shorter length", &[("+content-length", "1")], Cut),
    ("the key twice", &[("+x-eliza-key", "hidden")], Turned),
    ("the source twice", &[("+x-eliza-source", "hidden")], Turned),
    ("underscores", &[("+x_eliza_key", "hidden"), ("+content_length", "300")], Passed),
    ("CONNECT to a protocol", &[(":method", "CONNECT"), ("+:protocol", "websocket")], Cut),
];

fn head(door: Door, changes: Fields) -> Vec<(&'static str, &'static str)> {
    let ordinary = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "gatekeeper"),
        (":path", door.path()),
        ("content-type", "application/json"),
        ("x-eliza-key", KEY),
        ("x-eliza-source", SOURCE),
    ];
    let changed = |name: &str| changes.iter().find(|(there, _)| *there == name).map(|(_, value)| *value);
    let mut head: Vec<_> = ordinary.into_iter().map(|(name, value)| (name, changed(name).unwrap_or(value))).collect();
    head.extend(changes.iter().filter_map(|(name, value)| Some((name.strip_prefix('+')?, *value))));
    head
}

#[tokio::test]
async fn nothing_in_a_frame_becomes_a_line() {
    let world = World::open().await;
    for door in DOORS {
        for (name, changes, expected) in ROWS {
            let outcome = Frames::to(world.house.data).await.request(&head(door, changes), &door.body(), &[]).await;
            assert_eq!(outcome, *expected, "{name}, {door:?}");
            let seen = world.target.take();
            assert_eq!(seen.len(), usize::from(*expected == Passed), "{name}, {door:?}: {seen:?}");
            assert!(seen.iter().all(|request| request.body == CONTENT), "{name}, {door:?}: {seen:?}");
        }
    }
    assert!(!world.target.was_told(KEY) && !world.target.was_told("hidden"));
}

#[tokio::test]
async fn trailers_bring_neither_credentials_nor_framing() {
    let world = World::open().await;
    for door in DOORS {
        let mut frames = Frames::to(world.house.data).await;
        let trailers =
            [("x-eliza-key", KEY), ("authorization", "hidden"), ("content-length", "300"), ("host", "hidden"), ("x_y", "hidden")];
        assert_eq!(frames.request(&head(door, &[]), &door.body(), &trailers).await, Passed, "{door:?}");
        assert_eq!(world.target.take().len(), 1, "{door:?}");
        let stranger: Vec<_> = head(door, &[]).into_iter().filter(|(name, _)| *name != "x-eliza-key").collect();
        assert_eq!(frames.request(&stranger, &door.body(), &trailers).await, Turned, "{door:?}: it is judged by its own head");
        assert_eq!(world.target.take(), [], "{door:?}");
        frames.request(&head(door, &[]), &door.body(), &[(":path", "/hidden"), (":method", "GET")]).await;
        assert!(world.target.take().len() <= 1, "{door:?}: pseudo-headers among trailers mean nothing");
    }
    assert!(!world.target.was_told(KEY) && !world.target.was_told("hidden"));
}

/// HTTP/2 clients may send a cookie in crumbs; where HTTP/1.1 begins they are one line again (RFC 9113, section 8.2.3).
#[tokio::test]
async fn the_crumbs_of_a_cookie_are_one_again() {
    let world = World::open().await;
    for door in DOORS {
        let crumbs = head(door, &[("+cookie", "a=b"), ("+cookie", "c=d; e=f")]);
        assert_eq!(Frames::to(world.house.data).await.request(&crumbs, &door.body(), &[]).await, Passed);
        assert_eq!(world.target.take()[0].header("cookie"), Some("a=b; c=d; e=f"), "{door:?}");
    }
}

/// What opens HTTP/2 opens it only where a connection begins.
#[tokio::test]
async fn the_preface_is_no_request() {
    let world = World::open().await;
    for preface in ["PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", "PRI * HTTP/2.0\r\nhost: h\r\n\r\nSM\r\n\r\n", "PRI * HTTP/1.1\r\nhost: h\r\n\r\n"]
    {
        for before in ["", "OPTIONS * HTTP/1.1\r\nhost: h\r\n\r\n"] {
            let mut line = Line::to(world.house.data).await;
            line.say(before).await.try_say(preface).await;
            line.try_say("GET /functions/v1/judged HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await;
            line.hear_the_end().await;
        }
    }
    assert_eq!(world.target.take(), []);
}
