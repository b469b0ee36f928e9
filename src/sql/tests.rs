//! What findings say: what they are about, what of a statement they show, by what it is known again, and that they are found in good time.

use super::{Backslashes, Field, Judgement, examine};

fn judged(text: &str) -> Judgement {
    examine(text, Field::Sql, Backslashes::Plain)
}

fn ids(text: &str) -> Vec<&'static str> {
    judged(text).findings.iter().map(|finding| finding.rule.id).collect()
}

#[test]
fn what_is_in_quotes_where_a_value_belongs_is_not_shown() {
    let shown = |text: &str| judged(text).findings[0].statement.clone();
    for (text, expected) in [
        ("UPDATE users SET password=\"hunter2\"", "UPDATE users SET password=?"),
        ("ALTER USER app PASSWORD \"hunter2\"", "ALTER USER app PASSWORD ?"),
        ("DELETE FROM \"Users\" WHERE \"a\".\"b\" = \"a\".\"b\"", "DELETE FROM \"Users\" WHERE \"a\".\"b\" = \"a\".\"b\""),
        ("UPDATE \"Users\" SET a = md5(\"b\") WHERE 1 IN (1, \"x\")", "UPDATE \"Users\" SET a = md5(\"b\") WHERE ? IN (?, ?)"),
        ("UPDATE t SET a = (VALUES (\"x\", lower(\"y\")), (\"z\"))", "UPDATE t SET a = (VALUES (?, lower(?)), (?))"),
    ] {
        assert_eq!(shown(text), expected, "{text}");
    }
    // With one reading of the backslash it is code, with the other it is what somebody wrote.
    let text = r"SELECT 'a\'; SELECT '; DROP TABLE hunter2; --'";
    let judgement = examine(text, Field::Sql, Backslashes::Both);
    let dropped = judgement.findings.iter().find(|finding| finding.rule.id == "drop-table").unwrap();
    assert_eq!(dropped.statement, "…");
}

#[test]
fn what_cannot_be_read_is_known_by_all_of_it() {
    let texts = ["SELECT 'abc", "SELECT 'abc; DROP TABLE x", "SELECT 'totally other", "SELECT  'abc", "SELECT 1 /* a", "SELECT 1 /* b"];
    let prints: std::collections::BTreeSet<_> = texts.iter().map(|text| judged(text).findings[0].fingerprint).collect();
    assert_eq!(prints.len(), texts.len() - 1, "blanks before what does not end are none of it");
}

#[test]
fn what_holds_many_acts_takes_no_longer_than_what_holds_few() {
    let many = [
        ("ALTER TABLE a DROP b", ",DROP b"),
        ("CREATE SCHEMA s ", "GRANT a TO b "),
        ("MERGE INTO t USING s ON true ", "WHEN MATCHED THEN DELETE "),
        ("", "SELECT pg_read_file('a');"),
        ("SELECT 1", " + pg_read_file('a')"),
    ];
    for (start, piece) in many {
        let text = format!("{start}{}", piece.repeat((1 << 20) / piece.len()));
        let begin = std::time::Instant::now();
        let findings = judged(&text).findings.len();
        assert!((1..=102).contains(&findings), "{piece}: {findings}");
        // Unoptimised and on a busy machine; one reading of all for each of its acts takes half a minute.
        assert!(begin.elapsed().as_secs() < 10, "{piece}: {:?}", begin.elapsed());
    }
}

#[test]
fn what_rights_are_about_is_all_that_they_name() {
    let objects = |text: &str| judged(text).findings[0].objects.iter().map(ToString::to_string).collect::<Vec<_>>();
    let cases: [(&str, &[&str]); 12] = [
        ("GRANT SELECT ON users TO tmp_agent", &["users"]),
        ("GRANT postgres TO tmp_agent", &["postgres", "tmp_agent"]),
        ("GRANT a, \"B\" TO c, d WITH ADMIN OPTION", &["a", "\"B\"", "c", "d"]),
        ("REVOKE ADMIN OPTION FOR a FROM tmp_b", &["a", "tmp_b"]),
        ("GRANT select TO tmp_agent", &[]),
        ("GRANT ALL ON ALL TABLES IN SCHEMA public TO tmp_agent", &[]),
        ("GRANT SELECT ON LARGE OBJECT 17 TO tmp_agent", &[]),
        ("ALTER GROUP tmp_a ADD USER b, c", &["tmp_a", "b", "c"]),
        ("CREATE ROLE tmp_agent IN ROLE postgres", &["tmp_agent", "postgres"]),
        ("CREATE ROLE tmp_agent SUPERUSER", &["tmp_agent"]),
        ("ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO tmp_agent", &[]),
        ("CREATE SCHEMA s GRANT ALL ON t TO tmp_agent", &["t"]),
    ];
    for (text, expected) in cases {
        assert_eq!(objects(text), expected, "{text}");
    }
}

#[test]
fn cascade_is_found_beside_what_it_goes_with() {
    let cases: [(&str, &[&str]); 8] = [
        ("DROP TABLE tmp_a CASCADE", &["drop-table", "drop-cascade"]),
        ("DROP TABLE tmp_a RESTRICT", &["drop-table"]),
        ("TRUNCATE tmp_a CASCADE", &["truncate", "drop-cascade"]),
        ("ALTER TABLE t DROP a CASCADE", &["drop-column", "drop-cascade"]),
        ("ALTER TABLE t DROP cascade", &["drop-column"]),
        ("ALTER TABLE t DROP COLUMN IF EXISTS cascade", &["drop-column"]),
        ("DROP POLICY p ON t CASCADE", &["drop-policy"]),
        ("DROP TABLE cascade", &["drop-table"]),
    ];
    for (text, expected) in cases {
        assert_eq!(ids(text), expected, "{text}");
    }
}
