//! The oracle itself: whatever it demands or leaves open decides what the judge is held to.

use eliza_gatekeeper::sql::Kind;
use eliza_gatekeeper::sql::rules::{RULES, find};
use eliza_gatekeeper_oracle::{Oracle, classify};

fn of(sql: &str) -> Oracle {
    classify(sql).unwrap_or_else(|| panic!("PostgreSQL rejects {sql}"))
}

/// Each rule's own examples, read by PostgreSQL.
#[test]
fn demands_what_rules_say_they_refuse() {
    for rule in RULES {
        for sql in rule.refused {
            // What cannot be read is nothing to PostgreSQL.
            let Some(oracle) = classify(sql) else {
                assert_eq!(rule.id, "unreadable", "{sql}");
                continue;
            };
            let is_said = oracle.must.contains(rule.id) || oracle.may.contains(rule.id) || oracle.is_opaque;
            assert!(is_said, "{}: {sql}: {oracle:?}", rule.id);
        }
        for sql in rule.allowed {
            let Some(oracle) = classify(sql) else { continue };
            assert!(!oracle.must.contains(rule.id), "{}: {sql}: {oracle:?}", rule.id);
        }
    }
}

#[test]
fn demands_and_leaves_open() {
    let table: [(&str, &[&str], &[&str]); 47] = [
        ("DELETE FROM t", &["delete-without-where"], &[]),
        ("DELETE FROM t WHERE id = 1", &[], &[]),
        ("DELETE FROM t WHERE true", &["delete-without-where"], &[]),
        ("DELETE FROM t WHERE 't'", &["delete-without-where"], &[]),
        ("DELETE FROM t WHERE CAST(1 AS bool)", &["delete-without-where"], &[]),
        ("DELETE FROM t WHERE NOT a OR true", &["delete-without-where"], &[]),
        ("DELETE FROM t WHERE NOT (a AND false)", &["delete-without-where"], &[]),
        ("DELETE FROM t WHERE a AND b OR 1 + 1 = 2", &["delete-without-where"], &[]),
        ("DELETE FROM t WHERE a AND true", &[], &[]),
        ("DELETE FROM t WHERE false", &[], &[]),
        ("DELETE FROM t WHERE NULL", &[], &[]),
        ("DELETE FROM t WHERE 1 = 2", &[], &[]),
        ("DELETE FROM t WHERE id = id", &[], &["delete-without-where"]),
        ("DELETE FROM t WHERE now() > '2020-01-01'", &[], &["delete-without-where"]),
        ("DELETE FROM t WHERE a = 1 OR random() < 0.5", &[], &["delete-without-where"]),
        ("DELETE FROM t WHERE id = $1", &[], &[]),
        ("DELETE FROM t WHERE CURRENT OF c", &[], &[]),
        ("DELETE FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.id = t.id)", &[], &[]),
        ("UPDATE t SET a = 1 WHERE CASE WHEN true THEN true ELSE false END", &["update-without-where"], &[]),
        ("INSERT INTO t VALUES (1) ON CONFLICT (id) DO UPDATE SET a = 1", &[], &[]),
        ("WITH x AS (DELETE FROM t RETURNING *) SELECT 1", &["delete-without-where"], &[]),
        ("EXPLAIN DELETE FROM t", &[], &[]),
        ("EXPLAIN ANALYZE DELETE FROM t", &["delete-without-where"], &[]),
        ("EXPLAIN (ANALYZE off, VERBOSE) DELETE FROM t", &[], &[]),
        ("EXPLAIN (ANALYZE, ANALYZE off) DELETE FROM t", &[], &["delete-without-where"]),
        ("PREPARE p AS DELETE FROM t", &["delete-without-where"], &[]),
        ("COPY (DELETE FROM t RETURNING *) TO '/tmp/x'", &["delete-without-where", "server-file"], &[]),
        ("CREATE RULE r AS ON INSERT TO t DO ALSO (NOTIFY n; DELETE FROM u)", &["delete-without-where"], &[]),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ DROP TABLE t; SELECT 1 $$", &["drop-table"], &[]),
        ("CREATE PROCEDURE p() BEGIN ATOMIC UPDATE t SET a = 1; END", &["update-without-where"], &[]),
        ("MERGE INTO t USING u ON true WHEN MATCHED THEN DELETE", &["delete-without-where"], &[]),
        ("MERGE INTO t USING u ON t.id = u.id WHEN MATCHED THEN DELETE", &[], &[]),
        ("DROP TYPE t", &[], &[]),
        ("DROP TYPE t CASCADE", &["drop-cascade"], &[]),
        ("DROP SCHEMA s CASCADE", &["drop-schema"], &[]),
        ("ALTER DATABASE d OWNER TO r", &["alter-database"], &[]),
        ("ALTER GROUP g ADD USER u", &["grant"], &[]),
        ("CREATE SCHEMA s CREATE TABLE t (a int) GRANT SELECT ON t TO PUBLIC", &["grant"], &[]),
        ("CREATE ROLE r PASSWORD 'x' LOGIN", &[], &[]),
        ("ALTER ROLE r PASSWORD 'x'", &["role-privilege"], &[]),
        ("ALTER ROLE r SET row_security = off", &["guard-setting"], &[]),
        ("SET standard_conforming_strings TO E'o\\x66f'", &["guard-setting"], &[]),
        ("SET standard_conforming_strings = on", &[], &[]),
        ("SELECT set_config(E'row\\x5fsecurity', 'off', true)", &["guard-setting"], &[]),
        ("SELECT set_config(name, 'off', true) FROM t", &[], &["guard-setting"]),
        ("SELECT U&\"pg\\005Fread_file\"('x')", &["server-function"], &[]),
        ("ALTER TABLE t ENABLE REPLICA TRIGGER a", &[], &["disable-trigger"]),
    ];
    for (sql, must, may) in table {
        let oracle = of(sql);
        assert!(oracle.must.iter().eq(must.iter()), "{sql}: {oracle:?}");
        assert!(oracle.may.iter().eq(may.iter()), "{sql}: {oracle:?}");
    }
}

