//! Keys, as operators make, change and end them: by the program, beside a gatekeeper that runs. A change takes effect within a second;
//! a key is good for what it was made for and nothing else; its text is shown once and kept nowhere.

use std::path::{Path, PathBuf};
use std::time::Duration;

use eliza_gatekeeper::clock::{Clock, ManualClock};
use serde_json::{Value, json};

use crate::support::house::{Call, House, KEY, Reply, call_at, soon};
use crate::support::operator;
use crate::support::postgres;
use crate::support::program::Program;
use crate::support::{Database, on_each_database};

const HOUR: Duration = Duration::from_secs(3600);

on_each_database!(
    a_new_key_is_good_within_a_second_and_a_revoked_one_no_more,
    b08_a_key_is_good_for_what_it_was_made_for,
    both_keys_are_good_until_the_overlap_ends,
    a_key_is_good_from_its_beginning_to_its_end,
    the_list_shows_when_a_key_was_last_used,
    a_key_is_shown_once_and_kept_nowhere,
);

/// `keys …` as JSON, beside this house.
async fn keys(house: &House, arguments: &[&str]) -> Value {
    let arguments: Vec<_> = ["keys"].iter().chain(arguments).chain(&["--json"]).copied().collect();
    Program::beside(&house.database).run(&arguments).await.expect(0).value()
}

fn text<'v>(value: &'v Value, member: &str) -> &'v str {
    value[member].as_str().unwrap_or_else(|| panic!("no {member} in {value}"))
}

/// A call with this key instead of the house's.
fn call<'h>(house: &'h House, key: &str, source: &str) -> Call<'h> {
    house.call(source).without("x-eliza-key").header("x-eliza-key", key)
}

async fn list_agents(house: &House, key: &str) -> Reply {
    call(house, key, "gemini-chat").to("agent-manager").action("list_agents").send().await
}

async fn becomes(house: &House, key: &str, status: u16) {
    let (second, often) = (Duration::from_secs(1), Duration::from_millis(20));
    soon(&format!("{status} within a second"), second, often, || async { list_agents(house, key).await.status == status }).await;
}

async fn fault(house: &House, reply: &Reply) -> Value {
    house.record_of(reply).await.metadata["fault"].clone()
}

async fn a_new_key_is_good_within_a_second_and_a_revoked_one_no_more(database: Database) {
    // This machine's clock is an hour behind the one that keys are made and revoked on.
    let behind = ManualClock::at(Clock::system().now().minus(HOUR));
    let house = House::plan().on(database).at(&behind).open().await;
    let made = keys(&house, &["new", "--name", "gemini"]).await;
    becomes(&house, text(&made, "key"), 200).await;
    assert_eq!(house.record_of(&list_agents(&house, text(&made, "key")).await).await.metadata["key"], made["id"]);

    keys(&house, &["revoke", text(&made, "id")]).await;
    becomes(&house, text(&made, "key"), 401).await;
    let refused = list_agents(&house, text(&made, "key")).await.expect(401);
    assert_eq!(fault(&house, &refused).await, "key_revoked");
    assert_eq!(refused.json()["message"], "Invalid Eliza credentials or untrusted source");
    assert_eq!(keys(&house, &["list"]).await["keys"][0]["state"], "revoked");
}

