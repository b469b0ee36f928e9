//! Which strings of a call are judged, and how: SQL is found wherever it stands and however it is wrapped, nothing that stands beside it
//! hides it, and what people say to each other is let be.

use bytes::Bytes;
use eliza_gatekeeper::call::{CodeField, Envelope, Fields, Path, Reading};
use eliza_gatekeeper::identity::NamePattern;
use eliza_gatekeeper::verdict::Failure;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::house::House;

const DROP: &str = "DROP TABLE users";

fn fields() -> Fields {
    let code = |path, targets: &[&str]| CodeField {
        path: Path::parse(path).unwrap(),
        targets: targets.iter().map(|name| NamePattern::parse(name).unwrap()).collect(),
    };
    Fields {
        sql: ["operation", "sql", "query"].map(str::to_owned).to_vec(),
        prose: ["messages[].content", "prompt", "userInput", "description", "title"].map(|path| Path::parse(path).unwrap()).to_vec(),
        code: vec![code("payload.code", &["python-executor"]), code("code", &["t", "node-*"]), code("cells[]", &[])],
    }
}

fn parse(body: &str) -> Result<Envelope, Failure> {
    Envelope::parse(Bytes::copy_from_slice(body.as_bytes()), &fields())
}

/// Pointer, reading and text of what is judged of a payload.
fn judged_of(target: &str, payload: &Value) -> Vec<(String, Reading, String)> {
    let body = json!({"target": target, "payload": payload}).to_string();
    parse(&body).unwrap().sql.into_iter().map(|sql| (sql.pointer, sql.reading, sql.text)).collect()
}

fn in_string(value: &Value) -> Value {
    Value::String(value.to_string())
}

fn in_strings(value: &Value, times: usize) -> Value {
    (0..times).fold(value.clone(), |value, _| json!({"x": in_string(&value)}))
}

#[test]
fn sql_is_found_however_it_is_wrapped() {
    let sql = json!({"sql": DROP});
    let cases: Vec<(&str, Value, &str, Reading)> = vec![
        ("a field", sql.clone(), "/payload/sql", Reading::Sql),
        ("any letter case", json!({"SQL": DROP}), "/payload/SQL", Reading::Sql),
        ("a field of a field", json!({"a": {"b": [{"Query": DROP}]}}), "/payload/a/b/0/Query", Reading::Sql),
        ("anything below a field", json!({"sql": {"text": [{"statement": DROP}]}}), "/payload/sql/text/0/statement", Reading::Sql),
        ("any other name", json!({"statement": DROP}), "/payload/statement", Reading::Text),
        ("no name", json!([[DROP]]), "/payload/0/0", Reading::Text),
        ("JSON in a string", json!({"body": in_string(&sql)}), "/payload/body/sql", Reading::Sql),
        ("other names there", json!({"body": in_string(&json!({"x": [1, DROP]}))}), "/payload/body/x/1", Reading::Text),
        ("an array in a string", json!({"body": in_string(&json!([DROP]))}), "/payload/body/0", Reading::Text),
        ("below a field in a string", json!({"query": in_string(&json!({"x": DROP}))}), "/payload/query/x", Reading::Sql),
        ("JSON in JSON", in_strings(&sql, 4), "/payload/x/x/x/x/sql", Reading::Sql),
        ("JSON in JSON, as deep as it goes", in_strings(&sql, 8), "/payload/x/x/x/x/x/x/x/x/sql", Reading::Sql),
        ("once more in quotes", json!({"note": in_string(&json!(DROP))}), "/payload/note", Reading::Text),
        ("twice more in quotes", json!({"note": in_string(&in_string(&json!(DROP)))}), "/payload/note", Reading::Text),
        ("twice in quotes", json!({"body": in_string(&in_string(&sql))}), "/payload/body/sql", Reading::Sql),
        ("blanks around it", json!({"body": format!(" \n{sql}\t")}), "/payload/body/sql", Reading::Sql),
        (
            "the arguments of a tool",
            json!({"messages": [{"tool_calls": [{"function": {"name": "run", "arguments": in_string(&sql)}}]}]}),
            "/payload/messages/0/tool_calls/0/function/arguments/sql",
            Reading::Sql,
        ),
        ("a field in prose", json!({"prompt": {"sql": DROP}}), "/payload/prompt/sql", Reading::Sql),
        ("prose in a field", json!({"sql": {"title": DROP}}), "/payload/sql/title", Reading::Sql),
        ("a field that is prose elsewhere", json!({"content": DROP}), "/payload/content", Reading::Text),
    ];
    for (why, payload, pointer, reading) in cases {
        assert_eq!(judged_of("any", &payload), [(pointer.to_owned(), reading, DROP.to_owned())], "{why}");
    }
}

