//! Calling targets directly: `/functions/v1/{target}/…` with any method passes the same gates as an envelope; what goes on is what came, and
//! what comes back is the target's own answer. Policy says per target whether bodies are judged first or stream.

mod bodiless;
mod hygiene;
mod judged;
mod streams;
mod tunnels;

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use crate::support::bare::Bare;
use crate::support::house::{House, KEY, Reply, SERVICE_KEY};
use crate::support::line::Line;
use crate::support::rows::rows;
use crate::support::targets::{Conduct, Targets};

/// What every call of these tests shows.
pub const CREDENTIALS: &str = "x-eliza-source: gemini-chat\r\n";

/// A house with one target of its own, which is a bare socket, beside those that are shipped.
pub async fn with_bare(more: &str) -> (House, Bare) {
    let bare = Bare::listen().await;
    let house = House::plan().policy("own.toml", &bare.target("bare", more)).open().await;
    (house, bare)
}

/// The head of a direct call, with the house's key.
pub fn head(method: &str, address: &str, more: &str) -> String {
    format!("{method} /functions/v1/{address} HTTP/1.1\r\nhost: gate.example\r\nx-eliza-key: {KEY}\r\n{CREDENTIALS}{more}\r\n")
}

/// A direct call that was begun.
pub async fn say(house: &House, head: String) -> Line {
    let mut line = Line::to(house.data).await;
    line.say(head).await;
    line
}

pub async fn send(house: &House, method: Method, address: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Reply {
    let own = [("x-eliza-key", KEY), ("x-eliza-source", "gemini-chat")];
    let headers: Vec<_> = own.iter().chain(headers).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    house.request(house.data, method, &format!("/functions/v1/{address}"), &headers, body.into()).await
}

#[tokio::test]
async fn every_method_passes_with_path_query_headers_and_body() {
    let targets = Targets::like_the_platform().but("get-embedding", Conduct::status(200, "text/plain", "fine").with("x-own", "theirs"));
    let house = House::plan().targets(targets).open().await;
    let custom = Method::from_bytes(b"REPORT").unwrap();
    for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, custom] {
        let body = if method == Method::GET { "" } else { "some text" };
        let headers = [("content-type", "text/x-own"), ("accept-encoding", "gzip"), ("x-client-info", "supabase-js/2"), ("prefer", "a=b")];
        let address = "get-embedding/a%20b//c;d/%C3%A9?x=1&y=%2e%2e/&empty=&z";
        let reply = send(&house, method.clone(), address, &headers, body).await.expect(200);
        assert_eq!(
            (reply.body.as_ref(), reply.header("x-own"), reply.header("content-type")),
            (&b"fine"[..], Some("theirs"), Some("text/plain"))
        );
        assert_eq!(reply.header("via"), Some("1.1 eliza-gatekeeper"));
        assert!(reply.header("server-timing").unwrap().starts_with("gatekeeper;dur="), "{:?}", reply.headers);
        assert!(reply.header("ratelimit").is_some());
        let got = house.targets.received("get-embedding").pop().unwrap();
        assert_eq!((got.method.clone(), got.body.as_ref()), (method.clone(), body.as_bytes()));
        let path = "/functions/v1/get-embedding/a%20b//c;d/%C3%A9";
        assert_eq!((got.path.as_str(), got.query.as_deref()), (path, Some("x=1&y=%2e%2e/&empty=&z")));
        for (name, value) in headers {
            assert_eq!(got.header(name), Some(value), "{name}");
        }
        assert_eq!(got.header("x-call-id"), Some(reply.call_id()));
        assert_eq!((got.header("x-eliza-key"), got.header("x-eliza-hops")), (None, Some("1")));
        assert_eq!(got.header("authorization"), Some(format!("Bearer {SERVICE_KEY}").as_str()));

        let record = house.record_of(&reply).await;
        let metadata = record.metadata;
        for (member, value) in [
            ("door", json!("direct")),
            ("method", json!(method.as_str())),
            ("action", json!(method.as_str())),
            ("target", json!("get-embedding")),
            ("status", json!(200)),
            ("code", json!("answered")),
            ("request_bytes", json!(body.len())),
            ("response_bytes", json!(4)),
        ] {
            assert_eq!(metadata[member], value, "{method} {member}");
        }
    }
    let metrics = house.metrics().await;
    assert!(metrics.contains("gatekeeper_calls_by_door_total{door=\"direct\"} 6\n"), "{metrics}");
    let counted = rows(&house.database, "select endpoint, request_count from rate_limits order by endpoint").await;
    let counts = ["DELETE", "GET", "PATCH", "POST", "PUT", "REPORT"].map(|method| vec![format!("get-embedding:{method}"), "1".to_owned()]);
    assert_eq!(counted, counts);
}

