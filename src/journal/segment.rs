//! A segment, as it is known while its file is there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use super::format::SegmentId;

#[derive(Debug)]
pub(super) struct Segment {
    pub id: SegmentId,
    /// Where what is written whole ends. The file may be longer.
    pub end: AtomicU64,
    /// Something in it could not be read.
    pub damaged: AtomicBool,
}

impl Segment {
    pub fn new(id: SegmentId, end: u64) -> Self {
        Self { id, end: AtomicU64::new(end), damaged: AtomicBool::new(false) }
    }
}

/// A segment, as its reader needs to know it.
#[derive(Debug)]
pub(super) struct Extent {
    pub segment: Arc<Segment>,
    pub end: u64,
    /// Nothing more will be written to it.
    pub complete: bool,
}
