//! Which headers travel. Towards a target: what the caller says about its request, never what it showed us to be let in, and our own
//! words about who calls. Back: what the target says, except where the gatekeeper speaks for itself.

use http::Version;
use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HeaderMap, HeaderName, HeaderValue,
    TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};

use super::forwarded;
use crate::call::Head;
use crate::identity::Secret;
use crate::policy::{Credentials, Target};

const APIKEY: HeaderName = HeaderName::from_static("apikey");
const ELIZA_HOPS: HeaderName = HeaderName::from_static("x-eliza-hops");
const CALL_ID: HeaderName = HeaderName::from_static("x-call-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Whose credentials a target is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Towards {
    /// What the target's policy says.
    Injected,
    /// The caller's own `Authorization` and nothing of ours: it failed authentication, and only goes on because enforcement is off.
    OwnAuthorizationOnly,
    /// What the target's policy says, but nothing of what the caller showed: that is the service role key, which belongs to the
    /// platform and must not travel to whoever a target is.
    InjectedAlone,
}

/// What the body is, as far as headers speak of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// JSON that the gatekeeper shaped.
    Shaped,
    /// The caller's own bytes, any content encoding taken off.
    AsSent,
    /// The same, and trailers behind it.
    WithTrailers,
    /// The caller's own bytes as they arrive, in whatever encoding.
    Streaming,
    /// Nothing: another protocol is asked for.
    Upgrade(HeaderValue),
}

/// A credential of policy that no header can carry.
#[derive(Debug, PartialEq, Eq)]
pub struct UnfitCredential;

