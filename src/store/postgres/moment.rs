//! Moments as PostgreSQL may hold them: an operator's `infinity` is one of them, and beyond every calendar.

use sqlx::error::BoxDynError;
use sqlx::postgres::{PgTypeInfo, PgValueRef, Postgres};
use sqlx::{Decode, Type};
use time::OffsetDateTime;

use crate::clock::Timestamp;

/// What PostgreSQL counts from: the year 2000.
const EPOCH: i64 = 946_684_800_000_000;

/// A moment that was read, the nearest that a calendar has.
pub(super) struct Moment(pub Timestamp);

impl Type<Postgres> for Moment {
    fn type_info() -> PgTypeInfo {
        <OffsetDateTime as Type<Postgres>>::type_info()
    }
}

impl<'r> Decode<'r, Postgres> for Moment {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        let micros = <i64 as Decode<'r, Postgres>>::decode(value)?;
        let at = Timestamp::from_micros(micros.saturating_add(EPOCH));
        Ok(Self(Timestamp::from_datetime(at.to_datetime())))
    }
}
