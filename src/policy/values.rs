//! The small notations of the policy files: durations, sizes, windows, bursts.

use std::num::NonZeroU32;
use std::time::Duration;

use super::{Burst, Window};
use crate::clock::Timestamp;

const DAY_SECS: u64 = 86_400;

/// `500ms`, `10s`, `5m`, `1h`, `30d`; never nothing.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no duration: write a whole number above 0 and ms, s, m, h or d, as in \"30s\"");
    let (number, unit) = number_and_unit(text).ok_or_else(wrong)?;
    let millis_per = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => DAY_SECS * 1000,
        _ => return Err(wrong()),
    };
    let millis = number.checked_mul(millis_per).filter(|millis| *millis > 0).ok_or_else(wrong)?;
    Ok(Duration::from_millis(millis))
}

/// As [`duration`], but no longer than `longest`.
pub fn duration_up_to(longest: Duration) -> impl Fn(&str) -> Result<Duration, String> {
    move |text| {
        let found = duration(text)?;
        if found > longest {
            return Err(format!("`{text}` is too long: at most {} here", in_words(longest)));
        }
        Ok(found)
    }
}

/// `512B`, `64KiB`, `10MiB`; above nothing and at most 1 GiB, for it is held in memory.
pub fn size(text: &str) -> Result<usize, String> {
    let bytes = bytes_up_to(text, 1 << 30)?;
    usize::try_from(bytes).map_err(|error| error.to_string())
}

/// The same of what lies on a disk.
pub fn disk_size(text: &str) -> Result<u64, String> {
    bytes_up_to(text, 16 << 40)
}

fn bytes_up_to(text: &str, most: u64) -> Result<u64, String> {
    let wrong = || {
        let most = size_in_words(most);
        format!("`{text}` is no size: write a whole number above 0 and B, KiB, MiB, GiB or TiB, as in \"10MiB\", at most \"{most}\" here")
    };
    let (number, unit) = number_and_unit(text).ok_or_else(wrong)?;
    let bytes_per: u64 = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err(wrong()),
    };
    number.checked_mul(bytes_per).filter(|bytes| (1..=most).contains(bytes)).ok_or_else(wrong)
}

/// `100/1m`: so many calls in each window of that length, which must be whole minutes that divide a day.
pub fn window(text: &str) -> Result<Window, String> {
    let wrong = || format!("`{text}` is no limit: write calls and a window, as in \"100/1m\"");
    let (calls, length) = text.split_once('/').ok_or_else(wrong)?;
    let limit = whole(calls).and_then(|calls| u32::try_from(calls).ok()).ok_or_else(wrong)?;
    if limit == 0 {
        return Err(format!(
            "`{text}` lets nothing through: to shut a source out take it off the list, to shut a target off use `callers`"
        ));
    }
    let secs = duration(length).map_err(|_| wrong())?;
    let in_a_day = secs.subsec_millis() == 0 && secs.as_secs().is_multiple_of(60) && DAY_SECS.is_multiple_of(secs.as_secs().max(1));
    match u32::try_from(secs.as_secs()) {
        Ok(secs) if in_a_day => Ok(Window { limit, secs }),
        _ => Err(format!("a window of `{length}` does not fit into a day: take whole minutes that divide one, as 1m, 5m, 10m, 1h or 1d")),
    }
}

/// `100 then 20/s`: so many at once, refilled at that rate; or `off`.
pub fn burst(text: &str) -> Result<Option<Burst>, String> {
    if text == "off" {
        return Ok(None);
    }
    let wrong = || format!("`{text}` is no burst: write how many at once and the rate after that, as in \"100 then 20/s\", or \"off\"");
    let (size, rate) = text.split_once(" then ").ok_or_else(wrong)?;
    let count = |text| whole(text).and_then(|n| u32::try_from(n).ok()).and_then(NonZeroU32::new);
    let size = count(size.trim()).ok_or_else(wrong)?;
    let per_second = rate.trim().strip_suffix("/s").and_then(count).ok_or_else(wrong)?;
    Ok(Some(Burst { size, per_second }))
}

/// `2026-12-31T12:00:00Z`, as TOML's own date and time or in quotes.
pub fn moment(value: &toml::Value) -> Result<Timestamp, String> {
    let text = match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Datetime(moment) => moment.to_string(),
        _ => String::new(),
    };
    Timestamp::parse_rfc3339(&text)
        .ok_or_else(|| format!("`{text}` is no moment: write date, time and zone, as in \"2026-12-31T12:00:00Z\""))
}

