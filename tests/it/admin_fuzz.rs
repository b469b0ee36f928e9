//! The admin API does what its description says, whatever is sent to it: schemathesis makes up requests from `/openapi.json`, good ones
//! and bad ones, against the program itself. Nothing is answered with a server error or against the description; and without the token
//! nothing is answered but that it is wanted. What is checked, and what is left out for which reason, stands in `tests/schemathesis/`.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use crate::support::house::ADMIN_TOKEN;
use crate::support::program::{Program, Serving};

/// Of one run; they take a few seconds each.
const PATIENCE: Duration = Duration::from_secs(120);

async fn serving() -> Serving {
    Program::new().variable("GATEKEEPER_ADMIN_TOKEN", ADMIN_TOKEN).serve().await
}

/// Runs schemathesis with a configuration of ours; fails with all it says unless it has found nothing.
async fn finds_nothing(serving: &Serving, configuration: &str, headers: &[String]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let schemathesis = root.join("target/schemathesis/bin/st");
    assert!(schemathesis.exists(), "schemathesis is not there: `make test` installs it (tests/install.sh)");
    let mut command = Command::new(schemathesis);
    command.arg("--no-color").arg("--config-file").arg(root.join("tests/schemathesis").join(configuration));
    command.arg("run").arg(format!("http://{}/openapi.json", serving.ops));
    for header in headers {
        command.args(["--header", header]);
    }
    command.current_dir(serving.running.program.folder()).stdin(Stdio::null()).kill_on_drop(true);
    let ran = timeout(PATIENCE, command.output()).await.expect("schemathesis ends in time").unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}\n{}", String::from_utf8_lossy(&ran.stderr));
    assert!(said.contains("No issues found"), "{said}");
}

#[tokio::test]
async fn whoever_holds_the_token_meets_what_is_described() {
    let serving = serving().await;
    finds_nothing(&serving, "with-token.toml", &[format!("Authorization: Bearer {ADMIN_TOKEN}")]).await;
    assert!(!serving.running.err().contains("panicked"), "{}", serving.running.err());
    serving.stop().await.expect(0);
}

#[tokio::test]
async fn whoever_holds_none_meets_nothing() {
    let serving = serving().await;
    finds_nothing(&serving, "without-token.toml", &[]).await;
    serving.stop().await.expect(0);
}
