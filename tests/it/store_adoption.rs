//! A database that the original gatekeeper left, of any age, is taken over with all its data, with the views that operators built on it
//! and the rights they gave; what the world could read, it reads no more. If that cannot be, everything stays as it was.

use std::sync::Arc;
use std::time::Duration;

use eliza_gatekeeper::audit::{Actor, AuditAction, AuditEntry};
use eliza_gatekeeper::store::control::{ActivityEntry, FlagChange, Review};
use eliza_gatekeeper::store::{CallQuery, Signal, Store, StoreError, open};
use eliza_gatekeeper::switches::Flag;
use sqlx::{AssertSqlSafe, PgPool};

use crate::store_contract::{OPTIONS, deleted, dropped, keep, now, record};
use crate::support::postgres::{self, url_as};

const FIRST_DAYS: &str = include_str!("legacy/20251013.sql");
const LATER: &str = include_str!("legacy/20251015.sql");
const DAY: Duration = Duration::from_secs(86_400);

struct Left {
    url: String,
    store: Arc<dyn Store>,
    client: PgPool,
}

/// A database with what these statements leave in it.
async fn left(statements: &'static str) -> Left {
    let url = postgres::database();
    let client = PgPool::connect(&url).await.unwrap();
    sqlx::raw_sql(statements).execute(&client).await.unwrap();
    Left { store: open(&url, OPTIONS).await.unwrap(), url, client }
}

impl Left {
    async fn adopted(self) -> Self {
        self.store.migrate().await.unwrap();
        self
    }

    async fn run(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&self.client).await.unwrap();
    }

    async fn number(&self, sql: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&self.client).await.unwrap()
    }

    async fn text(&self, sql: &str) -> Option<String> {
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&self.client).await.unwrap()
    }

    async fn stats(&self) -> Vec<(String, String, i64, i64, i64, i64)> {
        let sql = "select source, target, total_calls, successful_calls, failed_calls, avg_duration_ms::bigint
                   from eliza_gatekeeper_stats order by source";
        sqlx::query_as(sql).fetch_all(&self.client).await.unwrap()
    }
}

#[tokio::test]
async fn b21_the_log_of_the_first_days_is_kept_to_the_last_row() {
    let before = left(FIRST_DAYS).await;
    let rows = "select string_agg(id::text || title || coalesce(metadata::text, '') || coalesce(created_at::text, 'now'), ',' order by id)
                from eliza_activity_log where title <> 'lost its time'";
    let api = "select string_agg(api_call_logs::text, ',' order by id) from api_call_logs";
    let (log, calls) = (before.text(rows).await, before.text(api).await);
    let after = before.adopted().await;
    assert_eq!((after.text(rows).await, after.text(api).await), (log, calls));
    assert_eq!(after.number("select count(*) from eliza_activity_log").await, 7);
    assert_eq!(after.number("select count(*) from eliza_activity_log where not mentioned_to_user and updated_at is null").await, 7);

    let expected =
        [("gemini-chat".into(), "python-executor".into(), 4, 3, 1, 251), ("service_role".into(), "agent-manager".into(), 1, 1, 0, 0)];
    assert_eq!(after.stats().await, expected);
    assert_eq!(
        after.number("select count(*) from eliza_activity_log where tableoid = 'gatekeeper.eliza_activity_log_history'::regclass").await,
        3,
        "former days stay where they were"
    );
    assert_eq!(after.number("select count(*) from gatekeeper.eliza_activity_log_default").await, 0, "today has its partition");
    assert_eq!(after.store.calls(&CallQuery { most: 99, ..CallQuery::default() }).await.unwrap().len(), 5);

    after.store.write(&[record(), record()]).await.unwrap();
    assert_eq!(after.number("select total_calls from eliza_gatekeeper_stats where source = 'gemini-chat'").await, 6);
}

#[tokio::test]
async fn a_row_per_call_becomes_a_row_per_minute() {
    let after = left(FIRST_DAYS).await.adopted().await;
    let rows = after.store.limit_rows(None, now().minus(DAY), 99).await.unwrap();
    let seen: Vec<_> = rows.iter().map(|row| (row.identifier.as_str(), row.count)).collect();
    assert_eq!(seen, [("gemini-chat", 150), ("123.456.789.0", 7)]);
    assert!(rows.iter().all(|row| row.window_start == row.window_start.floor(60)));
    let twice = "insert into rate_limits (identifier, endpoint, window_start) select identifier, endpoint, window_start from rate_limits";
    assert!(sqlx::query(twice).execute(&after.client).await.is_err(), "the unique key is there now");
}

