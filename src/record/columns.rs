//! The JSON columns of a record: what operators' queries find in them, member by member.
//!
//! What is derived here says how each is spelled; `write` writes the same text in a tenth of the time, and a test holds the two together.

use serde::{Serialize, Serializer};
use uuid::Uuid;

use super::details::{Details, Excepted, WouldHaveDenied};
use crate::identity::Network;
use crate::json::{self, first, next};

/// The column `metadata`. What does not apply to a call is left out, but for an absent target and action, which are null.
#[derive(Serialize)]
pub struct Metadata<'a> {
    #[serde(flatten)]
    pub request: Request<'a>,
    pub execution_time_ms: i32,
    pub success: bool,
    pub door: &'static str,
    /// Of a direct call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<&'a str>,
    #[serde(serialize_with = "network")]
    pub network: Network,
    pub request_bytes: u64,
    pub response_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<&'a str>,
    /// With `key`: how a source was known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claimed_source: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shown_certificate: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "trace_id")]
    pub trace_id: Option<u128>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_ms: Option<u64>,
    /// Said only of calls that set out for their target more than once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tries: Option<u32>,
    /// Of a call whose answer policy lets be kept: `hit` if it was answered with what was kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validator_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overhead_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    pub code: &'static str,
    /// Said only of calls that did not succeed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_class: Option<&'static str>,
    /// Of a schema operation: what its validator said, and why it said nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema_check: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema_check_fault: Option<String>,
    #[serde(flatten)]
    pub details: Option<Details<'a>>,
    /// Where the rule that refused the call is written down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_line: Option<&'a str>,
    /// The beginning of the fingerprint of the policy that the call was judged by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'a str>,
    /// Said only of calls made while denials did not stand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enforced: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub would_deny: Vec<WouldHaveDenied<'a>>,
    /// What a rule found and an exception let pass.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub excepted: Vec<Excepted<'a>>,
}

fn network<S: Serializer>(network: &Network, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(network)
}

fn trace_id<S: Serializer>(trace_id: &Option<u128>, serializer: S) -> Result<S::Ok, S::Error> {
    trace_id.map(|trace_id| format!("{trace_id:032x}")).serialize(serializer)
}

impl Metadata<'_> {
    /// Where the members of the request end, which it begins with.
    pub fn write(&self, into: &mut String) -> usize {
        self.request.begin(into);
        let begun = into.len();
        json::number(into, next!("execution_time_ms"), self.execution_time_ms);
        json::truth(into, next!("success"), self.success);
        json::plain(into, next!("door"), self.door);
        if let Some(method) = self.method {
            json::text(into, next!("method"), method);
        }
        into.push_str(next!("network"));
        into.push('"');
        // Text can be added to a text.
        let _always = self.network.write(into);
        into.push('"');
        json::number(into, next!("request_bytes"), self.request_bytes);
        json::number(into, next!("response_bytes"), self.response_bytes);
        if let Some(key) = self.key {
            json::text(into, next!("key"), key);
        }
        if let Some(certificate) = &self.certificate {
            json::text(into, next!("certificate"), certificate);
        }
        if let Some(claimed_source) = self.claimed_source {
            json::text(into, next!("claimed_source"), claimed_source);
        }
        if let Some(shown_certificate) = &self.shown_certificate {
            json::text(into, next!("shown_certificate"), shown_certificate);
        }
        if let Some(trace_id) = self.trace_id {
            // An UUID without its hyphens is spelled as a trace's id is.
            json::plain(into, next!("trace_id"), Uuid::from_u128(trace_id).as_simple().encode_lower(&mut Uuid::encode_buffer()));
        }
        if let Some(upstream_ms) = self.upstream_ms {
            json::number(into, next!("upstream_ms"), upstream_ms);
        }
        if let Some(tries) = self.tries {
            json::number(into, next!("tries"), tries);
        }
        if let Some(cache) = self.cache {
            json::plain(into, next!("cache"), cache);
        }
        if let Some(validator_ms) = self.validator_ms {
            json::number(into, next!("validator_ms"), validator_ms);
        }
        if let Some(overhead_us) = self.overhead_us {
            json::number(into, next!("overhead_us"), overhead_us);
        }
        if let Some(status) = self.status {
            json::number(into, next!("status"), status);
        }
        json::plain(into, next!("code"), self.code);
        if let Some(error_class) = self.error_class {
            json::plain(into, next!("error_class"), error_class);
        }
        if let Some(schema_check) = self.schema_check {
            json::plain(into, next!("schema_check"), schema_check);
        }
        if let Some(schema_check_fault) = &self.schema_check_fault {
            json::text(into, next!("schema_check_fault"), schema_check_fault);
        }
        if let Some(details) = &self.details {
            json::members(into, details);
        }
        if let Some(policy_line) = self.policy_line {
            json::text(into, next!("policy_line"), policy_line);
        }
        if let Some(policy) = self.policy {
            json::text(into, next!("policy"), policy);
        }
        if let Some(error) = self.error {
            json::text(into, next!("error"), error);
        }
        if let Some(enforced) = self.enforced {
            json::truth(into, next!("enforced"), enforced);
        }
        if !self.would_deny.is_empty() {
            json::value(into, next!("would_deny"), &self.would_deny);
        }
        if !self.excepted.is_empty() {
            json::value(into, next!("excepted"), &self.excepted);
        }
        into.push('}');
        begun
    }
}

/// The column `request`.
#[derive(Clone, Copy, Serialize)]
pub struct Request<'a> {
    /// A name: nothing in it has to be escaped.
    pub source: &'a str,
    pub target: Option<&'a str>,
    pub action: Option<&'a str>,
}

