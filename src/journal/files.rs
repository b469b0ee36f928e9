//! What is done with files and directories of a journal, whichever they are.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use super::format::SegmentId;

/// Segments set aside; further ones are removed.
const ASIDE: usize = 8;
/// A directory is listed no further.
const NAMES: usize = 100_000;

/// Locks it, and makes sure that it is still the file of that name: a dead instance's directory is removed by whoever has its lock.
pub(super) fn lock(file: &File, path: &Path) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(false),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let ours = file.metadata()?;
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        there => there.map(|there| (there.ino(), there.dev()) == (ours.ino(), ours.dev())),
    }
}

pub(super) fn names(directory: &Path) -> io::Result<Vec<String>> {
    let names = fs::read_dir(directory)?.take(NAMES).map(|entry| Ok(entry?.file_name().into_string().ok()));
    names.filter_map(io::Result::transpose).collect()
}

/// In order.
pub(super) fn segments(directory: &Path) -> io::Result<Vec<SegmentId>> {
    let mut ids: Vec<_> = names(directory)?.iter().filter_map(|name| SegmentId::of_file(name)).collect();
    ids.sort_unstable();
    Ok(ids)
}

/// Gone is gone, whoever did it.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Moves it to where damaged ones are kept for whoever wants to look. Whether there was room.
pub(super) fn set_aside(file: &Path, aside: &Path, name: &str) -> io::Result<bool> {
    DirBuilder::new().recursive(true).mode(0o700).create(aside)?;
    if fs::read_dir(aside)?.take(ASIDE).count() >= ASIDE {
        return Ok(false);
    }
    match fs::rename(file, aside.join(name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        moved => moved?,
    }
    Ok(true)
}

/// What was made in it, or renamed, is there after a power cut too.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
