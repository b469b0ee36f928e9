//! The policy in force. Calls read it without waiting, also while it is being replaced.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::Policy;

#[derive(Debug)]
pub struct Live(ArcSwap<Policy>);

impl Live {
    pub fn new(policy: Policy) -> Self {
        Self(ArcSwap::from_pointee(policy))
    }

    /// The snapshot to judge one whole call by.
    pub fn current(&self) -> Arc<Policy> {
        self.0.load_full()
    }

    /// Calls that come later are judged by `policy`; those under way keep the snapshot they have.
    pub fn replace(&self, policy: Policy) {
        self.0.store(Arc::new(policy));
    }
}
