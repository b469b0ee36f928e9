//! Every refusal that a caller can bring about with one request, as bytes on a connection, and the answer it must get. In order: a
//! row may need what an earlier one did.

use http::Method;
use serde_json::{Value, json};

use super::world::{EXPIRED, NOT_YET, REVOKED, SCOPED, SECRET_LITERAL, WRONG};
use crate::support::house::{KEY, SERVICE_KEY};

pub struct Row {
    pub name: String,
    pub says: Vec<u8>,
    pub status: u16,
    pub code: &'static str,
    pub error: &'static str,
    pub message: String,
    /// Members that the answer has beyond those of every refusal.
    pub members: Value,
    /// Headers that it has beyond those of every refusal; an empty text stands for any value.
    pub headers: Vec<(&'static str, &'static str)>,
    /// Members of the record's metadata; nothing where no record is kept.
    pub record: Option<Value>,
}

/// Status, code, error and message of a refusal.
type Words<'a> = (u16, &'static str, &'static str, &'a str);

const UNAUTHORIZED: Words<'_> = (401, "unauthorized", "Unauthorized", "Invalid Eliza credentials or untrusted source");
const POST_ONLY: Words<'_> = (405, "method_not_allowed", "Method not allowed", "This address answers POST, OPTIONS");
const GET_ONLY: Words<'_> = (405, "method_not_allowed", "Method not allowed", "This address answers GET, HEAD, OPTIONS");
const NOTHING: Words<'_> = (405, "method_not_allowed", "Method not allowed", "This address answers OPTIONS");
const NOWHERE: Words<'_> = (404, "no_such_address", "Not found", "Nothing answers at this address");

/// A call that is no refusal itself, but makes the next one possible.
pub const PASSES: u16 = 200;

type Headers<'a> = &'a [(&'a str, &'a str)];

const GEMINI: Headers<'_> = &[("x-eliza-key", KEY), ("x-eliza-source", "gemini-chat")];

const EXCHANGED: Headers<'_> = &[("x-eliza-key", "gemini-chat"), ("x-eliza-source", KEY)];

fn post(headers: Headers<'_>, body: impl AsRef<[u8]>) -> Vec<u8> {
    let length = body.as_ref().len().to_string();
    let framed = [&[("content-type", "application/json"), ("content-length", &length)], headers].concat();
    [request("POST", "/functions/v1/eliza-gatekeeper", &framed), body.as_ref().to_vec()].concat()
}

fn request(method: &str, path: &str, headers: Headers<'_>) -> Vec<u8> {
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("{method} {path} HTTP/1.1\r\nhost: gatekeeper.example\r\n{lines}\r\n").into_bytes()
}

fn to(target: &str) -> String {
    json!({"target": target, "payload": {"session_credentials": SECRET_LITERAL}}).to_string()
}

fn as_source(source: &str) -> [(&str, &str); 2] {
    [("x-eliza-key", KEY), ("x-eliza-source", source)]
}

fn row(name: impl Into<String>, says: Vec<u8>, (status, code, error, message): Words<'_>) -> Row {
    let (name, message, record) = (name.into(), message.to_owned(), json!({"status": status, "code": code}));
    Row { name, says, status, code, error, message, members: json!({}), headers: vec![], record: Some(record) }
}

impl Row {
    fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    fn records(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.record.as_mut().unwrap()[name] = value.into();
        self
    }

    fn unrecorded(mut self) -> Self {
        self.record = None;
        self
    }
}

pub fn all() -> Vec<Row> {
    let mut rows = credentials();
    rows.extend(permissions());
    rows.extend(sql());
    rows.extend(schema_operations());
    rows.extend(addresses());
    rows.extend(direct_calls());
    rows.extend(heads_and_bodies());
    rows.extend(limits());
    rows.extend(targets());
    rows
}

