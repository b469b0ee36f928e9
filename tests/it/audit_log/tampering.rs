//! Whatever somebody does to the audit log, or to what is sealed in it, is found and named, by the row.

use super::*;

on_both!(
    whatever_is_changed_in_a_row_the_row_is_named,
    what_is_removed_swapped_or_added_is_named,
    what_is_cut_off_shows_by_what_was_published,
    forgeries_keep_nothing_out,
    rows_taken_from_under_a_running_gatekeeper_are_told,
    a_log_that_says_something_else_is_named,
    a_row_of_the_archive_is_held_against_its_seal_too,
    a_long_log_is_proved_page_by_page,
    retention_takes_nothing_from_the_audit_log,
);

async fn whatever_is_changed_in_a_row_the_row_is_named(bench: Bench) {
    let bench = sealing(bench).await;
    bench.store.write(&[blocked(), blocked()]).await.unwrap();
    bench.store.audit(&[entry("a")]).await.unwrap();
    unguarded(&bench).await;
    let (log, whole) = (bench.own("audit_log"), head(&bench));
    bench.client_runs(&format!("create table kept_aside as select * from {log}")).await;

    // One byte of each column.
    let changes: &[(&str, &[&str])] = if is_sqlite(&bench) {
        &[
            ("instance", &["replace(instance, substr(instance, 1, 1), 'f')", "upper(instance)"]),
            ("n", &["n + 1", "n - 1", "n + 16", "-n"]),
            ("at", &["substr(at, 1, 25) || char(unicode(substr(at, 26)) + 1)", "replace(at, ' ', 'T')", "at || '0'", "'2'"]),
            ("kind", &["'e' || kind", "upper(kind)", "replace(kind, 'e', 'f')"]),
            ("id", &["'f' || substr(id, 2)", "replace(id, '-', '_')", "upper(id)"]),
            ("content", &["substr(content, 2)", "' ' || content", "replace(content, 'e', 'f')", "content || char(0)"]),
            ("key", &["substr(key, 2) || 'x'"]),
            ("prev", &["cast(iif(substr(prev, 1, 1) = x'01', x'02', x'01') || substr(prev, 2) as blob)", "substr(prev, 2)"]),
            ("hash", &["cast(substr(hash, 1, 31) || iif(substr(hash, 32) = x'aa', x'ab', x'aa') as blob)", "x''"]),
        ]
    } else {
        &[
            ("instance", &["overlay(instance::text placing 'f' from 1 for 1)::uuid"]),
            ("n", &["n + 1", "n - 1", "n + 16", "-n"]),
            ("at", &["at + interval '1 microsecond'", "at - interval '1 day'", "'infinity'"]),
            ("kind", &["upper(kind)", "kind || ' '"]),
            ("id", &["overlay(id::text placing 'f' from 1 for 1)::uuid"]),
            ("content", &["' ' || content", "substr(content, 2)", "replace(content, 'e', 'f')"]),
            ("key", &["substr(key, 2) || 'x'"]),
            ("prev", &["set_byte(prev, 0, get_byte(prev, 0) # 1)", "substr(prev, 2)"]),
            ("hash", &["set_byte(hash, 31, get_byte(hash, 31) # 128)", "''"]),
        ]
    };
    for n in 1..=4 {
        for (column, made) in changes {
            for made in *made {
                bench.client_runs(&format!("update {log} set {column} = {made} where n = {n}")).await;
                let (findings, _) = proved(&bench, &[whole]).await;
                let what = format!("row {n}, {column} = {made}: {findings:?}");
                let named = |finding: &Finding| match (*column, finding.wrong.as_str()) {
                    // It is missing where it was, and at home nowhere else.
                    ("instance" | "n", wrong) => ["changed", "missing"].contains(&wrong),
                    (_, wrong) => finding.n == n && ["changed", "key_unknown"].contains(&wrong),
                };
                assert!(findings.iter().any(named), "{what}");
                let put_back = format!(
                    "delete from {log}; insert into {log} {} select * from kept_aside",
                    if is_sqlite(&bench) { "" } else { "overriding system value" }
                );
                bench.client_runs(&put_back).await;
            }
        }
    }
    holds(proved(&bench, &[whole]).await);
}

