//! The keys that verify tokens, from the configuration.

use std::path::Path;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use herald_router::config::Faults;
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, Jwk, JwkSet},
};

use crate::config::{AuthSettings, KeySettings};

/// The algorithms that are allowed, with the names that stand in tokens. `none` is not among them.
const ALGORITHMS: &[(&str, Algorithm)] = &[
    ("HS256", Algorithm::HS256),
    ("HS384", Algorithm::HS384),
    ("HS512", Algorithm::HS512),
    ("RS256", Algorithm::RS256),
    ("ES256", Algorithm::ES256),
    ("EdDSA", Algorithm::EdDSA),
];

/// Shorter secrets can be guessed from one token (RFC 7518, 3.2).
const MIN_SECRET_BYTES: usize = 32;
/// Of RSA keys (RFC 7518, 3.3): shorter ones can be factored.
const MIN_MODULUS_BITS: usize = 2048;

pub struct Key {
    pub kid: Option<String>,
    pub algorithm: Algorithm,
    pub key: DecodingKey,
}

impl Key {
    /// A token meets only keys of its own kid, or without one only keys without, and only of its algorithm.
    pub fn fits(&self, algorithm: &str, kid: Option<&str>) -> bool {
        self.kid.as_deref() == kid && named(algorithm) == Some(self.algorithm)
    }
}

pub(super) fn named(algorithm: &str) -> Option<Algorithm> {
    let entry = ALGORITHMS.iter().find(|(name, _)| *name == algorithm);
    entry.map(|(_, algorithm)| *algorithm)
}

/// All keys that can be loaded; what cannot is named in `faults`.
pub(super) fn load(settings: &AuthSettings, faults: &mut Faults) -> Vec<Key> {
    let mut keys = Vec::new();
    for (i, key) in settings.keys.iter().enumerate() {
        match load_one(key) {
            Ok(loaded) => keys.extend(loaded),
            Err(what) => faults.add(format!("auth.keys[{i}]"), what),
        }
    }
    keys
}

fn load_one(settings: &KeySettings) -> Result<Vec<Key>, String> {
    let sources = [
        settings.secret.is_some(),
        settings.secret_file.is_some(),
        settings.public_key_file.is_some(),
        settings.jwks_file.is_some(),
    ];
    if sources.iter().filter(|set| **set).count() != 1 {
        return Err("needs exactly one of secret, secret_file, public_key_file, jwks_file".to_owned());
    }
    if settings.private_key_file.is_some() && settings.public_key_file.is_none() {
        return Err("a private_key_file needs its public_key_file beside it".to_owned());
    }
    if let Some(path) = &settings.jwks_file {
        if settings.kid.is_some() || settings.algorithm.is_some() {
            return Err("kid and algorithm stand in the jwks_file".to_owned());
        }
        return load_jwks(path);
    }
    let name = settings.algorithm.as_deref().ok_or("needs an algorithm")?;
    let algorithm = named(name).ok_or_else(|| {
        let names: Vec<&str> = ALGORITHMS.iter().map(|(name, _)| *name).collect();
        format!("no algorithm {name:?}; there are: {}", names.join(", "))
    })?;
    let key = if let Some(path) = &settings.public_key_file {
        public_key(algorithm, &read(path)?)?
    } else if let Some(secret) = &settings.secret {
        secret_key(algorithm, secret.0.as_bytes())?
    } else if let Some(path) = &settings.secret_file {
        secret_key(algorithm, &read_secret(path)?)?
    } else {
        return Err("needs a source".to_owned());
    };
    Ok(vec![Key {
        kid: settings.kid.clone(),
        algorithm,
        key,
    }])
}

/// Editors end files with a line break, which is no part of the secret.
pub(super) fn read_secret(path: &Path) -> Result<Vec<u8>, String> {
    let mut text = read(path)?;
    let end = text.iter().rposition(|b| !matches!(b, b'\n' | b'\r'));
    text.truncate(end.map_or(0, |last| last + 1));
    Ok(text)
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))
}

fn is_hmac(algorithm: Algorithm) -> bool {
    matches!(algorithm, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512)
}

