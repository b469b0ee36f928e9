//! What direct calls carry is judged before the target sees a byte of it, whatever it is called and however it comes; what was judged is
//! what goes on.

use std::io::Write as _;

use eliza_gatekeeper::call::{Brought, Contents, Fields};
use flate2::Compression;
use flate2::write::GzEncoder;
use http::Method;
use proptest::prelude::*;
use serde_json::json;

use super::{send, with_bare};
use crate::support::house::House;
use crate::support::rows::rows;

type Headers<'a> = &'a [(&'a str, &'a str)];

fn gzip(text: &str) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(text.as_bytes()).unwrap();
    gzip.finish().unwrap()
}

fn utf16(text: &str, mark: bool) -> Vec<u8> {
    let units = mark.then_some(0xfeff).into_iter().chain(text.encode_utf16());
    units.flat_map(u16::to_le_bytes).collect()
}

#[tokio::test]
async fn dangerous_sql_is_refused_wherever_a_target_may_find_it() {
    let house = House::open().await;
    const JSON: &str = r#"{"deep": {"SQL": "DROP TABLE users"}}"#;
    let form = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
    let table: Vec<(&str, &str, Headers<'_>, Vec<u8>, &str)> = vec![
        ("JSON", "", &[("content-type", "application/json")], JSON.into(), "/deep/SQL"),
        ("JSON that is called a text", "", &[("content-type", "text/plain")], JSON.into(), "/deep/SQL"),
        ("JSON that is called an image", "", &[("content-type", "image/png")], JSON.into(), "/deep/SQL"),
        ("JSON that is called nothing", "", &[], JSON.into(), "/deep/SQL"),
        ("JSON that is called a form", "", &form, JSON.into(), "/deep/SQL"),
        ("a list", "", &[], br#"[1, {"query": ["DROP TABLE", "users"]}]"#.into(), "/1/query"),
        ("a string", "", &[], br#""DROP TABLE users""#.into(), ""),
        ("JSON in a string", "", &[], br#"{"a": "{\"sql\": \"DROP TABLE users\"}"}"#.into(), "/a/sql"),
        ("any string that is SQL", "", &[], br#"{"note": "DROP TABLE users"}"#.into(), "/note"),
        ("JSON with a comma too many", "", &[], br#"{"sql": "DROP TABLE users",}"#.into(), "/sql"),
        ("JSON with no number", "", &[], br#"{"n": NaN, "sql": "DROP TABLE users"}"#.into(), "/sql"),
        ("JSON and more", "", &[], br#"{"sql": "DROP TABLE users"} and more"#.into(), "/sql"),
        ("JSON line by line", "", &[], b"{\"sql\": \"SELECT 1\"}\n{\"sql\": \"DROP TABLE users\"}\n".to_vec(), "/sql"),
        ("JSON behind a number and a word", "", &[], b"1\nnull {\"sql\": \"DROP TABLE users\"}".to_vec(), "/sql"),
        ("JSON behind a mark of its own", "", &[], b"\x1e{\"sql\": \"DROP TABLE users\"}\n".to_vec(), "/sql"),
        ("JSON that is not all UTF-8", "", &[], b"{\"a\": \"\xff\", \"sql\": \"DROP TABLE users\"}".to_vec(), "/sql"),
        ("JSON in gzip", "", &[("content-encoding", "gzip")], gzip(JSON), "/deep/SQL"),
        ("a form", "", &form, b"a=1&Sql=DROP%20TABLE+users".to_vec(), "/Sql"),
        ("a form's member of a member", "", &form, b"payload%5Bquery%5D=DROP+TABLE+users".to_vec(), "/payload/query"),
        ("a form's list", "", &form, b"sql=DROP+TABLE&b=2&sql=users".to_vec(), "/sql"),
        ("the query", "?a=1&sql=DROP%20TABLE%20users", &[], vec![], "?sql"),
        ("the query, in capitals and with plus signs", "/path?SQL=DROP+TABLE+users", &[], b"no JSON".to_vec(), "?SQL"),
        ("the query, encoded name and all", "?%73q%6C=%44ROP+TABLE+users", &[], vec![], "?sql"),
        ("the query, in pieces", "?query=DROP+TABLE&query=users", &[], vec![], "?query"),
        ("JSON in the query", "?body=%7B%22sql%22%3A%22DROP+TABLE+users%22%7D", &[], vec![], "?body/sql"),
    ];
    for (name, rest, headers, body, pointer) in table {
        let reply = send(&house, Method::POST, &format!("get-embedding{rest}"), headers, body).await;
        assert_eq!(reply.status, 403, "{name}: {:?}", reply.body);
        let told = reply.json();
        assert_eq!((&told["code"], &told["pointer"]), (&json!("dangerous_operation"), &json!(pointer)), "{name}");
        let record = house.record_of(&reply).await;
        assert_eq!((&record.metadata["door"], &record.metadata["rule"]), (&json!("direct"), &json!("drop-table")), "{name}");
    }
    assert!(house.targets.received_in_all().is_empty());
}

#[tokio::test]
async fn what_is_harmless_prose_or_no_json_goes_on_byte_for_byte() {
    let house = House::open().await;
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let table: Vec<(&str, &str, Headers<'_>, Vec<u8>)> = vec![
        ("nothing", "", &[], vec![]),
        ("ordinary SQL", "?sql=select+1", &[], br#"{ "sql" : "SELECT 1" }"#.to_vec()),
        (
            "prose of policy",
            "?prompt=DROP+TABLE+users",
            &[],
            br#"{"prompt": "DROP TABLE users", "messages": [{"content": "DROP TABLE users"}]}"#.to_vec(),
        ),
        ("prose by its place in the payload", "", &[], br#"{"title": "DROP TABLE users"}"#.to_vec()),
        ("text", "", &[("content-type", "text/plain")], b"DROP TABLE users".to_vec()),
        ("text with a word in quotes", "", &[], b"never say \"DROP TABLE users\" to it".to_vec()),
        ("a number and more", "", &[], b"1, 2 \"DROP TABLE users\"".to_vec()),
        ("a file with a quote in front", "", &[("content-type", "text/csv")], b"\"name\",\"of\"\n\"a\",\"b\"\n".to_vec()),
        ("bytes", "", &[("content-type", "application/octet-stream")], (0..=255).cycle().take(100_000).collect()),
        ("bytes that begin as UTF-16 does", "", &[], b"\xff\xfe{\0not JSON".to_vec()),
        ("a broken text", "", &[("content-type", "application/json")], br#"{"sql": "DROP TABLE us"#.to_vec()),
        ("spaces and key order", "", &[("content-type", "application/json")], b" {\"b\" : 1.50,\n\"a\":\"\\u00e9\" } ".to_vec()),
        ("a form", "", &form, b"a=b&c=%20d&text=drop+the+table".to_vec()),
    ];
    for (name, rest, headers, body) in table {
        let reply = send(&house, Method::POST, &format!("get-embedding{rest}"), headers, body.clone()).await;
        assert_eq!(reply.status, 200, "{name}: {:?}", reply.body);
        let got = house.targets.received("get-embedding").pop().unwrap();
        assert_eq!(got.body, body, "{name}");
    }
}

#[tokio::test]
async fn an_encoding_is_taken_off_and_what_cannot_be_judged_is_refused() {
    let house = House::plan().policy("service.toml", "[body]\nmax = \"64KiB\"\n").open().await;
    let body = r#"{"sql": "SELECT 1"}"#;
    send(&house, Method::PUT, "get-embedding", &[("content-encoding", "gzip")], gzip(body)).await.expect(200);
    let got = house.targets.received_once("get-embedding");
    assert_eq!((got.body.as_ref(), got.header("content-encoding")), (body.as_bytes(), None));
    assert_eq!(got.header("content-length"), Some(body.len().to_string().as_str()));

    let many_texts = json!(vec!["select 1"; 20_000]).to_string();
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let with_mark = [b"\xef\xbb\xbf", body.as_bytes()].concat();
    let table: Vec<(&str, Headers<'_>, Vec<u8>, u16, &str)> = vec![
        ("an unknown encoding", &[("content-encoding", "compress")], body.into(), 415, "unsupported_encoding"),
        ("no gzip", &[("content-encoding", "gzip")], body.into(), 400, "bad_encoding"),
        ("more than the bound", &[], vec![b'x'; 65_537], 413, "body_too_large"),
        ("a name twice", &[], br#"{"sql": "SELECT 1", "sql": "SELECT 2"}"#.to_vec(), 400, "ambiguous_body"),
        ("a name twice, further in", &[], br#"[{"a": 1, "\u0061": 2}]"#.to_vec(), 400, "ambiguous_body"),
        ("a mark", &[], with_mark, 400, "ambiguous_body"),
        ("UTF-16", &[], utf16(body, false), 400, "ambiguous_body"),
        ("UTF-16 with a mark", &[], utf16(body, true), 400, "ambiguous_body"),
        ("UTF-32", &[], body.chars().flat_map(|c| u32::from(c).to_be_bytes()).collect(), 400, "ambiguous_body"),
        ("a form of nothing but members", &form, "a&".repeat(20_000).into(), 400, "unjudgeable_body"),
    ];
    for (name, headers, body, status, code) in table {
        let reply = send(&house, Method::POST, "get-embedding", headers, body).await;
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{name}");
        assert_eq!(house.record_of(&reply).await.metadata["code"], code, "{name}");
    }
    let fields = Fields { sql: vec!["sql".into()], ..Fields::default() };
    let refused = Contents::read(Brought { body: many_texts.as_bytes(), is_form: false, query: None }, "t", &fields).unwrap_err();
    assert_eq!(refused.code(), "unjudgeable_body");
    assert_eq!(house.targets.received_in_all().len(), 1);
}

#[tokio::test]
async fn where_policy_skips_it_a_body_is_not_judged_but_the_address_is() {
    let (house, bare) = with_bare("inspect = \"skip\"").await;
    let calling =
        async { send(&house, Method::POST, "bare", &[("content-encoding", "x-own")], r#"{"sql": "DROP TABLE users"}"#).await.expect(200) };
    let answering = async {
        let mut target = bare.accept().await;
        let head = target.hear_head().await;
        assert!(head.contains("content-encoding: x-own\r\n") && head.contains("content-length: 27\r\n"), "{head}");
        target.hear("users\"}").await;
        target.say("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    };
    let (reply, ()) = tokio::join!(calling, answering);
    assert_eq!(house.record_of(&reply).await.metadata["request_bytes"], 27);
    let refused = send(&house, Method::POST, "bare?sql=DROP+TABLE+users", &[], "{}").await.expect(403);
    assert_eq!(refused.json()["pointer"], "?sql");
}

#[tokio::test]
async fn code_is_code_and_schema_operations_go_to_their_validator() {
    let house = House::open().await;
    let code = json!({ "code": "import db\ndb.run('DROP TABLE users')\n" }).to_string();
    let refused = send(&house, Method::POST, "python-executor", &[], code.clone()).await.expect(403);
    assert_eq!(refused.json()["pointer"], "/code");
    send(&house, Method::POST, "get-embedding", &[], code).await.expect(200);

    let alter = r#"{"sql": "ALTER TABLE a ADD b int"}"#;
    let reply = send(&house, Method::POST, "get-embedding", &[], alter).await.expect(200);
    assert_eq!(house.record_of(&reply).await.metadata["schema_check"], "valid");
    let by_query = send(&house, Method::GET, "get-embedding?sql=ALTER+TABLE+a+ADD+b+int", &[], "").await.expect(200);
    assert_eq!(house.record_of(&by_query).await.metadata["schema_check"], "valid");
    assert_eq!(house.targets.received("schema-manager").len(), 2);
}

#[tokio::test]
async fn the_action_that_a_body_names_is_the_one_a_key_must_be_good_for() {
    let house = House::open().await;
    let now = house.gatekeeper.pipeline.clock.now();
    let key = eliza_gatekeeper::store::StoredKey {
        id: eliza_gatekeeper::identity::KeyId::new("scoped"),
        name: "scoped".into(),
        hash: eliza_gatekeeper::identity::Secret::new("scoped key").hash(),
        sources: vec![],
        targets: vec!["agent-manager".into()],
        actions: vec!["list_agents".into()],
        created_at: now,
        not_before: None,
        expires_at: None,
        revoked_at: None,
        last_used_at: None,
    };
    house.store.insert_key(&key, &crate::store_contract::audited()).await.unwrap();
    let keys = || async { house.gatekeeper.pipeline.live.current().keys.iter().count() == 2 };
    crate::support::house::eventually("the key is on the ring", keys).await;
    let headers =
        [("x-eliza-key", "scoped key"), ("x-eliza-source", "gemini-chat")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let cases = [
        ("", r#"{"action": "list_agents", "data": {}}"#, 200),
        ("?action=list_agents", r#"{"action": "list_agents", "data": {}}"#, 200),
        ("", r#"{"action": "delete_task", "data": {}}"#, 403),
        ("?action=delete_task", r#"{"action": "list_agents", "data": {}}"#, 403),
        ("", r#"{"data": {}}"#, 403),
        ("", "no JSON", 403),
    ];
    for (rest, body, status) in cases {
        let path = format!("/functions/v1/agent-manager{rest}");
        let reply = house.request(house.data, Method::POST, &path, &headers, body.into()).await;
        assert_eq!(reply.status, status, "{rest} {body}: {:?}", reply.body);
    }
    house.settle().await;
    let actions = rows(&house.database, "select distinct json_extract(metadata, '$.action') from eliza_activity_log order by 1").await;
    assert_eq!(actions, [["POST"], ["delete_task"], ["list_agents"]].map(|row| row.map(str::to_owned).to_vec()));
}

proptest! {
    /// Whatever a body holds, it is judged or passes; and where it is JSON, nothing in front of it or behind it hides a statement.
    #[test]
    fn no_body_is_too_odd(body in proptest::collection::vec(any::<u8>(), 0..200), before in "[ \\t\\n]{0,3}", behind in "[ ,\\]}a-z\"{\\[]{0,6}") {
        let fields = Fields { sql: vec!["sql".into()], ..Fields::default() };
        let read = |body: &[u8], is_form| Contents::read(Brought { body, is_form, query: None }, "t", &fields);
        let _ = (read(&body, false), read(&body, true));
        let text = format!("{before}{{\"sql\": \"DROP TABLE a\"}}{behind}");
        let contents = read(text.as_bytes(), false).unwrap();
        prop_assert!(contents.sql.iter().any(|sql| sql.text == "DROP TABLE a"), "{:?}", contents);
    }
}
