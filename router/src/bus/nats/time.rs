//! NATS' timestamps. A parser of its own, for it runs for every live copy.

/// RFC 3339 in UTC, as nats-server writes it (`2025-01-31T23:59:58.123456789Z`), to Unix milliseconds.
pub(super) fn unix_ms(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| -> Option<u64> {
        bytes.get(from..to)?.iter().try_fold(0, |value, byte| {
            byte.is_ascii_digit().then(|| value * 10 + u64::from(byte - b'0'))
        })
    };
    let mark = |at: usize, mark: u8| (bytes.get(at) == Some(&mark)).then_some(());
    mark(4, b'-').and(mark(7, b'-'))?;
    mark(10, b'T').and(mark(13, b':')).and(mark(16, b':'))?;
    let days = days(number(0, 4)?, number(5, 7)?, number(8, 10)?)?;
    let seconds = (number(11, 13)? * 60 + number(14, 16)?) * 60 + number(17, 19)?;
    let rest = text.get(19..)?.strip_suffix('Z')?;
    let mut ms = 0;
    if let Some(fraction) = rest.strip_prefix('.') {
        let digits = fraction.len().min(3);
        ms = number(20, 20 + digits)? * [1_000, 100, 10, 1][digits];
    } else if !rest.is_empty() {
        return None;
    }
    Some((days * 86_400 + seconds) * 1_000 + ms)
}

/// Days from 1970-01-01 in the Gregorian calendar; years are counted from March, so that the leap day comes last.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1..=12).contains(&month) {
        return None;
    }
    let year = if month <= 2 { year.checked_sub(1)? } else { year };
    let month = (month + 9) % 12;
    let day_of_year = (153 * month + 2) / 5 + day.checked_sub(1)?;
    let days = year * 365 + year / 4 - year / 100 + year / 400 + day_of_year;
    days.checked_sub(719_468)
}

/// The other way round.
pub(super) fn rfc3339(unix_ms: u64) -> String {
    let (seconds, ms) = (unix_ms / 1_000, unix_ms % 1_000);
    let (year, month, day) = date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// Year, month and day so many days after 1970-01-01; years are counted from March here too.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (year * 365 + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + later, month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{rfc3339, unix_ms};

    proptest! {
        #[test]
        fn what_is_written_is_read(ms in 0_u64..253_402_300_800_000) {
            prop_assert_eq!(unix_ms(&rfc3339(ms)), Some(ms));
        }
    }

    #[test]
    fn timestamps_are_written_as_nats_reads_them() {
        assert_eq!(rfc3339(951_825_600_500), "2000-02-29T12:00:00.500Z");
    }

    #[test]
    fn timestamps_of_nats_are_read() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T12:00:00.5Z", Some(951_825_600_500)),
            ("2025-01-31T23:59:58.123456789Z", Some(1_738_367_998_123)),
            ("2026-03-01T00:00:00.07Z", Some(1_772_323_200_070)),
            ("2026-03-01T00:00:00+01:00", None),
            ("2026-13-01T00:00:00Z", None),
            ("2026-03-01 00:00:00Z", None),
            ("", None),
        ] {
            assert_eq!(unix_ms(text), expected, "{text}");
        }
    }
}