async fn b08_a_key_is_good_for_what_it_was_made_for(database: Database) {
    let house = House::plan().on(database).open().await;
    let scope =
        ["--source", "gemini-chat", "--target", "agent-manager", "--target", "python-executor", "--action", "list_*", "--action", "run"];
    let made = keys(&house, &[&["new", "--name", "gemini"], scope.as_slice()].concat()).await;
    let key = text(&made, "key");
    becomes(&house, key, 200).await;

    // Whoever holds it is gemini-chat and nobody else.
    let spoofed = call(&house, key, "openai-chat").to("agent-manager").action("list_agents").send().await.expect(401);
    assert_eq!(fault(&house, &spoofed).await, "source_not_of_key");
    let row = house.record_of(&spoofed).await;
    assert_eq!((&row.metadata["source"], &row.metadata["claimed_source"]), (&json!("unauthenticated"), &json!("openai-chat")));
    assert_eq!(call(&house, key, "gemini-chat").to("vercel-manager").action("run").send().await.expect(403).code(), "key_not_scoped");

    // The action that counts is the one the target carries out, wherever it stands.
    let calls = [
        (Some("list_agents"), json!({}), 200),
        (None, json!({"action": "list_agents"}), 200),
        (Some("delete_task"), json!({}), 403),
        (Some("list_agents"), json!({"action": "delete_task", "data": {"task_id": "t"}}), 403),
        (None, json!({"action": "delete_task"}), 403),
        (None, json!({}), 403),
    ];
    for (action, payload, status) in calls {
        let call = call(&house, key, "gemini-chat").to("agent-manager").payload(payload.clone());
        let reply = match action {
            Some(action) => call.action(action).send().await,
            None => call.send().await,
        };
        assert_eq!(reply.status, status, "{action:?} {payload}: {:?}", reply.body);
    }
    let executed = house.targets.received("agent-manager");
    assert!(executed.iter().all(|received| received.json()["action"] == "list_agents"), "{executed:?}");
}

async fn both_keys_are_good_until_the_overlap_ends(database: Database) {
    let clock = ManualClock::at(Clock::system().now());
    let house = House::plan().on(database).at(&clock).open().await;
    let old = keys(&house, &["new", "--name", "gemini", "--source", "gemini-chat"]).await;
    let new = keys(&house, &["rotate", text(&old, "id"), "--overlap", "2h"]).await;
    assert_eq!((&new["sources"], &new["name"], &new["replaces"]), (&json!(["gemini-chat"]), &json!("gemini"), &old["id"]));
    assert_ne!(new["key"], old["key"]);
    becomes(&house, text(&new, "key"), 200).await;
    list_agents(&house, text(&old, "key")).await.expect(200);

    clock.advance(2 * HOUR + Duration::from_secs(30));
    // The new key and the end of the old one are two changes, and the second may be heard a moment later.
    becomes(&house, text(&old, "key"), 401).await;
    let refused = list_agents(&house, text(&old, "key")).await.expect(401);
    assert_eq!(fault(&house, &refused).await, "key_expired");
    list_agents(&house, text(&new, "key")).await.expect(200);
    call(&house, text(&new, "key"), "openai-chat").to("agent-manager").send().await.expect(401);

    // What has ended is not rotated but made anew.
    keys(&house, &["revoke", text(&new, "id")]).await;
    let again = Program::beside(&house.database).run(&["keys", "rotate", text(&new, "id")]).await.expect(1);
    assert!(again.err.contains("has ended"), "{again:?}");
}

async fn a_key_is_good_from_its_beginning_to_its_end(database: Database) {
    let clock = ManualClock::at(Clock::system().now());
    let house = House::plan().on(database).at(&clock).open().await;
    let made = keys(&house, &["new", "--name", "for a day", "--not-before", "1h", "--expires", "25h"]).await;
    let key = text(&made, "key");
    let marker = keys(&house, &["new", "--name", "loaded together with it"]).await;
    becomes(&house, text(&marker, "key"), 200).await;

    let states = [(Duration::ZERO, Some("key_not_yet_valid")), (2 * HOUR, None), (22 * HOUR, None), (2 * HOUR, Some("key_expired"))];
    for (later, expected) in states {
        clock.advance(later);
        let reply = list_agents(&house, key).await;
        match expected {
            None => assert_eq!(reply.status, 200),
            Some(why) => assert_eq!((reply.status, fault(&house, &reply).await), (401, json!(why))),
        }
    }
    let wrong = Program::beside(&house.database).run(&["keys", "new", "--name", "x", "--not-before", "2h", "--expires", "1h"]).await;
    wrong.expect(2);
}

