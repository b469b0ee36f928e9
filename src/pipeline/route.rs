//! Where a call is going and what it brings there, by the door it came through: of the envelope door the body says both, of the direct
//! door the address names the target, and the target's policy says what becomes of the body.

use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method};
use http_body::Body;
use tokio::sync::OwnedSemaphorePermit;

use super::{Pipeline, is_long};
use crate::call::{Address, Brought, Content, Contents, Envelope, Traffic};
use crate::gates::authenticate::Authenticated;
use crate::identity::{Action, Endpoint};
use crate::intake::{Encoded, Taken, read_encoded};
use crate::live::Snapshot;
use crate::policy::{Inspect, Policy, Target};
use crate::record::Trail;
use crate::upstream::{Outgoing, Upload, shape};
use crate::verdict::{Failure, Refusal};

/// Parsing is so much faster than judging.
const PARSED_FASTER: usize = 32;
/// Taking an encoding off takes a millisecond for so much of a body.
const UNFOLDED: usize = 128 * 1024;

/// What a call is, by the door it came through.
#[derive(Clone, Copy, Debug)]
pub enum Form<'a> {
    /// Its body is an envelope.
    Envelope,
    /// Its address names the target, and everything else is for that.
    Direct(Direct<'a>),
}

#[derive(Clone, Copy, Debug)]
pub struct Direct<'a> {
    pub method: &'a Method,
    /// Path and query, as they were sent.
    pub address: &'a str,
    /// The protocol it asks to go on in, if it does.
    pub upgrade: Option<&'a HeaderValue>,
}

/// A body as it reaches a door.
pub trait Arriving: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + Unpin + 'static {}

impl<B> Arriving for B where B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + Unpin + 'static {}

/// Where a call is going, now that its target is known.
pub(super) struct Route<'a> {
    pub target: Arc<Target>,
    pub content: Content,
    /// Of a direct call.
    pub method: Option<&'a Method>,
}

/// What the target is sent, once the call may pass.
pub(super) struct Onward<'a> {
    pub form: Sent<'a>,
    /// Held until the call has been sent on.
    pub memory: Option<OwnedSemaphorePermit>,
}

pub(super) enum Sent<'a> {
    /// What its policy says that it reads of an envelope.
    Shaped(Arc<Envelope>),
    AsItCame {
        method: &'a Method,
        rest: &'a str,
        body: Outgoing,
    },
}

impl Route<'_> {
    /// The action that the target will execute, which may stand in the payload. Of several that a direct call names nobody knows which.
    pub fn action(&self) -> Option<&Action> {
        match &self.content {
            Content::Envelope(envelope) => shape::executed_action(&self.target, envelope),
            Content::Direct(contents) => match contents.actions.as_slice() {
                [only] => Some(only),
                _ => None,
            },
        }
    }

    pub fn endpoint(&self) -> Endpoint {
        match self.method {
            None => Endpoint::of(&self.target.name, self.action()),
            Some(method) => Endpoint::direct(&self.target.name, method.as_str()),
        }
    }
}

/// What is still to be read of a call, and what of it is known.
pub(super) struct Unread<'a, 'b, B> {
    pub form: Form<'a>,
    pub headers: &'a HeaderMap,
    pub body: &'b mut Option<B>,
    pub caller: &'b Authenticated,
    pub snapshot: &'b Snapshot,
}

