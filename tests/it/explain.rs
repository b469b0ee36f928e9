//! What `explain` says would become of a call is what becomes of it: status, code, words and every gate, over ten thousand calls of all
//! kinds. And asking costs nobody anything: nothing is counted, kept or sent.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use eliza_gatekeeper::blocklist::{Block, Blocklist, Subject};
use eliza_gatekeeper::clock::{ManualClock, Timestamp};
use eliza_gatekeeper::enforcement::{Enforcement, GateMode, Ruling};
use eliza_gatekeeper::gates::authenticate::Assumed;
use eliza_gatekeeper::identity::{KeyId, Place, Secret};
use eliza_gatekeeper::pipeline::{Asked as Call, Decision, Explanation, Question};
use eliza_gatekeeper::store::{CallQuery, StoredKey};
use eliza_gatekeeper::switches::{Flag, Switches};
use eliza_gatekeeper::verdict::GateName;
use http::Method;
use serde_json::{Value, json};

use crate::support::house::{House, KEY, Reply, SERVICE_KEY};
use crate::support::targets::{Conduct, Targets};

const CALLS: usize = 10_000;

const POLICY: &str = r#"
[[source]]
names = ["hasty"]
total = ["30/1m", "400/1h"]
total_burst = "2 then 1/s"

[[source]]
names = ["crowd-*"]
together = true
total = ["20/1m"]

[[source]]
names = ["banned"]

[[override]]
source = "gemini-chat"
endpoint = "agent-manager:*"
limit = ["4/1m"]
burst = "3 then 1/s"

[[target]]
names = ["brain"]
callers = ["gemini-chat", "hasty"]

[[target]]
names = ["nowhere"]
url = "${NOT_SET_ANYWHERE}/x"

[[target]]
names = ["shaky"]
breaker = { failures = 3, open = "20s" }
"#;

/// The same numbers in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.roll().is_multiple_of(n)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[(self.roll() % from.len() as u64) as usize]
    }
}

/// A call, as it is sent and as it is asked about.
struct Asked {
    headers: Vec<(String, String)>,
    question: Question,
}

fn a_call(dice: &mut Dice) -> Asked {
    let sources = ["gemini-chat", "gemini-chat", "hasty", "crowd-a", "crowd-b", "autonomous-code-fixer", "banned", "nobody-listed", "a b"];
    let source = (!dice.one_in(40)).then(|| dice.pick(&sources));
    let (assumed, header) = match dice.roll() % 20 {
        0 => (Assumed::Nothing, None),
        1 => (Assumed::ServiceRole, Some(("authorization", format!("Bearer {SERVICE_KEY}")))),
        2 => (Assumed::Key(KeyId::new("no-such-key")), Some(("x-eliza-key", "nobody's key".to_owned()))),
        3..=5 => (Assumed::Key(KeyId::new("scoped")), Some(("x-eliza-key", "scoped key".to_owned()))),
        6 => (Assumed::Key(KeyId::new("revoked")), Some(("x-eliza-key", "revoked key".to_owned()))),
        _ => (Assumed::Key(KeyId::new("env:current")), Some(("x-eliza-key", KEY.to_owned()))),
    };
    let mut headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    headers.extend(header.map(|(name, value)| (name.to_owned(), value)));
    headers.extend(source.map(|source| ("x-eliza-source".to_owned(), source.to_owned())));
    let call = if dice.one_in(4) { a_direct_call(dice) } else { Call::Envelope(a_body(dice)) };
    let question = Question { source: source.map(Arc::from), assumed, certificate: None, peer: [127, 0, 0, 1].into(), call };
    Asked { headers, question }
}

fn a_direct_call(dice: &mut Dice) -> Call {
    let targets = ["get-embedding", "agent-manager", "brain", "nowhere", "shaky", "no-such-target", "openai-chat", "..", "", "brain%2fx"];
    let rests = ["", "", "/a/b?x=1", "?sql=DROP+TABLE+users", "?sql=select+1&sql=from+t", "/../x", "?action=think"];
    let bodies = [
        "",
        "",
        "no JSON",
        "{\"sql\":\"TRUNCATE t\"}",
        "{\"action\":\"list_agents\"}",
        "{\"a\":1,\"a\":2}",
        "{\"operation\":\"ALTER TABLE a ADD b int\"}",
    ];
    Call::Direct {
        method: dice.pick(&[&Method::POST, &Method::PUT, &Method::PATCH]).clone(),
        address: format!("/functions/v1/{}{}", dice.pick(&targets), dice.pick(&rests)),
        body: Bytes::from_static(dice.pick(&bodies).as_bytes()),
    }
}

