//! Reading a head. Whatever two readers could understand differently is refused here, before anybody is believed:
//! the credentials that were judged must be the only ones there are.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Version};
use uuid::Uuid;

use super::{Head, Hop, Shown, TraceContext, as_legible};
use crate::clock::Timestamp;
use crate::identity::{CallId, NAME_LIMIT, PeerCertificate, Secret};
use crate::verdict::Failure;

// Names with underscores for hyphens are other names: nothing here ever looks for them.
const ELIZA: &str = "x-eliza-";

/// Longer than any token of the platform, short enough to hash without a thought.
const CREDENTIAL_LIMIT: usize = 4096;

/// Stands for a key that is there but cannot be read. Neither a header nor an environment variable can hold a NUL, so no key equals it.
const UNREADABLE: &str = "\0";

impl Head {
    /// `certificate`: what the caller's connection has verified, if it showed one.
    pub fn parse(
        headers: &HeaderMap,
        version: Version,
        id: CallId,
        at: Timestamp,
        peer: IpAddr,
        certificate: Option<Arc<PeerCertificate>>,
    ) -> Result<Self, Failure> {
        let said = Said::read(headers);
        if let Some(kind) = said.ambiguity(version) {
            return Err(Failure::AmbiguousHeaders(kind));
        }
        let hops = said.hops.map_or(Some(0), hops);
        Ok(Self {
            id,
            at,
            peer,
            credentials: said.shown(),
            certificate,
            trace: TraceContext::read(said.traceparent),
            hops: hops.ok_or(Failure::AmbiguousHeaders("x-eliza-hops is not a number from 0 to 255"))?,
            hop: Hop { version, host: said.host.cloned(), ..Hop::default() },
        })
    }
}

/// What a head says that the gatekeeper heeds: the headers are gone through once, which costs less than looking each of these up.
#[derive(Default)]
struct Said<'a> {
    key: Option<&'a HeaderValue>,
    source: Option<&'a HeaderValue>,
    hops: Option<&'a HeaderValue>,
    authorization: Option<&'a HeaderValue>,
    apikey: Option<&'a HeaderValue>,
    host: Option<&'a HeaderValue>,
    coding: Option<&'a HeaderValue>,
    /// Of several that contradict each other none counts.
    traceparent: Option<&'a HeaderValue>,
    repeated: Repeated,
}

/// The names that stand there more than once.
#[derive(Default)]
struct Repeated {
    eliza: bool,
    authorization: bool,
    apikey: bool,
    host: bool,
    coding: bool,
    traceparent: bool,
}

impl<'a> Said<'a> {
    fn read(headers: &'a HeaderMap) -> Self {
        let mut said = Self::default();
        let Repeated { eliza, authorization, apikey, host, coding, traceparent } = &mut said.repeated;
        // All values of a name come one after the other.
        let mut before = None;
        for (name, value) in headers {
            let again = before.replace(name) == Some(name);
            let (place, repeated) = match name.as_str() {
                "x-eliza-key" => (&mut said.key, &mut *eliza),
                "x-eliza-source" => (&mut said.source, &mut *eliza),
                "x-eliza-hops" => (&mut said.hops, &mut *eliza),
                "authorization" => (&mut said.authorization, &mut *authorization),
                "apikey" => (&mut said.apikey, &mut *apikey),
                "host" => (&mut said.host, &mut *host),
                "transfer-encoding" => (&mut said.coding, &mut *coding),
                "traceparent" => (&mut said.traceparent, &mut *traceparent),
                other => {
                    *eliza |= again && other.starts_with(ELIZA);
                    continue;
                }
            };
            *repeated |= again;
            *place = Some(value);
        }
        if said.repeated.traceparent {
            said.traceparent = None;
        }
        said
    }

