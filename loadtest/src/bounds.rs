//! What settings may be, all in one place. What lies outside is refused before anything begins: a rate of 0 or of 1e12, or
//! a size of 100 GB, can only be a mistake, and would hang the load test or take all memory.

use std::time::Duration;

use crate::report::number::count;

/// From and to, and what is counted.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    least: f64,
    most: f64,
    unit: &'static str,
}

/// From and to.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    least: Duration,
    most: Duration,
}

#[derive(Debug, thiserror::Error, PartialEq)]
pub enum OutOfBounds {
    #[error("must be a whole number from {least} to {most} ({unit})")]
    Whole {
        least: String,
        most: String,
        unit: &'static str,
    },
    #[error("must be a number from {least} to {most} ({unit})")]
    Number {
        least: String,
        most: String,
        unit: &'static str,
    },
    #[error("must be a time from {least} to {most}, with its unit, like 500ms, 90s, 5m or 2h")]
    Time { least: String, most: String },
}

const DAY: Duration = Duration::from_secs(24 * 3600);

/// 67 processes of 15,000 each.
pub const CLIENTS: Bounds = Bounds::new(1.0, 1_000_000.0, "clients");
pub const MEMBERS: Bounds = Bounds::new(1.0, 1_000_000.0, "members of a group");
/// A sender's token names 50 of them, so that these take 2,000 senders.
pub const GROUPS: Bounds = Bounds::new(1.0, 100_000.0, "groups");
pub const GROUPS_OR_NONE: Bounds = Bounds::new(0.0, 100_000.0, "groups");
/// Each is a connection of this process.
pub const SENDERS: Bounds = Bounds::new(1.0, 10_000.0, "senders");
pub const DIAL: Bounds = Bounds::new(1.0, 100_000.0, "connects under way");
pub const PROCESSES: Bounds = Bounds::new(1.0, 256.0, "processes");
/// 127.0.0.1 to 127.0.0.254.
pub const SOURCES: Bounds = Bounds::new(1.0, 254.0, "addresses");
/// More than one thread can schedule.
pub const RATE: Bounds = Bounds::new(0.001, 10_000_000.0, "messages a second, all together");
pub const CONNECT_RATE: Bounds = Bounds::new(0.001, 1_000_000.0, "connects a second");
pub const LEAVE_RATE: Bounds = Bounds::new(0.001, 1_000_000.0, "clients a second");
pub const VISITOR_RATE: Bounds = Bounds::new(0.001, 1_000_000.0, "visitors a second");
pub const BURST: Bounds = Bounds::new(1.0, 1_000_000.0, "messages");
pub const MESSAGES: Bounds = Bounds::new(1.0, 1_000_000_000.0, "messages");
pub const MESSAGES_OR_NONE: Bounds = Bounds::new(0.0, 1_000_000.0, "messages");
/// A stamp is never cut, so 0 is as good as its length.
pub const SIZE: Bounds = Bounds::new(0.0, 16_777_216.0, "bytes, 16 MiB at most");
pub const WINDOW: Bounds = Bounds::new(1.0, 100_000.0, "operations under way");

/// A day's messages are thought out before it begins.
pub const DAY_MESSAGES: Bounds = Bounds::new(1.0, 10_000_000.0, "messages");

/// How long something is measured.
pub const DURATION: Times = Times {
    least: Duration::from_millis(100),
    most: DAY.saturating_mul(30),
};
/// What may be left out.
pub const PAUSE: Times = Times {
    least: Duration::ZERO,
    most: DAY,
};
pub const PATIENCE: Times = Times {
    least: Duration::from_millis(100),
    most: DAY,
};

impl Bounds {
    pub const fn new(least: f64, most: f64, unit: &'static str) -> Self {
        Self { least, most, unit }
    }

    /// What follows from several settings.
    pub fn check(self, number: f64) -> Result<(), OutOfBounds> {
        if (self.least..=self.most).contains(&number) {
            Ok(())
        } else {
            Err(OutOfBounds::Number {
                least: words(self.least),
                most: words(self.most),
                unit: self.unit,
            })
        }
    }

    /// Of a whole number, for clap.
    pub fn whole<T: TryFrom<u64> + 'static>(
        self,
    ) -> impl Fn(&str) -> Result<T, OutOfBounds> + Clone + Send + Sync + 'static {
        move |text| {
            let number = text.parse::<u64>().ok();
            let within = number.filter(|number| (self.least..=self.most).contains(&(*number as f64)));
            within
                .and_then(|number| T::try_from(number).ok())
                .ok_or_else(|| OutOfBounds::Whole {
                    least: words(self.least),
                    most: words(self.most),
                    unit: self.unit,
                })
        }
    }

    /// Of any number, for clap.
    pub fn number(self) -> impl Fn(&str) -> Result<f64, OutOfBounds> + Clone + Send + Sync + 'static {
        move |text| {
            let number = text.parse::<f64>().ok();
            // Neither NaN nor infinity is within anything.
            number
                .filter(|number| (self.least..=self.most).contains(number))
                .ok_or_else(|| OutOfBounds::Number {
                    least: words(self.least),
                    most: words(self.most),
                    unit: self.unit,
                })
        }
    }

    /// Of a whole number that is reckoned with as any other.
    pub fn whole_number(self) -> impl Fn(&str) -> Result<f64, OutOfBounds> + Clone + Send + Sync + 'static {
        let whole = self.whole::<u32>();
        move |text| whole(text).map(f64::from)
    }
}

impl Times {
    /// For clap.
    pub fn time(self) -> impl Fn(&str) -> Result<Duration, OutOfBounds> + Clone + Send + Sync + 'static {
        move |text| {
            let time = humantime::parse_duration(text).ok();
            time.filter(|time| (self.least..=self.most).contains(time))
                .ok_or_else(|| OutOfBounds::Time {
                    least: humantime::format_duration(self.least).to_string(),
                    most: humantime::format_duration(self.most).to_string(),
                })
        }
    }
}

fn words(number: f64) -> String {
    if number.fract() == 0.0 {
        count(number as u64)
    } else {
        number.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_have_their_bounds() {
        let clients = CLIENTS.whole::<usize>();
        assert_eq!(clients("1"), Ok(1));
        assert_eq!(clients("1000000"), Ok(1_000_000));
        for bad in ["0", "-1", "1000001", "1.5", "", "nan", "99999999999999999999999"] {
            let error = clients(bad).expect_err(bad).to_string();
            assert_eq!(error, "must be a whole number from 1 to 1,000,000 (clients)");
        }
    }

    #[test]
    fn numbers_are_finite_and_within_their_bounds() {
        let rate = RATE.number();
        assert_eq!(rate("0.5"), Ok(0.5));
        for bad in ["0", "-1", "1e12", "nan", "inf", "-inf", "many"] {
            let error = rate(bad).expect_err(bad).to_string();
            let wanted = "must be a number from 0.001 to 10,000,000 (messages a second, all together)";
            assert_eq!(error, wanted);
        }
    }

    #[test]
    fn times_have_a_unit_and_bounds() {
        let duration = DURATION.time();
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        for bad in ["0s", "10", "-5s", "1ms", "10years"] {
            let error = duration(bad).expect_err(bad).to_string();
            assert!(error.starts_with("must be a time from 100ms to 30days"), "{error}");
        }
    }
}
