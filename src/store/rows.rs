//! Reading rows that anybody may have written. One that cannot be read must not hide the others: among these may be the revocation of a
//! key, or a block.

use std::fmt::Display;

use sqlx::{FromRow, Row};

/// The rows that can be read; each of the others is told of and passed over.
pub(super) fn readable<'r, R: Row, T: FromRow<'r, R>>(rows: &'r [R], table: &'static str) -> impl Iterator<Item = T> {
    rows.iter().filter_map(move |row| T::from_row(row).map_err(|error| pass_over(table, &error)).ok())
}

/// What was made of a row, if anything was.
pub(super) fn or_pass_over<T, E: Display>(made: Result<T, E>, table: &'static str) -> Option<T> {
    made.map_err(|error| pass_over(table, &error)).ok()
}

fn pass_over(table: &'static str, error: &dyn Display) {
    tracing::error!(table, %error, "a row cannot be read and is passed over");
}
