//! How many calls to a target are under way at once: of all sources together, and of each. What is beyond a target's limits is refused
//! at once, for a queue would only hide that there is too much.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::policy::CrowdLimits;
use crate::verdict::Crowd;

/// The calls of one target that are under way. Sources without any are forgotten, so there are never more than calls.
#[derive(Debug, Default)]
pub struct Crowded {
    under_way: Mutex<UnderWay>,
}

#[derive(Debug, Default)]
struct UnderWay {
    in_all: u32,
    by_source: HashMap<Arc<str>, u32>,
}

/// A call's place among them, for as long as it is held.
#[derive(Debug)]
pub struct InCrowd {
    crowded: Arc<Crowded>,
    source: Option<Arc<str>>,
}

impl Crowded {
    /// A place for a call of this source; the gatekeeper's own are of none.
    pub fn enter(self: &Arc<Self>, source: Option<&str>, limits: CrowdLimits) -> Result<InCrowd, Crowd> {
        let mut under_way = self.lock();
        if is_full(under_way.in_all, limits.in_all) {
            return Err(Crowd::Everybodys);
        }
        // Counted apart only where it matters.
        let source = source.filter(|_| limits.per_source.is_some()).map(Arc::<str>::from);
        if let Some(source) = &source {
            if is_full(under_way.by_source.get(source).copied().unwrap_or_default(), limits.per_source) {
                return Err(Crowd::TheSources);
            }
            *under_way.by_source.entry(Arc::clone(source)).or_default() += 1;
        }
        under_way.in_all = under_way.in_all.saturating_add(1);
        Ok(InCrowd { crowded: Arc::clone(self), source })
    }

    pub fn in_all(&self) -> u32 {
        self.lock().in_all
    }

    fn lock(&self) -> MutexGuard<'_, UnderWay> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_full(under_way: u32, limit: Option<NonZeroU32>) -> bool {
    limit.is_some_and(|limit| under_way >= limit.get())
}

impl Drop for InCrowd {
    fn drop(&mut self) {
        let mut under_way = self.crowded.lock();
        under_way.in_all = under_way.in_all.saturating_sub(1);
        let Some(source) = &self.source else { return };
        if let Some(own) = under_way.by_source.get_mut(source) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                under_way.by_source.remove(source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(in_all: u32, per_source: u32) -> CrowdLimits {
        CrowdLimits { in_all: NonZeroU32::new(in_all), per_source: NonZeroU32::new(per_source) }
    }

    #[test]
    fn no_more_are_under_way_than_the_limits_say_and_who_leaves_makes_room() {
        let crowded = Arc::new(Crowded::default());
        let (of_a, of_b) = (crowded.enter(Some("a"), limits(3, 2)), crowded.enter(Some("b"), limits(3, 2)));
        let second = crowded.enter(Some("a"), limits(3, 1));
        assert_eq!(second.unwrap_err(), Crowd::TheSources);
        let of_ours = crowded.enter(None, limits(3, 1));
        assert_eq!(crowded.enter(Some("c"), limits(3, 2)).unwrap_err(), Crowd::Everybodys);
        assert_eq!(crowded.in_all(), 3);
        drop(of_a);
        let again = crowded.enter(Some("a"), limits(3, 1)).unwrap();
        drop((of_b, of_ours, again));
        assert_eq!(crowded.in_all(), 0);
        assert!(crowded.lock().by_source.is_empty(), "nobody is remembered");
    }

    #[test]
    fn without_limits_everybody_enters() {
        let crowded = Arc::new(Crowded::default());
        let all: Vec<_> = (0..1000).map(|_| crowded.enter(Some("a"), CrowdLimits::default()).unwrap()).collect();
        assert_eq!(crowded.in_all(), 1000);
        assert!(crowded.lock().by_source.is_empty());
        drop(all);
        assert_eq!(crowded.in_all(), 0);
    }
}