impl Request<'_> {
    /// All of it but the end.
    fn begin(&self, into: &mut String) {
        json::plain(into, first!("source"), self.source);
        match self.target {
            Some(target) => json::text(into, next!("target"), target),
            None => json::null(into, next!("target")),
        }
        match self.action {
            Some(action) => json::text(into, next!("action"), action),
            None => json::null(into, next!("action")),
        }
    }
}

/// The column `caller_context`.
#[derive(Serialize)]
pub struct CallerContext<'a> {
    /// A name.
    pub source: &'a str,
    pub authenticated: bool,
}

impl CallerContext<'_> {
    pub fn write(&self, into: &mut String) {
        json::plain(into, first!("source"), self.source);
        json::truth(into, next!("authenticated"), self.authenticated);
        into.push('}');
    }
}

#[cfg(test)]
mod tests {
    use proptest::option::of;
    use proptest::prelude::*;

    use super::super::details::Found;
    use super::*;

    /// Texts that outlive the columns which are made of them.
    #[derive(Debug)]
    struct Said {
        words: Vec<String>,
        may: Vec<Option<String>>,
        numbers: [Option<u64>; 5],
        small: (i32, Option<u32>, Option<u16>, Option<u128>),
        truths: (bool, Option<bool>),
        network: Network,
        kind: u8,
        findings: usize,
    }

    fn said() -> impl Strategy<Value = Said> {
        let word = || prop_oneof![any::<String>(), "[a-z0-9.-]{0,20}", Just("\u{7f}\"\\/\n\u{1}\u{2028}\u{1f6e1}".to_owned())];
        let networks = prop_oneof![any::<[u8; 3]>().prop_map(Network::V4), any::<[u16; 4]>().prop_map(Network::V6)];
        (
            prop::collection::vec(word(), 4),
            prop::collection::vec(of(word()), 12),
            prop::array::uniform5(of(any::<u64>())),
            (any::<i32>(), of(any::<u32>()), of(any::<u16>()), of(any::<u128>())),
            (any::<bool>(), of(any::<bool>())),
            networks,
            0..8_u8,
            0..3_usize,
        )
            .prop_map(|(words, may, numbers, small, truths, network, kind, findings)| Said {
                words,
                may,
                numbers,
                small,
                truths,
                network,
                kind,
                findings,
            })
    }

    fn found(said: &Said) -> Found<'_> {
        let [rule, sql, pointer, fingerprint] = [0, 1, 2, 3].map(|at| said.words[at].as_str());
        Found { rule, severity: "critical", kind: "drop", objects: &said.words, sql, pointer, span: [3, 12], fingerprint }
    }

    fn details(said: &Said) -> Option<Details<'_>> {
        let [first, second] = [0, 1].map(|at| said.words[at].as_str());
        match said.kind {
            0 => Some(Details::Credentials { fault: "wrong_key" }),
            1 => Some(Details::Limit { scope: "source", retry_after_seconds: 7 }),
            2 => Some(Details::Sql { pattern: first, reason: second, found: found(said) }),
            3 => Some(Details::Blocked { reason: first }),
            4 => Some(Details::Schema { reason: first, fingerprint: second, auto_fix_triggered: true }),
            5 => Some(Details::Validator { validator: first }),
            _ => None,
        }
    }

    fn request(said: &Said) -> Request<'_> {
        Request { source: "gemini-chat", target: said.may[0].as_deref(), action: said.may[1].as_deref() }
    }

    fn metadata(said: &Said) -> Metadata<'_> {
        let may = |at: usize| said.may[at].as_deref();
        let [first, second] = [0, 1].map(|at| said.words[at].as_str());
        let would = || WouldHaveDenied { gate: "sql_filter", code: "x", status: 403, details: details(said), policy_line: may(11) };
        let excepted = || Excepted { found: found(said), why: first, by: second, reason: first, policy_line: second };
        Metadata {
            request: request(said),
            execution_time_ms: said.small.0,
            success: said.truths.0,
            door: "envelope",
            method: may(2),
            network: said.network,
            request_bytes: said.numbers[0].unwrap_or(0),
            response_bytes: said.numbers[1].unwrap_or(u64::MAX),
            key: may(3),
            certificate: said.may[4].clone(),
            claimed_source: may(5),
            shown_certificate: said.may[6].clone(),
            trace_id: said.small.3,
            upstream_ms: said.numbers[2],
            tries: said.small.1,
            cache: may(2).map(|_| "hit"),
            validator_ms: said.numbers[3],
            overhead_us: said.numbers[4],
            status: said.small.2,
            code: "answered",
            error_class: may(3).map(|_| "auth"),
            schema_check: may(7).map(|_| "valid"),
            schema_check_fault: said.may[7].clone(),
            details: details(said),
            policy_line: may(8),
            policy: may(9),
            error: may(10),
            enforced: said.truths.1,
            would_deny: (0..said.findings).map(|_| would()).collect(),
            excepted: (0..said.findings).map(|_| excepted()).collect(),
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_the_columns_say(said in said()) {
            let (metadata, request) = (metadata(&said), request(&said));
            let context = CallerContext { source: request.source, authenticated: said.truths.0 };
            let mut written = [const { String::new() }; 3];
            let begun = metadata.write(&mut written[0]);
            written[1] = format!("{}}}", written[0].get(..begun).unwrap());
            context.write(&mut written[2]);
            let spelled = [serde_json::to_string(&metadata), serde_json::to_string(&request), serde_json::to_string(&context)];
            prop_assert_eq!(written, spelled.map(Result::unwrap));
        }
    }
}
