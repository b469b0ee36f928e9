//! Rows go when policy says so and not before: first to the archive, then for good, each whole and each once; numbers that went are no
//! gaps; tables of other programs are treated as policy says; what is too old is told. Nobody waits for any of it. Both databases.

mod on_postgres_alone;

use std::time::Duration;

use eliza_gatekeeper::clock::Timestamp;
use eliza_gatekeeper::identity::Origin;
use eliza_gatekeeper::retention::{Age, Archive, Keep, Only, OnlyValue, Scheduled, Span, TableKeep};
use eliza_gatekeeper::store::ledger::{Loss, LossReason};
use eliza_gatekeeper::store::{CallRecord, Maintained, Retained, TableAge};
use sqlx::PgPool;
use uuid::Uuid;

use crate::store_contract::{Bench, keep, now, on_both, record};
use crate::support::postgres::url_as;

on_both!(
    older_rows_lie_in_the_archive_until_they_are_older_still,
    without_an_archive_rows_are_gone_at_once,
    for_ever_is_for_ever,
    numbers_that_went_are_no_gaps,
    a_number_that_nobody_gave_hides_no_gap,
    a_run_is_forgotten_with_its_last_row,
    rows_of_other_programs_age_as_policy_says,
    a_table_that_is_not_there_is_passed_over,
    one_table_in_trouble_does_not_keep_the_others,
    what_is_too_old_is_told_until_it_is_gone,
);

pub const DAY: Duration = Duration::from_secs(86_400);

pub fn days(days: u32) -> Age {
    Age::Days(days * DAY)
}

/// 30 days in the logs, then in the archive until they are 90 days old.
pub fn archiving() -> Keep {
    let log = Span { here: days(30), archive: Archive::Until(days(90)) };
    Keep { activity: log, api_calls: log, ..keep(30, 30, 30) }
}

fn aged(age: u32) -> CallRecord {
    CallRecord { at: now().minus(age * DAY), title: age.to_string().into(), ..record() }
}

pub fn others(table: &str, by: &str, only: Vec<Only>, span: Span) -> TableKeep {
    TableKeep { table: table.into(), by: by.into(), only, span, scheduled: Scheduled::ByHand }
}

pub fn of(done: &Maintained, table: &str) -> Retained {
    assert_eq!(done.troubles().collect::<Vec<_>>(), []);
    done.tables.iter().find(|retained| retained.table == table).unwrap().clone()
}

impl Bench {
    /// Rows of a log and of its archive.
    pub async fn here_and_there(&self, log: &str) -> (i64, i64) {
        let here = self.client_counts(&format!("select count(*) from {log}")).await;
        (here, self.client_counts(&format!("select count(*) from {log}_archive")).await)
    }

    /// The moment this many days ago, as the database writes it.
    pub fn ago(&self, days: u32) -> String {
        if self.url.starts_with("sqlite") { format!("datetime('now', '-{days} days')") } else { format!("now() - interval '{days} days'") }
    }

    async fn table_ages(&self, keep: &Keep) -> Vec<TableAge> {
        self.store.ages(now(), keep).await.unwrap()
    }
}

async fn older_rows_lie_in_the_archive_until_they_are_older_still(bench: Bench) {
    let bench = bench.migrated().await;
    let records: Vec<_> = [0, 10, 29, 32, 40, 88, 92, 400].into_iter().map(aged).collect();
    bench.store.write(&records).await.unwrap();
    let stats = bench.client_counts("select total_calls from eliza_gatekeeper_stats").await;

    let done = bench.store.maintain(now(), &archiving()).await.unwrap();
    for log in ["eliza_activity_log", "api_call_logs"] {
        let retained = of(&done, log);
        assert_eq!((retained.rows_archived, retained.rows_deleted), (3, 2), "{log}");
        assert_eq!(bench.here_and_there(log).await, (3, 3), "{log}");
    }
    let archived = &records[4];
    let whole = format!(
        "select count(*) from eliza_activity_log_archive as log join api_call_logs_archive as call on call.id = log.id
         where log.id = '{}' and title = '40' and log.status = 'completed' and activity_type = 'gatekeeper_call'
           and call.status = 'success' and execution_time_ms = 120 and call.created_at = log.created_at",
        archived.id
    );
    assert_eq!(bench.client_counts(&whole).await, 1);
    assert_eq!(bench.client_counts("select total_calls from eliza_gatekeeper_stats").await, stats);

    let again = bench.store.maintain(now(), &archiving()).await.unwrap();
    assert_eq!(again.audited(now(), &eliza_gatekeeper::audit::Actor::cause("retention")), None, "nothing was left to do: {again:?}");
    // Two months later the archive's rows are older than all policy keeps, and those that were young lie there.
    bench.store.maintain(now().plus(60 * DAY), &archiving()).await.unwrap();
    assert_eq!(bench.here_and_there("eliza_activity_log").await, (0, 3));
    bench.store.maintain(now().plus(95 * DAY), &archiving()).await.unwrap();
    assert_eq!(bench.here_and_there("eliza_activity_log").await, (0, 0));
    assert_eq!(bench.here_and_there("api_call_logs").await, (0, 0));
}

