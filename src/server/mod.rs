//! The listeners: connections in, requests to the right plane, and an orderly end.
//!
//! Every wait has an end here: for a request's head, for a slow reader, for calls under way at shutdown. The bounds keep a crowd
//! of connections from becoming a crowd of buffers.

mod connection;
mod listeners;
mod patience;
mod planes;
mod proxies;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tower_http::catch_panic::CatchPanicLayer;

use crate::admin;
use crate::doors;
use crate::gatekeeper::Gatekeeper;
use crate::settings::Bounds;

pub use listeners::Listeners;
use planes::{Planes, Serving, panicked};

/// Out of descriptors or the like: accepting again at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop` says so, then lets the calls under way end, at most `bounds.drain` long.
pub async fn serve(gatekeeper: Arc<Gatekeeper>, listeners: Listeners, bounds: Bounds, mut stop: watch::Receiver<bool>) {
    let planes = Arc::new(Planes {
        data: doors::router(Arc::clone(&gatekeeper)).layer(CatchPanicLayer::custom(panicked)),
        ops: admin::router(Arc::clone(&gatekeeper)).layer(CatchPanicLayer::custom(panicked)),
        gatekeeper: Arc::clone(&gatekeeper),
        head: bounds.head,
        cut: watch::Sender::new(false),
    });
    let connections = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(bounds.connections));
    // Operators must get in when callers fill every place.
    let ops_places = Arc::new(Semaphore::new(256));
    let data_serving = if listeners.ops.is_some() { Serving::Data } else { Serving::Both };
    gatekeeper.health.started();
    tokio::select! {
        () = accept(&listeners.data, data_serving, &planes, &places, &connections) => {}
        () = accept_ops(listeners.ops.as_ref(), &planes, &ops_places, &connections) => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
    gatekeeper.health.draining();
    drop(listeners);
    let tunnels = &gatekeeper.pipeline.tunnels;
    let ended = async { _ = tokio::join!(connections.shutdown(), tunnels.ended()) };
    tokio::pin!(ended);
    if timeout(bounds.drain, &mut ended).await.is_err() {
        tracing::warn!("calls were still under way when the time to drain was over: they are cut off, and recorded so");
        planes.cut.send_replace(true);
        tunnels.cut();
        ended.await;
    }
}

async fn accept_ops(listener: Option<&TcpListener>, planes: &Arc<Planes>, places: &Arc<Semaphore>, connections: &GracefulShutdown) {
    match listener {
        Some(listener) => accept(listener, Serving::Ops, planes, places, connections).await,
        None => std::future::pending().await,
    }
}

async fn accept(listener: &TcpListener, serving: Serving, planes: &Arc<Planes>, places: &Arc<Semaphore>, connections: &GracefulShutdown) {
    loop {
        let Ok(place) = Arc::clone(places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let connection = connection::serve(stream, peer, serving, Arc::clone(planes), connections.watcher());
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
