//! Which headers travel. Towards a target: what the caller says about its request, never what it showed us to be let in, and our own
//! words about who calls. Back: what the target says, except where the gatekeeper speaks for itself.

use http::Version;
use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HeaderMap, HeaderName, HeaderValue,
    TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};

use super::about::{About, about};
use super::forwarded;
use super::phrases::{Phrases, Shown};
use crate::call::Head;
use crate::policy::Target;

pub use super::phrases::UnfitCredential;

const APIKEY: HeaderName = HeaderName::from_static("apikey");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const IDENTITY: HeaderValue = HeaderValue::from_static("identity");
const ELIZA_HOPS: HeaderName = HeaderName::from_static("x-eliza-hops");
const CALL_ID: HeaderName = HeaderName::from_static("x-call-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Headers of ours: those below, those of [`forwarded`], and what HTTP itself adds.
const OURS: usize = 14;

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

pub fn towards_target(
    caller: &HeaderMap,
    head: &Head,
    target: &Target,
    towards: Towards,
    form: Form,
) -> Result<HeaderMap, UnfitCredential> {
    towards_known(caller, head, target, towards, form, &Phrases::showing(&target.credentials))
}

/// `phrases`: of calls to this target.
pub fn towards_known(
    caller: &HeaderMap,
    head: &Head,
    target: &Target,
    towards: Towards,
    form: Form,
    phrases: &Phrases,
) -> Result<HeaderMap, UnfitCredential> {
    let mut out = HeaderMap::with_capacity(caller.len().saturating_add(OURS));
    let (mut cookies, mut reads_trailers, mut came, mut brings_state) = (0_usize, false, None, false);
    let is_shaped = form == Form::Shaped;
    let (mut says_type, mut says_encoding, mut names_some) = (false, false, false);
    for (name, value) in caller {
        let about = about(name);
        match about {
            About::Trace if came.is_none() => came = Some(value),
            About::Coding => reads_trailers |= takes_trailers(value),
            About::Cookie => cookies = cookies.saturating_add(1),
            About::TraceState => brings_state = true,
            About::Connection => names_some = true,
            _ => {}
        }
        if !passes(name, about, target, towards) {
            continue;
        }
        match about {
            About::ContentType if is_shaped && !says_type => (_, says_type) = (out.append(name, JSON), true),
            About::AcceptEncoding if is_shaped && !says_encoding => (_, says_encoding) = (out.append(name, IDENTITY), true),
            About::ContentType | About::AcceptEncoding if is_shaped => {}
            _ => drop(out.append(name, value.clone())),
        }
    }
    // Few requests say anything there.
    if names_some {
        for named in listed(caller, &CONNECTION) {
            out.remove(named);
        }
        (says_type, says_encoding) = (out.contains_key(CONTENT_TYPE), out.contains_key(ACCEPT_ENCODING));
    }
    // HTTP/2 may bring a cookie in crumbs.
    if cookies > 1 {
        put_cookie_together(&mut out);
    }
    if reads_trailers {
        out.insert(TE, HeaderValue::from_static("trailers"));
        out.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    match form {
        Form::Shaped => {
            if !says_type {
                out.append(CONTENT_TYPE, JSON);
            }
            // The envelope door reads error bodies, and it reads them plain.
            if !says_encoding {
                out.append(ACCEPT_ENCODING, IDENTITY);
            }
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
    // What is ours to say and nobody else's is not there yet, so there is nothing to look for.
    if let Ok(id) = HeaderValue::from_str(head.id.0.hyphenated().encode_lower(&mut [0; 36])) {
        out.append(CALL_ID, id);
    }
    forwarded::say(&mut out, caller, head, phrases);
    let trace = head.trace.traceparent();
    if brings_state && !came.is_some_and(|came| continues(came, &trace)) {
        // It belongs to a trace that ends here.
        out.remove(TRACESTATE);
    }
    if let Ok(trace) = HeaderValue::from_bytes(&trace) {
        out.append(TRACEPARENT, trace);
    }
    out.insert(ELIZA_HOPS, hops(head.hops));
    if matches!(towards, Towards::Injected | Towards::InjectedAlone) && !target.pass_authorization {
        let Shown { authorization, apikey } = phrases.shown(&target.credentials)?;
        authorization.and_then(|shown| out.insert(AUTHORIZATION, shown));
        apikey.and_then(|shown| out.insert(APIKEY, shown));
    }
    Ok(out)
}

/// One more than there were.
fn hops(before: u8) -> HeaderValue {
    match before {
        // Of nearly all calls.
        0 => const { HeaderValue::from_static("1") },
        1 => const { HeaderValue::from_static("2") },
        more => u16::from(more).saturating_add(1).into(),
    }
}

/// HTTP/1.1 has one line for it (RFC 9113, section 8.2.3).
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
fn continues(came: &HeaderValue, traceparent: &[u8]) -> bool {
    let trace_id = |text| <[u8]>::split(text, |byte| *byte == b'-').nth(1);
    trace_id(came.as_bytes()).is_some_and(|came| trace_id(traceparent) == Some(came))
}

/// Takes out of an answer's headers what concerned only our connection to the target, and what the gatekeeper says in its own name.
/// `version`: that the answer came in.
pub fn towards_caller(answer: &mut HeaderMap, version: Version) {
    let mut going = Vec::new();
    let (mut announced, mut connection, mut keeps_alive, mut is_coded) = (false, None, false, false);
    for (name, value) in &*answer {
        let about = about(name);
        match about {
            // Nearly all answers have this one and no other that goes, so it goes without a list.
            About::Connection => {
                // That it names `keep-alive` says nothing where there is no header of that name.
                let says_nothing = connection.is_none() && value == "keep-alive";
                connection = Some(says_nothing);
                continue;
            }
            About::KeepAlive => keeps_alive = true,
            About::Trailers => announced = true,
            About::Hop => is_coded |= name == TRANSFER_ENCODING,
            _ => {}
        }
        if (about.is_hop_by_hop() || about.is_ours_to_say()) && going.last() != Some(name) {
            going.push(name.clone());
        }
    }
    // A length beside a transfer encoding is not the body's; read again further on, it would cut the answer or stretch it into the next.
    if is_coded {
        answer.remove(CONTENT_LENGTH);
    }
    if let Some(says_nothing) = connection {
        if keeps_alive || !says_nothing {
            going.splice(..0, listed(answer, &CONNECTION).collect::<Vec<_>>());
        }
        answer.remove(CONNECTION);
    }
    let announced = if announced { announced_trailers(answer) } else { None };
    for name in going {
        answer.remove(name);
    }
    // Behind a body of a stated length there are none.
    if let Some(announced) = announced.filter(|_| !answer.contains_key(CONTENT_LENGTH)) {
        answer.insert(TRAILER, announced);
    }
    forwarded::via(answer, version);
}

/// Whether whoever says that it takes these codings reads what comes behind a body.
fn takes_trailers(codings: &HeaderValue) -> bool {
    codings.as_bytes().split(|byte| *byte == b',').any(|coding| {
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
    let (text, about) = (name.as_str(), about(name));
    let is_ours = about.is_hop_by_hop() || about.is_about_this_hop() || about.is_ours_to_say() || text.contains('_');
    let speaks_early = about == About::ProxysWord
        || matches!(
            text,
            "authorization"
                | "apikey"
                | "cookie"
                | "set-cookie"
                | "content-type"
                | "content-range"
                | "cache-control"
                | "via"
                | "max-forwards"
        )
        || text.starts_with("www-")
        || text.starts_with("if-");
    !is_ours && !speaks_early
}

fn passes(name: &HeaderName, about: About, target: &Target, towards: Towards) -> bool {
    let own_credentials = || target.pass_authorization && towards == Towards::Injected;
    let may = match about {
        About::Authorization => own_credentials() || towards == Towards::OwnAuthorizationOnly,
        About::ProxysWord | About::ElizaKey => false,
        About::Apikey | About::Eliza => own_credentials(),
        About::Cookie | About::TraceState | About::Cors | About::ContentType | About::AcceptEncoding | About::Anything => true,
        About::Connection | About::KeepAlive | About::Coding | About::Trailers | About::Hop => false,
        About::ThisHop | About::Trace | About::CallId => false,
    };
    may && !name.as_str().contains('_')
}

/// The names that a header lists.
fn listed(headers: &HeaderMap, name: &HeaderName) -> impl Iterator<Item = HeaderName> {
    let tokens = headers.get_all(name).into_iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    tokens.filter_map(|token| HeaderName::from_bytes(token.trim_ascii()).ok())
}
