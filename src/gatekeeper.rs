//! The composition root: builds the long-lived parts and says what they share. Nothing else.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::available_parallelism;

use tokio::sync::{Semaphore, mpsc};

use crate::blocklist::Blocklist;
use crate::clock::{Clock, Timestamp};
use crate::control::{Control, PolicySource};
use crate::enforcement::{Enforcement, GateMode};
use crate::gates::rate_limit::RateLimiter;
use crate::gates::rate_limit::strangers::Strangers;
use crate::health::{Health, Platform, Probe};
use crate::identity::{KeyHash, KeyId, Secret, TargetName};
use crate::intake::MEMORY_UNIT;
use crate::keys::{Key, KeyRing, Scope};
use crate::live::{Live, Snapshot};
use crate::pipeline::Pipeline;
use crate::policy::Policy;
use crate::record::Recorder;
use crate::settings::{Enforce, OffCredentials, PlatformAddress, Settings};
use crate::store::{CallRecord, Store, StoredKey};
use crate::telemetry::metrics::Metrics;
use crate::upstream::{Dial, Towards, Upstream};

/// The key of `INTERNAL_ELIZA_KEY`.
const CURRENT: &str = "env:current";

pub struct Gatekeeper {
    pub pipeline: Arc<Pipeline>,
    pub control: Control,
    pub store: Arc<dyn Store>,
    pub health: Health,
    pub metrics: Arc<Metrics>,
    pub admin_token: Option<KeyHash>,
    /// What `health` looks for, if there is one.
    pub platform: Option<PlatformAddress>,
    /// The keys of the environment: on the ring whatever the store says.
    bootstrap: Vec<(KeyId, KeyHash)>,
}

/// What a gatekeeper is made from. Tests bring their own clock and network.
pub struct Parts {
    pub policy: Policy,
    /// Where the policy came from and can be read again.
    pub policies: PolicySource,
    pub store: Arc<dyn Store>,
    pub clock: Clock,
    pub dial: Dial,
}

impl Gatekeeper {
    /// The gatekeeper, and the far end of its queue of records.
    pub fn build(settings: &Settings, parts: Parts) -> (Arc<Self>, mpsc::Receiver<CallRecord>) {
        let Parts { policy, policies, store, clock, dial } = parts;
        let metrics = Arc::new(Metrics::default());
        let (recorder, records) = Recorder::new(Arc::clone(&metrics));

        let mut bootstrap = vec![(KeyId::new(CURRENT), settings.eliza_key.hash())];
        bootstrap.extend(settings.eliza_key_previous.as_ref().map(|key| (KeyId::new("env:previous"), key.hash())));
        let enforcement = Enforcement::starting(match settings.enforce {
            Enforce::On => GateMode::Enforce,
            Enforce::Off => GateMode::Observe,
        });
        metrics.enforcing.set(i64::from(enforcement.start() == GateMode::Enforce));

        let keys = Arc::new(KeyRing::new(environment_keys(&bootstrap)));
        let upstream = Upstream::new(dial, clock.clone());
        upstream.follow(&policy.targets);
        let blocklist = Arc::new(Blocklist::of(policy.blocks.iter().cloned()));
        let pipeline = Pipeline {
            limiter: RateLimiter::new(clock.clone()),
            strangers: Strangers::default(),
            upstream,
            live: Live::new(Snapshot {
                policy: Arc::new(policy),
                keys,
                enforcement: Arc::new(enforcement),
                switches: Arc::default(),
                blocklist,
            }),
            recorder,
            clock,
            service_role: settings.service_role_key.as_ref().map(Secret::hash),
            strangers_towards: match settings.off_credentials {
                OffCredentials::Own => Towards::OwnAuthorizationOnly,
                OffCredentials::All => Towards::Injected,
            },
            places: Arc::new(Semaphore::new(settings.bounds.in_flight)),
            body_memory: Arc::new(Semaphore::new(settings.bounds.body_memory / MEMORY_UNIT)),
            long_work: Arc::new(Semaphore::new(available_parallelism().map_or(1, NonZeroUsize::get))),
        };
        let pipeline = Arc::new(pipeline);
        let gatekeeper = Self {
            control: Control::new(Arc::clone(&pipeline), Arc::clone(&store), Arc::clone(&metrics), policies),
            pipeline,
            store,
            health: Health::new(if settings.platform.is_some() { Platform::NotAskedYet } else { Platform::NotConfigured }),
            metrics,
            admin_token: settings.admin_token.as_ref().map(Secret::hash),
            platform: settings.platform.clone(),
            bootstrap,
        };
        (Arc::new(gatekeeper), records)
    }

    /// The secrets that are in use, by the names of their variables, and whether they are there.
    pub fn secrets(&self) -> BTreeMap<String, bool> {
        let mut secrets = self.pipeline.live.current().policy.secrets.clone();
        secrets.insert("INTERNAL_ELIZA_KEY".into(), self.bootstrap.iter().any(|(id, _)| id.as_str() == CURRENT));
        secrets
    }

    /// What was seen of the targets that the policy in force wants looked after.
    pub fn probes(&self) -> BTreeMap<TargetName, Probe> {
        let snapshot = self.pipeline.live.snapshot();
        let wanted = |name: &TargetName| snapshot.policy.targets.find(name.as_str()).is_some_and(|target| target.health.is_some());
        self.health.targets().iter().filter(|(name, _)| wanted(name)).map(|(name, probe)| (name.clone(), *probe)).collect()
    }

    /// Puts the stored keys on the ring beside the environment's. A stored key that cannot be read in full is left off: less access, never more.
    pub fn use_keys(&self, stored: Vec<StoredKey>) {
        let before = Arc::clone(&self.pipeline.live.current().keys);
        let used: HashMap<&KeyId, Timestamp> = before.iter().filter_map(|key| Some((&key.id, key.last_used()?))).collect();
        let stored = stored.into_iter().filter_map(|key| {
            let id = key.id.clone();
            let read = ring_key(key);
            if let (Some(key), Some(at)) = (&read, used.get(&id)) {
                key.note_use(*at);
            }
            if read.is_none() {
                tracing::error!(key = %id, "this stored key has a scope that cannot be read: it is not accepted");
            }
            read.map(Arc::new)
        });
        let ring = Arc::new(KeyRing::new(environment_keys(&self.bootstrap).chain(stored)));
        self.pipeline.live.change(|snapshot| snapshot.keys = ring);
    }
}

fn environment_keys(bootstrap: &[(KeyId, KeyHash)]) -> impl Iterator<Item = Arc<Key>> {
    bootstrap.iter().map(|(id, hash)| Arc::new(Key::new(id.clone(), *hash, Scope::default())))
}

fn ring_key(stored: StoredKey) -> Option<Key> {
    let patterns = |texts: &[String]| texts.iter().map(|text| crate::identity::NamePattern::parse(text)).collect::<Option<Vec<_>>>();
    let scope = Scope { sources: patterns(&stored.sources)?, targets: patterns(&stored.targets)?, actions: stored.actions };
    let mut key = Key::new(stored.id, stored.hash, scope);
    key.not_before = stored.not_before;
    key.expires_at = stored.expires_at;
    key.revoked_at = stored.revoked_at;
    if let Some(at) = stored.last_used_at {
        key.note_use(at);
    }
    Some(key)
}
