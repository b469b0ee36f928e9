//! What holds on PostgreSQL alone: signals of transactions that commit late, a partition a day, who may see what, the runbook's own
//! queries, being told of a change instead of asking, and a server that goes away and comes back. What the original gatekeeper left is in `store_adoption`.

use std::sync::Arc;
use std::time::Duration;

use eliza_gatekeeper::audit::{Actor, AuditAction, AuditEntry};
use eliza_gatekeeper::clock::Timestamp;
use eliza_gatekeeper::enforcement::{GateMode, Ruling};
use eliza_gatekeeper::identity::{KeyHash, KeyId};
use eliza_gatekeeper::store::control::{ActivityEntry, BlockKind, FlagChange, StoredBlock};
use eliza_gatekeeper::store::{
    ActivityStatus, ActivityType, ApiStatus, CallRecord, Keep, Signal, StatsKey, StatsOutcome, Store, StoreError, StoredKey, open,
};
use eliza_gatekeeper::verdict::GateName;
use serde_json::json;
use sqlx::{AssertSqlSafe, PgPool, Row};
use uuid::Uuid;

use crate::store_contract::{OPTIONS, cleared, counted, deleted, dropped, keep, now, record};
use crate::support::postgres::{self, Cluster, url_as};

const DAY: Duration = Duration::from_secs(86_400);
const MONTH: Keep = keep(30, 30, 1);

async fn migrated() -> (Arc<dyn Store>, PgPool, String) {
    let url = postgres::database();
    let store = open(&url, OPTIONS).await.unwrap();
    store.migrate().await.unwrap();
    let client = PgPool::connect(&url).await.unwrap();
    (store, client, url)
}

async fn run(client: &PgPool, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(client).await.unwrap();
}

async fn number(client: &PgPool, sql: &str) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(client).await.unwrap()
}

fn limited(identifier: &str) -> CallRecord {
    CallRecord { counted: Some(counted(now(), identifier, "t:x")), ..record() }
}

fn who(signals: &[Signal]) -> Vec<&str> {
    signals
        .iter()
        .map(|signal| match signal {
            Signal::CountsDeleted { identifier, .. } => identifier.as_str(),
            Signal::AllCountsDeleted => "everybody",
            Signal::KeysChanged => "keys",
            Signal::FlagsChanged => "flags",
            Signal::RulingsChanged => "rulings",
            Signal::BlocksChanged => "blocks",
        })
        .collect()
}

#[tokio::test]
async fn a_transaction_that_commits_late_is_heard_of() {
    let (store, client, _) = migrated().await;
    store.write(&[limited("early"), limited("late"), limited("between")]).await.unwrap();
    let start = store.signal_cursor().await.unwrap();

    let mut late = client.begin().await.unwrap();
    sqlx::query("delete from rate_limits where identifier = 'late'").execute(&mut *late).await.unwrap();
    run(&client, "delete from rate_limits where identifier = 'early'").await;
    let (heard, cursor) = store.signals_after(&start).await.unwrap();
    assert_eq!(who(&heard), ["early"]);
    run(&client, "delete from rate_limits where identifier = 'between'").await;
    let (heard, cursor) = store.signals_after(&cursor).await.unwrap();
    assert_eq!(who(&heard), ["between"]);
    late.commit().await.unwrap();

    let (heard, cursor) = store.signals_after(&cursor).await.unwrap();
    assert_eq!(who(&heard), ["late"]);
    let (heard, _) = store.signals_after(&cursor).await.unwrap();
    assert_eq!(who(&heard), [""; 0]);
}

#[tokio::test]
async fn what_is_rolled_back_never_happened() {
    let (store, client, _) = migrated().await;
    store.write(&[limited("a")]).await.unwrap();
    let start = store.signal_cursor().await.unwrap();
    let mut tx = client.begin().await.unwrap();
    sqlx::query("delete from rate_limits").execute(&mut *tx).await.unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(store.signals_after(&start).await.unwrap().0, []);
}