async fn what_is_removed_swapped_or_added_is_named(bench: Bench) {
    let bench = sealing(bench).await;
    bench.store.write(&[blocked(), blocked(), blocked(), blocked()]).await.unwrap();
    unguarded(&bench).await;
    let (log, whole) = (bench.own("audit_log"), head(&bench));
    let system = if is_sqlite(&bench) { "" } else { "overriding system value" };
    bench.client_runs(&format!("create table kept_aside as select * from {log}")).await;
    let columns = "instance, n, at, kind, id, content, key, prev, hash";
    let forged = |n: &str, content: &str| {
        format!("insert into {log} ({columns}) select instance, {n}, at, kind, id, {content}, key, prev, hash from {log} where n = 3")
    };
    let cases = [
        (format!("delete from {log} where n = 3"), vec![(3, "missing")]),
        (format!("delete from {log} where n = 1"), vec![(1, "missing")]),
        (format!("delete from {log} where n in (2, 3, 4)"), vec![(2, "missing")]),
        (format!("update {log} set n = case n when 2 then 3 else 2 end where n in (2, 3)"), vec![(2, "changed")]),
        // The same, but with the numbers and hashes left where they were.
        (
            format!(
                "update {log} set content = (select content from kept_aside as other where other.n = 5 - {log}.n),
                     id = (select id from kept_aside as other where other.n = 5 - {log}.n) where n in (2, 3)"
            ),
            vec![(2, "changed")],
        ),
        (forged("n", "'{}'"), vec![(3, "changed")]),
        (forged("n", "content"), vec![(3, "order")]),
        (forged("n + 3", "content"), vec![(6, "changed")]),
        (forged("9223372036854775807", "content"), vec![(6, "missing")]),
        (forged("-9223372036854775808", "content"), vec![(i64::MIN, "changed")]),
        (forged("n", "content").replace("select instance", "select 'ffffffff-0000-7000-8000-000000000000'"), vec![(1, "missing")]),
    ];
    for (sql, expected) in cases {
        bench.client_runs(&sql).await;
        assert_eq!(wrong(&bench, &[whole]).await, expected, "{sql}");
        bench.client_runs(&format!("delete from {log}; insert into {log} {system} select * from kept_aside")).await;
    }
    holds(proved(&bench, &[whole]).await);
}

async fn what_is_cut_off_shows_by_what_was_published(bench: Bench) {
    let bench = sealing(bench).await;
    bench.store.write(&[blocked(), blocked(), blocked()]).await.unwrap();
    let early = head(&bench);
    bench.store.write(&[blocked(), blocked()]).await.unwrap();
    let late = head(&bench);
    assert_eq!((early.n, late.n), (4, 6));
    unguarded(&bench).await;
    let log = bench.own("audit_log");
    bench.client_runs(&format!("delete from {log} where n > 4")).await;
    assert_eq!(wrong(&bench, &[early]).await, []);
    assert_eq!(wrong(&bench, &[late]).await, [(6, "cut")]);
    bench.client_runs(&format!("delete from {log}")).await;
    let (findings, verified) = proved(&bench, &[late]).await;
    assert_eq!((findings.len(), verified.rows), (1, 0));
    assert!(findings[0].to_string().ends_with("row 6: missing, with the whole chain"), "{}", findings[0]);
}

async fn forgeries_keep_nothing_out(bench: Bench) {
    let bench = sealing(bench).await;
    bench.store.write(&[blocked()]).await.unwrap();
    let log = bench.own("audit_log");
    let top = if is_sqlite(&bench) { "9223372036854775807" } else { "1000" };
    let system = if is_sqlite(&bench) { "" } else { "overriding system value" };
    for (serial, n) in [("3", "n + 1"), (top, "9223372036854775807"), ("5", "n + 2")] {
        let forged = format!(
            "insert into {log} (serial, instance, n, at, kind, id, content, key, prev, hash) {system}
             select {serial}, instance, {n}, at, kind, id, content, key, hash, prev from {log} where n = 2"
        );
        bench.client_runs(&forged).await;
    }
    let last = blocked();
    bench.store.write(&[blocked(), last.clone()]).await.unwrap();
    bench.store.audit(&[entry("a")]).await.unwrap();
    let sql = format!("select count(*) from {log} where n = 4 and id = '{}'", last.id);
    assert_eq!((bench.client_counts(&sql).await, head(&bench).n), (1, 5));
    assert_eq!(bench.store.sealer().unwrap().times_tampered(), 0);
    let (findings, verified) = proved(&bench, &[head(&bench)]).await;
    assert_eq!((findings.len(), findings[0].n, findings[0].wrong.as_str()), (1, 3, "changed"), "{findings:?}");
    // Each of the three, and the hole before the highest number.
    assert!(verified.breaks >= 4, "{verified:?}");
}

async fn rows_taken_from_under_a_running_gatekeeper_are_told(bench: Bench) {
    let bench = sealing(bench).await;
    bench.store.write(&[blocked(), blocked()]).await.unwrap();
    unguarded(&bench).await;
    bench.client_runs(&format!("delete from {} where n = 3", bench.own("audit_log"))).await;
    bench.store.write(&[blocked()]).await.unwrap();
    assert_eq!((bench.store.sealer().unwrap().times_tampered(), head(&bench).n), (1, 4));
    assert_eq!(wrong(&bench, &[]).await, [(3, "missing")], "the chain goes on behind the hole, which shows without anything published");
}

