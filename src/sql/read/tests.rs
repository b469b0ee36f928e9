//! What statements are told to do, by tables: conditions, statements in statements, bodies of code, prose.

use crate::sql::{Backslashes, Field, Judgement, Kind, examine};

fn judged(text: &str) -> Judgement {
    examine(text, Field::Sql, Backslashes::Plain)
}

fn ids(text: &str) -> Vec<&'static str> {
    judged(text).findings.iter().map(|finding| finding.rule.id).collect()
}

const NONE: [&str; 0] = [];

#[test]
fn a_condition_that_looks_at_no_row_is_none() {
    let all = [
        "true",
        "TRUE::boolean",
        "not false",
        "NOT (1=2)",
        "1=1",
        "((1 = 1))",
        "'a'='a'",
        "'a' <> 'b'",
        "1<>2",
        "2 > 1",
        "1",
        "'t'",
        "'yes'::bool",
        "1 IN (1)",
        "1 IN (2, 1)",
        "1 NOT IN (2)",
        "1 + 1 = 2",
        "id = 7 OR true",
        "true OR id = 7",
        "(id = 7) OR (1 = 1)",
        "id = 7 OR NOT false",
        "id = id",
        "t.id = t.id",
        "id >= id",
        "id IS NULL OR id IS NOT NULL",
        "id = 1 OR id <> 1",
        "id < 5 OR id >= 5",
        "ctid IS NOT NULL",
        "name LIKE '%'",
        "name ILIKE '%%'",
        "name ~ '.*'",
        "NULL IS NULL",
        "1 IS NOT NULL",
        "true IS TRUE",
        "false IS NOT TRUE",
        "coalesce(null, true)",
        "now() > '2000-01-01'",
        "date '2020-01-01' < current_date",
        "length('a') = 1",
        "exists (select 1)",
        "(select true)",
        "(select 1) = 1",
        "case when true then true else id = 1 end",
        "CASE WHEN 1=1 THEN TRUE END",
        "1 = any(array[1])",
        "1 between 0 and 2",
        "(1,2) = (1,2)",
        "row(1) = row(1)",
        "true and true",
        "true and 1=1",
        "current_user = current_user",
        "-1 < 0",
        "cast('true' as boolean)",
        "interval '1 day' > interval '1 hour'",
        "1=1 -- and id = 7",
        "1=1 /* and id = 7 */",
        "U&'\\0061' = 'a'",
        "E'\\x61' = 'a'",
        "not not true",
        "id is not distinct from id",
        "true = true",
        "0x1 = 1",
        "1.0 = 1",
        "$$a$$ = 'a'",
        "x'1' = x'1'",
        "extract(year from now()) > 2000",
        "'a' || 'b' = 'ab'",
        "(values (true))",
        "($1)",
        "$1",
        "$1 = $1",
        "1 = $1",
        "? = ?",
        ":x",
        "exists (select from (values (1)) v)",
        "exists (select 1 from generate_series(1,1))",
        "1 in (select 1 from (select 1) x)",
        "1 = (select count(*) from (values (1)) v)",
        "(with a as (select true b) select b from a)",
        "id = 7 or 1 in (select 1 from (select 1) x)",
        "exists (select 1 from users)",
        "not exists (select from users where false)",
        "(select true from pg_class limit 1)",
        "random() >= 0",
        "random() < 2",
        "gen_random_uuid() is not null",
        "normalize('a', NFC) = 'a'",
        "xmlelement(name a) is not null",
        "xmlpi(name php) is not null",
        "json_object('a': 1) is not null",
        "json_object('a' value 1) is not null",
        "(array[1,2])[1:2] = array[1,2]",
        "'a' like any (array['a']) and '{\"a\":1}'::jsonb ? 'a'",
        "(id) = id",
        "id between id and id",
        "id+1 = id+1",
        "lower(name)=lower(name)",
        "active or not active",
        "id=7 or not id=7",
        "not (id=1) or id=1",
    ];
    for condition in all {
        for (statement, rule) in [("DELETE FROM t WHERE", "delete-without-where"), ("UPDATE t SET a = 1 WHERE", "update-without-where")] {
            assert_eq!(ids(&format!("{statement} {condition}")), [rule], "{condition}");
            assert_eq!(ids(&format!("{statement} {condition} RETURNING *")), [rule], "{condition}");
        }
    }
}

