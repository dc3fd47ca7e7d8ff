//! Whether a node lives, and whether it can do its work: what is asked by those who send it clients, or start it again.

use std::{
    borrow::Cow,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

mod canary;

pub use canary::Canary;

/// What must have happened within this is looked for: a loss is seen within five seconds, and one router's pause is not.
pub const RECENT: Duration = Duration::from_secs(4);

/// One thing that must hold for a node to be ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    pub name: &'static str,
    /// None: it holds.
    pub fault: Option<Cow<'static, str>>,
}

/// All that must hold, as it is now.
pub type Ready = Box<dyn Fn() -> Vec<Condition> + Send + Sync>;

impl Condition {
    pub fn new(name: &'static str, holds: Result<(), Cow<'static, str>>) -> Self {
        Self {
            name,
            fault: holds.err(),
        }
    }

    /// That `holds`; if not, this is the fault.
    pub fn that(name: &'static str, holds: bool, fault: &'static str) -> Self {
        Self::new(name, if holds { Ok(()) } else { Err(fault.into()) })
    }
}

/// Whether all hold, and the lines that say so: the faults, or with `verbose` every condition.
pub fn report(conditions: &[Condition], verbose: bool) -> (bool, String) {
    let ready = conditions.iter().all(|condition| condition.fault.is_none());
    let mut text = String::new();
    for Condition { name, fault } in conditions {
        match fault {
            Some(fault) => text += &format!("{name}: {fault}\n"),
            None if verbose => text += &format!("{name}: ok\n"),
            None => {}
        }
    }
    if ready {
        text += "ready\n";
    }
    (ready, text)
}

/// When something last happened that should happen again and again.
#[derive(Default)]
pub struct Last(parking_lot::Mutex<Option<Instant>>);

impl Last {
    pub fn note(&self) {
        *self.0.lock() = Some(Instant::now());
    }

    /// How long it has not happened, where that is too long; None inside: it never has.
    pub fn missing(&self) -> Option<Option<Duration>> {
        match *self.0.lock() {
            None => Some(None),
            Some(at) if at.elapsed() > RECENT => Some(Some(at.elapsed())),
            Some(_) => None,
        }
    }
}

/// The process turns: a task of its own gets its turn again and again. That somebody answers a question says less, for
/// that may be one thread that is left.
pub struct Pulse {
    start: Instant,
    /// Milliseconds since the start.
    last: AtomicU64,
}

impl Default for Pulse {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            last: AtomicU64::new(0),
        }
    }
}

impl Pulse {
    const EVERY: Duration = Duration::from_secs(1);
    /// Beyond this nothing is served as it should be: nodes take ten seconds without a word for death.
    const STANDSTILL: Duration = Duration::from_secs(10);

    /// Beats until dropped.
    pub async fn run(&self) {
        loop {
            self.last.store(self.age(), Ordering::Relaxed);
            tokio::time::sleep(Self::EVERY).await;
        }
    }

    fn age(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Err says how long nothing has turned.
    pub fn check(&self) -> Result<(), Duration> {
        let still = Duration::from_millis(self.age().saturating_sub(self.last.load(Ordering::Relaxed)));
        if still > Self::STANDSTILL { Err(still) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_told_one_a_line_and_all_conditions_on_request() {
        let conditions = [
            Condition::that("draining", true, "yes"),
            Condition::that("bus", false, "no connection to NATS"),
            Condition::new("router", Err("no router answers".into())),
        ];
        let (ready, text) = report(&conditions, false);
        assert!(!ready);
        assert_eq!(text, "bus: no connection to NATS\nrouter: no router answers\n");
        assert!(report(&conditions, true).1.starts_with("draining: ok\nbus: no"));
        assert_eq!(report(&conditions[..1], false), (true, "ready\n".to_owned()));
    }

    #[test]
    fn a_process_that_stands_still_does_not_live() {
        let at = |seconds: u64| Pulse {
            start: Instant::now().checked_sub(Duration::from_secs(100)).unwrap(),
            last: AtomicU64::new(seconds * 1000),
        };
        assert!(at(95).check().is_ok());
        assert!(at(80).check().is_err_and(|still| still >= Duration::from_secs(20)));
    }
}
