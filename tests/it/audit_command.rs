//! `calls verify`, as an operator runs it beside a gatekeeper that serves: what is blocked and what is changed holds, and what somebody does
//! to it in the database is named, with exit code 1. The key lies in the state directory or is given, and is shown by nobody.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool, Postgres, Sqlite, SqlitePool, Transaction};

use crate::support::house::{ADMIN_TOKEN, KEY, SERVICE_KEY, call_at, eventually, lay_policies};
use crate::support::program::{Program, Ran, Serving};
use crate::support::targets::Targets;
use crate::support::{Database, on_each_database, postgres};

on_each_database!(
    what_is_sealed_holds_until_somebody_changes_it,
    what_is_cut_off_shows_by_the_file_of_heads,
    what_is_carried_over_at_the_start_is_told_too,
    a_key_that_is_given_is_used_and_an_older_one_known,
);

const AUDIT_KEY: &str = "0123456789abcdef-an-audit-key-of-tests";

struct Desk {
    program: Program,
    database: String,
    _targets: Targets,
}

impl Desk {
    async fn open(database: Database) -> Self {
        let program = Program::new();
        let url = match database {
            Database::Sqlite => format!("sqlite://{}", program.folder().join("calls.db").display()),
            Database::Postgres => postgres::database(),
        };
        let targets = Targets::like_the_platform().asking_for(SERVICE_KEY).start().await;
        let program = program
            .variable("DATABASE_URL", &url)
            .variable("SUPABASE_URL", &targets.origin())
            .variable("SUPABASE_SERVICE_ROLE_KEY", SERVICE_KEY)
            .variable("GATEKEEPER_ADMIN_TOKEN", ADMIN_TOKEN);
        Self { program, database: url, _targets: targets }
    }

    fn is_sqlite(&self) -> bool {
        self.database.starts_with("sqlite")
    }

    async fn runs(&self, sql: &str) {
        match self.is_sqlite() {
            true => drop(sqlx::raw_sql(AssertSqlSafe(sql)).execute(&SqlitePool::connect(&self.database).await.unwrap()).await.unwrap()),
            false => drop(sqlx::raw_sql(AssertSqlSafe(sql)).execute(&PgPool::connect(&self.database).await.unwrap()).await.unwrap()),
        }
    }

    async fn unguarded(&self) {
        self.runs(match self.is_sqlite() {
            true => "drop trigger gatekeeper_audit_log_updated; drop trigger gatekeeper_audit_log_deleted",
            false => "alter table gatekeeper.audit_log disable trigger gatekeeper_kept",
        })
        .await;
    }

    fn log(&self) -> &'static str {
        if self.is_sqlite() { "gatekeeper_audit_log" } else { "gatekeeper.audit_log" }
    }

    async fn verify(&self, more: &[&str]) -> Ran {
        self.program.run(&[&["calls", "verify", "--json"], more].concat()).await
    }

    /// Waits until so much is sealed, and all of it.
    async fn sealed(&self, rows: u64) -> Value {
        let verified = async || self.verify(&[]).await.value();
        let done = async || {
            let verified = verified().await;
            verified["rows"] == rows && verified["unsealed"] == 0
        };
        eventually(&format!("{rows} rows are sealed"), || async { done().await }).await;
        verified().await
    }
}

async fn drop_table(serving: &Serving) {
    let envelope = json!({"target": "agent-manager", "action": "list_agents", "operation": "DROP TABLE users"});
    assert_eq!(call_at(serving.data, KEY, "gemini-chat", &envelope).await.status, 403);
}

fn wrong(ran: &Ran) -> Vec<(String, i64)> {
    let findings = ran.value()["findings"].as_array().unwrap().clone();
    findings.iter().map(|finding| (finding["wrong"].as_str().unwrap().to_owned(), finding["n"].as_i64().unwrap())).collect()
}

