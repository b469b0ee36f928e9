//! Records in by COPY, in PostgreSQL's binary form: for many rows it costs the server a third less than INSERT, and us a third of it
//! (benches/README.md). It knows no `on conflict`: whoever uses it has another way for rows that are there already.

use sqlx::PgConnection;

use crate::clock::Timestamp;
use crate::store::Record;
use crate::store::batch::{FUNCTION, plain, plain_json};
use crate::store::ledger::number;

/// What PostgreSQL counts from: the year 2000.
const EPOCH: i64 = 946_684_800_000_000;

const ACTIVITY: &str = "copy public.eliza_activity_log (id, created_at, updated_at, activity_type, status, title, description, metadata, \
                        instance, seq) from stdin (format binary)";
const API_CALLS: &str = "copy public.api_call_logs (id, created_at, called_at, function_name, status, execution_time_ms, error_message, \
                         request_payload, caller_context) from stdin (format binary)";

/// Rows of both logs, one after the other. The connection must not be used again if this does not come to its end.
pub(super) async fn logs(connection: &mut PgConnection, records: &[&Record<'_>]) -> sqlx::Result<()> {
    for (statement, rows) in [(ACTIVITY, activity(records)), (API_CALLS, api_calls(records))] {
        let mut copy = connection.copy_in_raw(statement).await?;
        copy.send(rows).await?;
        copy.finish().await?;
    }
    Ok(())
}

fn activity(records: &[&Record<'_>]) -> Vec<u8> {
    let mut rows = Rows::new();
    for record in records {
        rows.row(10);
        rows.field(record.id.as_bytes());
        rows.moment(record.at);
        rows.moment(record.at);
        rows.text(record.activity_type.as_str());
        rows.text(record.activity_status.as_str());
        rows.text(&plain(&record.title));
        rows.text(&plain(&record.description));
        rows.json(&plain_json(&record.metadata));
        match record.origin {
            Some(origin) => {
                rows.field(origin.instance.as_bytes());
                rows.field(&number(origin.seq).to_be_bytes());
            }
            None => {
                rows.null();
                rows.null();
            }
        }
    }
    rows.end()
}

fn api_calls(records: &[&Record<'_>]) -> Vec<u8> {
    let mut rows = Rows::new();
    for record in records {
        rows.row(9);
        rows.field(record.id.as_bytes());
        rows.moment(record.at);
        rows.moment(record.at);
        rows.text(FUNCTION);
        rows.text(record.api_status.as_str());
        rows.field(&record.execution_ms.to_be_bytes());
        match &record.error_message {
            Some(message) => rows.text(&plain(message)),
            None => rows.null(),
        }
        rows.json(&plain_json(&record.request));
        rows.json(&plain_json(&record.caller_context));
    }
    rows.end()
}

struct Rows(Vec<u8>);

impl Rows {
    fn new() -> Self {
        let mut bytes = b"PGCOPY\n\xff\r\n\0".to_vec();
        // No flags, and nothing more in the head.
        bytes.extend([0; 8]);
        Self(bytes)
    }

    fn row(&mut self, fields: i16) {
        self.0.extend(fields.to_be_bytes());
    }

    fn field(&mut self, bytes: &[u8]) {
        // A field that is longer than this is refused by the server as broken, and goes the other way.
        self.0.extend(i32::try_from(bytes.len()).unwrap_or(i32::MAX).to_be_bytes());
        self.0.extend(bytes);
    }

    fn null(&mut self) {
        self.0.extend((-1_i32).to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        self.field(text.as_bytes());
    }

    fn moment(&mut self, at: Timestamp) {
        self.field(&at.as_micros().saturating_sub(EPOCH).to_be_bytes());
    }

    /// `jsonb` begins with the version of its form.
    fn json(&mut self, json: &str) {
        self.0.extend(i32::try_from(json.len()).unwrap_or(i32::MAX).saturating_add(1).to_be_bytes());
        self.0.push(1);
        self.0.extend(json.as_bytes());
    }

    fn end(mut self) -> Vec<u8> {
        self.0.extend((-1_i16).to_be_bytes());
        self.0
    }
}
