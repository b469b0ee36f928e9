//! Disks that have no room left.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A file system of one MiB.
pub struct Mounted(PathBuf);

impl Mounted {
    /// Nothing where this may not be, and that is said where it is seen also of a test that passes.
    pub fn at(path: &Path) -> Option<Self> {
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(path).stderr(Stdio::null()).status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(path.to_owned()));
        }
        let test = std::thread::current().name().unwrap_or_default().to_owned();
        let _said = writeln!(std::io::stderr(), "\n!!! NOT TESTED: no file system may be mounted here: {test}\n");
        None
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Whatever still lies open there goes with the process.
        let _gone = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// What a shell is told, so that of each file some forty or eighty KiB can be written (it counts in blocks of 512 bytes or of 1024, as it
/// likes), and nothing of the rest. What comes next is the program and its arguments.
pub const BOUNDED_FILES: [&str; 2] = ["-c", "trap '' XFSZ; ulimit -f 77; exec \"$0\" \"$@\""];
