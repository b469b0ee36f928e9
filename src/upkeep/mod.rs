//! What goes on behind the calls: bringing the database up, carrying records, hearing of changes others made, and cleaning up.
//!
//! Every task here only ever waits for the database; no call waits for any of them.

mod apart;
mod audit_log;
mod bring_up;
pub mod counts;
mod duties;
mod housekeeping;
mod lookout;
mod turns;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet, yield_now};
use tokio::time::{MissedTickBehavior, interval, timeout};

pub use bring_up::StartError;

use crate::gatekeeper::{Gatekeeper, Queues};
use crate::record::compose::Folding;
use crate::record::orphans::{Counts, Orphans};
use crate::record::writer::Writer;
use crate::settings::Migrate;
use crate::store::SignalCursor;
use crate::tls::Look;
use apart::Apart;
use audit_log::{Told, publish, publish_heads, seal_entries};
use bring_up::{BringUpError, keep_bringing_up};
use duties::{follow_signals, record_folded, refresh_health, reread, run_errands, tell_database, touch_keys, watch_policies};
use housekeeping::keep_house;
use lookout::{look_for_platform, look_for_targets};

const HEALTH: Duration = Duration::from_secs(1);
const PLATFORM: Duration = Duration::from_secs(5);
/// Each is asked as often as its policy says; this is how often is looked who is due.
const TARGETS: Duration = Duration::from_millis(500);
const STRANGERS: Duration = Duration::from_secs(5);
const SWEEP: Duration = Duration::from_secs(60);
const KEY_USE: Duration = Duration::from_secs(30);
/// Changes are heard of at once; this is for what was missed while the database was away for long.
const REREAD: Duration = Duration::from_secs(300);
const ENFORCEMENT: Duration = Duration::from_millis(250);
const STATE: Duration = Duration::from_secs(5);
const CERTIFICATES: Duration = Duration::from_secs(1);
const REMINDER: Duration = Duration::from_secs(60);
/// How long a start waits for the database before it serves without: its limits begin at nothing then, until the counts are loaded.
const FIRST_WAIT: Duration = Duration::from_secs(5);

/// How long an entry of the audit may take at the end.
const LAST_ENTRY: Duration = Duration::from_secs(2);

/// The tasks, and how to end them.
pub struct Upkeep {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    writer: Apart,
    fixes: JoinHandle<()>,
    house: JoinHandle<()>,
}

impl Upkeep {
    /// Starts everything. A database that is away is waited for in the background; one that refuses the schema is an error now.
    pub async fn start(gatekeeper: &Arc<Gatekeeper>, queues: Queues, migrate: Migrate) -> Result<Self, StartError> {
        // Before anything else: what operators have said holds from the first call on, whether or not the database is there.
        gatekeeper.control.restore().await;
        // So does what dead processes left: from now on it counts as waiting.
        let writing = writer(gatekeeper);
        let mut orphans = Orphans::default();
        writing.adopt(&mut orphans, Counts::Missing).await;
        let (stop, stopping) = watch::channel(false);
        let (up, is_up) = watch::channel(None::<SignalCursor>);
        let mut tasks = JoinSet::new();

        // Never cut off half-way: a migration that takes longer than the wait goes on while calls are served.
        let (first, first_try) = oneshot::channel();
        tasks.spawn(keep_bringing_up(Arc::clone(gatekeeper), migrate, orphans, up, first, stopping.clone()));
        match timeout(FIRST_WAIT, first_try).await {
            Ok(Ok(Err(BringUpError::Start(error)))) => {
                tasks.shutdown().await;
                gatekeeper.pipeline.recorder.journal().clone().give_up(queues.records).await;
                return Err(error);
            }
            Ok(Ok(Err(BringUpError::Away(why)))) => serving_without(&why),
            Ok(Ok(Ok(()))) => {}
            Ok(Err(_)) | Err(_) => serving_without("it takes longer than a start waits"),
        }

        let Queues { records, fixes } = queues;
        let writer = {
            let mut is_up = is_up.clone();
            Apart::start(async move {
                if is_up.wait_for(Option::is_some).await.is_ok() {
                    writing.write_own(records).await;
                }
            })
        };
        let fixes = tokio::spawn({
            let (pipeline, stop) = (Arc::clone(&gatekeeper.pipeline), stopping.clone());
            async move { pipeline.run_fixes(fixes, stop).await }
        });
        tasks.spawn(follow_signals(Arc::clone(gatekeeper), is_up.clone(), stopping.clone()));
        every(&mut tasks, gatekeeper, HEALTH, &stopping, |gatekeeper| async move { refresh_health(&gatekeeper).await });
        every(&mut tasks, gatekeeper, PLATFORM, &stopping, |gatekeeper| async move { look_for_platform(&gatekeeper).await });
        every(&mut tasks, gatekeeper, TARGETS, &stopping, |gatekeeper| async move { look_for_targets(&gatekeeper).await });
        every(&mut tasks, gatekeeper, STRANGERS, &stopping, |gatekeeper| async move {
            let now = gatekeeper.pipeline.clock.now();
            record_folded(&gatekeeper, Folding::Strangers, gatekeeper.pipeline.strangers.drain(now));
            record_folded(&gatekeeper, Folding::Shed, gatekeeper.shed.drain(now));
        });
        every(&mut tasks, gatekeeper, SWEEP, &stopping, |gatekeeper| async move {
            for () in gatekeeper.pipeline.limiter.sweep(gatekeeper.pipeline.clock.now()) {
                // Calls that have come meanwhile go first.
                yield_now().await;
            }
        });
        every(&mut tasks, gatekeeper, KEY_USE, &stopping, |gatekeeper| async move { touch_keys(&gatekeeper).await });
        every(&mut tasks, gatekeeper, REREAD, &stopping, |gatekeeper| async move { reread(&gatekeeper).await });
        every(&mut tasks, gatekeeper, ENFORCEMENT, &stopping, |gatekeeper| async move { gatekeeper.control.look_at_enforcement() });
        every(&mut tasks, gatekeeper, STATE, &stopping, |gatekeeper| async move { gatekeeper.control.keep_state().await });
        every(&mut tasks, gatekeeper, REMINDER, &stopping, |gatekeeper| async move { gatekeeper.control.remind_of_enforcement() });
        every(&mut tasks, gatekeeper, CERTIFICATES, &stopping, |gatekeeper| async move {
            gatekeeper.locks.look_apart(Look::Regular, gatekeeper.pipeline.clock.now(), &gatekeeper.metrics).await;
        });
        tasks.spawn(watch_policies(Arc::clone(gatekeeper), stopping.clone()));
        tasks.spawn(run_errands(Arc::clone(gatekeeper), is_up.clone(), stopping.clone()));
        tasks.spawn(seal_entries(Arc::clone(gatekeeper), is_up.clone(), stopping.clone()));
        tasks.spawn(publish_heads(Arc::clone(gatekeeper), stopping.clone()));
        let house = tokio::spawn(keep_house(Arc::clone(gatekeeper), is_up, stopping));
        Ok(Self { stop, tasks, writer, fixes, house })
    }