async fn without_an_archive_rows_are_gone_at_once(bench: Bench) {
    let bench = bench.migrated().await;
    bench.store.write(&[aged(0), aged(32), aged(40)]).await.unwrap();
    bench.store.maintain(now(), &archiving()).await.unwrap();
    assert_eq!(bench.here_and_there("eliza_activity_log").await, (1, 2));
    bench.store.write(&[aged(33)]).await.unwrap();
    // Policy changed its mind: what the archive holds is older than rows are kept.
    bench.store.maintain(now(), &keep(30, 30, 30)).await.unwrap();
    assert_eq!(bench.here_and_there("eliza_activity_log").await, (1, 0));
}

async fn for_ever_is_for_ever(bench: Bench) {
    let bench = bench.migrated().await;
    bench.store.write(&[aged(0), aged(400)]).await.unwrap();
    let for_ever = Span { here: Age::Forever, archive: Archive::None };
    let archived = Span { here: days(30), archive: Archive::Until(Age::Forever) };
    let keep = Keep { activity: for_ever, api_calls: archived, ..keep(30, 30, 30) };
    bench.store.maintain(now().plus(4000 * DAY), &keep).await.unwrap();
    assert_eq!(bench.here_and_there("eliza_activity_log").await, (2, 0));
    assert_eq!(bench.here_and_there("api_call_logs").await, (0, 2));
    assert!(bench.table_ages(&keep).await.iter().all(|age| !age.is_overdue()));
}

async fn numbers_that_went_are_no_gaps(bench: Bench) {
    let bench = bench.migrated().await;
    let (one, other) = (Uuid::now_v7(), Uuid::now_v7());
    let numbered = |instance, seq, age| CallRecord { origin: Some(Origin { instance, seq }), ..aged(age) };
    // A long call ends late: its number is higher than its moment lets expect.
    let ages = [(1, 40), (2, 40), (5, 39), (4, 10), (6, 5), (8, 0)];
    let calls: Vec<_> = ages.into_iter().map(|(seq, age)| numbered(one, seq, age)).chain([numbered(other, 1, 0)]).collect();
    bench.store.write(&calls).await.unwrap();
    let gaps = async || -> Vec<_> { bench.store.gaps(9).await.unwrap().into_iter().map(|gap| (gap.first, gap.last)).collect() };
    assert_eq!(gaps().await, [(3, 3), (7, 7)]);

    bench.store.maintain(now(), &archiving()).await.unwrap();
    assert_eq!(bench.here_and_there("eliza_activity_log").await, (4, 3));
    assert_eq!(gaps().await, [(7, 7)], "what was before is gone with its rows, what came after is watched still");
    let kept_from = format!("select kept_from from {} where instance = '{one}'", bench.own("instances"));
    assert_eq!(bench.client_counts(&kept_from).await, 6);

    bench.store.maintain(now().plus(31 * DAY), &keep(30, 30, 30)).await.unwrap();
    assert_eq!(gaps().await, []);
    assert_eq!(bench.client_counts(&kept_from).await, 9);
}

async fn a_number_that_nobody_gave_hides_no_gap(bench: Bench) {
    let bench = bench.migrated().await;
    let instance = Uuid::now_v7();
    let numbered = |seq, age| CallRecord { origin: Some(Origin { instance, seq }), ..aged(age) };
    bench.store.write(&[numbered(1, 40), numbered(2, 0)]).await.unwrap();
    let by_hand = format!(
        "insert into eliza_activity_log (activity_type, title, created_at, instance, seq) values ('t', 't', '2020-01-01', '{instance}', 1000000)"
    );
    bench.client_runs(&by_hand).await;
    bench.store.maintain(now(), &keep(30, 30, 30)).await.unwrap();
    // A row that is taken away today shows, whatever went before.
    bench.store.write(&[numbered(4, 0)]).await.unwrap();
    let gaps: Vec<_> = bench.store.gaps(9).await.unwrap().into_iter().map(|gap| (gap.first, gap.last)).collect();
    assert_eq!(gaps, [(3, 3)]);
}