#[tokio::test]
async fn emptying_a_table_is_heard_of() {
    let (store, client, _) = migrated().await;
    let start = store.signal_cursor().await.unwrap();
    store.seed_flags(&["target:brain".to_owned()]).await.unwrap();
    run(&client, "insert into gatekeeper.blocks (kind, subject) values ('source', 'a'), ('source', 'b')").await;
    run(&client, "truncate rate_limits; truncate gatekeeper.keys; truncate feature_flags; truncate gatekeeper.blocks").await;
    assert_eq!(who(&store.signals_after(&start).await.unwrap().0), ["blocks", "everybody", "keys", "flags", "blocks"]);
    let audited = store.audit_entries(9).await.unwrap();
    let subjects: Vec<_> = audited.iter().map(|entry| entry.subject.as_str()).collect();
    assert_eq!(subjects[..2], ["all of blocks", "all of feature_flags"]);
    assert_eq!(audited[0].before.as_array().unwrap().len(), 2, "what was there");
    let refused = sqlx::query("truncate gatekeeper.enforcement").execute(&client).await;
    assert!(refused.is_err(), "every gate keeps its row");
}

#[tokio::test]
async fn a_cursor_of_another_server_leads_to_everything_being_read_afresh() {
    let (store, _, _) = migrated().await;
    let foreign = eliza_gatekeeper::store::SignalCursor("9000000000:9000000000:".into());
    let (heard, next) = store.signals_after(&foreign).await.unwrap();
    assert_eq!(who(&heard), ["keys", "flags", "rulings", "blocks"]);
    assert_eq!(store.signals_after(&next).await.unwrap().0, []);
}

#[tokio::test]
async fn rows_lie_in_their_day_and_none_is_refused() {
    let (store, client, _) = migrated().await;
    let at = |at: Timestamp| CallRecord { at, id: Uuid::now_v7(), ..record() };
    let (today, last_day, far) = (at(now()), at(now().plus(7 * DAY)), at(now().plus(400 * DAY)));
    let long_ago = at(Timestamp::from_secs(0));
    store.write(&[today.clone(), last_day.clone(), far.clone(), long_ago.clone()]).await.unwrap();

    for table in ["eliza_activity_log", "api_call_logs"] {
        for (call, daily) in [(&today, true), (&last_day, true), (&far, false), (&long_ago, false)] {
            let sql = format!("select tableoid::regclass::text from public.{table} where id = '{}'", call.id);
            let place: String = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&client).await.unwrap();
            let day = call.at.to_datetime().date().to_string().replace('-', "");
            let expected = if daily { format!("gatekeeper.{table}_{day}") } else { format!("gatekeeper.{table}_default") };
            assert_eq!(place, expected);
        }
    }
}

#[tokio::test]
async fn room_is_made_ahead_for_rows_that_are_already_there() {
    let (store, client, _) = migrated().await;
    let soon = now().plus(9 * DAY);
    let call = CallRecord { at: soon, ..record() };
    store.write(std::slice::from_ref(&call)).await.unwrap();
    run(&client, "insert into eliza_activity_log (activity_type, title, created_at) values ('theirs', 'x', now() + interval '9 days')")
        .await;

    // Another one keeps house: nothing to do here, and nothing to wait for.
    let mut other = client.begin().await.unwrap();
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('gatekeeper.maintenance', 0))").execute(&mut *other).await.unwrap();
    assert_eq!(store.maintain(soon, &MONTH).await.unwrap().partitions_made, 0);
    other.rollback().await.unwrap();

    let done = store.maintain(now().plus(2 * DAY), &MONTH).await.unwrap();
    assert_eq!((done.partitions_made, dropped(&done)), (4, 0), "two days more, of two tables");
    let left = "select count(*) from gatekeeper.eliza_activity_log_default";
    assert_eq!(number(&client, left).await, 0);
    assert_eq!(number(&client, "select count(*) from gatekeeper.api_call_logs_default").await, 0);
    assert_eq!(number(&client, "select count(*) from eliza_activity_log").await, 2);
    assert_eq!(store.call(call.id).await.unwrap().unwrap().at, soon);
    store.write(&[call]).await.unwrap();
    assert_eq!(number(&client, "select count(*) from eliza_activity_log").await, 2, "a row that moved is still the same");
    assert_eq!(store.maintain(now().plus(2 * DAY), &MONTH).await.unwrap().partitions_made, 0);
    assert_eq!(store.maintain(now().minus(3 * DAY), &MONTH).await.unwrap().partitions_made, 6, "a clock set back does no harm");
}

