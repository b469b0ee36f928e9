//! A thread for work with the disk that no call may wait for.

use std::io;
use std::sync::OnceLock;
use std::thread::{self, Thread};

/// Sleeps until woken; woken while it works, it looks again before it sleeps.
#[derive(Debug, Default)]
pub(super) struct Helper(OnceLock<Thread>);

impl Helper {
    pub fn start(&self, name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let started = thread::Builder::new().name(name.to_owned()).spawn(run)?;
        let _only_once = self.0.set(started.thread().clone());
        Ok(())
    }

    pub fn wake(&self) {
        if let Some(thread) = self.0.get() {
            thread.unpark();
        }
    }
}
