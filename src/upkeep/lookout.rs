//! Looking after what the gatekeeper depends on and does not own: the platform, and targets that say where their health is asked for.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::gatekeeper::Gatekeeper;
use crate::health::{Platform, Probe, TargetsSeen};
use crate::identity::TargetName;
use crate::policy::{Link, Policy};

/// A platform that takes longer to take a connection counts as away.
const PATIENCE: Duration = Duration::from_secs(2);
/// Targets asked at once.
const AT_ONCE: usize = 8;

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

/// Asks every target of the policy in force that names a health path, a few at a time.
pub(super) async fn look_for_targets(gatekeeper: &Gatekeeper) {
    let mut waiting = addresses(&gatekeeper.pipeline.live.snapshot().policy).into_iter();
    let mut asked: JoinSet<(Vec<TargetName>, Probe)> = JoinSet::new();
    let mut seen = TargetsSeen::new();
    loop {
        for ((address, link), targets) in waiting.by_ref().take(AT_ONCE.saturating_sub(asked.len())) {
            let pipeline = Arc::clone(&gatekeeper.pipeline);
            asked.spawn(async move {
                let is_up = pipeline.upstream.is_up(&link, &address).await;
                (targets, if is_up { Probe::Up } else { Probe::Down })
            });
        }
        match asked.join_next().await {
            Some(Ok((targets, probe))) => seen.extend(targets.into_iter().map(|target| (target, probe))),
            Some(Err(error)) => tracing::error!(%error, "a target's health could not be asked for"),
            None => break,
        }
    }
    let before = gatekeeper.health.targets();
    for (target, probe) in &seen {
        match (before.get(target), probe) {
            (Some(Probe::Up) | None, Probe::Down) => tracing::warn!(target_name = %target, "target does not answer at its health address"),
            (Some(Probe::Down), Probe::Up) => tracing::info!(target_name = %target, "target answers at its health address again"),
            _ => {}
        }
    }
    gatekeeper.health.saw_targets(seen);
}

/// Each address once for each way there, with all the targets that name it.
fn addresses(policy: &Policy) -> HashMap<(Uri, Link), Vec<TargetName>> {
    let mut addresses: HashMap<(Uri, Link), Vec<TargetName>> = HashMap::new();
    for target in policy.targets.by_name.values() {
        if let Some(address) = &target.health {
            addresses.entry((address.clone(), target.link.clone())).or_default().push(target.name.clone());
        }
    }
    addresses
}
