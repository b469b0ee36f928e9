//! The secrets that the gatekeeper itself is opened with. Those that come from files are read again at SIGHUP.

use super::environment::{Environment, Problems};
use crate::identity::{KeyHash, Secret};

/// The key that the original's clients carried in their source code, known to everyone: refused wherever it appears.
/// Kept as its hash, so that the house holds no default key at all.
const PUBLISHED_KEY: [u8; 32] = [
    0x05, 0x46, 0xb9, 0x41, 0x94, 0x52, 0xbc, 0x7f, 0x7f, 0x42, 0x8a, 0x7b, 0x8c, 0xbd, 0x62, 0x59, 0x08, 0xff, 0xd1, 0x4f, 0x4c, 0xc9,
    0x81, 0x3f, 0x60, 0x6e, 0x5e, 0xd8, 0x60, 0x1c, 0xf2, 0x2d,
];

const KEY: &str = "INTERNAL_ELIZA_KEY";
const PREVIOUS: &str = "INTERNAL_ELIZA_KEY_PREVIOUS";
const SERVICE_ROLE: &str = "SUPABASE_SERVICE_ROLE_KEY";
const ADMIN: &str = "GATEKEEPER_ADMIN_TOKEN";
const ADMIN_TOO: &str = "ADMIN_TOKEN";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secrets {
    pub eliza_key: Secret,
    pub eliza_key_previous: Option<Secret>,
    pub service_role_key: Option<Secret>,
    pub admin_token: Option<Secret>,
}

impl Secrets {
    pub(super) fn collect(environment: &Environment<'_>, p: &mut Problems, warnings: &mut Vec<String>) -> Option<Self> {
        let eliza_key = environment.secret(p, KEY);
        if eliza_key.is_none() && !p.name(KEY) {
            p.add(KEY, "is not set, and there is no default: make one with `openssl rand -hex 32`");
        }
        let eliza_key_previous = environment.secret_or_empty(p, PREVIOUS);
        for (name, key) in [(KEY, &eliza_key), (PREVIOUS, &eliza_key_previous)] {
            let Some(key) = key else { continue };
            if is_published(key) {
                p.add(name, "is the key that was published with the original's clients: everyone knows it; make a new one");
            } else if key.reveal().len() < 20 {
                warnings.push(format!("{name} is shorter than 20 characters: a key must not be guessable (`openssl rand -hex 32`)"));
            }
        }
        let service_role_key = environment.secret(p, SERVICE_ROLE);
        if service_role_key.is_some() && (service_role_key == eliza_key || service_role_key == eliza_key_previous) {
            p.add(SERVICE_ROLE, "is the same as INTERNAL_ELIZA_KEY: callers would hold the platform's own key");
        }
        let admin_token = environment.secret(p, ADMIN).or_else(|| environment.secret(p, ADMIN_TOO));
        Some(Self { eliza_key: eliza_key?, eliza_key_previous, service_role_key, admin_token })
    }

    /// The keys that any caller may hold.
    pub fn callers(&self) -> impl Iterator<Item = &Secret> {
        [&self.eliza_key].into_iter().chain(&self.eliza_key_previous)
    }

    /// The variables whose secrets differ.
    pub fn changed_from(&self, before: &Self) -> Vec<&'static str> {
        let differ = [
            (KEY, self.eliza_key != before.eliza_key),
            (PREVIOUS, self.eliza_key_previous != before.eliza_key_previous),
            (SERVICE_ROLE, self.service_role_key != before.service_role_key),
            (ADMIN, self.admin_token != before.admin_token),
        ];
        differ.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
    }

    /// The variables that hold their secrets themselves: those cannot change while a process runs.
    pub fn fixed(environment: &Environment<'_>) -> Vec<&'static str> {
        [KEY, PREVIOUS, SERVICE_ROLE, ADMIN, ADMIN_TOO].into_iter().filter(|name| environment.holds(name)).collect()
    }
}

fn is_published(key: &Secret) -> bool {
    KeyHash::from_bytes(&PUBLISHED_KEY) == Some(key.hash())
}
