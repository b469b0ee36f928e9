//! A target learns what the caller asks and that it is us who ask; it never learns what let the caller in. A caller gets the target's
//! own headers, and ours only from us.

use eliza_gatekeeper::identity::Secret;
use eliza_gatekeeper::policy::{Credentials, Target};
use eliza_gatekeeper::upstream::Towards;
use http::Method;
use proptest::prelude::*;

use super::{call, upstream};
use crate::support::targets::{Conduct, Received, SERVICE_KEY, Targets};

/// Everything a caller may show to be let in, each recognisable by its value.
const SHOWN: [(&str, &str); 6] = [
    ("authorization", "Bearer callers-own-token"),
    ("apikey", "callers-own-apikey"),
    ("x-eliza-key", "the-eliza-key"),
    ("x-eliza-source", "gemini-chat"),
    ("x-eliza-note", "a-note"),
    ("x-eliza-hops", "77"),
];

async fn received(change: impl FnOnce(&mut Target), headers: &[(&str, &str)], towards: Towards) -> Received {
    let targets = Targets::like_the_platform().start().await;
    let mut target = super::target("brain", targets.url("brain"));
    change(&mut target);
    let mut calling = call(&target).towards(towards);
    for (name, value) in headers {
        calling = calling.header(name, value);
    }
    calling.through(&upstream()).await.unwrap();
    targets.received_once("brain")
}

#[tokio::test]
async fn whose_credentials_a_target_sees() {
    let bearer = format!("Bearer {SERVICE_KEY}");
    let service = || Credentials::ServiceRole(Secret::new(SERVICE_KEY));
    let own = Some("Bearer callers-own-token");
    // credentials of policy, passing on, on whose behalf → Authorization, apikey, x-eliza-source
    let table = [
        (service(), false, Towards::Injected, Some(bearer.as_str()), Some(SERVICE_KEY), None),
        (Credentials::Bearer(Secret::new("t0ken")), false, Towards::Injected, Some("Bearer t0ken"), None, None),
        (Credentials::None, false, Towards::Injected, None, None, None),
        (Credentials::None, true, Towards::Injected, own, Some("callers-own-apikey"), Some("gemini-chat")),
        (service(), true, Towards::Injected, own, Some("callers-own-apikey"), Some("gemini-chat")),
        (service(), false, Towards::InjectedAlone, Some(bearer.as_str()), Some(SERVICE_KEY), None),
        (service(), true, Towards::InjectedAlone, None, None, None),
        (service(), false, Towards::OwnAuthorizationOnly, own, None, None),
        (service(), true, Towards::OwnAuthorizationOnly, own, None, None),
        (Credentials::None, false, Towards::OwnAuthorizationOnly, own, None, None),
    ];
    for (credentials, pass, towards, authorization, apikey, source) in table {
        let case = format!("{credentials:?}, pass: {pass}, {towards:?}");
        let with = |target: &mut Target| (target.credentials, target.pass_authorization) = (credentials, pass);
        let got = received(with, &SHOWN, towards).await;
        assert_eq!(got.header("authorization"), authorization, "{case}");
        assert_eq!(got.header("apikey"), apikey, "{case}");
        assert_eq!(got.header("x-eliza-source"), source, "{case}");
        assert_eq!(got.header("x-eliza-note"), source.map(|_| "a-note"), "{case}");
        assert_eq!(got.header("x-eliza-key"), None, "{case}: the key goes nowhere");
        assert_eq!(got.header("x-eliza-hops"), Some("1"), "{case}: hops are ours to count");
    }
}

#[tokio::test]
async fn what_a_target_is_told_of_the_call() {
    let targets = Targets::like_the_platform().start().await;
    let target = super::target("brain", targets.url("brain"));
    let mut calling = call(&target)
        .header("traceparent", "00-11111111111111111111111111111111-2222222222222222-00")
        .header("x-call-id", "not-yours-to-say")
        .header("x-forwarded-for", "10.0.0.1, 10.0.0.2")
        .header("content-type", "text/plain")
        .header("accept-encoding", "gzip");
    calling.head.hops = 3;
    let id = calling.head.id.to_string();
    calling.through(&upstream()).await.unwrap();
    let got = targets.received_once("brain");
    let table = [
        ("x-call-id", id.as_str()),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"),
        ("x-forwarded-for", "192.0.2.7"),
        ("x-eliza-hops", "4"),
        ("content-type", "application/json"),
        ("accept-encoding", "identity"),
        ("content-length", "2"),
        ("host", targets.url("brain").authority().unwrap().as_str()),
    ]
    .map(|(name, value)| (name, value.to_owned()));
    for (name, value) in table {
        assert_eq!(got.header(name), Some(value.as_str()), "{name}");
    }
}

