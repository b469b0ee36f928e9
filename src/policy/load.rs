//! Where policy files come from: a directory, or the copies this binary carries.

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::Policy;
use super::compile::{CARRIED, compile};
pub use super::compile::{CredentialInputs, Variables};
use super::problems::{File, Problem, Problems};

/// Far beyond what people write; a directory given by mistake is not read into memory.
const MAX_FILES: usize = 100;
const MAX_FILE_BYTES: u64 = 1 << 20;

const SHIPPED: [(&str, &str); 6] = [
    ("limits.toml", include_str!("../../policies/limits.toml")),
    ("schema.toml", include_str!("../../policies/schema.toml")),
    ("service.toml", include_str!("../../policies/service.toml")),
    ("sources.toml", include_str!("../../policies/sources.toml")),
    ("sql.toml", include_str!("../../policies/sql.toml")),
    ("targets.toml", include_str!("../../policies/targets.toml")),
];

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Every `*.toml` directly in it.
    Directory(PathBuf),
    /// What the binary carries.
    Shipped,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Directory(path) => path.display().fmt(f),
            Self::Shipped => f.write_str("as shipped"),
        }
    }
}

/// Reads files, so it belongs to start, reload and commands, not into a call.
pub fn load(origin: &Origin, variables: Variables<'_>, credentials: &CredentialInputs) -> Result<Policy, Problems> {
    let shipped: Vec<File> =
        SHIPPED.iter().map(|(name, text)| File { name: format!("{CARRIED}{name}"), text: (*text).to_owned() }).collect();
    let (files, unread) = match origin {
        Origin::Directory(path) => read_directory(path),
        Origin::Shipped => (shipped.clone(), Vec::new()),
    };
    match (compile(&files, &shipped, variables, credentials), Problems::of(unread)) {
        (Ok(policy), None) => Ok(policy),
        (Ok(_), Some(problems)) | (Err(problems), None) => Err(problems),
        (Err(problems), Some(unread)) => Err(problems.and(unread)),
    }
}

/// What can be told of policy files without reading them: after any change it is another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stamp {
    /// Files that nobody can change, or none that can be seen.
    Nothing,
    Files(Vec<FileStamp>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileStamp {
    path: PathBuf,
    length: u64,
    inode: (u64, u64),
    /// Of the last change to its content, and to anything about it, in seconds and nanoseconds.
    changed: [(i64, i64); 2],
}

/// `beside`: what the policy in force names of files elsewhere.
pub fn stamp(origin: &Origin, beside: &[PathBuf]) -> Stamp {
    let Origin::Directory(directory) = origin else { return Stamp::Nothing };
    let Ok(names) = policy_files(directory) else { return Stamp::Nothing };
    let files = names.iter().map(|name| directory.join(name)).chain(beside.iter().cloned());
    let stamps = files.filter_map(|path| {
        let found = fs::metadata(&path).ok()?;
        let changed = [(found.mtime(), found.mtime_nsec()), (found.ctime(), found.ctime_nsec())];
        Some(FileStamp { path, length: found.len(), inode: (found.dev(), found.ino()), changed })
    });
    Stamp::Files(stamps.collect())
}

fn read_directory(directory: &Path) -> (Vec<File>, Vec<Problem>) {
    let whole = |message: String| (Vec::new(), vec![Problem::of_file(directory.display().to_string(), message)]);
    let names = match policy_files(directory) {
        Ok(names) => names,
        Err(error) => return whole(format!("cannot be read ({error}): name a directory of policy files")),
    };
    if names.is_empty() {
        return whole("holds no *.toml file: name a directory of policy files".to_owned());
    }
    if names.len() > MAX_FILES {
        return whole(format!("holds more than {MAX_FILES} *.toml files: name a directory of policy files, or join some"));
    }
    let (mut files, mut problems) = (Vec::new(), Vec::new());
    for name in names {
        match read_file(&directory.join(&name)) {
            Ok(text) => files.push(File { name, text }),
            Err(error) => problems.push(Problem::of_file(name, format!("cannot be read: {error}"))),
        }
    }
    (files, problems)
}

/// In order of their names. Hidden files are editors' own.
fn policy_files(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // Through symbolic links: that is how mounted configuration arrives.
        if name.ends_with(".toml") && !name.starts_with('.') && !fs::metadata(entry.path()).is_ok_and(|found| found.is_dir()) {
            names.push(name);
        }
        if names.len() > MAX_FILES {
            break;
        }
    }
    names.sort();
    Ok(names)
}

fn read_file(path: &Path) -> io::Result<String> {
    // A pipe or device by that name would be waited for.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::other("it is larger than 1 MiB, too large for a policy"));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is no UTF-8 text"))
}