#[test]
fn a_condition_that_chooses_rows_is_one() {
    let chosen = [
        "id = 7",
        "id = $1",
        "id = ?",
        "id = :id",
        "id = %s",
        "active",
        "not active",
        "false",
        "1 = 2",
        "NOT true",
        "null",
        "true AND id = 7",
        "id = 7 AND true",
        "1 = 1 AND id = 7",
        "(1) = id",
        "id IN (1, 2)",
        "id NOT IN (1)",
        "id = ANY($1)",
        "id = any(array[1,2])",
        "id IN (SELECT id FROM old)",
        "EXISTS (SELECT 1 FROM old WHERE old.id = t.id)",
        "id BETWEEN 1 AND 2 AND true",
        "name LIKE 'a%'",
        "name IS NULL",
        "deleted_at IS NOT NULL",
        "created_at < now() - interval '30 days'",
        "a.b.c = 1",
        "\"true\" = 1",
        "\"id\"",
        "id = 1 OR id = 2",
        "id = 1 OR name = 'x'",
        "random() < 0.5",
        "data->>'a' = 'b'",
        "data @> '{\"a\":1}'",
        "data ? 'a'",
        "tags && array['x']",
        "lower(name) = 'x'",
        "coalesce(a, b) = 1",
        "case when a then b else c end",
        "(a, b) = (1, 2)",
        "CURRENT OF c",
        "id = (SELECT max(id) FROM t)",
        "x::date = current_date",
        "age > 1 + 1",
        "extract(year from born) = 2000",
        "$1 IS NULL OR id = $1",
        "($1 IS NULL OR id = $1)",
        "id IN (SELECT user_id FROM old)",
        "EXISTS (SELECT 1 FROM old WHERE user_id = id AND gone)",
        "random() < 0.1",
        "id IS DISTINCT FROM $1",
        "expires_at < now() - (SELECT ttl FROM settings)",
        "id = 7 OR false",
        "a collate \"C\" = 'x'",
        "created_at at time zone 'utc' < now()",
        "t.a[1] = 2",
        "not (id = 7)",
        "id = 1 and not exists (select 1 from x)",
        "id operator(pg_catalog.=) 7",
        "a is distinct from b",
        "a is true",
        "xmin::text = '7'",
        "(a).b = 1",
    ];
    for condition in chosen {
        for statement in ["DELETE FROM t WHERE", "UPDATE t SET a = 1 WHERE", "WITH x AS (SELECT 1) DELETE FROM t WHERE"] {
            assert_eq!(ids(&format!("{statement} {condition}")), NONE, "{condition}");
        }
    }
}

#[test]
fn a_condition_on_what_is_joined_alone_chooses_no_rows() {
    let all = [
        "DELETE FROM users USING (VALUES (1)) v(x) WHERE v.x = 1",
        "DELETE FROM users USING (VALUES (1)) v(x) WHERE x = 1",
        "DELETE FROM users USING t WHERE t.id = 1",
        "DELETE FROM users u USING users v WHERE v.id IS NOT NULL",
        "MERGE INTO users u USING (SELECT 1 AS one) s ON s.one = 1 WHEN MATCHED THEN DELETE",
    ];
    for statement in all {
        assert_eq!(ids(statement), ["delete-without-where"], "{statement}");
    }
    assert_eq!(ids("UPDATE users SET a = 1 FROM (VALUES (1)) v(x) WHERE v.x = 1"), ["update-without-where"]);
    let chosen = [
        "DELETE FROM users USING b WHERE b.user_id = users.id",
        "DELETE FROM users u USING b WHERE u.id = b.user_id AND b.x = 1",
        "DELETE FROM users USING b WHERE user_id = b.id",
        "UPDATE users u SET a = b.a FROM b WHERE b.id = u.id",
        "UPDATE t SET a = (SELECT max(x) FROM y WHERE y.id = t.id) WHERE t.b > 1",
        "MERGE INTO users u USING s ON u.id = s.id WHEN MATCHED THEN DELETE",
        "MERGE INTO users u USING s ON s.one = 1 WHEN MATCHED AND u.x = 1 THEN DELETE",
    ];
    for statement in chosen {
        assert_eq!(ids(statement), NONE, "{statement}");
    }
}

