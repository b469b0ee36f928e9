//! What an earlier run has counted counts on: what the database knows of it, and what a running process hands over. Each of the two may
//! come first, and calls may be counted before the database's are there.

use std::sync::Arc;

use crate::gatekeeper::Gatekeeper;
use crate::gates::rate_limit::Held;
use crate::store::StoreError;

/// Adds all that the database knows of the windows that now run, or nothing.
pub(super) async fn load(gatekeeper: &Gatekeeper) -> Result<(), StoreError> {
    let pipeline = &gatekeeper.pipeline;
    let now = pipeline.clock.now();
    let policy = Arc::clone(&pipeline.live.current().policy);
    let mut loaded = Vec::new();
    for secs in &policy.limits.window_lengths {
        let start = now.floor(*secs);
        loaded.push((*secs, start, gatekeeper.store.counts_since(start).await?));
    }
    gatekeeper.earlier_counts.take(|are_there| {
        // What was handed over holds the database's, and they would count twice.
        if std::mem::replace(are_there, true) {
            return;
        }
        for (secs, start, rows) in &loaded {
            let rows = rows.iter().map(|row| (row.identifier.as_str(), row.endpoint.as_str(), row.count));
            pipeline.limiter.restore(&policy.sources, &policy.limits, *secs, *start, rows);
        }
    });
    Ok(())
}

/// Takes over what the process before this one has counted. Before the first call.
pub fn take_over(gatekeeper: &Gatekeeper, held: &[Held]) {
    let pipeline = &gatekeeper.pipeline;
    let policy = Arc::clone(&pipeline.live.current().policy);
    gatekeeper.earlier_counts.take(|are_there| {
        *are_there = true;
        pipeline.limiter.take_over(&policy.sources, &policy.limits, held);
    });
}