#[tokio::test]
async fn old_days_go_as_a_whole() {
    let (store, client, _) = migrated().await;
    store.write(&[record(), CallRecord { at: now().plus(3 * DAY), ..record() }]).await.unwrap();
    let partitions = "select count(*) from gatekeeper.partitions('eliza_activity_log')";
    assert_eq!(number(&client, partitions).await, 9);

    // The first days are older than the logs are kept, and their partitions go; later ones are made.
    let done = store.maintain(now().plus(33 * DAY), &keep(30, 60, 1)).await.unwrap();
    assert_eq!((done.partitions_made, dropped(&done)), (16, 3));
    assert_eq!(number(&client, "select count(*) from eliza_activity_log").await, 1);
    assert_eq!(number(&client, "select count(*) from api_call_logs").await, 2);
    assert_eq!(number(&client, "select total_calls from eliza_gatekeeper_stats").await, 2);
}

#[tokio::test]
async fn the_logs_are_for_nobody_but_their_keepers() {
    let url = postgres::database();
    let owner = PgPool::connect(&url).await.unwrap();
    // A hosted platform gives its web roles everything in public that is yet to come.
    run(&owner, "alter default privileges in schema public grant all on tables to anon, authenticated").await;
    let store = open(&url, OPTIONS).await.unwrap();
    store.migrate().await.unwrap();
    store.write(&[record()]).await.unwrap();

    let public = ["eliza_activity_log", "api_call_logs", "rate_limits", "eliza_gatekeeper_stats"];
    let internal = [
        "gatekeeper.call_stats",
        "gatekeeper.keys",
        "gatekeeper.signals",
        "gatekeeper.migrations",
        "gatekeeper.instances",
        "gatekeeper.losses",
        "gatekeeper_log_gaps",
        "gatekeeper.call_durations",
        "gatekeeper.action_stats",
    ];
    let control = ["feature_flags", "security_audit", "security_events", "gatekeeper.enforcement", "gatekeeper.blocks"];
    let guests = ["conversation_messages", "conversation_sessions", "memory_contexts", "system_health_summary"];
    for role in ["anon", "authenticated", "reporting"] {
        let client = PgPool::connect(&url_as(role, &url)).await.unwrap();
        for table in public.iter().chain(&internal).chain(&control).chain(&guests) {
            let seen = sqlx::query(AssertSqlSafe(format!("select * from {table}"))).fetch_all(&client).await;
            assert!(seen.is_err(), "{role} reads {table}");
        }
        for change in [
            "delete from rate_limits",
            "truncate rate_limits",
            "select gatekeeper.drop_partitions(now(), now())",
            "select gatekeeper.answer('select 1')",
            "update gatekeeper.enforcement set mode = 'observe'",
            "update feature_flags set kill_switch = true",
        ] {
            assert!(sqlx::query(change).execute(&client).await.is_err(), "{role}: {change}");
        }
    }
    let unprotected = "select count(*) from pg_class where relkind in ('r', 'p') and not relrowsecurity
                       and relnamespace in ('public'::regnamespace, 'gatekeeper'::regnamespace)";
    assert_eq!(number(&owner, unprotected).await, 0);

    let service = PgPool::connect(&url_as("service_role", &url)).await.unwrap();
    for table in public.iter().chain(&internal[..1]) {
        assert_eq!(number(&service, &format!("select count(*) from {table}")).await, 1, "{table}");
    }
    for (table, rows) in control.iter().zip([0, 0, 0, 7, 0]).chain(guests.iter().zip([0, 0, 0, 1])) {
        assert_eq!(number(&service, &format!("select count(*) from {table}")).await, rows, "{table}");
    }
    for table in &internal[4..7] {
        assert_eq!(number(&service, &format!("select count(*) from {table}")).await, 0, "{table}");
    }
    assert_eq!(number(&service, "select messages_last_hour from system_health_summary").await, 0);
    for change in ["update security_audit set actor = 'nobody'", "delete from security_audit", "truncate security_audit"] {
        assert!(sqlx::query(change).execute(&service).await.is_err(), "what is in the audit stays: {change}");
    }
    run(
        &service,
        "update eliza_activity_log set mentioned_to_user = true; insert into rate_limits (identifier, endpoint) values ('a', 'b')",
    )
    .await;
}

