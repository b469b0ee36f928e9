//! Health as monitors and people read it: the original's bodies, member by member, from what is kept up to date in the background.
//! What is away or missing is a 503, calls go on; what concerns operators alone is told on their own listener.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use eliza_gatekeeper::audit::Actor;
use eliza_gatekeeper::clock::{Clock, ManualClock};
use eliza_gatekeeper::control::EnforceOrder;
use eliza_gatekeeper::enforcement::GateMode;
use eliza_gatekeeper::health::SecurityEvents;
use eliza_gatekeeper::policy::Link;
use eliza_gatekeeper::store::CallQuery;
use eliza_gatekeeper::verdict::GateName;
use futures_util::future::join_all;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tokio::net::{TcpListener, TcpSocket};

use crate::support::house::{House, KEY, Plan, SERVICE_KEY, eventually, midnight};
use crate::support::postgres::Cluster;
use crate::support::program::Program;
use crate::support::targets::{Conduct, Gate, Targets};
use crate::support::{Database, on_each_database, operator};

const PAGES: [&str; 3] = ["/health", "/api/health", "/api/monitoring/health"];

on_each_database!(the_pages_have_the_shapes_that_the_original_printed, ten_risky_events_in_a_day_degrade_the_whole);

/// All is seen, and all is well.
async fn well(plan: Plan) -> House {
    let house = plan.open().await;
    for page in PAGES {
        eventually(page, || async { house.get(page).await.status == 200 }).await;
    }
    house
}

async fn ops(house: &House, page: &str) -> Value {
    house.get_ops(page, &[]).await.json()
}

fn members(object: &Value) -> BTreeSet<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

/// What operators read beyond the rest, and that the rest is the same.
fn beyond<'a>(data: &Value, ops: &'a Value) -> BTreeSet<&'a str> {
    for name in members(data).difference(&BTreeSet::from(["pool", "timestamp", "database"])) {
        assert_eq!(data[*name], ops[*name], "{name}");
    }
    members(ops).into_iter().filter(|name| data.get(name).is_none()).collect()
}

