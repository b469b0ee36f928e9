//! The order of the gates, cheapest first, and the only place that decides what becomes of a denial.
//!
//! Each gate takes the proof of the one before, so a call that skipped a gate does not compile. Nothing here touches a database.

mod explain;
pub mod fixer;
mod forward;
mod retrace;
mod route;
mod schema;
mod step;

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use tokio::sync::Semaphore;

use crate::call::{CUT, Head};
use crate::clock::Clock;
use crate::gates::authenticate::{Assumed, Authenticated, assume, authenticate};
use crate::gates::authorize::{Authorized, authorize};
use crate::gates::blocklist::{NotBlocked, blocklist};
use crate::gates::rate_limit::strangers::{Fold, Strangers};
use crate::gates::rate_limit::{EndpointTicket, RateLimiter, SourceTicket, Subject};
use crate::gates::schema_check::SchemaChecked;
use crate::gates::sql_filter::{SqlJudged, sql_filter};
use crate::identity::{Caller, CertificateName, Secret};
use crate::live::{Live, Snapshot};
use crate::policy::{Target, WhenFull};
use crate::record::{Recorder, Trail};
use crate::upstream::{Settled, Towards, Tunnels, Upstream};
use crate::verdict::{AuthFault, Denial, Failure, GateName, Refusal, Standings, Verdict};

use fixer::Fixer;
use route::{Onward, Route, Unread};
use schema::Checking;

pub use explain::{Asked, Decision, Explanation, Question, Step};
pub use retrace::{judged_by, retrace};
pub use route::{Arriving, Direct, Form};

/// Judging SQL of this size takes a few milliseconds at the most.
const LONG: usize = 16 * 1024;

/// Stands in records for what is, or may be, a key. No source can have this name.
const A_KEY: &str = "(a key)";

/// What every call goes through: the long-lived parts, shared by all doors.
pub struct Pipeline {
    pub live: Live,
    pub limiter: RateLimiter,
    pub strangers: Strangers,
    pub upstream: Upstream,
    /// Connections that have gone on in another protocol.
    pub tunnels: Tunnels,
    pub fixer: Fixer,
    pub recorder: Recorder,
    pub clock: Clock,
    /// What callers that failed authentication go on with while enforcement is off.
    pub strangers_towards: Towards,
    /// Calls under way.
    pub places: Arc<Semaphore>,
    /// What their bodies may take together.
    pub body_memory: Arc<Semaphore>,
    /// Bodies that are judged apart, at once.
    pub long_work: Arc<Semaphore>,
}

/// A call on its way in: its head is judged, its body is not read yet. What is left of the body stays with the door.
pub struct Call<'a, B> {
    pub head: &'a Head,
    pub headers: &'a HeaderMap,
    pub form: Form<'a>,
    /// Taken where it goes on as it arrives.
    pub body: &'a mut Option<B>,
    pub purpose: Purpose,
}

/// Why a call goes through the gates.
#[derive(Clone, Debug)]
pub enum Purpose {
    /// To be made.
    Make,
    /// To see what would become of it: nothing is counted, kept, sent or asked.
    Explain(Assumed),
}

/// All that a call must show before it is sent on.
struct Admitted<'a> {
    caller: Authenticated,
    target: Arc<Target>,
    onward: Onward<'a>,
    _not_blocked: NotBlocked,
    _authorized: Authorized,
    _within_limits: EndpointTicket,
    _sql: SqlJudged,
    _schema: SchemaChecked,
}

/// How a call came out, and where its caller stands with its limits.
pub struct Outcome {
    pub result: Result<Settled, Refusal>,
    pub standings: Standings,
}

impl Pipeline {
    /// The whole way of a call, whichever door it came through.
    pub async fn admit_and_forward<B: Arriving>(&self, call: Call<'_, B>, trail: &mut Trail) -> Outcome {
        let mut standings = Standings::default();
        // Apart: it is by far the largest there is, and what holds it is moved about before it begins.
        let result = Box::pin(self.pass(call, trail, &mut standings)).await;
        Outcome { result, standings }
    }

    async fn pass<B: Arriving>(&self, call: Call<'_, B>, trail: &mut Trail, standings: &mut Standings) -> Result<Settled, Refusal> {
        let (head, headers) = (call.head, call.headers);
        let snapshot = self.live.snapshot();
        let admitted = self.admit(call, &snapshot, trail, standings).await?;
        self.forward(admitted, head, headers, trail).await
    }

