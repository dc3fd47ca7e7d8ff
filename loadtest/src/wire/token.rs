//! Who clients say they are.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Longer than any run.
const LIFETIME: u64 = 7 * 24 * 3600;

/// Mints tokens as the application would, which shares the key with the gateways.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Minter {
    pub secret: String,
    pub kid: Option<String>,
}

impl Minter {
    pub fn mint(&self, user: &str, groups: &[String], broadcast: bool) -> Result<String> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .context("a clock before 1970")?;
        let now = now.as_secs();
        let mut claims = json!({"sub": user, "iat": now, "exp": now + LIFETIME});
        if !groups.is_empty() {
            claims["groups"] = json!(groups);
        }
        if broadcast {
            claims["broadcast"] = json!(true);
        }
        let mut header = Header::new(Algorithm::HS256);
        header.kid.clone_from(&self.kid);
        let key = EncodingKey::from_secret(self.secret.as_bytes());
        jsonwebtoken::encode(&header, &claims, &key).context("a token that cannot be signed")
    }
}
