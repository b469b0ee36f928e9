//! How an answer is lost before it begins, and what is said of it.

use std::error::Error;

use http::StatusCode;
use hyper_util::client::legacy::Error as SendError;

use crate::identity::TargetName;
use crate::verdict::Failure;

/// The answers that speak of a target that is down rather than of the call. An application's own 500 is its answer.
pub(super) fn is_targets_failure(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
}

/// How an answer was lost before it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    Unreachable,
    TooSlow,
    Reset,
    Nonsense,
}

impl Loss {
    pub fn of(error: &SendError) -> Self {
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

    pub fn to_failure(self, target: &TargetName) -> Failure {
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
