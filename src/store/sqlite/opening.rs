//! Opening the file: how it is read and written, and by how many at once.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use super::Sqlite;
use super::logs::Forms;
use super::statement::LENGTHS;
use crate::seal::Sealer;
use crate::store::fault::{ANSWER, CONNECT};
use crate::store::{OpenOptions, StoreError};

/// How long a writer of another process is waited for.
const BUSY: Duration = Duration::from_secs(5);

/// Statements that stay prepared: of each length those of four sums and of two logs, in two forms, and what else is asked.
const STATEMENTS: usize = LENGTHS.len() * 8 + 100;

impl Sqlite {
    pub(in crate::store) async fn open(url: &str, options: OpenOptions, sealer: Option<Arc<Sealer>>) -> Result<Self, StoreError> {
        let connect: SqliteConnectOptions = url.parse().map_err(|error| StoreError::Refused(format!("DATABASE_URL: {error}")))?;
        let connect = connect
            .create_if_missing(true)
            // Of a file that is made now. Rows come by the hundred: of pages twice as large half as many are asked of the system.
            .page_size(16384)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .foreign_keys(true)
            .statement_cache_capacity(STATEMENTS)
            .busy_timeout(BUSY);
        if let Some(folder) = connect.get_filename().parent().filter(|folder| !folder.as_os_str().is_empty()) {
            make_folder(folder.to_owned()).await?;
        }
        let most = options.pool_size.saturating_add(options.max_overflow).max(1);
        let pool = |most| SqlitePoolOptions::new().max_connections(most).acquire_timeout(CONNECT);
        // A writer waits for its turn as long as a question may take; its turn does come.
        // What is written is on the disk: the journal forgets it then, and a machine that loses its power loses no record.
        let writer = pool(1).acquire_timeout(ANSWER).connect_lazy_with(connect.clone().synchronous(SqliteSynchronous::Full));
        Ok(Self { readers: pool(most).connect_lazy_with(connect), writer, pool_size: options.pool_size, sealer, forms: Forms::default() })
    }
}

/// Off the async threads, and for nobody else to look into: what is stored there is the operators' own.
async fn make_folder(folder: PathBuf) -> Result<(), StoreError> {
    let path = folder.clone();
    let made = tokio::task::spawn_blocking(move || make_private(&path)).await;
    match made {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(StoreError::Refused(format!("the folder {} cannot be made: {error}", folder.display()))),
        Err(error) => Err(StoreError::Away(error.to_string())),
    }
}

fn make_private(folder: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(folder)
}
