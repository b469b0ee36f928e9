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
            | Failure::UnjudgeableBody { .. }
            | Failure::BadTarget { .. }
            | Failure::UpgradeNotAllowed { .. }
            | Failure::BodyTooLarge { .. }
            | Failure::BodyTooSlow
            | Failure::BodyBroken
            | Failure::UnsupportedEncoding { .. }
            | Failure::BadEncoding { .. }
            | Failure::UnknownTarget { .. }
            | Failure::LoopDetected => Self::Caller,
            Failure::TargetNotConfigured { .. }
            | Failure::TargetDisabled { .. }
            | Failure::BreakerOpen { .. }
            | Failure::Unreachable { .. }
            | Failure::TargetReset { .. } => Self::TargetDown,
            Failure::TargetTooSlow { .. } => Self::TargetSlow,
            Failure::TargetNonsense { .. } => Self::TargetError,
            Failure::Overloaded | Failure::NotRecordable | Failure::Internal => Self::Gatekeeper,
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::identity::TargetName;
    use crate::verdict::{AuthFault, Blocked, BlockedWhat, NoAnswer};

    #[test]
    fn each_ending_is_of_one_class_and_success_of_none() {
        let target = || TargetName::parse("brain").unwrap();
        let denied = |denial: Denial| Ending::Refused(denial.into());
        let failed = |failure: Failure| Ending::Refused(failure.into());
        let blocked = Blocked { what: BlockedWhat::Network, reason: String::new(), place: None };
        let cases = [
            (Ending::Answered { status: 200 }, None),
            (Ending::Answered { status: 302 }, None),
            (Ending::Abandoned { status: Some(200) }, None),
            (Ending::Answered { status: 404 }, Some("target_error")),
            (Ending::Abandoned { status: Some(500) }, Some("target_error")),
            (Ending::AnswerBroken { status: 200 }, Some("target_error")),
            (Ending::Abandoned { status: None }, Some("caller")),
            (denied(Denial::Unauthorized(AuthFault::KeyExpired)), Some("auth")),
            (denied(Denial::KeyNotScoped { target: target() }), Some("policy")),
            (denied(Denial::Blocked(blocked)), Some("policy")),
            (denied(Denial::ValidatorUnavailable { validator: target(), why: NoAnswer::TooSlow, place: None }), Some("schema")),
            (failed(Failure::BodyTooSlow), Some("caller")),
            (failed(Failure::UnknownTarget { name: "x".into() }), Some("caller")),
            (failed(Failure::BreakerOpen { target: target(), retry_after: Duration::ZERO }), Some("target_down")),
            (failed(Failure::TargetDisabled { target: target() }), Some("target_down")),
            (failed(Failure::TargetReset { target: target() }), Some("target_down")),
            (failed(Failure::TargetTooSlow { target: target() }), Some("target_slow")),
            (failed(Failure::TargetNonsense { target: target() }), Some("target_error")),
            (failed(Failure::Overloaded), Some("gatekeeper")),
        ];
        for (ending, class) in cases {
            assert_eq!(ErrorClass::of(&ending).map(ErrorClass::as_str), class, "{ending:?}");
        }
    }
}
