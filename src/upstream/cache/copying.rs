//! An answer on its way to a caller, copied so that it can be kept once it has come whole.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::CONTENT_LENGTH;

use super::{Cache, Keepable, Key, OVERHEAD};

#[derive(Debug)]
pub struct Copying {
    cache: Arc<Cache>,
    key: Key,
    /// Gone once it is kept.
    head: Option<(Keepable, HeaderMap)>,
    body: BytesMut,
    reserved: usize,
}

impl Copying {
    pub(super) fn begin(cache: &Arc<Cache>, key: Key, keepable: Keepable, headers: &HeaderMap) -> Option<Box<Self>> {
        let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok()).unwrap_or_default();
        let head = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>();
        let reserved = head.saturating_add(OVERHEAD);
        if reserved.saturating_add(announced) > cache.largest() || !cache.reserve(reserved) {
            return None;
        }
        let head = Some((keepable, headers.clone()));
        Some(Box::new(Self { cache: Arc::clone(cache), key, head, body: BytesMut::new(), reserved }))
    }

    /// One more piece. `None` if that makes it too large to be kept.
    pub fn with(mut self: Box<Self>, piece: &Bytes) -> Option<Box<Self>> {
        let grown = self.reserved.saturating_add(piece.len());
        if grown > self.cache.largest() || !self.cache.reserve(piece.len()) {
            return None;
        }
        self.reserved = grown;
        self.body.extend_from_slice(piece);
        Some(self)
    }

    /// It has come whole.
    pub fn keep(mut self) {
        let Some((keepable, headers)) = self.head.take() else { return };
        let body = std::mem::take(&mut self.body).freeze();
        self.cache.keep(self.key, keepable, headers, body, self.reserved);
    }
}

impl Drop for Copying {
    fn drop(&mut self) {
        if self.head.is_some() {
            self.cache.release(self.reserved);
        }
    }
}
