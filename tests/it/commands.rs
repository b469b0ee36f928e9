//! The program at a terminal, in a script, under a supervisor: what it prints is clear, its exit codes tell what happened, `--json` is
//! for machines, and told to stop it ends what it began.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::house::{KEY, SERVICE_KEY, call_at, eventually, get};
use crate::support::line::Line;
use crate::support::postgres;
use crate::support::program::{Program, Ran};
use crate::support::targets::{Conduct, Gate, Targets};
use crate::support::{Database, on_each_database};

fn url_of(database: Database, program: &Program) -> String {
    match database {
        Database::Sqlite => format!("sqlite://{}", program.folder().join("deep/calls.db").display()),
        Database::Postgres => postgres::database(),
    }
}

fn envelope() -> Value {
    json!({"target": "agent-manager", "action": "list_agents"})
}

// check

#[tokio::test]
async fn check_finds_a_sound_environment_fit() {
    let program = Program::new().variable("SUPABASE_URL", "https://project.supabase.co").variable("SUPABASE_SERVICE_ROLE_KEY", SERVICE_KEY);
    let ran = program.run(&["check"]).await.expect(0);
    assert!(ran.out.contains("fit to serve") && !ran.out.contains("warning"), "{ran:?}");
    let said = program.run(&["check", "--json"]).await.expect(0).value();
    assert_eq!((&said["ok"], &said["problems"], &said["warnings"]), (&json!(true), &json!([]), &json!([])));
    assert_eq!((&said["environment"]["INTERNAL_ELIZA_KEY"], &said["environment"]["GATEKEEPER_ENFORCE"]), (&json!("set"), &json!("true")));
}

#[tokio::test]
async fn check_tells_every_problem_at_once_and_no_secret() {
    let program = Program::bare()
        .variable("GATEKEEPER_LISTEN", "everywhere")
        .variable("GATEKEEPER_ENFORCE", "maybe")
        .variable("REDIS_URL", "redis://cache-password@host")
        .variable("DATABASE_URL", "mysql://db-password@host/db")
        .variable("SUPABASE_SERVICE_ROLE_KEY", "a service key")
        .variable("GATEKEEPER_ADMIN_TOKEN", "admin-token-of-this-test")
        .variable("SUPABASE_URL", "https://someone:supa-password@host")
        .variable("GATEKEEPER_MAX_IN_FLIGHT", "0")
        .variable("GATEKEEPER_POLICIES", "here");
    std::fs::create_dir(program.folder().join("here")).unwrap();
    let mistakes = "[[source]]\nnames = [\"a b\"]\ntier = \"vip\"\n[[target]]\nnames = [\"t\"]\ntimeout = \"soon\"\n";
    std::fs::write(program.folder().join("here/mistakes.toml"), mistakes).unwrap();

    let ran = program.run(&["check"]).await.expect(78);
    let names = [
        "INTERNAL_ELIZA_KEY",
        "GATEKEEPER_LISTEN",
        "GATEKEEPER_ENFORCE",
        "REDIS_URL",
        "DATABASE_URL",
        "SUPABASE_SERVICE_ROLE_KEY",
        "GATEKEEPER_MAX_IN_FLIGHT",
        "mistakes.toml:2",
        "mistakes.toml:3",
        "mistakes.toml:6",
    ];
    for name in names {
        assert!(ran.err.lines().any(|line| line.starts_with("problem: ") && line.contains(name)), "{name}: {}", ran.err);
    }
    let json = program.run(&["check", "--json"]).await.expect(78);
    assert!(json.value()["problems"].as_array().unwrap().len() >= names.len(), "{json:?}");
    for secret in ["cache-password", "supa-password", "db-password", "a service key", "admin-token-of-this-test"] {
        for printed in [&ran.out, &ran.err, &json.out, &json.err] {
            assert!(!printed.contains(secret), "{secret}: {printed}");
        }
    }
}

#[tokio::test]
async fn no_form_of_a_database_url_shows_its_password() {
    let urls = [
        ("postgres://user:hunter2@host/db", "postgres://***@host/db"),
        ("postgres://user:hun/ter2@host/db", "postgres://***@host/db"),
        ("postgres://host/db?user=u&password=hunter2", "postgres://host/db?***"),
        ("postgres://user:hunter2@host/db?sslmode=require", "postgres://***@host/db?***"),
        ("postgres://host/db?password=hun@ter2", "postgres://***"),
        ("sqlite://data/calls.db?mode=rwc", "sqlite://data/calls.db?mode=rwc"),
    ];
    for (url, shown) in urls {
        let said = Program::new().variable("DATABASE_URL", url).run(&["check", "--json"]).await.value();
        assert_eq!(said["environment"]["DATABASE_URL"], shown);
    }
}

