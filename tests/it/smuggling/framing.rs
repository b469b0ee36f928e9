//! Where a body ends.

use super::world::Expected::{Passes, PassesAlone, Refused, Turned};
use super::world::{DOORS, Row, World};

const ROWS: &[Row] = &[
    ("a length", "{start}content-length: {len}\r\n\r\n{body}", Passes),
    ("chunks", "{start}transfer-encoding: chunked\r\n\r\n{hex}\r\n{body}\r\n0\r\n\r\n", Passes),
    ("length and chunks", "{start}content-length: {len}\r\ntransfer-encoding: chunked\r\n\r\n{hex}\r\n{body}\r\n0\r\n\r\n", PassesAlone),
    ("chunks and length", "{start}transfer-encoding: chunked\r\ncontent-length: {len}\r\n\r\n{hex}\r\n{body}\r\n0\r\n\r\n", PassesAlone),
    ("CL.TE", "{start}content-length: 300\r\ntransfer-encoding: chunked\r\n\r\n{hex}\r\n{body}\r\n0\r\n\r\n", PassesAlone),
    ("TE.CL", "{start}transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n{hex}\r\n{body}\r\n0\r\n\r\n", PassesAlone),
    ("xchunked", "{start}transfer-encoding: xchunked\r\ncontent-length: {len}\r\n\r\n{body}", Refused(400)),
    ("chunked in capitals", "{start}transfer-encoding: CHUNKED\r\n\r\n{hex}\r\n{body}\r\n0\r\n\r\n", Passes),
    ("a tab before chunked", "{start}transfer-encoding:\tchunked\r\n\r\n{hex}\r\n{body}\r\n0\r\n\r\n", Passes),
    ("a vertical tab before chunked", "{start}transfer-encoding: \x0bchunked\r\ncontent-length: {len}\r\n\r\n{body}", Refused(400)),
    ("chunked in quotes", "{start}transfer-encoding: \"chunked\"\r\ncontent-length: {len}\r\n\r\n{body}", Refused(400)),
    ("chunked on a folded line", "{start}transfer-encoding:\r\n chunked\r\ncontent-length: {len}\r\n\r\n{body}", Refused(400)),
    ("chunked folded with a tab", "{start}x: y\r\n\ttransfer-encoding: chunked\r\ncontent-length: {len}\r\n\r\n{body}", Refused(400)),
    ("space before the colon", "{start}transfer-encoding : chunked\r\ncontent-length: {len}\r\n\r\n{body}", Refused(400)),
    ("space before the name", "{start} transfer-encoding: chunked\r\ncontent-length: {len}\r\n\r\n{body}", Refused(400)),
    ("chunked, identity", "{start}transfer-encoding: chunked, identity\r\ncontent-length: {len}\r\n\r\n{body}", Refused(400)),
    ("identity", "{start}transfer-encoding: identity\r\ncontent-length: {len}\r\n\r\n{body}", Refused(400)),
    ("no coding", "{start}transfer-encoding:\r\ncontent-length: {len}\r\n\r\n{body}", Refused(400)),
    ("gzip, chunked", "{start}transfer-encoding: gzip, chunked\r\n\r\n{hex}\r\n{body}\r\n0\r\n\r\n", Turned(400)),
    ("chunked twice", "{start}transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n{hex}\r\n{body}\r\n0\r\n\r\n", Turned(400)),
    ("chunked, then x", "{start}transfer-encoding: chunked\r\ntransfer-encoding: x\r\ncontent-length: {len}\r\n\r\n{body}", Refused(400)),
    ("x, then chunked", "{start}transfer-encoding: x\r\ntransfer-encoding: chunked\r\n\r\n{hex}\r\n{body}\r\n0\r\n\r\n", Turned(400)),
    ("the same length twice", "{start}content-length: {len}\r\ncontent-length: {len}\r\n\r\n{body}", Passes),
    ("two lengths", "{start}content-length: {len}\r\ncontent-length: 0\r\n\r\n{body}", Refused(400)),
    ("two lengths, short first", "{start}content-length: 0\r\ncontent-length: {len}\r\n\r\n{body}", Refused(400)),
    ("a list of lengths", "{start}content-length: {len}, {len}\r\n\r\n{body}", Refused(400)),
    ("+", "{start}content-length: +{len}\r\n\r\n{body}", Refused(400)),
    ("-", "{start}content-length: -{len}\r\n\r\n{body}", Refused(400)),
    ("hexadecimal", "{start}content-length: 0x{hex}\r\n\r\n{body}", Refused(400)),
    ("a length with a point", "{start}content-length: {len}.0\r\n\r\n{body}", Refused(400)),
    ("no length", "{start}content-length:\r\n\r\n{body}", Refused(400)),
    ("a length beyond 64 bits", "{start}content-length: 18446744073709551617\r\n\r\n{body}", Refused(400)),
    ("a length with zeros before it", "{start}content-length: 00{len}\r\n\r\n{body}", Passes),
    ("HTTP/1.0 with chunks", "POST {path} HTTP/1.0\r\n{keys}transfer-encoding: chunked\r\n\r\n{hex}\r\n{body}\r\n0\r\n\r\n", Refused(400)),
    ("HTTP/1.0 with a length", "POST {path} HTTP/1.0\r\n{keys}content-length: {len}\r\n\r\n{body}", PassesAlone),
    ("chunk extensions", "{start}transfer-encoding: chunked\r\n\r\n{hex};a=b;c=\"d\"\r\n{body}\r\n0;e\r\n\r\n", Passes),
    ("a line feed in an extension", "{start}transfer-encoding: chunked\r\n\r\n{hex};a\n{body}\r\n0\r\n\r\n", Refused(400)),
    ("a chunk size beyond 64 bits", "{start}transfer-encoding: chunked\r\n\r\n10000000000000010\r\n{body}\r\n0\r\n\r\n", Refused(400)),
    ("a negative chunk size", "{start}transfer-encoding: chunked\r\n\r\n-1\r\n{body}\r\n0\r\n\r\n", Refused(400)),
    ("0x before a chunk size", "{start}transfer-encoding: chunked\r\n\r\n0x{hex}\r\n{body}\r\n0\r\n\r\n", Refused(400)),
    ("a chunk longer than it says", "{start}transfer-encoding: chunked\r\n\r\n3\r\n{body}\r\n0\r\n\r\n", Refused(400)),
    ("chunks between line feeds", "{start}transfer-encoding: chunked\r\n\r\n{hex}\n{body}\n0\n\n", Refused(400)),
    ("a carriage return alone after a chunk", "{start}transfer-encoding: chunked\r\n\r\n{hex}\r\n{body}\rX0\r\n\r\n", Refused(400)),
    ("zeros before a chunk size", "{start}transfer-encoding: chunked\r\n\r\n000{hex}\r\n{body}\r\n0000\r\n\r\n", Passes),
    ("a space behind a chunk size", "{start}transfer-encoding: chunked\r\n\r\n{hex} \r\n{body}\r\n0\r\n\r\n", Passes),
    ("no chunk size", "{start}transfer-encoding: chunked\r\n\r\n\r\n{body}\r\n0\r\n\r\n", Refused(400)),
];

#[tokio::test]
async fn a_body_ends_where_everybody_says_it_ends() {
    let world = World::open().await;
    for door in DOORS {
        world.hold(door, ROWS).await;
    }
}
