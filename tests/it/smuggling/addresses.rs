//! The request line: which method, which target, which HTTP.

use super::world::Expected::{Passes, PassesAlone, Refused, Turned};
use super::world::{DOORS, Door, Row, World, fill};
use crate::support::line::Line;

const FORMS: &[Row] = &[
    ("absolute", "POST http://gatekeeper{path} HTTP/1.1\r\nhost: gatekeeper\r\n{keys}content-length: {len}\r\n\r\n{body}", Passes),
    (
        "absolute, another host",
        "POST http://other.example{path} HTTP/1.1\r\nhost: gatekeeper\r\n{keys}content-length: {len}\r\n\r\n{body}",
        Passes,
    ),
    (
        "absolute, a user",
        "POST http://hidden@gatekeeper{path} HTTP/1.1\r\nhost: gatekeeper\r\n{keys}content-length: {len}\r\n\r\n{body}",
        Passes,
    ),
    ("another host", "POST {path} HTTP/1.1\r\nhost: other.example:1\r\n{keys}content-length: {len}\r\n\r\n{body}", Passes),
    ("an authority", "POST gatekeeper:80 HTTP/1.1\r\nhost: gatekeeper\r\n{keys}content-length: {len}\r\n\r\n{body}", Turned(404)),
    ("an asterisk", "POST * HTTP/1.1\r\nhost: gatekeeper\r\n{keys}content-length: {len}\r\n\r\n{body}", Turned(404)),
    ("CONNECT", "CONNECT hidden.example:443 HTTP/1.1\r\nhost: hidden.example\r\n{keys}content-length: {len}\r\n\r\n{body}", Turned(405)),
    ("TRACE", "TRACE {path} HTTP/1.1\r\nhost: gatekeeper\r\n{keys}\r\n", Turned(405)),
    ("no path", "POST  HTTP/1.1\r\nhost: gatekeeper\r\n{keys}content-length: {len}\r\n\r\n{body}", Refused(400)),
    ("no HTTP", "POST {path}\r\nhost: gatekeeper\r\n{keys}content-length: {len}\r\n\r\n{body}", Refused(400)),
    ("HTTP/0.9", "GET {path}\r\n", Refused(400)),
    ("HTTP/1.2", "POST {path} HTTP/1.2\r\nhost: gatekeeper\r\n{keys}content-length: {len}\r\n\r\n{body}", Refused(400)),
    ("HTTP/2 in words", "POST {path} HTTP/2.0\r\nhost: gatekeeper\r\n{keys}content-length: {len}\r\n\r\n{body}", Refused(400)),
    ("http in small letters", "POST {path} http/1.1\r\nhost: gatekeeper\r\n{keys}content-length: {len}\r\n\r\n{body}", Refused(400)),
    ("a word too many", "POST {path} HTTP/1.1 HTTP/1.1\r\nhost: gatekeeper\r\n{keys}content-length: {len}\r\n\r\n{body}", Refused(400)),
    ("a space in the path", "POST {path}/a b HTTP/1.1\r\nhost: gatekeeper\r\n{keys}content-length: {len}\r\n\r\n{body}", Refused(400)),
    ("a tab in the path", "POST {path}/a\tb HTTP/1.1\r\nhost: gatekeeper\r\n{keys}content-length: {len}\r\n\r\n{body}", Refused(400)),
    ("a NUL in the path", "POST {path}/a\0b HTTP/1.1\r\nhost: gatekeeper\r\n{keys}content-length: {len}\r\n\r\n{body}", Refused(400)),
    ("a space in the method", "PO ST {path} HTTP/1.1\r\nhost: gatekeeper\r\n{keys}content-length: {len}\r\n\r\n{body}", Refused(400)),
    ("a fragment", "POST {path}#hidden HTTP/1.1\r\nhost: gatekeeper\r\n{keys}content-length: {len}\r\n\r\n{body}", Passes),
    ("an empty line before", "\r\n{start}content-length: {len}\r\n\r\n{body}", Passes),
    ("HTTP/1.0 without Host", "POST {path} HTTP/1.0\r\n{keys}content-length: {len}\r\n\r\n{body}", PassesAlone),
];

/// On the direct door: where the target's name, or the way out of it, is hidden.
const PATHS: &[(&str, u16)] = &[
    ("/functions/v1/judged/../hidden", 400),
    ("/functions/v1/judged/%2e%2e/hidden", 400),
    ("/functions/v1/judged/%2E%2e%2fhidden", 400),
    ("/functions/v1/judged/%252e%252e/hidden", 400),
    ("/functions/v1/judged/..;/hidden", 400),
    ("/functions/v1/../v1/judged/hidden", 400),
    ("/functions/v1/./judged/hidden", 400),
    ("/functions/v1//judged/hidden", 400),
    ("/functions/v1/judged%2fhidden", 400),
    ("/functions/v1/judged%5chidden", 400),
    ("/functions/v1/judged\\..\\hidden", 400),
    ("/functions/v1/judged%00", 400),
    ("/functions/v1/..%2fhidden", 400),
    ("/functions/v1/", 400),
    ("/functions/v1/hidden", 404),
    ("/functions/v2/judged", 404),
    ("//functions/v1/judged", 404),
    ("/Functions/v1/judged", 404),
    ("/functions/v1/JUDGED", 404),
];

#[tokio::test]
async fn a_request_line_means_one_thing() {
    let world = World::open().await;
    for door in DOORS {
        world.hold(door, FORMS).await;
    }
}

/// Of two hosts the one in the address is meant (RFC 9112, section 3.2.2), and it is the one that targets are told.
#[tokio::test]
async fn the_host_in_the_address_counts() {
    let world = World::open().await;
    for door in DOORS {
        let text = "POST http://one.example:80{path} HTTP/1.1\r\nhost: hidden.example\r\n{keys}content-length: {len}\r\n\r\n{body}";
        Line::to(world.house.data).await.say(fill(door, text)).await.reply().await.expect(200);
        let request = world.target.take().remove(0);
        assert_eq!(request.header("x-forwarded-host"), Some("one.example:80"), "{door:?}");
        assert_eq!(format!("http://{}", request.header("host").unwrap()), world.target.origin(), "{door:?}");
    }
    assert!(!world.target.was_told("hidden"));
}

#[tokio::test]
async fn no_path_leads_out_of_its_target() {
    let world = World::open().await;
    for (path, status) in PATHS {
        let text = format!("POST {path} HTTP/1.1\r\nhost: gatekeeper\r\n{{keys}}content-length: {{len}}\r\n\r\n{{body}}");
        let row: Row = (path, text.leak(), Turned(*status));
        world.hold(Door::Judged, &[row]).await;
    }
}
