//! What operators and callers rely on of the SQL filter: it refuses statements, not words; no way of writing a statement hides it, and
//! neither a literal, a comment nor prose is taken for one; what it reports says which rule, which statement and where, and no secret.

use bytes::Bytes;
use eliza_gatekeeper::call::Envelope;
use eliza_gatekeeper::clock::Timestamp;
use eliza_gatekeeper::gates::sql_filter::sql_filter;
use eliza_gatekeeper::identity::{Caller, KeyId, NamePattern, Place, SourceName, TargetName};
use eliza_gatekeeper::policy::{SqlException, SqlPolicy};
use eliza_gatekeeper::sql::{Mode, Reading, Rule, fold, judge};
use eliza_gatekeeper::verdict::{Denial, SqlFinding, Verdict};
use proptest::prelude::*;
use regex::Regex;
use serde_json::json;

use crate::invariants;
use crate::support::house::House;

const CORE: [(&str, &str, &str); 6] = [
    ("drop-table", r"/DROP\s+TABLE/i", r"(?i)^drop table\b"),
    ("drop-database", r"/DROP\s+DATABASE/i", r"(?i)^drop database\b"),
    ("truncate", r"/TRUNCATE/i", r"(?i)^truncate\b"),
    (
        "delete-all",
        r"/DELETE\s+FROM\s+\w+\s*;/i",
        r"(?i)^delete from (?:only )?\S+(?: \*)?(?: (?:as )?\S+)?(?: where true)?(?: returning .*)?$",
    ),
    ("alter-database", r"/ALTER\s+DATABASE/i", r"(?i)^alter database\b"),
    ("drop-schema", r"/DROP\s+SCHEMA/i", r"(?i)^drop schema\b"),
];

fn core_rules() -> Vec<Rule> {
    CORE.iter().map(|(id, pattern, regex)| rule(id, pattern, regex, Mode::Enforce)).collect()
}

fn rule(id: &str, pattern: &str, regex: &str, mode: Mode) -> Rule {
    Rule {
        id: id.to_owned(),
        pattern: pattern.to_owned(),
        regex: Regex::new(regex).unwrap(),
        why: format!("{id} is not allowed"),
        mode,
        place: Place::new("sql.toml:1"),
    }
}

