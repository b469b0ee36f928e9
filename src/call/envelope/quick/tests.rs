use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::call::fields::{CodeField, Fields, Path};

fn fields() -> Fields {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let path = |path: &str| Path::parse(path).unwrap();
    Fields {
        sql: names(&["operation", "sql"]),
        prose: vec![path("prompt"), path("notes[]")],
        code: vec![CodeField { path: path("payload.code"), targets: Vec::new() }],
    }
}

/// Everything that was found, or why nothing was.
fn told(walk: &Walk<'_, '_>, read: Result<(), Option<Failure>>) -> String {
    let found = (&walk.target, &walk.action, &walk.payload_action, &walk.sql, &walk.payload, walk.pending());
    format!("{read:?} {found:?}")
}

fn by_serde(fields: &Fields, text: &str, role: Role) -> String {
    let mut walk = Walk::new(text.as_bytes(), fields);
    let mut json = serde_json::Deserializer::from_str(text);
    let node = Node { walk: &mut walk, role, under: Under::Nothing };
    let read = node.deserialize(&mut json).and_then(|()| json.end());
    match (read, walk.failure.take()) {
        (Ok(()), None) => told(&walk, Ok(())),
        (_, failure) => format!("{failure:?}"),
    }
}

/// Nothing, if it is left to `serde_json`.
fn quickly(fields: &Fields, text: &str, role: Role) -> Option<String> {
    let mut walk = Walk::new(text.as_bytes(), fields);
    match read(&mut walk, Text::of(text.as_bytes()).unwrap(), role) {
        Ok(()) => Some(told(&walk, Ok(()))),
        Err(Stop::Refused(failure)) => Some(format!("{:?}", Some(*failure))),
        Err(Stop::Unread) => None,
    }
}

fn agree(text: &str) {
    let fields = fields();
    for role in [Role::Root, Role::Payload] {
        if let Some(quick) = quickly(&fields, text, role) {
            assert_eq!(quick, by_serde(&fields, text, role), "{text}");
        }
    }
}

#[test]
fn what_most_callers_write_is_read_at_once() {
    for text in [
        r#"{"target":"a"}"#,
        " {\n\t\"target\" : \"a\" , \r\n \"payload\" : [ ] }\n",
        r#"{"target":"a","payload":{"x":[1,-0,0.5,-12.75,1e5,123456789012345678901234567890123,true,false,null,"é",{}]}}"#,
        r#"{"target":"a","payload":"a \n \"b\" é \ud83d\ude00 \\","n\u0061me":1,"action":null}"#,
        r#"{"target":"a","payload":"[\"sql\",{\"sql\":\"drop\"}]","operation":["select",1,2.5]}"#,
        include_str!("../../../../benches/data/body500.json"),
        include_str!("../../../../benches/data/body64k.json"),
    ] {
        assert!(quickly(&fields(), text, Role::Root).is_some_and(|told| told.starts_with("Ok")), "{text}");
        agree(text);
    }
}

