//! What would become of a call, gate by gate, without making it. The call goes through the same gates in the same order as any other;
//! only that nothing of it is counted, kept, sent or asked, and that its credentials are assumed instead of shown.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Version};
use http_body_util::Full;

use super::{Call, Direct, Form, Pipeline, Purpose};
use crate::call::{Address, Brought, Contents, Envelope, Head, Reading, SqlText};
use crate::gates::authenticate::Assumed;
use crate::identity::{CallId, Caller, CertificateName, Endpoint, PeerCertificate, Place, SourceName, TargetName};
use crate::live::Snapshot;
use crate::policy::Policy;
use crate::record::{Notes, SchemaNote, Trail};
use crate::reply::status_of;
use crate::verdict::{AuthFault, Denial, GateName, Refusal, Standing, Standings};
use crate::wording::{SqlLine, window_words, words};

/// A call that is not made.
#[derive(Clone, Debug)]
pub struct Question {
    pub source: Option<Arc<str>>,
    pub assumed: Assumed,
    /// What its connection would have verified.
    pub certificate: Option<CertificateName>,
    pub peer: IpAddr,
    pub call: Asked,
}

/// The call itself, as it would be sent.
#[derive(Clone, Debug)]
pub enum Asked {
    Envelope(Bytes),
    Direct {
        method: Method,
        /// Path and query.
        address: String,
        body: Bytes,
    },
}

impl Asked {
    fn form(&self) -> Form<'_> {
        match self {
            Self::Envelope(_) => Form::Envelope,
            Self::Direct { method, address, .. } => Form::Direct(Direct { method, address, upgrade: None }),
        }
    }

    fn body(&self) -> &Bytes {
        match self {
            Self::Envelope(body) | Self::Direct { body, .. } => body,
        }
    }

    fn method(&self) -> Option<&Method> {
        match self {
            Self::Envelope(_) => None,
            Self::Direct { method, .. } => Some(method),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Explanation {
    /// Why it would be refused, if it would be.
    pub refusal: Option<Refusal>,
    /// Whether every gate's denials stand.
    pub enforced: bool,
    /// Every gate, in the order a call meets them.
    pub steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub gate: GateName,
    pub decision: Decision,
    pub saw: String,
    pub why: String,
    /// Where what decided is written down.
    pub place: Option<Place>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Allow,
    Deny,
    /// Denied, but the gate only observes.
    WouldDeny,
    /// The gate asks somebody else, who was not asked.
    NotAsked,
    NotReached,
}

impl Decision {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::WouldDeny => "would_deny",
            Self::NotAsked => "not_asked",
            Self::NotReached => "not_reached",
        }
    }
}

impl Explanation {
    pub fn status(&self) -> Option<u16> {
        self.refusal.as_ref().map(status_of)
    }

    pub fn code(&self) -> Option<&'static str> {
        self.refusal.as_ref().map(Refusal::code)
    }

    /// What the caller would be told.
    pub fn message(&self) -> Option<String> {
        self.refusal.as_ref().map(|refusal| words(refusal).message)
    }
}

impl Pipeline {
    pub async fn explain(&self, question: Question) -> Explanation {
        let snapshot = self.live.snapshot();
        let (id, at) = (CallId::new(), self.clock.now());
        let headers = HeaderMap::new();
        // HTTP/2, for a request without headers is a whole one there.
        let certificate = question.certificate.clone().map(|name| Arc::new(PeerCertificate::imagined(name)));
        let mut head = match Head::parse(&headers, Version::HTTP_2, id, at, question.peer, certificate) {
            Ok(head) => head,
            Err(failure) => return Explanation { refusal: Some(failure.into()), enforced: true, steps: Vec::new() },
        };
        head.credentials.eliza_source.clone_from(&question.source);
        let mut trail = Trail::of_nothing(Notes::new(id, at, question.peer, "explain"), self.recorder.clone());
        trail.note().method = question.call.method().cloned();
        let mut standings = Standings::default();
        let mut body = Some(Full::new(question.call.body().clone()));
        let purpose = Purpose::Explain(question.assumed.clone());
        let call = Call { head: &head, headers: &headers, form: question.call.form(), body: &mut body, purpose };
        let refusal = match self.admit(call, &snapshot, &mut trail, &mut standings).await {
            Ok(admitted) => self.upstream.would_refuse(&admitted.target).map(Refusal::Failed),
            Err(refusal) => Some(refusal),
        };
        let seen = Seen { snapshot: &snapshot, notes: trail.notes(), standings, refusal: refusal.as_ref(), question: &question };
        let steps = GateName::ALL.into_iter().map(|gate| seen.step(gate)).collect();
        Explanation { enforced: snapshot.modes(at).is_on(), steps, refusal }
    }
}

/// All that is known once the gates have judged.
struct Seen<'a> {
    snapshot: &'a Snapshot,
    notes: &'a Notes,
    standings: Standings,
    refusal: Option<&'a Refusal>,
    question: &'a Question,
}