#[tokio::test]
async fn views_and_rights_are_put_back() {
    let after = left(FIRST_DAYS).await.adopted().await;
    after.store.write(&[record()]).await.unwrap();
    assert_eq!(after.number("select total_calls from busiest_pairs").await, 5, "they look at the new tables");
    assert_eq!(after.number("select count(*) from recent_titles").await, 8);
    assert_eq!(after.number("select errors from errors_by_function").await, 1);
    after.run("refresh materialized view concurrently errors_by_function").await;
    let option = after.text("select reloptions::text from pg_class where oid = 'busiest_pairs'::regclass").await;
    assert_eq!(option.as_deref(), Some("{security_barrier=true}"));
    let comment = after.text("select obj_description('recent_activity'::regclass, 'pg_class')").await;
    assert_eq!(comment.as_deref(), Some("the dashboard reads this"));

    let reporting = PgPool::connect(&url_as("reporting", &after.url)).await.unwrap();
    for (readable, rows) in [("eliza_activity_log", 8), ("recent_titles", 8), ("eliza_gatekeeper_stats", 2)] {
        let seen: i64 = sqlx::query_scalar(AssertSqlSafe(format!("select count(*) from {readable}"))).fetch_one(&reporting).await.unwrap();
        assert_eq!(seen, rows, "{readable}");
    }
    assert!(sqlx::query("select * from api_call_logs").execute(&reporting).await.is_err());
    assert!(sqlx::query("select * from recent_activity").execute(&reporting).await.is_err());
    for stranger in ["anon", "authenticated"] {
        let client = PgPool::connect(&url_as(stranger, &after.url)).await.unwrap();
        for table in ["eliza_activity_log", "api_call_logs", "rate_limits", "eliza_gatekeeper_stats"] {
            assert!(sqlx::query(AssertSqlSafe(format!("select * from {table}"))).execute(&client).await.is_err(), "{stranger}: {table}");
        }
    }
}

#[tokio::test]
async fn a_later_log_keeps_its_trigger_its_publication_and_its_own_columns() {
    let after = left(LATER).await.adopted().await;
    assert_eq!(after.stats().await, [("lovable-chat".into(), "deepseek-chat".into(), 2, 2, 0, 50)]);
    assert_eq!(after.number("select count(*) from api_call_logs where region = 'eu'").await, 1);
    after.store.write(&[record()]).await.unwrap();
    assert_eq!(after.number("select count(*) from eliza_activity_log").await, 3);
    after.run("update eliza_activity_log set updated_at = 'epoch', title = 'new'").await;
    assert_eq!(after.number("select count(*) from eliza_activity_log where updated_at > now() - interval '1 hour'").await, 3);
    let published = "select count(*) from pg_publication_rel where prrelid = 'public.eliza_activity_log'::regclass";
    assert_eq!(after.number(published).await, 1);
    assert_eq!(after.store.limit_rows(Some("lovable-chat"), now().minus(DAY), 9).await.unwrap()[0].count, 10);
}

#[tokio::test]
async fn what_was_adopted_ages_like_the_rest() {
    let after = left(FIRST_DAYS).await.adopted().await;
    let stats = after.stats().await;
    let keep = keep(30, 30, 1);
    assert_eq!(deleted(&after.store.maintain(now(), &keep).await.unwrap()), 1, "the row of 40 days ago");
    assert_eq!(after.number("select count(*) from eliza_activity_log").await, 6);
    let done = after.store.maintain(now().plus(31 * DAY), &keep).await.unwrap();
    assert_eq!(dropped(&done), 4, "former days and the first day, of both logs");
    assert_eq!(after.number("select count(*) from eliza_activity_log").await, 0);
    assert_eq!(after.stats().await, stats);
}

#[tokio::test]
async fn an_empty_database_of_the_original_is_adopted_too() {
    let left = left(FIRST_DAYS).await;
    left.run("truncate eliza_activity_log, api_call_logs, rate_limits; create function f(eliza_activity_log) returns text language sql as 'select $1.title'").await;
    let after = left.adopted().await;
    after.store.write(&[record()]).await.unwrap();
    assert_eq!(after.number("select count(*) from eliza_activity_log").await, 1);
}

