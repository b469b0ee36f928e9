//! What must outlive the process though the database may be away: files in the state directory, each whole, or whole as it was before.
//!
//! Everything here waits for a disk, so it is called on threads for that alone.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

/// Far beyond what is ever kept; a file put there by mistake is not read into memory.
const FILE_LIMIT: u64 = 1 << 20;
/// A directory is listed no further.
const NAMES: usize = 10_000;
/// Written for its own sake.
const TRIED: &str = ".tried";

pub(super) struct State {
    directory: PathBuf,
    /// One writer at a time, so that what was said last is what is kept.
    writing: Mutex<()>,
    /// What could not be kept, and why.
    trouble: Mutex<BTreeMap<String, String>>,
}

impl State {
    pub fn new(directory: PathBuf) -> Self {
        Self { directory, writing: Mutex::default(), trouble: Mutex::default() }
    }

    /// Why what operators say may not survive a restart; nothing while all is kept.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).values().next().cloned()
    }

    /// Puts `text` in place of the file, or removes it. Both are asked for at the last moment: of several writers the last one writes
    /// what is so by then.
    pub fn keep(&self, name: &str, text: impl FnOnce() -> Option<String>) -> bool {
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.directory.join(name);
        let kept = match text() {
            Some(text) => replace(&path, text.as_bytes()),
            None => {
                // What is no longer to be kept is no trouble. A file that stays is taken up after a restart, which changes nothing.
                if let Err(error) = remove(&path) {
                    tracing::debug!(%error, "{} cannot be removed", path.display());
                }
                Ok(())
            }
        };
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let Err(error) = kept else {
            trouble.remove(name);
            return true;
        };
        let why = format!("{} cannot be written: {error}", path.display());
        // Tried again every few seconds, told once.
        if trouble.insert(name.to_owned(), why.clone()).as_ref() != Some(&why) {
            tracing::error!("{why}: what operators say now is in force, but a restart without the database would forget it");
        }
        false
    }

    /// Finds out whether anything could be kept, before anything must be. Leaves nothing behind.
    pub fn try_out(&self) -> bool {
        self.keep(TRIED, || Some(String::new())) && self.keep(TRIED, || None)
    }

    pub fn has(&self, name: &str) -> bool {
        self.directory.join(name).is_file()
    }

    /// `None`: there is no such file. What `parse` cannot read is set aside, loudly.
    pub fn read<T>(&self, name: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let path = self.directory.join(name);
        let read = match bounded(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => Err(error.to_string()),
            Ok(text) => parse(&text),
        };
        read.map_err(|why| set_aside(&path, &why)).ok()
    }

    /// The files in a folder of it that end in `.json`.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.directory.join(folder)) else { return Vec::new() };
        let names = entries.take(NAMES).filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names.filter(|name| name.ends_with(".json") && !name.starts_with('.')).map(|name| format!("{folder}/{name}")).collect()
    }
}

fn bounded(path: &Path) -> io::Result<String> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut text = String::new();
    let read = File::open(path)?.take(FILE_LIMIT + 1).read_to_string(&mut text)?;
    if read as u64 > FILE_LIMIT { Err(io::Error::other("it is too large to be ours")) } else { Ok(text) }
}

fn set_aside(path: &Path, why: &str) {
    let aside = path.with_extension("json.broken");
    let moved = fs::rename(path, &aside);
    let file = path.display();
    match moved {
        Ok(()) => tracing::error!("{file} cannot be read and is passed over ({why}); it is now {}", aside.display()),
        Err(error) => tracing::error!("{file} cannot be read and is passed over ({why}), nor moved aside ({error})"),
    }
}

/// A reader, and whoever comes after a crash, finds the old file or the new one, never a part.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let beside = directory.join(format!(".{}", Uuid::now_v7()));
    let written = write_new(&beside, bytes).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // It is of no use to anybody.
        let _gone = fs::remove_file(&beside);
    }
    written?;
    File::open(directory)?.sync_all()
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use tempfile::TempDir;

    #[test]
    fn what_is_kept_is_read_again_and_is_nobody_elses_to_read() {
        let directory = TempDir::new().unwrap();
        let state = State::new(directory.path().join("state"));
        assert!(state.keep("a.json", || Some("one".into())) && state.keep("a.json", || Some("two".into())));
        assert_eq!(state.read("a.json", |text| Ok(text.to_owned())).as_deref(), Some("two"));
        let mode = |path: &str| fs::metadata(directory.path().join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("state"), mode("state/a.json")), (0o700, 0o600));
        assert_eq!(fs::read_dir(directory.path().join("state")).unwrap().count(), 1, "nothing is left beside it");
        assert!(state.keep("a.json", || None) && state.read("a.json", |_| Ok(())).is_none());
    }

    #[test]
    fn what_cannot_be_read_is_set_aside() {
        let directory = TempDir::new().unwrap();
        let state = State::new(directory.path().to_owned());
        fs::write(directory.path().join("a.json"), "{").unwrap();
        assert!(state.read("a.json", |_| Err::<(), _>("half a file".into())).is_none());
        assert!(state.names(".").is_empty());
        assert_eq!(fs::read_to_string(directory.path().join("a.json.broken")).unwrap(), "{");
    }

    #[test]
    fn a_directory_that_cannot_be_is_trouble_until_it_can() {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("state");
        fs::write(&file, "").unwrap();
        let state = State::new(file.clone());
        assert!(!state.keep("a.json", || Some("one".into())));
        assert!(state.trouble().unwrap().contains("a.json cannot be written"));
        fs::remove_file(&file).unwrap();
        assert!(state.keep("a.json", || Some("one".into())));
        assert_eq!(state.trouble(), None);
    }

    #[test]
    fn what_need_not_be_kept_any_more_is_no_trouble() {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("state");
        fs::write(&file, "").unwrap();
        let state = State::new(file);
        assert!(!state.keep("audit/a.json", || Some("one".into())) && state.trouble().is_some());
        // The folder cannot be reached for removing either.
        assert!(state.keep("audit/a.json", || None));
        assert_eq!(state.trouble(), None);
    }

    #[test]
    fn whether_anything_can_be_kept_is_found_out_without_a_trace() {
        let directory = TempDir::new().unwrap();
        let state = State::new(directory.path().join("state"));
        assert!(state.try_out());
        assert_eq!(fs::read_dir(directory.path().join("state")).unwrap().count(), 0);
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        let state = State::new(file.join("state"));
        assert!(!state.try_out() && state.trouble().is_some());
    }
}