fn credentials() -> Vec<Row> {
    let (inside, bearer, basic) = (format!("xxx{SERVICE_KEY}yyy"), format!("Bearer {SERVICE_KEY}"), format!("Basic {SERVICE_KEY}"));
    let (bearer_inside, bearer_key, longer) = (format!("Bearer {inside}"), format!("Bearer {KEY}"), format!("{KEY}0"));
    let (bearer_wrong, upper) = (format!("Bearer {WRONG}"), KEY.to_uppercase());
    let source = ("x-eliza-source", "gemini-chat");
    let table: &[(&str, Headers<'_>, &str)] = &[
        ("no credentials", &[], "no_credentials"),
        ("no key", &[source], "key_missing"),
        ("wrong key", &[("x-eliza-key", WRONG), source], "wrong_key"),
        ("empty key", &[("x-eliza-key", ""), source], "wrong_key"),
        ("the key and more", &[("x-eliza-key", &longer), source], "wrong_key"),
        ("the key in another letter case", &[("x-eliza-key", &upper), source], "wrong_key"),
        ("the service key for a key", &[("x-eliza-key", SERVICE_KEY), source], "wrong_key"),
        ("no source", &[("x-eliza-key", KEY)], "source_missing"),
        ("empty source", &[("x-eliza-key", KEY), ("x-eliza-source", "")], "source_missing"),
        ("unlisted source", &[("x-eliza-key", KEY), ("x-eliza-source", "edge-function")], "unknown_source"),
        ("source in another letter case", &[("x-eliza-key", KEY), ("x-eliza-source", "Gemini-Chat")], "unknown_source"),
        ("two sources in one", &[("x-eliza-key", KEY), ("x-eliza-source", "gemini-chat, openai-chat")], "unknown_source"),
        ("wrong bearer alone", &[("authorization", &bearer_wrong)], "wrong_service_key"),
        ("wrong bearer and a source", &[("authorization", &bearer_wrong), source], "key_missing"),
        ("service key inside a bearer", &[("authorization", &bearer_inside)], "wrong_service_key"),
        ("service key inside an apikey", &[("apikey", &inside)], "wrong_service_key"),
        ("service key by another scheme", &[("authorization", &basic)], "no_credentials"),
        ("service key without a scheme", &[("authorization", SERVICE_KEY)], "no_credentials"),
        ("eliza key for a bearer", &[("authorization", &bearer_key)], "wrong_service_key"),
        ("wrong key beside the service key", &[("x-eliza-key", WRONG), source, ("authorization", &bearer)], "wrong_key"),
        ("unlisted source beside the service key", &[("x-eliza-key", KEY), ("authorization", &bearer)], "source_missing"),
        ("header names with underscores", &[("x_eliza_key", KEY), ("x_eliza_source", "gemini-chat")], "no_credentials"),
        ("key not yet valid", &[("x-eliza-key", NOT_YET), source], "key_not_yet_valid"),
        ("expired key", &[("x-eliza-key", EXPIRED), source], "key_expired"),
        ("revoked key", &[("x-eliza-key", REVOKED), source], "key_revoked"),
        ("key of another source", &[("x-eliza-key", SCOPED), source], "source_not_of_key"),
    ];
    let body = to("get-embedding");
    let mut rows: Vec<Row> =
        table.iter().map(|(name, headers, fault)| row(*name, post(headers, &body), UNAUTHORIZED).records("fault", *fault)).collect();
    // A key in the wrong header is not shown to whoever reads the records.
    let mut exchanged = vec![row("key and source exchanged", post(EXCHANGED, &body), UNAUTHORIZED).records("fault", "wrong_key")];
    exchanged.push(
        row("service key for a source", post(&[("x-eliza-source", SERVICE_KEY)], &body), UNAUTHORIZED).records("fault", "key_missing"),
    );
    rows.extend(exchanged.into_iter().map(|row| row.records("claimed_source", "(a key)")));
    rows
}

fn permissions() -> Vec<Row> {
    let scoped: Headers<'_> = &[("x-eliza-key", SCOPED), ("x-eliza-source", "lovable-chat")];
    let not_scoped = |target: &str| format!("This key is not valid for that action of '{target}'");
    let manager = |action: &str, payload: Value| json!({"target": "agent-manager", "action": action, "payload": payload}).to_string();
    let scope =
        |name: &str, body: String, target: &str| row(name, post(scoped, body), (403, "key_not_scoped", "Forbidden", &not_scoped(target)));
    vec![
        scope("key of another target", to("get-embedding"), "get-embedding"),
        scope("key of another action", manager("delete_task", json!({})), "agent-manager"),
        scope("key of another action, in the payload", manager("list_agents", json!({"action": "delete_task"})), "agent-manager"),
        scope("key of some action, and none", to("agent-manager"), "agent-manager"),
        row(
            "caller not allowed",
            post(GEMINI, to("guarded")),
            (403, "caller_not_allowed", "Forbidden", "This source may not call 'guarded'"),
        )
        .records("source", "gemini-chat"),
        row(
            "blocked network",
            post(&[GEMINI, &[("x-forwarded-for", "203.0.113.7")]].concat(), to("get-embedding")),
            (403, "network_blocked", "Forbidden", "Calls from this network are blocked"),
        )
        .records("source", "gemini-chat")
        .records("reason", "INC-4711"),
        row(
            "disabled source",
            post(&as_source("disabled-test"), to("get-embedding")),
            (403, "source_disabled", "Forbidden", "This source is disabled"),
        )
        .records("source", "disabled-test")
        .records("reason", "runs wild"),
    ]
}

fn sql() -> Vec<Row> {
    const DROP: &str = r"/DROP\s+TABLE/i";
    let brain = |members: Value| {
        let mut envelope = json!({"target": "get-embedding"});
        envelope.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        envelope
    };
    let delete = format!("DELETE FROM t WHERE name = '{SECRET_LITERAL}' OR true");
    let table = [
        ("operation", json!({"operation": "DROP TABLE users"}), DROP, "/operation"),
        ("payload.sql", json!({"payload": {"sql": "DROP TABLE users"}}), DROP, "/payload/sql"),
        ("payload.query", json!({"payload": {"query": "DROP TABLE users"}}), DROP, "/payload/query"),
        ("sql behind operation", json!({"operation": "SELECT 1", "payload": {"sql": "DROP TABLE users"}}), DROP, "/payload/sql"),
        (
            "query behind both",
            json!({"operation": "SELECT 1", "payload": {"sql": "SELECT 2", "query": "DROP TABLE u"}}),
            DROP,
            "/payload/query",
        ),
        ("deep in the payload", json!({"payload": {"steps": [{"args": {"sql": "DROP TABLE u"}}]}}), DROP, "/payload/steps/0/args/sql"),
        ("within a query object", json!({"payload": {"query": {"text": "DROP TABLE u"}}}), DROP, "/payload/query/text"),
        ("upper-case name", json!({"payload": {"SQL": "DROP TABLE u"}}), DROP, "/payload/SQL"),
        ("mixed-case name", json!({"payload": {"Query": "DROP TABLE u"}}), DROP, "/payload/Query"),
        ("array of statements", json!({"payload": {"sql": ["SELECT 1", "DROP TABLE u"]}}), DROP, "/payload/sql/1"),
        ("statement in an array's pieces", json!({"payload": {"query": ["DROP", "TABLE u"]}}), DROP, "/payload/query"),
        ("second statement", json!({"operation": "SELECT 1; drop /* x */ table users"}), DROP, "/operation"),
        ("DROP DATABASE", json!({"operation": "DROP DATABASE shop"}), r"/DROP\s+DATABASE/i", "/operation"),
        ("TRUNCATE", json!({"operation": "truncate users"}), "/TRUNCATE/i", "/operation"),
        ("DELETE of all rows", json!({"operation": "DELETE FROM users"}), r"/DELETE\s+FROM\s+\w+\s*;/i", "/operation"),
        ("DELETE with a hollow WHERE", json!({"payload": {"sql": delete}}), r"/DELETE\s+FROM\s+\w+\s*;/i", "/payload/sql"),
        ("ALTER DATABASE", json!({"operation": "ALTER DATABASE shop RENAME TO mine"}), r"/ALTER\s+DATABASE/i", "/operation"),
        ("DROP SCHEMA", json!({"operation": "DROP SCHEMA public CASCADE"}), r"/DROP\s+SCHEMA/i", "/operation"),
    ];
    let refused = |name: &str, headers: Headers<'_>, body: &Value, pattern: &str, pointer: &str| {
        let message = format!("Schema protection: {pattern} operations are not allowed");
        let words = (403, "dangerous_operation", "Dangerous operation blocked", message.as_str());
        let mut row = row(format!("SQL: {name}"), post(headers, body.to_string()), words).records("pattern", pattern);
        row.members = json!({"blocked_pattern": pattern, "pointer": pointer});
        row
    };
    let mut rows: Vec<Row> =
        table.into_iter().map(|(name, members, pattern, pointer)| refused(name, GEMINI, &brain(members), pattern, pointer)).collect();
    let drop = brain(json!({"operation": "DROP TABLE users"}));
    let bearer = format!("Bearer {SERVICE_KEY}");
    rows.push(refused("by the service role", &[("authorization", &bearer)], &drop, DROP, "/operation").records("source", "service_role"));
    rows
}