#[tokio::test]
async fn secrets_may_come_in_files() {
    let program = Program::bare().variable("INTERNAL_ELIZA_KEY_FILE", "key");
    program.run(&["check"]).await.expect(78);
    std::fs::write(program.folder().join("key"), format!("{KEY}\n")).unwrap();
    let ran = program.run(&["check"]).await.expect(0);
    assert!(!ran.out.contains(KEY), "{}", ran.out);
    let twice = program.variable("INTERNAL_ELIZA_KEY", KEY).run(&["check"]).await.expect(78);
    assert!(twice.err.contains("INTERNAL_ELIZA_KEY is set twice"), "{}", twice.err);
}

// How commands end

#[tokio::test]
async fn serve_refuses_what_it_cannot_be_sure_of() {
    let told = async |program: Program, code: i32, what: &str| {
        let ran = program.run(&["serve"]).await.expect(code);
        assert!(ran.err.contains(what) && ran.out.is_empty(), "{what}: {ran:?}");
    };
    told(Program::bare(), 78, "INTERNAL_ELIZA_KEY is not set").await;
    told(Program::new().variable("GATEKEEPER_ENFORCE", "off"), 78, "GATEKEEPER_ENFORCE must be true or false").await;
    told(Program::new().variable("REDIS_URL", "redis://host"), 78, "REDIS_URL").await;
    told(Program::new().variable("GATEKEEPER_POLICIES", "nowhere"), 78, "nowhere").await;
    let testing = Program::new().variable("GATEKEEPER_TESTING_MODE", "true").variable("GATEKEEPER_ENV", "production");
    told(testing, 78, "GATEKEEPER_TESTING_MODE is not for production").await;

    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let clear = format!("{address} cannot be listened on");
    told(Program::new().variable("GATEKEEPER_LISTEN", &address), 1, &clear).await;
    told(Program::new().variable("GATEKEEPER_OPS_LISTEN", &address), 1, &clear).await;
}

#[tokio::test]
async fn wrong_usage_is_2_and_help_is_0() {
    let program = Program::bare();
    let wrong: [&[&str]; 9] = [
        &[],
        &["frobnicate"],
        &["serve", "--fast"],
        &["keys"],
        &["keys", "new"],
        &["limits", "clear"],
        &["calls", "tail", "-n", "0"],
        &["health", "--url", "not an address"],
        &["db", "erase"],
    ];
    for arguments in wrong {
        let ran = program.run(arguments).await.expect(2);
        assert!(ran.out.is_empty() && !ran.err.is_empty(), "{arguments:?}: {ran:?}");
    }
    let help = program.run(&["--help"]).await.expect(0).out;
    for word in ["serve", "check", "keys", "INTERNAL_ELIZA_KEY", "GATEKEEPER_MIGRATE"] {
        assert!(help.contains(word), "{word}: {help}");
    }
    program.run(&["--version"]).await.expect(0);
}

// demo, calls, limits, health

