//! What operators may change while calls go on: one immutable snapshot, swapped whole. A call takes one and keeps it to its end.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};

use crate::blocklist::Blocklist;
use crate::clock::Timestamp;
use crate::enforcement::{Enforcement, Modes};
use crate::identity::KeyHash;
use crate::keys::KeyRing;
use crate::policy::Policy;
use crate::switches::Switches;

#[derive(Debug, Clone)]
pub struct Snapshot {
    pub policy: Arc<Policy>,
    pub keys: Arc<KeyRing>,
    /// The platform's own key: whoever shows it is the service role.
    pub service_role: Option<KeyHash>,
    /// What the admin API is asked with.
    pub admin_token: Option<KeyHash>,
    pub enforcement: Arc<Enforcement>,
    pub switches: Arc<Switches>,
    /// The blocks of policy and those that were added since.
    pub blocklist: Arc<Blocklist>,
}

impl Snapshot {
    /// Whether each gate's denials stand at this moment.
    pub fn modes(&self, now: Timestamp) -> Modes {
        self.enforcement.at(now, |gate| self.switches.against_gate(gate).is_none())
    }
}

/// The current snapshot. Reading it takes no lock; changes are made one after the other.
#[derive(Debug)]
pub struct Live {
    current: ArcSwap<Snapshot>,
    changing: Mutex<()>,
}

impl Live {
    pub fn new(snapshot: Snapshot) -> Self {
        Self { current: ArcSwap::from_pointee(snapshot), changing: Mutex::new(()) }
    }

    pub fn current(&self) -> Guard<Arc<Snapshot>> {
        self.current.load()
    }

    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    pub fn change<T>(&self, change: impl FnOnce(&mut Snapshot) -> T) -> T {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = Snapshot::clone(&self.current.load());
        let done = change(&mut next);
        self.current.store(Arc::new(next));
        done
    }
}
