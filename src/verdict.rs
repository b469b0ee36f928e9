//! What a gate says, and every way a call can end without its target's own answer.
//!
//! A gate judges; it does not know whether its judgement is enforced. So a refusing [`Verdict`] also carries the
//! proof that the next gate asks for: the pipeline drops it when the denial stands, and goes on with it when the gate only observes.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::clock::Timestamp;
use crate::identity::{Place, TargetName};

/// The gates, in the order a call meets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GateName {
    Authenticate,
    Blocklist,
    SourceLimit,
    Authorize,
    EndpointLimit,
    SqlFilter,
    SchemaCheck,
}

impl GateName {
    pub const ALL: [Self; 7] =
        [Self::Authenticate, Self::Blocklist, Self::SourceLimit, Self::Authorize, Self::EndpointLimit, Self::SqlFilter, Self::SchemaCheck];

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|gate| gate.as_str() == text)
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Authenticate => "authenticate",
            Self::Blocklist => "blocklist",
            Self::SourceLimit => "source_limit",
            Self::Authorize => "authorize",
            Self::EndpointLimit => "endpoint_limit",
            Self::SqlFilter => "sql_filter",
            Self::SchemaCheck => "schema_check",
        }
    }
}

/// A gate's judgement. `P` proves that the call was judged; the next step cannot be taken without it.
#[derive(Debug)]
pub enum Verdict<P> {
    Allow(P),
    Deny { denial: Denial, onward: P },
}

impl<P> Verdict<P> {
    pub fn denial(&self) -> Option<&Denial> {
        match self {
            Self::Allow(_) => None,
            Self::Deny { denial, .. } => Some(denial),
        }
    }

    /// What the next step asks for, whether or not the call may take it.
    pub fn proof(&self) -> &P {
        match self {
            Self::Allow(proof) | Self::Deny { onward: proof, .. } => proof,
        }
    }
}

/// The call was judged and may not pass. Whether it then stops is enforcement's business.
#[derive(Clone, Debug, PartialEq)]
pub enum Denial {
    Unauthorized(AuthFault),
    Limited(Limited),
    /// The key is genuine but not for this target or action.
    KeyNotScoped {
        target: TargetName,
    },
    /// Policy does not let this source call this target.
    CallerNotAllowed {
        target: TargetName,
        place: Option<Place>,
    },
    DangerousSql(Box<SqlFinding>),
    /// An operator keeps this network or source out.
    Blocked(Blocked),
    /// The validator did not let the schema operation pass.
    SchemaRejected(SchemaRejection),
    /// The validator gave no answer that can be used, and policy says to refuse then.
    ValidatorUnavailable {
        validator: TargetName,
        why: NoAnswer,
        place: Option<Place>,
    },
}

/// What an operator keeps out, and where that is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    pub what: BlockedWhat,
    /// The operator's words: for the record, not for the caller.
    pub reason: String,
    pub place: Option<Place>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockedWhat {
    Network,
    Source,
}

/// Why a schema operation is not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaRejection {
    /// The validator's own words, bounded and legible.
    pub reason: String,
    /// What kind of statement it is, in words that stay the same under other names and literals.
    pub fingerprint: String,
    /// Whether somebody is at work on it: a fix was triggered by this call or, a short while ago, by one like it.
    pub fix_triggered: bool,
    pub place: Option<Place>,
}

/// What the validator says of a schema operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opinion {
    Valid,
    Rejected {
        /// In the validator's own words, bounded and legible.
        reason: String,
    },
    Unavailable(NoAnswer),
}

/// Why somebody whom the gatekeeper itself asked gave no answer that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    SwitchedOff,
    NotConfigured,
    BreakerOpen {
        retry_after: Duration,
    },
    /// It has as many calls under way as policy allows.
    Busy,
    Unreachable,
    TooSlow,
    Reset,
    NotHttp,
    /// The answer had this status, whatever else it said.
    Status(u16),
    TooLarge,
    BrokenOff,
    NotJson,
    /// It does not say what was asked, or says two things at once.
    Unclear,
}

impl NoAnswer {
    /// When it may be worth asking again, where nothing better is known.
    const PATIENCE: Duration = Duration::from_secs(5);

    pub fn retry_after(self) -> Duration {
        match self {
            Self::BreakerOpen { retry_after } => retry_after,
            _ => Self::PATIENCE,
        }
    }
}

