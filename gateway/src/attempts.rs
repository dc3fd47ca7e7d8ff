//! How often one may try to log in: by account, of which only failures count, and by address.
//!
//! Both are tables of a fixed size, indexed by a hash that nobody outside can compute: no number of names and addresses
//! takes more memory. Those who share a place share its limit.

use std::{
    hash::{BuildHasher, Hash, RandomState},
    net::IpAddr,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::{
    config::LoginSettings,
    rate::{Bucket, Rate},
};

/// So many that a guesser, who may fail ten times with each account, hits few accounts beside those that it means.
const PLACES: usize = 1 << 14;
/// How soon one more failure of an account is allowed.
const FORGIVE: Duration = Duration::from_secs(60);
const MINUTE: Duration = Duration::from_secs(60);

pub struct Attempts {
    accounts: Table,
    addresses: Table,
}

struct Table {
    rate: Rate,
    hasher: RandomState,
    places: Box<[Mutex<Bucket>]>,
}

/// Too often; how long to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooOften(pub Duration);

impl Attempts {
    /// None: without limits.
    pub fn new(settings: &LoginSettings, lifted: bool) -> Option<Self> {
        if lifted {
            return None;
        }
        let failures = settings.failures_per_account;
        let each = MINUTE / settings.attempts_per_address.max(1);
        Some(Self {
            accounts: Table::new(Rate::every(FORGIVE, failures)),
            addresses: Table::new(Rate::every(each, settings.attempts_per_address)),
        })
    }

    pub fn from_address(&self, address: IpAddr) -> Result<(), TooOften> {
        self.addresses.take(network(address))
    }

    /// Counts as a failure until [`Self::succeeded`], which forgives all before it.
    pub fn of_account(&self, account: &str) -> Result<(), TooOften> {
        self.accounts.take(account)
    }

    pub fn succeeded(&self, account: &str) {
        self.accounts.place(account).lock().forgive();
    }
}

impl Table {
    fn new(rate: Rate) -> Self {
        Self {
            rate,
            hasher: RandomState::new(),
            places: (0..PLACES).map(|_| Mutex::default()).collect(),
        }
    }

    fn place(&self, key: impl Hash) -> &Mutex<Bucket> {
        let hash = self.hasher.hash_one(key);
        #[allow(clippy::cast_possible_truncation)] // the remainder is less than PLACES
        &self.places[(hash % PLACES as u64) as usize]
    }

    fn take(&self, key: impl Hash) -> Result<(), TooOften> {
        let mut bucket = self.place(key).lock();
        self.rate.take(&mut bucket, 1, Instant::now()).map_err(TooOften)
    }
}

/// One household's or one server's: of IPv6 the first 64 bits, for the others are free to choose.
fn network(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits() >> 64 << 64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempts() -> Attempts {
        let settings = LoginSettings {
            failures_per_account: 3,
            attempts_per_address: 5,
            ..LoginSettings::default()
        };
        Attempts::new(&settings, false).unwrap()
    }

    #[test]
    fn an_account_may_fail_some_times_and_succeed_as_often_as_it_likes() {
        let attempts = attempts();
        for _ in 0..20 {
            attempts.of_account("good").unwrap();
            attempts.succeeded("good");
        }
        for _ in 0..3 {
            attempts.of_account("guessed").unwrap();
        }
        assert!(attempts.of_account("guessed").is_err());
        attempts.of_account("good").unwrap();
    }

    #[test]
    fn an_address_counts_by_its_network() {
        let attempts = attempts();
        let [one, same, other] = ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"].map(|a| a.parse().unwrap());
        for _ in 0..5 {
            attempts.from_address(one).unwrap();
        }
        assert!(attempts.from_address(same).is_err());
        attempts.from_address(other).unwrap();
    }
}