#[tokio::test]
async fn whoever_owns_the_tables_can_adopt_them() {
    for statements in [FIRST_DAYS, LATER] {
        let url = postgres::database();
        let (_, database) = url.rsplit_once('/').unwrap();
        let administrator = PgPool::connect(&url).await.unwrap();
        sqlx::query(AssertSqlSafe(format!("alter database {database} owner to keeper"))).execute(&administrator).await.unwrap();
        let url = url_as("keeper", &url);
        let client = PgPool::connect(&url).await.unwrap();
        sqlx::raw_sql(statements).execute(&client).await.unwrap();
        let store = open(&url, OPTIONS).await.unwrap();
        store.migrate().await.unwrap();
        store.write(&[record()]).await.unwrap();
        let keep = keep(30, 30, 1);
        assert_eq!(store.maintain(now().plus(DAY), &keep).await.unwrap().partitions_made, 2);
    }
}

#[tokio::test]
async fn anothers_table_is_left_alone() {
    let theirs = "create table api_call_logs (id uuid primary key, tenant_id uuid, endpoint text not null, status integer)";
    for (statements, named) in [
        (theirs, "api_call_logs.function_name"),
        ("create view eliza_activity_log as select 1 as id", "not a plain table"),
        (
            "create table eliza_activity_log (id uuid primary key, activity_type text, title text, description text, metadata jsonb,
                                              status text, created_at timestamptz);
             create table notes (about uuid references eliza_activity_log)",
            "notes",
        ),
    ] {
        let left = left(statements).await;
        let before =
            left.text("select string_agg(relname, ',' order by relname) from pg_class where relnamespace = 'public'::regnamespace").await;
        let error = left.store.migrate().await.unwrap_err();
        assert!(matches!(&error, StoreError::Refused(text) if text.contains(named)), "{error}");
        let after =
            left.text("select string_agg(relname, ',' order by relname) from pg_class where relnamespace = 'public'::regnamespace").await;
        assert_eq!(after, before);
        // The lock of the attempt is gone with it, and once the way is free all goes well.
        left.run("drop schema public cascade; create schema public").await;
        left.store.migrate().await.unwrap();
        left.store.write(&[record()]).await.unwrap();
    }
}

#[tokio::test]
async fn what_the_world_read_through_a_view_it_reads_no_more() {
    let left = left(FIRST_DAYS).await;
    left.run("create view public.newest as select title, created_at from public.eliza_activity_log").await;
    left.run("grant select on public.newest to anon, authenticated, reporting").await;
    let left = left.adopted().await;
    for (role, may) in [("anon", false), ("authenticated", false), ("reporting", true)] {
        let sql = format!("select has_table_privilege('{role}', 'public.newest', 'select')::int::bigint");
        assert_eq!(left.number(&sql).await == 1, may, "{role}");
    }
}

#[tokio::test]
async fn nobody_but_the_owner_may_hang_a_trigger_on_the_tables() {
    let left = left(FIRST_DAYS).await;
    left.run("grant all on public.rate_limits, public.eliza_activity_log to reporting, service_role").await;
    let left = left.adopted().await;
    let holders = "select count(*) from pg_class cross join aclexplode(relacl)
                   where relname in ('eliza_activity_log', 'api_call_logs', 'rate_limits', 'call_stats', 'keys', 'signals')
                     and privilege_type = 'TRIGGER' and grantee <> relowner";
    assert_eq!(left.number(holders).await, 0);
    assert_eq!(left.number("select has_table_privilege('service_role', 'public.rate_limits', 'delete')::int::bigint").await, 1);
}

#[tokio::test]
async fn a_function_over_the_logs_rows_keeps_nothing_from_growing_old() {
    let left = left(FIRST_DAYS).await;
    left.run("create function public.latest() returns setof public.eliza_activity_log language plpgsql as 'begin end'").await;
    let left = left.adopted().await;
    let keep = keep(30, 30, 1);
    let far = now().plus(400 * DAY);
    left.store.maintain(far, &keep).await.unwrap();
    assert_eq!(left.number("select count(*) from eliza_activity_log").await, 0);
    assert_eq!(left.number("select count(*) from api_call_logs").await, 0);
    let daily = "select count(*) from gatekeeper.partitions('public.eliza_activity_log') where ends < now() + interval '300 days'
                 and ends > '-infinity' and partition::text !~ '_history$'";
    assert_eq!(left.number(daily).await, 0, "the days that are over are gone");
}

