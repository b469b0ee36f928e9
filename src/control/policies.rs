//! Policies are read again when their files change, at SIGHUP and when somebody asks: compiled first, then put in force whole. If
//! anything is wrong, those in force stay, and everybody hears of it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use super::{Control, blocks, lock};
use crate::audit::{Actor, AuditAction, AuditEntry};
use crate::clock::Timestamp;
use crate::policy::Policy;
use crate::policy::load::{Origin, Stamp, stamp};
use crate::telemetry::metrics::ReloadLabel;

/// How often files are looked at. A change must hold still from one look to the next, so that none is read half-written.
const LOOK: Duration = Duration::from_millis(250);
/// What an entry about refused policies names of their problems; the log has them all.
const TOLD: usize = 20;

/// Compiles the policies as they are now, or says all that is wrong with them, each with its file and line.
pub type Compile = Arc<dyn Fn() -> Result<Policy, Vec<String>> + Send + Sync>;

/// Where policies come from, in words and in deed.
#[derive(Clone)]
pub struct PolicySource {
    pub origin: Origin,
    pub compile: Compile,
    /// What the policy files looked like before the policy in force was compiled.
    pub seen: Stamp,
}

impl PolicySource {
    /// To be made before the first policy is compiled, so that no change after that goes unseen.
    pub fn new(origin: Origin, compile: Compile) -> Self {
        Self { seen: stamp(&origin, &[]), origin, compile }
    }
}

/// How the policy in force came to be there, and what is wrong with the one that should take its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyStatus {
    pub origin: String,
    pub fingerprint: String,
    pub loaded_at: Timestamp,
    /// Of the last try to read the policies; empty if what is in force is what the files say.
    pub problems: Vec<String>,
    pub warnings: Vec<String>,
}

pub(super) struct Policies {
    source: PolicySource,
    status: Mutex<PolicyStatus>,
    /// Policies are compiled one after the other, so that the last one read is the one in force.
    turn: tokio::sync::Mutex<()>,
}

impl Policies {
    pub fn new(source: PolicySource, policy: &Policy, now: Timestamp) -> Self {
        let status = PolicyStatus {
            origin: source.origin.to_string(),
            fingerprint: policy.fingerprint.to_string(),
            loaded_at: now,
            problems: Vec::new(),
            warnings: policy.warnings.clone(),
        };
        Self { source, status: Mutex::new(status), turn: tokio::sync::Mutex::default() }
    }
}

/// Tells a change that is complete from one that is under way: it looks the same twice.
struct Lookout<T> {
    read: T,
    last: T,
}

impl<T: Clone + PartialEq> Lookout<T> {
    fn new(read: T) -> Self {
        Self { last: read.clone(), read }
    }

    /// Whether what is seen now is to be read.
    fn is_news(&mut self, seen: T) -> bool {
        let stands_still = seen == self.last;
        self.last = seen;
        if !stands_still || self.last == self.read {
            return false;
        }
        self.read.clone_from(&self.last);
        true
    }
}

/// Who wants policies to be read again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// Somebody who waits for an answer, the same one a second time too.
    BySomebody,
    /// Only the files themselves: what is no news is not told again.
    ByTheFiles,
}

impl Control {
    pub fn policy_status(&self) -> PolicyStatus {
        lock(&self.policies.status).clone()
    }

    /// Reads the policies again and puts them in force, or keeps those that are and says every problem.
    pub async fn reload(&self, by: &Actor) -> Result<PolicyStatus, Vec<String>> {
        self.read_policies(by, Asked::BySomebody).await
    }

