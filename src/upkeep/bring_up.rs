//! Getting the database ready, at start and for as long as it takes: its schema, then all that operators have said, then what was counted.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep};

use super::counts;
use super::duties::reread;
use super::told_to_stop;
use crate::gatekeeper::Gatekeeper;
use crate::record::orphans::{Counts, Orphans};
use crate::record::writer::Writer;
use crate::settings::Migrate;
use crate::store::{SignalCursor, StoreError};

const RETRY: Duration = Duration::from_secs(1);
/// How long what dead processes left may keep a start waiting: mostly it is little, and then its counts are there for the first call.
const ORPHANS: Duration = Duration::from_secs(2);

/// The schema is not what this binary needs, and it may or can not change it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the database lacks migrations, and GATEKEEPER_MIGRATE=false: run `gatekeeper db deploy` first. Missing: {0}")]
    Missing(String),
    #[error("the database cannot be prepared: {0}")]
    Refused(String),
}

pub(super) enum BringUpError {
    Away(String),
    Start(StartError),
}

impl From<StoreError> for BringUpError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Away(why) => Self::Away(why),
            StoreError::Refused(why) => Self::Start(StartError::Refused(why)),
        }
    }
}

/// Schema, then a cursor, then what operators have said and what was counted: a change made in between is heard of twice rather than never.
/// (Counts deleted in that moment are taken back twice: whoever is unblocked then may get a few calls more.) What dead processes left comes
/// last, and may come later: what of it was not in the database when counts were loaded is counted when it is carried there.
///
/// Counts are added, so nothing that can fail comes after them. What operators have said and cannot be read is asked for again later: that
/// one row is broken must keep neither records from being written nor other changes from being heard.
async fn bring_up(gatekeeper: &Gatekeeper, migrate: Migrate, writer: &Writer, orphans: &mut Orphans) -> Result<SignalCursor, BringUpError> {
    let store = &gatekeeper.store;
    match migrate {
        Migrate::AtStart => store.migrate().await?,
        Migrate::Never => {
            let missing: Vec<_> =
                store.migrations().await?.into_iter().filter(|m| !m.applied).map(|m| format!("{} {}", m.version, m.name)).collect();
            if !missing.is_empty() {
                return Err(BringUpError::Start(StartError::Missing(missing.join(", "))));
            }
        }
    }
    let cursor = store.signal_cursor().await?;
    reread(gatekeeper).await;
    counts::load(gatekeeper).await?;
    writer.carry_over(orphans, Instant::now() + ORPHANS).await;
    Ok(cursor)
}

/// Tries until the database is as needed, and goes on with what dead processes leave. How the first try went is told to whoever waits
/// for the start.
pub(super) async fn keep_bringing_up(
    gatekeeper: Arc<Gatekeeper>,
    migrate: Migrate,
    mut orphans: Orphans,
    up: watch::Sender<Option<SignalCursor>>,
    first: oneshot::Sender<Result<(), BringUpError>>,
    mut stopping: watch::Receiver<bool>,
) {
    let writer = super::writer(&gatekeeper);
    let mut first = Some(first);
    loop {
        let tried = tokio::select! {
            () = told_to_stop(&mut stopping) => return,
            tried = bring_up(&gatekeeper, migrate, &writer, &mut orphans) => tried,
        };
        match (first.take(), tried) {
            (first, Ok(cursor)) => {
                tracing::info!("the database is ready: counts are loaded, and what operators have said");
                up.send_replace(Some(cursor));
                // Whoever waited may have gone on; then the log is the only reader.
                let _told = first.map(|first| first.send(Ok(())));
                break;
            }
            (Some(first), Err(error)) => drop(first.send(Err(error))),
            (None, Err(BringUpError::Away(why))) => tracing::debug!(why, "still waiting for the database"),
            (None, Err(BringUpError::Start(error))) => tracing::error!(%error, "the database is there, but not as needed"),
        }
        tokio::select! {
            () = told_to_stop(&mut stopping) => return,
            () = sleep(RETRY) => {}
        }
        writer.adopt(&mut orphans, Counts::Apart).await;
    }
    tokio::select! {
        () = told_to_stop(&mut stopping) => {}
        () = writer.keep_adopting(orphans) => {}
    }
}