async fn a_run_is_forgotten_with_its_last_row(bench: Bench) {
    let bench = bench.migrated().await;
    let (over, cut_off, running) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
    for instance in [over, cut_off, running] {
        bench.store.write(&[CallRecord { origin: Some(Origin { instance, seq: 1 }), ..aged(40) }]).await.unwrap();
    }
    bench.store.lost(&[Loss { instance: over, first: 2, last: 3, reason: LossReason::Shed, at: now() }]).await.unwrap();
    bench.store.ended(over, 3, now().minus(40 * DAY)).await.unwrap();
    bench.store.ended(cut_off, 1, now()).await.unwrap();
    let known = format!("select count(*) from {}", bench.own("instances"));
    bench.store.maintain(now(), &keep(50, 50, 30)).await.unwrap();
    assert_eq!(bench.client_counts(&known).await, 3, "its rows are there");
    bench.store.maintain(now(), &keep(30, 30, 30)).await.unwrap();
    assert_eq!(bench.client_counts(&known).await, 2, "one ended so long ago that nothing is left of it");
    assert_eq!(bench.client_counts(&format!("select count(*) from {}", bench.own("losses"))).await, 0);
    bench.store.maintain(now().plus(31 * DAY), &keep(30, 30, 30)).await.unwrap();
    assert_eq!(bench.client_counts(&format!("{known} where instance = '{running}'")).await, 1, "who may be running is known");
    assert_eq!(bench.client_counts(&known).await, 1);
}

/// Tables as the runbook knows them, with old rows and young ones.
async fn guests(bench: &Bench) {
    // Later than 90 days at any hour: a day goes as a whole, and some hours after its end.
    let (old, older, young) = (bench.ago(31), bench.ago(92), bench.ago(3));
    for sql in [
        "create table webhook_logs (id integer primary key, created_at timestamp)".to_owned(),
        "drop table if exists conversation_sessions".into(),
        "create table conversation_sessions (id integer primary key, is_active boolean, updated_at timestamp)".into(),
        "create table ops_mission_steps (id integer primary key, status varchar(20), failure_count integer default 0, updated_at timestamp)"
            .into(),
        format!("insert into webhook_logs values (1, {older}), (2, {old}), (3, {young})"),
        format!("insert into conversation_sessions values (1, true, {older}), (2, false, {older}), (3, false, {old}), (4, null, {older})"),
        format!(
            "insert into ops_mission_steps values (1, 'succeeded', 0, {older}), (2, 'failed', 3, {older}), (3, 'running', 0, {older}),
                                                  (4, 'failed', 1, {old})"
        ),
    ] {
        bench.client_runs(&sql).await;
    }
}

fn runbook() -> Keep {
    let is = |column: &str, values: Vec<OnlyValue>| vec![Only { column: column.into(), values }];
    let over = ["succeeded", "failed"].map(|status| OnlyValue::Text(status.into())).to_vec();
    let archived = Span { here: days(90), archive: Archive::Until(Age::Forever) };
    Keep {
        tables: vec![
            others("webhook_logs", "created_at", vec![], Span::of(30 * DAY)),
            others("conversation_sessions", "updated_at", is("is_active", vec![OnlyValue::Is(false)]), Span::of(90 * DAY)),
            others("ops_mission_steps", "updated_at", is("status", over), archived),
        ],
        ..archiving()
    }
}

