//! The key ring: which keys are good, for whom and until when. Keys are looked up by their SHA-256; the keys themselves are kept nowhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use foldhash::HashMap;

use crate::clock::Timestamp;
use crate::identity::{Action, KeyHash, KeyId, NamePattern, Secret, SourceName, TargetName, glob};
use crate::verdict::AuthFault;

/// The key of `INTERNAL_ELIZA_KEY`, and the one before it.
pub const CURRENT: &str = "env:current";
pub const PREVIOUS: &str = "env:previous";

/// What the secrets of the environment are known by.
#[derive(Clone, Debug, Default)]
pub struct EnvironmentHashes {
    /// On the ring whatever the store says.
    pub keys: Vec<(KeyId, KeyHash)>,
    pub service_role: Option<KeyHash>,
    pub admin_token: Option<KeyHash>,
}

/// The keys of one moment; replaced whole when one changes.
#[derive(Debug, Default)]
pub struct KeyRing {
    by_hash: HashMap<KeyHash, Arc<Key>>,
}

impl KeyRing {
    /// Of two keys with one hash the later wins, so that a stored key may narrow the environment's.
    pub fn new(keys: impl IntoIterator<Item = Arc<Key>>) -> Self {
        Self { by_hash: keys.into_iter().map(|key| (key.hash, key)).collect() }
    }

    /// The key that was shown, if it is on the ring and good at this moment.
    pub fn find(&self, shown: &Secret, at: Timestamp) -> Result<&Arc<Key>, AuthFault> {
        let key = self.by_hash.get(&shown.hash()).ok_or(AuthFault::WrongKey)?;
        key.check(at)?;
        Ok(key)
    }

    /// The same for the key of this id, which says nothing of the key itself.
    pub fn by_id(&self, id: &KeyId, at: Timestamp) -> Result<&Arc<Key>, AuthFault> {
        let key = self.by_hash.values().find(|key| key.id == *id).ok_or(AuthFault::WrongKey)?;
        key.check(at)?;
        Ok(key)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Key>> {
        self.by_hash.values()
    }
}

#[derive(Debug)]
pub struct Key {
    pub id: KeyId,
    pub hash: KeyHash,
    pub scope: Scope,
    pub not_before: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    /// Microseconds; zero is never. Shared with the key as it was read before: a call may still be using that one.
    last_used: Arc<AtomicI64>,
}

impl Key {
    pub fn new(id: KeyId, hash: KeyHash, scope: Scope) -> Self {
        Self { id, hash, scope, not_before: None, expires_at: None, revoked_at: None, last_used: Arc::default() }
    }

    /// Good from `not_before` until just before `expires_at`. A revoked key is never good: whoever revoked it did so on a machine whose
    /// clock may be ahead of ours.
    fn check(&self, at: Timestamp) -> Result<(), AuthFault> {
        if self.revoked_at.is_some() {
            return Err(AuthFault::KeyRevoked);
        }
        if self.not_before.is_some_and(|from| at < from) {
            return Err(AuthFault::KeyNotYetValid);
        }
        if self.expires_at.is_some_and(|until| at >= until) {
            return Err(AuthFault::KeyExpired);
        }
        Ok(())
    }

    pub fn note_use(&self, at: Timestamp) {
        self.last_used.fetch_max(at.as_micros(), Ordering::Relaxed);
    }

    /// This is that key, read again: whatever uses the one has used the other.
    pub fn follow(&mut self, before: &Self) {
        before.last_used.fetch_max(self.last_used.load(Ordering::Relaxed), Ordering::Relaxed);
        self.last_used = Arc::clone(&before.last_used);
    }

    pub fn last_used(&self) -> Option<Timestamp> {
        match self.last_used.load(Ordering::Relaxed) {
            0 => None,
            micros => Some(Timestamp::from_micros(micros)),
        }
    }
}

/// What a key is good for. An empty list means everything: that is the original's one shared key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    pub sources: Vec<NamePattern>,
    pub targets: Vec<NamePattern>,
    /// Over actions, where `*` stands for any run of characters; a call without an action has the action ``.
    pub actions: Vec<String>,
}

