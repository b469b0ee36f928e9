//! What operators rely on when they look at the policy in force: it says what they wrote and where, in their own notation, and no secret.

use eliza_gatekeeper::policy::describe::describe;
use eliza_gatekeeper::policy::load::Origin;
use serde_json::{Value, json};

use super::{PLATFORM, given};

const OWN: &str = "\
[tiers.user]
limit = ['100/1m', '1000/1h']
burst = 'off'

[[source]]
names = ['ada', 'bot-*']
together = true
total = ['5/1m']

[[override]]
source = 'ada'
endpoint = 'brain:*'
limit = ['7/1d']

[[target]]
names = ['brain']
shape = 'action-data'
defaults = { deep = true }
callers = ['ada']
timeout = '1500ms'
breaker = { failures = 3 }

[[target]]
names = ['hands']
url = 'https://h.example:8443/{target}'
bearer = 'HANDS_TOKEN'

[[target]]
names = ['ears']
url = '${UNSET}/x'
authorization = 'pass'

[[block]]
networks = ['203.0.113.0/24']
reason = 'INC-4711'
until = 2026-12-31T12:00:00Z

[sql]
literals = 'keep'

[sql.rules]
grant = 'observe'

[[rule]]
id = 'grant'
mode = 'off'
sources = ['bot-*']
reason = 'it makes the roles'

[[pattern]]
id = 'no-ledger'
regex = '\\bledger\\b'
why = 'hands off'
refuses = ['SELECT * FROM ledger']
targets = ['brain']

[[exception]]
rules = ['truncate']
targets = ['brain']
objects = ['tmp_*']
statements = ['0123456789abcdef']
reason = 'cleans up'
by = 'alice'

[body]
max = '64KiB'
";

#[test]
fn it_reads_as_it_was_written() {
    let policy = given([("own.toml", OWN)]).with("HANDS_TOKEN", "token-of-hands").load().unwrap();
    let shown = describe(&policy);
    let at = |pointer: &str| shown.pointer(pointer).unwrap_or_else(|| panic!("no {pointer} in {shown:#}")).clone();
    let each = |list: &str, member: &str| -> Vec<Value> { at(list).as_array().unwrap().iter().map(|one| one[member].clone()).collect() };

    assert_eq!(at("/fingerprint"), json!(policy.fingerprint.as_ref()));
    assert_eq!(each("/sources", "name"), ["ada", "bot-*"]);
    assert_eq!(each("/sources", "place"), ["own.toml:6", "own.toml:6"]);
    assert_eq!(each("/sources", "together"), [false, true]);
    let total = json!({"limit": ["5/1m"], "burst": "5 then 1/s", "place": "own.toml:8", "burst_place": "own.toml:8"});
    assert_eq!(at("/sources/0/total"), total);
    let endpoint = json!({"limit": ["100/1m", "1000/1h"], "burst": "off", "place": "own.toml:2", "burst_place": "own.toml:3"});
    assert_eq!(at("/sources/0/endpoint"), endpoint);
    let own = json!({"limit": ["7/1d"], "burst": "7 then 2/s", "place": "own.toml:13", "burst_place": "own.toml:13"});
    assert_eq!(at("/sources/0/overrides"), json!([{"endpoint": "brain:*", "allowance": own}]));
    assert_eq!(at("/sources/1/overrides"), json!([]));

    assert_eq!(each("/targets", "name"), ["brain", "ears", "hands"]);
    assert_eq!(each("/targets", "credentials"), ["service-role", "pass", "bearer"]);
    let urls = [json!(format!("{PLATFORM}/functions/v1/brain")), Value::Null, json!("https://h.example:8443/hands")];
    assert_eq!(each("/targets", "url"), urls);
    assert_eq!(each("/targets", "callers"), [json!(["ada"]), json!(["*"]), json!(["*"])]);
    let brain =
        ["shape", "inspect", "defaults", "timeout", "idle_timeout", "breaker", "place"].map(|member| at(&format!("/targets/0/{member}")));
    let expected = [
        json!("action-data"),
        json!("required"),
        json!({"deep": true}),
        json!("1500ms"),
        json!("1m"),
        json!({"failures": 3, "open": "5s"}),
        json!("own.toml:16"),
    ];
    assert_eq!(brain, expected);

    assert_eq!(at("/sql/rules/0/id"), "drop-table");
    let first = ["tier", "mode", "refuses", "overrides"].map(|member| at(&format!("/sql/rules/0/{member}")));
    assert_eq!(first, [json!("core"), json!("enforce"), json!("DROP TABLE, of foreign tables too."), json!([])]);
    assert!(at("/sql/rules/0/place").as_str().unwrap().starts_with("shipped sql.toml:"));
    let rules = at("/sql/rules");
    let grant = rules.as_array().unwrap().iter().find(|rule| rule["id"] == "grant").unwrap();
    let apart = json!([{"mode": "off", "sources": ["bot-*"], "targets": null, "reason": "it makes the roles", "place": "own.toml:45"}]);
    assert_eq!((&grant["mode"], &grant["place"], &grant["overrides"]), (&json!("observe"), &json!("own.toml:42"), &apart));
    let own = json!({
        "id": "no-ledger", "mode": "enforce", "regex": r"\bledger\b", "why": "hands off", "sources": null, "targets": ["brain"],
        "place": "own.toml:51",
    });
    assert_eq!(at("/sql/patterns"), json!([own]));
    assert_eq!([at("/sql/literals"), at("/sql/standard_conforming_strings")], ["keep", "on"]);
    assert_eq!(at("/sql/code"), json!([{"path": "payload.code", "targets": ["python-executor"]}]));
    let exception = json!({
        "rules": ["truncate"], "sources": null, "targets": ["brain"], "objects": ["tmp_*"], "statements": ["0123456789abcdef"],
        "reason": "cleans up", "by": "alice", "until": null, "place": "own.toml:58",
    });
    assert_eq!(at("/sql/exceptions"), json!([exception]));
    let block = json!({
        "kind": "network", "subject": "203.0.113.0/24", "reason": "INC-4711", "until": "2026-12-31T12:00:00Z", "place": "own.toml:34",
    });
    assert_eq!(at("/blocks"), json!([block]));
    assert_eq!(at("/body"), json!({"max": "64KiB", "read_timeout": "30s", "max_hops": 8}));
    assert_eq!(at("/retention/activity"), "30d");
    assert_eq!(at("/cors/origins"), json!(["*"]));
    assert_eq!(at("/secrets/HANDS_TOKEN"), true);
    let doubts: Vec<String> = policy.warnings.clone();
    assert!(!doubts.is_empty());
    assert_eq!(at("/warnings"), json!(doubts));
}

#[test]
fn it_shows_no_secret() {
    let policy = given([("own.toml", OWN)]).with("HANDS_TOKEN", "token-of-hands").load().unwrap();
    let shown = describe(&policy).to_string();
    for secret in ["token-of-hands", "service-role-key"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn the_shipped_policy_shows_whole() {
    let shown = describe(&given([]).load_from(&Origin::Shipped).unwrap());
    let counts = ["/sources", "/targets", "/sql/rules"].map(|list| shown.pointer(list).unwrap().as_array().unwrap().len());
    assert_eq!(counts, [31, 34, 30]);
}