async fn rows_of_other_programs_age_as_policy_says(bench: Bench) {
    let bench = bench.migrated().await;
    guests(&bench).await;
    let untouched = bench.store.maintain(now(), &runbook().scheduled()).await.unwrap();
    assert!(untouched.tables.iter().all(|retained| !retained.table.starts_with("ops")), "{untouched:?}");

    let done = bench.store.maintain(now(), &runbook()).await.unwrap();
    assert_eq!((of(&done, "webhook_logs").rows_deleted, of(&done, "conversation_sessions").rows_deleted), (2, 1));
    assert_eq!((of(&done, "ops_mission_steps").rows_archived, of(&done, "ops_mission_steps").rows_deleted), (2, 0));
    assert_eq!(bench.client_counts("select sum(id) from webhook_logs").await, 3);
    assert_eq!(bench.client_counts("select sum(id) from conversation_sessions").await, 1 + 3 + 4, "the active, the young, the unsure");
    assert_eq!(bench.client_counts("select sum(id) from ops_mission_steps").await, 3 + 4);
    assert_eq!(bench.client_counts("select sum(id) from ops_mission_steps_archive where status in ('succeeded', 'failed')").await, 1 + 2);
    assert_eq!(bench.client_counts("select cast(failure_count as bigint) from ops_mission_steps_archive where id = 2").await, 3);
    let by = eliza_gatekeeper::audit::Actor::cause("retention");
    let entry = done.audited(now(), &by).unwrap();
    assert_eq!(entry.after["ops_mission_steps"]["rows_archived"], 2, "{}", entry.after);
    let again = bench.store.maintain(now(), &runbook()).await.unwrap();
    assert_eq!(again.audited(now(), &by), None, "{again:?}");
}

async fn a_table_that_is_not_there_is_passed_over(bench: Bench) {
    let bench = bench.migrated().await;
    bench.client_runs("create view webhook_logs as select 1 as created_at").await;
    let done = bench.store.maintain(now(), &runbook()).await.unwrap();
    assert_eq!(done.troubles().collect::<Vec<_>>(), []);
    let named: Vec<_> = done.tables.iter().map(|retained| retained.table.as_str()).filter(|table| table.contains("_steps")).collect();
    assert_eq!(named, [""; 0]);
    let ages = bench.table_ages(&runbook()).await;
    assert!(ages.iter().all(|age| age.table != "webhook_logs" && age.trouble.is_none()), "{ages:?}");
}

async fn one_table_in_trouble_does_not_keep_the_others(bench: Bench) {
    let bench = bench.migrated().await;
    guests(&bench).await;
    let mut keep = runbook();
    keep.tables.insert(0, others("webhook_logs", "no_such_column", vec![], Span::of(30 * DAY)));
    bench.store.write(&[aged(40)]).await.unwrap();
    let done = bench.store.maintain(now(), &keep).await.unwrap();
    let troubles: Vec<_> = done.troubles().map(|(table, _)| table).collect();
    assert_eq!(troubles, ["webhook_logs"]);
    assert_eq!(bench.client_counts("select count(*) from webhook_logs").await, 1);
    assert_eq!(bench.here_and_there("eliza_activity_log").await, (0, 1));
    let told = bench.table_ages(&keep).await;
    assert_eq!(told.iter().filter(|age| age.trouble.is_some()).count(), 1, "{told:?}");
}

async fn what_is_too_old_is_told_until_it_is_gone(bench: Bench) {
    let bench = bench.migrated().await;
    guests(&bench).await;
    let overdue = async |keep: &Keep| -> Vec<String> {
        let ages = bench.table_ages(keep).await;
        assert!(ages.iter().all(|age| age.trouble.is_none()), "{ages:?}");
        ages.into_iter().filter(TableAge::is_overdue).map(|age| age.table).collect()
    };
    assert_eq!(overdue(&archiving()).await, [""; 0]);
    // A row is let go of with its whole day, and the day after: until then it is not late.
    bench.store.write(&[aged(29)]).await.unwrap();
    assert_eq!(overdue(&archiving()).await, [""; 0]);
    let counted = |at: Timestamp| CallRecord { counted: Some(crate::store_contract::counted(at, "a", "t:x")), at, ..record() };
    bench.store.write(&[aged(33), counted(now().minus(50 * DAY))]).await.unwrap();
    let logs = ["eliza_activity_log", "api_call_logs"];
    assert_eq!(overdue(&archiving()).await, [&logs[..], &["rate_limits"]].concat().into_iter().collect::<Vec<_>>());
    let all = overdue(&runbook()).await;
    assert_eq!(all.len(), 6, "{all:?}");

    bench.store.maintain(now(), &runbook()).await.unwrap();
    assert_eq!(overdue(&runbook()).await, [""; 0]);
    let ages = bench.table_ages(&runbook()).await;
    let oldest = |table: &str| ages.iter().find(|age| age.table == table).unwrap().oldest.map(|at| now().since(at).as_secs() / 86_400);
    assert_eq!((oldest("eliza_activity_log"), oldest("eliza_activity_log_archive")), (Some(29), Some(50)));
    assert_eq!((oldest("webhook_logs"), oldest("ops_mission_steps")), (Some(3), Some(31)), "those that may ever go count, no others");
}
