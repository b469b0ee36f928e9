//! What others change in the database takes effect, whatever else there cannot be read: a broken row or table hides nothing but itself,
//! keeps no key from being revoked, no record from being written and no gatekeeper from starting, and operators are told.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use eliza_gatekeeper::audit::Actor;
use eliza_gatekeeper::clock::Timestamp;
use eliza_gatekeeper::control::{ControlError, EnforceOrder};
use eliza_gatekeeper::enforcement::GateMode;
use eliza_gatekeeper::identity::{KeyHash, KeyId};
use eliza_gatekeeper::store::StoredKey;
use eliza_gatekeeper::store::control::FlagChange;
use serde_json::json;
use sqlx::{Connection, PgConnection};

use crate::support::house::{House, eventually, soon};
use crate::support::operator::{number, run};
use crate::support::{Database, on_each_database};

const SECOND: Duration = Duration::from_secs(1);
const EVERY: Duration = Duration::from_millis(20);
const SECRET: &str = "a-key-of-its-own-1a2b3c4d5e6f";

on_each_database!(
    a_table_that_cannot_be_read_keeps_no_key_from_being_revoked,
    a_row_that_cannot_be_read_hides_no_other,
    a_start_finds_a_broken_table_and_serves,
);

pub fn key(name: &str, secret: &str) -> StoredKey {
    StoredKey {
        id: KeyId::new(name),
        name: name.into(),
        hash: KeyHash::of(secret.as_bytes()),
        sources: vec![],
        targets: vec![],
        actions: vec![],
        created_at: Timestamp::from_secs(1_700_000_000),
        not_before: None,
        expires_at: None,
        revoked_at: None,
        last_used_at: None,
    }
}

fn own(database: Database, table: &str) -> String {
    match database {
        Database::Sqlite => format!("gatekeeper_{table}"),
        Database::Postgres => format!("gatekeeper.{table}"),
    }
}

async fn status(house: &House, secret: &str) -> u16 {
    house
        .call("gemini-chat")
        .without("x-eliza-key")
        .header("x-eliza-key", secret)
        .to("agent-manager")
        .action("list_agents")
        .send()
        .await
        .status
}

async fn warnings(house: &House) -> String {
    house.get_ops("/health", &[]).await.json()["warnings"].to_string()
}

async fn a_table_that_cannot_be_read_keeps_no_key_from_being_revoked(database: Database) {
    let house = House::plan().on(database).open().await;
    house.store.insert_key(&key("k", SECRET), &crate::store_contract::audited()).await.unwrap();
    soon("the key is good", SECOND, EVERY, || async { status(&house, SECRET).await == 200 }).await;

    // As a migration of the application's own may leave it.
    let signals = own(database, "signals");
    run(&house.database, &format!("alter table feature_flags rename to ours; insert into {signals} (kind) values ('flags_changed')")).await;
    eventually("operators are told", || async { warnings(&house).await.contains("the feature flags in the database cannot be read") })
        .await;
    house.store.revoke_key(&KeyId::new("k"), Timestamp::from_secs(1_700_000_000), &crate::store_contract::audited()).await.unwrap();
    soon("the key is revoked", SECOND, EVERY, || async { status(&house, SECRET).await == 401 }).await;
    run(&house.database, &format!("insert into {} (kind, subject, reason) values ('source', 'gemini-*', 'x')", own(database, "blocks")))
        .await;
    soon("the source is blocked", SECOND, EVERY, || async { house.call("gemini-chat").to("brain").send().await.status == 403 }).await;

    run(&house.database, "alter table ours rename to feature_flags").await;
    eventually("all is well again", || async { !warnings(&house).await.contains("cannot be read") }).await;
}

async fn a_row_that_cannot_be_read_hides_no_other(database: Database) {
    let house = House::plan().on(database).open().await;
    let (keys, blocks) = (own(database, "keys"), own(database, "blocks"));
    house.store.insert_key(&key("bad", "another-key-0f9e8d7c6b5a"), &crate::store_contract::audited()).await.unwrap();
    run(&house.database, &format!("insert into {blocks} (kind, subject, reason) values ('network', '203.0.113.7', 'x')")).await;
    let bad = match database {
        Database::Sqlite => format!("update {keys} set sources = 'any'; update {blocks} set actor = x'ff00'"),
        Database::Postgres => {
            format!("update {keys} set created_at = '-infinity', expires_at = 'infinity'; update {blocks} set subject = '?'")
        }
    };
    run(&house.database, &bad).await;

    house.store.insert_key(&key("good", SECRET), &crate::store_contract::audited()).await.unwrap();
    soon("the good key is good", SECOND, EVERY, || async { status(&house, SECRET).await == 200 }).await;
    run(&house.database, &format!("insert into {blocks} (kind, subject, reason) values ('source', 'gemini-*', 'x')")).await;
    soon("the source is blocked", SECOND, EVERY, || async { status(&house, SECRET).await == 403 }).await;
    assert_eq!(warnings(&house).await, json!([]).to_string());
}

