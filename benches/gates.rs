//! What each gate and each step of a call costs by itself, in the order a call meets them. Nothing here waits for anything.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a benchmark that does not measure what it says stops")]

mod support;

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use divan::{AllocProfiler, Bencher, Divan, black_box};
use eliza_gatekeeper::call::{Count, Envelope, Head};
use eliza_gatekeeper::clock::{Clock, Timestamp};
use eliza_gatekeeper::gates::authenticate::{Authenticated, authenticate};
use eliza_gatekeeper::gates::authorize::authorize;
use eliza_gatekeeper::gates::rate_limit::{RateLimiter, Subject};
use eliza_gatekeeper::gates::sql_filter::sql_filter;
use eliza_gatekeeper::identity::{CallId, Caller, Endpoint, KeyId, Secret};
use eliza_gatekeeper::intake::{MEMORY_UNIT, read_body};
use eliza_gatekeeper::journal::{Journal, Limits, Syncing};
use eliza_gatekeeper::keys::{Key, KeyRing, Scope};
use eliza_gatekeeper::policy::Policy;
use eliza_gatekeeper::record::compose::compose;
use eliza_gatekeeper::record::{Ending, Notes, Recorder, Trail};
use eliza_gatekeeper::reply;
use eliza_gatekeeper::telemetry::metrics::Metrics;
use eliza_gatekeeper::upstream::headers::{Form, towards_known};
use eliza_gatekeeper::upstream::{Phrases, Towards, shape};
use eliza_gatekeeper::verdict::{AuthFault, Denial, Failure, LimitRule, LimitScope, Limited, Refusal, SqlFinding, Verdict};
use futures_util::{FutureExt, stream};
use http::Version;
use http_body::Frame;
use http_body_util::StreamBody;
use support::{KEY, LARGE, PEER, SMALL};
use tempfile::TempDir;
use tokio::sync::Semaphore;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

const NOON: Timestamp = Timestamp::from_secs(1_772_625_600);

fn main() {
    Divan::default().min_time(Duration::from_millis(300)).max_time(Duration::from_secs(1)).config_with_args().main();
}

#[divan::bench(name = "01 call id")]
fn call_id() -> CallId {
    CallId::new()
}

#[divan::bench(name = "02 parse head")]
fn parse_head(bencher: Bencher<'_, '_>) {
    let headers = support::headers(KEY, "agent", SMALL);
    let id = CallId::new();
    bencher.bench_local(|| Head::parse(black_box(&headers), Version::HTTP_11, id, NOON, PEER, None).unwrap());
}

#[divan::bench(name = "03 authenticate, keys", args = [1, 1000])]
fn authenticate_caller(bencher: Bencher<'_, '_>, keys: usize) {
    let (head, policy, keys) = (head(), support::policy(), ring(keys));
    bencher.bench_local(|| allowed(authenticate(black_box(&head), &policy, &keys, None)));
}

/// The source's total and the endpoint's limit, as one call is counted; `limits.rs` has more of it.
#[divan::bench(name = "04 limit")]
fn limit(bencher: Bencher<'_, '_>) {
    let policy = support::policy();
    let caller = caller(&policy);
    let clock = Clock::system();
    let limiter = RateLimiter::new(clock.clone());
    let envelope = envelope(SMALL);
    let (Caller::Source { name, .. }, Some(source)) = (caller.caller(), caller.source()) else { panic!() };
    let target = policy.targets.find("brain").unwrap();
    bencher.bench_local(|| {
        let subject = Subject::Source { name, policy: source };
        let ticket = allowed(limiter.limit_source(subject, &policy.limits, clock.now()));
        allowed(limiter.limit_endpoint(ticket, &Endpoint::of(&target.name, black_box(&envelope).action.as_ref())))
    });
}

#[divan::bench(name = "05 read body", args = [Sample::Small, Sample::Large])]
fn read(bencher: Bencher<'_, '_>, body: Sample) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let text = body.text();
    let headers = support::headers(KEY, "agent", text);
    let bounds = support::policy().body;
    let memory = Arc::new(Semaphore::new(1 << 16));
    let chunks = || {
        let frame = |chunk| Ok::<_, Infallible>(Frame::data(Bytes::from_static(chunk)));
        StreamBody::new(stream::iter(text.as_bytes().chunks(MEMORY_UNIT).map(frame)))
    };
    bencher.with_inputs(chunks).bench_local_values(|body| {
        let read = read_body(&headers, body, bounds.max_bytes, bounds.read_timeout, &memory);
        read.now_or_never().unwrap().unwrap().bytes
    });
}

