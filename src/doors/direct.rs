//! The direct door: `/functions/v1/{target}/…` with any method, through the same gates. What goes on is what came, and what comes back is
//! the target's own answer, whatever it says.

use std::sync::Arc;

use http::header::{CONNECTION, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::upgrade::OnUpgrade;

use super::Arrived;
use super::answer::{answer, in_our_name, turned_away};
use super::said::{Begun, Said};
use crate::call::{Head, Traffic};
use crate::gatekeeper::Gatekeeper;
use crate::pipeline::{Arriving, Call, Direct, Form, Outcome, Purpose};
use crate::record::{Ending, Notes, Trail};
use crate::upstream::{Answer, Settled, Tunnel, TunnelEnd, Upgrade};
use crate::verdict::Failure;

const ALLOW: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

pub async fn call<B: Arriving>(gatekeeper: &Gatekeeper, arrived: Arrived, mut request: Request<B>) -> Begun {
    let (pipeline, arrival) = (&gatekeeper.pipeline, arrived.arrival);
    let mut trail = Trail::new(Notes::new(arrival.id, arrival.at, arrival.peer, "direct"), pipeline.recorder.clone());
    trail.note().method = Some(request.method().clone());
    let ours = hyper::upgrade::on(&mut request);
    let (parts, body) = request.into_parts();
    let upgrade = asked_upgrade(&parts, &body);
    let mut body = Some(body);
    let Outcome { result, standings } = match head_of(&parts, arrived) {
        Ok(head) => {
            let address = parts.uri.path_and_query().map_or("", |address| address.as_str());
            let form = Form::Direct(Direct { method: &parts.method, address, upgrade: upgrade.as_ref() });
            let call = Call { head: &head, headers: &parts.headers, form, body: &mut body, purpose: Purpose::Make };
            pipeline.admit_and_forward(call, &mut trail).await
        }
        Err(failure) => turned_away(pipeline, failure, &mut trail),
    };
    match result {
        Ok(Settled::AsIs(Answer { upgrade: Some(theirs), mut headers, .. })) => {
            in_our_name(&mut headers, &standings, trail.answer_begins(), arrival);
            go_on(ours, *theirs, headers, pipeline.tunnels.enter(), trail)
        }
        result => answer(Outcome { result, standings }, trail, arrival, &parts, body),
    }
}

fn head_of(parts: &Parts, arrived: Arrived) -> Result<Head, Failure> {
    if [Method::TRACE, Method::CONNECT].contains(&parts.method) {
        return Err(Failure::MethodNotAllowed { allow: ALLOW });
    }
    arrived.head_of(parts)
}

/// The protocols that a request asks to go on in, but for other forms of HTTP and for TLS: those are offers about the connection to us,
/// which nobody has to take, and in a tunnel they would carry calls past every gate.
fn asked_upgrade(parts: &Parts, body: &impl Body) -> Option<HeaderValue> {
    let listed = |name| parts.headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).flat_map(|list| list.split(','));
    let is_asked = parts.version == Version::HTTP_11 && listed(CONNECTION).any(|token| token.trim().eq_ignore_ascii_case("upgrade"));
    let is_about_us = |protocol: &&str| {
        let name = protocol.split('/').next().unwrap_or_default();
        ["h2c", "h2", "http", "tls"].iter().any(|ours| name.eq_ignore_ascii_case(ours))
    };
    let others: Vec<&str> = listed(UPGRADE).map(str::trim).filter(|protocol| !protocol.is_empty() && !is_about_us(protocol)).collect();
    if is_asked && !others.is_empty() && body.is_end_stream() { HeaderValue::try_from(others.join(", ")).ok() } else { None }
}

/// The target's last word in HTTP goes out, and then the connections are one. Its record is kept when they end.
fn go_on(ours: OnUpgrade, theirs: Upgrade, mut headers: HeaderMap, tunnel: Tunnel, mut trail: Box<Trail>) -> Begun {
    const STATUS: StatusCode = StatusCode::SWITCHING_PROTOCOLS;
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, theirs.protocol.clone());
    let traffic = Arc::new(Traffic::default());
    trail.follow(Arc::clone(&traffic));
    trail.note().ending = Some(Ending::Abandoned { status: Some(STATUS.as_u16()) });
    tokio::spawn(async move {
        let end = tunnel.carry(ours, theirs, &traffic).await;
        trail.note().ending = Some(match end {
            TunnelEnd::Closed => Ending::Answered { status: STATUS.as_u16() },
            TunnelEnd::Idle => Ending::AnswerBroken { status: STATUS.as_u16() },
            TunnelEnd::Cut | TunnelEnd::NeverOpened => Ending::Abandoned { status: Some(STATUS.as_u16()) },
        });
    });
    let mut response = Response::new(Said::nothing());
    *response.status_mut() = STATUS;
    *response.headers_mut() = headers;
    Begun { response, until: None }
}