impl Scope {
    pub fn covers_source(&self, source: &SourceName) -> bool {
        self.sources.is_empty() || self.sources.iter().any(|pattern| pattern.matches(source.as_str()))
    }

    pub fn covers(&self, target: &TargetName, action: Option<&Action>) -> bool {
        let action = action.map_or("", Action::as_str);
        (self.targets.is_empty() || self.targets.iter().any(|pattern| pattern.matches(target.as_str())))
            && (self.actions.is_empty() || self.actions.iter().any(|pattern| glob(pattern.as_bytes(), action.as_bytes())))
    }
}

/// A new key: 256 random bits in a form that shows what it is, so that scanners find one that leaked.
pub fn generate() -> Result<Secret, getrandom::Error> {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes)?;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Secret::new(&format!("egk_{hex}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Timestamp = Timestamp::from_secs(43_200);

    fn ring(key: Key) -> KeyRing {
        KeyRing::new([Arc::new(key)])
    }

    fn key(secret: &Secret) -> Key {
        Key::new(KeyId::new("k"), secret.hash(), Scope::default())
    }

    #[test]
    fn a_key_is_good_from_its_first_moment_to_just_before_its_last() {
        let secret = Secret::new("s");
        let ring = ring(Key { not_before: Some(NOON), expires_at: Some(Timestamp::from_secs(43_260)), ..key(&secret) });
        let at = |secs| ring.find(&secret, Timestamp::from_secs(secs)).map(|_| ());
        assert_eq!(at(43_199), Err(AuthFault::KeyNotYetValid));
        assert_eq!(at(43_200), Ok(()));
        assert_eq!(at(43_259), Ok(()));
        assert_eq!(at(43_260), Err(AuthFault::KeyExpired));
        assert_eq!(ring.find(&Secret::new("S"), NOON).map(|_| ()), Err(AuthFault::WrongKey));
    }

    #[test]
    fn a_revoked_key_is_revoked_first_and_expired_second() {
        let secret = Secret::new("s");
        let ring = ring(Key { revoked_at: Some(NOON), expires_at: Some(NOON), ..key(&secret) });
        assert_eq!(ring.find(&secret, NOON).map(|_| ()), Err(AuthFault::KeyRevoked));
    }

    #[test]
    fn a_call_that_uses_the_key_as_it_was_read_before_uses_the_key() {
        let (secret, at) = (Secret::new("s"), |secs| Some(Timestamp::from_secs(secs)));
        let (before, mut now) = (key(&secret), key(&secret));
        before.note_use(NOON);
        now.follow(&before);
        assert_eq!(now.last_used(), at(43_200));
        before.note_use(Timestamp::from_secs(43_201));
        assert_eq!(now.last_used(), at(43_201));

        // Used on another machine meanwhile.
        let mut read = key(&secret);
        read.note_use(Timestamp::from_secs(43_260));
        read.follow(&now);
        assert_eq!((read.last_used(), before.last_used()), (at(43_260), at(43_260)));
    }

    #[test]
    fn scopes_bind_sources_targets_and_actions() {
        let scope = Scope {
            sources: vec![NamePattern::parse("gemini-*").unwrap()],
            targets: vec![NamePattern::parse("agent-manager").unwrap()],
            actions: vec!["list_*".into()],
        };
        let target = TargetName::parse("agent-manager").unwrap();
        assert!(scope.covers_source(&SourceName::parse("gemini-chat").unwrap()));
        assert!(!scope.covers_source(&SourceName::parse("openai-chat").unwrap()));
        assert!(scope.covers(&target, Action::parse("list_agents").as_ref()));
        assert!(!scope.covers(&target, Action::parse("delete_task").as_ref()));
        assert!(!scope.covers(&target, None));
        assert!(!scope.covers(&TargetName::parse("vercel-manager").unwrap(), Action::parse("list_agents").as_ref()));
        assert!(Scope::default().covers(&target, None));
    }

    #[test]
    fn generated_keys_differ_and_say_what_they_are() {
        let (a, b) = (generate().unwrap(), generate().unwrap());
        assert_ne!(a, b);
        assert!(a.reveal().starts_with("egk_") && a.reveal().len() == 68);
    }
}
