//! The pages of health, member by member as the original printed them, and what operators read beside that.

use std::collections::BTreeMap;

use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::Reader;
use crate::control::GateStanding;
use crate::doors::whole;
use crate::enforcement::GateMode;
use crate::gatekeeper::Gatekeeper;
use crate::health::{self, Concern, Database, Platform, Pool, Probe, SecurityEvents, StoreSeen};
use crate::journal::Class;
use crate::policy::WhenFull;
use crate::reply;
use crate::upstream::{BreakerState, BreakerView};

/// `/health`.
#[derive(Serialize, ToSchema)]
pub struct Whole {
    status: &'static str,
    timestamp: String,
    database: DatabaseSaid,
    secrets: BTreeMap<String, bool>,
    webhooks: WebhooksSaid,
    #[serde(flatten)]
    for_operators: Option<WholeForOperators>,
}

#[derive(Serialize, ToSchema)]
struct DatabaseSaid {
    connected: bool,
    /// Whole milliseconds, rounded up.
    latency_ms: Option<u128>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct WebhooksSaid {
    status: &'static str,
    recent_webhooks: u64,
    failed_webhooks: u64,
}

#[derive(Serialize, ToSchema)]
struct WholeForOperators {
    enforcement: EnforcementSaid,
    policy: PolicySaid,
    warnings: Vec<String>,
}

/// `/api/health`.
#[derive(Serialize, ToSchema)]
pub struct Connections {
    status: &'static str,
    database: &'static str,
    supabase: &'static str,
    timestamp: String,
}

/// `/api/monitoring/health`.
#[derive(Serialize, ToSchema)]
pub struct Detailed {
    #[serde(flatten)]
    connections: Connections,
    pool: PoolSaid,
    #[serde(flatten)]
    for_operators: Option<DetailedForOperators>,
}

#[derive(Serialize, ToSchema)]
struct PoolSaid {
    pool_size: u32,
    max_overflow: u32,
    checked_out: u32,
    checked_in: u32,
    overflow: i64,
}

#[derive(Serialize, ToSchema)]
struct DetailedForOperators {
    targets: BTreeMap<String, TargetSaid>,
    enforcement: EnforcementSaid,
    warnings: Vec<String>,
}

#[derive(Serialize, ToSchema)]
struct TargetSaid {
    breaker: &'static str,
    failures: u32,
    /// Nothing of a target that names no health path, or was not asked yet.
    probe: Option<&'static str>,
}

/// Of the gates, only those whose denials do not stand.
#[derive(Serialize, ToSchema)]
struct EnforcementSaid {
    enforcing: bool,
    gates: BTreeMap<&'static str, GateSaid>,
}

/// Without reason and actor: as the gatekeeper was started.
#[derive(Serialize, ToSchema)]
struct GateSaid {
    mode: &'static str,
    until: Option<String>,
    reason: Option<String>,
    actor: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct PolicySaid {
    fingerprint: String,
    origin: String,
    loaded_at: String,
    problems: Vec<String>,
}

pub fn whole_health(gatekeeper: &Gatekeeper, reader: Reader) -> Response {
    let (store, secrets, webhooks) = (gatekeeper.health.store(), gatekeeper.secrets(), gatekeeper.health.webhooks());
    let concerns = health::of_the_whole(&store, &secrets);
    let for_operators = || {
        let policy = gatekeeper.control.policy_status();
        WholeForOperators {
            enforcement: enforcement(&gatekeeper.control.enforcement(), gatekeeper),
            policy: PolicySaid {
                fingerprint: policy.fingerprint,
                origin: policy.origin,
                loaded_at: policy.loaded_at.to_string(),
                problems: policy.problems,
            },
            warnings: warnings(gatekeeper),
        }
    };
    let page = Whole {
        status: if concerns.is_empty() { "healthy" } else { "degraded" },
        timestamp: now(gatekeeper),
        database: DatabaseSaid {
            connected: store.database.is_connected(),
            latency_ms: store.database.latency().map(|latency| latency.as_micros().div_ceil(1000)),
        },
        secrets,
        webhooks: WebhooksSaid {
            status: if webhooks.are_well() { "healthy" } else { "degraded" },
            recent_webhooks: webhooks.recent,
            failed_webhooks: webhooks.failed,
        },
        for_operators: (reader == Reader::Operator).then(for_operators),
    };
    answer(&concerns, &page)
}

pub fn api_health(gatekeeper: &Gatekeeper) -> Response {
    let (store, platform) = (gatekeeper.health.store(), gatekeeper.health.platform());
    let concerns = health::of_connections(&store, platform);
    answer(&concerns, &connections(gatekeeper, &store, platform, &concerns))
}

pub fn detailed_health(gatekeeper: &Gatekeeper, reader: Reader) -> Response {
    let (store, platform) = (gatekeeper.health.store(), gatekeeper.health.platform());
    let concerns = health::in_detail(&store, platform);
    let for_operators = || DetailedForOperators {
        targets: targets(gatekeeper),
        enforcement: enforcement(&gatekeeper.control.enforcement(), gatekeeper),
        warnings: warnings(gatekeeper),
    };
    let page = Detailed {
        connections: connections(gatekeeper, &store, platform, &concerns),
        pool: pool(store.pool),
        for_operators: (reader == Reader::Operator).then(for_operators),
    };
    answer(&concerns, &page)
}

/// Anything that speaks against it is a 503, so that `curl -f` fails.
fn answer(concerns: &[Concern], page: &impl Serialize) -> Response {
    let status = if concerns.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    whole(reply::json_answer(status, HeaderMap::new(), page))
}

fn now(gatekeeper: &Gatekeeper) -> String {
    gatekeeper.pipeline.clock.now().to_string()
}

fn connections(gatekeeper: &Gatekeeper, store: &StoreSeen, platform: Platform, concerns: &[Concern]) -> Connections {
    Connections {
        status: if concerns.is_empty() { "ok" } else { "degraded" },
        database: match store.database {
            Database::Connected { .. } => "connected",
            Database::Away | Database::NotAskedYet => "disconnected",
        },
        supabase: match platform {
            Platform::Connected => "connected",
            Platform::Away | Platform::NotAskedYet => "disconnected",
            Platform::NotConfigured => "not_configured",
        },
        timestamp: now(gatekeeper),
    }
}

fn pool(pool: Pool) -> PoolSaid {
    let Pool { pool_size, max_overflow, checked_out, checked_in } = pool;
    PoolSaid { pool_size, max_overflow, checked_out, checked_in, overflow: pool.overflow() }
}

fn targets(gatekeeper: &Gatekeeper) -> BTreeMap<String, TargetSaid> {
    let probes = gatekeeper.probes();
    let said = |(target, BreakerView { state, failures, .. })| {
        let probe = probes.get(&target).map(|probe| probe.as_str());
        (target.to_string(), TargetSaid { breaker: state.as_str(), failures, probe })
    };
    gatekeeper.pipeline.upstream.breakers().into_iter().map(said).collect()
}

fn enforcement(standings: &[GateStanding], gatekeeper: &Gatekeeper) -> EnforcementSaid {
    let now = gatekeeper.pipeline.clock.now();
    let said = |standing: &GateStanding| {
        let ruling = standing.ruling.as_ref().filter(|ruling| !ruling.has_ended(now));
        match &standing.flag {
            // Whatever was said about the gate, the flag is what switches it off.
            Some(flag) => GateSaid {
                mode: standing.mode.as_str(),
                until: None,
                reason: Some(format!("switched off in {}", flag.place().as_str())),
                actor: None,
            },
            None => GateSaid {
                mode: standing.mode.as_str(),
                until: ruling.and_then(|ruling| ruling.until).map(|until| until.to_string()),
                reason: ruling.map(|ruling| ruling.reason.clone()),
                actor: ruling.map(|ruling| ruling.actor.clone()),
            },
        }
    };
    let gates: BTreeMap<_, _> = observing(standings).map(|standing| (standing.gate.as_str(), said(standing))).collect();
    EnforcementSaid { enforcing: gates.is_empty(), gates }
}

fn observing(standings: &[GateStanding]) -> impl Iterator<Item = &GateStanding> {
    standings.iter().filter(|standing| standing.mode == GateMode::Observe)
}

/// Everything that an operator should look at, one sentence each, whether or not it counts against any page.
fn warnings(gatekeeper: &Gatekeeper) -> Vec<String> {
    let store = gatekeeper.health.store();
    let mut concerns = health::of_the_whole(&store, &gatekeeper.secrets());
    for concern in health::in_detail(&store, gatekeeper.health.platform()) {
        if !concerns.contains(&concern) {
            concerns.push(concern);
        }
    }
    let mut warnings: Vec<String> = concerns.iter().map(ToString::to_string).collect();
    if store.database.is_connected() && matches!(store.security_events, SecurityEvents::Uncountable { .. }) {
        warnings.push("security events cannot be counted: the log says why".into());
    }
    if let Some(trouble) = gatekeeper.control.state_trouble() {
        warnings.push(format!("what operators say would be forgotten by a restart without the database: {trouble}"));
    }
    let recorder = &gatekeeper.pipeline.recorder;
    if let Some(trouble) = recorder.journal().standing().trouble {
        warnings.push(format!("calls cannot be recorded as they should be: {trouble}"));
    } else if !recorder.has_room(Class::Ordinary) {
        warnings.push(match gatekeeper.pipeline.live.current().policy.journal.when_full {
            WhenFull::Refuse => "the journal is full: calls are refused until the database has taken records".into(),
            WhenFull::Shed => "the journal is full: calls go on, and are not recorded".into(),
        });
    }
    for kept in gatekeeper.control.unread() {
        warnings.push(format!("the {} in the database cannot be read, those known hold: the log says why", kept.as_str()));
    }
    if gatekeeper.store.sealer().is_some_and(|sealer| sealer.times_tampered() > 0) {
        warnings.push("sealed rows of the audit log are not in the database any more, or others are: run `gatekeeper calls verify`".into());
    }
    warnings.extend(gatekeeper.locks.warnings(gatekeeper.pipeline.clock.now()));
    let standings = gatekeeper.control.enforcement();
    let gates: Vec<_> = observing(&standings).map(|standing| standing.gate.as_str()).collect();
    if gates.len() == standings.len() {
        warnings.push("enforcement is off: every gate judges, none refuses".into());
    } else if !gates.is_empty() {
        warnings.push(format!("these gates judge and do not refuse: {}", gates.join(", ")));
    }
    let policy = gatekeeper.control.policy_status();
    if !policy.problems.is_empty() {
        let count = policy.problems.len();
        let problems = if count == 1 { "a problem".to_owned() } else { format!("{count} problems") };
        warnings.push(format!("the policy files have {problems}: what was loaded at {} stays in force", policy.loaded_at));
    }
    for (target, view) in gatekeeper.pipeline.upstream.breakers() {
        if view.state != BreakerState::Closed {
            warnings.push(format!("{target} keeps failing: its breaker is {}", view.state.as_str()));
        }
    }
    for (target, probe) in gatekeeper.probes() {
        if probe == Probe::Down {
            warnings.push(format!("{target} does not answer at its health address"));
        }
    }
    warnings
}