fn schema_operations() -> Vec<Row> {
    let alter = |table: &str| json!({"target": "get-embedding", "payload": {"sql": format!("ALTER TABLE {table} ADD a text DEFAULT '{SECRET_LITERAL}'")}});
    // The fixer's own call, which does not set the fixer off.
    let says = post(&as_source("autonomous-code-fixer"), alter("missing").to_string());
    let words = (400, "schema_rejected", "Schema validation failed", "relation \"missing\" does not exist");
    let mut rejected = row("rejected schema operation", says, words).records("reason", "relation \"missing\" does not exist");
    rejected.members = json!({"auto_fix_triggered": false});
    let words = "'schema-manager' could not validate this schema operation, so it is not carried out";
    let says = post(GEMINI, alter("puzzle").to_string());
    let unavailable = row("schema operation without a validator", says, (503, "validator_unavailable", "Validator unavailable", words));
    vec![rejected, unavailable.header("retry-after", "5").records("schema_check_fault", "status_500")]
}

fn addresses() -> Vec<Row> {
    let unknown = |name: &str| format!("Target '{name}' is not recognized by the gatekeeper");
    let not_found = |target: &str| {
        let body = json!({"target": target}).to_string();
        row(format!("target {target:?}"), post(GEMINI, body), (404, "unknown_target", "Unknown target", &unknown(target)))
            .records("target", target)
    };
    let mut rows: Vec<Row> = ["no-such-target", "Gemini-Chat", "agent-manager/../admin", "gemini-chat "].map(not_found).into();
    rows.push(row("POST to nowhere", request("POST", "/functions/v2/x", GEMINI), NOWHERE).unrecorded());
    rows.push(row("GET of nowhere", request("GET", "/metrics", &[]), NOWHERE).unrecorded());
    for path in ["/", "/functions/v1/eliza-gatekeeper"] {
        for method in [Method::GET, Method::PUT, Method::PATCH, Method::DELETE, Method::TRACE].iter().map(Method::as_str).chain(["BREW"]) {
            rows.push(row(format!("{method} {path}"), request(method, path, GEMINI), POST_ONLY).header("allow", "POST, OPTIONS"));
        }
    }
    for path in ["/livez", "/readyz", "/healthz", "/health", "/api/health", "/api/monitoring/health"] {
        for method in ["POST", "TRACE"] {
            let row = row(format!("{method} {path}"), request(method, path, &[]), GET_ONLY);
            rows.push(row.header("allow", "GET, HEAD, OPTIONS").unrecorded());
        }
    }
    rows.push(row("TRACE of nowhere", request("TRACE", "/nowhere", &[]), NOTHING).header("allow", "OPTIONS").unrecorded());
    let connect = b"CONNECT internal.example:443 HTTP/1.1\r\nhost: internal.example:443\r\n\r\n".to_vec();
    rows.push(row("CONNECT", connect, NOTHING).header("allow", "OPTIONS").unrecorded());
    rows
}

