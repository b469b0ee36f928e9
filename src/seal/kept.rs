//! The key in the state directory, if none was given.
//!
//! Everything here waits for a disk, so it is called on threads for that alone.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::key::generate;
use super::{AuditKey, AuditKeys};
use crate::identity::Secret;

const KEY: &str = "audit.key";
/// Far beyond what a key is.
const KEY_LIMIT: u64 = 4096;
/// A directory is searched no further for old keys.
const NAMES: usize = 10_000;

/// Why the key of the state directory cannot be used. It is never made anew in place of one that may be good.
#[derive(Debug, thiserror::Error)]
pub enum KeyTrouble {
    #[error("{} cannot be read ({why}): the audit log is sealed with this key. Restore it, or move it away for a new one to be made", .path.display())]
    Unreadable { path: PathBuf, why: String },
    #[error("the system gives no randomness: {0}")]
    NoRandomness(getrandom::Error),
}

/// The key of a state directory.
#[derive(Debug)]
pub enum StateKey {
    Found(AuditKey),
    /// Made just now, and kept.
    Made(AuditKey),
    /// Made just now, and it could not be kept yet.
    Unkept {
        key: AuditKey,
        text: Secret,
        why: String,
    },
}

/// The place in a state directory for the key.
pub fn key_path(state: &Path) -> PathBuf {
    state.join(KEY)
}

/// The key that lies there, or a new one.
pub fn state_key(state: &Path) -> Result<StateKey, KeyTrouble> {
    let path = key_path(state);
    let unreadable = |error: io::Error| KeyTrouble::Unreadable { path: path.clone(), why: error.to_string() };
    match read_key(&path) {
        Ok(key) => return Ok(StateKey::Found(key)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(unreadable(error)),
    }
    let text = generate().map_err(KeyTrouble::NoRandomness)?;
    let key = AuditKey::parse(text.reveal()).map_err(|why| unreadable(io::Error::other(why)))?;
    match keep_key(state, &text) {
        Ok(()) => Ok(StateKey::Made(key)),
        // Somebody else was here first.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read_key(&path).map(StateKey::Found).map_err(unreadable),
        Err(error) => Ok(StateKey::Unkept { key, text, why: format!("{} cannot be written: {error}", path.display()) }),
    }
}

/// Never over another key, and never half of one: whoever finds the file finds all of it.
pub fn keep_key(state: &Path, text: &Secret) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(state)?;
    let beside = state.join(format!(".{KEY}.{}", Uuid::now_v7()));
    let kept = write_new(&beside, format!("{}\n", text.reveal()).as_bytes()).and_then(|()| fs::hard_link(&beside, key_path(state)));
    let _gone = fs::remove_file(&beside);
    kept?;
    File::open(state)?.sync_all()
}

/// A key in a file of its own.
pub fn read_key(path: &Path) -> io::Result<AuditKey> {
    let mut text = String::new();
    File::open(path)?.take(KEY_LIMIT).read_to_string(&mut text)?;
    AuditKey::parse(text.trim()).map_err(io::Error::other)
}

/// Every key in a state directory: `audit.key`, and those before it, renamed to `audit-….key`. What is none is told.
pub fn state_keys(state: &Path, keys: &mut AuditKeys) -> Vec<String> {
    let Ok(entries) = fs::read_dir(state) else { return Vec::new() };
    let mut odd = Vec::new();
    for entry in entries.take(NAMES).flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == KEY || name.starts_with("audit-") && name.ends_with(".key") {
            match read_key(&entry.path()) {
                Ok(key) => keys.add(key),
                Err(error) => odd.push(format!("{}: {error}", entry.path().display())),
            }
        }
    }
    odd
}

pub(super) fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_for_nobody_else_to_read() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("deep/state");
        let StateKey::Made(made) = state_key(&state).unwrap() else { panic!("a new one") };
        let StateKey::Found(found) = state_key(&state).unwrap() else { panic!("the same") };
        assert_eq!(made, found);
        assert_eq!(fs::metadata(key_path(&state)).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&state).unwrap().count(), 1, "nothing else is left behind");

        // Rotated: moved aside, and another is made. Both are known.
        fs::rename(key_path(&state), state.join("audit-2026.key")).unwrap();
        let StateKey::Made(second) = state_key(&state).unwrap() else { panic!("a new one") };
        fs::write(state.join("audit-odd.key"), "odd").unwrap();
        let mut keys = AuditKeys::default();
        assert_eq!(state_keys(&state, &mut keys).len(), 1);
        assert!(keys.find(made.id()).is_some() && keys.find(second.id()).is_some());
    }

    #[test]
    fn a_key_that_cannot_be_read_is_not_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        for broken in ["short", ""] {
            fs::write(key_path(folder.path()), broken).unwrap();
            assert!(state_key(folder.path()).is_err());
            assert!(keep_key(folder.path(), &generate().unwrap()).is_err());
            assert_eq!(fs::read_to_string(key_path(folder.path())).unwrap(), broken);
        }
    }

    #[test]
    fn of_many_who_begin_at_once_all_have_one_key() {
        for _ in 0..20 {
            let folder = tempfile::tempdir().unwrap();
            let keys: Vec<AuditKey> = std::thread::scope(|scope| {
                let begin = || match state_key(folder.path()).unwrap() {
                    StateKey::Found(key) | StateKey::Made(key) => key,
                    unkept @ StateKey::Unkept { .. } => panic!("{unkept:?}"),
                };
                let all: Vec<_> = (0..8).map(|_| scope.spawn(begin)).collect();
                all.into_iter().map(|one| one.join().unwrap()).collect()
            });
            assert!(keys.iter().all(|key| *key == keys[0]));
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn what_cannot_be_kept_is_a_key_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("a-file");
        fs::write(&state, "").unwrap();
        // Not a directory: there is no such file in it, and none can be made.
        match state_key(&state) {
            Ok(StateKey::Unkept { why, .. }) => assert!(why.contains("audit.key"), "{why}"),
            Err(KeyTrouble::Unreadable { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
}