impl Seen<'_> {
    fn step(&self, gate: GateName) -> Step {
        let ended_at = match self.refusal {
            Some(Refusal::Denied(denial)) => Some(denial.gate()),
            _ => None,
        };
        let denied = match self.refusal {
            Some(Refusal::Denied(denial)) if denial.gate() == gate => Some((Decision::Deny, denial)),
            _ => self.notes.would_deny.iter().find(|would| would.gate == gate).map(|would| (Decision::WouldDeny, &would.denial)),
        };
        if let Some((decision, denial)) = denied {
            return Step {
                gate,
                decision,
                saw: self.saw(gate),
                why: why(denial),
                place: denial.place().cloned().or_else(|| self.place(gate)),
            };
        }
        let beyond_the_body = gate > GateName::SourceLimit;
        let unread = matches!(self.refusal, Some(Refusal::Failed(failure)) if failure.is_before_the_route());
        if ended_at.is_some_and(|ended| gate > ended) || (beyond_the_body && unread) {
            let why = match self.refusal {
                Some(refusal) if ended_at.is_none() => words(refusal).message,
                _ => String::new(),
            };
            return Step { gate, decision: Decision::NotReached, saw: String::new(), why, place: None };
        }
        if gate == GateName::SchemaCheck && self.notes.schema == Some(SchemaNote::NotAsked) {
            let policy = &self.snapshot.policy.schema;
            let validator = policy.validator.as_ref().map_or("", |validator| validator.name.as_str());
            let why = format!("a schema operation: {validator} has the say in it");
            return Step { gate, decision: Decision::NotAsked, saw: self.saw(gate), why, place: Some(policy.place.clone()) };
        }
        let step = |why, place| Step { gate, decision: Decision::Allow, saw: self.saw(gate), why, place };
        match self.notes.excepted.first() {
            Some(excepted) if gate == GateName::SqlFilter => {
                step(SqlLine::of(&excepted.finding).excepted(&excepted.reason, &excepted.by), Some(excepted.place.clone()))
            }
            _ => step(String::new(), self.place(gate)),
        }
    }

    fn saw(&self, gate: GateName) -> String {
        match gate {
            GateName::Authenticate => match &self.notes.caller {
                Some(Caller::Source { name, proof }) => format!("source {name} with {proof}"),
                Some(Caller::ServiceRole { .. }) => "the service role key".into(),
                Some(Caller::Stranger { .. }) | None => match &self.question.source {
                    Some(claimed) => format!("somebody who says it is {claimed}"),
                    None => "nobody".into(),
                },
            },
            GateName::Blocklist => format!("a call from {}", self.question.peer),
            GateName::SourceLimit => used(self.standings.source, "no limit applies"),
            GateName::Authorize => match (&self.notes.target, &self.notes.action) {
                (Some(target), Some(action)) => format!("{target}, action {}", action.as_str()),
                (Some(target), None) => format!("{target}, no action"),
                (None, _) => String::new(),
            },
            GateName::EndpointLimit => used(self.standings.endpoint, "no limit applies"),
            GateName::SqlFilter | GateName::SchemaCheck => self.sql(),
        }
    }

    fn sql(&self) -> String {
        let fields = &self.snapshot.policy.sql.fields;
        let texts: Vec<SqlText> = match &self.question.call {
            Asked::Envelope(body) => Envelope::parse(body.clone(), fields).map(|envelope| envelope.sql).unwrap_or_default(),
            Asked::Direct { address, body, .. } => Address::parse(address)
                .and_then(|address| {
                    let brought = Brought { body, is_form: false, query: address.query() };
                    Contents::read(brought, address.target, fields)
                })
                .map(|contents| contents.sql)
                .unwrap_or_default(),
        };
        let pointers: Vec<String> = texts.into_iter().filter(|text| text.reading == Reading::Sql).map(|text| text.pointer).collect();
        match pointers.as_slice() {
            [] => "no SQL".into(),
            [one] => format!("SQL at {one}"),
            [first, ..] => format!("SQL at {} places, the first is {first}", pointers.len()),
        }
    }

    fn place(&self, gate: GateName) -> Option<Place> {
        let source = match &self.notes.caller {
            Some(Caller::Source { name, .. }) => Some(name),
            _ => None,
        };
        let target = self.notes.target.as_ref();
        let endpoint = target.map(|target| match &self.notes.method {
            Some(method) => Endpoint::direct(target, method.as_str()),
            None => Endpoint::of(target, self.notes.action.as_ref()),
        });
        line(&self.snapshot.policy, gate, source, target, endpoint.as_ref())
    }
}

/// The line of policy by which a gate lets a call pass.
pub(super) fn line(
    policy: &Policy,
    gate: GateName,
    source: Option<&SourceName>,
    target: Option<&TargetName>,
    endpoint: Option<&Endpoint>,
) -> Option<Place> {
    let source = || policy.sources.find(source?);
    let target = || policy.targets.find(target?.as_str());
    match gate {
        GateName::Authenticate => Some(source()?.place.clone()),
        GateName::SourceLimit => Some(source()?.total.place.clone()),
        GateName::Authorize => Some(target()?.place.clone()),
        GateName::EndpointLimit => Some(source()?.allowance_of(endpoint?.as_str()).place.clone()),
        GateName::Blocklist | GateName::SqlFilter | GateName::SchemaCheck => None,
    }
}

fn used(standing: Option<Standing>, none: &str) -> String {
    standing.map_or_else(
        || none.to_owned(),
        |standing| {
            let used = standing.limit.saturating_sub(standing.remaining);
            format!("call {used} of {} in this {}", standing.limit, window_words(standing.window_secs))
        },
    )
}

/// What the operator may know beyond what the caller is told.
fn why(denial: &Denial) -> String {
    match denial {
        Denial::Unauthorized(fault) => match fault {
            AuthFault::WrongKey => "no key of this id is on the ring".into(),
            fault => fault.as_str().replace('_', " "),
        },
        Denial::DangerousSql(finding) => SqlLine::of(finding).to_string(),
        Denial::Blocked(blocked) => blocked.reason.clone(),
        other => words(&Refusal::Denied(other.clone())).message,
    }
}
