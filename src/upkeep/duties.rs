//! The duties themselves: each does one thing, and leaves it for the next round if the database is away.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::told_to_stop;
use super::turns::Turns;
use crate::control::Kept;
use crate::gatekeeper::Gatekeeper;
use crate::gates::rate_limit::strangers::Folded;
use crate::health::{Database, MOST_EVENTS, Pool, RISK, SECURITY_WINDOW, SecurityEvents, StoreSeen};
use crate::journal::Class;
use crate::record::compose::{Folding, folded};
use crate::store::{PoolState, Signal, SignalCursor, StoreError};

const SIGNALS: Duration = Duration::from_millis(250);
/// What could not be read is not asked for at every look.
const READ_AGAIN: Duration = Duration::from_secs(1);
/// What is asked once a second must not pile up.
const PING: Duration = Duration::from_secs(2);

/// What others changed in the database takes effect here within a second.
pub(super) async fn follow_signals(
    gatekeeper: Arc<Gatekeeper>,
    mut is_up: watch::Receiver<Option<SignalCursor>>,
    mut stopping: watch::Receiver<bool>,
) {
    let Ok(Some(mut cursor)) = is_up.wait_for(Option::is_some).await.map(|cursor| cursor.clone()) else { return };
    let mut last_read = Instant::now();
    let mut tick = interval(SIGNALS);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = told_to_stop(&mut stopping) => return,
            _ = tick.tick() => {}
            // Whatever one of these has heard and another is chosen instead: the next tick asks anyway.
            () = gatekeeper.store.signalled() => {}
            () = gatekeeper.control.hurried() => {}
        }
        match gatekeeper.store.signals_after(&cursor).await {
            Ok((signals, next)) => {
                cursor = next;
                let is_news = !signals.is_empty();
                let mut turns = Turns::default();
                for signal in signals {
                    heed(&gatekeeper, signal).await;
                    // Somebody may have deleted the rows of a million sources.
                    turns.done().await;
                }
                // What could not be read is due until it could.
                if is_news || last_read.elapsed() >= READ_AGAIN {
                    gatekeeper.control.reread().await;
                    last_read = Instant::now();
                }
            }
            Err(error) => tracing::debug!(%error, "signals cannot be read"),
        }
    }
}

async fn heed(gatekeeper: &Gatekeeper, signal: Signal) {
    let limiter = &gatekeeper.pipeline.limiter;
    match signal {
        Signal::CountsDeleted { identifier, endpoint, minute, count } => {
            tracing::info!(identifier, endpoint, count, "counts were deleted: taken back");
            limiter.take_back(&identifier, &endpoint, minute, count);
        }
        Signal::AllCountsDeleted => {
            tracing::info!("all counts were deleted: every limit begins anew");
            for () in limiter.take_back_all() {
                yield_now().await;
            }
        }
        Signal::RulingsChanged => gatekeeper.control.is_due([Kept::Rulings]),
        Signal::FlagsChanged => gatekeeper.control.is_due([Kept::Flags]),
        Signal::BlocksChanged => gatekeeper.control.is_due([Kept::Blocks]),
        Signal::KeysChanged => gatekeeper.control.is_due([Kept::Keys]),
    }
}

pub(super) async fn watch_policies(gatekeeper: Arc<Gatekeeper>, mut stopping: watch::Receiver<bool>) {
    tokio::select! {
        () = told_to_stop(&mut stopping) => {}
        () = gatekeeper.control.watch_policies() => {}
    }
}

/// What the database must hear of the changes made here.
pub(super) async fn run_errands(
    gatekeeper: Arc<Gatekeeper>,
    mut is_up: watch::Receiver<Option<SignalCursor>>,
    mut stopping: watch::Receiver<bool>,
) {
    if is_up.wait_for(Option::is_some).await.is_err() {
        return;
    }
    tokio::select! {
        () = told_to_stop(&mut stopping) => {}
        () = gatekeeper.control.run_errands() => {}
    }
}