#[tokio::test]
async fn what_passes_and_what_stops() {
    let passing = [
        ("accept", "text/event-stream"),
        ("accept-encoding", "gzip, br"),
        ("content-type", "application/x-ndjson"),
        ("cookie", "session=1"),
        ("idempotency-key", "k-1"),
        ("if-none-match", "\"e\""),
        ("prefer", "return=minimal"),
        ("range", "bytes=0-1"),
        ("user-agent", "supabase-js"),
        ("x-client-info", "supabase-js/2"),
        ("x-region", "eu"),
        ("x-request-id", "r-1"),
    ];
    let stopping = [
        ("connection", "x-secret-of-this-hop, close, Authorization, te"),
        ("x-secret-of-this-hop", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-authorization", "Basic c2VjcmV0"),
        ("proxy-connection", "keep-alive"),
        ("te", "gzip, trailers;q=1"),
        ("trailer", "x-after"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("http2-settings", "AAMAAABk"),
        ("content-encoding", "gzip"),
        ("content-length", "999"),
        ("expect", "100-continue"),
        ("forwarded", "for=10.0.0.1"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "https"),
        ("x-real-ip", "10.0.0.1"),
        ("x_eliza_key", "smuggled"),
        ("x_request_id", "smuggled"),
    ];
    let targets = Targets::like_the_platform().start().await;
    let target = super::target("brain", targets.url("brain"));
    let mut calling = call(&target).directly(Method::POST, "", "body");
    for (name, value) in passing.iter().chain(&stopping) {
        calling = calling.header(name, value);
    }
    calling.through(&upstream()).await.unwrap();
    let got = targets.received_once("brain");
    for (name, value) in passing {
        assert_eq!(got.header(name), Some(value), "{name} passes");
    }
    for (name, value) in stopping {
        assert_ne!(got.header(name), Some(value), "{name} stops here");
    }
    assert_eq!((got.header("te"), got.header("connection")), (Some("trailers"), Some("te")), "only whether trailers are read is said anew");
    assert_eq!(got.header("authorization"), Some(format!("Bearer {SERVICE_KEY}").as_str()), "naming it takes nothing of ours away");
    assert_eq!(got.body, "body");
}

#[tokio::test]
async fn what_a_tracer_noted_travels_with_its_own_trace_alone() {
    let targets = Targets::like_the_platform().start().await;
    let target = super::target("brain", targets.url("brain"));
    let ours = "00-0af7651916cd43dd8448eb211c80319c-1111111111111111-01";
    for (traceparent, passes) in
        [(Some(ours), true), (Some("00-22222222222222222222222222222222-1111111111111111-01"), false), (None, false)]
    {
        let mut calling = call(&target).directly(Method::POST, "", "body").header("tracestate", "vendor=1");
        if let Some(traceparent) = traceparent {
            calling = calling.header("traceparent", traceparent);
        }
        calling.through(&upstream()).await.unwrap();
        let got = targets.received("brain").pop().unwrap();
        assert_eq!(got.header("tracestate").is_some(), passes, "{traceparent:?}");
    }
}

#[tokio::test]
async fn an_answer_loses_what_is_ours_to_say_and_nothing_else() {
    let stopping = [
        ("access-control-allow-origin", "https://theirs.example"),
        ("access-control-allow-headers", "theirs"),
        ("x-call-id", "theirs"),
        ("x-eliza-anything", "theirs"),
        ("connection", "x-of-this-hop"),
        ("x-of-this-hop", "theirs"),
        ("keep-alive", "timeout=5"),
        ("proxy-authenticate", "Basic"),
        ("trailer", "x-after"),
    ];
    let passing = [
        ("content-encoding", "br"),
        ("etag", "\"e\""),
        ("retry-after", "7"),
        ("server", "theirs"),
        ("vary", "origin"),
        ("www-authenticate", "Bearer"),
    ];
    let mut conduct = Conduct::status(200, "application/json", "{}");
    for (name, value) in stopping.into_iter().chain(passing) {
        conduct = conduct.with(name, value);
    }
    let targets = Targets::like_the_platform().but("brain", conduct).start().await;
    let target = super::target("brain", targets.url("brain"));
    let answer = call(&target).through(&upstream()).await.unwrap();
    for (name, _) in stopping {
        assert_eq!(answer.headers.get(name), None, "{name} stops here");
    }
    for (name, value) in passing {
        assert_eq!(answer.headers[name], value, "{name} passes");
    }
    assert_eq!(
        (&answer.headers["content-length"], &answer.headers["via"]),
        (&"2".parse().unwrap(), &"1.1 eliza-gatekeeper".parse().unwrap())
    );
}

#[tokio::test]
async fn a_length_beside_chunks_is_not_believed() {
    let smuggling = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n5\r\nwhole\r\n0\r\n\r\n";
    let targets = Targets::like_the_platform().but("brain", Conduct::raw(smuggling)).start().await;
    let target = super::target("brain", targets.url("brain"));
    let answer = call(&target).through(&upstream()).await.unwrap();
    assert_eq!((answer.headers.get("content-length"), answer.headers.get("transfer-encoding")), (None, None));
    assert_eq!(super::body(answer).await, "whole");
}

proptest! {
    /// However a caller arranges its headers, a target sees none of the credentials, and each word of ours exactly once.
    #[test]
    fn nothing_a_caller_sends_gets_its_credentials_through(
        order in Just(SHOWN.to_vec()).prop_shuffle(),
        repeats in 1..4_usize,
        connection in proptest::sample::subsequence(vec!["x-call-id", "traceparent", "authorization", "apikey", "x-eliza-hops"], 0..=5),
    ) {
        use eliza_gatekeeper::upstream::headers::{Form, towards_target};
        let target = super::target("brain", "http://brain.example/".parse().unwrap());
        let mut caller = http::HeaderMap::new();
        for (name, value) in order.iter().cycle().take(order.len() * repeats) {
            caller.append(*name, value.parse().unwrap());
        }
        caller.append("connection", connection.join(",").parse().unwrap());
        let out = towards_target(&caller, &super::head(), &target, Towards::Injected, Form::AsSent).unwrap();
        for (name, value) in SHOWN {
            prop_assert!(out.values().all(|sent| sent != value), "{name} went through");
        }
        for ours in ["authorization", "apikey", "x-call-id", "traceparent", "x-eliza-hops", "x-forwarded-for"] {
            prop_assert_eq!(out.get_all(ours).iter().count(), 1, "{}", ours);
        }
        prop_assert!(!format!("{out:?}").contains(SERVICE_KEY), "credentials do not print");
    }
}