/// One word, for records and the log.
impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SwitchedOff => "switched_off",
            Self::NotConfigured => "not_configured",
            Self::BreakerOpen { .. } => "breaker_open",
            Self::Busy => "busy",
            Self::Unreachable => "unreachable",
            Self::TooSlow => "timeout",
            Self::Reset => "reset",
            Self::NotHttp => "not_http",
            Self::Status(status) => return write!(f, "status_{status}"),
            Self::TooLarge => "too_large",
            Self::BrokenOff => "broken_off",
            Self::NotJson => "not_json",
            Self::Unclear => "unclear",
        })
    }
}

/// Why credentials were not accepted. For the record and the log; the caller is told one sentence for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthFault {
    NoCredentials,
    KeyMissing,
    SourceMissing,
    WrongKey,
    KeyNotYetValid,
    KeyExpired,
    KeyRevoked,
    UnknownSource,
    SourceNotOfKey,
    WrongServiceKey,
    /// The source must show a certificate of its own beside its key.
    CertificateMissing,
    /// A good certificate that policy names nobody by.
    CertificateUnknown,
    /// A certificate that is another source's than the caller says it is.
    CertificateOfAnother,
}

impl AuthFault {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoCredentials => "no_credentials",
            Self::KeyMissing => "key_missing",
            Self::SourceMissing => "source_missing",
            Self::WrongKey => "wrong_key",
            Self::KeyNotYetValid => "key_not_yet_valid",
            Self::KeyExpired => "key_expired",
            Self::KeyRevoked => "key_revoked",
            Self::UnknownSource => "unknown_source",
            Self::SourceNotOfKey => "source_not_of_key",
            Self::WrongServiceKey => "wrong_service_key",
            Self::CertificateMissing => "certificate_missing",
            Self::CertificateUnknown => "certificate_unknown",
            Self::CertificateOfAnother => "certificate_of_another",
        }
    }
}

/// A limit that is used up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limited {
    pub scope: LimitScope,
    pub rule: LimitRule,
    pub retry_after: Duration,
    /// The line of policy that sets the limit.
    pub place: Option<Place>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitScope {
    Source,
    Endpoint,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitRule {
    /// At most `limit` calls in an aligned window of `window_secs`.
    Window { limit: u32, window_secs: u32 },
    /// More at once than the burst allows.
    Burst { size: u32 },
}

/// How much is left of a limit: of several windows, of the one with the least left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub limit: u32,
    pub remaining: u32,
    pub window_secs: u32,
    pub resets_at: Timestamp,
}

impl Standing {
    /// Whole seconds until the window ends, as the headers of an answer given at `now` say it.
    pub fn reset_secs(&self, now: Timestamp) -> u32 {
        let wait = self.resets_at.since(now);
        u32::try_from(wait.as_secs() + u64::from(wait.subsec_millis() > 0)).unwrap_or(u32::MAX).min(self.window_secs)
    }

    /// Less is left, or as little for longer.
    pub fn is_tighter_than(&self, other: &Self) -> bool {
        self.remaining < other.remaining || (self.remaining == other.remaining && self.resets_at > other.resets_at)
    }
}

/// Where a call's limits stand after it was counted. Nothing, for callers that have no limit or a gate that was not reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standings {
    pub source: Option<Standing>,
    pub endpoint: Option<Standing>,
}

impl Standings {
    /// The one the caller will hit first.
    pub fn tightest(&self) -> Option<Standing> {
        match (self.source, self.endpoint) {
            (Some(source), Some(endpoint)) if endpoint.is_tighter_than(&source) => Some(endpoint),
            (source, endpoint) => source.or(endpoint),
        }
    }
}

/// A statement that a rule refuses. Serialized as whoever is refused, or inspects, may read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SqlFinding {
    pub rule: String,
    /// What `blocked_pattern` says: the original's pattern text for the core rules, the rule id for others.
    #[serde(skip)]
    pub pattern: String,
    /// The statement as judged, cut to a bound.
    pub statement: String,
    /// Where the text stood, as a JSON pointer.
    pub pointer: String,
    pub reason: String,
    /// `critical` or `high`.
    pub severity: &'static str,
    /// What kind of statement it is: `delete`, `drop`, `unreadable`.
    pub kind: &'static str,
    /// What it would touch, where it says so.
    pub objects: Vec<String>,
    /// Where in the decoded text, in UTF-8 bytes.
    #[serde(serialize_with = "from_and_to")]
    pub span: Range<usize>,
    /// Names the statement whatever its literals: what an exception may name.
    pub fingerprint: String,
    /// The line of policy that sets the rule's mode.
    #[serde(skip)]
    pub place: Option<Place>,
}

/// As `[a, b]`: of the bytes, the first and the one behind the last.
fn from_and_to<S: Serializer>(span: &Range<usize>, serializer: S) -> Result<S::Ok, S::Error> {
    [span.start, span.end].serialize(serializer)
}

