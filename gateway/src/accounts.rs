//! Accounts that stand in the configuration, with argon2 hashes of their passwords.
//!
//! Whether a name is unknown or its password wrong cannot be told apart: the same work is done for both.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use argon2::{
    Argon2,
    password_hash::{self, PasswordHash, PasswordHasher, PasswordVerifier, SaltString, rand_core::OsRng},
};
use tokio::sync::Semaphore;

use crate::config::AccountSettings;

/// Passwords that wait to be hashed; each takes some ten milliseconds of a core and 19 MiB.
const WAITING: usize = 256;

pub struct Accounts {
    accounts: Arc<[AccountSettings]>,
    by_name: HashMap<String, usize>,
    /// Chooses which account's work is done for a name that is unknown.
    pick: RandomState,
    queue: Semaphore,
    hashing: Arc<Semaphore>,
}

/// So many want to log in at once that one more would only wait for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many log in at once")]
pub struct Busy;

impl Accounts {
    /// None: there are no accounts.
    pub fn new(settings: &[AccountSettings]) -> Option<Self> {
        if settings.is_empty() {
            return None;
        }
        let names = settings.iter().enumerate();
        Some(Self {
            accounts: settings.into(),
            by_name: names.map(|(at, one)| (one.account.clone(), at)).collect(),
            pick: RandomState::new(),
            queue: Semaphore::new(WAITING),
            hashing: Arc::new(Semaphore::new(
                std::thread::available_parallelism().map_or(1, usize::from),
            )),
        })
    }

    /// The account, if the password is its own.
    pub async fn verify(&self, account: &str, password: String) -> Result<Option<&AccountSettings>, Busy> {
        let _place = self.queue.try_acquire().map_err(|_| Busy)?;
        let known = self.by_name.get(account).copied();
        let at = known.unwrap_or_else(|| self.anyone(account));
        let permit = self.hashing.clone().acquire_owned().await.map_err(|_| Busy)?;
        let accounts = self.accounts.clone();
        let hashing = tokio::task::spawn_blocking(move || {
            // Held by the work itself: who asked may go away meanwhile.
            let _permit = permit;
            fits(&accounts[at].hash.0, &password)
        });
        // Only a panic or the runtime's end would be an error.
        let fits = hashing.await.unwrap_or(false);
        Ok(known.filter(|_| fits).map(|at| &self.accounts[at]))
    }

    /// The same one for the same name, so that the time it takes tells nothing either.
    fn anyone(&self, account: &str) -> usize {
        let hash = self.pick.hash_one(account);
        usize::try_from(hash % self.accounts.len() as u64).unwrap_or(0)
    }
}

fn fits(hash: &str, password: &str) -> bool {
    let hash = PasswordHash::new(hash);
    hash.is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

/// What is wrong with a hash.
pub fn check_hash(hash: &str) -> Result<(), &'static str> {
    const WHAT: &str = "is no argon2 hash, as `herald-gateway hash` prints it";
    let hash = PasswordHash::new(hash).map_err(|_| WHAT)?;
    let known = argon2::Algorithm::try_from(hash.algorithm).is_ok();
    let params = argon2::Params::try_from(&hash).map_err(|_| WHAT)?;
    if !known || hash.salt.is_none() || hash.hash.is_none() {
        return Err(WHAT);
    }
    // A GiB for each who logs in is nobody's intention.
    if params.m_cost() > 1 << 20 {
        return Err("takes more than 1 GiB for each login");
    }
    Ok(())
}

/// For `herald-gateway hash`.
pub fn hash(password: &str) -> Result<String, password_hash::Error> {
    let salt = SaltString::generate(&mut OsRng);
    let hash = Argon2::default().hash_password(password.as_bytes(), &salt)?;
    Ok(hash.to_string())
}

#[cfg(test)]
mod tests {
    use herald_router::config::Secret;

    use super::*;

    fn account(name: &str, password: &str) -> AccountSettings {
        AccountSettings {
            account: name.to_owned(),
            hash: Secret(hash(password).unwrap()),
            user: None,
            groups: Vec::new(),
            broadcast: false,
        }
    }

    #[tokio::test]
    async fn only_the_right_password_of_a_known_account_passes() {
        let accounts = Accounts::new(&[account("zbj", "pig"), account("swk", "ape")]).unwrap();
        let verify = async |name: &str, password: &str| {
            let found = accounts.verify(name, password.to_owned()).await.unwrap();
            found.map(|account| account.account.clone())
        };
        assert_eq!(verify("zbj", "pig").await.as_deref(), Some("zbj"));
        assert_eq!(verify("zbj", "ape").await, None);
        assert_eq!(verify("nobody", "pig").await, None, "whosever work is done");
        assert_eq!(verify("nobody", "ape").await, None);
    }

    #[test]
    fn a_hash_is_checked() {
        assert_eq!(check_hash(&hash("x").unwrap()), Ok(()));
        for bad in ["", "pig", "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ", "$2b$12$abc"] {
            assert!(check_hash(bad).is_err(), "{bad}");
        }
        let greedy = hash("x").unwrap().replace("m=19456", "m=2097152");
        assert!(check_hash(&greedy).is_err());
    }
}