#[tokio::test]
async fn a_view_shows_nobody_what_he_may_not_read_himself() {
    let (store, client, url) = migrated().await;
    store.write(&[record()]).await.unwrap();
    // Before version 15 a view shows what its owner may read, and grants on it are what keeps it closed.
    if number(&client, "select current_setting('server_version_num')::bigint").await < 150_000 {
        return;
    }
    let with_its_owners_eyes = "select count(*) from pg_class where relkind = 'v' and relnamespace = 'public'::regnamespace
                                and not coalesce(reloptions, '{}') @> '{security_invoker=true}'";
    assert_eq!(number(&client, with_its_owners_eyes).await, 0);
    run(&client, "grant select on eliza_gatekeeper_stats, gatekeeper_log_gaps to anon; grant usage on schema gatekeeper to anon").await;
    let anon = PgPool::connect(&url_as("anon", &url)).await.unwrap();
    for view in ["eliza_gatekeeper_stats", "gatekeeper_log_gaps"] {
        let seen = sqlx::query(AssertSqlSafe(format!("select * from {view}"))).fetch_all(&anon).await;
        assert!(seen.is_err(), "anon reads {view}");
    }
}

#[tokio::test]
async fn a_gatekeeper_works_without_owning_anything() {
    let (owner, client, url) = migrated().await;
    run(&client, "select gatekeeper.admit('reporting')").await;
    let store = open(&url_as("reporting", &url), OPTIONS).await.unwrap();
    assert!(store.migrations().await.unwrap().iter().all(|migration| migration.applied));
    let cursor = store.signal_cursor().await.unwrap();
    store.write(&[limited("a"), CallRecord { at: now().minus(40 * DAY), ..record() }]).await.unwrap();
    // Row security stands between this role and COPY: many at once go another way.
    let many: Vec<_> = (0..200).map(|_| CallRecord { counted: None, ..record() }).collect();
    for batch in [&many, &many] {
        store.write(batch).await.unwrap();
    }
    assert_eq!(number(&client, "select count(*) from eliza_activity_log where created_at > now() - interval '1 hour'").await, 201);
    let instance = Uuid::now_v7();
    store.announce(instance, now()).await.unwrap();
    store.ended(instance, 2, now()).await.unwrap();
    assert_eq!(store.gaps(9).await.unwrap().len(), 1);
    store.clear_limits("a", &cleared("a")).await.unwrap();
    assert_eq!(who(&store.signals_after(&cursor).await.unwrap().0), ["a"]);
    let key = StoredKey {
        id: KeyId::new("k"),
        name: "k".into(),
        hash: KeyHash::of(b"k"),
        sources: vec![],
        targets: vec![],
        actions: vec![],
        created_at: now(),
        not_before: None,
        expires_at: None,
        revoked_at: None,
        last_used_at: None,
    };
    store.insert_key(&key, &crate::store_contract::audited()).await.unwrap();
    assert_eq!(owner.keys().await.unwrap().len(), 1);
    let done = store.maintain(now().plus(DAY), &MONTH).await.unwrap();
    assert_eq!((done.partitions_made, deleted(&done)), (2, 4), "a row of each log, and the two signals of a day ago");

    let cursor = store.signal_cursor().await.unwrap();
    let by = |action| AuditEntry::new(now(), &Actor::named("alice"), action, "x");
    let change = FlagChange { name: "target:brain".into(), enabled: Some(false), ..FlagChange::default() };
    store.seed_flags(&["target:other".to_owned()]).await.unwrap();
    store.set_flag(&change, &by(AuditAction::FlagChanged)).await.unwrap();
    let (mode, reason, actor, at) = (Some(GateMode::Observe), String::new(), String::new(), now());
    store.put_rulings(&[Ruling { gate: GateName::SqlFilter, mode, until: None, afterwards: None, reason, actor, at }]).await.unwrap();
    let (id, kind, subject, reason, actor) = (Uuid::now_v7(), BlockKind::Source, "a".into(), String::new(), String::new());
    store.insert_block(&StoredBlock { id, kind, subject, reason, actor, at, until: None }, &by(AuditAction::BlockAdded)).await.unwrap();
    assert!(store.end_block(id, now(), &by(AuditAction::BlockEnded)).await.unwrap());
    store.log_bypass(&ActivityEntry::bypass(now(), "alice", "brain", "x"), &by(AuditAction::BypassLogged)).await.unwrap();
    assert_eq!(who(&store.signals_after(&cursor).await.unwrap().0), ["flags", "rulings", "blocks", "blocks"]);
    assert_eq!(store.audit_entries(9).await.unwrap().len(), 6, "of the counts, the key, the flag, the block twice, the bypass");
    assert_eq!(store.security_events(at, 0, 9).await.unwrap(), 0);
    assert!(woken(&store, Duration::from_secs(10)).await, "it may listen, too");
}

