//! Who is this? Tokens are verified and signed here, and nowhere else.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use herald_router::config::Faults;
use jsonwebtoken::Validation;
use parking_lot::RwLock;
use serde::Deserialize;

use crate::config::AuthSettings;

mod claims;
pub mod keys;
pub mod signer;
pub mod source;

use claims::Claims;
use keys::Key;
use signer::{Grant, SignError, Signer};

/// Longest token that is looked at.
pub const MAX_TOKEN_BYTES: usize = 4096;

/// Everything about a verified token that the rest of the gateway needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub user: String,
    pub groups: Vec<String>,
    pub broadcast: bool,
    /// Unix milliseconds, where the token tells.
    pub issued: Option<u64>,
    /// Unix seconds.
    pub expires: u64,
    /// Of tokens that Herald itself has signed: they are good while their session stands.
    pub session: Option<SessionClaim>,
}

/// The session that a token belongs to, and how many tokens of it came before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionClaim {
    pub id: String,
    pub generation: u64,
}

/// Why a token was refused. Clients learn only `unauthorized`; this is for logs and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    #[error("no token")]
    NoToken,
    #[error("malformed token")]
    Malformed,
    #[error("token too long")]
    TooLong,
    #[error("critical header extension")]
    Critical,
    #[error("no such key")]
    UnknownKey,
    #[error("wrong signature, or a claim that does not hold")]
    Invalid,
    #[error("expired")]
    Expired,
    #[error("no valid user id")]
    NoUser,
    #[error("a group whose id is not valid")]
    BadGroup,
    #[error("of another user than the client says it is")]
    AnotherUser,
    #[error("issued before its user was kicked")]
    Revoked,
    #[error("its session has ended")]
    NoSession,
    /// Nothing is wrong with the token as far as is known.
    #[error("whether its session stands cannot be known now")]
    Unavailable,
}

/// The keys, which can be exchanged while all goes on.
pub struct Auth(RwLock<Arc<Loaded>>);

struct Loaded {
    keys: Vec<Key>,
    signer: Option<Signer>,
    audience: Option<String>,
    issuer: Option<String>,
    leeway: Duration,
}

/// The header fields that decide. `jku`, `jwk` and `x5u` would let the token bring its own key: they are not read.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    #[serde(default, deserialize_with = "present")]
    crit: bool,
}

impl Auth {
    /// `settings` have been checked: what cannot be loaded now has changed since, and is named.
    pub fn new(settings: &AuthSettings) -> Result<Self, Faults> {
        Ok(Self(RwLock::new(Arc::new(Loaded::new(settings)?))))
    }

    /// Adds what is wrong with `settings`, key files included.
    pub fn check(settings: &AuthSettings, faults: &mut Faults) {
        if let Err(found) = Loaded::new(settings) {
            faults.extend(found);
        }
    }

    /// From now on these keys count. Where one of them cannot be loaded, nothing changes.
    pub fn reload(&self, settings: &AuthSettings) -> Result<(), Faults> {
        let loaded = Arc::new(Loaded::new(settings)?);
        *self.0.write() = loaded;
        Ok(())
    }

    fn loaded(&self) -> Arc<Loaded> {
        self.0.read().clone()
    }

    pub fn verify(&self, token: &str) -> Result<Identity, AuthError> {
        self.loaded().verify(token, Duration::ZERO)
    }

    /// As [`Self::verify`], but the token may have expired `grace` ago.
    pub fn verify_late(&self, token: &str, grace: Duration) -> Result<Identity, AuthError> {
        self.loaded().verify(token, grace)
    }

    pub fn can_sign(&self) -> bool {
        self.loaded().signer.is_some()
    }

    pub fn sign(&self, grant: &Grant<'_>) -> Result<String, SignError> {
        let loaded = self.loaded();
        let signer = loaded.signer.as_ref().ok_or(SignError::NoKey)?;
        signer.sign(grant)
    }

    /// When a connection with this token must end: at its expiry, or, where only the leeway still let it in, with the
    /// leeway.
    pub fn connection_end(&self, expires: u64) -> u64 {
        if expires > unix_now() {
            expires
        } else {
            expires + self.loaded().leeway.as_secs()
        }
    }
}

impl Loaded {
    fn new(settings: &AuthSettings) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let loaded = Self {
            keys: keys::load(settings, &mut faults),
            signer: signer::load(settings, &mut faults),
            audience: settings.audience.clone(),
            issuer: settings.issuer.clone(),
            leeway: settings.leeway,
        };
        if faults.is_empty() && !loaded.verifies_what_it_signs() {
            faults.add(
                "auth.keys",
                "what the key that signs has signed is not verified by these keys",
            );
        }
        faults.or(loaded)
    }

    /// Not so where a private key belongs to another public one, or cannot be used with its algorithm.
    fn verifies_what_it_signs(&self) -> bool {
        let Some(signer) = &self.signer else { return true };
        let issued = unix_now();
        let signed = signer.sign(&Grant {
            user: "herald",
            account: None,
            groups: &[],
            broadcast: false,
            issued: issued * 1000,
            expires: issued + 60,
            session: None,
        });
        signed.is_ok_and(|token| self.verify(&token, Duration::ZERO).is_ok())
    }

    fn verify(&self, token: &str, grace: Duration) -> Result<Identity, AuthError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(AuthError::TooLong);
        }
        let header = header(token)?;
        if header.crit {
            return Err(AuthError::Critical);
        }
        let mut outcome = AuthError::UnknownKey;
        for key in self
            .keys
            .iter()
            .filter(|key| key.fits(&header.alg, header.kid.as_deref()))
        {
            match self.verify_with(key, token, grace) {
                // Another key of this kid may be the right one, but an expired token was signed by this one.
                Err(error) if error != AuthError::Expired => outcome = error,
                done => return done,
            }
        }
        Err(outcome)
    }

    fn verify_with(&self, key: &Key, token: &str, grace: Duration) -> Result<Identity, AuthError> {
        let mut validation = Validation::new(key.algorithm);
        validation.leeway = (self.leeway + grace).as_secs();
        validation.validate_nbf = true;
        validation.validate_aud = self.audience.is_some();
        if let Some(audience) = &self.audience {
            validation.set_audience(&[audience]);
            validation.required_spec_claims.insert("aud".to_owned());
        }
        if let Some(issuer) = &self.issuer {
            validation.set_issuer(&[issuer]);
            validation.required_spec_claims.insert("iss".to_owned());
        }
        let data = jsonwebtoken::decode::<Claims>(token, &key.key, &validation).map_err(|e| match e.kind() {
            jsonwebtoken::errors::ErrorKind::ExpiredSignature => AuthError::Expired,
            _ => AuthError::Invalid,
        })?;
        data.claims.identity()
    }
}

/// Whatever stands there.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    serde::de::IgnoredAny::deserialize(deserializer).map(|_| true)
}

fn header(token: &str) -> Result<Header, AuthError> {
    let head = token.split('.').next().unwrap_or_default();
    let head = URL_SAFE_NO_PAD.decode(head).map_err(|_| AuthError::Malformed)?;
    serde_json::from_slice(&head).map_err(|_| AuthError::Malformed)
}

pub fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

#[cfg(test)]
mod tests;