pub(super) async fn refresh_health(gatekeeper: &Gatekeeper) {
    let before = gatekeeper.health.store();
    // Before the database is asked: our own question would count among the connections in use.
    let pool = pool(gatekeeper.store.pool());
    let database = ask_database(gatekeeper).await;
    let security_events = match database.is_connected() {
        true => count_security_events(gatekeeper, before.security_events).await,
        false => before.security_events,
    };
    if before.database.is_connected() != database.is_connected() {
        if database.is_connected() {
            tracing::info!("the database is connected");
        } else {
            tracing::error!("the database is away: calls go on, records wait");
        }
    }
    let metrics = &gatekeeper.metrics;
    metrics.database_up.set(i64::from(database.is_connected()));
    if let Some(latency) = database.latency() {
        metrics.database_latency.set(latency.as_secs_f64());
    }
    metrics.pool_checked_out.set(i64::from(pool.checked_out));
    metrics.pool_most.set(i64::from(pool.most()));
    metrics.security_events.set(security_events.known().map_or(0, |count| i64::try_from(count).unwrap_or(i64::MAX)));
    let missing = gatekeeper.secrets().values().filter(|there| !**there).count();
    metrics.secrets_missing.set(i64::try_from(missing).unwrap_or(i64::MAX));
    gatekeeper.health.saw_store(StoreSeen { database, pool, security_events });
}

async fn ask_database(gatekeeper: &Gatekeeper) -> Database {
    let clock = &gatekeeper.pipeline.clock;
    let asked = clock.monotonic_nanos();
    match timeout(PING, gatekeeper.store.ping()).await {
        Ok(Ok(())) => Database::Connected { latency: Duration::from_nanos(clock.monotonic_nanos().saturating_sub(asked)) },
        Ok(Err(error)) => {
            tracing::debug!(%error, "the database does not answer");
            Database::Away
        }
        Err(_) => Database::Away,
    }
}

async fn count_security_events(gatekeeper: &Gatekeeper, before: SecurityEvents) -> SecurityEvents {
    let start = gatekeeper.pipeline.clock.now().minus(SECURITY_WINDOW);
    let (why, last) = match timeout(PING, gatekeeper.store.security_events(start, RISK, MOST_EVENTS)).await {
        Ok(Ok(count)) => return SecurityEvents::Counted(count),
        // It may take so long because there are so many: those that were known count until it is known better.
        Ok(Err(StoreError::Away(why))) => (why, before.known()),
        Err(_) => ("no answer in time".to_owned(), before.known()),
        Ok(Err(StoreError::Refused(why))) => (why, None),
    };
    // Complained of once, not once a second.
    if !matches!(before, SecurityEvents::Uncountable { .. }) {
        tracing::warn!(why, "security events cannot be counted");
    }
    SecurityEvents::Uncountable { last }
}

fn pool(state: PoolState) -> Pool {
    Pool {
        pool_size: state.pool_size,
        max_overflow: state.most.saturating_sub(state.pool_size),
        checked_out: state.size.saturating_sub(state.idle),
        checked_in: state.idle,
    }
}

/// Calls beyond the bound that nobody was known to stand behind, one record per network and minute.
pub(super) fn record_folded(gatekeeper: &Gatekeeper, what: Folding, those: Vec<Folded>) {
    for Folded { network, minute, count } in those {
        // Nobody waits for it.
        drop(gatekeeper.pipeline.recorder.record(Class::Stranger, &folded(what, network, minute, count)));
    }
}

pub(super) async fn touch_keys(gatekeeper: &Gatekeeper) {
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

pub(super) async fn reread(gatekeeper: &Gatekeeper) {
    gatekeeper.control.is_due(Kept::ALL);
    gatekeeper.control.reread().await;
}

/// One try, at the end: what it misses lies in the state directory.
pub(super) async fn tell_database(gatekeeper: &Gatekeeper) {
    match timeout(PING, gatekeeper.control.tell_database()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "the database is not told of the last changes yet"),
        Err(_) => tracing::debug!("the database is not told of the last changes yet"),
    }
}