#[test]
fn blocks_are_read_as_their_language_reads_them() {
    let found = [
        "EXPLAIN ANALYZE INTO x DELETE FROM users;",
        "EXPLAIN INTO x ANALYZE DELETE FROM users;",
        "FOR r IN EXPLAIN ANALYZE DELETE FROM users LOOP END LOOP;",
        "DELETE INTO STRICT x, y.z FROM users RETURNING id, name;",
        "WITH d AS (SELECT 1) DELETE INTO x FROM users;",
        "DELETE FROM loop;",
        "FOR r IN DELETE FROM loop RETURNING * LOOP END LOOP;",
    ];
    for statement in found {
        assert_eq!(ids(&format!("DO $$ DECLARE x text; BEGIN {statement} END $$")), ["delete-without-where"], "{statement}");
    }
    let harmless = [
        "FOR r IN SELECT * FROM t LOOP DELETE FROM b WHERE b.id = r.id; END LOOP;",
        "SELECT count(*) INTO n FROM t; IF n > 0 THEN DELETE FROM t WHERE id = 1; END IF;",
        "DELETE FROM t WHERE id = 1 RETURNING id INTO x;",
        "FOR r IN EXECUTE 'SELECT 1' LOOP NULL; END LOOP;",
        "FOR i IN 1..10 LOOP UPDATE t SET a = 1 WHERE id = i; END LOOP;",
        "update := 5;",
    ];
    for statement in harmless {
        assert_eq!(ids(&format!("DO $$ DECLARE x text; BEGIN {statement} END $$")), NONE, "{statement}");
    }
}

#[test]
fn what_a_statement_carries_is_judged() {
    let cases: [(&str, &[&str]); 40] = [
        ("WITH x AS (DELETE FROM users RETURNING *) SELECT * FROM x", &["delete-without-where"]),
        ("WITH x AS MATERIALIZED (SELECT 1), y AS (UPDATE users SET a = 1) SELECT 1", &["update-without-where"]),
        ("WITH x AS (SELECT 1) DELETE FROM users", &["delete-without-where"]),
        ("INSERT INTO log WITH x AS (DELETE FROM users RETURNING id) SELECT * FROM x", &["delete-without-where"]),
        ("SELECT * FROM (WITH x AS (SELECT 1) DELETE FROM users RETURNING *) y", &["delete-without-where"]),
        ("WITH RECURSIVE x(a) AS (SELECT 1) SEARCH DEPTH FIRST BY a SET o UPDATE users SET a = 1", &["update-without-where"]),
        ("EXPLAIN ANALYZE DELETE FROM users", &["delete-without-where"]),
        ("EXPLAIN (ANALYZE, BUFFERS) DELETE FROM users", &["delete-without-where"]),
        ("EXPLAIN (ANALYZE true) WITH x AS (DELETE FROM users) SELECT 1", &["delete-without-where"]),
        ("EXPLAIN DELETE FROM users", &[]),
        ("EXPLAIN (COSTS OFF) DELETE FROM users", &[]),
        ("EXPLAIN (ANALYZE off) DELETE FROM users", &[]),
        ("EXPLAIN VERBOSE DELETE FROM users", &[]),
        ("EXPLAIN ANALYZE VERBOSE DELETE FROM users", &["delete-without-where"]),
        ("PREPARE p AS DELETE FROM users", &["delete-without-where"]),
        ("PREPARE p (int) AS DELETE FROM users WHERE id = $1", &[]),
        ("DECLARE c CURSOR FOR WITH x AS (DELETE FROM users RETURNING *) SELECT 1", &["delete-without-where"]),
        ("COPY (DELETE FROM users RETURNING *) TO STDOUT", &["delete-without-where"]),
        ("COPY (SELECT 1) TO PROGRAM 'sh'", &["copy-program"]),
        ("CREATE TABLE t AS WITH x AS (DELETE FROM users RETURNING *) SELECT * FROM x", &["delete-without-where"]),
        ("CREATE RULE r AS ON INSERT TO t DO INSTEAD DELETE FROM users", &["delete-without-where"]),
        ("CREATE RULE r AS ON INSERT TO t DO ALSO (INSERT INTO l VALUES (1); DELETE FROM users)", &["delete-without-where"]),
        ("CREATE SCHEMA s CREATE TABLE t (a int) GRANT ALL ON t TO PUBLIC", &["grant"]),
        ("CREATE FUNCTION f() RETURNS void LANGUAGE sql BEGIN ATOMIC SELECT 1; DELETE FROM users; END", &["delete-without-where"]),
        ("CREATE FUNCTION f() RETURNS void LANGUAGE sql AS 'TRUNCATE users'", &["truncate"]),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE c AS '/tmp/x.so', 'f'", &["load-library"]),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE plpython3u AS $$ import os $$", &["dynamic-sql"]),
        ("DO $$ BEGIN IF true THEN DELETE FROM users; ELSE TRUNCATE a; END IF; END $$", &["delete-without-where", "truncate"]),
        ("DO $$ DECLARE r record; BEGIN FOR r IN DELETE FROM users RETURNING * LOOP NULL; END LOOP; END $$", &["delete-without-where"]),
        ("DO $$ BEGIN PERFORM pg_read_file('x'); END $$", &["server-function"]),
        ("DO $$ BEGIN EXECUTE 'DROP TABLE users'; END $$", &["drop-table"]),
        ("DO $$ BEGIN EXECUTE 'SELECT 1' INTO x; END $$", &[]),
        ("DO $$ BEGIN EXECUTE s; END $$", &["dynamic-sql"]),
        ("DO $$ BEGIN RETURN QUERY EXECUTE 'DROP ' || t; END $$", &["dynamic-sql"]),
        ("DO $$ BEGIN DELETE FROM users WHERE id = 7; UPDATE t SET a = 1 WHERE b = 2; END $$", &[]),
        ("do 'begin delete from users; end'", &["delete-without-where"]),
        ("DO E'begin\\n drop table users; end'", &["drop-table"]),
        ("SELECT cron.schedule('x', '* * * * *', 'DELETE FROM users')", &["delete-without-where"]),
        ("SELECT cron.schedule('x', '* * * * *', $$DELETE FROM jobs WHERE done$$)", &[]),
        ("SELECT set_config('session_' || 'replication_role', 'replica', true)", &["guard-setting"]),
    ];
    for (text, expected) in cases {
        assert_eq!(ids(text), expected, "{text}");
    }
}