#[tokio::test]
async fn the_demo_prints_a_call_that_works_and_is_found_again() {
    let program = Program::bare().variable("GATEKEEPER_LISTEN", "127.0.0.1:0").variable("GATEKEEPER_OPS_LISTEN", "127.0.0.1:0");
    let demo = program.start(&["demo"]);
    eventually("the demo greets", || async { demo.out().contains("Stop with Ctrl-C") }).await;
    let greeting = demo.out();
    let (id, received) = paste(&greeting).await;
    assert_eq!(received, json!({"action": "list_agents", "data": {}, "autonomous": true}), "the answer shows what the target got");

    // The commands it prints, as they stand; then others beside it.
    let exports: Vec<_> = greeting.lines().map(str::trim).filter(|line| line.starts_with("export ")).collect();
    let printed = |end: &str| {
        let line = greeting.lines().map(str::trim).find(|line| line.ends_with(end)).unwrap_or_else(|| panic!("{end} in {greeting}"));
        format!("{}; {line}", exports.join("; "))
    };
    let line = &printed("calls tail");
    eventually("the call is recorded", || async { shell(line, program.folder()).await.expect(0).out.contains(&id) }).await;
    let tail = shell(line, program.folder()).await.out;
    assert!(tail.contains("gemini-chat \u{2192} agent-manager"), "{tail:?}");
    let beside = Program::beside(&format!("sqlite://{}", program.folder().join("data/demo.db").display()));
    let shown = beside.run(&["calls", "show", &id, "--json"]).await.expect(0).value();
    assert_eq!((&shown["id"], &shown["metadata"]["code"]), (&json!(id), &json!("answered")));
    assert!(beside.run(&["calls", "show", &id]).await.expect(0).out.contains("agent-manager"));
    beside.run(&["calls", "show", "01234567-89ab-7def-8123-456789abcdef"]).await.expect(1);
    beside.run(&["calls", "show", "the last one"]).await.expect(2);
    demo.signal("INT");
    demo.end().await.expect(0);

    // For machines, the same in one line.
    let demo = program.start(&["demo", "--json"]);
    eventually("the demo greets", || async { demo.out().ends_with('\n') }).await;
    let greeting: Value = serde_json::from_str(&demo.out()).unwrap();
    let at = greeting["url"].as_str().unwrap().strip_prefix("http://").unwrap().split('/').next().unwrap();
    let source = greeting["source"].as_str().unwrap();
    call_at(at.parse().unwrap(), greeting["key"].as_str().unwrap(), source, &envelope()).await.expect(200);
    drop(demo);

    let elsewhere = program.variable("GATEKEEPER_LISTEN", "0.0.0.0:0").run(&["demo"]).await.expect(78);
    assert!(elsewhere.err.contains("loopback only"), "{elsewhere:?}");
}

/// Runs the printed `curl`, or makes the same call where there is none; returns the call's id and what the target got.
async fn paste(greeting: &str) -> (String, Value) {
    let command: String =
        greeting.lines().skip_while(|line| !line.contains("curl ")).take_while(|line| !line.is_empty()).collect::<Vec<_>>().join("\n");
    let here = std::env::temp_dir();
    let body = if shell("command -v curl", &here).await.code == 0 {
        shell(&command, &here).await.expect(0).out
    } else {
        let quoted: Vec<_> = command.split('\'').skip(1).step_by(2).collect();
        let key = quoted.iter().find_map(|header| header.strip_prefix("x-eliza-key: ")).unwrap();
        let at = command.split("http://").nth(1).unwrap().split('/').next().unwrap();
        let reply = call_at(at.parse().unwrap(), key, "gemini-chat", &serde_json::from_str(quoted.last().unwrap()).unwrap()).await;
        String::from_utf8(reply.expect(200).body.to_vec()).unwrap()
    };
    let answer: Value = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body:?}"));
    (answer["call_id"].as_str().unwrap().to_owned(), answer["received"].clone())
}

async fn shell(line: &str, folder: &Path) -> Ran {
    let output = tokio::process::Command::new("sh").args(["-c", line]).current_dir(folder).output().await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Ran { code: output.status.code().unwrap(), out: text(&output.stdout), err: text(&output.stderr) }
}

on_each_database!(
    what_is_missing_in_the_database_is_said_and_deployed,
    a_running_gatekeeper_is_looked_after_by_commands,
    told_to_stop_it_ends_what_it_began,
);

async fn what_is_missing_in_the_database_is_said_and_deployed(database: Database) {
    let program = Program::new().variable("GATEKEEPER_MIGRATE", "false");
    let program = program.clone().variable("DATABASE_URL", &url_of(database, &program));
    let missing = program.run(&["db", "status"]).await.expect(1);
    assert!(missing.err.contains("db deploy") && missing.out.contains("missing"), "{missing:?}");
    let said = program.run(&["db", "status", "--json"]).await.expect(1).value();
    assert_eq!((&said["connected"], &said["complete"]), (&json!(true), &json!(false)));

    // Neither `serve` nor any other command changes the schema; all say what to do.
    let refused = program.run(&["serve"]).await.expect(78);
    for migration in said["migrations"].as_array().unwrap() {
        assert!(refused.err.contains(migration["name"].as_str().unwrap()), "{migration} {refused:?}");
    }
    assert!(refused.err.contains("GATEKEEPER_MIGRATE=false") && refused.err.contains("gatekeeper db deploy"), "{refused:?}");
    for arguments in [["keys", "list"], ["limits", "show"], ["calls", "tail"]] {
        assert!(program.run(&arguments).await.expect(1).err.contains("gatekeeper db deploy"));
    }

    assert_eq!(program.run(&["db", "deploy", "--json"]).await.expect(0).value()["complete"], true);
    program.run(&["db", "deploy"]).await.expect(0);
    program.run(&["db", "status"]).await.expect(0);
    program.serve().await.stop().await.expect(0);
}

