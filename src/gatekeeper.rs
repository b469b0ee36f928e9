//! The composition root: builds the long-lived parts and says what they share. Nothing else.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::available_parallelism;

use ipnet::IpNet;
use tokio::sync::{Semaphore, mpsc};

use crate::clock::Clock;
use crate::control::{Beginning, Control, PolicySource};
use crate::enforcement::{Enforcement, GateMode};
use crate::gates::rate_limit::strangers::Strangers;
use crate::gates::rate_limit::{EarlierCounts, RateLimiter};
use crate::health::{Health, Platform};
use crate::identity::{KeyId, Secret};
use crate::intake::MEMORY_UNIT;
use crate::journal::{Journal, Reader};
use crate::keys::{CURRENT, EnvironmentHashes, PREVIOUS};
use crate::live::{Live, Snapshot};
use crate::pipeline::Pipeline;
use crate::pipeline::fixer::{Fixer, Job};
use crate::policy::Policy;
use crate::record::Recorder;
use crate::record::entries::Entries;
use crate::seal::heads::Heads;
use crate::settings::{Enforce, OffCredentials, PlatformAddress, Secrets, Settings};
use crate::store::Store;
use crate::telemetry::logging::Log;
use crate::telemetry::metrics::Metrics;
use crate::tls::Locks;
use crate::upstream::{Dial, Towards, Tunnels, Upstream};

pub struct Gatekeeper {
    pub pipeline: Arc<Pipeline>,
    pub control: Control,
    pub store: Arc<dyn Store>,
    pub health: Health,
    pub metrics: Arc<Metrics>,
    /// Calls that were refused because there were too many.
    pub shed: Strangers,
    /// Where proxies call from that are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// What `health` looks for, if there is one.
    pub platform: Option<PlatformAddress>,
    /// Where is written how far the audit log has come.
    pub heads: Arc<Heads>,
    /// What the listeners speak TLS with.
    pub locks: Arc<Locks>,
    pub earlier_counts: EarlierCounts,
}

/// The far ends of the queues, for whoever carries on what was put into them.
pub struct Queues {
    pub records: Reader,
    pub fixes: mpsc::Receiver<Job>,
}

/// What a gatekeeper is made from. Tests bring their own clock and network.
pub struct Parts {
    pub policy: Policy,
    /// Where the policy came from and can be read again.
    pub policies: PolicySource,
    pub store: Arc<dyn Store>,
    /// Where records wait for the store, and its other end.
    pub journal: (Journal, Reader),
    pub clock: Clock,
    pub dial: Dial,
    pub locks: Locks,
    pub log: Log,
}

impl Gatekeeper {
    pub fn build(settings: &Settings, parts: Parts) -> (Arc<Self>, Queues) {
        let Parts { policy, policies, store, journal, clock, dial, locks, log } = parts;
        let metrics = Arc::new(Metrics::default());
        let (journal, records) = journal;
        let recorder = Recorder::new(journal, Arc::clone(&metrics));

        let (fixer, fixes) = Fixer::new(Entries::new(recorder.clone()), clock.clone());

        let enforcement = Enforcement::starting(settings.enforce.into());
        let upstream = Upstream::new(dial, clock.clone());
        upstream.follow(&policy.targets);
        let pipeline = Pipeline {
            limiter: RateLimiter::new(clock.clone()),
            strangers: Strangers::default(),
            upstream,
            live: Live::new(Snapshot {
                policy: Arc::new(policy),
                keys: Arc::default(),
                service_role: None,
                admin_token: None,
                enforcement: Arc::new(enforcement),
                switches: Arc::default(),
                blocklist: Arc::default(),
            }),
            tunnels: Tunnels::default(),
            fixer,
            recorder,
            clock,
            strangers_towards: match settings.off_credentials {
                OffCredentials::Own => Towards::OwnAuthorizationOnly,
                OffCredentials::All => Towards::Injected,
            },
            places: Arc::new(Semaphore::new(settings.bounds.in_flight)),
            body_memory: Arc::new(Semaphore::new(settings.bounds.body_memory / MEMORY_UNIT)),
            long_work: Arc::new(Semaphore::new(available_parallelism().map_or(1, NonZeroUsize::get))),
        };
        let pipeline = Arc::new(pipeline);
        let beginning = Beginning { policies, log, state: settings.state.clone(), secrets: hashes(&settings.secrets) };
        let gatekeeper = Self {
            control: Control::new(Arc::clone(&pipeline), Arc::clone(&store), Arc::clone(&metrics), beginning),
            pipeline,
            store,
            health: Health::new(if settings.platform.is_some() { Platform::NotAskedYet } else { Platform::NotConfigured }),
            metrics,
            shed: Strangers::default(),
            trusted_proxies: settings.trusted_proxies.clone(),
            platform: settings.platform.clone(),
            heads: Arc::new(Heads::of(&settings.state)),
            locks: Arc::new(locks),
            earlier_counts: EarlierCounts::default(),
        };
        (Arc::new(gatekeeper), Queues { records, fixes })
    }

    /// The secrets that are in use, by the names of their variables, and whether they are there.
    pub fn secrets(&self) -> BTreeMap<String, bool> {
        let mut secrets = self.pipeline.live.current().policy.secrets.clone();
        // Without it there is no start.
        secrets.insert("INTERNAL_ELIZA_KEY".into(), true);
        secrets
    }
}

/// What is kept of the secrets.
pub fn hashes(secrets: &Secrets) -> EnvironmentHashes {
    let hash = |secret: &Option<Secret>| secret.as_ref().map(Secret::hash);
    let current = (KeyId::new(CURRENT), secrets.eliza_key.hash());
    let previous = hash(&secrets.eliza_key_previous).map(|hash| (KeyId::new(PREVIOUS), hash));
    EnvironmentHashes {
        keys: [current].into_iter().chain(previous).collect(),
        service_role: hash(&secrets.service_role_key),
        admin_token: hash(&secrets.admin_token),
    }
}

impl From<Enforce> for GateMode {
    fn from(enforce: Enforce) -> Self {
        match enforce {
            Enforce::On => Self::Enforce,
            Enforce::Off => Self::Observe,
        }
    }
}
