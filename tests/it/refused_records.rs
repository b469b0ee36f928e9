//! Promises: a record that the database refuses for what is in it keeps no other from being written, is listed as missing, and lies in a file that
//! people can read; whether a constraint refuses it or an operator's own trigger, and whichever database it is.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::support::house::{House, eventually};
use crate::support::operator;
use crate::support::{Database, on_each_database};

on_each_database!(what_a_trigger_refuses_is_kept_in_a_file, what_a_constraint_refuses_is_kept_in_a_file);

async fn what_a_trigger_refuses_is_kept_in_a_file(database: Database) {
    let raise = match database {
        Database::Sqlite => {
            "create trigger no_vercel before insert on eliza_activity_log when new.title like '%vercel%'
             begin select raise(abort, 'not in my table'); end"
        }
        Database::Postgres => {
            "create function no_vercel() returns trigger language plpgsql as
             $$ begin if new.title like '%vercel%' then raise exception 'not in my table'; end if; return new; end $$;
             create trigger no_vercel before insert on public.eliza_activity_log for each row execute function no_vercel()"
        }
    };
    hold(database, raise, "not in my table").await;
}

async fn what_a_constraint_refuses_is_kept_in_a_file(database: Database) {
    let check = match database {
        Database::Sqlite => "create unique index one_vercel on eliza_activity_log (iif(title like '%vercel%', 1, null))",
        Database::Postgres => "alter table public.eliza_activity_log add constraint no_vercel check (title not like '%vercel%') not valid",
    };
    hold(database, check, "").await;
}

async fn hold(database: Database, refuses: &str, why: &str) {
    let house = House::plan().on(database).open().await;
    let call = |target: &'static str| async { house.call("gemini-chat").to(target).action("list").send().await.call_id().to_owned() };
    call("vercel-manager").await;
    house.settle().await;
    operator::run(&house.database, refuses).await;
    let mut ids = Vec::new();
    for target in ["agent-manager", "vercel-manager", "agent-manager"] {
        ids.push(call(target).await);
    }
    let refused = ids.remove(1);
    eventually("it is given up", || async { house.gatekeeper.metrics.records_dropped.get() == 1 }).await;
    let there: Vec<_> = house.records().await.iter().map(|row| row.id.to_string()).collect();
    assert_eq!((there.len(), ids.iter().all(|id| there.contains(id))), (3, true), "the others are there");

    let gaps = house.store.gaps(10).await.unwrap();
    let [gap] = gaps.as_slice() else { panic!("{gaps:?}") };
    assert_eq!((gap.first, gap.last, gap.reason.as_deref()), (3, 3, Some("refused")));

    let directory = house.state().join("journal/refused");
    let files: Vec<_> = fs::read_dir(&directory).unwrap().map(|file| file.unwrap().path()).collect();
    let [file] = files.as_slice() else { panic!("{files:?}") };
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(file).unwrap();
    let line: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let row = &line["record"]["eliza_activity_log"];
    assert_eq!((row["id"].as_str(), row["seq"].as_u64()), (Some(refused.as_str()), Some(3)));
    assert_eq!((row["metadata"]["target"].as_str(), row["activity_type"].as_str()), (Some("vercel-manager"), Some("gatekeeper_call")));
    assert!(line["why"].as_str().unwrap().contains(why), "{line}");
}
