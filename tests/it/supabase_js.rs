//! `@supabase/supabase-js`, unmodified, needs no more than the gatekeeper's address for that of its project and the gatekeeper's headers:
//! whatever its `functions.invoke` can send arrives, whatever a function can answer comes back, and what the gatekeeper itself has to say
//! is an error as that client knows them.

mod answers;
mod refusals;
mod requests;

use serde_json::{Value, json};

use crate::support::client_script::ClientScript;
use crate::support::house::{House, KEY, Plan};
use crate::support::targets::{Conduct, Received, Targets};

const SOURCE: &str = "gemini-chat";
/// What a project gives to browsers; it is no credential of the gatekeeper's.
const ANON: &str = "anon-key-of-the-project";

const TARGETS: &str = r#"
[target_defaults]
url = "${SUPABASE_URL}/functions/v1/{target}"
credentials = "service-role"

[[target]]
names = ["brain"]

[[target]]
names = ["streaming-brain"]
inspect = "skip"

[[target]]
names = ["own-door"]
authorization = "pass"

[[target]]
names = ["closed-shop"]
callers = ["agent-manager"]
"#;

const SOURCES: &str = r#"
[[source]]
names = ["gemini-chat", "agent-manager"]
tier = "eliza"

[[source]]
names = ["hasty"]
total = ["2/1m"]
"#;

fn plan() -> Plan {
    House::plan().policy("targets.toml", TARGETS).policy("sources.toml", SOURCES)
}

/// In front of functions that answer so.
async fn answering(target: &str, conduct: Conduct) -> House {
    plan().targets(Targets::like_the_platform().but(target, conduct)).open().await
}

struct Supabase(ClientScript);

impl Supabase {
    /// With the project's key, and the gatekeeper's headers for this source.
    async fn of(house: &House, source: &str) -> Self {
        Self::with(house, ANON, &json!({"x-eliza-key": KEY, "x-eliza-source": source}), None).await
    }

    async fn with(house: &House, key: &str, headers: &Value, token: Option<&str>) -> Self {
        let given = json!({"url": format!("http://{}", house.data), "key": key, "headers": headers, "token": token});
        Self(ClientScript::start("supabase.mjs", &given).await)
    }

    /// `options` are those of `invoke`, but for the body, which is described.
    async fn invoke(&mut self, target: &str, options: &Value, body: &Value) -> Value {
        self.begin(target, options, body).await;
        self.0.tells().await
    }

    async fn begin(&mut self, target: &str, options: &Value, body: &Value) {
        self.0.wish(&json!({"invoke": target, "options": options, "body": body})).await;
    }

    async fn post(&mut self, target: &str, body: &Value) -> Value {
        self.invoke(target, &json!({}), &json!({"json": body})).await
    }
}

/// Where the call came from, as the record of the call has it.
async fn recorded(house: &House, answer: &Value) -> Value {
    house.settle().await;
    let id = answer["headers"]["x-call-id"].as_str().unwrap_or_else(|| panic!("no call id in {answer}"));
    house.store.call(id.parse().unwrap()).await.unwrap().unwrap_or_else(|| panic!("{id} is not recorded")).metadata
}

/// The gatekeeper's key stays here, whatever else a target may see.
fn keeps_the_key(received: &Received) {
    assert_eq!(received.header("x-eliza-key"), None);
    assert!(!format!("{received:?}").contains(KEY));
}