#[tokio::test]
async fn whoever_may_delete_counts_needs_no_other_right() {
    let (store, client, url) = migrated().await;
    run(&client, "grant select, delete on rate_limits to reporting; create policy p on rate_limits to reporting using (true)").await;
    store.write(&[limited("a")]).await.unwrap();
    let cursor = store.signal_cursor().await.unwrap();
    let reporting = PgPool::connect(&url_as("reporting", &url)).await.unwrap();
    // A path of its own must not lead the trigger elsewhere.
    run(&reporting, "create temporary table signals (kind text); set search_path = pg_temp, public; delete from rate_limits").await;
    assert_eq!(who(&store.signals_after(&cursor).await.unwrap().0), ["a"]);
}

#[tokio::test]
async fn whoever_may_switch_a_flag_needs_no_other_right() {
    let (store, client, url) = migrated().await;
    run(&client, "grant select, update on feature_flags to reporting; create policy p on feature_flags to reporting using (true)").await;
    store.seed_flags(&["target:brain".to_owned()]).await.unwrap();
    let cursor = store.signal_cursor().await.unwrap();
    let reporting = PgPool::connect(&url_as("reporting", &url)).await.unwrap();
    run(
        &reporting,
        "create temporary table security_audit (x int); set search_path = pg_temp, public; update feature_flags set enabled = false",
    )
    .await;
    assert_eq!(who(&store.signals_after(&cursor).await.unwrap().0), ["flags"]);
    let entries = store.audit_entries(9).await.unwrap();
    assert_eq!((entries.len(), entries[0].actor.as_str()), (1, "reporting"));
}

#[tokio::test]
async fn a_switch_works_where_the_audit_does_not() {
    let (store, client, _) = migrated().await;
    store.seed_flags(&["target:brain".to_owned()]).await.unwrap();
    let cursor = store.signal_cursor().await.unwrap();
    run(&client, "alter table security_audit rename to elsewhere; update feature_flags set kill_switch = true").await;
    assert!(store.flags().await.unwrap()[0].kill_switch);
    assert_eq!(who(&store.signals_after(&cursor).await.unwrap().0), ["flags"]);
}

#[tokio::test]
async fn several_changes_of_one_transaction_are_each_told_apart() {
    let (store, client, _) = migrated().await;
    store.seed_flags(&["a".to_owned(), "b".to_owned()]).await.unwrap();
    // A program that says so audits by itself, where it says when it changed a row; in the same breath, somebody does not.
    run(
        &client,
        "begin;
         set local gatekeeper.audits = 'true';
         update feature_flags set kill_switch = true where name = 'a';
         update feature_flags set kill_switch = true, changed_at = clock_timestamp() where name = 'b';
         insert into feature_flags (name) values ('a'), ('c') on conflict do nothing;
         commit",
    )
    .await;
    let subjects: Vec<_> = store.audit_entries(9).await.unwrap().into_iter().map(|entry| entry.subject).collect();
    assert_eq!(subjects, ["c", "a"]);
}

