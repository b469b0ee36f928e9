//! Records that the database refuses as they are: beside the journals, in words that people read, so that whoever mends the cause can
//! write them by hand. A line each, in a file for each process; what finds no room there is lost.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::writer::Writer;
use crate::clock::Timestamp;
use crate::identity::Origin;
use crate::store::Record;
use crate::store::control::ActivityEntry;
use crate::store::ledger::{Batch, Loss, LossReason};

/// In the directory of journals.
const DIRECTORY: &str = "refused";
/// What all files there may take up.
const BOUND: u64 = 64 << 20;

/// One record that the database does not take, or nothing but losses.
pub(super) struct Refusal<'p> {
    pub part: Batch<'p>,
    pub why: String,
}

/// What is told of it.
struct Told {
    id: Uuid,
    times: u32,
    origin: Option<Origin>,
    line: Vec<u8>,
}

impl Refusal<'_> {
    fn told(&self, at: Timestamp) -> Option<Told> {
        let (id, times, origin, columns) = match self.part {
            Batch { calls: [call], .. } => (call.id, call.times, call.origin, of_call(call)),
            Batch { entries: [entry], .. } => (entry.id, 1, entry.origin, of_entry(entry)),
            _ => {
                tracing::error!(why = self.why, "the database refuses to note which records are lost");
                return None;
            }
        };
        let mut line = json!({ "refused_at": at.to_string(), "why": self.why, "record": columns }).to_string().into_bytes();
        line.push(b'\n');
        Some(Told { id, times, origin, line })
    }
}

impl Writer {
    /// Keeps them where people find them, and says so. The numbers that are left without a row.
    pub(super) async fn set_aside(&self, refused: &[Refusal<'_>]) -> Vec<Loss> {
        let at = self.clock.now();
        let (whys, told): (Vec<_>, Vec<_>) = refused.iter().filter_map(|refusal| Some((&refusal.why, refusal.told(at)?))).unzip();
        let (directory, instance) = (self.journal.directory().join(DIRECTORY), self.journal.instance());
        let lines: Vec<_> = told.iter().map(|told| told.line.clone()).collect();
        let kept = spawn_blocking(move || keep(&directory, &instance.to_string(), &lines, BOUND)).await;
        let Kept { file, lines: kept } = kept.map_err(io::Error::other).flatten().unwrap_or_else(|error| {
            tracing::error!(%error, "what the database refuses cannot be kept in a file");
            Kept::default()
        });
        for ((at, told), why) in told.iter().enumerate().zip(whys) {
            self.metrics.records_dropped.inc_by(u64::from(told.times));
            let call_id = told.id;
            if at < kept {
                tracing::error!(why, %call_id, "the database refuses this record: it lies in {}", file.display());
            } else {
                tracing::error!(why, %call_id, "the database refuses this record, and there is no room for it beside the journal: it is lost");
            }
        }
        let origins = told.iter().filter_map(|told| told.origin);
        origins.map(|Origin { instance, seq }| Loss { instance, first: seq, last: seq, reason: LossReason::Refused, at }).collect()
    }
}

/// Where they are, and how many of them.
#[derive(Default)]
struct Kept {
    file: PathBuf,
    lines: usize,
}

/// Adds the lines to the file of this name, as long as everything there keeps to the bound.
fn keep(directory: &Path, name: &str, lines: &[Vec<u8>], bound: u64) -> io::Result<Kept> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let mut used = 0;
    for file in fs::read_dir(directory)? {
        used += file?.metadata()?.len();
    }
    let fitting = lines.iter().take_while(|line| {
        used += line.len() as u64;
        used <= bound
    });
    let fitting: Vec<_> = fitting.map(Vec::as_slice).collect();
    let file = directory.join(format!("{name}.ndjson"));
    let mut open = OpenOptions::new().append(true).create(true).mode(0o600).open(&file)?;
    open.write_all(&fitting.concat())?;
    // The journal forgets them next.
    open.sync_data()?;
    Ok(Kept { file, lines: fitting.len() })
}

/// In the words of the tables, where there are some.
fn of_call(call: &Record<'_>) -> Value {
    json!({
        "eliza_activity_log": {
            "id": call.id.to_string(),
            "created_at": call.at.to_string(),
            "activity_type": call.activity_type.as_str(),
            "status": call.activity_status.as_str(),
            "title": call.title,
            "description": call.description,
            "metadata": read(&call.metadata),
            "instance": call.origin.map(|origin| origin.instance.to_string()),
            "seq": call.origin.map(|origin| origin.seq),
        },
        "api_call_logs": {
            "status": call.api_status.as_str(),
            "error_message": call.error_message,
            "request_payload": read(&call.request),
            "caller_context": read(&call.caller_context),
            "execution_time_ms": call.execution_ms,
        },
        "calls": call.times,
    })
}

fn of_entry(entry: &ActivityEntry) -> Value {
    json!({
        "eliza_activity_log": {
            "id": entry.id.to_string(),
            "created_at": entry.at.to_string(),
            "activity_type": entry.kind.as_str(),
            "status": entry.status.as_str(),
            "title": entry.title,
            "description": entry.description,
            "metadata": entry.metadata,
            "instance": entry.origin.map(|origin| origin.instance.to_string()),
            "seq": entry.origin.map(|origin| origin.seq),
        },
    })
}

fn read(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_else(|_| json.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn they_keep_to_their_bound_and_to_their_owner() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path().join(DIRECTORY);
        let lines = [b"one\n".to_vec(), b"two\n".to_vec(), b"three\n".to_vec()];
        let keep = |name: &str| keep(&directory, name, &lines, 20).unwrap();
        let kept = keep("a");
        assert_eq!((kept.lines, fs::read(&kept.file).unwrap()), (3, b"one\ntwo\nthree\n".to_vec()));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&directory), mode(&kept.file)), (0o700, 0o600));
        // All files together.
        let kept = keep("b");
        assert_eq!((kept.lines, fs::read(&kept.file).unwrap()), (1, b"one\n".to_vec()));
        assert_eq!(keep("a").lines, 0);
    }
}
