//! Every refusal says in one form what was refused and how to find it again, is recorded, and gives nothing away: neither its answer,
//! nor its record, nor the log holds a key, what a body held, or where anything lies.

pub mod table;
pub mod world;

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;

use eliza_gatekeeper::clock::ManualClock;
use eliza_gatekeeper::store::CallRow;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::house::{ADMIN_TOKEN, House, Reply, SERVICE_KEY, lay_policies, midnight};
use crate::support::line::Line;
use crate::support::program::Program;
use crate::support::rows::{everything, rows};
use table::{PASSES, Row};
use world::{SECRETS, World};

/// What no answer may hold, beside the secrets and the addresses of the world.
const INSIDES: [&str; 8] = ["127.0.0.1", "localhost", "SELECT", "src/", ".rs:", "sqlx", "hyper", "sqlite"];

pub async fn send(at: SocketAddr, row: &Row) -> Reply {
    Line::to(at).await.say(&row.says).await.reply().await
}

fn leaks_nothing(name: &str, text: &str, secrets: &[&str]) {
    for secret in secrets {
        assert!(!text.contains(secret), "{name}: {secret} shows in {text}");
    }
}

/// What is said of refused SQL beyond the original's sentence: all of it is in the members too, for programs.
fn explanation<'b>(name: &str, body: &'b Value) -> &'b str {
    let text = |member: &str| body[member].as_str().unwrap_or_else(|| panic!("{name}: {member} of {body}"));
    let detail = text("detail");
    for member in ["rule", "pointer", "reason", "fingerprint"] {
        assert!(detail.contains(text(member)), "{name}: {member} in {detail}");
    }
    assert!(
        ["critical", "high"].contains(&text("severity")) && !text("kind").is_empty() && !text("statement").is_empty(),
        "{name}: {body}"
    );
    assert!(body["span"].as_array().is_some_and(|span| span.len() == 2) && body["objects"].is_array(), "{name}: {body}");
    detail
}

/// What holds of every refusal, whatever it is about.
pub fn is_well_formed(row: &Row, reply: &Reply, secrets: &[&str]) {
    let name = &row.name;
    let body = reply.json();
    let ours = json!({"error": row.error, "message": row.message, "code": row.code, "call_id": reply.call_id()});
    let urn = format!("urn:eliza-gatekeeper:{}", row.code);
    // Refused SQL is explained; nothing else has more to say than its message.
    let explained = row.code == "dangerous_operation";
    let detail = if explained { explanation(name, &body) } else { &row.message };
    let rfc_9457 = json!({"type": urn, "title": row.error, "status": row.status, "detail": detail});
    // A target's error in our wrapping is no refusal of ours.
    let is_ours = row.code != "target_error";
    let parts = [Some(&ours), Some(&rfc_9457).filter(|_| is_ours), Some(&row.members)];
    for (member, value) in parts.into_iter().flatten().flat_map(|part| part.as_object().unwrap()) {
        assert_eq!(body.get(member), Some(value), "{name}: {member} of {body}");
    }
    assert_eq!(reply.status, row.status, "{name}");
    let always = [("content-type", "application/json"), ("access-control-allow-origin", "*")];
    let uncached = is_ours.then_some(("cache-control", "no-store"));
    for (header, value) in always.iter().chain(&uncached).chain(&row.headers) {
        let got = reply.header(header).unwrap_or_else(|| panic!("{name}: no {header}"));
        assert!(value.is_empty() || got == *value, "{name}: {header}: {got}");
    }
    let allowed = reply.header("access-control-allow-headers").unwrap();
    assert!(allowed.starts_with("authorization, x-client-info, apikey, content-type, x-eliza-key, x-eliza-source"), "{name}");
    assert!(reply.header("retry-after").is_none_or(|wait| wait.parse::<u32>().unwrap() > 0), "{name}");
    leaks_nothing(name, &format!("{:?} {}", reply.headers, String::from_utf8_lossy(&reply.body)), secrets);
}

fn is_recorded(row: &Row, records: &HashMap<String, CallRow>, reply: &Reply) {
    let Row { name, record, .. } = row;
    let kept = records.get(reply.call_id());
    let Some(expected) = record else {
        return assert!(kept.is_none(), "{name} is recorded");
    };
    let kept = kept.unwrap_or_else(|| panic!("{name} is not recorded"));
    for (member, value) in expected.as_object().unwrap() {
        assert_eq!(&kept.metadata[member], value, "{name}: {member} of {}", kept.metadata);
    }
    let kind = match row.status {
        PASSES => ("gatekeeper_call", "completed"),
        _ if row.code == "target_error" => ("gatekeeper_call", "error"),
        _ if ["dangerous_operation", "schema_rejected", "validator_unavailable"].contains(&row.code) => ("schema_protection", "blocked"),
        502.. if row.code != "loop_detected" => ("gatekeeper_error", "error"),
        _ => ("gatekeeper_denied", "blocked"),
    };
    assert_eq!((kept.activity_type.as_str(), kept.status.as_str()), kind, "{name}");
    assert_eq!(kept.metadata["success"], json!(row.status == PASSES), "{name}");
}

