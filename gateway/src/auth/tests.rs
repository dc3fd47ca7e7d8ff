use std::collections::HashMap;

use herald_router::config::Secret;
use jsonwebtoken::{Algorithm, EncodingKey, Header as JwtHeader};
use serde_json::{Value, json};

use super::*;
use crate::config::KeySettings;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn key(kid: Option<&str>, secret: &str) -> KeySettings {
    KeySettings {
        kid: kid.map(str::to_owned),
        algorithm: Some("HS256".to_owned()),
        secret: Some(Secret(secret.to_owned())),
        ..KeySettings::default()
    }
}

fn auth(keys: Vec<KeySettings>, audience: Option<&str>) -> Auth {
    Auth::new(&AuthSettings {
        keys,
        audience: audience.map(str::to_owned),
        ..AuthSettings::default()
    })
    .unwrap()
}

fn sign(algorithm: Algorithm, kid: Option<&str>, claims: &Value) -> String {
    let mut header = JwtHeader::new(algorithm);
    header.kid = kid.map(str::to_owned);
    jsonwebtoken::encode(&header, claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

fn raw(header: &Value, claims: &Value) -> String {
    let part = |v: &Value| URL_SAFE_NO_PAD.encode(v.to_string());
    format!("{}.{}.", part(header), part(claims))
}

#[test]
fn a_good_token_names_its_user() {
    let auth = auth(vec![key(None, SECRET)], None);
    let exp = unix_now() + 60;
    let token = sign(
        Algorithm::HS256,
        None,
        &json!({"sub": "alice", "exp": exp, "groups": ["g"], "broadcast": true, "aud": "whoever"}),
    );
    let identity = auth.verify(&token).unwrap();
    assert_eq!(identity.user, "alice");
    assert_eq!(identity.groups, ["g"]);
    assert!(identity.broadcast);
    assert_eq!(identity.expires, exp);
    let token = sign(
        Algorithm::HS256,
        None,
        &json!({"account": "bob", "exp": exp as f64 + 0.5}),
    );
    assert_eq!(auth.verify(&token).unwrap().user, "bob");
}

#[test]
fn bad_tokens_are_refused() {
    let auth = auth(vec![key(None, SECRET)], None);
    let good = unix_now() + 60;
    let claims = json!({"sub": "alice", "exp": good});
    let cases: HashMap<&str, (String, AuthError)> = HashMap::from([
        ("empty", (String::new(), AuthError::Malformed)),
        ("garbage", ("a.b.c".to_owned(), AuthError::Malformed)),
        ("none", (raw(&json!({"alg": "none"}), &claims), AuthError::UnknownKey)),
        ("unsigned", (raw(&json!({"alg": "HS256"}), &claims), AuthError::Invalid)),
        (
            "crit",
            (
                raw(&json!({"alg": "HS256", "crit": ["x"]}), &claims),
                AuthError::Critical,
            ),
        ),
        (
            "other algorithm",
            (sign(Algorithm::HS512, None, &claims), AuthError::UnknownKey),
        ),
        (
            "unknown kid",
            (sign(Algorithm::HS256, Some("k"), &claims), AuthError::UnknownKey),
        ),
        (
            "expired",
            (
                sign(Algorithm::HS256, None, &json!({"sub": "a", "exp": unix_now() - 6})),
                AuthError::Expired,
            ),
        ),
        (
            "no exp",
            (sign(Algorithm::HS256, None, &json!({"sub": "a"})), AuthError::Invalid),
        ),
        (
            "not yet",
            (
                sign(
                    Algorithm::HS256,
                    None,
                    &json!({"sub": "a", "exp": good, "nbf": unix_now() + 30}),
                ),
                AuthError::Invalid,
            ),
        ),
        (
            "no user",
            (sign(Algorithm::HS256, None, &json!({"exp": good})), AuthError::NoUser),
        ),
        (
            "bad user",
            (
                sign(Algorithm::HS256, None, &json!({"sub": "a\nb", "exp": good})),
                AuthError::NoUser,
            ),
        ),
        (
            "too long",
            (
                sign(
                    Algorithm::HS256,
                    None,
                    &json!({"sub": "a", "exp": good, "x": "x".repeat(4096)}),
                ),
                AuthError::TooLong,
            ),
        ),
    ]);
    for (name, (token, error)) in cases {
        assert_eq!(auth.verify(&token), Err(error), "{name}");
    }
    let mut forged = sign(Algorithm::HS256, None, &claims);
    forged.replace_range(forged.len() - 4.., "AAAA");
    assert_eq!(auth.verify(&forged), Err(AuthError::Invalid));
}

#[test]
fn a_kid_meets_only_its_keys() {
    let other = "ffffffffffffffffffffffffffffffff";
    let auth = auth(
        vec![key(Some("a"), other), key(Some("a"), SECRET), key(None, other)],
        None,
    );
    let claims = json!({"sub": "alice", "exp": unix_now() + 60});
    auth.verify(&sign(Algorithm::HS256, Some("a"), &claims)).unwrap();
    assert_eq!(
        auth.verify(&sign(Algorithm::HS256, None, &claims)),
        Err(AuthError::Invalid)
    );
}

#[test]
fn a_configured_audience_is_demanded() {
    let auth = auth(vec![key(None, SECRET)], Some("herald"));
    let exp = unix_now() + 60;
    let token = |claims: Value| sign(Algorithm::HS256, None, &claims);
    auth.verify(&token(json!({"sub": "a", "exp": exp, "aud": ["x", "herald"]})))
        .unwrap();
    for claims in [
        json!({"sub": "a", "exp": exp, "aud": "x"}),
        json!({"sub": "a", "exp": exp}),
    ] {
        assert_eq!(auth.verify(&token(claims)), Err(AuthError::Invalid));
    }
}