#[test]
fn a_merge_is_judged_by_its_actions() {
    let merge = |on: &str, action: &str| ids(&format!("MERGE INTO users u USING teams t ON {on} WHEN {action}"));
    assert_eq!(merge("u.team = t.id", "MATCHED THEN DELETE"), NONE);
    assert_eq!(merge("true", "MATCHED THEN DELETE"), ["delete-without-where"]);
    assert_eq!(merge("1 = 1", "MATCHED AND u.id = 7 THEN DELETE"), NONE);
    assert_eq!(merge("1 = 1", "MATCHED THEN UPDATE SET a = 1"), ["update-without-where"]);
    assert_eq!(merge("false", "NOT MATCHED BY SOURCE THEN DELETE"), ["delete-without-where"]);
    assert_eq!(merge("u.team = t.id", "NOT MATCHED BY SOURCE THEN DELETE"), NONE);
    assert_eq!(merge("true", "NOT MATCHED THEN INSERT VALUES (1)"), NONE);
}

#[test]
fn sql_that_cannot_be_read_to_its_end_is_found_and_prose_with_an_apostrophe_is_not() {
    for text in [
        "SELECT 'abc",
        "SELECT $x$ abc",
        "SELECT \"abc",
        "SELECT 1 /* abc",
        "SELECT 1; DELETE FROM t WHERE a = 'b",
        "SELECT 'a\0b'",
        "DO 'begin select ''a; end'",
    ] {
        assert!(ids(text).contains(&"unreadable"), "{text}: {:?}", ids(text));
    }
    for text in [
        "What's the drop rate?",
        "Select the user's name",
        "Select users who haven't paid",
        "Delete from the draft what's wrong; it's long",
        "Drop table seven from the seating plan -- it's booked",
        "Show users whose \"name is open",
        "It costs $5 (or $10",
        "Let's see; who's in?",
        "Why is 'x; DROP TABLE users; y' dangerous?",
        "Don't; can't; won't",
    ] {
        assert_eq!(ids(text), NONE, "{text}");
        assert_eq!(judged(text).statements.len(), 0, "{text}");
    }
    assert_eq!(ids("what's up; DROP TABLE users; it's over"), ["drop-table", "unreadable"]);
}

#[test]
fn a_string_is_sql_only_if_it_is_nothing_else() {
    let text = |text: &str| examine(text, Field::Text, Backslashes::Plain).findings.len();
    for sql in ["DROP TABLE users", "select 1; drop table users;", "/* x */ delete from users", ";DELETE FROM users"] {
        assert_eq!(text(sql), 1, "{sql}");
    }
    for prose in [
        "Drop table seven from the seating plan",
        "Drop table users; thanks!",
        "To be safe: DROP TABLE users",
        "Truncate the summary",
        "Grant all our wishes at once",
        "Update the report and send it to Ana.",
        "Delete from your notes anything about the old venue.",
        "DROP TABLE users; it's over",
        "Copy the file from 'a' to 'b'",
        "Alter database backup schedules",
        "Revoke the invitation we sent",
        "Load the truck",
        "Set expectations",
        "Execute the plan we agreed on.",
    ] {
        assert_eq!(text(prose), 0, "{prose}");
    }
}