async fn a_start_finds_a_broken_table_and_serves(database: Database) {
    let house = House::plan().on(database).open().await;
    let closed = house.close().await;
    let blocks = own(database, "blocks");
    let name = blocks.trim_start_matches("gatekeeper.");
    run(&closed.database, &format!("alter table {blocks} rename to ours")).await;
    let house = House::plan().in_place_of(&closed).open().await;
    let reply = house.call("gemini-chat").to("agent-manager").action("list_agents").send().await.expect(200);
    house.record_of(&reply).await;
    assert!(warnings(&house).await.contains("the blocks in the database cannot be read"));

    let ours = own(database, "ours").replace("gatekeeper_ours", "ours");
    run(&house.database, &format!("alter table {ours} rename to {name}")).await;
    run(&house.database, &format!("insert into {blocks} (kind, subject, reason) values ('source', 'gemini-*', 'x')")).await;
    soon("the source is blocked", 2 * SECOND, EVERY, || async { house.call("gemini-chat").to("brain").send().await.status == 403 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_keeps_nothing_back_that_only_waits() {
    let house = House::plan().on(Database::Postgres).open().await;
    eventually("nothing is left to be told", || async { number(&house.database, "select count(*) from feature_flags").await > 0 }).await;
    run(&house.database, "alter table gatekeeper.enforcement rename to ours").await;
    let mut forgotten = PgConnection::connect(&house.database).await.unwrap();
    sqlx::raw_sql("begin; lock table security_audit").execute(&mut forgotten).await.unwrap();
    let order = EnforceOrder { mode: GateMode::Observe, gate: None, until: None, reason: "INC-4711".into() };
    house.gatekeeper.control.enforce(&order, &Actor::named("alice")).await;

    // The ruling is refused; the entry loses its connection, again and again.
    let waiting = "select coalesce(max(pid), 0)::bigint from pg_stat_activity
                   where datname = current_database() and query like '%security_audit%' and wait_event_type = 'Lock'";
    let last = Cell::new(0);
    for _ in 0..3 {
        let before = last.get();
        soon("the entry waits", 5 * SECOND, EVERY, || async {
            last.set(number(&house.database, waiting).await);
            ![0, before].contains(&last.get())
        })
        .await;
        run(&house.database, &format!("select pg_terminate_backend({})", last.get())).await;
    }
    sqlx::raw_sql("rollback").execute(&mut forgotten).await.unwrap();
    let kept = "select count(*) from security_audit where action = 'enforcement_changed'";
    soon("the entry is kept", 5 * SECOND, EVERY, || async { number(&house.database, kept).await == 1 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_left_open_on_a_flag_keeps_nobody_waiting() {
    let house = House::plan().on(Database::Postgres).open().await;
    house.store.insert_key(&key("k", SECRET), &crate::store_contract::audited()).await.unwrap();
    soon("the key is good", SECOND, EVERY, || async { status(&house, SECRET).await == 200 }).await;
    let change = FlagChange { name: "target:brain".into(), kill_switch: Some(true), ..FlagChange::default() };
    let alice = Actor::named("alice");
    house.gatekeeper.control.set_flag(&change, None, &alice).await.unwrap();

    let mut forgotten = PgConnection::connect(&house.database).await.unwrap();
    sqlx::raw_sql("begin; update feature_flags set kill_switch = false").execute(&mut forgotten).await.unwrap();
    let control = Arc::clone(&house.gatekeeper);
    let order = tokio::spawn(async move { control.control.set_flag(&change, None, &alice).await });
    house.store.revoke_key(&KeyId::new("k"), Timestamp::from_secs(1_700_000_000), &crate::store_contract::audited()).await.unwrap();
    soon("the key is revoked", SECOND, EVERY, || async { status(&house, SECRET).await == 401 }).await;
    let refused = tokio::time::timeout(10 * SECOND, order).await.expect("an answer soon").unwrap();
    assert!(matches!(refused, Err(ControlError::Away)), "{refused:?}");
}
