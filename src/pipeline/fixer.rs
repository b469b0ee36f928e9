//! Telling the fixer of schema operations that were rejected: once for statements that differ in literals alone, and not again for a
//! while. No call waits for it. Each fix is recorded when it is triggered and when it is known what came of it, so that those that
//! failed are there for somebody to do by hand.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::Pipeline;
use crate::call::Head;
use crate::clock::Clock;
use crate::identity::TargetName;
use crate::policy::Target;
use crate::record::entries::{Entries, Fix, FixState};
use crate::upstream::{Ask, Towards, ask};
use crate::verdict::NoAnswer;

/// Fixes that wait for their turn. What they hold is bounded with them.
const QUEUE: usize = 64;
const SQL_LIMIT: usize = 64 * 1024;
const AT_ONCE: usize = 2;
/// Statements remembered at once, each for its cooldown.
const REMEMBERED: usize = 10_000;
const STOPPED: &str = "not carried out: the gatekeeper was stopped";

/// A schema operation that was rejected.
pub(super) struct Rejected {
    pub fixer: Arc<Target>,
    pub cooldown: Duration,
    /// Of the call, without its credentials.
    pub head: Head,
    pub source: String,
    pub target: TargetName,
    pub reason: String,
    pub sql: String,
    pub fingerprint: String,
    pub statement: Option<String>,
}

/// The way in: decides at once, and never waits.
pub struct Fixer {
    /// When each statement's fix was triggered, by fingerprint.
    triggered: Mutex<HashMap<String, u64>>,
    jobs: mpsc::Sender<Job>,
    entries: Entries,
    clock: Clock,
}

/// A fix to be carried out.
#[derive(Debug)]
pub struct Job {
    fix: Fix,
    fixer: Arc<Target>,
    head: Head,
    body: Bytes,
}

impl Fixer {
    /// The fixer's way in, and the far end of its queue.
    pub fn new(entries: Entries, clock: Clock) -> (Self, mpsc::Receiver<Job>) {
        let (jobs, queued) = mpsc::channel(QUEUE);
        (Self { triggered: Mutex::default(), jobs, entries, clock }, queued)
    }

    /// Whether somebody is at work on it, by this or by an earlier call.
    pub(super) fn trigger(&self, rejected: Rejected) -> bool {
        let Rejected { fixer, cooldown, head, source, target, reason, sql, fingerprint, statement } = rejected;
        let now = self.clock.monotonic_nanos();
        let is_at_work = |triggered: u64| u128::from(now.saturating_sub(triggered)) < cooldown.as_nanos();
        let place = {
            let mut triggered = self.triggered.lock().unwrap_or_else(PoisonError::into_inner);
            if triggered.get(&fingerprint).is_some_and(|at| is_at_work(*at)) {
                return true;
            }
            if triggered.len() >= REMEMBERED {
                triggered.retain(|_, at| is_at_work(*at));
            }
            let place = self.jobs.try_reserve().ok().filter(|_| triggered.len() < REMEMBERED);
            let Some(place) = place else {
                self.entries.no_room(head.id, &fingerprint);
                return false;
            };
            triggered.insert(fingerprint.clone(), now);
            place
        };
        let body = json!({ "type": "schema_error", "error": reason, "context": { "sql": cut(&sql), "source": source } });
        let fix = Fix { id: Uuid::now_v7(), call: head.id, fixer: fixer.name.clone(), source, target, reason, fingerprint, statement };
        self.note(&fix, &FixState::Triggered);
        place.send(Job { fix, fixer, head, body: body.to_string().into() });
        true
    }

    fn note(&self, fix: &Fix, state: &FixState) {
        self.entries.auto_fix(fix, state, self.clock.now());
    }
}

impl Pipeline {
    /// Carries fixes out until it is told to stop; what is not done by then is recorded as failed.
    pub async fn run_fixes(self: Arc<Self>, mut jobs: mpsc::Receiver<Job>, stopping: watch::Receiver<bool>) {
        let mut running = JoinSet::new();
        let mut stop = stopping.clone();
        loop {
            tokio::select! {
                // Before anything else: what ends by being stopped makes no room for the next.
                biased;
                () = told_to_stop(&mut stop) => break,
                job = jobs.recv(), if running.len() < AT_ONCE => match job {
                    Some(job) => _ = running.spawn(Arc::clone(&self).run_fix(job, stopping.clone())),
                    None => break,
                },
                Some(_) = running.join_next() => {}
            }
        }
        jobs.close();
        while let Some(job) = jobs.recv().await {
            self.fixer.note(&job.fix, &FixState::Failed { why: STOPPED.to_owned() });
        }
        while running.join_next().await.is_some() {}
    }

