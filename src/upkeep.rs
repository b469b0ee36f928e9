//! What goes on behind the calls: bringing the database up, carrying records, hearing of changes others made, and cleaning up.
//!
//! Every task here only ever waits for the database; no call waits for any of them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::gatekeeper::Gatekeeper;
use crate::gates::rate_limit::strangers::Folded;
use crate::health::Database;
use crate::record::compose::folded_strangers;
use crate::record::writer::write_all;
use crate::settings::Migrate;
use crate::store::{CallRecord, Keep, Signal, SignalCursor, StoreError};

const HEALTH: Duration = Duration::from_secs(1);
const SIGNALS: Duration = Duration::from_millis(250);
const STRANGERS: Duration = Duration::from_secs(5);
const SWEEP: Duration = Duration::from_secs(60);
const KEY_USE: Duration = Duration::from_secs(30);
const MAINTENANCE: Duration = Duration::from_secs(3600);
/// How long a start waits for the database before it serves without: its limits begin at nothing then, until the counts are loaded.
const FIRST_WAIT: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_secs(1);
/// What is asked once a second must not pile up.
const PING: Duration = Duration::from_secs(2);

/// The tasks, and how to end them.
pub struct Upkeep {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    writer: tokio::task::JoinHandle<()>,
}

/// The schema is not what this binary needs, and it may or can not change it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the database lacks migrations, and GATEKEEPER_MIGRATE=false: run `gatekeeper db deploy` first. Missing: {0}")]
    Missing(String),
    #[error("the database cannot be prepared: {0}")]
    Refused(String),
}

impl Upkeep {
    /// Starts everything. A database that is away is waited for in the background; one that refuses the schema is an error now.
    pub async fn start(gatekeeper: &Arc<Gatekeeper>, records: mpsc::Receiver<CallRecord>, migrate: Migrate) -> Result<Self, StartError> {
        let (stop, stopping) = watch::channel(false);
        let (up, is_up) = watch::channel(None::<SignalCursor>);
        let mut tasks = JoinSet::new();

        // Never cut off half-way: a migration that takes longer than the wait goes on while calls are served.
        let (first, first_try) = oneshot::channel();
        tasks.spawn(keep_bringing_up(Arc::clone(gatekeeper), migrate, up, first, stopping.clone()));
        match timeout(FIRST_WAIT, first_try).await {
            Ok(Ok(Err(BringUpError::Start(error)))) => return Err(error),
            Ok(Ok(Err(BringUpError::Away(why)))) => away_at_start(&why),
            Ok(Ok(Ok(()))) => {}
            Ok(Err(_)) | Err(_) => away_at_start("no answer yet"),
        }

        let writer = {
            let (store, metrics, mut is_up, stop) =
                (Arc::clone(&gatekeeper.store), Arc::clone(&gatekeeper.metrics), is_up.clone(), stopping.clone());
            tokio::spawn(async move {
                if is_up.wait_for(Option::is_some).await.is_ok() {
                    write_all(store, records, metrics, stop).await;
                }
            })
        };
        tasks.spawn(follow_signals(Arc::clone(gatekeeper), is_up.clone(), stopping.clone()));
        every(&mut tasks, gatekeeper, HEALTH, &stopping, |gatekeeper| async move { refresh_health(&gatekeeper).await });
        every(&mut tasks, gatekeeper, STRANGERS, &stopping, |gatekeeper| async move {
            record_strangers(&gatekeeper, gatekeeper.pipeline.strangers.drain(gatekeeper.pipeline.clock.now()));
        });
        every(&mut tasks, gatekeeper, SWEEP, &stopping, |gatekeeper| async move {
            gatekeeper.pipeline.limiter.sweep(gatekeeper.pipeline.clock.now());
        });
        every(&mut tasks, gatekeeper, KEY_USE, &stopping, |gatekeeper| async move { touch_keys(&gatekeeper).await });
        tasks.spawn(maintain(Arc::clone(gatekeeper), is_up, stopping));
        Ok(Self { stop, tasks, writer })
    }

