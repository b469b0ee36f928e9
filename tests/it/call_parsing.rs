//! What callers rely on when their call is read: every way of showing credentials is understood in exactly one way; a body that two
//! readers could understand differently is refused; what is refused says where and why, and never repeats what stood there.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use eliza_gatekeeper::call::{Brought, Contents, Envelope, Fields, Head, Path};
use eliza_gatekeeper::clock::Timestamp;
use eliza_gatekeeper::identity::{Action, CallId, SourceName};
use eliza_gatekeeper::verdict::Failure;
use http::{HeaderMap, HeaderName, HeaderValue, Version};
use proptest::prelude::*;

use crate::invariants;

type Lines<'a> = &'a [(&'a str, &'a [u8])];

fn head_of(version: Version, lines: Lines<'_>) -> Result<Head, Failure> {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_bytes(value).unwrap());
    }
    Head::parse(&headers, version, CallId::new(), Timestamp::from_secs(0), IpAddr::from([127, 0, 0, 1]), None)
}

/// The credentials of a head that is fine otherwise: key, source, bearer, apikey.
fn shown(lines: Lines<'_>) -> [Option<String>; 4] {
    let shown = head_of(Version::HTTP_2, lines).unwrap().credentials;
    let reveal = |secret: Option<eliza_gatekeeper::identity::Secret>| secret.map(|secret| secret.reveal().to_owned());
    [reveal(shown.eliza_key), shown.eliza_source.map(|source| source.to_string()), reveal(shown.bearer), reveal(shown.apikey)]
}

