//! TLS on the listeners: which certificate is in force, and how files that change take its place without a connection being lost.
//!
//! What is in force is swapped whole: a connection that has begun keeps what it began with. Files that cannot be used change nothing but
//! what is said of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use tokio::task::spawn_blocking;

use super::exposed;
use super::files::{Contents, Files, Loaded};
use crate::clock::Timestamp;
use crate::settings::TlsSettings;
use crate::telemetry::metrics::{CertificateReloadLabel, ListenerLabel, Metrics};

/// Whoever renews certificates does it before this many days are left.
const SOON: i64 = 14;

/// The locks of the listeners that have one.
#[derive(Debug, Default)]
pub struct Locks {
    pub data: Option<Lock>,
    pub ops: Option<Lock>,
}

/// What a look at the files of all locks is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// From time to time: files that are just being written are let be.
    Regular,
    /// Somebody has asked for it, and wants to hear at once.
    Asked,
}

impl Locks {
    /// Every listener's, or all that is wrong. A certificate that has ended is served, loudly: who looks at it refuses it, and who does
    /// not is no worse off than without an answer.
    pub fn open(settings: &TlsSettings) -> Result<Self, Vec<String>> {
        let [data, ops] = Files::of(settings).map(|files| files.map(Lock::open).transpose());
        match (data, ops) {
            (Ok(data), Ok(ops)) => Ok(Self { data, ops }),
            (data, ops) => Err(data.err().into_iter().chain(ops.err()).collect()),
        }
    }

    fn all(&self) -> impl Iterator<Item = &Lock> {
        self.data.iter().chain(&self.ops)
    }

    /// Puts in force what has changed, on a thread that may wait for files.
    pub async fn look_apart(self: &Arc<Self>, look: Look, now: Timestamp, metrics: &Arc<Metrics>) {
        let (locks, metrics) = (Arc::clone(self), Arc::clone(metrics));
        if locks.all().next().is_some() {
            // What went wrong is told already.
            let _looked = spawn_blocking(move || locks.look(look, now, &metrics)).await;
        }
    }

    /// The same. Reads files, so it belongs on a thread that may wait.
    fn look(&self, look: Look, now: Timestamp, metrics: &Metrics) {
        for lock in self.all() {
            lock.look(look, now, metrics);
            let label = ListenerLabel { listener: lock.files.listener };
            metrics.tls_trouble.get_or_create(&label).set(i64::from(lock.trouble().is_some()));
            metrics.tls_certificate_days_left.get_or_create(&label).set(lock.in_force.load().validity.days_left(now));
        }
    }

    /// What an operator should look at, one sentence each.
    pub fn warnings(&self, now: Timestamp) -> Vec<String> {
        self.all().flat_map(|lock| lock.warnings(now)).collect()
    }
}

/// What is wrong with the files of these settings, and what is doubtful about them.
pub fn check(settings: &TlsSettings, now: Timestamp) -> (Vec<String>, Vec<String>) {
    let (mut problems, mut warnings) = (Vec::new(), Vec::new());
    for files in Files::of(settings).into_iter().flatten() {
        match files.read().and_then(|contents| files.build(&contents)) {
            Ok(loaded) => match loaded.validity.fault(now) {
                Some(fault) => problems.push(files.say(&format!("the certificate {fault}"))),
                None => warnings.extend(ending(&files, &loaded, now)),
            },
            Err(why) => problems.push(files.say(&why)),
        }
        warnings.extend(exposed(&files.pair.key));
    }
    (problems, warnings)
}

fn ending(files: &Files, loaded: &Loaded, now: Timestamp) -> Option<String> {
    let days = loaded.validity.days_left(now);
    (days < SOON).then(|| files.say(&format!("the certificate ends on {}, in {days} days", loaded.validity.until)))
}

/// One listener's.
#[derive(Debug)]
pub struct Lock {
    files: Files,
    in_force: ArcSwap<Loaded>,
    /// Of two looks at once the later must not put the older in force.
    looking: Mutex<()>,
    seen: Mutex<Seen>,
}

/// What the last looks at the files found.
#[derive(Debug, Default)]
struct Seen {
    /// The digest of what they held, or why they could not be read.
    last: Option<Result<[u8; 32], String>>,
    /// What cannot be used of them, and was told.
    trouble: Option<String>,
}

impl Lock {
    fn open(files: Files) -> Result<Self, String> {
        let loaded = files.read().and_then(|contents| files.build(&contents)).map_err(|why| files.say(&why))?;
        Ok(Self { files, in_force: ArcSwap::from_pointee(loaded), looking: Mutex::default(), seen: Mutex::default() })
    }

    /// For a connection that begins now.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.in_force.load().config)
    }

    pub fn listener(&self) -> &'static str {
        self.files.listener
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trouble(&self) -> Option<String> {
        self.seen().trouble.clone()
    }

    fn look(&self, look: Look, now: Timestamp, metrics: &Metrics) {
        let _one_at_a_time = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        let read = self.files.read();
        if !self.stands_still(read.as_ref().map(Contents::digest).map_err(Clone::clone)) && look == Look::Regular {
            return;
        }
        let fresh = read.and_then(|contents| self.fresh(&contents, now));
        let mut seen = self.seen();
        let count = |outcome| {
            let label = CertificateReloadLabel { listener: self.files.listener, outcome };
            metrics.tls_reloads.get_or_create(&label).inc();
        };
        match fresh {
            Ok(fresh) => {
                if seen.trouble.take().is_some() {
                    tracing::info!(listener = self.files.listener, "the files of the certificate can be used again");
                }
                if let Some(loaded) = fresh {
                    tracing::info!(listener = self.files.listener, until = %loaded.validity.until, "a new certificate is in force");
                    self.in_force.store(Arc::new(loaded));
                    count("loaded");
                }
            }
            // What is no news is told again only to somebody who asks.
            Err(why) if look == Look::Regular && seen.trouble.as_ref() == Some(&why) => {}
            Err(why) => {
                tracing::error!("{}: what was loaded before stays in force", self.files.say(&why));
                count("refused");
                seen.trouble = Some(why);
            }
        }
    }

    /// Whether the files hold what they held at the last look: what is being written is not read.
    fn stands_still(&self, now: Result<[u8; 32], String>) -> bool {
        let mut seen = self.seen();
        let stands = seen.last.as_ref() == Some(&now);
        seen.last = Some(now);
        stands
    }

    /// What should take the place of what is in force; none while that is what the files hold.
    fn fresh(&self, contents: &Contents, now: Timestamp) -> Result<Option<Loaded>, String> {
        if contents.digest() == self.in_force.load().digest {
            return Ok(None);
        }
        let loaded = self.files.build(contents)?;
        match loaded.validity.fault(now) {
            Some(fault) => Err(format!("the certificate {fault}")),
            None => Ok(Some(loaded)),
        }
    }

    fn warnings(&self, now: Timestamp) -> impl Iterator<Item = String> {
        let loaded = self.in_force.load();
        let ending = match loaded.validity.fault(now) {
            Some(fault) => Some(self.files.say(&format!("the certificate in force {fault}"))),
            None => ending(&self.files, &loaded, now),
        };
        let trouble = self.trouble().map(|why| format!("{}: what was loaded before stays in force", self.files.say(&why)));
        ending.into_iter().chain(trouble)
    }
}