#[test]
fn objects_of_nothing_but_strings_are_read_as_any_others() {
    let items = |item: &str| format!(r#"{{"target":"t","payload":{{"items":[{{"k":"market look","v":"recent vector"}},{item}]}}}}"#);
    for (item, told) in [
        (r#"{ "k" : "market look" , "v" : "8 drop" }"#, "Ok"),
        (r#"{"k":"market look","v":"drop table a"}"#, "/payload/items/1/v"),
        (r#"{"v":"drop table a","k":"market look"}"#, "/payload/items/1/v"),
        (r#"{"k":"market look","sql":"market look"}"#, "/payload/items/1/sql"),
        (r#"{"k":"market look","prompt":"drop table a"}"#, "Ok"),
        (r#"{"ka":"market look","kb":"recent"}"#, "Ok"),
        (r#"{"k":"market look","k":"recent vector"}"#, "/payload/items/1/k stands there more than once"),
        (r#"{"k":"market look","v":"plan","k":"recent vector"}"#, "/payload/items/1/k stands there more than once"),
        (r#"{"$serde_json::private::x":"market look"}"#, "has a reserved name"),
        (r#"{"k":"market look","v":"\u0064rop table a"}"#, "/payload/items/1/v"),
        (r#"{"":"market look"}"#, "Ok"),
        ("{}", "Ok"),
    ] {
        let text = items(item);
        assert!(quickly(&fields(), &text, Role::Root).is_some_and(|quick| quick.contains(told)), "{text}");
        agree(&text);
    }
    for item in [
        r#"{"k":"market look",}"#,
        r#"{"k":"market look" "v":"plan"}"#,
        r#"{"k" "market look"}"#,
        r#"{"k":"market look"]"#,
        r#"{"k":"market"#,
    ] {
        assert_eq!(quickly(&fields(), &items(item), Role::Root), None, "{item}");
    }
    let deep = |arrays: usize| format!("{}{}{}", "[".repeat(arrays), r#"{"k":"market look"}"#, "]".repeat(arrays));
    assert!(quickly(&fields(), &deep(63), Role::Payload).is_some());
    assert_eq!(quickly(&fields(), &deep(64), Role::Payload), None);
}

#[test]
fn what_is_refused_is_refused_in_the_same_words() {
    for (text, why) in [
        ("[]", "must be a JSON object"),
        ("\"a\"", "must be a JSON object"),
        ("-1", "must be a JSON object"),
        (r#"{"target":1}"#, "must be a string"),
        (r#"{"target":""}"#, "must not be empty"),
        (r#"{"action":{}}"#, "must be a string or null"),
        (r#"{"a":1,"b":2,"a":3}"#, "more than once"),
        (r#"{"a":{"b":1,"\u0062":2}}"#, "more than once"),
        (r#"{"$serde_json::private::RawValue":1}"#, "reserved"),
    ] {
        assert!(quickly(&fields(), text, Role::Root).is_some_and(|told| told.contains(why)), "{text}");
        agree(text);
    }
}

#[test]
fn what_is_no_json_is_left_to_whoever_says_so() {
    let deep = format!("{}1{}", "[".repeat(65), "]".repeat(65));
    for text in [
        "",
        " ",
        "{",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,",
        "{\"a\":1,}",
        "{,}",
        "{a:1}",
        "{\"a\" 1}",
        "{\"a\":1 \"b\":2}",
        "{\"a\":1}}",
        "{\"a\":1} x",
        "{\"a\":[1,]}",
        "{\"a\":[1 2]}",
        "{\"a\":[}",
        "{\"a\":01}",
        "{\"a\":1.}",
        "{\"a\":.5}",
        "{\"a\":-}",
        "{\"a\":+1}",
        "{\"a\":1e}",
        "{\"a\":1.5.3}",
        "{\"a\":1e999}",
        "{\"a\":tru}",
        "{\"a\":truex}",
        "{\"a\":NaN}",
        "{\"a\":\"}",
        "{\"a\":\"\\",
        "{\"a\":\"\\\"}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\\é\"}",
        "{\"a\":\"\\ud800\"}",
        "{\"a\":\"b\nc\"}",
        "{\"a\":\"b\u{1}c\"}",
        "{\"a\u{1f}\":1}",
        "\u{a0}{}",
        deep.as_str(),
    ] {
        assert_eq!(quickly(&fields(), text, Role::Payload), None, "{text}");
    }
}

/// JSON in pieces, most of which belong where they come.
fn pieces() -> impl Strategy<Value = String> {
    let string = prop_oneof![
        "[a-z ;'é]{0,20}",
        r#"(\\n|\\"|\\\\|\\u00[0-7][0-9a-f]|\\ud83d\\ude00|\\ud800|\\x|\\|x|é){0,4}"#,
        select(vec!["drop table a", "select 1", "[1, \\\"drop\\\"]", "{\\\"sql\\\":\\\"drop\\\"}", "\u{1}", "\n", "''"])
            .prop_map(str::to_owned),
    ]
    .prop_map(|text| format!("\"{text}\""))
    .boxed();
    let number = prop_oneof![
        "-?[0-9]{1,3}([.][0-9]{0,3})?([eE][+-]?[0-9]{0,3})?",
        select(vec!["1e400", "-0", "12345678901234567890123", "1.5.2", "-", "+1"]).prop_map(str::to_owned),
    ];
    let leaf = prop_oneof![6 => string.clone(), 3 => number, 2 => select(vec!["true", "false", "null", "nul", "True", "", "{", "]"]).prop_map(str::to_owned)];
    let names =
        vec!["target", "action", "payload", "operation", "sql", "prompt", "notes", "code", "a", "b", "\\u0061", "$serde_json::private::x"];
    let name = prop_oneof![8 => select(names).prop_map(|name| format!("\"{name}\"")), 1 => string].boxed();
    let blank = || select(vec!["", "", "", " ", "\n\t", "\r\n", "\u{b}"]);
    leaf.prop_recursive(5, 32, 5, move |inner| {
        prop_oneof![
            (prop::collection::vec(inner.clone(), 0..5), blank()).prop_map(|(items, blank)| format!("[{blank}{}{blank}]", items.join(","))),
            (prop::collection::vec((name.clone(), blank(), inner), 0..11), blank()).prop_map(|(members, blank)| {
                let members: Vec<String> =
                    members.into_iter().map(|(name, around, value)| format!("{name}{around}:{around}{value}")).collect();
                format!("{{{blank}{}{blank}}}", members.join(","))
            }),
        ]
    })
}

fn bodies() -> impl Strategy<Value = String> {
    let envelope = (pieces(), pieces()).prop_map(|(payload, other)| format!(r#"{{"target":"t","payload":{payload},"operation":{other}}}"#));
    let whole = prop_oneof![pieces(), envelope].boxed();
    let damaged = (whole.clone(), any::<prop::sample::Index>(), "[]\\[{}\",:\\\\0-9eE.+\u{0}-\u{20}a-zé-]{0,2}", 0..3_usize).prop_map(
        |(text, at, put, cut)| {
            let chars: Vec<char> = text.chars().collect();
            let at = at.index(chars.len() + 1);
            chars.iter().take(at).copied().chain(put.chars()).chain(chars.iter().skip(at + cut).copied()).collect()
        },
    );
    prop_oneof![whole, damaged]
}

proptest! {
    // Small bodies, and many: so a reader that takes what it must not is found out.
    #![proptest_config(ProptestConfig::with_cases(8192))]

    #[test]
    fn what_is_read_at_once_is_what_serde_json_reads(text in bodies()) {
        agree(&text);
    }
}
