//! Whatever two servers could read in two ways is refused or put straight, so that a target never sees two calls for one, another target's
//! address, or what let the caller in.

use http::Method;
use serde_json::json;

use super::{head, say, send, with_bare};
use crate::support::house::{House, KEY, SERVICE_KEY};
use crate::support::line::Line;
use crate::support::targets::{Conduct, Targets};

#[tokio::test]
async fn an_address_that_could_be_another_targets_is_refused() {
    let house = House::open().await;
    for address in [
        "",
        "/get-embedding",
        "..",
        "../get-embedding",
        "./get-embedding",
        "..;/get-embedding",
        ".;x=1/get-embedding",
        "%2e%2e/get-embedding",
        "%2E%2E%2Fget-embedding",
        "get-embedding%2fx",
        "get-embedding%2F..%2Fagent-manager",
        "get-embedding%5cx",
        "get-embedding\\..\\agent-manager",
        "get-embedding%00",
        "get-embedding/../agent-manager",
        "get-embedding/./x",
        "get-embedding/a/%2e%2e/b",
        "get-embedding/..%2fagent-manager",
        "get-embedding/..;/agent-manager",
        "get-embedding/%252e%252e/agent-manager",
    ] {
        let mut caller = say(&house, head("GET", address, "")).await;
        let reply = caller.reply().await;
        assert_eq!((reply.status, reply.code().as_str()), (400, "bad_target"), "{address}");
        assert_eq!(house.record_of(&reply).await.metadata["code"], "bad_target", "{address}");
    }
    for address in ["get%2Dembedding", "GET-EMBEDDING", "get-embedding;x=1", ".hidden", "eliza%2Dgatekeeper", "eliza-gatekeeper/"] {
        let reply = send(&house, Method::POST, address, &[], "{}").await;
        assert_eq!((reply.status, reply.code().as_str()), (404, "unknown_target"), "{address}");
    }
    assert!(house.targets.received_in_all().is_empty());
}

/// What a caller sends in its body's framing, and what becomes of it: a refusal, or one request of plain framing.
#[tokio::test]
async fn framing_that_can_be_read_in_two_ways_never_makes_two_requests() {
    let smuggled = "GET /functions/v1/agent-manager HTTP/1.1\r\nhost: x\r\n\r\n";
    let chunked = "transfer-encoding: chunked\r\n";
    let length = format!("content-length: {}\r\n", 5 + smuggled.len());
    let refused: Vec<(&str, String, String)> = vec![
        ("two lengths", "content-length: 2\r\ncontent-length: 3\r\n".into(), "{} ".into()),
        ("two lengths in one", "content-length: 2, 3\r\n".into(), "{} ".into()),
        ("a length with a sign", "content-length: +2\r\n".into(), "{}".into()),
        ("a negative length", "content-length: -1\r\n".into(), String::new()),
        ("a length in hex", "content-length: 0x2\r\n".into(), "{}".into()),
        ("chunks that are not the last coding", "transfer-encoding: chunked, gzip\r\n".into(), "0\r\n\r\n".into()),
        ("an unknown coding", "transfer-encoding: identity\r\n".into(), "{}".into()),
        ("chunks misspelled", "transfer-encoding: xchunked\r\n".into(), "0\r\n\r\n".into()),
        ("a folded line", "x-folded: a\r\n b\r\n".into(), String::new()),
        ("a blank before the colon", "x-odd : a\r\n".into(), String::new()),
        ("a folded transfer coding", "transfer-encoding:\r\n chunked\r\n".into(), "0\r\n\r\n".into()),
        ("a bare return in a value", "x-odd: a\rb\r\n".into(), String::new()),
        ("a NUL in a value", "x-odd: a\0b\r\n".into(), String::new()),
        ("no size of a chunk", chunked.into(), "\r\n{}\r\n0\r\n\r\n".into()),
        ("a size that is none", chunked.into(), "zz\r\n{}\r\n0\r\n\r\n".into()),
        ("a negative size", chunked.into(), "-2\r\n{}\r\n0\r\n\r\n".into()),
        ("a size beyond all", chunked.into(), "ffffffffffffffffff\r\n{}\r\n0\r\n\r\n".into()),
        ("more in a chunk than it says", chunked.into(), "1\r\n{}\r\n0\r\n\r\n".into()),
    ];
    let house = House::open().await;
    for (name, headers, body) in refused {
        let mut caller = say(&house, head("POST", "get-embedding", &headers)).await;
        caller.say(body).await;
        let told = caller.hear_the_end().await;
        assert!(told.starts_with("HTTP/1.1 4"), "{name}: {told}");
        assert_eq!(told.matches("HTTP/1.1").count(), 1, "{name}: {told}");
    }
    assert!(house.targets.received_in_all().is_empty(), "{:?}", house.targets.received_in_all());

    let put_straight: Vec<(&str, String, String, &str)> = vec![
        ("a length behind chunks", format!("{chunked}{length}"), format!("0\r\n\r\n{smuggled}"), ""),
        ("chunks behind a length", format!("{length}{chunked}"), format!("0\r\n\r\n{smuggled}"), ""),
        ("the same length twice", "content-length: 2\r\ncontent-length: 2\r\n".into(), "{}".into(), "{}"),
        ("chunks with extensions", chunked.into(), "2;x=\"y\"\r\n{}\r\n0\r\n\r\n".into(), "{}"),
    ];
    for (name, headers, body, gets) in put_straight {
        let before = house.targets.received_in_all().len();
        let mut caller = say(&house, head("POST", "get-embedding", &format!("{headers}connection: keep-alive\r\n"))).await;
        caller.say(body).await;
        let reply = caller.reply().await;
        if reply.status == 200 {
            let got = house.targets.received("get-embedding").pop().unwrap();
            assert_eq!((got.body.as_ref(), got.header("transfer-encoding")), (gets.as_bytes(), None), "{name}");
        }
        if headers.contains("transfer") && headers.contains("length") {
            // What stands behind it on the connection is nobody's request any more.
            assert_eq!(caller.hear_the_end().await, "", "{name}");
        }
        assert!(house.targets.received_in_all().len() <= before + 1, "{name}");
    }
    assert!(house.targets.received("agent-manager").is_empty());
}