    /// Ends the tasks and lets the writer empty its queue. Call it when no more calls are under way; what is not written by
    /// then waits for the database at most `patience` long.
    pub async fn stop(mut self, gatekeeper: &Gatekeeper, patience: Duration) {
        record_folded(gatekeeper, Folding::Strangers, gatekeeper.pipeline.strangers.drain_all());
        record_folded(gatekeeper, Folding::Shed, gatekeeper.shed.drain_all());
        touch_keys(gatekeeper).await;
        self.stop.send_replace(true);
        // It still audits what it has let go of.
        if timeout(LAST_ENTRY, &mut self.house).await.is_err() {
            self.house.abort();
        }
        let journal = gatekeeper.pipeline.recorder.journal();
        // Let go of with its task, for whoever starts next.
        let orphaned = journal.standing().waiting_in_orphans;
        // Whatever they ask the database can be left unasked.
        self.tasks.shutdown().await;
        tell_database(gatekeeper).await;
        // What is written last is what became of the fixes that were under way.
        let all = async {
            let _ended = (&mut self.fixes).await;
            let closing = journal.clone();
            let _closed = tokio::task::spawn_blocking(move || closing.close()).await;
            self.writer.ended().await;
        };
        if timeout(patience, all).await.is_err() {
            self.fixes.abort();
        }
        drop(self.writer);
        let records = journal.standing().waiting.saturating_add(orphaned);
        if records > 0 {
            tracing::warn!(
                records,
                "the database does not have these records yet: they lie in the journal, and are written at the next start"
            );
        }
        publish(gatekeeper, &mut Told::default()).await;
        gatekeeper.store.close().await;
    }
}

/// What carries records to the database.
fn writer(gatekeeper: &Gatekeeper) -> Writer {
    Writer {
        store: Arc::clone(&gatekeeper.store),
        journal: gatekeeper.pipeline.recorder.journal().clone(),
        metrics: Arc::clone(&gatekeeper.metrics),
        clock: gatekeeper.pipeline.clock.clone(),
        carried: {
            let pipeline = Arc::clone(&gatekeeper.pipeline);
            Arc::new(move |calls| counts::count_in(&pipeline, calls))
        },
    }
}

async fn told_to_stop(stopping: &mut watch::Receiver<bool>) {
    // Whoever could say so being gone says so too.
    let _gone = stopping.wait_for(|stop| *stop).await;
}

fn serving_without(why: &str) {
    tracing::error!(
        why,
        "the database is not ready: serving without it; records wait in the journal, limits begin at nothing until it is back"
    );
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
