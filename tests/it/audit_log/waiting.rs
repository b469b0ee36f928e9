//! Entries that cannot be sealed at once are sealed as soon as they can be, whatever stands in the way of one of them.

use eliza_gatekeeper::store::StoreError;

use super::{entry, head, holds, is_sqlite, proved, sealing};
use crate::store_contract::{Bench, on_both};

on_both!(an_entry_that_cannot_be_sealed_for_a_moment_waits);

async fn an_entry_that_cannot_be_sealed_for_a_moment_waits(bench: Bench) {
    let bench = sealing(bench).await;
    let (log, hidden) = (bench.own("audit_log"), bench.own("hidden"));
    let name = |place: &str| if is_sqlite(&bench) { place.to_owned() } else { place.replace("gatekeeper.", "") };
    bench.client_runs(&format!("alter table {log} rename to {}", name(&hidden))).await;
    let entry = [entry("stage:sql_filter")];
    let refused = bench.store.audit(&entry).await;
    // What is refused is given up on, and in the log alone.
    assert!(matches!(refused, Err(StoreError::Away(_))), "{refused:?}");
    assert_eq!(bench.client_counts("select count(*) from security_audit").await, 0, "nothing is there that is not sealed");

    bench.client_runs(&format!("alter table {hidden} rename to {}", name(&log))).await;
    bench.store.audit(&entry).await.unwrap();
    assert_eq!(holds(proved(&bench, &[head(&bench)]).await).compared, 1);
}
