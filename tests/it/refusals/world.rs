//! What the table of refusals needs to be true: policies, keys and targets made for being refused.

use std::path::Path;

use eliza_gatekeeper::clock::Timestamp;
use eliza_gatekeeper::identity::{KeyHash, KeyId};
use eliza_gatekeeper::store::{OpenOptions, StoredKey, open};
use tokio::net::TcpSocket;

use crate::support::house::{ADMIN_TOKEN, KEY, SERVICE_KEY};
use crate::support::targets::{Conduct, Gate, Plan, Targets};

pub const NOT_YET: &str = "key-of-tomorrow-11aa";
pub const EXPIRED: &str = "key-of-yesterday-22bb";
pub const REVOKED: &str = "key-taken-back-33cc";
/// Good for `lovable-chat` asking `agent-manager` for lists.
pub const SCOPED: &str = "key-with-a-scope-44dd";
/// Never a key, but what a mistyped one looks like.
pub const WRONG: &str = "key-mistyped-55ee";
/// What stands in payloads and in literals of SQL.
pub const SECRET_LITERAL: &str = "sk-of-a-user-66ff";
/// What a target says when it breaks, which concerns its operators alone.
pub const TARGETS_SECRET: &str = "/srv/app/index.ts";

/// Nothing that leaves the gatekeeper towards a caller, a table or the log may hold one of these.
pub const SECRETS: [&str; 10] = [KEY, SERVICE_KEY, ADMIN_TOKEN, NOT_YET, EXPIRED, REVOKED, SCOPED, WRONG, SECRET_LITERAL, TARGETS_SECRET];

pub struct World {
    pub targets: Plan,
    pub policies: Vec<(String, String)>,
    /// The test stands between the gatekeeper and whom it speaks for.
    pub variables: [(&'static str, &'static str); 1],
    pub database: String,
    /// Holds back the targets that hang.
    pub gate: Gate,
    /// Bound but not listening, so that its port refuses.
    _closed: TcpSocket,
}

impl World {
    /// Its database lies in this directory, with its keys in it.
    pub async fn in_directory(directory: &Path) -> Self {
        let database = format!("sqlite://{}", directory.join("calls-of-refusals.db").display());
        put_keys(&database).await;
        let closed = TcpSocket::new_v4().unwrap();
        closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let refusing = closed.local_addr().unwrap();
        let gate = Gate::shut();
        let targets = Targets::like_the_platform()
            .but("resetting", Conduct::reset())
            .but("broken", Conduct::reset())
            .but("babbling", Conduct::garbage())
            .but("hanging", Conduct::Hang(gate.clone()))
            .but("patient", Conduct::Hang(gate.clone()))
            .but("patient-too", Conduct::Hang(gate.clone()))
            .but("paging", Conduct::html_500())
            .but("mute", Conduct::empty_502());
        let policies = [("service.toml", SERVICE.to_owned()), ("own.toml", OWN.replace("{refusing}", &refusing.to_string()))];
        let policies = policies.map(|(file, text)| (file.to_owned(), text)).into();
        let variables = [("GATEKEEPER_TRUSTED_PROXIES", "127.0.0.0/8")];
        Self { targets, policies, variables, database, gate, _closed: closed }
    }
}

const SERVICE: &str = r#"
[body]
max = "16KiB"
read_timeout = "300ms"
"#;

const OWN: &str = r#"
[tiers.window]
limit = ["100/1m"]
burst = "off"
total = ["1/1m"]
[tiers.endpoint]
limit = ["1/1h"]
burst = "off"
total = ["100/1m"]
[tiers.burst]
limit = ["100/1m"]
burst = "off"
total_burst = "1 then 1/s"

[[source]]
names = ["window-test"]
tier = "window"
[[source]]
names = ["endpoint-test"]
tier = "endpoint"
[[source]]
names = ["burst-test"]
tier = "burst"

[[source]]
names = ["disabled-test"]
[[block]]
sources = ["disabled-test"]
reason = "runs wild"
[[block]]
networks = ["203.0.113.0/24"]
reason = "INC-4711"

[[target]]
names = ["resetting", "babbling", "paging", "mute", "patient-too"]
[[target]]
names = ["patient"]
max_in_flight = 1
[[target]]
names = ["guarded"]
callers = ["agent-manager"]
[[target]]
names = ["refusing"]
url = "http://{refusing}/functions/v1/refusing"
credentials = "none"
[[target]]
names = ["hanging"]
timeout = "200ms"
[[target]]
names = ["homeless"]
url = "${NEVER_SET_ANYWHERE}/f"
credentials = "none"
[[target]]
names = ["broken"]
breaker = { failures = 1, open = "30s" }
"#;

async fn put_keys(database: &str) {
    let store = open(database, OpenOptions { pool_size: 1, max_overflow: 0 }).await.unwrap();
    store.migrate().await.unwrap();
    let at = |text: &str| Timestamp::parse_rfc3339(text);
    let (past, future) = (at("2020-01-01T00:00:00Z"), at("2120-01-01T00:00:00Z"));
    for secret in [NOT_YET, EXPIRED, REVOKED, SCOPED] {
        let scope = |names: &[&str]| if secret == SCOPED { names.iter().map(|name| (*name).to_owned()).collect() } else { vec![] };
        let key = StoredKey {
            id: KeyId::new(&format!("stored-{}", &secret[secret.len() - 2..])),
            name: "of a test".to_owned(),
            hash: KeyHash::of(secret.as_bytes()),
            sources: scope(&["lovable-chat"]),
            targets: scope(&["agent-manager"]),
            actions: scope(&["list_*"]),
            created_at: past.unwrap(),
            not_before: future.filter(|_| secret == NOT_YET),
            expires_at: past.filter(|_| secret == EXPIRED),
            revoked_at: past.filter(|_| secret == REVOKED),
            last_used_at: None,
        };
        store.insert_key(&key, &crate::store_contract::audited()).await.unwrap();
    }
    store.close().await;
}