#[tokio::test]
async fn an_archive_of_somebody_elses_is_not_taken_over() {
    let left = left("create table eliza_activity_log_archive (id uuid); insert into eliza_activity_log_archive default values").await;
    let refused = left.store.migrate().await.unwrap_err().to_string();
    assert!(refused.contains("public.eliza_activity_log_archive; rename them"), "{refused}");
    left.run("alter table eliza_activity_log_archive rename to of_before").await;
    left.store.migrate().await.unwrap();
    assert_eq!(left.number("select count(*) from of_before").await, 1);
}

/// Flags as an application of its own time may have made them, with rows, rights and columns of its own.
const FLAGS: &str = "
    create table feature_flags (
        id                 uuid primary key default gen_random_uuid(),
        name               character varying(80),
        enabled            boolean default false,
        rollout_percentage numeric default 0,
        target_users       jsonb not null default '[]',
        updated_at         timestamp default now(),
        seen               integer not null default 0
    );
    insert into feature_flags (name, enabled, rollout_percentage) values
        ('new_dashboard', true, 12.5), ('target:brain', null, null), (null, true, 100), ('twice', true, 100), ('twice', false, 300);
    grant select on feature_flags to anon;
    alter table feature_flags enable row level security;
    create policy \"Everybody sees flags\" on feature_flags for select using (true);";

#[tokio::test]
async fn flags_of_an_application_are_adopted_with_their_rows_and_rights() {
    let after = left(FLAGS).await.adopted().await;
    let flag = |name: &str, enabled, rollout_percentage| Flag { name: name.into(), enabled, kill_switch: false, rollout_percentage };
    let mut flags = after.store.flags().await.unwrap();
    flags.sort_by_key(|flag| (flag.name.clone(), flag.enabled));
    let expected = [flag("new_dashboard", true, 13), flag("target:brain", true, 100), flag("twice", false, 100), flag("twice", true, 100)];
    assert_eq!(flags, expected, "where nothing is said, a flag is as a new one is");
    let kind = "select string_agg(format_type(atttypid, atttypmod), ',' order by attnum) from pg_attribute
                where attrelid = 'feature_flags'::regclass and attname in ('name', 'rollout_percentage', 'target_users')";
    assert_eq!(after.text(kind).await.as_deref(), Some("character varying(80),numeric,jsonb"));
    let anon = PgPool::connect(&url_as("anon", &after.url)).await.unwrap();
    let seen: i64 = sqlx::query_scalar("select count(*) from feature_flags").fetch_one(&anon).await.unwrap();
    assert_eq!(seen, 5);
    assert!(sqlx::query("select * from security_audit").execute(&anon).await.is_err());

    let start = after.store.signal_cursor().await.unwrap();
    after.store.seed_flags(&["target:brain".to_owned(), "target:other".to_owned()]).await.unwrap();
    after.run("update feature_flags set seen = seen + 1, updated_at = now()").await;
    assert_eq!(after.store.signals_after(&start).await.unwrap().0, [], "the application's own columns are no business of ours");
    after.run(include_str!("runbook_sql/002_06_L389.sql").replace("feature_name", "new_dashboard").as_str()).await;
    assert_eq!(after.store.signals_after(&start).await.unwrap().0, [Signal::FlagsChanged]);
    let entry = AuditEntry::new(now(), &Actor::named("alice"), AuditAction::FlagChanged, "twice");
    let change = FlagChange { name: "twice".into(), kill_switch: Some(true), ..FlagChange::default() };
    after.store.set_flag(&change, &entry).await.unwrap();
    assert_eq!(after.number("select count(*) from feature_flags where name = 'twice' and kill_switch").await, 2);
    assert_eq!(after.number("select count(*) from feature_flags where rollout_percentage = 300").await, 1, "what is not said stays");
    assert_eq!(after.store.audit_entries(9).await.unwrap().len(), 2);
}

