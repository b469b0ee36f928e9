//! Tables that other programs keep are theirs: whatever they hold and however they are made, no row goes that policy keeps, none is lost on
//! its way to an archive, and what cannot be done is told.

use eliza_gatekeeper::retention::{Keep, Span, TableKeep};
use eliza_gatekeeper::store::TableAge;

use crate::store_contract::{Bench, now};
use crate::store_retention::{DAY, archiving, others};

fn keeping(table: TableKeep) -> Keep {
    Keep { tables: vec![table], ..archiving() }
}

/// What one round did not do in a table, and why.
async fn trouble(bench: &Bench, keep: &Keep, table: &str) -> Option<String> {
    let done = bench.store.maintain(now(), keep).await.unwrap();
    done.tables.into_iter().find(|retained| retained.table == table).unwrap().trouble
}

async fn age(bench: &Bench, keep: &Keep, table: &str) -> TableAge {
    bench.store.ages(now(), keep).await.unwrap().into_iter().find(|age| age.table == table).unwrap()
}

mod on_sqlite_alone {
    use super::*;

    #[tokio::test]
    async fn rows_whose_moment_is_a_number_stay_and_are_told() {
        let bench = Bench::sqlite().await.migrated().await;
        bench.client_runs("create table webhook_logs (id integer primary key, created_at integer default (unixepoch()))").await;
        bench.client_runs("insert into webhook_logs (id) values (1), (2)").await;
        bench.client_runs("insert into webhook_logs values (3, '2020-01-01'), (4, 2.5), (5, 'long ago'), (6, null), (7, x'00')").await;
        let keep = keeping(others("webhook_logs", "created_at", vec![], Span::of(30 * DAY)));
        let told = trouble(&bench, &keep, "webhook_logs").await.unwrap();
        assert!(told.contains("created_at is no moment"), "{told}");
        assert_eq!(bench.client_counts("select sum(id) from webhook_logs").await, 1 + 2 + 4 + 5 + 6 + 7);
        let age = age(&bench, &keep, "webhook_logs").await;
        assert_eq!((age.oldest, age.trouble), (None, Some(told)));

        bench.client_runs("delete from webhook_logs where created_at is not null").await;
        assert_eq!(trouble(&bench, &keep, "webhook_logs").await, None, "no moment at all is nothing to tell of");
    }

    #[tokio::test]
    async fn a_date_alone_goes_with_its_day() {
        let bench = Bench::sqlite().await.migrated().await;
        bench.client_runs("create table webhook_logs (created_at text)").await;
        bench.client_runs("insert into webhook_logs values (date('now', '-30 days')), (date('now', '-31 days'))").await;
        let keep = keeping(others("webhook_logs", "created_at", vec![], Span::of(30 * DAY)));
        assert_eq!(trouble(&bench, &keep, "webhook_logs").await, None);
        assert_eq!(bench.client_counts("select count(*) from webhook_logs where created_at = date('now', '-30 days')").await, 1);
        assert_eq!(bench.client_counts("select count(*) from webhook_logs").await, 1);
    }
}
