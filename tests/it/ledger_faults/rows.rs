//! What the database has of the calls, held against what their callers heard.

use std::collections::BTreeSet;

use crate::support::operator::{number, texts};

/// What the gaps view says is missing: for a reason, or for none.
#[derive(Debug, PartialEq, Eq)]
pub struct Missing {
    pub explained: i64,
    pub unexplained: i64,
}

impl Missing {
    pub const NOTHING: Self = Self { explained: 0, unexplained: 0 };

    pub async fn in_all(url: &str) -> Self {
        let missing = async |which: &str| {
            number(url, &format!("select cast(coalesce(sum(missing), 0) as bigint) from gatekeeper_log_gaps where {which}")).await
        };
        Self { explained: missing("reason is not null").await, unexplained: missing("reason is null").await }
    }
}

/// The ids in the activity log. Fails unless every call there has its row in both logs, once, and is counted wherever calls are.
pub async fn ids(url: &str) -> BTreeSet<String> {
    let mut of_tables = Vec::new();
    for table in ["eliza_activity_log", "api_call_logs"] {
        let rows = texts(url, &format!("select cast(id as text) from {table}")).await;
        let ids: BTreeSet<_> = rows.iter().cloned().collect();
        assert_eq!(rows.len(), ids.len(), "rows that are there twice in {table}");
        of_tables.push(ids);
    }
    let (api, activity) = (of_tables.pop().unwrap(), of_tables.pop().unwrap());
    assert_eq!(activity, api, "what has a row in one log has one in the other");

    let calls = i64::try_from(activity.len()).unwrap();
    let in_stats = "select cast(coalesce(sum(total_calls), 0) as bigint) from eliza_gatekeeper_stats";
    assert_eq!(number(url, in_stats).await, calls, "the statistics count every record once");
    let of_sources = "select count(*) from eliza_activity_log where metadata ->> 'source' <> 'unauthenticated'";
    let counted = "select cast(coalesce(sum(request_count), 0) as bigint) from rate_limits";
    assert_eq!(number(url, counted).await, number(url, of_sources).await, "the limits count every record of a source once");
    activity
}

/// Fails unless all of these are in the database as [`ids`] has it.
pub async fn hold<'a>(url: &str, answered: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    let there = ids(url).await;
    let lost: Vec<_> = answered.into_iter().filter(|id| !there.contains(*id)).collect();
    assert!(
        lost.is_empty(),
        "{} calls were answered and have no record, as {:?}; gaps: {:?}",
        lost.len(),
        lost.first(),
        Missing::in_all(url).await
    );
    there
}
