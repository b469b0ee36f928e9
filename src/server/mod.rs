//! The listeners: connections in, requests to the right plane, and an orderly end.
//!
//! Every wait has an end here: for a request's head, for a slow reader, for calls under way at shutdown. The bounds keep a crowd
//! of connections from becoming a crowd of buffers.

mod admission;
mod connection;
mod cut;
mod listeners;
mod pace;
mod patience;
mod planes;
mod presence;
mod proxies;
mod seats;

use std::sync::Arc;
use std::time::Duration;

use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tower_http::catch_panic::CatchPanicLayer;

use crate::admin;
use crate::doors;
use crate::gatekeeper::Gatekeeper;
use crate::settings::Bounds;

use admission::Admission;
use cut::Cut;
pub use listeners::Listeners;
use planes::{Planes, Serving, panicked};
use presence::Limits;
use seats::Seats;

/// Out of descriptors or the like: accepting again at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop` says so, then lets the calls under way end, at most `bounds.drain` long.
pub async fn serve(gatekeeper: Arc<Gatekeeper>, listeners: Listeners, bounds: Bounds, mut stop: watch::Receiver<bool>) {
    let planes = Arc::new(Planes {
        data: doors::router(Arc::clone(&gatekeeper)).layer(CatchPanicLayer::custom(panicked)),
        ops: admin::router(Arc::clone(&gatekeeper)).layer(CatchPanicLayer::custom(panicked)),
        gatekeeper: Arc::clone(&gatekeeper),
        admission: Admission::start(bounds.longest_wait, Arc::clone(&gatekeeper.metrics)),
        limits: Limits { head: bounds.head, idle: bounds.idle },
        pace: bounds.pace,
        cut: watch::Sender::new(false),
    });
    let connections = GracefulShutdown::new();
    let open = gatekeeper.metrics.connections.clone();
    let seats = Seats::public(bounds.connections, bounds.of_one_network, gatekeeper.trusted_proxies.clone(), open);
    // Operators must get in when callers fill every seat.
    let ops_seats = Seats::reserved(256);
    let data_serving = if listeners.ops.is_some() { Serving::Data } else { Serving::Both };
    gatekeeper.health.started();
    tokio::select! {
        () = accept(&listeners.data, data_serving, &planes, &seats, &connections) => {}
        () = accept_ops(listeners.ops.as_ref(), &planes, &ops_seats, &connections) => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
    gatekeeper.health.draining();
    drop(listeners);
    let ended = connections.shutdown();
    tokio::pin!(ended);
    if timeout(bounds.drain, &mut ended).await.is_err() {
        tracing::warn!("calls were still under way when the time to drain was over: they are cut off, and recorded so");
        planes.cut.send_replace(true);
        ended.await;
    }
}

async fn accept_ops(listener: Option<&TcpListener>, planes: &Arc<Planes>, seats: &Seats, connections: &GracefulShutdown) {
    match listener {
        Some(listener) => accept(listener, Serving::Ops, planes, seats, connections).await,
        None => std::future::pending().await,
    }
}

async fn accept(listener: &TcpListener, serving: Serving, planes: &Arc<Planes>, seats: &Seats, connections: &GracefulShutdown) {
    loop {
        let Some(room) = seats.room().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let Some(seat) = seats.take(room, peer.ip()) else {
                    Cut::NetworkFull.count(&planes.gatekeeper.metrics);
                    continue;
                };
                tokio::spawn(connection::serve(stream, peer, serving, Arc::clone(planes), connections.watcher(), seat));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
