//! A coarse clock that costs four bytes to remember: milliseconds since the process began.

use std::{sync::LazyLock, time::Instant};

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Wraps after 49 days; [`since`] minds that.
pub fn ticks() -> u32 {
    #[allow(clippy::cast_possible_truncation)] // wrapping is meant
    let ticks = START.elapsed().as_millis() as u32;
    ticks
}

/// Nanoseconds from the process' beginning to `instant`.
pub fn nanos(instant: Instant) -> u64 {
    let since = instant.saturating_duration_since(*START);
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Milliseconds from `then` to `now`, across a wrap; 0 where `then` is later.
pub fn since(then: u32, now: u32) -> u32 {
    let elapsed = now.wrapping_sub(then);
    if elapsed > u32::MAX / 2 { 0 } else { elapsed }
}

#[cfg(test)]
mod tests {
    use super::since;

    #[test]
    fn a_wrap_is_no_jump() {
        assert_eq!(since(u32::MAX - 4, 5), 10);
        assert_eq!(since(5, u32::MAX - 4), 0);
        assert_eq!(since(1, 11), 10);
    }
}
