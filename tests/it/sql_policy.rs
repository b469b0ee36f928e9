//! What operators rely on when policy lets SQL pass or not: a rule does in each call what the first line about it says, an exception
//! covers whom, what and until when it says and not a statement more, and a change of a file is all it takes.

use std::fs;
use std::time::Duration;

use bytes::Bytes;
use eliza_gatekeeper::call::Envelope;
use eliza_gatekeeper::clock::Timestamp;
use eliza_gatekeeper::gates::sql_filter::{SqlJudged, sql_filter};
use eliza_gatekeeper::identity::{Caller, KeyId, Proof, SourceName, TargetName};
use eliza_gatekeeper::policy::Policy;
use eliza_gatekeeper::sql::{Backslashes, Field, examine};
use eliza_gatekeeper::verdict::{Denial, SqlFinding, Verdict};
use serde_json::json;

use crate::policies::given;
use crate::support::house::{House, soon};

const NOW: Timestamp = Timestamp::from_secs(100);
const WHOM: &str = "[[source]]\nnames = ['alice', 'bot-*']\n[[target]]\nnames = ['brain', 'hands', 'schema-manager']\n";

fn policy(own: &str) -> Policy {
    given([("a.toml", WHOM), ("b.toml", own)]).load().unwrap()
}

fn source(name: &str) -> Caller {
    Caller::Source { name: SourceName::parse(name).unwrap(), proof: Proof::Key(KeyId::new("internal")) }
}

fn callers() -> [Caller; 3] {
    [source("alice"), Caller::ServiceRole { claimed: Some("alice".into()) }, Caller::Stranger { claimed: Some("alice".into()) }]
}

fn call(policy: &Policy, caller: &Caller, target: &str, sql: &str) -> Verdict<SqlJudged> {
    let body = json!({ "target": target, "payload": { "steps": [{ "SQL": sql }] } }).to_string();
    let envelope = Envelope::parse(Bytes::from(body), &policy.sql.fields).unwrap();
    sql_filter(caller, &TargetName::parse(target).unwrap(), &envelope.sql, &policy.sql, NOW)
}

fn denied(verdict: &Verdict<SqlJudged>) -> Option<&SqlFinding> {
    verdict.denial().map(|denial| match denial {
        Denial::DangerousSql(finding) => &**finding,
        other => panic!("{other:?}"),
    })
}

/// What becomes of it: `refused by`, `observed` and `excepted`, with rules and places.
fn outcome(verdict: &Verdict<SqlJudged>) -> String {
    let named = |finding: &SqlFinding| format!("{} {}", finding.rule, finding.place.as_ref().unwrap());
    let refused = denied(verdict).map(|finding| format!("refused by {}", named(finding)));
    let observed = verdict.proof().observed().iter().map(|finding| format!("observed by {}", named(finding)));
    let excepted = verdict.proof().excepted().iter().map(|one| format!("excepted from {} by {}", one.finding.rule, one.place));
    let all: Vec<String> = observed.chain(excepted).chain(refused).collect();
    if all.is_empty() { "passed".to_owned() } else { all.join(", ") }
}

#[test]
fn a_rule_does_in_each_call_what_the_first_line_about_it_says() {
    let own = "\
[sql.rules]
grant = 'observe'
drop-view = 'off'
[[rule]]
id = 'grant'
mode = 'off'
sources = ['alice']
targets = ['hands']
[[rule]]
id = 'grant'
mode = 'enforce'
sources = ['*']
[[rule]]
id = 'drop-view'
mode = 'enforce'
targets = ['brain']
";
    let policy = policy(own);
    let (grant, view) = ("GRANT SELECT ON t TO r", "DROP VIEW v");
    let [alice, service_role, stranger] = callers();
    let bot = source("bot-7");
    let cases = [
        (&alice, "hands", grant, "passed"),
        (&alice, "brain", grant, "refused by grant b.toml:10"),
        (&bot, "hands", grant, "refused by grant b.toml:10"),
        // No source, so nothing that names sources is about them.
        (&service_role, "hands", grant, "observed by grant b.toml:2"),
        (&stranger, "hands", grant, "observed by grant b.toml:2"),
        (&alice, "hands", view, "passed"),
        (&alice, "brain", view, "refused by drop-view b.toml:14"),
        (&service_role, "brain", view, "refused by drop-view b.toml:14"),
        (&stranger, "brain", view, "refused by drop-view b.toml:14"),
        (&alice, "hands", "GRANT a TO b; DROP VIEW v; SELECT 1", "passed"),
    ];
    for (caller, target, sql, expected) in cases {
        assert_eq!(outcome(&call(&policy, caller, target, sql)), expected, "{caller:?} {target} {sql}");
    }
    let untouched = outcome(&call(&policy, &alice, "hands", "SELECT 1; TRUNCATE t"));
    assert!(untouched.starts_with("refused by truncate shipped sql.toml:"), "{untouched}");
}