    /// Ends the tasks and lets the writer empty its queue. Call it when no more calls are under way; what is not written by
    /// then waits for the database at most `patience` long.
    pub async fn stop(mut self, gatekeeper: &Gatekeeper, patience: Duration) {
        record_strangers(gatekeeper, gatekeeper.pipeline.strangers.drain_all());
        touch_keys(gatekeeper).await;
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
        if timeout(patience, &mut self.writer).await.is_err() {
            self.writer.abort();
        }
        let lost = gatekeeper.metrics.records_waiting.get();
        if lost > 0 {
            tracing::error!(records = lost, "the database stayed away: these records are lost");
        }
        gatekeeper.store.close().await;
    }
}

async fn told_to_stop(stopping: &mut watch::Receiver<bool>) {
    // Whoever could say so being gone says so too.
    let _gone = stopping.wait_for(|stop| *stop).await;
}

fn away_at_start(why: &str) {
    tracing::error!(why, "the database is away: serving without it; records wait, limits begin at nothing until it is back");
}

enum BringUpError {
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

/// Schema, then a cursor, then what was counted and which keys there are: a change made in between is heard of twice rather than never.
async fn bring_up(gatekeeper: &Gatekeeper, migrate: Migrate) -> Result<SignalCursor, BringUpError> {
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
    let pipeline = &gatekeeper.pipeline;
    let now = pipeline.clock.now();
    let policy = Arc::clone(&pipeline.live.current().policy);
    for secs in &policy.limits.window_lengths {
        let start = now.floor(*secs);
        let rows = store.counts_since(start).await?;
        let rows = rows.iter().map(|row| (row.identifier.as_str(), row.endpoint.as_str(), row.count));
        pipeline.limiter.restore(&policy.sources, &policy.limits, *secs, start, rows);
    }
    gatekeeper.use_keys(store.keys().await?);
    Ok(cursor)
}

/// Tries until the database is as needed. How the first try went is told to whoever waits for the start.
async fn keep_bringing_up(
    gatekeeper: Arc<Gatekeeper>,
    migrate: Migrate,
    up: watch::Sender<Option<SignalCursor>>,
    first: oneshot::Sender<Result<(), BringUpError>>,
    mut stopping: watch::Receiver<bool>,
) {
    let mut first = Some(first);
    loop {
        let tried = tokio::select! {
            () = told_to_stop(&mut stopping) => return,
            tried = bring_up(&gatekeeper, migrate) => tried,
        };
        let tried = match tried {
            Ok(cursor) => {
                tracing::info!("the database is ready: counts and keys are loaded");
                up.send_replace(Some(cursor));
                Ok(())
            }
            Err(error) => Err(error),
        };
        let is_up = tried.is_ok();
        match (first.take(), tried) {
            // Whoever waited may have gone on; then the log is the only reader.
            (Some(first), tried) => drop(first.send(tried)),
            (None, Err(BringUpError::Away(why))) => tracing::debug!(why, "still waiting for the database"),
            (None, Err(BringUpError::Start(error))) => tracing::error!(%error, "the database is there, but not as needed"),
            (None, Ok(())) => {}
        }
        // The channel stays open for those who wait on it.
        let pause = if is_up { Duration::MAX } else { RETRY };
        tokio::select! {
            () = told_to_stop(&mut stopping) => return,
            () = sleep(pause) => {}
        }
    }
}

/// What others changed in the database takes effect here within a second.
async fn follow_signals(
    gatekeeper: Arc<Gatekeeper>,
    mut is_up: watch::Receiver<Option<SignalCursor>>,
    mut stopping: watch::Receiver<bool>,
) {
    let Ok(Some(mut cursor)) = is_up.wait_for(Option::is_some).await.map(|cursor| cursor.clone()) else { return };
    let mut tick = interval(SIGNALS);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = told_to_stop(&mut stopping) => return,
            _ = tick.tick() => {}
        }
        match gatekeeper.store.signals_after(&cursor).await {
            Ok((signals, next)) => {
                // Keys first: if they cannot be read the cursor stays, and all is heard again.
                if signals.contains(&Signal::KeysChanged) {
                    match gatekeeper.store.keys().await {
                        Ok(keys) => gatekeeper.use_keys(keys),
                        Err(error) => {
                            tracing::warn!(%error, "keys changed, but cannot be read yet");
                            continue;
                        }
                    }
                }
                for signal in signals {
                    heed(&gatekeeper, signal);
                }
                cursor = next;
            }
            Err(error) => tracing::debug!(%error, "signals cannot be read"),
        }
    }
}

