//! What a database's error means to us: try again, or never mind.

use std::future::Future;
use std::time::Duration;

use sqlx::migrate::MigrateError;
use sqlx::sqlite::SqliteError;

use super::StoreError;

/// How long one question may take. A connection that died without a word would be waited on for ever.
pub(super) const ANSWER: Duration = Duration::from_secs(30);
/// How long a connection may take to come.
pub(super) const CONNECT: Duration = Duration::from_secs(3);
/// Maintenance and migrations move rows and wait for locks.
pub(super) const HOUSEWORK: Duration = Duration::from_secs(3600);
/// How long the last connections may take to say goodbye.
pub(super) const GOODBYE: Duration = Duration::from_secs(5);

pub(super) async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(StoreError::Away(format!("no answer within {} s", limit.as_secs()))))
}

/// A lock was not had in the time that was given to wait for it.
pub(super) fn is_lock_missed(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(error) if error.code().as_deref() == Some("55P03"))
}

/// The same question may do better later.
pub(super) fn is_passing(error: &sqlx::Error) -> bool {
    matches!(fault(error), Fault::Passing)
}

/// A row is there already.
pub(super) fn is_duplicate(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(error) if error.is_unique_violation())
}

/// Whose fault an error is.
enum Fault {
    /// The database's, or the way to it: the same question may do better later.
    Passing,
    /// The values': they do not fit, and never will.
    Values,
    /// Anything else that stays so until somebody mends it: rights, a table that is missing, a wrong password.
    Setup,
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match fault(&error) {
            Fault::Passing => Self::Away(text(&error)),
            Fault::Values | Fault::Setup => Self::Refused(text(&error)),
        }
    }
}

impl From<MigrateError> for StoreError {
    fn from(error: MigrateError) -> Self {
        match &error {
            MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _) if matches!(fault(cause), Fault::Passing) => {
                Self::Away(text(cause))
            }
            _ => Self::Refused(error.to_string()),
        }
    }
}

/// For writing records: refused are only those whose values do not fit. Records lose nothing by waiting until rights, tables or a
/// full disk are seen to, and they would be lost if that counted as their own fault.
pub(super) fn of_records(error: sqlx::Error) -> StoreError {
    match fault(&error) {
        Fault::Values => StoreError::Refused(text(&error)),
        Fault::Passing | Fault::Setup => StoreError::Away(text(&error)),
    }
}

fn text(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::PoolTimedOut => format!("no connection within {} s", CONNECT.as_secs()),
        // It may quote the URL, and with it a password.
        sqlx::Error::Configuration(_) => "DATABASE_URL cannot be used as it is".into(),
        other => other.to_string(),
    }
}

fn fault(error: &sqlx::Error) -> Fault {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed
        | sqlx::Error::Protocol(_) => Fault::Passing,
        sqlx::Error::Encode(_) | sqlx::Error::InvalidArgument(_) => Fault::Values,
        sqlx::Error::Migrate(error) => match error.as_ref() {
            MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _) => fault(cause),
            _ => Fault::Setup,
        },
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            if error.try_downcast_ref::<SqliteError>().is_some() { of_sqlite(&code) } else { of_postgres(&code) }
        }
        _ => Fault::Setup,
    }
}

/// By SQLSTATE.
fn of_postgres(code: &str) -> Fault {
    match code {
        // A standby, or a primary that has become one; a lock not had in time; gone after standing idle in a transaction.
        "25006" | "55P03" | "25P03" => Fault::Passing,
        _ => match code.get(..2) {
            // Connection; rolled back for another's sake; out of resources; operator intervention; the machine's own faults.
            Some("08" | "40" | "53" | "57" | "58") => Fault::Passing,
            // Data; constraints; beyond what a row or an index can hold; what an operator's own trigger raises.
            Some("22" | "23" | "54" | "P0") => Fault::Values,
            _ => Fault::Setup,
        },
    }
}

/// By SQLite's result code, whose low byte is the kind.
fn of_sqlite(code: &str) -> Fault {
    match code.parse::<u32>().unwrap_or_default() & 0xff {
        // busy, locked, out of memory, read-only, interrupted, disk error, full, cannot open, lock protocol
        5 | 6 | 7 | 8 | 9 | 10 | 13 | 14 | 15 => Fault::Passing,
        // too big, constraint (what a trigger raises too), mismatch
        18..=20 => Fault::Values,
        _ => Fault::Setup,
    }
}