pub fn towards_target(
    caller: &HeaderMap,
    head: &Head,
    target: &Target,
    towards: Towards,
    form: Form,
) -> Result<HeaderMap, UnfitCredential> {
    let named = named_by_connection(caller);
    let mut out = HeaderMap::with_capacity(caller.len().saturating_add(8));
    for (name, value) in caller {
        if passes(name, target, towards) && !named.contains(name) {
            out.append(name, value.clone());
        }
    }
    put_cookie_together(&mut out);
    if takes_trailers(caller) {
        out.insert(TE, HeaderValue::from_static("trailers"));
        out.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    match form {
        Form::Shaped => {
            out.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            // The envelope door reads error bodies, and it reads them plain.
            out.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        Form::AsSent => {}
        Form::WithTrailers => announce_trailers(caller, &mut out),
        Form::Streaming => {
            announce_trailers(caller, &mut out);
            for encoding in caller.get_all(CONTENT_ENCODING) {
                out.append(CONTENT_ENCODING, encoding.clone());
            }
        }
        Form::Upgrade(protocol) => {
            out.remove(TE);
            out.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            out.insert(UPGRADE, protocol);
        }
    }
    say(&mut out, CALL_ID, &head.id.to_string());
    forwarded::say(&mut out, caller, head);
    let trace = head.trace.traceparent();
    if !continues(caller, &trace) {
        // It belongs to a trace that ends here.
        out.remove(TRACESTATE);
    }
    say(&mut out, TRACEPARENT, &trace);
    out.insert(ELIZA_HOPS, u16::from(head.hops).saturating_add(1).into());
    if matches!(towards, Towards::Injected | Towards::InjectedAlone) && !target.pass_authorization {
        inject(&mut out, &target.credentials)?;
    }
    Ok(out)
}

/// HTTP/2 may bring a cookie in crumbs; HTTP/1.1 has one line for it (RFC 9113, section 8.2.3).
fn put_cookie_together(out: &mut HeaderMap) {
    let crumbs: Vec<&[u8]> = out.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if crumbs.len() < 2 {
        return;
    }
    if let Ok(cookie) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        out.insert(COOKIE, cookie);
    }
}

/// Whether the trace that goes on is the one that came.
fn continues(caller: &HeaderMap, traceparent: &str) -> bool {
    let trace_id = |text: &str| text.split('-').nth(1).map(str::to_owned);
    let came = caller.get(TRACEPARENT).and_then(|value| value.to_str().ok()).and_then(trace_id);
    came.is_some() && came == trace_id(traceparent)
}

/// Takes out of an answer's headers what concerned only our connection to the target, and what the gatekeeper says in its own name.
/// `version`: that the answer came in.
pub fn towards_caller(answer: &mut HeaderMap, version: Version) {
    // A length beside a transfer encoding is not the body's; read again further on, it would cut the answer or stretch it into the next.
    if answer.contains_key(TRANSFER_ENCODING) {
        answer.remove(CONTENT_LENGTH);
    }
    let announced = announced_trailers(answer);
    let mut going = named_by_connection(answer);
    going.extend(answer.keys().filter(|name| is_hop_by_hop(name) || is_ours_to_say(name)).cloned());
    for name in going {
        answer.remove(name);
    }
    // Behind a body of a stated length there are none.
    if let Some(announced) = announced.filter(|_| !answer.contains_key(CONTENT_LENGTH)) {
        answer.insert(TRAILER, announced);
    }
    forwarded::via(answer, version);
}

/// Whether whoever sent these headers reads what comes behind a body.
fn takes_trailers(headers: &HeaderMap) -> bool {
    headers.get_all(TE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).any(|coding| {
        let name = coding.split(|byte| *byte == b';').next().unwrap_or_default();
        name.trim_ascii().eq_ignore_ascii_case(b"trailers")
    })
}

fn announce_trailers(from: &HeaderMap, out: &mut HeaderMap) {
    if let Some(announced) = announced_trailers(from) {
        out.insert(TRAILER, announced);
    }
}

/// Those of the trailers that a message announces that may go on.
fn announced_trailers(headers: &HeaderMap) -> Option<HeaderValue> {
    let names = listed(headers, &TRAILER).filter(may_trail);
    let list = names.map(|name| name.to_string()).collect::<Vec<_>>().join(", ");
    HeaderValue::try_from(list).ok().filter(|list| !list.is_empty())
}

/// Without what may not stand behind a body: some servers put trailers among the headers, where they would count.
pub fn fit_for_trailers(mut trailers: HeaderMap) -> HeaderMap {
    let going: Vec<_> = trailers.keys().filter(|name| !may_trail(name)).cloned().collect();
    for name in going {
        trailers.remove(name);
    }
    trailers
}

/// RFC 9110, section 6.5.1: nothing that frames, routes or authenticates a message, or says how to read it.
fn may_trail(name: &HeaderName) -> bool {
    let text = name.as_str();
    let is_ours = is_hop_by_hop(name) || is_about_this_hop(name) || is_ours_to_say(name) || text.contains('_');
    let speaks_early = matches!(
        text,
        "authorization" | "apikey" | "cookie" | "set-cookie" | "content-type" | "content-range" | "cache-control" | "via" | "max-forwards"
    ) || text.starts_with("www-")
        || text.starts_with("if-");
    !is_ours && !speaks_early
}

fn passes(name: &HeaderName, target: &Target, towards: Towards) -> bool {
    if is_hop_by_hop(name) || is_about_this_hop(name) || name.as_str().contains('_') {
        return false;
    }
    let own_credentials = target.pass_authorization && towards == Towards::Injected;
    let own_authorization = own_credentials || towards == Towards::OwnAuthorizationOnly;
    match name.as_str() {
        "authorization" => own_authorization,
        // What stands in the latter two is a proxy's word on who called it (RFC 9440), and nobody's here.
        "x-eliza-key" | "client-cert" | "client-cert-chain" => false,
        "apikey" => own_credentials,
        eliza if eliza.starts_with("x-eliza-") => own_credentials,
        _ => true,
    }
}

/// RFC 9110, section 7.6.1. What `Connection` names comes on top: see [`named_by_connection`].
fn is_hop_by_hop(name: &HeaderName) -> bool {
    let name = name.as_str();
    matches!(name, "connection" | "keep-alive" | "te" | "trailer" | "transfer-encoding" | "upgrade" | "http2-settings")
        || name.starts_with("proxy-")
}

/// True of the caller's connection, its framing or its body as it came; said anew towards the target where it is said at all.
fn is_about_this_hop(name: &HeaderName) -> bool {
    let name = name.as_str();
    matches!(name, "host" | "content-length" | "content-encoding" | "expect" | "forwarded" | "x-real-ip" | "traceparent" | "x-call-id")
        || name.starts_with("x-forwarded-")
}

fn is_ours_to_say(name: &HeaderName) -> bool {
    name == CALL_ID || name.as_str().starts_with("access-control-") || name.as_str().starts_with("x-eliza-")
}

fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    listed(headers, &CONNECTION).collect()
}

/// The names that a header lists.
fn listed(headers: &HeaderMap, name: &HeaderName) -> impl Iterator<Item = HeaderName> {
    let tokens = headers.get_all(name).into_iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    tokens.filter_map(|token| HeaderName::from_bytes(token.trim_ascii()).ok())
}

fn inject(out: &mut HeaderMap, credentials: &Credentials) -> Result<(), UnfitCredential> {
    match credentials {
        Credentials::None => {}
        Credentials::Bearer(token) => {
            out.insert(AUTHORIZATION, bearer(token)?);
        }
        Credentials::ServiceRole(key) => {
            out.insert(AUTHORIZATION, bearer(key)?);
            out.insert(APIKEY, sensitive(key.reveal())?);
        }
    }
    Ok(())
}

fn bearer(token: &Secret) -> Result<HeaderValue, UnfitCredential> {
    sensitive(&format!("Bearer {}", token.reveal()))
}

/// Marked so that it prints as `Sensitive`, and so that no header compression table keeps it.
fn sensitive(text: &str) -> Result<HeaderValue, UnfitCredential> {
    let mut value = HeaderValue::from_str(text).map_err(|_| UnfitCredential)?;
    value.set_sensitive(true);
    Ok(value)
}

/// For text of ours, which is always fit for a header.
fn say(out: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        out.insert(name, value);
    }
}
