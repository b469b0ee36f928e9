//! How far chains had come, as the state directory remembers it: where the database cannot take it back.
//!
//! Everything here waits for a disk, so it is called on threads for that alone.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde_json::json;
use uuid::Uuid;

use super::Head;
use super::kept::write_new;
use super::sealer::head;
use crate::clock::Timestamp;

const HEADS: &str = "audit.heads";
/// One line for each time the chain grew: this is years of them, or days of a busy one.
const HEADS_LIMIT: u64 = 1 << 20;
/// Chains that are remembered when the file is made small again. Each was told of older ones when it began.
const CHAINS: usize = 1000;
/// A line of a log may be long.
const LINE: u64 = 1 << 20;
/// Chains told apart when heads are read.
const MOST_CHAINS: usize = 100_000;
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::seal::RowHash;

    fn head(instance: u128, n: u64) -> Head {
        Head { instance: Uuid::from_u128(instance), n, hash: RowHash::from_bytes(&[u8::try_from(n % 256).unwrap(); 32]).unwrap() }
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