    fn ambiguity(&self, version: Version) -> Option<&'static str> {
        let Repeated { eliza, authorization, apikey, host, coding, traceparent: _ } = self.repeated;
        if eliza {
            return Some("an x-eliza-* header is repeated");
        }
        if authorization {
            return Some("Authorization is repeated");
        }
        if apikey {
            return Some("apikey is repeated");
        }
        if host {
            return Some("Host is repeated");
        }
        // Whoever does not know another coding reads another body, or another end of it.
        let is_chunked = |coding: &HeaderValue| coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
        if coding || !self.coding.is_none_or(is_chunked) {
            return Some("Transfer-Encoding is something else than chunked");
        }
        // HTTP/1.0 may lack it, HTTP/2 has `:authority`.
        (version == Version::HTTP_11 && self.host.is_none()).then_some("Host is missing")
    }

    fn shown(&self) -> Shown {
        Shown {
            // Present is present: a key that cannot be read is a wrong key, never a missing one.
            eliza_key: self.key.map(|value| Secret::new(readable(value).unwrap_or(UNREADABLE))),
            eliza_source: self.source.and_then(source),
            bearer: self.authorization.and_then(bearer).map(Secret::new),
            apikey: self.apikey.and_then(readable).map(Secret::new),
        }
    }
}

/// Visible ASCII of a sane length, and something at all.
fn readable(value: &HeaderValue) -> Option<&str> {
    let text = value.to_str().ok()?;
    let sane = (1..=CREDENTIAL_LIMIT).contains(&text.len()) && !text.contains('\t');
    sane.then_some(text)
}

/// The token, whole: whoever compares it compares all of it, so a key inside a longer token is another token.
fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = readable(value)?.split_once(' ')?;
    let token = token.trim_start_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn source(value: &HeaderValue) -> Option<Arc<str>> {
    let text = String::from_utf8_lossy(value.as_bytes());
    let text = as_legible(&text, NAME_LIMIT);
    (!text.is_empty()).then(|| Arc::from(&*text))
}

fn hops(value: &HeaderValue) -> Option<u8> {
    let text = value.to_str().ok()?;
    // `parse` alone would take a plus sign.
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

impl TraceContext {
    /// The only flag that may be passed on: the others are reserved.
    const SAMPLED: u8 = 1;

    fn read(traceparent: Option<&HeaderValue>) -> Self {
        let incoming = traceparent.and_then(|value| value.to_str().ok()).and_then(parse_traceparent);
        let span_id = rand::random::<u64>().max(1);
        let Some((trace_id, flags)) = incoming else {
            return Self { trace_id: rand::random::<u128>().max(1), span_id, flags: Self::SAMPLED };
        };
        Self { trace_id, span_id, flags: flags & Self::SAMPLED }
    }

    /// The header that carries this trace on, with our span as the parent.
    pub fn traceparent(&self) -> [u8; 55] {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        // A UUID is the quickest to write digits down.
        let (mut trace_id, mut rest) = ([0; 32], [0; 32]);
        Uuid::from_u128(self.trace_id).simple().encode_lower(&mut trace_id);
        Uuid::from_u64_pair(self.span_id, u64::from(self.flags) << 56).simple().encode_lower(&mut rest);
        text[3..35].copy_from_slice(&trace_id);
        text[36..52].copy_from_slice(&rest[..16]);
        text[53..].copy_from_slice(&rest[16..18]);
        text
    }
}

/// Trace id and flags of a W3C `traceparent`. A later version may add to the end of what version 00 says.
fn parse_traceparent(text: &str) -> Option<(u128, u8)> {
    let mut parts = text.splitn(5, '-');
    let version = u8::try_from(hex(parts.next()?, 2)?).ok()?;
    let trace_id = hex(parts.next()?, 32)?;
    let parent = hex(parts.next()?, 16)?;
    let flags = u8::try_from(hex(parts.next()?, 2)?).ok()?;
    let whole = version != 0xff && (version != 0 || parts.next().is_none());
    (whole && trace_id != 0 && parent != 0).then_some((trace_id, flags))
}

fn hex(text: &str, digits: usize) -> Option<u128> {
    let lower = text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    lower.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}