/// A finding that an exception of policy lets pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExceptedSql {
    pub finding: SqlFinding,
    /// Who answers for the exception, and why it was made.
    pub by: String,
    pub reason: String,
    pub place: Place,
}

/// The call could not be understood or carried out. Enforcement has no say in these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    AmbiguousHeaders(&'static str),
    MethodNotAllowed {
        allow: &'static str,
    },
    /// `what` is a sentence for the caller, with a place where there is one, and never a piece of the body.
    InvalidJson {
        what: String,
    },
    InvalidEnvelope {
        what: String,
    },
    AmbiguousBody {
        what: String,
    },
    /// Of a direct call: more than is ever judged.
    UnjudgeableBody {
        what: String,
    },
    /// The address of a direct call can be read as more than one.
    BadTarget {
        what: &'static str,
    },
    /// Another protocol than HTTP is asked for, whose bytes nobody could judge, and policy wants them judged.
    UpgradeNotAllowed {
        target: TargetName,
    },
    BodyTooLarge {
        limit: usize,
    },
    BodyTooSlow,
    BodyBroken,
    UnsupportedEncoding {
        /// What goes: content codings, as `Accept-Encoding` lists them.
        accepted: &'static str,
    },
    /// It is not what its content-encoding says.
    BadEncoding {
        encoding: &'static str,
        what: &'static str,
    },
    UnknownTarget {
        name: String,
    },
    LoopDetected,
    Overloaded,
    /// Its record could be kept nowhere, and policy says that no call goes unrecorded.
    NotRecordable,
    TargetNotConfigured {
        target: TargetName,
    },
    /// An operator has switched it off.
    TargetDisabled {
        target: TargetName,
    },
    BreakerOpen {
        target: TargetName,
        retry_after: Duration,
    },
    /// As many calls are under way as policy allows.
    TargetBusy {
        target: TargetName,
        whose: Crowd,
    },
    Unreachable {
        target: TargetName,
    },
    TargetTooSlow {
        target: TargetName,
    },
    /// The connection was lost before the target's answer began.
    TargetReset {
        target: TargetName,
    },
    /// What came back is not HTTP, or beyond its bounds.
    TargetNonsense {
        target: TargetName,
    },
    Internal,
}

/// Whose calls are as many as policy allows at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crowd {
    Everybodys,
    /// The caller's own.
    TheSources,
}

/// Why a call has no answer of its target's.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    Denied(Denial),
    Failed(Failure),
}

impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Self {
        Self::Denied(denial)
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Refusal {
    /// The stable word for this refusal: in the answer, the record and the metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Denied(denial) => denial.code(),
            Self::Failed(failure) => failure.code(),
        }
    }
}

impl Denial {
    /// Where what decided is written down.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::Limited(Limited { place, .. })
            | Self::CallerNotAllowed { place, .. }
            | Self::Blocked(Blocked { place, .. })
            | Self::SchemaRejected(SchemaRejection { place, .. })
            | Self::ValidatorUnavailable { place, .. } => place.as_ref(),
            Self::DangerousSql(finding) => finding.place.as_ref(),
            Self::Unauthorized(_) | Self::KeyNotScoped { .. } => None,
        }
    }

    /// The gate whose judgement it is.
    pub fn gate(&self) -> GateName {
        match self {
            Self::Unauthorized(_) => GateName::Authenticate,
            Self::Blocked(_) => GateName::Blocklist,
            Self::Limited(Limited { scope: LimitScope::Source, .. }) => GateName::SourceLimit,
            Self::KeyNotScoped { .. } | Self::CallerNotAllowed { .. } => GateName::Authorize,
            Self::Limited(Limited { scope: LimitScope::Endpoint, .. }) => GateName::EndpointLimit,
            Self::DangerousSql(_) => GateName::SqlFilter,
            Self::SchemaRejected(_) | Self::ValidatorUnavailable { .. } => GateName::SchemaCheck,
        }
    }

    pub fn code(&self) -> &'static str {
        match self {
            Self::Unauthorized(_) => "unauthorized",
            Self::Limited(Limited { rule: LimitRule::Window { .. }, .. }) => "rate_limited",
            Self::Limited(Limited { rule: LimitRule::Burst { .. }, .. }) => "burst_exceeded",
            Self::KeyNotScoped { .. } => "key_not_scoped",
            Self::CallerNotAllowed { .. } => "caller_not_allowed",
            Self::DangerousSql(_) => "dangerous_operation",
            Self::Blocked(Blocked { what: BlockedWhat::Network, .. }) => "network_blocked",
            Self::Blocked(Blocked { what: BlockedWhat::Source, .. }) => "source_disabled",
            Self::SchemaRejected(_) => "schema_rejected",
            Self::ValidatorUnavailable { .. } => "validator_unavailable",
        }
    }

    pub fn status(&self) -> u16 {
        match self {
            Self::SchemaRejected(_) => 400,
            Self::Unauthorized(_) => 401,
            Self::KeyNotScoped { .. } | Self::CallerNotAllowed { .. } | Self::DangerousSql(_) | Self::Blocked(_) => 403,
            Self::Limited(_) => 429,
            Self::ValidatorUnavailable { .. } => 503,
        }
    }
}

