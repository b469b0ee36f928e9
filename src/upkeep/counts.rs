//! What an earlier run has counted counts on: what the database knows of it, what a running process hands over, and what a dead one left in
//! its journal. Any of them may come first, and calls may be counted before the database's are there.

use std::sync::Arc;

use super::turns::Turns;
use crate::gatekeeper::Gatekeeper;
use crate::gates::rate_limit::Held;
use crate::pipeline::Pipeline;
use crate::store::{Record, StoreError};

/// Adds all that the database knows of the windows that now run, or nothing. There may be a million rows, and the database may come while
/// calls are made: those go first.
pub(super) async fn load(gatekeeper: &Gatekeeper) -> Result<(), StoreError> {
    let pipeline = &gatekeeper.pipeline;
    let now = pipeline.clock.now();
    let policy = Arc::clone(&pipeline.live.current().policy);
    let mut loaded = Vec::new();
    for secs in &policy.limits.window_lengths {
        let start = now.floor(*secs);
        loaded.push((*secs, start, gatekeeper.store.counts_since(start).await?));
    }
    if !gatekeeper.earlier_counts.begin() {
        return Ok(());
    }
    let mut turns = Turns::default();
    for (secs, start, rows) in loaded {
        for row in rows {
            let row = [(row.identifier.as_str(), row.endpoint.as_str(), row.count)];
            let add = || pipeline.limiter.restore(&policy.sources, &policy.limits, secs, start, row);
            if !gatekeeper.earlier_counts.add(add) {
                return Ok(());
            }
            turns.done().await;
        }
    }
    Ok(())
}

/// Counts calls of the windows that now run, which were made through another process, and are in the database by now.
pub(super) fn count_in(pipeline: &Pipeline, calls: &[&Record<'_>]) {
    let now = pipeline.clock.now();
    let policy = Arc::clone(&pipeline.live.current().policy);
    for secs in &policy.limits.window_lengths {
        let start = now.floor(*secs);
        let counted = calls.iter().filter_map(|call| Some((call.counted.as_ref()?, u64::from(call.times))));
        let running = counted.filter(|(count, _)| count.minute >= start);
        let rows = running.map(|(count, times)| (count.identifier.as_ref(), count.endpoint.as_ref(), times));
        pipeline.limiter.restore(&policy.sources, &policy.limits, *secs, start, rows);
    }
}

/// Takes over what the process before this one has counted. Before the first call.
pub fn take_over(gatekeeper: &Gatekeeper, held: &[Held]) {
    let pipeline = &gatekeeper.pipeline;
    let policy = Arc::clone(&pipeline.live.current().policy);
    gatekeeper.earlier_counts.take(|| pipeline.limiter.take_over(&policy.sources, &policy.limits, held));
}