#[tokio::test]
async fn heads_that_can_be_read_in_two_ways_are_refused() {
    let house = House::open().await;
    let table = [
        ("two keys", "x-eliza-key: other\r\n"),
        ("two sources", "X-Eliza-Source: agent-manager\r\n"),
        ("two hosts", "host: other.example\r\n"),
        ("two bearers", "authorization: Bearer a\r\nauthorization: Bearer b\r\n"),
        ("a count of hops that is none", "x-eliza-hops: +1\r\n"),
    ];
    for (name, more) in table {
        let reply = say(&house, head("POST", "get-embedding", &format!("{more}content-length: 0\r\n"))).await.reply().await;
        assert_eq!((reply.status, reply.code().as_str()), (400, "ambiguous_headers"), "{name}");
    }
    let mut hostless = Line::to(house.data).await;
    hostless.say(format!("GET /functions/v1/get-embedding HTTP/1.1\r\nx-eliza-key: {KEY}\r\nx-eliza-source: gemini-chat\r\n\r\n")).await;
    assert_eq!(hostless.reply().await.code(), "ambiguous_headers");
    assert!(house.targets.received_in_all().is_empty());
}

#[tokio::test]
async fn a_target_sees_no_key_and_no_claim_and_its_echo_gives_nothing_away() {
    let echo = Conduct::status(200, "text/plain", "")
        .with("x-eliza-key", KEY)
        .with("x-eliza-source", "gemini-chat")
        .with("x-call-id", "theirs")
        .with("access-control-allow-origin", "https://theirs.example")
        .with("connection", "x-of-their-hop")
        .with("x-of-their-hop", "1")
        .with("proxy-authenticate", "Basic")
        .with("via", "1.1 theirs")
        .with("server-timing", "db;dur=5");
    let house = House::plan().targets(Targets::like_the_platform().but("get-embedding", echo)).open().await;
    let more = "x_eliza_key: smuggled\r\nx-forwarded-for: 10.1.1.1\r\nforwarded: for=10.1.1.1\r\nx-forwarded-proto: https\r\nx-real-ip: 10.1.1.1\r\n\
                authorization: Bearer mine\r\napikey: mine\r\nconnection: x-of-my-hop, authorization\r\nx-of-my-hop: 1\r\nvia: 1.0 mine\r\n\
                proxy-authorization: Basic bWluZQ==\r\nkeep-alive: timeout=5\r\ncontent-length: 0\r\ntraceparent: \
                00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n";
    let mut caller = say(&house, head("POST", "get-embedding", more)).await;
    let reply = caller.reply().await.expect(200);
    let got = house.targets.received_once("get-embedding");
    let bearer = format!("Bearer {SERVICE_KEY}");
    for (name, value) in [
        ("x-eliza-key", None),
        ("x-eliza-source", None),
        ("x_eliza_key", None),
        ("x-real-ip", None),
        ("x-of-my-hop", None),
        ("proxy-authorization", None),
        ("keep-alive", None),
        ("authorization", Some(bearer.as_str())),
        ("apikey", Some(SERVICE_KEY)),
        ("x-forwarded-for", Some("127.0.0.1")),
        ("x-forwarded-proto", Some("http")),
        ("x-forwarded-host", Some("gate.example")),
        ("forwarded", Some("for=127.0.0.1;host=\"gate.example\";proto=http")),
        ("x-call-id", Some(reply.call_id())),
        ("x-eliza-hops", Some("1")),
    ] {
        assert_eq!(got.header(name), value, "{name}");
    }
    assert!(got.header("traceparent").unwrap().starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
    let via = |headers: &http::HeaderMap| headers.get_all("via").iter().map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(
        (via(&got.headers), via(&reply.headers)),
        (vec!["1.0 mine".into(), "1.1 eliza-gatekeeper".into()], vec!["1.1 theirs".into(), "1.1 eliza-gatekeeper".into()])
    );
    for name in ["x-eliza-key", "x-eliza-source", "x-of-their-hop", "proxy-authenticate"] {
        assert_eq!(reply.header(name), None, "{name}");
    }
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    let timings: Vec<_> = reply.headers.get_all("server-timing").iter().map(|value| value.to_str().unwrap()).collect();
    assert!(timings.len() == 2 && timings[0] == "db;dur=5" && timings[1].starts_with("gatekeeper;dur="), "{timings:?}");
}

#[tokio::test]
async fn a_trusted_proxy_is_believed_about_the_hops_before() {
    let house = House::plan().variable("GATEKEEPER_TRUSTED_PROXIES", "127.0.0.0/8").open().await;
    let headers = [("x-forwarded-for", "203.0.113.7"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "public.example")];
    let reply = send(&house, Method::GET, "get-embedding", &headers, "").await.expect(200);
    let got = house.targets.received_once("get-embedding");
    assert_eq!(got.header("x-forwarded-for"), Some("203.0.113.7, 127.0.0.1"));
    assert_eq!((got.header("x-forwarded-proto"), got.header("x-forwarded-host")), (Some("https"), Some("public.example")));
    let forwarded = format!("for=203.0.113.7, for=127.0.0.1;host=\"{}\";proto=http", house.data);
    assert_eq!(got.header("forwarded"), Some(forwarded.as_str()));
    assert_eq!(house.record_of(&reply).await.metadata["network"], "203.0.113.0/24");
}

/// A target behind another gatekeeper: it counts on.
#[tokio::test]
async fn circles_end() {
    let (house, bare) = with_bare("").await;
    let mut caller = say(&house, head("GET", "bare", "x-eliza-hops: 2\r\n")).await;
    let mut target = bare.accept().await;
    assert!(target.hear_head().await.contains("x-eliza-hops: 3\r\n"));
    target.say("HTTP/1.1 204 No Content\r\n\r\n").await;
    caller.hear_head().await;
    let hops = house.gatekeeper.pipeline.live.current().policy.body.max_hops;
    let refused = send(&house, Method::GET, "bare", &[("x-eliza-hops", hops.to_string().as_str())], "").await.expect(508);
    assert_eq!(house.record_of(&refused).await.metadata["code"], json!("loop_detected"));
}