async fn a_running_gatekeeper_is_looked_after_by_commands(database: Database) {
    let targets = Targets::like_the_platform().asking_for(SERVICE_KEY).start().await;
    let program = Program::new().variable("SUPABASE_URL", &targets.origin()).variable("SUPABASE_SERVICE_ROLE_KEY", SERVICE_KEY);
    let program = program.clone().variable("DATABASE_URL", &url_of(database, &program));
    let serving = program.serve().await;
    let url = format!("http://{}", serving.data);
    let call = async || call_at(serving.data, KEY, "superduper-router", &envelope()).await;
    for _ in 0..3 {
        call().await.expect(200);
    }
    eventually("the calls are recorded", || async { program.run(&["calls", "tail", "--json"]).await.values().len() == 3 }).await;

    assert!(program.run(&["health", "--url", &url]).await.expect(0).out.contains("healthy"));
    assert_eq!(program.run(&["health", "--url", &url, "--json"]).await.expect(0).value()["status"], "healthy");
    let tail = program.run(&["calls", "tail", "-n", "2"]).await.expect(0).out;
    assert_eq!(tail.lines().count(), 2, "{tail}");
    assert!(program.run(&["calls", "tail", "--json", "--source", "nobody"]).await.expect(0).values().is_empty());

    let used = program.run(&["limits", "show", "superduper-router", "--json"]).await.expect(0).value();
    let rows = used["limits"].as_array().unwrap();
    assert_eq!(rows.iter().map(|row| row["calls"].as_u64().unwrap()).sum::<u64>(), 3, "{used}");
    assert!(rows.iter().all(|row| row["endpoint"] == "agent-manager:list_agents"), "{used}");
    assert!(program.run(&["limits", "show"]).await.expect(0).out.contains("superduper-router"));
    let cleared = program.run(&["limits", "clear", "superduper-router", "--json"]).await.expect(0).value();
    assert_eq!((&cleared["source"], cleared["rows"].as_u64()), (&json!("superduper-router"), Some(rows.len() as u64)));
    program.run(&["limits", "clear", "superduper-router"]).await.expect(1);
    let audited = program.run(&["audit", "--json"]).await.expect(0).out;
    assert_eq!(audited.matches("limits_cleared").count(), 1, "{audited}");
    assert_eq!(program.run(&["limits", "show", "--json"]).await.expect(0).value()["limits"], json!([]));
    // What this asks with counts too.
    let asked = AtomicU32::new(0);
    eventually("the counts are taken back", || async {
        let reply = call().await.expect(200);
        reply.header("x-ratelimit-remaining").unwrap().parse::<u32>().unwrap() + asked.fetch_add(1, Ordering::Relaxed) >= 99
    })
    .await;

    assert_eq!(program.run(&["keys", "list", "--json"]).await.expect(0).value()["keys"], json!([]));
    assert_eq!(program.run(&["db", "status", "--json"]).await.expect(0).value()["complete"], true);
    serving.stop().await.expect(0);
    let offline = program.run(&["health", "--url", &url]).await.expect(1);
    assert!(offline.err.contains("offline"), "{offline:?}");
    assert_eq!(program.run(&["health", "--url", &url, "--json"]).await.expect(1).value()["status"], "offline");
}

