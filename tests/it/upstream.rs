//! Towards the targets: a call is sent and its answer comes back unchanged and as it arrives; whatever goes wrong on the way has
//! one plain name, and how long it may take is bounded.

mod breaker;
mod connections;
mod headers;
mod settled;
mod shapes;

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use eliza_gatekeeper::call::{Head, Hop, Shown, TraceContext};
use eliza_gatekeeper::clock::{Clock, Timestamp};
use eliza_gatekeeper::identity::{CallId, Place, Secret, TargetName};
use eliza_gatekeeper::policy::{BodyShape, BreakerPolicy, Credentials, Inspect, Link, Target, Terms};
use eliza_gatekeeper::upstream::{Answer, AnswerBroken, Dial, Order, Outgoing, Towards, Upstream};
use eliza_gatekeeper::verdict::Failure;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use http_body_util::BodyExt;
use rustls::RootCertStore;
use rustls::pki_types::PrivateKeyDer;
use serde_json::json;

use crate::support::targets::{Conduct, Gate, SERVICE_KEY, SPEECH, Targets, within};

pub fn upstream() -> Upstream {
    Upstream::new(Dial::Network, Clock::system())
}

/// Patient, and with a breaker that stays out of the way: each test changes what it is about.
pub fn target(name: &str, url: Uri) -> Target {
    Target {
        name: TargetName::parse(name).unwrap(),
        sites: vec![url.into()],
        terms: Terms::default(),
        shape: BodyShape::Payload,
        inspect: Inspect::Required,
        defaults: serde_json::Map::new(),
        timeout: Duration::from_secs(8),
        idle_timeout: Duration::from_secs(8),
        credentials: Credentials::ServiceRole(Secret::new(SERVICE_KEY)),
        pass_authorization: false,
        callers: vec![],
        breaker: BreakerPolicy { failures: NonZeroU32::MAX, open_for: Duration::from_secs(30) },
        link: Link::default(),
        place: Place::new("targets.toml:1"),
    }
}

pub fn head() -> Head {
    Head {
        id: CallId::new(),
        at: Timestamp::from_secs(1_772_000_000),
        peer: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
        credentials: Shown::default(),
        certificate: None,
        trace: TraceContext { trace_id: 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c, span_id: 0x00f0_67aa_0ba9_02b7, flags: 1 },
        hops: 0,
        hop: Hop::default(),
    }
}

/// A call in the making.
pub struct Calling<'a> {
    target: &'a Target,
    head: Head,
    method: Method,
    rest: &'a str,
    headers: HeaderMap,
    body: Outgoing,
    towards: Towards,
}

pub fn call(target: &Target) -> Calling<'_> {
    let body = Outgoing::Shaped(Bytes::from_static(b"{}"));
    Calling { target, head: head(), method: Method::POST, rest: "", headers: HeaderMap::new(), body, towards: Towards::Injected }
}

impl<'a> Calling<'a> {
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
        self
    }

    pub fn saying(self, body: &serde_json::Value) -> Self {
        self.sending(body.to_string())
    }

    pub fn sending(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Outgoing::Shaped(body.into());
        self
    }

    pub fn directly(mut self, method: Method, rest: &'a str, body: &'static str) -> Self {
        (self.method, self.rest, self.body) = (method, rest, Outgoing::AsSent(Bytes::from_static(body.as_bytes())));
        self
    }

    fn towards(mut self, towards: Towards) -> Self {
        self.towards = towards;
        self
    }

    pub async fn through(self, upstream: &Upstream) -> Result<Answer, Failure> {
        within("an answer, or a failure", self.however_long(upstream)).await
    }

    /// For a test that holds the clock itself.
    pub async fn however_long(self, upstream: &Upstream) -> Result<Answer, Failure> {
        let Self { target, head, method, rest, headers, body, towards } = self;
        let (caller, action) = (Some("gemini-chat"), None);
        let order = Order { head: &head, target, method, rest, headers: &headers, body, towards, caller, action, timeout: target.timeout };
        upstream.forward(order).await
    }
}