fn a_body(dice: &mut Dice) -> Bytes {
    match dice.roll() % 60 {
        0 => return Bytes::from_static(b"{\"target\": \"brain\""),
        1 => return Bytes::from_static(b"[]"),
        2 => return Bytes::from_static(b"{\"target\":\"brain\",\"target\":\"shaky\"}"),
        3 => return Bytes::from(json!({ "target": "get-embedding", "payload": "x".repeat(70_000) }).to_string()),
        _ => {}
    }
    let targets = ["get-embedding", "get-embedding", "agent-manager", "brain", "nowhere", "shaky", "no-such-target", "openai-chat"];
    let mut envelope = json!({ "target": dice.pick(&targets) });
    if !dice.one_in(3) {
        envelope["action"] = json!(dice.pick(&["list_agents", "think", "chat", "é", "validate_schema"]));
    }
    match dice.roll() % 8 {
        0 => {
            envelope["operation"] =
                json!(dice.pick(&["DROP TABLE users", "DELETE FROM t WHERE id = 1", "select 1", "ALTER TABLE a ADD b int"]))
        }
        1 => {
            envelope["payload"] =
                json!({ "sql": dice.pick(&["TRUNCATE t", "delete from t", "CREATE TABLE a (b int)", "SELECT 'drop table a'"]) })
        }
        2 => envelope["payload"] = json!({ "action": "hidden", "data": { "x": 1 } }),
        3 => envelope["payload"] = json!({ "messages": [{ "content": "please drop table users" }] }),
        _ => {}
    }
    Bytes::from(envelope.to_string())
}

/// Something that an operator does, or time.
fn something_changes(dice: &mut Dice, house: &House, clock: &ManualClock) {
    if dice.one_in(4) {
        clock.advance(Duration::from_millis(dice.roll() % 900));
    }
    if dice.one_in(150) {
        clock.advance(Duration::from_secs(25));
    }
    let live = &house.gatekeeper.pipeline.live;
    if dice.one_in(120) {
        let mut enforcement = Enforcement::starting(dice.pick(&[GateMode::Enforce, GateMode::Enforce, GateMode::Observe]));
        if dice.one_in(2) {
            let (gate, at) = (dice.pick(&GateName::ALL), clock.now());
            let until = Some(at.plus(Duration::from_secs(10)));
            let (reason, actor) = (String::new(), String::new());
            enforcement.take(Ruling { gate, mode: Some(GateMode::Observe), until, afterwards: Some(GateMode::Enforce), reason, actor, at });
        }
        live.change(|snapshot| snapshot.enforcement = Arc::new(enforcement));
    }
    if dice.one_in(200) {
        let names = ["target:get-embedding", "openai-chat", "stage:sql_filter", "stage:source_limit", "target:nothing"];
        let name = dice.pick(&names).to_owned();
        let flag = Flag { name, enabled: true, kill_switch: dice.one_in(2), rollout_percentage: dice.pick(&[100, 50]) };
        live.change(|snapshot| snapshot.switches = Arc::new(Switches::of([flag])));
    }
    if dice.one_in(300) {
        let subject = if dice.one_in(4) { Subject::network("127.0.0.0/8") } else { Subject::source("banned") }.unwrap();
        let until = Some(clock.now().plus(Duration::from_secs(15)));
        let block = Block { subject, reason: "flood".into(), until, place: Place::new("own.toml:1") };
        live.change(|snapshot| snapshot.blocklist = Arc::new(Blocklist::of([block])));
    }
}

fn stored(id: &str, key: &str, at: Timestamp) -> StoredKey {
    StoredKey {
        id: KeyId::new(id),
        name: id.into(),
        hash: Secret::new(key).hash(),
        sources: vec![],
        targets: vec![],
        actions: vec![],
        created_at: at,
        not_before: None,
        expires_at: None,
        revoked_at: None,
        last_used_at: None,
    }
}

