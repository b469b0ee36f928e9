//! How many buckets there may be. What holds buckets says so with [`Slots`], which gives them back when it goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Orderings are relaxed: the number guards nothing but itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Pool(Arc<AtomicUsize>);

#[derive(Debug, Default)]
pub(super) struct Pools {
    /// The buckets of what policy lists: single names, and the entries that patterns share.
    pub listed: Pool,
    /// The buckets of sources that a pattern lets in.
    pub guests: Pool,
}

impl Pools {
    /// As full as these, but what is taken of them is not missing here.
    pub fn apart(&self) -> Self {
        Self { listed: self.listed.apart(), guests: self.guests.apart() }
    }
}

impl Pool {
    pub fn held(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Room for nothing yet.
    pub fn none(&self) -> Slots {
        Slots { pool: self.clone(), buckets: 0 }
    }

    pub fn take(&self, buckets: usize, most: usize) -> Option<Slots> {
        self.add(buckets, most).then(|| Slots { pool: self.clone(), buckets })
    }

    /// For what policy lists by name: there is always room for it.
    pub fn take_anyway(&self, buckets: usize) -> Slots {
        self.0.fetch_add(buckets, Ordering::Relaxed);
        Slots { pool: self.clone(), buckets }
    }

    fn apart(&self) -> Self {
        Self(Arc::new(AtomicUsize::new(self.held())))
    }

    fn add(&self, buckets: usize, most: usize) -> bool {
        let within = |held: usize| held.checked_add(buckets).filter(|sum| *sum <= most);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).is_ok()
    }
}

#[derive(Debug)]
pub(super) struct Slots {
    pool: Pool,
    buckets: usize,
}

impl Slots {
    /// Of the same pool, and nothing of it.
    pub fn none(&self) -> Self {
        self.pool.none()
    }

    pub fn shares_pool_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.pool.0, &other.pool.0)
    }

    /// Takes over what another holds, which must be of the same pool.
    pub fn absorb(&mut self, mut other: Self) {
        self.buckets += std::mem::take(&mut other.buckets);
    }

    pub fn split_off(&mut self, buckets: usize) -> Self {
        let buckets = buckets.min(self.buckets);
        self.buckets -= buckets;
        Self { pool: self.pool.clone(), buckets }
    }

    /// As many, of a pool that is as full as this one's.
    pub fn apart(&self) -> Self {
        Self { pool: self.pool.apart(), buckets: self.buckets }
    }

    pub fn grow(&mut self, most: usize) -> bool {
        let grown = self.pool.add(1, most);
        self.buckets += usize::from(grown);
        grown
    }

    pub fn shrink_to(&mut self, buckets: usize) {
        let freed = self.buckets.saturating_sub(buckets);
        self.pool.0.fetch_sub(freed, Ordering::Relaxed);
        self.buckets -= freed;
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}
