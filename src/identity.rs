//! Who and what: the names and secrets a call is made of. Each is parsed once, at the edge; a value of one of these types is valid.

mod certificate;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use uuid::Uuid;

pub use certificate::{CertificateName, PeerCertificate, Proof};

use crate::sha256::sha256;

/// The longest name a source, target or action may have.
pub const NAME_LIMIT: usize = 128;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// `None` unless the text is a name: 1 to 128 of `A-Z a-z 0-9 . _ -`, not starting with a dot.
            pub fn parse(text: &str) -> Option<Self> {
                is_name(text).then(|| Self(text.into()))
            }

            /// The same of a text that is shared, which then shares it.
            pub fn of(text: &Arc<str>) -> Option<Self> {
                is_name(text).then(|| Self(Arc::clone(text)))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }

            pub fn shared(&self) -> Arc<str> {
                Arc::clone(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// The name a caller goes by, as `x-eliza-source` says it.
    SourceName
}
name! {
    /// The function that is called.
    TargetName
}

fn is_name(text: &str) -> bool {
    (1..=NAME_LIMIT).contains(&text.len())
        && !text.starts_with('.')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// What the caller wants of the target. Callers choose it freely, so it is bounded and free of control characters, nothing more.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Action(Arc<str>);

impl Action {
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (1..=NAME_LIMIT).contains(&text.len()) && !text.chars().any(char::is_control);
        fits.then(|| Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What is limited apart of a source's total: a target and what is wanted of it, as `target:action`.
///
/// A target's name holds no colon, so an endpoint is never one of the two labels below, and the first colon ends the target.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint(Box<str>);

impl Endpoint {
    /// What a call is counted under that was refused before its endpoint was known.
    pub const UNREACHED: &'static str = "*";
    /// What the endpoints of a source that has used too many different ones are counted under.
    pub const OTHERS: &'static str = "(other)";

    /// Of a call through the envelope door. An absent action reads `undefined`, as it always has in `rate_limits`.
    pub fn of(target: &TargetName, action: Option<&Action>) -> Self {
        Self::join(target, action.map_or("undefined", Action::as_str))
    }

    /// Of a call through the direct door.
    pub fn direct(target: &TargetName, method: &str) -> Self {
        Self::join(target, method.get(..NAME_LIMIT).unwrap_or(method))
    }

    fn join(target: &TargetName, what: &str) -> Self {
        let mut label = String::with_capacity(target.as_str().len() + 1 + what.len());
        label.push_str(target.as_str());
        label.push(':');
        label.push_str(what);
        Self(label.into_boxed_str())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where a record was first written down: by which run of a gatekeeper, and as its how-manieth, from 1. Every record has its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    pub instance: Uuid,
    pub seq: u64,
}

/// Where something that decides is written down: `limits.toml:12`, or the row of a table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place(Arc<str>);

impl Place {
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A pattern over names: a name, or a text with `*` standing for any run of characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NamePattern(Arc<str>);

impl NamePattern {
    pub fn parse(text: &str) -> Option<Self> {
        let bare = text.replace('*', "a");
        is_name(&bare).then(|| Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    pub fn is_single(&self) -> bool {
        !self.0.contains('*')
    }

    pub fn matches(&self, name: &str) -> bool {
        glob(self.0.as_bytes(), name.as_bytes())
    }
}

/// Linear in practice and never worse than pattern × name: only the last `*` is ever reconsidered.
pub fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if text.get(t) == Some(c) => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).is_none_or(|rest| rest.iter().all(|c| *c == b'*'))
}

/// A secret: it can be used and compared, but prints as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The secret itself, for the one place that sends it on.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    pub fn hash(&self) -> KeyHash {
        KeyHash::of(self.0.as_bytes())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// SHA-256 of a key. Secrets are compared and looked up by it alone, so the time a comparison takes says nothing about the secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha256(bytes))
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(***)")
    }
}

/// Which key of the ring a caller showed: safe to log, worthless to a thief.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyId(Arc<str>);

impl KeyId {
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The call's id, given on arrival: what `x-call-id` carries and the activity log is keyed by. It begins with the time, so rows lie in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallId(pub Uuid);

impl CallId {
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }
}

impl Default for CallId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The network a stranger comes from: an IPv4 /24 or an IPv6 /64, the smallest unit one party is sure to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Network {
    V4([u8; 3]),
    V6([u16; 4]),
}

impl Network {
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => {
                let [a, b, c, _] = v4.octets();
                Self::V4([a, b, c])
            }
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                Self::V6([a, b, c, d])
            }
        }
    }
}

impl Network {
    /// Every record names one, and what formats any number takes ten times as long as what formats these.
    pub fn write(self, into: &mut impl fmt::Write) -> fmt::Result {
        match self {
            Self::V4(octets) => {
                for octet in octets {
                    into.write_str(itoa::Buffer::new().format(octet))?;
                    into.write_char('.')?;
                }
                into.write_str("0/24")
            }
            Self::V6([a, b, c, d]) => write!(into, "{a:x}:{b:x}:{c:x}:{d:x}::/64"),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f)
    }
}

/// Who is calling, once the credentials have been judged.
#[derive(Clone, Debug)]
pub enum Caller {
    /// A listed source, known by what it showed.
    Source { name: SourceName, proof: Proof },
    /// Whoever holds the platform's service role key; never limited. `claimed` is a source it named beside, for the record only.
    ServiceRole { claimed: Option<Arc<str>> },
    /// Authentication failed and enforcement is off: goes on with nothing but what it brought.
    Stranger { claimed: Option<Arc<str>> },
}

impl Caller {
    /// The name the call is counted and recorded under. A stranger never counts against the source it claims.
    pub fn recorded_as(&self) -> &str {
        match self {
            Self::Source { name, .. } => name.as_str(),
            Self::ServiceRole { .. } => SERVICE_ROLE,
            Self::Stranger { .. } => UNAUTHENTICATED,
        }
    }
}

/// What calls with the service role key are counted and recorded as.
pub const SERVICE_ROLE: &str = "service_role";

/// What calls without valid credentials are recorded as.
pub const UNAUTHENTICATED: &str = "unauthenticated";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_and_plain() {
        for good in ["gemini-chat", "a", "x_1.y", "A9"] {
            assert!(SourceName::parse(good).is_some(), "{good}");
        }
        let long = "a".repeat(129);
        for bad in ["", ".hidden", "a b", "a/b", "é", "a\n", "a*", long.as_str()] {
            assert!(SourceName::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn patterns_match_as_a_reader_expects() {
        let cases = [
            ("gemini-chat", "gemini-chat", true),
            ("gemini-chat", "gemini-chats", false),
            ("superduper-*", "superduper-router", true),
            ("superduper-*", "superduper", false),
            ("*", "anything", true),
            ("*-chat", "openai-chat", true),
            ("*-chat", "chat-openai", false),
            ("a*b*c", "a-x-b-y-c", true),
            ("a*b*c", "a-x-c-y-b", false),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(NamePattern::parse(pattern).unwrap().matches(name), expected, "{pattern} on {name}");
        }
    }

    #[test]
    fn an_endpoint_is_never_one_of_the_reserved_labels() {
        let target = TargetName::parse("gemini-chat").unwrap();
        let chat = Action::parse("chat").unwrap();
        assert_eq!(Endpoint::of(&target, Some(&chat)).as_str(), "gemini-chat:chat");
        assert_eq!(Endpoint::of(&target, None).as_str(), "gemini-chat:undefined");
        assert_eq!(Endpoint::direct(&target, "POST").as_str(), "gemini-chat:POST");
        for odd in ["*", "(other)", ":"] {
            let endpoint = Endpoint::of(&target, Action::parse(odd).as_ref());
            assert!(![Endpoint::UNREACHED, Endpoint::OTHERS].contains(&endpoint.as_str()), "{odd}");
        }
    }

    #[test]
    fn a_secret_never_prints() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?} {:?}", secret.hash()), "*** *** KeyHash(***)");
    }

    #[test]
    fn one_party_one_network() {
        let of = |text: &str| Network::of(text.parse().unwrap()).to_string();
        assert_eq!(of("10.1.2.3"), "10.1.2.0/24");
        assert_eq!(of("::ffff:10.1.2.3"), "10.1.2.0/24");
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
    }
}
