//! Tokens, good and bad.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};

/// The key of `--dev`.
pub const DEV_SECRET: &str = "herald-development-key-never-in-production";

/// The key pair of RFC 8032, section 7.1, test 1: known to everybody, so fit for tests only.
const ED_SEED: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
const ED_PUBLIC: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("a clock after 1970").as_secs()
}

/// Claims of a user, good for an hour.
pub fn claims(user: &str) -> Value {
    json!({"sub": user, "iat": now(), "exp": now() + 3600})
}

/// A development token.
pub fn dev(user: &str) -> String {
    hs256(DEV_SECRET, &claims(user))
}

/// A development token with more claims than the plain ones.
pub fn dev_with(user: &str, more: &Value) -> String {
    hs256(DEV_SECRET, &merged(claims(user), more))
}

/// `base` with the fields of `more`; a null takes a field away.
pub fn merged(mut base: Value, more: &Value) -> Value {
    let fields = base.as_object_mut().expect("an object");
    for (name, value) in more.as_object().expect("an object") {
        if value.is_null() {
            fields.remove(name);
        } else {
            fields.insert(name.clone(), value.clone());
        }
    }
    base
}

pub fn hs256(secret: &str, claims: &Value) -> String {
    signed(&json!({"alg": "HS256", "typ": "JWT"}), secret, claims)
}

pub fn hs256_with_kid(kid: &str, secret: &str, claims: &Value) -> String {
    signed(&json!({"alg": "HS256", "typ": "JWT", "kid": kid}), secret, claims)
}

/// Any header over an honest HS256 signature.
pub fn signed(header: &Value, secret: &str, claims: &Value) -> String {
    let message = unsigned(header, claims);
    let key = EncodingKey::from_secret(secret.as_bytes());
    let signature = crypto::sign(message.as_bytes(), &key, Algorithm::HS256);
    format!("{message}.{}", signature.expect("a signature"))
}

/// Header and claims, without a signature and without the last dot.
pub fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

/// A token signed by the Ed25519 key whose public half is [`ed25519_pem`].
pub fn ed25519(header: &Value, claims: &Value) -> String {
    let mut der = hex("302e020100300506032b657004220420");
    der.extend(hex(ED_SEED));
    let message = unsigned(header, claims);
    let key = EncodingKey::from_ed_der(&der);
    let signature = crypto::sign(message.as_bytes(), &key, Algorithm::EdDSA);
    format!("{message}.{}", signature.expect("a signature"))
}

pub fn ed25519_pem() -> String {
    let mut der = hex("302a300506032b6570032100");
    der.extend(hex(ED_PUBLIC));
    format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        STANDARD.encode(der)
    )
}

pub fn ed25519_jwk(kid: &str) -> Value {
    let x = URL_SAFE_NO_PAD.encode(hex(ED_PUBLIC));
    json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": kid, "x": x})
}

fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).expect("ASCII"), 16).expect("hex"))
        .collect()
}

/// What a token's header says.
pub fn header(token: &str) -> Value {
    let head = token.split('.').next().unwrap_or_default();
    let head = URL_SAFE_NO_PAD.decode(head).expect("base64");
    serde_json::from_slice(&head).expect("JSON")
}

/// What a token claims.
pub fn claims_of(token: &str) -> Value {
    let claims = token.split('.').nth(1).unwrap_or_default();
    let claims = URL_SAFE_NO_PAD.decode(claims).expect("base64");
    serde_json::from_slice(&claims).expect("JSON")
}