#[test]
fn every_form_of_credentials_has_one_reading() {
    let long = vec![b'k'; 4097];
    let cases: [(&str, Lines<'_>, [Option<&str>; 4]); 20] = [
        ("nothing", &[], [None; 4]),
        ("key and source", &[("x-eliza-key", b"k1"), ("x-eliza-source", b"s1")], [Some("k1"), Some("s1"), None, None]),
        ("names in any case", &[("X-Eliza-Key", b"k1"), ("X-ELIZA-SOURCE", b"s1")], [Some("k1"), Some("s1"), None, None]),
        ("underscores are other names", &[("x_eliza_key", b"k1"), ("x_eliza_source", b"s1")], [None; 4]),
        ("bearer", &[("authorization", b"Bearer t1")], [None, None, Some("t1"), None]),
        ("scheme in any case", &[("authorization", b"bEARER   t1")], [None, None, Some("t1"), None]),
        ("a token is whole", &[("authorization", b"Bearer xxt1yy")], [None, None, Some("xxt1yy"), None]),
        ("even with blanks", &[("authorization", b"Bearer t1 t2")], [None, None, Some("t1 t2"), None]),
        ("another scheme", &[("authorization", b"Basic t1")], [None; 4]),
        ("a longer scheme", &[("authorization", b"BearerX t1")], [None; 4]),
        ("no scheme", &[("authorization", b"t1")], [None; 4]),
        ("no token", &[("authorization", b"Bearer ")], [None; 4]),
        ("unreadable token", &[("authorization", b"Bearer t\xC3\xA9")], [None; 4]),
        ("apikey", &[("apikey", b"t1")], [None, None, None, Some("t1")]),
        ("long apikey", &[("apikey", &long)], [None; 4]),
        ("an empty key is a wrong key", &[("x-eliza-key", b"")], [Some("\0"), None, None, None]),
        ("an unreadable key too", &[("x-eliza-key", b"k\xFF")], [Some("\0"), None, None, None]),
        ("and a long one", &[("x-eliza-key", &long)], [Some("\0"), None, None, None]),
        ("an unreadable source is kept for the record", &[("x-eliza-source", b"s\xFF\t")], [None, Some("s\u{FFFD}\u{FFFD}"), None, None]),
        ("an empty source is none", &[("x-eliza-source", b"")], [None; 4]),
    ];
    for (why, lines, wanted) in cases {
        assert_eq!(shown(lines), wanted.map(|text| text.map(str::to_owned)), "{why}");
    }
}

#[test]
fn a_cut_source_passes_for_no_name() {
    let [_, source, ..] = shown(&[("x-eliza-source", "a".repeat(200).as_bytes())]);
    let source = source.unwrap();
    assert!(source.starts_with(&"a".repeat(125)) && source.len() <= 128);
    assert_eq!(SourceName::parse(&source), None);
}

#[test]
fn headers_that_can_be_read_twice_are_refused() {
    let host: (&str, &[u8]) = ("host", b"a");
    let cases: [(Version, Lines<'_>, Option<&str>); 17] = [
        (Version::HTTP_11, &[host], None),
        (Version::HTTP_11, &[], Some("Host is missing")),
        (Version::HTTP_11, &[host, host], Some("Host is repeated")),
        (Version::HTTP_10, &[], None),
        (Version::HTTP_10, &[host, host], Some("Host is repeated")),
        (Version::HTTP_2, &[], None),
        (Version::HTTP_2, &[("x-eliza-key", b"a"), ("x-eliza-key", b"a")], Some("an x-eliza-* header is repeated")),
        (Version::HTTP_2, &[("x-eliza-source", b"a"), ("X-Eliza-Source", b"b")], Some("an x-eliza-* header is repeated")),
        (Version::HTTP_2, &[("x-eliza-new", b"a"), ("x-eliza-new", b"b")], Some("an x-eliza-* header is repeated")),
        (Version::HTTP_2, &[("x_eliza_key", b"a"), ("x_eliza_key", b"b")], None),
        (Version::HTTP_2, &[("authorization", b"a"), ("authorization", b"b")], Some("Authorization is repeated")),
        (Version::HTTP_2, &[("apikey", b"a"), ("apikey", b"b")], Some("apikey is repeated")),
        (Version::HTTP_2, &[("x-eliza-hops", b"3")], None),
        (Version::HTTP_2, &[("x-eliza-hops", b"256")], Some("x-eliza-hops is not a number from 0 to 255")),
        (Version::HTTP_2, &[("x-eliza-hops", b"+1")], Some("x-eliza-hops is not a number from 0 to 255")),
        (Version::HTTP_2, &[("x-eliza-hops", b"")], Some("x-eliza-hops is not a number from 0 to 255")),
        (Version::HTTP_2, &[("accept", b"a"), ("accept", b"b")], None),
    ];
    for (version, lines, wanted) in cases {
        let got = match head_of(version, lines) {
            Ok(_) => None,
            Err(Failure::AmbiguousHeaders(kind)) => Some(kind),
            Err(other) => panic!("{other:?}"),
        };
        assert_eq!(got, wanted, "{version:?} {lines:?}");
    }
    assert_eq!(head_of(Version::HTTP_2, &[("x-eliza-hops", b"3")]).unwrap().hops, 3);
}

#[test]
fn a_trace_goes_on_with_a_span_of_its_own() {
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const PARENT: &str = "b7ad6b7169203331";
    let goes_on = |flags| format!("00-{TRACE}-{PARENT}-{flags}");
    let cases = [
        (vec![goes_on("01")], Some(1)),
        (vec![goes_on("00")], Some(0)),
        (vec![goes_on("ff")], Some(1)),
        (vec![format!("cc-{TRACE}-{PARENT}-01-what-comes-later")], Some(1)),
        (vec![format!("cc-{TRACE}-{PARENT}-01")], Some(1)),
        (vec![format!("{}-x", goes_on("01"))], None),
        (vec![format!("{}-", goes_on("01"))], None),
        (vec![format!("cc-{TRACE}-{PARENT}-01.x")], None),
        (vec![format!("ff-{TRACE}-{PARENT}-01")], None),
        (vec![goes_on("01").to_uppercase()], None),
        (vec![goes_on("1")], None),
        (vec![format!("00-{}-{PARENT}-01", "0".repeat(32))], None),
        (vec![format!("00-{TRACE}-{}-01", "0".repeat(16))], None),
        (vec![format!("00-{TRACE}-01")], None),
        (vec![goes_on("01"), goes_on("01")], None),
        (vec![String::new()], None),
    ];
    for (values, flags) in cases {
        let lines: Vec<(&str, &[u8])> = values.iter().map(|value| ("traceparent", value.as_bytes())).collect();
        let trace = head_of(Version::HTTP_2, &lines).unwrap().trace;
        match flags {
            Some(flags) => {
                let sent = String::from_utf8(trace.traceparent().to_vec()).unwrap();
                assert!(sent.starts_with(&format!("00-{TRACE}-")) && sent.ends_with(&format!("-{flags:02x}")), "{sent} for {values:?}");
                assert!(!sent.contains(PARENT));
            }
            None => assert_ne!(format!("{:032x}", trace.trace_id), TRACE, "{values:?}"),
        }
    }
}

fn parse(body: impl AsRef<[u8]>) -> Result<Envelope, Failure> {
    Envelope::parse(
        Bytes::copy_from_slice(body.as_ref()),
        &Fields { sql: ["operation", "sql", "query"].map(str::to_owned).to_vec(), ..Fields::default() },
    )
}

#[test]
fn each_flaw_of_a_body_has_its_failure() {
    let deep = |levels: usize| format!(r#"{{"target":"t","payload":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
    let utf16: Vec<u8> = r#"{"target":"t"}"#.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let utf32: Vec<u8> = r#"{"target":"t"}"#.chars().flat_map(|c| u32::from(c).to_be_bytes()).collect();
    let long = "a".repeat(129);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("invalid_json: the body is empty", b"".to_vec()),
        ("invalid_json: the body is empty", b" \r\n".to_vec()),
        ("invalid_json: EOF while parsing an object at line 1, column 13", br#"{"target":"t""#.to_vec()),
        ("invalid_json: expected `,` or `}` at line 2, column 1", b"{\"target\":\"t\"\n\"secret\":1}".to_vec()),
        ("invalid_json: trailing characters at line 1, column 16", br#"{"target":"t"} secret"#.to_vec()),
        ("invalid_json: trailing comma at line 1, column 15", br#"{"target":"t",}"#.to_vec()),
        ("invalid_json: expected value at line 1, column 25", br#"{"target":"t","payload":NaN}"#[..].to_vec()),
        ("invalid_json: not UTF-8 from byte 11 on", b"{\"target\":\"\xFF\"}".to_vec()),
        ("invalid_json: unexpected end of hex escape at line 1, column 32", br#"{"target":"t","payload":"\uD800"}"#.to_vec()),
        ("invalid_json: number out of range at line 1, column 29", br#"{"target":"t","payload":1e999}"#.to_vec()),
        ("invalid_json: recursion limit exceeded at line 1, column 151", deep(127).into_bytes()),
        ("fine", deep(126).into_bytes()),
        ("invalid_envelope: the body must be a JSON object", b"[]".to_vec()),
        ("invalid_envelope: the body must be a JSON object", b"\"secret\"".to_vec()),
        ("invalid_envelope: the body must be a JSON object", b"null".to_vec()),
        ("invalid_envelope: the body must be a JSON object", b"1".to_vec()),
        ("invalid_envelope: \"target\" is missing", b"{}".to_vec()),
        ("invalid_envelope: \"target\" is missing", br#"{"Target":"t"}"#.to_vec()),
        ("invalid_envelope: \"target\" must not be empty", br#"{"target":""}"#.to_vec()),
        ("invalid_envelope: \"target\" must be a string", br#"{"target":null}"#.to_vec()),
        ("invalid_envelope: \"target\" must be a string", br#"{"target":{"a":1}}"#.to_vec()),
        ("invalid_envelope: \"target\" must be a string", br#"{"target":["t"]}"#.to_vec()),
        ("invalid_envelope: \"action\" must be a string or null", br#"{"target":"t","action":7}"#.to_vec()),
        ("invalid_envelope: \"action\" must be a string or null", br#"{"target":"t","action":{}}"#.to_vec()),
        (
            "invalid_envelope: \"action\" must be at most 128 bytes without control characters",
            format!(r#"{{"target":"t","action":"{long}"}}"#).into_bytes(),
        ),
        (
            "invalid_envelope: \"action\" must be at most 128 bytes without control characters",
            br#"{"target":"t","action":"a\u0000"}"#.to_vec(),
        ),
        ("ambiguous_body: the body begins with a byte order mark; send UTF-8 without one", b"\xEF\xBB\xBF{\"target\":\"t\"}".to_vec()),
        ("ambiguous_body: the body begins with a byte order mark; send UTF-8 without one", [b"\xFF\xFE", &utf16[..]].concat()),
        ("ambiguous_body: the body looks like UTF-16 or UTF-32; send UTF-8", utf16),
        ("ambiguous_body: the body looks like UTF-16 or UTF-32; send UTF-8", utf32),
        ("ambiguous_body: the member at /target stands there more than once", br#"{"target":"t","a":1,"target":"u"}"#.to_vec()),
        ("ambiguous_body: the member at /target stands there more than once", br#"{"target":"t","\u0074arget":"t"}"#.to_vec()),
        (
            "ambiguous_body: the member at /other/0/a~1~0 stands there more than once",
            br#"{"target":"t","other":[{"a/~":1,"a/~":1}]}"#.to_vec(),
        ),
        (
            "ambiguous_body: the member at /payload/x/y stands there more than once",
            br#"{"payload":{"x":{"y":1,"y":1}},"target":"t"}"#.to_vec(),
        ),
        (
            "ambiguous_body: the member at /payload/$serde_json::private::RawValue has a reserved name",
            br#"{"target":"t","payload":{"$serde_json::private::RawValue":"{\"sql\":\"DROP TABLE t\"}"}}"#.to_vec(),
        ),
        ("fine", br#"{"target":"t","payload":{"target":"t","a":{"a":1}},"a":1,"unknown":true,"operation":null,"action":null}"#.to_vec()),
        ("fine", br#"{"target":"t","action":""}"#.to_vec()),
    ];
    for (wanted, body) in cases {
        let got = match parse(&body) {
            Ok(_) => "fine".to_owned(),
            Err(failure) => {
                let code = failure.code();
                match failure {
                    Failure::InvalidJson { what } | Failure::InvalidEnvelope { what } | Failure::AmbiguousBody { what } => {
                        assert!(!what.contains("secret"));
                        format!("{code}: {what}")
                    }
                    other => panic!("{other:?}"),
                }
            }
        };
        assert_eq!(got, wanted, "{}", String::from_utf8_lossy(&body));
    }
}

#[test]
fn many_members_are_still_compared() {
    let members: Vec<String> = (0..5000).map(|n| format!(r#""{n}":0"#)).collect();
    assert!(parse(format!(r#"{{"target":"t",{}}}"#, members.join(","))).is_ok());
    let twice = parse(format!(r#"{{"target":"t",{},"4321":0}}"#, members.join(",")));
    assert_eq!(twice.unwrap_err(), Failure::AmbiguousBody { what: "the member at /4321 stands there more than once".to_owned() });
}

#[test]
fn a_payload_keeps_its_own_bytes() {
    let cases = [
        (r#"{"target":"t"}"#, None),
        (r#"{"target":"t","payload":null}"#, None),
        (r#"{"target":"t","payload": {"b" : 1.50, "a":"\u0041"} ,"x":1}"#, Some(r#"{"b" : 1.50, "a":"\u0041"}"#)),
        (r#"{"payload":[1 , 2],"target":"t"}"#, Some("[1 , 2]")),
        (r#"{"p\u0061yload":false,"target":"t"}"#, Some("false")),
        (r#"{"payload":"","target":"t"}"#, Some("\"\"")),
    ];
    for (body, payload) in cases {
        let envelope = parse(body).unwrap();
        assert_eq!(envelope.payload.as_deref(), payload.map(str::as_bytes), "{body}");
        assert_eq!(envelope.whole, body);
    }
}

#[test]
fn the_payloads_own_action_is_seen() {
    let long = "a".repeat(200);
    let cut = format!("{}…", "a".repeat(125));
    let cases = [
        (r#"{"action":"b"}"#.to_owned(), Some("b")),
        (r#"{"action":""}"#.to_owned(), None),
        (r#"{"action":7}"#.to_owned(), None),
        (r#"{"x":{"action":"b"}}"#.to_owned(), None),
        (r#"[{"action":"b"}]"#.to_owned(), None),
        (r#"{"action":"b\u0000"}"#.to_owned(), Some("b\u{FFFD}")),
        (format!(r#"{{"action":"{long}"}}"#), Some(cut.as_str())),
    ];
    for (payload, wanted) in cases {
        let envelope = parse(format!(r#"{{"target":"t","action":"a","payload":{payload}}}"#)).unwrap();
        assert_eq!(envelope.payload_action.as_ref().map(Action::as_str), wanted, "{payload}");
        assert_eq!(envelope.action.as_ref().map(Action::as_str), Some("a"));
    }
}

#[test]
fn sql_is_found_wherever_it_stands() {
    let cases: [(&str, &[(&str, &str)]); 14] = [
        (r#"{"target":"t","operation":"A"}"#, &[("/operation", "A")]),
        (
            r#"{"target":"t","operation":"A","payload":{"sql":"B","query":"C"}}"#,
            &[("/operation", "A"), ("/payload/sql", "B"), ("/payload/query", "C")],
        ),
        (r#"{"target":"t","payload":{"SQL":"A","Qu\u0065ry":"B"}}"#, &[("/payload/SQL", "A"), ("/payload/Query", "B")]),
        (r#"{"target":"t","payload":{"x":[0,{"y/~":{"sql":"A"}}]}}"#, &[("/payload/x/1/y~1~0/sql", "A")]),
        (r#"{"target":"t","payload":[{"sql":"A"}]}"#, &[("/payload/0/sql", "A")]),
        (
            r#"{"target":"t","payload":{"sql":["A",1,"B"]}}"#,
            &[("/payload/sql/0", "A"), ("/payload/sql/2", "B"), ("/payload/sql", "A 1 B"), ("/payload/sql", "A1B")],
        ),
        (
            r#"{"target":"t","payload":{"sql":["A--","B"]}}"#,
            &[
                ("/payload/sql/0", "A--"),
                ("/payload/sql/1", "B"),
                ("/payload/sql", "A-- B"),
                ("/payload/sql", "A--\nB"),
                ("/payload/sql", "A--B"),
            ],
        ),
        (
            r#"{"target":"t","payload":{"sql":[["A"],["B",{"x":"C"}]]}}"#,
            &[
                ("/payload/sql/0/0", "A"),
                ("/payload/sql/1/0", "B"),
                ("/payload/sql/1/1/x", "C"),
                ("/payload/sql", "A B"),
                ("/payload/sql", "AB"),
            ],
        ),
        (r#"{"target":"t","payload":{"sql":["A"]}}"#, &[("/payload/sql/0", "A")]),
        (r#"{"target":"t","payload":{"sql":{"text":"A","values":["B"]}}}"#, &[("/payload/sql/text", "A"), ("/payload/sql/values/0", "B")]),
        (r#"{"target":"t","operation":{"a":{"b":"A"}}}"#, &[("/operation/a/b", "A")]),
        (r#"{"target":"t","sql":"A","other":{"query":"B"}}"#, &[("/sql", "A"), ("/other/query", "B")]),
        (r#"{"target":"t","payload":{"sql":" ","query":7,"operation":null}}"#, &[]),
        (r#"{"target":"t","action":"A","payload":{"sqls":"B","text":"C"}}"#, &[]),
    ];
    for (body, wanted) in cases {
        let sql = parse(body).unwrap().sql;
        let got: Vec<(&str, &str)> = sql.iter().map(|text| (text.pointer.as_str(), text.text.as_str())).collect();
        assert_eq!(got, wanted, "{body}");
    }
}

#[test]
fn what_is_gathered_is_bounded() {
    let items = |count: usize| format!(r#"{{"target":"t","operation":[{}]}}"#, vec!["\"a\""; count].join(","));
    assert_eq!(parse(items(16_382)).unwrap().sql.len(), 16_384);
    assert_eq!(parse(items(16_383)).unwrap_err().code(), "invalid_envelope");
    let text = |bytes: usize| format!(r#"{{"target":"t","payload":{{"sql":"{}"}}}}"#, "a".repeat(bytes));
    assert!(parse(text(4 << 20)).is_ok());
    assert_eq!(parse(text((4 << 20) + 1)).unwrap_err().code(), "invalid_envelope");
    let deep = format!(r#"{{"target":"t","operation":{}"{}","b"{}}}"#, "[".repeat(100), "a".repeat(60_000), "]".repeat(100));
    assert_eq!(parse(deep).unwrap_err().code(), "invalid_envelope", "what is joined again at every depth counts too");
    let name = "n".repeat(100_000);
    let envelope = parse(format!(r#"{{"target":"{name}","payload":{{"{name}":{{"sql":"A"}}}}}}"#)).unwrap();
    assert!(envelope.sql[0].pointer.len() <= 256 && envelope.target.len() <= 128);
}

/// Were the name looked at for each of them, this would take minutes.
#[test]
fn what_stands_under_a_name_of_megabytes_is_read_as_fast_as_any() {
    let fields = Fields { sql: vec!["sql".into()], prose: vec![Path::parse("messages[].content").unwrap()], ..Fields::default() };
    let items = vec![r#"{"content":"hello"},"drop table a""#; 16_000].join(",");
    let began = Instant::now();
    for (name, shown) in [("n".repeat(4 << 20), "n".repeat(253)), ("é".repeat(2 << 20), "é".repeat(126))] {
        let body = format!(r#"{{"target":"brain","payload":{{"sub":{{"{name}":[{items}]}}}}}}"#);
        let sql = Envelope::parse(body.into(), &fields).unwrap().sql;
        let pointer = format!("/payload/sub/{shown}");
        assert!(
            sql.len() == 16_000 && sql.iter().all(|text| pointer.starts_with(text.pointer.trim_end_matches('…'))),
            "{}",
            sql[0].pointer
        );
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

/// Were each looked through to the end, this would take minutes.
#[test]
fn values_with_nothing_between_them_are_read_one_after_the_other() {
    let fields = Fields { sql: vec!["sql".into()], ..Fields::default() };
    let body = format!("1 {}[\"drop table a\"]", "[NaN]".repeat(200_000));
    let began = Instant::now();
    let contents = Contents::read(Brought { body: body.as_bytes(), is_form: false, query: None }, "brain", &fields).unwrap();
    assert_eq!(contents.sql.iter().map(|text| text.text.as_str()).collect::<Vec<_>>(), ["drop table a"]);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

/// JSON text with all that makes it hard: names that repeat, escapes, odd blanks, nesting, numbers of every kind, and now and then a flaw.
fn json() -> impl Strategy<Value = String> {
    let string = prop_oneof![
        8 => "[a-z ;'-]{0,6}".prop_map(|text| format!("\"{text}\"")),
        8 => r#"(\\u00[0-7][0-9a-f]|\\n|\\"|\\ud83d\\ude00|é|/|~|x){0,4}"#.prop_map(|text| format!("\"{text}\"")),
        8 => prop::sample::select(vec!["\"DROP TABLE t\"", "\"--\"", "\"\""]).prop_map(str::to_owned),
    ]
    .boxed();
    let flaw = prop::sample::select(vec!["\"\\ud800\"", "1e999", "01", "+1", "nul", ""]);
    let leaf = prop_oneof![
        20 => string.clone(),
        20 => prop::sample::select(vec!["null", "true", "false", "0", "-0.0", "1e5", "12345678901234567890"]).prop_map(str::to_owned),
        1 => flaw.prop_map(str::to_owned),
    ];
    let name = prop_oneof![
        20 => prop::sample::select(vec!["sql", "SQL", "query", "operation", "action", "payload", "target", "a", "\\u0061", "b", "c/d~", "ſql"])
            .prop_map(|name| format!("\"{name}\"")),
        20 => string,
        1 => Just("\"$serde_json::private::RawValue\"".to_owned()),
    ]
    .boxed();
    leaf.prop_recursive(5, 24, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(|items| format!("[{}]", items.join(" , "))),
            prop::collection::vec((name.clone(), inner), 0..4).prop_map(|members| {
                let members: Vec<String> = members.into_iter().map(|(name, value)| format!("{name}:\t{value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let envelope = (json(), json(), json())
        .prop_map(|(payload, operation, other)| {
            format!(r#"{{"target":"t","payload":{payload},"operation":{operation},"other":{other}}}"#).into_bytes()
        })
        .boxed();
    let damaged = (envelope.clone(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(mut body, at, byte)| {
        let at = at.index(body.len());
        body[at] = byte;
        body
    });
    prop_oneof![3 => envelope, 2 => damaged, 1 => json().prop_map(String::into_bytes), 1 => prop::collection::vec(any::<u8>(), 0..40)]
}

fn header_lines() -> impl Strategy<Value = Vec<u8>> {
    let name = prop::sample::select(vec![
        "host",
        "x-eliza-key",
        "X-Eliza-Source",
        "x_eliza_key",
        "x-eliza-hops",
        "x-eliza-other",
        "authorization",
        "apikey",
        "traceparent",
    ]);
    let value = prop_oneof![
        "[ -~]{0,20}".prop_map(String::into_bytes),
        "(Bearer|bearer|Basic)[ ]{0,2}[a-z ]{0,8}".prop_map(String::into_bytes),
        "[+-]?[0-9]{1,4}".prop_map(String::into_bytes),
        "(00|01|ff)-[0-9a-f]{32}-[0-9a-f]{16}-0[0-9](-x)?".prop_map(String::into_bytes),
        "[a-zé]{100,200}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..20),
    ];
    (any::<u8>(), prop::collection::vec((name, value), 0..6)).prop_map(|(version, lines)| {
        let mut data = vec![version];
        for (name, value) in lines {
            data.extend_from_slice(name.as_bytes());
            data.push(b':');
            data.extend(value);
            data.push(b'\n');
        }
        data
    })
}

proptest! {
    #[test]
    fn any_body_is_read_as_a_simple_reader_reads_it(body in body()) {
        invariants::envelope(&body);
    }

    #[test]
    fn any_headers_are_read_whole_or_not_at_all(data in header_lines()) {
        invariants::headers(&data);
    }
}
