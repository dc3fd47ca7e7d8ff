//! Signs tokens: for `herald-gateway token`, and for those who log in.

use herald_proto::id::{self, IdError};
use herald_router::config::Faults;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use serde_json::Number;

use super::{MAX_TOKEN_BYTES, SessionClaim, keys};
use crate::config::{AuthSettings, KeySettings};

/// What a new token says.
#[derive(Debug)]
pub struct Grant<'a> {
    pub user: &'a str,
    /// Clients of article 000 read their account from it.
    pub account: Option<&'a str>,
    pub groups: &'a [String],
    pub broadcast: bool,
    /// Unix milliseconds.
    pub issued: u64,
    /// Unix seconds.
    pub expires: u64,
    pub session: Option<&'a SessionClaim>,
}

#[derive(Debug, thiserror::Error)]
pub enum SignError {
    #[error("the configuration holds no key to sign with (auth.keys with secret, secret_file or private_key_file)")]
    NoKey,
    #[error("the token would be {0} bytes long, of {MAX_TOKEN_BYTES} that are allowed")]
    TooLong(usize),
    #[error("the time to live must be at least 1s")]
    NoTime,
    #[error(transparent)]
    Id(#[from] IdError),
    #[error("cannot sign: {0}")]
    Signing(#[from] jsonwebtoken::errors::Error),
}

pub(super) struct Signer {
    header: Header,
    key: EncodingKey,
    audience: Option<String>,
    issuer: Option<String>,
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<&'a str>,
    iat: Number,
    exp: u64,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    groups: &'a [String],
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    broadcast: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<&'a str>,
    #[serde(rename = "gen", skip_serializing_if = "Option::is_none")]
    generation: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
}

impl Grant<'_> {
    /// A whole number where it is one: not every library reads fractions.
    fn issued_seconds(&self) -> Number {
        if self.issued.is_multiple_of(1000) {
            return (self.issued / 1000).into();
        }
        #[allow(clippy::cast_precision_loss)] // exact up to 2^53
        let seconds = self.issued as f64 / 1000.0;
        Number::from_f64(seconds).unwrap_or_else(|| (self.issued / 1000 + 1).into())
    }
}

impl Signer {
    pub fn sign(&self, grant: &Grant<'_>) -> Result<String, SignError> {
        id::check("user", grant.user)?;
        for group in grant.groups {
            id::check("group", group)?;
        }
        if grant.expires * 1000 <= grant.issued {
            return Err(SignError::NoTime);
        }
        let claims = Claims {
            sub: grant.user,
            account: grant.account,
            iat: grant.issued_seconds(),
            exp: grant.expires,
            groups: grant.groups,
            broadcast: grant.broadcast,
            sid: grant.session.map(|session| session.id.as_str()),
            generation: grant.session.map(|session| session.generation),
            aud: self.audience.as_deref(),
            iss: self.issuer.as_deref(),
        };
        let token = jsonwebtoken::encode(&self.header, &claims, &self.key)?;
        if token.len() > MAX_TOKEN_BYTES {
            return Err(SignError::TooLong(token.len()));
        }
        Ok(token)
    }
}

/// The key that `sign_with` names, else the first that can sign; None where there is none.
pub(super) fn load(settings: &AuthSettings, faults: &mut Faults) -> Option<Signer> {
    let fits = |key: &&KeySettings| match &settings.sign_with {
        Some(kid) => key.kid.as_ref() == Some(kid),
        None => key.can_sign(),
    };
    let Some((at, settings_of)) = settings.keys.iter().enumerate().find(|(_, key)| fits(key)) else {
        if let Some(kid) = &settings.sign_with {
            faults.add("auth.sign_with", format!("there is no key with the kid {kid:?}"));
        }
        return None;
    };
    match encoding_key(settings_of) {
        Ok((algorithm, key)) => {
            let mut header = Header::new(algorithm);
            header.kid.clone_from(&settings_of.kid);
            Some(Signer {
                header,
                key,
                audience: settings.audience.clone(),
                issuer: settings.issuer.clone(),
            })
        }
        Err(what) => {
            let path = format!("auth.keys[{at}]");
            if !faults.has(&path) {
                faults.add(path, what);
            }
            None
        }
    }
}

fn encoding_key(settings: &KeySettings) -> Result<(Algorithm, EncodingKey), String> {
    if !settings.can_sign() {
        return Err("cannot sign: it has neither a secret nor a private_key_file".to_owned());
    }
    // What is wrong with the name is said of the key that verifies.
    let algorithm = settings.algorithm.as_deref().and_then(keys::named);
    let algorithm = algorithm.ok_or("needs an algorithm that is allowed")?;
    let key = if let Some(secret) = &settings.secret {
        EncodingKey::from_secret(secret.0.as_bytes())
    } else if let Some(path) = &settings.secret_file {
        EncodingKey::from_secret(&keys::read_secret(path)?)
    } else if let Some(path) = &settings.private_key_file {
        private_key(algorithm, &keys::read(path)?)?
    } else {
        return Err("has nothing to sign with".to_owned());
    };
    Ok((algorithm, key))
}

fn private_key(algorithm: Algorithm, pem: &[u8]) -> Result<EncodingKey, String> {
    let key = match algorithm {
        Algorithm::RS256 => EncodingKey::from_rsa_pem(pem),
        Algorithm::ES256 => EncodingKey::from_ec_pem(pem),
        Algorithm::EdDSA => EncodingKey::from_ed_pem(pem),
        _ => return Err("a private key goes with RS256, ES256 or EdDSA only".to_owned()),
    };
    key.map_err(|e| format!("unreadable private key: {e}"))
}