async fn a_log_that_says_something_else_is_named(bench: Bench) {
    let bench = sealing(bench).await;
    let (call, noted) = (blocked(), entry("target:brain"));
    bench.store.write(std::slice::from_ref(&call)).await.unwrap();
    bench.store.audit(std::slice::from_ref(&noted)).await.unwrap();
    let (activity, audit) = (format!("where id = '{}'", call.id), format!("where id = '{}'", noted.id));
    let json = if is_sqlite(&bench) { "json_set(metadata, '$.sql', 'SELECT 1')" } else { "metadata || '{\"sql\": \"SELECT 1\"}'" };
    let changes = [
        (format!("update eliza_activity_log set status = 'completed' {activity}"), 2),
        (format!("update eliza_activity_log set title = 'x' {activity}"), 2),
        (format!("update eliza_activity_log set description = null {activity}"), 2),
        (format!("update eliza_activity_log set activity_type = 'gatekeeper_call' {activity}"), 2),
        (format!("update eliza_activity_log set metadata = {json} {activity}"), 2),
        (format!("update eliza_activity_log set created_at = '2020-01-01 00:00:00.000000' {activity}"), 2),
        (format!("update security_audit set actor = 'bob' {audit}"), 3),
        (format!("update security_audit set reason = null {audit}"), 3),
        (format!("update security_audit set after = '{{\"enabled\": true}}' {audit}"), 3),
    ];
    // What other programs note on a row is no change of what was recorded.
    bench.client_runs(&format!("update eliza_activity_log set mentioned_to_user = true, updated_at = created_at {activity}")).await;
    for table in ["eliza_activity_log", "security_audit"] {
        bench.client_runs(&format!("create table kept_{table} as select * from {table}")).await;
    }
    holds(proved(&bench, &[]).await);
    for (sql, n) in changes {
        bench.client_runs(&sql).await;
        let (findings, _) = proved(&bench, &[]).await;
        assert_eq!((findings.len(), findings[0].n, findings[0].wrong.as_str()), (1, n, "log_changed"), "{sql}");
        for table in ["eliza_activity_log", "security_audit"] {
            bench.client_runs(&format!("delete from {table}; insert into {table} select * from kept_{table}")).await;
        }
    }
    bench.client_runs("delete from security_audit").await;
    let (findings, verified) = proved(&bench, &[]).await;
    assert_eq!((findings.len(), findings[0].wrong.as_str(), findings[0].id, verified.breaks), (1, "gone", Some(noted.id), 1));
    // Unless policy lets go of them.
    let store = open(&bench.url, OPTIONS).await.unwrap();
    let none = HashMap::new();
    let verified = verify(store.as_ref(), &keys(&[A]), &none, Entries::MayGo, &mut |finding| panic!("{finding}")).await.unwrap();
    assert_eq!((verified.calls_gone, verified.entries_gone, verified.breaks), (0, 1, 0));
}

async fn a_row_of_the_archive_is_held_against_its_seal_too(bench: Bench) {
    let bench = sealing(bench).await;
    bench.store.write(&[CallRecord { at: now().minus(40 * DAY), ..blocked() }]).await.unwrap();
    bench.store.maintain(now(), &archiving()).await.unwrap();
    let verified = holds(proved(&bench, &[head(&bench)]).await);
    assert_eq!((verified.calls_gone, verified.compared), (0, 1));
    bench.client_runs("update eliza_activity_log_archive set description = 'nothing'").await;
    assert_eq!(wrong(&bench, &[]).await, [(2, "log_changed")]);
}

async fn a_long_log_is_proved_page_by_page(bench: Bench) {
    let bench = sealing(bench).await;
    let batch: Vec<_> = (0..999).map(|_| blocked()).collect();
    bench.store.write(&batch).await.unwrap();
    let other = gatekeeper(&bench.url, A).await;
    other.write(&batch.iter().map(|_| blocked()).collect::<Vec<_>>()).await.unwrap();
    let verified = holds(proved(&bench, &[head(&bench)]).await);
    assert_eq!((verified.chains, verified.rows, verified.compared), (2, 2000, 1998));
    unguarded(&bench).await;
    let mut named = String::new();
    write!(named, "update {} set content = content || ' ' where n = 1000", bench.own("audit_log")).unwrap();
    bench.client_runs(&named).await;
    assert_eq!(wrong(&bench, &[]).await, [(1000, "changed"), (1000, "changed")]);
}

async fn retention_takes_nothing_from_the_audit_log(bench: Bench) {
    let bench = sealing(bench).await;
    bench.store.write(&[CallRecord { at: now().minus(40 * DAY), ..blocked() }]).await.unwrap();
    let keep = crate::store_contract::keep(30, 30, 1);
    bench.store.maintain(now(), &keep).await.unwrap();
    let verified = holds(proved(&bench, &[head(&bench)]).await);
    assert_eq!((verified.rows, verified.calls_gone, verified.compared), (2, 1, 0));
}
