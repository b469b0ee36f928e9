//! What every answer of a listener carries, whatever it answers: an id to find it by, the CORS headers of the original (on the data
//! listener, and only there), the caller's trace; and that probes cost nothing.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use eliza_gatekeeper::clock::{ManualClock, Timestamp};
use eliza_gatekeeper::identity::CallId;
use http::Method;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::json;
use uuid::Uuid;

use crate::support::house::{ADMIN_TOKEN, Call, House, KEY, Plan, Reply, SERVICE_KEY, eventually, midnight};
use crate::support::line::Line;
use crate::support::targets::{Conduct, Targets};

const ALLOWED: &str = "authorization, x-client-info, apikey, content-type, x-eliza-key, x-eliza-source, \
                       x-region, x-request-id, traceparent, idempotency-key";
const PROBES: [&str; 6] = ["/livez", "/readyz", "/healthz", "/health", "/api/health", "/api/monitoring/health"];

fn chat(house: &House) -> Call<'_> {
    house.call("lovable-chat").to("openai-chat").payload(json!({"messages": [{"role": "user", "content": "hi"}]}))
}

async fn ask(house: &House, method: Method, path: &str, headers: &[(&str, &str)]) -> Reply {
    let headers: Vec<_> = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    house.request(house.data, method, path, &headers, Bytes::new()).await
}

/// A house whose database has been found well, as its health pages say.
async fn healthy(plan: Plan) -> House {
    let house = plan.open().await;
    eventually("it is healthy", || async { house.get("/health").await.status == 200 }).await;
    house
}

/// Ours, once each, and nothing a target may have said.
fn has_cors(name: &str, reply: &Reply) {
    let mut said: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (header, value) in &reply.headers {
        if header.as_str().starts_with("access-control-") {
            said.entry(header.as_str()).or_default().push(value.to_str().unwrap());
        }
    }
    let expected = [
        ("access-control-allow-headers", vec![ALLOWED]),
        ("access-control-allow-methods", vec!["GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS"]),
        ("access-control-allow-origin", vec!["*"]),
    ];
    assert_eq!(said, BTreeMap::from(expected), "{name}");
}

fn has_no_cors(name: &str, reply: &Reply) {
    assert!(!reply.headers.keys().any(|header| header.as_str().starts_with("access-control-")), "{name}: {:?}", reply.headers);
}

#[tokio::test]
async fn options_is_answered_anywhere_and_to_anyone() {
    let house = House::open().await;
    let preflight = [
        ("origin", "https://app.example"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "x-eliza-key,content-type"),
    ];
    let paths = ["/", "/functions/v1/eliza-gatekeeper", "/functions/v1/agent-manager/x", "/nowhere", "/metrics", "/api/admin/breakers"];
    for path in paths.iter().chain(&PROBES) {
        for headers in [&preflight[..], &[]] {
            let reply = ask(&house, Method::OPTIONS, path, headers).await;
            assert_eq!((reply.status, reply.body.len()), (200, 0), "{path}");
            has_cors(path, &reply);
        }
    }
    let reply = Line::to(house.data).await.say("OPTIONS * HTTP/1.1\r\nhost: h\r\n\r\n").await.reply().await;
    assert_eq!((reply.status, reply.body.len()), (200, 0));
    has_cors("*", &reply);
    assert!(house.records().await.is_empty());
}

#[tokio::test]
async fn every_answer_of_the_data_listener_and_none_of_the_ops_listener_carries_cors_headers() {
    let own = Conduct::json(200, &json!({"a": 1}))
        .with("access-control-allow-origin", "https://elsewhere.example")
        .with("access-control-allow-credentials", "true")
        .with("access-control-max-age", "86400");
    let targets = Targets::like_the_platform().but("get-embedding", own).but("render-api", Conduct::html_500());
    let house = healthy(House::plan().targets(targets)).await;
    let mut answers = vec![
        ("answer", chat(&house).send().await.expect(200)),
        ("answer with CORS of its own", house.call("gemini-chat").to("get-embedding").send().await.expect(200)),
        ("target's error", house.call("gemini-chat").to("openai-chat").send().await.expect(400)),
        ("wrapped error", house.call("gemini-chat").to("render-api").send().await.expect(500)),
        ("stranger", house.nameless_call().to("openai-chat").send().await.expect(401)),
        ("unknown target", house.call("gemini-chat").to("nobody").send().await.expect(404)),
        ("wrong method", chat(&house).method(Method::GET).send().await.expect(405)),
        ("nowhere", house.get("/nowhere").await.expect(404)),
    ];
    for path in PROBES {
        answers.push((path, house.get(path).await.expect(200)));
    }
    for (name, reply) in &answers {
        has_cors(name, reply);
    }

    let bearer = format!("Bearer {ADMIN_TOKEN}");
    let origin = ("origin", "https://app.example");
    for path in PROBES.iter().chain(&["/metrics", "/nowhere", "/api/admin/breakers"]) {
        has_no_cors(path, &house.get_ops(path, &[origin]).await);
        has_no_cors(path, &house.get_ops(path, &[origin, ("authorization", &bearer)]).await);
        let preflight = [("origin".to_owned(), "https://app.example".to_owned())];
        has_no_cors(path, &house.request(house.ops, Method::OPTIONS, path, &preflight, Bytes::new()).await);
    }
}