/// How long until somebody who waits is told.
async fn woken(store: &Arc<dyn Store>, within: Duration) -> bool {
    tokio::time::timeout(within, store.signalled()).await.is_ok()
}

#[tokio::test]
async fn whoever_waits_is_told_when_a_change_is_committed() {
    let (store, client, _) = migrated().await;
    assert!(woken(&store, Duration::from_secs(10)).await, "from here on it listens, and what came before was not heard");
    assert!(!woken(&store, Duration::from_millis(100)).await);

    let mut late = client.begin().await.unwrap();
    sqlx::query("update gatekeeper.enforcement set mode = 'observe'").execute(&mut *late).await.unwrap();
    assert!(!woken(&store, Duration::from_millis(100)).await, "not before it is committed");
    let start = tokio::time::Instant::now();
    let (committed, ()) = tokio::join!(late.commit(), store.signalled());
    committed.unwrap();
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());

    run(&client, "update gatekeeper.enforcement set mode = 'enforce'").await;
    // Whoever gives up waiting, as in a choice of several, misses nothing.
    for _ in 0..20 {
        drop(tokio::time::timeout(Duration::from_millis(1), std::future::pending::<()>()).await);
        drop(store.signalled());
    }
    assert!(woken(&store, Duration::from_secs(5)).await);
    store.close().await;
}

