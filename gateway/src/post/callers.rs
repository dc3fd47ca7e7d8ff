//! How often each user may come to this node with a request of its own. A connection has a rate of its own; who has none
//! is known by its token.

use std::time::{Duration, Instant};

use dashmap::DashMap;

use crate::{config::LimitSettings, rate::Rate};

/// How often those are forgotten who have not come for so long that nothing counts against them.
const SWEEP: Duration = Duration::from_secs(30);

pub struct Callers {
    rate: Rate,
    /// Bounded by the users with good tokens who came of late.
    users: DashMap<Box<str>, Rate>,
}

impl Callers {
    pub fn new(settings: &LimitSettings) -> Self {
        Self {
            rate: settings.command_rate(),
            users: DashMap::new(),
        }
    }

    /// Err says how long to wait.
    pub fn take(&self, user: &str) -> Result<(), Duration> {
        if self.rate.is_unlimited() {
            return Ok(());
        }
        let now = Instant::now();
        if let Some(mut rate) = self.users.get_mut(user) {
            return rate.take(now);
        }
        self.users
            .entry(user.into())
            .or_insert_with(|| self.rate.clone())
            .take(now)
    }

    /// Forgets those who are gone, until dropped.
    pub async fn run(&self) {
        let mut every = tokio::time::interval(SWEEP);
        loop {
            every.tick().await;
            let now = Instant::now();
            self.users.retain(|_, rate| !rate.is_fresh(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_has_a_rate_of_its_own() {
        let callers = Callers::new(&LimitSettings {
            commands_per_second: 1,
            commands_burst: 2,
            ..LimitSettings::default()
        });
        assert!(callers.take("bob").is_ok() && callers.take("bob").is_ok());
        assert!(callers.take("bob").is_err_and(|wait| wait <= Duration::from_secs(1)));
        assert!(callers.take("alice").is_ok());
        let lifted = Callers::new(&LimitSettings {
            rates_lifted: true,
            ..LimitSettings::default()
        });
        assert!((0..1000).all(|_| lifted.take("bob").is_ok()) && lifted.users.is_empty());
    }
}