#[divan::bench(name = "06 parse envelope", args = [Sample::Small, Sample::Large])]
fn parse_envelope(bencher: Bencher<'_, '_>, body: Sample) {
    let fields = support::policy().sql.fields;
    let bytes = Bytes::from_static(body.text().as_bytes());
    bencher.bench_local(|| Envelope::parse(black_box(&bytes).clone(), &fields).unwrap());
}

#[divan::bench(name = "07 find route, authorize")]
fn find_route_and_authorize(bencher: Bencher<'_, '_>) {
    let policy = support::policy();
    let caller = caller(&policy);
    let envelope = envelope(SMALL);
    bencher.bench_local(|| {
        let target = policy.targets.find(&black_box(&envelope).target).unwrap();
        allowed(authorize(&caller, target, shape::executed_action(target, &envelope)))
    });
}

#[divan::bench(name = "08 SQL filter", args = [Sql::None, Sql::Word, Sql::Statement, Sql::TenStatements])]
fn filter_sql(bencher: Bencher<'_, '_>, sql: Sql) {
    let policy = support::policy();
    let caller = caller(&policy);
    let envelope = sql.envelope();
    let target = &policy.targets.find("brain").unwrap().name;
    bencher.bench_local(|| allowed(sql_filter(caller.caller(), target, black_box(&envelope.sql), &policy.sql, NOON)));
}

#[divan::bench(name = "09 shape body", args = ["brain", "brain-action-data", "brain-envelope"])]
fn shape_body(bencher: Bencher<'_, '_>, target: &str) {
    let policy = support::policy();
    let target = policy.targets.find(target).unwrap();
    let envelope = envelope(SMALL);
    bencher.bench_local(|| shape::body(target, black_box(&envelope)));
}

#[divan::bench(name = "10 headers towards target")]
fn headers_towards_target(bencher: Bencher<'_, '_>) {
    let (policy, head, headers) = (support::policy(), head(), support::headers(KEY, "agent", SMALL));
    let target = policy.targets.find("brain").unwrap();
    let phrases = Phrases::showing(&target.credentials);
    bencher.bench_local(|| towards_known(black_box(&headers), &head, target, Towards::Injected, Form::Shaped, &phrases).unwrap());
}

#[divan::bench(name = "11 refusal", args = [401, 403, 404, 429])]
fn write_refusal(bencher: Bencher<'_, '_>, status: u16) {
    let (refusal, id) = (refusal(status), CallId::new());
    bencher.bench_local(|| reply::refusal(black_box(&refusal), id));
}

#[divan::bench(name = "12 compose record", args = [200, 401, 403, 404, 429])]
fn compose_record(bencher: Bencher<'_, '_>, status: u16) {
    let notes = notes();
    let ending = ending(status);
    let mut texts = String::new();
    bencher.bench_local(|| drop(black_box(compose(black_box(&notes), &ending, Duration::from_micros(1234), &mut texts))));
}

/// A trail opened and ended: its metrics, its record, and that record's way into the journal.
#[divan::bench(name = "13 trail, metrics and journal", args = [200, 401])]
fn trail(bencher: Bencher<'_, '_>, status: u16) {
    let directory = TempDir::new().unwrap();
    let (journal, _records) = Journal::open(directory.path(), Limits { bytes: 64 << 30 }, Syncing::Os, Clock::system()).unwrap();
    let recorder = Recorder::new(journal, Arc::new(Metrics::default()));
    let notes = Notes { ending: Some(ending(status)), ..notes() };
    bencher.with_inputs(|| notes.clone()).bench_local_values(|notes| drop(Trail::new(notes, recorder.clone())));
}

#[derive(Clone, Copy)]
enum Sample {
    Small,
    Large,
}

impl Sample {
    fn text(self) -> &'static str {
        match self {
            Self::Small => SMALL,
            Self::Large => LARGE,
        }
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Small => "500 B",
            Self::Large => "64 KB",
        })
    }
}

