//! How often each user may come to this node: with requests, of which all together count as one connection's, and with all
//! of its connections together. Only those are remembered who came of late.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use dashmap::{DashMap, mapref::one::RefMut};
use herald_proto::limits::CONCURRENT_COMMANDS;

use crate::{
    limits::{Limits, PaceRates},
    pace::{self, Asked, Pace, Taken, TooFast},
};

/// How often those are forgotten who have not come for so long that nothing counts against them.
const SWEEP: Duration = Duration::from_secs(30);

pub struct Callers {
    limits: Arc<Limits>,
    /// Bounded by the users with good tokens who came of late.
    users: Arc<Users>,
}

#[derive(Default)]
struct Usage {
    /// By requests.
    requests: Taken,
    /// By requests and connections.
    all: Taken,
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
    pub fn new(limits: Arc<Limits>) -> Self {
        Self {
            limits,
            users: Arc::default(),
        }
    }

    /// A request. Err says how long to wait.
    pub fn take(&self, user: &str) -> Result<(), Duration> {
        self.request(user, Asked { commands: 1, bytes: 0 })
    }

    /// What a request that was let in has brought.
    pub fn take_bytes(&self, user: &str, bytes: usize) -> Result<(), Duration> {
        let bytes = bytes as u64;
        self.request(user, Asked { commands: 0, bytes })
    }

    fn request(&self, user: &str, asked: Asked) -> Result<(), Duration> {
        let rates = self.limits.rates();
        if rates.connection == PaceRates::UNLIMITED {
            return Ok(());
        }
        let mut usage = self.usage(user);
        let Usage { requests, all, .. } = &mut *usage;
        pace::take(requests, Some(all), &rates, asked, Instant::now())
    }

    /// A frame of one of its connections; before the user is known, of that alone.
    pub fn frame(&self, pace: &mut Pace, user: Option<&str>, asked: Asked, now: Instant) -> Result<(), TooFast> {
        let rates = self.limits.rates();
        if rates.connection == PaceRates::UNLIMITED {
            return Ok(());
        }
        match user {
            Some(user) => pace.take(Some(&mut self.usage(user).all), &rates, asked, now),
            None => pace.take(None, &rates, asked, now),
        }
    }

    /// As many at once as a connection may have; None where there are. One user must not take all that a backend serves.
    pub fn call(&self, user: &str) -> Option<Calling> {
        if self.limits.rates().connection == PaceRates::UNLIMITED {
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
        self.users.entry(user.into()).or_default()
    }

    /// Forgets those who are gone, until dropped.
    pub async fn run(&self) {
        let mut every = tokio::time::interval(SWEEP);
        loop {
            every.tick().await;
            let now = Instant::now();
            self.users
                .retain(|_, usage| usage.calls > 0 || !usage.all.is_fresh(now) || !usage.requests.is_fresh(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LimitSettings;

    #[test]
    fn each_user_has_a_rate_of_its_own() {
        let callers = Callers::new(Limits::new(LimitSettings {
            commands_per_second: 1,
            commands_burst: 2,
            ..LimitSettings::default()
        }));
        assert!(callers.take("bob").is_ok() && callers.take("bob").is_ok());
        assert!(callers.take("bob").is_err_and(|wait| wait <= Duration::from_secs(1)));
        assert!(callers.take("alice").is_ok());
        let mut calls: Vec<_> = (0..CONCURRENT_COMMANDS).map(|_| callers.call("bob")).collect();
        assert!(calls.iter().all(Option::is_some) && callers.call("bob").is_none());
        assert!(callers.call("alice").is_some());
        calls.pop();
        assert!(callers.call("bob").is_some());
        let lifted = Callers::new(Limits::new(LimitSettings {
            rates_lifted: true,
            ..LimitSettings::default()
        }));
        assert!((0..1000).all(|_| lifted.take("bob").is_ok()) && lifted.users.is_empty());
    }

    #[test]
    fn requests_and_connections_share_a_users_rate() {
        let callers = Callers::new(Limits::new(LimitSettings {
            commands_per_second: 1,
            commands_burst: 3,
            user_commands_per_second: Some(1),
            user_commands_burst: Some(4),
            ..LimitSettings::default()
        }));
        let (now, mut pace) = (Instant::now(), Pace::default());
        let asked = Asked { commands: 1, bytes: 10 };
        let frames = |pace: &mut Pace| {
            (0..9)
                .filter(|_| callers.frame(pace, Some("bob"), asked, now).is_ok())
                .count()
        };
        assert_eq!(frames(&mut pace), 3);
        assert_eq!((0..9).filter(|_| callers.take("bob").is_ok()).count(), 1);
        assert_eq!(frames(&mut Pace::default()), 0);
        assert!(callers.take("alice").is_ok());
    }
}
