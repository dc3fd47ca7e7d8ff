//! How far a connection has come.

use std::sync::atomic::{AtomicU8, Ordering};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Its client is not known yet, or is being connected.
    Connecting,
    Connected,
    /// What waits is still being written, or the client has yet to hang up.
    Closing,
}

impl Stage {
    pub const COUNT: usize = 3;
    pub const NAMES: [&str; Self::COUNT] = ["connecting", "connected", "closing"];
    const ALL: [Self; Self::COUNT] = [Self::Connecting, Self::Connected, Self::Closing];
}

/// The stage of one connection. None before it is counted.
#[derive(Debug, Default)]
pub struct Staged(AtomicU8);

impl Staged {
    /// The stage before.
    pub fn swap(&self, to: Option<Stage>) -> Option<Stage> {
        let before = self.0.swap(to.map_or(0, |stage| stage as u8 + 1), Ordering::Relaxed);
        Stage::ALL.get(usize::from(before).checked_sub(1)?).copied()
    }
}