#[tokio::test]
async fn an_answer_comes_back_as_the_target_gave_it_whatever_it_says() {
    let house = House::open().await;
    let answers = [
        (200, "application/octet-stream", &b"\0\xff binary"[..]),
        (201, "application/json", b"{\"created\":true}"),
        (302, "text/plain", b"elsewhere"),
        (400, "text/html", b"<h1>no</h1>"),
        (404, "application/json", b"{\"message\":\"no error member\"}"),
        (418, "text/plain", b"short and stout"),
        (500, "text/html", b"<pre>at /srv/app/index.ts:42</pre>"),
        (503, "text/plain", b""),
    ];
    for (status, kind, body) in answers {
        house.targets.let_be("brain-of-tests", Conduct::Function);
        house.targets.let_be("get-embedding", Conduct::status(status, kind, body));
        let reply = send(&house, Method::POST, "get-embedding", &[], "{}").await.expect(status);
        assert_eq!((reply.header("content-type"), reply.body.as_ref()), (Some(kind), body), "{status}");
        let record = house.record_of(&reply).await;
        assert_eq!(record.metadata["status"], json!(status));
    }
    house.targets.let_be("get-embedding", Conduct::no_content());
    let reply = send(&house, Method::DELETE, "get-embedding/7", &[], "").await.expect(204);
    assert_eq!((reply.body.len(), house.record_of(&reply).await.metadata["status"].clone()), (0, json!(204)));
}

#[tokio::test]
async fn a_head_is_answered_with_the_headers_of_a_get() {
    let (house, bare) = with_bare("").await;
    let mut caller = say(&house, head("HEAD", "bare/x", "")).await;
    let mut target = bare.accept().await;
    assert!(target.hear_head().await.starts_with("HEAD /at/x HTTP/1.1\r\n"));
    target.say("HTTP/1.1 200 OK\r\ncontent-length: 4711\r\netag: \"e\"\r\n\r\n").await;
    let answer = caller.hear_head().await;
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.contains("content-length: 4711\r\n") && answer.contains("etag: \"e\"\r\n"),
        "{answer}"
    );
    // Nothing follows it, so the connection can be used again.
    caller.say(head("HEAD", "no-such-target", "")).await;
    let answer = caller.hear_head().await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    let records = house.records().await;
    let told: Vec<_> = records.iter().map(|row| (row.metadata["method"].clone(), row.metadata["code"].clone())).collect();
    assert_eq!(told, [(json!("HEAD"), json!("answered")), (json!("HEAD"), json!("unknown_target"))]);
}

