//! Whose fault it was that a call did not succeed, in one word: what to count when errors are counted.

use super::notes::Ending;
use crate::verdict::{Denial, Failure, Refusal};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// Not known, or not with these credentials.
    Auth,
    /// More than is allowed.
    Limit,
    /// Not this source, key or network.
    Policy,
    Sql,
    Schema,
    /// The call made no sense, or its caller did not wait.
    Caller,
    /// There was no target to call.
    TargetDown,
    TargetSlow,
    /// The target answered, and not well.
    TargetError,
    Gatekeeper,
}

impl ErrorClass {
    /// `None` of a call that succeeded.
    pub fn of(ending: &Ending) -> Option<Self> {
        match ending {
            Ending::Answered { status } | Ending::Abandoned { status: Some(status) } => (*status >= 400).then_some(Self::TargetError),
            Ending::AnswerBroken { .. } => Some(Self::TargetError),
            Ending::Abandoned { status: None } => Some(Self::Caller),
            Ending::Refused(Refusal::Denied(denial)) => Some(Self::of_denial(denial)),
            Ending::Refused(Refusal::Failed(failure)) => Some(Self::of_failure(failure)),
        }
    }

    fn of_denial(denial: &Denial) -> Self {
        match denial {
            Denial::Unauthorized(_) => Self::Auth,
            Denial::Limited(_) => Self::Limit,
            Denial::KeyNotScoped { .. } | Denial::CallerNotAllowed { .. } | Denial::Blocked(_) => Self::Policy,
            Denial::DangerousSql(_) => Self::Sql,
            Denial::SchemaRejected(_) | Denial::ValidatorUnavailable { .. } => Self::Schema,
        }
    }

    fn of_failure(failure: &Failure) -> Self {
        match failure {
            Failure::AmbiguousHeaders(_)
            | Failure::MethodNotAllowed { .. }
            | Failure::InvalidJson { .. }
            | Failure::InvalidEnvelope { .. }
            | Failure::AmbiguousBody { .. }
            | Failure::BodyTooLarge { .. }
            | Failure::BodyTooSlow
            | Failure::BodyBroken
            | Failure::UnsupportedEncoding
            | Failure::UnknownTarget { .. }
            | Failure::LoopDetected => Self::Caller,
            Failure::TargetNotConfigured { .. }
            | Failure::TargetDisabled { .. }
            | Failure::BreakerOpen { .. }
            | Failure::Unreachable { .. }
            | Failure::TargetReset { .. } => Self::TargetDown,
            Failure::TargetTooSlow { .. } => Self::TargetSlow,
            Failure::TargetNonsense { .. } => Self::TargetError,
            Failure::Overloaded | Failure::Internal => Self::Gatekeeper,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Limit => "limit",
            Self::Policy => "policy",
            Self::Sql => "sql",
            Self::Schema => "schema",
            Self::Caller => "caller",
            Self::TargetDown => "target_down",
            Self::TargetSlow => "target_slow",
            Self::TargetError => "target_error",
            Self::Gatekeeper => "gatekeeper",
        }
    }
}
