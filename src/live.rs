//! What operators may change while calls go on: one immutable snapshot, swapped whole. A call takes one and keeps it to its end.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};

use crate::keys::KeyRing;
use crate::policy::Policy;
use crate::verdict::{Denial, GateName, Verdict};

#[derive(Debug, Clone)]
pub struct Snapshot {
    pub policy: Arc<Policy>,
    pub keys: Arc<KeyRing>,
    pub enforcement: Enforcement,
}

/// Whether each gate's denials stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enforcement {
    modes: [GateMode; GateName::ALL.len()],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GateMode {
    Enforce,
    Observe,
}

impl Enforcement {
    pub const fn all(mode: GateMode) -> Self {
        Self { modes: [mode; GateName::ALL.len()] }
    }

    pub fn mode(&self, gate: GateName) -> GateMode {
        let at = GateName::ALL.iter().position(|g| *g == gate);
        at.and_then(|at| self.modes.get(at)).copied().unwrap_or(GateMode::Enforce)
    }

    /// What becomes of a gate's verdict: a denial ends the call, or is noted as what would have been and the call goes on.
    pub fn weigh<P>(&self, gate: GateName, verdict: Verdict<P>, note: impl FnOnce(GateName, &Denial)) -> Result<P, Denial> {
        match (verdict, self.mode(gate)) {
            (Verdict::Allow(proof), _) => Ok(proof),
            (Verdict::Deny { denial, .. }, GateMode::Enforce) => Err(denial),
            (Verdict::Deny { denial, onward }, GateMode::Observe) => {
                note(gate, &denial);
                Ok(onward)
            }
        }
    }

    pub fn is_on(&self) -> bool {
        self.modes.iter().all(|mode| *mode == GateMode::Enforce)
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

    pub fn change(&self, change: impl FnOnce(&mut Snapshot)) {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = Snapshot::clone(&self.current.load());
        change(&mut next);
        self.current.store(Arc::new(next));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::AuthFault;

    #[test]
    fn a_denial_stands_only_where_its_gate_enforces() {
        let deny = || Verdict::Deny { denial: Denial::Unauthorized(AuthFault::NoCredentials), onward: 7 };
        let mut noted = Vec::new();
        let on = Enforcement::all(GateMode::Enforce);
        assert_eq!(
            on.weigh(GateName::Authenticate, deny(), |gate, _| noted.push(gate)),
            Err(Denial::Unauthorized(AuthFault::NoCredentials))
        );
        let off = Enforcement::all(GateMode::Observe);
        assert_eq!(off.weigh(GateName::Authenticate, deny(), |gate, _| noted.push(gate)), Ok(7));
        assert_eq!(noted, [GateName::Authenticate]);
    }
}