    async fn run_fix(self: Arc<Self>, job: Job, mut stopping: watch::Receiver<bool>) {
        let state = tokio::select! {
            state = self.carry_out(&job) => state,
            () = told_to_stop(&mut stopping) => FixState::Failed { why: "the gatekeeper was stopped before an answer came".to_owned() },
        };
        self.fixer.note(&job.fix, &state);
    }

    async fn carry_out(&self, job: &Job) -> FixState {
        let Job { fixer, head, body, .. } = job;
        let (shown, body) = (HeaderMap::new(), body.clone());
        let ask = Ask { head, shown: &shown, towards: Towards::Injected, target: fixer, timeout: fixer.timeout, body };
        match self.upstream.ask(ask).await {
            Ok(answer) if ask::admits_failure(&answer) => FixState::Failed { why: "it says so itself".to_owned() },
            // What came with success, but is nothing that can be read, is success.
            Ok(_) | Err(NoAnswer::TooLarge | NoAnswer::NotJson) => FixState::Succeeded,
            Err(why) => FixState::Failed { why: why.to_string() },
        }
    }
}

async fn told_to_stop(stopping: &mut watch::Receiver<bool>) {
    // Whoever could say so being gone says so too.
    let _gone = stopping.wait_for(|stop| *stop).await;
}

fn cut(sql: &str) -> &str {
    let end = (0..=SQL_LIMIT.min(sql.len())).rev().find(|at| sql.is_char_boundary(*at));
    sql.get(..end.unwrap_or_default()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{ManualClock, Timestamp};
    use crate::record::Recorder;

    fn rejected(statement: &str) -> Rejected {
        let head = Head::parse(
            &HeaderMap::new(),
            http::Version::HTTP_2,
            crate::identity::CallId::new(),
            Timestamp::default(),
            [0; 4].into(),
            None,
        );
        Rejected {
            fixer: Arc::new(fixer()),
            cooldown: Duration::from_secs(600),
            head: head.unwrap(),
            source: "gemini-chat".into(),
            target: TargetName::parse("brain").unwrap(),
            reason: "no".into(),
            sql: statement.into(),
            fingerprint: statement.into(),
            statement: None,
        }
    }

    fn fixer() -> Target {
        use crate::policy::{BodyShape, BreakerPolicy, Credentials};
        Target {
            name: TargetName::parse("fixer").unwrap(),
            url: None,
            shape: BodyShape::Payload,
            inspect: crate::policy::Inspect::Required,
            defaults: serde_json::Map::new(),
            timeout: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(1),
            credentials: Credentials::None,
            pass_authorization: false,
            callers: Vec::new(),
            breaker: BreakerPolicy { failures: std::num::NonZeroU32::MIN, open_for: Duration::from_secs(1) },
            link: crate::policy::Link::default(),
            health: None,
            place: crate::identity::Place::new("own.toml:1"),
        }
    }

    #[tokio::test]
    async fn what_there_is_no_room_for_is_counted_and_not_at_work() {
        let hand = ManualClock::at(Timestamp::from_secs(1000));
        let directory = tempfile::tempdir().unwrap();
        let entries = Entries::new(Recorder::within(directory.path()));
        let (fixer, mut jobs) = Fixer::new(entries.clone(), Clock::Manual(hand.clone()));
        let statement = |n: usize| format!("ALTER TABLE t{n} ADD a int");
        for n in 0..QUEUE {
            assert!(fixer.trigger(rejected(&statement(n))));
            assert!(fixer.trigger(rejected(&statement(n))), "it is at work");
        }
        assert!(!fixer.trigger(rejected(&statement(QUEUE))), "the queue is full");
        assert!(jobs.recv().await.is_some());
        assert!(fixer.trigger(rejected(&statement(QUEUE))), "what found no room is not remembered");

        for n in 0..REMEMBERED - QUEUE - 1 {
            assert!(jobs.recv().await.is_some());
            assert!(fixer.trigger(rejected(&format!("ALTER TABLE s{n} ADD a int"))));
        }
        assert!(jobs.recv().await.is_some());
        assert!(!fixer.trigger(rejected("ALTER TABLE one_more ADD a int")), "no more are remembered");
        hand.advance(Duration::from_secs(600));
        assert!(fixer.trigger(rejected("ALTER TABLE one_more ADD a int")), "those that are over make room");
        assert_eq!(fixer.triggered.lock().unwrap().len(), 1);
        let metrics = entries.metrics().render();
        for (outcome, count) in [("no_room", 2), ("triggered", REMEMBERED + 1)] {
            assert!(metrics.contains(&format!("gatekeeper_auto_fixes_total{{outcome=\"{outcome}\"}} {count}\n")), "{metrics}");
        }
    }

    #[test]
    fn long_sql_is_cut_between_characters() {
        assert_eq!(cut("é"), "é");
        let long = format!("a{}", "é".repeat(SQL_LIMIT));
        assert_eq!(cut(&long).len(), SQL_LIMIT - 1);
    }
}
