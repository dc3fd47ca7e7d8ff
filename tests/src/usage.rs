//! What a process has used so far, as the kernel counts it.

use std::{fs, time::Duration};

use rustix::param::{clock_ticks_per_second, page_size};

#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// User and system time of all threads, those that ended included. The kernel tells it in steps of 10 ms.
    pub cpu: Duration,
    /// Bytes of memory that are not shared with a file: what was allocated.
    pub memory: u64,
}

impl Usage {
    /// Of a process that runs.
    pub fn of(id: u32) -> Self {
        let read = |name: &str| fs::read_to_string(format!("/proc/{id}/{name}")).expect("the process runs, on Linux");
        Self {
            cpu: cpu(&read("stat")),
            memory: memory(&read("statm")),
        }
    }
}

fn cpu(stat: &str) -> Duration {
    // The second field is the process' name in brackets, and may hold anything.
    let (_, fields) = stat.rsplit_once(')').expect("a name in brackets");
    // The line's fields 14 and 15; the first one after the name is 3.
    let times = fields.split_whitespace().skip(14 - 3).take(2);
    let ticks: u64 = times.map(|field| field.parse::<u64>().expect("ticks")).sum();
    Duration::from_millis(1000 * ticks / clock_ticks_per_second())
}

fn memory(statm: &str) -> u64 {
    let pages: Vec<u64> = statm.split_whitespace().map(|n| n.parse().expect("pages")).collect();
    (pages[1] - pages[2]) * page_size() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_brackets_and_spaces() {
        let stat = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 30 12 0 0 20 0 1 0 5";
        let ticks = clock_ticks_per_second();
        assert_eq!(cpu(stat), Duration::from_millis(1000 * 42 / ticks));
        assert_eq!(memory("9 5 2 1 0 3 0"), 3 * page_size() as u64);
    }

    #[test]
    fn this_process_uses_memory() {
        assert!(Usage::of(std::process::id()).memory > 0);
    }
}
