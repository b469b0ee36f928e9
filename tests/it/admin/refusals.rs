//! Whoever asks for something that cannot be is told what is wrong, member by member; whoever may not ask is told nothing.

use serde_json::{Value, json};

use super::Operator;
use crate::support::house::{ADMIN_TOKEN, House, Reply};
use crate::support::postgres::Cluster;

/// The members that every refusal has, and no other.
#[track_caller]
fn is_well_formed(reply: &Reply, status: u16, code: &str) -> Value {
    let body = reply.json();
    assert_eq!((reply.status, &body["code"], &body["status"]), (status, &json!(code), &json!(status)), "{body}");
    assert_eq!(body["call_id"], reply.call_id());
    assert_eq!(body["type"], format!("urn:eliza-gatekeeper:{code}"));
    assert_eq!((&body["title"], &body["detail"]), (&body["error"], &body["message"]));
    body
}

#[tokio::test]
async fn without_the_token_every_address_and_method_looks_the_same() {
    let house = House::open().await;
    let addresses =
        ["/api/admin", "/api/admin/", "/api/admin/enforcement", "/api/admin/policy/reload", "/api/admin/limits/x", "/api/admin/no"];
    let wrong = ["", "x", "Bearer", "Bearer ", "Bearer x", "Basic YTpi", ADMIN_TOKEN, &format!("Bearer {ADMIN_TOKEN}x")];
    let mut answers = Vec::new();
    for shown in wrong {
        let stranger = match shown {
            "" => Operator::of(&house).without("authorization"),
            shown => Operator::of(&house).with("authorization", shown),
        };
        for address in addresses {
            for (method, body) in [("GET", ""), ("POST", "{"), ("PUT", "{}"), ("DELETE", ""), ("PATCH", ""), ("OPTIONS", ""), ("TRACE", "")]
            {
                let reply = stranger.ask(method, &format!("{address}?x=1"), body).await;
                let mut body = is_well_formed(&reply, 401, "unauthorized");
                assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
                body["call_id"].take();
                let mut headers: Vec<_> = reply.headers.keys().map(|name| name.as_str().to_owned()).collect();
                headers.sort();
                answers.push((body, headers));
            }
        }
        assert_eq!(stranger.ask("HEAD", "/api/admin/enforcement", "").await.status, 401);
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert!(house.gatekeeper.control.enforcement().iter().all(|standing| standing.ruling.is_none()));
}

#[tokio::test]
async fn with_no_token_configured_it_is_off() {
    let house = House::plan().variable("GATEKEEPER_ADMIN_TOKEN", "").open().await;
    for shown in ["Bearer ", "Bearer x"] {
        for address in ["/api/admin/enforcement", "/api/admin/nothing"] {
            is_well_formed(&Operator::of(&house).with("authorization", shown).get(address).await, 403, "admin_api_off");
        }
    }
}

#[tokio::test]
async fn the_data_listener_knows_nothing_of_it() {
    let house = House::open().await;
    let bearer = [("authorization".to_owned(), format!("Bearer {ADMIN_TOKEN}"))];
    for address in ["/api/admin", "/api/admin/enforcement", "/openapi.json", "/metrics"] {
        let reply = house.request(house.data, http::Method::GET, address, &bearer, "".into()).await;
        is_well_formed(&reply, 404, "no_such_address");
    }
}

#[tokio::test]
async fn each_mistake_is_named() {
    let house = House::open().await;
    let operator = Operator::of(&house);
    let long = "x".repeat(129);
    let id = "/api/admin/blocks/0192f0c1-2345-7abc-8def-0123456789ab";
    let invalid = "invalid_request";
    #[rustfmt::skip]
    let table = [
        // The body as a whole.
        ("POST", "/api/admin/enforcement", "", "invalid_json", "the body is empty"),
        ("POST", "/api/admin/enforcement", "mode=off", "invalid_json", "line 1, column 1"),
        ("POST", "/api/admin/enforcement", r#"{"mode":"off"} x"#, "invalid_json", "line 1, column 16"),
        ("POST", "/api/admin/enforcement", r#"["off"]"#, invalid, "The body must be a JSON object"),
        ("POST", "/api/admin/enforcement", "\u{feff}{}", "ambiguous_body", "byte order mark"),
        // Its members.
        ("POST", "/api/admin/enforcement", "{}", invalid, r#""mode" is missing"#),
        ("POST", "/api/admin/enforcement", r#"{"mode":"off","mode":"on"}"#, invalid, r#""mode" stands there twice"#),
        ("POST", "/api/admin/enforcement", r#"{"mode":"off","gates":"sql_filter"}"#, invalid, r#""gates" is not known here: there are mode, gate, for, until, reason"#),
        ("POST", "/api/admin/enforcement", r#"{"mode":"observe"}"#, invalid, r#""mode" must be one of on, off"#),
        ("POST", "/api/admin/enforcement", r#"{"mode":false}"#, invalid, r#""mode" must be a text"#),
        ("POST", "/api/admin/enforcement", r#"{"mode":"off","gate":"moat"}"#, invalid, r#""gate" must be one of authenticate, blocklist, "#),
        ("POST", "/api/admin/enforcement", r#"{"mode":"off","for":"1w"}"#, invalid, r#""for" must be a duration"#),
        ("POST", "/api/admin/enforcement", r#"{"mode":"off","for":"0s"}"#, invalid, r#""for" must be a duration"#),
        ("POST", "/api/admin/enforcement", r#"{"mode":"off","until":"tomorrow"}"#, invalid, r#""until" must be a time such as "#),
        ("POST", "/api/admin/enforcement", r#"{"mode":"off","until":"2020-01-01T00:00:00Z"}"#, invalid, r#""until" must lie ahead"#),
        ("POST", "/api/admin/enforcement", r#"{"mode":"off","for":"1m","until":"2999-01-01T00:00:00Z"}"#, invalid, r#""for" and "until" exclude each other"#),
        ("POST", "/api/admin/enforcement", r#"{"mode":"off","reason":""}"#, invalid, r#""reason" must be 1 to 500 characters"#),
        ("POST", "/api/admin/enforcement", r#"{"mode":"off","reason":"a\u0000b"}"#, invalid, r#""reason" must be 1 to 500 characters"#),
        ("POST", "/api/admin/enforcement", r#"{"mode":"off","reason":"\ud800"}"#, invalid, r#""reason" must be a text"#),
        ("POST", "/api/admin/feature-flags", r#"{"name":"x","enabled":"yes"}"#, invalid, r#""enabled" must be true or false"#),
        ("POST", "/api/admin/feature-flags", r#"{"name":"x","rollout_percentage":101}"#, invalid, r#""rollout_percentage" must be a whole number from 0 to 100"#),
        ("POST", "/api/admin/feature-flags", r#"{"name":"x","rollout_percentage":2.5}"#, invalid, r#""rollout_percentage" must be a whole number"#),
        ("POST", "/api/admin/feature-flags", r#"{"name":" x"}"#, invalid, r#""name" must be 1 to 128 characters"#),
        ("POST", "/api/admin/blocks", r#"{"subject":"10.0.0.0/33","reason":"x"}"#, invalid, "subject"),
        ("POST", "/api/admin/blocks", r#"{"subject":"10.0.0.1"}"#, invalid, r#""reason" is missing"#),
        ("PUT", "/api/admin/log-level", r#"{"level":"loud"}"#, invalid, r#""level" must be one of trace, debug, info, warn, error"#),
        ("POST", "/api/admin/bypasses", r#"{"by":"alice","target":"brain"}"#, invalid, r#""reason" is missing"#),
        ("POST", "/api/admin/explain", r#"{"target":"brain","envelope":{}}"#, invalid, r#""envelope" stands for target, action, payload and operation"#),
        ("POST", "/api/admin/explain", r#"{"target":"brain","key":"a","service_role":true}"#, invalid, r#""key" and "service_role" exclude each other"#),
        ("POST", "/api/admin/explain", r#"{"target":"brain","network":"home"}"#, invalid, r#""network" must be an address"#),
        // The query and the address.
        ("GET", "/api/admin/audit?limit=0", "", invalid, r#""limit" must be a whole number from 1 to 1000"#),
        ("GET", "/api/admin/audit?limit=1&limit=2", "", invalid, r#""limit" stands there twice"#),
        ("GET", "/api/admin/audit?limits=1", "", invalid, r#""limits" is not known here: there are limit"#),
        ("GET", "/api/admin/enforcement?gate=x", "", invalid, r#""gate" is not known here: nothing is"#),
        ("GET", "/api/admin/bypasses?open=1", "", invalid, r#""open" must be true or false"#),
        ("GET", &format!("/api/admin/calls?source={long}"), "", invalid, r#""source" must be 1 to 128 characters"#),
        ("GET", "/api/admin/calls/last", "", invalid, r#""id" must look like "#),
        ("DELETE", "/api/admin/limits/%00", "", invalid, r#""source" must be 1 to 128 characters"#),
        ("DELETE", "/api/admin/limits/%ff", "", invalid, "The address must be UTF-8"),
        ("DELETE", &format!("{id}?reason=%20"), "", invalid, r#""reason" must be 1 to 500 characters"#),
    ];
    for (method, path, body, code, says) in table {
        let reply = operator.ask(method, path, body.to_owned()).await;
        let refusal = is_well_formed(&reply, 400, code);
        let message = refusal["message"].as_str().unwrap();
        assert!(message.contains(says), "{method} {path} {body}: {message}");
    }
    assert!(house.gatekeeper.control.enforcement().iter().all(|standing| standing.ruling.is_none()));
    assert!(house.store.audit_entries(10).await.unwrap().is_empty());
}

/// An admin token pasted into the wrong place must not come back.
#[tokio::test]
async fn no_refusal_repeats_a_value() {
    let house = House::open().await;
    let operator = Operator::of(&house);
    for member in ["mode", "gate", "for", "until", "reason"] {
        let body = json!({ "mode": "off", "reason": format!("{ADMIN_TOKEN}\n") }).as_object().unwrap().clone();
        let mut body = Value::Object(body);
        body[member] = json!(format!("{ADMIN_TOKEN}\n"));
        let reply = operator.send("POST", "/api/admin/enforcement", body).await.expect(400);
        assert!(!String::from_utf8_lossy(&reply.body).contains(ADMIN_TOKEN), "{member}: {:?}", reply.body);
    }
    for path in ["/api/admin/audit?limit=", "/api/admin/calls/", "/api/admin/bypasses?open="] {
        let reply = operator.get(&format!("{path}{ADMIN_TOKEN}")).await.expect(400);
        assert!(!String::from_utf8_lossy(&reply.body).contains(ADMIN_TOKEN), "{path}: {:?}", reply.body);
    }
}

#[tokio::test]
async fn what_is_not_there_or_not_so_is_said_as_everywhere() {
    let house = House::open().await;
    let operator = Operator::of(&house);
    for path in ["/api/admin", "/api/admin/", "/api/admin/nothing", "/api/admin/enforcement/", "/api/admin/limits/a/b"] {
        is_well_formed(&operator.get(path).await, 404, "no_such_address");
    }
    let unknown = "0192f0c1-2345-7abc-8def-0123456789ab";
    is_well_formed(&operator.get(&format!("/api/admin/calls/{unknown}")).await, 404, "not_found");
    is_well_formed(&operator.ask("DELETE", &format!("/api/admin/blocks/{unknown}"), "").await, 404, "not_found");
    let review = json!({ "by": "alice", "note": "seen" });
    is_well_formed(&operator.send("POST", &format!("/api/admin/reviews/{unknown}"), review).await, 404, "not_found");

    for (method, path, allow) in [
        ("PATCH", "/api/admin/enforcement", "GET,HEAD,POST"),
        ("OPTIONS", "/api/admin/enforcement", "GET,HEAD,POST"),
        ("GET", "/api/admin/policy/reload", "POST"),
        ("POST", "/api/admin/limits/x", "DELETE"),
        ("TRACE", "/api/admin/log-level", "GET,HEAD,PUT"),
    ] {
        let reply = operator.ask(method, path, "").await;
        let body = is_well_formed(&reply, 405, "method_not_allowed");
        assert_eq!(reply.header("allow"), Some(allow), "{method} {path}");
        assert_eq!(body["message"], format!("This address answers {}", allow.replace(',', ", ")));
    }
}

#[tokio::test]
async fn bodies_are_bounded_and_come_without_an_encoding() {
    let house = House::plan().policy("service.toml", "[body]\nmax = \"64KiB\"\n").open().await;
    let operator = Operator::of(&house);
    let of = |bytes: usize| format!(r#"{{"name":"x","reason":"{}"}}"#, "r".repeat(bytes));
    is_well_formed(&operator.ask("POST", "/api/admin/feature-flags", of(1 << 20)).await, 413, "body_too_large");
    is_well_formed(&operator.ask("POST", "/api/admin/feature-flags", of(1000)).await, 400, "invalid_request");
    // A question about a call may be as long as a call, and a little more.
    let question = |bytes: usize| json!({ "envelope": { "target": "brain", "payload": "p".repeat(bytes) } }).to_string();
    is_well_formed(&operator.ask("POST", "/api/admin/explain", question(129 << 10)).await, 413, "body_too_large");
    let explained = operator.ask("POST", "/api/admin/explain", question(100 << 10)).await.expect(200).json();
    assert_eq!(explained["code"], "unauthorized");
    let squeezed = Operator::of(&house).with("content-encoding", "gzip");
    is_well_formed(&squeezed.ask("POST", "/api/admin/feature-flags", "x").await, 415, "unsupported_encoding");
}

#[tokio::test]
async fn while_the_database_is_away_what_needs_it_says_so_and_the_rest_goes_on() {
    let server = Cluster::private();
    let house = House::plan().variable("DATABASE_URL", &server.database()).open().await;
    let operator = Operator::of(&house);
    server.stop();
    let id = "0192f0c1-2345-7abc-8def-0123456789ab";
    let table = [
        ("GET", "/api/admin/feature-flags".to_owned(), json!(null)),
        ("POST", "/api/admin/feature-flags".into(), json!({ "name": "target:brain" })),
        ("GET", "/api/admin/blocks".into(), json!(null)),
        ("POST", "/api/admin/blocks".into(), json!({ "subject": "203.0.113.7", "reason": "flood" })),
        ("DELETE", format!("/api/admin/blocks/{id}"), json!(null)),
        ("GET", "/api/admin/limits".into(), json!(null)),
        ("DELETE", "/api/admin/limits/gemini-chat".into(), json!(null)),
        ("GET", "/api/admin/audit".into(), json!(null)),
        ("GET", "/api/admin/calls".into(), json!(null)),
        ("GET", format!("/api/admin/calls/{id}"), json!(null)),
        ("GET", "/api/admin/auto-fixes".into(), json!(null)),
        ("GET", "/api/admin/bypasses".into(), json!(null)),
        ("POST", "/api/admin/bypasses".into(), json!({ "by": "alice", "target": "brain", "reason": "INC-1" })),
        ("POST", format!("/api/admin/reviews/{id}"), json!({ "by": "alice", "note": "seen" })),
    ];
    for (method, path, body) in table {
        let reply = operator.send(method, &path, body).await;
        let body = is_well_formed(&reply, 503, "database_away");
        assert!(reply.header("retry-after").is_some(), "{method} {path}");
        assert!(!body.to_string().contains("connect"), "{body}");
    }
    operator.send("POST", "/api/admin/enforcement", json!({ "mode": "off" })).await.expect(200);
    for path in ["/api/admin/enforcement", "/api/admin/policy", "/api/admin/policy/show", "/api/admin/log-level", "/api/admin/breakers"] {
        operator.get(path).await.expect(200);
    }
}
