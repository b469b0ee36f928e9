//! Answers that end with their head: those to HEAD, and those whose status says so. Whatever is said of a body there is of one that does
//! not come, and they are answers all the same.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

use super::{head, say, with_bare};
use crate::support::house::{House, KEY};
use crate::support::targets::within;

/// None, whose end comes in a frame of its own.
type Nothing = StreamBody<stream::Empty<Result<Frame<Bytes>, Infallible>>>;

fn nothing() -> Nothing {
    StreamBody::new(stream::empty())
}

/// A direct call over HTTP/2; what its answer's head says, and how many bytes come behind it.
async fn call(house: &House, method: Method, address: &str) -> (StatusCode, HeaderMap, usize) {
    let stream = TcpStream::connect(house.data).await.unwrap();
    let (mut send, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::builder().method(method).uri(format!("http://gate.example/functions/v1/{address}"));
    let request = request.header("x-eliza-key", KEY).header("x-eliza-source", "gemini-chat").body(nothing()).unwrap();
    let (parts, body) = within("an answer", send.send_request(request)).await.unwrap().into_parts();
    let body = within("its end", body.collect()).await.unwrap().to_bytes();
    (parts.status, parts.headers, body.len())
}

#[tokio::test]
async fn what_a_target_does_not_say_of_a_length_is_not_said() {
    let (house, bare) = with_bare("").await;
    let mut line = None;
    for (status, said) in [
        ("200 OK", "transfer-encoding: chunked\r\n"),
        ("200 OK", "content-length: 4711\r\n"),
        ("204 No Content", ""),
        ("304 Not Modified", "etag: \"e\"\r\n"),
        ("304 Not Modified", "content-length: 4711\r\n"),
    ] {
        let expected = said.strip_prefix("content-length: ").map(str::trim);
        let answer = format!("HTTP/1.1 {status}\r\n{said}\r\n");
        let mut caller = say(&house, head("HEAD", "bare/x", "")).await;
        let target = match &mut line {
            Some(line) => line,
            none => none.insert(bare.accept().await),
        };
        target.hear_head().await;
        target.say(&answer).await;
        let heard = caller.hear_head().await;
        assert!(heard.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{heard}");
        assert_eq!(heard.lines().find_map(|line| line.strip_prefix("content-length: ")), expected, "{heard}");

        let ((code, headers, length), ()) = tokio::join!(call(&house, Method::HEAD, "bare/x"), async {
            target.hear_head().await;
            target.say(&answer).await;
        });
        assert!(status.starts_with(code.as_str()) && length == 0, "{status}");
        assert_eq!(headers.get("content-length").map(|length| length.to_str().unwrap()), expected, "{status}");
    }
}

/// A target whose answers have no body, which shows only behind their heads; it speaks HTTP/2.
async fn late_to_end() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(async |request: Request<Incoming>| {
                let status = request.uri().path().rsplit('/').next().unwrap().parse::<u16>().unwrap();
                Ok::<_, Infallible>(Response::builder().status(status).body(nothing()).unwrap())
            });
            tokio::spawn(hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service));
        }
    });
    at
}

#[tokio::test]
async fn an_answer_whose_end_comes_apart_is_an_answer() {
    let at = late_to_end().await;
    let entry = |name: &str, more: &str| {
        format!("[[target]]\nnames = ['{name}']\nurl = 'http://{at}/x'\ncredentials = 'none'\nprotocol = 'http2'\n{more}\n")
    };
    let policy = entry("judged", "") + &entry("streamed", "inspect = 'skip'");
    let house = House::plan().policy("own.toml", &policy).open().await;
    for target in ["judged", "streamed"] {
        for (method, status) in [(Method::HEAD, 200), (Method::GET, 204), (Method::HEAD, 204), (Method::GET, 304), (Method::HEAD, 206)] {
            let (answered, _, length) = call(&house, method.clone(), &format!("{target}/{status}")).await;
            assert_eq!((answered.as_u16(), length), (status, 0), "{method} {target}");
            let mut caller = say(&house, head(method.as_str(), &format!("{target}/{status}"), "")).await;
            let heard = caller.hear_head().await;
            assert!(heard.starts_with(&format!("HTTP/1.1 {status} ")), "{method} {target}: {heard}");
            let records = house.records().await;
            let codes: Vec<_> = records.iter().rev().take(2).map(|row| row.metadata["code"].clone()).collect();
            assert_eq!(codes, [json!("answered"), json!("answered")], "{method} {target} {status}");
        }
    }
}