async fn what_is_sealed_holds_until_somebody_changes_it(database: Database) {
    let desk = Desk::open(database).await;
    let serving = desk.program.serve().await;
    drop_table(&serving).await;
    drop_table(&serving).await;
    // By hand: the row of a flag is there for one UPDATE.
    let killed = async || {
        desk.runs("update feature_flags set kill_switch = true where name = 'target:agent-manager' and not kill_switch").await;
        desk.verify(&[]).await.value()["rows"] == 4
    };
    eventually("a change by hand is sealed", || async { killed().await }).await;
    let verified = desk.sealed(4).await;
    assert_eq!((&verified["holds"], &verified["chains"], &verified["compared"]), (&json!(true), &json!(1), &json!(3)));
    let told = desk.program.run(&["calls", "verify"]).await.expect(0);
    assert!(told.out.ends_with("the audit log holds\n"), "{told:?}");

    desk.runs("create table aside as select * from security_audit; delete from security_audit").await;
    assert_eq!(wrong(&desk.verify(&[]).await.expect(1)), [("gone".to_owned(), 4)]);
    let ages = "\n[[table]]\nname = \"security_audit\"\nby = \"created_at\"\nkeep = \"365d\"\n";
    let service = include_str!("../../policies/service.toml").to_owned() + ages;
    let policies = lay_policies(desk.program.folder(), &[("service.toml".to_owned(), service)]);
    let let_go = desk.verify(&["--policies", policies.to_str().unwrap()]).await.expect(0);
    assert_eq!(let_go.value()["entries_gone"], 1);
    // A directory of this name would be the policies from now on.
    std::fs::rename(&policies, desk.program.folder().join("of the test")).unwrap();
    desk.runs("insert into security_audit select * from aside").await;

    desk.runs("update eliza_activity_log set description = 'nothing' where activity_type = 'schema_protection'").await;
    let ran = desk.verify(&[]).await.expect(1);
    assert_eq!(wrong(&ran), [("log_changed".to_owned(), 2), ("log_changed".to_owned(), 3)]);
    desk.unguarded().await;
    desk.runs(&format!("update {} set content = '{{}}' where n = 2", desk.log())).await;
    let ran = desk.program.run(&["calls", "verify"]).await.expect(1);
    assert!(ran.out.contains("row 2 (") && ran.out.contains("changed since it was sealed") && ran.err.contains("does not hold"), "{ran:?}");

    // The key was made, and said once where it lies.
    let path = desk.program.folder().join("data/audit.key");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let key = std::fs::read_to_string(&path).unwrap();
    let ended = serving.stop().await;
    assert!(ended.err.contains("data/audit.key") && !ended.err.contains(key.trim()), "{}", ended.err);
}

async fn what_is_cut_off_shows_by_the_file_of_heads(database: Database) {
    let desk = Desk::open(database).await;
    let serving = desk.program.serve().await;
    drop_table(&serving).await;
    drop_table(&serving).await;
    desk.sealed(3).await;
    // Told at once, though not all the time.
    serving.running.log_line("the audit log has come this far").await;
    let ended = serving.stop().await;
    assert!(ended.err.contains("\"n\":3"), "{}", ended.err);
    assert_eq!(desk.verify(&[]).await.expect(0).value()["heads"], 1);

    desk.unguarded().await;
    desk.runs(&format!("delete from {} where n = 3", desk.log())).await;
    let cut = ("cut".to_owned(), 3);
    assert_eq!(wrong(&desk.verify(&[]).await.expect(1)), [cut.clone(), ("unsealed".to_owned(), 2)], "the call misses its seal, too");
    desk.runs("delete from eliza_activity_log where seq = 2").await;
    assert_eq!(wrong(&desk.verify(&[]).await.expect(1)), [cut]);
    // The log of the process says so as well as the file, which somebody may have removed.
    let folder = desk.program.folder();
    std::fs::rename(folder.join("data/audit.heads"), folder.join("moved")).unwrap();
    std::fs::write(folder.join("log"), &ended.err).unwrap();
    let blind = desk.verify(&[]).await.expect(0);
    assert!(blind.err.contains("audit.heads cannot be read"), "{blind:?}");
    for heads in ["moved", "log"] {
        assert_eq!(wrong(&desk.verify(&["--heads", heads]).await.expect(1)), [("cut".to_owned(), 3)], "{heads}");
    }
    desk.verify(&["--heads", "nowhere"]).await.expect(2);
}