/// What one reader of JSON refuses others read.
#[test]
fn nothing_in_a_string_of_json_hides_the_rest_of_it() {
    let beside = [
        r#""x":1e999"#.to_owned(),
        r#""x":NaN"#.to_owned(),
        r#""x":-Infinity"#.to_owned(),
        r#""x":+.5"#.to_owned(),
        r#""x":"\ud800""#.to_owned(),
        r#""x":"\q\x41""#.to_owned(),
        "\"x\":\"a\nb\"".to_owned(),
        r#""sql":"SELECT 1""#.to_owned(),
        r#""$serde_json::private::RawValue":"1""#.to_owned(),
        format!(r#""x":{}{}"#, "[".repeat(200), "]".repeat(200)),
        format!(r#""x":{}1{}"#, r#"{"a":["#.repeat(5000), "]}".repeat(5000)),
    ];
    for beside in beside {
        for text in
            [format!(r#"{{{beside},"sql":"{DROP}"}}"#), format!(r#"{{"sql":"{DROP}",{beside},}}"#), format!(r#"[{{{beside}}},"{DROP}"]"#)]
        {
            let found = judged_of("any", &json!({ "body": text }));
            assert!(found.iter().any(|(.., text)| text == DROP), "{beside:.60}: {found:?}");
        }
    }
    let deep = format!(r#"{{"x":{}"{DROP}"{}}}"#, "[".repeat(5000), "]".repeat(5000));
    assert!(judged_of("any", &json!({ "body": deep })).iter().any(|(.., text)| text == DROP));
    let within_bounds = format!("{}{}", "[".repeat(100), "]".repeat(100));
    let all_levels = (0..4).fold(within_bounds, |text, _| format!("{}{}{}", "[".repeat(100), Value::from(text), "]".repeat(100)));
    assert_eq!(judged_of("any", &json!({ "body": all_levels })), []);
}

#[test]
fn a_string_that_is_no_json_is_a_string() {
    for text in [
        "{",
        "[",
        "{}",
        "[]",
        "\"\"",
        "{\"a\"}",
        "{\"a\":}",
        "[1,2",
        "[1}",
        "{\"sql\":\"DROP TABLE users\"",
        "{\"sql\":\"DROP TABLE users\"} and more",
        "[note] {\"sql\":\"DROP TABLE users\"} [end]",
        "{{\"sql\":\"DROP TABLE users\"}}",
        "[\"a\" \"DROP TABLE users\"]",
        "{\"a\":1 \"sql\":\"DROP TABLE users\"}",
        "{'sql':'DROP TABLE users'}",
        "\"DROP TABLE users\" is dangerous",
        "\"a\" says \"b\"",
        "[1;2]",
    ] {
        assert_eq!(judged_of("any", &json!({ "text": text })), [], "{text}");
    }
    let as_it_is = judged_of("any", &json!({"sql": "{\"sql\":\"DROP TABLE users\"} and more"}));
    assert_eq!(as_it_is, [("/payload/sql".to_owned(), Reading::Sql, "{\"sql\":\"DROP TABLE users\"} and more".to_owned())]);
}

/// A JSON string may as well be a name in quotes: nobody knows who reads it next.
#[test]
fn a_string_in_quotes_is_judged_with_them_and_without() {
    let texts = |payload: &Value| judged_of("any", payload).into_iter().map(|(.., text)| text).collect::<Vec<_>>();
    assert_eq!(texts(&json!({"sql": in_string(&json!(DROP))})), [DROP, "\"DROP TABLE users\""]);
    assert!(texts(&json!({"sql": ["DROP TABLE", "\"users\""]})).contains(&"DROP TABLE \"users\"".to_owned()));
}

/// How deep we look is no way to get by.
#[test]
fn what_is_too_deep_to_be_judged_is_refused_unless_it_says_nothing() {
    let parsed = |payload: &Value| parse(&json!({"target": "any", "payload": payload}).to_string());
    for innermost in [json!({"sql": DROP}), json!([DROP]), json!({"x": 1})] {
        assert!(parsed(&in_strings(&innermost, 8)).is_ok(), "{innermost}");
        let refused = parsed(&in_strings(&innermost, 9)).unwrap_err();
        assert_eq!(refused.code(), "invalid_envelope");
        let Failure::InvalidEnvelope { what } = refused else { panic!("{refused:?}") };
        assert!(what.ends_with("at /payload/x/x/x/x/x/x/x/x/x"), "{what}");
    }
    for harmless in [json!([]), json!([1, [2]]), json!({}), json!("{not JSON}"), json!("\"a\" or \"b\"")] {
        let value = if harmless.is_string() { harmless } else { in_string(&harmless) };
        assert_eq!(parsed(&in_strings(&json!({"x": value}), 8)).unwrap().sql, [], "{value}");
    }
    assert!(parsed(&json!({"prompt": in_strings(&json!({"sql": DROP}), 9)["x"]})).is_ok(), "prose is let be");
    // Brackets in a string: below so many of them no name counts, so all that stands there is SQL.
    let brackets = format!("{}{{\"sql\":\"now; {DROP}\"}}{}", "[".repeat(300), "]".repeat(300));
    assert!(judged_of("any", &json!({"body": brackets})).iter().any(|(_, reading, text)| *reading == Reading::Sql && text.ends_with(DROP)));
}

/// What the items of an array come to, whoever puts them together.
#[test]
fn pieces_are_judged_as_what_they_come_to() {
    let joined = |sql: Value| {
        let body = json!({"target": "any", "payload": {"sql": sql}}).to_string();
        let joined = parse(&body).unwrap().sql.into_iter().filter(|sql| sql.joined);
        joined.map(|sql| (sql.reading, sql.text)).collect::<Vec<_>>()
    };
    let spaced = |text: &str| (Reading::Sql, text.to_owned());
    let glued = |text: &str| (Reading::Text, text.to_owned());
    let cases = [
        (json!(["DROP TA", "BLE users"]), vec![spaced("DROP TA BLE users"), glued("DROP TABLE users")]),
        (json!(["a OR tr", "ue", " x"]), vec![spaced("a OR tr ue  x"), glued("a OR true x")]),
        (json!(["DROP ", "TABLE a"]), vec![spaced("DROP  TABLE a")]),
        (json!(["SELECT 1;", "more"]), vec![spaced("SELECT 1; more")]),
        (json!(["SELECT 1", "SELECT 2", "drop x"]), vec![spaced("SELECT 1 SELECT 2 drop x")]),
        (json!(["a -- b", " c"]), vec![spaced("a -- b  c"), spaced("a -- b\n c")]),
        (json!(["a OR ", true]), vec![spaced("a OR  true")]),
        (json!(["a = ", -1, " OR ", [1.5, false], null]), vec![spaced("a =  -1  OR  1.5 false"), glued("a = -1 OR 1.5false")]),
        (json!("[\"a \", 1e999, 7, true]"), vec![spaced(&format!("a  {} 7 true", f64::MAX)), glued(&format!("a {}7true", f64::MAX))]),
        (json!([1, 2, [3, 4]]), vec![]),
        (json!(["a", {"b": 1, "c": true}]), vec![]),
    ];
    for (sql, expected) in cases {
        assert_eq!(joined(sql.clone()), expected, "{sql}");
    }
    let vector = json!({"target": "any", "payload": {"query": {"near": vec![0.5; 100_000]}}}).to_string();
    assert_eq!(parse(&vector).unwrap().sql, []);
    let numbers = format!(r#"{{"target":"any","payload":{{"sql":["a"{}]}}}}"#, ",1".repeat(1 << 20));
    assert_eq!(parse(&numbers).unwrap_err().code(), "invalid_envelope");
}

#[test]
fn what_people_say_is_let_be() {
    let said = json!({
        "messages": [{"role": "user", "content": DROP}, {"role": "user", "content": [{"type": "text", "text": DROP}]}],
        "nested": {"Messages": [{"CONTENT": in_string(&json!({"sql": DROP}))}]},
        "prompt": DROP, "userInput": DROP, "a": {"description": DROP}, "title": [DROP],
        "text": "Please drop table seven from the plan", "keys": {"drop table users": 1, "sql": {"drop table users": 2}},
    });
    assert_eq!(judged_of("any", &said), []);
    assert_eq!(judged_of("any", &in_strings(&said, 3)), []);
}

#[test]
fn an_operation_hides_nothing() {
    let body = json!({"target": "t", "operation": "read", "payload": {"sql": DROP}, "other": {"query": DROP}}).to_string();
    let found: Vec<String> = parse(&body).unwrap().sql.into_iter().map(|sql| sql.pointer).collect();
    assert_eq!(found, ["/operation", "/other/query", "/payload/sql"]);
}

#[test]
fn of_code_each_literal_is_judged_where_policy_says_that_it_is_code() {
    let code = json!({"code": "db.run('DROP TABLE ' 'users')"});
    let literals = vec![("/payload/code".to_owned(), Reading::Text, DROP.to_owned())];
    for (target, is_code) in [("python-executor", true), ("t", true), ("node-7", true), ("brain", false)] {
        assert_eq!(judged_of(target, &code), if is_code { literals.clone() } else { Vec::new() }, "{target}");
        // The target may be named behind the code.
        let body = format!(r#"{{"payload":{code},"target":"{target}"}}"#);
        assert_eq!(!parse(&body).unwrap().sql.is_empty(), is_code, "{target}");
    }
    for target in ["python-executor", "brain"] {
        let whole = judged_of(target, &json!({"code": "DROP TABLE \"users\" -- it's \"mine\""}));
        assert!(whole.iter().any(|(.., text)| text.starts_with("DROP TABLE \"")), "as a whole it is SQL: {whole:?}");
    }
    let cells = json!({"cells": ["print(1)", "db.run(`DROP TABLE users`)"]});
    assert_eq!(judged_of("any", &cells), [("/payload/cells/1".to_owned(), Reading::Text, DROP.to_owned())]);
    let many = json!({"code": "'drop a';".repeat(20_000)}).to_string();
    let refused = parse(&format!(r#"{{"target":"t","payload":{many}}}"#)).unwrap_err();
    assert_eq!(refused.code(), "invalid_envelope");
}

#[test]
fn what_is_gathered_out_of_strings_is_bounded_too() {
    let many = |count: usize| in_string(&json!(vec!["drop a"; count])).to_string();
    let body = |count: usize| format!(r#"{{"target":"t","payload":{{"a":{},"b":{}}}}}"#, many(count), many(count));
    assert_eq!(parse(&body(8192)).unwrap().sql.len(), 16_384);
    assert_eq!(parse(&body(8193)).unwrap_err().code(), "invalid_envelope");
}

#[tokio::test]
async fn the_door_refuses_what_is_found_in_any_of_these_places() {
    let house = House::open().await;
    let cases = [
        ("gemini-chat", json!({"a": {"b": [{"SQL": DROP}]}}), "/payload/a/b/0/SQL"),
        ("gemini-chat", json!({"note": DROP}), "/payload/note"),
        ("gemini-chat", json!({"arguments": "{\"n\":1e999,\"sql\":\"DROP TABLE users\"}"}), "/payload/arguments/sql"),
        ("python-executor", json!({"code": "import db\n# it's time\ndb.run('DROP '\n       'TABLE users')"}), "/payload/code"),
        ("python-executor", json!({"code": "db.run(f\"DELETE FROM {table}\")"}), "/payload/code"),
        ("python-executor", json!({"code": "db.run('DELETE FROM ' + table)"}), "/payload/code"),
    ];
    for (target, payload, pointer) in cases {
        let call = house.call("gemini-chat").to(target).payload(payload.clone()).operation("create");
        let refused = call.send().await.expect(403);
        assert_eq!((refused.code().as_str(), refused.json()["pointer"].as_str()), ("dangerous_operation", Some(pointer)), "{payload}");
    }
    let fine = [
        ("gemini-chat", json!({"messages": [{"role": "user", "content": DROP}], "text": "Drop table seven from the plan"})),
        ("python-executor", json!({"code": "db.run(f\"DELETE FROM {table} {where}\")\nprint('drop', 'table')\n"})),
        ("python-executor", json!({"code": "db.run(\"INSERT INTO log VALUES ('DROP TABLE users')\")"})),
        ("python-executor", json!({"code": "print('it is done')"})),
    ];
    for (target, payload) in fine {
        house.call("gemini-chat").to(target).payload(payload).send().await.expect(200);
    }
}

/// What stands around a value.
#[derive(Clone, Debug)]
enum Around {
    Member(String, Vec<(String, Value)>),
    Item(Vec<Value>),
    String,
}

fn around() -> impl Strategy<Value = Vec<Around>> {
    let name = prop_oneof!["[a-z/~.\"\\\\ é]{1,4}", prop::sample::select(vec!["sql", "Query", "prompt", "x"]).prop_map(str::to_owned)];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        "[a-z'{\\[\"]{0,5}".prop_map(Value::from),
        Just(json!({"sql": []}))
    ];
    let member = (name.clone(), prop::collection::vec((name, leaf.clone()), 0..3)).prop_map(|(name, beside)| Around::Member(name, beside));
    let layer = prop_oneof![4 => member, 2 => prop::collection::vec(leaf, 0..3).prop_map(Around::Item), 1 => Just(Around::String)];
    prop::collection::vec(layer, 0..7)
}

proptest! {
    #[test]
    fn what_stands_under_a_name_for_sql_is_found_at_its_place(layers in around(), text in "[a-z][a-z ;'\"\\\\\u{e9}]{0,20}") {
        let strings = layers.iter().filter(|layer| matches!(layer, Around::String)).count();
        prop_assume!(strings <= 4);
        let mut value = json!({"sql": text});
        let mut pointer = vec!["sql".to_owned()];
        for layer in layers {
            value = match layer {
                Around::Member(name, beside) => {
                    let mut members: serde_json::Map<String, Value> = beside.into_iter().collect();
                    members.insert(name.clone(), value);
                    pointer.push(name.replace('~', "~0").replace('/', "~1"));
                    Value::Object(members)
                }
                Around::Item(before) => {
                    pointer.push(before.len().to_string());
                    Value::Array(before.into_iter().chain([value]).collect())
                }
                Around::String => in_string(&value),
            };
        }
        pointer.push("payload".to_owned());
        let pointer: String = pointer.iter().rev().map(|step| format!("/{step}")).collect();
        let inside_prose = pointer.contains("/prompt") && strings > 0;
        let found = judged_of("t", &value);
        let is_there = found.iter().any(|(at, reading, found)| *at == pointer && *reading == Reading::Sql && *found == text);
        prop_assert!(is_there || inside_prose, "{pointer} is not among {found:?}");
    }

    #[test]
    fn no_string_is_too_much(text in "([{}\\[\\],:\"\\\\]|[a-z0-9 ']|\\\\u[0-9a-f]{0,4}|\u{e9}|drop |\"sql\":){0,60}") {
        for payload in [json!({"text": text}), json!({"sql": text}), json!({"code": text}), json!(format!("{{{text}}}")), json!(format!("[{text}]"))] {
            for sql in parse(&json!({"target": "t", "payload": payload}).to_string()).unwrap().sql {
                prop_assert!(!sql.text.is_empty() && sql.pointer.starts_with("/payload"));
            }
        }
    }
}
