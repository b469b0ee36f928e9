//! What callers are told when they are refused. The original's clients read these sentences, so theirs are kept to the letter.
//!
//! Nothing here may name an address, a query, a stack or a key; what the operator needs beyond it is in the record and the log.

use crate::call::legible;
use crate::identity::NAME_LIMIT;
use crate::verdict::{Blocked, BlockedWhat, Denial, Failure, LimitRule, Refusal};

/// A refusal in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// What kind of refusal: `error` and `title` of the answer.
    pub error: &'static str,
    /// This refusal: `message` and `detail`.
    pub message: String,
}

pub fn words(refusal: &Refusal) -> Words {
    match refusal {
        Refusal::Denied(denial) => denied(denial),
        Refusal::Failed(failure) => failed(failure),
    }
}

fn denied(denial: &Denial) -> Words {
    let (error, message) = match denial {
        Denial::Unauthorized(_) => ("Unauthorized", "Invalid Eliza credentials or untrusted source".into()),
        Denial::Limited(limited) => (
            "Rate limit exceeded",
            match limited.rule {
                LimitRule::Window { limit, window_secs } => format!("Maximum {limit} requests per {} exceeded", window_words(window_secs)),
                LimitRule::Burst { size } => format!("Maximum {size} requests at once exceeded"),
            },
        ),
        Denial::KeyNotScoped { target } => ("Forbidden", format!("This key is not valid for that action of '{target}'")),
        Denial::CallerNotAllowed { target, .. } => ("Forbidden", format!("This source may not call '{target}'")),
        Denial::DangerousSql(finding) => {
            ("Dangerous operation blocked", format!("Schema protection: {} operations are not allowed", finding.pattern))
        }
        Denial::Blocked(Blocked { what: BlockedWhat::Network, .. }) => ("Forbidden", "Calls from this network are blocked".into()),
        Denial::Blocked(Blocked { what: BlockedWhat::Source, .. }) => ("Forbidden", "This source is disabled".into()),
        Denial::SchemaRejected(rejection) => ("Schema validation failed", rejection.reason.clone()),
        Denial::ValidatorUnavailable { validator, .. } => {
            ("Validator unavailable", format!("'{validator}' could not validate this schema operation, so it is not carried out"))
        }
    };
    Words { error, message }
}

/// `minute` as the original says it; longer windows in the same manner.
pub fn window_words(secs: u32) -> String {
    match secs {
        60 => "minute".into(),
        3600 => "hour".into(),
        86_400 => "day".into(),
        secs if secs % 3600 == 0 => format!("{} hours", secs / 3600),
        secs => format!("{} minutes", secs / 60),
    }
}

fn failed(failure: &Failure) -> Words {
    let (error, message) = match failure {
        Failure::AmbiguousHeaders(what) => ("Ambiguous headers", format!("The request's headers can be read in two ways: {what}")),
        Failure::MethodNotAllowed { allow } => ("Method not allowed", format!("This address answers {allow}")),
        Failure::InvalidJson { what } => ("Invalid JSON", format!("The body is not valid JSON: {what}")),
        Failure::InvalidEnvelope { what } => ("Invalid envelope", what.clone()),
        Failure::AmbiguousBody { what } => ("Ambiguous body", format!("The body can be read in two ways: {what}")),
        Failure::BodyTooLarge { limit } => ("Payload too large", format!("The body is larger than {limit} bytes")),
        Failure::BodyTooSlow => ("Request timeout", "The body did not arrive in time".into()),
        Failure::BodyBroken => ("Incomplete body", "The body ended before it was complete".into()),
        Failure::UnsupportedEncoding { accepted: "identity" } => {
            ("Unsupported encoding", "Send the body without a content-encoding".into())
        }
        Failure::UnsupportedEncoding { accepted } => {
            ("Unsupported encoding", format!("Send the body without a content-encoding, or with up to three of {accepted}"))
        }
        Failure::BadEncoding { encoding, what } => {
            ("Bad encoding", format!("The body is not the {encoding} that its content-encoding says: {what}"))
        }
        Failure::UnknownTarget { name } => {
            ("Unknown target", format!("Target '{}' is not recognized by the gatekeeper", legible(name, NAME_LIMIT)))
        }
        Failure::LoopDetected => ("Loop detected", "The call has passed through too many gatekeepers".into()),
        Failure::Overloaded => ("Overloaded", "The gatekeeper has as many calls under way as it can hold; try again shortly".into()),
        Failure::TargetNotConfigured { target } => ("Target not configured", format!("Target '{target}' has no address yet")),
        Failure::TargetDisabled { target } => ("Target disabled", format!("Target '{target}' is switched off for now")),
        Failure::BreakerOpen { target, .. } => {
            ("Target unavailable", format!("Target '{target}' keeps failing and is being left alone for a moment"))
        }
        Failure::Unreachable { target } => ("Target unreachable", format!("Target '{target}' could not be reached")),
        Failure::TargetTooSlow { target } => ("Target timeout", format!("Target '{target}' did not answer in time")),
        Failure::TargetReset { target } => ("Target unreachable", format!("Target '{target}' closed the connection without an answer")),
        Failure::TargetNonsense { target } => ("Bad answer", format!("Target '{target}' sent an answer that is not HTTP")),
        Failure::Internal => ("Internal error", "Gatekeeper encountered an error processing your request".into()),
    };
    Words { error, message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::{AuthFault, LimitScope, Limited};
    use std::time::Duration;

    #[test]
    fn the_originals_sentences_are_kept_to_the_letter() {
        let unauthorized = words(&Denial::Unauthorized(AuthFault::WrongKey).into());
        assert_eq!((unauthorized.error, unauthorized.message.as_str()), ("Unauthorized", "Invalid Eliza credentials or untrusted source"));
        let limited = Limited {
            scope: LimitScope::Source,
            rule: LimitRule::Window { limit: 500, window_secs: 60 },
            retry_after: Duration::from_secs(1),
            place: None,
        };
        assert_eq!(words(&Denial::Limited(limited).into()).message, "Maximum 500 requests per minute exceeded");
        let unknown = words(&Failure::UnknownTarget { name: "nope".into() }.into());
        assert_eq!((unknown.error, unknown.message.as_str()), ("Unknown target", "Target 'nope' is not recognized by the gatekeeper"));
        assert_eq!(words(&Failure::Internal.into()).message, "Gatekeeper encountered an error processing your request");
    }
}