async fn told_to_stop_it_ends_what_it_began(database: Database) {
    let gate = Gate::shut();
    let slow = Targets::like_the_platform().asking_for(SERVICE_KEY).but("agent-manager", Conduct::Hang(gate.clone()));
    let targets = slow.start().await;
    let program = Program::new().variable("SUPABASE_URL", &targets.origin()).variable("SUPABASE_SERVICE_ROLE_KEY", SERVICE_KEY);
    let program = program.clone().variable("DATABASE_URL", &url_of(database, &program));
    let serving = program.serve().await;
    let data = serving.data;
    let under_way = tokio::spawn(async move { call_at(data, KEY, "gemini-chat", &envelope()).await });
    targets.arrival("agent-manager", 1).await;

    serving.running.signal("TERM");
    serving.running.log_line("stopping: readiness fails, calls under way may end").await;
    eventually("nothing new is taken", || async { tokio::net::TcpStream::connect(data).await.is_err() }).await;
    gate.open();
    let reply = under_way.await.unwrap().expect(200);
    serving.running.end().await.expect(0);
    let shown = program.run(&["calls", "show", reply.call_id(), "--json"]).await.expect(0).value();
    assert_eq!((&shown["outcome"], &shown["metadata"]["status"]), (&json!("completed"), &json!(200)));

    // A call that takes longer than the drain is cut off, and recorded too.
    targets.let_be("agent-manager", Conduct::Hang(Gate::shut()));
    let serving = program.clone().variable("GATEKEEPER_DRAIN_SECONDS", "1").serve().await;
    let mut line = Line::to(serving.data).await;
    line.call("gemini-chat", &envelope()).await;
    targets.arrival("agent-manager", 2).await;
    serving.stop().await.expect(0);
    assert_eq!(line.hear_the_end().await, "");
    let last = program.run(&["calls", "tail", "-n", "1", "--json"]).await.expect(0).value();
    assert_eq!((&last["type"], &last["metadata"]["code"]), (&json!("gatekeeper_error"), &json!("abandoned")));
}

#[tokio::test]
async fn b22_at_a_hangup_policies_are_read_again_and_mistakes_change_nothing() {
    let targets = Targets::like_the_platform().asking_for(SERVICE_KEY).start().await;
    let program = Program::new().variable("SUPABASE_URL", &targets.origin()).variable("SUPABASE_SERVICE_ROLE_KEY", SERVICE_KEY);
    let policies = program.folder().join("policies");
    std::fs::create_dir(&policies).unwrap();
    for file in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("policies")).unwrap() {
        let path = file.unwrap().path();
        if path.is_file() {
            std::fs::copy(&path, policies.join(path.file_name().unwrap())).unwrap();
        }
    }
    let serving = program.serve().await;
    let call = async || call_at(serving.data, KEY, "new-agent", &json!({"target": "new-function"})).await;
    call().await.expect(401);

    let entries = "[[source]]\nnames = [\"new-agent\"]\n[[target]]\nnames = [\"new-function\"]\n";
    std::fs::write(policies.join("new.toml"), entries.replace("[\"new-agent\"]", "[]] oops")).unwrap();
    serving.running.signal("HUP");
    serving.running.log_line("the policies have problems: those in force stay").await;
    call().await.expect(401);
    call_at(serving.data, KEY, "gemini-chat", &envelope()).await.expect(200);

    std::fs::write(policies.join("new.toml"), entries).unwrap();
    serving.running.signal("HUP");
    serving.running.log_line("policies are read again and in force").await;
    call().await.expect(200);
    serving.stop().await.expect(0);
}

#[tokio::test]
async fn enforcement_may_be_off_from_the_start_and_that_is_told() {
    let targets = Targets::like_the_platform().open_to_all().start().await;
    let program = Program::new().variable("SUPABASE_URL", &targets.origin()).variable("SUPABASE_SERVICE_ROLE_KEY", SERVICE_KEY);
    let serving = program.variable("GATEKEEPER_ENFORCE", "false").serve().await;
    serving.running.log_line("enforcement is OFF: every gate judges and records, none refuses").await;
    call_at(
        serving.data,
        "wrong",
        "stranger",
        &json!({"target": "agent-manager", "action": "list_agents", "operation": "drop table users"}),
    )
    .await
    .expect(200);
    let metrics = get(serving.ops, "/metrics").await.expect(200);
    assert!(String::from_utf8_lossy(&metrics.body).lines().any(|line| line == "gatekeeper_enforcing 0"));
    serving.stop().await.expect(0);
}

#[tokio::test]
async fn follow_shows_calls_as_they_come() {
    let program = Program::new();
    let serving = program.serve().await;
    let following = program.start(&["calls", "tail", "--follow", "--json"]);
    for n in 1..=3 {
        let reply = call_at(serving.data, KEY, "gemini-chat", &json!({"target": "nobody", "action": format!("{n}")})).await.expect(404);
        eventually("the call is shown", || async { following.out().lines().last().is_some_and(|line| line.contains(reply.call_id())) })
            .await;
    }
    assert_eq!(following.out().lines().count(), 3, "each once");
    drop(following);
    tokio::time::timeout(Duration::from_secs(20), serving.stop()).await.unwrap().expect(0);
}
