//! Ctrl-C and SIGTERM: the first ends the run, and what was measured until then is reported; a second ends the process.

use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    Interrupt,
    Terminate,
}

impl Sign {
    pub fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }

    /// As shells have it: 128 and the signal's number.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

#[derive(Clone, Default)]
pub struct Stop {
    requested: CancellationToken,
    by: Arc<OnceLock<Sign>>,
}

impl Stop {
    /// From now on signals are taken here. A runtime must be there.
    pub fn listen() -> Result<Self> {
        let stop = Self::default();
        let interrupts = signal(SignalKind::interrupt()).context("SIGINT")?;
        let terminations = signal(SignalKind::terminate()).context("SIGTERM")?;
        tokio::spawn(take(stop.clone(), interrupts, terminations));
        Ok(stop)
    }

    /// The signal that came, once one comes.
    pub async fn requested(&self) -> Option<Sign> {
        self.requested.cancelled().await;
        self.by()
    }

    pub fn by(&self) -> Option<Sign> {
        self.by.get().copied()
    }
}

async fn take(stop: Stop, mut interrupts: Signal, mut terminations: Signal) {
    loop {
        let sign = tokio::select! {
            _ = interrupts.recv() => Sign::Interrupt,
            _ = terminations.recv() => Sign::Terminate,
        };
        if stop.by.set(sign).is_err() {
            // Workers notice that nobody gives them orders any more.
            std::process::exit(sign.exit_code().into());
        }
        eprintln!(
            "{}: the run ends, and its report follows; once more to end at once",
            sign.name()
        );
        stop.requested.cancel();
    }
}