    /// Runs for ever: policies whose files have changed are in force within a second, and so are the certificates that they name. A
    /// policy that names others than the one before is read twice, so that no change to them goes unseen.
    pub async fn watch_policies(&self) {
        let source = &self.policies.source;
        if source.origin == Origin::Shipped {
            return std::future::pending().await;
        }
        let mut lookout = Lookout::new(source.seen.clone());
        let mut tick = interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let (origin, beside) = (source.origin.clone(), self.pipeline.live.current().policy.targets.certificate_files());
            let Ok(seen) = spawn_blocking(move || stamp(&origin, &beside)).await else { continue };
            if lookout.is_news(seen) {
                // Its outcome is told to everybody already.
                let _told = self.read_policies(&Actor::cause("a changed file"), Asked::ByTheFiles).await;
            }
        }
    }

    async fn read_policies(&self, by: &Actor, asked: Asked) -> Result<PolicyStatus, Vec<String>> {
        let _turn = self.policies.turn.lock().await;
        let compile = Arc::clone(&self.policies.source.compile);
        let compiled = spawn_blocking(move || compile()).await.unwrap_or_else(|error| Err(vec![error.to_string()]));
        match compiled {
            Ok(policy) => Ok(self.take_policy(policy, by)),
            Err(problems) => Err(self.refuse_policy(problems, by, asked)),
        }
    }

    fn take_policy(&self, policy: Policy, by: &Actor) -> PolicyStatus {
        let (fingerprint, warnings) = (policy.fingerprint.to_string(), policy.warnings.clone());
        self.pipeline.upstream.follow(&policy.targets);
        let policy = Arc::new(policy);
        {
            let stored = lock(&self.blocks);
            self.pipeline.live.change(|snapshot| {
                snapshot.blocklist = Arc::new(blocks::join(&policy, &stored));
                // Even if it is word for word the same: what its variables stand for may have changed.
                snapshot.policy = policy;
            });
        }
        self.errands.seed_flags();
        self.metrics.policy_problems.set(0);
        self.metrics.policy_reloads.get_or_create(&ReloadLabel { outcome: "loaded" }).inc();

        let now = self.now();
        let (before, after) = {
            let mut status = lock(&self.policies.status);
            let after = PolicyStatus { origin: status.origin.clone(), fingerprint, loaded_at: now, problems: Vec::new(), warnings };
            (std::mem::replace(&mut *status, after.clone()), after)
        };
        tracing::info!(fingerprint = %after.fingerprint, by = by.as_str(), "policies are read again and in force");
        if before.fingerprint != after.fingerprint {
            after.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
            let entry = AuditEntry::new(now, by, AuditAction::PolicyReloaded, &after.origin);
            self.note(entry.from_to(json!({ "fingerprint": before.fingerprint }), json!({ "fingerprint": after.fingerprint })));
        } else if !before.problems.is_empty() {
            tracing::info!("the policies are mended: what is in force is what the files say");
        }
        after
    }

    fn refuse_policy(&self, problems: Vec<String>, by: &Actor, asked: Asked) -> Vec<String> {
        self.metrics.policy_problems.set(i64::try_from(problems.len()).unwrap_or(i64::MAX));
        self.metrics.policy_reloads.get_or_create(&ReloadLabel { outcome: "refused" }).inc();
        let (is_news, fingerprint, origin) = {
            let mut status = lock(&self.policies.status);
            let is_news = status.problems != problems;
            status.problems.clone_from(&problems);
            (is_news, status.fingerprint.clone(), status.origin.clone())
        };
        if is_news || asked == Asked::BySomebody {
            problems.iter().for_each(|problem| tracing::error!("{problem}"));
            tracing::error!("the policies have problems: those in force stay");
        }
        if is_news {
            let told: Vec<&String> = problems.iter().take(TOLD).collect();
            let entry = AuditEntry::new(self.now(), by, AuditAction::PolicyRefused, &origin);
            self.note(entry.from_to(json!({ "fingerprint": fingerprint }), json!({ "count": problems.len(), "problems": told })));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_half_written_is_not_read_and_what_is_written_is_read_once() {
        let mut lookout = Lookout::new('a');
        // One file being written, bit by bit; then it stands.
        let news: String = "aabcdeeeeffggaaahah".chars().map(|seen| if lookout.is_news(seen) { seen } else { '.' }).collect();
        assert_eq!(news, "......e...f.g.a....");
    }

    #[test]
    fn whatever_changes_about_a_file_changes_the_stamp() {
        let directory = tempfile::TempDir::new().unwrap();
        let file = |name: &str| directory.path().join(name);
        let origin = Origin::Directory(directory.path().to_owned());
        let mut stamps = vec![stamp(&origin, &[])];
        let mut change = |what: &dyn Fn()| {
            what();
            let seen = stamp(&origin, &[]);
            assert!(!stamps.contains(&seen), "{seen:?}");
            stamps.push(seen);
        };
        change(&|| std::fs::write(file("a.toml"), "1").unwrap());
        change(&|| std::fs::write(file("a.toml"), "12").unwrap());
        // As `mv` and every editor that saves by it: as long, and as old.
        change(&|| {
            let times = std::fs::FileTimes::new().set_modified(std::fs::metadata(file("a.toml")).unwrap().modified().unwrap());
            std::fs::write(file("beside"), "21").unwrap();
            std::fs::File::options().write(true).open(file("beside")).unwrap().set_times(times).unwrap();
            std::fs::rename(file("beside"), file("a.toml")).unwrap();
        });
        change(&|| std::fs::rename(file("a.toml"), file("b.toml")).unwrap());
        // As configuration is mounted.
        change(&|| {
            std::fs::create_dir(file("one")).unwrap();
            std::fs::create_dir(file("two")).unwrap();
            std::fs::write(file("one/c.toml"), "1").unwrap();
            std::fs::write(file("two/c.toml"), "1").unwrap();
            std::os::unix::fs::symlink("one", file("data")).unwrap();
            std::os::unix::fs::symlink("data/c.toml", file("c.toml")).unwrap();
        });
        change(&|| {
            std::os::unix::fs::symlink("two", file("next")).unwrap();
            std::fs::rename(file("next"), file("data")).unwrap();
        });
        change(&|| std::fs::remove_dir_all(directory.path()).unwrap());
    }
}
