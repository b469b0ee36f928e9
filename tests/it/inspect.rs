//! What scripts and people rely on of `inspect`: an answer for every line, in order, whatever stands in the lines between; verdicts as
//! the door's; an exit code that tells of wrong lines and wrong policies; and of one text, words that a person understands.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::support::house::lay_policies;
use crate::support::program::{Program, Ran};

const PATIENCE: Duration = Duration::from_secs(30);

async fn inspect(lines: &[&str]) -> Ran {
    Program::bare().fed(&["inspect"], &lines.join("\n")).await
}

/// Of each line: its verdict, or that there is none, and the rules of its findings.
fn verdicts(ran: &Ran) -> Vec<(String, Vec<String>)> {
    let rules = |answer: &Value| {
        answer["findings"].as_array().into_iter().flatten().map(|found| found["rule"].as_str().unwrap().to_owned()).collect()
    };
    ran.values().iter().map(|answer| (answer["verdict"].as_str().unwrap_or("error").to_owned(), rules(answer))).collect()
}

#[tokio::test]
async fn each_line_gets_a_verdict_with_all_that_was_found() {
    let ran = inspect(&[
        r#"{"id": 7, "text": "SELECT 1;\n delete from \"users\" -- all\n", "as": "sql"}"#,
        r#"{"id": {"a": [1]}, "text": "DELETE FROM users WHERE id = 7", "as": "sql"}"#,
        r#"{"text": "How do I drop table manners?", "as": "sql", "class": "prose"}"#,
    ])
    .await
    .expect(0);
    let fingerprint = ran.values()[0]["findings"][0]["fingerprint"].as_str().unwrap().to_owned();
    assert_eq!(fingerprint.len(), 16);
    let expected = json!({"id": 7, "verdict": "deny", "findings": [{
        "rule": "delete-without-where", "severity": "critical", "statement": "delete from \"users\"", "kind": "delete",
        "reason": "DELETE without a WHERE is for every row.", "pointer": "", "span": [11, 30], "objects": ["users"],
        "fingerprint": fingerprint, "mode": "enforce",
    }]});
    assert_eq!(ran.values()[0], expected);
    assert_eq!(ran.values()[1], json!({"id": {"a": [1]}, "verdict": "allow", "findings": []}));
    assert_eq!(ran.values()[2], json!({"id": null, "verdict": "allow", "findings": []}));
    assert_eq!(Program::bare().fed(&["inspect", "--json"], "").await.expect(0).out, "");
}

#[tokio::test]
async fn texts_are_judged_by_what_they_stand_in() {
    let table = [
        ("DROP TABLE users", "sql", "deny"),
        ("DROP TABLE users", "string", "deny"),
        ("Please run this for me: DROP TABLE users", "string", "allow"),
        ("Please run this for me; DROP TABLE users", "sql", "deny"),
        ("SELECT 'DROP TABLE users'", "sql", "allow"),
        ("UPDATE users SET a = 1 WHERE true", "sql", "deny"),
        ("", "sql", "allow"),
        ("", "string", "allow"),
    ];
    let lines: Vec<_> = table.iter().map(|(text, field, _)| json!({"id": text, "text": text, "as": field}).to_string()).collect();
    let ran = inspect(&lines.iter().map(String::as_str).collect::<Vec<_>>()).await.expect(0);
    for ((text, field, verdict), answer) in table.iter().zip(ran.values()) {
        assert_eq!((&answer["id"], answer["verdict"].as_str()), (&json!(text), Some(*verdict)), "as {field}: {text}");
    }
    assert_eq!(ran.values().len(), table.len());
}