fn secret_key(algorithm: Algorithm, secret: &[u8]) -> Result<DecodingKey, String> {
    if !is_hmac(algorithm) {
        return Err("a secret goes with HS256, HS384 or HS512 only".to_owned());
    }
    if secret.len() < MIN_SECRET_BYTES {
        return Err(format!("the secret is shorter than {MIN_SECRET_BYTES} bytes"));
    }
    Ok(DecodingKey::from_secret(secret))
}

fn public_key(algorithm: Algorithm, pem: &[u8]) -> Result<DecodingKey, String> {
    let key = match algorithm {
        Algorithm::RS256 => DecodingKey::from_rsa_pem(pem),
        Algorithm::ES256 => DecodingKey::from_ec_pem(pem),
        Algorithm::EdDSA => DecodingKey::from_ed_pem(pem),
        _ => return Err("a public key goes with RS256, ES256 or EdDSA only".to_owned()),
    };
    let key = key.map_err(|e| format!("unreadable public key: {e}"))?;
    if algorithm == Algorithm::RS256 {
        let der = key
            .try_get_as_bytes()
            .map_err(|e| format!("unreadable public key: {e}"))?;
        check_modulus(modulus(der).ok_or("unreadable public key: no modulus")?)?;
    }
    Ok(key)
}

fn check_modulus(modulus: &[u8]) -> Result<(), String> {
    let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
    let bits = modulus[zeros..]
        .first()
        .map_or(0, |first| 8 * (modulus.len() - zeros) - first.leading_zeros() as usize);
    if bits < MIN_MODULUS_BITS {
        return Err(format!(
            "the RSA key has {bits} bits, and {MIN_MODULUS_BITS} are needed"
        ));
    }
    Ok(())
}

/// Of an RSA public key in DER (RFC 8017, A.1.1): a sequence, of which the modulus is the first number.
fn modulus(der: &[u8]) -> Option<&[u8]> {
    let (sequence, _) = element(0x30, der)?;
    element(0x02, sequence).map(|(modulus, _)| modulus)
}

/// What is in an element of this kind, and what follows it.
fn element(kind: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = match der {
        [first, short @ 0..=0x7f, rest @ ..] if *first == kind => (usize::from(*short), rest),
        [first, 0x81, length, rest @ ..] if *first == kind => (usize::from(*length), rest),
        [first, 0x82, high, low, rest @ ..] if *first == kind => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        _ => return None,
    };
    rest.split_at_checked(length)
}

fn load_jwks(path: &Path) -> Result<Vec<Key>, String> {
    let set: JwkSet =
        serde_json::from_slice(&read(path)?).map_err(|e| format!("{}: no JWK set: {e}", path.display()))?;
    if set.keys.is_empty() {
        return Err(format!("{}: holds no key", path.display()));
    }
    set.keys.iter().map(jwk).collect()
}

fn jwk(jwk: &Jwk) -> Result<Key, String> {
    let kid = jwk.common.key_id.clone();
    let name = jwk.common.key_algorithm.map(|a| a.to_string());
    let called = kid.as_deref().unwrap_or("without kid");
    let algorithm = name
        .as_deref()
        .and_then(named)
        .ok_or_else(|| format!("key {called}: needs an \"alg\" that is allowed"))?;
    let key = DecodingKey::from_jwk(jwk).map_err(|e| format!("key {called}: {e}"))?;
    if is_hmac(algorithm) {
        let secret = key.try_get_as_bytes().map_err(|e| format!("key {called}: {e}"))?;
        if secret.len() < MIN_SECRET_BYTES {
            return Err(format!("key {called}: shorter than {MIN_SECRET_BYTES} bytes"));
        }
    }
    if let AlgorithmParameters::RSA(rsa) = &jwk.algorithm {
        let modulus = URL_SAFE_NO_PAD
            .decode(&rsa.n)
            .map_err(|e| format!("key {called}: {e}"))?;
        check_modulus(&modulus).map_err(|e| format!("key {called}: {e}"))?;
    }
    Ok(Key { kid, algorithm, key })
}
