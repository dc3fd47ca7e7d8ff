//! One clock for all processes of a run: the machine's monotonic time, which the kernel tells without a system call.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds since the machine was started.
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    // Neither is ever negative on this clock.
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// Microseconds from `then` to now.
pub fn micros_since(then: u64) -> u64 {
    now().saturating_sub(then) / 1_000
}