#[tokio::test]
async fn objects_are_named_as_sql_and_exceptions_name_them() {
    let text = r#"DROP TABLE Users, "Users", a.b, "a.b", "it""s""#;
    let ran = inspect(&[&json!({"text": text, "as": "sql"}).to_string()]).await.expect(0);
    assert_eq!(ran.value()["findings"][0]["objects"], json!(["users", r#""Users""#, "a.b", r#""a.b""#, r#""it""s""#]));
}

#[tokio::test]
async fn envelopes_are_judged_byte_for_byte_as_the_door_would() {
    let table = [
        (r#"{"target":"brain","payload":{"sql":"DROP TABLE users"}}"#, "drop-table"),
        (r#"{"target":"no-such-target","payload":{"query":"\u0044ROP TABLE users"}}"#, "drop-table"),
        (r#"{"payload":{"sql":"DROP TABLE users"}}"#, "drop-table"),
        (r#"{"operation":"truncate users","payload":{"sql":"SELECT 1"}}"#, "truncate"),
        (r#"{"target":"brain","payload":{"sql":"SELECT 1","sql":"SELECT 2"}}"#, "ambiguous_body"),
        (r#"{"payload":{"sql":"SELECT 1","s\u0071l":"SELECT 2"}}"#, "ambiguous_body"),
        (r#"{"target":"brain","target":"brain"}"#, "ambiguous_body"),
        (r#"{"target":7}"#, "invalid_envelope"),
        (r#"{"target":null}"#, "invalid_envelope"),
        (r#"{"target":"brain","payload":{"sql":"\ud800"}}"#, "invalid_json"),
        (r#"{"target":"brain","payload":{"sql":"SELECT 1","text":"Where is the table?"}}"#, ""),
        ("{}", ""),
        (" { } ", ""),
    ];
    let lines: Vec<_> = table.iter().enumerate().map(|(id, (envelope, _))| format!(r#"{{"id":{id},"envelope":{envelope}}}"#)).collect();
    let ran = inspect(&lines.iter().map(String::as_str).collect::<Vec<_>>()).await.expect(0);
    for ((envelope, rule), (verdict, rules)) in table.iter().zip(verdicts(&ran)) {
        let expected = if rule.is_empty() { "allow" } else { "deny" };
        assert_eq!((verdict.as_str(), rules.first().map_or("", String::as_str)), (expected, *rule), "{envelope}");
    }
    let twice = json!([{
        "rule": "ambiguous_body", "severity": "high", "statement": "", "kind": "unreadable", "objects": [], "pointer": "", "span": [0, 0],
        "reason": "The body can be read in two ways: the member at /payload/sql stands there more than once", "fingerprint": "",
        "mode": "enforce",
    }]);
    assert_eq!(ran.values()[4]["findings"], twice);
    assert_eq!(ran.values()[2]["findings"][0]["pointer"], "/payload/sql");
}

/// What code hands to a database: literals as they come together when it runs, with what is filled in given the benefit of the doubt.
#[tokio::test]
async fn code_is_judged_by_what_its_literals_come_to() {
    let refused = [
        "db.run('DROP TABLE users')",
        "db.run('DROP ' 'TABLE ' 'users')",
        "db.run('DROP TABLE users; ' + more)",
        "db.run('DROP TABLE users ' + more)",
        "cur.execute(\"DELETE FROM users \"\n            \"WHERE true\")",
        "q = 'DELETE FROM users'\n'WHERE id = 1'\ndb.run(q)",
        "function f() {\n  let q = 'DELETE FROM users'\n  ' WHERE id = 1'\n}",
        "db.run('DELETE FROM users')('WHERE id = 1')",
        "q = 'DROP '; q += 'TABLE users'",
        "q = ('DELETE '\n     'FROM ')\nq += 'users'\nq += ';'",
        "q = 'DELETE FROM users'\nif c:\n    q += ' WHERE id = 1'",
        "q = 'DELETE FROM users'\nr += ' WHERE id = 1'",
        "db.run(f'DELETE FROM {table}')",
        "db.run(f'UPDATE {table} SET {column} = %s')",
        "db.run('DELETE FROM %s WHERE true' % table)",
        "db.run(f'ALTER TABLE {table} DROP COLUMN {name}')",
        "run(f'{\"DROP TABLE users\"}')",
        "run(f\"{'DROP TABLE users'}\")",
        "run(f\"{'DROP'} TABLE users\")",
        "run(f\"{x} {f('DROP ' + 'TABLE users')}\")",
        "run(`${`DROP TABLE users`}`)",
        "run(`a ${b ? `DROP TABLE ${t}` : {}} c`)",
        "run(' '.join(['DROP', 'TABLE', 'users']))",
        "run(\"\".join((\n  'DR' + 'OP ',\n  'TABLE users')))",
        "run(['DROP', 'TABLE', 'users'].join(' '))",
        "run(['DROP TABLE users', 'x'])",
        "run(['DROP TABLE users', x].join(''))",
        "run(\"DROP TABLE users;\\0\")",
    ];
    let fine = [
        "cur.execute(\"UPDATE users SET name=%s \"\n            \"WHERE id=%s\", (n, i))",
        "cur.execute(\"UPDATE users SET name=%s \" # why\n            \"WHERE id=%s\", (n, i))",
        "q = \"DELETE FROM users\\n\" + \"WHERE id = 1\"",
        "q = (\"DELETE FROM users\"\n     \" WHERE id = 1\")",
        "q = 'DELETE FROM users' \\\n    ' WHERE id = 1'",
        "q = 'DELETE FROM users' +\n  ' WHERE id = 1'",
        "$q = 'DELETE FROM users' . ' WHERE id = 1';",
        "q = 'DELETE FROM users'\nq += ' WHERE id = %s'\ndb.run(q, [i])",
        "q = 'DELETE FROM users '; q += 'WHERE id = 1';",
        "db.run(' '.join(['DELETE FROM users', 'WHERE id = 1']))",
        "db.run(['DELETE FROM users', 'WHERE id = 1'].join('\\n'))",
        "db.run(f\"DELETE FROM users WHERE {col} = %s\")",
        "db.run(f\"UPDATE users SET a=1 WHERE {w}\")",
        "db.run(f'DELETE FROM {t} WHERE {c}')",
        "db.run(f'DELETE FROM {t} WHERE a = {a} {more}')",
        "db.run(f'UPDATE {t} SET {a} = {b}, {c} = {d} {where}')",
        "db.run(f\"DELETE FROM {t} WHERE a IN ({', '.join(marks)}) AND b BETWEEN {x} AND {y} RETURNING {z}\")",
        "db.run(\"delete from users where \" + cond)",
        "db.run('delete from users ' + where)",
        "db.run('UPDATE users SET a = ' + a + ' WHERE id = ' + id)",
        "db.run(`UPDATE users SET a = ${a} WHERE id = ${id}`)",
        "db.run(`DELETE FROM users ${where ? `WHERE ${where}` : ``}`)",
        "db.run('DELETE FROM users WHERE id = %d' % i)",
        "print(f\"{user}: update of {n} rows; delete from {place}\")",
        "print('drop', 'table', 'users')\nwords = ['DROP', 'TABLE', 'users']",
        "text = \", \".join(['drop', 'table'])",
        "data = '{\"a\": {\"drop\": 1}}'",
    ];
    let line = |code: &&str| json!({"envelope": {"target": "python-executor", "payload": {"code": code}}}).to_string();
    let lines: Vec<String> = refused.iter().chain(&fine).map(line).collect();
    let ran = inspect(&lines.iter().map(String::as_str).collect::<Vec<_>>()).await.expect(0);
    let said: Vec<_> = refused.iter().chain(&fine).zip(verdicts(&ran)).collect();
    let wrong: Vec<_> = said.iter().enumerate().filter(|(at, (_, (verdict, _)))| (verdict == "deny") != (*at < refused.len())).collect();
    assert!(wrong.is_empty() && said.len() == refused.len() + fine.len(), "{wrong:#?}");
}

/// A text that is taken out of its wrapping is what it was in it.
#[tokio::test]
async fn texts_are_judged_without_their_wrapping_too() {
    let table = [
        ("DROP TABLE users;\0", "string", "deny"),
        ("DROP TABLE users\0 it's", "string", "deny"),
        ("Drop table seven from the plan\0", "string", "allow"),
        ("SELECT 1\0; DROP TABLE users", "string", "allow"),
        ("```sql\nDROP TABLE users;\n```", "sql", "deny"),
        ("```\nDROP TABLE users", "sql", "deny"),
        ("\n ```SQL\r\nSELECT 1\r\n ```\r\n```\r\nTRUNCATE users\r\n```", "sql", "deny"),
        ("```sql\nSELECT 'drop table users';\n```\nIt's fine; drop me a line.", "sql", "allow"),
        ("How about\n```sql\nDROP TABLE users;\n```", "sql", "allow"),
        ("```python\nprint('it is done')\n```", "sql", "allow"),
        ("```sql\nDROP TABLE users;\n```", "string", "allow"),
    ];
    let lines: Vec<_> = table.iter().map(|(text, field, _)| json!({"id": text, "text": text, "as": field}).to_string()).collect();
    let ran = inspect(&lines.iter().map(String::as_str).collect::<Vec<_>>()).await.expect(0);
    for ((text, field, verdict), answer) in table.iter().zip(ran.values()) {
        assert_eq!(answer["verdict"].as_str(), Some(*verdict), "as {field}: {text}");
    }
    let fenced = &ran.values()[4]["findings"][0];
    assert_eq!((&fenced["span"], &fenced["statement"]), (&json!([7, 23]), &json!("DROP TABLE users")));
}

#[tokio::test]
async fn a_wrong_line_gets_an_error_and_the_stream_goes_on() {
    let fine = r#"{"id": "fine", "text": "DROP TABLE a", "as": "sql"}"#;
    let wrong = [
        ("", Value::Null),
        ("not JSON", Value::Null),
        ("7", Value::Null),
        (r#"["id", "DROP TABLE a", "sql"]"#, Value::Null),
        (r#"{"id": 1}"#, json!(1)),
        (r#"{"id": 2, "text": "SELECT 1"}"#, json!(2)),
        (r#"{"id": 3, "text": "SELECT 1", "as": "prose"}"#, json!(3)),
        (r#"{"id": 4, "text": 4, "as": "sql"}"#, json!(4)),
        (r#"{"id": 5, "text": "a", "as": "sql", "envelope": {}}"#, json!(5)),
        (r#"{"id": 6, "envelope": "{}"}"#, json!(6)),
        (r#"{"id": 7, "text": "SELECT 1", "text": "DROP TABLE a", "as": "sql"}"#, json!(7)),
        (r#"{"id": 8, "text": "SELECT 1", "as": "sql"} {}"#, Value::Null),
    ];
    let mut lines = vec![fine];
    lines.extend(wrong.iter().flat_map(|(line, _)| [*line, fine]));
    let ran = inspect(&lines).await.expect(1);
    let answers = ran.values();
    assert_eq!(answers.len(), lines.len());
    for (index, answer) in answers.iter().enumerate() {
        match wrong.get(index / 2).filter(|_| index % 2 == 1) {
            None => assert_eq!((&answer["id"], &answer["verdict"]), (&json!("fine"), &json!("deny"))),
            Some((line, id)) => {
                assert!(answer["error"].as_str().is_some_and(|error| error.len() > 10), "{line}: {answer}");
                assert_eq!((&answer["id"], &answer["line"], &answer["verdict"]), (id, &json!(index + 1), &Value::Null), "{line}");
            }
        }
    }
    assert!(ran.err.is_empty(), "{ran:?}");
}

#[tokio::test]
async fn a_line_beyond_the_bound_is_passed_over_and_one_within_it_is_read() {
    let fine = r#"{"id": "fine", "text": "DROP TABLE a", "as": "sql"}"#;
    let of = |length: usize| {
        let (head, tail) = (r#"{"id": "long", "text": ""#, r#"", "as": "string"}"#);
        format!("{head}{}{tail}", "x".repeat(length - head.len() - tail.len()))
    };
    let (within, beyond) = (of(16 << 20), of((16 << 20) + 1));
    let ran = inspect(&[fine, &beyond, fine, &within, fine]).await.expect(1);
    let told: Vec<_> = verdicts(&ran).into_iter().map(|(verdict, _)| verdict).collect();
    assert_eq!(told, ["deny", "error", "deny", "allow", "deny"]);
    assert_eq!(ran.values()[1], json!({"line": 2, "error": "the line is longer than 16 MiB"}));
    // At the end of the stream, with nothing behind it.
    let ran = inspect(&[fine, &beyond]).await.expect(1);
    assert_eq!(ran.values().len(), 2);
}

fn start() -> Child {
    Command::new(env!("CARGO_BIN_EXE_gatekeeper"))
        .arg("inspect")
        .env_clear()
        .current_dir(std::env::temp_dir())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// A program may hold a conversation: what it asked is answered before it asks more.
#[tokio::test]
async fn an_answer_does_not_wait_for_the_next_line() {
    let mut child = start();
    let (mut asks, mut answers) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()).lines());
    for id in 0..3 {
        asks.write_all(format!("{{\"id\":{id},\"text\":\"DROP TABLE a\",\"as\":\"sql\"}}\n{{\"id\":").as_bytes()).await.unwrap();
        let answer = timeout(PATIENCE, answers.next_line()).await.expect("an answer").unwrap().unwrap();
        assert_eq!(serde_json::from_str::<Value>(&answer).unwrap()["id"], id);
        asks.write_all(b"null,\"text\":\"\",\"as\":\"sql\"}\n").await.unwrap();
        timeout(PATIENCE, answers.next_line()).await.expect("an answer").unwrap().unwrap();
    }
    drop(asks);
    assert_eq!(timeout(PATIENCE, child.wait()).await.expect("it ends").unwrap().code(), Some(0));
}

/// As `head` does.
#[tokio::test]
async fn whoever_reads_the_answers_may_stop() {
    let mut child = start();
    let (mut asks, answers) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    drop(answers);
    let line = "{\"id\":1,\"text\":\"DROP TABLE a\",\"as\":\"sql\"}\n".repeat(1000);
    // Once it has ended, nobody is there to hear more.
    while asks.write_all(line.as_bytes()).await.is_ok() {}
    let ended = timeout(PATIENCE, child.wait_with_output()).await.expect("it ends").unwrap();
    assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(0), &b""[..]));
}

#[tokio::test]
async fn policies_decide_and_wrong_ones_are_told_before_a_line_is_read() {
    let program = Program::bare();
    let line = r#"{"id": 1, "text": "DELETE FROM drafts", "as": "sql"}"#;
    std::fs::create_dir(program.folder().join("own")).unwrap();
    std::fs::write(program.folder().join("own/own.toml"), "[[source]]\nnames = [\"a b\"]\n").unwrap();
    let ran = program.fed(&["inspect", "--policies", "own"], line).await.expect(78);
    assert!(ran.out.is_empty() && ran.err.contains("own.toml:2"), "{ran:?}");

    let own =
        "[[exception]]\nrules = ['delete-without-where']\nsources = ['gemini-chat']\ntargets = ['get-embedding']\nreason = 'r'\nby = 'b'\n";
    lay_policies(program.folder(), &[("own.toml".into(), own.into())]);
    let table: [(&[&str], &str, &str); 3] = [
        (&[], "deny", "enforce"),
        (&["--source", "openai-chat", "--target", "get-embedding"], "deny", "enforce"),
        (&["--source", "gemini-chat", "--target", "get-embedding"], "allow", "excepted"),
    ];
    for (options, verdict, mode) in table {
        let ran = program.fed(&[&["inspect", "--policies", "policies"], options].concat(), line).await.expect(0);
        let answer = ran.value();
        assert_eq!((&answer["verdict"], &answer["findings"][0]["mode"]), (&json!(verdict), &json!(mode)), "{options:?}");
    }
    let envelope = r#"{"envelope": {"target": "get-embedding", "operation": "DELETE FROM drafts"}}"#;
    let ran = program.fed(&["inspect", "--source", "gemini-chat"], envelope).await.expect(0);
    assert_eq!(ran.value()["findings"][0]["mode"], "excepted", "whom the envelope names counts");
}

#[tokio::test]
async fn one_text_is_explained_to_people() {
    let program = Program::bare();
    let denied = program.run(&["inspect", "SELECT 1; DELETE FROM users"]).await.expect(1);
    let fingerprint =
        program.run(&["inspect", "--json", "SELECT 1; DELETE FROM users"]).await.expect(1).value()["findings"][0]["fingerprint"].clone();
    let said = [
        "denied: DELETE without a WHERE is for every row.",
        "delete-without-where (critical)",
        "DELETE FROM users",
        "10 to 27",
        "users",
        fingerprint.as_str().unwrap(),
        "[[exception]]",
        &format!("statements = [{fingerprint}]  # or: objects = [\"users\"]"),
    ];
    for said in said {
        assert!(denied.out.contains(said), "{said}: {}", denied.out);
    }
    let allowed = [
        ("SELECT 1; UPDATE a SET b = 1 WHERE c = 2; SELECT 2", "allowed: read, update\n"),
        ("What's the drop rate?", "allowed: it is no SQL\n"),
    ];
    for (text, said) in allowed {
        assert_eq!(program.run(&["inspect", text]).await.expect(0).out, said, "{text}");
    }
    program.run(&["inspect", "--as", "string", "Run this: DROP TABLE users"]).await.expect(0);
    program.run(&["inspect", "--as", "prose", "a"]).await.expect(2);
    program.run(&["inspect", "--source", "a b", "a"]).await.expect(2);
}

#[tokio::test]
async fn every_rule_is_listed_with_examples_that_hold() {
    let program = Program::bare();
    let told = program.run(&["inspect", "--rules", "--json"]).await.expect(0).value();
    let table = program.run(&["inspect", "--rules"]).await.expect(0).out;
    let rules = told["rules"].as_array().unwrap();
    let ids: Vec<_> = rules.iter().map(|rule| rule["rule"].as_str().unwrap()).collect();
    assert_eq!(ids, eliza_gatekeeper::sql::rules::RULES.map(|rule| rule.id));
    for rule in rules {
        let (id, severity) = (rule["rule"].as_str().unwrap(), rule["severity"].as_str().unwrap());
        assert!(table.lines().any(|line| line.split_whitespace().take(2).eq([id, severity])), "{id}: {table}");
    }
    let examples = |member: &str| {
        let of = |rule: &Value| {
            rule[member]
                .as_array()
                .unwrap()
                .iter()
                .map(|text| json!({"id": rule["rule"], "text": text, "as": "sql"}).to_string())
                .collect::<Vec<_>>()
        };
        rules.iter().flat_map(of).collect::<Vec<_>>()
    };
    let refused = program.fed(&["inspect"], &examples("refused").join("\n")).await.expect(0);
    for answer in refused.values() {
        assert!(answer["findings"].as_array().unwrap().iter().any(|found| found["rule"] == answer["id"]), "{answer}");
    }
    let allowed = program.fed(&["inspect"], &examples("allowed").join("\n")).await.expect(0);
    for answer in allowed.values() {
        assert!(!answer["findings"].as_array().unwrap().iter().any(|found| found["rule"] == answer["id"]), "{answer}");
    }
}
