//! What operators do to a running gatekeeper from a terminal: it takes effect, it is told in a table and, with `--json`, in JSON, and the
//! exit code says how it went. What cannot be done says why and what to do.

use std::path::{Path, PathBuf};

use eliza_gatekeeper::clock::Clock;
use eliza_gatekeeper::store::control::{ActivityEntry, EntryKind, EntryStatus};
use eliza_gatekeeper::store::{OpenOptions, open};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::support::house::{ADMIN_TOKEN, KEY, Reply, SERVICE_KEY, call_at, eventually, lay_policies};
use crate::support::postgres::Cluster;
use crate::support::program::{Program, Running, Serving};
use crate::support::targets::Targets;
use crate::support::{Database, on_each_database, postgres};

const DROP: &str = "DROP TABLE users";

/// A gatekeeper that serves, and an operator beside it.
struct Desk {
    serving: Serving,
    operator: Program,
    database: String,
    _targets: Targets,
}

impl Desk {
    async fn open(database: Database) -> Self {
        let program = Program::new();
        let url = match database {
            Database::Sqlite => format!("sqlite://{}", program.folder().join("calls.db").display()),
            Database::Postgres => postgres::database(),
        };
        Self::of(program, &url).await
    }

    async fn of(program: Program, database: &str) -> Self {
        let targets = Targets::like_the_platform().asking_for(SERVICE_KEY).start().await;
        let program = program
            .variable("DATABASE_URL", database)
            .variable("SUPABASE_URL", &targets.origin())
            .variable("SUPABASE_SERVICE_ROLE_KEY", SERVICE_KEY)
            .variable("GATEKEEPER_ADMIN_TOKEN", ADMIN_TOKEN);
        let serving = program.serve().await;
        let operator = program.variable("GATEKEEPER_OPS_LISTEN", &serving.ops.to_string()).variable("USER", "alice");
        Self { serving, operator, database: database.to_owned(), _targets: targets }
    }

    async fn call(&self, source: &str, envelope: Value) -> Reply {
        call_at(self.serving.data, KEY, source, &envelope).await
    }

    /// Waits until a call that was made is in the database.
    async fn recorded(&self, reply: &Reply) -> Value {
        let show = async || self.operator.run(&["calls", "show", reply.call_id(), "--json"]).await;
        eventually("the call is recorded", || async { show().await.code == 0 }).await;
        show().await.value()
    }
}

fn list_agents() -> Value {
    json!({"target": "agent-manager", "action": "list_agents"})
}

fn drop_table() -> Value {
    json!({"target": "agent-manager", "action": "list_agents", "operation": DROP})
}

/// The policies as shipped, in a directory of their own.
fn policies(program: &Program) -> PathBuf {
    lay_policies(program.folder(), &[])
}

/// The steps of an explanation or a record: gate and decision.
fn decisions(said: &Value) -> Vec<(String, String)> {
    let text = |step: &Value, name: &str| step[name].as_str().unwrap().to_owned();
    said["steps"].as_array().unwrap().iter().map(|step| (text(step, "gate"), text(step, "decision"))).collect()
}

fn decision(said: &Value, gate: &str) -> String {
    decisions(said).into_iter().find(|(name, _)| name == gate).unwrap().1
}

fn step<'v>(said: &'v Value, gate: &str) -> &'v Value {
    said["steps"].as_array().unwrap().iter().find(|step| step["gate"] == gate).unwrap()
}

// What is wrong is told