#[tokio::test]
async fn every_refusal_is_told_and_recorded_and_gives_nothing_away() {
    let directory = TempDir::new().unwrap();
    let world = World::in_directory(directory.path()).await;
    let mut plan = House::plan().targets(world.targets).at(&ManualClock::at(midnight())).variable("DATABASE_URL", &world.database);
    for (file, text) in &world.policies {
        plan = plan.policy(file, text);
    }
    for (name, value) in world.variables {
        plan = plan.variable(name, value);
    }
    let house = plan.variable("GATEKEEPER_MAX_IN_FLIGHT", "2").open().await;
    let origin = house.targets.origin();
    let mut secrets = [&SECRETS[..], &INSIDES, &[&origin, directory.path().to_str().unwrap()]].concat();

    let mut told = Vec::new();
    for row in table::all() {
        let reply = send(house.data, &row).await;
        if row.status == PASSES {
            assert_eq!(reply.status, PASSES, "{}", row.name);
        } else {
            is_well_formed(&row, &reply, &secrets);
        }
        told.push((row, reply));
    }

    // One place after the other is taken: first the target's own, then all there are.
    let mut patient = Vec::new();
    for (target, row) in [("patient", table::busy()), ("patient-too", table::overloaded())] {
        let mut line = Line::to(house.data).await;
        line.say(table::patient(target).says).await;
        house.targets.arrival(target, 1).await;
        patient.push(line);
        let reply = send(house.data, &row).await;
        is_well_formed(&row, &reply, &secrets);
        told.push((row, reply));
    }
    world.gate.open();
    for line in &mut patient {
        assert_eq!(line.reply().await.status, PASSES);
    }

    let records: HashMap<String, CallRow> = house.records().await.into_iter().map(|row| (row.id.to_string(), row)).collect();
    for (row, reply) in &told {
        is_recorded(row, &records, reply);
    }
    // Every call of somebody known is counted, whatever became of it; only who is kept out costs nobody anything.
    let kept_out = |record: &CallRow| ["network_blocked", "source_disabled"].map(Some).contains(&record.metadata["code"].as_str());
    let known = records.values().filter(|record| record.metadata["source"] != "unauthenticated" && !kept_out(record)).count();
    let counted = rows(&house.database, "select sum(request_count) from rate_limits").await;
    assert_eq!(counted, [[known.to_string()]]);

    // Records do say which statement was refused.
    secrets.retain(|secret| *secret != "SELECT");
    let kept = everything(&house.database).await;
    assert!(kept.len() > 2 * told.len());
    for (table, row) in kept {
        leaks_nothing(&table, &row, &secrets);
    }
}

/// The same against the program itself, saying all it can: nothing shows in its log or its file either.
#[tokio::test]
async fn neither_the_log_nor_the_file_holds_a_secret() {
    let directory = TempDir::new().unwrap();
    let world = World::in_directory(directory.path()).await;
    let targets = world.targets.asking_for(SERVICE_KEY).start().await;
    lay_policies(directory.path(), &world.policies);
    let origin = targets.origin();
    let variables = [
        ("SUPABASE_SERVICE_ROLE_KEY", SERVICE_KEY),
        ("SUPABASE_URL", &origin),
        ("GATEKEEPER_ADMIN_TOKEN", ADMIN_TOKEN),
        ("GATEKEEPER_POLICIES", directory.path().join("policies").to_str().unwrap()),
        ("DATABASE_URL", &world.database),
        ("LOG_LEVEL", "trace"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let program = world.variables.into_iter().fold(Program::new(), |program, (name, value)| program.variable(name, value));
    let program = variables.iter().fold(program, |program, (name, value)| program.variable(name, value)).serve().await;
    let mut calls = 0;
    for row in table::all() {
        send(program.data, &row).await;
        calls += usize::from(row.record.is_some());
    }
    let log = program.stop().await.expect(0).err;
    assert!(log.contains("target gave no answer"), "{log}");
    leaks_nothing("the log", &log, &SECRETS);
    let mut kept = everything(&world.database).await;
    kept.retain(|(table, _)| table == "eliza_activity_log");
    assert_eq!(kept.len(), calls);
    for file in std::fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap().path()).filter(|path| path.is_file()) {
        let bytes = std::fs::read(&file).unwrap();
        leaks_nothing(&file.display().to_string(), &String::from_utf8_lossy(&bytes), &SECRETS);
    }
}

/// Its answer has no body, so nothing of it is ever asked for.
#[tokio::test]
async fn a_head_is_refused_and_recorded_like_any_other_method() {
    let house = House::open().await;
    let reply = house.call("gemini-chat").method(http::Method::HEAD).raw("").send().await.expect(405);
    assert_eq!((reply.header("allow"), reply.body.len()), (Some("POST, OPTIONS"), 0));
    assert_eq!(house.record_of(&reply).await.metadata["code"], "method_not_allowed");
}

#[test]
fn the_readme_and_the_table_know_the_same_refusals() {
    let readme = include_str!("../../README.md");
    let lines = readme.lines().skip_while(|line| !line.starts_with("| status | code |")).take_while(|line| line.starts_with('|'));
    let named: BTreeSet<&str> = lines.flat_map(|line| line.split('|').nth(2).unwrap().split('`').skip(1).step_by(2)).collect();
    let rows = table::all();
    let mut held: BTreeSet<&str> = rows.iter().chain(&[table::overloaded(), table::busy()]).map(|row| row.code).collect();
    // No refusals of calls: an answer, a target's own error, an address that is none.
    for other in ["answered", "target_error", "no_such_address"] {
        assert!(held.remove(other));
    }
    assert_eq!(named, held);
}
