//! Why connections end that their peers would have kept, in words for the metric; and how that is read from what a connection ended with.

use std::error::Error;
use std::fmt;
use std::io;

use crate::telemetry::metrics::{CutLabel, Metrics};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    SlowHead,
    Idle,
    SlowReader,
    /// A call under way, and not a byte in either direction for very long.
    Still,
    SlowBody,
    /// What came was not HTTP; the HTTP library has answered 400, if at all.
    NotHttp,
    /// Answered 431 or 414.
    HeadTooLarge,
    /// HTTP/2, and against its rules or beyond its bounds.
    Http2,
    /// HTTP/2, and no longer there.
    Gone,
    NetworkFull,
    NoRoom,
    /// The time to drain was over.
    Drained,
}

impl Cut {
    const fn as_str(self) -> &'static str {
        match self {
            Self::SlowHead => "slow_head",
            Self::Idle => "idle",
            Self::SlowReader => "slow_reader",
            Self::Still => "still",
            Self::SlowBody => "slow_body",
            Self::NotHttp => "not_http",
            Self::HeadTooLarge => "head_too_large",
            Self::Http2 => "http2",
            Self::Gone => "gone",
            Self::NetworkFull => "network_full",
            Self::NoRoom => "no_room",
            Self::Drained => "drained",
        }
    }

    pub fn count(self, metrics: &Metrics) {
        metrics.connections_cut.get_or_create(&CutLabel { reason: self.as_str() }).inc();
    }

    /// None for what peers do themselves, and for what was counted where it was noticed.
    pub fn why(ended: &(dyn Error + 'static)) -> Option<Self> {
        let mut next = Some(ended);
        while let Some(error) = next {
            if let Some(cut) = Self::of(error) {
                return Some(cut);
            }
            next = error.source();
        }
        None
    }

    fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            return error.is_library().then_some(Self::Http2);
        }
        match error.downcast_ref::<hyper::Error>()? {
            error if error.is_parse_too_large() => Some(Self::HeadTooLarge),
            error if error.is_parse() => Some(Self::NotHttp),
            error if error.is_timeout() => Some(Self::Gone),
            _ => None,
        }
    }
}

/// What we end a stream with.
#[derive(Debug)]
pub(super) struct Impatience(pub Cut);

impl fmt::Display for Impatience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Cut::SlowReader => "the peer does not read its answer",
            Cut::SlowBody => "the body comes too slowly",
            _ => "the peer stands still",
        })
    }
}

impl Error for Impatience {}

impl From<Impatience> for io::Error {
    fn from(impatience: Impatience) -> Self {
        Self::new(io::ErrorKind::TimedOut, impatience)
    }
}
