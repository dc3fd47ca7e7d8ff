//! Sessions of those who log in over HTTP, and how they log in.

use std::{collections::HashSet, time::Duration};

use herald_proto::{id, limits};
use herald_router::config::{Faults, Secret};
use serde::Deserialize;

use super::is_name;
use crate::{accounts, sessions::rules::Terms};

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SessionSettings {
    #[serde(with = "humantime_serde")]
    pub token_ttl: Duration,
    #[serde(with = "humantime_serde")]
    pub refresh_grace: Duration,
    #[serde(with = "humantime_serde")]
    pub max_age: Duration,
    pub relogin: Relogin,
    /// Whether the cookie goes over TLS only; unset: yes, but with `--dev`.
    pub secure_cookie: Option<bool>,
}

/// What becomes of a user's sessions when it logs in again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Relogin {
    /// They stay.
    Several,
    /// They end.
    Newest,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            token_ttl: limits::TOKEN,
            refresh_grace: limits::REFRESH_GRACE,
            max_age: limits::SESSION_MAX_AGE,
            relogin: Relogin::Several,
            secure_cookie: None,
        }
    }
}

impl SessionSettings {
    pub(crate) fn terms(&self) -> Terms {
        Terms {
            token: self.token_ttl,
            grace: self.refresh_grace,
            max_age: self.max_age,
        }
    }

    pub(super) fn check(&self, faults: &mut Faults) {
        if self.token_ttl < Duration::from_secs(1) {
            faults.add("session.token_ttl", "must be at least 1s");
        }
        if self.max_age < self.token_ttl {
            faults.add("session.max_age", "must be at least session.token_ttl");
        }
        if self.max_age > limits::SESSION_MAX_AGE {
            faults.add("session.max_age", "must be at most 30days");
        }
        if self.refresh_grace > Duration::from_secs(24 * 3600) {
            faults.add("session.refresh_grace", "must be at most 24h");
        }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoginSettings {
    /// The service that says who somebody is; unset: `auth`, where there are no accounts.
    pub service: Option<String>,
    /// The service that completes the reply to one who has logged in.
    pub then: Option<String>,
    /// In place of the service.
    pub accounts: Vec<AccountSettings>,
    /// The protobuf name of the reply.
    pub reply: String,
    /// What a reply's `errCode` is where an account's name or password is wrong.
    pub refused_code: i32,
    pub failures_per_account: u32,
    pub attempts_per_address: u32,
}

impl Default for LoginSettings {
    fn default() -> Self {
        Self {
            service: None,
            then: None,
            accounts: Vec::new(),
            reply: "cmsg.SRespLogin".to_owned(),
            refused_code: 1,
            failures_per_account: 10,
            attempts_per_address: 600,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountSettings {
    pub account: String,
    /// As `herald-gateway hash` prints it.
    pub hash: Secret,
    /// The user's id; unset: the account's name.
    pub user: Option<String>,
    #[serde(default)]
    pub groups: Vec<String>,
    #[serde(default)]
    pub broadcast: bool,
}

impl AccountSettings {
    pub fn user(&self) -> &str {
        self.user.as_deref().unwrap_or(&self.account)
    }
}

impl LoginSettings {
    pub(super) fn check(&self, faults: &mut Faults) {
        if self.service.is_some() && !self.accounts.is_empty() {
            faults.add("login.accounts", "stand beside login.service, which would decide alone");
        }
        for (name, value) in [
            ("failures_per_account", self.failures_per_account),
            ("attempts_per_address", self.attempts_per_address),
        ] {
            if value == 0 {
                faults.add(format!("login.{name}"), "must be at least 1");
            }
        }
        if self.refused_code == 0 {
            faults.add("login.refused_code", "must not be 0, which means success");
        }
        for (name, service) in [("service", &self.service), ("then", &self.then)] {
            if service.as_deref().is_some_and(|service| !is_name(service)) {
                faults.add(format!("login.{name}"), "must be 1 to 64 letters, digits, - and _");
            }
        }
        let mut names = HashSet::new();
        for (i, account) in self.accounts.iter().enumerate() {
            account.check(&format!("login.accounts[{i}]"), faults);
            if !names.insert(&account.account) {
                faults.add(format!("login.accounts[{i}].account"), "stands twice");
            }
        }
    }
}

impl AccountSettings {
    fn check(&self, path: &str, faults: &mut Faults) {
        if let Err(error) = id::check("account", &self.account) {
            faults.add(format!("{path}.account"), error.to_string());
        }
        if let Err(error) = id::check("user", self.user()) {
            faults.add(format!("{path}.user"), error.to_string());
        }
        for group in &self.groups {
            if let Err(error) = id::check("group", group) {
                faults.add(format!("{path}.groups"), error.to_string());
            }
        }
        if let Err(what) = accounts::check_hash(&self.hash.0) {
            faults.add(format!("{path}.hash"), what);
        }
    }
}