#[tokio::test]
async fn a_lost_ear_grows_again() {
    let (store, client, _) = migrated().await;
    assert!(woken(&store, Duration::from_secs(10)).await);
    let deaf = "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = current_database() and query like 'LISTEN%'";
    assert_eq!(number(&client, deaf).await, 1);
    run(&client, "update feature_flags set kill_switch = true").await;
    assert!(woken(&store, Duration::from_secs(20)).await, "what came in between may be news");
    // Until the ear that grew is the one that hears.
    let end = tokio::time::Instant::now() + Duration::from_secs(20);
    while number(&client, "select count(*) from pg_stat_activity where datname = current_database() and query like 'LISTEN%'").await == 0 {
        assert!(tokio::time::Instant::now() < end, "nobody listens");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    run(&client, "insert into gatekeeper.blocks (kind, subject) values ('source', 'a')").await;
    assert!(woken(&store, Duration::from_secs(5)).await);
}

#[tokio::test]
async fn only_records_that_do_not_fit_are_refused() {
    let (store, client, _) = migrated().await;
    let broken = CallRecord { metadata: "no JSON".into(), ..record() };
    assert!(matches!(store.write(&[record(), broken]).await, Err(StoreError::Refused(_))));
    assert_eq!(number(&client, "select count(*) from eliza_activity_log").await, 0, "all of a batch, or none of it");

    // Somebody's mistake is no reason to lose records.
    run(&client, "alter table api_call_logs rename to elsewhere").await;
    assert!(matches!(store.write(&[record()]).await, Err(StoreError::Away(_))));
    run(&client, "alter table elsewhere rename to api_call_logs").await;
    store.write(&[record()]).await.unwrap();
    assert_eq!(number(&client, "select total_calls from eliza_gatekeeper_stats").await, 1);
}

#[tokio::test]
async fn a_server_may_go_and_come_back() {
    let server = Cluster::private();
    let url = server.database();
    let store = open(&url, OPTIONS).await.unwrap();
    // This server has none of the platform's roles.
    store.migrate().await.unwrap();
    let (first, second, third) = (record(), record(), record());
    store.write(std::slice::from_ref(&first)).await.unwrap();
    let cursor = store.signal_cursor().await.unwrap();

    server.stop();
    for _ in 0..2 {
        assert!(matches!(store.write(std::slice::from_ref(&second)).await, Err(StoreError::Away(_))));
        assert!(matches!(store.ping().await, Err(StoreError::Away(_))));
        assert!(matches!(store.signals_after(&cursor).await, Err(StoreError::Away(_))));
    }
    server.start();
    store.write(&[first.clone(), second.clone()]).await.unwrap();

    server.kill();
    let end = tokio::time::Instant::now() + Duration::from_secs(20);
    while !matches!(store.write(std::slice::from_ref(&third)).await, Err(StoreError::Away(_))) {
        assert!(tokio::time::Instant::now() < end, "a killed server still answers");
    }
    server.start();
    store.write(&[third, second, first]).await.unwrap();
    let client = PgPool::connect(&url).await.unwrap();
    assert_eq!(number(&client, "select total_calls from eliza_gatekeeper_stats").await, 3, "each once, whatever was tried twice");
    assert_eq!(store.signals_after(&cursor).await.unwrap().0, []);
}

#[tokio::test]
async fn the_runbook_finds_what_it_asks_about() {
    let (store, client, _) = migrated().await;
    let at = now();
    let flood = (0..150).map(|_| CallRecord { at, counted: Some(counted(at, "gemini-chat", "python-executor:run")), ..record() });
    let refusal = CallRecord {
        activity_type: ActivityType::SchemaProtection,
        activity_status: ActivityStatus::Blocked,
        api_status: ApiStatus::Error,
        error_message: Some("Dangerous operation blocked".into()),
        metadata: json!({ "source": "openai-chat", "pattern": "/TRUNCATE/i", "sql": "TRUNCATE users" }).to_string().into(),
        stats: StatsKey { source: "openai-chat".into(), target: "schema-manager".into(), outcome: StatsOutcome::Denied },
        counted: Some(counted(at, "123.456.789.0", "schema-manager:run")),
        ..record()
    };
    let trusted = CallRecord { counted: Some(counted(at, "trusted-ip-address", "x:y")), ..record() };
    let records: Vec<_> = flood.chain([refusal, trusted]).collect();
    store.write(&records).await.unwrap();
    let ask = async |block: &'static str| sqlx::raw_sql(block).fetch_all(&client).await.unwrap();

    let stats = ask(include_str!("runbook_sql/000_01_L24.sql")).await;
    let columns: Vec<_> = stats[0].columns().iter().map(sqlx::Column::name).collect();
    let of_the_original = ["source", "target", "total_calls", "successful_calls", "failed_calls", "avg_duration_ms", "last_call_at"];
    assert_eq!(columns[..7], of_the_original);
    assert_eq!(columns[7..], ["denied_calls", "first_call_at", "p95_duration_ms", "max_duration_ms"]);
    let row =
        |n: usize| (stats[n].get::<String, _>("source"), stats[n].get::<i64, _>("total_calls"), stats[n].get::<i64, _>("denied_calls"));
    assert_eq!((row(0), row(1)), (("gemini-chat".into(), 151, 0), ("openai-chat".into(), 1, 1)));

    let blocked = ask(include_str!("runbook_sql/000_02_L30.sql")).await;
    assert_eq!(blocked.len(), 1);
    assert_eq!(blocked[0].get::<String, _>("status"), "blocked");
    assert_eq!(blocked[0].get::<serde_json::Value, _>("metadata")["sql"], "TRUNCATE users");

    let over = ask(include_str!("runbook_sql/000_03_L38.sql")).await;
    assert_eq!(over.len(), 1);
    assert_eq!((over[0].get::<String, _>("identifier"), over[0].get::<i64, _>("total_requests")), ("gemini-chat".into(), 150));

    let limits = ask(include_str!("runbook_sql/000_08_L294.sql")).await;
    let of_the_address = limits.last().unwrap();
    assert_eq!(limits.len(), 4);
    assert_eq!(limits[0].get::<i32, _>("request_count"), 150);
    assert_eq!(of_the_address.get::<String, _>("endpoint"), "schema-manager:run");

    let cursor = store.signal_cursor().await.unwrap();
    ask(include_str!("runbook_sql/000_09_L319.sql")).await;
    assert_eq!(who(&store.signals_after(&cursor).await.unwrap().0), ["trusted-ip-address"]);

    let errors = ask(include_str!("runbook_sql/000_13_L534.sql")).await;
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].get::<String, _>("function_name"), "eliza-gatekeeper");
    assert_eq!(
        (errors[0].get::<i64, _>("error_count"), errors[0].get::<String, _>("error_message")),
        (1, "Dangerous operation blocked".into())
    );
}