fn direct_calls() -> Vec<Row> {
    let direct = |method: &str, rest: &str, more: Headers<'_>| request(method, &format!("/functions/v1/{rest}"), &[GEMINI, more].concat());
    let address = |rest: &str, what: &str| {
        let message = format!("The address can be read as more than one target's: {what}");
        row(format!("address {rest:?}"), direct("GET", rest, &[]), (400, "bad_target", "Bad target", &message)).records("door", "direct")
    };
    let upgrade = "Target 'get-embedding' may be called over HTTP alone, for what another protocol carries cannot be judged; an operator can \
                   let it pass with inspect = \"skip\" at this target";
    let boxed = (0..10).fold("[\"x\"]".to_owned(), |text, _| json!([text]).to_string());
    let too_deep = "The body is beyond what is judged: JSON in strings of JSON more than 8 deep, at /0/0/0/0/0/0/0/0/0";
    let length = boxed.len().to_string();
    let length = [("content-length", length.as_str())];
    let all_methods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
    let all_but = format!("This address answers {all_methods}");
    vec![
        address("", "it names none"),
        address("/get-embedding", "it names none"),
        address("get-embedding%2Fx", "a slash, a backslash or a NUL is encoded in it"),
        address("get-embedding/../x", "its dot segments lead elsewhere"),
        row(
            "an upgrade",
            direct("GET", "get-embedding", &[("connection", "upgrade"), ("upgrade", "websocket")]),
            (403, "upgrade_not_allowed", "Upgrade not allowed", upgrade),
        )
        .records("method", "GET"),
        row(
            "more than is judged",
            [direct("PUT", "get-embedding", &length), boxed.into_bytes()].concat(),
            (400, "unjudgeable_body", "Body not judgeable", too_deep),
        ),
        row("TRACE of a target", direct("TRACE", "get-embedding", &[]), (405, "method_not_allowed", "Method not allowed", &all_but))
            .header("allow", all_methods),
    ]
}

