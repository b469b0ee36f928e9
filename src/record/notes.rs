//! What is known of a call so far.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Method;

use crate::call::{Count, TraceContext};
use crate::clock::Timestamp;
use crate::identity::{Action, CallId, Caller, CertificateName, KeyId, Network, TargetName};
use crate::verdict::{Denial, ExceptedSql, GateName, NoAnswer, Refusal};

#[derive(Clone, Debug)]
pub struct Notes {
    pub id: CallId,
    pub at: Timestamp,
    pub network: Network,
    pub door: &'static str,
    /// Of a direct call.
    pub method: Option<Method>,
    pub caller: Option<Caller>,
    /// What a caller without valid credentials said it was.
    pub claimed: Option<Arc<str>>,
    /// The certificate that such a caller's connection had verified.
    pub shown_certificate: Option<CertificateName>,
    pub trace: Option<TraceContext>,
    /// The target once it is found.
    pub target: Option<TargetName>,
    /// What the caller asked for when there is no such target.
    pub asked_target: Option<String>,
    pub action: Option<Action>,
    pub counted: Option<Count>,
    pub would_deny: Vec<WouldDeny>,
    /// What policy would have refused, had it not stated an exception.
    pub excepted: Vec<ExceptedSql>,
    /// Of a schema operation: what its validator said.
    pub schema: Option<SchemaNote>,
    pub request_bytes: u64,
    pub response_bytes: u64,
    /// Spent on the caller's body.
    pub reading: Duration,
    /// Spent on the validator of schema operations.
    pub asking: Option<Duration>,
    /// Spent on the target, until its answer could be passed on or it was clear that there is none.
    pub upstream: Option<Duration>,
    /// Spent by the gatekeeper itself, until the answer began.
    pub overhead: Option<Duration>,
    /// Whether every gate's denials stood.
    pub enforced: bool,
    /// The fingerprint of the policy that the call was judged by.
    pub policy: Option<Arc<str>>,
    pub ending: Option<Ending>,
}

/// A denial that did not stand because its gate only observes.
#[derive(Clone, Debug, PartialEq)]
pub struct WouldDeny {
    pub gate: GateName,
    pub denial: Denial,
}

/// What became of the question whether a schema operation may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaNote {
    /// No answer would have stopped the call.
    NotAsked,
    Valid,
    Rejected,
    Unavailable(NoAnswer),
}

impl SchemaNote {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotAsked => "not_asked",
            Self::Valid => "valid",
            Self::Rejected => "rejected",
            Self::Unavailable(_) => "unavailable",
        }
    }
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// The target answered, and its answer went out whole.
    Answered {
        status: u16,
    },
    /// The target's answer broke off after it had begun.
    AnswerBroken {
        status: u16,
    },
    Refused(Refusal),
    /// The caller went away: before its answer began, or in the middle of it.
    Abandoned {
        status: Option<u16>,
    },
}

impl Notes {
    pub fn new(id: CallId, at: Timestamp, peer: IpAddr, door: &'static str) -> Self {
        Self {
            id,
            at,
            network: Network::of(peer),
            door,
            method: None,
            caller: None,
            claimed: None,
            shown_certificate: None,
            trace: None,
            target: None,
            asked_target: None,
            action: None,
            counted: None,
            would_deny: Vec::new(),
            excepted: Vec::new(),
            schema: None,
            request_bytes: 0,
            response_bytes: 0,
            reading: Duration::ZERO,
            asking: None,
            upstream: None,
            overhead: None,
            enforced: true,
            policy: None,
            ending: None,
        }
    }

    pub fn key(&self) -> Option<&KeyId> {
        match &self.caller {
            Some(Caller::Source { proof, .. }) => proof.key(),
            Some(Caller::ServiceRole { .. } | Caller::Stranger { .. }) | None => None,
        }
    }

    /// The certificate that a source was known by.
    pub fn certificate(&self) -> Option<&CertificateName> {
        match &self.caller {
            Some(Caller::Source { proof, .. }) => proof.certificate(),
            Some(Caller::ServiceRole { .. } | Caller::Stranger { .. }) | None => None,
        }
    }
}
