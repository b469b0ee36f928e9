//! One process takes over from another, or does not.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::json;

use super::{call, said};
use crate::support::house::{KEY, SERVICE_KEY, call_at, eventually, get, lay_policies};
use crate::support::line::Line;
use crate::support::program::{Program, Ran, Serving};
use crate::support::targets::{Conduct, Gate, Targets};
use crate::support::{Database, on_each_database, postgres};

on_each_database!(what_was_used_of_a_limit_stays_used);

/// The limits as shipped, but for what most sources may use.
fn limits(most: &str) -> (String, String) {
    ("limits.toml".to_owned(), include_str!("../../../policies/limits.toml").replace("\"100/1m\"", most).replace("\"500/1m\"", most))
}

pub struct Site {
    pub program: Program,
    pub targets: Targets,
}

impl Site {
    pub async fn new() -> Self {
        let targets = Targets::like_the_platform().asking_for(SERVICE_KEY).start().await;
        let program = Program::new().variable("SUPABASE_URL", &targets.origin()).variable("SUPABASE_SERVICE_ROLE_KEY", SERVICE_KEY);
        // No limit is in the way.
        lay_policies(program.folder(), &[limits("\"500000/1m\"")]);
        Self { program, targets }
    }

    pub fn socket(&self) -> PathBuf {
        self.program.folder().join("data/handover.sock")
    }

    /// A process that means to take over, and ends before it can.
    async fn fails(&self, program: &Program, code: i32) -> Ran {
        program.to_serve().start(&["serve", "--take-over"]).end().await.expect(code)
    }
}

async fn what_was_used_of_a_limit_stays_used(database: Database) {
    let site = Site::new().await;
    // So that no window ends while this runs.
    lay_policies(site.program.folder(), &[limits("\"100/1d\"")]);
    let mut program = site.program.clone();
    if let Database::Postgres = database {
        program = program.variable("DATABASE_URL", &postgres::database());
    }
    let first = program.serve().await;
    let data = first.data;
    let call = async || call_at(data, KEY, "superduper-router", &json!({"target": "agent-manager", "action": "list_agents"})).await;
    for _ in 0..40 {
        call().await.expect(200);
    }
    // The new process reads what is written of these, and hears of those that come while it starts.
    let taking_over = tokio::spawn({
        let program = program.clone();
        async move { program.take_over().await }
    });
    let mut passed = 40;
    while !taking_over.is_finished() && passed < 90 {
        call().await.expect(200);
        passed += 1;
    }
    let second = taking_over.await.unwrap();
    first.running.end().await.expect(0);
    assert!(passed < 100);
    for _ in passed..100 {
        call().await.expect(200);
    }
    // The one call that was under way may have been counted by the first process behind what it handed over.
    if call().await.status == 200 {
        call().await.expect(429);
    }
    let third = program.take_over().await;
    second.running.end().await.expect(0);
    call().await.expect(429);
    third.stop().await.expect(0);
}

#[tokio::test]
async fn calls_under_way_end_where_they_began_and_connections_are_told_to_go() {
    let site = Site::new().await;
    let gate = Gate::shut();
    site.targets.let_be("gemini-chat", Conduct::Hang(gate.clone()));
    let program = site.program.clone().variable("GATEKEEPER_LAME_DUCK_SECONDS", "3600");
    let first = program.serve().await;
    let envelope = json!({"target": "agent-manager", "action": "list_agents"});
    let mut idle = Line::to(first.data).await;
    idle.call("gemini-chat", &envelope).await.reply().await.expect(200);
    let mut busy = Line::to(first.data).await;
    busy.call("gemini-chat", &json!({"target": "gemini-chat", "payload": {"messages": [{"role": "user", "content": "hello"}]}})).await;
    site.targets.arrival("gemini-chat", 1).await;

    let second = program.take_over().await;
    assert_eq!((second.data, second.ops), (first.data, first.ops));
    first.running.log_line("handed over: the new process serves, calls under way here may end").await;
    second.running.log_line("taken over: this process serves, the one before it ends").await;
    // There is always one that is ready: no load balancer may think otherwise.
    let mut probe = Line::to(second.data).await;
    probe.say("GET /readyz HTTP/1.1\r\nhost: gatekeeper\r\n\r\n").await.reply().await.expect(200);
    let last = idle.call("gemini-chat", &envelope).await.reply().await.expect(200);
    assert_eq!(last.header("connection"), Some("close"));
    idle.hear_the_end().await;
    call(second.data).await.expect(200);
    gate.open();
    assert_eq!(busy.reply().await.expect(200).header("connection"), Some("close"));
    busy.hear_the_end().await;
    // Long before its time: nobody is left.
    first.running.end().await.expect(0);
    drop(probe);
    second.running.signal("INT");
    second.running.end().await.expect(0);
}