impl Pipeline {
    /// 404 here; from now on target and action are known.
    pub(super) async fn find_route<'a, B: Arriving>(
        &self,
        call: Unread<'a, '_, B>,
        trail: &mut Trail,
    ) -> Result<(Route<'a>, Onward<'a>), Refusal> {
        let (route, onward) = match call.form {
            Form::Envelope => self.route_of_envelope(call, trail).await?,
            Form::Direct(direct) => self.route_of_direct(direct, call, trail).await?,
        };
        // A direct call that names no action is known by its method.
        let of_method = || Action::parse(route.method?.as_str());
        trail.note().action = route.action().cloned().or_else(of_method);
        Ok((route, onward))
    }

    async fn route_of_envelope<'a, B: Arriving>(
        &self,
        call: Unread<'a, '_, B>,
        trail: &mut Trail,
    ) -> Result<(Route<'a>, Onward<'a>), Refusal> {
        let policy = &call.snapshot.policy;
        let Taken { bytes, memory, .. } = self.read(call.headers, call.body.as_mut(), policy, trail).await?;
        let envelope = if is_long(bytes.len() / PARSED_FASTER) {
            let policy = Arc::clone(policy);
            self.apart(move || Envelope::parse(bytes, &policy.sql.fields)).await??
        } else {
            Envelope::parse(bytes, &policy.sql.fields)?
        };
        trail.note().action.clone_from(&envelope.action);
        let target = find_target(&envelope.target, &call, trail)?;
        let envelope = Arc::new(envelope);
        let route = Route { target, content: Content::Envelope(Arc::clone(&envelope)), method: None };
        Ok((route, Onward { form: Sent::Shaped(envelope), memory }))
    }

    async fn route_of_direct<'a, B: Arriving>(
        &self,
        direct: Direct<'a>,
        call: Unread<'a, '_, B>,
        trail: &mut Trail,
    ) -> Result<(Route<'a>, Onward<'a>), Refusal> {
        let policy = &call.snapshot.policy;
        let address = Address::parse(direct.address)?;
        let target = find_target(address.target, &call, trail)?;
        let (body, content, memory) = match (target.inspect, direct.upgrade) {
            (Inspect::Required, Some(_)) => return Err(Failure::UpgradeNotAllowed { target: target.name.clone() }.into()),
            (Inspect::Required, None) => {
                let Taken { bytes, trailers, memory } = self.read(call.headers, call.body.as_mut(), policy, trail).await?;
                let contents = self.read_contents(bytes.clone(), &address, call.headers, policy).await?;
                let body = match trailers {
                    Some(trailers) => Outgoing::WithTrailers(bytes, trailers),
                    None => Outgoing::AsSent(bytes),
                };
                (body, contents, memory)
            }
            (Inspect::Skip, upgrade) => {
                let contents = self.read_contents(Bytes::new(), &address, call.headers, policy).await?;
                let body = match upgrade {
                    Some(protocol) => Outgoing::Upgrade(protocol.clone()),
                    None => stream(call.body.take(), &target, trail),
                };
                (body, contents, None)
            }
        };
        let route = Route { target, content: Content::Direct(Arc::new(content)), method: Some(direct.method) };
        Ok((route, Onward { form: Sent::AsItCame { method: direct.method, rest: address.rest, body }, memory }))
    }

    /// A body, whole and without its encodings.
    async fn read<B: Arriving>(
        &self,
        headers: &HeaderMap,
        body: Option<&mut B>,
        policy: &Policy,
        trail: &mut Trail,
    ) -> Result<Taken, Failure> {
        let Some(body) = body else { return Err(Failure::Internal) };
        let began = self.clock.monotonic_nanos();
        let encoded = read_encoded(headers, body, policy.body.max_bytes, policy.body.read_timeout, &self.body_memory).await;
        trail.note().reading = self.since(began);
        let encoded = encoded?;
        trail.note().request_bytes = encoded.taken.bytes.len() as u64;
        self.decode(encoded, policy.body.max_bytes).await
    }

    /// The body itself, whatever it came in.
    async fn decode(&self, encoded: Encoded, max_bytes: usize) -> Result<Taken, Failure> {
        let Encoded { taken, encodings } = encoded;
        if encodings.is_empty() {
            return Ok(taken);
        }
        let trailers = taken.trailers;
        let bare = |taken: Taken| Taken { trailers, ..taken };
        if !is_long(taken.bytes.len()) {
            // What becomes of few bytes is mostly short, too; where it is not, that shows only now.
            let bound = max_bytes.min(UNFOLDED);
            match encodings.take_off(taken.bytes.clone(), bound, &self.body_memory) {
                Err(Failure::BodyTooLarge { .. }) if bound < max_bytes => {}
                decoded => return decoded.map(bare),
            }
        }
        let memory = Arc::clone(&self.body_memory);
        self.apart(move || encodings.take_off(taken.bytes, max_bytes, &memory)).await?.map(bare)
    }

    async fn read_contents(
        &self,
        body: Bytes,
        address: &Address<'_>,
        headers: &HeaderMap,
        policy: &Arc<Policy>,
    ) -> Result<Contents, Failure> {
        let (policy, is_form) = (Arc::clone(policy), is_form(headers));
        let (target, query) = (address.target.to_owned(), address.query().map(str::to_owned));
        let size = body.len();
        let read = move || {
            let brought = Brought { body: &body, is_form, query: query.as_deref() };
            Contents::read(brought, &target, &policy.sql.fields)
        };
        if is_long(size / PARSED_FASTER) { self.apart(read).await? } else { read() }
    }
}

fn stream<B: Arriving>(body: Option<B>, target: &Target, trail: &mut Trail) -> Outgoing {
    match body {
        Some(body) if !body.is_end_stream() => {
            let traffic = Arc::new(Traffic::default());
            trail.follow(Arc::clone(&traffic));
            Outgoing::Streaming(Upload::new(body, target.idle_timeout, traffic))
        }
        Some(_) | None => Outgoing::AsSent(Bytes::new()),
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_TYPE).iter().any(|value| {
        let kind = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        kind.trim_ascii().eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
    })
}

fn find_target<B>(name: &str, call: &Unread<'_, '_, B>, trail: &mut Trail) -> Result<Arc<Target>, Refusal> {
    let Unread { caller, snapshot, .. } = call;
    let Some(target) = snapshot.policy.targets.find(name) else {
        trail.note().asked_target = Some(name.to_owned());
        return Err(Failure::UnknownTarget { name: name.to_owned() }.into());
    };
    trail.note().target = Some(target.name.clone());
    // Enforcement has no say in it: a target that was switched off is not called.
    if snapshot.switches.against(target.name.as_str(), caller.caller().recorded_as()).is_some() {
        return Err(Failure::TargetDisabled { target: target.name.clone() }.into());
    }
    Ok(Arc::clone(target))
}
