//! The listeners: connections in, requests to the right plane, and an orderly end.
//!
//! Every wait has an end here: for a request's head, for a slow reader, for calls under way at shutdown. The bounds keep a crowd
//! of connections from becoming a crowd of buffers.

mod connection;
mod handover;
mod leaving;
mod listeners;
mod opening;
mod patience;
mod planes;
mod proxies;
mod systemd;
mod tls;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, timeout_at};
use tower_http::catch_panic::CatchPanicLayer;

use crate::admin;
use crate::doors;
use crate::gatekeeper::Gatekeeper;
use crate::settings::Bounds;

pub use handover::{Predecessor, Successors, TakeoverError};
use leaving::Exit;
pub use listeners::Listeners;
pub use opening::{Beginning, OpenError, Opened, open};
use planes::{Planes, Serving, panicked};
pub use systemd::{Inherited, Supervisor};

/// Out of descriptors or the like: accepting again at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Operators must get in when callers fill every place.
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
        head: bounds.head,
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
    let places = Arc::new(Semaphore::new(bounds.connections));
    let ops_places = Arc::new(Semaphore::new(OPS_CONNECTIONS));
    let data_serving = if listeners.ops.is_some() { Serving::Data } else { Serving::Both };
    let mut stopped = pin!(stopped(stop, bounds.lame_duck, planes));
    loop {
        let successor = tokio::select! {
            never = accept(&listeners.data, data_serving, planes, &places) => match never {},
            never = accept_ops(listeners.ops.as_ref(), planes, &ops_places) => match never {},
            () = &mut stopped => return Ended::Stopped,
            successor = successor(successors, listeners) => successor,
        };
        // Nothing is accepted while it is handed over: who connects now waits in the queues, for one process or the other.
        let pipeline = &planes.gatekeeper.pipeline;
        match successor.hand_over(pipeline.limiter.held(pipeline.clock.now())).await {
            Ok(()) => return Ended::HandedOver,
            Err(why) => tracing::error!(why, "a new process did not take over: this one serves on"),
        }
    }
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

async fn accept_ops(listener: Option<&TcpListener>, planes: &Arc<Planes>, places: &Arc<Semaphore>) -> Infallible {
    match listener {
        Some(listener) => accept(listener, Serving::Ops, planes, places).await,
        None => std::future::pending().await,
    }
}

async fn accept(listener: &TcpListener, serving: Serving, planes: &Arc<Planes>, places: &Arc<Semaphore>) -> Infallible {
    loop {
        // It is never closed.
        let Ok(place) = Arc::clone(places).acquire_owned().await else { return std::future::pending().await };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let connection = connection::serve(stream, peer, serving, Arc::clone(planes), planes.exit.guest());
                tokio::spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