#[test]
fn observing_keeps_a_bounded_number_and_looks_on() {
    let policy = policy("[sql.rules]\ndrop-view = 'observe'\n");
    let many = "DROP VIEW v; ".repeat(40);
    let verdict = call(&policy, &source("alice"), "brain", &many);
    assert_eq!((denied(&verdict), verdict.proof().observed().len()), (None, 16));
    let verdict = call(&policy, &source("alice"), "brain", &format!("{many} DROP TABLE t"));
    assert_eq!(denied(&verdict).unwrap().rule, "drop-table");
}

/// Whether a statement passes for an exception with these conditions; one that passes must be recorded with it.
fn passes(conditions: &str, caller: &Caller, target: &str, sql: &str) -> bool {
    let rules = "rules = ['drop-table', 'truncate', 'delete-without-where', 'grant', 'unreadable', 'drop-schema']";
    let rules = if conditions.contains("objects") { rules.replace("'unreadable', ", "") } else { rules.to_owned() };
    let policy = policy(&format!("[[exception]]\n{rules}\n{conditions}\nreason = 'cleans up'\nby = 'dba'\n"));
    let verdict = call(&policy, caller, target, sql);
    for one in verdict.proof().excepted() {
        assert_eq!((one.by.as_str(), one.reason.as_str(), one.place.as_str()), ("dba", "cleans up", "b.toml:2"));
    }
    assert!(denied(&verdict).is_some() || !verdict.proof().excepted().is_empty(), "{conditions}: {sql} is found");
    denied(&verdict).is_none()
}

#[test]
fn an_exception_covers_whom_what_and_until_when_it_says() {
    let [alice, service_role, stranger] = callers();
    let drop = "DROP TABLE a";
    let cases = [
        ("for all", "", &alice, drop, true),
        ("for all, the service role too", "", &service_role, drop, true),
        ("for this source", "sources = ['al*']", &alice, drop, true),
        ("for this source and target", "sources = ['bot-*', 'alice']\ntargets = ['brain']", &alice, drop, true),
        ("for another source", "sources = ['bot-*']", &alice, drop, false),
        ("for another target", "sources = ['alice']\ntargets = ['hands']", &alice, drop, false),
        ("for sources, of which the service role is none", "sources = ['*']", &service_role, drop, false),
        ("for sources, of which a stranger is none", "sources = ['*']", &stranger, drop, false),
        ("a moment before it ends", "until = '1970-01-01T00:01:41Z'", &alice, drop, true),
        ("when it ends", "until = '1970-01-01T00:01:40Z'", &alice, drop, false),
        ("not for another rule", "", &alice, "DROP TABLE a; DROP ROLE b", false),
    ];
    for (name, conditions, caller, sql, expected) in cases {
        assert_eq!(passes(conditions, caller, "brain", sql), expected, "{name}");
    }
}

