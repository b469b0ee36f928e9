//! The listeners: connections in, requests to the right plane, and an orderly end.
//!
//! Every wait has an end here: for a request's head, for a slow reader, for calls under way at shutdown. The bounds keep a crowd
//! of connections from becoming a crowd of buffers.

mod admission;
mod alarm;
mod attention;
mod connection;
mod cut;
mod doze;
mod ear;
mod ending;
mod handover;
mod leaving;
mod listeners;
mod opening;
mod pace;
mod patience;
mod planes;
mod presence;
mod proxies;
mod seats;
mod systemd;
mod tls;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{spawn_blocking, yield_now};
use tokio::time::{Instant, sleep, timeout_at};
use tower_http::catch_panic::CatchPanicLayer;

use crate::admin;
use crate::doors;
use crate::gatekeeper::Gatekeeper;
use crate::gates::rate_limit::Held;
use crate::pipeline::Pipeline;
use crate::settings::Bounds;

use admission::Admission;
use cut::Cut;
pub use handover::{Predecessor, Successors, TakeoverError};
use leaving::Exit;
pub use listeners::Listeners;
pub use opening::{Beginning, OpenError, Opened, open};
use planes::{Caller, Planes, Serving, panicked};
use presence::Limits;
use seats::Seats;
pub use systemd::{Inherited, Supervisor};

/// Out of descriptors or the like: accepting again at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Operators must get in when callers fill every seat.
const OPS_CONNECTIONS: usize = 256;

/// Whether the server is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    NotYet,
    /// Calls are taken for a while after `/readyz` has said that none should be sent.
    Announced,
    /// Nothing new is taken from now on.
    Unannounced,
}

/// Serves until `stop` says so, or a successor has taken over. Then calls under way end, at most `bounds.drain` long.
pub async fn serve(
    gatekeeper: Arc<Gatekeeper>,
    listeners: Listeners,
    successors: Option<Successors>,
    bounds: Bounds,
    stop: watch::Receiver<Stop>,
) {
    let planes = Arc::new(Planes {
        data: doors::router(Arc::clone(&gatekeeper)).layer(CatchPanicLayer::custom(panicked)),
        ops: admin::router(Arc::clone(&gatekeeper)).layer(CatchPanicLayer::custom(panicked)),
        gatekeeper: Arc::clone(&gatekeeper),
        admission: Admission::start(bounds.longest_wait, Arc::clone(&gatekeeper.metrics)),
        limits: Limits { head: bounds.head, idle: bounds.idle, taking: bounds.taking },
        pace: bounds.pace,
        exit: Exit::new(),
    });
    gatekeeper.health.started();
    let ended = take_calls(&listeners, successors.as_ref(), bounds, stop, &planes).await;
    let leaving = match ended {
        // They had that time while new ones were still taken.
        Ended::Stopped => Duration::ZERO,
        Ended::HandedOver => bounds.lame_duck,
    };
    if let (Ended::Stopped, Some(successors)) = (ended, successors) {
        successors.close();
    }
    drop(listeners);
    let tunnels = &gatekeeper.pipeline.tunnels;
    let end = Instant::now() + leaving + bounds.drain;
    if !planes.exit.close(leaving, bounds.drain).await || timeout_at(end, tunnels.ended()).await.is_err() {
        tracing::warn!("calls were still under way when the time to drain was over: they are cut off, and recorded so");
        tunnels.cut();
        planes.exit.cut().await;
        tunnels.ended().await;
    }
}

/// Why no more connections are taken.
enum Ended {
    Stopped,
    HandedOver,
}

async fn take_calls(
    listeners: &Listeners,
    successors: Option<&Successors>,
    bounds: Bounds,
    stop: watch::Receiver<Stop>,
    planes: &Arc<Planes>,
) -> Ended {
    let gatekeeper = &planes.gatekeeper;
    let open = gatekeeper.metrics.connections.clone();
    let seats = Seats::public(bounds.connections, bounds.of_one_network, gatekeeper.trusted_proxies.clone(), open);
    let ops_seats = Seats::reserved(OPS_CONNECTIONS);
    let data_serving = if listeners.ops.is_some() { Serving::Data } else { Serving::Both };
    let mut stopped = pin!(stopped(stop, bounds.lame_duck, planes));
    loop {
        let successor = tokio::select! {
            never = accept(&listeners.data, data_serving, planes, &seats) => match never {},
            never = accept_ops(listeners.ops.as_ref(), planes, &ops_seats) => match never {},
            () = &mut stopped => return Ended::Stopped,
            successor = successor(successors, listeners) => successor,
        };
        // Nothing is accepted while it is handed over: who connects now waits in the queues, for one process or the other.
        match successor.hand_over(held(&planes.gatekeeper.pipeline).await).await {
            Ok(()) => return Ended::HandedOver,
            Err(why) => tracing::error!(why, "a new process did not take over: this one serves on"),
        }
    }
}

/// What was counted. Calls under way go first: there may be a million counts, and choosing among them is done apart.
async fn held(pipeline: &Pipeline) -> Vec<Held> {
    let mut parts = Vec::new();
    for part in pipeline.limiter.held(pipeline.clock.now()) {
        parts.push(part);
        yield_now().await;
    }
    let chosen = spawn_blocking(move || Held::fullest(parts.into_iter().flatten().collect())).await;
    chosen.unwrap_or_else(|error| {
        tracing::error!(%error, "what was counted is not handed over: limits begin anew");
        Vec::new()
    })
}

/// Ends when no more connections are to be taken.
async fn stopped(mut stop: watch::Receiver<Stop>, lame_duck: Duration, planes: &Planes) {
    // Whoever could say so being gone says so too.
    let told = stop.wait_for(|stop| *stop != Stop::NotYet).await.map_or(Stop::Unannounced, |stop| *stop);
    planes.gatekeeper.health.draining();
    planes.exit.leave();
    if told == Stop::Announced {
        sleep(lame_duck).await;
    }
}

async fn successor(successors: Option<&Successors>, listeners: &Listeners) -> handover::Ready {
    match successors {
        Some(successors) => successors.ready(listeners).await,
        None => std::future::pending().await,
    }
}

async fn accept_ops(listener: Option<&TcpListener>, planes: &Arc<Planes>, seats: &Seats) -> Infallible {
    match listener {
        Some(listener) => accept(listener, Serving::Ops, planes, seats).await,
        None => std::future::pending().await,
    }
}

async fn accept(listener: &TcpListener, serving: Serving, planes: &Arc<Planes>, seats: &Seats) -> Infallible {
    loop {
        // It is never closed.
        let Some(room) = seats.room().await else { return std::future::pending().await };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let Some(seat) = seats.take(room, peer.ip()) else {
                    Cut::NetworkFull.count(&planes.gatekeeper.metrics);
                    continue;
                };
                let caller = Caller { address: peer, serving, manner: seat.manner };
                tokio::spawn(connection::serve(stream, caller, Arc::clone(planes), planes.exit.guest(), seat));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