/// As an operator would write it.
pub fn in_words(duration: Duration) -> String {
    let millis = duration.as_millis();
    let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)];
    let fitting = units.into_iter().find(|(_, per)| millis >= *per && millis.is_multiple_of(*per));
    fitting.map_or_else(|| format!("{millis}ms"), |(unit, per)| format!("{}{unit}", millis / per))
}

/// As an operator would write it.
pub fn size_in_words(bytes: u64) -> String {
    let units = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let fitting = units.into_iter().find(|(_, per)| bytes >= *per && bytes.is_multiple_of(*per));
    fitting.map_or_else(|| format!("{bytes}B"), |(unit, per)| format!("{}{unit}", bytes / per))
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let (number, unit) = text.split_at_checked(text.bytes().take_while(u8::is_ascii_digit).count())?;
    Some((whole(number)?, unit))
}

/// Digits and nothing else: no sign, no blank.
fn whole(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_read_as_written() {
        let cases = [("500ms", 500), ("10s", 10_000), ("5m", 300_000), ("1h", 3_600_000), ("30d", 2_592_000_000)];
        for (text, millis) in cases {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
            assert_eq!(in_words(Duration::from_millis(millis)), text);
        }
        for bad in
            ["", "10", "s", "10 s", "-1s", "+1s", "1.5s", "0s", "10S", "10sec", "1h30m", "99999999999999999999d", "18446744073709551615d"]
        {
            assert!(duration(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn sizes_are_bounded() {
        assert_eq!(size("10MiB"), Ok(10 << 20));
        assert_eq!(size("64KiB"), Ok(64 << 10));
        assert_eq!((size("1024MiB"), size("1GiB")), (Ok(1 << 30), Ok(1 << 30)));
        for bad in ["0B", "10", "10MB", "1025MiB", "2GiB", "MiB", "-1B"] {
            assert!(size(bad).is_err(), "{bad:?}");
        }
        assert_eq!((disk_size("200GiB"), disk_size("16TiB")), (Ok(200 << 30), Ok(16 << 40)));
        for bad in ["0B", "17TiB", "1PiB", "18446744073709551615TiB"] {
            assert!(disk_size(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn moments_have_a_zone() {
        let read = |text: &str| moment(toml::from_str::<toml::Table>(&format!("at = {text}")).unwrap().get("at").unwrap());
        for text in ["2026-12-31T12:00:00Z", "2026-12-31 13:00:00+01:00", "'2026-12-31T12:00:00Z'", "\"2026-12-31T14:00:00+02:00\""] {
            assert_eq!(read(text), Ok(Timestamp::parse_rfc3339("2026-12-31T12:00:00Z").unwrap()), "{text}");
        }
        for bad in ["2026-12-31", "2026-12-31T12:00:00", "12:00:00", "'tomorrow'", "''", "1", "true", "[]"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn windows_divide_a_day() {
        let lengths = [("1m", 60), ("5m", 300), ("10m", 600), ("60m", 3600), ("1h", 3600), ("1d", 86_400), ("60s", 60)];
        for (length, secs) in lengths {
            assert_eq!(window(&format!("100/{length}")), Ok(Window { limit: 100, secs }), "{length}");
        }
        for bad in ["100/7m", "100/30s", "100/90s", "100/2d", "100/60001ms", "0/1m", "/1m", "100", "100/", "x/1m", "4294967296/1m", "1/0m"]
        {
            assert!(window(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn bursts_read_as_written() {
        let found = burst("100 then 20/s").unwrap().unwrap();
        assert_eq!((found.size.get(), found.per_second.get()), (100, 20));
        assert_eq!(burst("off"), Ok(None));
        for bad in ["100", "0 then 20/s", "100 then 0/s", "100 then 20", "100 then 20/m", "", "on"] {
            assert!(burst(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in "\\PC{0,24}") {
            let _ = (duration(&text), size(&text), burst(&text));
            if let Ok(found) = window(&text) {
                prop_assert!(found.limit > 0 && found.secs % 60 == 0 && 86_400 % found.secs == 0);
            }
        }

        #[test]
        fn what_is_said_is_read_back(millis in 1_u64..10_000_000_000) {
            let length = Duration::from_millis(millis);
            prop_assert_eq!(duration(&in_words(length)), Ok(length));
            for bytes in [millis, millis << 10, millis % 10_000 << 20, (1 + millis % 10_000) << 30, (1 + millis % 16) << 40] {
                let bytes = bytes.clamp(1, 16 << 40);
                prop_assert_eq!(disk_size(&size_in_words(bytes)), Ok(bytes));
            }
        }
    }
}
