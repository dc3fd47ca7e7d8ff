//! How often each user may come to this node with a request of its own. A connection has a rate of its own; who has none
//! is known by its token.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use dashmap::{DashMap, mapref::one::RefMut};
use herald_proto::limits::CONCURRENT_COMMANDS;

use crate::{config::LimitSettings, rate::Rate};

/// How often those are forgotten who have not come for so long that nothing counts against them.
const SWEEP: Duration = Duration::from_secs(30);

pub struct Callers {
    rate: Rate,
    /// Bounded by the users with good tokens who came of late.
    users: Arc<Users>,
}

struct Usage {
    rate: Rate,
    /// Calls of backends under way.
    calls: usize,
}

type Users = DashMap<Box<str>, Usage>;

/// A call of a user's, under way until this is dropped. None: it is not counted.
pub struct Calling(Option<(Arc<Users>, Box<str>)>);

impl Drop for Calling {
    fn drop(&mut self) {
        if let Some((users, user)) = &self.0
            && let Some(mut usage) = users.get_mut(user)
        {
            usage.calls = usage.calls.saturating_sub(1);
        }
    }
}

impl Callers {
    pub fn new(settings: &LimitSettings) -> Self {
        Self {
            rate: settings.command_rate(),
            users: Arc::default(),
        }
    }

    /// Err says how long to wait.
    pub fn take(&self, user: &str) -> Result<(), Duration> {
        if self.rate.is_unlimited() {
            return Ok(());
        }
        self.usage(user).rate.take(Instant::now())
    }

    /// As many at once as a connection may have; None where there are. One user must not take all that a backend serves.
    pub fn call(&self, user: &str) -> Option<Calling> {
        if self.rate.is_unlimited() {
            return Some(Calling(None));
        }
        let mut usage = self.usage(user);
        if usage.calls >= CONCURRENT_COMMANDS {
            return None;
        }
        usage.calls += 1;
        Some(Calling(Some((self.users.clone(), user.into()))))
    }

    fn usage(&self, user: &str) -> RefMut<'_, Box<str>, Usage> {
        if let Some(usage) = self.users.get_mut(user) {
            return usage;
        }
        self.users.entry(user.into()).or_insert_with(|| Usage {
            rate: self.rate.clone(),
            calls: 0,
        })
    }

    /// Forgets those who are gone, until dropped.
    pub async fn run(&self) {
        let mut every = tokio::time::interval(SWEEP);
        loop {
            every.tick().await;
            let now = Instant::now();
            self.users
                .retain(|_, usage| usage.calls > 0 || !usage.rate.is_fresh(now));
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
        let mut calls: Vec<_> = (0..CONCURRENT_COMMANDS).map(|_| callers.call("bob")).collect();
        assert!(calls.iter().all(Option::is_some) && callers.call("bob").is_none());
        assert!(callers.call("alice").is_some());
        calls.pop();
        assert!(callers.call("bob").is_some());
        let lifted = Callers::new(&LimitSettings {
            rates_lifted: true,
            ..LimitSettings::default()
        });
        assert!((0..1000).all(|_| lifted.take("bob").is_ok()) && lifted.users.is_empty());
    }
}
