//! A call whose answer may be kept, or was.

use std::sync::Arc;

use http::{HeaderMap, StatusCode};

use super::{Again, Cache, Copying, Keepable, Key, Wish, key, wish};
use crate::upstream::order::{Order, outgoing_headers};
use crate::upstream::phrases::Phrases;
use crate::verdict::Failure;

pub struct Keeping {
    cache: Arc<Cache>,
    key: Key,
    wish: Wish,
    /// What the target sees.
    outgoing: HeaderMap,
}

impl Keeping {
    pub fn of(cache: &Arc<Cache>, order: &Order<'_>, phrases: &Phrases) -> Result<Option<Self>, Failure> {
        let wish = wish(order.headers);
        if wish == Wish::None {
            return Ok(None);
        }
        let outgoing = outgoing_headers(order, &order.body, phrases)?;
        let key = key(order, &outgoing, cache.policy());
        Ok(key.map(|key| Self { cache: Arc::clone(cache), key, wish, outgoing }))
    }

    pub fn find(&self) -> Option<Again> {
        if self.wish == Wish::Fresh { None } else { self.cache.find(self.key, &self.outgoing) }
    }

    pub fn copying(&self, status: StatusCode, headers: &HeaderMap) -> Option<Box<Copying>> {
        let keepable = Keepable::of(status, headers, &self.outgoing, self.cache.policy.ttl)?;
        Copying::begin(&self.cache, self.key, keepable, headers)
    }
}
