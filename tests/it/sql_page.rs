//! The page on SQL says what is so: its rules are the program's, its policies compile, and the role that it makes, on a real PostgreSQL,
//! can do its work and nothing else.

use eliza_gatekeeper::sql::rules::RULES;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use crate::support::Database;
use crate::support::house::{House, KEY, call_at, eventually, lay_policies};
use crate::support::postgres::{Cluster, url_as};
use crate::support::program::Program;

const PAGE: &str = include_str!("../../docs/sql.md");

/// The page's blocks of a language.
fn blocks(language: &str) -> Vec<&'static str> {
    let open = format!("```{language}\n");
    PAGE.split(open.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn the_table_of_rules_is_the_programs_own() {
    let rows: String = RULES.iter().map(|rule| format!("| `{}` | {} | {} |\n", rule.id, rule.tier.severity(), rule.refuses)).collect();
    let table = format!("| rule | severity | what it refuses |\n|---|---|---|\n{rows}");
    let (_, rest) = PAGE.split_once("<!-- rules -->\n").unwrap();
    let (shown, _) = rest.split_once("<!-- /rules -->").unwrap();
    assert_eq!(shown, table, "put this between the two marks of docs/sql.md:\n{table}");
}

/// The policies of the page, in force together, over the shipped sources and targets.
#[tokio::test]
async fn the_policies_of_the_page_do_what_it_says() {
    let program = Program::bare();
    lay_policies(program.folder(), &[("sql.toml".into(), blocks("toml").concat())]);
    program.run(&["policy", "check"]).await.expect(0);
    let table = [
        ("knowledge-manager", "brain", "DELETE FROM drafts", "allow", "excepted"),
        ("knowledge-manager", "brain", "delete /* all */ from Drafts;", "allow", "excepted"),
        ("knowledge-manager", "brain", "DELETE FROM documents", "deny", "enforce"),
        ("gemini-chat", "brain", "DELETE FROM drafts", "deny", "enforce"),
        ("gemini-chat", "schema-manager", "DROP TABLE tmp_a, public.tmp_b, staging.c", "allow", "excepted"),
        ("gemini-chat", "schema-manager", "DROP TABLE tmp_a, users", "deny", "enforce"),
        ("gemini-chat", "brain", "DROP TABLE tmp_a", "deny", "enforce"),
        ("code-monitor-daemon", "brain", "UPDATE checks SET seen = true", "allow", "observe"),
        ("gemini-chat", "brain", "UPDATE checks SET seen = true", "deny", "enforce"),
        ("gemini-chat", "brain", "DROP VIEW v", "allow", "observe"),
        ("gemini-chat", "brain", "UPDATE ledger SET a = 1 WHERE id = 2", "deny", "enforce"),
    ];
    for (source, target, text, verdict, mode) in table {
        let ran = program.run(&["inspect", "--json", "--source", source, "--target", target, text]).await;
        let said = ran.value();
        assert_eq!(
            (&said["verdict"], &said["findings"][0]["mode"]),
            (&json!(verdict), &json!(mode)),
            "{source} to {target}: {text}: {said}"
        );
    }
    let shown = program.run(&["inspect", "--json", "DELETE FROM users"]).await.value();
    let fingerprint = shown["findings"][0]["fingerprint"].as_str().unwrap();
    assert_eq!(PAGE.matches(fingerprint).count(), 2, "the page's example of a refusal and of `calls show`: {fingerprint}");
}

/// What the page takes for granted, and things that are nobody's business.
const SHOP: &str = "
    create table customers (id bigint primary key, name text);
    create table orders (id bigint generated always as identity primary key, owner name not null default current_user, item text, paid boolean not null default false);
    create table payroll (id bigint, salary int);
    create function give_all() returns void language sql security definer as 'delete from payroll';
    insert into customers values (1, 'a');
    insert into orders (owner, item) values ('agent', 'mine'), ('somebody', 'theirs');
    insert into payroll values (1, 1);
";

/// PostgreSQL's words for: not allowed.
const DENIED: &str = "42501";
const READ_ONLY: &str = "25006";

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap()
}

