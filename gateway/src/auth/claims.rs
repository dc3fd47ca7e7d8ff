//! What a token claims; its signature has been found good.

use herald_proto::id;
use serde::{Deserialize, Deserializer};

use super::{AuthError, Identity, SessionClaim};

#[derive(Deserialize)]
pub(super) struct Claims {
    sub: Option<String>,
    account: Option<String>,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    broadcast: bool,
    exp: NumericDate,
    iat: Option<NumericDate>,
    // Tokens that Herald mints have both. Those of others may hold anything here: identity providers write a `sid` too.
    sid: Option<serde_json::Value>,
    #[serde(rename = "gen")]
    generation: Option<serde_json::Value>,
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

impl Claims {
    pub fn identity(self) -> Result<Identity, AuthError> {
        let user = self.sub.or(self.account).ok_or(AuthError::NoUser)?;
        id::check("user", &user).map_err(|_| AuthError::NoUser)?;
        let groups_fit = self.groups.iter().all(|group| id::check("group", group).is_ok());
        if !groups_fit {
            return Err(AuthError::BadGroup);
        }
        let session = match (&self.sid, &self.generation) {
            (Some(serde_json::Value::String(id)), Some(generation)) => {
                generation.as_u64().map(|generation| SessionClaim {
                    id: id.clone(),
                    generation,
                })
            }
            _ => None,
        };
        if let Some(session) = &session {
            id::check("session", &session.id).map_err(|_| AuthError::NoSession)?;
        }
        Ok(Identity {
            user,
            groups: self.groups,
            broadcast: self.broadcast,
            issued: self.iat.map(|iat| iat.0),
            expires: self.exp.0 / 1000,
            session,
        })
    }
}