fn heads_and_bodies() -> Vec<Row> {
    let fine = to("get-embedding");
    let head = |name: &str, says: Vec<u8>, what: &str| {
        let message = format!("The request's headers can be read in two ways: {what}");
        row(name, says, (400, "ambiguous_headers", "Ambiguous headers", &message))
    };
    let beside = |header: (&str, &str)| post(&[GEMINI, &[header]].concat(), &fine);
    let repeated = "an x-eliza-* header is repeated";
    let text = String::from_utf8(post(GEMINI, &fine)).unwrap();
    let homeless = text.replace("host: gatekeeper.example\r\n", "").into_bytes();
    let two_homes = text.replace("host:", "host: other.example\r\nhost:").into_bytes();

    let body = |name: &str, body: &[u8], code: &'static str, error: &'static str, message: &str| {
        row(name, post(GEMINI, body), (400, code, error, message))
    };
    let json = |name: &str, text: &str, what: &str| {
        body(name, text.as_bytes(), "invalid_json", "Invalid JSON", &format!("The body is not valid JSON: {what}"))
    };
    let envelope = |name: &str, text: &str, what: &str| body(name, text.as_bytes(), "invalid_envelope", "Invalid envelope", what);
    let ambiguous = |name: &str, bytes: &[u8], what: &str| {
        body(name, bytes, "ambiguous_body", "Ambiguous body", &format!("The body can be read in two ways: {what}"))
    };
    let utf16: Vec<u8> = fine.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let hidden = r#"{"target":"get-embedding","payload":{"sql":"SELECT 1","sql":"DROP TABLE users"}}"#;

    let too_large = (413, "body_too_large", "Payload too large", "The body is larger than 16384 bytes");
    let large = post(GEMINI, json!({"target": "get-embedding", "payload": "x".repeat(16 << 10)}).to_string());
    let chunked = [GEMINI, &[("transfer-encoding", "chunked")]].concat();
    let chunks = format!("2000\r\n{}\r\n", "x".repeat(0x2000)).repeat(3);
    let nonsense = [request("POST", "/", &chunked), b"2\r\n{\"\r\nnot hex\r\n".to_vec()].concat();
    let chunked = [request("POST", "/", &chunked), chunks.into_bytes()].concat();
    let unfinished = [request("POST", "/", &[GEMINI, &[("content-length", "100")]].concat()), b"{\"target\":".to_vec()].concat();

    vec![
        head("x-eliza-key twice", beside(("x-eliza-key", KEY)), repeated),
        head("x-eliza-source twice", beside(("x-eliza-source", "openai-chat")), repeated),
        head("x-eliza-hops twice", post(&[GEMINI, &[("x-eliza-hops", "1"); 2]].concat(), &fine), repeated),
        head("x-eliza-hops of nonsense", beside(("x-eliza-hops", "many")), "x-eliza-hops is not a number from 0 to 255"),
        head("authorization twice", post(&[GEMINI, &[("authorization", "Bearer a"); 2]].concat(), &fine), "Authorization is repeated"),
        head("apikey twice", post(&[GEMINI, &[("apikey", "a"); 2]].concat(), &fine), "apikey is repeated"),
        head("no Host", homeless, "Host is missing"),
        head("two Hosts", two_homes, "Host is repeated"),
        json("empty body", "", "the body is empty"),
        json("no JSON", "target=gemini-chat", "expected ident at line 1, column 2"),
        json("JSON broken off", "{\"target\":\"get-embedding\",\n  \"payload\": {", "EOF while parsing an object at line 2, column 14"),
        json("JSON and more", "{\"target\":\"get-embedding\"} {}", "trailing characters at line 1, column 28"),
        envelope("no envelope", "[]", "the body must be a JSON object"),
        envelope("no target", r#"{"payload":{}}"#, "\"target\" is missing"),
        envelope("target of another kind", r#"{"target":7}"#, "\"target\" must be a string"),
        envelope("action of another kind", r#"{"target":"get-embedding","action":[]}"#, "\"action\" must be a string or null"),
        ambiguous("member twice", hidden.as_bytes(), "the member at /payload/sql stands there more than once"),
        ambiguous(
            "byte order mark",
            format!("\u{feff}{fine}").as_bytes(),
            "the body begins with a byte order mark; send UTF-8 without one",
        ),
        ambiguous("UTF-16", &utf16, "the body looks like UTF-16 or UTF-32; send UTF-8"),
        row("too large, as it says", large, too_large),
        row("too large, in chunks", chunked, too_large),
        row("chunks of nonsense", nonsense, (400, "body_broken", "Incomplete body", "The body ended before it was complete")),
        row("too slow", unfinished, (408, "body_too_slow", "Request timeout", "The body did not arrive in time")),
        row(
            "encoded",
            beside(("content-encoding", "compress")),
            (
                415,
                "unsupported_encoding",
                "Unsupported encoding",
                "Send the body without a content-encoding, or with up to three of gzip, deflate, br, zstd",
            ),
        )
        .header("accept-encoding", "gzip, deflate, br, zstd"),
        row(
            "not what its encoding says",
            beside(("content-encoding", "gzip")),
            (400, "bad_encoding", "Bad encoding", "The body is not the gzip that its content-encoding says: it is cut off or damaged"),
        ),
        row(
            "once too often around",
            beside(("x-eliza-hops", "8")),
            (508, "loop_detected", "Loop detected", "The call has passed through too many gatekeepers"),
        ),
    ]
}

fn limits() -> Vec<Row> {
    let window = |secs: &str| format!("Maximum 1 requests per {secs} exceeded");
    let burst = "Maximum 1 requests at once exceeded".to_owned();
    let table = [
        ("source window", "window-test", "rate_limited", window("minute"), "source"),
        ("endpoint window", "endpoint-test", "rate_limited", window("hour"), "endpoint"),
        ("burst", "burst-test", "burst_exceeded", burst, "source"),
    ];
    let mut rows = Vec::new();
    for (name, source, code, message, scope) in table {
        let says = post(&as_source(source), to("get-embedding"));
        rows.push(row(format!("the call before: {name}"), says.clone(), (PASSES, "answered", "", "")));
        let refused = row(name, says, (429, code, "Rate limit exceeded", &message)).records("scope", scope);
        let headers = ["retry-after", "ratelimit", "ratelimit-policy", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"];
        rows.push(headers.into_iter().fold(refused, |row, name| row.header(name, "")));
    }
    rows
}

fn targets() -> Vec<Row> {
    let failing = |target: &str, status, code, error, message: &str| row(target, post(GEMINI, to(target)), (status, code, error, message));
    let lost = "Target unreachable";
    let shielded = "Target 'broken' keeps failing and is being left alone for a moment";
    let wrapped = |target: &str, status: u16| {
        let message = format!("Target '{target}' answered with status {status} and no readable error");
        let mut row = row(target, post(GEMINI, to(target)), (status, "target_error", "Target error", &message));
        row.members = json!({"upstream_status": status});
        row
    };
    vec![
        failing("refusing", 502, "upstream_unreachable", lost, "Target 'refusing' could not be reached"),
        failing("resetting", 502, "upstream_reset", lost, "Target 'resetting' closed the connection without an answer"),
        failing("babbling", 502, "upstream_invalid_response", "Bad answer", "Target 'babbling' sent an answer that is not HTTP"),
        failing("hanging", 504, "upstream_timeout", "Target timeout", "Target 'hanging' did not answer in time"),
        failing("homeless", 503, "target_not_configured", "Target not configured", "Target 'homeless' has no address yet"),
        failing("broken", 502, "upstream_reset", lost, "Target 'broken' closed the connection without an answer"),
        failing("broken", 503, "breaker_open", "Target unavailable", shielded).header("retry-after", "30"),
        wrapped("paging", 500),
        wrapped("mute", 502),
    ]
}

/// Stay under way until their targets are let go on.
pub fn patient(target: &str) -> Row {
    row(target, post(GEMINI, to(target)), (PASSES, "answered", "", ""))
}

/// Of a target that is given one call at once, and has it.
pub fn busy() -> Row {
    let message = "Target 'patient' has as many calls under way as it is given at once; try again shortly";
    row("one too many", post(GEMINI, to("patient")), (503, "target_busy", "Target busy", message)).header("retry-after", "1")
}

pub fn overloaded() -> Row {
    let message = "The gatekeeper has more calls than it can carry; try again shortly";
    row("no place", post(GEMINI, to("get-embedding")), (503, "overloaded", "Overloaded", message)).header("retry-after", "1")
}
