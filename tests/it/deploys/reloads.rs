//! What changes while calls go on.

use std::path::{Path, PathBuf};

use http::Method;
use serde_json::json;

use super::said;
use crate::ledger_faults::Site as Ledger;
use crate::ledger_faults::load::Load;
use crate::support::Database;
use crate::support::house::{Reply, SERVICE_KEY, ask, call_at, eventually, http_client};
use crate::support::program::{Program, Serving};
use crate::support::targets::Targets;

#[tokio::test(flavor = "multi_thread")]
async fn fifty_reloads_of_the_policies_fail_no_call() {
    let site = Ledger::on(Database::Sqlite).await;
    let serving = site.program.serve().await;
    let policies = site.folder.path().join("policies");
    let load = Load::steady(serving.data, 4, 150);
    for reload in 1..=50 {
        let own = format!("[[source]]\nnames = [\"source-{reload}\"]\n");
        std::fs::write(policies.join("own.toml"), own).unwrap();
        serving.running.signal("HUP");
        let new = async || {
            call_at(
                serving.data,
                crate::support::house::KEY,
                &format!("source-{reload}"),
                &json!({"target": "agent-manager", "action": "list_agents"}),
            )
            .await
        };
        eventually("the new source is known", || async { new().await.status == 200 }).await;
    }
    assert!(said(&serving.running, "policies are read again and in force") >= 50);
    let heard = load.end().await.all(200);
    assert!(heard.whole.len() > 200, "that was hardly a load: {} answers", heard.whole.len());
    serving.stop().await.expect(0);
}

const OLD: &str = "the-key-before-0123456789";
const NEW: &str = "the-key-after-0123456789";
const NEW_SERVICE_KEY: &str = "service-role-key-after-0123456789";
const TOKEN: &str = "admin-token-before-0123456789";
const NEW_TOKEN: &str = "admin-token-after-0123456789";

/// Secrets as secret stores mount them.
struct Mounted {
    program: Program,
}

impl Mounted {
    fn new(targets: &Targets) -> Self {
        let program = Program::bare()
            .variable("GATEKEEPER_LISTEN", "127.0.0.1:0")
            .variable("GATEKEEPER_OPS_LISTEN", "127.0.0.1:0")
            .variable("SUPABASE_URL", &targets.origin())
            .variable("INTERNAL_ELIZA_KEY_FILE", "key")
            .variable("INTERNAL_ELIZA_KEY_PREVIOUS_FILE", "previous")
            .variable("SUPABASE_SERVICE_ROLE_KEY_FILE", "service")
            .variable("GATEKEEPER_ADMIN_TOKEN_FILE", "token");
        let mounted = Self { program };
        for (file, text) in [("key", OLD), ("previous", ""), ("service", SERVICE_KEY), ("token", TOKEN)] {
            mounted.write(file, text);
        }
        mounted
    }

    fn write(&self, file: &str, text: &str) {
        let path: PathBuf = Path::new(self.program.folder()).join(file);
        std::fs::write(path, text).unwrap();
    }
}

async fn by_key(serving: &Serving, key: &str) -> Reply {
    call_at(serving.data, key, "gemini-chat", &json!({"target": "agent-manager", "action": "list_agents"})).await
}

async fn by_service_key(serving: &Serving, key: &str) -> Reply {
    let headers = [("authorization".to_owned(), format!("Bearer {key}"))];
    let body = json!({"target": "agent-manager", "action": "list_agents"}).to_string();
    ask(&http_client(), serving.data, Method::POST, "/functions/v1/eliza-gatekeeper", &headers, body.into()).await
}

async fn by_token(serving: &Serving, token: &str) -> Reply {
    let headers = [("authorization".to_owned(), format!("Bearer {token}"))];
    ask(&http_client(), serving.ops, Method::GET, "/api/admin/policy", &headers, bytes::Bytes::new()).await
}