#[test]
fn an_exception_by_object_covers_a_statement_that_is_about_nothing_else() {
    let objects = r#"objects = ["tmp_*", "staging.*", '"Drafts"']"#;
    let cases = [
        ("DROP TABLE tmp_a", true),
        ("DROP TABLE TMP_A", true),
        ("DROP TABLE public.tmp_a, staging.orders", true),
        ("TRUNCATE tmp_a, tmp_b", true),
        ("DELETE FROM \"tmp_a\"", true),
        (r#"DROP TABLE "Drafts""#, true),
        ("DROP TABLE drafts", false),
        ("DROP TABLE orders", false),
        ("DROP TABLE tmp_a, orders", false),
        ("TRUNCATE orders, tmp_a", false),
        ("DROP TABLE tmp_a; DROP TABLE orders", false),
        ("DROP TABLE tmp_a.orders", false),
        ("DROP TABLE shop.staging.orders", false),
        (r#"DROP TABLE "staging.orders""#, false),
        (r#"DROP TABLE "TMP_a""#, false),
        ("WITH gone AS (DELETE FROM orders RETURNING *) DELETE FROM tmp_a", false),
        ("DO $$ BEGIN DROP TABLE tmp_a; END $$", true),
        ("DO $$ BEGIN DROP TABLE tmp_a; TRUNCATE orders; END $$", false),
    ];
    for (sql, expected) in cases {
        assert_eq!(passes(objects, &source("alice"), "brain", sql), expected, "{sql}");
    }
    // PostgreSQL cuts longer names, so their end names nothing.
    for (length, expected) in [(63, true), (64, false)] {
        let sql = format!("DROP TABLE {}_tmp", "x".repeat(length - 4));
        assert_eq!(passes("objects = ['*_tmp']", &source("alice"), "brain", &sql), expected, "{sql}");
    }
}

#[test]
fn an_exception_by_statement_covers_that_statement() {
    let fingerprint = |sql: &str| examine(sql, Field::Sql, Backslashes::Plain).findings[0].fingerprint;
    let of_delete = format!("statements = ['{}']", fingerprint("DELETE FROM drafts WHERE 'a' = 'a'"));
    let cases = [
        ("DELETE FROM drafts WHERE 'a' = 'a'", true),
        ("delete  /* all */ from DRAFTS where 'b'='b'; -- so", true),
        ("DELETE FROM orders WHERE 'a' = 'a'", false),
        ("DELETE FROM drafts", false),
        ("DELETE FROM drafts WHERE 'a' = 'a'; DELETE FROM drafts", false),
    ];
    for (sql, expected) in cases {
        assert_eq!(passes(&of_delete, &source("alice"), "brain", sql), expected, "{sql}");
    }
    let both = format!("{of_delete}\nobjects = ['orders']");
    assert!(!passes(&both, &source("alice"), "brain", "DELETE FROM drafts WHERE 'a' = 'a'"), "all that it names must be so");
    let broken = format!("statements = ['{}']", fingerprint("SELECT 'abc"));
    assert!(passes(&broken, &source("alice"), "brain", "SELECT 'abc"));
    assert!(!passes(&broken, &source("alice"), "brain", "SELECT 'abc; DROP TABLE users"), "how it goes on is part of it");
}

#[test]
fn an_exception_by_name_covers_nothing_that_a_statement_does_not_name() {
    let cases = [
        ("TRUNCATE tmp_a", true),
        ("TRUNCATE tmp_a CASCADE", false),
        ("DROP TABLE tmp_a, tmp_b", true),
        ("DROP TABLE tmp_a CASCADE", false),
        ("GRANT SELECT ON tmp_a TO agent", true),
        ("GRANT postgres TO tmp_agent", false),
        ("GRANT tmp_role TO tmp_agent", true),
        ("GRANT ALL ON ALL TABLES IN SCHEMA public TO tmp_agent", false),
        ("GRANT SELECT ON LARGE OBJECT 17 TO tmp_agent", false),
    ];
    for (sql, expected) in cases {
        assert_eq!(passes("objects = ['tmp_*']", &source("alice"), "brain", sql), expected, "{sql}");
    }
    let own = "[[exception]]\nrules = ['drop-table', 'drop-cascade']\nobjects = ['tmp_*']\nreason = 'x'\nby = 'dba'\n";
    let verdict = call(&policy(own), &source("alice"), "brain", "DROP TABLE tmp_a CASCADE");
    assert_eq!(outcome(&verdict), "excepted from drop-table by b.toml:2, excepted from drop-cascade by b.toml:2", "who means it says so");
}

#[test]
fn what_migrations_and_poolers_do_every_day_is_observed_unless_policy_says_otherwise() {
    let texts = ["DROP TRIGGER IF EXISTS a ON t", "SET ROLE app", "RESET SESSION AUTHORIZATION", "DISCARD ALL"];
    let own = "[sql.rules]\ndrop-trigger = 'enforce'\nchange-role = 'enforce'\n";
    for sql in texts {
        let verdict = call(&policy(""), &source("alice"), "brain", sql);
        assert!(denied(&verdict).is_none() && verdict.proof().observed().len() == 1, "{sql}");
        assert!(denied(&call(&policy(own), &source("alice"), "brain", sql)).is_some(), "{sql}");
    }
}

#[test]
fn what_a_rule_only_observes_is_excepted_all_the_same() {
    let own = "[sql.rules]\ngrant = 'observe'\n[[exception]]\nrules = ['grant']\nobjects = ['t']\nreason = 'x'\nby = 'dba'\n";
    let verdict = call(&policy(own), &source("alice"), "brain", "GRANT SELECT ON t TO r; GRANT SELECT ON u TO r");
    assert_eq!(
        outcome(&verdict),
        "observed by grant b.toml:2, excepted from grant by b.toml:4",
        "the record tells what enforcing would do"
    );
}

#[test]
fn a_pattern_refuses_what_no_shipped_rule_is_about() {
    let own = r"
[[pattern]]
id = 'no-ledger'
regex = '^(INSERT INTO|UPDATE) ledger\b'
why = 'The ledger is written by the ledger alone.'
refuses = ['insert  /* x */ into Ledger values (1)', 'SELECT 1; UPDATE ledger SET a = 1 WHERE id = 2']
allows = ['SELECT * FROM ledger', 'INSERT INTO notes VALUES ($$UPDATE ledger$$)']
targets = ['brain']
[[pattern]]
id = 'selects'
regex = '^SELECT'
why = 'w'
refuses = ['SELECT 1']
mode = 'observe'
sources = ['bot-*']
[[exception]]
rules = ['no-ledger']
sources = ['bot-*']
reason = 'x'
by = 'y'
";
    let policy = policy(own);
    let [alice, service_role, stranger] = callers();
    let bot = source("bot-7");
    let write = "SELECT 1;\nUPDATE ledger SET a = 'x' WHERE id = 2";
    let cases = [
        (&alice, "brain", write, "refused by no-ledger b.toml:3"),
        (&service_role, "brain", write, "refused by no-ledger b.toml:3"),
        (&stranger, "brain", write, "refused by no-ledger b.toml:3"),
        (&alice, "hands", write, "passed"),
        (&bot, "brain", write, "observed by selects b.toml:10, excepted from no-ledger by b.toml:17"),
        (&alice, "brain", "SELECT 'UPDATE ledger' -- UPDATE ledger", "passed"),
    ];
    for (caller, target, sql, expected) in cases {
        assert_eq!(outcome(&call(&policy, caller, target, sql)), expected, "{caller:?} {target}");
    }
    let verdict = call(&policy, &alice, "brain", write);
    let finding = denied(&verdict).unwrap();
    let said = [&finding.pattern, &finding.reason, &finding.statement, &finding.pointer].map(String::as_str);
    let expected =
        ["no-ledger", "The ledger is written by the ledger alone.", "UPDATE ledger SET a = ? WHERE id = ?", "/payload/steps/0/SQL"];
    assert_eq!(said, expected);
    assert_eq!((finding.severity, finding.kind, finding.span.clone()), ("high", "update", 10..write.len()));
    assert_eq!((finding.objects.len(), finding.fingerprint.len()), (0, 16));
}

#[test]
fn a_denial_says_what_and_where_to_every_caller() {
    let policy = policy("");
    let sql = "select 'hunter2'; Drop/**/Table public.users, \"Order Items\" -- bye";
    for caller in callers() {
        let verdict = call(&policy, &caller, "brain", sql);
        let finding = denied(&verdict).unwrap();
        let place = finding.place.as_ref().unwrap();
        assert!(place.as_str().starts_with("shipped sql.toml:"), "{place}");
        let wanted = SqlFinding {
            rule: "drop-table".to_owned(),
            pattern: r"/DROP\s+TABLE/i".to_owned(),
            statement: "Drop Table public.users, \"Order Items\"".to_owned(),
            pointer: "/payload/steps/0/SQL".to_owned(),
            reason: "DROP TABLE destroys a table and everything in it.".to_owned(),
            severity: "critical",
            kind: "drop",
            objects: vec!["public.users".to_owned(), "\"Order Items\"".to_owned()],
            span: 18..sql.len() - " -- bye".len(),
            fingerprint: examine(sql, Field::Sql, Backslashes::Plain).findings[0].fingerprint.to_string(),
            place: Some(place.clone()),
        };
        assert_eq!(finding, &wanted);
    }
}

#[test]
fn literals_are_masked_unless_policy_keeps_them() {
    let sql = "DELETE FROM users\nWHERE 'hunter2' = 'hunter2' /* note */";
    let shown = |own: &str, sql: &str| denied(&call(&policy(own), &source("alice"), "brain", sql)).unwrap().statement.clone();
    assert_eq!(shown("", sql), "DELETE FROM users WHERE ? = ?");
    let keep = "[sql]\nliterals = 'keep'\n";
    assert_eq!(shown(keep, sql), "DELETE FROM users WHERE 'hunter2' = 'hunter2'");
    let long = format!("DROP TABLE \"{}\"", "é\u{7}".repeat(1000));
    let kept = shown(keep, &long);
    assert!(kept.chars().count() == 501 && kept.ends_with('…') && !kept.contains('\u{7}'), "{kept}");
    assert!(!shown(keep, "SELECT 'hunter2").is_empty());
}

#[test]
fn what_is_kept_of_a_finding_is_bounded() {
    let names: Vec<String> = (0..5000).map(|number| format!("t{number}")).collect();
    let verdict = call(&policy(""), &source("alice"), "brain", &format!("DROP TABLE {}, {}", "x".repeat(10_000), names.join(", ")));
    let finding = denied(&verdict).unwrap();
    assert_eq!((finding.objects.len(), finding.objects[1].as_str(), finding.objects[16].as_str()), (17, "t0", "…"));
    assert!(finding.objects[0].len() <= 256 && finding.statement.chars().count() <= 501);
}

/// A rule of an operator's own comes and goes with a line of a file, and so does an exception: no restart, and each change is audited.
#[tokio::test]
async fn a_refused_call_passes_once_the_file_says_so() {
    let own =
        |pattern: &str| format!("[[pattern]]\nid = 'no-ledger'\nregex = '{pattern}'\nwhy = 'w'\nrefuses = ['UPDATE ledger SET a = 1']\n");
    let house = House::plan().policy("own.toml", &own("^UPDATE ledger")).open().await;
    let status = async |sql: &str| house.call("code-monitor-daemon").to("get-embedding").payload(json!({ "sql": sql })).send().await.status;
    let (ledger, drafts) = ("UPDATE ledger SET a = 1 WHERE id = 2", "DELETE FROM drafts");
    assert_eq!((status(ledger).await, status(drafts).await), (403, 403));
    let change = |text: &str| fs::write(house.policies().join("own.toml"), text).unwrap();
    let patience = (Duration::from_secs(1), Duration::from_millis(20));

    let excepted =
        "[[exception]]\nrules = ['no-ledger', 'delete-without-where']\nreason = 'x'\nby = 'dba'\nsources = ['code-monitor-daemon']\n";
    change(&format!("{}{excepted}", own("^UPDATE ledger")));
    soon("the exception is in force", patience.0, patience.1, || async { status(ledger).await == 200 }).await;
    assert_eq!(status(drafts).await, 200);

    change("[[rule]]\nid = 'delete-without-where'\nmode = 'off'\ntargets = ['get-embedding']\n");
    soon("the pattern is gone", patience.0, patience.1, || async {
        house.gatekeeper.pipeline.live.current().policy.sql.patterns.is_empty()
    })
    .await;
    assert_eq!((status(ledger).await, status(drafts).await), (200, 200));
    change("");
    soon("the rule is enforced again", patience.0, patience.1, || async { status(drafts).await == 403 }).await;
}
