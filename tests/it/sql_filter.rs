//! What operators and callers rely on of the SQL filter: it refuses statements, not words; no way of writing a statement hides it, and
//! neither a literal, a comment nor prose is taken for one; what it reports says which rule, which statement and where, and no secret.

use bytes::Bytes;
use eliza_gatekeeper::call::{Envelope, Fields};
use eliza_gatekeeper::clock::Timestamp;
use eliza_gatekeeper::gates::sql_filter::sql_filter;
use eliza_gatekeeper::identity::{Caller, KeyId, Proof, SourceName, TargetName};
use eliza_gatekeeper::policy::load::Origin;
use eliza_gatekeeper::sql::{Backslashes, Field, Finding, examine};
use proptest::prelude::*;
use serde_json::json;

use crate::invariants;
use crate::policies::given;
use crate::support::house::House;

fn envelope(body: &str) -> Envelope {
    Envelope::parse(Bytes::copy_from_slice(body.as_bytes()), &fields()).unwrap()
}

fn fields() -> Fields {
    given([]).load_from(&Origin::Shipped).unwrap().sql.fields
}

/// Whether the shipped policy refuses it.
fn is_refused(body: &str) -> bool {
    let policy = given([]).load_from(&Origin::Shipped).unwrap();
    let caller = Caller::Source { name: SourceName::parse("gemini-chat").unwrap(), proof: Proof::Key(KeyId::new("internal")) };
    sql_filter(&caller, &TargetName::parse("t").unwrap(), &envelope(body).sql, &policy.sql, Timestamp::default()).denial().is_some()
}

#[tokio::test]
async fn what_an_exception_lets_pass_is_recorded() {
    let own = "[[exception]]\nrules = ['delete-without-where']\nsources = ['gemini-chat']\nreason = 'cleans up'\nby = 'alice'\n";
    let house = House::plan().policy("own.toml", own).open().await;
    let body = json!({"sql": "DELETE FROM drafts"});
    let reply = house.call("gemini-chat").to("get-embedding").payload(body.clone()).send().await.expect(200);
    let record = house.record_of(&reply).await;
    let expected = [
        ("rule", "delete-without-where"),
        ("sql", "DELETE FROM drafts"),
        ("pointer", "/payload/sql"),
        ("by", "alice"),
        ("reason", "cleans up"),
        ("policy_line", "own.toml:2"),
    ];
    let [excepted] = &record.metadata["excepted"].as_array().unwrap()[..] else { panic!("{}", record.metadata) };
    for (member, said) in expected {
        assert_eq!(excepted[member], json!(said), "{member} of {excepted}");
    }
    assert!(["severity", "kind", "objects", "span", "fingerprint", "why"].iter().all(|member| !excepted[*member].is_null()), "{excepted}");
    assert_eq!(record.activity_type, "gatekeeper_call");
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
        r#"{"target":"t","payload":{"params":{"statement":"DROP TABLE a"}}}"#,
        r#"{"target":"t","payload":{"statements":["SELECT 1","DROP TABLE a"]}}"#,
        r#"{"target":"t","payload":{"tool":"x","arguments":"{\"query\":\"DROP TABLE a\"}"}}"#,
        r#"{"target":"t","payload":"{\"body\":\"{\\\"x\\\":\\\"DROP TABLE a\\\"}\"}"}"#,
        r#"{"target":"t","payload":{"body":"{\"sql\":\"DROP TABLE a\",\"sql\":\"SELECT 1\"}"}}"#,
        r#"{"target":"t","payload":{"description":{"sql":"DROP TABLE a"}}}"#,
        r#"{"target":"t","payload":{"code":"DROP TABLE a"}}"#,
        r#"{"target":"t","action":"DROP TABLE a"}"#,
        r#"{"target":"python-executor","payload":{"code":"db.run('DROP ' + 'TABLE a')"}}"#,
        r#"{"target":"python-executor","payload":{"code":"q = \"\"\"DELETE FROM a\"\"\" # it's"}}"#,
    ] {
        assert!(is_refused(body), "{body}");
    }
    for body in [
        r#"{"target":"t","payload":{"messages":[{"content":"DROP TABLE a"}],"prompt":"DROP TABLE a"}}"#,
        r#"{"target":"t","payload":{"code":"db.run('DROP TABLE a')"}}"#,
        r#"{"target":"t","payload":{"note":"To clean up, DROP TABLE a.","DROP TABLE a":1}}"#,
        r#"{"target":"python-executor","payload":{"code":"print('the drop table') # DROP TABLE a"}}"#,
        r#"{"target":"t"}"#,
    ] {
        assert!(!is_refused(body), "{body}");
    }
}

fn judged(text: &str) -> Vec<Finding> {
    examine(text, Field::Sql, Backslashes::Plain).findings
}

#[test]
fn a_finding_is_bounded_and_holds_no_secret() {
    for text in [
        "TRUNCATE users; ALTER ROLE x PASSWORD 'hunter2'",
        "TRUNCATE users /* hunter2 */ -- hunter2",
        "TRUNCATE users; SELECT 'hunter2",
        "x 'hunter2; TRUNCATE users; hunter2",
        "TRUNCATE users /* hunter2",
        "it's; TRUNCATE users; SELECT 'hunter2', it's",
        "DO $$ BEGIN TRUNCATE users; PERFORM 'hunter2'; END $$",
        "DELETE FROM users WHERE 'hunter2' = E'hunter2' OR $$hunter2$$ = 'hunter2'",
    ] {
        let findings = judged(text);
        assert!(!findings.is_empty(), "{text}");
        assert!(findings.iter().all(|finding| !finding.statement.contains("hunter2")), "{findings:?}");
    }
    let long = format!("TRUNCATE {}", vec!["é"; 10_000].join(", "));
    assert_eq!(judged(&long)[0].statement.chars().take_while(|c| *c != '…').count(), 500, "and then a mark");
}

#[test]
fn the_first_statement_names_the_refusal() {
    let findings = judged("SELECT 1; TRUNCATE a; DROP TABLE c; TRUNCATE b");
    let named: Vec<_> = findings.iter().map(|finding| (finding.rule.id, finding.statement.as_str())).collect();
    assert_eq!(named, [("truncate", "TRUNCATE a"), ("drop-table", "DROP TABLE c"), ("truncate", "TRUNCATE b")]);
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
        let inner = inner.replace('\0', "");
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
            prop_assert!(judged(&text).is_empty(), "{}: {:?}", text, judged(&text));
        }
    }

    /// A statement after well-formed SQL is always found.
    #[test]
    fn what_stands_in_the_open_is_always_found(inner in sql_like(), blank in "[ \t\n\r\x0b\x0c]{1,3}|/\\*x\\*/|--x\n") {
        let inner = inner.replace('\0', "");
        let literal = inner.replace('\'', "''");
        for before in [String::new(), format!("SELECT '{literal}';"), format!("SELECT $tag${inner} $tag$;")] {
            let text = format!("{before}DROP{blank}TABLE{blank}users");
            prop_assert!(!judged(&text).is_empty(), "{}", text);
        }
    }
}