#[test]
fn says_nothing_of_code_it_does_not_read() {
    for sql in [
        "DO $$ BEGIN DELETE FROM t; END $$",
        "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN DELETE FROM t; END $$",
        "CREATE FUNCTION f() RETURNS void LANGUAGE plpython3u AS 'pass'",
    ] {
        let oracle = of(sql);
        assert!(oracle.is_opaque && oracle.must.is_empty(), "{sql}: {oracle:?}");
    }
}

#[test]
fn counts_statements_and_tells_their_kinds() {
    let table: [(&str, &[&[Kind]]); 12] = [
        ("", &[]),
        (" ;; -- nothing", &[]),
        ("SELECT 1;; DELETE FROM t;", &[&[Kind::Read], &[Kind::Delete]]),
        ("SELECT ';'; -- ;\nSELECT $$;$$", &[&[Kind::Read], &[Kind::Read]]),
        ("SELECT 1 INTO t", &[&[Kind::Create]]),
        ("WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x", &[&[Kind::Delete]]),
        ("WITH x AS (DELETE FROM t RETURNING *) INSERT INTO u SELECT * FROM x", &[&[Kind::Insert]]),
        ("EXPLAIN DROP TABLE t", &[]),
        ("EXPLAIN ANALYZE UPDATE t SET a = 1", &[&[Kind::Update]]),
        ("PREPARE p AS DELETE FROM t", &[&[Kind::Session]]),
        ("REFRESH MATERIALIZED VIEW v; VACUUM", &[&[Kind::Maintain], &[Kind::Maintain]]),
        ("ALTER EVENT TRIGGER e DISABLE", &[&[Kind::Alter]]),
    ];
    for (sql, kinds) in table {
        // EXPLAIN of a DROP is nothing that PostgreSQL accepts.
        let Some(oracle) = classify(sql) else {
            assert!(kinds.is_empty(), "{sql}");
            continue;
        };
        assert!(oracle.kinds.iter().map(Vec::as_slice).eq(kinds.iter().copied()), "{sql}: {oracle:?}");
    }
}

/// Every id that the oracle can demand is a rule's.
#[test]
fn knows_rules_by_their_names() {
    let said = include_str!("../src/facts.rs");
    for part in said.split('"').filter(|part| part.contains('-') && part.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')) {
        assert!(find(part).is_some(), "{part}");
    }
}

/// As PostgreSQL's server reads them, which was asked.
#[test]
fn reads_literals_that_go_on_over_comments() {
    assert!(of("SELECT E'a'\n-- b\n'\\'; DROP TABLE users; --'").must.is_empty());
    assert!(of("SELECT E'a' -- '\n -- \n '\\''; DROP TABLE users").must.contains("drop-table"));
    assert!(of("SELECT 'a' -- '\n'b'; DROP TABLE users; --'").must.contains("drop-table"));
    assert!(classify("SELECT 'a' /* \n */ 'b'").is_none());
    assert!(classify("SELECT 1 -- 'a' --\n'b'; DROP TABLE users; --'").is_none());
}

#[test]
fn takes_no_parameter_for_a_literal() {
    for sql in ["SELECT date $1", "DELETE FROM t WHERE (a $1 OR 't') IS TRUE", "SELECT int $1", "SELECT numeric(3) $1"] {
        assert!(classify(sql).is_none(), "{sql}");
    }
    for sql in ["SELECT $1, a + $2 FROM t WHERE b LIKE $3 ESCAPE $4 AND c BETWEEN $5 AND $6 LIMIT $7", "SELECT a AT TIME ZONE $1"] {
        assert!(classify(sql).is_some(), "{sql}");
    }
}

#[test]
fn reads_what_is_nested_deep() {
    let sql = format!("DELETE FROM t WHERE {}true{}", "NOT (a AND NOT (".repeat(60), "))".repeat(60));
    assert!(classify(&sql).is_some());
}