#[tokio::test]
async fn what_is_explained_is_what_happens() {
    let clock = ManualClock::at(Timestamp::parse_rfc3339("2026-03-04T12:00:00Z").unwrap());
    let answer = |status| Conduct::json(status, &json!({ "valid": true }));
    let names = ["brain", "openai-chat", "get-embedding", "agent-manager", "schema-manager"];
    let plan = names.iter().fold(Targets::like_the_platform(), |plan, name| plan.but(name, answer(200)));
    let targets = plan.but("shaky", answer(503));
    let sources = format!("{}{POLICY}", std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/policies/sources.toml")).unwrap());
    let service = "[body]\nmax = \"64KiB\"\n";
    let house = House::plan().targets(targets).at(&clock).policy("sources.toml", &sources).policy("service.toml", service).open().await;
    let scoped = StoredKey {
        sources: vec!["gemini-*".into(), "hasty".into()],
        targets: vec!["get-embedding".into(), "brain".into()],
        ..stored("scoped", "scoped key", clock.now())
    };
    let revoked = StoredKey { revoked_at: Some(clock.now()), ..stored("revoked", "revoked key", clock.now()) };
    for key in [&scoped, &revoked] {
        house.store.insert_key(key, &crate::store_contract::audited()).await.unwrap();
    }
    crate::support::house::eventually("the keys are on the ring", || async {
        house.gatekeeper.pipeline.live.current().keys.iter().count() == 3
    })
    .await;

    let mut dice = Dice(20_261_121);
    let (mut forwarded, mut codes) = (0, std::collections::BTreeMap::new());
    let mut explained = std::collections::HashMap::new();
    for number in 0..CALLS {
        something_changes(&mut dice, &house, &clock);
        let call = a_call(&mut dice);
        let said = house.gatekeeper.pipeline.explain(call.question.clone()).await;
        let (method, path, body) = match call.question.call.clone() {
            Call::Envelope(body) => (Method::POST, "/".to_owned(), body),
            Call::Direct { method, address, body } => (method, address, body),
        };
        let reply = house.request(house.data, method, &path, &call.headers, body).await;
        agree(number, &call, &said, &reply);
        match said.code() {
            None => forwarded += 1,
            Some(code) => *codes.entry(code).or_insert(0) += 1,
        }
        explained.insert(reply.call_id().to_owned(), said);
    }
    // The dice rolled every way there is.
    assert!(forwarded > CALLS / 10, "{forwarded} {codes:?}");
    for code in [
        "unauthorized",
        "network_blocked",
        "source_disabled",
        "rate_limited",
        "burst_exceeded",
        "invalid_json",
        "invalid_envelope",
        "ambiguous_body",
        "bad_target",
        "body_too_large",
        "unknown_target",
        "target_disabled",
        "key_not_scoped",
        "caller_not_allowed",
        "dangerous_operation",
        "target_not_configured",
        "breaker_open",
    ] {
        assert!(codes.contains_key(code), "no call was refused with {code}: {codes:?}");
    }

    // Every gate that would have denied is in the record too; and nobody counted or kept the questions.
    house.settle().await;
    let rows = house.store.calls(&CallQuery { most: 10_000, ..CallQuery::default() }).await.unwrap();
    for row in &rows {
        let Some(said) = explained.get(&row.id.to_string()) else { continue };
        let would: Vec<&str> = row.metadata["would_deny"].as_array().into_iter().flatten().filter_map(|w| w["gate"].as_str()).collect();
        let told: Vec<&str> =
            said.steps.iter().filter(|step| step.decision == Decision::WouldDeny).map(|step| step.gate.as_str()).collect();
        assert_eq!(told, would, "{}", row.metadata);
        if let Some(denied) = said.steps.iter().find(|step| step.decision == Decision::Deny) {
            let line = denied.place.as_ref().map(|place| json!(place.as_str()));
            if denied.gate != GateName::Authenticate && row.metadata["policy_line"] != Value::Null {
                assert_eq!(line.as_ref(), Some(&row.metadata["policy_line"]), "{}", row.metadata);
            }
        }
    }
    let metrics = house.gatekeeper.metrics.render();
    let ended = metrics.lines().filter(|line| line.starts_with("gatekeeper_calls_total{"));
    let counted: usize = ended.map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()).sum();
    assert_eq!(counted, CALLS);
}

#[track_caller]
fn agree(number: usize, call: &Asked, said: &Explanation, reply: &Reply) {
    let context =
        || format!("call {number}: {:?} {:?}\nsaid {said:#?}\ngot {} {:?}", call.headers, call.question.call, reply.status, reply.body);
    let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    match &said.refusal {
        Some(_) => {
            assert_eq!(said.status(), Some(reply.status), "{}", context());
            assert_eq!(said.code(), body["code"].as_str(), "{}", context());
            assert_eq!(said.message().as_deref(), body["message"].as_str(), "{}", context());
        }
        // Whatever the target said, it was asked.
        None => assert!(reply.status == 200 || body["code"] == "target_error" || body["valid"] == true, "{}", context()),
    }
}