#[tokio::test]
async fn an_audit_and_events_of_an_application_are_adopted_with_their_rows() {
    let left = left(
        "create table security_audit (id uuid primary key default gen_random_uuid(), user_id uuid, action text not null,
                                      details jsonb not null default '{}', created_at timestamp default now());
         insert into security_audit (action) values ('login'), ('logout');
         create table security_events (id bigserial primary key, event_type varchar(50) not null, risk_score smallint, created_at timestamptz);
         insert into security_events (event_type, risk_score, created_at) values ('X', 90, now()), ('Y', null, now()), ('Z', 99, null);
         alter default privileges in schema public grant all on tables to service_role;
         grant all on security_audit to service_role;",
    )
    .await
    .adopted()
    .await;
    let entry = AuditEntry::new(now().plus(DAY), &Actor::named("alice"), AuditAction::Reviewed, "x");
    for _ in 0..2 {
        left.store.audit(&[entry.clone(), entry.clone()]).await.unwrap();
    }
    let kept = left.store.audit_entries(9).await.unwrap();
    assert_eq!((kept.len(), kept[0].action.as_str(), kept[1].actor.as_str()), (3, "reviewed", ""));
    assert_eq!(left.store.security_events(now().minus(DAY), 70, 9).await.unwrap(), 1);
    left.run("update gatekeeper.enforcement set mode = 'observe' where gate = 'authenticate'").await;
    assert_eq!(left.number("select count(*) from security_audit where action = 'enforcement_changed_by_hand'").await, 1);
    assert_eq!(left.number("select has_table_privilege('service_role', 'security_audit', 'delete')::int::bigint").await, 1);
    assert_eq!(left.number("select has_table_privilege('service_role', 'security_audit', 'trigger')::int::bigint").await, 0);
    assert_eq!(left.number("select has_table_privilege('service_role', 'gatekeeper.blocks', 'trigger')::int::bigint").await, 0);
}

#[tokio::test]
async fn what_cannot_be_adopted_is_named_all_at_once() {
    let left = left(
        "create table feature_flags (flag text primary key, enabled boolean);
         create table security_audit (id bigserial primary key, what text not null);
         create table security_events (risk_score text);",
    )
    .await;
    let error = left.store.migrate().await.unwrap_err();
    let StoreError::Refused(text) = &error else { panic!("{error}") };
    for named in ["public.feature_flags (column \"name\" does not exist)", "public.security_audit (", "public.security_events ("] {
        assert!(text.contains(named), "{text}");
    }
    let added = "select count(*) from pg_attribute where attrelid = 'feature_flags'::regclass and attname = 'kill_switch'";
    assert_eq!(left.number(added).await, 0, "nothing is touched");
    left.run("drop table feature_flags, security_audit; create view feature_flags as select 'x' as name").await;
    let error = left.store.migrate().await.unwrap_err();
    assert!(error.to_string().contains("public.feature_flags ("), "{error}");
    left.run("drop view feature_flags; drop table security_events; create table security_audit (must text not null)").await;
    let error = left.store.migrate().await.unwrap_err();
    assert!(error.to_string().contains("\"id\"") || error.to_string().contains("\"must\""), "{error}");
    left.run("drop table security_audit").await;
    left.store.migrate().await.unwrap();
}

#[tokio::test]
async fn flags_that_take_no_new_one_are_not_adopted() {
    let left =
        left("create table feature_flags (name text primary key, owner text not null); insert into feature_flags values ('a', 'b')").await;
    let error = left.store.migrate().await.unwrap_err();
    assert!(error.to_string().contains("public.feature_flags takes no new flag: ") && error.to_string().contains("\"owner\""), "{error}");
    left.run("alter table feature_flags alter column owner set default 'nobody'").await;
    left.store.migrate().await.unwrap();
    left.store.seed_flags(&["target:brain".to_owned()]).await.unwrap();
    assert_eq!(left.store.flags().await.unwrap().len(), 2, "what was tried has left nothing");
    assert_eq!(left.store.audit_entries(9).await.unwrap(), []);
}

#[tokio::test]
async fn a_log_that_allows_certain_words_allows_ours_too() {
    let left = left(LATER).await;
    left.run(
        "alter table eliza_activity_log
             add constraint known_words check (status in ('completed', 'error', 'pending')),
             add constraint short_titles check (length(title) < 1000)",
    )
    .await;
    let left = left.adopted().await;
    left.store.write(&[record()]).await.unwrap();
    let entry = ActivityEntry::bypass(now(), "alice", "brain", "x");
    left.store.add_entries(std::slice::from_ref(&entry)).await.unwrap();
    let review = Review { by: "bob".into(), note: "fine".into(), at: now() };
    assert!(left.store.review(entry.id, &review, &AuditEntry::new(now(), &Actor::named("bob"), AuditAction::Reviewed, "x")).await.unwrap());
    left.run("insert into eliza_activity_log (activity_type, title, status) values ('theirs', 'x', 'pending')").await;
    for wrong in ["'x', 'anything'", "repeat('x', 1000), 'pending'"] {
        let insert = format!("insert into eliza_activity_log (activity_type, title, status) values ('theirs', {wrong})");
        assert!(sqlx::query(AssertSqlSafe(insert)).execute(&left.client).await.is_err(), "{wrong}");
    }
    let keep = keep(30, 30, 1);
    assert_eq!(left.store.maintain(now().plus(DAY), &keep).await.unwrap().partitions_made, 2);
}