impl Failure {
    /// Whether it ends a call before any gate could judge its target and action.
    pub fn is_before_the_route(&self) -> bool {
        match self {
            Self::AmbiguousHeaders(_)
            | Self::MethodNotAllowed { .. }
            | Self::InvalidJson { .. }
            | Self::InvalidEnvelope { .. }
            | Self::AmbiguousBody { .. }
            | Self::UnjudgeableBody { .. }
            | Self::BadTarget { .. }
            | Self::UpgradeNotAllowed { .. }
            | Self::BodyTooLarge { .. }
            | Self::BodyTooSlow
            | Self::BodyBroken
            | Self::UnsupportedEncoding { .. }
            | Self::BadEncoding { .. }
            | Self::UnknownTarget { .. }
            | Self::LoopDetected
            | Self::Overloaded
            | Self::NotRecordable
            | Self::TargetDisabled { .. }
            | Self::Internal => true,
            Self::TargetNotConfigured { .. }
            | Self::BreakerOpen { .. }
            | Self::TargetBusy { .. }
            | Self::Unreachable { .. }
            | Self::TargetTooSlow { .. }
            | Self::TargetReset { .. }
            | Self::TargetNonsense { .. } => false,
        }
    }

    pub fn code(&self) -> &'static str {
        match self {
            Self::AmbiguousHeaders(_) => "ambiguous_headers",
            Self::MethodNotAllowed { .. } => "method_not_allowed",
            Self::InvalidJson { .. } => "invalid_json",
            Self::InvalidEnvelope { .. } => "invalid_envelope",
            Self::AmbiguousBody { .. } => "ambiguous_body",
            Self::UnjudgeableBody { .. } => "unjudgeable_body",
            Self::BadTarget { .. } => "bad_target",
            Self::UpgradeNotAllowed { .. } => "upgrade_not_allowed",
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::BodyTooSlow => "body_too_slow",
            Self::BodyBroken => "body_broken",
            Self::UnsupportedEncoding { .. } => "unsupported_encoding",
            Self::BadEncoding { .. } => "bad_encoding",
            Self::UnknownTarget { .. } => "unknown_target",
            Self::LoopDetected => "loop_detected",
            Self::Overloaded => "overloaded",
            Self::NotRecordable => "not_recordable",
            Self::TargetNotConfigured { .. } => "target_not_configured",
            Self::TargetDisabled { .. } => "target_disabled",
            Self::BreakerOpen { .. } => "breaker_open",
            Self::TargetBusy { .. } => "target_busy",
            Self::Unreachable { .. } => "upstream_unreachable",
            Self::TargetTooSlow { .. } => "upstream_timeout",
            Self::TargetReset { .. } => "upstream_reset",
            Self::TargetNonsense { .. } => "upstream_invalid_response",
            Self::Internal => "internal_error",
        }
    }

    pub fn status(&self) -> u16 {
        match self {
            Self::AmbiguousHeaders(_)
            | Self::InvalidJson { .. }
            | Self::InvalidEnvelope { .. }
            | Self::AmbiguousBody { .. }
            | Self::UnjudgeableBody { .. }
            | Self::BadTarget { .. }
            | Self::BodyBroken
            | Self::BadEncoding { .. } => 400,
            Self::UpgradeNotAllowed { .. } => 403,
            Self::UnknownTarget { .. } => 404,
            Self::MethodNotAllowed { .. } => 405,
            Self::BodyTooSlow => 408,
            Self::BodyTooLarge { .. } => 413,
            Self::UnsupportedEncoding { .. } => 415,
            Self::Internal => 500,
            Self::Unreachable { .. } | Self::TargetReset { .. } | Self::TargetNonsense { .. } => 502,
            Self::Overloaded
            | Self::NotRecordable
            | Self::TargetNotConfigured { .. }
            | Self::TargetDisabled { .. }
            | Self::BreakerOpen { .. }
            | Self::TargetBusy { .. } => 503,
            Self::TargetTooSlow { .. } => 504,
            Self::LoopDetected => 508,
        }
    }
}