    /// The gates, in order.
    async fn admit<'a, B: Arriving>(
        &self,
        call: Call<'a, B>,
        snapshot: &Snapshot,
        trail: &mut Trail,
        standings: &mut Standings,
    ) -> Result<Admitted<'a>, Refusal> {
        let Call { head, headers, form, body, purpose } = call;
        let policy = &snapshot.policy;
        trail.note().enforced = snapshot.modes(head.at).is_on();
        trail.note().policy = Some(Arc::clone(&policy.fingerprint));

        let caller = self.identify(head, &purpose, snapshot, trail)?;
        let not_blocked = weigh(snapshot, trail, GateName::Blocklist, blocklist(&caller, head.peer, &snapshot.blocklist, head.at))?;
        // First of all that a caller can provoke: whatever else refuses the call, it is counted.
        let ticket = self.limit_source(&caller, head, &purpose, snapshot, trail, standings)?;
        self.take_place(&purpose, snapshot, trail)?;
        if head.hops >= policy.body.max_hops {
            return Err(Failure::LoopDetected.into());
        }
        let (route, onward) = self.find_route(Unread { form, headers, body, caller: &caller, snapshot }, trail).await?;

        let authorized = weigh(snapshot, trail, GateName::Authorize, authorize(&caller, &route.target, route.action()))?;
        let within_limits = self.limit_endpoint(ticket, &route, snapshot, trail, standings)?;
        let sql = self.filter_sql(&caller, &route, snapshot, trail).await?;
        let schema = {
            let call = Checking { caller: &caller, route: &route, sql: &sql, head, headers, purpose: &purpose };
            self.check_schema(call, snapshot, trail).await?
        };
        Ok(Admitted {
            _not_blocked: not_blocked,
            _authorized: authorized,
            _within_limits: within_limits,
            _sql: sql,
            _schema: schema,
            target: route.target,
            caller,
            onward,
        })
    }

    /// Who calls. What a stranger does is recorded one by one only up to a bound: a flood of them must not fill the disk.
    fn identify(&self, head: &Head, purpose: &Purpose, snapshot: &Snapshot, trail: &mut Trail) -> Result<Authenticated, Refusal> {
        trail.note().trace = Some(head.trace);
        let verdict = match purpose {
            Purpose::Make => authenticate(head, &snapshot.policy, &snapshot.keys, snapshot.service_role.as_ref()),
            Purpose::Explain(assumed) => assume(assumed, head, &snapshot.policy, &snapshot.keys),
        };
        match weigh(snapshot, trail, GateName::Authenticate, verdict) {
            Ok(authenticated) => {
                if let Caller::ServiceRole { claimed } | Caller::Stranger { claimed } = authenticated.caller() {
                    trail.note().claimed = self.without_keys(claimed.as_ref(), head, snapshot);
                    trail.note().shown_certificate = shown_certificate(head);
                }
                trail.note().caller = Some(authenticated.caller().clone());
                Ok(authenticated)
            }
            Err(refusal) => {
                if matches!(purpose, Purpose::Make) {
                    self.turn_away(snapshot, trail);
                }
                // Nobody reads what the many say that are only counted, and to see whether it is a key takes long.
                if !trail.is_folded() {
                    trail.note().claimed = self.without_keys(head.credentials.eliza_source.as_ref(), head, snapshot);
                    trail.note().shown_certificate = shown_certificate(head);
                }
                Err(refusal)
            }
        }
    }

    /// What a caller says it is, fit to be recorded: a key that was put there by mistake must not be shown to whoever reads records.
    fn without_keys(&self, claimed: Option<&Arc<str>>, head: &Head, snapshot: &Snapshot) -> Option<Arc<str>> {
        let claimed = claimed?;
        let secret = Secret::new(claimed);
        let on_the_ring = !matches!(snapshot.keys.find(&secret, head.at), Err(AuthFault::WrongKey));
        let is_key = on_the_ring || snapshot.service_role.is_some_and(|hash| hash == secret.hash());
        // What was too long for a name was cut, and may be the better part of a key.
        let is_cut = claimed.ends_with(CUT);
        Some(if is_key || is_cut { A_KEY.into() } else { Arc::clone(claimed) })
    }

    /// Notes a call that was refused before anybody was known to stand behind it.
    pub fn turn_away(&self, snapshot: &Snapshot, trail: &mut Trail) {
        let (network, at) = (trail.notes().network, trail.notes().at);
        match self.strangers.note(network, at, &snapshot.policy.limits) {
            Fold::Record => {}
            Fold::Counted => trail.fold(),
        }
    }

    fn take_place(&self, purpose: &Purpose, snapshot: &Snapshot, trail: &mut Trail) -> Result<(), Refusal> {
        if matches!(purpose, Purpose::Explain(_)) {
            return Ok(());
        }
        if snapshot.policy.journal.when_full == WhenFull::Refuse && !self.recorder.has_room(trail.class()) {
            return Err(Failure::NotRecordable.into());
        }
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Failure::Overloaded)?;
        trail.hold(place);
        Ok(())
    }

    fn limit_source<'s>(
        &self,
        caller: &'s Authenticated,
        head: &Head,
        purpose: &Purpose,
        snapshot: &'s Snapshot,
        trail: &mut Trail,
        standings: &mut Standings,
    ) -> Result<SourceTicket<'s>, Refusal> {
        let subject = match (caller.caller(), caller.source()) {
            (Caller::Source { name, .. }, Some(policy)) => Subject::Source { name, policy },
            (Caller::ServiceRole { .. }, _) => Subject::ServiceRole,
            (Caller::Stranger { .. } | Caller::Source { .. }, _) => Subject::Stranger,
        };
        let verdict = match purpose {
            Purpose::Make => self.limiter.limit_source(subject, &snapshot.policy.limits, head.at),
            Purpose::Explain(_) => self.limiter.look(subject, &snapshot.policy.limits, head.at),
        };
        let ticket = verdict.proof();
        *standings = ticket.standings();
        trail.note().counted = ticket.count().cloned();
        weigh(snapshot, trail, GateName::SourceLimit, verdict)
    }

    fn limit_endpoint(
        &self,
        ticket: SourceTicket<'_>,
        route: &Route<'_>,
        snapshot: &Snapshot,
        trail: &mut Trail,
        standings: &mut Standings,
    ) -> Result<EndpointTicket, Refusal> {
        let verdict = self.limiter.limit_endpoint(ticket, &route.endpoint());
        let ticket = verdict.proof();
        *standings = ticket.standings();
        trail.note().counted = ticket.count().cloned();
        weigh(snapshot, trail, GateName::EndpointLimit, verdict)
    }

    async fn filter_sql(
        &self,
        caller: &Authenticated,
        route: &Route<'_>,
        snapshot: &Snapshot,
        trail: &mut Trail,
    ) -> Result<SqlJudged, Refusal> {
        let at = trail.notes().at;
        let verdict = if is_long(route.content.sql().iter().map(|sql| sql.text.len()).sum()) {
            let (caller, content, policy) = (caller.caller().clone(), route.content.clone(), Arc::clone(&snapshot.policy));
            let target = route.target.name.clone();
            self.apart(move || sql_filter(&caller, &target, content.sql(), &policy.sql, at)).await?
        } else {
            sql_filter(caller.caller(), &route.target.name, route.content.sql(), &snapshot.policy.sql, at)
        };
        trail.note().excepted.extend_from_slice(verdict.proof().excepted());
        // Rules that only observe leave their mark and nothing else.
        for finding in verdict.proof().observed() {
            trail.would_deny(GateName::SqlFilter, &Denial::DangerousSql(Box::new(finding.clone())));
        }
        weigh(snapshot, trail, GateName::SqlFilter, verdict)
    }

    /// Does long work on a thread for that: one for each core, so that such calls wait for each other and for nobody else.
    async fn apart<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
        let turn = Arc::clone(&self.long_work).acquire_owned().await.map_err(|_| Failure::Internal)?;
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        });
        done.await.map_err(|_| Failure::Internal)
    }

    fn since(&self, began: u64) -> Duration {
        Duration::from_nanos(self.clock.monotonic_nanos().saturating_sub(began))
    }
}

/// Whether work on so many bytes of a caller's would keep other calls waiting, were it not done [apart](Pipeline::apart).
const fn is_long(size: usize) -> bool {
    size > LONG
}

/// What to call the certificate of somebody who is not known by it.
fn shown_certificate(head: &Head) -> Option<CertificateName> {
    head.certificate.as_ref()?.name().cloned()
}

/// What enforcement makes of a verdict.
fn weigh<P>(snapshot: &Snapshot, trail: &mut Trail, gate: GateName, verdict: Verdict<P>) -> Result<P, Refusal> {
    match verdict {
        // Most calls are denied nothing, and need not know whether denials would stand.
        Verdict::Allow(proof) => Ok(proof),
        denied @ Verdict::Deny { .. } => {
            let modes = snapshot.modes(trail.notes().at);
            modes.weigh(gate, denied, |gate, denial: &Denial| trail.would_deny(gate, denial)).map_err(Refusal::from)
        }
    }
}
