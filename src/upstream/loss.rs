//! How an answer is lost before it begins, and what is said of it.

use std::error::Error;
use std::fmt;

use http::StatusCode;
use hyper_util::client::legacy;

use crate::identity::TargetName;
use crate::verdict::Failure;

/// The answers that speak of a target that is down rather than of the call. An application's own 500 is its answer.
pub(super) fn is_targets_failure(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
}

/// How an answer was lost before it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    Unreachable,
    TooSlow,
    Reset,
    Nonsense,
}

/// Whether a call that was lost may have reached the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    Never,
    Perhaps,
}

/// How a try was lost.
pub(super) struct Lost {
    pub loss: Loss,
    pub sent: Sent,
    /// For the log.
    pub error: String,
}

impl Lost {
    pub(super) fn too_slow(sent: Sent, error: &str) -> Self {
        Self { loss: Loss::TooSlow, sent, error: error.to_owned() }
    }

    pub(super) fn no_answer_in_time() -> Self {
        Self::too_slow(Sent::Perhaps, "no answer in time")
    }
}

impl From<SendError> for Lost {
    fn from(error: SendError) -> Self {
        Self { loss: Loss::of(&error), sent: Sent::before(&error), error: chain(&error) }
    }
}

/// Why a request got no answer.
#[derive(Debug)]
pub(super) enum SendError {
    /// There was no connection to be had.
    Connect(Box<dyn Error + Send + Sync>),
    /// The connection was lost before it had taken a call.
    Opening(hyper::Error),
    /// The connection was gone before a byte was written.
    Unstarted(hyper::Error),
    Broken(hyper::Error),
    /// Of connections that many calls share.
    Shared(legacy::Error),
}

impl SendError {
    fn is_connect(&self) -> bool {
        match self {
            Self::Connect(_) => true,
            Self::Shared(error) => error.is_connect(),
            Self::Opening(_) | Self::Unstarted(_) | Self::Broken(_) => false,
        }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(_) => f.write_str("no connection"),
            Self::Opening(_) => f.write_str("the connection broke as it was opened"),
            Self::Unstarted(_) => f.write_str("the connection was gone"),
            Self::Broken(_) => f.write_str("the connection broke"),
            Self::Shared(error) => error.fmt(f),
        }
    }
}

impl Error for SendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Connect(error) => Some(&**error),
            Self::Opening(error) | Self::Unstarted(error) | Self::Broken(error) => Some(error),
            Self::Shared(error) => error.source(),
        }
    }
}

impl Sent {
    pub(super) fn before(error: &SendError) -> Self {
        // hyper says `canceled` only of what it hands back, and that is what no byte of was written.
        let handed_back = || causes(error).find_map(|cause| cause.downcast_ref::<hyper::Error>()).is_some_and(hyper::Error::is_canceled);
        let unasked = matches!(error, SendError::Opening(_)) || error.is_connect();
        if unasked || handed_back() { Self::Never } else { Self::Perhaps }
    }
}

impl Loss {
    pub(super) fn of(error: &SendError) -> Self {
        let causes = || causes(error);
        let io = || causes().find_map(|cause| cause.downcast_ref::<std::io::Error>());
        if error.is_connect() {
            let timed_out = io().is_some_and(|io| io.kind() == std::io::ErrorKind::TimedOut);
            return if timed_out { Self::TooSlow } else { Self::Unreachable };
        }
        if let Some(http2) = causes().find_map(|cause| cause.downcast_ref::<h2::Error>()) {
            // What we ourselves object to is no HTTP/2; all else is the target's way to end a call, or its connection.
            return if http2.is_library() { Self::Nonsense } else { Self::Reset };
        }
        match causes().find_map(|cause| cause.downcast_ref::<hyper::Error>()) {
            Some(http) if http.is_parse() => Self::Nonsense,
            Some(http) if http.is_incomplete_message() || http.is_canceled() || http.is_closed() => Self::Reset,
            _ if io().is_some() => Self::Reset,
            // What is left are bytes that came before anything was asked.
            _ => Self::Nonsense,
        }
    }

    pub(super) fn to_failure(self, target: &TargetName) -> Failure {
        let target = target.clone();
        match self {
            Self::Unreachable => Failure::Unreachable { target },
            Self::TooSlow => Failure::TargetTooSlow { target },
            Self::Reset => Failure::TargetReset { target },
            Self::Nonsense => Failure::TargetNonsense { target },
        }
    }
}

fn causes<'a>(error: &'a dyn Error) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(error.source(), |cause: &&'a (dyn Error + 'static)| (*cause).source())
}

/// An error with everything that caused it, on one line, for the log.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    for cause in causes(error) {
        text.push_str(": ");
        text.push_str(&cause.to_string());
    }
    text
}