#[tokio::test]
async fn tables_of_guests_are_left_as_they_are() {
    let left = left(
        "create table conversation_messages (id bigint, at timestamptz);
         create table conversation_sessions (id bigint, is_active boolean);
         insert into conversation_sessions values (1, true), (2, true), (3, false);
         create table frontend_health_checks (check_timestamp timestamptz, status text);
         insert into frontend_health_checks values (now(), 'online'), (now(), 'offline'), (now() - interval '2 hours', 'online')",
    )
    .await
    .adopted()
    .await;
    let numbers: (Option<i64>, Option<i64>, Option<i64>, Option<i64>) = sqlx::query_as(
        "select frontend_uptime_checks, recent_function_errors, messages_last_hour, active_sessions from system_health_summary",
    )
    .fetch_one(&left.client)
    .await
    .unwrap();
    assert_eq!(numbers, (Some(1), Some(0), None, Some(2)), "of a table of another shape nothing is known");
    assert_eq!(left.number("select count(*) from pg_attribute where attrelid = 'conversation_messages'::regclass and attnum > 0").await, 2);
}

#[tokio::test]
async fn a_dashboard_that_is_there_is_left_as_it_is() {
    let left = left("create view system_health_summary as select 42 as answer; grant select on system_health_summary to anon").await;
    let left = left.adopted().await;
    assert_eq!(left.number("select answer::bigint from system_health_summary").await, 42);
    assert_eq!(left.number("select has_table_privilege('anon', 'system_health_summary', 'select')::int::bigint").await, 1);
}

#[tokio::test]
async fn whoever_was_admitted_before_is_admitted_to_what_is_new() {
    let url = postgres::database();
    let client = PgPool::connect(&url).await.unwrap();
    // As a gatekeeper of an earlier version leaves a database.
    sqlx::raw_sql("create schema gatekeeper; create table gatekeeper.migrations (version bigint)").execute(&client).await.unwrap();
    for file in ["0001_gatekeeper_schema", "0002_public_tables"] {
        let sql = std::fs::read_to_string(format!("{}/migrations/postgres/{file}.sql", env!("CARGO_MANIFEST_DIR"))).unwrap();
        sqlx::raw_sql(AssertSqlSafe(format!("begin; {sql}; commit"))).execute(&client).await.unwrap();
    }
    sqlx::raw_sql("set search_path = public; select gatekeeper.admit('reporting')").execute(&client).await.unwrap();
    let sql = std::fs::read_to_string(format!("{}/migrations/postgres/0003_live_control.sql", env!("CARGO_MANIFEST_DIR"))).unwrap();
    sqlx::raw_sql(AssertSqlSafe(format!("begin; {sql}; commit"))).execute(&client).await.unwrap();
    let reporting = open(&url_as("reporting", &url), OPTIONS).await.unwrap();
    reporting.seed_flags(&["target:brain".to_owned()]).await.unwrap();
    assert_eq!(reporting.flags().await.unwrap().len(), 1);
    assert_eq!(reporting.rulings().await.unwrap(), []);
    assert_eq!(reporting.blocks(now()).await.unwrap(), []);
}

#[tokio::test]
async fn columns_of_other_types_take_many_rows_at_once_too() {
    let left = left(FIRST_DAYS).await;
    left.run(
        "alter table api_call_logs alter column request_payload type json using request_payload::json;
         alter table api_call_logs alter column caller_context type json using caller_context::json",
    )
    .await;
    let left = left.adopted().await;
    let before = left.number("select count(*) from api_call_logs").await;
    for _ in 0..2 {
        let many: Vec<_> = (0..200).map(|_| record()).collect();
        left.store.write(&many).await.unwrap();
    }
    assert_eq!(left.number("select count(*) from api_call_logs").await, before + 400);
    assert_eq!(left.number("select count(*) from api_call_logs where request_payload ->> 'action' = 'run'").await, 400);
}