#[tokio::test]
async fn the_gates_are_the_same_and_so_are_their_refusals() {
    let house = House::plan().policy("own.toml", "[[block]]\nsources = [\"openai-chat\"]\nreason = \"INC-4711\"\n").open().await;
    let key = [("x-eliza-key".to_owned(), "wrong".to_owned()), ("x-eliza-source".to_owned(), "gemini-chat".to_owned())];
    let ask = |method: Method, path: &'static str, headers: Vec<(String, String)>| {
        let house = &house;
        async move { house.request(house.data, method, path, &headers, Bytes::new()).await }
    };
    let wrong = ask(Method::GET, "/functions/v1/get-embedding", key.to_vec()).await.expect(401);
    assert_eq!(wrong.code(), "unauthorized");
    assert_eq!(house.record_of(&wrong).await.metadata["method"], "GET");
    let bad = ask(Method::GET, "/functions/v1/../x", vec![]).await.expect(401);
    assert_eq!(bad.code(), "unauthorized", "nobody is told anything of targets before it is known who asks");
    let blocked = [("x-eliza-key".to_owned(), KEY.to_owned()), ("x-eliza-source".to_owned(), "openai-chat".to_owned())];
    assert_eq!(ask(Method::GET, "/functions/v1/get-embedding", blocked.to_vec()).await.expect(403).code(), "source_disabled");
    assert_eq!(send(&house, Method::GET, "no-such-target/x", &[], "").await.expect(404).code(), "unknown_target");
    assert_eq!(send(&house, Method::GET, "eliza-gatekeeper/x", &[], "").await.expect(404).code(), "unknown_target");
    assert_eq!(send(&house, Method::GET, "get-embedding", &[("x-eliza-hops", "9")], "").await.expect(508).code(), "loop_detected");
    let trace = send(&house, Method::TRACE, "get-embedding", &[], "").await.expect(405);
    assert_eq!((trace.code(), trace.header("allow")), ("method_not_allowed".into(), Some("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")));
    assert_eq!(ask(Method::OPTIONS, "/functions/v1/get-embedding/x", vec![]).await.expect(200).body.len(), 0);
    assert!(house.targets.received_in_all().is_empty());
    // The envelope door is where it was.
    house.call("gemini-chat").to("get-embedding").send().await.expect(200);
}

#[tokio::test]
async fn limits_count_each_method_of_a_target() {
    let limits = "[[override]]\nendpoint = \"get-embedding:DELETE\"\nlimit = [\"1/1m\"]\n";
    let clock = eliza_gatekeeper::clock::ManualClock::at(crate::support::house::midnight());
    let house = House::plan().at(&clock).policy("own.toml", limits).open().await;
    send(&house, Method::DELETE, "get-embedding/1", &[], "").await.expect(200);
    let refused = send(&house, Method::DELETE, "get-embedding/2", &[], "{\"action\":\"other\"}").await.expect(429);
    assert_eq!(refused.code(), "rate_limited");
    send(&house, Method::GET, "get-embedding/2", &[], "").await.expect(200);
    assert_eq!(house.record_of(&refused).await.metadata["scope"], "endpoint");
}

#[tokio::test]
async fn what_is_explained_is_shown_of_a_call_as_well() {
    let house = House::open().await;
    let explain = json!({ "source": "gemini-chat", "target": "get-embedding", "method": "PUT", "rest": "/a?sql=DROP+TABLE+users" });
    let headers = [
        ("authorization".to_owned(), format!("Bearer {}", crate::support::house::ADMIN_TOKEN)),
        ("content-type".to_owned(), "application/json".to_owned()),
    ];
    let said: Value =
        house.request(house.ops, Method::POST, "/api/admin/explain", &headers, explain.to_string().into()).await.expect(200).json();
    let step = |gate: &str| said["steps"].as_array().unwrap().iter().find(|step| step["gate"] == gate).unwrap().clone();
    assert_eq!((said["would"].clone(), said["code"].clone()), (json!("refuse"), json!("dangerous_operation")));
    assert_eq!(
        (step("authorize")["saw"].clone(), step("sql_filter")["saw"].clone()),
        (json!("get-embedding, action PUT"), json!("SQL at ?sql"))
    );
    for wrong in [
        json!({ "target": "x", "rest": "/a" }),
        json!({ "target": "x", "method": "GET", "operation": "a" }),
        json!({ "target": 1, "method": "GET" }),
    ] {
        let refused = house.request(house.ops, Method::POST, "/api/admin/explain", &headers, wrong.to_string().into()).await;
        assert_eq!(refused.status, 400, "{wrong}");
    }
}
