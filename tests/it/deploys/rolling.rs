//! One new process after the other, under load.

use std::time::Duration;

use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use crate::ledger_faults::Site;
use crate::ledger_faults::load::{Heard, Load};
use crate::ledger_faults::rows::{self, Missing};
use crate::support::house::{HttpClient, eventually};
use crate::support::{Database, on_each_database};

/// `DEPLOYS_RESTARTS` says otherwise.
const RESTARTS: usize = 20;

on_each_database!(no_call_fails_and_none_is_recorded_twice_while_one_process_takes_over_from_another);

/// Keeps its connections, and tries nothing twice.
fn strict() -> HttpClient {
    Client::builder(TokioExecutor::new()).retry_canceled_requests(false).build_http()
}

/// Connects anew for each call.
fn forgetful() -> HttpClient {
    Client::builder(TokioExecutor::new()).retry_canceled_requests(false).pool_max_idle_per_host(0).build_http()
}

#[expect(clippy::print_stdout, reason = "what a run has to say")]
async fn no_call_fails_and_none_is_recorded_twice_while_one_process_takes_over_from_another(database: Database) {
    let restarts = std::env::var("DEPLOYS_RESTARTS").ok().and_then(|n| n.parse().ok()).unwrap_or(RESTARTS);
    let site = Site::on(database).await;
    // Time for callers who keep connections to be told on them.
    let program = site.program.clone().variable("GATEKEEPER_LAME_DUCK_SECONDS", "3");
    let mut serving = program.serve().await;
    let (data, ops) = (serving.data, serving.ops);
    let loads = [Load::steady_by(strict, data, 6, 120), Load::steady_by(forgetful, data, 2, 40)];
    for _ in 0..restarts {
        let next = program.take_over().await;
        assert_eq!((next.data, next.ops), (data, ops));
        let ended = serving.running.end().await.expect(0);
        assert!(!ended.err.contains("cut off"), "{}", ended.err);
        serving = next;
        let heard = loads.iter().map(Load::heard).sum::<usize>();
        eventually("calls are answered by the new one", || async { loads.iter().map(Load::heard).sum::<usize>() > heard + 10 }).await;
    }
    let mut heard = Heard::default();
    for load in loads {
        heard = heard.and(load.end().await);
    }
    let slowest = heard.whole.iter().map(|answer| answer.took).max().unwrap_or(Duration::ZERO);
    println!("{restarts} restarts, {} calls, the slowest took {slowest:?}", heard.whole.len());
    serving.stop().await.expect(0);

    let heard = heard.all(200);
    assert!(heard.whole.len() > restarts * 20, "that was hardly a load: {} answers", heard.whole.len());
    let there = rows::hold(&site.database, heard.ids(200)).await;
    assert_eq!(there.len(), heard.whole.len(), "a row for each call, and none for any other");
    assert_eq!(Missing::in_all(&site.database).await, Missing::NOTHING);
}