async fn the_pages_have_the_shapes_that_the_original_printed(database: Database) {
    let house = well(House::plan().on(database).at(&ManualClock::at(midnight()))).await;
    let timestamp = "2026-03-04T00:00:00Z";

    let health = house.get("/health").await.json();
    let expected = json!({
        "status": "healthy",
        "timestamp": timestamp,
        "database": { "connected": true, "latency_ms": 0 },
        "secrets": { "INTERNAL_ELIZA_KEY": true, "SUPABASE_SERVICE_ROLE_KEY": true },
        "webhooks": { "status": "healthy", "recentWebhooks": 0, "failedWebhooks": 0 },
    });
    assert_eq!(health, expected);
    let api = house.get("/api/health").await.json();
    assert_eq!(api, json!({ "status": "ok", "database": "connected", "supabase": "connected", "timestamp": timestamp }));
    let mut detailed = house.get("/api/monitoring/health").await.json();
    let pool = detailed.as_object_mut().unwrap().remove("pool").unwrap();
    assert_eq!(detailed, api);
    assert_eq!(members(&pool), BTreeSet::from(["pool_size", "max_overflow", "checked_out", "checked_in", "overflow"]));
    let number = |name: &str| pool[name].as_i64().unwrap();
    assert_eq!((number("pool_size"), number("max_overflow")), (5, 5));
    assert_eq!(number("checked_out"), number("pool_size") - number("checked_in") + number("overflow"));
    assert!(number("checked_out") < 10, "{pool}");

    // Operators read the same, and more.
    let for_operators = ops(&house, "/health").await;
    assert_eq!(beyond(&health, &for_operators), BTreeSet::from(["enforcement", "policy", "warnings"]));
    assert_eq!(for_operators["enforcement"], json!({ "enforcing": true, "gates": {} }));
    assert_eq!(members(&for_operators["policy"]), BTreeSet::from(["fingerprint", "origin", "loaded_at", "problems"]));
    assert_eq!(
        (&for_operators["policy"]["loaded_at"], &for_operators["policy"]["problems"], &for_operators["warnings"]),
        (&json!(timestamp), &json!([]), &json!([]))
    );
    assert_eq!(ops(&house, "/api/health").await, api);
    let detailed = house.get("/api/monitoring/health").await.json();
    let for_operators = ops(&house, "/api/monitoring/health").await;
    assert_eq!(beyond(&detailed, &for_operators), BTreeSet::from(["enforcement", "targets", "warnings"]));
    assert_eq!(for_operators["targets"]["agent-manager"], json!({ "breaker": "closed", "failures": 0, "probe": null }));

    // Whatever was looked at, no target was sent anything and no row was left.
    assert_eq!(house.targets.received_in_all().len(), 0);
    assert_eq!(house.records().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_down_fails_every_page_and_no_call() {
    let server = Cluster::private();
    let house = well(House::plan().variable("DATABASE_URL", &server.database())).await;
    server.kill();
    for page in PAGES {
        eventually(page, || async { house.get(page).await.status == 503 }).await;
        assert_eq!(house.get_ops(page, &[]).await.expect(503).json()["status"], "degraded");
    }
    let health = house.get("/health").await.json();
    assert_eq!((&health["status"], &health["database"]), (&json!("degraded"), &json!({ "connected": false, "latency_ms": null })));
    for page in ["/api/health", "/api/monitoring/health"] {
        let body = house.get(page).await.json();
        let said = [&body["status"], &body["database"], &body["supabase"]];
        assert_eq!(said, [&json!("degraded"), &json!("disconnected"), &json!("connected")], "{page}");
    }
    let warnings = ops(&house, "/health").await["warnings"].to_string();
    assert!(warnings.contains("the database does not answer"), "{warnings}");
    for probe in ["/livez", "/readyz", "/healthz"] {
        house.get(probe).await.expect(200);
    }
    house.call("gemini-chat").to("agent-manager").action("list_agents").send().await.expect(200);

    tokio::task::block_in_place(|| server.start());
    for page in PAGES {
        eventually(page, || async { house.get(page).await.status == 200 }).await;
    }
}

const OWN_TOKEN: &str = "
[[target]]
names = [\"crm\"]
url = \"https://crm.example/{target}\"
bearer = \"CRM_TOKEN\"
";
const NO_ADDRESS: &str = "
[[target]]
names = [\"erp\"]
url = \"${ERP_URL}/{target}\"
bearer = \"ERP_TOKEN\"
";

#[tokio::test]
async fn the_secrets_that_the_policies_use_are_demanded_and_no_others() {
    let plan = || House::plan().policy("crm.toml", OWN_TOKEN).policy("erp.toml", NO_ADDRESS);
    let without_key = || plan().variable("SUPABASE_SERVICE_ROLE_KEY", "");
    let without_platform = || without_key().variable("SUPABASE_URL", "");
    let cases = [
        (plan().variable("CRM_TOKEN", "token-of-the-crm"), json!({ "CRM_TOKEN": true, "SUPABASE_SERVICE_ROLE_KEY": true })),
        (plan(), json!({ "CRM_TOKEN": false, "SUPABASE_SERVICE_ROLE_KEY": true })),
        (without_key().variable("CRM_TOKEN", "token-of-the-crm"), json!({ "CRM_TOKEN": true, "SUPABASE_SERVICE_ROLE_KEY": false })),
        // What has no address is not called, so what it would be called with is not missed.
        (without_platform().variable("CRM_TOKEN", "token-of-the-crm"), json!({ "CRM_TOKEN": true })),
    ];
    for (plan, mut secrets) in cases {
        let house = plan.open().await;
        secrets["INTERNAL_ELIZA_KEY"] = json!(true);
        eventually("the database is seen", || async { house.get("/health").await.json()["database"]["connected"] == true }).await;
        let reply = house.get("/health").await;
        assert_eq!(reply.json()["secrets"], secrets);
        let missing: Vec<_> = secrets.as_object().unwrap().iter().filter(|(_, there)| **there == false).map(|(name, _)| name).collect();
        let (status, word) = if missing.is_empty() { (200, "healthy") } else { (503, "degraded") };
        assert_eq!((reply.status, &reply.json()["status"]), (status, &json!(word)));
        let body = String::from_utf8(house.get_ops("/health", &[]).await.body.to_vec()).unwrap();
        for secret in [KEY, SERVICE_KEY, "token-of-the-crm"] {
            assert!(!body.contains(secret), "{body}");
        }
        let warnings = ops(&house, "/health").await["warnings"].clone();
        let expected: Vec<_> = missing.iter().map(|name| format!("{name} is not set, and the policies use it")).collect();
        assert_eq!(warnings, json!(expected));
        let metrics = String::from_utf8(house.get_ops("/metrics", &[]).await.body.to_vec()).unwrap();
        assert!(metrics.contains(&format!("gatekeeper_secrets_missing {}\n", missing.len())), "{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_without_a_free_connection_is_degraded_in_detail() {
    let plan = House::plan().on(Database::Postgres).variable("DATABASE_POOL_SIZE", "2").variable("DATABASE_MAX_OVERFLOW", "1");
    let house = well(plan).await;
    // An operator's lock, and questions that wait for it.
    let mut operator = PgConnection::connect(&house.database).await.unwrap();
    sqlx::raw_sql("begin; lock table eliza_activity_log in access exclusive mode").execute(&mut operator).await.unwrap();
    let questions: Vec<_> = (0..3)
        .map(|_| {
            let store = house.store.clone();
            tokio::spawn(async move { store.calls(&CallQuery { most: 1, ..CallQuery::default() }).await })
        })
        .collect();
    let page = "/api/monitoring/health";
    let exhausted = json!({ "pool_size": 2, "max_overflow": 1, "checked_out": 3, "checked_in": 0, "overflow": 1 });
    eventually("the pool is exhausted", || async { house.get(page).await.json()["pool"] == exhausted }).await;
    assert_eq!(house.get(page).await.expect(503).json()["status"], "degraded");
    let warnings = ops(&house, page).await["warnings"].to_string();
    assert!(warnings.contains("all 3 connections to the database are in use"), "{warnings}");

    sqlx::raw_sql("rollback").execute(&mut operator).await.unwrap();
    for question in questions {
        // One may have gone without: tidying up waits for the lock too.
        drop(question.await.unwrap());
    }
    eventually("it recovers by itself", || async { house.get(page).await.status == 200 }).await;
}

#[tokio::test]
async fn the_platform_is_connected_disconnected_or_not_configured() {
    let house = well(House::plan().variable("SUPABASE_URL", "")).await;
    for page in ["/api/health", "/api/monitoring/health"] {
        assert_eq!(house.get(page).await.json()["supabase"], "not_configured", "{page}");
    }

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let house = well(House::plan().variable("SUPABASE_URL", &format!("http://{address}"))).await;
    drop(listener);
    for page in ["/api/health", "/api/monitoring/health"] {
        eventually(page, || async { house.get(page).await.status == 503 }).await;
        let body = house.get(page).await.json();
        let said = [&body["status"], &body["database"], &body["supabase"]];
        assert_eq!(said, [&json!("degraded"), &json!("connected"), &json!("disconnected")], "{page}");
    }
    assert_eq!(house.get("/health").await.status, 200, "the whole of the gatekeeper is well");
    assert_eq!(ops(&house, "/health").await["warnings"], json!(["the host of SUPABASE_URL cannot be reached"]));

    // The port may be in the hands of a connection that ended.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    let _listener = socket.listen(16).unwrap();
    eventually("it is reached again", || async { house.get("/api/health").await.status == 200 }).await;
}

#[tokio::test]
async fn enforcement_that_is_off_is_told_to_operators_alone() {
    let clock = ManualClock::at(midnight());
    let house = well(House::plan().at(&clock)).await;
    let data = house.get("/health").await.json();
    let until = midnight().plus(Duration::from_secs(1800));
    let order = EnforceOrder { mode: GateMode::Observe, gate: Some(GateName::SqlFilter), until: Some(until), reason: "a migration".into() };
    house.gatekeeper.control.enforce(&order, &Actor::cause("test")).await;

    let gate =
        json!({ "mode": "observe", "until": "2026-03-04T00:30:00Z", "reason": "a migration", "actor": Actor::cause("test").as_str() });
    for page in ["/health", "/api/monitoring/health"] {
        let body = house.get_ops(page, &[]).await.expect(200).json();
        assert_eq!(body["enforcement"], json!({ "enforcing": false, "gates": { "sql_filter": gate } }), "{page}");
        assert_eq!(body["warnings"], json!(["these gates judge and do not refuse: sql_filter"]), "{page}");
    }
    assert_eq!(house.get("/health").await.json(), data);

    clock.set(until);
    assert_eq!(ops(&house, "/health").await["enforcement"], json!({ "enforcing": true, "gates": {} }));
    // A question to the database that was under way when the clock jumped seems to have taken long.
    eventually("no warning is left", || async { ops(&house, "/health").await["warnings"] == json!([]) }).await;

    let house = well(House::plan().variable("GATEKEEPER_ENFORCE", "false")).await;
    let body = ops(&house, "/health").await;
    assert_eq!(body["enforcement"]["gates"].as_object().unwrap().len(), GateName::ALL.len());
    let as_started = json!({ "mode": "observe", "until": null, "reason": null, "actor": null });
    assert_eq!(body["enforcement"]["gates"]["authenticate"], as_started);
    assert_eq!(body["warnings"], json!(["enforcement is off: every gate judges, none refuses"]));
}

#[tokio::test]
async fn a_target_that_keeps_failing_is_named_to_operators() {
    let refusing = "[[target]]\nnames = [\"nowhere\"]\nurl = \"http://127.0.0.1:9/{target}\"\ncredentials = \"none\"\nbreaker = { failures = 2, open = \"1h\" }\n";
    let house = well(House::plan().policy("nowhere.toml", refusing)).await;
    for _ in 0..2 {
        house.call("gemini-chat").to("nowhere").send().await.expect(502);
    }
    let body = house.get_ops("/api/monitoring/health", &[]).await.expect(200).json();
    assert_eq!(body["targets"]["nowhere"], json!({ "breaker": "open", "failures": 2, "probe": null }));
    assert_eq!(body["warnings"], json!(["nowhere keeps failing: its breaker is open"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_probes_leave_no_row() {
    let house = well(House::plan()).await;
    let addresses = ["/livez", "/readyz", "/healthz", "/health", "/api/health", "/api/monitoring/health"];
    for _ in 0..50 {
        let probes = (0..200).map(|n| house.get(addresses[n % addresses.len()]));
        assert!(join_all(probes).await.iter().all(|reply| reply.status == 200));
    }
    assert_eq!(house.records().await, []);
}

#[tokio::test]
async fn the_command_prints_every_member_and_ends_as_the_page_does() {
    let serving = Program::new().serve().await;
    let url = format!("http://{}", serving.ops);
    let program = Program::bare();
    eventually("it is healthy", || async { program.run(&["health", "--url", &url]).await.code == 0 }).await;
    let ran = program.run(&["health", "check", "--url", &url]).await.expect(0);
    let first = ran.out.lines().nth(1).unwrap().split_whitespace().collect::<Vec<_>>();
    assert_eq!(first, ["status", "healthy"]);
    for row in ["database.connected", "secrets.INTERNAL_ELIZA_KEY", "webhooks.failedWebhooks", "enforcement.enforcing", "policy.origin"] {
        assert!(ran.out.lines().any(|line| line.starts_with(row)), "{row}: {}", ran.out);
    }
    assert_eq!(program.run(&["health", "--url", &url, "check", "--json"]).await.expect(0).value()["status"], "healthy");
    serving.stop().await.expect(0);

    // A secret that is missing is degraded, and the command says which.
    let targets = Targets::like_the_platform().start().await;
    let serving = Program::new().variable("SUPABASE_URL", &targets.origin()).serve().await;
    let url = format!("http://{}", serving.ops);
    let ran = program.run(&["health", "check", "--url", &url]).await.expect(1);
    assert!(ran.out.contains("SUPABASE_SERVICE_ROLE_KEY is not set"), "{ran:?}");
    serving.stop().await.expect(0);
}

#[tokio::test]
async fn metrics_carry_what_the_pages_say() {
    let house = well(House::plan().at(&ManualClock::at(Clock::system().now()))).await;
    let metrics = String::from_utf8(house.get_ops("/metrics", &[]).await.body.to_vec()).unwrap();
    for line in [
        "gatekeeper_database_up 1",
        "gatekeeper_database_latency_seconds 0.0",
        "gatekeeper_database_pool_most 10",
        "gatekeeper_secrets_missing 0",
        "gatekeeper_security_events 0",
        "gatekeeper_supabase_up 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}: {metrics}");
    }
}

#[tokio::test]
async fn policies_with_problems_are_told_to_operators_and_degrade_nothing() {
    let house = well(House::plan()).await;
    let status = house.gatekeeper.control.policy_status();
    let file = std::path::Path::new(&status.origin).join("limits.toml");
    let fine = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{fine}\n[[teir]]\nname = \"user\"\n")).unwrap();
    let line = fine.lines().count() + 2;
    assert!(house.gatekeeper.control.reload(&Actor::cause("test")).await.is_err());

    let page = house.get_ops("/health", &[]).await.expect(200).json();
    let problems = page["policy"]["problems"].as_array().unwrap();
    assert!(problems[0].as_str().unwrap().starts_with(&format!("limits.toml:{line}:")), "{problems:?}");
    assert_eq!(page["policy"]["fingerprint"], json!(status.fingerprint), "the old policy stays in force");
    assert_eq!((&page["status"], page["warnings"].as_array().unwrap().len()), (&json!("healthy"), 1), "{page}");
    let data = house.get("/health").await.expect(200);
    assert!(!String::from_utf8(data.body.to_vec()).unwrap().contains("toml"), "{data:?}");

    std::fs::write(&file, fine).unwrap();
    house.gatekeeper.control.reload(&Actor::cause("test")).await.unwrap();
    assert_eq!(ops(&house, "/health").await["warnings"], json!([]));
}

const PROBED: &str = "
[[target]]
names = [\"crm\", \"erp\"]
health = \"/functions/v1/state-of-it\"
";

#[tokio::test]
async fn targets_that_name_a_health_path_are_asked_there_and_nowhere_else() {
    let targets = Targets::like_the_platform().but("state-of-it", Conduct::no_content());
    let house = well(House::plan().targets(targets).policy("probed.toml", PROBED)).await;
    let page = "/api/monitoring/health";
    let probe = async |target: &str| ops(&house, page).await["targets"][target]["probe"].clone();
    let metric = async |line: &str| String::from_utf8(house.get_ops("/metrics", &[]).await.body.to_vec()).unwrap().contains(line);
    eventually("it is up", || async { probe("crm").await == "up" && probe("erp").await == "up" }).await;
    assert_eq!(house.targets.received_in_all().len(), 1, "asked once for both, and nothing else was called");
    assert_eq!(probe("agent-manager").await, Value::Null);
    assert!(metric("gatekeeper_target_up{target=\"erp\"} 1").await);

    house.targets.let_be("state-of-it", Conduct::html_500());
    eventually("it is down", || async { probe("crm").await == "down" }).await;
    let body = house.get_ops(page, &[]).await.expect(200).json();
    assert_eq!(body["targets"]["crm"], json!({ "breaker": "closed", "failures": 0, "probe": "down" }));
    let warnings = ["crm", "erp"].map(|target| format!("{target} does not answer at its health address"));
    assert_eq!(body["warnings"], json!(warnings));
    assert!(metric("gatekeeper_target_up{target=\"crm\"} 0").await);
    house.call("gemini-chat").to("crm").send().await.expect(200);

    // A target that is asked no more is forgotten at once.
    let directory = house.gatekeeper.control.policy_status().origin;
    std::fs::write(std::path::Path::new(&directory).join("probed.toml"), "[[target]]\nnames = [\"erp\"]\n").unwrap();
    house.gatekeeper.control.reload(&Actor::cause("test")).await.unwrap();
    let body = ops(&house, page).await;
    assert_eq!((&body["targets"]["crm"], &body["targets"]["erp"]["probe"]), (&Value::Null, &Value::Null));
    assert_eq!(body["warnings"], json!([]));
    assert!(!metric("gatekeeper_target_up{").await);
}

#[tokio::test]
async fn a_target_is_asked_for_its_health_without_credentials() {
    let house = well(House::plan()).await;
    let refused = format!("{}/functions/v1/x", "http://127.0.0.1:9").parse().unwrap();
    let cases = [
        (Conduct::json(200, &json!({ "fine": true })), true),
        (Conduct::no_content(), true),
        (Conduct::redirect("http://elsewhere.example/"), true),
        (Conduct::json(401, &json!({})), false),
        (Conduct::html_500(), false),
        (Conduct::reset(), false),
        (Conduct::garbage(), false),
        (Conduct::Hang(Gate::shut()), false),
    ];
    let address = house.targets.url("state-of-it");
    for (conduct, is_up) in cases {
        house.targets.let_be("state-of-it", conduct.clone());
        assert_eq!(house.gatekeeper.pipeline.upstream.is_up(&Link::default(), &address).await, is_up, "{conduct:?}");
    }
    assert!(!house.gatekeeper.pipeline.upstream.is_up(&Link::default(), &refused).await);
    for asked in house.targets.received("state-of-it") {
        let names: BTreeSet<_> = asked.headers.keys().map(http::HeaderName::as_str).collect();
        assert_eq!((asked.method, names, asked.body.len()), (http::Method::GET, BTreeSet::from(["host"]), 0));
    }
}

async fn ten_risky_events_in_a_day_degrade_the_whole(database: Database) {
    let house = well(House::plan().on(database)).await;
    let insert = |risk: u32, hours: u32| {
        let ago = match database {
            Database::Sqlite => format!("datetime('now', '-{hours} hours')"),
            Database::Postgres => format!("now() - interval '{hours} hours'"),
        };
        format!("insert into security_events (event_type, risk_score, created_at) values ('probe', {risk}, {ago});")
    };
    // Not risky enough, or too long ago.
    let others: String = (0..12).map(|_| insert(70, 1) + &insert(99, 25)).collect();
    let nine: String = (0..9).map(|hour| insert(71, hour)).collect();
    operator::run(&house.database, &(others + &nine)).await;
    eventually("nine are counted", || async { house.gatekeeper.health.store().security_events == SecurityEvents::Counted(9) }).await;
    house.get("/health").await.expect(200);

    operator::run(&house.database, &insert(100, 23)).await;
    eventually("ten are too many", || async { house.get("/health").await.status == 503 }).await;
    let page = ops(&house, "/health").await;
    assert_eq!((&page["status"], &page["database"]["connected"]), (&json!("degraded"), &json!(true)));
    assert_eq!(page["warnings"], json!(["10 security events of a risk above 70 within 24 hours"]));
    house.get("/api/health").await.expect(200);
    house.get("/readyz").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_cannot_be_counted_any_more_are_not_over() {
    let house = well(House::plan().on(Database::Postgres)).await;
    let events = "insert into security_events (event_type, risk_score) select 'probe', 100 from generate_series(1, 1500)";
    operator::run(&house.database, events).await;
    let counted = async || house.gatekeeper.health.store().security_events == SecurityEvents::Counted(1000);
    eventually("they are counted, up to a point", &counted).await;
    let mut forgotten = PgConnection::connect(&house.database).await.unwrap();
    sqlx::raw_sql("begin; lock table security_events").execute(&mut forgotten).await.unwrap();
    let expected =
        json!(["at least 1000 security events of a risk above 70 within 24 hours", "security events cannot be counted: the log says why",]);
    eventually("it is told", || async { ops(&house, "/health").await["warnings"] == expected }).await;
    house.get("/health").await.expect(503);

    // Whoever asks again and again takes no connection after the other: each question ends, though nobody answers it.
    let micros = "(extract(epoch from xact_start) * 1000000)::bigint";
    let waiting = "from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    let since = format!("select coalesce(max({micros}), 0) {waiting}");
    let asked = Cell::new(0);
    eventually("it is asked", || async {
        asked.set(operator::number(&house.database, &since).await);
        asked.get() > 0
    })
    .await;
    let first = format!("select count(*) {waiting} and {micros} <= {}", asked.get());
    eventually("nobody waits for the answer", || async { operator::number(&house.database, &first).await == 0 }).await;
    sqlx::raw_sql("rollback").execute(&mut forgotten).await.unwrap();
    eventually("they are counted again", &counted).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn metrics_that_are_asked_for_at_once_are_whole() {
    let house = Arc::new(House::open().await);
    let targets = |metrics: &str| metrics.lines().filter(|line| line.starts_with("gatekeeper_breaker_")).count();
    let all = targets(&house.metrics().await);
    assert!(all > 0);
    let askers = (0..8).map(|_| {
        let house = Arc::clone(&house);
        tokio::spawn(async move {
            let mut seen = BTreeSet::new();
            for _ in 0..50 {
                seen.insert(targets(&house.metrics().await));
            }
            seen
        })
    });
    for seen in join_all(askers.collect::<Vec<_>>()).await {
        assert_eq!(seen.unwrap(), BTreeSet::from([all]));
    }
}
