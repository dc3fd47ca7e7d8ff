//! How a node shows NATS who it is, and how it knows NATS. What stands in files is read anew at each connect, so that
//! what was exchanged is used without a restart.

use std::{fs, path::PathBuf};

use async_nats::{Auth, AuthError, ConnectOptions, ServerAddr};
use nkeys::{KeyPair, KeyPairType};

use crate::config::Secret;

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Access {
    pub credentials: Credentials,
    /// With it, TLS is demanded.
    pub tls: Option<Tls>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tls {
    /// None: the system's.
    pub ca_file: Option<PathBuf>,
    /// The client's certificate and its key.
    pub client: Option<(PathBuf, PathBuf)>,
    /// Before the server has said anything.
    pub handshake_first: bool,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub enum Credentials {
    #[default]
    None,
    Password {
        user: String,
        password: Text,
    },
    Token(Text),
    /// The seed.
    Nkey(Text),
    /// A file with a JWT and a seed, as `nsc` writes it.
    Creds(PathBuf),
}

#[derive(Debug, Clone, PartialEq)]
pub enum Text {
    Given(Secret),
    File(PathBuf),
}

impl Text {
    /// Without the line break that editors end files with.
    fn read(&self) -> Result<String, String> {
        match self {
            Self::Given(secret) => Ok(secret.0.clone()),
            Self::File(path) => {
                let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
                let text = text.trim_end_matches(['\r', '\n']);
                match text.is_empty() {
                    true => Err(format!("{}: is empty", path.display())),
                    false => Ok(text.to_owned()),
                }
            }
        }
    }

    /// As it begins a fault.
    fn place(&self) -> String {
        match self {
            Self::Given(_) => String::new(),
            Self::File(path) => format!("{}: ", path.display()),
        }
    }
}

impl Credentials {
    /// User and password, or a token, of the first URL that has them: NATS' own client for Rust takes none from there.
    pub fn in_urls(urls: &[String]) -> Self {
        let addresses = urls.iter().filter_map(|url| url.parse::<ServerAddr>().ok());
        let first = addresses.into_iter().find(ServerAddr::has_user_pass);
        let decoded = |text: &str| {
            percent_encoding::percent_decode_str(text)
                .decode_utf8_lossy()
                .into_owned()
        };
        let Some(address) = first else { return Self::None };
        let user = decoded(address.username().unwrap_or_default());
        match address.password() {
            Some(password) => Self::Password {
                user,
                password: Text::Given(Secret(decoded(password))),
            },
            None => Self::Token(Text::Given(Secret(user))),
        }
    }

    /// What is wrong with them, as far as can be known without a server.
    pub fn check(&self) -> Result<(), String> {
        self.show(b"nonce").map(drop)
    }

    /// What is shown to a server, in answer to its nonce.
    pub(super) fn show(&self, nonce: &[u8]) -> Result<Auth, String> {
        let mut auth = Auth::new();
        match self {
            Self::None => {}
            Self::Password { user, password } => {
                auth.username = Some(user.clone());
                auth.password = Some(password.read()?);
            }
            Self::Token(token) => auth.token = Some(token.read()?),
            Self::Nkey(seed) => {
                let pair = user_key(&seed.read()?).map_err(|what| format!("{}{what}", seed.place()))?;
                auth.nkey = Some(pair.public_key());
                auth.signature = Some(sign(&pair, nonce)?);
            }
            Self::Creds(path) => {
                let fault = |what: String| format!("{}: {what}", path.display());
                let text = fs::read_to_string(path).map_err(|error| fault(error.to_string()))?;
                let missing = |what: &str| fault(format!("holds no {what}"));
                let jwt = block(&text, "NATS USER JWT").ok_or_else(|| missing("NATS USER JWT"))?;
                let seed = block(&text, "USER NKEY SEED").ok_or_else(|| missing("USER NKEY SEED"))?;
                let pair = user_key(seed).map_err(fault)?;
                auth.jwt = Some(jwt.to_owned());
                auth.signature = Some(sign(&pair, nonce)?);
            }
        }
        Ok(auth)
    }
}

impl Access {
    /// The files are those that the check has read, and are read again at each connect.
    pub(super) fn options(&self) -> ConnectOptions {
        let credentials = self.credentials.clone();
        let mut options = match credentials {
            Credentials::None => ConnectOptions::new(),
            credentials => ConnectOptions::with_auth_callback(move |nonce| {
                let shown = credentials.show(&nonce).map_err(AuthError::new);
                if let Err(error) = &shown {
                    tracing::error!(%error, "the credentials for NATS cannot be used");
                }
                std::future::ready(shown)
            }),
        };
        if let Some(tls) = &self.tls {
            options = options.require_tls(true);
            if let Some(ca) = &tls.ca_file {
                options = options.add_root_certificates(ca.clone());
            }
            if let Some((cert, key)) = &tls.client {
                options = options.add_client_certificate(cert.clone(), key.clone());
            }
            if tls.handshake_first {
                options = options.tls_first();
            }
        }
        options
    }
}

fn user_key(seed: &str) -> Result<KeyPair, String> {
    let pair = KeyPair::from_seed(seed.trim()).map_err(|error| format!("not an nkey seed: {error}"))?;
    match pair.key_pair_type() {
        KeyPairType::User => Ok(pair),
        other => Err(format!("the seed of {other:?}, not of a user")),
    }
}

fn sign(pair: &KeyPair, nonce: &[u8]) -> Result<Vec<u8>, String> {
    pair.sign(nonce)
        .map_err(|error| format!("the seed cannot sign: {error}"))
}

/// What stands between `-----BEGIN <name>-----` and the next line of dashes.
fn block<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("BEGIN {name}"))?;
    let (_, rest) = rest.split_once('\n')?;
    let (body, _) = rest.split_once("---")?;
    let body = body.trim();
    (!body.is_empty()).then_some(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_may_hold_credentials() {
        let of = |url: &str| Credentials::in_urls(&["nats://a:1".to_owned(), url.to_owned()]);
        let given = |text: &str| Text::Given(Secret(text.to_owned()));
        let password = Credentials::Password {
            user: "herald".to_owned(),
            password: given("p@ss"),
        };
        assert_eq!(of("nats://herald:p%40ss@b:2"), password);
        assert_eq!(of("nats://t0ken@b:2"), Credentials::Token(given("t0ken")));
        assert_eq!(of("nats://b:2"), Credentials::None);
    }

    #[test]
    fn a_seed_must_be_a_users() {
        let user = Text::Given(Secret(KeyPair::new_user().seed().unwrap()));
        Credentials::Nkey(user).check().unwrap();
        let account = Text::Given(Secret(KeyPair::new_account().seed().unwrap()));
        let fault = Credentials::Nkey(account).check().unwrap_err();
        assert!(fault.contains("not of a user"), "{fault}");
    }

    #[test]
    fn a_creds_file_has_two_parts() {
        let folder = std::env::temp_dir().join(format!("herald-creds-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("a.creds");
        let seed = KeyPair::new_user().seed().unwrap();
        let jwt = "-----BEGIN NATS USER JWT-----\neyJ0.eyJ1.sig\n------END NATS USER JWT------\n";
        let key = format!("-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n");
        let creds = Credentials::Creds(path.clone());
        fs::write(&path, format!("{jwt}\n***\n{key}")).unwrap();
        assert_eq!(creds.show(b"n").unwrap().jwt.as_deref(), Some("eyJ0.eyJ1.sig"));
        fs::write(&path, jwt).unwrap();
        assert!(creds.check().unwrap_err().ends_with("a.creds: holds no USER NKEY SEED"));
        fs::write(&path, key).unwrap();
        assert!(creds.check().unwrap_err().ends_with("a.creds: holds no NATS USER JWT"));
        fs::remove_dir_all(&folder).unwrap();
    }
}
