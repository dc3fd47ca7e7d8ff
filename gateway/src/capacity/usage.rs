//! What the process has of the machine, and may have.

use std::io;

use rustix::{
    param::page_size,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};
use tracing::debug;

/// How many files may be open: as many as the system grants, and not only as many as it gives unasked. None: no limit.
pub fn raise_descriptors() -> Option<u32> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    // Where there is no maximum some systems take no unlimited number of files.
    if limit.maximum.is_some()
        && let Err(error) = setrlimit(Resource::Nofile, raised)
    {
        debug!(%error, "the limit of open files stays as it is");
    }
    let granted = getrlimit(Resource::Nofile).current?;
    Some(u32::try_from(granted).unwrap_or(u32::MAX))
}

/// The bytes of this process that are in memory.
pub fn memory() -> io::Result<u64> {
    let sizes = std::fs::read_to_string("/proc/self/statm")?;
    let resident = sizes.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    let pages = resident.ok_or_else(|| io::Error::other("/proc/self/statm has no such number"))?;
    Ok(pages * page_size() as u64)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn a_process_has_some_memory() {
        let before = super::memory().unwrap();
        let more = std::hint::black_box(vec![1u8; 64 << 20]);
        assert!(super::memory().unwrap() > before + (32 << 20), "{}", more.len());
    }
}
