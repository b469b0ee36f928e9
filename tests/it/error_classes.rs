//! Errors can be told apart by whose fault they are, by target and by network: the query of docs/records.md, as operators paste it.

use std::collections::BTreeMap;

use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use crate::support::house::House;
use crate::support::targets::{Conduct, Targets};
use crate::support::{Database, on_each_database, rows};

on_each_database!(errors_are_counted_by_class_target_and_network);

/// The block of the page that asks for it.
fn query() -> String {
    let page = include_str!("../../docs/records.md");
    let block = page.split("\n\n").find(|block| block.contains("'error_class' as"));
    block.expect("the page holds the query").to_owned()
}

async fn errors_are_counted_by_class_target_and_network(database: Database) {
    let nowhere = "[[target]]\nnames = [\"nowhere\"]\nurl = \"http://127.0.0.1:9/{target}\"\ncredentials = \"none\"\n";
    let targets = Targets::like_the_platform().but("render-api", Conduct::json(500, &json!({ "error": "no" })));
    let house = House::plan().on(database).policy("nowhere.toml", nowhere).targets(targets).open().await;
    house.call("gemini-chat").to("agent-manager").action("list_agents").send().await.expect(200);
    for _ in 0..2 {
        house.call("gemini-chat").to("render-api").send().await.expect(500);
        house.call("gemini-chat").to("nowhere").send().await.expect(502);
    }
    house.call("gemini-chat").to("agent-manager").operation("DROP TABLE users").send().await.expect(403);
    // So many that most are folded into a count.
    for _ in 0..40 {
        house.nameless_call().to("agent-manager").send().await.expect(401);
    }
    house.call("gemini-chat").raw("{").send().await.expect(400);
    let recorded = house.records().await;
    let closed = house.close().await;

    let found: BTreeMap<(String, String, String), i64> = match database {
        Database::Sqlite => {
            let query = query().replace("now() - interval '1 hour'", "datetime('now', '-1 hour')");
            let rows = rows::rows(&closed.database, &query.replace(" as calls", " || '' as calls")).await;
            rows.into_iter().map(|row| ((row[0].clone(), row[1].clone(), row[2].clone()), row[3].parse().unwrap())).collect()
        }
        Database::Postgres => {
            let mut client = PgConnection::connect(&closed.database).await.unwrap();
            let rows = sqlx::query(AssertSqlSafe(query())).fetch_all(&mut client).await.unwrap();
            let text = |row: &sqlx::postgres::PgRow, at: usize| row.get::<Option<String>, _>(at).unwrap_or_default();
            rows.iter().map(|row| ((text(row, 0), text(row, 1), text(row, 2)), row.get::<i64, _>(3))).collect()
        }
    };
    let of = |class: &str, target: &str| found.get(&(class.into(), target.into(), "127.0.0.0/24".into())).copied();
    assert_eq!(of("target_error", "render-api"), Some(2), "{found:?}");
    assert_eq!(of("target_down", "nowhere"), Some(2), "{found:?}");
    assert_eq!(of("sql", "agent-manager"), Some(1), "{found:?}");
    assert_eq!(of("caller", ""), Some(1), "{found:?}");
    assert_eq!(of("auth", ""), Some(40), "folded ones too: {found:?}");
    assert_eq!(found.len(), 5, "what succeeded is not among them: {found:?}");
    assert!(recorded.iter().filter(|row| row.metadata["success"] == true).all(|row| row.metadata.get("error_class").is_none()));
}