async fn what_is_carried_over_at_the_start_is_told_too(database: Database) {
    let desk = Desk::open(database).await;
    let serving = desk.program.serve().await;
    // Nobody can write, so the call is in the journal alone when the gatekeeper is killed.
    let held = match desk.is_sqlite() {
        true => Held::Sqlite(SqlitePool::connect(&desk.database).await.unwrap().begin_with("begin immediate").await.unwrap()),
        false => {
            let mut tx = PgPool::connect(&desk.database).await.unwrap().begin().await.unwrap();
            sqlx::query("lock table gatekeeper.audit_log").execute(&mut *tx).await.unwrap();
            Held::Postgres(tx)
        }
    };
    drop_table(&serving).await;
    serving.running.kill().await;
    held.let_go().await;

    let serving = desk.program.serve().await;
    let told = serving.running.log_line("the audit log has come this far").await;
    assert_eq!(told["n"], 2, "{told}");
    // It is told before the file is written.
    eventually("it is in the file, too", || async { desk.verify(&[]).await.expect(0).value()["heads"] == 1 }).await;
    serving.stop().await.expect(0);
}

enum Held {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

impl Held {
    async fn let_go(self) {
        match self {
            Self::Sqlite(tx) => tx.rollback().await.unwrap(),
            Self::Postgres(tx) => tx.rollback().await.unwrap(),
        }
    }
}

async fn a_key_that_is_given_is_used_and_an_older_one_known(database: Database) {
    let desk = Desk::open(database).await;
    let serving = desk.program.serve().await;
    drop_table(&serving).await;
    desk.sealed(2).await;
    serving.stop().await.expect(0);

    let folder = desk.program.folder().to_owned();
    std::fs::write(folder.join("given"), AUDIT_KEY).unwrap();
    let desk = Desk { program: desk.program.clone().variable("GATEKEEPER_AUDIT_KEY_FILE", "given"), ..desk };
    let serving = desk.program.serve().await;
    drop_table(&serving).await;
    desk.sealed(4).await;
    let ended = serving.stop().await;
    assert!(!ended.err.contains(AUDIT_KEY), "{}", ended.err);
    assert_eq!(desk.verify(&[]).await.expect(0).value()["chains"], 2, "that of the state directory is known too");

    std::fs::rename(folder.join("data/audit.key"), folder.join("old")).unwrap();
    assert_eq!(wrong(&desk.verify(&[]).await.expect(1)), [("key_unknown".to_owned(), 1)]);
    desk.verify(&["--key-file", "old"]).await.expect(0);
    desk.verify(&["--key-file", "data/audit.heads"]).await.expect(2);
}

#[tokio::test]
async fn a_key_that_cannot_be_used_is_told_before_anything_is_sealed() {
    let program = Program::new().variable("GATEKEEPER_AUDIT_KEY", "short");
    for arguments in [&["serve"][..], &["calls", "verify"]] {
        let ran = program.run(arguments).await.expect(78);
        assert!(ran.err.contains("GATEKEEPER_AUDIT_KEY must be at least 32 characters") && !ran.err.contains("short"), "{ran:?}");
    }
    let callers = Program::new().variable("INTERNAL_ELIZA_KEY", AUDIT_KEY).variable("GATEKEEPER_AUDIT_KEY", AUDIT_KEY);
    assert!(callers.run(&["serve"]).await.expect(78).err.contains("every caller"));

    let broken = Program::new();
    std::fs::create_dir(broken.folder().join("data")).unwrap();
    std::fs::write(broken.folder().join("data/audit.key"), "cut o").unwrap();
    let ran = broken.run(&["serve"]).await.expect(78);
    assert!(ran.err.contains("data/audit.key cannot be read") && !ran.err.contains("cut o"), "{ran:?}");
    assert_eq!(std::fs::read_to_string(broken.folder().join("data/audit.key")).unwrap(), "cut o", "it is nobody's to replace");
}
