//! Who is this? Tokens are verified here, and nowhere else.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use herald_proto::id;
use jsonwebtoken::Validation;
use serde::{Deserialize, Deserializer};

use crate::config::AuthSettings;

pub mod keys;
pub mod mint;
pub mod source;

use keys::Key;

/// Longest token that is looked at.
pub const MAX_TOKEN_BYTES: usize = 4096;

/// Everything about a verified token that the rest of the gateway needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub user: String,
    pub groups: Vec<String>,
    pub broadcast: bool,
    /// Of a token that Herald minted.
    pub session: Option<String>,
    /// Unix milliseconds, where the token tells.
    pub issued: Option<u64>,
    /// Unix seconds.
    pub expires: u64,
}

/// Why a token was refused. Clients learn only `unauthorized`; this is for logs and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
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
    #[error("issued before its user was kicked")]
    Revoked,
}

pub struct Auth {
    keys: Vec<Key>,
    audience: Option<String>,
    issuer: Option<String>,
    leeway: Duration,
}

/// The header fields that decide. `jku`, `jwk` and `x5u` would let the token bring its own key: they are not read.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Claims {
    sub: Option<String>,
    /// An application's own tokens may hold anything here.
    sid: Option<serde_json::Value>,
    account: Option<String>,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    broadcast: bool,
    exp: NumericDate,
    iat: Option<NumericDate>,
}

/// In milliseconds: RFC 7519 allows fractions of seconds.
#[derive(Debug, Clone, Copy)]
struct NumericDate(u64);

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        if seconds.is_finite() && (0.0..=9e12).contains(&seconds) {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // within the range just checked
            Ok(Self((seconds * 1000.0) as u64))
        } else {
            Err(serde::de::Error::custom("not a date"))
        }
    }
}

impl Auth {
    pub fn verify(&self, token: &str) -> Result<Identity, AuthError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(AuthError::TooLong);
        }
        let header = header(token)?;
        if header.crit.is_some() {
            return Err(AuthError::Critical);
        }
        let mut outcome = AuthError::UnknownKey;
        for key in self
            .keys
            .iter()
            .filter(|key| key.fits(&header.alg, header.kid.as_deref()))
        {
            match self.verify_with(key, token) {
                // Another key of this kid may be the right one, but an expired token was signed by this one.
                Err(error) if error != AuthError::Expired => outcome = error,
                done => return done,
            }
        }
        Err(outcome)
    }

    fn verify_with(&self, key: &Key, token: &str) -> Result<Identity, AuthError> {
        let mut validation = Validation::new(key.algorithm);
        validation.leeway = self.leeway.as_secs();
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
        let claims = data.claims;
        let user = claims.sub.or(claims.account).ok_or(AuthError::NoUser)?;
        id::check("user", &user).map_err(|_| AuthError::NoUser)?;
        let groups_fit = claims.groups.iter().all(|group| id::check("group", group).is_ok());
        if !groups_fit {
            return Err(AuthError::BadGroup);
        }
        Ok(Identity {
            user,
            groups: claims.groups,
            broadcast: claims.broadcast,
            session: claims.sid.and_then(|sid| sid.as_str().map(str::to_owned)),
            issued: claims.iat.map(|iat| iat.0),
            expires: claims.exp.0 / 1000,
        })
    }

    /// When a connection with this token must end: at its expiry, or, where only the leeway still let it in, with the
    /// leeway.
    pub fn connection_end(&self, expires: u64) -> u64 {
        if expires > unix_now() {
            expires
        } else {
            expires + self.leeway.as_secs()
        }
    }
}

fn header(token: &str) -> Result<Header, AuthError> {
    let head = token.split('.').next().unwrap_or_default();
    let head = URL_SAFE_NO_PAD.decode(head).map_err(|_| AuthError::Malformed)?;
    serde_json::from_slice(&head).map_err(|_| AuthError::Malformed)
}

pub fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

impl Auth {
    /// Adds what is wrong with `settings`, key files included.
    pub fn check(settings: &AuthSettings, faults: &mut herald_router::config::Faults) {
        keys::load(settings, faults);
    }

    /// `settings` have been checked: what cannot be loaded now has changed since, and is named.
    pub fn new(settings: &AuthSettings) -> Result<Self, herald_router::config::Faults> {
        let mut faults = herald_router::config::Faults::default();
        let keys = keys::load(settings, &mut faults);
        faults.or(Self {
            keys,
            audience: settings.audience.clone(),
            issuer: settings.issuer.clone(),
            leeway: settings.leeway,
        })
    }
}

#[cfg(test)]
mod tests;