/// How much SQL a call carries. None of it is refused, so all of it is judged by every rule.
#[derive(Clone, Copy)]
enum Sql {
    None,
    Word,
    Statement,
    TenStatements,
}

impl Sql {
    fn envelope(self) -> Envelope {
        let statement = "SELECT m.id, m.note, count(*) AS uses FROM public.memories m JOIN agents a ON a.id = m.agent_id \
                         WHERE m.created_at > now() - interval '7 days' AND a.name = 'researcher' GROUP BY m.id, m.note ORDER BY uses";
        match self {
            Self::None => envelope(r#"{"target":"brain","action":"store_memory","payload":{"note":"no SQL in here"}}"#),
            Self::Word => envelope(SMALL),
            Self::Statement => envelope(&format!(r#"{{"target":"brain","payload":{{"sql":"{statement}"}}}}"#)),
            Self::TenStatements => envelope(&format!(r#"{{"target":"brain","payload":{{"sql":"{}"}}}}"#, [statement; 10].join("; "))),
        }
    }
}

impl fmt::Display for Sql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "no SQL",
            Self::Word => "one word",
            Self::Statement => "a 200 B statement",
            Self::TenStatements => "ten of them",
        })
    }
}

fn allowed<P>(verdict: Verdict<P>) -> P {
    match verdict {
        Verdict::Allow(proof) => proof,
        Verdict::Deny { denial, .. } => panic!("{denial:?}"),
    }
}

fn head() -> Head {
    Head::parse(&support::headers(KEY, "agent", SMALL), Version::HTTP_11, CallId::new(), NOON, PEER, None).unwrap()
}

fn ring(keys: usize) -> KeyRing {
    let others = (1..keys).map(|n| Secret::new(&format!("another-key-{n}")));
    let key = |secret: Secret| Arc::new(Key::new(KeyId::new("env:current"), secret.hash(), Scope::default()));
    KeyRing::new([Secret::new(KEY)].into_iter().chain(others).map(key))
}

fn caller(policy: &Policy) -> Authenticated {
    allowed(authenticate(&head(), policy, &ring(1), None))
}

fn envelope(text: &str) -> Envelope {
    Envelope::parse(Bytes::copy_from_slice(text.as_bytes()), &support::policy().sql.fields).unwrap()
}

fn refusal(status: u16) -> Refusal {
    match status {
        401 => Denial::Unauthorized(AuthFault::WrongKey).into(),
        403 => Denial::DangerousSql(Box::new(SqlFinding {
            rule: "delete-without-where".into(),
            pattern: r"/DELETE\s+FROM\s+\w+\s*;/i".into(),
            statement: "DELETE FROM memories".into(),
            pointer: "/payload/sql".into(),
            reason: "It deletes every row: say which rows in a WHERE.".into(),
            severity: "critical",
            kind: "drop",
            objects: Vec::new(),
            span: 0..0,
            fingerprint: String::new(),
            place: None,
        }))
        .into(),
        404 => Failure::UnknownTarget { name: "brian".into() }.into(),
        429 => Denial::Limited(Limited {
            scope: LimitScope::Source,
            rule: LimitRule::Window { limit: 100, window_secs: 60 },
            retry_after: Duration::from_secs(17),
            place: None,
        })
        .into(),
        other => panic!("nothing is refused with {other}"),
    }
}

fn ending(status: u16) -> Ending {
    match status {
        200 => Ending::Answered { status },
        _ => Ending::Refused(refusal(status)),
    }
}

/// What is known of a good call at its end.
fn notes() -> Notes {
    let policy = support::policy();
    let envelope = envelope(SMALL);
    Notes {
        caller: Some(caller(&policy).caller().clone()),
        trace: Some(head().trace),
        target: Some(policy.targets.find("brain").unwrap().name.clone()),
        action: envelope.action,
        counted: Some(Count { identifier: "agent".into(), endpoint: "brain:store_memory".into(), minute: NOON }),
        request_bytes: SMALL.len() as u64,
        response_bytes: 72,
        upstream: Some(Duration::from_micros(1000)),
        ..Notes::new(CallId::new(), NOON, PEER, "envelope")
    }
}