#[tokio::test]
async fn on_one_port_each_listeners_routes_stay_what_they_are() {
    // Of all processes, only this one has this address.
    let [_, a, b, c] = std::process::id().to_be_bytes();
    let address = format!("127.{}.{b}.{c}:8080", a.max(1));
    let house = House::plan().variable("GATEKEEPER_LISTEN", &address).variable("GATEKEEPER_OPS_LISTEN", &address).open().await;
    assert_eq!(house.data, house.ops);
    has_cors("call", &chat(&house).send().await.expect(200));
    has_cors("probe", &house.get("/livez").await.expect(200));
    has_no_cors("metrics", &house.get("/metrics").await.expect(200));
    has_no_cors("admin", &house.get("/api/admin/breakers").await.expect(401));
}

#[tokio::test]
async fn policy_may_name_the_web_pages_that_may_call() {
    let house = House::plan().policy("service.toml", "[cors]\norigins = [\"https://app.example\"]").open().await;
    for (origin, expected) in [
        ("https://app.example", Some("https://app.example")),
        ("https://app.example.evil.example", None),
        ("http://app.example", None),
        ("null", None),
    ] {
        for reply in [chat(&house).header("origin", origin).send().await, ask(&house, Method::OPTIONS, "/", &[("origin", origin)]).await] {
            assert_eq!(reply.header("access-control-allow-origin"), expected, "{origin}");
            assert_eq!(reply.header("vary"), Some("origin"), "{origin}");
        }
    }
}

/// G36.
#[tokio::test]
async fn ten_thousand_probes_leave_no_trace() {
    let house = healthy(House::plan()).await;
    let probe = async |part: usize| {
        for n in 0..1_250 {
            let path = PROBES[(part + n) % PROBES.len()];
            assert_eq!(house.get(path).await.status, 200, "{path}");
        }
    };
    futures_util::future::join_all((0..8).map(probe)).await;
    assert!(house.records().await.is_empty());
    assert!(house.store.limit_rows(None, Timestamp::default(), 10).await.unwrap().is_empty());
    let metrics = String::from_utf8(house.get_ops("/metrics", &[]).await.body.to_vec()).unwrap();
    assert!(!metrics.contains("gatekeeper_calls_total{"), "{metrics}");
    assert_eq!(chat(&house).send().await.status, 200);
}

#[tokio::test]
async fn the_plainest_prober_gets_its_answer() {
    let house = healthy(House::plan()).await;
    for path in PROBES {
        for says in
            [format!("GET {path} HTTP/1.0\r\n\r\n"), format!("GET {path} HTTP/1.1\r\n\r\n"), format!("GET {path}?x HTTP/1.0\r\n\r\n")]
        {
            assert_eq!(Line::to(house.data).await.say(&says).await.reply().await.status, 200, "{says}");
        }
        let head = ask(&house, Method::HEAD, path, &[]).await;
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
        // Credentials, even wrong and repeated ones, are nothing to a probe.
        assert_eq!(ask(&house, Method::GET, path, &[("x-eliza-key", "wrong"), ("x-eliza-key", "more")]).await.status, 200, "{path}");
    }
}

/// Only HTTP/1.1 demands `Host`; HTTP/2 says `:authority` instead.
#[tokio::test]
async fn calls_come_by_any_version_of_http() {
    let house = House::open().await;
    let body = r#"{"target":"get-embedding","payload":{"text":"hi"}}"#;
    let credentials = [("x-eliza-key", KEY), ("x-eliza-source", "gemini-chat")];

    let lines: String = credentials.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let old = format!("POST / HTTP/1.0\r\n{lines}content-length: {}\r\n\r\n{body}", body.len());
    let reply = Line::to(house.data).await.say(old).await.reply().await;
    assert_eq!((reply.status, reply.json()), (200, json!({"text": "hi"})));

    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<Full<Bytes>>();
    let request =
        credentials.iter().fold(http::Request::post(format!("http://{}/", house.data)), |r, (name, value)| r.header(*name, *value));
    let reply = client.request(request.body(Full::from(body)).unwrap()).await.unwrap();
    assert_eq!((reply.version(), reply.status().as_u16()), (http::Version::HTTP_2, 200));
}

