//! Makes tokens, for `herald-gateway token`.

use std::time::Duration;

use herald_proto::id::{self, IdError};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;

use super::{MAX_TOKEN_BYTES, unix_now};
use crate::config::AuthSettings;

/// What the new token says.
#[derive(Debug)]
pub struct Request {
    pub user: String,
    pub ttl: Duration,
    pub groups: Vec<String>,
    pub broadcast: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum MintError {
    #[error("the configuration holds no secret to sign with (auth.keys with secret or secret_file)")]
    NoSecret,
    #[error("{0}: {1}")]
    Unreadable(std::path::PathBuf, std::io::Error),
    #[error("the token would be {0} bytes long, of {MAX_TOKEN_BYTES} that are allowed")]
    TooLong(usize),
    #[error("the time to live must be at least 1s")]
    NoTime,
    #[error(transparent)]
    Id(#[from] IdError),
    #[error("cannot sign: {0}")]
    Signing(#[from] jsonwebtoken::errors::Error),
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    iat: u64,
    exp: u64,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    groups: &'a [String],
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    broadcast: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
}

/// Signs with the first secret of `settings`.
pub fn mint(settings: &AuthSettings, request: &Request) -> Result<String, MintError> {
    id::check("user", &request.user)?;
    for group in &request.groups {
        id::check("group", group)?;
    }
    if request.ttl.as_secs() == 0 {
        return Err(MintError::NoTime);
    }
    let (key, secret) = first_secret(settings)?;
    let mut header = Header::new(match key.algorithm.as_deref() {
        Some("HS384") => Algorithm::HS384,
        Some("HS512") => Algorithm::HS512,
        _ => Algorithm::HS256,
    });
    header.kid.clone_from(&key.kid);
    let now = unix_now();
    let claims = Claims {
        sub: &request.user,
        iat: now,
        exp: now + request.ttl.as_secs(),
        groups: &request.groups,
        broadcast: request.broadcast,
        aud: settings.audience.as_deref(),
        iss: settings.issuer.as_deref(),
    };
    Ok(jsonwebtoken::encode(
        &header,
        &claims,
        &EncodingKey::from_secret(&secret),
    )?)
}

fn first_secret(settings: &AuthSettings) -> Result<(&crate::config::KeySettings, Vec<u8>), MintError> {
    for key in &settings.keys {
        if let Some(secret) = &key.secret {
            return Ok((key, secret.0.clone().into_bytes()));
        }
        if let Some(path) = &key.secret_file {
            let text = std::fs::read_to_string(path).map_err(|e| MintError::Unreadable(path.clone(), e))?;
            return Ok((key, text.trim_end_matches(['\r', '\n']).as_bytes().to_vec()));
        }
    }
    Err(MintError::NoSecret)
}