/// The rows a statement touches or returns, or the code of the error.
async fn attempt(session: &mut PgConnection, statement: &str) -> Result<u64, String> {
    let done = sqlx::raw_sql(AssertSqlSafe(statement)).execute(session).await;
    done.map(|done| done.rows_affected()).map_err(|error| error.as_database_error().unwrap().code().unwrap().into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_role_of_the_page_can_do_its_work_and_nothing_else() {
    // Roles belong to a whole server.
    let cluster = Cluster::private();
    let url = cluster.database();
    let name = url.rsplit('/').next().unwrap();
    let mut owner = connect(&url).await;
    attempt(&mut owner, SHOP).await.unwrap();
    let (questions, making): (Vec<_>, Vec<_>) = blocks("sql").into_iter().partition(|block| block.starts_with("select"));
    assert_eq!((making.len(), questions.len()), (8, 2));
    for block in making {
        let block = block.replace("database shop", &format!("database {name}"));
        assert_eq!(attempt(&mut owner, &block).await.map(|_| ()), Ok(()), "{block}");
    }
    attempt(&mut owner, "create function later() returns int language sql as 'select 1'").await.unwrap();

    let work = [
        ("select * from customers", 1),
        ("select * from orders", 1),
        ("insert into orders (item) values ('tea')", 1),
        ("update orders set paid = true", 2),
        ("update orders set item = 'coffee' where id = 1", 1),
        ("update orders set paid = false where item = 'tea'", 1),
        ("select cancel_order(3)", 1),
        ("select * from orders", 1),
        ("begin; savepoint a; rollback", 0),
    ];
    let never = [
        "drop table orders",
        "drop table customers cascade",
        "truncate orders",
        "truncate customers",
        "delete from orders",
        "delete from orders where id = 1",
        "delete from customers",
        "update customers set name = 'b'",
        "update orders set owner = 'somebody'",
        "insert into orders (owner, item) values ('somebody', 'x')",
        "insert into customers values (2, 'b')",
        "select * from payroll",
        "select give_all()",
        "select later()",
        "alter table orders disable row level security",
        "alter table orders add column x int",
        "drop policy agent_rows on orders",
        "create table mine (id int)",
        "create temporary table mine (id int)",
        "create schema mine",
        "create view v as select 1",
        "create function f() returns int language sql as 'select 1'",
        "create role other",
        "create database other",
        "grant select on payroll to agent_reader",
        "grant agent_reader to agent",
        "alter role agent superuser",
        "alter role agent bypassrls",
        "set role postgres",
        "set session authorization postgres",
        "set session_replication_role = replica",
        "alter system set work_mem = '1GB'",
        "alter database postgres set work_mem = '1GB'",
        "copy customers to program 'cat'",
        "copy customers to '/tmp/customers'",
        "copy customers from '/etc/passwd'",
        "select pg_read_file('/etc/passwd')",
        "select pg_ls_dir('.')",
        "select lo_import('/etc/passwd')",
        "select lo_create(0)",
        "select lo_from_bytea(0, 'x')",
        "select pg_reload_conf()",
        "load 'plpgsql'",
        "do language plpgsql $$ begin execute 'drop table ' || 'orders'; end $$",
    ];
    let mut agent = connect(&url_as("agent", &url)).await;
    for (statement, rows) in work {
        assert_eq!(attempt(&mut agent, statement).await, Ok(rows), "{statement}");
    }
    for statement in never {
        assert_eq!(attempt(&mut agent, statement).await, Err(DENIED.to_owned()), "{statement}");
    }
    // What must not be seen is as if it were not there.
    assert_eq!(attempt(&mut agent, "update orders set item = 'x' where owner = 'somebody'").await, Ok(0));
    assert_eq!(attempt(&mut agent, "select cancel_order(2)").await, Ok(1), "one row, which is null");
    let defaults = "select current_setting('statement_timeout'), current_setting('lock_timeout')";
    let row = sqlx::query(defaults).fetch_one(&mut agent).await.unwrap();
    assert_eq!([row.get::<String, _>(0), row.get::<String, _>(1)], ["5s", "1s"]);

    let mut reader = connect(&url_as("agent_reader", &url)).await;
    assert_eq!(attempt(&mut reader, "select * from customers").await, Ok(1));
    assert_eq!(attempt(&mut reader, "select * from orders").await, Err(DENIED.to_owned()));
    // A default may be changed; what was never granted stays out of reach.
    for (read_only, code) in [("on", READ_ONLY), ("off", DENIED)] {
        attempt(&mut reader, &format!("set default_transaction_read_only = {read_only}")).await.unwrap();
        for statement in ["insert into customers values (3, 'c')", "delete from customers", "create temporary table t (id int)"] {
            assert_eq!(attempt(&mut reader, statement).await, Err(code.to_owned()), "{read_only}: {statement}");
        }
    }

    // Somebody else's rows, and all tables, are as they were.
    for (query, count) in [("select 1 from orders where item = 'theirs' and not paid", 1), ("select 1 from payroll", 1)] {
        assert_eq!(sqlx::query(query).fetch_all(&mut owner).await.unwrap().len(), count, "{query}");
    }
    let rights = sqlx::query(questions[0]).fetch_all(&mut owner).await.unwrap();
    assert_eq!(rights.iter().map(|row| row.get::<String, _>("privilege_type")).collect::<Vec<_>>(), ["INSERT"]);
    assert_eq!(sqlx::query(questions[1]).fetch_all(&mut owner).await.unwrap().len(), 1);
}

/// Before a rule is enforced: who would be refused what.
#[tokio::test]
async fn the_query_of_the_page_finds_what_would_be_refused() {
    let block = PAGE.split("\n\n").find(|block| block.contains("'would_deny'")).expect("the page holds the query");
    let house = House::plan().on(Database::Postgres).variable("GATEKEEPER_ENFORCE", "false").open().await;
    for (source, rows) in [("gemini-chat", "delete from users"), ("openai-chat", "DELETE FROM users -- all")] {
        house.call(source).to("get-embedding").operation(rows).send().await.expect(200);
    }
    let closed = house.close().await;
    let found = sqlx::query(AssertSqlSafe(block)).fetch_all(&mut connect(&closed.database).await).await.unwrap();
    let [row] = found.as_slice() else { panic!("{} rows", found.len()) };
    assert_eq!((row.get::<String, _>("rule"), row.get::<i64, _>("calls")), ("delete-without-where".into(), 2));
    assert_eq!(row.get::<Vec<String>, _>("sources"), ["gemini-chat", "openai-chat"]);
}

/// One finding, in the answer, in the record, in the log, and as `calls show` says it.
#[tokio::test]
async fn a_refusal_is_the_same_wherever_it_is_told() {
    let serving = Program::new().serve().await;
    let body = json!({"target": "get-embedding", "payload": {"sql": "SELECT 1; DELETE FROM users"}});
    let reply = call_at(serving.data, KEY, "gemini-chat", &body).await.expect(403);
    let told = reply.json();
    let logged = serving.running.log_line("SQL is refused").await;
    let shown = eventually_shown(&serving.running.program, reply.call_id()).await;
    for member in ["rule", "fingerprint", "pointer"] {
        assert_eq!(logged[member], told[member], "{member} of {logged}");
    }
    assert_eq!((logged["call"].as_str(), logged["source"].as_str()), (Some(reply.call_id()), Some("gemini-chat")));
    for member in ["rule", "severity", "kind", "objects", "reason", "pointer", "span", "fingerprint"] {
        assert_eq!(shown["metadata"][member], told[member], "{member} of {shown}");
    }
    assert_eq!(shown["metadata"]["sql"], told["statement"]);
    let text = |member: &str| told[member].as_str().unwrap();
    let head = format!("{} at /payload/sql {}..{}: {}", text("rule"), told["span"][0], told["span"][1], text("reason"));
    let step = shown["steps"].as_array().unwrap().iter().find(|step| step["gate"] == "sql_filter").unwrap();
    assert!(step["why"].as_str().unwrap().starts_with(&head), "{head}: {step}");
    serving.stop().await.expect(0);
}

/// The record reaches the database in a moment.
async fn eventually_shown(program: &Program, call: &str) -> Value {
    let arguments = ["calls", "show", call, "--json"];
    let show = || program.run(&arguments);
    eventually("the call is recorded", || async { show().await.code == 0 }).await;
    show().await.value()
}