#[test]
fn kinds_are_told_by_what_a_statement_does() {
    let cases = [
        ("SELECT 1", Kind::Read),
        ("VALUES (1)", Kind::Read),
        ("TABLE t", Kind::Read),
        ("SHOW ALL", Kind::Read),
        ("(SELECT 1) UNION (SELECT 2)", Kind::Read),
        ("WITH x AS (SELECT 1) SELECT * FROM x", Kind::Read),
        ("WITH x AS (INSERT INTO t VALUES (1) RETURNING *) SELECT * FROM x", Kind::Insert),
        ("WITH x AS (DELETE FROM t WHERE a = 1 RETURNING *) SELECT * FROM x", Kind::Delete),
        ("EXPLAIN DELETE FROM t", Kind::Read),
        ("EXPLAIN ANALYZE INSERT INTO t VALUES (1)", Kind::Insert),
        ("SELECT * INTO u FROM t", Kind::Create),
        ("CREATE TABLE t ()", Kind::Create),
        ("ALTER TABLE t ADD a int", Kind::Alter),
        ("DROP INDEX i", Kind::Drop),
        ("INSERT INTO t VALUES (1)", Kind::Insert),
        ("CALL p()", Kind::Run),
        ("DO 'begin end'", Kind::Run),
        ("BEGIN", Kind::Transaction),
        ("SET a = 1", Kind::Session),
        ("VACUUM t", Kind::Maintain),
        ("COPY t TO STDOUT", Kind::Copy),
        ("GRANT a TO b", Kind::Grant),
        ("REVOKE a FROM b", Kind::Revoke),
        ("TRUNCATE t", Kind::Truncate),
        ("MERGE INTO a USING b ON a.x = b.x WHEN MATCHED THEN DELETE", Kind::Merge),
        ("COMMENT ON TABLE t IS 'x'", Kind::Create),
        ("SELECT 'x", Kind::Unreadable),
    ];
    for (text, kind) in cases {
        let kinds: Vec<_> = judged(text).statements.iter().map(|statement| statement.kind).collect();
        assert_eq!(kinds, [kind], "{text}");
    }
    let kinds: Vec<_> =
        judged("SELECT 1; ; DELETE FROM t WHERE a = ';'; SELECT 2;").statements.iter().map(|statement| statement.kind).collect();
    assert_eq!(kinds, [Kind::Read, Kind::Delete, Kind::Read]);
}

#[test]
fn a_finding_says_where_and_what_without_its_literals() {
    let text = "SELECT 'hunter2'; /* x */ DELETE  FROM public.\"Users\" -- why\n WHERE 'secret' = 'secret'";
    let judgement = judged(text);
    let [finding] = judgement.findings.as_slice() else { panic!("{judgement:?}") };
    assert_eq!(text.get(finding.span.clone()).unwrap(), "DELETE  FROM public.\"Users\" -- why\n WHERE 'secret' = 'secret'");
    assert_eq!(finding.statement, "DELETE FROM public.\"Users\" WHERE ? = ?");
    assert_eq!(finding.objects.iter().map(ToString::to_string).collect::<Vec<_>>(), ["public.\"Users\""]);
    let text = "DO $$ BEGIN PERFORM 1; TRUNCATE a, b.c; END $$";
    let judgement = judged(text);
    assert_eq!(text.get(judgement.findings[0].span.clone()).unwrap(), "TRUNCATE a, b.c");
    assert_eq!(judgement.findings[0].objects.len(), 2);
    assert_eq!(judged("é; DROP TABLE a").findings[0].span, 4..16);
}

