//! What of the log is written down, which can change while the node runs: for good by the configuration, or for a while.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};
use tracing::{info, warn};
use tracing_subscriber::{EnvFilter, Registry, filter::LevelFilter, reload};

/// Longer than anybody looks for a fault.
pub const LONGEST: Duration = Duration::from_secs(24 * 3600);

#[derive(Clone)]
pub struct Levels(Arc<Inner>);

struct Inner {
    handle: reload::Handle<EnvFilter, Registry>,
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    configured: String,
    /// In its place, until then.
    borrowed: Option<(String, Instant)>,
}

/// What holds now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub now: String,
    pub configured: String,
    /// After this it is the configured one again.
    pub left: Option<Duration>,
}

/// Whoever sends SIGHUP looks for the answer, whatever level the log has.
const ALWAYS: &str = "herald_router::reload=info";

/// Not a level of a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LevelError {
    #[error("{0:?} is no level: off, error, warn, info, debug or trace")]
    Word(String),
    #[error("{0}")]
    Filter(String),
}

/// From text as it stands in the configuration.
pub fn filter(text: &str) -> Result<EnvFilter, LevelError> {
    // A word that is no level would be taken for a target, and nothing else be logged any more. Directives with brackets
    // may hold commas, and are the parser's own.
    let plain = text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.contains(['[', ']', '{', '}']));
    for part in plain {
        let level = part.rsplit_once('=').map_or(part, |(_, level)| level);
        if level.parse::<LevelFilter>().is_err() || level.is_empty() {
            return Err(LevelError::Word(level.to_owned()));
        }
    }
    let built = EnvFilter::builder().parse(format!("{text},{ALWAYS}"));
    built.map_err(|error| LevelError::Filter(error.to_string()))
}

impl Levels {
    pub(super) fn new(handle: reload::Handle<EnvFilter, Registry>, configured: &str) -> Self {
        Self(Arc::new(Inner {
            handle,
            state: Mutex::new(State {
                configured: configured.to_owned(),
                borrowed: None,
            }),
            changed: Notify::new(),
        }))
    }

    pub fn now(&self) -> Held {
        let state = self.0.state.lock();
        Held {
            now: state.level().to_owned(),
            configured: state.configured.clone(),
            left: state
                .borrowed
                .as_ref()
                .map(|(_, end)| end.saturating_duration_since(Instant::now())),
        }
    }

    /// The configuration, which has been checked, says so from now on; what was set for a while ends where that is new.
    pub fn configure(&self, text: &str) {
        let mut state = self.0.state.lock();
        if state.configured != text {
            text.clone_into(&mut state.configured);
            state.borrowed = None;
            self.apply(&state);
        }
    }

    /// For so long, at most [`LONGEST`].
    pub fn borrow(&self, text: &str, time: Duration) -> Result<(), LevelError> {
        filter(text)?;
        let mut state = self.0.state.lock();
        state.borrowed = Some((text.to_owned(), Instant::now() + time.min(LONGEST)));
        self.apply(&state);
        drop(state);
        self.0.changed.notify_one();
        Ok(())
    }

    /// Gives back what was borrowed, in time; works until dropped.
    pub async fn run(&self) {
        loop {
            let end = self.0.state.lock().borrowed.as_ref().map(|(_, end)| *end);
            let ends = async {
                match end {
                    Some(end) => tokio::time::sleep_until(end).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = ends => self.give_back(),
                () = self.0.changed.notified() => {}
            }
        }
    }

    fn give_back(&self) {
        let mut state = self.0.state.lock();
        if state.borrowed.as_ref().is_some_and(|(_, end)| *end <= Instant::now()) {
            state.borrowed = None;
            self.apply(&state);
            info!(level = state.configured, "the log has its configured level again");
        }
    }

    fn apply(&self, state: &State) {
        match filter(state.level()) {
            // It fails only where the subscriber is gone.
            Ok(filter) => drop(self.0.handle.reload(filter)),
            Err(error) => warn!(%error, "no level of a log"), // it was read before
        }
    }
}

impl State {
    fn level(&self) -> &str {
        self.borrowed.as_ref().map_or(&self.configured, |(level, _)| level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_level_is_refused() {
        for good in [
            "info",
            "warn",
            "OFF",
            "info,herald_gateway=debug",
            "herald_router=trace, error",
            "info,a[b{c=1}]=debug",
        ] {
            assert!(filter(good).is_ok(), "{good}");
        }
        for bad in ["warning", "", "inf", "info,herald_gatway=debugg", "info,", "verbose"] {
            assert!(filter(bad).is_err(), "{bad}");
        }
    }
}