async fn reread(serving: &Serving, times: usize) {
    serving.running.signal("HUP");
    eventually("they are in force", || async {
        let in_force = |what: &str| said(&serving.running, &format!("{what} are read again and in force"));
        (in_force("secrets"), in_force("policies")) == (times, times)
    })
    .await;
}

#[tokio::test]
async fn i13_secrets_in_files_are_read_again_at_a_hangup() {
    let targets = Targets::like_the_platform().open_to_all().start().await;
    let mounted = Mounted::new(&targets);
    let serving = mounted.program.serve().await;
    by_key(&serving, OLD).await.expect(200);
    by_key(&serving, NEW).await.expect(401);

    // Both for a while, then the new one alone.
    mounted.write("previous", OLD);
    mounted.write("key", NEW);
    by_key(&serving, NEW).await.expect(401);
    reread(&serving, 1).await;
    by_key(&serving, NEW).await.expect(200);
    let old = by_key(&serving, OLD).await.expect(200);
    mounted.write("previous", "");
    reread(&serving, 2).await;
    by_key(&serving, NEW).await.expect(200);
    by_key(&serving, OLD).await.expect(401);

    // The platform's own: shown by callers, and to targets.
    by_service_key(&serving, SERVICE_KEY).await.expect(200);
    assert_eq!(targets.received("agent-manager").last().unwrap().header("authorization"), Some(format!("Bearer {SERVICE_KEY}").as_str()));
    mounted.write("service", NEW_SERVICE_KEY);
    mounted.write("token", NEW_TOKEN);
    by_token(&serving, TOKEN).await.expect(200);
    reread(&serving, 3).await;
    by_service_key(&serving, SERVICE_KEY).await.expect(401);
    by_service_key(&serving, NEW_SERVICE_KEY).await.expect(200);
    by_key(&serving, NEW).await.expect(200);
    let shown = format!("Bearer {NEW_SERVICE_KEY}");
    assert!(targets.received("agent-manager").iter().rev().take(2).all(|received| received.header("authorization") == Some(&shown)));
    by_token(&serving, TOKEN).await.expect(401);
    by_token(&serving, NEW_TOKEN).await.expect(200);

    // A mistake changes nothing, whatever else is in the files.
    mounted.write("token", TOKEN);
    mounted.write("key", "two words");
    serving.running.signal("HUP");
    serving.running.log_line("the settings have problems: secrets, enforcement and log level stay as they are").await;
    by_key(&serving, NEW).await.expect(200);
    by_token(&serving, NEW_TOKEN).await.expect(200);

    let ended = serving.stop().await.expect(0);
    let audited = mounted.program.run(&["audit", "--json"]).await.expect(0);
    let told = format!("{}{}", ended.err, audited.out);
    for secret in [OLD, NEW, SERVICE_KEY, NEW_SERVICE_KEY, TOKEN, NEW_TOKEN] {
        assert!(!told.contains(secret), "{secret} is told");
    }
    let subjects = [
        "INTERNAL_ELIZA_KEY INTERNAL_ELIZA_KEY_PREVIOUS",
        "INTERNAL_ELIZA_KEY_PREVIOUS",
        "SUPABASE_SERVICE_ROLE_KEY GATEKEEPER_ADMIN_TOKEN",
    ];
    for subject in subjects {
        assert!(audited.out.contains(&format!("\"subject\":\"{subject}\"")), "{subject}: {}", audited.out);
    }
    let shown = mounted.program.run(&["calls", "show", old.call_id(), "--json"]).await.expect(0).value();
    assert_eq!(shown["metadata"]["key"], "env:previous");
}

#[tokio::test]
async fn secrets_that_are_set_directly_stay_and_that_is_said() {
    let targets = Targets::like_the_platform().open_to_all().start().await;
    let serving = Program::new().variable("SUPABASE_URL", &targets.origin()).serve().await;
    serving.running.signal("HUP");
    let said = serving.running.log_line("these are set directly: only a new process can have others").await;
    assert_eq!(said["fixed"], "INTERNAL_ELIZA_KEY");
    serving.stop().await.expect(0);
}
