//! The signals that ask a node to stop, or to read its configuration anew.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// From its making on, SIGTERM and SIGINT no longer end the process by themselves.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Returns at the next one.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// From its making on, SIGHUP no longer ends the process.
pub struct Hangups(Signal);

impl Hangups {
    pub fn new() -> std::io::Result<Self> {
        Ok(Self(signal(SignalKind::hangup())?))
    }

    /// Returns at the next one.
    pub async fn next(&mut self) {
        // None comes only with the runtime's end.
        let _signal = self.0.recv().await;
    }
}