#[tokio::test]
async fn every_answer_has_an_id_of_its_own() {
    let house = House::open().await;
    let mut ids = HashSet::new();
    let mut replies = vec![
        chat(&house).send().await,
        chat(&house).header("x-call-id", "chosen-by-the-caller").send().await,
        house.nameless_call().to("openai-chat").send().await,
        house.call("gemini-chat").to("nobody").send().await,
        house.get("/nowhere").await,
        ask(&house, Method::OPTIONS, "/", &[]).await,
        house.get_ops("/metrics", &[]).await,
        house.get_ops("/nowhere", &[]).await,
    ];
    for path in PROBES {
        replies.push(house.get(path).await);
        replies.push(house.get_ops(path, &[]).await);
    }
    for reply in &replies {
        assert_eq!(reply.headers.get_all("x-call-id").iter().count(), 1);
        assert!(ids.insert(reply.call_id().parse::<Uuid>().map(CallId).unwrap()), "{} twice", reply.call_id());
    }
    let received: Vec<_> = house.targets.received("openai-chat").iter().map(|call| call.header("x-call-id").unwrap().to_owned()).collect();
    assert_eq!(received, [replies[0].call_id(), replies[1].call_id()]);
}

#[tokio::test]
async fn a_trace_goes_on_and_a_missing_one_begins() {
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";
    let house = House::open().await;
    let good = format!("00-{TRACE}-{SPAN}-01");
    let (upper, zero) = (good.to_uppercase(), good.replace(TRACE, &"0".repeat(32)));
    let table = [(Some(&*good), true), (None, false), (Some("nonsense"), false), (Some(&*upper), false), (Some(&*zero), false)];
    let mut fresh = HashSet::new();
    for (sent, goes_on) in table {
        let mut call = chat(&house);
        if let Some(sent) = sent {
            call = call.header("traceparent", sent);
        }
        let reply = call.send().await.expect(200);
        let received = house.targets.received("openai-chat").pop().unwrap();
        let parts: Vec<&str> = received.header("traceparent").unwrap().split('-').collect();
        let [version, trace, span, flags] = parts[..] else { panic!("{parts:?}") };
        assert_eq!((version, flags, trace.len(), span.len()), ("00", "01", 32, 16), "{sent:?}");
        assert_ne!(span, SPAN, "{sent:?}");
        assert_eq!(trace == TRACE, goes_on, "{sent:?}");
        assert!(trace != "0".repeat(32) && fresh.insert(trace.to_owned()), "{sent:?}");
        assert_eq!(house.record_of(&reply).await.metadata["trace_id"], trace, "{sent:?}");
    }
}

#[tokio::test]
async fn a_good_answer_says_where_its_caller_stands() {
    let clock = ManualClock::at(midnight().plus(std::time::Duration::from_secs(15)));
    let house = House::plan().at(&clock).open().await;
    let manager = |action: &'static str| house.call("gemini-chat").to("agent-manager").action(action).payload(json!({})).send();
    for (action, source_left, endpoint_left) in
        [("list_agents", 499, 499), ("list_agents", 498, 498), ("cleanup_duplicate_agents", 497, 499)]
    {
        let reply = manager(action).await.expect(200);
        let told = |name: &str| reply.header(name).unwrap().to_owned();
        assert_eq!(told("ratelimit"), format!("\"source\";r={source_left};t=45, \"endpoint\";r={endpoint_left};t=45"));
        assert_eq!(told("ratelimit-policy"), "\"source\";q=500;w=60, \"endpoint\";q=500;w=60");
        let plain = ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"].map(told);
        assert_eq!(plain, ["500".to_owned(), source_left.to_string(), "45".to_owned()]);
    }
    let unlimited =
        house.nameless_call().header("authorization", &format!("Bearer {SERVICE_KEY}")).to("render-api").send().await.expect(200);
    assert!(!unlimited.headers.keys().any(|name| name.as_str().contains("ratelimit")), "{:?}", unlimited.headers);
}