async fn the_list_shows_when_a_key_was_last_used(database: Database) {
    let house = House::plan().on(database).open().await;
    let made = keys(&house, &["new", "--name", "gemini"]).await;
    keys(&house, &["new", "--name", "never used"]).await;
    becomes(&house, text(&made, "key"), 200).await;
    let closed = house.close().await;

    let listed = Program::beside(&closed.database).run(&["keys", "list", "--json"]).await.expect(0).value();
    let used = text(&listed["keys"][0], "last_used_at").to_owned();
    assert!(used.as_str() > text(&made, "created_at"), "{listed}");
    assert_eq!(listed["keys"][1]["last_used_at"], Value::Null);
    let table = Program::beside(&closed.database).run(&["keys", "list"]).await.expect(0).out;
    assert!(table.contains(&used) && table.contains("LAST USED"), "{table}");
}

async fn a_key_is_shown_once_and_kept_nowhere(database: Database) {
    let program = Program::new().variable("LOG_LEVEL", "trace");
    let url = match database {
        Database::Sqlite => format!("sqlite://{}", program.folder().join("calls.db").display()),
        Database::Postgres => postgres::database(),
    };
    let program = program.variable("DATABASE_URL", &url);
    let serving = program.serve().await;
    let mut shown = Vec::new();
    for arguments in [["keys", "new", "--name", "a"].as_slice(), &["keys", "new", "--name", "a", "--json"]] {
        let ran = program.run(arguments).await.expect(0);
        let start = ran.out.find("egk_").unwrap();
        let key: String = ran.out[start..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        assert_eq!((key.len(), ran.out.matches(&key).count(), ran.err.matches(&key).count()), (68, 1, 0));
        shown.push(key);
    }
    let envelope = json!({"target": "agent-manager", "action": "list_agents"});
    let (second, often) = (Duration::from_secs(1), Duration::from_millis(20));
    for key in &shown {
        soon("the key is known", second, often, || async { call_at(serving.data, key, "gemini-chat", &envelope).await.status != 401 })
            .await;
        call_at(serving.data, key, "nobody", &envelope).await.expect(401);
    }
    shown.push(KEY.to_owned());
    shown.push(program.run(&["keys", "list"]).await.expect(0).out.lines().last().unwrap().split_once(' ').unwrap().0.to_owned());
    let ended = serving.stop().await.expect(0);

    let id = shown.pop().unwrap();
    let kept = operator::everything(&url).await;
    assert!(kept.contains(&id) && kept.contains("source_not_of_key") | kept.contains("unknown_source"), "the tables are looked through");
    for key in shown {
        let bytes: String = key.bytes().map(|byte| format!("{byte:02x}")).collect();
        assert!(!kept.contains(&key) && !kept.contains(&bytes), "in a table");
        assert!(!ended.err.contains(&key) && !ended.out.contains(&key), "in the log");
        for path in files_below(program.folder()) {
            let bytes = std::fs::read(&path).unwrap();
            assert!(!bytes.windows(key.len()).any(|window| window == key.as_bytes()), "in {}", path.display());
        }
    }
}

#[tokio::test]
async fn b07_the_previous_key_is_good_beside_the_current_and_records_tell_them_apart() {
    let house = House::plan().variable("INTERNAL_ELIZA_KEY_PREVIOUS", "the-key-before-this-one-0a1b").open().await;
    for (key, known_as) in [(KEY, "env:current"), ("the-key-before-this-one-0a1b", "env:previous")] {
        let reply = list_agents(&house, key).await.expect(200);
        assert_eq!(house.record_of(&reply).await.metadata["key"], known_as);
    }
    let house = House::plan().in_place_of(&house.close().await).open().await;
    list_agents(&house, "the-key-before-this-one-0a1b").await.expect(401);
}

/// Every file there is in the folder, and in those within.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}
