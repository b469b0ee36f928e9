//! What lies in the state directory: the key, if none was given, and how far the chain had come, again and again.
//!
//! Everything here waits for a disk, so it is called on threads for that alone.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde_json::json;
use uuid::Uuid;

use super::key::generate;
use super::sealer::head;
use super::{AuditKey, AuditKeys, Head};
use crate::clock::Timestamp;
use crate::identity::Secret;

const KEY: &str = "audit.key";
const HEADS: &str = "audit.heads";
/// Far beyond what a key is.
const KEY_LIMIT: u64 = 4096;
/// A directory is searched no further for old keys.
const NAMES: usize = 10_000;
/// One line for each time the chain grew: this is years of them, or days of a busy one.
const HEADS_LIMIT: u64 = 1 << 20;
/// Chains that are remembered when the file is made small again. Each was told of older ones when it began.
const CHAINS: usize = 1000;
/// A line of a log may be long.
const LINE: u64 = 1 << 20;
/// Chains told apart when heads are read.
const MOST_CHAINS: usize = 100_000;

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

/// The file that says how far the chains of this state directory had come.
#[derive(Debug)]
pub struct Heads {
    path: PathBuf,
}

impl Heads {
    pub fn of(state: &Path) -> Self {
        Self { path: state.join(HEADS) }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a line, and sees to it that it is on the disk. A file that has become too long keeps the last head of each of the newest chains.
    pub fn publish(&self, at: Timestamp, head: Head, key: &str) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        if fs::metadata(&self.path).is_ok_and(|file| file.len() > HEADS_LIMIT) {
            self.shorten(folder)?;
        }
        let Head { instance, n, hash } = head;
        let line = json!({ "at": at.to_string(), "instance": instance.to_string(), "n": n, "hash": hash.to_string(), "key": key });
        let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.path)?;
        // Behind a line that a crash cut short, too.
        file.write_all(format!("\n{line}\n").as_bytes())?;
        file.sync_data()
    }

    fn shorten(&self, folder: &Path) -> io::Result<()> {
        let mut heads: Vec<Head> = read_heads(&self.path)?.heads.into_values().collect();
        heads.sort_by_key(|head| head.instance);
        let newest = heads.len().saturating_sub(CHAINS);
        let lines: String = heads
            .iter()
            .skip(newest)
            .map(|head| {
                let (instance, hash) = (head.instance.to_string(), head.hash.to_string());
                format!("{}\n", json!({ "instance": instance, "n": head.n, "hash": hash }))
            })
            .collect();
        let beside = folder.join(format!(".{HEADS}.{}", Uuid::now_v7()));
        let written = write_new(&beside, lines.as_bytes()).and_then(|()| fs::rename(&beside, &self.path));
        if written.is_err() {
            let _gone = fs::remove_file(&beside);
        }
        written?;
        File::open(folder)?.sync_all()
    }
}

/// What was published, the last head of each chain.
#[derive(Debug, Default)]
pub struct Published {
    pub heads: HashMap<Uuid, Head>,
    /// Lines that say nothing of a chain.
    pub passed_over: u64,
}

/// Reads a file of heads, or a log in JSON with such lines in it. Of each chain the furthest is kept.
pub fn read_heads(path: &Path) -> io::Result<Published> {
    let mut reader = BufReader::new(File::open(path)?);
    let mut published = Published::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader.by_ref().take(LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(published);
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        match serde_json::from_slice(&line).ok().as_ref().and_then(head) {
            Some(head) if published.heads.len() < MOST_CHAINS || published.heads.contains_key(&head.instance) => {
                let known = published.heads.entry(head.instance).or_insert(head);
                if known.n <= head.n {
                    *known = head;
                }
            }
            Some(_) | None => published.passed_over += 1,
        }
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::seal::RowHash;

    fn head(instance: u128, n: u64) -> Head {
        Head { instance: Uuid::from_u128(instance), n, hash: RowHash::from_bytes(&[u8::try_from(n % 256).unwrap(); 32]).unwrap() }
    }

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

    #[test]
    fn of_each_chain_the_furthest_head_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let heads = Heads::of(folder.path());
        for (instance, n) in [(1, 1), (1, 5), (2, 3), (1, 4)] {
            heads.publish(Timestamp::from_secs(60), head(instance, n), "k").unwrap();
        }
        fs::OpenOptions::new().append(true).open(heads.path()).unwrap().write_all(b"{\"instance\":\"torn").unwrap();
        heads.publish(Timestamp::from_secs(60), head(3, 1), "k").unwrap();
        let read = read_heads(heads.path()).unwrap();
        let mut known: Vec<_> = read.heads.values().map(|head| (head.instance.as_u128(), head.n)).collect();
        known.sort_unstable();
        assert_eq!((known, read.passed_over), (vec![(1, 5), (2, 3), (3, 1)], 1));
        assert_eq!(fs::metadata(heads.path()).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn the_file_stays_small_and_forgets_no_chain() {
        let folder = tempfile::tempdir().unwrap();
        let heads = Heads::of(folder.path());
        let line =
            |n: u64| format!("{}\n", json!({"instance": Uuid::from_u128(1).to_string(), "n": n, "hash": head(1, n).hash.to_string()}));
        fs::write(heads.path(), (1..8000).map(line).collect::<String>()).unwrap();
        assert!(fs::metadata(heads.path()).unwrap().len() > HEADS_LIMIT);
        heads.publish(Timestamp::from_secs(60), head(2, 1), "k").unwrap();
        assert!(fs::metadata(heads.path()).unwrap().len() < 1024);
        let read = read_heads(heads.path()).unwrap();
        assert_eq!((read.heads[&Uuid::from_u128(1)], read.heads.len()), (head(1, 7999), 2));
    }
}