pub async fn body(answer: Answer) -> Bytes {
    within("a whole body", answer.body.collect()).await.unwrap().to_bytes()
}

#[tokio::test]
async fn an_answer_comes_back_unchanged() {
    let asking = json!({"text": "hello", "big": 12_345_678_901_234_567_890_u64}).to_string();
    let long = "x".repeat(5_000_001);
    let (plain, page) = (Conduct::json(418, &json!({"a": 1})), Conduct::status(500, "text/html", "<h1>oh</h1>"));
    let table = [
        ("teapot", plain, 418, Some("application/json"), br#"{"a":1}"#.as_slice()),
        ("page", page, 500, Some("text/html"), b"<h1>oh</h1>"),
        ("nothing", Conduct::no_content(), 204, None, b""),
        ("gone", Conduct::redirect("http://elsewhere.example/"), 302, None, b""),
        ("long", Conduct::Large(long.len()), 200, Some("application/octet-stream"), long.as_bytes()),
        ("openai-tts", Conduct::Function, 200, Some("audio/mpeg"), &SPEECH),
        ("echoing", Conduct::Function, 200, Some("application/json"), asking.as_bytes()),
    ];
    let targets = Targets::like_the_platform().start().await;
    let upstream = upstream();
    for (name, conduct, status, content_type, expected) in table {
        targets.let_be(name, conduct);
        let target = target(name, targets.url(name));
        let answer = call(&target).sending(asking.clone()).through(&upstream).await.unwrap();
        assert_eq!(answer.status.as_u16(), status, "{name}");
        assert_eq!(answer.headers.get("content-type").map(|value| value.to_str().unwrap()), content_type, "{name}");
        assert_eq!(answer.headers.contains_key("location"), name == "gone", "{name}");
        assert!(body(answer).await == expected, "{name}: the body is another");
        targets.received_once(name);
    }
    let baker = Conduct::json(200, &json!({})).with("set-cookie", "a=1").with("set-cookie", "b=2");
    targets.let_be("baker", baker);
    let answer = call(&target("baker", targets.url("baker"))).through(&upstream).await.unwrap();
    assert_eq!(answer.headers.get_all("set-cookie").iter().collect::<Vec<_>>(), ["a=1", "b=2"]);
}

#[tokio::test]
async fn a_call_through_memory_is_a_call() {
    let targets = Targets::like_the_platform().start().await;
    let upstream = Upstream::new(Dial::Memory(targets.in_memory()), Clock::system());
    let target = target("echoing", "http://nowhere.invalid/functions/v1/echoing".parse().unwrap());
    let answer = call(&target).saying(&json!({"n": 1})).through(&upstream).await.unwrap();
    assert_eq!(body(answer).await, r#"{"n":1}"#);
    assert_eq!(targets.received_once("echoing").header("host"), Some("nowhere.invalid"));
}

#[tokio::test]
async fn the_direct_door_keeps_method_path_and_query() {
    let targets = Targets::like_the_platform().start().await;
    let target = target("files", targets.url("files"));
    let upstream = upstream();
    call(&target).directly(Method::PUT, "/a%20b/c?x=1&y=2", "text").header("content-type", "text/plain").through(&upstream).await.unwrap();
    let got = targets.received_once("files");
    assert_eq!((got.method, got.path.as_str(), got.query.as_deref()), (Method::PUT, "/functions/v1/files/a%20b/c", Some("x=1&y=2")));
    assert_eq!((got.headers["content-type"].to_str().unwrap(), got.body.as_ref()), ("text/plain", b"text".as_slice()));

    let out = call(&target).directly(Method::GET, "/../agent-manager", "").through(&upstream).await;
    assert_eq!(out.unwrap_err(), Failure::BadTarget { what: "it leads out of its target" });
    assert!(targets.received("agent-manager").is_empty());
}

#[tokio::test]
async fn every_loss_before_the_answer_has_its_name() {
    let name = || TargetName::parse("brain").unwrap();
    let reset = || Failure::TargetReset { target: name() };
    let nonsense = || Failure::TargetNonsense { target: name() };
    let table = [
        ("closed without a word", Conduct::close(), reset()),
        ("reset without a word", Conduct::reset(), reset()),
        ("closed within the head", Conduct::close_mid_head(), reset()),
        ("reset within the head", Conduct::reset_mid_head(), reset()),
        ("not HTTP", Conduct::garbage(), nonsense()),
        ("a head of a megabyte", Conduct::huge_head(), nonsense()),
        ("a thousand headers", Conduct::countless_headers(), nonsense()),
        ("two lengths", Conduct::raw("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab"), nonsense()),
        ("another protocol", Conduct::raw("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"), nonsense()),
    ];
    let targets = Targets::like_the_platform().start().await;
    let target = target("brain", targets.url("brain"));
    for (case, conduct, expected) in table {
        targets.let_be("brain", conduct);
        let before = targets.received("brain").len();
        let failure = call(&target).through(&upstream()).await.expect_err(case);
        assert_eq!(failure, expected, "{case}");
        assert_eq!(targets.received("brain").len() - before, 1, "{case}: a call that was read is not sent again");
    }
}

#[tokio::test]
async fn a_target_that_cannot_be_reached_says_so() {
    let targets = Targets::like_the_platform().start().await;
    let table = [
        ("a closed port", targets.refusing_url("brain")),
        ("a name that is none", "http://no-such-host.invalid/brain".parse().unwrap()),
        ("TLS towards a plain port", format!("https://{}/brain", targets.url("brain").authority().unwrap()).parse().unwrap()),
        ("a scheme that is none", "ftp://127.0.0.1/brain".parse().unwrap()),
    ];
    for (case, url) in table {
        let target = target("brain", url);
        let failure = call(&target).through(&upstream()).await.expect_err(case);
        assert_eq!(failure, Failure::Unreachable { target: target.name.clone() }, "{case}");
    }
    let mut nowhere = target("brain", targets.url("brain"));
    nowhere.sites.clear();
    let failure = call(&nowhere).through(&upstream()).await.unwrap_err();
    assert_eq!(failure, Failure::TargetNotConfigured { target: nowhere.name.clone() });
    let mut unfit = target("brain", targets.url("brain"));
    unfit.credentials = Credentials::Bearer(Secret::new("two\r\nlines: yes"));
    let failure = call(&unfit).through(&upstream()).await.unwrap_err();
    assert_eq!(failure, Failure::TargetNotConfigured { target: unfit.name.clone() });
    assert!(targets.received_in_all().is_empty());
}

#[tokio::test]
async fn a_certificate_must_be_trusted_and_name_the_target() {
    let certificate = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(certificate.signing_key.serialize_der()).unwrap();
    let chain = vec![certificate.cert.der().clone()];
    let tls = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    let targets = Targets::like_the_platform().over_tls(tls).start().await;
    let mut roots = RootCertStore::empty();
    roots.add(certificate.cert.der().clone()).unwrap();
    let trusting = Upstream::new(Dial::NetworkTrusting(Arc::new(roots)), Clock::system());

    let named = target("brain", targets.url("brain"));
    let answer = call(&named).saying(&json!({"n": 1})).through(&trusting).await.unwrap();
    assert_eq!(body(answer).await, r#"{"n":1}"#);

    let port = targets.url("brain").port_u16().unwrap();
    let misnamed = target("brain", format!("https://localhost:{port}/functions/v1/brain").parse().unwrap());
    for (case, target, upstream) in [("untrusted", &named, &upstream()), ("for another name", &misnamed, &trusting)] {
        let failure = call(target).through(upstream).await.expect_err(case);
        assert_eq!(failure, Failure::Unreachable { target: target.name.clone() }, "{case}");
    }
    targets.received_once("brain");
}

#[tokio::test]
async fn a_target_that_keeps_its_answer_is_waited_for_so_long_and_no_longer() {
    let gate = Gate::shut();
    let targets = Targets::like_the_platform().but("brain", Conduct::Hang(gate.clone())).start().await;
    let mut target = target("brain", targets.url("brain"));
    target.timeout = Duration::from_millis(50);
    let failure = call(&target).through(&upstream()).await.unwrap_err();
    assert_eq!(failure, Failure::TargetTooSlow { target: target.name.clone() });
    targets.received_once("brain");

    gate.open();
    target.timeout = Duration::from_secs(8);
    let answer = call(&target).through(&upstream()).await.unwrap();
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn an_answer_is_passed_on_while_it_is_still_being_made() {
    let gate = Gate::shut();
    let drip = Conduct::Drip { gate: gate.clone(), content_type: "text/event-stream", pieces: vec!["data: 1\n\n", "data: 2\n\n"] };
    let targets = Targets::like_the_platform().but("gemini-chat", drip).start().await;
    let target = target("gemini-chat", targets.url("gemini-chat"));
    let mut answer = call(&target).through(&upstream()).await.unwrap();
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    for piece in ["data: 1\n\n", "data: 2\n\n"] {
        gate.let_one();
        let frame = within(piece, answer.body.frame()).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), piece);
    }
    assert!(within("the end", answer.body.frame()).await.is_none());
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_an_error_and_never_an_end() {
    let gate = Gate::shut();
    gate.open();
    let drip = Conduct::Drip { gate: Gate::shut(), content_type: "text/plain", pieces: vec!["never"] };
    let table = [
        ("closed", Conduct::close_mid_body(), AnswerBroken::Reset),
        ("reset", Conduct::reset_mid_body(&gate), AnswerBroken::Reset),
        ("a chunk that is none", Conduct::broken_chunk(), AnswerBroken::Reset),
        ("still", drip, AnswerBroken::Idle),
    ];
    let targets = Targets::like_the_platform().start().await;
    let mut target = target("brain", targets.url("brain"));
    target.idle_timeout = Duration::from_millis(50);
    for (case, conduct, expected) in table {
        targets.let_be("brain", conduct);
        let mut answer = call(&target).through(&upstream()).await.unwrap_or_else(|failure| panic!("{case}: {failure:?}"));
        let mut seen = Vec::new();
        let why = loop {
            match within(case, answer.body.frame()).await.unwrap_or_else(|| panic!("{case}: ended as if it were whole")) {
                Ok(frame) => seen.extend_from_slice(&frame.into_data().unwrap()),
                Err(why) => break why,
            }
        };
        assert_eq!(why, expected, "{case}");
        assert!(b"half.".starts_with(&seen), "{case}: {seen:?}");
        assert!(within(case, answer.body.frame()).await.is_none(), "{case}: nothing follows an error");
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_reads_slowly_does_not_break_its_own_answer() {
    let gate = Gate::shut();
    let drip = Conduct::Drip { gate: gate.clone(), content_type: "text/plain", pieces: vec!["one", "two"] };
    let targets = Targets::like_the_platform().but("brain", drip).start().await;
    let upstream = Upstream::new(Dial::Memory(targets.in_memory()), Clock::system());
    let target = target("brain", targets.url("brain"));
    let mut answer = call(&target).through(&upstream).await.unwrap();
    for piece in ["one", "two"] {
        // The body is asked first, and so the clock is set against it, before the piece is let go.
        let (frame, ()) = tokio::join!(answer.body.frame(), async { gate.let_one() });
        assert_eq!(frame.unwrap().unwrap().into_data().unwrap(), piece);
        tokio::time::advance(target.idle_timeout * 10).await;
    }
    assert!(answer.body.frame().await.is_none());
}

/// Time stands still here until every task waits, so a pause of any length is long enough for the loss to be noticed.
#[tokio::test(start_paused = true)]
async fn a_connection_that_died_while_idle_costs_no_call() {
    let targets = Targets::like_the_platform().start().await;
    let target = target("brain", targets.url("brain"));
    let upstream = Upstream::new(Dial::Memory(targets.in_memory()), Clock::system());
    for closes_unannounced in [true, true, false, true, false] {
        if closes_unannounced {
            targets.let_be("brain", Conduct::raw("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"));
        } else {
            targets.mend("brain");
        }
        let answer = call(&target).through(&upstream).await.unwrap();
        assert_eq!(body(answer).await, "{}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(targets.received("brain").len(), 5);
}