fn heed(gatekeeper: &Gatekeeper, signal: Signal) {
    let limiter = &gatekeeper.pipeline.limiter;
    match signal {
        Signal::CountsDeleted { identifier, endpoint, minute, count } => {
            tracing::info!(identifier, endpoint, count, "counts were deleted: taken back");
            limiter.take_back(&identifier, &endpoint, minute, count);
        }
        Signal::AllCountsDeleted => {
            tracing::info!("all counts were deleted: every limit begins anew");
            limiter.take_back_all();
        }
        Signal::KeysChanged => {}
    }
}

fn every<F>(
    tasks: &mut JoinSet<()>,
    gatekeeper: &Arc<Gatekeeper>,
    period: Duration,
    stopping: &watch::Receiver<bool>,
    what: impl Fn(Arc<Gatekeeper>) -> F + Send + 'static,
) where
    F: Future<Output = ()> + Send,
{
    let (gatekeeper, mut stopping) = (Arc::clone(gatekeeper), stopping.clone());
    tasks.spawn(async move {
        let mut tick = interval(period);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = told_to_stop(&mut stopping) => return,
                _ = tick.tick() => what(Arc::clone(&gatekeeper)).await,
            }
        }
    });
}

async fn refresh_health(gatekeeper: &Gatekeeper) {
    let clock = &gatekeeper.pipeline.clock;
    let asked = clock.monotonic_nanos();
    let database = match timeout(PING, gatekeeper.store.ping()).await {
        Ok(Ok(())) => Database::Connected { latency: Duration::from_nanos(clock.monotonic_nanos().saturating_sub(asked)), at: clock.now() },
        Ok(Err(error)) => {
            tracing::debug!(%error, "the database does not answer");
            Database::Away { at: clock.now() }
        }
        Err(_) => Database::Away { at: clock.now() },
    };
    let before = gatekeeper.health.database();
    if before.is_connected() != database.is_connected() {
        if database.is_connected() {
            tracing::info!("the database is connected");
        } else {
            tracing::error!("the database is away: calls go on, records wait");
        }
    }
    gatekeeper.metrics.database_up.set(i64::from(database.is_connected()));
    gatekeeper.health.set_database(database);
}

/// Failed authentications beyond the bound, one record per network and minute.
fn record_strangers(gatekeeper: &Gatekeeper, folded: Vec<Folded>) {
    for Folded { network, minute, count } in folded {
        gatekeeper.pipeline.recorder.record(folded_strangers(network, minute, count));
    }
}

async fn touch_keys(gatekeeper: &Gatekeeper) {
    let keys = Arc::clone(&gatekeeper.pipeline.live.current().keys);
    let used: Vec<_> = keys.iter().filter_map(|key| Some((key.id.clone(), key.last_used()?))).collect();
    if used.is_empty() {
        return;
    }
    match timeout(PING, gatekeeper.store.touch_keys(&used)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "the last use of keys is not noted yet"),
        Err(_) => tracing::debug!("the last use of keys is not noted yet"),
    }
}

async fn maintain(gatekeeper: Arc<Gatekeeper>, mut is_up: watch::Receiver<Option<SignalCursor>>, mut stopping: watch::Receiver<bool>) {
    if is_up.wait_for(Option::is_some).await.is_err() {
        return;
    }
    let mut tick = interval(MAINTENANCE);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = told_to_stop(&mut stopping) => return,
            _ = tick.tick() => {}
        }
        let retention = gatekeeper.pipeline.live.current().policy.retention;
        let keep = Keep { activity: retention.activity, api_calls: retention.api_calls, rate_limits: retention.rate_limits };
        tokio::select! {
            () = told_to_stop(&mut stopping) => return,
            maintained = gatekeeper.store.maintain(gatekeeper.pipeline.clock.now(), &keep) => match maintained {
                Ok(done) => tracing::info!(rows = done.rows_deleted, made = done.partitions_made, dropped = done.partitions_dropped, "the database is tidied"),
                Err(error) => tracing::warn!(%error, "the database could not be tidied; trying again in an hour"),
            }
        }
    }
}
