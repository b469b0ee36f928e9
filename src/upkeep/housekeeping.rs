//! Once an hour: room for the days to come, and what policy keeps no longer.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::told_to_stop;
use crate::audit::Actor;
use crate::gatekeeper::Gatekeeper;
use crate::retention::Keep;
use crate::store::{Maintained, SignalCursor, StoreError};
use crate::telemetry::metrics::RoundLabel;

const EVERY: Duration = Duration::from_secs(3600);

pub(super) async fn keep_house(
    gatekeeper: Arc<Gatekeeper>,
    mut is_up: watch::Receiver<Option<SignalCursor>>,
    mut stopping: watch::Receiver<bool>,
) {
    tokio::select! {
        () = told_to_stop(&mut stopping) => return,
        up = is_up.wait_for(Option::is_some) => if up.is_err() { return },
    }
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = told_to_stop(&mut stopping) => return,
            _ = tick.tick() => {}
        }
        round(&gatekeeper, stopping.clone()).await;
    }
}

/// What a round has let go of is audited, however it ends.
async fn round(gatekeeper: &Gatekeeper, mut stopping: watch::Receiver<bool>) {
    let keep = gatekeeper.pipeline.live.current().policy.retention.clone().scheduled();
    let now = gatekeeper.pipeline.clock.now();
    let mut done = Maintained::default();
    let ended = tokio::select! {
        ended = gatekeeper.store.maintain_into(now, &keep, &mut done) => Some(ended),
        () = told_to_stop(&mut stopping) => None,
    };
    let told = tell(gatekeeper, &done).await;
    let outcome = match ended {
        Some(Ok(())) => told,
        Some(Err(error)) => {
            tracing::error!(%error, "old rows could not be let go of; trying again in an hour");
            "failed"
        }
        None => return,
    };
    gatekeeper.metrics.retention_rounds.get_or_create(&RoundLabel { outcome }).inc();
    if let Err(error) = look_at_ages(gatekeeper, &keep).await {
        tracing::warn!(%error, "how old rows have grown could not be seen");
    }
}

async fn tell(gatekeeper: &Gatekeeper, done: &Maintained) -> &'static str {
    for retained in &done.tables {
        let (table, trouble) = (retained.table.as_str(), retained.trouble.as_deref());
        if let Some(why) = trouble {
            tracing::error!(table, why, "old rows could not be let go of; trying again in an hour");
        }
        if retained.busy {
            tracing::info!(table, "somebody reads what should go; trying again in an hour");
        }
    }
    tracing::info!(days_made = done.partitions_made, tables = ?done.tables, "the database is tidied");
    if let Some(entry) = done.audited(gatekeeper.pipeline.clock.now(), &Actor::cause("retention"))
        && let Err(error) = gatekeeper.store.audit(&[entry]).await
    {
        tracing::error!(%error, tables = ?done.tables, "that old rows were let go of could not be audited");
    }
    if done.troubles().next().is_some() { "failed" } else { "done" }
}

/// Rows that should be gone by now: an alert is made of their number of tables.
async fn look_at_ages(gatekeeper: &Gatekeeper, keep: &Keep) -> Result<(), StoreError> {
    let ages = gatekeeper.store.ages(gatekeeper.pipeline.clock.now(), keep).await?;
    let overdue: Vec<_> = ages.iter().filter(|age| age.is_overdue()).collect();
    for age in &overdue {
        let (oldest, due) = (age.oldest.map(|at| at.to_string()), age.due.map(|at| at.to_string()));
        tracing::error!(table = age.table, oldest, due, "rows are older than policy keeps them");
    }
    gatekeeper.metrics.retention_overdue.set(i64::try_from(overdue.len()).unwrap_or(i64::MAX));
    Ok(())
}