#[tokio::test]
async fn arguments_that_make_no_sense_are_told_before_anybody_is_asked() {
    // Nobody is there to be asked.
    let program = Program::bare().variable("GATEKEEPER_ADMIN_TOKEN", ADMIN_TOKEN).variable("GATEKEEPER_OPS_LISTEN", "127.0.0.1:1");
    let long = "x".repeat(501);
    let wrong: [(&[&str], &str); 25] = [
        (&["enforce"], "Usage"),
        (
            &["enforce", "off", "--gate", "sql"],
            "authenticate, blocklist, source_limit, authorize, endpoint_limit, sql_filter, schema_check",
        ),
        (&["enforce", "off", "--for", "soon"], "--for"),
        (&["enforce", "off", "--until", "tomorrow"], "2027-01-01T00:00:00Z"),
        (&["enforce", "off", "--until", "2020-01-01T00:00:00Z"], "over already"),
        (&["enforce", "off", "--for", "1h", "--until", "2099-01-01T00:00:00Z"], "cannot be used with"),
        (&["enforce", "off", "--reason", &long], "1 to 500 characters"),
        (&["enforce", "status", "--url", "not an address"], "http://127.0.0.1:9090"),
        (&["enforce", "status", "--url", "ftp://host"], "http://127.0.0.1:9090"),
        (&["explain", "--target", "brain"], "--source"),
        (&["explain", "--source", "a"], "--target"),
        (&["explain", "--source", "a", "--target", "b", "--body", "nowhere.json"], "nowhere.json"),
        (&["explain", "--source", "a", "--target", "b", "--key", "k", "--service-role"], "cannot be used with"),
        (&["explain", "--source", "a", "--target", "b", "--network", "here"], "--network"),
        (&["flags", "set", "target:brain"], "--kill"),
        (&["flags", "set", "target:brain", "--kill", "--unkill"], "cannot be used with"),
        (&["flags", "set", "target:brain", "--rollout", "101"], "--rollout"),
        (&["flags", "set", "target:brain", "--enabled", "perhaps"], "true, false"),
        (&["block", "add", "203.0.113.0/24"], "--reason"),
        (&["block", "add", "203.0.113.0/33", "--reason", "x"], "neither an address"),
        (&["block", "remove", "the-last-one"], "<ID>"),
        (&["bypass", "log", "--by", "alice", "--target", "brain"], "--reason"),
        (&["bypass", "log", "--by", " ", "--target", "brain", "--reason", "x"], "--by"),
        (&["log-level", "loud"], "trace, debug, info, warn or error"),
        (&["audit", "-n", "0"], "--number"),
    ];
    for (arguments, told) in wrong {
        let ran = program.run(arguments).await.expect(2);
        assert!(ran.out.is_empty() && ran.err.contains(told), "{arguments:?}: {ran:?}");
    }
    let not_json = program.fed(&["explain", "--source", "a", "--target", "b", "--body", "-"], "{").await.expect(2);
    assert!(not_json.err.contains("is not JSON"), "{not_json:?}");
    let both = ["explain", "--source", "a", "--target", "brain", "--action", "think", "--body", "-"];
    let both = program.fed(&both, r#"{"target": "brain"}"#).await.expect(2);
    assert!(both.err.contains("whole envelope"), "{both:?}");
}

#[tokio::test]
async fn every_command_explains_itself() {
    let program = Program::bare();
    let commands: [&[&str]; 23] = [
        &["enforce"],
        &["enforce", "status"],
        &["enforce", "on"],
        &["enforce", "off"],
        &["policy"],
        &["policy", "check"],
        &["policy", "show"],
        &["policy", "status"],
        &["policy", "reload"],
        &["explain"],
        &["flags", "list"],
        &["flags", "set"],
        &["block", "list"],
        &["block", "add"],
        &["block", "remove"],
        &["bypass", "log"],
        &["bypass", "list"],
        &["bypass", "review"],
        &["fixes", "list"],
        &["fixes", "review"],
        &["log-level"],
        &["audit"],
        &["calls", "show"],
    ];
    for command in commands {
        let help = program.run(&[command, &["--help"]].concat()).await.expect(0);
        assert!(help.out.contains("Usage: gatekeeper") && help.err.is_empty(), "{command:?}: {help:?}");
    }
}

#[tokio::test]
async fn without_a_gatekeeper_or_its_token_a_command_says_what_is_missing() {
    let nobody = Program::bare().variable("GATEKEEPER_OPS_LISTEN", "127.0.0.1:1");
    let commands: [&[&str]; 6] = [
        &["enforce", "status"],
        &["enforce", "off", "--for", "1h"],
        &["policy", "status"],
        &["policy", "reload"],
        &["explain", "--source", "a", "--target", "b"],
        &["log-level"],
    ];
    for command in commands {
        let without = nobody.run(command).await.expect(78);
        assert!(without.out.is_empty() && without.err.contains("GATEKEEPER_ADMIN_TOKEN"), "{command:?}: {without:?}");
        let unreachable = nobody.clone().variable("ADMIN_TOKEN", ADMIN_TOKEN).run(command).await.expect(1);
        let told = ["127.0.0.1:1", "is a gatekeeper running"].iter().all(|words| unreachable.err.contains(words));
        assert!(told && unreachable.out.is_empty() && !unreachable.err.contains(ADMIN_TOKEN), "{command:?}: {unreachable:?}");
    }
    // From a file, as secrets come; with two of them nobody knows which is meant.
    std::fs::write(nobody.folder().join("token"), ADMIN_TOKEN).unwrap();
    let from_file = nobody.clone().variable("GATEKEEPER_ADMIN_TOKEN_FILE", "token");
    from_file.run(&["enforce", "status"]).await.expect(1);
    let twice = from_file.variable("GATEKEEPER_ADMIN_TOKEN", ADMIN_TOKEN).run(&["enforce", "status"]).await.expect(78);
    assert!(twice.err.contains("is set twice"), "{twice:?}");
    let nowhere = Program::bare().variable("GATEKEEPER_OPS_LISTEN", "nowhere").variable("ADMIN_TOKEN", ADMIN_TOKEN);
    assert!(nowhere.run(&["enforce", "status"]).await.expect(78).err.contains("GATEKEEPER_OPS_LISTEN"));
}

#[tokio::test]
async fn what_is_no_gatekeeper_is_told_from_one() {
    let stranger = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let program = Program::bare()
        .variable("GATEKEEPER_OPS_LISTEN", &stranger.local_addr().unwrap().to_string())
        .variable("GATEKEEPER_ADMIN_TOKEN", ADMIN_TOKEN);
    let answering = tokio::spawn(async move {
        loop {
            let (mut stream, _) = stranger.accept().await.unwrap();
            let mut heard = [0; 4096];
            let _ = stream.read(&mut heard).await;
            let page = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nhigh";
            let _ = stream.write_all(page.as_bytes()).await;
        }
    });
    let ran = program.run(&["enforce", "status"]).await.expect(1);
    assert!(ran.err.contains("is not JSON") && !ran.err.contains("high"), "{ran:?}");
    answering.abort();
}

#[tokio::test]
async fn a_token_that_is_not_accepted_is_told_by_name() {
    let desk = Desk::open(Database::Sqlite).await;
    let wrong = desk.operator.clone().variable("GATEKEEPER_ADMIN_TOKEN", "somebody-else's-token");
    for command in [["enforce", "status"], ["flags", "list"], ["block", "list"]] {
        let ran = wrong.run(&command).await.expect(1);
        assert!(ran.err.contains("GATEKEEPER_ADMIN_TOKEN") && !ran.err.contains("somebody-else"), "{ran:?}");
        assert_eq!(wrong.run(&[&command[..], &["--json"]].concat()).await.expect(1).value()["code"], "unauthorized");
    }
    // Callers' own address knows nothing of this.
    let elsewhere = desk.operator.run(&["enforce", "status", "--url", &format!("http://{}", desk.serving.data)]).await.expect(1);
    assert!(elsewhere.err.contains("is this its ops address?"), "{elsewhere:?}");
    desk.serving.stop().await.expect(0);

    let off = Program::new().serve().await;
    let operator = desk.operator.variable("GATEKEEPER_OPS_LISTEN", &off.ops.to_string());
    let ran = operator.run(&["enforce", "status"]).await.expect(1);
    assert!(ran.err.contains("admin API is off"), "{ran:?}");
    off.stop().await.expect(0);
}

// policy

#[tokio::test]
async fn policy_check_names_every_problem_with_its_line() {
    let program = Program::bare();
    let directory = policies(&program);
    let directory = directory.to_str().unwrap();
    let sound = program.run(&["policy", "check", "--policies", directory]).await.expect(0);
    assert!(sound.out.contains("sources") && sound.out.contains("warning: SUPABASE_URL is not set"), "{sound:?}");
    let said = program.run(&["policy", "check", "--policies", directory, "--json"]).await.expect(0).value();
    assert_eq!((&said["ok"], &said["problems"]), (&json!(true), &json!([])));

    std::fs::write(
        Path::new(directory).join("own.toml"),
        "[[source]]\nnames = [\"a b\"]\n[[target]]\nnames = [\"t\"]\ntimeout = \"soon\"\n",
    )
    .unwrap();
    let broken = program.run(&["policy", "check", "--policies", directory]).await.expect(78);
    for place in ["own.toml:2:", "own.toml:5:"] {
        assert!(broken.err.lines().any(|line| line.starts_with(place)), "{place}: {broken:?}");
    }
    let said = program.run(&["policy", "check", "--policies", directory, "--json"]).await.expect(78);
    assert_eq!((&said.value()["ok"], said.value()["problems"].as_array().unwrap().len(), said.err.as_str()), (&json!(false), 2, ""));
}

#[tokio::test]
async fn the_policy_is_shown_as_the_files_say_it_and_as_it_is_in_force() {
    let program = Program::new();
    let own = "[[block]]\nsources = [\"openai-chat\"]\nreason = \"runs wild\"\n\
               [[override]]\nsource = \"gemini-chat\"\nendpoint = \"agent-manager:*\"\nlimit = [\"4/1m\"]\n";
    let directory = lay_policies(program.folder(), &[("own.toml".into(), own.into())]);
    let desk = Desk::of(program.variable("GATEKEEPER_POLICIES", directory.to_str().unwrap()), "sqlite://calls.db").await;
    for arguments in [&["policy", "show"][..], &["policy", "show", "--running"]] {
        let shown = desk.operator.run(arguments).await.expect(0).out;
        for words in ["gemini-chat", "agent-manager", "drop-table", "runs wild", "own.toml:2", "agent-manager:*", "sources.toml:"] {
            assert!(shown.contains(words), "{words}: {shown}");
        }
        assert!(!shown.contains(SERVICE_KEY), "{shown}");
    }
    let show = async |arguments: &[&str]| desk.operator.run(&[&["policy", "show", "--json"], arguments].concat()).await.expect(0).value();
    assert_eq!(show(&[]).await, show(&["--running"]).await);
    std::fs::remove_file(directory.join("own.toml")).unwrap();
    assert_eq!(show(&[]).await["blocks"], json!([]));
    std::fs::write(directory.join("own.toml"), "x").unwrap();
    let broken = desk.operator.run(&["policy", "show"]).await.expect(78);
    assert!(broken.err.contains("own.toml:1:") && broken.out.is_empty(), "{broken:?}");
    assert_eq!(show(&["--running"]).await["blocks"][0]["subject"], "openai-chat");
    desk.serving.stop().await.expect(0);
}

#[tokio::test]
async fn a_reload_puts_sound_policies_in_force_and_names_what_is_wrong_with_others() {
    let program = Program::new();
    let directory = policies(&program);
    let desk = Desk::of(program.variable("GATEKEEPER_POLICIES", directory.to_str().unwrap()), "sqlite://calls.db").await;
    let status = desk.operator.run(&["policy", "status", "--json"]).await.expect(0).value();
    assert_eq!((&status["problems"], &status["origin"]), (&json!([]), &json!(directory.to_str().unwrap())));
    desk.call("new-agent", list_agents()).await.expect(401);

    let own = directory.join("own.toml");
    std::fs::write(&own, "[[source]]\nnames = [\"new-agent\"]]\n").unwrap();
    let broken = desk.operator.run(&["policy", "reload"]).await.expect(1);
    assert!(broken.err.lines().any(|line| line.starts_with("own.toml:2:")), "{broken:?}");
    let said = desk.operator.run(&["policy", "reload", "--json"]).await.expect(1).value();
    assert!(said["problems"][0].as_str().unwrap().starts_with("own.toml:2:"), "{said}");
    let status = desk.operator.run(&["policy", "status"]).await.expect(1);
    assert!(status.out.contains(directory.to_str().unwrap()) && status.err.contains("own.toml:2:"), "{status:?}");
    desk.call("gemini-chat", list_agents()).await.expect(200);
    desk.call("new-agent", list_agents()).await.expect(401);

    std::fs::write(&own, "[[source]]\nnames = [\"new-agent\"]\n").unwrap();
    desk.operator.run(&["policy", "reload"]).await.expect(0);
    desk.call("new-agent", list_agents()).await.expect(200);
    desk.operator.run(&["policy", "status"]).await.expect(0);
    desk.serving.stop().await.expect(0);
}

// calls show and explain

#[tokio::test]
async fn a_call_that_was_made_is_shown_gate_by_gate() {
    let desk = Desk::open(Database::Sqlite).await;
    let answered = desk.recorded(&desk.call("gemini-chat", list_agents()).await.expect(200)).await;
    assert!(decisions(&answered).iter().all(|(_, decision)| decision == "allow"), "{answered}");
    let [policy_of_source, policy_of_target] = ["authenticate", "authorize"].map(|gate| step(&answered, gate)["policy"].as_str().unwrap());
    assert!(policy_of_source.contains("sources.toml:") && policy_of_target.contains("targets.toml:"), "{answered}");

    let reply = desk.call("gemini-chat", drop_table()).await.expect(403);
    let refused = desk.recorded(&reply).await;
    assert_eq!(["endpoint_limit", "sql_filter", "schema_check"].map(|gate| decision(&refused, gate)), ["allow", "deny", "not_reached"]);
    let denied = step(&refused, "sql_filter");
    assert!(denied["policy"].as_str().unwrap().contains("sql.toml:"), "{refused}");
    let shown = desk.operator.run(&["calls", "show", reply.call_id()]).await.expect(0).out;
    for words in [denied["why"].as_str().unwrap(), denied["policy"].as_str().unwrap(), "SQL at /operation", "not_reached"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }

    let unknown = desk.recorded(&desk.call("gemini-chat", json!({"target": "nobody"})).await.expect(404)).await;
    assert_eq!(["source_limit", "authorize"].map(|gate| decision(&unknown, gate)), ["allow", "not_reached"]);

    // Lines of other policies would lead astray.
    let others = lay_policies(desk.operator.folder(), &[("own.toml".into(), "[[source]]\nnames = [\"new-agent\"]\n".into())]);
    let elsewhere = desk.operator.run(&["calls", "show", reply.call_id(), "--policies", others.to_str().unwrap()]).await.expect(0).out;
    assert!(elsewhere.contains("not those it was judged by") && elsewhere.contains("sql.toml:"), "{elsewhere}");
    assert!(!elsewhere.contains("sources.toml:"), "{elsewhere}");
    desk.serving.stop().await.expect(0);
}

#[tokio::test]
async fn explain_agrees_with_the_call_that_is_made() {
    let desk = Desk::open(Database::Sqlite).await;
    let explain = async |arguments: &[&str]| {
        let all = [&["explain", "--source", "gemini-chat", "--target", "agent-manager"], arguments].concat();
        (desk.operator.run(&all).await, desk.operator.run(&[&all[..], &["--json"]].concat()).await)
    };

    let (table, said) = explain(&["--action", "list_agents"]).await;
    assert!(table.expect(0).out.contains("it would be forwarded"));
    let made = desk.recorded(&desk.call("gemini-chat", list_agents()).await.expect(200)).await;
    assert_eq!(decisions(&said.expect(0).value()), decisions(&made));

    let (table, said) = explain(&["--action", "list_agents", "--operation", DROP]).await;
    let reply = desk.call("gemini-chat", drop_table()).await.expect(403);
    let (said, made) = (said.expect(1).value(), desk.recorded(&reply).await);
    assert_eq!((&said["status"], &said["code"], &said["message"]), (&json!(403), &json!(reply.code()), &reply.json()["message"]));
    assert_eq!(decisions(&said), decisions(&made));
    for member in ["saw", "why", "policy"] {
        assert_eq!(step(&said, "sql_filter")[member], step(&made, "sql_filter")[member]);
    }
    assert!(table.expect(1).out.contains("it would be refused: 403 dangerous_operation"));

    // The body may be the payload, or the whole envelope; in a file, or piped in.
    let file = desk.operator.folder().join("body.json");
    std::fs::write(&file, json!({"sql": DROP}).to_string()).unwrap();
    let (table, _) = explain(&["--body", file.to_str().unwrap()]).await;
    assert!(table.expect(1).out.contains("SQL at /payload/sql"));
    let piped = ["explain", "--source", "gemini-chat", "--target", "agent-manager", "--body", "-"];
    let envelope = desk.operator.fed(&piped, &drop_table().to_string()).await.expect(1);
    assert!(envelope.out.contains("SQL at /operation"), "{envelope:?}");
    // Every byte counts: what a parser would put right is seen.
    let twice = desk.operator.fed(&piped, r#"{"sql": "SELECT 1", "sql": "DROP TABLE users"}"#).await.expect(1);
    assert!(twice.out.contains("ambiguous_body"), "{twice:?}");

    let stranger = desk.operator.run(&["explain", "--source", "nobody-listed", "--target", "brain", "--json"]).await.expect(1).value();
    assert_eq!((&stranger["status"], decision(&stranger, "authenticate").as_str()), (&json!(401), "deny"));
    desk.operator.run(&["explain", "--service-role", "--target", "agent-manager"]).await.expect(0);
    desk.serving.stop().await.expect(0);
}

// enforce

on_each_database!(
    enforcement_is_turned_off_and_on_and_everybody_can_see_who_did_it,
    a_killed_target_is_not_called_whichever_way_it_was_killed,
    a_block_keeps_a_source_out_whichever_way_it_was_made,
    a_bypass_is_logged_listed_and_reviewed,
    a_fix_that_failed_waits_for_somebody,
    the_logs_level_is_turned_while_it_runs,
);

async fn enforcement_is_turned_off_and_on_and_everybody_can_see_who_did_it(database: Database) {
    let desk = Desk::open(database).await;
    let on = desk.operator.run(&["enforce", "status"]).await.expect(0);
    assert!(on.out.trim_end().ends_with("enforcing") && on.out.contains("sql_filter"), "{on:?}");
    desk.call("gemini-chat", drop_table()).await.expect(403);

    let off = desk.operator.run(&["enforce", "off", "--gate", "sql_filter", "--for", "1h", "--reason", "INC-4711"]).await.expect(0);
    for words in ["observe", "INC-4711", "alice@", "enforcement is OFF for sql_filter"] {
        assert!(off.out.contains(words), "{words}: {off:?}");
    }
    let status = desk.operator.run(&["enforce", "status", "--json"]).await.expect(1).value();
    let gate = status["gates"].as_array().unwrap().iter().find(|gate| gate["gate"] == "sql_filter").unwrap();
    assert_eq!((&status["enforcing"], &gate["mode"], &gate["reason"]), (&json!(false), &json!("observe"), &json!("INC-4711")));
    assert!(gate["until"].is_string() && gate["actor"].as_str().unwrap().starts_with("alice@"), "{gate}");
    let passed = desk.recorded(&desk.call("gemini-chat", drop_table()).await.expect(200)).await;
    assert_eq!(["endpoint_limit", "sql_filter"].map(|gate| decision(&passed, gate)), ["allow", "would_deny"]);
    call_at(desk.serving.data, "wrong", "gemini-chat", &list_agents()).await.expect(401);

    let endless = desk.operator.run(&["enforce", "off"]).await.expect(0);
    assert!(endless.out.contains("enforcement is OFF") && endless.out.contains("it has no end"), "{endless:?}");
    let on = desk.operator.run(&["enforce", "on", "--json"]).await.expect(0).value();
    assert_eq!(on["enforcing"], true);
    desk.operator.run(&["enforce", "status"]).await.expect(0);
    desk.call("gemini-chat", drop_table()).await.expect(403);

    // It ends by itself.
    let brief = desk.operator.run(&["enforce", "off", "--for", "2s", "--reason", "brief"]).await.expect(0);
    assert!(!brief.out.contains("it has no end"), "{brief:?}");
    desk.operator.run(&["enforce", "status"]).await.expect(1);
    eventually("enforcement is back", || async { desk.operator.run(&["enforce", "status"]).await.code == 0 }).await;
    desk.call("gemini-chat", drop_table()).await.expect(403);

    let audited = async || desk.operator.run(&["audit", "-n", "100", "--json"]).await.expect(0).value();
    let about = |said: &Value, reason: &str| said["entries"].as_array().unwrap().iter().any(|entry| entry["reason"] == reason);
    eventually("it is audited", || async { about(&audited().await, "INC-4711") && about(&audited().await, "brief") }).await;
    let table = desk.operator.run(&["audit", "-n", "100"]).await.expect(0).out;
    assert!(table.contains("enforcement_changed") && table.contains("alice@") && table.contains("INC-4711"), "{table}");
    desk.serving.stop().await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn enforcement_obeys_while_the_database_is_away() {
    let cluster = Cluster::private();
    let desk = Desk::of(Program::new(), &cluster.database()).await;
    cluster.stop();
    desk.call("gemini-chat", drop_table()).await.expect(403);
    desk.operator.run(&["enforce", "off", "--for", "1h", "--reason", "no database either"]).await.expect(0);
    desk.call("gemini-chat", drop_table()).await.expect(200);
    desk.operator.run(&["enforce", "status"]).await.expect(1);
    desk.operator.run(&["enforce", "on"]).await.expect(0);
    desk.call("gemini-chat", drop_table()).await.expect(403);
    desk.operator.run(&["explain", "--source", "gemini-chat", "--target", "agent-manager"]).await.expect(0);
    // What lies in the database says so.
    let flags = desk.operator.run(&["flags", "set", "target:brain", "--kill"]).await.expect(1);
    assert!(flags.err.contains("database"), "{flags:?}");

    cluster.start();
    let audited = async || desk.operator.run(&["audit", "--json"]).await;
    eventually("it is audited afterwards", || async { audited().await.out.contains("no database either") }).await;
    desk.serving.stop().await.expect(0);
}

// flags and blocks

async fn a_killed_target_is_not_called_whichever_way_it_was_killed(database: Database) {
    let desk = Desk::open(database).await;
    let name = "target:agent-manager";
    let on = json!({"name": name, "enabled": true, "kill_switch": false, "rollout_percentage": 100, "governs": "target"});
    let listed = async || desk.operator.run(&["flags", "list", "--json"]).await.expect(0).value();
    eventually("every target has its flag", || async { listed().await["flags"].as_array().unwrap().contains(&on) }).await;
    assert_eq!(listed().await["via"], "gatekeeper");

    let set = desk.operator.run(&["flags", "set", name, "--kill", "--reason", "INC-4711"]).await.expect(0);
    assert!(set.out.contains(name) && set.out.contains("kill switch false") && set.out.contains("by the gatekeeper"), "{set:?}");
    assert_eq!(desk.call("gemini-chat", list_agents()).await.expect(503).code(), "target_disabled");

    // Who has no token goes to the database, and the gatekeeper hears of it.
    let beside = desk.operator.clone().variable("GATEKEEPER_ADMIN_TOKEN", "");
    let set = beside.run(&["flags", "set", name, "--unkill", "--reason", "solved", "--json"]).await.expect(0).value();
    assert_eq!((&set["via"], &set["before"]["kill_switch"], &set["flag"]), (&json!("database"), &json!(true), &on));
    eventually("the target is back", || async { desk.call("gemini-chat", list_agents()).await.status == 200 }).await;
    let share = beside.run(&["flags", "set", name, "--rollout", "0", "--enabled", "true"]).await.expect(0);
    assert!(share.out.contains("in the database, because GATEKEEPER_ADMIN_TOKEN is not set"), "{share:?}");
    eventually("nobody reaches it", || async { desk.call("gemini-chat", list_agents()).await.status == 503 }).await;

    let odd = desk.operator.run(&["flags", "set", "stage:nothing", "--enabled", "false"]).await.expect(0);
    assert!(odd.out.contains("it governs no target and no gate"), "{odd:?}");
    let audited = desk.operator.run(&["audit", "--json"]).await.expect(0).value();
    for reason in ["INC-4711", "solved"] {
        let entry = audited["entries"].as_array().unwrap().iter().find(|entry| entry["reason"] == reason);
        let entry = entry.unwrap_or_else(|| panic!("{reason}: {audited}"));
        assert_eq!((&entry["action"], &entry["subject"]), (&json!("flag_changed"), &json!(name)), "{entry}");
        assert!(entry["actor"].as_str().unwrap().starts_with("alice@"), "{entry}");
    }

    // And when no gatekeeper is there.
    desk.serving.stop().await.expect(0);
    let listed = desk.operator.run(&["flags", "list"]).await.expect(0);
    assert!(listed.out.contains("because no gatekeeper answers"), "{listed:?}");
    desk.operator.run(&["flags", "list", "--url", "http://127.0.0.1:1"]).await.expect(1);
}

async fn a_block_keeps_a_source_out_whichever_way_it_was_made(database: Database) {
    let desk = Desk::open(database).await;
    let beside = desk.operator.clone().variable("GATEKEEPER_ADMIN_TOKEN", "");
    for (operator, via) in [(&desk.operator, "gatekeeper"), (&beside, "database")] {
        let made = operator.run(&["block", "add", "gemini-chat", "--reason", "runs wild", "--for", "1h", "--json"]).await.expect(0).value();
        assert_eq!((&made["kind"], &made["subject"], &made["via"]), (&json!("source"), &json!("gemini-chat"), &json!(via)));
        eventually("it is kept out", || async { desk.call("gemini-chat", list_agents()).await.status == 403 }).await;
        assert_eq!(desk.call("gemini-chat", list_agents()).await.code(), "source_disabled");
        desk.call("openai-chat", list_agents()).await.expect(200);

        let listed = operator.run(&["block", "list"]).await.expect(0).out;
        let id = made["id"].as_str().unwrap();
        assert!([id, "runs wild", "alice@"].iter().all(|words| listed.contains(words)), "{listed}");
        operator.run(&["block", "remove", id, "--reason", "tame again & well"]).await.expect(0);
        eventually("it is let in", || async { desk.call("gemini-chat", list_agents()).await.status == 200 }).await;
        let gone = operator.run(&["block", "remove", id]).await.expect(1);
        assert!(gone.err.contains("lock"), "{gone:?}");
    }
    for everything in ["*", "0.0.0.0/0", "::/0"] {
        for operator in [&desk.operator, &beside] {
            let refused = operator.run(&["block", "add", everything, "--reason", "x"]).await;
            assert!(refused.code != 0 && refused.err.contains("would keep everyone out"), "{refused:?}");
        }
    }
    let network = desk.operator.run(&["block", "add", "203.0.113.9/24", "--reason", "stuffing", "--json"]).await.expect(0).value();
    assert_eq!((&network["kind"], &network["subject"], &network["until"]), (&json!("network"), &json!("203.0.113.0/24"), &Value::Null));
    let audited = desk.operator.run(&["audit", "-n", "50", "--json"]).await.expect(0).value();
    let count = |action: &str, reason: &str| {
        audited["entries"].as_array().unwrap().iter().filter(|entry| entry["action"] == action && entry["reason"] == reason).count()
    };
    assert_eq!((count("block_added", "runs wild"), count("block_ended", "tame again & well")), (2, 2), "{audited}");
    desk.serving.stop().await.expect(0);
}

// bypass, fixes, log-level

async fn a_bypass_is_logged_listed_and_reviewed(database: Database) {
    let desk = Desk::open(database).await;
    // The gatekeeper may be the one that is down.
    desk.serving.stop().await.expect(0);
    let program = desk.operator;
    let log = ["bypass", "log", "--by", "alice", "--target", "vercel-manager", "--reason", "INC-4711: gatekeeper down"];
    let logged = program.run(&log).await.expect(0);
    assert!(logged.out.contains("gatekeeper bypass review "), "{logged:?}");
    let entry = program.run(&[&log[..], &["--json"]].concat()).await.expect(0).value();
    assert_eq!(entry["metadata"], json!({"by": "alice", "target": "vercel-manager", "reason": "INC-4711: gatekeeper down"}));

    let open = async || program.run(&["bypass", "list", "--json"]).await.expect(0).value()["entries"].as_array().unwrap().clone();
    assert_eq!(open().await.len(), 2);
    let table = program.run(&["bypass", "list"]).await.expect(0).out;
    assert!(["alice", "vercel-manager", "INC-4711: gatekeeper down", "open"].iter().all(|words| table.contains(words)), "{table}");
    let id = entry["id"].as_str().unwrap();
    // It is no fix, and it is no call.
    program.run(&["fixes", "review", id, "--by", "bob", "--note", "x"]).await.expect(1);
    assert_eq!(program.run(&["calls", "show", id, "--json"]).await.expect(0).value().get("steps"), None);

    let reviewed = program.run(&["bypass", "review", id, "--by", "bob", "--note", "cause mended"]).await.expect(0);
    assert!(reviewed.out.contains("bob"), "{reviewed:?}");
    assert_eq!(open().await.len(), 1);
    let all = program.run(&["bypass", "list", "--all"]).await.expect(0).out;
    assert!(all.contains("reviewed") && all.contains("bob"), "{all}");
    program.run(&["bypass", "review", id, "--by", "bob", "--note", "again"]).await.expect(1);
    program.run(&["bypass", "review", "01234567-89ab-7def-8123-456789abcdef", "--by", "bob", "--note", "x"]).await.expect(1);
    let audited = program.run(&["audit", "--json"]).await.expect(0).out;
    assert!(audited.contains("bypass_logged") && audited.contains("cause mended"), "{audited}");
    assert_eq!(program.run(&["fixes", "list", "--json"]).await.expect(0).value()["entries"], json!([]));
}

async fn a_fix_that_failed_waits_for_somebody(database: Database) {
    let desk = Desk::open(database).await;
    desk.serving.stop().await.expect(0);
    let program = desk.operator;
    let fix = |status: EntryStatus| ActivityEntry {
        id: Uuid::new_v4(),
        origin: None,
        at: Clock::system().now(),
        kind: EntryKind::AutoFix,
        status,
        title: "Auto-fix".into(),
        description: "of a schema operation".into(),
        metadata: json!({"source": "openai-chat", "target": "schema-manager", "reason": "no such column"}),
    };
    let (failed, triggered) = (fix(EntryStatus::Failed), fix(EntryStatus::Triggered));
    let store = open(&desk.database, OpenOptions { pool_size: 1, max_overflow: 0 }).await.unwrap();
    store.add_entries(&[failed.clone(), triggered.clone()]).await.unwrap();
    store.close().await;

    let table = program.run(&["fixes", "list"]).await.expect(0).out;
    assert!([&failed.id.to_string(), "openai-chat", "no such column"].iter().all(|words| table.contains(*words)), "{table}");
    assert!(!table.contains(&triggered.id.to_string()), "{table}");
    let all = program.run(&["fixes", "list", "--all", "--json"]).await.expect(0).value();
    assert_eq!(all["entries"].as_array().unwrap().len(), 2);
    let review = async |id: Uuid| program.run(&["fixes", "review", &id.to_string(), "--by", "alice", "--note", "by hand"]).await;
    review(failed.id).await.expect(0);
    review(failed.id).await.expect(1);
    review(triggered.id).await.expect(1);
    assert_eq!(program.run(&["fixes", "list", "--json"]).await.expect(0).value()["entries"], json!([]));
    assert!(program.run(&["fixes", "list", "--all"]).await.expect(0).out.contains("alice"));
}

async fn the_logs_level_is_turned_while_it_runs(database: Database) {
    let desk = Desk::open(database).await;
    assert_eq!(desk.operator.run(&["log-level"]).await.expect(0).out, "info\n");
    assert_eq!(desk.operator.run(&["log-level", "DEBUG", "--json"]).await.expect(0).value()["level"], "debug");
    assert_eq!(desk.operator.run(&["log-level"]).await.expect(0).out, "debug\n");
    desk.serving.stop().await.expect(0);
}

// The demo

#[tokio::test]
async fn the_demo_takes_every_command() {
    let program = Program::bare().variable("GATEKEEPER_LISTEN", "127.0.0.1:0").variable("GATEKEEPER_OPS_LISTEN", "127.0.0.1:0");
    let demo = program.start(&["demo", "--json"]);
    let greeting = greeting(&demo).await;
    let text = |name: &str| greeting[name].as_str().unwrap().to_owned();
    let operator = program
        .clone()
        .variable("DATABASE_URL", &text("database"))
        .variable("GATEKEEPER_OPS_LISTEN", text("ops").trim_start_matches("http://").trim_end_matches('/'))
        .variable("GATEKEEPER_ADMIN_TOKEN", &text("admin_token"));
    operator.run(&["enforce", "status"]).await.expect(0);
    operator.run(&["explain", "--source", "gemini-chat", "--target", "agent-manager"]).await.expect(0);
    operator.run(&["explain", "--source", "gemini-chat", "--target", "agent-manager", "--operation", DROP]).await.expect(1);
    operator.run(&["policy", "status"]).await.expect(0);
    operator.run(&["flags", "set", "target:agent-manager", "--kill"]).await.expect(0);
    let at = text("url").strip_prefix("http://").unwrap().split('/').next().unwrap().parse().unwrap();
    call_at(at, &text("key"), &text("source"), &list_agents()).await.expect(503);
    operator.run(&["flags", "set", "target:agent-manager", "--unkill"]).await.expect(0);
    for command in [["block", "list"], ["bypass", "list"], ["fixes", "list"], ["flags", "list"], ["policy", "reload"], ["health", "check"]]
    {
        operator.run(&command).await.expect(0);
    }
    assert!(operator.run(&["audit"]).await.expect(0).out.contains("flag_changed"));
}

async fn greeting(demo: &Running) -> Value {
    eventually("the demo greets", || async { demo.out().ends_with('\n') }).await;
    serde_json::from_str(&demo.out()).unwrap()
}
