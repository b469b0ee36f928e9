//! What judging a call's strings costs, beside what `serde_json` takes to read the same bytes into a `Value`: bodies without SQL, bodies
//! full of it, long ones, and such as are made to take long.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a benchmark that does not measure what it says stops")]

mod support;

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use divan::{AllocProfiler, Bencher, Divan, black_box};
use eliza_gatekeeper::call::Envelope;
use eliza_gatekeeper::clock::Timestamp;
use eliza_gatekeeper::gates::sql_filter::sql_filter;
use eliza_gatekeeper::identity::{Caller, KeyId, Proof, SourceName, TargetName};
use eliza_gatekeeper::policy::Policy;
use eliza_gatekeeper::verdict::Verdict;
use serde_json::{Value, json};
use support::{LARGE, SMALL};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

const STATEMENT: &str = "SELECT m.id, m.note, count(*) AS uses FROM public.memories m JOIN agents a ON a.id = m.agent_id \
                         WHERE m.created_at > now() - interval '7 days' AND a.name = 'researcher' GROUP BY m.id, m.note ORDER BY uses";

fn main() {
    Divan::default().min_time(Duration::from_millis(200)).max_time(Duration::from_secs(1)).config_with_args().main();
}

#[divan::bench(name = "a read into a Value", args = Sample::ALL)]
fn value(bencher: Bencher<'_, '_>, sample: Sample) {
    let body = sample.body();
    bencher.bench_local(|| serde_json::from_slice::<Value>(black_box(&body)).unwrap());
}

#[divan::bench(name = "b read as an envelope", args = Sample::ALL)]
fn envelope(bencher: Bencher<'_, '_>, sample: Sample) {
    let (body, policy) = (sample.body(), support::policy());
    bencher.bench_local(|| Envelope::parse(black_box(&body).clone(), &policy.sql.fields).unwrap());
}

#[divan::bench(name = "c read and judged", args = Sample::ALL)]
fn judged(bencher: Bencher<'_, '_>, sample: Sample) {
    let (body, policy) = (sample.body(), support::policy());
    let caller = Caller::Source { name: SourceName::parse("agent").unwrap(), proof: Proof::Key(KeyId::new("env:current")) };
    let target = TargetName::parse("brain").unwrap();
    bencher.bench_local(|| judge(black_box(&body), &policy, &caller, &target));
}

fn judge(body: &Bytes, policy: &Policy, caller: &Caller, target: &TargetName) {
    let envelope = Envelope::parse(body.clone(), &policy.sql.fields).unwrap();
    match sql_filter(caller, target, &envelope.sql, &policy.sql, Timestamp::from_secs(1_772_625_600)) {
        Verdict::Allow(proof) => drop(proof),
        Verdict::Deny { denial, .. } => panic!("{denial:?}"),
    }
}

#[derive(Clone, Copy)]
enum Sample {
    Small,
    Chat,
    Large,
    LongText,
    Documents,
    Statement,
    Statements,
    ToolCall,
    Code,
    Load,
    Nested,
    Begins,
    Escapes,
}

impl Sample {
    const ALL: [Self; 13] = [
        Self::Small,
        Self::Chat,
        Self::Large,
        Self::LongText,
        Self::Documents,
        Self::Statement,
        Self::Statements,
        Self::ToolCall,
        Self::Code,
        Self::Load,
        Self::Nested,
        Self::Begins,
        Self::Escapes,
    ];

    fn body(self) -> Bytes {
        let words = "reply with the plan and what it's worth, then look at \"places\" near the market\n";
        let payload = match self {
            Self::Small => return Bytes::from_static(SMALL.as_bytes()),
            Self::Large => return Bytes::from_static(LARGE.as_bytes()),
            Self::Chat => {
                let turn = |n: usize| json!({"role": "user", "id": n, "content": words.repeat(4), "meta": {"lang": "en", "score": 0.5}});
                json!({"model": "m-1", "stream": false, "temperature": 0.2, "messages": (0..20).map(turn).collect::<Vec<_>>()})
            }
            Self::LongText => json!({"document": words.repeat((1 << 20) / words.len())}),
            Self::Documents => json!({"documents": vec![words.repeat(10); 1300]}),
            Self::Statement => json!({"sql": STATEMENT}),
            Self::Statements => json!({"sql": vec![STATEMENT; 50]}),
            Self::ToolCall => {
                let arguments = json!({"sql": STATEMENT, "limit": 10}).to_string();
                json!({"tool_calls": vec![json!({"function": {"name": "query", "arguments": arguments}}); 20]})
            }
            Self::Code => {
                let lines = "rows = db.run(\"SELECT id FROM memories WHERE id = \" + str(n))  # what it's about\nprint('done', rows)\n";
                return envelope_of("python-executor", &json!({"code": lines.repeat(100)}));
            }
            Self::Load => {
                let row = "(1, 'a name', 'what there is to say of it', now(), NULL), ";
                json!({"sql": format!("INSERT INTO memories VALUES {}(2)", row.repeat((1 << 20) / row.len()))})
            }
            Self::Nested => json!({"arguments": format!("{}{}", "[".repeat(1 << 19), "]".repeat(1 << 19))}),
            Self::Begins => json!({"notes": vec!["select some, update others, then delete the rest"; 16_000]}),
            Self::Escapes => json!({"code": format!("'{}", "\\'".repeat(1 << 19))}),
        };
        let target = if matches!(self, Self::Escapes) { "python-executor" } else { "brain" };
        envelope_of(target, &payload)
    }
}

fn envelope_of(target: &str, payload: &Value) -> Bytes {
    json!({"target": target, "action": "run", "payload": payload}).to_string().into()
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Small => "01 one word of SQL, 500 B",
            Self::Chat => "02 a chat, 10 KB",
            Self::Large => "03 one word of SQL, 64 KB",
            Self::LongText => "04 a text of 1 MB",
            Self::Documents => "05 1,300 texts, 1 MB",
            Self::Statement => "06 a statement of 200 B",
            Self::Statements => "07 fifty of them in an array",
            Self::ToolCall => "08 twenty in JSON in JSON",
            Self::Code => "09 code, 10 KB",
            Self::Load => "10 a statement of 1 MB",
            Self::Nested => "11 worst: nested a million deep",
            Self::Begins => "12 worst: 16,000 texts that begin like SQL",
            Self::Escapes => "13 worst: quotes that never close, 1 MB",
        })
    }
}
