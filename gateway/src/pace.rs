//! How fast one connection may ask: commands and bytes, of itself and together with all that its user does on this node.
//! Pure but for the table of users.

use std::time::{Duration, Instant};

use crate::{
    limits::{PaceRates, Rates},
    rate::Bucket,
};

/// What a client may have refused before it is taken for one that cannot be told, in time at the rate that it exceeds:
/// with 100 commands a second a thousand of them, at once or beyond twice the rate.
const PATIENCE: Duration = Duration::from_secs(10);

/// What has been taken of [`PaceRates`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Taken {
    commands: Bucket,
    bytes: Bucket,
}

/// What is asked for at once.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    pub commands: u64,
    pub bytes: u64,
}

/// How long to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooFast {
    pub wait: Duration,
    /// It has been told often enough.
    pub is_flood: bool,
}

/// One connection's.
#[derive(Debug, Default)]
pub struct Pace {
    taken: Taken,
    refused: Bucket,
}

impl Taken {
    fn wait(&self, rates: &PaceRates, asked: Asked, now: Instant) -> Duration {
        let commands = rates.commands.wait(self.commands, asked.commands, now);
        commands.max(rates.bytes.wait(self.bytes, asked.bytes, now))
    }

    fn charge(&mut self, rates: &PaceRates, asked: Asked, now: Instant) {
        rates.commands.charge(&mut self.commands, asked.commands, now);
        rates.bytes.charge(&mut self.bytes, asked.bytes, now);
    }

    pub fn is_fresh(&self, now: Instant) -> bool {
        self.commands.is_fresh(now) && self.bytes.is_fresh(now)
    }
}

/// Takes of a connection's share and of its user's, or of neither.
pub fn take(
    own: &mut Taken,
    user: Option<&mut Taken>,
    rates: &Rates,
    asked: Asked,
    now: Instant,
) -> Result<(), Duration> {
    let of_user = user
        .as_ref()
        .map_or(Duration::ZERO, |user| user.wait(&rates.user, asked, now));
    let wait = own.wait(&rates.connection, asked, now).max(of_user);
    if !wait.is_zero() {
        return Err(wait);
    }
    own.charge(&rates.connection, asked, now);
    if let Some(user) = user {
        user.charge(&rates.user, asked, now);
    }
    Ok(())
}

impl Pace {
    /// `user`: what its user has taken, once it is known.
    pub fn take(&mut self, user: Option<&mut Taken>, rates: &Rates, asked: Asked, now: Instant) -> Result<(), TooFast> {
        take(&mut self.taken, user, rates, asked, now).map_err(|wait| {
            let own = &rates.connection;
            let cost = own.commands.cost(asked.commands).max(own.bytes.cost(asked.bytes));
            TooFast {
                wait,
                is_flood: !self.refused.take_time(cost, PATIENCE, now),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::LimitSettings, limits::Limits};

    fn rates() -> Rates {
        Limits::new(LimitSettings {
            commands_per_second: 10,
            commands_burst: 20,
            bytes_per_second: bytesize::ByteSize::kib(1),
            bytes_burst: bytesize::ByteSize::kib(4),
            user_commands_per_second: Some(15),
            user_commands_burst: Some(30),
            ..LimitSettings::default()
        })
        .rates()
    }

    const COMMAND: Asked = Asked { commands: 1, bytes: 30 };

    #[test]
    fn a_flood_is_told_and_then_ended() {
        let (rates, now, mut pace) = (rates(), Instant::now(), Pace::default());
        let (mut good, mut told) = (0, 0);
        loop {
            match pace.take(None, &rates, COMMAND, now) {
                Ok(()) => good += 1,
                Err(TooFast { is_flood: true, .. }) => break,
                Err(TooFast { wait, .. }) => {
                    assert!(wait <= Duration::from_millis(100));
                    told += 1;
                }
            }
        }
        assert_eq!((good, told), (20, 100), "the burst, and ten seconds' worth");
    }

    #[test]
    fn who_is_a_little_too_fast_is_told_for_ever_and_who_is_much_too_fast_is_not() {
        let rates = rates();
        let run = |a_second: u32| {
            let (mut pace, mut now) = (Pace::default(), Instant::now());
            for _ in 0..a_second * 60 {
                now += Duration::from_secs(1) / a_second;
                if pace.take(None, &rates, COMMAND, now).is_err_and(|fast| fast.is_flood) {
                    return false;
                }
            }
            true
        };
        assert!(run(9) && run(15));
        assert!(!run(40));
    }

    #[test]
    fn bytes_count_beside_commands_and_what_is_refused_takes_nothing() {
        let (rates, now, mut pace) = (rates(), Instant::now(), Pace::default());
        let large = Asked {
            commands: 1,
            bytes: 3 << 10,
        };
        assert!(pace.take(None, &rates, large, now).is_ok());
        let wait = pace.take(None, &rates, large, now).unwrap_err().wait;
        assert_eq!(wait, Duration::from_secs(2));
        assert!(
            pace.take(None, &rates, COMMAND, now).is_ok(),
            "there is room for a small one"
        );
    }

    #[test]
    fn two_connections_share_their_users_rate() {
        let (rates, now) = (rates(), Instant::now());
        let (mut one, mut two, mut user, mut other) =
            (Pace::default(), Pace::default(), Taken::default(), Taken::default());
        let small = Asked { commands: 1, bytes: 1 };
        let count = |pace: &mut Pace, user: &mut Taken| {
            (0..50)
                .filter(|_| pace.take(Some(user), &rates, small, now).is_ok())
                .count()
        };
        assert_eq!(count(&mut one, &mut user), 20);
        assert_eq!(count(&mut two, &mut user), 10);
        assert_eq!(
            count(&mut two, &mut other),
            10,
            "what the user's share refused was not taken of its own"
        );
        assert!(user.is_fresh(now + Duration::from_secs(2)) && !user.is_fresh(now));
    }
}
