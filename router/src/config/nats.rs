//! Where NATS is, and how a node shows it who it is.

use std::{fmt::Display, path::PathBuf};

use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde::Deserialize;

use super::{Faults, Secret, TlsSettings};
use crate::{
    bus::nats::{Access, Credentials, Text, Tls},
    tls,
};

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NatsSettings {
    pub urls: Vec<Secret>,
    pub prefix: String,
    pub user: Option<String>,
    pub password: Option<Secret>,
    pub password_file: Option<PathBuf>,
    pub token: Option<Secret>,
    pub token_file: Option<PathBuf>,
    pub nkey_seed: Option<Secret>,
    pub nkey_seed_file: Option<PathBuf>,
    pub creds_file: Option<PathBuf>,
    /// None: TLS only where a server or a URL demands it.
    pub tls: Option<NatsTlsSettings>,
}

impl Default for NatsSettings {
    fn default() -> Self {
        Self {
            urls: Vec::new(),
            prefix: "herald".to_owned(),
            user: None,
            password: None,
            password_file: None,
            token: None,
            token_file: None,
            nkey_seed: None,
            nkey_seed_file: None,
            creds_file: None,
            tls: None,
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NatsTlsSettings {
    /// Unset: the system's.
    pub ca_file: Option<PathBuf>,
    pub cert_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    pub handshake_first: bool,
}

impl NatsSettings {
    pub fn check(&self, faults: &mut Faults) {
        for (i, url) in self.urls.iter().enumerate() {
            let address = url.0.parse::<async_nats::ServerAddr>();
            if !address.is_ok_and(|address| !address.host().is_empty()) {
                faults.add(format!("nats.urls[{i}]"), "not a NATS URL");
            }
        }
        let token = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        if !self.prefix.split('.').all(token) {
            faults.add(
                "nats.prefix",
                "must be one or more tokens of letters, digits, - and _, joined by dots",
            );
        }
        // The files are read: nothing may be found wrong only when NATS is asked.
        match self.credentials() {
            Err((setting, what)) => faults.add(format!("nats.{setting}"), what),
            Ok(credentials) => {
                if let Err(what) = credentials.check() {
                    faults.add(format!("nats.{}", self.credentials_setting()), what);
                }
            }
        }
        if let Some(tls) = &self.tls {
            tls.check(faults);
        }
    }

    pub fn urls(&self) -> Vec<String> {
        self.urls.iter().map(|url| url.0.clone()).collect()
    }

    /// Of settings that have been checked.
    pub fn access(&self) -> Access {
        let tls = self.tls.as_ref().map(|tls| Tls {
            ca_file: tls.ca_file.clone(),
            client: tls.cert_file.clone().zip(tls.key_file.clone()),
            handshake_first: tls.handshake_first,
        });
        Access {
            credentials: self.credentials().unwrap_or_default(),
            tls,
        }
    }

    /// The one way that is given, or which setting is wrong, and why.
    fn credentials(&self) -> Result<Credentials, (&'static str, &'static str)> {
        let password = text("password", &self.password, &self.password_file)?;
        let token = text("token", &self.token, &self.token_file)?;
        let seed = text("nkey_seed", &self.nkey_seed, &self.nkey_seed_file)?;
        let mut ways = Vec::new();
        match (&self.user, password) {
            (Some(user), Some(password)) => ways.push((
                "user",
                Credentials::Password {
                    user: user.clone(),
                    password,
                },
            )),
            (None, None) => {}
            (Some(_), None) => return Err(("user", "needs password or password_file beside it")),
            (None, Some(_)) => return Err(("password", "needs user beside it")),
        }
        ways.extend(token.map(|token| ("token", Credentials::Token(token))));
        ways.extend(seed.map(|seed| ("nkey_seed", Credentials::Nkey(seed))));
        let file = self.creds_file.clone();
        ways.extend(file.map(|file| ("creds_file", Credentials::Creds(file))));
        if ways.len() > 1 {
            let what = "stands beside another of user, token, nkey_seed and creds_file: only one of them can be shown";
            return Err((ways[1].0, what));
        }
        match ways.pop() {
            Some((_, credentials)) => Ok(credentials),
            None => Ok(Credentials::in_urls(&self.urls())),
        }
    }

    /// What a fault of the credentials is told of.
    fn credentials_setting(&self) -> &'static str {
        match self {
            Self {
                password_file: Some(_), ..
            } => "password_file",
            Self {
                token_file: Some(_), ..
            } => "token_file",
            Self {
                nkey_seed_file: Some(_),
                ..
            } => "nkey_seed_file",
            Self { nkey_seed: Some(_), .. } => "nkey_seed",
            Self {
                creds_file: Some(_), ..
            } => "creds_file",
            _ => "user",
        }
    }

    /// Whether every URL is of this machine, as `--dev` demands.
    pub fn is_loopback(&self) -> bool {
        self.urls.iter().all(|url| {
            let Ok(address) = url.0.parse::<async_nats::ServerAddr>() else {
                return false;
            };
            let host = address.host().trim_matches(['[', ']']);
            host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
        })
    }
}

/// At most one of the two places.
fn text(
    name: &'static str,
    given: &Option<Secret>,
    file: &Option<PathBuf>,
) -> Result<Option<Text>, (&'static str, &'static str)> {
    match (given, file) {
        (Some(_), Some(_)) => Err((name, "stands both here and in a file")),
        (Some(given), None) => Ok(Some(Text::Given(given.clone()))),
        (None, Some(file)) => Ok(Some(Text::File(file.clone()))),
        (None, None) => Ok(None),
    }
}

impl NatsTlsSettings {
    fn check(&self, faults: &mut Faults) {
        if let Some(path) = &self.ca_file {
            let mut add = |what: &dyn Display| faults.add("nats.tls.ca_file", format!("{}: {what}", path.display()));
            match std::fs::read(path) {
                Err(error) => add(&error),
                Ok(pem) => match CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>() {
                    Err(error) => add(&error),
                    Ok(none) if none.is_empty() => add(&"holds no certificate in PEM"),
                    Ok(_) => {}
                },
            }
        }
        match (&self.cert_file, &self.key_file) {
            (None, None) => {}
            (Some(_), None) => faults.add("nats.tls.cert_file", "needs key_file beside it"),
            (None, Some(_)) => faults.add("nats.tls.key_file", "needs cert_file beside it"),
            (Some(cert), Some(key)) => {
                let settings = TlsSettings {
                    cert_file: cert.clone(),
                    key_file: key.clone(),
                    min_version: Default::default(),
                };
                if let Err(fault) = tls::check(&settings) {
                    faults.add(format!("nats.tls.{}", fault.setting()), fault.to_string());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        let settings: NatsSettings = toml::from_str(text).unwrap();
        let mut faults = Faults::default();
        settings.check(&mut faults);
        faults.to_string().lines().map(str::to_owned).collect()
    }

    #[test]
    fn one_way_to_show_who_it_is_and_that_whole() {
        for (text, fault) in [
            ("user = 'a'", "nats.user: needs password"),
            ("password = 'a'", "nats.password: needs user"),
            (
                "user = 'a'\npassword = 'b'\ntoken = 'c'",
                "nats.token: stands beside another",
            ),
            (
                "token = 'a'\ntoken_file = '/b'",
                "nats.token: stands both here and in a file",
            ),
            (
                "password_file = '/nowhere'\nuser = 'a'",
                "nats.password_file: /nowhere: ",
            ),
            ("nkey_seed = 'SUnonsense'", "nats.nkey_seed: not an nkey seed"),
            ("creds_file = '/nowhere.creds'", "nats.creds_file: /nowhere.creds: "),
            ("[tls]\nca_file = '/nowhere.pem'", "nats.tls.ca_file: /nowhere.pem: "),
            ("[tls]\ncert_file = '/a'", "nats.tls.cert_file: needs key_file"),
            ("[tls]\ncert_file = '/a'\nkey_file = '/b'", "nats.tls.cert_file: /a: "),
        ] {
            let found = faults(text);
            assert!(found.len() == 1 && found[0].starts_with(fault), "{text}: {found:?}");
        }
        for good in [
            "",
            "user = 'a'\npassword = 'b'",
            "token = 'c'",
            "[tls]\nhandshake_first = true",
        ] {
            assert_eq!(faults(good), Vec::<String>::new(), "{good}");
        }
    }

    #[test]
    fn no_secret_is_told() {
        let text = "user = 'a'\npassword = 'hunter2'\ntoken = 'hunter2'\nnkey_seed = 'hunter2'";
        let settings: NatsSettings = toml::from_str(text).unwrap();
        let (mut found, shown) = (Faults::default(), format!("{settings:?}"));
        settings.check(&mut found);
        assert!(
            !shown.contains("hunter2") && !found.to_string().contains("hunter2"),
            "{shown} {found}"
        );
        let one: NatsSettings = toml::from_str("nkey_seed = 'hunter2'").unwrap();
        let shown = format!("{:?}", one.access());
        let mut found = Faults::default();
        one.check(&mut found);
        assert!(
            !shown.contains("hunter2") && !found.to_string().contains("hunter2"),
            "{shown} {found}"
        );
    }
}
