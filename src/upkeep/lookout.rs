//! Looking after what the gatekeeper depends on and does not own: the platform, and targets that say where their health is asked for.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::gatekeeper::Gatekeeper;
use crate::health::Platform;

/// A platform that takes longer to take a connection counts as away.
const PATIENCE: Duration = Duration::from_secs(2);
/// Addresses asked at once.
const AT_ONCE: usize = 32;

/// A bare connection: nothing is asked of the platform, so nothing there is called or counted.
pub(super) async fn look_for_platform(gatekeeper: &Gatekeeper) {
    let before = gatekeeper.health.platform();
    let seen = match &gatekeeper.platform {
        None => Platform::NotConfigured,
        Some(at) => match timeout(PATIENCE, TcpStream::connect((at.host.as_str(), at.port))).await {
            Ok(Ok(_connection)) => Platform::Connected,
            Ok(Err(error)) => {
                tracing::debug!(%error, "the platform does not take a connection");
                Platform::Away
            }
            Err(_) => Platform::Away,
        },
    };
    match (before, seen) {
        (Platform::Away, Platform::Connected) => tracing::info!("the host of SUPABASE_URL is reached again"),
        (Platform::Connected | Platform::NotAskedYet, Platform::Away) => tracing::warn!("the host of SUPABASE_URL cannot be reached"),
        _ => {}
    }
    gatekeeper.metrics.supabase_up.set(i64::from(seen != Platform::Away));
    gatekeeper.health.saw_platform(seen);
}

/// Asks every address of the policy in force whose health is due to be asked for, a few at a time.
pub(super) async fn look_for_targets(gatekeeper: &Gatekeeper) {
    let snapshot = gatekeeper.pipeline.live.snapshot();
    let mut waiting = gatekeeper.pipeline.upstream.to_be_asked(&snapshot.policy.targets).into_iter();
    let mut asked = JoinSet::new();
    loop {
        for path in waiting.by_ref().take(AT_ONCE.saturating_sub(asked.len())) {
            let pipeline = Arc::clone(&gatekeeper.pipeline);
            asked.spawn(async move { pipeline.upstream.look_at(path).await });
        }
        match asked.join_next().await {
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::error!(%error, "a target's health could not be asked for"),
            None => break,
        }
    }
}