#[test]
fn a_fingerprint_names_a_statement_whatever_its_dress() {
    let print = |text: &str| judged(text).findings[0].fingerprint;
    let one = print("DELETE FROM users WHERE 1 = 1");
    for same in [
        "delete from USERS where 2=2;",
        "DELETE/**/FROM \"users\" WHERE 'a' = 'b' OR true".split(" OR").next().unwrap(),
        "SELECT 1; DELETE FROM users\nWHERE 1 = 1",
    ] {
        if judged(same).findings.is_empty() {
            continue;
        }
        assert_eq!(print(same), one, "{same}");
    }
    for other in [
        "DELETE FROM users",
        "DELETE FROM users2 WHERE 1 = 1",
        "DELETE FROM \"Users\" WHERE 1 = 1",
        "DELETE FROM users WHERE 1 = 1 RETURNING *",
    ] {
        assert_ne!(print(other), one, "{other}");
    }
    // Where the literal is the point, it counts: an exception for one program is none for another.
    assert_ne!(print("COPY t FROM PROGRAM 'a'"), print("COPY t FROM PROGRAM 'b'"));
    assert_ne!(print("DO $$ BEGIN TRUNCATE a; END $$"), print("DO $$ BEGIN TRUNCATE b; END $$"));
    assert_ne!(print("DO $$ BEGIN EXECUTE 'TRUNCATE a'; END $$"), print("DO $$ BEGIN EXECUTE 'TRUNCATE b'; END $$"));
    assert_eq!(print("DELETE FROM a WHERE 1 IN (1, 2, 3)"), print("DELETE FROM a WHERE 1 IN (1, 2)"));
}

#[test]
fn with_both_readings_of_a_backslash_what_either_finds_counts() {
    let text = r"SELECT 'a\'; DROP TABLE users; --'";
    assert_eq!(ids(text), ["drop-table"], "PostgreSQL ends the literal at the second quote");
    let hidden = r"SELECT 'a\'; SELECT '; DROP TABLE users; --'";
    assert_eq!(ids(hidden), NONE);
    let both: Vec<_> = examine(hidden, Field::Sql, Backslashes::Both).findings.iter().map(|finding| finding.rule.id).collect();
    assert!(both.contains(&"drop-table"), "{both:?}");
}

#[test]
fn no_text_takes_long() {
    let pieces = [
        ";",
        "(",
        "[",
        "'",
        " 'a",
        "/*",
        ";/* ",
        ";select 1 x y z",
        "$",
        "$a$ $b$",
        "DROP TABLE a;",
        "WITH a AS (SELECT 1) ",
        "(DELETE FROM a WHERE ",
        "NOT ",
        "a.",
        "a OR ",
        "a IS NULL OR ",
        "CASE WHEN ",
        "-+",
        "U&'",
        "THEN COMMENT ON TABLE a ",
        "EXECUTE ",
        "BEGIN ",
        "IN GRANT a,",
        "\u{a0}",
        "EXPLAIN ",
        "PREPARE a AS ",
    ];
    for piece in pieces {
        for start in [
            "",
            "DELETE FROM t WHERE ",
            "SELECT ",
            "What's ",
            "MERGE INTO t USING s ON ",
            "WITH a AS (",
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC ",
            "DO $zz$ ",
        ] {
            let text = format!("{start}{}", piece.repeat(200_000 / piece.len()));
            let begin = std::time::Instant::now();
            judged(&text);
            // Unoptimised and on a busy machine; what grows with the square of its input takes minutes.
            assert!(begin.elapsed().as_secs() < 10, "{start}{piece}…");
        }
    }
}

#[test]
fn long_prose_and_lists_with_semicolons_are_no_sql() {
    let words = "alpha beta gamma delta word other ".repeat(17);
    let begin =
        ["We did it; comment threads are long. ", "A; (b and c. ", "x; update (the list. ", "x; with (a list of. ", "see; copy that (and "];
    let mut texts: Vec<String> = begin.iter().map(|begin| format!("{begin}{words}").repeat(12)).collect();
    texts.push("a;b;c;".repeat(200));
    texts.push(format!("{} hello", ";".repeat(500)));
    for text in texts {
        assert_eq!(ids(&text), NONE, "{}", text.get(..40).unwrap_or(&text));
    }
}

#[test]
fn semicolons_before_a_statement_hide_nothing() {
    for many in [1, 62, 63, 64, 65, 500] {
        let text = format!("{}DROP TABLE users", ";".repeat(many));
        for field in [Field::Sql, Field::Text] {
            let found = examine(&text, field, Backslashes::Plain).findings;
            assert_eq!(found.iter().map(|finding| finding.rule.id).collect::<Vec<_>>(), ["drop-table"], "{many} {field:?}");
        }
    }
}

#[test]
fn a_first_statement_that_is_not_known_hides_no_other() {
    assert_eq!(ids("SHOW national character varying $$'$$; DROP TABLE users; SELECT '1'"), ["drop-table"]);
}
