//! Moments as SQLite's texts: `YYYY-MM-DD HH:MM:SS.ffffff`, in UTC, so that they sort as time does.

use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

use crate::clock::Timestamp;
use crate::store::StoreError;

const WRITTEN: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day] [hour]:[minute]:[second].[subsecond digits:6]");
/// As `datetime('now')` and other programs write it.
const READ: &[BorrowedFormatItem<'_>] =
    format_description!(version = 2, "[year]-[month]-[day] [hour]:[minute]:[second][optional [.[subsecond digits:1+]]]");

pub(super) fn text(at: Timestamp) -> String {
    let at: OffsetDateTime = at.to_datetime();
    // The format holds only parts that every moment has.
    at.format(WRITTEN).unwrap_or_default()
}

/// Texts of moments that lie close together: what those of one second share is made once.
#[derive(Default)]
pub(super) struct Texts {
    second: Option<i64>,
    text: String,
}

impl Texts {
    pub(super) fn of(&mut self, at: Timestamp) -> &str {
        if self.second != Some(at.as_secs()) {
            self.text = text(at);
            // Beyond the calendar a moment's text is that of the calendar's end.
            self.second = Some(at.as_secs()).filter(|second| *second == at.to_datetime().unix_timestamp());
            return &self.text;
        }
        self.text.truncate(self.text.len() - DIGITS);
        // A digit more, that those at the front are written though they be zeros.
        let digits = SECOND + at.as_micros().rem_euclid(SECOND);
        self.text.extend(itoa::Buffer::new().format(digits).get(1..));
        &self.text
    }
}

/// Behind the second.
const DIGITS: usize = 6;
/// In microseconds.
const SECOND: i64 = 1_000_000;

/// `YYYY-MM-DD`.
pub(super) fn day(at: Timestamp) -> String {
    at.to_datetime().date().to_string()
}

pub(super) fn parse(text: &str) -> Result<Timestamp, StoreError> {
    PrimitiveDateTime::parse(text, READ)
        .map(|at| Timestamp::from_datetime(at.assume_utc()))
        .ok()
        .or_else(|| Timestamp::parse_rfc3339(text))
        .ok_or_else(|| StoreError::Refused(format!("{text:?} is no moment like 2026-01-31 12:00:00.000000")))
}

pub(super) fn parse_optional(text: Option<String>) -> Result<Option<Timestamp>, StoreError> {
    text.as_deref().map(parse).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_survive_being_written() {
        for micros in [0, 1, 1_700_000_000_123_456, 1_700_000_000_000_000, -1] {
            let at = Timestamp::from_micros(micros);
            assert_eq!(parse(&text(at)).unwrap(), at);
        }
        assert_eq!(text(Timestamp::from_micros(1_700_000_000_000_001)), "2023-11-14 22:13:20.000001");
    }

    #[test]
    fn moments_one_after_the_other_are_written_like_each_alone() {
        let mut texts = Texts::default();
        let second = 1_700_000_000_000_000;
        let near = [0, 1, 999_999, 120_034, 1_000_000, 1_000_000, 999_999].map(|micros| second + micros);
        let far = [-1, -2, -1_000_001, -62_135_596_800_000_001, 253_402_300_799_000_000, 253_402_300_799_000_001, i64::MAX, i64::MIN, 5];
        for micros in near.into_iter().chain(far) {
            let at = Timestamp::from_micros(micros);
            assert_eq!(texts.of(at), text(at), "{micros}");
        }
    }

    #[test]
    fn moments_of_other_programs_are_read_too() {
        let at = Timestamp::from_secs(1_700_000_000);
        for written in ["2023-11-14 22:13:20", "2023-11-14 22:13:20.000", "2023-11-14T22:13:20Z"] {
            assert_eq!(parse(written).unwrap(), at, "{written}");
        }
        assert!(parse("yesterday").is_err());
    }
}