#[test]
fn a_statement_folds_to_one_shape() {
    use Reading::{Loose, Plain};
    let cases: [(&str, &[(&str, Reading)]); 24] = [
        ("  select\t1 ;\r\n select 2;", &[("select 1", Plain), ("select 2", Plain)]),
        ("a--b\nc/*d*/e", &[("a c e", Plain)]),
        ("a-- b\rc", &[("a c", Plain)]),
        ("a - -b", &[("a - -b", Plain)]),
        ("a/*b/*c*/d*/e", &[("a e", Plain)]),
        ("x = 'secret' and y", &[("x = '' and y", Plain)]),
        ("x='it''s'", &[("x=''", Plain)]),
        (r"E'a\'b' c", &[("'' c", Plain)]),
        (r"U&'\0061' UESCAPE '!'", &[("'' UESCAPE ''", Plain)]),
        ("n'a' B'1' x'F'", &[("n '' B '' x ''", Plain)]),
        ("$$a$$ $b$c$b$d", &[("'' '' d", Plain)]),
        ("$1 $2$3", &[("$1 $2$3", Plain)]),
        (r#"From"My Table" . "a""b"x"#, &[(r#"From "My_Table"."a""b" x"#, Plain)]),
        (r#"U&"d\0061t" z"#, &[(r#"U&"d\0061t" z"#, Plain)]),
        ("public . users .x", &[("public.users.x", Plain)]),
        ("1 .5", &[("1 .5", Plain)]),
        ("a\u{a0}b\u{2003}\0\u{b}c\u{feff}", &[("a b c", Plain)]),
        ("x 'open", &[("x ''", Plain), ("x 'open", Loose)]),
        ("x \"open", &[("x \"\"", Plain), ("x \"open", Loose)]),
        ("x $t$open", &[("x ''", Plain), ("x $t$open", Loose)]),
        ("x /*open", &[("x", Plain), ("x /*open", Loose)]),
        ("'a /* b", &[("''", Plain), ("'a", Loose), ("'a /* b", Loose)]),
        ("who's in; who's out", &[("who '' s out", Plain), ("who's in", Loose), ("who's out", Loose)]),
        ("do $$begin a; b; end$$", &[("begin", Plain), ("a", Plain), ("b", Plain), ("end", Plain), ("do ''", Plain)]),
    ];
    for (text, wanted) in cases {
        let mut got = Vec::new();
        fold(text, &mut |statement, reading| got.push((statement.to_owned(), reading)));
        let wanted: Vec<_> = wanted.iter().map(|(statement, reading)| ((*statement).to_owned(), *reading)).collect();
        assert_eq!(got, wanted, "{text}");
    }
}

fn envelope(body: &str) -> Envelope {
    Envelope::parse(Bytes::copy_from_slice(body.as_bytes()), &["sql", "query"].map(str::to_owned)).unwrap()
}

fn target(name: &str) -> TargetName {
    TargetName::parse(name).unwrap()
}

fn callers() -> [Caller; 3] {
    [
        Caller::Source { name: SourceName::parse("gemini-chat").unwrap(), key: KeyId::new("internal") },
        Caller::ServiceRole { claimed: None },
        Caller::Stranger { claimed: None },
    ]
}

fn filter(caller: &Caller, body: &str, rules: Vec<Rule>) -> (Option<SqlFinding>, Vec<SqlFinding>) {
    let policy = SqlPolicy { rules, fields: Vec::new(), exceptions: Vec::new() };
    match sql_filter(caller, &target("t"), &envelope(body), &policy, Timestamp::default()) {
        Verdict::Allow(judged) => (None, judged.observed().to_vec()),
        Verdict::Deny { denial: Denial::DangerousSql(finding), onward } => (Some(*finding), onward.observed().to_vec()),
        Verdict::Deny { denial, .. } => panic!("{denial:?}"),
    }
}

#[test]
fn a_denial_says_what_and_where_to_every_caller() {
    let body = r#"{"target":"t","operation":"SELECT 1","payload":{"x":[{"SQL":"select 'hunter2'; Drop/**/Table users"}]}}"#;
    for caller in callers() {
        let (denied, observed) = filter(&caller, body, core_rules());
        let wanted = SqlFinding {
            rule: "drop-table".to_owned(),
            pattern: r"/DROP\s+TABLE/i".to_owned(),
            statement: "Drop Table users".to_owned(),
            pointer: "/payload/x/0/SQL".to_owned(),
            reason: "drop-table is not allowed".to_owned(),
            severity: "critical",
            kind: "drop",
            objects: Vec::new(),
            span: 0..0,
            fingerprint: String::new(),
            place: Some(Place::new("sql.toml:1")),
        };
        assert_eq!((denied, observed), (Some(wanted), Vec::new()));
    }
}

#[test]
fn an_exception_covers_whom_what_and_until_when_it_says() {
    let patterns = |names: &[&str]| names.iter().map(|name| NamePattern::parse(name).unwrap()).collect();
    let exception = |sources: &[&str], targets: &[&str], until: Option<i64>| SqlException {
        rules: vec!["truncate".to_owned(), "drop-table".to_owned()],
        sources: patterns(sources),
        targets: patterns(targets),
        reason: "cleans up each night".to_owned(),
        by: "alice".to_owned(),
        until: until.map(Timestamp::from_secs),
        place: Place::new("sql.toml:7"),
    };
    let [source, service_role, stranger] = callers();
    let drop = r#"{"target":"t","operation":"DROP TABLE a"}"#;
    let delete = r#"{"target":"t","operation":"DROP TABLE a; DROP SCHEMA b"}"#;
    let cases = [
        ("for all", exception(&[], &[], None), &source, drop, true),
        ("for all, the service role too", exception(&[], &[], None), &service_role, drop, true),
        ("for this source", exception(&["gemini-*"], &[], None), &source, drop, true),
        ("for this source and target", exception(&["x", "gemini-chat"], &["t"], None), &source, drop, true),
        ("for another source", exception(&["openai-chat"], &[], None), &source, drop, false),
        ("for another target", exception(&["gemini-chat"], &["u"], None), &source, drop, false),
        ("for sources, of which the service role is none", exception(&["*"], &[], None), &service_role, drop, false),
        ("for sources, of which a stranger is none", exception(&["*"], &[], None), &stranger, drop, false),
        ("a moment before it ends", exception(&[], &[], Some(101)), &source, drop, true),
        ("when it ends", exception(&[], &[], Some(100)), &source, drop, false),
        ("not for another rule", exception(&[], &[], None), &source, delete, false),
    ];
    for (name, exception, caller, body, passes) in cases {
        let policy = SqlPolicy { rules: core_rules(), fields: Vec::new(), exceptions: vec![exception] };
        let verdict = sql_filter(caller, &target("t"), &envelope(body), &policy, Timestamp::from_secs(100));
        assert_eq!(verdict.denial().is_none(), passes, "{name}");
        let noted: Vec<_> =
            verdict.proof().excepted().iter().map(|one| (one.finding.rule.as_str(), one.by.as_str(), one.place.as_str())).collect();
        if passes {
            assert_eq!(noted, [("drop-table", "alice", "sql.toml:7")], "{name}");
        }
    }
}

#[tokio::test]
async fn what_an_exception_lets_pass_is_recorded() {
    let own = "[[exception]]\nrules = ['delete-without-where']\nsources = ['gemini-chat']\nreason = 'cleans up'\nby = 'alice'\n";
    let house = House::plan().policy("own.toml", own).open().await;
    let body = json!({"sql": "DELETE FROM drafts"});
    let reply = house.call("gemini-chat").to("get-embedding").payload(body.clone()).send().await.expect(200);
    let record = house.record_of(&reply).await;
    let expected = json!([{
        "rule": "delete-without-where", "sql": "DELETE FROM drafts", "pointer": "/payload/sql", "by": "alice", "reason": "cleans up",
        "policy_line": "own.toml:2",
    }]);
    assert_eq!((&record.metadata["excepted"], record.activity_type.as_str()), (&expected, "gatekeeper_call"));
    house.call("openai-chat").to("get-embedding").payload(body).send().await.expect(403);
}

#[test]
fn no_field_hides_another() {
    for body in [
        r#"{"target":"t","operation":"SELECT 1","payload":{"sql":"DROP TABLE a"}}"#,
        r#"{"target":"t","operation":"DROP TABLE a","payload":{"sql":"SELECT 1"}}"#,
        r#"{"target":"t","payload":{"sql":"SELECT 1","query":"DROP TABLE a"}}"#,
        r#"{"target":"t","payload":{"sql":["SELECT 1","DROP TABLE a"]}}"#,
        r#"{"target":"t","payload":{"sql":["DROP","TABLE a"]}}"#,
        r#"{"target":"t","payload":{"sql":["DELETE FROM","a --","WHERE id = 1"]}}"#,
        r#"{"target":"t","payload":{"sql":["SELECT 1 --","; DROP TABLE a"]}}"#,
        r#"{"target":"t","payload":{"QUERY":{"text":"\u0044ROP TABLE a"}}}"#,
    ] {
        assert!(filter(&callers()[0], body, core_rules()).0.is_some(), "{body}");
    }
    for body in [
        r#"{"target":"t","payload":{"code":"DROP TABLE a","messages":[{"content":"DROP TABLE a"}]}}"#,
        r#"{"target":"t","action":"DROP TABLE a"}"#,
        r#"{"target":"t"}"#,
    ] {
        assert_eq!(filter(&callers()[0], body, core_rules()), (None, Vec::new()), "{body}");
    }
}

#[test]
fn only_enforcing_rules_deny() {
    let rules = |mode| vec![rule("t", "t", "(?i)^truncate", mode), rule("d", "d", "(?i)^drop", Mode::Observe)];
    let body = r#"{"target":"t","payload":{"sql":"DROP VIEW v; TRUNCATE a"}}"#;
    let named = |mode| {
        let (denied, observed) = filter(&callers()[0], body, rules(mode));
        (denied.map(|finding| finding.rule), observed.into_iter().map(|finding| finding.rule).collect::<Vec<_>>())
    };
    assert_eq!(named(Mode::Enforce), (Some("t".to_owned()), vec![]));
    assert_eq!(named(Mode::Observe), (None, vec!["t".to_owned(), "d".to_owned()]));
    assert_eq!(named(Mode::Off), (None, vec!["d".to_owned()]));

    let many = format!(r#"{{"target":"t","operation":[{}]}}"#, vec![r#""DROP VIEW v""#; 1000].join(","));
    assert_eq!(filter(&callers()[0], &many, rules(Mode::Observe)).1.len(), 16);
}

#[test]
fn a_finding_is_bounded_and_holds_no_secret() {
    for text in [
        "TRUNCATE users; ALTER ROLE x PASSWORD 'hunter2'",
        "TRUNCATE users /* hunter2 */ -- hunter2",
        "TRUNCATE users RESTART IDENTITY 'hunter2'",
        "TRUNCATE users E'hunter2\\' hunter2' $$hunter2$$",
        "TRUNCATE users 'hunter2",
        "x 'hunter2; TRUNCATE users hunter2",
        "TRUNCATE users /* hunter2",
        "it's; TRUNCATE users 'hunter2', it's",
        "DO $$ BEGIN TRUNCATE users; PERFORM 'hunter2'; END $$",
    ] {
        for hit in judge(text, &core_rules()) {
            assert!(!hit.statement.contains("hunter2"), "{text}: {}", hit.statement);
        }
        assert_eq!(judge(text, &core_rules()).len(), 1, "{text}");
    }
    let long = format!("TRUNCATE {}", "é, ".repeat(10_000));
    assert_eq!(judge(&long, &core_rules())[0].statement.chars().count(), 500);
}

#[test]
fn the_first_rule_names_the_refusal() {
    let rules = core_rules();
    let hits = judge("TRUNCATE a; TRUNCATE b; DROP TABLE c", &rules);
    let named: Vec<_> = hits.iter().map(|hit| (hit.rule.id.as_str(), hit.statement.as_str())).collect();
    assert_eq!(named, [("drop-table", "DROP TABLE c"), ("truncate", "TRUNCATE a")]);
}

/// Work must grow with the text, not with its square: each of these has an opening at every step and no end to any of them.
#[test]
fn openings_without_end_cost_no_more_than_others() {
    for piece in
        ["'", "\"", "/*", "$a$", "$", "E'", "$a$ $b$ ", "x'y ", "--", "E''\n", "do $$", "do $a$begin execute 'do ''", "; ' \" /* $a$"]
    {
        let text = piece.repeat(400_000 / piece.len());
        let mut statements = 0_usize;
        fold(&text, &mut |statement, _| statements += statement.len().min(1));
        assert!(statements <= text.len() * 2, "{piece}");
    }
}

fn sql_like() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "'",
        "''",
        "\"",
        "$$",
        "$a$",
        "$1",
        "E'",
        "U&'",
        "u&\"",
        "\\",
        "\\'",
        "--",
        "/*",
        "*/",
        "/",
        "*",
        "\n",
        "\r",
        " ",
        ";",
        ".",
        "do ",
        "create function ",
        "begin ",
        "execute ",
        "drop table t",
        "delete from t",
        "x",
        "é",
        "\u{a0}",
        "\0",
        "\u{85}",
        "1",
        "t's",
    ]);
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_text_is_judged_calmly(text in prop_oneof![sql_like(), any::<String>()]) {
        invariants::sql(&text);
    }

    /// Whatever stands in a well-formed literal or comment, the statement around it is judged as if it were not there.
    #[test]
    fn what_is_quoted_is_never_a_statement(inner in sql_like()) {
        let rules = core_rules();
        let literal = inner.replace('\'', "''");
        let escaped = inner.replace('\\', "\\\\").replace('\'', "\\'");
        let commented = inner.replace(['*', '/', '\n', '\r'], "");
        for text in [
            format!("SELECT '{literal}'"),
            format!("SELECT E'{escaped}'"),
            format!("SELECT $tag${inner} $tag$"),
            format!("SELECT 1 /*{commented}*/"),
            format!("SELECT 1 -- {commented}\n"),
        ] {
            prop_assert!(judge(&text, &rules).is_empty(), "{}", text);
        }
    }

    /// A statement after well-formed SQL is always found.
    #[test]
    fn what_stands_in_the_open_is_always_found(inner in sql_like(), blank in "[ \t\n\r\x0b\x0c]{1,3}|/\\*x\\*/|--x\n") {
        let rules = core_rules();
        let literal = inner.replace('\'', "''");
        for before in [String::new(), format!("SELECT '{literal}';"), format!("SELECT $tag${inner} $tag$;")] {
            let text = format!("{before}DROP{blank}TABLE{blank}users");
            prop_assert!(!judge(&text, &rules).is_empty(), "{}", text);
        }
    }
}