#[tokio::test]
async fn a_new_process_that_cannot_start_leaves_the_running_one_as_it_was() {
    let site = Site::new().await;
    let program = &site.program;
    let serving = program.serve().await;
    let serves_on = async |serving: &Serving| {
        call(serving.data).await.expect(200);
        assert_eq!(get(serving.ops, "/readyz").await.status, 200);
    };
    assert_eq!(std::fs::metadata(site.socket()).unwrap().permissions().mode() & 0o777, 0o600);
    let asked = "a new process is about to take over: this one serves until it is ready";
    let unready = "a new process was not ready to take over: this one serves on";

    // Wrong settings or policies are found before anything is asked for.
    let ran = site.fails(&program.clone().variable("GATEKEEPER_DRAIN_SECONDS", "soon"), 78).await;
    assert!(ran.err.contains("GATEKEEPER_DRAIN_SECONDS"), "{}", ran.err);
    let broken = program.folder().join("broken");
    std::fs::create_dir(&broken).unwrap();
    std::fs::write(broken.join("broken.toml"), "[[source]").unwrap();
    site.fails(&program.clone().variable("GATEKEEPER_POLICIES", &broken.display().to_string()), 78).await;
    serves_on(&serving).await;
    assert_eq!(said(&serving.running, asked), 0);

    // What is found later: no journal, no database that is ready.
    let file = program.folder().join("file");
    std::fs::write(&file, "").unwrap();
    site.fails(&program.clone().variable("GATEKEEPER_JOURNAL", &file.display().to_string()), 78).await;
    eventually("the running one knows", || async { said(&serving.running, unready) == 1 }).await;
    serves_on(&serving).await;
    let unready_database = program.clone().variable("DATABASE_URL", "sqlite://empty.db").variable("GATEKEEPER_MIGRATE", "false");
    site.fails(&unready_database, 78).await;
    eventually("the running one knows", || async { said(&serving.running, unready) == 2 }).await;
    serves_on(&serving).await;

    // One that is killed while it starts.
    let killed = program.to_serve().start(&["serve", "--take-over"]);
    killed.log_line("the running process passes its sockets, and serves on until this one is ready").await;
    killed.kill().await;
    serves_on(&serving).await;

    // And then one that can.
    let next = program.take_over().await;
    serving.running.end().await.expect(0);
    serves_on(&next).await;
    next.stop().await.expect(0);
}

#[tokio::test]
async fn addresses_that_the_running_one_does_not_serve_are_bound_anew() {
    let site = Site::new().await;
    let first = site.program.serve().await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let second = site.program.clone().variable("GATEKEEPER_LISTEN", &free.to_string()).take_over().await;
    assert_eq!((second.data, second.ops), (free, first.ops));
    let left = second.running.log_line("the process before this one listened here, this one does not").await;
    assert_eq!(left["address"], json!(first.data.to_string()));
    let before = first.data;
    first.running.end().await.expect(0);
    assert!(tokio::net::TcpStream::connect(before).await.is_err(), "nobody is there any more");
    call(second.data).await.expect(200);

    // By its address this time, and both planes on one.
    let one = site.program.clone().variable("GATEKEEPER_LISTEN", &free.to_string());
    let third = one.variable("GATEKEEPER_OPS_LISTEN", &free.to_string()).take_over().await;
    assert_eq!((third.data, third.ops), (free, free));
    second.running.end().await.expect(0);
    call(third.data).await.expect(200);
    third.stop().await.expect(0);
}

#[tokio::test]
async fn without_a_running_one_it_starts_as_usual() {
    let site = Site::new().await;
    let first = site.program.take_over().await;
    first.running.log_line("no process serves with this state directory: there is nothing to take over").await;
    call(first.data).await.expect(200);
    // Another state directory is another gatekeeper: it takes nothing over, and finds the port in use.
    let beside = site.program.clone().variable("GATEKEEPER_LISTEN", &first.data.to_string());
    let elsewhere = site.fails(&beside.variable("GATEKEEPER_STATE", "elsewhere"), 1).await;
    assert!(elsewhere.err.contains("cannot be listened on"), "{}", elsewhere.err);
    call(first.data).await.expect(200);
    // One that is no deploy leaves it the place where it is asked.
    let stray = site.program.serve().await;
    let told = stray.running.log_line("no other process will be able to take over from this one").await;
    assert!(told["error"].as_str().unwrap().contains("another process serves with this state directory"), "{told}");
    stray.stop().await.expect(0);
    // A socket that a killed process left behind is nobody's.
    first.running.kill().await;
    assert!(site.socket().exists());
    let second = site.program.take_over().await;
    call(second.data).await.expect(200);
    second.stop().await.expect(0);
    assert!(!site.socket().exists(), "in order, nothing is left behind");
}

#[tokio::test]
async fn without_a_place_to_be_asked_it_serves_and_cannot_be_taken_over_from() {
    let site = Site::new().await;
    std::fs::create_dir_all(site.socket()).unwrap();
    let serving = site.program.serve().await;
    serving.running.log_line("no other process will be able to take over from this one").await;
    call(serving.data).await.expect(200);
    serving.stop().await.expect(0);
}
